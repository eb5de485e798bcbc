/* SPDX-License-Identifier: Apache-2.0
 *
 * cpu: the prototypes of the fast path's table entries (ops_cpu.c). What each does: ops.h.
 */
#ifndef TAILOR_WORKER_OPS_CPU_CPU_H
#define TAILOR_WORKER_OPS_CPU_CPU_H

#include "worker/ops/cpu/isa.h"
#include "worker/ops/ops.h"

/* scratch.c */
size_t OPS_FN(scratch_bytes)(const struct device *device, const struct scratch_shape *shape);
enum status OPS_FN(scratch_reserve)(struct device *device, const struct scratch_shape *shape,
                                    struct error *error);

/* linear.c */
void OPS_FN(linear_forward)(struct device *device, real *y, int32_t ldy, const real *x,
                            int32_t ldx, const real *w, const real *bias, int32_t rows, int32_t N,
                            int32_t K, bool accumulate);
void OPS_FN(linear_backward_input)(struct device *device, real *dx, int32_t lddx, const real *dy,
                                   int32_t lddy, const real *w, int32_t rows, int32_t N, int32_t K,
                                   bool accumulate);
void OPS_FN(linear_backward_weight)(struct device *device, float *dw, float *dbias,
                                    const real *dy, int32_t lddy, const real *x, int32_t ldx,
                                    int32_t rows, int32_t N, int32_t K);

/* lora.c */
void OPS_FN(lora_forward)(struct device *device, real *y, int32_t ldy, real *u, int32_t ldu,
                          const real *x, int32_t ldx, const struct lora_factors *adapters,
                          const struct lora_range *ranges, int32_t range_count, int32_t N,
                          int32_t K);
void OPS_FN(lora_backward)(struct device *device, real *dx, int32_t lddx, const real *dy,
                           int32_t lddy, const real *u, int32_t ldu, const real *x, int32_t ldx,
                           const struct lora_factors *adapters, const struct lora_range *ranges,
                           int32_t range_count, int32_t N, int32_t K);

/* cross_entropy.c */
void OPS_FN(cross_entropy)(struct device *device, float *nll, real *dx, float *dw, const real *x,
                           const real *w, const int32_t *index, const int32_t *target,
                           const float *weight, int32_t count, int32_t C, int32_t V);

#endif
