/* SPDX-License-Identifier: Apache-2.0
 *
 * sum: contributions of all ranks, added in an order that is an argument.
 */
#ifndef TAILOR_WORKER_COMM_SUM_H
#define TAILOR_WORKER_COMM_SUM_H

#include "worker/comm/comm.h"

/* CHECKs that `order` is one for `world` ranks: see struct comm_order. */
void comm_order_check(const struct comm_order *order, int32_t world);
uint32_t comm_order_hash(const struct comm_order *order);
/* out (count) = the sum of x[0 … world) (count each) in the order; `out` may be one of them. */
void comm_sum(float *out, const float *const *x, int32_t world, const struct comm_order *order,
              size_t count);

#endif
