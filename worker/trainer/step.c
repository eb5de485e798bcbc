/* SPDX-License-Identifier: Apache-2.0
 *
 * Losses are divided by |P| and |S| of the whole batch, which batch_plan counted before the first
 * pass; so how the batch is cut into slices and packs changes no gradient but the order of its
 * sums, and that order is fixed by the slice tree.
 *
 * A slice that is rechecked is computed first, into the tree's first block, and forgotten: no
 * memory of its own.
 */
#include "worker/trainer/step.h"

#include <math.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/clock.h"
#include "worker/model/kept_weights.h"
#include "worker/model/transformer.h"
#include "worker/trainer/long_group.h"
#include "worker/trainer/overlap.h"
#include "worker/trainer/portion.h"
#include "worker/trainer/share.h"

/* What one slice adds to the losses. */
struct slice_sums {
    struct ranking_sums ranking[MIX_PARTS];
    double lm_loss;
};

/* What a rank tells the others of its slices. */
struct report {
    uint64_t fingerprint;       /* of the rechecked slice's gradients, from its owner and checker */
    struct slice_sums slices[]; /* (deal_most) its own, in order */
};

/* What one step carries from pack to pack. */
struct running {
    const struct stepper *stepper;
    const struct portion *portion;
    struct arena arena;
    float *reward_out;       /* by group and row, or NULL */
    struct slice_sums *sums; /* of the slice at hand */
    struct overlap *overlap; /* NULL: sums over ranks do not begin before the end */
    bool last;               /* is the pack at hand the last that this rank computes? */
    struct step_result *result;
};

/* Losses of a built pack from its rewards; fills dreward. */
static void pack_losses(struct running *run, const struct batch_pack *built, const float *reward,
                        const float *nll, float *dreward)
{
    const struct loss_config *loss = run->stepper->loss;
    double pair_weight =
        run->portion->batch.pairs > 0 ? 1.0 / (double)run->portion->batch.pairs : 0;
    for (int32_t r = 0; built->reading.R > 0 && r < built->pack.row_count;) {
        int32_t which = built->which[built->pack.rows[r].group];
        const struct batch_group *group = &run->portion->batch.groups[which];
        const struct data_group *g = &group->dataset->groups[group->group];
        ranking_loss(reward + r, &group->dataset->rows[g->row0], g->rows, pair_weight,
                     loss->center_rewards_coefficient, dreward + r,
                     &run->sums->ranking[group->part]);
        for (int32_t k = 0; run->reward_out != NULL && k < g->rows; k++) {
            run->reward_out[run->portion->row0[which] + k] = reward[r + k];
        }
        r += g->rows;
    }
    for (int32_t i = 0; i < built->reading.lm_count; i++) {
        run->sums->lm_loss += (double)nll[i] * built->reading.lm_weight[i];
    }
}

/* A group that does not fit a pack. */
static void long_pass(struct running *run, const struct batch_pack *built, float *gradients)
{
    struct long_group group;
    struct batch_pack rewards_only = *built; /* the group sums its imitation itself */
    float *reward = arena_array(&run->arena, float, built->pack.row_count);
    float *dreward = arena_array(&run->arena, float, built->pack.row_count);
    double start = monotonic_s();
    rewards_only.reading.lm_count = 0;
    long_group_rewards(&group, run->stepper, &run->portion->batch, built, &run->arena, gradients,
                       reward, &run->sums->lm_loss);
    pack_losses(run, &rewards_only, reward, NULL, dreward);
    double forward = monotonic_s();
    long_group_backward(&group, dreward, gradients, &run->sums->lm_loss);
    run->result->forward_seconds += forward - start;
    run->result->backward_seconds += monotonic_s() - forward;
}

static void pack_pass(struct running *run, const struct batch_pack *built, float *gradients)
{
    const struct stepper *s = run->stepper;
    struct arena_mark mark = arena_mark(&run->arena);
    double start = monotonic_s();
    if (long_group_is(s, built)) {
        long_pass(run, built, gradients);
        arena_reset(&run->arena, mark);
        return;
    }
    activations_stage(s->acts, &built->pack, &built->reading);
    float *reward = arena_array(&run->arena, float, built->pack.row_count);
    float *dreward = arena_array(&run->arena, float, built->pack.row_count);
    float *nll = arena_array(&run->arena, float, built->reading.lm_count);
    double staged = monotonic_s();
    float lm_scale = s->loss->language_model ? 1 : (float)s->loss->lm_loss_coeff;
    transformer_forward(s->model, s->acts, &built->reading, lm_scale, gradients, reward, nll);
    pack_losses(run, built, reward, nll, dreward);
    double forward = monotonic_s();
    bool watched = run->last && run->overlap != NULL;
    struct backward_watch watch =
        watched ? overlap_watch(run->overlap) : (struct backward_watch){0};
    transformer_backward(s->model, s->acts, &built->reading, dreward, gradients,
                         watched ? &watch : NULL);
    run->result->data_seconds += staged - start;
    run->result->forward_seconds += forward - staged;
    run->result->backward_seconds += monotonic_s() - forward;
    arena_reset(&run->arena, mark);
}

