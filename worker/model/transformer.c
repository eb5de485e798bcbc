/* SPDX-License-Identifier: Apache-2.0
 *
 * The decoder of the LLaMA family:
 *
 *   x = embed(ids)
 *   each layer:  x_middle = x + Wo · attention(rope(Wqkv · norm(x)))
 *                x        = x_middle + Wdown · swiglu(Wgate_up · norm(x_middle))
 *   hidden = norm(x),  reward = score · pool(hidden)
 *
 * In the last layer, when only some tokens are read, queries, output projection and MLP are
 * computed at those alone (reading.queries); keys and values still for all. Rows of a matrix
 * product do not depend on each other, so the bits are the same.
 *
 * With LoRA the base's weights are frozen: their gradients are NULL and only the adapter's are
 * made.
 *
 * With capacity.recompute only a layer's input is kept, and the backward pass makes the layer again
 * before it differentiates it.
 */
#include "worker/model/transformer.h"

#include "lib/check.h"
#include "worker/model/adapter_open.h"
#include "worker/model/attention_block.h"

/* ---- feed-forward half ----------------------------------------------------------------------- */

/* xn (rows) → projection (rows). `again`: only what the backward pass needs, which is all but the
 * product with W_down. */
static void ffn_block_forward(const struct pass *pass, int32_t layer, int32_t rows, bool again)
{
    const struct model_config *c = pass->c;
    const struct activations *a = &pass->view;
    struct layer_activations la = pass_layer(pass, layer);
    const struct pass_product gate_up = {TENSOR_GATE, layer, rows, 2 * c->F};
    const struct pass_product down = {TENSOR_DOWN, layer, rows, c->C};
    pass_forward(pass, &gate_up, la.gate_up, 2 * c->F, a->xn, NULL, false);
    if (again && !pass_lora_on(pass, TENSOR_DOWN)) {
        return;
    }
    pass->ops->swiglu_forward(pass->device, a->h, la.gate_up, rows, c->F);
    pass_forward(pass, &down, a->projection, c->C, a->h, NULL, again);
}

/* dx (rows) is d/d x_out; on return it is d/d x_middle. */
static void ffn_block_backward(const struct pass *pass, int32_t layer, real *dx, int32_t rows)
{
    const struct model_config *c = pass->c;
    const struct activations *a = &pass->view;
    struct layer_activations la = pass_layer(pass, layer);
    const struct ops *ops = pass->ops;
    const struct pass_product gate_up = {TENSOR_GATE, layer, rows, 2 * c->F};
    const struct pass_product down = {TENSOR_DOWN, layer, rows, c->C};
    if (pass_lora_on(pass, TENSOR_DOWN)) { /* its gradients read h */
        ops->swiglu_forward(pass->device, a->h, la.gate_up, rows, c->F);
    }
    pass_backward(pass, &down, a->dh, dx, c->C, a->h);
    const bool frozen = pass->model->adapter != NULL;
    real *dgate_up = la.gate_up; /* in place: nothing reads gate and up again */
    ops->swiglu_backward(pass->device, dgate_up, frozen ? NULL : a->h, a->dh, la.gate_up, rows,
                         c->F);
    pass_weight_backward(pass, TENSOR_DOWN, layer, dx, c->C, a->h, rows, c->C);
    ops->rmsnorm_forward(pass->device, a->xn, la.ffn_rstd, NULL, la.x_middle, NULL,
                         pass_weight(pass, TENSOR_FFN_NORM, layer), rows, c->C, c->norm_epsilon);
    pass_backward(pass, &gate_up, a->dxn, dgate_up, 2 * c->F, a->xn);
    pass_weight_backward(pass, TENSOR_GATE, layer, dgate_up, 2 * c->F, a->xn, rows, 2 * c->F);
    ops->rmsnorm_backward(pass->device, dx, pass_gradient(pass, TENSOR_FFN_NORM, layer), a->dxn,
                          la.x_middle, la.ffn_rstd, pass_weight(pass, TENSOR_FFN_NORM, layer), rows,
                          c->C, true);
}

