/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of moved pointers below is the only place that knows which buffers have a row a token.
 * Buffers with a row a reward or a query (pooled, q_read, …) are not moved.
 */
#include "worker/model/pass.h"

static real *moved(real *rows, int32_t first, int64_t columns)
{
    return rows == NULL ? NULL : rows + (int64_t)first * columns;
}

static void view_move(struct pass *pass)
{
    const struct model_config *c = pass->c;
    struct activations *v = &pass->view;
    int32_t first = pass->first;
    v->ids += first;
    v->position += first;
    v->x_final = moved(v->x_final, first, c->C);
    v->final_rstd = moved(v->final_rstd, first, 1);
    v->hidden = moved(v->hidden, first, c->C);
    v->xn = moved(v->xn, first, c->C);
    v->projection = moved(v->projection, first, c->C);
    v->h = moved(v->h, first, c->F);
    v->dx = moved(v->dx, first, c->C);
    v->dxn = moved(v->dxn, first, c->C);
    v->dhidden = moved(v->dhidden, first, c->C);
    v->dqkv = moved(v->dqkv, first, pass->width);
    v->dqkv_raw = moved(v->dqkv_raw, first, pass->width);
    v->d_o = moved(v->d_o, first, (int64_t)c->H * c->D);
    v->dh = moved(v->dh, first, c->F);
}

void pass_init(struct pass *pass, const struct model *model, struct activations *acts,
               const struct reading *reading, float *gradients)
{
    const struct model_config *c = &model->config;
    int32_t tokens = acts->layout.tokens - acts->first;
    *pass = (struct pass){.model = model,
                          .c = c,
                          .acts = acts,
                          .view = *acts,
                          .reading = reading,
                          .device = acts->device,
                          .ops = acts->device->ops,
                          .gradients = gradients,
                          .first = acts->first,
                          .S = tokens,
                          .Q = reading->queries != NULL ? reading->query_count : tokens,
                          .width = (c->H + 2 * c->G) * c->D};
    view_move(pass);
}

struct layer_activations pass_layer(const struct pass *pass, int32_t layer)
{
    const struct model_config *c = pass->c;
    struct layer_activations la = pass->acts->layers[layer];
    int32_t first = pass->first;
    la.x = moved(la.x, first, c->C);
    la.attention_rstd = moved(la.attention_rstd, first, 1);
    la.qkv = moved(la.qkv, first, pass->width);
    la.qkv_raw = moved(la.qkv_raw, first, pass->width);
    la.q_rstd = moved(la.q_rstd, first, c->H);
    la.k_rstd = moved(la.k_rstd, first, c->G);
    la.o = moved(la.o, first, (int64_t)c->H * c->D);
    la.lse = moved(la.lse, first, c->H);
    la.x_middle = moved(la.x_middle, first, c->C);
    la.ffn_rstd = moved(la.ffn_rstd, first, 1);
    la.gate_up = moved(la.gate_up, first, 2 * (int64_t)c->F);
    la.lora_u = moved(la.lora_u, first, (int64_t)LORA_TARGETS * pass->model->lora.r);
    return la;
}

real *pass_origin(const struct pass *pass, real *rows, int64_t columns)
{
    return rows - (int64_t)pass->first * columns;
}

bool pass_pruned(const struct pass *pass, int32_t layer)
{
    return pass->reading->queries != NULL && layer == pass->c->L - 1;
}

const float *pass_weight(const struct pass *pass, enum tensor_kind kind, int32_t layer)
{
    return params_at(&pass->model->table, pass->model->weights, kind, layer);
}

float *pass_gradient(const struct pass *pass, enum tensor_kind kind, int32_t layer)
{
    if (pass->model->adapter != NULL) {
        return NULL;
    }
    return params_at(&pass->model->table, pass->gradients, kind, layer);
}

void pass_weight_backward(const struct pass *pass, enum tensor_kind kind, int32_t layer,
                          const real *dy, int32_t lddy, const real *x, int32_t rows, int32_t N)
{
    float *dw = pass_gradient(pass, kind, layer);
    if (dw == NULL) {
        return;
    }
    float *dbias = NULL;
    if (kind == TENSOR_Q || kind == TENSOR_K || kind == TENSOR_V) {
        dbias = pass_gradient(pass, TENSOR_Q_BIAS + (kind - TENSOR_Q), layer);
    }
    int32_t K = params_place(&pass->model->table, kind, layer)->columns;
    pass->ops->linear_backward_weight(pass->device, dw, dbias, dy, lddy, x, K, rows, N, K);
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

bool pass_lora_on(const struct pass *pass, enum tensor_kind kind)
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

void pass_lora_forward(const struct pass *pass, enum tensor_kind kind, int32_t layer, real *y,
                       int32_t ldy, const real *x, int32_t rows)
{
    if (!pass_lora_on(pass, kind)) {
        return;
    }
    const struct tensor_place *w = params_place(&pass->model->table, kind, layer);
    struct lora_factors factors = lora_factors(pass, kind, layer);
    struct lora_range all = {.row0 = 0, .rows = rows, .adapter = 0};
    int32_t ldu = LORA_TARGETS * factors.r;
    real *u = pass_layer(pass, layer).lora_u + lora_place(kind) * factors.r;
    pass->ops->lora_forward(pass->device, y, ldy, u, ldu, x, w->columns, &factors, &all, 1, w->rows,
                            w->columns);
}

void pass_lora_backward(const struct pass *pass, enum tensor_kind kind, int32_t layer, real *dx,
                        const real *dy, int32_t lddy, const real *x, int32_t rows)
{
    if (!pass_lora_on(pass, kind)) {
        return;
    }
    const struct tensor_place *w = params_place(&pass->model->table, kind, layer);
    struct lora_factors factors = lora_factors(pass, kind, layer);
    struct lora_range all = {.row0 = 0, .rows = rows, .adapter = 0};
    int32_t ldu = LORA_TARGETS * factors.r;
    const real *u = pass_layer(pass, layer).lora_u + lora_place(kind) * factors.r;
    pass->ops->lora_backward(pass->device, dx, w->columns, dy, lddy, u, ldu, x, w->columns,
                             &factors, &all, 1, w->rows, w->columns);
}
