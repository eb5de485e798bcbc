/* SPDX-License-Identifier: Apache-2.0
 *
 * lane: sixteen floats at a time, the one vector type of the fast path.
 *
 *     struct lanes sum = lanes_zero();
 *     for (j = 0; j < n; j += LANES) {
 *         struct lanes x = lanes_load_some(row + j, n - j, 0.0f);
 *         sum = lanes_fma(x, x, sum);
 *     }
 *     float squares = lanes_sum(sum);
 *
 * One AVX-512 register or two of AVX2: the width is 16 in both, so a partial sum j mod 16, a tail
 * and the reduction tree are the same arithmetic and give the same bits (ops.h, the numeric
 * contract). Everything here is IEEE arithmetic; lane_math.h builds exp and log of it. No
 * approximate instruction (rcp, rsqrt, scalef, getexp) is used, because those exist in one set only
 * or differ between processors.
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

#define LANES_EACH(type, intrinsic, ...)    ((struct type){_mm512_##intrinsic(__VA_ARGS__)})
#define LANES_UNARY(type, intrinsic, a)     ((struct type){_mm512_##intrinsic((a).all)})
#define LANES_BINARY(type, intrinsic, a, b) ((struct type){_mm512_##intrinsic((a).all, (b).all)})
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

#define LANES_EACH(type, intrinsic, ...)                                                           \
    ((struct type){_mm256_##intrinsic(__VA_ARGS__), _mm256_##intrinsic(__VA_ARGS__)})
#define LANES_UNARY(type, intrinsic, a)                                                            \
    ((struct type){_mm256_##intrinsic((a).low), _mm256_##intrinsic((a).high)})
#define LANES_BINARY(type, intrinsic, a, b)                                                        \
    ((struct type){_mm256_##intrinsic((a).low, (b).low), _mm256_##intrinsic((a).high, (b).high)})
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

#endif
