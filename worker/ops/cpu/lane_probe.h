/* SPDX-License-Identifier: Apache-2.0
 *
 * lane_probe: lane.h over arrays. lane.h is inlined into objects that are compiled for one
 * instruction set; these are doors through which one program, built for neither, can see both and
 * compare their bits (tests/unit/ops_lane_test.c).
 */
#ifndef TAILOR_WORKER_OPS_CPU_LANE_PROBE_H
#define TAILOR_WORKER_OPS_CPU_LANE_PROBE_H

#include <stdint.h>

/* Any n: whole vectors, then a masked tail. */
#define LANE_PROBES(isa)                                                                           \
    void lane_probe_exp_##isa(float *y, const float *x, int64_t n);                                \
    void lane_probe_log_##isa(float *y, const float *x, int64_t n);                                \
    float lane_probe_sum_##isa(const float *x, int64_t n);                                         \
    float lane_probe_largest_##isa(const float *x, int64_t n);

LANE_PROBES(avx2)
LANE_PROBES(avx512)
LANE_PROBES(amx)
#undef LANE_PROBES

#endif
