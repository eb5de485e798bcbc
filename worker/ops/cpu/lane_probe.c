/* SPDX-License-Identifier: Apache-2.0
 *
 * lane_probe: see lane_probe.h.
 */
#include "worker/ops/cpu/lane_probe.h"

#include <math.h>

#include "worker/ops/cpu/isa.h"
#include "worker/ops/cpu/lane_math.h"

void OPS_FN(lane_probe_exp)(float *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += LANES) {
        lanes_store_some(y + i, n - i, lanes_exp(lanes_load_some(x + i, n - i, 0.0f)));
    }
}

void OPS_FN(lane_probe_log)(float *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += LANES) {
        lanes_store_some(y + i, n - i, lanes_log(lanes_load_some(x + i, n - i, 1.0f)));
    }
}

float OPS_FN(lane_probe_sum)(const float *x, int64_t n)
{
    struct lanes sum = lanes_zero();
    for (int64_t i = 0; i < n; i += LANES) {
        sum = lanes_add(sum, lanes_load_some(x + i, n - i, 0.0f));
    }
    return lanes_sum(sum);
}

float OPS_FN(lane_probe_largest)(const float *x, int64_t n)
{
    struct lanes largest = lanes_set1(-INFINITY);
    for (int64_t i = 0; i < n; i += LANES) {
        largest = lanes_max(lanes_load_some(x + i, n - i, -INFINITY), largest);
    }
    return lanes_largest(largest);
}
