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

/* How far ahead of the reading the source is fetched: rows when copying, floats of each of the VEC
 * streams when transposing. */
enum { AHEAD_ROWS = 6, AHEAD_FLOATS = 4 * LINE_FLOATS };

GEMM_INLINE vec rounded(vec x, bool bf16)
{
    return bf16 ? vec_bf16(x) : x;
}

/* One row of one panel, of which `live` numbers exist. */
GEMM_INLINE void copy_row(float *dst, const float *src, int64_t live, int64_t width, bool bf16)
{
    int64_t i = 0;
    for (; i + VEC <= live; i += VEC) {
        vec_store(dst + i, rounded(vec_load(src + i), bf16));
    }
    for (; i < width; i += VEC) {
        vec x = vec_load_mask(src + (live > i ? i : 0), vec_first(live > i ? live - i : 0));
        vec_store_mask(dst + i, vec_first(width - i), rounded(x, bf16));
    }
}

GEMM_INLINE void copy(const struct gemm_pack *pack, bool bf16)
{
    const int64_t width = pack->width;
    for (int64_t o = 0; o < pack->outer; o++) {
        const float *src = pack->src + o * pack->outer_stride;
        float *dst = pack->dst + o * pack->lddst;
        for (int64_t i = 0; i < pack->inner; i += LINE_FLOATS) {
            _mm_prefetch((const char *)(src + AHEAD_ROWS * pack->outer_stride + i), _MM_HINT_T0);
        }
        int64_t i = 0;
        for (; i + width <= pack->inner; i += width) {
            copy_row(dst, src + i, width, width, bf16);
            dst += pack->dst_panel;
        }
        if (i < pack->inner) {
            copy_row(dst, src + i, pack->inner - i, width, bf16);
        }
    }
}

/* Up to VEC columns of dst, all its rows: those that begin at column i of src's inner index. */
GEMM_INLINE void transpose_columns(const struct gemm_pack *pack, float *dst, int64_t i,
                                   int64_t live, vec_mask stored, bool bf16)
{
    const int64_t stride = pack->inner_stride;
    const float *src = pack->src + i * stride;
    for (int64_t o = 0; o < pack->outer; o += VEC) {
        const int64_t rows = pack->outer - o < VEC ? pack->outer - o : VEC;
        vec square[VEC];
        if (live == VEC && rows == VEC) {
            UNROLL
            for (int j = 0; j < VEC; j++) {
                const float *row = src + j * stride + o;
                _mm_prefetch((const char *)(row + AHEAD_FLOATS), _MM_HINT_T0);
                square[j] = rounded(vec_load(row), bf16);
            }
        } else {
            UNROLL
            for (int j = 0; j < VEC; j++) {
                vec_mask mask = vec_first(j < live ? rows : 0);
                const float *row = src + (j < live ? j : 0) * stride + o;
                square[j] = rounded(vec_load_mask(row, mask), bf16);
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
    float *dst = pack->dst;
    for (int64_t panel = 0; panel < pack->inner; panel += pack->width) {
        for (int64_t i = 0; i < pack->width; i += VEC) {
            int64_t live = pack->inner - panel - i;
            live = live < 0 ? 0 : live > VEC ? VEC : live;
            transpose_columns(pack, dst + i, live > 0 ? panel + i : 0, live,
                              vec_first(pack->width - i), bf16);
        }
        dst += pack->dst_panel;
    }
}

/* Neither stride is 1: nobody's hot path. */
static void gather(const struct gemm_pack *pack)
{
    const int64_t width = pack->width, panels = (pack->inner + width - 1) / width;
    for (int64_t o = 0; o < pack->outer; o++) {
        for (int64_t i = 0; i < panels * width; i++) {
            float x = 0.0f;
            if (i < pack->inner) {
                x = pack->src[o * pack->outer_stride + i * pack->inner_stride];
            }
            pack->dst[o * pack->lddst + i / width * pack->dst_panel + i % width] =
                pack->bf16 ? bf16_round(x) : x;
        }
    }
}

void OPS_FN(gemm_pack)(const struct gemm_pack *pack)
{
    if (pack->outer == 0 || pack->inner == 0) {
        return;
    }
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
