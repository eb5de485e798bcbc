/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm_vec: one register of the instruction set, for the kernels and the packing of gemm.
 *
 * lane.h's unit is always 16 floats, two registers of AVX2; a product has no sum across lanes, so
 * here the register itself is the unit and the tile is shaped by how many of them there are.
 */
#ifndef TAILOR_WORKER_OPS_CPU_GEMM_VEC_H
#define TAILOR_WORKER_OPS_CPU_GEMM_VEC_H

#include <immintrin.h>
#include <stdint.h>

#define GEMM_INLINE static inline __attribute__((always_inline))

enum { LINE_FLOATS = 16 }; /* of a cache line */

/* Before a loop with a constant count over an array of registers. */
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#ifdef OPS_ISA_avx512

enum { VEC = 16 };
typedef __m512 vec;
typedef __mmask16 vec_mask;

/* The first n lanes; all of them for n >= VEC. */
GEMM_INLINE vec_mask vec_first(int64_t n)
{
    return n >= VEC ? (vec_mask)0xffff : (vec_mask)((1u << (unsigned)n) - 1u);
}

GEMM_INLINE vec vec_set1(float x)
{
    return _mm512_set1_ps(x);
}

GEMM_INLINE vec vec_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

/* Lanes outside the mask are 0, their memory is not touched. */
GEMM_INLINE vec vec_load_mask(const float *p, vec_mask mask)
{
    return _mm512_maskz_loadu_ps(mask, p);
}

GEMM_INLINE void vec_store(float *p, vec x)
{
    _mm512_storeu_ps(p, x);
}

GEMM_INLINE void vec_store_mask(float *p, vec_mask mask, vec x)
{
    _mm512_mask_storeu_ps(p, mask, x);
}

/* a·b + c, rounded once */
GEMM_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* bf16_round() of worker/ops/bf16.h in every lane */
GEMM_INLINE vec vec_bf16(vec x)
{
    __m512i bits = _mm512_castps_si512(x);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i near = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    near = _mm512_mask_or_epi32(near, nan, bits, _mm512_set1_epi32(0x00400000));
    return _mm512_castsi512_ps(_mm512_and_si512(near, _mm512_set1_epi32((int)0xffff0000u)));
}

/* rows[i] lane j becomes rows[j] lane i, in four rounds of exchanging halves of pairs: lanes 1 and
 * 2 apart inside 128 bits, then 128-bit quarters. */
GEMM_INLINE void vec_transpose(vec rows[VEC])
{
    vec t[VEC];
    UNROLL
    for (int i = 0; i < VEC; i += 4) {
        vec a = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
        vec b = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
        vec c = _mm512_unpacklo_ps(rows[i + 2], rows[i + 3]);
        vec d = _mm512_unpackhi_ps(rows[i + 2], rows[i + 3]);
        t[i] = _mm512_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm512_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        vec a = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88);
        vec b = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xdd);
        vec c = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88);
        vec d = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xdd);
        rows[i] = _mm512_shuffle_f32x4(a, c, 0x88);
        rows[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
        rows[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
        rows[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
}

#else

enum { VEC = 8 };
typedef __m256 vec;
typedef __m256i vec_mask;

GEMM_INLINE vec_mask vec_first(int64_t n)
{
    static const int32_t window[2 * VEC] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(const void *)(window + VEC - (n < VEC ? n : VEC)));
}

GEMM_INLINE vec vec_set1(float x)
{
    return _mm256_set1_ps(x);
}

GEMM_INLINE vec vec_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

GEMM_INLINE vec vec_load_mask(const float *p, vec_mask mask)
{
    return _mm256_maskload_ps(p, mask);
}

GEMM_INLINE void vec_store(float *p, vec x)
{
    _mm256_storeu_ps(p, x);
}

GEMM_INLINE void vec_store_mask(float *p, vec_mask mask, vec x)
{
    _mm256_maskstore_ps(p, mask, x);
}

GEMM_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

GEMM_INLINE vec vec_bf16(vec x)
{
    __m256i bits = _mm256_castps_si256(x);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i near = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x00400000));
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    near = _mm256_blendv_epi8(near, quiet, nan);
    return _mm256_castsi256_ps(_mm256_and_si256(near, _mm256_set1_epi32((int)0xffff0000u)));
}

GEMM_INLINE void vec_transpose(vec rows[VEC])
{
    vec t[VEC];
    UNROLL
    for (int i = 0; i < VEC; i += 4) {
        vec a = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
        vec b = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
        vec c = _mm256_unpacklo_ps(rows[i + 2], rows[i + 3]);
        vec d = _mm256_unpackhi_ps(rows[i + 2], rows[i + 3]);
        t[i] = _mm256_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        rows[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
        rows[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
    }
}

#endif

#endif
