/* SPDX-License-Identifier: Apache-2.0
 *
 * nccl: the GPUs' transport, in three parts: joined in nccl_join.c, used in nccl.c, watched in
 * nccl_watch.c. Compiled only where NCCL is; comm.h says what it promises.
 */
#ifndef TAILOR_WORKER_COMM_NCCL_H
#define TAILOR_WORKER_COMM_NCCL_H

#include <cuda_runtime.h>
#include <nccl.h>

#include "worker/comm/backend.h"

#define NCCL_VERSION_MIN 21800 /* of the library, as of the header */

struct nccl_watch;

struct nccl {
    struct comm *comm;   /* whose transport this is; borrowed */
    ncclComm_t group;    /* NULL: not made yet, or aborted */
    bool joined;         /* all have made it */
    cudaStream_t stream; /* of transfers and sums alone; NULL: not made yet */
    char *stage;         /* what peers send to be added, on the GPU */
    size_t stage_bytes;  /* grows to what the largest exchange needs */
    struct nccl_watch *watch;
    int64_t step_ms;
};

/* ---- nccl_watch.c: a thread that ends the process when a call does not return ------------------
 */

struct nccl_watch *nccl_watch_start(struct comm *control, void (*ending)(const char *text));
void nccl_watch_stop(struct nccl_watch *watch); /* NULL is allowed */
/* Around every call that might not return; `call` must stay. */
void nccl_watch_begin(struct nccl_watch *watch, const char *call, int64_t limit_ms);
void nccl_watch_end(struct nccl_watch *watch);

#define NCCL_WATCHED(nccl, result, call)                                                           \
    do {                                                                                           \
        nccl_watch_begin((nccl)->watch, #call, (nccl)->step_ms / 2);                               \
        (result) = (call);                                                                         \
        nccl_watch_end((nccl)->watch);                                                             \
    } while (0)

/* ---- nccl.c, for nccl_join.c -------------------------------------------------------------------
 */

/* What `result` of `call` says against this rank; returns false. Where another rank is found gone
 * within a moment, that is the failure. */
bool nccl_fail(struct nccl *nccl, const char *call, ncclResult_t result,
               struct comm_failure *failure);
/* Waits until what the communicator was asked for is under way, as calls of a nonblocking one say
 * by ncclInProgress; `late`: who is to blame if it never is. */
bool nccl_settle(struct nccl *nccl, const char *call, ncclResult_t result, int32_t late,
                 struct comm_failure *failure);
/* All ranks are here, and agree. */
bool nccl_meet(struct nccl *nccl, const struct comm_agreement *agreement,
               struct comm_failure *failure);
/* Tells the others, and aborts the communicator; *failure becomes the first. */
void nccl_poison(struct comm *comm, struct comm_failure *failure);

enum status nccl_join(struct comm *comm, const struct comm_options *options, struct error *error);

#endif
