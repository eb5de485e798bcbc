/* SPDX-License-Identifier: Apache-2.0
 *
 * step: ONE training step.
 *
 *     samples → batch → for each slice, for each pack: forward → losses → backward
 *             → tree sum over slices → clip → AdamW
 */
#ifndef TAILOR_WORKER_TRAINER_STEP_H
#define TAILOR_WORKER_TRAINER_STEP_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/status.h"
#include "worker/data/sampler.h"
#include "worker/model/activations.h"
#include "worker/model/loss.h"
#include "worker/model/model.h"
#include "worker/trainer/batch.h"
#include "worker/trainer/optimizer.h"
#include "worker/trainer/schedule.h"
#include "worker/trainer/slice_tree.h"

/* Everything a step works with; all borrowed. */
struct stepper {
    struct model *model;
    struct activations *acts;
    struct slice_tree *tree;
    struct optimizer *optimizer;
    const struct schedule *schedule;
    const struct loss_config *loss;
    enum pooling pooling;
    int32_t slices;
    int32_t capacity_tokens; /* of a pack; a larger group is computed in parts */
    enum pack_mode mode;     /* PACK_SHARED, except in tests */
};

/* Sums of one part of the mix, or of all. */
struct part_sums {
    struct ranking_sums ranking;
    int64_t tokens;
};

struct step_result {
    double loss, rank_loss, centring_loss, lm_loss;
    double gradient_norm, learning_rate;
    bool skipped; /* loss or gradients were not finite: nothing was updated */
    int64_t tokens, tokens_packed, pairs, imitated;
    struct part_sums part[MIX_PARTS];
    double data_seconds, forward_seconds, backward_seconds, optimizer_seconds;
};

/* groups (count): dataset, group and part set. Updates the model unless skipped. `step` selects the
 * learning rate. */
void stepper_step(const struct stepper *stepper, int64_t step, struct batch_group *groups,
                  int32_t count, struct step_result *result_out);

/* The same without the update: gradients stay in the tree (slice_tree_sum). For tests and
 * --verify-packing. reward_out may be NULL; else rewards by group (in order), then row. */
void stepper_gradients(const struct stepper *stepper, struct batch_group *groups, int32_t count,
                       float *reward_out, struct step_result *result_out);

#endif
