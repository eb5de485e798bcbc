/* SPDX-License-Identifier: Apache-2.0
 *
 * kept_weights: which matrices of a model the device keeps in the layout that products read
 * (ops.h, weights_keep): those of its layers, each as the passes multiply by it.
 *
 *     TRY(kept_weights_keep(model, pruned, kept_weights_uses(pack_tokens, true), error));
 *     … optimizer_step …
 *     kept_weights_changed(model);        model_free forgets them
 *
 * On a processor it costs another copy of the layers' weights for each use and saves the packing of
 * every product. How much that is depends on the rows of a product alone, so short packs gain and
 * long ones do not: there a copy of the weights would be memory for nothing. A GPU rounds weights
 * to bf16 for products whose time is a hundredth of a processor's: there it always pays. The
 * embedding and the heads are not kept: a step reads them once.
 */
#ifndef TAILOR_WORKER_MODEL_KEPT_WEIGHTS_H
#define TAILOR_WORKER_MODEL_KEPT_WEIGHTS_H

#include "worker/model/model.h"

/* Packing takes a tenth of a product with 64 rows, a hundredth of one with 1024. */
enum { KEPT_PACK_TOKENS_MAX = 256 };

/* The uses that pay when packs hold at most so many tokens. */
unsigned kept_weights_uses(const struct device *device, int32_t pack_tokens, bool backward);

/* `pruned`: the last layer is computed only where it is read (pass_pruned). `uses`: bits of enum
 * weight_use. */
size_t kept_weights_bytes(const struct model *model, bool pruned, unsigned uses);
/* In place of what was kept before. */
enum status kept_weights_keep(const struct model *model, bool pruned, unsigned uses,
                              struct error *error);
/* What trains has been trained or loaded; of an adapter nothing is kept. */
void kept_weights_changed(const struct model *model);

#endif
