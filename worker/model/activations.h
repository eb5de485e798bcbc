/* SPDX-License-Identifier: Apache-2.0
 *
 * activations: everything a pass over one pack keeps, in one planned block.
 *
 * For training, each layer keeps what its backward pass needs and no more: its two residual inputs,
 * q/k/v after rotation, the attention's output and log-sum-exp, gate and up. Norm outputs and the
 * SwiGLU product are computed again (they cost no matrix product). For scoring, all layers share
 * the buffers of one.
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
    bool backward;
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
};

struct activations {
    struct device *device; /* borrowed */
    struct pass_capacity capacity;
    void *block;
    size_t bytes, kept_bytes; /* kept: what grows with S and L; the rest is scratch of one layer */
    struct layer_activations *layers; /* (L), host */

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
    float *dreward;                     /* (R) */

    /* The pack, staged on the device; host pointers of the caller are not kept. */
    int32_t *ids, *position, *segment_of, *tree_segment, *queries, *query_position, *query_of_row;
    int32_t *pooled_token, *row_offset, *row_token, *lm_source, *lm_target;
    float *lm_weight;
    struct segment *segments;
    struct layout layout; /* with device pointers */
};

/* Bytes for the memory ledger; kept_out may be NULL. */
size_t activations_bytes(const struct model_config *config, const struct lora_config *lora,
                         const struct pass_capacity *capacity, size_t *kept_out);
enum status activations_create(struct device *device, const struct model_config *config,
                               const struct lora_config *lora, const struct pass_capacity *capacity,
                               struct activations **activations_out, struct error *error);
void activations_free(struct activations *activations);

/* Copies a pack and its reading to the device; CHECKs the capacity. */
void activations_stage(struct activations *activations, const struct pack *pack,
                       const struct reading *reading);

#endif
