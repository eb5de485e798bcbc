/* SPDX-License-Identifier: Apache-2.0
 *
 * nccl: an exchange by ncclSend and ncclRecv, in one group, on a stream of its own.
 *
 * Before it, all ranks meet in the control and compare what they are about to do: NCCL would hang
 * or corrupt memory where they differ. Behind the launch they meet again, so that a rank that does
 * not get there is named; then each waits for its own GPU, and looks at the others' pulse. So a
 * failure is found by the control, by NCCL's word, or by the clock, and NCCL's word counts least:
 * it may never come, and where it comes it does not say who.
 *
 * Sums are made on the same stream, by the adds of the order, in the memory of the stage: a term is
 * dead once it is added. Rejected: ncclReduceScatter and ncclAllReduce, whose order is the
 * library's (comm.h); one kernel for all merges, which saves memory traffic that is small against
 * what the wires take; a stage of fixed size, since an adapter's sums need a hundredth of it.
 */
#include "worker/comm/nccl.h"

#include <string.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/limits.h"
#include "lib/text.h"
#include "worker/ops_cuda/cuda.h"

/* All that peers have under way to this rank in one exchange: long against a launch, short against
 * a GPU's memory. */
#define STAGE_BYTES (128 * MIB)

enum { SPIN_US = 200, NAP_US = 20, BLAME_MS = 1000, PIECE_ALIGN = 256 };

/* ---- what can be known of the others -----------------------------------------------------------
 */

/* An abort of this rank's counts: it reaches the control before the comm above. */
static bool others_are_well(struct nccl *nccl, struct comm_failure *failure)
{
    struct comm *control = nccl->comm->control;
    comm_begin(control);
    bool failed = atomic_load(&control->failed);
    bool well = !failed && control->ops->look(control, failure);
    if (failed) {
        *failure = control->failure;
    }
    comm_end(control, STATUS_OK);
    return well;
}

bool nccl_fail(struct nccl *nccl, const char *call, ncclResult_t result,
               struct comm_failure *failure)
{
    const int64_t end_us = comm_now_us() + BLAME_MS * 1000;
    while (result != ncclInvalidArgument && result != ncclInvalidUsage && comm_now_us() < end_us) {
        if (!others_are_well(nccl, failure)) {
            return false;
        }
        usleep(COMM_LOOK_MS * 1000);
    }
    return comm_fail(failure, nccl->comm->rank, "NCCL: %s: %s: %s", call,
                     ncclGetErrorString(result), ncclGetLastError(NULL));
}

bool nccl_meet(struct nccl *nccl, const struct comm_agreement *agreement,
               struct comm_failure *failure)
{
    struct comm *control = nccl->comm->control;
    struct comm_exchange exchange = {.agreement = *agreement};
    comm_begin(control);
    control->timeout_ms = nccl->comm->timeout_ms;
    control->patient = nccl->comm->patient;
    const enum status status = comm_exchange_run(control, &exchange, NULL);
    if (status != STATUS_OK) {
        *failure = control->failure;
    }
    return comm_end(control, status) == STATUS_OK;
}

/* ---- waiting -----------------------------------------------------------------------------------
 */

enum state { STATE_DONE, STATE_PENDING, STATE_FAILED };

static enum state group_state(struct nccl *nccl, const char *call, struct comm_failure *failure)
{
    ncclResult_t result, state = ncclSuccess;
    NCCL_WATCHED(nccl, result, ncclCommGetAsyncError(nccl->group, &state));
    result = result == ncclSuccess ? state : result;
    if (result == ncclSuccess || result == ncclInProgress) {
        return result == ncclSuccess ? STATE_DONE : STATE_PENDING;
    }
    nccl_fail(nccl, call, result, failure);
    return STATE_FAILED;
}

static enum state stream_state(struct nccl *nccl, const char *call, struct comm_failure *failure)
{
    const cudaError_t result = cudaStreamQuery(nccl->stream);
    if (result == cudaSuccess) {
        return STATE_DONE;
    }
    if (result == cudaErrorNotReady) {
        return group_state(nccl, call, failure) == STATE_FAILED ? STATE_FAILED : STATE_PENDING;
    }
    comm_fail(failure, nccl->comm->rank, "CUDA: %s: %s", call, cudaGetErrorString(result));
    return STATE_FAILED;
}

/* Until `state` says done. `call`: for what. When it takes too long, `late` has failed, which may
 * be COMM_NOBODY: what all ranks have begun and no host can look into. */
