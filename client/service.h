/* SPDX-License-Identifier: Apache-2.0
 *
 * service: the coordinator's routes (proto/routes.def) as calls.
 *
 * A request is a message of api.proto; where each of its fields goes (path, query or body) follows
 * from the route. A reply stays JSON: a newer server may say more than this client knows. What the
 * server refuses becomes its sentence with its hint, and the status of its code; a server that is
 * not there becomes STATUS_COMMUNICATION and what to do about it.
 */
#ifndef TAILOR_CLIENT_SERVICE_H
#define TAILOR_CLIENT_SERVICE_H

#include <stdint.h>

#include "client/profile.h"
#include "lib/json.h"
#include "proto/api.pb-c.h"
#include "proto/message.h"
#include "proto/route.h"

struct service {
    struct arena *arena;
    struct profile profile;
    double timeout_s; /* for one answer; 0: http.h's own */
};

/* The caller owns *reply_out (json_decref); an object or an array. */
enum status service_call(const struct service *service, enum route_id route,
                         const ProtobufCMessage *request, json_t **reply_out, struct error *error);
/* The same for a route whose body is bytes. */
enum status service_put(const struct service *service, enum route_id route,
                        const ProtobufCMessage *request, const void *bytes, size_t length,
                        json_t **reply_out, struct error *error);
/* The bytes that a route answers with, appended. */
enum status service_get(const struct service *service, enum route_id route,
                        const ProtobufCMessage *request, struct buf *out, struct error *error);
/* The same again and again while nobody answers, for `patience_ms`: only for what may be asked
 * twice. */
enum status service_insist(const struct service *service, enum route_id route,
                           const ProtobufCMessage *request, int64_t patience_ms, json_t **reply_out,
                           struct error *error);

/* Follows a stream of events: `take` gets each entry. It comes back after an interruption, for
 * `patience_ms` at most each time, without losing or repeating an entry. Ends with the job. */
typedef void service_take(void *context, const json_t *entry);
enum status service_follow(const struct service *service, enum route_id route,
                           const ProtobufCMessage *request, int64_t patience_ms, service_take *take,
                           void *context, struct error *error);

/* A new request message of a route. */
void *service_request(const struct service *service, enum route_id route);

#endif
