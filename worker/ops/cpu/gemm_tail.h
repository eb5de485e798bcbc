/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm_tail: the parts of gemm that make its chains go on (struct gemm_tail), for gemm.c.
 *
 * Rows are cut into pieces that have the same tails; the B of those is packed for a piece and a
 * group of columns, panel by panel, tail_depth rows each. A tile that has been computed, and still
 * lies in the first-level cache, is then continued by the same kernel.
 */
#ifndef TAILOR_WORKER_OPS_CPU_GEMM_TAIL_H
#define TAILOR_WORKER_OPS_CPU_GEMM_TAIL_H

#include "worker/ops/cpu/gemm.h"
#include "worker/ops/cpu/gemm_range.h"

/* Where the tails of row `row` end or others begin, at most `end`. */
int64_t OPS_FN(gemm_tails_border)(const struct gemm *g, int64_t row, int64_t end);

/* The tails' B for the rows of a piece and the columns of a group, in panels of `width`. */
void OPS_FN(gemm_tails_pack)(const struct gemm *g, int64_t width, struct range rows,
                             struct range columns, float *packed);

/* A tile of C goes on with the tails that cover it; `packed` is its panel. */
void OPS_FN(gemm_tails_tile)(const struct gemm *g, int64_t width, const float *packed,
                             struct range rows, struct range columns);

#endif
