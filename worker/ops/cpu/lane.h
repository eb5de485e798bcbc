/* SPDX-License-Identifier: Apache-2.0
 *
 * lane: sixteen floats at a time, the one vector type of the fast path.
 *
 *     struct lanes sum = lanes_zero();
 *     for (j = 0; j + LANES <= n; j += LANES)
 *         sum = lanes_fma(lanes_load(x + j), lanes_load(x + j), sum);
 *     if (j < n) {
 *         struct lanes tail = lanes_load_tail(x + j, n - j, 0.0f);
 *         sum = lanes_fma(tail, tail, sum);
 *     }
 *     float squares = lanes_sum(sum);
 *
 * One AVX-512 register or two of AVX2: the width is 16 in both, so a partial sum j mod 16, a tail
 * and the reduction tree are the same arithmetic and give the same bits (ops.h, the numeric
 * contract). Everything here is IEEE arithmetic plus two polynomials, lanes_exp and lanes_log, that
 * are built of it; no approximate instruction (rcp, rsqrt, scalef, getexp) is used, because those
 * exist in one set only or differ between processors.
 *
 * Compiled only with OPS_ISA_avx2 or OPS_ISA_avx512 defined (CMakeLists.txt).
 */
#ifndef TAILOR_WORKER_OPS_CPU_LANE_H
#define TAILOR_WORKER_OPS_CPU_LANE_H

#include <immintrin.h>
#include <stdint.h>

enum { LANES = 16 };

#if defined(OPS_ISA_avx512)

struct lanes {
    __m512 all;
};

struct lane_mask {
    __mmask16 all;
};

struct lane_bits {
    __m512i all;
};

