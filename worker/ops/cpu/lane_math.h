/* SPDX-License-Identifier: Apache-2.0
 *
 * lane_math: exp and log of sixteen floats (lane.h), with the same bits in every lane and from both
 * instruction sets: one polynomial each, evaluated with fused multiply-adds, and integer arithmetic
 * on the exponents. The errors stated were measured over all 2³² floats.
 */
#ifndef TAILOR_WORKER_OPS_CPU_LANE_MATH_H
#define TAILOR_WORKER_OPS_CPU_LANE_MATH_H

#include "worker/ops/cpu/lane.h"

/* ---- bits ----------------------------------------------------------------------------------- */

#if defined(OPS_ISA_avx512)
struct lane_bits {
    __m512i all;
};
#define LANES_SHIFT(type, intrinsic, a, by) ((struct type){_mm512_##intrinsic((a).all, (by))})
#else
struct lane_bits {
    __m256i low, high;
};
#define LANES_SHIFT(type, intrinsic, a, by)                                                        \
    ((struct type){_mm256_##intrinsic((a).low, (by)), _mm256_##intrinsic((a).high, (by))})
#endif

static inline struct lane_bits lanes_to_bits(struct lanes a)
{
#if defined(OPS_ISA_avx512)
    return LANES_UNARY(lane_bits, castps_si512, a);
#else
    return LANES_UNARY(lane_bits, castps_si256, a);
#endif
}

static inline struct lanes lanes_from_bits(struct lane_bits a)
{
#if defined(OPS_ISA_avx512)
    return LANES_UNARY(lanes, castsi512_ps, a);
#else
    return LANES_UNARY(lanes, castsi256_ps, a);
#endif
}

static inline struct lane_bits lane_bits_set1(int32_t value)
{
    return LANES_EACH(lane_bits, set1_epi32, value);
}

static inline struct lane_bits lane_bits_add(struct lane_bits a, struct lane_bits b)
{
    return LANES_BINARY(lane_bits, add_epi32, a, b);
}

static inline struct lane_bits lane_bits_sub(struct lane_bits a, struct lane_bits b)
{
    return LANES_BINARY(lane_bits, sub_epi32, a, b);
}

static inline struct lane_bits lane_bits_and(struct lane_bits a, struct lane_bits b)
{
#if defined(OPS_ISA_avx512)
    return LANES_BINARY(lane_bits, and_si512, a, b);
#else
    return LANES_BINARY(lane_bits, and_si256, a, b);
#endif
}

/* ---- exp and log ---------------------------------------------------------------------------- */

/* eˣ within 1.1 ulp where it is a normal float. Below the smallest normal float it is 0: a softmax
 * weight of 1e-38 means nothing, while subnormal factors make a product of matrices a hundred times
 * slower. −inf → 0, overflow → inf, NaN → NaN.
 *
 * x = n·ln 2 + r with |r| <= ln 2 / 2, ln 2 in two parts; eʳ = 1 + r + r²·P(r). Adding 1.5·2²³
 * rounds x/ln 2 to the integer n and leaves it in the low bits, from where a shift puts it into the
 * exponent. */
static inline struct lanes lanes_exp_below(struct lanes x)
{
    const struct lanes round = lanes_set1(12582912.0f);
    struct lanes shifted = lanes_fma(x, lanes_set1(1.44269504089f), round);
    struct lanes n = lanes_sub(shifted, round);
    struct lanes r = lanes_fnma(n, lanes_set1(0.693359375f), x);
    r = lanes_fnma(n, lanes_set1(-2.12194440e-4f), r);

    struct lanes p = lanes_set1(1.9875691500e-4f);
    p = lanes_fma(p, r, lanes_set1(1.3981999507e-3f));
    p = lanes_fma(p, r, lanes_set1(8.3334519073e-3f));
    p = lanes_fma(p, r, lanes_set1(4.1665795894e-2f));
    p = lanes_fma(p, r, lanes_set1(1.6666665459e-1f));
    p = lanes_fma(p, r, lanes_set1(5.0000001201e-1f));
    p = lanes_fma(lanes_mul(p, r), r, r);
    p = lanes_add(p, lanes_set1(1.0f));

    struct lane_bits exponent = LANES_SHIFT(lane_bits, slli_epi32, lanes_to_bits(shifted), 23);
    struct lanes result = lanes_from_bits(lane_bits_add(lanes_to_bits(p), exponent));
    return lanes_select(lanes_less(x, lanes_set1(-87.3365402f)), lanes_zero(), result);
}

/* eˣ for every x. lanes_exp_below is for x <= 88, such as a difference to a maximum, and for NaN as
 * arithmetic makes it (without a payload): a sixth less work, of which attention has most. */
static inline struct lanes lanes_exp(struct lanes x)
{
    const struct lanes high = lanes_set1(88.7228317f), infinite = lanes_set1(__builtin_inff());
    return lanes_select(lanes_less_equal(x, high), lanes_exp_below(x), lanes_add(x, infinite));
}

/* ln x within 1 ulp. 0 → −inf, negative → NaN, inf → inf, NaN → NaN.
 *
 * x = 2ᵉ·m with m in [√½, √2); ln m = f − f²/2 + f³·P(f) with f = m − 1. */
static inline struct lanes lanes_log(struct lanes x)
{
    const struct lane_bits sqrt_half = lane_bits_set1(0x3f3504f3);
    struct lane_mask subnormal = lanes_less(x, lanes_set1(1.17549435e-38f));
    struct lanes normal = lanes_select(subnormal, lanes_mul(x, lanes_set1(8388608.0f)), x);
    struct lane_bits shifted = lane_bits_sub(lanes_to_bits(normal), sqrt_half);
    struct lanes e =
        LANES_UNARY(lanes, cvtepi32_ps, (LANES_SHIFT(lane_bits, srai_epi32, shifted, 23)));
    e = lanes_sub(e, lanes_keep(subnormal, lanes_set1(23.0f)));
    struct lane_bits m = lane_bits_add(lane_bits_and(shifted, lane_bits_set1(0x7fffff)), sqrt_half);
    struct lanes f = lanes_sub(lanes_from_bits(m), lanes_set1(1.0f));

    struct lanes p = lanes_set1(7.0376836292e-2f);
    p = lanes_fma(p, f, lanes_set1(-1.1514610310e-1f));
    p = lanes_fma(p, f, lanes_set1(1.1676998740e-1f));
    p = lanes_fma(p, f, lanes_set1(-1.2420140846e-1f));
    p = lanes_fma(p, f, lanes_set1(1.4249322787e-1f));
    p = lanes_fma(p, f, lanes_set1(-1.6668057665e-1f));
    p = lanes_fma(p, f, lanes_set1(2.0000714765e-1f));
    p = lanes_fma(p, f, lanes_set1(-2.4999993993e-1f));
    p = lanes_fma(p, f, lanes_set1(3.3333331174e-1f));
    struct lanes square = lanes_mul(f, f);
    p = lanes_mul(lanes_mul(p, f), square);
    p = lanes_fma(e, lanes_set1(-2.12194440e-4f), p);
    p = lanes_fnma(lanes_set1(0.5f), square, p);
    struct lanes result = lanes_fma(e, lanes_set1(0.693359375f), lanes_add(f, p));

    result = lanes_select(lanes_less(x, lanes_set1(__builtin_inff())), result, x);
    struct lanes at_zero = lanes_set1(-__builtin_inff()), below = lanes_set1(__builtin_nanf(""));
    result = lanes_select(lanes_less_equal(x, lanes_zero()), at_zero, result);
    return lanes_select(lanes_less(x, lanes_zero()), below, result);
}

#endif
