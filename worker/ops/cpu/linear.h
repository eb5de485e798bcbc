/* SPDX-License-Identifier: Apache-2.0
 *
 * linear: the products with a layer's weight, as linear.c computes them and lora.c with tails.
 */
#ifndef TAILOR_WORKER_OPS_CPU_LINEAR_H
#define TAILOR_WORKER_OPS_CPU_LINEAR_H

#include "worker/ops/cpu/gemm.h"
#include "worker/ops/cpu/isa.h"
#include "worker/ops/ops.h"

/* y (rows, N) = x (rows, K) · wᵀ; w (N, K), from its panels where they are kept */
struct gemm OPS_FN(linear_product_forward)(struct device *device, real *y, int64_t ldy,
                                           const real *x, int64_t ldx, const real *w, int32_t rows,
                                           int32_t N, int32_t K);
/* dx (rows, K) = dy (rows, N) · w */
struct gemm OPS_FN(linear_product_backward_input)(struct device *device, real *dx, int64_t lddx,
                                                  const real *dy, int64_t lddy, const real *w,
                                                  int32_t rows, int32_t N, int32_t K);

#endif
