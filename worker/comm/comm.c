/* SPDX-License-Identifier: Apache-2.0
 *
 * comm: a group's life and its one failure.
 *
 * Invariants: the transport is used by the holder of `lock` only; `failure` is written once, by
 * that holder, and `failed` after it. comm_abort may come while a collective holds the lock: then
 * it leaves its flag, which the exchange sees while it waits and comm_end sees after it unlocked,
 * so one of the two delivers. Rejected: abort through the transport from any thread, which would
 * make every transport thread-safe for the sake of its last call.
 */
#include "worker/comm/comm.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/pool.h"
#include "worker/comm/backend.h"
#include "worker/comm/sum.h"

/* Its address is NULL where NCCL is not linked in. */
#pragma weak comm_nccl_ops

int64_t comm_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

bool comm_spins(int32_t ranks)
{
    return ranks <= cpu_count();
}

void comm_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

/* ---- life --------------------------------------------------------------------------------------
 */

bool comm_nccl_is_linked(void)
{
    return &comm_nccl_ops != NULL;
}

enum status comm_open(const struct comm_options *options, struct comm **comm_out,
                      struct error *error)
{
    static const struct comm_ops *const backends[] = {
        [COMM_LOCAL] = &comm_local_ops,
        [COMM_SHM] = &comm_shm_ops,
        [COMM_TCP] = &comm_tcp_ops,
        [COMM_NCCL] = &comm_nccl_ops,
    };
    CHECK(options->world >= 1 && options->world <= COMM_WORLD_MAX);
    CHECK(options->rank >= 0 && options->rank < options->world);
    CHECK(options->timeout_ms > 0);
    CHECK(options->backend <= COMM_NCCL);
    if (options->backend == COMM_NCCL && !comm_nccl_is_linked()) {
        return error_set(error, STATUS_UNSUPPORTED, "this program was built without NCCL");
    }
    struct comm *comm = mem_alloc(sizeof(*comm));
    comm->ops = options->world == 1 ? &comm_local_ops : backends[options->backend];
    comm->rank = options->rank;
    comm->world = options->world;
    comm->timeout_ms = options->timeout_ms;
    CHECK(pthread_mutex_init(&comm->lock, NULL) == 0);
    enum status status = comm->ops->open(comm, options, error);
    if (status != STATUS_OK) {
        comm_close(comm);
        return status;
    }
    *comm_out = comm;
    return STATUS_OK;
}

void comm_close(struct comm *comm)
{
    if (!comm) {
        return;
    }
    comm_helper_stop(comm);
    comm->ops->close(comm);
    CHECK(pthread_mutex_destroy(&comm->lock) == 0);
    mem_free(comm);
}

bool comm_on_device(const struct comm *comm)
{
    return comm->ops->on_device;
}

int32_t comm_rank(const struct comm *comm)
{
    return comm->rank;
}

int32_t comm_world(const struct comm *comm)
{
    return comm->world;
}

struct comm *comm_host(struct comm *comm)
{
    return comm->control ? comm->control : comm;
}

/* ---- failure -----------------------------------------------------------------------------------
 */

bool comm_fail(struct comm_failure *failure, int32_t rank, const char *format, ...)
{
    char reason[2 * COMM_REASON_BYTES]; /* the arguments may lie in `failure` */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    failure->rank = rank;
    snprintf(failure->reason, sizeof(failure->reason), "%s", reason);
    return false;
}

bool comm_agrees(const struct comm *comm, int32_t peer, const struct comm_agreement *ours,
                 const struct comm_agreement *theirs, struct comm_failure *failure)
{
    if (ours->operation == theirs->operation && ours->detail == theirs->detail &&
        ours->count == theirs->count) {
        return true;
    }
    uint32_t operation = theirs->operation < COMM_OPERATIONS ? theirs->operation : 0;
    return comm_fail(failure, COMM_NOBODY,
                     "ranks disagree: %s of %zu in rank %d, %s of %zu in rank %d%s",
                     comm_operation_names[ours->operation], (size_t)ours->count, comm->rank,
                     comm_operation_names[operation], (size_t)theirs->count, peer,
                     ours->detail != theirs->detail ? ", other order or root" : "");
}

