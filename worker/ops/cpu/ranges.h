/* SPDX-License-Identifier: Apache-2.0
 *
 * ranges: a loop over rows, channels or elements, cut into a few pieces for the pool's threads.
 *
 * Each op packs its arguments into a struct and gives a body that does [begin, end). Where the cuts
 * lie depends on the number of threads, so a body's results must not depend on them: it computes
 * whole rows, or whole blocks of a fixed size (`multiple`).
 */
#ifndef TAILOR_WORKER_OPS_CPU_RANGES_H
#define TAILOR_WORKER_OPS_CPU_RANGES_H

#include <stdint.h>

#include "worker/ops/cpu/isa.h"
#include "worker/ops/ops.h"

typedef void range_body(const void *op, int64_t begin, int64_t end);

/* `item_floats`: how many floats one of the `count` items touches; pieces are not made smaller than
 * what is worth waking a thread for. Cuts are at multiples of `multiple`. */
void OPS_FN(for_ranges)(struct device *device, int64_t count, int64_t multiple, int64_t item_floats,
                        range_body *body, const void *op);

/* y += x for one piece: the body of several ops. y and x do not overlap. */
static inline void add_floats(float *restrict y, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        y[i] += x[i];
    }
}

#endif
