/* SPDX-License-Identifier: Apache-2.0
 *
 * half: see half.h.
 */
#include "worker/model/half.h"

#include <math.h>
#include <string.h>

#include "worker/ops/bf16.h"

static uint32_t float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static float bits_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

float half_f16_widen(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000u) << 16;
    uint32_t exponent = bits >> 10 & 31u;
    uint32_t fraction = bits & 1023u;
    if (exponent == 31) {
        return bits_float(sign | 0x7f800000u | fraction << 13);
    }
    if (exponent == 0) { /* subnormal: a multiple of 2^-24 */
        return bits_float(sign | float_bits((float)fraction * 0x1p-24f));
    }
    return bits_float(sign | (exponent + 112) << 23 | fraction << 13);
}

float half_bf16_widen(uint16_t bits)
{
    return bits_float((uint32_t)bits << 16);
}

uint16_t half_f16_round(float value)
{
    uint32_t bits = float_bits(value);
    uint32_t sign = bits >> 16 & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) {
        return (uint16_t)(sign | 0x7e00u);
    }
    if (bits >= 0x477ff000u) { /* from 65520 on, nearest is infinity */
        return (uint16_t)(sign | 0x7c00u);
    }
    if (bits < 0x38800000u) { /* below 2^-14: count multiples of 2^-24 */
        return (uint16_t)(sign | (uint32_t)lrintf(bits_float(bits) * 0x1p24f));
    }
    bits -= 112u << 23;
    bits += 0xfffu + (bits >> 13 & 1u);
    return (uint16_t)(sign | bits >> 13);
}

uint16_t half_bf16_round(float value)
{
    return (uint16_t)(float_bits(bf16_round(value)) >> 16);
}

size_t finite_prefix(const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if ((float_bits(values[i]) & 0x7f800000u) == 0x7f800000u) {
            return i;
        }
    }
    return count;
}
