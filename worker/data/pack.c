/* SPDX-License-Identifier: Apache-2.0
 *
 * Building tries. A set of rows that agree up to an offset is cut by its next token; each part runs
 * on as one segment for as long as all its rows agree, then is cut again. A cut always makes the
 * set smaller or loses a row that ended, so the recursion is at most K deep (GROUP_RESPONSES_MAX).
 *
 * Invariant: segments are appended parent first, and their tokens with them, so they tile the pack.
 *
 * Rejected: a trie with a node per token (pointers for every token of every prompt, and then a
 * second pass to find the runs).
 */
#include "worker/data/pack.h"

#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/limits.h"

/* What grows while a pack is built: arrays at the size of the unshared pack, which bounds it. */
struct builder {
    const struct pack_group *group;
    struct segment *segments;
    int32_t *ids, *position, *segment_of;
    struct pack_row *rows; /* of the present group */
    int32_t segment_count, tokens, row_tokens_max;
};

static int32_t segment_append(struct builder *builder, int32_t row, int32_t offset, int32_t length,
                              int32_t parent)
{
    int32_t segment = builder->segment_count++;
    builder->segments[segment] = (struct segment){
        .start = builder->tokens, .length = length, .parent = parent, .position0 = offset};
    for (int32_t i = 0; i < length; i++) {
        int32_t token = builder->tokens + i;
        builder->ids[token] = builder->group->ids[row][offset + i];
        builder->position[token] = offset + i;
        builder->segment_of[token] = segment;
    }
    builder->tokens += length;
    if (offset + length > builder->row_tokens_max) {
        builder->row_tokens_max = offset + length;
    }
    return segment;
}

/* How far all rows of the set agree beyond `offset`. */
static int32_t common_length(const struct pack_group *group, const int32_t *set, int32_t count,
                             int32_t offset)
{
    const int32_t *first = group->ids[set[0]];
    int32_t end = group->counts[set[0]];
    for (int32_t i = 1; i < count; i++) {
        const int32_t *ids = group->ids[set[i]];
        int32_t limit = group->counts[set[i]] < end ? group->counts[set[i]] : end;
        int32_t p = offset;
        while (p < limit && ids[p] == first[p]) {
            p++;
        }
        end = p;
    }
    return end - offset;
}

/* Moves the rows of set[0 … count) that continue at `offset` with the token of set[0] to the front,
 * keeping the order of the others; returns how many. */
static int32_t partition_by_token(const struct pack_group *group, int32_t *set, int32_t count,
                                  int32_t offset)
{
    int32_t rest[GROUP_RESPONSES_MAX];
    int32_t token = group->ids[set[0]][offset], taken = 0, left = 0;
    for (int32_t i = 0; i < count; i++) {
        if (group->ids[set[i]][offset] == token) {
            set[taken++] = set[i];
        } else {
            rest[left++] = set[i];
        }
    }
    memcpy(set + taken, rest, sizeof(*rest) * (size_t)left);
    return taken;
}

/* The rows of the set agree on [0, offset), which ends in segment `parent`. */
static void trie_build(struct builder *builder, int32_t *set, int32_t count, int32_t offset,
                       int32_t parent)
{
    int32_t going_on = 0;
    for (int32_t i = 0; i < count; i++) {
        if (builder->group->counts[set[i]] == offset) {
            builder->rows[set[i]].leaf = parent;
        } else {
            set[going_on++] = set[i];
        }
    }
    for (int32_t *part = set, left = going_on; left > 0;) {
        int32_t size = partition_by_token(builder->group, part, left, offset);
        int32_t length = common_length(builder->group, part, size, offset);
        int32_t segment = segment_append(builder, part[0], offset, length, parent);
        trie_build(builder, part, size, offset + length, segment);
        part += size;
        left -= size;
    }
}

static void tree_build(struct builder *builder, int32_t first_row, int32_t rows)
{
    int32_t set[GROUP_RESPONSES_MAX];
    for (int32_t i = 0; i < rows; i++) {
        set[i] = first_row + i;
    }
    trie_build(builder, set, rows, 0, -1);
}