static bool wait_until(struct nccl *nccl, const char *call,
                       enum state (*state)(struct nccl *, const char *, struct comm_failure *),
                       int32_t late, struct comm_failure *failure)
{
    struct comm *comm = nccl->comm;
    const int64_t begin_us = comm_now_us();
    int64_t look_us = begin_us + COMM_LOOK_MS * 1000;
    for (;;) {
        const enum state now = state(nccl, call, failure);
        const int64_t now_us = comm_now_us();
        if (now != STATE_PENDING) {
            return now == STATE_DONE;
        }
        if (now_us - begin_us >= nccl->step_ms * 1000) {
            return comm_fail(failure, late, "%s did not end in rank %d within %lld ms", call,
                             comm->rank, (long long)nccl->step_ms);
        }
        if (now_us >= look_us) {
            if (!others_are_well(nccl, failure)) {
                return false;
            }
            look_us = now_us + COMM_LOOK_MS * 1000;
        }
        if (comm->patient || now_us - begin_us >= SPIN_US) {
            usleep(NAP_US);
        } else {
            comm_relax();
        }
    }
}

bool nccl_settle(struct nccl *nccl, const char *call, ncclResult_t result, int32_t late,
                 struct comm_failure *failure)
{
    if (result != ncclSuccess && result != ncclInProgress) {
        return nccl_fail(nccl, call, result, failure);
    }
    return wait_until(nccl, call, group_state, late, failure);
}

/* ---- exchange ----------------------------------------------------------------------------------
 */

static size_t aligned(size_t bytes)
{
    return (bytes + PIECE_ALIGN - 1) / PIECE_ALIGN * PIECE_ALIGN;
}

static bool stage_reserve(struct nccl *nccl, size_t bytes, struct comm_failure *failure)
{
    if (bytes <= nccl->stage_bytes) {
        return true;
    }
    if (nccl->stage) {
        CUDA_CHECK(cudaFree(nccl->stage));
        nccl->stage = NULL;
        nccl->stage_bytes = 0;
    }
    void *stage;
    const cudaError_t result = cudaMalloc(&stage, bytes);
    if (result != cudaSuccess) {
        char wanted[16];
        (void)cudaGetLastError(); /* it is told here */
        format_bytes((double)bytes, wanted);
        return comm_fail(failure, nccl->comm->rank, "CUDA: %s for sums: %s", wanted,
                         cudaGetErrorString(result));
    }
    nccl->stage = stage;
    nccl->stage_bytes = bytes;
    return true;
}

/* Places in the stage for what peers send and the caller named no place for. */
static bool stage_place(struct nccl *nccl, struct comm_exchange *exchange,
                        struct comm_failure *failure)
{
    const struct comm *comm = nccl->comm;
    size_t bytes = 0, at = 0;
    for (int32_t r = 0; r < comm->world; r++) {
        if (r != comm->rank) {
            bytes += aligned(exchange->from[r].bytes);
            bytes += exchange->all[r].data ? 0 : aligned(exchange->all[r].bytes);
        }
    }
    if (!stage_reserve(nccl, bytes, failure)) {
        return false;
    }
    for (int32_t r = 0; r < comm->world; r++) {
        if (r != comm->rank) {
            exchange->from[r].data = nccl->stage + at;
            at += aligned(exchange->from[r].bytes);
            if (!exchange->all[r].data) {
                exchange->all[r].data = nccl->stage + at;
                at += aligned(exchange->all[r].bytes);
            }
        }
    }
    return true;
}

static ncclResult_t piece_send(struct nccl *nccl, struct comm_piece piece, int32_t peer)
{
    ncclResult_t result = ncclSuccess;
    if (piece.bytes > 0) {
        NCCL_WATCHED(nccl, result,
                     ncclSend(piece.data, piece.bytes / sizeof(float), ncclFloat32, peer,
                              nccl->group, nccl->stream));
    }
    return result;
}

static ncclResult_t piece_receive(struct nccl *nccl, struct comm_piece piece, int32_t peer)
{
    ncclResult_t result = ncclSuccess;
    if (piece.bytes > 0) {
        NCCL_WATCHED(nccl, result,
                     ncclRecv(piece.data, piece.bytes / sizeof(float), ncclFloat32, peer,
                              nccl->group, nccl->stream));
    }
    return result;
}

/* Between two ranks first the pieces for one, then those for all, on both sides. */
static ncclResult_t pieces_queue(struct nccl *nccl, const struct comm_exchange *exchange)
{
    const struct comm *comm = nccl->comm;
    ncclResult_t result = ncclSuccess;
    for (int32_t i = 1; i < comm->world && result == ncclSuccess; i++) {
        const int32_t to = (comm->rank + i) % comm->world;
        const int32_t from = (comm->rank + comm->world - i) % comm->world;
        result = piece_send(nccl, exchange->to[to], to);
        result = result == ncclSuccess ? piece_send(nccl, exchange->same, to) : result;
        result = result == ncclSuccess ? piece_receive(nccl, exchange->from[from], from) : result;
        result = result == ncclSuccess ? piece_receive(nccl, exchange->all[from], from) : result;
    }
    return result;
}

