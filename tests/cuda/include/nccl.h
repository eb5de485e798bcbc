/* SPDX-License-Identifier: Apache-2.0
 *
 * nccl: so much of NCCL's header as worker/comm uses, for the stub of tests/cuda (nccl_stub.c). It
 * stands before NCCL's own in the include path.
 */
#ifndef TAILOR_TESTS_CUDA_INCLUDE_NCCL_H
#define TAILOR_TESTS_CUDA_INCLUDE_NCCL_H

#include <cuda_runtime.h>
#include <limits.h>
#include <stddef.h>

#define NCCL_VERSION_CODE 22100

typedef struct stub_group *ncclComm_t;

typedef enum {
    ncclSuccess = 0,
    ncclUnhandledCudaError = 1,
    ncclSystemError = 2,
    ncclInternalError = 3,
    ncclInvalidArgument = 4,
    ncclInvalidUsage = 5,
    ncclRemoteError = 6,
    ncclInProgress = 7
} ncclResult_t;

typedef enum { ncclFloat32 = 7 } ncclDataType_t;

typedef struct {
    char internal[128];
} ncclUniqueId;

typedef struct {
    int magic, blocking;
} ncclConfig_t;
#define NCCL_CONFIG_INITIALIZER                                                                    \
    {                                                                                              \
        0x57ab, INT_MIN                                                                            \
    }

ncclResult_t ncclGetVersion(int *version);
ncclResult_t ncclGetUniqueId(ncclUniqueId *id);
ncclResult_t ncclCommInitRankConfig(ncclComm_t *group, int world, ncclUniqueId id, int rank,
                                    ncclConfig_t *config);
ncclResult_t ncclCommGetAsyncError(ncclComm_t group, ncclResult_t *state);
ncclResult_t ncclCommAbort(ncclComm_t group);
ncclResult_t ncclGroupStart(void);
ncclResult_t ncclGroupEnd(void);
ncclResult_t ncclSend(const void *data, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t group, cudaStream_t stream);
ncclResult_t ncclRecv(void *data, size_t count, ncclDataType_t type, int peer, ncclComm_t group,
                      cudaStream_t stream);
const char *ncclGetErrorString(ncclResult_t result);
const char *ncclGetLastError(ncclComm_t group);

#endif
