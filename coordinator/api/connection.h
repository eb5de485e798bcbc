/* SPDX-License-Identifier: Apache-2.0
 *
 * connection: how long and how much one client may have of us before it has said what it wants.
 *
 * A connection has CONNECTION_READ_MS to deliver a whole request, however slowly it drips, and
 * CONNECTION_WRITE_MS to take an answer and send the next request. While we work on a request, and
 * while a stream lives, it has no deadline. At most count_max are accepted; more wait in the
 * kernel, and for as many as wait there, those that have owed a request for longest are cut off, if
 * that has been a second: a thousand idle or dripping connections keep nobody out. Bodies that
 * arrive may take BODIES_BYTES_MAX together; beyond it the greatest goes.
 *
 * evhttp's own timeout is one of silence, which a byte now and then keeps off; and it has no cap.
 * So each bufferevent is held here too, and a sweep shuts down the socket of the late ones: evhttp
 * sees an end of file and cleans up as for any client that left.
 */
#ifndef TAILOR_COORDINATOR_API_CONNECTION_H
#define TAILOR_COORDINATOR_API_CONNECTION_H

#include <event2/event.h>
#include <event2/http.h>
#include <stdint.h>

#include "coordinator/api/tls.h"

struct connections;

struct connection_limits {
    int32_t count_max;
    int64_t read_ms, write_ms;
    int64_t bodies_bytes_max;
};

#define CONNECTION_LIMITS_DEFAULT                                                                  \
    ((struct connection_limits){.count_max = 2048,                                                 \
                                .read_ms = 60000,                                                  \
                                .write_ms = 120000,                                                \
                                .bodies_bytes_max = 256 * 1024 * 1024})

/* Watches over all that `http` accepts at `socket`. */
struct connections *connections_create(struct event_base *base, struct evhttp *http,
                                       const struct connection_limits *limits);
/* What is accepted from now on speaks TLS. */
void connections_secure(struct connections *connections, struct tls *tls);
void connections_listen(struct connections *connections, struct evhttp_bound_socket *socket);
void connections_stop(struct connections *connections); /* accepts no more */
void connections_free(struct connections *connections); /* after evhttp_free */
int32_t connections_count(const struct connections *connections);

/* A whole request is there: no deadline until … */
void connection_busy(struct connections *connections, struct evhttp_request *request);
/* … its answer has been handed to evhttp. */
void connection_answered(struct connections *connections, struct evhttp_request *request);
/* As if the network had broken (failpoints). */
void connection_cut(struct evhttp_request *request);

#endif