static bool launch(struct nccl *nccl, const struct comm_exchange *exchange,
                   struct comm_failure *failure)
{
    ncclResult_t begun, queued, ended;
    NCCL_WATCHED(nccl, begun, ncclGroupStart());
    if (begun != ncclSuccess) {
        return nccl_fail(nccl, "ncclGroupStart", begun, failure);
    }
    queued = pieces_queue(nccl, exchange);
    NCCL_WATCHED(nccl, ended, ncclGroupEnd()); /* in any case: an abort would wait for it */
    if (queued != ncclSuccess) {
        return nccl_fail(nccl, "ncclSend or ncclRecv", queued, failure);
    }
    return nccl_settle(nccl, "ncclGroupEnd", ended, nccl->comm->rank, failure);
}

static bool exchange_nccl(struct comm *comm, struct comm_exchange *exchange,
                          struct comm_failure *failure)
{
    struct nccl *nccl = comm->transport;
    nccl->step_ms = comm->timeout_ms < COMM_NCCL_STEP_MS ? comm->timeout_ms : COMM_NCCL_STEP_MS;
    return stage_place(nccl, exchange, failure) && nccl_meet(nccl, &exchange->agreement, failure) &&
           launch(nccl, exchange, failure) && nccl_meet(nccl, &exchange->agreement, failure) &&
           wait_until(nccl, "NCCL's transfer", stream_state, COMM_NOBODY, failure);
}

/* ---- sum ---------------------------------------------------------------------------------------
 */

static bool sum_nccl(struct comm *comm, float *out, float *const *x, const struct comm_order *order,
                     size_t count, struct comm_failure *failure)
{
    struct nccl *nccl = comm->transport;
    /* An op without scratch takes of its device nothing but the stream. */
    struct cuda_context context = {.stream = nccl->stream};
    struct device device = {.context = &context};
    for (int32_t m = 0; m < order->count; m++) {
        cuda_add(&device, x[order->merge[m].into], x[order->merge[m].from], count);
    }
    if (x[0] != out && count > 0) {
        CUDA_CHECK(cudaMemcpyAsync(out, x[0], count * sizeof(float), cudaMemcpyDeviceToDevice,
                                   nccl->stream));
    }
    return wait_until(nccl, "a sum", stream_state, comm->rank, failure);
}

/* ---- life --------------------------------------------------------------------------------------
 */

/* Returns when the GPU does nothing more for the communicator, or not at all: see nccl_watch.c. */
static void group_abort(struct nccl *nccl)
{
    const ncclComm_t group = nccl->group;
    ncclResult_t result;
    nccl->group = NULL;
    if (group != NULL) {
        NCCL_WATCHED(nccl, result, ncclCommAbort(group));
        (void)result; /* what has not succeeded is in progress, or past help */
        nccl_watch_begin(nccl->watch, "the GPU's work behind ncclCommAbort", nccl->step_ms / 2);
        while (cudaStreamQuery(nccl->stream) == cudaErrorNotReady) {
            usleep(NAP_US);
        }
        nccl_watch_end(nccl->watch);
    }
}

void nccl_poison(struct comm *comm, struct comm_failure *failure)
{
    comm_poison(comm->control, failure);
    group_abort(comm->transport);
}

static enum status open_nccl(struct comm *comm, const struct comm_options *options,
                             struct error *error)
{
    struct nccl *nccl = mem_alloc(sizeof(*nccl));
    nccl->comm = comm;
    nccl->step_ms =
        options->timeout_ms < COMM_NCCL_STEP_MS ? options->timeout_ms : COMM_NCCL_STEP_MS;
    comm->transport = nccl;
    comm->to_bytes_max = comm->same_bytes_max = STAGE_BYTES / (size_t)options->world / 64 * 64;
    return nccl_join(comm, options, error);
}

/* A rank that has all it needs may not leave while others still take from it: they meet once more.
 * Whether that fails matters to nobody any more. */
static void leave(struct nccl *nccl)
{
    enum { LEAVE_MS = 10000 };
    struct comm *comm = nccl->comm;
    struct comm_failure failure;
    comm->timeout_ms = comm->timeout_ms < LEAVE_MS ? comm->timeout_ms : LEAVE_MS;
    if (nccl->joined && nccl->group != NULL && !comm_aborted(comm)) {
        nccl_meet(nccl, &(struct comm_agreement){COMM_BARRIER, 0, 0}, &failure);
    }
}

static void close_nccl(struct comm *comm)
{
    struct nccl *nccl = comm->transport;
    leave(nccl);
    if (nccl->watch != NULL) {
        group_abort(nccl);
        nccl_watch_begin(nccl->watch, "cudaFree", nccl->step_ms / 2);
        /* Behind a failure the GPU may be lost, and what it says to this is no news. */
        (void)cudaFree(nccl->stage);
        if (nccl->stream != NULL) {
            (void)cudaStreamDestroy(nccl->stream);
        }
        nccl_watch_end(nccl->watch);
        nccl_watch_stop(nccl->watch);
    }
    comm_close(comm->control);
    mem_free(nccl);
}

const struct comm_ops comm_nccl_ops = {.open = open_nccl,
                                       .exchange = exchange_nccl,
                                       .poison = nccl_poison,
                                       .close = close_nccl,
                                       .on_device = true,
                                       .sum = sum_nccl};
