/* SPDX-License-Identifier: Apache-2.0
 *
 * An imitation entry is keyed by the packed index of the token it predicts: in a trie that token
 * has one parent token, so source and target are the same for every row that passes through it.
 */
#include "worker/model/reading.h"

#include <stdlib.h>

#include "lib/check.h"

static int32_t row_last_ids_pooled(const struct pack *pack, const struct pack_row *row,
                                   enum pooling pooling, int32_t eos)
{
    int32_t last = pack->ids[pack_token(pack, row, row->tokens - 1)];
    bool before = pooling == POOLING_BEFORE_EOS && last == eos && row->tokens > 1;
    return pack_token(pack, row, row->tokens - (before ? 2 : 1));
}

static void read_pooled_tokens(struct arena *arena, const struct pack *pack, int32_t eos,
                               struct reading *reading)
{
    int32_t *token = arena_array(arena, int32_t, pack->row_count);
    for (int32_t r = 0; r < pack->row_count; r++) {
        token[r] = row_last_ids_pooled(pack, &pack->rows[r], reading->pooling, eos);
    }
    reading->pooled_token = token;
    reading->query_of_row = token;
}

static void read_row_tokens(struct arena *arena, const struct pack *pack, struct reading *reading)
{
    int32_t *offset = arena_array(arena, int32_t, pack->row_count + 1);
    for (int32_t r = 0; r < pack->row_count; r++) {
        offset[r + 1] = offset[r] + pack->rows[r].tokens;
    }
    int32_t *token = arena_array(arena, int32_t, offset[pack->row_count]);
    for (int32_t r = 0; r < pack->row_count; r++) {
        pack_row_tokens(pack, &pack->rows[r], token + offset[r]);
    }
    reading->row_offset = offset;
    reading->row_token = token;
}

static void read_imitation(struct arena *arena, const struct pack *pack,
                           const struct imitation *imitation, struct reading *reading)
{
    int32_t S = pack->layout.tokens;
    int32_t *source = arena_array(arena, int32_t, S);
    int32_t *target = arena_array(arena, int32_t, S);
    float *weight = arena_array(arena, float, S);
    int32_t *entry_of =
        arena_array(arena, int32_t, S); /* entry + 1 of a predicted token; 0: none */
    int32_t *tokens = arena_array(arena, int32_t, pack->layout.row_tokens_max);
    int32_t count = 0;
    for (int32_t r = 0; r < pack->row_count; r++) {
        if (imitation[r].weight == 0) {
            continue;
        }
        CHECK(imitation[r].answer_token >= 1);
        pack_row_tokens(pack, &pack->rows[r], tokens);
        for (int32_t t = imitation[r].answer_token; t < pack->rows[r].tokens; t++) {
            if (entry_of[tokens[t]] == 0) {
                source[count] = tokens[t - 1];
                target[count] = pack->ids[tokens[t]];
                entry_of[tokens[t]] = ++count;
            }
            weight[entry_of[tokens[t]] - 1] += imitation[r].weight;
        }
    }
    reading->lm_count = count;
    reading->lm_source = source;
    reading->lm_target = target;
    reading->lm_weight = weight;
}

static int compare_i32(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y;
}

/* Distinct pooled tokens, ascending, and each row's place among them. */
static void read_queries(struct arena *arena, const struct layout *layout, int32_t R,
                         struct reading *reading)
{
    int32_t *queries = arena_array(arena, int32_t, R);
    int32_t *query_of_row = arena_array(arena, int32_t, R);
    int32_t *position = arena_array(arena, int32_t, R);
    for (int32_t r = 0; r < R; r++) {
        queries[r] = reading->pooled_token[r];
    }
    qsort(queries, (size_t)R, sizeof(*queries), compare_i32);
    int32_t count = 0;
    for (int32_t r = 0; r < R; r++) {
        if (r == 0 || queries[r] != queries[count - 1]) {
            queries[count++] = queries[r];
        }
    }
    for (int32_t i = 0; i < count; i++) {
        position[i] = layout->position[queries[i]];
    }
    for (int32_t r = 0; r < R; r++) {
        const int32_t *found = bsearch(&reading->pooled_token[r], queries, (size_t)count,
                                       sizeof(*queries), compare_i32);
        query_of_row[r] = (int32_t)(found - queries);
    }
    reading->queries = queries;
    reading->query_count = count;
    reading->query_position = position;
    reading->query_of_row = query_of_row;
}

