/* SPDX-License-Identifier: Apache-2.0
 *
 * The shared part of a group is computed once here too: evaluating K responses of one prompt costs
 * little more than one.
 */
#include "worker/trainer/scorer.h"

#include <math.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "worker/data/pack_parts.h"
#include "worker/model/reading.h"
#include "worker/model/transformer.h"
#include "worker/trainer/batch.h"

/* ---- the ranks' stretches -------------------------------------------------------------------- */

void scorer_stretch(const struct dataset *dataset, int32_t rank, int32_t world, int64_t *first_out,
                    int64_t *count_out)
{
    int64_t total = 0, before = 0, border[2];
    for (int64_t g = 0; g < dataset->group_count; g++) {
        total += dataset->groups[g].tokens;
    }
    int64_t g = 0;
    for (int side = 0; side < 2; side++) {
        int64_t share = total / world * (rank + side);
        bool last = rank + side == world;
        for (; g < dataset->group_count && (last || before < share); g++) {
            before += dataset->groups[g].tokens;
        }
        border[side] = g;
    }
    *first_out = border[0];
    *count_out = border[1] - border[0];
}

int64_t scorer_row_of(const struct dataset *dataset, int64_t g)
{
    return g < dataset->group_count ? dataset->groups[g].row0 : dataset->row_count;
}

/* Every rank's stretch of `values` (row_count), each of `size` bytes, to all. */
static enum status share_rows(const struct gang *gang, const struct dataset *dataset, void *values,
                              size_t size, struct error *error)
{
    for (int32_t rank = 0; rank < gang_world(gang); rank++) {
        int64_t first, count;
        scorer_stretch(dataset, rank, gang_world(gang), &first, &count);
        size_t begin = (size_t)scorer_row_of(dataset, first),
               end = (size_t)scorer_row_of(dataset, first + count);
        if (begin < end) {
            TRY(gang_broadcast(gang, (char *)values + begin * size, (end - begin) * size, rank,
                               error));
        }
    }
    return STATUS_OK;
}

/* ---- rewards --------------------------------------------------------------------------------- */

/* The groups [first, first + count), before `end`, that fill one pack; at least one. */
static int64_t groups_that_fit(struct arena *arena, const struct scorer *scorer,
                               const struct dataset *dataset, int64_t first, int64_t end,
                               struct pack_group *groups)
{
    const struct pass_capacity *capacity = &scorer->acts->capacity;
    int64_t count = 0, tokens = 0, rows = 0;
    for (int64_t g = first; g < end; g++) {
        int32_t K = dataset->groups[g].rows;
        group_rows(arena, dataset, g, &groups[count]);
        tokens += scorer->mode == PACK_SHARED ? pack_group_tokens(&groups[count])
                                              : dataset->groups[g].tokens;
        rows += K;
        if (count > 0 && (tokens > capacity->S || rows > capacity->R)) {
            break;
        }
        count++;
        if (count == capacity->R) {
            break;
        }
    }
    return count;
}

/* Rewards of the pack's rows. A group that is larger than the buffers is scored in parts, each with
 * its prefix again: a row's reward does not depend on what is beside it. */
static void pack_rewards(const struct scorer *scorer, struct arena *arena,
                         const struct pack_group *groups, const struct pack *pack,
                         float *reward_out)
{
    struct reading reading;
    if (pack->layout.tokens <= scorer->acts->capacity.S) {
        reading_build(arena, pack, scorer->pooling, scorer->model->config.eos, NULL, true, true,
                      &reading);
        activations_stage(scorer->acts, pack, &reading);
        transformer_forward(scorer->model, scorer->acts, &reading, 0, NULL, reward_out, NULL);
        return;
    }
    struct pack_parts parts;
    CHECK(pack->rows[pack->row_count - 1].group == 0);
    pack_parts_plan(arena, groups, scorer->acts->capacity.S, &parts);
    for (int32_t p = 0; p < parts.count; p++) {
        struct pack part;
        struct pack_group rows = pack_part(groups, &parts, p);
        pack_build(arena, &rows, 1, scorer->mode, &part);
        CHECK(part.layout.tokens <= scorer->acts->capacity.S);
        pack_rewards(scorer, arena, &rows, &part, reward_out + parts.row0[p]);
    }
}

static bool keep_going(const struct scorer *scorer, int64_t done, int64_t rows)
{
    return scorer->progress == NULL || scorer->progress(scorer->progress_argument, done, rows);
}

