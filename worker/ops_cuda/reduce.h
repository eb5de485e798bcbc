/* SPDX-License-Identifier: Apache-2.0
 *
 * reduce: how threads read a row together, and how their sums become one. For .cu files alone.
 *
 * THE ORDER of a sum over a row of n numbers depends on n and on the number of threads alone, which
 * a kernel takes from n or fixes. Thread t of T takes the quads (four neighbours) t, t + T, … of
 * the row in turn, and within a quad its numbers in turn; behind the row's end are zeros. Then the
 * threads' sums are added by butterflies: lane j of a warp and lane j ^ 16, then j ^ 8, …, and so
 * once more over the warps of a block. Both partners of an exchange add the same two numbers, in
 * one order or the other, which is the same to the bit: so each thread ends with the same sum, and
 * nothing needs to be sent back. Whether a quad is read by one access or by four changes nothing.
 *
 * Rejected: sums in shared memory by halving, which take a barrier for each step.
 */
#ifndef TAILOR_WORKER_OPS_CUDA_REDUCE_H
#define TAILOR_WORKER_OPS_CUDA_REDUCE_H

#include "worker/ops_cuda/launch.h"

enum { QUAD = 4 };

/* ---- quads ----------------------------------------------------------------------------------- */

/* Whether quads of this matrix may be read and written by one access of 16 bytes. A NULL may. */
static inline bool quads_aligned(const void *at, int64_t ld)
{
    return (uintptr_t)at % sizeof(float4) == 0 && ld % QUAD == 0;
}

/* x[c] … x[c + 3] of a row of n; zeros behind its end. `vector`: n is a multiple of 4 and x lies at
 * one of 16 bytes. */
__device__ static inline float4 quad_load(const float *x, int32_t c, int32_t n, bool vector)
{
    if (vector) {
        return *(const float4 *)(x + c);
    }
    return make_float4(x[c], c + 1 < n ? x[c + 1] : 0.0f, c + 2 < n ? x[c + 2] : 0.0f,
                       c + 3 < n ? x[c + 3] : 0.0f);
}

__device__ static inline void quad_store(float *x, float4 q, int32_t c, int32_t n, bool vector)
{
    if (vector) {
        *(float4 *)(x + c) = q;
        return;
    }
    x[c] = q.x;
    if (c + 1 < n) {
        x[c + 1] = q.y;
    }
    if (c + 2 < n) {
        x[c + 2] = q.z;
    }
    if (c + 3 < n) {
        x[c + 3] = q.w;
    }
}

__device__ static inline float4 quad_add(float4 a, float4 b)
{
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

__device__ static inline float4 quad_mul(float4 a, float4 b)
{
    return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w);
}

__device__ static inline float4 quad_scale(float4 a, float by)
{
    return make_float4(a.x * by, a.y * by, a.z * by, a.w * by);
}

/* a·b + c, fused */
__device__ static inline float4 quad_fma(float4 a, float b, float4 c)
{
    return make_float4(fmaf(a.x, b, c.x), fmaf(a.y, b, c.y), fmaf(a.z, b, c.z), fmaf(a.w, b, c.w));
}

/* sum + a·b over the four, a chain of fused multiply-adds */
__device__ static inline float quad_dot(float4 a, float4 b, float sum)
{
    return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

/* ---- sums ------------------------------------------------------------------------------------ */

__device__ static inline float warp_sum(float x)
{
    for (int step = WARP / 2; step > 0; step /= 2) {
        x += __shfl_xor_sync(FULL_WARP, x, step);
    }
    return x;
}

__device__ static inline float warp_max(float x)
{
    for (int step = WARP / 2; step > 0; step /= 2) {
        x = fmaxf(x, __shfl_xor_sync(FULL_WARP, x, step));
    }
    return x;
}

/* Puts the warps' values into `shared` (WARP floats) and gives lane j that of warp j, `none` where
 * there is no such warp. The first barrier makes them seen; the second lets `shared` be used again.
 */
__device__ static inline float warps_exchange(float x, float none, float *shared)
{
    const int lane = (int)threadIdx.x % WARP, warp = (int)threadIdx.x / WARP;
    if (lane == 0) {
        shared[warp] = x;
    }
    __syncthreads();
    x = lane < (int)blockDim.x / WARP ? shared[lane] : none;
    __syncthreads();
    return x;
}

/* Of all threads of a block of whole warps along x. */
__device__ static inline float block_sum(float x, float *shared)
{
    return warp_sum(warps_exchange(warp_sum(x), 0.0f, shared));
}

__device__ static inline float block_max(float x, float *shared)
{
    return warp_max(warps_exchange(warp_max(x), -INFINITY, shared));
}

#endif
