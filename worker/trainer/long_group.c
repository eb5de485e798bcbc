/* SPDX-License-Identifier: Apache-2.0
 *
 * An imitation entry whose target lies in the prefix is the prefix's; the others are their parts',
 * the one that predicts a row's first own token too: its source is the prefix's last token, whose
 * hidden state is still there. So the prefix reads nothing but those entries, and computes its last
 * layer at all tokens: mean and max pooling read them from the parts.
 */
#include "worker/trainer/long_group.h"

#include "lib/check.h"
#include "worker/model/transformer.h"

bool long_group_is(const struct stepper *stepper, const struct batch_pack *built)
{
    return stepper->mode == PACK_SHARED && built->count == 1 && built->pack.row_count > 1 &&
           built->pack.layout.tokens > stepper->capacity_tokens;
}

static float lm_scale(const struct long_group *group)
{
    const struct loss_config *loss = group->stepper->loss;
    return loss->language_model ? 1 : (float)loss->lm_loss_coeff;
}

/* Keeps the entries that predict from a source in [first, end), of the arrays that `reading` has
 * to itself. */
static void entries_keep(struct arena *arena, struct reading *reading, int32_t first, int32_t end)
{
    int32_t *source = arena_array(arena, int32_t, reading->lm_count);
    int32_t *target = arena_array(arena, int32_t, reading->lm_count);
    float *weight = arena_array(arena, float, reading->lm_count);
    int32_t count = 0;
    for (int32_t i = 0; i < reading->lm_count; i++) {
        if (reading->lm_source[i] >= first && reading->lm_source[i] < end) {
            source[count] = reading->lm_source[i];
            target[count] = reading->lm_target[i];
            weight[count++] = reading->lm_weight[i];
        }
    }
    reading->lm_count = count;
    reading->lm_source = source;
    reading->lm_target = target;
    reading->lm_weight = weight;
}

/* A forward pass over what is staged; adds its imitation to *lm_loss. */
static void forward(const struct long_group *group, const struct reading *reading, float *gradients,
                    float *reward_out, double *lm_loss)
{
    const struct stepper *s = group->stepper;
    float *nll = arena_array(group->arena, float, reading->lm_count);
    transformer_forward(s->model, s->acts, reading, lm_scale(group), gradients, reward_out, nll);
    for (int32_t i = 0; i < reading->lm_count; i++) {
        *lm_loss += (double)nll[i] * reading->lm_weight[i];
    }
}

/* Stages part `p`; `imitate`: with its imitation entries. */
static void part_stage(const struct long_group *group, int32_t p, bool imitate,
                       struct reading *reading)
{
    const struct stepper *s = group->stepper;
    const struct pack_group rows = pack_part(&group->rows, &group->parts, p);
    const struct imitation *imitation = imitate ? group->built->imitation : NULL;
    struct pack pack;
    pack_build(group->arena, &rows, 1, s->mode, &pack);
    reading_build(group->arena, &pack, s->pooling, s->model->config.eos,
                  imitation == NULL ? NULL : imitation + group->parts.row0[p],
                  group->built->reading.R > 0, true, reading);
    entries_keep(group->arena, reading, group->parts.prefix - 1, pack.layout.tokens);
    activations_stage_part(s->acts, &pack, reading, group->parts.prefix);
}

void long_group_rewards(struct long_group *group, const struct stepper *stepper,
                        const struct batch *batch, const struct batch_pack *built,
                        struct arena *arena, float *gradients, float *reward_out, double *lm_loss)
{
    const struct batch_group *of_batch = &batch->groups[built->which[0]];
    *group = (struct long_group){.stepper = stepper, .built = built, .arena = arena};
    group_rows(arena, of_batch->dataset, of_batch->group, &group->rows);
    pack_parts_plan(arena, &group->rows, stepper->capacity_tokens, &group->parts);
    if (group->parts.prefix > 0) {
        struct pack_group prefix = pack_prefix(&group->rows, &group->parts, &group->prefix_length);
        pack_build(arena, &prefix, 1, stepper->mode, &group->prefix);
        group->prefix_reading = built->reading;
        group->prefix_reading.R = 0;
        group->prefix_reading.queries = NULL;
        group->prefix_reading.row_token = NULL;
        entries_keep(arena, &group->prefix_reading, 0, group->parts.prefix - 1);
        activations_stage_prefix(stepper->acts, &group->prefix, &group->prefix_reading);
        forward(group, &group->prefix_reading, gradients, NULL, lm_loss);
    }
    for (int32_t p = 0; p < group->parts.count && built->reading.R > 0; p++) {
        struct arena_mark mark = arena_mark(arena);
        struct reading reading;
        part_stage(group, p, false, &reading);
        forward(group, &reading, NULL, reward_out + group->parts.row0[p], lm_loss);
        arena_reset(arena, mark);
    }
}

void long_group_backward(struct long_group *group, const float *dreward, float *gradients,
                         double *lm_loss)
{
    const struct stepper *s = group->stepper;
    struct arena *arena = group->arena;
    for (int32_t p = 0; p < group->parts.count; p++) {
        struct arena_mark mark = arena_mark(arena);
        struct reading reading;
        int32_t row0 = group->parts.row0[p];
        part_stage(group, p, true, &reading);
        float *again = arena_array(arena, float, group->rows.rows);
        forward(group, &reading, gradients, again, lm_loss);
        transformer_backward(s->model, s->acts, &reading, dreward + row0, gradients, NULL);
        arena_reset(arena, mark);
    }
    if (group->parts.prefix > 0) {
        activations_stage_prefix(s->acts, &group->prefix, &group->prefix_reading);
        transformer_backward(s->model, s->acts, &group->prefix_reading, NULL, gradients, NULL);
    }
}