static void slice_pass(struct running *run, int32_t slice, bool last, struct slice_sums *sums,
                       float *gradients)
{
    *sums = (struct slice_sums){0};
    for (int part = 0; part < MIX_PARTS; part++) {
        ranking_sums_clear(&sums->ranking[part]);
    }
    run->sums = sums;
    for (int32_t i = 0; i < run->portion->batch.packs[slice]; i++) {
        run->last = last && i == run->portion->batch.packs[slice] - 1;
        pack_pass(run, &run->portion->packs[slice][i], gradients);
    }
}

/* Another rank's slice, only for its fingerprint; rewards and sums are the owner's to tell. */
static uint64_t recheck_pass(struct running *run, size_t elements)
{
    struct slice_sums sums;
    struct slice_tree *tree = run->stepper->tree;
    float *reward_out = run->reward_out;
    slice_tree_clear(tree);
    float *gradients = slice_tree_begin(tree);
    run->reward_out = NULL;
    slice_pass(run, run->portion->recheck.slice, false, &sums, gradients);
    run->reward_out = reward_out;
    return gang_fingerprint(run->stepper->model->device, gradients, elements);
}

/* With overlap the last slice is left to overlap_end. What a rank alone sums in place is gone then,
 * so where its fingerprint is wanted there is no overlap before it was taken. */
static void own_slices(struct running *run, struct report *report)
{
    const struct stepper *s = run->stepper;
    int32_t rank = gang_rank(s->gang);
    size_t elements = model_trained_table(s->model)->elements;
    if (run->portion->recheck.slice >= 0 && run->portion->recheck.checker == rank) {
        report->fingerprint = recheck_pass(run, elements);
    }
    slice_tree_clear(s->tree);
    for (int32_t i = 0; i < run->portion->deal.part[rank].count; i++) {
        int32_t slice = run->portion->deal.part[rank].first + i;
        bool last = i == run->portion->deal.part[rank].count - 1,
             rechecked = slice == run->portion->recheck.slice;
        float *gradients = slice_tree_begin(s->tree);
        slice_pass(run, slice, last && !rechecked, &report->slices[i], gradients);
        if (rechecked) {
            report->fingerprint =
                gang_fingerprint(run->stepper->model->device, gradients, elements);
        }
        if (!last || run->overlap == NULL) {
            slice_tree_end(s->tree);
        }
    }
}

static const struct report *report_of(const void *all, size_t bytes, int32_t rank)
{
    return (const void *)((const char *)all + bytes * (size_t)rank);
}

static enum status recheck_judge(const struct running *run, const void *all, size_t bytes,
                                 struct error *error)
{
    const struct deal_recheck *recheck = &run->portion->recheck;
    if (recheck->slice < 0 || report_of(all, bytes, recheck->owner)->fingerprint ==
                                  report_of(all, bytes, recheck->checker)->fingerprint) {
        return STATUS_OK;
    }
    return error_set(
        error, STATUS_NUMERIC,
        "rank %d and rank %d computed different gradients for slice %d of step %lld: a "
        "memory or processor there gives wrong bits; resume elsewhere",
        recheck->owner, recheck->checker, recheck->slice, (long long)run->portion->step + 1);
}

/* Sums of all slices, in their order. */
static void add_slices(const struct running *run, const void *all, size_t bytes)
{
    struct step_result *result = run->result;
    for (int32_t rank = 0; rank < run->portion->deal.ranks; rank++) {
        const struct report *report = report_of(all, bytes, rank);
        for (int32_t i = 0; i < run->portion->deal.part[rank].count; i++) {
            for (int part = 0; part < MIX_PARTS; part++) {
                ranking_sums_add(&result->part[part].ranking, &report->slices[i].ranking[part]);
            }
            result->lm_loss += report->slices[i].lm_loss;
        }
    }
}

/* Of what the packs of the batch could hold, how much they do. A group that is computed in parts
 * fills packs of its own. */
