/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm_pack: rearranges an operand so that a tile reads it front to back.
 *
 * Of two strides one is nearly always 1. If it is the inner one, rows are copied; if the outer one,
 * squares of VEC x VEC are transposed in registers. In a transposition the outer index runs
 * fastest: VEC rows of the source are then VEC sequential streams, which the hardware prefetches;
 * the 48 or 64 of a whole panel at once would be too many for it.
 */
#include "worker/ops/bf16.h"
#include "worker/ops/cpu/gemm_kernel.h"

GEMM_INLINE vec rounded(vec x, bool bf16)
{
    return bf16 ? vec_bf16(x) : x;
}

GEMM_INLINE void copy(const struct gemm_pack *pack, bool bf16)
{
    for (int64_t o = 0; o < pack->outer; o++) {
        const float *src = pack->src + o * pack->outer_stride;
        float *dst = pack->dst + o * pack->lddst;
        int64_t i = 0;
        for (; i + VEC <= pack->inner; i += VEC) {
            vec_store(dst + i, rounded(vec_load(src + i), bf16));
        }
        for (; i < pack->width; i += VEC) {
            int64_t live = pack->inner > i ? pack->inner - i : 0;
            vec x = vec_load_mask(src + (live ? i : 0), vec_first(live));
            vec_store_mask(dst + i, vec_first(pack->width - i), rounded(x, bf16));
        }
    }
}

/* The VEC columns from i of every row of dst. */
GEMM_INLINE void transpose_columns(const struct gemm_pack *pack, int64_t i, bool bf16)
{
    const int64_t stride = pack->inner_stride;
    const int64_t live = pack->inner - i < VEC ? pack->inner - i : VEC;
    const vec_mask stored = vec_first(pack->width - i);
    const float *src = pack->src + i * stride;
    float *dst = pack->dst + i;
    for (int64_t o = 0; o < pack->outer; o += VEC) {
        const int64_t rows = pack->outer - o < VEC ? pack->outer - o : VEC;
        vec square[VEC];
        if (live == VEC && rows == VEC) {
            UNROLL
            for (int j = 0; j < VEC; j++) {
                square[j] = rounded(vec_load(src + j * stride + o), bf16);
            }
        } else {
            UNROLL
            for (int j = 0; j < VEC; j++) {
                vec_mask mask = vec_first(j < live ? rows : 0);
                square[j] =
                    rounded(vec_load_mask(src + (j < live ? j : 0) * stride + o, mask), bf16);
            }
        }
        vec_transpose(square);
        UNROLL
        for (int j = 0; j < VEC; j++) {
            if (j < rows) {
                vec_store_mask(dst + (o + j) * pack->lddst, stored, square[j]);
            }
        }
    }
}

GEMM_INLINE void transpose(const struct gemm_pack *pack, bool bf16)
{
    int64_t i = 0;
    for (; i < pack->inner; i += VEC) {
        transpose_columns(pack, i, bf16);
    }
    for (int64_t o = 0; o < pack->outer; o++) {
        for (int64_t j = i; j < pack->width; j += VEC) {
            vec_store_mask(pack->dst + o * pack->lddst + j, vec_first(pack->width - j),
                           vec_set1(0.0f));
        }
    }
}

/* Neither stride is 1: nobody's hot path. */
static void gather(const struct gemm_pack *pack)
{
    for (int64_t o = 0; o < pack->outer; o++) {
        for (int64_t i = 0; i < pack->width; i++) {
            float x = 0.0f;
            if (i < pack->inner) {
                x = pack->src[o * pack->outer_stride + i * pack->inner_stride];
            }
            pack->dst[o * pack->lddst + i] = pack->bf16 ? bf16_round(x) : x;
        }
    }
}

void OPS_FN(gemm_pack)(const struct gemm_pack *pack)
{
    if (pack->inner_stride == 1) {
        if (pack->bf16) {
            copy(pack, true);
        } else {
            copy(pack, false);
        }
    } else if (pack->outer_stride == 1) {
        if (pack->bf16) {
            transpose(pack, true);
        } else {
            transpose(pack, false);
        }
    } else {
        gather(pack);
    }
}
