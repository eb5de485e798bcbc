/* SPDX-License-Identifier: Apache-2.0
 *
 * worker_socket: the ROUTER that workers dial: encrypted, and closed to every key that is not ours.
 *
 * Who speaks is the User-Id that our own ZAP handler gave to the key, on every frame; it is looked
 * up again for every message. Routing ids are only return addresses, and only those that libzmq
 * made itself are taken (they begin with a zero byte): a peer that names itself is not answered, or
 * it could name itself like another. The newest connection that spoke as a worker is where its
 * answers go.
 *
 * A message that cannot be sent (nobody is connected, or the peer's queue is full) is dropped and
 * counted: whatever must arrive is sent again by dispatch until its effect is seen.
 *
 * ZMQ_FD is edge-triggered, so the socket is drained after every wake and after every send, up to a
 * budget, and then again on the next turn; a timer looks once in 100 ms besides.
 */
#ifndef TAILOR_COORDINATOR_WORKER_SOCKET_H
#define TAILOR_COORDINATOR_WORKER_SOCKET_H

#include <event2/event.h>

#include "coordinator/keys.h"
#include "proto/worker_message.h"

struct worker_socket;

/* A message as checked by worker_message_unpack; it lives until the call returns. */
typedef void worker_socket_receive(void *argument, struct identity from,
                                   const struct worker_message *row, const void *message);

/* Binds "HOST:PORT"; the options are enforced, and a throw-away key is tried: STATUS_DENIED if it
 * is let in, and then nothing must run. `address_out` (JOIN_ADDRESS_MAX) gets the address as bound.
 */
enum status worker_socket_open(struct event_base *base, const char *address,
                               const struct key_pair *server, struct keys *keys,
                               worker_socket_receive *receive, void *argument,
                               struct worker_socket **socket_out, char *address_out,
                               struct error *error);
void worker_socket_close(struct worker_socket *socket);

/* To the newest connection of `to`. False: dropped. */
bool worker_socket_send(struct worker_socket *socket, struct identity to, enum worker_message_id id,
                        const void *message);
/* The identity's connection is not answered any more. */
void worker_socket_forget(struct worker_socket *socket, struct identity identity);

struct worker_socket_figures {
    int64_t received, sent, dropped, malformed, denied; /* messages; denied: of unknown keys */
    int64_t handshakes_refused;
};

struct worker_socket_figures worker_socket_figures(const struct worker_socket *socket);

#endif
