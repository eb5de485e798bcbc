/* SPDX-License-Identifier: Apache-2.0
 *
 * reading: what is read from a pack: where each row's reward is pooled, and which tokens are
 * imitated.
 *
 * Losses are defined on the rows; sharing is a matter of computing. A shared prompt token that two
 * imitated rows predict is one entry with both weights.
 */
#ifndef TAILOR_WORKER_MODEL_READING_H
#define TAILOR_WORKER_MODEL_READING_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/arena.h"
#include "worker/data/pack.h"
#include "worker/data/template.h"
#include "worker/ops/operands.h"

struct adapter; /* adapter_open.h */

/* For one row of the pack: how much its tokens weigh in the imitation loss. */
struct imitation {
    float weight;         /* of each predicted token; 0: the row is not imitated */
    int32_t answer_token; /* first token that counts (at least 1: nothing predicts token 0) */
};

/* Which of several adapters, all over the model that computes, a row of the pack is read with: many
 * models of one parent in one pass. Rows in no range are read with the parent alone. */
struct reading_adapters {
    const struct adapter *const *items; /* (count): of the same targets */
    int32_t count;
    int32_t r_max;                    /* the widest that the activations have room for */
    const struct lora_range *tokens;  /* (token_ranges) over the pack's tokens */
    const struct lora_range *queries; /* (query_ranges) over reading.queries; none without those */
    const struct lora_range *rows;    /* (row_ranges) over the pack's rows */
    int32_t token_ranges, query_ranges, row_ranges;
};

struct reading {
    const struct reading_adapters *adapters; /* NULL: the model's own, if it has one */
    enum pooling pooling;
    int32_t R; /* rows of the pack; rewards in the pack's row order; 0: stage lm */
    const int32_t *pooled_token; /* (R) packed index; last_token and before_eos */
    const int32_t *row_offset;   /* (R + 1), mean and max */
    const int32_t *row_token;    /* packed indices of each row in logical order */

    /* Imitation: entry e predicts `target` from the hidden state of packed token `source`. */
    int32_t lm_count;
    const int32_t *lm_source, *lm_target;
    const float *lm_weight;

    /* The queries of the last layer: where anything is read. NULL: everywhere (imitation, mean,
     * max). */
    int32_t query_count;
    const int32_t *queries;        /* ascending packed indices, distinct */
    const int32_t *query_position; /* (query_count) their positions, for the rotation */
    const int32_t
        *query_of_row; /* (R) index into queries; equals pooled_token where queries is NULL */
};

/* `imitation` has an entry per row of the pack, or is NULL. `rewards`: read rewards at all.
 * `prune`: the last layer may be computed only where it is read (tests switch it off). Memory is
 * `arena`'s. */
void reading_build(struct arena *arena, const struct pack *pack, enum pooling pooling, int32_t eos,
                   const struct imitation *imitation, bool rewards, bool prune,
                   struct reading *reading_out);
/* Says with which adapter each group of the pack is read: adapter_of_group[g] is an index into
 * items (all of the same targets), or −1 for the parent alone. Memory is `arena`'s. */
void reading_adapt(struct arena *arena, const struct pack *pack, const struct adapter *const *items,
                   int32_t count, int32_t r_max, const int32_t *adapter_of_group,
                   struct reading *reading);

#endif
