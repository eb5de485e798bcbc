/* SPDX-License-Identifier: Apache-2.0
 */
#include "worker/trainer/portion.h"

#include "lib/arena.h"
#include "worker/model/model.h"

static bool computes(const struct portion *portion, int32_t rank, int32_t slice)
{
    const struct deal_recheck *recheck = &portion->recheck;
    return deal_rank_of(&portion->deal, slice) == rank ||
           (slice == recheck->slice && recheck->checker == rank);
}

static void packs_build(struct portion *portion, const struct stepper *s)
{
    const struct batch *batch = &portion->batch;
    portion->packs = arena_array(&portion->arena, struct batch_pack *, batch->slices);
    for (int32_t slice = 0; slice < batch->slices; slice++) {
        if (!computes(portion, gang_rank(s->gang), slice)) {
            continue;
        }
        struct batch_pack *packs =
            arena_array(&portion->arena, struct batch_pack, batch->packs[slice]);
        for (int32_t i = 0; i < batch->packs[slice]; i++) {
            batch_pack_build(&portion->arena, batch, slice, i, s->loss, s->pooling,
                             s->model->config.eos, s->mode, true, &packs[i]);
        }
        portion->packs[slice] = packs;
    }
}

static void build(struct portion *portion, const struct stepper *s, struct batch_group *groups,
                  int32_t count)
{
    int64_t step = portion->step;
    deal_slices(s->slices, gang_world(s->gang), &portion->deal);
    portion->recheck = deal_recheck_at(&portion->deal, step, step < 0 ? 0 : s->recheck_steps);
    batch_plan(&portion->arena, groups, count, s->loss, s->slices, s->capacity_tokens, s->mode,
               &portion->batch);
    int64_t *row0 = arena_array(&portion->arena, int64_t, count + 1);
    for (int32_t i = 0; i < count; i++) {
        row0[i + 1] = row0[i] + groups[i].dataset->groups[groups[i].group].rows;
    }
    portion->row0 = row0;
    packs_build(portion, s);
}

void portion_build(struct portion *portion, const struct stepper *stepper, int64_t step,
                   struct batch_group *groups, int32_t count)
{
    *portion = (struct portion){.step = step};
    build(portion, stepper, groups, count);
}

void portion_sample(struct portion *portion, const struct stepper *stepper,
                    const struct sampler *sampler, struct dataset *const *parts, int64_t step)
{
    *portion = (struct portion){.step = step};
    int32_t count;
    struct batch_group *groups =
        batch_groups_of(&portion->arena, sampler, parts, step, &count, &portion->epoch);
    build(portion, stepper, groups, count);
}

void portion_release(struct portion *portion)
{
    arena_release(&portion->arena);
}
