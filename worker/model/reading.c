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
