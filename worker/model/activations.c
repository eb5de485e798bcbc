/* SPDX-License-Identifier: Apache-2.0
 *
 * One function lists every buffer. It runs twice: with a NULL base to learn the size, then to hand
 * out addresses; so the ledger cannot disagree with what is allocated.
 */
#include "worker/model/activations.h"

#include "lib/arena.h"
#include "lib/check.h"

struct carver {
    char *base; /* NULL while measuring */
    size_t used;
};

static void *carve(struct carver *carver, size_t count, size_t size)
{
    void *at = carver->base == NULL ? NULL : carver->base + carver->used;
    carver->used = size_add(carver->used, (size_mul(count, size) + 63) & ~(size_t)63);
    return at;
}

static real *carve_real(struct carver *carver, int32_t rows, int64_t columns)
{
    return carve(carver, size_mul((size_t)rows, (size_t)columns), sizeof(real));
}

static float *carve_float(struct carver *carver, int32_t rows, int64_t columns)
{
    return carve(carver, size_mul((size_t)rows, (size_t)columns), sizeof(float));
}

static int32_t *carve_i32(struct carver *carver, size_t count)
{
    return carve(carver, count, sizeof(int32_t));
}

static void carve_qkv(struct carver *carver, const struct model_config *c, int32_t S,
                      struct layer_activations *layer)
{
    int64_t width = (int64_t)(c->H + 2 * c->G) * c->D;
    layer->qkv = carve_real(carver, S, width);
    layer->qkv_raw = c->qk_norm ? carve_real(carver, S, width) : NULL;
}

static void carve_layer(struct carver *carver, const struct model_config *c,
                        const struct lora_config *lora, int32_t S, struct layer_activations *layer)
{
    layer->x = carve_real(carver, S, c->C);
    layer->attention_rstd = carve_float(carver, S, 1);
    carve_qkv(carver, c, S, layer);
    layer->q_rstd = c->qk_norm ? carve_float(carver, S, c->H) : NULL;
    layer->k_rstd = c->qk_norm ? carve_float(carver, S, c->G) : NULL;
    layer->o = carve_real(carver, S, (int64_t)c->H * c->D);
    layer->lse = carve_float(carver, S, c->H);
    layer->x_middle = carve_real(carver, S, c->C);
    layer->ffn_rstd = carve_float(carver, S, 1);
    layer->gate_up = carve_real(carver, S, 2 * (int64_t)c->F);
    layer->lora_u = lora->r > 0 ? carve_real(carver, S, (int64_t)LORA_TARGETS * lora->r) : NULL;
}

/* A layer above the lowest, which has buffers of its own for whatever must outlive it. */
static void carve_upper_layer(struct carver *carver, const struct model_config *c,
                              const struct lora_config *lora, const struct pass_capacity *capacity,
                              const struct layer_activations *lowest,
                              struct layer_activations *layer)
{
    *layer = *lowest;
    if (capacity->backward && !capacity->recompute) {
        carve_layer(carver, c, lora, capacity->S, layer);
    } else if (capacity->backward) {
        layer->x = carve_real(carver, capacity->S, c->C);
        if (capacity->prefix > 0) { /* every part attends to the prefix's keys and values */
            carve_qkv(carver, c, capacity->S, layer);
        }
    }
}

static void carve_forward(struct carver *carver, const struct model_config *c,
                          const struct pass_capacity *capacity, struct activations *a)
{
    int32_t S = capacity->S, R = capacity->R;
    a->x_final = carve_real(carver, S, c->C);
    a->final_rstd = carve_float(carver, S, 1);
    a->hidden = carve_real(carver, S, c->C);
    a->pooled = carve_real(carver, R, c->C);
    a->argmax = capacity->all_tokens ? carve_i32(carver, size_mul((size_t)R, (size_t)c->C)) : NULL;
    a->reward = carve_float(carver, R, 1);
    a->nll = capacity->imitation ? carve_float(carver, S, 1) : NULL;
    a->xn = carve_real(carver, S, c->C);
    a->projection = carve_real(carver, S, c->C);
    a->h = carve_real(carver, S, c->F);
    /* Without imitation only the rows' pooled tokens are queried in the last layer. */
    int32_t Q = S < R ? S : R;
    a->q_read = carve_real(carver, Q, (int64_t)c->H * c->D);
    a->x_read = carve_real(carver, Q, c->C);
}

static real *carve_prefix(struct carver *carver, const struct model_config *c,
                          const struct pass_capacity *capacity)
{
    int64_t kv = 2 * (int64_t)c->G * c->D;
    return capacity->prefix > 0 ? carve_real(carver, capacity->prefix, kv) : NULL;
}