static double packed_fill(const struct batch *batch, int32_t capacity_tokens)
{
    int64_t packs = 0;
    for (int32_t slice = 0; slice < batch->slices; slice++) {
        packs += batch->packs[slice];
    }
    double fill = (double)batch->tokens_packed / ((double)packs * capacity_tokens);
    return fill < 1 ? fill : 1;
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
    result->tokens = batch->tokens;
    result->tokens_packed = batch->tokens_packed;
    result->pairs = batch->pairs;
    result->imitated = batch->imitated;
}

/* Computes this rank's slices and exchanges the reports. */
static enum status slices_pass(struct running *run, struct error *error)
{
    const struct stepper *s = run->stepper;
    size_t bytes =
        sizeof(struct report) + sizeof(struct slice_sums) * (size_t)deal_most(&run->portion->deal);
    struct report *mine = arena_alloc(&run->arena, bytes);
    void *all = arena_alloc(&run->arena, bytes * (size_t)run->portion->deal.ranks);
    own_slices(run, mine);
    if (run->overlap != NULL) {
        TRY(overlap_end(run->overlap, run->result, error));
    }
    double start = monotonic_s();
    TRY(gang_gather(s->gang, mine, bytes, all, error));
    run->result->reduce_seconds += monotonic_s() - start;
    TRY(recheck_judge(run, all, bytes, error));
    add_slices(run, all, bytes);
    losses_total(s->loss, &run->portion->batch, run->result);
    run->result->packed_fill = packed_fill(&run->portion->batch, s->capacity_tokens);
    return STATUS_OK;
}

static bool overlaps(const struct stepper *stepper)
{
    return stepper->overlap_floats > 0 && gang_world(stepper->gang) > 1 &&
           share_is_direct(stepper->gang, stepper->model->device);
}

/* A portion of no step (−1) is not summed over ranks. */
static enum status gradients_of(const struct stepper *stepper, const struct portion *portion,
                                float *reward_out, struct step_result *result_out,
                                struct error *error)
{
    struct overlap overlap;
    struct running run = {
        .stepper = stepper, .portion = portion, .reward_out = reward_out, .result = result_out};
    *result_out = (struct step_result){0};
    for (int part = 0; part < MIX_PARTS; part++) {
        ranking_sums_clear(&result_out->part[part].ranking);
    }
    for (int32_t i = 0; i < portion->batch.count; i++) {
        const struct batch_group *group = &portion->batch.groups[i];
        result_out->part[group->part].tokens += group->dataset->groups[group->group].tokens;
    }
    if (portion->step >= 0 && overlaps(stepper)) {
        overlap_begin(&overlap, stepper, &portion->deal.order);
        run.overlap = &overlap;
    }
    enum status status = slices_pass(&run, error);
    arena_release(&run.arena);
    return status;
}

enum status stepper_gradients(const struct stepper *stepper, struct batch_group *groups,
                              int32_t count, float *reward_out, struct step_result *result_out,
                              struct error *error)
{
    struct portion portion;
    portion_build(&portion, stepper, -1, groups, count);
    enum status status = gradients_of(stepper, &portion, reward_out, result_out, error);
    portion_release(&portion);
    return status;
}

enum status stepper_step_portion(const struct stepper *stepper, const struct portion *portion,
                                 struct step_result *result_out, struct error *error)
{
    TRY(gradients_of(stepper, portion, NULL, result_out, error));
    double start = monotonic_s();
    float *gradients = slice_tree_sum(stepper->tree);
    if (!overlaps(stepper)) {
        TRY(optimizer_reduce(stepper->optimizer, gradients, &portion->deal.order, error));
    }
    double reduced = monotonic_s();
    TRY(optimizer_gradient_norm(stepper->optimizer, gradients, &result_out->gradient_norm, error));
    result_out->learning_rate = schedule_rate(stepper->schedule, portion->step);
    result_out->skipped = !isfinite(result_out->loss) || !isfinite(result_out->gradient_norm);
    if (!result_out->skipped) {
        TRY(optimizer_step(stepper->optimizer, model_trained_weights(stepper->model), gradients,
                           result_out->gradient_norm, result_out->learning_rate, error));
        kept_weights_changed(stepper->model);
    }
    result_out->reduce_seconds += reduced - start;
    result_out->optimizer_seconds = monotonic_s() - reduced;
    return STATUS_OK;
}

enum status stepper_step(const struct stepper *stepper, int64_t step, struct batch_group *groups,
                         int32_t count, struct step_result *result_out, struct error *error)
{
    struct portion portion;
    portion_build(&portion, stepper, step, groups, count);
    enum status status = stepper_step_portion(stepper, &portion, result_out, error);
    portion_release(&portion);
    return status;
}
