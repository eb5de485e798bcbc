/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of moved pointers below is the only place that knows which buffers have a row a token.
 * Buffers with a row a reward or a query (pooled, q_read, …) are not moved.
 */
#include "worker/model/pass.h"

#include "lib/check.h"
#include "worker/model/adapter_open.h"

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

/* ---- products, with the adapters that their matrices have ------------------------------------ */

bool pass_lora_on(const struct pass *pass, enum tensor_kind kind)
{
    const struct reading_adapters *several = pass->reading->adapters;
    if (several != NULL) {
        return several->count > 0 && (several->items[0]->lora.targets & (1u << kind)) != 0;
    }
    return pass->model->adapter != NULL && (pass->model->lora.targets & (1u << kind)) != 0;
}

/* Without gradients: those of an adapter that is only read. */
static struct lora_factors read_factors(const struct adapter *adapter, enum tensor_kind kind,
                                        int32_t layer)
{
    return (struct lora_factors){
        .A = params_at(&adapter->table, adapter->weights, TENSOR_LORA_A + kind, layer),
        .B = params_at(&adapter->table, adapter->weights, TENSOR_LORA_B + kind, layer),
        .r = adapter->lora.r,
        .scale = lora_scale(&adapter->lora)};
}

static struct lora_factors own_factors(const struct pass *pass, enum tensor_kind kind,
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

/* The adapters of a product, as its op takes them. */
struct adapters {
    struct lora_factors factors[LORA_PARTS_MAX * PASS_ADAPTERS_MAX];
    struct lora_part parts[LORA_PARTS_MAX];
    struct lora_range all;
    struct lora lora;
};

/* One part's factors, an entry for each adapter, at `factors`. */
static void factors_fill(const struct pass *pass, enum tensor_kind kind, int32_t layer,
                         struct lora_factors *factors)
{
    const struct reading_adapters *several = pass->reading->adapters;
    if (several == NULL) {
        factors[0] = own_factors(pass, kind, layer);
        return;
    }
    for (int32_t i = 0; i < several->count; i++) {
        factors[i] = read_factors(several->items[i], kind, layer);
    }
}

/* The model's own adapter is every row's; of several each has its rows. In a pruned layer these are
 * the queries, but for keys and values. */
static void ranges_choose(const struct pass *pass, const struct pass_product *product,
                          struct adapters *adapters)
{
    const struct reading_adapters *several = pass->reading->adapters;
    if (several == NULL) {
        adapters->all = (struct lora_range){.row0 = 0, .rows = product->rows, .adapter = 0};
        adapters->lora.ranges = &adapters->all;
        adapters->lora.range_count = 1;
        return;
    }
    CHECK(pass->first == 0); /* packs are computed whole */
    CHECK(several->count <= PASS_ADAPTERS_MAX);
    const bool at_queries = product->first != TENSOR_K && pass_pruned(pass, product->layer);
    adapters->lora.ranges = at_queries ? several->queries : several->tokens;
    adapters->lora.range_count = at_queries ? several->query_ranges : several->token_ranges;
}

/* False where none of the product's matrices has one. */
static bool adapters_of(const struct pass *pass, const struct pass_product *product,
                        struct adapters *adapters)
{
    /* Their places in lora_u, and the order in which the chains of dx go over them. */
    static const enum tensor_kind places[LORA_TARGETS] = {
        TENSOR_K, TENSOR_V, TENSOR_Q, TENSOR_O, TENSOR_GATE, TENSOR_UP, TENSOR_DOWN};
    const struct params_table *table = &pass->model->table;
    const struct tensor_place *first = params_place(table, product->first, product->layer);
    const size_t end = first->offset + (size_t)product->N * (size_t)first->columns;
    const struct reading_adapters *several = pass->reading->adapters;
    const int32_t r = several != NULL ? several->r_max : pass->model->lora.r;
    const int32_t each = several != NULL ? several->count : 1;
    adapters->lora = (struct lora){.parts = adapters->parts, .ldu = LORA_TARGETS * r};
    ranges_choose(pass, product, adapters);
    int32_t *count = &adapters->lora.part_count;
    for (int32_t i = 0; i < LORA_TARGETS; i++) {
        const struct tensor_place *w = params_place(table, places[i], product->layer);
        if (!pass_lora_on(pass, places[i]) || w->offset < first->offset || w->offset >= end) {
            continue;
        }
        if (*count == 0) {
            adapters->lora.u = pass_layer(pass, product->layer).lora_u + i * r;
        }
        struct lora_factors *factors = &adapters->factors[*count * each];
        factors_fill(pass, places[i], product->layer, factors);
        adapters->parts[*count] = (struct lora_part){
            .column = (int32_t)((w->offset - first->offset) / (size_t)first->columns),
            .N = w->rows,
            .adapters = factors};
        ++*count;
    }
    return *count > 0;
}

static int32_t width_of(const struct pass *pass, const struct pass_product *product)
{
    return params_place(&pass->model->table, product->first, product->layer)->columns;
}

void pass_forward(const struct pass *pass, const struct pass_product *product, real *y, int32_t ldy,
                  const real *x, const real *bias, bool u_only)
{
    const real *w = pass_weight(pass, product->first, product->layer);
    const int32_t K = width_of(pass, product);
    struct adapters adapters;
    if (adapters_of(pass, product, &adapters)) {
        pass->ops->lora_forward(pass->device, u_only ? NULL : y, ldy, x, K, w, bias, &adapters.lora,
                                product->rows, product->N, K);
    } else if (!u_only) {
        pass->ops->linear_forward(pass->device, y, ldy, x, K, w, bias, product->rows, product->N, K,
                                  false);
    }
}

void pass_backward(const struct pass *pass, const struct pass_product *product, real *dx,
                   const real *dy, int32_t lddy, const real *x)
{
    const real *w = pass_weight(pass, product->first, product->layer);
    const int32_t K = width_of(pass, product);
    struct adapters adapters;
    if (adapters_of(pass, product, &adapters)) {
        pass->ops->lora_backward(pass->device, dx, K, dy, lddy, x, K, w, &adapters.lora,
                                 product->rows, product->N, K);
    } else {
        pass->ops->linear_backward_input(pass->device, dx, K, dy, lddy, w, product->rows,
                                         product->N, K, false);
    }
}

void pass_lora_backward(const struct pass *pass, const struct pass_product *product, real *dx,
                        const real *dy, int32_t lddy, const real *x)
{
    const int32_t K = width_of(pass, product);
    struct adapters adapters;
    if (adapters_of(pass, product, &adapters)) {
        pass->ops->lora_backward(pass->device, dx, K, dy, lddy, x, K, NULL, &adapters.lora,
                                 product->rows, product->N, K);
    }
}
