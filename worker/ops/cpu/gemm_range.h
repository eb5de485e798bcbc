/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm_range: half-open ranges of rows, columns and k, for the files of gemm.
 */
#ifndef TAILOR_WORKER_OPS_CPU_GEMM_RANGE_H
#define TAILOR_WORKER_OPS_CPU_GEMM_RANGE_H

#include <stdbool.h>
#include <stdint.h>

struct range {
    int64_t begin, end;
};

static inline int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static inline bool is_empty(struct range range)
{
    return range.begin >= range.end;
}

static inline struct range overlap(struct range a, int64_t begin, int64_t length)
{
    return (struct range){a.begin > begin ? a.begin : begin, min64(a.end, begin + length)};
}

#endif
