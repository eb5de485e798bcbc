/* SPDX-License-Identifier: Apache-2.0
 *
 * linear: products with w (N, K) and their adapters (operands.h), made of cuda_gemm.
 *
 * LoRA: ranges one after the other, and a range's parts one after the other, so an adapter that
 * serves several ranges has its gradients added in their order. With dtype bf16 the adapters'
 * products round their factors too, as on AMX: what they gain from tensor cores is the same.
 */
#include "lib/check.h"
#include "worker/ops_cuda/cuda.h"

/* ---- linear ---------------------------------------------------------------------------------- */

void cuda_linear_forward(struct device *device, real *y, int32_t ldy, const real *x, int32_t ldx,
                         const real *w, const real *bias, int32_t rows, int32_t N, int32_t K,
                         bool accumulate)
{
    CHECK(ldy >= N && ldx >= K && !(bias && accumulate));
    if (bias) {
        cuda_bias_fill(device, y, ldy, bias, rows, N);
    }
    cuda_gemm(device, &(struct cuda_gemm){.kind = CUDA_NT,
                                          .M = rows,
                                          .N = N,
                                          .K = K,
                                          .a = x,
                                          .lda = ldx,
                                          .b = w,
                                          .ldb = K,
                                          .c = y,
                                          .ldc = ldy,
                                          .alpha = 1.0f,
                                          .beta = bias || accumulate ? 1.0f : 0.0f});
}

void cuda_linear_backward_input(struct device *device, real *dx, int32_t lddx, const real *dy,
                                int32_t lddy, const real *w, int32_t rows, int32_t N, int32_t K,
                                bool accumulate)
{
    CHECK(lddx >= K && lddy >= N);
    cuda_gemm(device, &(struct cuda_gemm){.kind = CUDA_NN,
                                          .M = rows,
                                          .N = K,
                                          .K = N,
                                          .a = dy,
                                          .lda = lddy,
                                          .b = w,
                                          .ldb = K,
                                          .c = dx,
                                          .ldc = lddx,
                                          .alpha = 1.0f,
                                          .beta = accumulate ? 1.0f : 0.0f});
}

void cuda_linear_backward_weight(struct device *device, float *dw, float *dbias, const real *dy,
                                 int32_t lddy, const real *x, int32_t ldx, int32_t rows, int32_t N,
                                 int32_t K)
{
    CHECK(lddy >= N && ldx >= K);
    cuda_gemm(device, &(struct cuda_gemm){.kind = CUDA_TN,
                                          .M = N,
                                          .N = K,
                                          .K = rows,
                                          .a = dy,
                                          .lda = lddy,
                                          .b = x,
                                          .ldb = ldx,
                                          .c = dw,
                                          .ldc = K,
                                          .alpha = 1.0f,
                                          .beta = 1.0f});
    if (dbias) {
        cuda_bias_gradient(device, dbias, dy, lddy, rows, N);
    }
}

/* ---- lora ------------------------------------------------------------------------------------ */

/* One part of one range: the rows of x, y and u that it reads or writes. */
struct lora_view {
    const struct lora_factors *factors;
    int32_t row0, rows, N, column, r;
    float *u;
};

static struct lora_view view_of(const struct lora *lora, int32_t t, int32_t p, int32_t rows,
                                int32_t N)
{
    const struct lora_range *range = &lora->ranges[t];
    const struct lora_part *part = &lora->parts[p];
    const struct lora_factors *factors = &part->adapters[range->adapter];
    CHECK(lora->part_count >= 1 && lora->part_count <= LORA_PARTS_MAX);
    CHECK(range->row0 >= 0 && range->row0 + range->rows <= rows && part->column + part->N <= N);
    CHECK(factors->r == lora->parts[0].adapters[range->adapter].r);
    CHECK(lora->ldu >= lora->part_count * factors->r);
    return (struct lora_view){.factors = factors,
                              .row0 = range->row0,
                              .rows = range->rows,
                              .N = part->N,
                              .column = part->column,
                              .r = factors->r,
                              .u = lora->u + (int64_t)range->row0 * lora->ldu + p * factors->r};
}

