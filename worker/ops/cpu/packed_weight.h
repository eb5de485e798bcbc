/* SPDX-License-Identifier: Apache-2.0
 *
 * packed_weight: weights kept in the layout that products read, besides their own.
 *
 *     ops->weights_keep(device, weights, count, uses, error);    room for them, once
 *     const void *panels = packed_weight(device, w, N, K, PACKED_FORWARD);
 *     ops->weights_changed(device, block, elements);             after an optimizer step, a load
 *
 * A product with w looks its panels up by address and shape. They are made at the first use after
 * w changed, by all threads, so a frozen weight is packed once and a trained one once a step. What
 * the panels are is the affair of the product that reads them: gemm's for fp32 (and for bf16 that
 * is emulated, then rounded).
 *
 * Rejected: noticing changes by itself (a digest or a write barrier costs what packing costs);
 * packing when the weights change, which would pack what is not read before they change again.
 */
#ifndef TAILOR_WORKER_OPS_CPU_PACKED_WEIGHT_H
#define TAILOR_WORKER_OPS_CPU_PACKED_WEIGHT_H

#include "worker/ops/cpu/isa.h"
#include "worker/ops/ops.h"

/* The panels of w (N, K) for products of one use, up to date; NULL if they are not kept, and then
 * the product packs for itself. `use` is one of enum weight_use. */
const void *OPS_FN(packed_weight)(struct device *device, const real *w, int32_t N, int32_t K,
                                  enum weight_use use);

#endif
