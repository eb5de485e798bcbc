/* SPDX-License-Identifier: Apache-2.0
 *
 * Losses are divided by |P| and |S| of the whole batch, which batch_plan counted before the first
 * pass; so how the batch is cut into slices and packs changes no gradient but the order of its
 * sums, and that order is fixed by the slice tree.
 */
#include "worker/trainer/step.h"

#include <math.h>
#include <time.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "worker/model/transformer.h"
#include "worker/trainer/long_group.h"

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* What one step carries from pack to pack. */
struct running {
    const struct stepper *stepper;
    const struct batch *batch;
    struct arena arena;
    float *reward_out;   /* by group and row, or NULL */
    const int64_t *row0; /* (groups) first row of each group in reward_out */
    struct step_result *result;
};

/* Losses of a built pack from its rewards; fills dreward. */
static void pack_losses(struct running *run, const struct batch_pack *built, const float *reward,
                        const float *nll, float *dreward)
{
    const struct loss_config *loss = run->stepper->loss;
    double pair_weight = run->batch->pairs > 0 ? 1.0 / (double)run->batch->pairs : 0;
    for (int32_t r = 0; built->reading.R > 0 && r < built->pack.row_count;) {
        int32_t which = built->which[built->pack.rows[r].group];
        const struct batch_group *group = &run->batch->groups[which];
        const struct data_group *g = &group->dataset->groups[group->group];
        struct part_sums *sums = &run->result->part[group->part];
        ranking_loss(reward + r, &group->dataset->rows[g->row0], g->rows, pair_weight,
                     loss->center_rewards_coefficient, dreward + r, &sums->ranking);
        for (int32_t k = 0; run->reward_out != NULL && k < g->rows; k++) {
            run->reward_out[run->row0[which] + k] = reward[r + k];
        }
        r += g->rows;
    }
    for (int32_t i = 0; i < built->reading.lm_count; i++) {
        run->result->lm_loss += (double)nll[i] * built->reading.lm_weight[i];
    }
}

/* A group that does not fit a pack. */
static void long_pass(struct running *run, const struct batch_pack *built, float *gradients)
{
    struct long_group group;
    struct batch_pack rewards_only = *built; /* the group sums its imitation itself */
    float *reward = arena_array(&run->arena, float, built->pack.row_count);
    float *dreward = arena_array(&run->arena, float, built->pack.row_count);
    double start = now_seconds();
    rewards_only.reading.lm_count = 0;
    long_group_rewards(&group, run->stepper, run->batch, built, &run->arena, gradients, reward,
                       &run->result->lm_loss);
    pack_losses(run, &rewards_only, reward, NULL, dreward);
    double forward = now_seconds();
    long_group_backward(&group, dreward, gradients, &run->result->lm_loss);
    run->result->forward_seconds += forward - start;
    run->result->backward_seconds += now_seconds() - forward;
}

static void pack_pass(struct running *run, int32_t slice, int32_t index, float *gradients)
{
    const struct stepper *s = run->stepper;
    struct arena_mark mark = arena_mark(&run->arena);
    double start = now_seconds();
    struct batch_pack built;
    batch_pack_build(&run->arena, run->batch, slice, index, s->loss, s->pooling,
                     s->model->config.eos, s->mode, true, &built);
    if (long_group_is(s, &built)) {
        long_pass(run, &built, gradients);
        arena_reset(&run->arena, mark);
        return;
    }
    activations_stage(s->acts, &built.pack, &built.reading);
    float *reward = arena_array(&run->arena, float, built.pack.row_count);
    float *dreward = arena_array(&run->arena, float, built.pack.row_count);
    float *nll = arena_array(&run->arena, float, built.reading.lm_count);
    double staged = now_seconds();
    float lm_scale = s->loss->language_model ? 1 : (float)s->loss->lm_loss_coeff;
    transformer_forward(s->model, s->acts, &built.reading, lm_scale, gradients, reward, nll);
    pack_losses(run, &built, reward, nll, dreward);
    double forward = now_seconds();
    transformer_backward(s->model, s->acts, &built.reading, dreward, gradients);
    run->result->data_seconds += staged - start;
    run->result->forward_seconds += forward - staged;
    run->result->backward_seconds += now_seconds() - forward;
    arena_reset(&run->arena, mark);
}

/* total = ranking + centring + coefficient · imitation */
static void losses_total(const struct loss_config *loss, const struct batch *batch,
                         struct step_result *result)
{
    struct ranking_sums all;
    ranking_sums_clear(&all);
    for (int part = 0; part < MIX_PARTS; part++) {
        ranking_sums_add(&all, &result->part[part].ranking);
    }
    double pairs = batch->pairs > 0 ? (double)batch->pairs : 1;
    result->rank_loss = all.rank / pairs;
    result->centring_loss = all.centring / pairs;
    result->loss = result->rank_loss + result->centring_loss +
                   (loss->language_model ? 1 : loss->lm_loss_coeff) * result->lm_loss;
}

void stepper_gradients(const struct stepper *stepper, struct batch_group *groups, int32_t count,
                       float *reward_out, struct step_result *result_out)
{
    *result_out = (struct step_result){0};
    for (int part = 0; part < MIX_PARTS; part++) {
        ranking_sums_clear(&result_out->part[part].ranking);
    }
    struct batch batch;
    struct running run = {
        .stepper = stepper, .batch = &batch, .reward_out = reward_out, .result = result_out};
    batch_plan(&run.arena, groups, count, stepper->loss, stepper->slices, stepper->capacity_tokens,
               stepper->mode, &batch);
    int64_t *row0 = arena_array(&run.arena, int64_t, count + 1);
    for (int32_t i = 0; i < count; i++) {
        const struct data_group *g = &groups[i].dataset->groups[groups[i].group];
        row0[i + 1] = row0[i] + g->rows;
        result_out->part[groups[i].part].tokens += g->tokens;
    }
    run.row0 = row0;
    slice_tree_clear(stepper->tree);
    for (int32_t slice = 0; slice < batch.slices; slice++) {
        float *gradients = slice_tree_begin(stepper->tree);
        for (int32_t i = 0; i < batch.packs[slice]; i++) {
            pack_pass(&run, slice, i, gradients);
        }
        slice_tree_end(stepper->tree);
    }
    losses_total(stepper->loss, &batch, result_out);
    result_out->tokens = batch.tokens;
    result_out->tokens_packed = batch.tokens_packed;
    result_out->pairs = batch.pairs;
    result_out->imitated = batch.imitated;
    arena_release(&run.arena);
}

void stepper_step(const struct stepper *stepper, int64_t step, struct batch_group *groups,
                  int32_t count, struct step_result *result_out)
{
    stepper_gradients(stepper, groups, count, NULL, result_out);
    double start = now_seconds();
    const float *gradients = slice_tree_sum(stepper->tree);
    result_out->gradient_norm = optimizer_gradient_norm(stepper->optimizer, gradients);
    result_out->learning_rate = schedule_rate(stepper->schedule, step);
    result_out->skipped = !isfinite(result_out->loss) || !isfinite(result_out->gradient_norm);
    if (!result_out->skipped) {
        optimizer_step(stepper->optimizer, model_trained_weights(stepper->model), gradients,
                       result_out->gradient_norm, result_out->learning_rate);
    }
    result_out->optimizer_seconds = now_seconds() - start;
}