/* ---- a layer --------------------------------------------------------------------------------- */

/* From xn = norm(x) on. */
static void layer_finish(const struct pass *pass, int32_t layer, bool again)
{
    const struct model_config *c = pass->c;
    const struct activations *a = &pass->view;
    struct layer_activations la = pass_layer(pass, layer);
    const struct ops *ops = pass->ops;
    attention_block_forward(pass, layer);
    const real *residual = la.x;
    int32_t rows = pass->S;
    if (pass_pruned(pass, layer)) {
        ops->gather_rows(pass->device, a->x_read, pass_origin(pass, la.x, c->C), a->queries,
                         pass->Q, c->C);
        residual = a->x_read;
        rows = pass->Q;
    }
    ops->rmsnorm_forward(pass->device, a->xn, la.ffn_rstd, la.x_middle, residual, a->projection,
                         pass_weight(pass, TENSOR_FFN_NORM, layer), rows, c->C, c->norm_epsilon);
    ffn_block_forward(pass, layer, rows, again);
}

/* One layer: view.projection holds the former layer's output, not yet added to its residual. */
static void layer_forward(const struct pass *pass, int32_t layer)
{
    const struct activations *a = &pass->view;
    struct layer_activations la = pass_layer(pass, layer);
    bool lowest = layer == 0;
    const real *x = lowest ? la.x : pass_layer(pass, layer - 1).x_middle;
    pass->ops->rmsnorm_forward(pass->device, a->xn, la.attention_rstd, lowest ? NULL : la.x, x,
                               lowest ? NULL : a->projection,
                               pass_weight(pass, TENSOR_ATTENTION_NORM, layer), pass->S, pass->c->C,
                               pass->c->norm_epsilon);
    layer_finish(pass, layer, false);
}

/* Makes the layer's activations again from its input: the same calls, so the same bits. Those of
 * the last layer are still there, unless another part of the group was computed since. */
static void layer_recompute(const struct pass *pass, int32_t layer)
{
    struct layer_activations la = pass_layer(pass, layer);
    if (layer == pass->c->L - 1 && pass->acts->computed_first == pass->first) {
        return;
    }
    pass->ops->rmsnorm_forward(pass->device, pass->view.xn, la.attention_rstd, NULL, la.x, NULL,
                               pass_weight(pass, TENSOR_ATTENTION_NORM, layer), pass->S, pass->c->C,
                               pass->c->norm_epsilon);
    layer_finish(pass, layer, true);
}

/* ---- what is read -----------------------------------------------------------------------------
 */

/* Row i is the i-th query's where only some are computed, else token i's. */
static real *read_origin(const struct pass *pass, real *hidden)
{
    return pass->reading->queries != NULL ? hidden : pass_origin(pass, hidden, pass->c->C);
}

static const float *score_weight(const struct pass *pass)
{
    if (pass->model->adapter != NULL) {
        return params_at(&pass->model->adapter_table, pass->model->adapter, TENSOR_SCORE, -1);
    }
    return pass_weight(pass, TENSOR_SCORE, -1);
}

static const float *lm_head(const struct pass *pass)
{
    return pass_weight(pass, pass->c->tied ? TENSOR_EMBED : TENSOR_LM_HEAD, -1);
}

static void imitation_forward(const struct pass *pass, float lm_scale, float *nll_out)
{
    const struct model_config *c = pass->c;
    const struct activations *a = &pass->view;
    const struct reading *reading = pass->reading;
    const float *w = lm_head(pass);
    CHECK(w != NULL);
    float *dw = NULL;
    real *dx = NULL;
    if (pass->gradients != NULL) {
        dx = read_origin(pass, a->dhidden);
        dw = pass_gradient(pass, c->tied ? TENSOR_EMBED : TENSOR_LM_HEAD, -1);
        /* The staged weights are those of the loss; the gradient's carry the coefficient. */
        float *scaled = mem_alloc(sizeof(*scaled) * (size_t)reading->lm_count);
        for (int32_t i = 0; i < reading->lm_count; i++) {
            scaled[i] = reading->lm_weight[i] * lm_scale;
        }
        pass->ops->copy_in(pass->device, a->lm_weight, scaled,
                           sizeof(*scaled) * (size_t)reading->lm_count);
        mem_free(scaled);
    }
    pass->ops->cross_entropy(pass->device, a->nll, dx, dw, read_origin(pass, a->hidden), w,
                             a->lm_source, a->lm_target, a->lm_weight, reading->lm_count, c->C,
                             c->V);
    pass->ops->copy_out(pass->device, nll_out, a->nll, sizeof(float) * (size_t)reading->lm_count);
}

