/* SPDX-License-Identifier: Apache-2.0
 *
 * deal: which slices of a global batch each rank computes, and how the ranks' sums are then added.
 *
 * The sum over n slices is one tree whose shape depends on n alone (slice_tree.h):
 *     tree(n) = tree(p) + tree(n − p),  p the largest power of two below n;  tree(1) a slice.
 * Ranks are dealt whole subtrees: beginning with the root, the subtree of the most slices (of
 * equals the last) is split until there are as many as ranks; so 4 slices on 3 ranks are 2/1/1.
 * What lies above the cut is the order in which the ranks' sums are merged. Hence any number of
 * ranks computes the very same sums.
 *
 * Pure. Rejected: dealing slices evenly (2/2/2 of 6 on 3 ranks); the cut then runs through
 * subtrees, and every world has its own bits.
 */
#ifndef TAILOR_WORKER_TRAINER_DEAL_H
#define TAILOR_WORKER_TRAINER_DEAL_H

#include <stdint.h>

#include "worker/comm/comm.h"

struct deal_part {
    int32_t first, count; /* slices [first, first + count) */
};

struct deal {
    int32_t slices, ranks;
    struct deal_part part[COMM_WORLD_MAX]; /* (ranks) ascending, together all slices */
    struct comm_order order;               /* how the ranks' sums become the sum */
};

/* 1 ≤ ranks ≤ slices, ranks ≤ COMM_WORLD_MAX. */
void deal_slices(int32_t slices, int32_t ranks, struct deal *deal_out);
int32_t deal_rank_of(const struct deal *deal, int32_t slice);
int32_t deal_most(const struct deal *deal); /* slices of the rank that has the most */

/* Now and then a second rank computes a slice too, and the bits must agree. */
struct deal_recheck {
    int32_t slice;   /* −1: not in this step */
    int32_t owner;   /* the rank that was dealt it */
    int32_t checker; /* another one */
};

/* Every `interval` steps from step 0 on (0: never, and never in a world of one) the next slice, and
 * each time round all slices the next checker. */
struct deal_recheck deal_recheck_at(const struct deal *deal, int64_t step, int64_t interval);

#endif
