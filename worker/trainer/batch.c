/* SPDX-License-Identifier: Apache-2.0
 *
 * Balancing by tokens over slices (not over ranks) keeps the sums, and so the bits, independent of
 * the world; ranks are then dealt whole aligned subtrees of slices.
 */
#include "worker/trainer/batch.h"

#include <stdlib.h>

#include "lib/check.h"

void group_rows(struct arena *arena, const struct dataset *dataset, int64_t group,
                struct pack_group *out)
{
    const struct data_group *g = &dataset->groups[group];
    const int32_t **ids = arena_array(arena, const int32_t *, g->rows);
    int32_t *counts = arena_array(arena, int32_t, g->rows);
    for (int32_t i = 0; i < g->rows; i++) {
        ids[i] = dataset->tokens + dataset->rows[g->row0 + i].token0;
        counts[i] = dataset->rows[g->row0 + i].tokens;
    }
    *out = (struct pack_group){.ids = ids, .counts = counts, .rows = g->rows};
}

struct batch_group *batch_groups_of(struct arena *arena, const struct sampler *sampler,
                                    struct dataset *const *parts, int64_t step, int32_t *count_out,
                                    double *epoch_out)
{
    struct sample *samples = arena_array(arena, struct sample, sampler->batch_groups);
    struct batch_group *groups = arena_array(arena, struct batch_group, sampler->batch_groups);
    int64_t count = sampler_batch(sampler, step, samples);
    double epoch = 0;
    for (int64_t i = 0; i < count; i++) {
        groups[i] = (struct batch_group){
            .dataset = parts[samples[i].part], .group = samples[i].group, .part = samples[i].part};
        epoch = samples[i].part == MIX_OWN ? samples[i].epoch : epoch;
    }
    *count_out = (int32_t)count;
    if (epoch_out != NULL) {
        *epoch_out = epoch;
    }
    return groups;
}

static const struct data_row *rows_of(const struct batch_group *group)
{
    return &group->dataset->rows[group->dataset->groups[group->group].row0];
}

static int32_t row_count_of(const struct batch_group *group)
{
    return group->dataset->groups[group->group].rows;
}

static void group_count_losses(struct batch *batch, const struct batch_group *group,
                               const struct loss_config *loss)
{
    const struct data_row *rows = rows_of(group);
    int32_t K = row_count_of(group);
    if (!loss->language_model) {
        batch->pairs += group_pairs(rows, K);
    }
    for (int32_t k = 0; k < K; k++) {
        batch->imitated += row_imitated(loss, &rows[k], group->part == MIX_OWN);
        batch->tokens += rows[k].tokens;
    }
}

struct by_size {
    int32_t tokens, index;
};

static int by_size_compare(const void *a, const void *b)
{
    const struct by_size *x = a, *y = b;
    if (x->tokens != y->tokens) {
        return x->tokens > y->tokens ? -1 : 1;
    }
    return x->index < y->index ? -1 : x->index > y->index;
}

static void slices_assign(struct arena *arena, struct batch *batch)
{
    struct by_size *order = arena_array(arena, struct by_size, batch->count);
    int64_t *load = arena_array(arena, int64_t, batch->slices);
    for (int32_t i = 0; i < batch->count; i++) {
        order[i] = (struct by_size){batch->groups[i].tokens, i};
    }
    qsort(order, (size_t)batch->count, sizeof(*order), by_size_compare);
    for (int32_t i = 0; i < batch->count; i++) {
        int32_t lightest = 0;
        for (int32_t s = 1; s < batch->slices; s++) {
            lightest = load[s] < load[lightest] ? s : lightest;
        }
        load[lightest] += order[i].tokens;
        batch->groups[order[i].index].slice = lightest;
    }
}

static void packs_assign(struct arena *arena, struct batch *batch, int32_t slice, int32_t capacity)
{
    int32_t *tokens = arena_array(arena, int32_t, batch->count);
    int32_t *which = arena_array(arena, int32_t, batch->count);
    int32_t *pack = arena_array(arena, int32_t, batch->count);
    int32_t count = 0;
    for (int32_t i = 0; i < batch->count; i++) {
        if (batch->groups[i].slice != slice) {
            continue;
        }
        tokens[count] = batch->groups[i].tokens;
        which[count++] = i;
    }
    batch->packs[slice] = pack_assign(arena, tokens, count, capacity, pack);
    for (int32_t i = 0; i < count; i++) {
        batch->groups[which[i]].pack = pack[i];
    }
}

