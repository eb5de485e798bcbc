/* SPDX-License-Identifier: Apache-2.0
 *
 * In a pruned layer queries are computed at the tokens that are read alone, keys and values for
 * all. Of a pack whose prefix was computed before (pass.h), queries are the tokens from `first` on,
 * keys and values those of the whole pack.
 *
 * A prefix's keys and values get their gradient in shares: each part's pass adds its own to
 * dkv_prefix, in the order of parts; the prefix's backward pass comes last and adds the sum to the
 * share of the prefix's own queries.
 */
#include "worker/model/attention_block.h"

/* Queries, keys and values as the attention op takes them. */
struct attention_inputs {
    real *q, *k, *v; /* from token `first` on */
    int32_t ldq, ldkv;
    bool all;                /* every token that is computed is queried */
    const int32_t *queries;  /* packed indices, on the device; NULL: the whole pack */
    const int32_t *position; /* of the queries */
    int32_t query_count;
};

static struct attention_inputs attention_inputs(const struct pass *pass, int32_t layer, real *qkv,
                                                real *qkv_raw, real *q_read)
{
    const struct model_config *c = pass->c;
    const struct activations *a = &pass->view;
    bool some = pass_pruned(pass, layer);
    const int32_t *tail = pass->first > 0 ? a->token_index + pass->first : NULL;
    real *values = qkv_raw != NULL ? qkv_raw : qkv; /* v has no norm */
    return (struct attention_inputs){.q = some ? q_read : qkv,
                                     .k = qkv + (size_t)c->H * c->D,
                                     .v = values + (size_t)(c->H + c->G) * c->D,
                                     .ldq = some ? c->H * c->D : pass->width,
                                     .ldkv = pass->width,
                                     .all = !some,
                                     .queries = some ? a->queries : tail,
                                     .position = some ? a->query_position : a->position,
                                     .query_count = some ? pass->Q : pass->S};
}

static struct attention_shape attention_shape(const struct model_config *c)
{
    /* 1/sqrt(D) rounded once from double */
    return (struct attention_shape){
        .H = c->H, .G = c->G, .D = c->D, .scale = (float)(1.0 / __builtin_sqrt((double)c->D))};
}

/* raw = xn Wqkvᵀ + bias. Where only some queries are read, their q goes to q_out (stride ldq_out).
 */
static void qkv_project(const struct pass *pass, int32_t layer, real *raw, real *q_out,
                        int32_t ldq_out)
{
    const struct model_config *c = pass->c;
    const struct activations *a = &pass->view;
    int32_t HD = c->H * c->D, GD = c->G * c->D;
    const float *bias = pass_weight(pass, TENSOR_Q_BIAS, layer);
    if (!pass_pruned(pass, layer)) {
        const struct pass_product qkv = {TENSOR_Q, layer, pass->S, HD + 2 * GD};
        pass_forward(pass, &qkv, raw, pass->width, a->xn, bias, false);
        return;
    }
    const struct pass_product kv = {TENSOR_K, layer, pass->S, 2 * GD};
    const struct pass_product q = {TENSOR_Q, layer, pass->Q, HD};
    real *xn_read = a->projection;
    pass_forward(pass, &kv, raw + HD, pass->width, a->xn, bias == NULL ? NULL : bias + HD, false);
    pass->ops->gather_rows(pass->device, xn_read, pass_origin(pass, a->xn, c->C), a->queries,
                           pass->Q, c->C);
    pass_forward(pass, &q, q_out, ldq_out, xn_read, bias, false);
}

/* Qwen3: q and k are normed head by head. A pruned raw q lies in the first rows of qkv_raw. */
static void qk_norm(const struct pass *pass, int32_t layer, struct layer_activations *la)
{
    const struct model_config *c = pass->c;
    const struct activations *a = &pass->view;
    int32_t HD = c->H * c->D;
    bool some = pass_pruned(pass, layer);
    pass->ops->head_norm_forward(pass->device, some ? a->q_read : la->qkv, some ? HD : pass->width,
                                 la->q_rstd, la->qkv_raw, pass->width,
                                 pass_weight(pass, TENSOR_Q_NORM, layer), some ? pass->Q : pass->S,
                                 c->H, c->D, c->norm_epsilon);
    pass->ops->head_norm_forward(
        pass->device, la->qkv + HD, pass->width, la->k_rstd, la->qkv_raw + HD, pass->width,
        pass_weight(pass, TENSOR_K_NORM, layer), pass->S, c->G, c->D, c->norm_epsilon);
}

static void rotate(const struct pass *pass, const struct attention_inputs *in, bool backward)
{
    const struct model_config *c = pass->c;
    pass->ops->rope(pass->device, in->q, in->ldq, in->position, pass->model->rope, in->query_count,
                    c->H, c->D, backward);
    pass->ops->rope(pass->device, in->k, in->ldkv, pass->view.position, pass->model->rope, pass->S,
                    c->G, c->D, backward);
}

