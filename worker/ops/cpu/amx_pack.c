/* SPDX-License-Identifier: Apache-2.0
 *
 * amx_pack: an operand as bf16 tiles (amx.h).
 *
 * A tile is a square of 16 x 16 pairs of bf16 numbers. Rounding two registers of floats and laying
 * them side by side gives a row of the square along whichever index is contiguous in memory: the
 * pairs of one index, or one pair of 16 indices. Where the tile wants the other, the square is
 * transposed, as 32-bit lanes. So one routine serves both operands of all three products of a
 * linear layer; rejected: transposing bf16 numbers, twice the shuffles.
 */
#include "worker/ops/cpu/amx.h"
#include "worker/ops/cpu/gemm_vec.h"

enum { SIDE = 16, AHEAD_BLOCKS = 2, SPAN_GROUPS = 8 };

/* A tile's piece of the source: how much of it exists. */
struct piece {
    const float *src;
    int64_t stride; /* of what is not contiguous */
    int64_t indices, K;
};

GEMM_INLINE int64_t clamp(int64_t n, int64_t max)
{
    return n < 0 ? 0 : n > max ? max : n;
}

GEMM_INLINE __m512i two_rounded(vec high, vec low)
{
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

/* One index after the other; its pairs of k. */
GEMM_INLINE void rows_along_k(vec square[SIDE], const struct piece *piece)
{
    const vec_mask low = vec_first(clamp(piece->K, SIDE));
    const vec_mask high = vec_first(clamp(piece->K - SIDE, SIDE));
    UNROLL
    for (int i = 0; i < SIDE; i++) {
        const bool live = i < piece->indices;
        const float *row = piece->src + (live ? i : 0) * piece->stride;
        vec a = vec_load_mask(row, live ? low : 0);
        vec b = vec_load_mask(row + SIDE, live ? high : 0);
        square[i] = _mm512_castsi512_ps(two_rounded(b, a));
    }
}

GEMM_INLINE void whole_rows_along_k(vec square[SIDE], const struct piece *piece)
{
    UNROLL
    for (int i = 0; i < SIDE; i++) {
        const float *row = piece->src + i * piece->stride;
        _mm_prefetch((const char *)(row + AHEAD_BLOCKS * AMX_K), _MM_HINT_T0);
        _mm_prefetch((const char *)(row + AHEAD_BLOCKS * AMX_K + SIDE), _MM_HINT_T0);
        square[i] = _mm512_castsi512_ps(two_rounded(vec_load(row + SIDE), vec_load(row)));
    }
}

/* One pair of k after the other; all 16 indices. Lanes j and 16 + j of the two become pair j. */
GEMM_INLINE void rows_along_index(vec square[SIDE], const struct piece *piece)
{
    static const uint16_t interleaved[2 * SIDE] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                   21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                   11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i order = _mm512_loadu_si512(interleaved);
    const vec_mask mask = vec_first(clamp(piece->indices, SIDE));
    UNROLL
    for (int p = 0; p < SIDE; p++) {
        const bool even = 2 * p < piece->K, odd = 2 * p + 1 < piece->K;
        const float *row = piece->src + (even ? 2 * p : 0) * piece->stride;
        vec a = vec_load_mask(row, even ? mask : 0);
        vec b = vec_load_mask(row + (odd ? piece->stride : 0), odd ? mask : 0);
        square[p] = _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, two_rounded(b, a)));
    }
}

GEMM_INLINE void store(uint16_t *dst, vec square[SIDE], bool transpose)
{
    if (transpose) {
        vec_transpose(square);
    }
    UNROLL
    for (int i = 0; i < SIDE; i++) {
        _mm512_store_ps(dst + i * 2 * SIDE, square[i]);
    }
}

/* Neither stride is 1: nobody's hot path. */
static void gather(float block[SIDE * AMX_K], const struct amx_pack *pack, int64_t index, int64_t k)
{
    for (int64_t i = 0; i < SIDE; i++) {
        for (int64_t j = 0; j < AMX_K; j++) {
            const bool live = index + i < pack->indices && k + j < pack->K;
            block[i * AMX_K + j] =
                live ? pack->src[(index + i) * pack->index_stride + (k + j) * pack->k_stride]
                     : 0.0f;
        }
    }
}

/* The tile of the indices from `index` and the k from `k`. */
static void pack_tile(const struct amx_pack *pack, uint16_t *dst, int64_t index, int64_t k)
{
    struct piece piece = {.src = pack->src + index * pack->index_stride + k * pack->k_stride,
                          .indices = pack->indices - index,
                          .K = pack->K - k};
    vec square[SIDE];
    if (piece.indices <= 0) {
        for (int i = 0; i < SIDE; i++) {
            square[i] = _mm512_setzero_ps();
        }
        store(dst, square, false);
    } else if (pack->k_stride == 1) {
        piece.stride = pack->index_stride;
        if (piece.indices >= SIDE && piece.K >= AMX_K) {
            whole_rows_along_k(square, &piece);
        } else {
            rows_along_k(square, &piece);
        }
        store(dst, square, pack->pairs);
    } else if (pack->index_stride == 1) {
        piece.stride = pack->k_stride;
        rows_along_index(square, &piece);
        store(dst, square, !pack->pairs);
    } else {
        _Alignas(64) float block[SIDE * AMX_K];
        gather(block, pack, index, k);
        piece = (struct piece){.src = block, .stride = AMX_K, .indices = SIDE, .K = AMX_K};
        rows_along_k(square, &piece);
        store(dst, square, pack->pairs);
    }
}

/* A few groups at once, block after block of k: where indices are contiguous, each row of the
 * source is then read in one long piece. */
static void pack_span(const struct amx_pack *pack, int64_t first, int64_t groups)
{
    const int64_t blocks = (pack->K + AMX_K - 1) / AMX_K;
    for (int64_t block = 0; block < blocks; block++) {
        for (int64_t g = first; g < first + groups; g++) {
            uint16_t *dst = pack->dst + (g * blocks + block) * AMX_GROUP_NUMBERS;
            pack_tile(pack, dst, g * AMX_GROUP, block * AMX_K);
            pack_tile(pack, dst + AMX_NUMBERS, g * AMX_GROUP + AMX_INDICES, block * AMX_K);
        }
    }
}

void amx_pack(const struct amx_pack *pack)
{
    const int64_t groups = (pack->indices + AMX_GROUP - 1) / AMX_GROUP;
    const int64_t span = pack->k_stride == 1 ? 1 : SPAN_GROUPS;
    for (int64_t g = 0; g < groups; g += span) {
        pack_span(pack, g, groups - g < span ? groups - g : span);
    }
}
