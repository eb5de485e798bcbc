/* SPDX-License-Identifier: Apache-2.0
 *
 * transformer: forward and backward over one pack. Explicit lists of calls; each line of the
 * backward pass answers one of the forward pass, in reverse. No graph.
 *
 *     activations_stage(acts, &pack, &reading);
 *     transformer_forward(model, acts, &reading, 0, NULL, rewards, nll);
 *     … ranking_loss(rewards) → dreward …
 *     transformer_backward(model, acts, &reading, dreward, gradients);
 *
 * With `gradients` the imitation loss is differentiated during the forward pass (its weights are
 * known beforehand), which leaves its part in acts->dhidden; transformer_backward adds the rewards'
 * part.
 */
#ifndef TAILOR_WORKER_MODEL_TRANSFORMER_H
#define TAILOR_WORKER_MODEL_TRANSFORMER_H

#include "worker/model/activations.h"
#include "worker/model/model.h"
#include "worker/model/reading.h"

/* reward_out: (R) on the host, in the pack's row order; NULL when R is 0. nll_out: (lm_count) on
 * the host; NULL when there is no imitation. lm_scale multiplies the imitation weights in the
 * gradient (lm_loss_coeff). gradients: a block over model_trained_table(); NULL for scoring. */
void transformer_forward(const struct model *model, struct activations *acts,
                         const struct reading *reading, float lm_scale, float *gradients,
                         float *reward_out, float *nll_out);

/* Told while a backward pass goes on: it adds nothing more to the gradients from element `begin`
 * on. `begin` never rises from call to call, and at last is 0. */
struct backward_watch {
    void (*final)(void *argument, size_t begin);
    void *argument;
};

/* dreward: (R) on the host. Adds to `gradients`. `watch` may be NULL. */
void transformer_backward(const struct model *model, struct activations *acts,
                          const struct reading *reading, const float *dreward, float *gradients,
                          const struct backward_watch *watch);

#endif
