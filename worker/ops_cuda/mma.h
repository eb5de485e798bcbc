/* SPDX-License-Identifier: Apache-2.0
 *
 * mma: the tensor cores' product of small matrices, the only way in which kernels reach them.
 *
 * Lane l of a warp has g = l / 4 and q = l % 4. It holds, two bf16 numbers a word, the lower one in
 * the lower half:
 *     a[0]: row g, columns 2q and 2q + 1;  a[1]: row g + 8;  a[2], a[3]: the same, columns + 8
 *     b[0]: column g, rows 2q and 2q + 1;  b[1]: rows + 8
 *     d[0], d[1]: row g, columns 2q and 2q + 1;  d[2], d[3]: row g + 8
 * (PTX, mma.m16n8k16 with .bf16). An accumulator d of scores therefore is, packed, half of the `a`
 * of the next product. All lanes take part.
 */
#ifndef TAILOR_WORKER_OPS_CUDA_MMA_H
#define TAILOR_WORKER_OPS_CUDA_MMA_H

#include "worker/ops_cuda/launch.h"

enum { MMA_ROWS = 16, MMA_COLUMNS = 8, MMA_DEPTH = 16 };

#ifdef TAILOR_EMULATE

#include "worker/ops/bf16.h" /* bf16_round */

__device__ static inline uint32_t bf16_pair(float low, float high)
{
    return __float_as_uint(bf16_round(low)) >> 16 | __float_as_uint(bf16_round(high));
}

__device__ static inline void mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2])
{
    emulated_product(d, a, b);
}

#else

/* Rounded to the nearest, ties to even, as worker/ops/bf16.h does; a NaN is one bit pattern. */
__device__ static inline uint32_t bf16_pair(float low, float high)
{
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

__device__ static inline void mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2])
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* The nearest bf16 number. */
__device__ static inline float bf16_round(float x)
{
    return __uint_as_float(bf16_pair(x, 0.0f) << 16);
}

#endif

#endif
