/* SPDX-License-Identifier: Apache-2.0
 *
 * norm: root-mean-square normalisation of rows, and of the heads inside a row: one code, since a
 * row is a row with one head. Sums over channels are 16 partial sums and the tree (numeric
 * contract).
 *
 * The weight's gradient is a sum over all rows. Fixed blocks of NORM_WEIGHT_BLOCK_ROWS rows are
 * summed in row order into a row of scratch each, then added to dw in block order: the same bits
 * for any number of threads.
 */
#include <math.h>
#include <string.h>

#include "lib/check.h"
#include "worker/ops/cpu/cpu.h"
#include "worker/ops/cpu/lane.h"
#include "worker/ops/cpu/ranges.h"
#include "worker/ops/cpu/scratch.h"

struct norm_forward {
    float *y, *rstd, *sum; /* sum = x + delta, where there is a delta */
    const float *x, *delta, *w;
    int64_t ldy, ldx, heads, width;
    float eps;
};

static float sum_squares(const float *x, int64_t n)
{
    struct lanes sum = lanes_zero();
    for (int64_t c = 0; c < n; c += LANES) {
        struct lanes value = lanes_load_some(x + c, n - c, 0.0f);
        sum = lanes_fma(value, value, sum);
    }
    return lanes_sum(sum);
}

/* sum = x + delta, which may lie in x; returns Σ sum². */
static float add_sum_squares(float *sum, const float *x, const float *delta, int64_t n)
{
    struct lanes squares = lanes_zero();
    for (int64_t c = 0; c < n; c += LANES) {
        struct lanes value =
            lanes_add(lanes_load_some(x + c, n - c, 0.0f), lanes_load_some(delta + c, n - c, 0.0f));
        lanes_store_some(sum + c, n - c, value);
        squares = lanes_fma(value, value, squares);
    }
    return lanes_sum(squares);
}

static void norm_forward_rows(const void *op, int64_t begin, int64_t end)
{
    const struct norm_forward *norm = op;
    const int64_t n = norm->width;
    for (int64_t at = begin * norm->heads; at < end * norm->heads; at++) {
        int64_t i = at / norm->heads, h = at % norm->heads;
        const float *x = norm->x + i * norm->ldx + h * n;
        float *y = norm->y + i * norm->ldy + h * n;
        float squares;
        if (norm->delta) {
            float *sum = norm->sum + i * norm->ldx;
            squares = add_sum_squares(sum, x, norm->delta + i * norm->ldx, n);
            x = sum;
        } else {
            squares = sum_squares(x, n);
        }
        float rstd = 1.0f / sqrtf(squares / (float)n + norm->eps);
        norm->rstd[at] = rstd;
        for (int64_t c = 0; c < n; c += LANES) {
            struct lanes value = lanes_mul(lanes_load_some(x + c, n - c, 0.0f), lanes_set1(rstd));
            value = lanes_mul(value, lanes_load_some(norm->w + c, n - c, 0.0f));
            lanes_store_some(y + c, n - c, value);
        }
    }
}

void OPS_FN(rmsnorm_forward)(struct device *device, real *y, float *rstd, real *x_out,
                             const real *x, const real *delta, const real *w, int32_t rows,
                             int32_t C, float eps)
{
    CHECK(!delta || x_out);
    struct norm_forward norm = {y, rstd, x_out, x, delta, w, C, C, 1, C, eps};
    OPS_FN(for_ranges)(device, rows, 1, (int64_t)(delta ? 4 : 2) * C, norm_forward_rows, &norm);
}

void OPS_FN(head_norm_forward)(struct device *device, real *y, int32_t ldy, float *rstd,
                               const real *x, int32_t ldx, const real *w, int32_t rows,
                               int32_t heads, int32_t D, float eps)
{
    CHECK(ldy >= heads * D && ldx >= heads * D);
    struct norm_forward norm = {y, rstd, NULL, x, NULL, w, ldy, ldx, heads, D, eps};
    OPS_FN(for_ranges)(device, rows, 1, (int64_t)2 * heads * D, norm_forward_rows, &norm);
}

struct norm_backward {
    float *dx, *dw, *block_dw; /* block_dw (blocks, width): NULL when the weight is frozen */
    const float *dy, *x, *rstd, *w;
    int64_t lddx, lddy, ldx, rows, heads, width;
    bool accumulate;
};

/* One head: with m = mean(w·dy·x), dx = (accumulate ? dx : 0) + rstd·(w·dy − x·rstd²·m). */
static void norm_backward_head(float *dx, const float *dy, const float *x, float rstd,
                               const float *w, int64_t n, bool accumulate)
{
    struct lanes sum = lanes_zero();
    for (int64_t c = 0; c < n; c += LANES) {
        struct lanes wdy =
            lanes_mul(lanes_load_some(w + c, n - c, 0.0f), lanes_load_some(dy + c, n - c, 0.0f));
        sum = lanes_fma(wdy, lanes_load_some(x + c, n - c, 0.0f), sum);
    }
    const struct lanes pull = lanes_set1(rstd * rstd * (lanes_sum(sum) / (float)n));
    const struct lanes scale = lanes_set1(rstd);
    for (int64_t c = 0; c < n; c += LANES) {
        struct lanes wdy =
            lanes_mul(lanes_load_some(w + c, n - c, 0.0f), lanes_load_some(dy + c, n - c, 0.0f));
        struct lanes slope = lanes_fnma(lanes_load_some(x + c, n - c, 0.0f), pull, wdy);
        struct lanes gradient = lanes_mul(scale, slope);
        if (accumulate) {
            gradient = lanes_add(lanes_load_some(dx + c, n - c, 0.0f), gradient);
        }
        lanes_store_some(dx + c, n - c, gradient);
    }
}