static void carve_backward(struct carver *carver, const struct model_config *c,
                           const struct pass_capacity *capacity, struct activations *a)
{
    int32_t S = capacity->S, Q = S < capacity->R ? S : capacity->R;
    int64_t width = (int64_t)(c->H + 2 * c->G) * c->D;
    a->dx = carve_real(carver, S, c->C);
    a->dxn = carve_real(carver, S, c->C);
    a->dx_read = carve_real(carver, Q, c->C);
    a->dhidden = carve_real(carver, S, c->C);
    a->dqkv = carve_real(carver, S, width);
    a->dqkv_raw = c->qk_norm ? carve_real(carver, S, width) : NULL;
    a->dq_read = carve_real(carver, Q, (int64_t)c->H * c->D);
    a->d_o = carve_real(carver, S, (int64_t)c->H * c->D);
    a->dh = carve_real(carver, S, c->F);
    a->dpooled = carve_real(carver, capacity->R, c->C);
    a->dreward = carve_float(carver, capacity->R, 1);
    a->kv_gathered = carve_prefix(carver, c, capacity);
}

static void carve_stage(struct carver *carver, const struct model_config *c,
                        const struct pass_capacity *capacity, struct activations *a)
{
    size_t S = (size_t)capacity->S, R = (size_t)capacity->R, prefix = (size_t)capacity->prefix;
    a->ids = carve_i32(carver, S);
    a->position = carve_i32(carver, S);
    a->segment_of = carve_i32(carver, S);
    a->segments = carve(carver, S, sizeof(struct segment)); /* a segment has a token */
    a->tree_segment = carve_i32(carver, S + 1);
    a->queries = carve_i32(carver, R);
    a->query_position = carve_i32(carver, R);
    a->query_of_row = carve_i32(carver, R);
    a->pooled_token = carve_i32(carver, R);
    a->row_offset = capacity->all_tokens ? carve_i32(carver, R + 1) : NULL;
    a->row_token = capacity->all_tokens
                       ? carve_i32(carver, size_mul(R, (size_t)capacity->row_tokens_max))
                       : NULL;
    a->lm_source = capacity->imitation ? carve_i32(carver, S) : NULL;
    a->lm_target = capacity->imitation ? carve_i32(carver, S) : NULL;
    a->lm_weight = capacity->imitation ? carve_float(carver, capacity->S, 1) : NULL;
    a->token_index = prefix > 0 ? carve_i32(carver, S) : NULL;
    a->kv_row = prefix > 0 ? carve_i32(carver, size_mul(prefix, 2 * (size_t)c->G)) : NULL;
}

/* Returns the bytes used; `layers` gets L entries. */
static size_t carve_all(char *base, const struct model_config *config,
                        const struct lora_config *lora, const struct pass_capacity *capacity,
                        struct activations *a, struct layer_activations *layers, size_t *kept_out)
{
    struct carver carver = {.base = base};
    carve_layer(&carver, config, lora, capacity->S, &layers[0]);
    for (int32_t l = 1; l < config->L; l++) {
        carve_upper_layer(&carver, config, lora, capacity, &layers[0], &layers[l]);
    }
    for (int32_t l = 0; l < config->L; l++) {
        layers[l].dkv_prefix = capacity->backward ? carve_prefix(&carver, config, capacity) : NULL;
    }
    *kept_out = carver.used;
    carve_forward(&carver, config, capacity, a);
    if (capacity->backward) {
        carve_backward(&carver, config, capacity, a);
    }
    carve_stage(&carver, config, capacity, a);
    return carver.used;
}

size_t activations_bytes(const struct model_config *config, const struct lora_config *lora,
                         const struct pass_capacity *capacity, size_t *kept_out)
{
    struct activations unused = {0};
    struct layer_activations *layers = mem_alloc(sizeof(*layers) * (size_t)config->L);
    size_t kept;
    size_t bytes = carve_all(NULL, config, lora, capacity, &unused, layers, &kept);
    mem_free(layers);
    if (kept_out != NULL) {
        *kept_out = kept;
    }
    return bytes;
}

/* The two lists that do not depend on the pack. */
static void stage_constants(struct activations *a, const struct model_config *c)
{
    int32_t G2 = 2 * c->G, S = a->capacity.S, prefix = a->capacity.prefix;
    if (prefix == 0) {
        return;
    }
    int32_t *list = mem_alloc(size_mul((size_t)(S > prefix * G2 ? S : prefix * G2), sizeof(*list)));
    for (int32_t i = 0; i < S; i++) {
        list[i] = i;
    }
    a->device->ops->copy_in(a->device, a->token_index, list, (size_t)S * sizeof(*list));
    for (int32_t i = 0; i < prefix * G2; i++) {
        list[i] = i / G2 * (c->H + G2) + c->H + i % G2;
    }
    a->device->ops->copy_in(a->device, a->kv_row, list, (size_t)(prefix * G2) * sizeof(*list));
    mem_free(list);
}

