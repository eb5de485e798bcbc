/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm_tail: see gemm_tail.h. The rejected alternative, the factors' columns appended to A and B,
 * has to copy A (the activations) to lay them side by side.
 */
#include "worker/ops/cpu/gemm_tail.h"

#include "worker/ops/cpu/gemm_kernel.h"

/* What is left of the panel that begins at `column`, to the end of `columns`. */
static struct range panel_at(int64_t width, int64_t column, struct range columns)
{
    return (struct range){column, min64(column + width, columns.end)};
}

int64_t OPS_FN(gemm_tails_border)(const struct gemm *g, int64_t row, int64_t end)
{
    for (int64_t i = 0; i < g->tail_count; i++) {
        const struct gemm_tail *tail = &g->tails[i];
        const int64_t tail_end = tail->row0 + tail->rows;
        end = tail->row0 > row ? min64(end, tail->row0) : end;
        end = tail_end > row ? min64(end, tail_end) : end;
    }
    return end;
}

void OPS_FN(gemm_tails_pack)(const struct gemm *g, int64_t width, struct range rows,
                             struct range columns, float *packed)
{
    for (int64_t i = 0; i < g->tail_count; i++) {
        const struct gemm_tail *tail = &g->tails[i];
        float *dst = packed + tail->depth * width;
        if (is_empty(overlap(rows, tail->row0, tail->rows))) {
            continue;
        }
        for (int64_t column = columns.begin; column < columns.end;
             column += width, dst += g->tail_depth * width) {
            const struct range stripe =
                overlap(panel_at(width, column, columns), tail->column0, tail->columns);
            if (!is_empty(stripe)) {
                OPS_FN(gemm_pack)
                (&(struct gemm_pack){
                    .dst = dst + (stripe.begin - column),
                    .lddst = width,
                    .src = tail->b + (stripe.begin - tail->column0) * tail->b_n,
                    .outer_stride = tail->b_k,
                    .inner_stride = tail->b_n,
                    .outer = tail->K,
                    .inner = stripe.end - stripe.begin,
                    .width = stripe.end - stripe.begin,
                });
            }
        }
    }
}

void OPS_FN(gemm_tails_tile)(const struct gemm *g, int64_t width, const float *packed,
                             struct range rows, struct range columns)
{
    for (int64_t i = 0; i < g->tail_count; i++) {
        const struct gemm_tail *tail = &g->tails[i];
        const struct range stripe = overlap(columns, tail->column0, tail->columns);
        if (!is_empty(stripe) && !is_empty(overlap(rows, tail->row0, tail->rows))) {
            float *c = g->c + rows.begin * g->ldc + stripe.begin;
            OPS_FN(gemm_tile)
            (&(struct gemm_tile){
                .c = c,
                .ldc = g->ldc,
                .start = c,
                .ldstart = g->ldc,
                .a = tail->a + (rows.begin - tail->row0) * tail->a_row,
                .a_row = tail->a_row,
                .a_k = 1,
                .b = packed + tail->depth * width + (stripe.begin - columns.begin),
                .b_k = width,
                .K = tail->K,
                .rows = rows.end - rows.begin,
                .columns = stripe.end - stripe.begin,
            });
        }
    }
}

void OPS_FN(gemm_tails)(struct pool *pool, const struct gemm *gemm, void *scratch)
{
    for (int64_t i = 0; i < gemm->tail_count; i++) {
        const struct gemm_tail *tail = &gemm->tails[i];
        struct gemm product = {
            .c = gemm->c + tail->row0 * gemm->ldc + tail->column0,
            .ldc = gemm->ldc,
            .a = tail->a,
            .a_row = tail->a_row,
            .a_k = 1,
            .b = tail->b,
            .b_k = tail->b_k,
            .b_n = tail->b_n,
            .M = tail->rows,
            .N = tail->columns,
            .K = tail->K,
            .accumulate = true,
        };
#ifdef OPS_ISA_amx
        product.bf16 = gemm->bf16;
#endif
        OPS_FN(gemm)(pool, &product, scratch);
    }
}
