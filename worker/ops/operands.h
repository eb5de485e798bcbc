/* SPDX-License-Identifier: Apache-2.0
 *
 * operands: what ops take, beside tensors (ops.h).
 */
#ifndef TAILOR_WORKER_OPS_OPERANDS_H
#define TAILOR_WORKER_OPS_OPERANDS_H

#include <stdbool.h>
#include <stdint.h>

/* An activation or a compute weight. CUDA's build of the trainer has its own width. */
typedef float real;

enum dtype { DTYPE_FP32, DTYPE_BF16 };

struct attention_shape {
    int32_t H, G, D; /* H is a multiple of G: query head h reads key/value head h / (H / G) */
    float scale;     /* 1 / sqrt(D) */
};

/* LoRA: rows [row0, row0 + rows) use adapter `adapter`. Ranges are disjoint and ascending; rows in
 * no range get no adapter. One adapter today; many tenants' over one base later. */
struct lora_range {
    int32_t row0, rows, adapter;
};

struct lora_factors {
    const real *A; /* (r, K) */
    const real *B; /* (N, r) */
    float *dA;     /* (r, K), += ; NULL when not training */
    float *dB;     /* (N, r), += */
    int32_t r;
    float scale; /* alpha / r, or alpha / sqrt(r) */
};

/* One adapted matrix of those that are stacked in w: columns [column, column + N) of y are its own.
 * The parts of a product share x, their adapters of one number share r. */
struct lora_part {
    int32_t column, N;
    const struct lora_factors *adapters;
};

struct lora {
    const struct lora_part *parts;
    int32_t part_count; /* 1 … LORA_PARTS_MAX */
    const struct lora_range *ranges;
    int32_t range_count;
    real *u; /* (rows, part_count · r) with stride ldu: part p's columns begin at p · r */
    int32_t ldu;
};

enum { LORA_PARTS_MAX = 3 };

struct adamw_step {
    float learning_rate, beta1, beta2, epsilon, weight_decay;
    float correction1, correction2; /* 1 - beta^t, computed in double by the caller */
    float gradient_scale;           /* min(1, clip / (norm + 1e-6)) */
};

/* What scratch depends on; scratch_bytes() is a pure function of it, so the memory ledger can print
 * it before anything is allocated. */
struct scratch_shape {
    int32_t S, C, H, G, D, F, V;
    int32_t row_tokens_max;
    int32_t lora_rank; /* 0 without LoRA */
    bool backward, cross_entropy;
};

/* What a kept weight is read for, as bits. */
enum weight_use { WEIGHT_FORWARD = 1, WEIGHT_BACKWARD_INPUT = 2 };

/* A matrix as linear_forward or linear_backward_input gets it: w (N, K). */
struct kept_weight {
    const real *w;
    int32_t N, K;
    unsigned uses; /* of enum weight_use */
};

#endif
