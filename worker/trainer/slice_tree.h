/* SPDX-License-Identifier: Apache-2.0
 *
 * slice_tree: the sum of the slices' gradients, as a binary tree whose shape depends on the number
 * of slices alone:  ((s0 + s1) + (s2 + s3)) for four. Ranks that are dealt aligned subtrees and
 * then add their results pairwise compute the very same sums.
 *
 *     slice_tree_clear(tree);
 *     for each slice:  float *g = slice_tree_begin(tree);  … backward adds to g …
 * slice_tree_end(tree); const float *sum = slice_tree_sum(tree);
 *
 * The last slice may instead be merged piece by piece, as its elements become final:
 *     float *g = slice_tree_begin(tree);  … sum = slice_tree_finish(tree, begin, end) …
 *
 * Works like a binary counter: finished subtrees of equal size merge at once, so ⌊log2 n⌋ + 1
 * blocks are enough (+ none for a single slice).
 */
#ifndef TAILOR_WORKER_TRAINER_SLICE_TREE_H
#define TAILOR_WORKER_TRAINER_SLICE_TREE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/status.h"
#include "worker/ops/ops.h"

struct slice_tree;

int32_t slice_tree_blocks(int32_t slices); /* for the memory ledger */
enum status slice_tree_create(struct device *device, size_t elements, int32_t slices,
                              struct slice_tree **tree_out, struct error *error);
void slice_tree_free(struct slice_tree *tree);
void slice_tree_clear(struct slice_tree *tree);
float *slice_tree_begin(struct slice_tree *tree); /* a zeroed block, on the device */
void slice_tree_end(struct slice_tree *tree);
/* The block that was begun is the last slice's, and its elements [begin, end) are final: they
 * become those of the sum, which is returned. All elements once, in any pieces, in place of
 * slice_tree_end; the same additions in the same order. */
float *slice_tree_finish(struct slice_tree *tree, size_t begin, size_t end);
/* After the last slice; the block stays the tree's. */
float *slice_tree_sum(struct slice_tree *tree);

#endif
