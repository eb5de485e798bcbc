/* SPDX-License-Identifier: Apache-2.0
 *
 * gatekeeper: the ZAP handler (ZeroMQ RFC 27): which public keys may connect, and as whom.
 *
 * It is bound before the workers' socket exists and lives longer: with no handler a CURVE server
 * lets every key in.
 */
#ifndef TAILOR_COORDINATOR_GATEKEEPER_H
#define TAILOR_COORDINATOR_GATEKEEPER_H

#include <event2/event.h>

#include "coordinator/keys.h"

#define GATEKEEPER_DOMAIN "tailor-workers"

struct gatekeeper;

enum status gatekeeper_open(void *zmq_context, struct event_base *base, struct keys *keys,
                            struct gatekeeper **gatekeeper_out, struct error *error);
void gatekeeper_close(struct gatekeeper *gatekeeper);
/* Answers what waits; the loop calls it by itself. */
void gatekeeper_serve(struct gatekeeper *gatekeeper);
int64_t gatekeeper_refused(const struct gatekeeper *gatekeeper);

#endif