void pack_build(struct arena *arena, const struct pack_group *groups, int32_t count,
                enum pack_mode mode, struct pack *pack_out)
{
    size_t tokens = 0, rows = 0;
    for (int32_t g = 0; g < count; g++) {
        CHECK(groups[g].rows >= 1 && groups[g].rows <= GROUP_RESPONSES_MAX);
        rows += (size_t)groups[g].rows;
        for (int32_t i = 0; i < groups[g].rows; i++) {
            CHECK(groups[g].counts[i] >= 1);
            tokens += (size_t)groups[g].counts[i];
        }
    }
    /* A trie of K rows has fewer than 2 K segments. */
    size_t trees = mode == PACK_SHARED ? (size_t)count : rows;
    int32_t *tree_segment = arena_array(arena, int32_t, trees + 1);
    struct pack_row *pack_rows = arena_array(arena, struct pack_row, rows);
    struct builder builder = {.segments = arena_array(arena, struct segment, 2 * rows),
                              .ids = arena_array(arena, int32_t, tokens),
                              .position = arena_array(arena, int32_t, tokens),
                              .segment_of = arena_array(arena, int32_t, tokens),
                              .rows = pack_rows};
    int32_t tree = 0;
    for (int32_t g = 0; g < count; g++) {
        builder.group = &groups[g];
        for (int32_t i = 0; i < groups[g].rows; i++) {
            builder.rows[i] =
                (struct pack_row){.tokens = groups[g].counts[i], .group = g, .index = i};
        }
        int32_t step = mode == PACK_SHARED ? groups[g].rows : 1;
        for (int32_t i = 0; i < groups[g].rows; i += step) {
            tree_segment[tree++] = builder.segment_count;
            tree_build(&builder, i, step);
        }
        builder.rows += groups[g].rows;
    }
    tree_segment[tree] = builder.segment_count;
    *pack_out = (struct pack){
        .layout = {.tokens = builder.tokens,
                   .segment_count = builder.segment_count,
                   .tree_count = tree,
                   .row_tokens_max = builder.row_tokens_max,
                   .segments = builder.segments,
                   .tree_segment = tree_segment,
                   .position = builder.position,
                   .segment_of = builder.segment_of},
        .ids = builder.ids,
        .row_count = (int32_t)rows,
        .rows = pack_rows,
    };
}

int32_t pack_common_length(const struct pack_group *group, int32_t row, int32_t other)
{
    int32_t pair[2] = {row, other};
    return common_length(group, pair, 2, 0);
}

int32_t pack_tokens_added(const struct pack_group *group, int32_t row0, int32_t row)
{
    int32_t shared = 0;
    for (int32_t other = row0; other < row; other++) {
        int32_t length = pack_common_length(group, row, other);
        shared = length > shared ? length : shared;
    }
    return group->counts[row] - shared;
}

int32_t pack_group_tokens(const struct pack_group *group)
{
    int32_t tokens = 0;
    for (int32_t i = 0; i < group->rows; i++) {
        tokens += pack_tokens_added(group, 0, i);
    }
    return tokens;
}

int32_t pack_token(const struct pack *pack, const struct pack_row *row, int32_t position)
{
    CHECK(position >= 0 && position < row->tokens);
    const struct segment *segment = &pack->layout.segments[row->leaf];
    while (position < segment->position0) {
        segment = &pack->layout.segments[segment->parent];
    }
    return segment->start + position - segment->position0;
}

void pack_row_tokens(const struct pack *pack, const struct pack_row *row, int32_t *out)
{
    for (int32_t s = row->leaf; s >= 0; s = pack->layout.segments[s].parent) {
        const struct segment *segment = &pack->layout.segments[s];
        for (int32_t i = 0; i < segment->length; i++) {
            out[segment->position0 + i] = segment->start + i;
        }
    }
}

struct sized {
    int32_t tokens, index;
};

static int sized_compare(const void *a, const void *b)
{
    const struct sized *x = a, *y = b;
    if (x->tokens != y->tokens) {
        return x->tokens > y->tokens ? -1 : 1;
    }
    return x->index < y->index ? -1 : x->index > y->index;
}

int32_t pack_assign(struct arena *scratch, const int32_t *tokens, int32_t count, int32_t capacity,
                    int32_t *bin_out)
{
    struct sized *sorted = arena_array(scratch, struct sized, count);
    int32_t *filled = arena_array(scratch, int32_t, count);
    int32_t bins = 0;
    for (int32_t i = 0; i < count; i++) {
        sorted[i] = (struct sized){tokens[i], i};
    }
    qsort(sorted, (size_t)count, sizeof(*sorted), sized_compare);
    for (int32_t i = 0; i < count; i++) {
        int32_t bin = 0;
        while (bin < bins && filled[bin] + sorted[i].tokens > capacity) {
            bin++;
        }
        if (bin == bins) {
            bins++;
        }
        filled[bin] += sorted[i].tokens;
        bin_out[sorted[i].index] = bin;
    }
    return bins;
}
