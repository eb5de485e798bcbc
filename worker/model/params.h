/* SPDX-License-Identifier: Apache-2.0
 *
 * params: the tensors of a model, or of a LoRA adapter, as one table over one block.
 *
 * A table names every tensor with its place; a block is one contiguous device array laid out by the
 * table. Weights, gradients and both moments are blocks over the same table, so the optimizer, the
 * slice tree, checkpoints and the wire between ranks all see flat arrays.
 *
 *     struct params_table table;
 *     params_table_init(&table, &config, &(struct params_heads){.score = true});
 *     float *w;  // a block of table.elements floats
 *     const float *wq = params_at(&table, w, TENSOR_Q, layer);
 *
 * What trains is always exactly one table: the model's (full fine-tuning) or the adapter's (LoRA:
 * A and B of each target in each layer, and the score head, which then *replaces* the model's).
 */
#ifndef TAILOR_WORKER_MODEL_PARAMS_H
#define TAILOR_WORKER_MODEL_PARAMS_H

#include <stddef.h>
#include <stdint.h>

#include "worker/model/shapes.h"

enum tensor_kind {
#define TENSOR(kind, name, rows, columns, per_layer, decays, present) TENSOR_##kind,
#include "worker/model/params.def"
    TENSOR_MODEL_COUNT,
    /* An adapter's: A and B of the matrix `kind` are TENSOR_LORA_A + kind and TENSOR_LORA_B + kind.
     */
    TENSOR_LORA_A = 32,
    TENSOR_LORA_B = 64,
    TENSOR_KIND_COUNT = 96
};

/* Matrices that LoRA may target, as bits 1 << TENSOR_Q …; "all-linear" is all seven. */
#define LORA_ALL_LINEAR                                                                            \
    ((1u << TENSOR_Q) | (1u << TENSOR_K) | (1u << TENSOR_V) | (1u << TENSOR_O) |                   \
     (1u << TENSOR_GATE) | (1u << TENSOR_UP) | (1u << TENSOR_DOWN))

struct params_heads {
    bool lm_head; /* an untied LM head is there (imitation, stage lm) */
    bool score;   /* the reward head */
};

struct lora_config {
    int32_t r; /* 0: no adapter */
    float alpha;
    bool rslora;      /* scale alpha / sqrt(r) instead of alpha / r */
    uint32_t targets; /* bits 1 << TENSOR_… */
};

struct tensor_place {
    enum tensor_kind kind;
    int32_t layer;         /* -1: not of a layer */
    int32_t rows, columns; /* a vector has 0 columns */
    size_t offset, elements;
    bool decays;
};

enum { PARAMS_ALIGNMENT = 16 }; /* floats: 64 bytes, at the start of each adjacent family */

struct params_table {
    struct tensor_place *places; /* owned */
    int32_t count;
    size_t elements;                  /* of a block, padding included; padding stays zero */
    int32_t index[TENSOR_KIND_COUNT]; /* first place of a kind (layer 0), -1 if absent */
    int32_t per_layer;                /* places between the same kind in consecutive layers */
};

void params_table_init(struct params_table *table, const struct model_config *config,
                       const struct params_heads *heads);
void params_table_init_adapter(struct params_table *table, const struct model_config *config,
                               const struct lora_config *lora);
void params_table_release(struct params_table *table);

/* The place of a tensor; NULL if the table has none. layer -1 for tensors that are not of a layer.
 */
const struct tensor_place *params_place(const struct params_table *table, enum tensor_kind kind,
                                        int32_t layer);
/* Its address in a block; NULL if the table has none or the block is NULL. */
float *params_at(const struct params_table *table, float *block, enum tensor_kind kind,
                 int32_t layer);

/* Where a layer's tensors begin; its count of layers: what stands behind them. */
size_t params_layer_begin(const struct params_table *table, int32_t layer);

/* "model.layers.3.self_attn.q_proj.weight"; for an adapter PEFT's
 * "base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight",
 * "base_model.model.score.weight". */
void params_name(const struct tensor_place *place, char out[128]);
/* "q_proj" … of a target matrix; NULL for others. */
const char *params_target_name(enum tensor_kind kind);
float lora_scale(const struct lora_config *lora);

#endif