enum status comm_failed(const struct comm *comm, struct error *error)
{
    if (comm->failure.rank == COMM_NOBODY) {
        return error_set(error, STATUS_COMMUNICATION, "%s", comm->failure.reason);
    }
    return error_set(error, STATUS_COMMUNICATION, "rank %d failed: %s", comm->failure.rank,
                     comm->failure.reason);
}

/* Holding the lock. */
static void failure_set(struct comm *comm, struct comm_failure *failure)
{
    comm->ops->poison(comm, failure);
    comm->failure = *failure;
    atomic_store(&comm->failed, true);
}

/* What the control has failed with, a comm above it has failed with too. */
int32_t comm_failed_rank(const struct comm *comm)
{
    comm = comm->control ? comm->control : comm;
    return atomic_load(&comm->failed) ? comm->failure.rank : COMM_NOBODY;
}

void comm_list_missing(const bool *present, int32_t world, char *out, size_t size)
{
    size_t length = (size_t)snprintf(out, size, "rank");
    for (int32_t r = 0; r < world && length < size; r++) {
        if (!present[r]) {
            length += (size_t)snprintf(out + length, size - length, "%s %d",
                                       length > strlen("rank") ? "," : "", r);
        }
    }
}

/* ---- abort -------------------------------------------------------------------------------------
 */

bool comm_aborted(const struct comm *comm)
{
    return atomic_load(&comm->aborted);
}

static void deliver_abort(struct comm *comm)
{
    if (comm_aborted(comm) && !atomic_load(&comm->failed)) {
        struct comm_failure failure;
        comm_fail(&failure, comm->rank, "%s", comm->abort_reason);
        failure_set(comm, &failure);
    }
}

void comm_abort(struct comm *comm, const char *reason)
{
    if (comm->control) { /* first: whoever waits there holds this one's lock */
        comm_abort(comm->control, reason);
    }
    if (!atomic_exchange(&comm->abort_claimed, true)) {
        snprintf(comm->abort_reason, sizeof(comm->abort_reason), "%s", reason);
        atomic_store(&comm->aborted, true);
    }
    if (pthread_mutex_trylock(&comm->lock) == 0) {
        comm_end(comm, STATUS_OK);
    }
}

void comm_begin(struct comm *comm)
{
    CHECK(pthread_mutex_lock(&comm->lock) == 0);
}

enum status comm_end(struct comm *comm, enum status status)
{
    deliver_abort(comm);
    CHECK(pthread_mutex_unlock(&comm->lock) == 0);
    /* An abort between the two lines above found the lock taken and left. */
    if (comm_aborted(comm) && !atomic_load(&comm->failed)) {
        comm_begin(comm);
        deliver_abort(comm);
        CHECK(pthread_mutex_unlock(&comm->lock) == 0);
    }
    return status;
}

enum status comm_exchange_run(struct comm *comm, struct comm_exchange *exchange,
                              struct error *error)
{
    if (atomic_load(&comm->failed)) {
        return comm_failed(comm, error);
    }
    struct comm_failure failure;
    comm->sequence++;
    if (comm_aborted(comm)) {
        comm_fail(&failure, comm->rank, "%s", comm->abort_reason);
    } else if (comm->ops->exchange(comm, exchange, &failure)) {
        return STATUS_OK;
    }
    failure_set(comm, &failure);
    return comm_failed(comm, error);
}

enum status comm_sum_run(struct comm *comm, float *out, float *const *x,
                         const struct comm_order *order, size_t count, struct error *error)
{
    struct comm_failure failure;
    if (!comm->ops->sum) {
        comm_sum(out, (const float *const *)x, comm->world, order, count);
        return STATUS_OK;
    }
    if (comm->ops->sum(comm, out, x, order, count, &failure)) {
        return STATUS_OK;
    }
    failure_set(comm, &failure);
    return comm_failed(comm, error);
}

void comm_poison(struct comm *comm, struct comm_failure *failure)
{
    comm_begin(comm);
    if (!atomic_load(&comm->failed)) {
        failure_set(comm, failure);
    }
    *failure = comm->failure;
    comm_end(comm, STATUS_OK);
}
