/* SPDX-License-Identifier: Apache-2.0
 *
 * pass: what every part of a forward or backward pass works with: the model, the buffers, and which
 * tokens of the pack are computed. For transformer.c and attention_block.c alone.
 *
 * A pass computes the tokens [first, tokens) of its pack. Those before `first` were computed by an
 * earlier pass, which left their keys and values in place (the shared prefix of a group that is
 * larger than a pack; activations.h). The pointers of `view` and of pass_layer() are already moved
 * to token `first`, so row 0 of a buffer is the first token that is computed; pass_origin() leads
 * back to token 0 for the few calls that index by packed token.
 */
#ifndef TAILOR_WORKER_MODEL_PASS_H
#define TAILOR_WORKER_MODEL_PASS_H

#include "worker/model/activations.h"
#include "worker/model/model.h"
#include "worker/model/reading.h"

struct pass {
    const struct model *model;
    const struct model_config *c;
    struct activations *acts;
    struct activations view;
    const struct reading *reading;
    struct device *device;
    const struct ops *ops;
    float *gradients; /* over the trained table; NULL: forward only */
    int32_t first;    /* token of the pack that is computed first */
    int32_t S, Q;     /* tokens that are computed; queries of the last layer */
    int32_t width;    /* (H + 2G) D */
};

void pass_init(struct pass *pass, const struct model *model, struct activations *acts,
               const struct reading *reading, float *gradients);

struct layer_activations pass_layer(const struct pass *pass, int32_t layer);
/* Where token 0 of the pack lies, from where token `first` does. */
real *pass_origin(const struct pass *pass, real *rows, int64_t columns);
/* Is the layer computed at the tokens that are read, alone? */
bool pass_pruned(const struct pass *pass, int32_t layer);

const float *pass_weight(const struct pass *pass, enum tensor_kind kind, int32_t layer);
/* Where the gradient of a base weight goes; NULL when it is frozen. */
float *pass_gradient(const struct pass *pass, enum tensor_kind kind, int32_t layer);
/* dW (and dbias) of the N rows that begin at matrix `kind`: one matrix, or several that are
 * adjacent in the table and were multiplied as one. Nothing when the base is frozen. */
void pass_weight_backward(const struct pass *pass, enum tensor_kind kind, int32_t layer,
                          const real *dy, int32_t lddy, const real *x, int32_t rows, int32_t N);

enum { PASS_ADAPTERS_MAX = 64 }; /* of several models in one pass */

/* Has the matrix an adapter? */
bool pass_lora_on(const struct pass *pass, enum tensor_kind kind);
/* One matrix of a layer, or several that are adjacent in the table and multiplied as one: N rows
 * of W that begin at matrix `first`. */
struct pass_product {
    enum tensor_kind first;
    int32_t layer, rows, N;
};

/* y = x Wᵀ + bias, adapters included; `u_only`: nothing but what their backward pass needs. */
void pass_forward(const struct pass *pass, const struct pass_product *product, real *y, int32_t ldy,
                  const real *x, const real *bias, bool u_only);
/* dx = dy W, adapters included, and the gradients of those; x is what forward got. */
void pass_backward(const struct pass *pass, const struct pass_product *product, real *dx,
                   const real *dy, int32_t lddy, const real *x);
/* The adapters' part of that alone, dx +=. */
void pass_lora_backward(const struct pass *pass, const struct pass_product *product, real *dx,
                        const real *dy, int32_t lddy, const real *x);

#endif
