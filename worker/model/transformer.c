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
 */
#include "worker/model/transformer.h"

#include "lib/check.h"

/* What every step of a pass needs. */
struct pass {
    const struct model *model;
    const struct model_config *c;
    struct activations *acts;
    const struct reading *reading;
    struct device *device;
    const struct ops *ops;
    float *gradients; /* over the trained table; NULL: forward only */
    int32_t S, Q;     /* tokens; queries of the last layer */
    int32_t width;    /* (H + 2G) D */
};

static struct pass pass_init(const struct model *model, struct activations *acts,
                             const struct reading *reading, float *gradients)
{
    const struct model_config *c = &model->config;
    return (struct pass){.model = model,
                         .c = c,
                         .acts = acts,
                         .reading = reading,
                         .device = acts->device,
                         .ops = acts->device->ops,
                         .gradients = gradients,
                         .S = acts->layout.tokens,
                         .Q = reading->queries != NULL ? reading->query_count : acts->layout.tokens,
                         .width = (c->H + 2 * c->G) * c->D};
}

static const float *weight(const struct pass *pass, enum tensor_kind kind, int32_t layer)
{
    return params_at(&pass->model->table, pass->model->weights, kind, layer);
}

/* Where the gradient of a base weight goes; NULL when it is frozen. */
static float *gradient(const struct pass *pass, enum tensor_kind kind, int32_t layer)
{
    if (pass->model->adapter != NULL) {
        return NULL;
    }
    return params_at(&pass->model->table, pass->gradients, kind, layer);
}

static bool pruned(const struct pass *pass, int32_t layer)
{
    return pass->reading->queries != NULL && layer == pass->c->L - 1;
}

/* ---- matrices with an adapter ---------------------------------------------------------------- */

/* The targets in the order of their places in lora_u. */
static int32_t lora_place(enum tensor_kind kind)
{
    static const int32_t places[TENSOR_MODEL_COUNT] = {
        [TENSOR_K] = 1,    [TENSOR_V] = 2,  [TENSOR_O] = 3,
        [TENSOR_GATE] = 4, [TENSOR_UP] = 5, [TENSOR_DOWN] = 6};
    return places[kind];
}

static bool lora_on(const struct pass *pass, enum tensor_kind kind)
{
    return pass->model->adapter != NULL && (pass->model->lora.targets & (1u << kind)) != 0;
}

static struct lora_factors lora_factors(const struct pass *pass, enum tensor_kind kind,
                                        int32_t layer)
{
    const struct params_table *table = &pass->model->adapter_table;
    enum tensor_kind a = TENSOR_LORA_A + kind, b = TENSOR_LORA_B + kind;
    return (struct lora_factors){.A = params_at(table, pass->model->adapter, a, layer),
                                 .B = params_at(table, pass->model->adapter, b, layer),
                                 .dA = params_at(table, pass->gradients, a, layer),
                                 .dB = params_at(table, pass->gradients, b, layer),
                                 .r = pass->model->lora.r,
                                 .scale = lora_scale(&pass->model->lora)};
}

/* y = x Wᵀ + the adapter's part, for one matrix W (N, K) of a layer; y may be a stripe of a wider
 * row. */
static void lora_apply(const struct pass *pass, enum tensor_kind kind, int32_t layer, real *y,
                       int32_t ldy, const real *x, int32_t rows)
{
    if (!lora_on(pass, kind)) {
        return;
    }
    const struct tensor_place *w = params_place(&pass->model->table, kind, layer);
    struct lora_factors factors = lora_factors(pass, kind, layer);
    struct lora_range all = {.row0 = 0, .rows = rows, .adapter = 0};
    int32_t ldu = LORA_TARGETS * factors.r;
    real *u = pass->acts->layers[layer].lora_u + lora_place(kind) * factors.r;
    pass->ops->lora_forward(pass->device, y, ldy, u, ldu, x, w->columns, &factors, &all, 1, w->rows,
                            w->columns);
}

/* dW (and dbias) of the N rows that begin at matrix `kind`: one matrix, or several that are
 * adjacent in the table and were multiplied as one. Nothing when the base is frozen. */
