/* SPDX-License-Identifier: Apache-2.0
 *
 * request: from a matched route, its query and its body to the request's message, checked.
 */
#ifndef TAILOR_PROTO_REQUEST_H
#define TAILOR_PROTO_REQUEST_H

#include "lib/arena.h"
#include "proto/message.h"
#include "proto/route.h"

/* `query` is what stood behind the "?", or NULL. A BYTES body is not read here. A field may be set
 * once: by the path, by the query (a repeated one: as often as its rule allows), or by the body.
 * STATUS_USAGE names the field, with the nearest right name; STATUS_LIMIT: the body is too long. */
enum status request_read(struct arena *arena, const struct route_match *match, const char *query,
                         const char *body, size_t length, void *message_out, struct error *error);

/* Is all there that the route needs? Apart from reading, since it is said only to who may ask. */
enum status request_is_complete(const struct route *route, const ProtobufCMessage *message,
                                struct error *error);

#endif