void reading_build(struct arena *arena, const struct pack *pack, enum pooling pooling, int32_t eos,
                   const struct imitation *imitation, bool rewards, bool prune,
                   struct reading *reading_out)
{
    struct reading reading = {
        .pooling = pooling, .R = rewards ? pack->row_count : 0, .query_count = pack->layout.tokens};
    bool by_token = pooling == POOLING_LAST_TOKEN || pooling == POOLING_BEFORE_EOS;
    if (rewards && by_token) {
        read_pooled_tokens(arena, pack, eos, &reading);
    } else if (rewards) {
        read_row_tokens(arena, pack, &reading);
    }
    if (imitation != NULL) {
        read_imitation(arena, pack, imitation, &reading);
    }
    if (rewards && by_token && reading.lm_count == 0 && prune) {
        read_queries(arena, &pack->layout, reading.R, &reading);
    }
    *reading_out = reading;
}

/* ---- adapters -------------------------------------------------------------------------------- */

struct range_list {
    struct lora_range *items;
    int32_t count;
};

/* Rows [row0, row0 + rows) use `adapter` (−1: none), behind all that was said before. */
static void range_add(struct range_list *list, int32_t row0, int32_t rows, int32_t adapter)
{
    struct lora_range *last = list->count > 0 ? &list->items[list->count - 1] : NULL;
    if (adapter < 0) {
        return;
    }
    if (last != NULL && last->adapter == adapter && last->row0 + last->rows == row0) {
        last->rows += rows;
        return;
    }
    list->items[list->count++] =
        (struct lora_range){.row0 = row0, .rows = rows, .adapter = adapter};
}

/* A segment belongs to one group, so to one adapter. */
static int32_t *segment_adapters(struct arena *arena, const struct pack *pack,
                                 const int32_t *adapter_of_group)
{
    int32_t *adapters = arena_array(arena, int32_t, pack->layout.segment_count);
    for (int32_t r = 0; r < pack->row_count; r++) {
        for (int32_t s = pack->rows[r].leaf; s >= 0; s = pack->layout.segments[s].parent) {
            adapters[s] = adapter_of_group[pack->rows[r].group];
        }
    }
    return adapters;
}

void reading_adapt(struct arena *arena, const struct pack *pack, const struct adapter *const *items,
                   int32_t count, int32_t r_max, const int32_t *adapter_of_group,
                   struct reading *reading)
{
    const struct layout *layout = &pack->layout;
    const int32_t *adapters = segment_adapters(arena, pack, adapter_of_group);
    const int32_t queries = reading->queries != NULL ? reading->query_count : 0;
    struct range_list tokens = {arena_array(arena, struct lora_range, layout->segment_count), 0};
    struct range_list read = {arena_array(arena, struct lora_range, queries + 1), 0};
    struct range_list rows = {arena_array(arena, struct lora_range, pack->row_count), 0};
    for (int32_t s = 0; s < layout->segment_count; s++) {
        range_add(&tokens, layout->segments[s].start, layout->segments[s].length, adapters[s]);
    }
    for (int32_t i = 0; i < queries; i++) {
        range_add(&read, i, 1, adapters[layout->segment_of[reading->queries[i]]]);
    }
    for (int32_t r = 0; r < pack->row_count; r++) {
        range_add(&rows, r, 1, adapter_of_group[pack->rows[r].group]);
    }
    struct reading_adapters *adapted = arena_new(arena, struct reading_adapters);
    *adapted = (struct reading_adapters){.items = items,
                                         .count = count,
                                         .r_max = r_max,
                                         .tokens = tokens.items,
                                         .token_ranges = tokens.count,
                                         .queries = read.items,
                                         .query_ranges = read.count,
                                         .rows = rows.items,
                                         .row_ranges = rows.count};
    reading->adapters = adapted;
}
