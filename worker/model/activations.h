/* SPDX-License-Identifier: Apache-2.0
 *
 * activations: everything a pass over one pack keeps, in one planned block.
 *
 * For training, each layer keeps what its backward pass needs and no more: its two residual inputs,
 * q/k/v after rotation, the attention's output and log-sum-exp, gate and up. Norm outputs and the
 * SwiGLU product are computed again (they cost no matrix product). With `recompute` it keeps its
 * input alone, a tenth of that, and the layers share the rest; one more forward pass is the price.
 * For scoring, all layers share the buffers of one.
 *
 * A group that is larger than a pack is computed in turns that share the buffers: the prefix of all
 * its rows, whose activations stay at tokens [0, prefix), then part after part behind it
 * (PACK_PREFIX and PACK_PART; worker/trainer/long_group.h).
 *
 * The integers that describe a pack (ids, positions, segments, indices) are staged here too: ops
 * read them on the device.
 */
#ifndef TAILOR_WORKER_MODEL_ACTIVATIONS_H
#define TAILOR_WORKER_MODEL_ACTIVATIONS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/status.h"
#include "worker/data/pack.h"
#include "worker/model/params.h"
#include "worker/model/reading.h"
#include "worker/model/shapes.h"
#include "worker/ops/ops.h"

enum { LORA_TARGETS = 7 };

/* How big a pack may be. */
struct pass_capacity {
    int32_t S;              /* tokens of a pack */
    int32_t R;              /* rows of a pack */
    int32_t row_tokens_max; /* longest row */
    int32_t prefix;         /* longest shared prefix of a group computed in parts; 0: none is */
    bool backward;
    bool recompute;  /* keep a layer's input, make the rest again in the backward pass */
    bool all_tokens; /* pooling mean or max: rows' tokens are listed one by one */
    bool imitation;
};

struct layer_activations {
    real *x;                /* (S, C) residual stream entering the layer */
    float *attention_rstd;  /* (S) */
    real *qkv;              /* (S, (H + 2G) D) after norm and rotation */
    real *qkv_raw;          /* the same before q/k norm; NULL without */
    float *q_rstd, *k_rstd; /* (S, H), (S, G); NULL without q/k norm */
    real *o;                /* (S, H D) */
    float *lse;             /* (S, H) */
    real *x_middle;         /* (S, C) residual stream after attention */
    float *ffn_rstd;        /* (S) */
    real *gate_up;          /* (S, 2F) */
    real *lora_u;           /* (S, LORA_TARGETS · r); NULL without LoRA */
    real *dkv_prefix;       /* (prefix, 2 G D) from the parts so far; NULL without a prefix */
};

enum pack_role {
    PACK_WHOLE,
    PACK_PREFIX, /* what all rows of a group begin with */
    PACK_PART    /* some rows of that group; their prefix has been computed */
};

struct activations {
    struct device *device; /* borrowed */
    struct pass_capacity capacity;
    void *block;
    size_t bytes, kept_bytes; /* kept: what grows with S and L; the rest is scratch of one layer */
    struct layer_activations *layers; /* (L), host */
    enum pack_role role;              /* of the pack that is staged */
    int32_t first;                    /* its first token that is computed */
    int32_t computed_first;           /* the same of the latest forward pass */

    real *x_final;     /* (S, C) residual stream leaving the last layer */
    float *final_rstd; /* (S) */
    real *hidden;      /* (S, C) after the final norm, at the queries of the last layer */
    real *pooled;      /* (R, C) */
    int32_t *argmax;   /* (R, C), max pooling */
    float *reward;     /* (R) */
    float *nll;        /* (S) of the imitation entries */

    /* Scratch of one layer. */
    real *xn;         /* (S, C) a norm's output */
    real *projection; /* (S, C) output of o or down */
    real *h;          /* (S, F) SwiGLU product */
    real *q_read;     /* (S, H D) the last layer's queries, where only some are asked */
    real *x_read;     /* (S, C) its residual stream there */

    /* Gradients; NULL without a backward pass. */
    real *dx, *dxn, *dx_read, *dhidden; /* (S, C) */
    real *dqkv, *dqkv_raw;              /* (S, (H + 2G) D) */
    real *dq_read, *d_o;                /* (S, H D) */
    real *dh;                           /* (S, F) */
    real *dpooled;                      /* (R, C) */
    real *kv_gathered;                  /* (prefix, 2 G D), NULL without a prefix */
    float *dreward;                     /* (R) */

    /* The pack, staged on the device; host pointers of the caller are not kept. */
    int32_t *ids, *position, *segment_of, *tree_segment, *queries, *query_position, *query_of_row;
    int32_t *pooled_token, *row_offset, *row_token, *lm_source, *lm_target;
    int32_t *token_index; /* (S) 0, 1, 2 …; NULL without a prefix */
    int32_t *kv_row;      /* (prefix, 2 G) rows of D in dqkv that hold dk and dv; NULL likewise */
    float *lm_weight;
    struct segment *segments;
    struct layout layout; /* with device pointers */
};

/* Bytes for the memory ledger; kept_out may be NULL. */
size_t activations_bytes(const struct model_config *config, const struct lora_config *lora,
                         const struct pass_capacity *capacity, size_t *kept_out);
/* The scratch that ops need beside such passes; lora_rank 0: of a model without adapters. */
struct scratch_shape pass_scratch(const struct model_config *config,
                                  const struct pass_capacity *capacity, int32_t lora_rank);
enum status activations_create(struct device *device, const struct model_config *config,
                               const struct lora_config *lora, const struct pass_capacity *capacity,
                               struct activations **activations_out, struct error *error);
void activations_free(struct activations *activations);

/* Copies a pack and its reading to the device; CHECKs the capacity. */
void activations_stage(struct activations *activations, const struct pack *pack,
                       const struct reading *reading);
/* The same for a group in turns: the prefix alone first, then packs of some of its rows, whose
 * first `first` tokens are that prefix. */
void activations_stage_prefix(struct activations *activations, const struct pack *pack,
                              const struct reading *reading);
void activations_stage_part(struct activations *activations, const struct pack *pack,
                            const struct reading *reading, int32_t first);

#endif
