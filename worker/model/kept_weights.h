/* SPDX-License-Identifier: Apache-2.0
 *
 * kept_weights: which matrices of a model the device keeps in the layout that products read
 * (ops.h, weights_keep): those of its layers, each as the passes multiply by it.
 *
 *     TRY(kept_weights_keep(model, pruned, uses, error));
 *     … optimizer_step …
 *     kept_weights_changed(model);        model_free forgets them
 *
 * It costs another copy of the layers' weights for each use and saves the packing of every product:
 * the most where packs are short. The embedding and the heads are not kept: a step reads them once.
 */
#ifndef TAILOR_WORKER_MODEL_KEPT_WEIGHTS_H
#define TAILOR_WORKER_MODEL_KEPT_WEIGHTS_H

#include "worker/model/model.h"

/* `pruned`: the last layer is computed only where it is read (pass_pruned). `uses`: bits of enum
 * weight_use. */
size_t kept_weights_bytes(const struct model *model, bool pruned, unsigned uses);
enum status kept_weights_keep(const struct model *model, bool pruned, unsigned uses,
                              struct error *error);
/* What trains has been trained or loaded; of an adapter nothing is kept. */
void kept_weights_changed(const struct model *model);

#endif
