/* SPDX-License-Identifier: Apache-2.0
 *
 * norm: Σ x² of a block of which every rank holds its own part, with the bits of one rank.
 *
 * ops.h sums squares in double over fixed blocks of SUMSQ_BLOCK elements and adds the blocks in
 * order. Ranks' borders fall inside such blocks, so the rank in whose part one begins sums it, with
 * the missing elements sent by those behind it (at most SUMSQ_BLOCK floats a rank); then all add
 * all sums in order. Rejected: adding the ranks' sums, whose bits depend on the world.
 */
#ifndef TAILOR_WORKER_TRAINER_NORM_H
#define TAILOR_WORKER_TRAINER_NORM_H

#include "lib/status.h"
#include "worker/ops/ops.h"
#include "worker/trainer/gang.h"

/* x (count): of it this rank's gang_block is valid. Collective; `sum_out` is the same everywhere.
 */
enum status norm_sumsq_of_blocks(struct device *device, const struct gang *gang, const float *x,
                                 size_t count, double *sum_out, struct error *error);

#endif
