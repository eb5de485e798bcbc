/* SPDX-License-Identifier: Apache-2.0
 *
 * rope: rotary position embedding, halves rotated in place.
 *
 * A block has a row, a thread every blockDim.x-th of its pairs: it reads both numbers of a pair and
 * writes both, and no other thread touches them. Neighbouring threads have neighbouring pairs, so
 * both halves are read in whole lines.
 */
#include "worker/ops_cuda/launch.h"

enum { THREADS = 128 };

/* (a, b)  →  (a·c − b·s, b·c + a·s); backward: s → −s */
__global__ static void rope_kernel(float *x, int32_t ldx, const int32_t *position,
                                   const float *table, int32_t heads, int32_t D, bool backward)
{
    const int32_t half = D / 2;
    float *row = x + (int64_t)blockIdx.x * ldx;
    const float *angles = table + (int64_t)position[blockIdx.x] * D;
    for (int32_t pair = (int32_t)threadIdx.x; pair < heads * half; pair += THREADS) {
        const int32_t j = pair % half;
        float *low = row + pair / half * D + j, *high = low + half;
        const float c = angles[2 * j];
        const float s = backward ? -angles[2 * j + 1] : angles[2 * j + 1];
        const float a = *low, b = *high;
        *low = a * c - b * s;
        *high = b * c + a * s;
    }
}

extern "C" void cuda_rope(struct device *device, real *x, int32_t ldx, const int32_t *position,
                          const float *table, int32_t rows, int32_t heads, int32_t D, bool backward)
{
    CHECK(D % 2 == 0 && ldx >= heads * D);
    if (rows > 0 && heads > 0) {
        LAUNCH(rope_kernel, rows, THREADS, 0, device, x, ldx, position, table, heads, D, backward);
    }
}
