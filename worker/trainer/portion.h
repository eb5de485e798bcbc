/* SPDX-License-Identifier: Apache-2.0
 *
 * portion: the data of one step as one rank needs them: the plan of the whole batch, and the packs
 * of the slices that this rank computes, built.
 *
 * A function of the step alone: no weight, no gradient and no device is touched. So it may be built
 * by another thread while a step computes (ahead.h).
 */
#ifndef TAILOR_WORKER_TRAINER_PORTION_H
#define TAILOR_WORKER_TRAINER_PORTION_H

#include "worker/data/sampler.h"
#include "worker/trainer/batch.h"
#include "worker/trainer/deal.h"
#include "worker/trainer/step.h"

struct portion {
    struct arena arena;
    int64_t step; /* −1: nobody's; no slice is rechecked */
    struct deal deal;
    struct deal_recheck recheck;
    struct batch batch;
    const int64_t *row0;       /* (groups + 1) rows of the batch before each group */
    struct batch_pack **packs; /* (slices) each (batch.packs); NULL: another rank computes it */
    double epoch;              /* how far through the own data; 0 where groups were given */
};

/* `portion` is empty or was released. groups (count): dataset, group and part set; they outlive
 * it. */
void portion_build(struct portion *portion, const struct stepper *stepper, int64_t step,
                   struct batch_group *groups, int32_t count);
/* The same of the groups that the sampler gives to the step. */
void portion_sample(struct portion *portion, const struct stepper *stepper,
                    const struct sampler *sampler, struct dataset *const *parts, int64_t step);
void portion_release(struct portion *portion);

#endif