void attention_block_forward(const struct pass *pass, int32_t layer)
{
    const struct model_config *c = pass->c;
    const struct activations *a = &pass->view;
    struct layer_activations la = pass_layer(pass, layer);
    if (la.qkv_raw == NULL) {
        qkv_project(pass, layer, la.qkv, a->q_read, c->H * c->D);
    } else {
        qkv_project(pass, layer, la.qkv_raw, la.qkv_raw, pass->width);
        qk_norm(pass, layer, &la);
    }
    struct attention_inputs in = attention_inputs(pass, layer, la.qkv, la.qkv_raw, a->q_read);
    rotate(pass, &in, false);
    struct attention_shape shape = attention_shape(c);
    pass->ops->attention_forward(pass->device, la.o, la.lse, in.q, in.ldq,
                                 pass_origin(pass, in.k, in.ldkv), pass_origin(pass, in.v, in.ldkv),
                                 in.ldkv, &a->layout, in.queries, in.query_count, &shape);
    const struct pass_product o = {TENSOR_O, layer, in.query_count, c->C};
    pass_forward(pass, &o, a->projection, c->C, la.o, NULL, false);
}

/* ---- backward -------------------------------------------------------------------------------- */

/* d(rotated, normed q and k) → d(raw q and k), in dq, dk; returns the buffer that holds them. */
static struct attention_inputs qk_norm_backward(const struct pass *pass, int32_t layer,
                                                const struct attention_inputs *d)
{
    const struct model_config *c = pass->c;
    const struct activations *a = &pass->view;
    struct layer_activations la = pass_layer(pass, layer);
    struct attention_inputs raw = *d;
    raw.q = a->dqkv_raw;
    raw.ldq = pass->width;
    raw.k = a->dqkv_raw + (size_t)c->H * c->D;
    pass->ops->head_norm_backward(
        pass->device, raw.q, pass->width, pass_gradient(pass, TENSOR_Q_NORM, layer), d->q, d->ldq,
        la.qkv_raw, pass->width, la.q_rstd, pass_weight(pass, TENSOR_Q_NORM, layer), d->query_count,
        c->H, c->D);
    pass->ops->head_norm_backward(pass->device, raw.k, pass->width,
                                  pass_gradient(pass, TENSOR_K_NORM, layer), d->k, d->ldkv,
                                  la.qkv_raw + (size_t)c->H * c->D, pass->width, la.k_rstd,
                                  pass_weight(pass, TENSOR_K_NORM, layer), pass->S, c->G, c->D);
    return raw;
}

/* The same for the queries of a pruned layer: made at those rows, then added into dxn. */
static void q_read_backward(const struct pass *pass, int32_t layer,
                            const struct attention_inputs *d)
{
    const struct model_config *c = pass->c;
    const struct activations *a = &pass->view;
    int32_t HD = c->H * c->D;
    real *dxn_read = a->dhidden; /* free by now, as is the projection */
    real *xn_read = a->projection;
    const struct pass_product q = {TENSOR_Q, layer, pass->Q, HD};
    pass->ops->gather_rows(pass->device, xn_read, pass_origin(pass, a->xn, c->C), a->queries,
                           pass->Q, c->C);
    pass_backward(pass, &q, dxn_read, d->q, d->ldq, xn_read);
    pass_weight_backward(pass, TENSOR_Q, layer, d->q, d->ldq, xn_read, pass->Q, HD);
    pass->ops->scatter_add_rows(pass->device, pass_origin(pass, a->dxn, c->C), dxn_read, a->queries,
                                pass->Q, c->C);
}

/* dxn = dk Wk + dv Wv (+ dq Wq), and the gradients of those matrices. Where the three stripes lie
 * side by side (no q/k norm, all queries) they are one product with the stacked matrix. */
