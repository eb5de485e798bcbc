/* SPDX-License-Identifier: Apache-2.0
 *
 * step: ONE training step.
 *
 *     samples → batch → for each slice of this rank, for each pack: forward → losses → backward
 *             → tree sum over slices, then over ranks → clip → AdamW
 *
 * Every rank plans the whole batch and computes the slices that it was dealt (deal.h). What it
 * prints of a step is the same on all of them, to the bit: sums of losses travel slice by slice and
 * are added in the order of the slices.
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
#include "worker/trainer/deal.h"
#include "worker/trainer/gang.h"
#include "worker/trainer/optimizer.h"
#include "worker/trainer/schedule.h"
#include "worker/trainer/slice_tree.h"

struct portion;

/* Everything a step works with; all borrowed. */
struct stepper {
    struct model *model;
    struct activations *acts;
    struct slice_tree *tree; /* over the slices that this rank is dealt */
    struct optimizer *optimizer;
    const struct gang *gang; /* NULL: alone */
    const struct schedule *schedule;
    const struct loss_config *loss;
    enum pooling pooling;
    int32_t slices;          /* of the whole batch */
    size_t overlap_floats;   /* handed on at a time, at least, by overlap.h; 0: no overlap */
    int64_t recheck_steps;   /* between slices that a second rank computes too; 0: never */
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
    double packed_fill; /* tokens computed, of what the packs could hold */
    struct part_sums part[MIX_PARTS];
    double data_seconds, forward_seconds, backward_seconds, optimizer_seconds; /* of this rank */
    double reduce_seconds; /* until the others' sums were here */
    double
        reduce_hidden_seconds; /* of the sums beside the backward pass; not in any of the above */
};

/* groups (count): dataset, group and part set. Updates the model unless skipped. `step` selects the
 * learning rate. Fails only in a gang: STATUS_COMMUNICATION, or STATUS_NUMERIC where two ranks
 * computed different bits for one slice; then nothing was updated. */
enum status stepper_step(const struct stepper *stepper, int64_t step, struct batch_group *groups,
                         int32_t count, struct step_result *result_out, struct error *error);

/* The same of data that were prepared for its step (portion.h). */
enum status stepper_step_portion(const struct stepper *stepper, const struct portion *portion,
                                 struct step_result *result_out, struct error *error);

/* The same without the update: this rank's gradients stay in the tree (slice_tree_sum), not yet
 * added over ranks. For tests and --verify-packing. reward_out may be NULL; else rewards by group
 * (in order), then row; of the slices of this rank. */
enum status stepper_gradients(const struct stepper *stepper, struct batch_group *groups,
                              int32_t count, float *reward_out, struct step_result *result_out,
                              struct error *error);

#endif
