/* SPDX-License-Identifier: Apache-2.0
 *
 * api: the HTTP surface of the coordinator, for people, scripts and the dashboard.
 *
 *     TRY(api_open(&options, coordinator, base, &api, error));   // listens
 *     event_base_dispatch(base);
 *     api_stop(api);                   // takes no more, ends the streams
 *     coordinator_close(coordinator);  // what is in hand is answered
 *     api_close(api);
 *
 * proto/routes.def says what there is; exchange.h what happens to one request. Everything is on the
 * loop thread but the functions that handlers.h calls `read` and `write`.
 *
 * Identity is a bearer token or a browser's session (session.h), on loopback too. The first token,
 * an admin's, is made when the records have none, and written to DIR/admin-token (mode 0600).
 */
#ifndef TAILOR_COORDINATOR_API_API_H
#define TAILOR_COORDINATOR_API_API_H

#include <event2/event.h>
#include <stdbool.h>

#include "lib/option.h"

struct api;
struct coordinator;

struct api_options {
    const char *address;           /* "HOST:PORT"; port 0: the system chooses */
    const char *data;              /* DIR */
    const char *certificate, *key; /* PEM files: it speaks TLS; NULL: in the clear */
    bool insecure;                 /* in the clear off loopback too: a proxy in front speaks TLS */
    bool webhook_private;   /* webhooks may post to addresses that are not public, and by http */
    const char *webhook_ca; /* PEM file: who signs receivers' certificates; NULL: the system's */
    const struct option_list *hosts; /* names besides its own that browsers may ask it by */
};

/* STATUS_UNSUPPORTED: an address off loopback without TLS; STATUS_CONFLICT: it is taken. */
enum status api_open(const struct api_options *options, struct coordinator *coordinator,
                     struct event_base *base, struct api **api_out, struct error *error);
const char *api_address(const struct api *api); /* as it is listening */
/* Reads certificate and key again; what does not fit is logged, and the old one stays. */
void api_reload(struct api *api);
void api_stop(struct api *api);
void api_close(struct api *api);

#endif