static void qkv_backward(const struct pass *pass, int32_t layer, const struct attention_inputs *d)
{
    const struct model_config *c = pass->c;
    const struct activations *a = &pass->view;
    const struct ops *ops = pass->ops;
    int32_t HD = c->H * c->D, GD = c->G * c->D;
    const float *w = pass_weight(pass, TENSOR_Q, layer);
    const struct pass_product q = {TENSOR_Q, layer, pass->S, HD};
    const struct pass_product k = {TENSOR_K, layer, pass->S, GD};
    const struct pass_product v = {TENSOR_V, layer, pass->S, GD};
    if (d->all && d->v == d->q + HD + GD) {
        const struct pass_product qkv = {TENSOR_Q, layer, pass->S, HD + 2 * GD};
        pass_backward(pass, &qkv, a->dxn, d->q, d->ldq, a->xn);
        pass_weight_backward(pass, TENSOR_Q, layer, d->q, d->ldq, a->xn, pass->S, HD + 2 * GD);
        return;
    }
    ops->linear_backward_input(pass->device, a->dxn, c->C, d->k, d->ldkv, w + (size_t)HD * c->C,
                               pass->S, GD, c->C, false);
    ops->linear_backward_input(pass->device, a->dxn, c->C, d->v, d->ldkv,
                               w + (size_t)(HD + GD) * c->C, pass->S, GD, c->C, true);
    pass_weight_backward(pass, TENSOR_K, layer, d->k, d->ldkv, a->xn, pass->S, GD);
    pass_weight_backward(pass, TENSOR_V, layer, d->v, d->ldkv, a->xn, pass->S, GD);
    if (d->all) {
        ops->linear_backward_input(pass->device, a->dxn, c->C, d->q, d->ldq, w, pass->S, HD, c->C,
                                   true);
        pass_weight_backward(pass, TENSOR_Q, layer, d->q, d->ldq, a->xn, pass->S, HD);
    }
    pass_lora_backward(pass, &k, a->dxn, d->k, d->ldkv, a->xn);
    pass_lora_backward(pass, &v, a->dxn, d->v, d->ldkv, a->xn);
    if (d->all) {
        pass_lora_backward(pass, &q, a->dxn, d->q, d->ldq, a->xn);
    } else {
        q_read_backward(pass, layer, d);
    }
}

/* The gradient of a prefix's keys and values, to or from the sum over its parts. */
static void prefix_share(const struct pass *pass, const struct layer_activations *la)
{
    const struct activations *a = &pass->view;
    const struct ops *ops = pass->ops;
    int32_t G2 = 2 * pass->c->G, D = pass->c->D;
    if (a->role == PACK_PREFIX) {
        ops->scatter_add_rows(pass->device, a->dqkv, la->dkv_prefix, a->kv_row, pass->S * G2, D);
    } else if (pass->first > 0) {
        ops->gather_rows(pass->device, a->kv_gathered, pass_origin(pass, a->dqkv, pass->width),
                         a->kv_row, pass->first * G2, D);
        ops->add(pass->device, la->dkv_prefix, a->kv_gathered,
                 (size_t)pass->first * (size_t)G2 * (size_t)D);
    }
}

void attention_block_backward(const struct pass *pass, int32_t layer, real *dx_out)
{
    const struct model_config *c = pass->c;
    const struct activations *a = &pass->view;
    struct layer_activations la = pass_layer(pass, layer);
    const struct ops *ops = pass->ops;
    struct attention_inputs in = attention_inputs(pass, layer, la.qkv, la.qkv_raw, a->q_read);
    struct attention_inputs d = attention_inputs(pass, layer, a->dqkv, NULL, a->dq_read);
    const struct pass_product o = {TENSOR_O, layer, in.query_count, c->C};
    pass_backward(pass, &o, a->d_o, dx_out, c->C, la.o);
    pass_weight_backward(pass, TENSOR_O, layer, dx_out, c->C, la.o, in.query_count, c->C);
    struct attention_shape shape = attention_shape(c);
    ops->attention_backward(
        pass->device, d.q, d.ldq, pass_origin(pass, d.k, d.ldkv), pass_origin(pass, d.v, d.ldkv),
        d.ldkv, a->d_o, la.o, la.lse, in.q, in.ldq, pass_origin(pass, in.k, in.ldkv),
        pass_origin(pass, in.v, in.ldkv), in.ldkv, &a->layout, in.queries, in.query_count, &shape);
    prefix_share(pass, &la);
    rotate(pass, &d, true);
    if (la.qkv_raw != NULL) {
        d = qk_norm_backward(pass, layer, &d);
    }
    ops->rmsnorm_forward(pass->device, a->xn, la.attention_rstd, NULL, la.x, NULL,
                         pass_weight(pass, TENSOR_ATTENTION_NORM, layer), pass->S, c->C,
                         c->norm_epsilon);
    qkv_backward(pass, layer, &d);
    if (dx_out != a->dx) { /* the residual path of the tokens that were not read is zero */
        ops->zero(pass->device, a->dx, sizeof(real) * (size_t)pass->S * (size_t)c->C);
        ops->scatter_add_rows(pass->device, pass_origin(pass, a->dx, c->C), dx_out, a->queries,
                              pass->Q, c->C);
    }
    ops->rmsnorm_backward(pass->device, a->dx, pass_gradient(pass, TENSOR_ATTENTION_NORM, layer),
                          a->dxn, la.x, la.attention_rstd,
                          pass_weight(pass, TENSOR_ATTENTION_NORM, layer), pass->S, c->C, true);
}
