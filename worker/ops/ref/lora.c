/* SPDX-License-Identifier: Apache-2.0
 *
 * lora: a frozen linear layer with low-rank updates, y = bias + x wᵀ + scale·(x Aᵀ) Bᵀ.
 *
 * A is (r, K) and B is (N, r): between them a row shrinks to u, of r numbers. The factors are fp32
 * on every device: they are the weights that are trained. An output's chain goes over w first, then
 * over the factors: computing the two products one after the other is the same chain.
 */
#include <math.h>
#include <string.h>

#include "lib/check.h"
#include "worker/ops/ref/ref.h"

/* One row: u = scale·(x Aᵀ);  y += u Bᵀ */
REF_FMA static void lora_forward_row(float *y, float *u, const float *x,
                                     const struct lora_factors *adapter, int32_t N, int32_t K)
{
    const int32_t r = adapter->r;
    for (int32_t j = 0; j < r; j++) {
        float sum = 0.0f;
        for (int32_t k = 0; k < K; k++) {
            sum = fmaf(x[k], adapter->A[(size_t)j * K + k], sum);
        }
        u[j] = adapter->scale * sum;
    }
    for (int32_t n = 0; y && n < N; n++) {
        for (int32_t j = 0; j < r; j++) {
            y[n] = fmaf(u[j], adapter->B[(size_t)n * r + j], y[n]);
        }
    }
}

/* One row: du = scale·(dy B);  dB += dyᵀ u;  dA += duᵀ x;  dx += du A */
REF_FMA static void lora_backward_row(float *dx, float *du, const float *dy, const float *u,
                                      const float *x, const struct lora_factors *adapter, int32_t N,
                                      int32_t K)
{
    const int32_t r = adapter->r;
    memset(du, 0, (size_t)r * sizeof(*du));
    for (int32_t n = 0; n < N; n++) {
        for (int32_t j = 0; j < r; j++) {
            du[j] = fmaf(dy[n], adapter->B[(size_t)n * r + j], du[j]);
            if (adapter->dB) {
                adapter->dB[(size_t)n * r + j] = fmaf(dy[n], u[j], adapter->dB[(size_t)n * r + j]);
            }
        }
    }
    for (int32_t j = 0; j < r; j++) {
        du[j] *= adapter->scale;
        for (int32_t k = 0; k < K; k++) {
            if (adapter->dA) {
                adapter->dA[(size_t)j * K + k] = fmaf(du[j], x[k], adapter->dA[(size_t)j * K + k]);
            }
            if (dx) {
                dx[k] = fmaf(du[j], adapter->A[(size_t)j * K + k], dx[k]);
            }
        }
    }
}

void ref_lora_forward(struct device *device, real *y, int32_t ldy, const real *x, int32_t ldx,
                      const real *w, const real *bias, const struct lora *lora, int32_t rows,
                      int32_t N, int32_t K)
{
    CHECK((!y || ldy >= N) && ldx >= K);
    if (y && w) {
        ref_linear_forward(device, y, ldy, x, ldx, w, bias, rows, N, K, false);
    }
    for (int32_t t = 0; t < lora->range_count; t++) {
        const struct lora_range *range = &lora->ranges[t];
        CHECK(range->row0 + range->rows <= rows);
        for (int32_t p = 0; p < lora->part_count; p++) {
            const struct lora_part *part = &lora->parts[p];
            const struct lora_factors *adapter = &part->adapters[range->adapter];
            CHECK(lora->ldu >= lora->part_count * adapter->r && part->column + part->N <= N);
            for (int32_t i = range->row0; i < range->row0 + range->rows; i++) {
                lora_forward_row(y ? y + (size_t)i * ldy + part->column : NULL,
                                 lora->u + (size_t)i * lora->ldu + p * adapter->r,
                                 x + (size_t)i * ldx, adapter, part->N, K);
            }
        }
    }
}

void ref_lora_backward(struct device *device, real *dx, int32_t lddx, const real *dy, int32_t lddy,
                       const real *x, int32_t ldx, const real *w, const struct lora *lora,
                       int32_t rows, int32_t N, int32_t K)
{
    CHECK((!dx || lddx >= K) && lddy >= N && ldx >= K);
    if (dx && w) {
        ref_linear_backward_input(device, dx, lddx, dy, lddy, w, rows, N, K, false);
    }
    for (int32_t t = 0; t < lora->range_count; t++) {
        const struct lora_range *range = &lora->ranges[t];
        CHECK(range->row0 + range->rows <= rows);
        for (int32_t p = 0; p < lora->part_count; p++) {
            const struct lora_part *part = &lora->parts[p];
            const struct lora_factors *adapter = &part->adapters[range->adapter];
            CHECK(lora->ldu >= lora->part_count * adapter->r && part->column + part->N <= N);
            float *du = ref_scratch(device, (size_t)adapter->r * sizeof(float));
            for (int32_t i = range->row0; i < range->row0 + range->rows; i++) {
                lora_backward_row(dx ? dx + (size_t)i * lddx : NULL, du,
                                  dy + (size_t)i * lddy + part->column,
                                  lora->u + (size_t)i * lora->ldu + p * adapter->r,
                                  x + (size_t)i * ldx, adapter, part->N, K);
            }
        }
    }
}
