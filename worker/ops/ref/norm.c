/* SPDX-License-Identifier: Apache-2.0
 *
 * norm: root-mean-square normalisation of rows, and of the heads inside a row.
 *
 * Both are the same function of C (or D) neighbouring numbers; they differ in where these lie.
 */
#include <math.h>

#include "lib/check.h"
#include "worker/ops/ref/ref.h"

/* rstd = 1 / sqrt(mean(x²) + eps);  y = x · rstd · w. Returns rstd, which the backward pass needs.
 */
static float norm_forward(float *y, const float *x, const float *w, int32_t C, float eps)
{
    float sum = 0.0f;
    for (int32_t c = 0; c < C; c++) {
        sum += x[c] * x[c];
    }
    float rstd = 1.0f / sqrtf(sum / (float)C + eps);
    for (int32_t c = 0; c < C; c++) {
        y[c] = x[c] * rstd * w[c];
    }
    return rstd;
}

/* Each x[c] acts on the loss directly, and through rstd, whose derivative is −rstd³·x[c] / C:
 *   dx = (accumulate ? dx : 0) + rstd·(w·dy − x·rstd²·mean(w·dy·x));  dw += dy·x·rstd */
static void norm_backward(float *dx, float *dw, const float *dy, const float *x, float rstd,
                          const float *w, int32_t C, bool accumulate)
{
    float sum = 0.0f;
    for (int32_t c = 0; c < C; c++) {
        sum += w[c] * dy[c] * x[c];
    }
    float mean = sum / (float)C;
    for (int32_t c = 0; c < C; c++) {
        float gradient = rstd * (w[c] * dy[c] - x[c] * rstd * rstd * mean);
        if (dw) {
            dw[c] += dy[c] * x[c] * rstd;
        }
        dx[c] = (accumulate ? dx[c] : 0.0f) + gradient;
    }
}

void ref_rmsnorm_forward(struct device *device, real *y, float *rstd, real *x_out, const real *x,
                         const real *delta, const real *w, int32_t rows, int32_t C, float eps)
{
    (void)device;
    CHECK(!delta || x_out);
    for (int32_t i = 0; i < rows; i++) {
        const float *row = x + (size_t)i * C;
        if (delta) {
            /* The residual stream: x_out = x + delta. */
            const float *delta_row = delta + (size_t)i * C;
            float *sum = x_out + (size_t)i * C;
            for (int32_t c = 0; c < C; c++) {
                sum[c] = row[c] + delta_row[c];
            }
            row = sum;
        }
        rstd[i] = norm_forward(y + (size_t)i * C, row, w, C, eps);
    }
}

void ref_rmsnorm_backward(struct device *device, real *dx, float *dw, const real *dy, const real *x,
                          const float *rstd, const real *w, int32_t rows, int32_t C,
                          bool accumulate)
{
    (void)device;
    for (int32_t i = 0; i < rows; i++) {
        size_t at = (size_t)i * C;
        norm_backward(dx + at, dw, dy + at, x + at, rstd[i], w, C, accumulate);
    }
}

void ref_head_norm_forward(struct device *device, real *y, int32_t ldy, float *rstd, const real *x,
                           int32_t ldx, const real *w, int32_t rows, int32_t heads, int32_t D,
                           float eps)
{
    (void)device;
    CHECK(ldy >= heads * D && ldx >= heads * D);
    for (int32_t i = 0; i < rows; i++) {
        for (int32_t h = 0; h < heads; h++) {
            size_t head = (size_t)h * D;
            rstd[(size_t)i * heads + h] =
                norm_forward(y + (size_t)i * ldy + head, x + (size_t)i * ldx + head, w, D, eps);
        }
    }
}

void ref_head_norm_backward(struct device *device, real *dx, int32_t lddx, float *dw,
                            const real *dy, int32_t lddy, const real *x, int32_t ldx,
                            const float *rstd, const real *w, int32_t rows, int32_t heads,
                            int32_t D)
{
    (void)device;
    CHECK(lddx >= heads * D && lddy >= heads * D && ldx >= heads * D);
    for (int32_t i = 0; i < rows; i++) {
        for (int32_t h = 0; h < heads; h++) {
            size_t head = (size_t)h * D;
            norm_backward(dx + (size_t)i * lddx + head, dw, dy + (size_t)i * lddy + head,
                          x + (size_t)i * ldx + head, rstd[(size_t)i * heads + h], w, D, false);
        }
    }
}
