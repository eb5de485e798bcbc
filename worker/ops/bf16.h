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

#endif