struct scratch_shape pass_scratch(const struct model_config *c,
                                  const struct pass_capacity *capacity, int32_t lora_rank)
{
    return (struct scratch_shape){.S = capacity->S,
                                  .C = c->C,
                                  .H = c->H,
                                  .G = c->G,
                                  .D = c->D,
                                  .F = c->F,
                                  .V = c->V,
                                  .row_tokens_max = capacity->row_tokens_max,
                                  .lora_rank = lora_rank,
                                  .backward = capacity->backward,
                                  .cross_entropy = capacity->imitation};
}

enum status activations_create(struct device *device, const struct model_config *config,
                               const struct lora_config *lora, const struct pass_capacity *capacity,
                               struct activations **activations_out, struct error *error)
{
    size_t bytes = activations_bytes(config, lora, capacity, NULL);
    void *block;
    TRY(device->ops->block_alloc(device, bytes, "activations", &block, error));
    struct activations *a = mem_alloc(sizeof(*a));
    *a = (struct activations){
        .device = device, .capacity = *capacity, .block = block, .bytes = bytes};
    a->layers = mem_alloc(sizeof(*a->layers) * (size_t)config->L);
    carve_all(block, config, lora, capacity, a, a->layers, &a->kept_bytes);
    stage_constants(a, config);
    *activations_out = a;
    return STATUS_OK;
}

void activations_free(struct activations *activations)
{
    if (activations == NULL) {
        return;
    }
    activations->device->ops->block_free(activations->device, activations->block,
                                         activations->bytes);
    mem_free(activations->layers);
    mem_free(activations);
}

static void stage(struct activations *a, void *to, const void *from, size_t count, size_t size)
{
    if (count > 0 && from != NULL) {
        a->device->ops->copy_in(a->device, to, from, count * size);
    }
}

void activations_stage(struct activations *a, const struct pack *pack,
                       const struct reading *reading)
{
    const struct layout *layout = &pack->layout;
    size_t S = (size_t)layout->tokens, R = (size_t)reading->R;
    CHECK(layout->tokens <= a->capacity.S);
    CHECK(reading->R <= a->capacity.R);
    CHECK(layout->row_tokens_max <= a->capacity.row_tokens_max);
    CHECK(reading->lm_count == 0 || a->capacity.imitation);
    CHECK(reading->row_token == NULL || a->capacity.all_tokens);
    size_t word = sizeof(int32_t);
    stage(a, a->ids, pack->ids, S, word);
    stage(a, a->position, layout->position, S, word);
    stage(a, a->segment_of, layout->segment_of, S, word);
    stage(a, a->segments, layout->segments, (size_t)layout->segment_count, sizeof(struct segment));
    stage(a, a->tree_segment, layout->tree_segment, (size_t)layout->tree_count + 1, word);
    stage(a, a->pooled_token, reading->pooled_token, R, word);
    stage(a, a->query_of_row, reading->query_of_row, R, word);
    if (reading->queries != NULL) {
        size_t queries = (size_t)reading->query_count;
        stage(a, a->queries, reading->queries, queries, word);
        stage(a, a->query_position, reading->query_position, queries, word);
    }
    if (reading->row_token != NULL) {
        stage(a, a->row_offset, reading->row_offset, R + 1, word);
        stage(a, a->row_token, reading->row_token, (size_t)reading->row_offset[R], word);
    }
    stage(a, a->lm_source, reading->lm_source, (size_t)reading->lm_count, word);
    stage(a, a->lm_target, reading->lm_target, (size_t)reading->lm_count, word);
    stage(a, a->lm_weight, reading->lm_weight, (size_t)reading->lm_count, sizeof(float));
    a->layout = *layout;
    a->layout.segments = a->segments;
    a->layout.tree_segment = a->tree_segment;
    a->layout.position = a->position;
    a->layout.segment_of = a->segment_of;
    a->role = PACK_WHOLE;
    a->first = 0;
}

void activations_stage_prefix(struct activations *a, const struct pack *pack,
                              const struct reading *reading)
{
    CHECK(pack->layout.tokens <= a->capacity.prefix);
    activations_stage(a, pack, reading);
    a->role = PACK_PREFIX;
}

void activations_stage_part(struct activations *a, const struct pack *pack,
                            const struct reading *reading, int32_t first)
{
    CHECK(first <= a->capacity.prefix && first < pack->layout.tokens);
    activations_stage(a, pack, reading);
    a->role = PACK_PART;
    a->first = first;
}
