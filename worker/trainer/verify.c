/* SPDX-License-Identifier: Apache-2.0
 *
 * The two sides share no pack: the second has a tree per row and packs of one group's rows at most,
 * so offsets, neighbours and sharing all differ.
 */
#include "worker/trainer/verify.h"

#include <math.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"

enum { VERIFY_GROUPS_MAX = 4 };
#define VERIFY_GRADIENT_WORST 1e-4
/* What rows share is rounded once, as a sum, or in each row. */
#define VERIFY_GRADIENT_WORST_BF16 1e-1

/* One pass over the batch, by this rank alone whatever its gang; rewards and a copy of the
 * gradients. */
static enum status run_side(const struct stepper *base, enum pack_mode mode,
                            struct batch_group *groups, int32_t count, float *reward,
                            float *gradients, size_t elements, struct error *error)
{
    struct stepper side = *base;
    struct step_result result;
    struct deal deal;
    deal_slices(base->slices, gang_world(base->gang), &deal);
    side.gang = NULL;
    side.slices = deal.part[gang_rank(base->gang)].count; /* as many as the tree has room for */
    side.mode = mode;
    /* Alone: a pack per group of rows laid end to end is still many rows; 1 token of capacity gives
     * every group a pack of its own. */
    int32_t planned = base->acts->capacity.S; /* for slices of the whole run, which hold less */
    int32_t shared = base->capacity_tokens < planned ? base->capacity_tokens : planned;
    side.capacity_tokens = mode == PACK_SHARED ? shared : 1;
    TRY(stepper_gradients(&side, groups, count, reward, &result, error));
    base->model->device->ops->copy_out(base->model->device, gradients, slice_tree_sum(side.tree),
                                       elements * sizeof(float));
    return STATUS_OK;
}

static double worst_difference(const struct params_table *table, const float *a, const float *b)
{
    double worst = 0;
    for (int32_t i = 0; i < table->count; i++) {
        const struct tensor_place *place = &table->places[i];
        double largest = 0, apart = 0;
        for (size_t e = place->offset; e < place->offset + place->elements; e++) {
            largest = fmax(largest, fabs((double)a[e]));
            apart = fmax(apart, fabs((double)a[e] - b[e]));
        }
        if (apart > 0) {
            worst = fmax(worst, largest > 0 ? apart / largest : INFINITY);
        }
    }
    return worst;
}

enum status packing_compare(const struct stepper *stepper, struct batch_group *groups,
                            int32_t count, struct packing_difference *difference_out,
                            struct error *error)
{
    const struct params_table *table = model_trained_table(stepper->model);
    int64_t rows = 0;
    for (int32_t i = 0; i < count; i++) {
        rows += groups[i].dataset->groups[groups[i].group].rows;
    }
    void *shared, *alone;
    size_t bytes = size_mul(table->elements, sizeof(float));
    TRY(mem_map(bytes, "gradients to compare", &shared, error));
    enum status status = mem_map(bytes, "gradients to compare", &alone, error);
    if (status != STATUS_OK) {
        mem_unmap(shared, bytes);
        return status;
    }
    float *reward = mem_alloc(sizeof(float) * 2 * (size_t)rows);
    status = run_side(stepper, PACK_SHARED, groups, count, reward, shared, table->elements, error);
    if (status == STATUS_OK) {
        status = run_side(stepper, PACK_UNSHARED, groups, count, reward + rows, alone,
                          table->elements, error);
    }
    struct packing_difference difference = {.rewards = rows};
    for (int64_t r = 0; r < rows; r++) {
        difference.rewards_differing += memcmp(&reward[r], &reward[rows + r], sizeof(float)) != 0;
    }
    if (status == STATUS_OK) {
        difference.gradient_worst = worst_difference(table, shared, alone);
    }
    mem_free(reward);
    mem_unmap(shared, bytes);
    mem_unmap(alone, bytes);
    if (status == STATUS_OK) {
        *difference_out = difference;
    }
    return status;
}

enum status verify_packing(struct session *s, FILE *out, struct error *error)
{
    struct batch_group groups[VERIFY_GROUPS_MAX];
    const struct dataset *own = s->part[MIX_OWN];
    int32_t count = 0, tokens = 0;
    /* As many of the first groups as fit the planned pack even unshared. */
    for (int64_t g = 0; g < own->group_count && count < VERIFY_GROUPS_MAX; g++) {
        if (own->groups[g].tokens > s->capacity.S) {
            continue;
        }
        groups[count++] = (struct batch_group){.dataset = own, .group = g, .part = MIX_OWN};
        tokens += own->groups[g].tokens;
    }
    if (count == 0) {
        return error_set(error, STATUS_LIMIT,
                         "--verify-packing: no group fits a pack of %d tokens unshared; raise "
                         "train.max_tokens_per_batch",
                         s->capacity.S);
    }
    struct packing_difference d;
    TRY(packing_compare(&s->stepper, groups, count, &d, error));
    fprintf(out,
            "packing: %lld rewards of %d groups (%d tokens), shared against alone: %lld differ; "
            "gradients at most %.1e of the largest entry apart\n",
            (long long)d.rewards, count, tokens, (long long)d.rewards_differing, d.gradient_worst);
    const double worst =
        s->device->dtype == DTYPE_BF16 ? VERIFY_GRADIENT_WORST_BF16 : VERIFY_GRADIENT_WORST;
    if (d.rewards_differing > 0 || !(d.gradient_worst <= worst)) {
        return error_set(error, STATUS_NUMERIC,
                         "--verify-packing: %lld of %lld rewards differ, gradients by %.1e: please "
                         "report this, with the output of tailor doctor",
                         (long long)d.rewards_differing, (long long)d.rewards, d.gradient_worst);
    }
    return STATUS_OK;
}
