/* SPDX-License-Identifier: Apache-2.0
 *
 * tcp: a connection between any two ranks; joined in tcp_join.c, used in tcp.c.
 */
#ifndef TAILOR_WORKER_COMM_TCP_H
#define TAILOR_WORKER_COMM_TCP_H

#include "worker/comm/backend.h"

/* What every message begins with; what follows a FRAME_DATA is known from the exchange. */
struct tcp_frame {
    uint32_t magic;
    uint32_t kind; /* enum tcp_frame_kind */
    uint32_t sequence;
    int32_t failed_rank; /* FRAME_POISON, with its reason */
    struct comm_agreement agreement;
    char reason[COMM_REASON_BYTES];
};

enum tcp_frame_kind { FRAME_DATA = 1, FRAME_POISON };
enum { FRAME_MAGIC = 0x5f6d6d63, FRAME_PARTS = 3 }; /* "cmm_"; a frame, a piece, a piece for all */

/* A message on its way: `done` of the bytes of its parts. */
struct tcp_transfer {
    struct comm_piece parts[FRAME_PARTS];
    size_t done, bytes;
};

struct tcp_peer {
    int fd; /* −1: not connected, or closed by the peer */
    struct tcp_frame frame_in, frame_out;
    struct tcp_transfer in, out;
    bool checked;        /* frame_in was found to be what this exchange expects */
    size_t head_bytes;   /* of frame_in that were read ahead, of the next exchange */
    uint8_t *inbox;      /* for a piece and a piece for all */
    int64_t progress_us; /* when a byte last went either way */
};

struct tcp {
    bool spins;
    bool poisoned;                         /* peers have been told, or tried to … */
    int32_t failed_rank;                   /* … that this one failed */
    struct tcp_peer peers[COMM_WORLD_MAX]; /* by rank; the own one stays empty */
};

/* Connects to everybody: peers[…].fd are nonblocking. */
enum status tcp_join(struct comm *comm, struct tcp *tcp, const struct comm_options *options,
                     struct error *error);

/* How a peer is, with the failure; takes nothing of what it sent. Between exchanges. */
enum tcp_health { TCP_WELL, TCP_CLOSED, TCP_POISON };
enum tcp_health tcp_peer_health(const struct comm *comm, int32_t rank,
                                struct comm_failure *failure);

/* What a poison says: whose failure, and why. Returns false. */
bool tcp_fail_as_told(const struct comm *comm, const struct tcp_frame *frame,
                      struct comm_failure *failure);

#endif
