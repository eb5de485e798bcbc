/* SPDX-License-Identifier: Apache-2.0
 *
 * pack: groups laid end to end in one row of tokens, every shared prefix once.
 *
 *     struct pack pack;
 *     pack_build(&arena, groups, count, PACK_SHARED, &pack);
 *     int32_t i = pack_token(&pack, row, position);    // where a row's token lies
 *
 * The rows of a group form a trie (worker/ops/layout.h): not the nominal prompt is shared but the
 * longest common run of *tokens*, since a tokenizer may merge across the border of prompt and
 * response. Order within a tree is by first appearance, so a pack is a function of its groups only.
 *
 * Packs live in the caller's arena (a step's); nothing is freed here.
 */
#ifndef TAILOR_WORKER_DATA_PACK_H
#define TAILOR_WORKER_DATA_PACK_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/arena.h"
#include "worker/ops/layout.h"

enum pack_mode {
    PACK_SHARED,  /* a tree per group */
    PACK_UNSHARED /* a tree per row: what a trainer without sharing computes; for tests,
                     --verify-packing */
};

/* Token rows of one group; borrowed while building. */
struct pack_group {
    const int32_t *const *ids;
    const int32_t *counts; /* each at least 1 */
    int32_t rows;          /* K, at least 1 */
};

struct pack_row {
    int32_t leaf;   /* segment in which the row ends (at that segment's last token) */
    int32_t tokens; /* n, its length */
    int32_t group;  /* index into the groups given to pack_build */
    int32_t index;  /* row of that group */
};

struct pack {
    struct layout layout;
    const int32_t *ids; /* (S) */
    int32_t row_count;
    const struct pack_row *rows; /* in order of group, then of index */
};

void pack_build(struct arena *arena, const struct pack_group *groups, int32_t count,
                enum pack_mode mode, struct pack *pack_out);

/* Tokens the group takes in a shared pack: the number of nodes of its trie. */
int32_t pack_group_tokens(const struct pack_group *group);
/* Tokens that `row` adds to the trie of the rows [row0, row) before it: what lies beyond its
 * longest common prefix with any of them. */
int32_t pack_tokens_added(const struct pack_group *group, int32_t row0, int32_t row);
/* How many tokens two rows have in common from their start. */
int32_t pack_common_length(const struct pack_group *group, int32_t row, int32_t other);

/* The packed index of the token at `position` of a row. */
int32_t pack_token(const struct pack *pack, const struct pack_row *row, int32_t position);
/* All of a row's packed indices in logical order: out[0 … row->tokens). */
void pack_row_tokens(const struct pack *pack, const struct pack_row *row, int32_t *out);

/* First-fit decreasing: puts items of size tokens[i] into bins of `capacity` (an item larger than
 * that gets a bin of its own). bin_out[i] is i's bin; returns the number of bins. Deterministic:
 * ties by index. */
int32_t pack_assign(struct arena *scratch, const int32_t *tokens, int32_t count, int32_t capacity,
                    int32_t *bin_out);

#endif