static void weight_backward(const struct pass *pass, enum tensor_kind kind, int32_t layer,
                            const real *dy, int32_t lddy, const real *x, int32_t rows, int32_t N)
{
    float *dw = gradient(pass, kind, layer);
    if (dw == NULL) {
        return;
    }
    float *dbias = NULL;
    if (kind == TENSOR_Q || kind == TENSOR_K || kind == TENSOR_V) {
        dbias = gradient(pass, TENSOR_Q_BIAS + (kind - TENSOR_Q), layer);
    }
    int32_t K = params_place(&pass->model->table, kind, layer)->columns;
    pass->ops->linear_backward_weight(pass->device, dw, dbias, dy, lddy, x, K, rows, N, K);
}

/* dA and dB of one matrix's adapter; dx += the adapter's part. */
static void lora_backward(const struct pass *pass, enum tensor_kind kind, int32_t layer, real *dx,
                          const real *dy, int32_t lddy, const real *x, int32_t rows)
{
    if (!lora_on(pass, kind)) {
        return;
    }
    const struct tensor_place *w = params_place(&pass->model->table, kind, layer);
    struct lora_factors factors = lora_factors(pass, kind, layer);
    struct lora_range all = {.row0 = 0, .rows = rows, .adapter = 0};
    int32_t ldu = LORA_TARGETS * factors.r;
    const real *u = pass->acts->layers[layer].lora_u + lora_place(kind) * factors.r;
    pass->ops->lora_backward(pass->device, dx, w->columns, dy, lddy, u, ldu, x, w->columns,
                             &factors, &all, 1, w->rows, w->columns);
}

/* ---- attention half of a layer ----------------------------------------------------------------
 */

/* Queries, keys and values as the attention op takes them. */
struct attention_inputs {
    real *q, *k, *v;
    int32_t ldq, ldkv;
    const int32_t *queries; /* on the device; NULL: all */
    int32_t query_count;
};

