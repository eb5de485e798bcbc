/* SPDX-License-Identifier: Apache-2.0
 *
 * attention_block: the attention half of a layer, from the norm's output to what is added to the
 * residual stream; and its answer in the backward pass.
 */
#ifndef TAILOR_WORKER_MODEL_ATTENTION_BLOCK_H
#define TAILOR_WORKER_MODEL_ATTENTION_BLOCK_H

#include "worker/model/pass.h"

/* view.xn (S, C) → view.projection (rows of the queries). */
void attention_block_forward(const struct pass *pass, int32_t layer);
/* dx_out (rows of the queries) is d/d x_middle. Leaves d/d x in view.dx (S, C). */
void attention_block_backward(const struct pass *pass, int32_t layer, real *dx_out);

#endif
