/* SPDX-License-Identifier: Apache-2.0
 *
 * linear: y = x wᵀ + bias and its two gradients, with w as (N, K).
 *
 * Each output is one chain of fmaf in ascending order of what is summed over: that is the contract
 * of ops.h, and these loops are its definition. Where the output lies in memory during its chain
 * (the backward passes), storing and loading it again changes no bit.
 */
#include <math.h>
#include <string.h>

#include "lib/check.h"
#include "worker/ops/bf16.h"
#include "worker/ops/ref/ref.h"

/* A factor of a product, in the precision that products have on this device. */
static inline float operand(enum dtype dtype, float x)
{
    return dtype == DTYPE_BF16 ? bf16_round(x) : x;
}

/* y[i][n] = (accumulate ? y[i][n] : bias[n] or 0) + Σ_k x[i][k]·w[n][k] */
REF_FMA void ref_linear_forward(struct device *device, real *y, int32_t ldy, const real *x,
                                int32_t ldx, const real *w, const real *bias, int32_t rows,
                                int32_t N, int32_t K, bool accumulate)
{
    CHECK(ldy >= N && ldx >= K && !(bias && accumulate));
    const enum dtype dtype = device->dtype;
    for (int32_t i = 0; i < rows; i++) {
        const float *x_row = x + (size_t)i * ldx;
        float *y_row = y + (size_t)i * ldy;
        for (int32_t n = 0; n < N; n++) {
            const float *w_row = w + (size_t)n * K;
            float sum = accumulate ? y_row[n] : bias ? bias[n] : 0.0f;
            for (int32_t k = 0; k < K; k++) {
                sum = fmaf(operand(dtype, x_row[k]), operand(dtype, w_row[k]), sum);
            }
            y_row[n] = sum;
        }
    }
}

/* dx[i][k] = (accumulate ? dx[i][k] : 0) + Σ_n dy[i][n]·w[n][k] */
REF_FMA void ref_linear_backward_input(struct device *device, real *dx, int32_t lddx,
                                       const real *dy, int32_t lddy, const real *w, int32_t rows,
                                       int32_t N, int32_t K, bool accumulate)
{
    CHECK(lddx >= K && lddy >= N);
    const enum dtype dtype = device->dtype;
    for (int32_t i = 0; i < rows; i++) {
        const float *dy_row = dy + (size_t)i * lddy;
        float *dx_row = dx + (size_t)i * lddx;
        if (!accumulate) {
            memset(dx_row, 0, (size_t)K * sizeof(*dx_row));
        }
        for (int32_t n = 0; n < N; n++) {
            const float *w_row = w + (size_t)n * K;
            float gradient = operand(dtype, dy_row[n]);
            for (int32_t k = 0; k < K; k++) {
                dx_row[k] = fmaf(gradient, operand(dtype, w_row[k]), dx_row[k]);
            }
        }
    }
}

/* dw[n][k] += Σ_i dy[i][n]·x[i][k];  dbias[n] += Σ_i dy[i][n], which is no product: never rounded.
 */
REF_FMA void ref_linear_backward_weight(struct device *device, float *dw, float *dbias,
                                        const real *dy, int32_t lddy, const real *x, int32_t ldx,
                                        int32_t rows, int32_t N, int32_t K)
{
    CHECK(lddy >= N && ldx >= K);
    const enum dtype dtype = device->dtype;
    for (int32_t i = 0; i < rows; i++) {
        const float *dy_row = dy + (size_t)i * lddy;
        const float *x_row = x + (size_t)i * ldx;
        for (int32_t n = 0; n < N; n++) {
            float *dw_row = dw + (size_t)n * K;
            float gradient = operand(dtype, dy_row[n]);
            for (int32_t k = 0; k < K; k++) {
                dw_row[k] = fmaf(gradient, operand(dtype, x_row[k]), dw_row[k]);
            }
            if (dbias) {
                dbias[n] += dy_row[n];
            }
        }
    }
}
