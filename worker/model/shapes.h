/* SPDX-License-Identifier: Apache-2.0
 *
 * shapes: the tensor alphabet. These single letters are allowed as names, here and in ops/, and
 * nowhere else; each always means the same.
 *
 *   B  groups of a batch           K  responses of a group          R  rewards read in a pack
 *   S  packed tokens               C  channels (hidden size)        L  layers
 *   H  query heads                 G  key/value heads               D  head size
 *   F  feed-forward width          V  vocabulary                    r  LoRA rank
 *
 * Every tensor is row-major with its shape in a comment: x is (S, C). The gradient of x is dx.
 * Weights lie as Hugging Face stores them: (out, in), so y = x Wᵀ.
 */
#ifndef TAILOR_WORKER_MODEL_SHAPES_H
#define TAILOR_WORKER_MODEL_SHAPES_H

#include <stdbool.h>
#include <stdint.h>

enum architecture {
    ARCHITECTURE_LLAMA, /* LLaMA 1/2/3, SmolLM2 */
    ARCHITECTURE_MISTRAL,
    ARCHITECTURE_QWEN2, /* bias on q, k, v */
    ARCHITECTURE_QWEN3  /* norm on each head of q and k */
};

struct model_config {
    enum architecture architecture;
    int32_t L, C, H, G, D, F, V;
    int32_t positions_max; /* max_position_embeddings */
    float norm_epsilon;
    double rope_theta;
    bool rope_llama3; /* the rescaled frequencies of LLaMA 3.1 */
    double rope_factor, rope_low_factor, rope_high_factor;
    int32_t rope_original_positions;
    bool tied; /* the LM head is the embedding table */
    bool qkv_bias;
    bool qk_norm;
    int32_t bos, eos, pad; /* -1: none */
};

#endif
