/* SPDX-License-Identifier: Apache-2.0
 *
 * bf16: the upper half of an fp32 number: 8 bits of exponent, 8 of significand.
 *
 * Emulation rounds the operands of linear_* here and multiplies them in fp32, where the product of
 * two bf16 numbers is exact. Hence the only difference to native instructions is how the sum is
 * rounded. The vector kernels round with the same integer arithmetic.
 */
#ifndef TAILOR_WORKER_OPS_BF16_H
#define TAILOR_WORKER_OPS_BF16_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* The nearest bf16 number, ties to even; too large becomes infinite, NaN stays NaN. */
static inline float bf16_round(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        bits |= 0x00400000u; /* quiet: dropping the lower half must not leave an infinity */
    } else {
        bits += 0x7fffu + ((bits >> 16) & 1u);
    }
    bits &= 0xffff0000u;
    memcpy(&x, &bits, sizeof(bits));
    return x;
}

/* AMX knows no numbers below 2^-126: those are zeros, in operands and in results. */
static inline float bf16_amx_flush(float x)
{
    return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x;
}

/* One block of AMX's sum (worker/ops/cpu/amx.h): c plus the products of 32 pairs of numbers, those
 * behind `count` being zeros. Bit for bit what the instruction TDPBF16PS computes, but where a
 * result is within half an ulp below 2^-126. */
static inline float bf16_amx_block(float c, const float *a, const float *b, int count)
{
    float sums[2] = {0.0f, 0.0f};
    for (int k = 0; k < 32; k++) {
        float x = k < count ? bf16_round(bf16_amx_flush(a[k])) : 0.0f;
        float y = k < count ? bf16_round(bf16_amx_flush(b[k])) : 0.0f;
        sums[k % 2] = bf16_amx_flush(fmaf(x, y, sums[k % 2]));
    }
    return bf16_amx_flush(bf16_amx_flush(c) + bf16_amx_flush(sums[0] + sums[1]));
}

#endif
