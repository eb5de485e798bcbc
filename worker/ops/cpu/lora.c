/* SPDX-License-Identifier: Apache-2.0
 *
 * lora: the low-rank update of a frozen linear layer, y += scale·(x Aᵀ) Bᵀ, for each range of rows
 * with its own adapter.
 *
 * The factors are products with one side of r numbers; gemm has paths for such narrow operands.
 * They are fp32 on every device: they are the weights that are trained. Ranges are done one after
 * the other, so that an adapter that serves several keeps one chain in its gradients.
 */
#include "lib/check.h"
#include "worker/ops/cpu/cpu.h"
#include "worker/ops/cpu/gemm.h"
#include "worker/ops/cpu/scratch.h"

static void product(struct device *device, struct gemm gemm)
{
    OPS_FN(gemm)(device->pool, &gemm, OPS_FN(scratch_gemm)(device));
}

static void scale_rows(float *u, int64_t ldu, int64_t rows, int64_t r, float scale)
{
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < r; j++) {
            u[i * ldu + j] *= scale;
        }
    }
}

void OPS_FN(lora_forward)(struct device *device, real *y, int32_t ldy, real *u, int32_t ldu,
                          const real *x, int32_t ldx, const struct lora_factors *adapters,
                          const struct lora_range *ranges, int32_t range_count, int32_t N,
                          int32_t K)
{
    CHECK(ldy >= N && ldx >= K);
    for (int32_t t = 0; t < range_count; t++) {
        const struct lora_factors *adapter = &adapters[ranges[t].adapter];
        const int64_t row = ranges[t].row0, rows = ranges[t].rows, r = adapter->r;
        float *u_rows = u + row * ldu;
        CHECK(ldu >= r);
        product(device, (struct gemm){
                            .c = u_rows,
                            .ldc = ldu,
                            .a = x + row * ldx,
                            .a_row = ldx,
                            .a_k = 1,
                            .b = adapter->A,
                            .b_k = 1,
                            .b_n = K,
                            .M = rows,
                            .N = r,
                            .K = K,
                        });
        scale_rows(u_rows, ldu, rows, r, adapter->scale);
        product(device, (struct gemm){
                            .c = y + row * ldy,
                            .ldc = ldy,
                            .a = u_rows,
                            .a_row = ldu,
                            .a_k = 1,
                            .b = adapter->B,
                            .b_k = 1,
                            .b_n = r,
                            .M = rows,
                            .N = N,
                            .K = r,
                            .accumulate = true,
                        });
    }
}

/* dB += dyᵀ u;  dA += duᵀ x */
static void factor_gradients(struct device *device, const struct lora_factors *adapter,
                             const float *dy, int64_t lddy, const float *u, int64_t ldu,
                             const float *du, const float *x, int64_t ldx, int64_t rows, int64_t N,
                             int64_t K)
{
    const int64_t r = adapter->r;
    if (adapter->dB) {
        product(device, (struct gemm){
                            .c = adapter->dB,
                            .ldc = r,
                            .a = dy,
                            .a_row = 1,
                            .a_k = lddy,
                            .b = u,
                            .b_k = ldu,
                            .b_n = 1,
                            .M = N,
                            .N = r,
                            .K = rows,
                            .accumulate = true,
                        });
    }
    if (adapter->dA) {
        product(device, (struct gemm){
                            .c = adapter->dA,
                            .ldc = K,
                            .a = du,
                            .a_row = 1,
                            .a_k = r,
                            .b = x,
                            .b_k = ldx,
                            .b_n = 1,
                            .M = r,
                            .N = K,
                            .K = rows,
                            .accumulate = true,
                        });
    }
}

void OPS_FN(lora_backward)(struct device *device, real *dx, int32_t lddx, const real *dy,
                           int32_t lddy, const real *u, int32_t ldu, const real *x, int32_t ldx,
                           const struct lora_factors *adapters, const struct lora_range *ranges,
                           int32_t range_count, int32_t N, int32_t K)
{
    CHECK((!dx || lddx >= K) && lddy >= N && ldx >= K);
    for (int32_t t = 0; t < range_count; t++) {
        const struct lora_factors *adapter = &adapters[ranges[t].adapter];
        const int64_t row = ranges[t].row0, rows = ranges[t].rows, r = adapter->r;
        CHECK(ldu >= r);
        float *du = OPS_FN(scratch_rows)(device, size_mul((size_t)(rows * r), sizeof(float)));
        product(device, (struct gemm){
                            .c = du,
                            .ldc = r,
                            .a = dy + row * lddy,
                            .a_row = lddy,
                            .a_k = 1,
                            .b = adapter->B,
                            .b_k = r,
                            .b_n = 1,
                            .M = rows,
                            .N = r,
                            .K = N,
                        });
        scale_rows(du, r, rows, r, adapter->scale);
        factor_gradients(device, adapter, dy + row * lddy, lddy, u + row * ldu, ldu, du,
                         x + row * ldx, ldx, rows, N, K);
        if (dx) {
            product(device, (struct gemm){
                                .c = dx + row * lddx,
                                .ldc = lddx,
                                .a = du,
                                .a_row = r,
                                .a_k = 1,
                                .b = adapter->A,
                                .b_k = K,
                                .b_n = 1,
                                .M = rows,
                                .N = K,
                                .K = r,
                                .accumulate = true,
                            });
        }
    }
}
