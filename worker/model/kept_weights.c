/* SPDX-License-Identifier: Apache-2.0
 *
 * The list has a matrix as a pass hands it to linear_forward or linear_backward_input
 * (transformer.c, attention_block.c): q, k and v as one stack, unless only some queries are asked
 * or the gradients of normed heads lie apart. A matrix that is missing here is merely not kept.
 */
#include "worker/model/kept_weights.h"

#include "lib/arena.h"

enum { KEPT_OF_LAYER_MAX = 8 };

struct kept_list {
    const struct model *model;
    struct kept_weight *weights;
    int32_t count;
    unsigned uses; /* that are kept at all */
};

static void list_add(struct kept_list *list, enum tensor_kind first, int32_t layer, int32_t N,
                     unsigned uses)
{
    const struct model *model = list->model;
    if ((uses & list->uses) != 0) {
        list->weights[list->count++] =
            (struct kept_weight){.w = params_at(&model->table, model->weights, first, layer),
                                 .N = N,
                                 .K = params_place(&model->table, first, layer)->columns,
                                 .uses = uses & list->uses};
    }
}

static void list_layer(struct kept_list *list, int32_t layer, bool pruned)
{
    const struct model_config *c = &list->model->config;
    const int32_t HD = c->H * c->D, GD = c->G * c->D;
    const unsigned forward = WEIGHT_FORWARD, backward = WEIGHT_BACKWARD_INPUT;
    if (pruned) {
        list_add(list, TENSOR_Q, layer, HD, forward | backward);
        list_add(list, TENSOR_K, layer, 2 * GD, forward);
    } else {
        list_add(list, TENSOR_Q, layer, HD + 2 * GD, c->qk_norm ? forward : forward | backward);
    }
    if (pruned || c->qk_norm) {
        list_add(list, TENSOR_K, layer, GD, backward);
        list_add(list, TENSOR_V, layer, GD, backward);
    }
    if (!pruned && c->qk_norm) {
        list_add(list, TENSOR_Q, layer, HD, backward);
    }
    list_add(list, TENSOR_O, layer, c->C, forward | backward);
    list_add(list, TENSOR_GATE, layer, 2 * c->F, forward | backward);
    list_add(list, TENSOR_DOWN, layer, c->C, forward | backward);
}

/* Freed by the caller. */
static struct kept_list list_of(const struct model *model, bool pruned, unsigned uses)
{
    const int32_t L = model->config.L;
    struct kept_list list = {.model = model, .uses = uses};
    list.weights = mem_alloc(sizeof(*list.weights) * (size_t)L * KEPT_OF_LAYER_MAX);
    for (int32_t layer = 0; layer < L; layer++) {
        list_layer(&list, layer, pruned && layer == L - 1);
    }
    return list;
}

unsigned kept_weights_uses(const struct device *device, int32_t pack_tokens, bool backward)
{
    const unsigned uses = backward ? WEIGHT_FORWARD | WEIGHT_BACKWARD_INPUT : WEIGHT_FORWARD;
    const bool pays = !device_shares_memory(device) || pack_tokens <= KEPT_PACK_TOKENS_MAX;
    return pays ? uses : 0;
}

size_t kept_weights_bytes(const struct model *model, bool pruned, unsigned uses)
{
    struct kept_list list = list_of(model, pruned, uses);
    const struct ops *ops = model->device->ops;
    const size_t bytes = ops->weights_bytes(model->device, list.weights, list.count);
    mem_free(list.weights);
    return bytes;
}

enum status kept_weights_keep(const struct model *model, bool pruned, unsigned uses,
                              struct error *error)
{
    struct kept_list list = list_of(model, pruned, uses);
    const struct ops *ops = model->device->ops;
    ops->weights_forget(model->device, model->weights, model->table.elements);
    enum status status = ops->weights_keep(model->device, list.weights, list.count, error);
    mem_free(list.weights);
    return status;
}

void kept_weights_changed(const struct model *model)
{
    model->device->ops->weights_changed(model->device, model_trained_weights(model),
                                        model_trained_table(model)->elements);
}