/* Rows of several models: each range by its adapter's head, what lies between by the parent's. */
static void heads_forward(const struct pass *pass)
{
    const struct activations *a = &pass->view;
    const struct reading_adapters *several = pass->reading->adapters;
    int32_t C = pass->c->C, row = 0;
    for (int32_t t = 0; t <= several->row_ranges; t++) {
        const struct lora_range *range = t < several->row_ranges ? &several->rows[t] : NULL;
        int32_t begin = range != NULL ? range->row0 : pass->reading->R;
        if (begin > row) {
            pass->ops->reward_forward(pass->device, a->reward + row, a->pooled + (size_t)row * C,
                                      pass_weight(pass, TENSOR_SCORE, -1), begin - row, C);
        }
        if (range != NULL) {
            const struct adapter *adapter = several->items[range->adapter];
            pass->ops->reward_forward(
                pass->device, a->reward + begin, a->pooled + (size_t)begin * C,
                params_at(&adapter->table, adapter->weights, TENSOR_SCORE, -1), range->rows, C);
            row = begin + range->rows;
        }
    }
}

static void reward_forward(const struct pass *pass, float *reward_out)
{
    const struct activations *a = &pass->view;
    const struct reading *reading = pass->reading;
    const real *hidden = read_origin(pass, a->hidden);
    int32_t C = pass->c->C, R = reading->R;
    if (reading->pooling == POOLING_MEAN) {
        pass->ops->pool_mean_forward(pass->device, a->pooled, hidden, a->row_offset, a->row_token,
                                     R, C);
    } else if (reading->pooling == POOLING_MAX) {
        pass->ops->pool_max_forward(pass->device, a->pooled, a->argmax, hidden, a->row_offset,
                                    a->row_token, R, C);
    } else {
        pass->ops->gather_rows(pass->device, a->pooled, hidden, a->query_of_row, R, C);
    }
    if (reading->adapters != NULL) {
        heads_forward(pass);
    } else {
        pass->ops->reward_forward(pass->device, a->reward, a->pooled, score_weight(pass), R, C);
    }
    pass->ops->copy_out(pass->device, reward_out, a->reward, sizeof(float) * (size_t)R);
}

/* ---- the whole pass -------------------------------------------------------------------------- */

/* The sums that this pass begins and others (losses, a prefix's parts) add to. */
static void gradients_begin(const struct pass *pass)
{
    const struct activations *a = &pass->view;
    const struct model_config *c = pass->c;
    size_t share = (size_t)pass->S * (size_t)(2 * c->G * c->D);
    pass->ops->zero(pass->device, a->dhidden, sizeof(real) * (size_t)pass->Q * (size_t)c->C);
    for (int32_t layer = 0; a->role == PACK_PREFIX && layer < c->L; layer++) {
        pass->ops->zero(pass->device, a->layers[layer].dkv_prefix, sizeof(real) * share);
    }
}