static struct attention_inputs attention_inputs(const struct pass *pass, int32_t layer, real *qkv,
                                                real *qkv_raw, real *q_read)
{
    const struct model_config *c = pass->c;
    bool some = pruned(pass, layer);
    real *values = qkv_raw != NULL ? qkv_raw : qkv; /* v has no norm */
    return (struct attention_inputs){.q = some ? q_read : qkv,
                                     .k = qkv + (size_t)c->H * c->D,
                                     .v = values + (size_t)(c->H + c->G) * c->D,
                                     .ldq = some ? c->H * c->D : pass->width,
                                     .ldkv = pass->width,
                                     .queries = some ? pass->acts->queries : NULL,
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
    struct activations *a = pass->acts;
    int32_t HD = c->H * c->D, GD = c->G * c->D;
    const float *bias = weight(pass, TENSOR_Q_BIAS, layer);
    const float *w = weight(pass, TENSOR_Q, layer);
    if (!pruned(pass, layer)) {
        pass->ops->linear_forward(pass->device, raw, pass->width, a->xn, c->C, w, bias, pass->S,
                                  HD + 2 * GD, c->C, false);
        lora_apply(pass, TENSOR_Q, layer, raw, pass->width, a->xn, pass->S);
    } else {
        real *xn_read = a->projection;
        pass->ops->linear_forward(pass->device, raw + HD, pass->width, a->xn, c->C,
                                  w + (size_t)HD * c->C, bias == NULL ? NULL : bias + HD, pass->S,
                                  2 * GD, c->C, false);
        pass->ops->gather_rows(pass->device, xn_read, a->xn, a->queries, pass->Q, c->C);
        pass->ops->linear_forward(pass->device, q_out, ldq_out, xn_read, c->C, w, bias, pass->Q, HD,
                                  c->C, false);
        lora_apply(pass, TENSOR_Q, layer, q_out, ldq_out, xn_read, pass->Q);
    }
    lora_apply(pass, TENSOR_K, layer, raw + HD, pass->width, a->xn, pass->S);
    lora_apply(pass, TENSOR_V, layer, raw + HD + GD, pass->width, a->xn, pass->S);
}

/* Qwen3: q and k are normed head by head. A pruned raw q lies in the first rows of qkv_raw. */
static void qk_norm(const struct pass *pass, int32_t layer, struct layer_activations *la)
{
    const struct model_config *c = pass->c;
    struct activations *a = pass->acts;
    int32_t HD = c->H * c->D;
    bool some = pruned(pass, layer);
    pass->ops->head_norm_forward(pass->device, some ? a->q_read : la->qkv, some ? HD : pass->width,
                                 la->q_rstd, la->qkv_raw, pass->width,
                                 weight(pass, TENSOR_Q_NORM, layer), some ? pass->Q : pass->S, c->H,
                                 c->D, c->norm_epsilon);
    pass->ops->head_norm_forward(pass->device, la->qkv + HD, pass->width, la->k_rstd,
                                 la->qkv_raw + HD, pass->width, weight(pass, TENSOR_K_NORM, layer),
                                 pass->S, c->G, c->D, c->norm_epsilon);
}

static void rotate(const struct pass *pass, const struct attention_inputs *in, bool backward)
{
    const struct model_config *c = pass->c;
    const int32_t *position =
        in->queries != NULL ? pass->acts->query_position : pass->acts->position;
    pass->ops->rope(pass->device, in->q, in->ldq, position, pass->model->rope, in->query_count,
                    c->H, c->D, backward);
    pass->ops->rope(pass->device, in->k, in->ldkv, pass->acts->position, pass->model->rope, pass->S,
                    c->G, c->D, backward);
}

/* xn → projection (rows of the queries) */
static void attention_block_forward(const struct pass *pass, int32_t layer)
{
    const struct model_config *c = pass->c;
    struct activations *a = pass->acts;
    struct layer_activations *la = &a->layers[layer];
    if (la->qkv_raw == NULL) {
        qkv_project(pass, layer, la->qkv, a->q_read, c->H * c->D);
    } else {
        qkv_project(pass, layer, la->qkv_raw, la->qkv_raw, pass->width);
        qk_norm(pass, layer, la);
    }
    struct attention_inputs in = attention_inputs(pass, layer, la->qkv, la->qkv_raw, a->q_read);
    rotate(pass, &in, false);
    struct attention_shape shape = attention_shape(c);
    pass->ops->attention_forward(pass->device, la->o, la->lse, in.q, in.ldq, in.k, in.v, in.ldkv,
                                 &a->layout, in.queries, in.query_count, &shape);
    pass->ops->linear_forward(pass->device, a->projection, c->C, la->o, c->H * c->D,
                              weight(pass, TENSOR_O, layer), NULL, in.query_count, c->C,
                              c->H * c->D, false);
    lora_apply(pass, TENSOR_O, layer, a->projection, c->C, la->o, in.query_count);
}

/* ---- feed-forward half --------------------------------------------------------------------------
 */

/* xn (rows) → projection (rows) */
static void ffn_block_forward(const struct pass *pass, int32_t layer, int32_t rows)
{
    const struct model_config *c = pass->c;
    struct activations *a = pass->acts;
    struct layer_activations *la = &a->layers[layer];
    pass->ops->linear_forward(pass->device, la->gate_up, 2 * c->F, a->xn, c->C,
                              weight(pass, TENSOR_GATE, layer), NULL, rows, 2 * c->F, c->C, false);
    lora_apply(pass, TENSOR_GATE, layer, la->gate_up, 2 * c->F, a->xn, rows);
    lora_apply(pass, TENSOR_UP, layer, la->gate_up + c->F, 2 * c->F, a->xn, rows);
    pass->ops->swiglu_forward(pass->device, a->h, la->gate_up, rows, c->F);
    pass->ops->linear_forward(pass->device, a->projection, c->C, a->h, c->F,
                              weight(pass, TENSOR_DOWN, layer), NULL, rows, c->C, c->F, false);
    lora_apply(pass, TENSOR_DOWN, layer, a->projection, c->C, a->h, rows);
}

/* dx (rows) is d/d x_out; on return it is d/d x_middle. */
static void ffn_block_backward(const struct pass *pass, int32_t layer, real *dx, int32_t rows)
{
    const struct model_config *c = pass->c;
    struct activations *a = pass->acts;
    struct layer_activations *la = &a->layers[layer];
    const struct ops *ops = pass->ops;
    ops->linear_backward_input(pass->device, a->dh, c->F, dx, c->C,
                               weight(pass, TENSOR_DOWN, layer), rows, c->C, c->F, false);
    if (lora_on(pass, TENSOR_DOWN)) { /* the adapter adds to dh before it goes on */
        ops->swiglu_forward(pass->device, a->h, la->gate_up, rows, c->F);
        lora_backward(pass, TENSOR_DOWN, layer, a->dh, dx, c->C, a->h, rows);
    }
    real *dgate_up = la->gate_up; /* in place: nothing reads gate and up again */
    ops->swiglu_backward(pass->device, dgate_up, a->h, a->dh, la->gate_up, rows, c->F);
    weight_backward(pass, TENSOR_DOWN, layer, dx, c->C, a->h, rows, c->C);
    ops->linear_backward_input(pass->device, a->dxn, c->C, dgate_up, 2 * c->F,
                               weight(pass, TENSOR_GATE, layer), rows, 2 * c->F, c->C, false);
    ops->rmsnorm_forward(pass->device, a->xn, la->ffn_rstd, NULL, la->x_middle, NULL,
                         weight(pass, TENSOR_FFN_NORM, layer), rows, c->C, c->norm_epsilon);
    weight_backward(pass, TENSOR_GATE, layer, dgate_up, 2 * c->F, a->xn, rows, 2 * c->F);
    lora_backward(pass, TENSOR_GATE, layer, a->dxn, dgate_up, 2 * c->F, a->xn, rows);
    lora_backward(pass, TENSOR_UP, layer, a->dxn, dgate_up + c->F, 2 * c->F, a->xn, rows);
    ops->rmsnorm_backward(pass->device, dx, gradient(pass, TENSOR_FFN_NORM, layer), a->dxn,
                          la->x_middle, la->ffn_rstd, weight(pass, TENSOR_FFN_NORM, layer), rows,
                          c->C, true);
}

/* ---- attention half, backward
 * -------------------------------------------------------------------- */

/* d(rotated, normed q and k) → d(raw q and k), in dq, dk; returns the buffer that holds them. */
static struct attention_inputs qk_norm_backward(const struct pass *pass, int32_t layer,
                                                const struct attention_inputs *d)
{
    const struct model_config *c = pass->c;
    struct activations *a = pass->acts;
    struct layer_activations *la = &a->layers[layer];
    struct attention_inputs raw = *d;
    raw.q = a->dqkv_raw;
    raw.ldq = pass->width;
    raw.k = a->dqkv_raw + (size_t)c->H * c->D;
    pass->ops->head_norm_backward(pass->device, raw.q, pass->width,
                                  gradient(pass, TENSOR_Q_NORM, layer), d->q, d->ldq, la->qkv_raw,
                                  pass->width, la->q_rstd, weight(pass, TENSOR_Q_NORM, layer),
                                  d->query_count, c->H, c->D);
    pass->ops->head_norm_backward(pass->device, raw.k, pass->width,
                                  gradient(pass, TENSOR_K_NORM, layer), d->k, d->ldkv,
                                  la->qkv_raw + (size_t)c->H * c->D, pass->width, la->k_rstd,
                                  weight(pass, TENSOR_K_NORM, layer), pass->S, c->G, c->D);
    return raw;
}

/* The same for the queries of a pruned layer: made at those rows, then added into dxn. */
static void q_read_backward(const struct pass *pass, int32_t layer,
                            const struct attention_inputs *d)
{
    const struct model_config *c = pass->c;
    struct activations *a = pass->acts;
    int32_t HD = c->H * c->D;
    real *dxn_read = a->dhidden; /* free by now, as is the projection */
    real *xn_read = a->projection;
    pass->ops->linear_backward_input(pass->device, dxn_read, c->C, d->q, d->ldq,
                                     weight(pass, TENSOR_Q, layer), pass->Q, HD, c->C, false);
    pass->ops->gather_rows(pass->device, xn_read, a->xn, a->queries, pass->Q, c->C);
    weight_backward(pass, TENSOR_Q, layer, d->q, d->ldq, xn_read, pass->Q, HD);
    lora_backward(pass, TENSOR_Q, layer, dxn_read, d->q, d->ldq, xn_read, pass->Q);
    pass->ops->scatter_add_rows(pass->device, a->dxn, dxn_read, a->queries, pass->Q, c->C);
}

/* dxn = dk Wk + dv Wv (+ dq Wq), and the gradients of those matrices. Where the three stripes lie
 * side by side (no q/k norm, all queries) they are one product with the stacked matrix. */
static void qkv_backward(const struct pass *pass, int32_t layer, const struct attention_inputs *d)
{
    const struct model_config *c = pass->c;
    struct activations *a = pass->acts;
    const struct ops *ops = pass->ops;
    int32_t HD = c->H * c->D, GD = c->G * c->D;
    const float *w = weight(pass, TENSOR_Q, layer);
    bool all = d->queries == NULL;
    if (all && d->v == d->q + HD + GD) {
        ops->linear_backward_input(pass->device, a->dxn, c->C, d->q, d->ldq, w, pass->S,
                                   HD + 2 * GD, c->C, false);
        weight_backward(pass, TENSOR_Q, layer, d->q, d->ldq, a->xn, pass->S, HD + 2 * GD);
    } else {
        ops->linear_backward_input(pass->device, a->dxn, c->C, d->k, d->ldkv, w + (size_t)HD * c->C,
                                   pass->S, GD, c->C, false);
        ops->linear_backward_input(pass->device, a->dxn, c->C, d->v, d->ldkv,
                                   w + (size_t)(HD + GD) * c->C, pass->S, GD, c->C, true);
        weight_backward(pass, TENSOR_K, layer, d->k, d->ldkv, a->xn, pass->S, GD);
        weight_backward(pass, TENSOR_V, layer, d->v, d->ldkv, a->xn, pass->S, GD);
        if (all) {
            ops->linear_backward_input(pass->device, a->dxn, c->C, d->q, d->ldq, w, pass->S, HD,
                                       c->C, true);
            weight_backward(pass, TENSOR_Q, layer, d->q, d->ldq, a->xn, pass->S, HD);
        }
    }
    lora_backward(pass, TENSOR_K, layer, a->dxn, d->k, d->ldkv, a->xn, pass->S);
    lora_backward(pass, TENSOR_V, layer, a->dxn, d->v, d->ldkv, a->xn, pass->S);
    if (all) {
        lora_backward(pass, TENSOR_Q, layer, a->dxn, d->q, d->ldq, a->xn, pass->S);
    } else {
        q_read_backward(pass, layer, d);
    }
}

/* dx_out (rows of the queries) is d/d x_middle. Leaves d/d x in acts->dx (S, C). */
static void attention_block_backward(const struct pass *pass, int32_t layer, real *dx_out)
{
    const struct model_config *c = pass->c;
    struct activations *a = pass->acts;
    struct layer_activations *la = &a->layers[layer];
    const struct ops *ops = pass->ops;
    int32_t HD = c->H * c->D;
    struct attention_inputs in = attention_inputs(pass, layer, la->qkv, la->qkv_raw, a->q_read);
    struct attention_inputs d = attention_inputs(pass, layer, a->dqkv, NULL, a->dq_read);
    ops->linear_backward_input(pass->device, a->d_o, HD, dx_out, c->C,
                               weight(pass, TENSOR_O, layer), in.query_count, c->C, HD, false);
    weight_backward(pass, TENSOR_O, layer, dx_out, c->C, la->o, in.query_count, c->C);
    lora_backward(pass, TENSOR_O, layer, a->d_o, dx_out, c->C, la->o, in.query_count);
    struct attention_shape shape = attention_shape(c);
    ops->attention_backward(pass->device, d.q, d.ldq, d.k, d.v, d.ldkv, a->d_o, la->o, la->lse,
                            in.q, in.ldq, in.k, in.v, in.ldkv, &a->layout, in.queries,
                            in.query_count, &shape);
    rotate(pass, &d, true);
    if (la->qkv_raw != NULL) {
        d = qk_norm_backward(pass, layer, &d);
    }
    ops->rmsnorm_forward(pass->device, a->xn, la->attention_rstd, NULL, la->x, NULL,
                         weight(pass, TENSOR_ATTENTION_NORM, layer), pass->S, c->C,
                         c->norm_epsilon);
    qkv_backward(pass, layer, &d);
    if (dx_out != a->dx) { /* the residual path of the tokens that were not read is zero */
        ops->zero(pass->device, a->dx, sizeof(real) * (size_t)pass->S * (size_t)c->C);
        ops->scatter_add_rows(pass->device, a->dx, dx_out, a->queries, pass->Q, c->C);
    }
    ops->rmsnorm_backward(pass->device, a->dx, gradient(pass, TENSOR_ATTENTION_NORM, layer), a->dxn,
                          la->x, la->attention_rstd, weight(pass, TENSOR_ATTENTION_NORM, layer),
                          pass->S, c->C, true);
}

/* ---- the whole pass
 * ------------------------------------------------------------------------------- */

/* One layer: acts->projection holds the former layer's output, not yet added to its residual. */
static void layer_forward(const struct pass *pass, int32_t layer)
{
    const struct model_config *c = pass->c;
    struct activations *a = pass->acts;
    struct layer_activations *la = &a->layers[layer];
    const struct ops *ops = pass->ops;
    const float *w1 = weight(pass, TENSOR_ATTENTION_NORM, layer);
    if (layer == 0) {
        ops->rmsnorm_forward(pass->device, a->xn, la->attention_rstd, NULL, la->x, NULL, w1,
                             pass->S, c->C, c->norm_epsilon);
    } else {
        ops->rmsnorm_forward(pass->device, a->xn, la->attention_rstd, la->x,
                             a->layers[layer - 1].x_middle, a->projection, w1, pass->S, c->C,
                             c->norm_epsilon);
    }
    attention_block_forward(pass, layer);
    const real *residual = la->x;
    int32_t rows = pass->S;
    if (pruned(pass, layer)) {
        ops->gather_rows(pass->device, a->x_read, la->x, a->queries, pass->Q, c->C);
        residual = a->x_read;
        rows = pass->Q;
    }
    ops->rmsnorm_forward(pass->device, a->xn, la->ffn_rstd, la->x_middle, residual, a->projection,
                         weight(pass, TENSOR_FFN_NORM, layer), rows, c->C, c->norm_epsilon);
    ffn_block_forward(pass, layer, rows);
}

static const float *score_weight(const struct pass *pass)
{
    if (pass->model->adapter != NULL) {
        return params_at(&pass->model->adapter_table, pass->model->adapter, TENSOR_SCORE, -1);
    }
    return weight(pass, TENSOR_SCORE, -1);
}

static const float *lm_head(const struct pass *pass)
{
    return weight(pass, pass->c->tied ? TENSOR_EMBED : TENSOR_LM_HEAD, -1);
}

static void imitation_forward(const struct pass *pass, float lm_scale, float *nll_out)
{
    const struct model_config *c = pass->c;
    struct activations *a = pass->acts;
    const struct reading *reading = pass->reading;
    const float *w = lm_head(pass);
    CHECK(w != NULL);
    float *dw = NULL;
    real *dx = NULL;
    if (pass->gradients != NULL) {
        dx = a->dhidden;
        dw = gradient(pass, c->tied ? TENSOR_EMBED : TENSOR_LM_HEAD, -1);
        pass->ops->zero(pass->device, dx, sizeof(real) * (size_t)pass->S * (size_t)c->C);
        /* The staged weights are those of the loss; the gradient's carry the coefficient. */
        float *scaled = mem_alloc(sizeof(*scaled) * (size_t)reading->lm_count);
        for (int32_t i = 0; i < reading->lm_count; i++) {
            scaled[i] = reading->lm_weight[i] * lm_scale;
        }
        pass->ops->copy_in(pass->device, a->lm_weight, scaled,
                           sizeof(*scaled) * (size_t)reading->lm_count);
        mem_free(scaled);
    }
    pass->ops->cross_entropy(pass->device, a->nll, dx, dw, a->hidden, w, a->lm_source, a->lm_target,
                             a->lm_weight, reading->lm_count, c->C, c->V);
    pass->ops->copy_out(pass->device, nll_out, a->nll, sizeof(float) * (size_t)reading->lm_count);
}

static void reward_forward(const struct pass *pass, float *reward_out)
{
    struct activations *a = pass->acts;
    const struct reading *reading = pass->reading;
    int32_t C = pass->c->C, R = reading->R;
    if (reading->pooling == POOLING_MEAN) {
        pass->ops->pool_mean_forward(pass->device, a->pooled, a->hidden, a->row_offset,
                                     a->row_token, R, C);
    } else if (reading->pooling == POOLING_MAX) {
        pass->ops->pool_max_forward(pass->device, a->pooled, a->argmax, a->hidden, a->row_offset,
                                    a->row_token, R, C);
    } else {
        pass->ops->gather_rows(pass->device, a->pooled, a->hidden, a->query_of_row, R, C);
    }
    pass->ops->reward_forward(pass->device, a->reward, a->pooled, score_weight(pass), R, C);
    pass->ops->copy_out(pass->device, reward_out, a->reward, sizeof(float) * (size_t)R);
}

void transformer_forward(const struct model *model, struct activations *acts,
                         const struct reading *reading, float lm_scale, float *gradients,
                         float *reward_out, float *nll_out)
{
    struct pass pass = pass_init(model, acts, reading, gradients);
    const struct model_config *c = pass.c;
    CHECK(acts->layout.row_tokens_max <= model->rope_positions);
    pass.ops->embed_forward(pass.device, acts->layers[0].x, acts->ids,
                            weight(&pass, TENSOR_EMBED, -1), pass.S, c->C);
    for (int32_t layer = 0; layer < c->L; layer++) {
        layer_forward(&pass, layer);
    }
    pass.ops->rmsnorm_forward(pass.device, acts->hidden, acts->final_rstd, acts->x_final,
                              acts->layers[c->L - 1].x_middle, acts->projection,
                              weight(&pass, TENSOR_FINAL_NORM, -1), pass.Q, c->C, c->norm_epsilon);
    if (reading->lm_count > 0) {
        imitation_forward(&pass, lm_scale, nll_out);
    }
    if (reading->R > 0) {
        reward_forward(&pass, reward_out);
    }
}

/* dreward → dhidden (+= where the imitation loss has been there before). */
static void reward_backward(const struct pass *pass, const float *dreward)
{
    struct activations *a = pass->acts;
    const struct reading *reading = pass->reading;
    int32_t C = pass->c->C, R = reading->R;
    if (reading->lm_count == 0) {
        pass->ops->zero(pass->device, a->dhidden, sizeof(real) * (size_t)pass->Q * (size_t)C);
    }
    if (R == 0) {
        return;
    }
    pass->ops->copy_in(pass->device, a->dreward, dreward, sizeof(float) * (size_t)R);
    float *dscore = params_at(model_trained_table(pass->model), pass->gradients, TENSOR_SCORE, -1);
    pass->ops->reward_backward(pass->device, a->dpooled, dscore, a->dreward, a->pooled,
                               score_weight(pass), R, C);
    if (reading->pooling == POOLING_MEAN) {
        pass->ops->pool_mean_backward(pass->device, a->dhidden, a->dpooled, a->row_offset,
                                      a->row_token, R, C);
    } else if (reading->pooling == POOLING_MAX) {
        pass->ops->pool_max_backward(pass->device, a->dhidden, a->dpooled, a->argmax, R, C);
    } else {
        pass->ops->scatter_add_rows(pass->device, a->dhidden, a->dpooled, a->query_of_row, R, C);
    }
}

void transformer_backward(const struct model *model, struct activations *acts,
                          const struct reading *reading, const float *dreward, float *gradients)
{
    struct pass pass = pass_init(model, acts, reading, gradients);
    const struct model_config *c = pass.c;
    CHECK(gradients != NULL);
    reward_backward(&pass, dreward);
    real *dx = reading->queries != NULL ? acts->dx_read : acts->dx;
    pass.ops->rmsnorm_backward(pass.device, dx, gradient(&pass, TENSOR_FINAL_NORM, -1),
                               acts->dhidden, acts->x_final, acts->final_rstd,
                               weight(&pass, TENSOR_FINAL_NORM, -1), pass.Q, c->C, false);
    for (int32_t layer = c->L - 1; layer >= 0; layer--) {
        ffn_block_backward(&pass, layer, dx, pruned(&pass, layer) ? pass.Q : pass.S);
        attention_block_backward(&pass, layer, dx);
        dx = acts->dx;
    }
    if (gradient(&pass, TENSOR_EMBED, -1) != NULL) {
        pass.ops->embed_backward(pass.device, gradient(&pass, TENSOR_EMBED, -1), acts->dx,
                                 acts->ids, pass.S, c->C);
    }
}
