/* SPDX-License-Identifier: Apache-2.0
 *
 * long_group: a step's work on a group that is larger than a pack (worker/data/pack_parts.h).
 *
 *     long_group_rewards     prefix forward; each part forward              → rewards of all rows
 *     … losses …
 *     long_group_backward    each part forward and backward; prefix backward
 *
 * The prefix is computed once: its activations stay in the buffers, the parts attend to its keys
 * and values, and their gradients gather there. The ranking loss needs the rewards of all rows
 * before the first backward pass, so the parts are computed forward twice. The alternative, keeping
 * every part's activations, is the memory that this saves; a gradient a row, scaled afterwards,
 * would be K gradients.
 *
 * Rewards are those of the whole group to the bit. Gradients are the same sums in another order:
 * part by part, rows of the group in order, and the prefix last; within the prefix's keys and
 * values, the parts' shares in order, then the prefix's own queries.
 */
#ifndef TAILOR_WORKER_TRAINER_LONG_GROUP_H
#define TAILOR_WORKER_TRAINER_LONG_GROUP_H

#include "worker/data/pack_parts.h"
#include "worker/trainer/batch.h"
#include "worker/trainer/step.h"

struct long_group {
    const struct stepper *stepper; /* borrowed, like all below */
    const struct batch_pack *built;
    struct arena *arena;
    struct pack_group rows;
    struct pack_parts parts;
    int32_t prefix_length; /* what `prefix` points to */
    struct pack prefix;
    struct reading prefix_reading;
};

/* Is the pack one group that must be computed in parts? */
bool long_group_is(const struct stepper *stepper, const struct batch_pack *built);

/* `built` is the pack of that group alone. reward_out: (rows); gradients get the imitation of the
 * prefix; *lm_loss grows by it. */
void long_group_rewards(struct long_group *group, const struct stepper *stepper,
                        const struct batch *batch, const struct batch_pack *built,
                        struct arena *arena, float *gradients, float *reward_out, double *lm_loss);
/* dreward: (rows). Adds to gradients, and the imitation of the parts to *lm_loss. */
void long_group_backward(struct long_group *group, const float *dreward, float *gradients,
                         double *lm_loss);

#endif