/* dw += dy·(x·rstd) */
static void norm_backward_weight(float *dw, const float *dy, const float *x, float rstd, int64_t n)
{
    const struct lanes scale = lanes_set1(rstd);
    for (int64_t c = 0; c < n; c += LANES) {
        struct lanes unit = lanes_mul(lanes_load_some(x + c, n - c, 0.0f), scale);
        struct lanes old = lanes_load_some(dw + c, n - c, 0.0f);
        struct lanes d = lanes_load_some(dy + c, n - c, 0.0f);
        lanes_store_some(dw + c, n - c, lanes_fma(d, unit, old));
    }
}

/* [begin, end) are rows; begin is the first of a block. The weight is read before dx is written: dx
 * may lie in dy. */
static void norm_backward_rows(const void *op, int64_t begin, int64_t end)
{
    const struct norm_backward *norm = op;
    const int64_t n = norm->width;
    float *dw = NULL;
    for (int64_t i = begin; i < end; i++) {
        if (norm->block_dw && i % NORM_WEIGHT_BLOCK_ROWS == 0) {
            dw = norm->block_dw + i / NORM_WEIGHT_BLOCK_ROWS * n;
            memset(dw, 0, (size_t)n * sizeof(float));
        }
        for (int64_t h = 0; h < norm->heads; h++) {
            const float *x = norm->x + i * norm->ldx + h * n;
            const float *dy = norm->dy + i * norm->lddy + h * n;
            float rstd = norm->rstd[i * norm->heads + h];
            if (dw) {
                norm_backward_weight(dw, dy, x, rstd, n);
            }
            norm_backward_head(norm->dx + i * norm->lddx + h * n, dy, x, rstd, norm->w, n,
                               norm->accumulate);
        }
    }
}

static int64_t weight_blocks(int64_t rows)
{
    return (rows + NORM_WEIGHT_BLOCK_ROWS - 1) / NORM_WEIGHT_BLOCK_ROWS;
}

static void sum_weight_blocks(const void *op, int64_t begin, int64_t end)
{
    const struct norm_backward *norm = op;
    for (int64_t b = 0; b < weight_blocks(norm->rows); b++) {
        add_floats(norm->dw + begin, norm->block_dw + b * norm->width + begin, end - begin);
    }
}

static void run_backward(struct device *device, struct norm_backward *norm)
{
    const int64_t blocks = weight_blocks(norm->rows), row = norm->heads * norm->width;
    if (norm->dw) {
        size_t bytes = (size_t)(blocks * norm->width) * sizeof(float);
        norm->block_dw = OPS_FN(scratch_norm)(device, bytes);
    }
    const int64_t block = NORM_WEIGHT_BLOCK_ROWS;
    OPS_FN(for_ranges)(device, norm->rows, block, 4 * row, norm_backward_rows, norm);
    if (norm->dw) {
        OPS_FN(for_ranges)(device, norm->width, LANES, blocks, sum_weight_blocks, norm);
    }
}

size_t OPS_FN(norm_scratch_bytes)(const struct scratch_shape *shape)
{
    int32_t width = shape->C > shape->D ? shape->C : shape->D;
    return shape->backward
               ? size_mul((size_t)weight_blocks(shape->S), size_mul((size_t)width, sizeof(float)))
               : 0;
}

void OPS_FN(rmsnorm_backward)(struct device *device, real *dx, float *dw, const real *dy,
                              const real *x, const float *rstd, const real *w, int32_t rows,
                              int32_t C, bool accumulate)
{
    struct norm_backward norm = {.dx = dx,
                                 .dw = dw,
                                 .dy = dy,
                                 .x = x,
                                 .rstd = rstd,
                                 .w = w,
                                 .lddx = C,
                                 .lddy = C,
                                 .ldx = C,
                                 .rows = rows,
                                 .heads = 1,
                                 .width = C,
                                 .accumulate = accumulate};
    run_backward(device, &norm);
}

void OPS_FN(head_norm_backward)(struct device *device, real *dx, int32_t lddx, float *dw,
                                const real *dy, int32_t lddy, const real *x, int32_t ldx,
                                const float *rstd, const real *w, int32_t rows, int32_t heads,
                                int32_t D)
{
    CHECK(lddx >= heads * D && lddy >= heads * D && ldx >= heads * D);
    struct norm_backward norm = {.dx = dx,
                                 .dw = dw,
                                 .dy = dy,
                                 .x = x,
                                 .rstd = rstd,
                                 .w = w,
                                 .lddx = lddx,
                                 .lddy = lddy,
                                 .ldx = ldx,
                                 .rows = rows,
                                 .heads = heads,
                                 .width = D,
                                 .accumulate = false};
    run_backward(device, &norm);
}
