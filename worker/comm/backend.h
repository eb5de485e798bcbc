/* SPDX-License-Identifier: Apache-2.0
 *
 * backend: what a transport does for the collectives, and what all of them share. Included by the
 * files of this folder and by its tests, which put a faulty transport in between.
 *
 * A transport does one thing, the EXCHANGE: every rank hands every other rank a piece of its own
 * (`to`) and one piece that is the same for all (`same`), and gets theirs; either may be empty. Who
 * gives how much to whom follows from the collective, so both sides know all sizes beforehand. A
 * rank leaves an exchange when it has what the others gave it, not when they have what it gave.
 */
#ifndef TAILOR_WORKER_COMM_BACKEND_H
#define TAILOR_WORKER_COMM_BACKEND_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "worker/comm/comm.h"

enum {
    COMM_REASON_BYTES = 96,
    COMM_NOBODY = -1,
    /* A sleeping rank looks at least this often whether the others live and nobody aborted. */
    COMM_LOOK_MS = 10
};

/* Who failed, and why: "rank 2 failed: it is gone". rank may be COMM_NOBODY. */
struct comm_failure {
    int32_t rank;
    char reason[COMM_REASON_BYTES];
};

/* What all ranks must agree about; compared with each peer's in every exchange. */
struct comm_agreement {
    uint32_t operation; /* enum comm_operation */
    uint32_t detail;    /* root, or a hash of the order */
    uint64_t count;
};

struct comm_piece {
    void *data;
    size_t bytes;
};

struct comm_exchange {
    struct comm_agreement agreement;
    struct comm_piece to[COMM_WORLD_MAX]; /* ≤ to_bytes_max each; read only */
    struct comm_piece same;               /* ≤ same_bytes_max; read only */
    /* What peers gave. The caller says how many bytes each will be. With data = NULL the transport
     * points to memory of its own, valid until the next exchange; `all` may name a place instead.
     */
    struct comm_piece from[COMM_WORLD_MAX];
    struct comm_piece all[COMM_WORLD_MAX];
};

struct comm_ops {
    /* Joins; sets comm->transport, to_bytes_max and same_bytes_max. */
    enum status (*open)(struct comm *comm, const struct comm_options *options, struct error *error);
    /* False: fails and says who. Looks at comm_aborted() at least every COMM_LOOK_MS. */
    bool (*exchange)(struct comm *comm, struct comm_exchange *exchange,
                     struct comm_failure *failure);
    /* Tells all others, and never blocks for long. If somebody was first, *failure becomes theirs.
     */
    void (*poison)(struct comm *comm, struct comm_failure *failure);
    void (*close)(struct comm *comm);
    /* False, with the failure, if somebody is gone or has told a failure; looks and does not wait.
     * Between exchanges. Not of local and nccl. */
    bool (*look)(struct comm *comm, struct comm_failure *failure);
    bool on_device; /* spans and blocks are memory of a GPU, which only `sum` can add */
    /* What comm_sum does, of memory on the device; x[r] may be overwritten. False: fails. */
    bool (*sum)(struct comm *comm, float *out, float *const *x, const struct comm_order *order,
                size_t count, struct comm_failure *failure);
};

extern const struct comm_ops comm_local_ops, comm_shm_ops, comm_tcp_ops;
extern const struct comm_ops comm_nccl_ops; /* where it is linked in */

struct comm_helper; /* helper.c */

struct comm {
    const struct comm_ops *ops;
    void *transport;      /* the backend's own */
    struct comm *control; /* nccl: the comm beneath; NULL: none */
    int32_t rank, world;
    int64_t timeout_ms;
    size_t to_bytes_max, same_bytes_max; /* of one exchange; multiples of 64 */
    uint32_t sequence;                   /* of the exchange that is going on; the first is 1 */
    pthread_mutex_t lock;                /* held by whoever uses the transport */
    atomic_bool abort_claimed;           /* by the one comm_abort that writes the reason */
    atomic_bool aborted;                 /* … and has written it */
    char abort_reason[COMM_REASON_BYTES];
    atomic_bool failed; /* once true, `failure` does not change */
    struct comm_failure failure;
    struct comm_helper *helper;
    bool patient; /* whoever holds the lock waits without spinning: see helper.c */
};

bool comm_aborted(const struct comm *comm);
/* A failure in one line; returns false, for `return comm_fail(…)`. */
bool comm_fail(struct comm_failure *failure, int32_t rank, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* False, with the failure, where a peer's agreement is not ours. */
bool comm_agrees(const struct comm *comm, int32_t peer, const struct comm_agreement *ours,
                 const struct comm_agreement *theirs, struct comm_failure *failure);
/* One exchange on behalf of a collective; the only caller of ops->exchange. Holding comm->lock. */
enum status comm_exchange_run(struct comm *comm, struct comm_exchange *exchange,
                              struct error *error);
/* out (count) = the sum of x[0 … world) in the order, wherever they lie; x[r] may be overwritten on
 * a device. Holding comm->lock. */
enum status comm_sum_run(struct comm *comm, float *out, float *const *x,
                         const struct comm_order *order, size_t count, struct error *error);
/* What comm_failed_rank and the errors of calls tell from now on, and the others' too, unless the
 * group has failed before: then *failure becomes that. */
void comm_poison(struct comm *comm, struct comm_failure *failure);
/* STATUS_COMMUNICATION, with what the group has failed with. */
enum status comm_failed(const struct comm *comm, struct error *error);
/* Who carries bytes of the host: control, or comm itself. */
struct comm *comm_host(struct comm *comm);
/* Around every collective: nobody else uses the transport, and an abort that came meanwhile is
 * delivered afterwards. comm_end returns `status`. */
void comm_begin(struct comm *comm);
enum status comm_end(struct comm *comm, enum status status);
/* "rank 1, 3" of the ranks that are not in `present`, for who is missing. */
void comm_list_missing(const bool *present, int32_t world, char *out, size_t size);
int64_t comm_now_us(void); /* monotonic */
/* Is it worth waiting in a loop, because every rank of this host can have a core? */
bool comm_spins(int32_t ranks);
void comm_relax(void); /* between two looks of such a loop */

/* Lets a work in flight end and joins the thread, where there is one. */
void comm_helper_stop(struct comm *comm);

/* collective.c: the bodies of the public functions; each checks its arguments. */
enum comm_operation {
    COMM_REDUCE_SCATTER = 1,
    COMM_ALL_GATHER,
    COMM_ALL_REDUCE,
    COMM_ALL_GATHER_BYTES,
    COMM_BROADCAST,
    COMM_BARRIER,
    COMM_OPERATIONS
};
extern const char *const comm_operation_names[COMM_OPERATIONS];

#endif