void batch_plan(struct arena *arena, struct batch_group *groups, int32_t count,
                const struct loss_config *loss, int32_t slices, int32_t capacity_tokens,
                enum pack_mode mode, struct batch *batch_out)
{
    CHECK(count > 0);
    CHECK(slices > 0);
    struct batch batch = {.count = count,
                          .groups = groups,
                          .slices = slices,
                          .packs = arena_array(arena, int32_t, slices)};
    for (int32_t i = 0; i < count; i++) {
        struct arena_mark mark = arena_mark(arena);
        struct pack_group rows;
        group_rows(arena, groups[i].dataset, groups[i].group, &rows);
        groups[i].tokens = 0;
        if (mode == PACK_SHARED) {
            groups[i].tokens = pack_group_tokens(&rows);
        } else {
            for (int32_t k = 0; k < rows.rows; k++) {
                groups[i].tokens += rows.counts[k];
            }
        }
        arena_reset(arena, mark);
        batch.tokens_packed += groups[i].tokens;
        group_count_losses(&batch, &groups[i], loss);
    }
    slices_assign(arena, &batch);
    for (int32_t slice = 0; slice < slices; slice++) {
        packs_assign(arena, &batch, slice, capacity_tokens);
    }
    *batch_out = batch;
}

int32_t batch_largest_pack(struct arena *scratch, const struct batch *batch,
                           int32_t capacity_tokens)
{
    int32_t largest = 0;
    for (int32_t slice = 0; slice < batch->slices; slice++) {
        int32_t *tokens = arena_array(scratch, int32_t, batch->packs[slice]);
        for (int32_t i = 0; i < batch->count; i++) {
            if (batch->groups[i].slice == slice) {
                tokens[batch->groups[i].pack] += batch->groups[i].tokens;
            }
        }
        for (int32_t p = 0; p < batch->packs[slice]; p++) {
            largest = tokens[p] > largest && tokens[p] <= capacity_tokens ? tokens[p] : largest;
        }
    }
    return largest;
}

/* Each imitated row's tokens weigh 1/(|S| · its number of tokens that count). */
static struct imitation *imitation_weights(struct arena *arena, const struct batch *batch,
                                           const struct batch_pack *built,
                                           const struct loss_config *loss)
{
    if (batch->imitated == 0) {
        return NULL;
    }
    struct imitation *imitation = arena_array(arena, struct imitation, built->pack.row_count);
    for (int32_t r = 0; r < built->pack.row_count; r++) {
        const struct pack_row *at = &built->pack.rows[r];
        const struct batch_group *group = &batch->groups[built->which[at->group]];
        const struct data_row *row = &rows_of(group)[at->index];
        if (!row_imitated(loss, row, group->part == MIX_OWN)) {
            continue;
        }
        int32_t from = row_imitated_from(loss, row);
        imitation[r] = (struct imitation){
            .weight = (float)(1.0 / ((double)batch->imitated * (row->tokens - from))),
            .answer_token = from};
    }
    return imitation;
}

void batch_pack_build(struct arena *arena, const struct batch *batch, int32_t slice, int32_t index,
                      const struct loss_config *loss, enum pooling pooling, int32_t eos,
                      enum pack_mode mode, bool prune, struct batch_pack *out)
{
    struct pack_group *groups = arena_array(arena, struct pack_group, batch->count);
    *out = (struct batch_pack){.which = arena_array(arena, int32_t, batch->count)};
    for (int32_t i = 0; i < batch->count; i++) {
        if (batch->groups[i].slice != slice || batch->groups[i].pack != index) {
            continue;
        }
        group_rows(arena, batch->groups[i].dataset, batch->groups[i].group, &groups[out->count]);
        out->which[out->count++] = i;
    }
    pack_build(arena, groups, out->count, mode, &out->pack);
    out->imitation = imitation_weights(arena, batch, out, loss);
    reading_build(arena, &out->pack, pooling, eos, out->imitation, !loss->language_model, prune,
                  &out->reading);
}
