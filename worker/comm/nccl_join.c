/* SPDX-License-Identifier: Apache-2.0
 *
 * nccl_join: first the control, which proves who is who; then NCCL's communicator, made from an id
 * that rank 0 makes and the control carries. An id serves one term, as the control does.
 *
 * A rank that cannot go on tells the others before it returns: nobody waits for it in NCCL.
 * Rejected: the id by the agent, which would have to load NCCL for it.
 */
#include <string.h>

#include "lib/check.h"
#include "worker/comm/nccl.h"

#if NCCL_VERSION_CODE < NCCL_VERSION_MIN
#error "NCCL 2.18 or newer is needed: older ones have communicators that only block"
#endif

/* What this rank cannot do, told to the others. */
static enum status refused(struct comm *comm, struct error *error)
{
    struct comm_failure failure;
    comm_fail(&failure, comm->rank, "%s", error->text);
    nccl_poison(comm, &failure);
    return error->status;
}

static enum status failed(struct comm *comm, struct comm_failure *failure, struct error *error)
{
    nccl_poison(comm, failure);
    return comm_failed(comm->control, error);
}

static enum status gpu_open(struct nccl *nccl, struct error *error)
{
    cudaError_t result =
        cudaFree(NULL); /* makes CUDA's own context, so that what fails, fails here */
    if (result == cudaSuccess) {
        result = cudaStreamCreateWithFlags(&nccl->stream, cudaStreamNonBlocking);
    }
    if (result != cudaSuccess) {
        nccl->stream = NULL;
        return error_set(error, STATUS_UNSUPPORTED,
                         "no GPU can be used: %s; look at nvidia-smi and CUDA_VISIBLE_DEVICES",
                         cudaGetErrorString(result));
    }
    return STATUS_OK;
}

static enum status version_check(int32_t version, struct error *error)
{
    if (version < NCCL_VERSION_MIN) {
        return error_set(
            error, STATUS_UNSUPPORTED,
            "NCCL is of version %d.%d here: 2.18 is the least; look at LD_LIBRARY_PATH",
            version / 10000, version % 10000 / 100);
    }
    return STATUS_OK;
}

/* Ranks with different versions of NCCL would hang or worse. */
static enum status versions_compare(struct comm *comm, int32_t version, struct error *error)
{
    int32_t all[COMM_WORLD_MAX];
    TRY(comm_all_gather_bytes(comm->control, &version, sizeof(version), all, error));
    for (int32_t r = 1; r < comm->world; r++) {
        if (all[r] != all[0]) {
            struct comm_failure failure;
            comm_fail(&failure, COMM_NOBODY,
                      "rank 0 has NCCL %d.%d.%d, rank %d %d.%d.%d: all must have one version",
                      all[0] / 10000, all[0] % 10000 / 100, all[0] % 100, r, all[r] / 10000,
                      all[r] % 10000 / 100, all[r] % 100);
            return failed(comm, &failure, error);
        }
    }
    return STATUS_OK;
}

static enum status group_open(struct nccl *nccl, struct error *error)
{
    struct comm *comm = nccl->comm;
    struct comm_failure failure;
    ncclUniqueId id = {0};
    ncclResult_t result = ncclSuccess;
    if (comm->rank == 0) {
        NCCL_WATCHED(nccl, result, ncclGetUniqueId(&id));
        if (result != ncclSuccess) {
            nccl_fail(nccl, "ncclGetUniqueId", result, &failure);
            return failed(comm, &failure, error);
        }
    }
    TRY(comm_broadcast(comm->control, &id, sizeof(id), 0, error));
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    NCCL_WATCHED(nccl, result,
                 ncclCommInitRankConfig(&nccl->group, comm->world, id, comm->rank, &config));
    if (result != ncclSuccess && result != ncclInProgress) {
        nccl->group = NULL;
    }
    const struct comm_agreement agreement = {COMM_BARRIER, 0, 0};
    if (!nccl_settle(nccl, "ncclCommInitRankConfig", result, COMM_NOBODY, &failure) ||
        !nccl_meet(nccl, &agreement, &failure)) {
        return failed(comm, &failure, error);
    }
    nccl->joined = true;
    return STATUS_OK;
}

enum status nccl_join(struct comm *comm, const struct comm_options *options, struct error *error)
{
    struct nccl *nccl = comm->transport;
    struct comm_options beneath = *options;
    beneath.backend = options->beneath;
    CHECK(beneath.backend == COMM_SHM || beneath.backend == COMM_TCP);
    TRY(comm_open(&beneath, &comm->control, error));
    nccl->watch = nccl_watch_start(comm->control, options->ending);
    if (nccl->watch == NULL) {
        error_set(error, STATUS_MEMORY, "cannot start the thread that watches NCCL");
        return refused(comm, error);
    }
    int version = 0;
    ncclResult_t result;
    NCCL_WATCHED(nccl, result, ncclGetVersion(&version));
    if (gpu_open(nccl, error) != STATUS_OK ||
        version_check(result == ncclSuccess ? version : 0, error) != STATUS_OK) {
        return refused(comm, error);
    }
    TRY(versions_compare(comm, version, error));
    return group_open(nccl, error);
}