#define LANES_EACH(type, intrinsic, ...)    ((struct type){_mm512_##intrinsic(__VA_ARGS__)})
#define LANES_UNARY(type, intrinsic, a)     ((struct type){_mm512_##intrinsic((a).all)})
#define LANES_BINARY(type, intrinsic, a, b) ((struct type){_mm512_##intrinsic((a).all, (b).all)})
#define LANES_SHIFT(type, intrinsic, a, by) ((struct type){_mm512_##intrinsic((a).all, (by))})
#define LANES_TERNARY(type, intrinsic, a, b, c)                                                    \
    ((struct type){_mm512_##intrinsic((a).all, (b).all, (c).all)})
#define LANES_COMPARE(predicate, a, b)                                                             \
    ((struct lane_mask){_mm512_cmp_ps_mask((a).all, (b).all, predicate)})

#elif defined(OPS_ISA_avx2)

struct lanes {
    __m256 low, high;
};

struct lane_mask {
    __m256 low, high;
};

struct lane_bits {
    __m256i low, high;
};

#define LANES_EACH(type, intrinsic, ...)                                                           \
    ((struct type){_mm256_##intrinsic(__VA_ARGS__), _mm256_##intrinsic(__VA_ARGS__)})
#define LANES_UNARY(type, intrinsic, a)                                                            \
    ((struct type){_mm256_##intrinsic((a).low), _mm256_##intrinsic((a).high)})
#define LANES_BINARY(type, intrinsic, a, b)                                                        \
    ((struct type){_mm256_##intrinsic((a).low, (b).low), _mm256_##intrinsic((a).high, (b).high)})
#define LANES_SHIFT(type, intrinsic, a, by)                                                        \
    ((struct type){_mm256_##intrinsic((a).low, (by)), _mm256_##intrinsic((a).high, (by))})
#define LANES_TERNARY(type, intrinsic, a, b, c)                                                    \
    ((struct type){_mm256_##intrinsic((a).low, (b).low, (c).low),                                  \
                   _mm256_##intrinsic((a).high, (b).high, (c).high)})
#define LANES_COMPARE(predicate, a, b)                                                             \
    ((struct lane_mask){_mm256_cmp_ps((a).low, (b).low, predicate),                                \
                        _mm256_cmp_ps((a).high, (b).high, predicate)})

#else
#error "lane.h is for the sources that CMakeLists.txt compiles with OPS_ISA_avx2 or OPS_ISA_avx512"
#endif

/* ---- arithmetic: what IEEE 754 says, lane by lane ------------------------------------------- */

static inline struct lanes lanes_set1(float value)
{
    return LANES_EACH(lanes, set1_ps, value);
}

static inline struct lanes lanes_zero(void)
{
    return LANES_EACH(lanes, setzero_ps, );
}

static inline struct lanes lanes_add(struct lanes a, struct lanes b)
{
    return LANES_BINARY(lanes, add_ps, a, b);
}

static inline struct lanes lanes_sub(struct lanes a, struct lanes b)
{
    return LANES_BINARY(lanes, sub_ps, a, b);
}

static inline struct lanes lanes_mul(struct lanes a, struct lanes b)
{
    return LANES_BINARY(lanes, mul_ps, a, b);
}

static inline struct lanes lanes_div(struct lanes a, struct lanes b)
{
    return LANES_BINARY(lanes, div_ps, a, b);
}

static inline struct lanes lanes_sqrt(struct lanes a)
{
    return LANES_UNARY(lanes, sqrt_ps, a);
}

/* a · b + c, rounded once */
static inline struct lanes lanes_fma(struct lanes a, struct lanes b, struct lanes c)
{
    return LANES_TERNARY(lanes, fmadd_ps, a, b, c);
}

/* a · b − c, rounded once */
static inline struct lanes lanes_fms(struct lanes a, struct lanes b, struct lanes c)
{
    return LANES_TERNARY(lanes, fmsub_ps, a, b, c);
}

/* c − a · b, rounded once */
static inline struct lanes lanes_fnma(struct lanes a, struct lanes b, struct lanes c)
{
    return LANES_TERNARY(lanes, fnmadd_ps, a, b, c);
}

/* The larger; b where either is NaN or both are zeros. */
static inline struct lanes lanes_max(struct lanes a, struct lanes b)
{
    return LANES_BINARY(lanes, max_ps, a, b);
}

static inline struct lanes lanes_min(struct lanes a, struct lanes b)
{
    return LANES_BINARY(lanes, min_ps, a, b);
}

/* ---- masks ---------------------------------------------------------------------------------- */

static inline struct lane_mask lanes_less(struct lanes a, struct lanes b)
{
    return LANES_COMPARE(_CMP_LT_OQ, a, b);
}

static inline struct lane_mask lanes_less_equal(struct lanes a, struct lanes b)
{
    return LANES_COMPARE(_CMP_LE_OQ, a, b);
}

/* mask ? yes : no */
static inline struct lanes lanes_select(struct lane_mask mask, struct lanes yes, struct lanes no)
{
#if defined(OPS_ISA_avx512)
    return (struct lanes){_mm512_mask_blend_ps(mask.all, no.all, yes.all)};
#else
    return LANES_TERNARY(lanes, blendv_ps, no, yes, mask);
#endif
}

/* mask ? a : 0 */
static inline struct lanes lanes_keep(struct lane_mask mask, struct lanes a)
{
#if defined(OPS_ISA_avx512)
    return (struct lanes){_mm512_maskz_mov_ps(mask.all, a.all)};
#else
    return LANES_BINARY(lanes, and_ps, a, mask);
#endif
}

/* The first n lanes, 0 <= n <= 16. */
static inline struct lane_mask lane_mask_first(int64_t n)
{
#if defined(OPS_ISA_avx512)
    return (struct lane_mask){(__mmask16)((1u << (unsigned)n) - 1u)};
#else
    static const int32_t window[2 * LANES] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                              -1, -1, -1, -1, -1, -1, -1, -1};
    const float *first = (const float *)window + LANES - n;
    return (struct lane_mask){_mm256_loadu_ps(first), _mm256_loadu_ps(first + 8)};
#endif
}

/* ---- memory: no alignment is asked for ------------------------------------------------------ */

static inline struct lanes lanes_load(const float *x)
{
#if defined(OPS_ISA_avx512)
    return (struct lanes){_mm512_loadu_ps(x)};
#else
    return (struct lanes){_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)};
#endif
}

static inline void lanes_store(float *x, struct lanes a)
{
#if defined(OPS_ISA_avx512)
    _mm512_storeu_ps(x, a.all);
#else
    _mm256_storeu_ps(x, a.low);
    _mm256_storeu_ps(x + 8, a.high);
#endif
}

/* x[0 … n) and then `fill`; memory past x[n) is not touched. 0 <= n <= 16. */
static inline struct lanes lanes_load_tail(const float *x, int64_t n, float fill)
{
    struct lane_mask mask = lane_mask_first(n);
#if defined(OPS_ISA_avx512)
    return (struct lanes){_mm512_mask_loadu_ps(_mm512_set1_ps(fill), mask.all, x)};
#else
    struct lanes loaded = {_mm256_maskload_ps(x, _mm256_castps_si256(mask.low)),
                           _mm256_maskload_ps(x + 8, _mm256_castps_si256(mask.high))};
    return lanes_select(mask, loaded, lanes_set1(fill));
#endif
}

static inline void lanes_store_tail(float *x, int64_t n, struct lanes a)
{
    struct lane_mask mask = lane_mask_first(n);
#if defined(OPS_ISA_avx512)
    _mm512_mask_storeu_ps(x, mask.all, a.all);
#else
    _mm256_maskstore_ps(x, _mm256_castps_si256(mask.low), a.low);
    _mm256_maskstore_ps(x + 8, _mm256_castps_si256(mask.high), a.high);
#endif
}

/* min(16, n) lanes: the whole vector or a tail. n >= 1; for loops where the branch is not hot. */
static inline struct lanes lanes_load_some(const float *x, int64_t n, float fill)
{
    return n >= LANES ? lanes_load(x) : lanes_load_tail(x, n, fill);
}

static inline void lanes_store_some(float *x, int64_t n, struct lanes a)
{
    if (n >= LANES) {
        lanes_store(x, a);
    } else {
        lanes_store_tail(x, n, a);
    }
}

/* ---- the reduction trees: (0+8, 1+9, …), (0+4, …), (0+2, …), (0+1) -------------------------- */

#if defined(OPS_ISA_avx512)
#define LANES_LOW(a)  _mm512_castps512_ps256((a).all)
#define LANES_HIGH(a) _mm512_extractf32x8_ps((a).all, 1)
#else
#define LANES_LOW(a)  ((a).low)
#define LANES_HIGH(a) ((a).high)
#endif

static inline float lanes_first(struct lanes a)
{
    return _mm_cvtss_f32(_mm256_castps256_ps128(LANES_LOW(a)));
}

static inline float lanes_sum(struct lanes a)
{
    __m256 eight = _mm256_add_ps(LANES_LOW(a), LANES_HIGH(a));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

static inline float lanes_largest(struct lanes a)
{
    __m256 eight = _mm256_max_ps(LANES_LOW(a), LANES_HIGH(a));
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

/* ---- bits ----------------------------------------------------------------------------------- */

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
static inline struct lanes lanes_exp(struct lanes x)
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
    const struct lanes low = lanes_set1(-87.3365402f), high = lanes_set1(88.7228317f);
    result =
        lanes_select(lanes_less_equal(x, high), result, lanes_add(x, lanes_set1(__builtin_inff())));
    return lanes_select(lanes_less(x, low), lanes_zero(), result);
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
