/* SPDX-License-Identifier: Apache-2.0
 *
 * linear: y = x wᵀ + bias and its two gradients, as three views of one product.
 *
 *     forward           Y(rows, N)  = X  · Wᵀ       k runs along the rows of both
 *     backward_input   dX(rows, K)  = dY · W        W is read as it lies
 *     backward_weight  dW(N, K)    += dYᵀ · X       k is the packed row
 *
 * The first two read W's panels where they are kept (packed_weight.h).
 */
#include "worker/ops/cpu/linear.h"

#include "lib/check.h"
#include "worker/ops/cpu/cpu.h"
#include "worker/ops/cpu/packed_weight.h"
#include "worker/ops/cpu/ranges.h"
#include "worker/ops/cpu/scratch.h"

struct gemm OPS_FN(linear_product_forward)(struct device *device, real *y, int64_t ldy,
                                           const real *x, int64_t ldx, const real *w, int32_t rows,
                                           int32_t N, int32_t K)
{
    CHECK(ldy >= N && ldx >= K);
    return (struct gemm){
        .c = y,
        .ldc = ldy,
        .a = x,
        .a_row = ldx,
        .a_k = 1,
        .b = w,
        .b_k = 1,
        .b_n = K,
        .panels = OPS_FN(packed_weight)(device, w, N, K, WEIGHT_FORWARD),
        .M = rows,
        .N = N,
        .K = K,
        .bf16 = device->dtype == DTYPE_BF16,
    };
}

void OPS_FN(linear_forward)(struct device *device, real *y, int32_t ldy, const real *x, int32_t ldx,
                            const real *w, const real *bias, int32_t rows, int32_t N, int32_t K,
                            bool accumulate)
{
    struct gemm product = OPS_FN(linear_product_forward)(device, y, ldy, x, ldx, w, rows, N, K);
    product.bias = bias;
    product.accumulate = accumulate;
    OPS_FN(gemm)(device->pool, &product, OPS_FN(scratch_gemm)(device));
}

struct gemm OPS_FN(linear_product_backward_input)(struct device *device, real *dx, int64_t lddx,
                                                  const real *dy, int64_t lddy, const real *w,
                                                  int32_t rows, int32_t N, int32_t K)
{
    CHECK(lddx >= K && lddy >= N);
    return (struct gemm){
        .c = dx,
        .ldc = lddx,
        .a = dy,
        .a_row = lddy,
        .a_k = 1,
        .b = w,
        .b_k = K,
        .b_n = 1,
        .panels = OPS_FN(packed_weight)(device, w, N, K, WEIGHT_BACKWARD_INPUT),
        .M = rows,
        .N = K,
        .K = N,
        .bf16 = device->dtype == DTYPE_BF16,
    };
}

void OPS_FN(linear_backward_input)(struct device *device, real *dx, int32_t lddx, const real *dy,
                                   int32_t lddy, const real *w, int32_t rows, int32_t N, int32_t K,
                                   bool accumulate)
{
    struct gemm product =
        OPS_FN(linear_product_backward_input)(device, dx, lddx, dy, lddy, w, rows, N, K);
    product.accumulate = accumulate;
    OPS_FN(gemm)(device->pool, &product, OPS_FN(scratch_gemm)(device));
}

struct bias_gradient {
    float *restrict dbias;
    const real *restrict dy;
    int64_t lddy, rows;
};

/* dbias[n] += dy[0][n], dy[1][n], … for the columns [begin, end) */
static void bias_columns(const void *op, int64_t begin, int64_t end)
{
    const struct bias_gradient *gradient = op;
    for (int64_t i = 0; i < gradient->rows; i++) {
        add_floats(gradient->dbias + begin, gradient->dy + i * gradient->lddy + begin, end - begin);
    }
}

void OPS_FN(linear_backward_weight)(struct device *device, float *dw, float *dbias, const real *dy,
                                    int32_t lddy, const real *x, int32_t ldx, int32_t rows,
                                    int32_t N, int32_t K)
{
    CHECK(lddy >= N && ldx >= K);
    struct gemm product = {
        .c = dw,
        .ldc = K,
        .a = dy,
        .a_row = 1,
        .a_k = lddy,
        .b = x,
        .b_k = ldx,
        .b_n = 1,
        .M = N,
        .N = K,
        .K = rows,
        .accumulate = true,
        .bf16 = device->dtype == DTYPE_BF16,
    };
    OPS_FN(gemm)(device->pool, &product, OPS_FN(scratch_gemm)(device));
    if (dbias) {
        struct bias_gradient gradient = {.dbias = dbias, .dy = dy, .lddy = lddy, .rows = rows};
        OPS_FN(for_ranges)(device, N, 64, rows, bias_columns, &gradient);
    }
}