void transformer_forward(const struct model *model, struct activations *acts,
                         const struct reading *reading, float lm_scale, float *gradients,
                         float *reward_out, float *nll_out)
{
    struct pass pass;
    pass_init(&pass, model, acts, reading, gradients);
    const struct model_config *c = pass.c;
    const struct activations *a = &pass.view;
    CHECK(acts->layout.row_tokens_max <= model->rope_positions);
    pass.ops->embed_forward(pass.device, pass_layer(&pass, 0).x, a->ids,
                            pass_weight(&pass, TENSOR_EMBED, -1), pass.S, c->C);
    for (int32_t layer = 0; layer < c->L; layer++) {
        layer_forward(&pass, layer);
    }
    acts->computed_first = pass.first;
    pass.ops->rmsnorm_forward(
        pass.device, a->hidden, a->final_rstd, a->x_final, pass_layer(&pass, c->L - 1).x_middle,
        a->projection, pass_weight(&pass, TENSOR_FINAL_NORM, -1), pass.Q, c->C, c->norm_epsilon);
    if (gradients != NULL) {
        gradients_begin(&pass);
    }
    if (reading->lm_count > 0) {
        imitation_forward(&pass, lm_scale, nll_out);
    }
    if (reading->R > 0) {
        reward_forward(&pass, reward_out);
    }
}

/* dreward → dhidden, where the imitation loss has been before. */
static void reward_backward(const struct pass *pass, const float *dreward)
{
    const struct activations *a = &pass->view;
    const struct reading *reading = pass->reading;
    int32_t C = pass->c->C, R = reading->R;
    real *dhidden = read_origin(pass, a->dhidden);
    if (R == 0) {
        return;
    }
    pass->ops->copy_in(pass->device, a->dreward, dreward, sizeof(float) * (size_t)R);
    float *dscore = params_at(model_trained_table(pass->model), pass->gradients, TENSOR_SCORE, -1);
    pass->ops->reward_backward(pass->device, a->dpooled, dscore, a->dreward, a->pooled,
                               score_weight(pass), R, C);
    if (reading->pooling == POOLING_MEAN) {
        pass->ops->pool_mean_backward(pass->device, dhidden, a->dpooled, a->row_offset,
                                      a->row_token, R, C);
    } else if (reading->pooling == POOLING_MAX) {
        pass->ops->pool_max_backward(pass->device, dhidden, a->dpooled, a->argmax, R, C);
    } else {
        pass->ops->scatter_add_rows(pass->device, dhidden, a->dpooled, a->query_of_row, R, C);
    }
}

/* The trained table is final from layer `layer` on; c->L: behind the layers, −1: all of it. */
static void tell_final(const struct pass *pass, int32_t layer, const struct backward_watch *watch)
{
    if (watch != NULL) {
        const struct params_table *table = model_trained_table(pass->model);
        watch->final(watch->argument, layer < 0 ? 0 : params_layer_begin(table, layer));
    }
}

void transformer_backward(const struct model *model, struct activations *acts,
                          const struct reading *reading, const float *dreward, float *gradients,
                          const struct backward_watch *watch)
{
    struct pass pass;
    pass_init(&pass, model, acts, reading, gradients);
    const struct model_config *c = pass.c;
    const struct activations *a = &pass.view;
    CHECK(gradients != NULL);
    reward_backward(&pass, dreward);
    real *dx = reading->queries != NULL ? a->dx_read : a->dx;
    pass.ops->rmsnorm_backward(pass.device, dx, pass_gradient(&pass, TENSOR_FINAL_NORM, -1),
                               a->dhidden, a->x_final, a->final_rstd,
                               pass_weight(&pass, TENSOR_FINAL_NORM, -1), pass.Q, c->C, false);
    tell_final(&pass, c->L, watch);
    for (int32_t layer = c->L - 1; layer >= 0; layer--) {
        if (acts->capacity.recompute) {
            layer_recompute(&pass, layer);
        }
        ffn_block_backward(&pass, layer, dx, pass_pruned(&pass, layer) ? pass.Q : pass.S);
        attention_block_backward(&pass, layer, dx);
        dx = a->dx;
        tell_final(&pass, layer, watch);
    }
    if (pass_gradient(&pass, TENSOR_EMBED, -1) != NULL) {
        pass.ops->embed_backward(pass.device, pass_gradient(&pass, TENSOR_EMBED, -1), a->dx, a->ids,
                                 pass.S, c->C);
    }
    tell_final(&pass, -1, watch);
}