void cuda_lora_forward(struct device *device, real *y, int32_t ldy, const real *x, int32_t ldx,
                       const real *w, const real *bias, const struct lora *lora, int32_t rows,
                       int32_t N, int32_t K)
{
    CHECK((!y || ldy >= N) && ldx >= K);
    if (y && w) {
        cuda_linear_forward(device, y, ldy, x, ldx, w, bias, rows, N, K, false);
    }
    for (int32_t at = 0; at < lora->range_count * lora->part_count; at++) {
        const struct lora_view v =
            view_of(lora, at / lora->part_count, at % lora->part_count, rows, N);
        /* u = scale · x Aᵀ */
        cuda_gemm(device, &(struct cuda_gemm){.kind = CUDA_NT,
                                              .M = v.rows,
                                              .N = v.r,
                                              .K = K,
                                              .a = x + (int64_t)v.row0 * ldx,
                                              .lda = ldx,
                                              .b = v.factors->A,
                                              .ldb = K,
                                              .c = v.u,
                                              .ldc = lora->ldu,
                                              .alpha = v.factors->scale});
        if (y) { /* y += u Bᵀ */
            cuda_linear_forward(device, y + (int64_t)v.row0 * ldy + v.column, ldy, v.u, lora->ldu,
                                v.factors->B, NULL, v.rows, v.N, v.r, true);
        }
    }
}

void cuda_lora_backward(struct device *device, real *dx, int32_t lddx, const real *dy, int32_t lddy,
                        const real *x, int32_t ldx, const real *w, const struct lora *lora,
                        int32_t rows, int32_t N, int32_t K)
{
    CHECK((!dx || lddx >= K) && lddy >= N && ldx >= K);
    if (dx && w) {
        cuda_linear_backward_input(device, dx, lddx, dy, lddy, w, rows, N, K, false);
    }
    const size_t mark = cuda_scratch_mark(device);
    for (int32_t at = 0; at < lora->range_count * lora->part_count; at++) {
        const struct lora_view v =
            view_of(lora, at / lora->part_count, at % lora->part_count, rows, N);
        const float *dy_part = dy + (int64_t)v.row0 * lddy + v.column;
        const float *x_rows = x + (int64_t)v.row0 * ldx;
        float *du =
            cuda_scratch_take(device, size_mul(size_mul((size_t)v.rows, (size_t)v.r), sizeof(*du)));
        /* du = scale · dy B */
        cuda_gemm(device, &(struct cuda_gemm){.kind = CUDA_NN,
                                              .M = v.rows,
                                              .N = v.r,
                                              .K = v.N,
                                              .a = dy_part,
                                              .lda = lddy,
                                              .b = v.factors->B,
                                              .ldb = v.r,
                                              .c = du,
                                              .ldc = v.r,
                                              .alpha = v.factors->scale});
        if (v.factors->dB) { /* dB += dyᵀ u */
            cuda_linear_backward_weight(device, v.factors->dB, NULL, dy_part, lddy, v.u, lora->ldu,
                                        v.rows, v.N, v.r);
        }
        if (v.factors->dA) { /* dA += duᵀ x */
            cuda_linear_backward_weight(device, v.factors->dA, NULL, du, v.r, x_rows, ldx, v.rows,
                                        v.r, K);
        }
        if (dx) { /* dx += du A */
            cuda_linear_backward_input(device, dx + (int64_t)v.row0 * lddx, lddx, du, v.r,
                                       v.factors->A, v.rows, v.r, K, true);
        }
        cuda_scratch_release(device, mark);
    }
}

/* du of one part. */
size_t cuda_lora_scratch(const struct scratch_shape *shape)
{
    const size_t numbers = size_mul((size_t)shape->S, (size_t)shape->lora_rank);
    return cuda_scratch_piece(size_mul(numbers, sizeof(float)));
}
