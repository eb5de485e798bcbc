/* SPDX-License-Identifier: Apache-2.0
 *
 * launch: how kernels are written and launched, so that one source serves nvcc and the emulation of
 * tests/cuda, which has no <<<>>>. For .cu files alone.
 *
 *     __global__ static void scale_kernel(float *x, float by, int32_t count) { … }
 *     LAUNCH(scale_kernel, blocks, threads, shared_bytes, device, x, by, count);
 *
 * In a kernel: shared memory is `__shared__ float tile[…];`; warps communicate by __shfl_sync,
 * __shfl_xor_sync, __ballot_sync and __syncwarp with the full mask, blocks by __syncthreads, and
 * every thread of a warp (block) reaches each of them. No device-side printf, assert or malloc; no
 * textures, no thread-block clusters, no cooperative groups. Tensor cores only through mma.h.
 */
#ifndef TAILOR_WORKER_OPS_CUDA_LAUNCH_H
#define TAILOR_WORKER_OPS_CUDA_LAUNCH_H

#include "worker/ops_cuda/cuda.h"

#define WARP      32
#define FULL_WARP 0xffffffffu

#ifdef TAILOR_EMULATE
#include "tests/cuda/emulate.h" /* LAUNCH and the built-ins by their definition */
#else
#define LAUNCH(kernel, grid, block, shared_bytes, device, ...)                                     \
    do {                                                                                           \
        kernel<<<(grid), (block), (shared_bytes), cuda_context(device)->stream>>>(__VA_ARGS__);    \
        cuda_check(cudaGetLastError(), #kernel);                                                   \
    } while (0)
#endif

/* How many blocks of `size` cover `count`. */
static inline int32_t blocks_of(int64_t count, int32_t size)
{
    const int64_t blocks = (count + size - 1) / size;
    CHECK(count >= 0 && blocks <= INT32_MAX);
    return (int32_t)blocks;
}

#endif