enum status scorer_stretch_rewards(const struct scorer *scorer, const struct dataset *dataset,
                                   int64_t first, int64_t group_count, float *reward_out,
                                   struct error *error)
{
    int64_t end = first + group_count;
    struct arena arena = {0};
    enum status status = STATUS_OK;
    int64_t row0 = scorer_row_of(dataset, first), rows = scorer_row_of(dataset, end) - row0,
            row = row0;
    for (int64_t g = first; g < end && status == STATUS_OK;) {
        struct arena_mark mark = arena_mark(&arena);
        struct pack_group *groups =
            arena_array(&arena, struct pack_group, scorer->acts->capacity.R + 1);
        int64_t count = groups_that_fit(&arena, scorer, dataset, g, end, groups);
        struct pack pack;
        pack_build(&arena, groups, (int32_t)count, scorer->mode, &pack);
        pack_rewards(scorer, &arena, groups, &pack, reward_out + row);
        for (int32_t r = 0; r < pack.row_count; r++) {
            if (status == STATUS_OK && !isfinite(reward_out[row + r])) {
                status = error_set(error, STATUS_NUMERIC,
                                   "the reward of group %lld, row %d is not finite",
                                   (long long)(g + pack.rows[r].group + 1), pack.rows[r].index + 1);
            }
        }
        row += pack.row_count;
        g += count;
        arena_reset(&arena, mark);
        if (status == STATUS_OK && !keep_going(scorer, row - row0, rows)) {
            status = error_set(error, STATUS_CANCELLED, "stopped while scoring");
        }
    }
    arena_release(&arena);
    return status;
}

enum status scorer_rewards(const struct scorer *scorer, const struct dataset *dataset,
                           float *reward_out, struct error *error)
{
    int64_t first, count;
    scorer_stretch(dataset, gang_rank(scorer->gang), gang_world(scorer->gang), &first, &count);
    TRY(scorer_stretch_rewards(scorer, dataset, first, count, reward_out, error));
    return share_rows(scorer->gang, dataset, reward_out, sizeof(*reward_out), error);
}

/* ---- the language model's loss --------------------------------------------------------------- */

/* One text; every token after the first counts. */
static double nll_of_row(const struct scorer *scorer, struct arena *arena,
                         const struct pack_group *group)
{
    struct pack pack;
    struct reading reading;
    struct imitation imitation = {.weight = 1, .answer_token = 1};
    pack_build(arena, group, 1, scorer->mode, &pack);
    reading_build(arena, &pack, scorer->pooling, scorer->model->config.eos, &imitation, false, true,
                  &reading);
    float *nll = arena_array(arena, float, reading.lm_count);
    activations_stage(scorer->acts, &pack, &reading);
    transformer_forward(scorer->model, scorer->acts, &reading, 0, NULL, NULL, nll);
    double sum = 0;
    for (int32_t i = 0; i < reading.lm_count; i++) {
        sum += nll[i];
    }
    return sum / reading.lm_count;
}

/* Mean losses of the rows of the groups [first, end); 0 for a row of one token. */
static enum status stretch_nll(const struct scorer *scorer, const struct dataset *dataset,
                               int64_t first, int64_t end, double *row_nll, struct error *error)
{
    struct arena arena = {0};
    enum status status = STATUS_OK;
    int64_t row0 = scorer_row_of(dataset, first), rows = scorer_row_of(dataset, end) - row0,
            row = row0;
    for (int64_t g = first; g < end && status == STATUS_OK; g++) {
        struct pack_group group;
        struct arena_mark mark = arena_mark(&arena);
        group_rows(&arena, dataset, g, &group);
        for (int32_t k = 0; k < group.rows; k++, row++) {
            struct pack_group one = {.ids = &group.ids[k], .counts = &group.counts[k], .rows = 1};
            row_nll[row] = one.counts[0] >= 2 ? nll_of_row(scorer, &arena, &one) : 0;
        }
        arena_reset(&arena, mark);
        if (!keep_going(scorer, row - row0, rows)) {
            status = error_set(error, STATUS_CANCELLED, "stopped while evaluating");
        }
    }
    arena_release(&arena);
    return status;
}

enum status scorer_nll(const struct scorer *scorer, const struct dataset *dataset,
                       float *row_nll_out, double *mean_out, struct error *error)
{
    int64_t first, count, counted = 0;
    double *row_nll = mem_alloc(sizeof(double) * (size_t)(dataset->row_count + 1)), sum = 0;
    scorer_stretch(dataset, gang_rank(scorer->gang), gang_world(scorer->gang), &first, &count);
    enum status status = stretch_nll(scorer, dataset, first, first + count, row_nll, error);
    if (status == STATUS_OK) {
        status = share_rows(scorer->gang, dataset, row_nll, sizeof(*row_nll), error);
    }
    for (int64_t row = 0; row < dataset->row_count; row++) {
        sum += row_nll[row];
        counted += dataset->rows[row].tokens >= 2;
        if (row_nll_out != NULL && status == STATUS_OK) {
            row_nll_out[row] = (float)row_nll[row];
        }
    }
    mem_free(row_nll);
    if (status == STATUS_OK) {
        *mean_out = counted > 0 ? sum / (double)counted : 0;
    }
    return status;
}

float scorer_row(const struct scorer *scorer, const int32_t *ids, int32_t count)
{
    struct arena arena = {0};
    struct pack_group group = {.ids = &ids, .counts = &count, .rows = 1};
    struct pack pack;
    struct reading reading;
    float reward;
    pack_build(&arena, &group, 1, scorer->mode, &pack);
    reading_build(&arena, &pack, scorer->pooling, scorer->model->config.eos, NULL, true, true,
                  &reading);
    activations_stage(scorer->acts, &pack, &reading);
    transformer_forward(scorer->model, scorer->acts, &reading, 0, NULL, &reward, NULL);
    arena_release(&arena);
    return reward;
}
