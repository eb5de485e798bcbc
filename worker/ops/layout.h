/* SPDX-License-Identifier: Apache-2.0
 *
 * layout: how the tokens of one pack lie.
 *
 * A pack is one row of S tokens without padding. The K rows of a group form a trie: every run of
 * tokens that several rows share from their start is one *segment*, computed once. Segments tile
 * [0, S) in depth-first order, so a parent lies before its children and a tree (one group) is a
 * contiguous range of segments and of tokens.
 *
 *        prompt (segment 0)                 position0 = 0,  parent = -1
 *          ├── response 1 (segment 1)       position0 = n0, parent = 0
 *          └── response 2 (segment 2)       position0 = n0, parent = 0
 *
 * A *row* is the path from a root to one segment (its leaf); its tokens are those of its
 * ancestors in full, then its leaf's. Token i of segment s attends to all tokens of s's ancestors
 * and to tokens start(s) … i of its own. No mask is ever built.
 *
 * The logical index of a token in its row is its position; two tokens of different segments may
 * have the same position, in different rows.
 */
#ifndef TAILOR_WORKER_OPS_LAYOUT_H
#define TAILOR_WORKER_OPS_LAYOUT_H

#include <stdint.h>

struct segment {
    int32_t start;     /* first token in the pack */
    int32_t length;    /* tokens, at least 1 */
    int32_t parent;    /* index of the parent segment, smaller than its own; -1 for a root */
    int32_t position0; /* position of the first token: the total length of its ancestors */
};

struct layout {
    int32_t tokens; /* S */
    int32_t segment_count;
    int32_t tree_count;
    int32_t row_tokens_max;         /* longest row: bounds the scratch of attention */
    const struct segment *segments; /* (segment_count), tiling [0, S) */
    const int32_t *tree_segment;    /* (tree_count + 1): segments of tree t are [t], [t+1)) */
    const int32_t *position;        /* (S) logical index of each token in its row */
    const int32_t *segment_of;      /* (S) */
};

#endif
