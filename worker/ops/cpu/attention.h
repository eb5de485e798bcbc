/* SPDX-License-Identifier: Apache-2.0
 *
 * attention: what the forward and the backward pass share.
 *
 * The unit of work is a *block*: a few neighbouring queries of one segment, for one head. Its
 * scores are a matrix of logical keys × queries,
 *
 *        scores[j][i] = k_j · q_i            j = 0 … keys-1 in logical order, i = 0 … count-1
 *
 * filled range by range: the ancestors' tokens and the segment's own are runs of rows of K, and
 * each run is one product K_run · Qᵀ whose result lands at the run's logical rows. Nothing of K or
 * V is copied; of Q, the small block is transposed once. Queries lie along the vectors, so the
 * softmax goes down the rows with no sum across lanes: partial sum j mod 16 is a vector of 16
 * queries.
 *
 * Keys after the block's last query are not computed. Those between its queries (the triangle) are
 * masked: weight 0, and 0 times a finite value changes no sum.
 *
 * In bf16 on AMX the five products round their factors (amx.h); the softmax stays as it is.
 *
 * Hence what a query gets depends on its row alone, not on where the row lies or who shares it.
 */
#ifndef TAILOR_WORKER_OPS_CPU_ATTENTION_H
#define TAILOR_WORKER_OPS_CPU_ATTENTION_H

#include "worker/ops/cpu/gemm.h"
#include "worker/ops/cpu/isa.h"
#include "worker/ops/cpu/lane.h"
#include "worker/ops/ops.h"

enum { BLOCK_QUERIES = 64 };

/* Queries [first, first + count) of the call's list, all in `segment`. */
struct query_block {
    int32_t segment, first, count;
};

/* Tokens [start, start + length) of the pack are the logical keys [logical, logical + length). */
struct key_range {
    int32_t start, length, logical;
};

/* One call: what all its tasks read. */
struct attention_plan {
    const struct layout *layout;
    const int32_t *queries; /* NULL: all */
    int32_t query_count;
    struct attention_shape shape;
    const float *q, *k, *v;
    int64_t ldq, ldkv;
    int32_t block_queries;            /* at most so many queries in a block */
    const struct query_block *blocks; /* (block_count), by tree */
    int32_t block_count;
    const int32_t *tree_block; /* (tree_count + 1): blocks of tree t are [t], [t+1) */
    float *head_gradient;      /* backward: see attention_backward.c */
    size_t thread_bytes;
    bool bf16; /* products by matrix instructions */
};

/* One thread's memory. Matrices of queries along rows have the stride block_queries. */
struct attention_scratch {
    float *q_t;               /* (D, queries) */
    float *do_t;              /* (D, queries), backward */
    float *scores;            /* (keys, queries): scores, then weights P */
    float *d_scores;          /* (keys, queries), backward: dP, then dS */
    uint16_t *tiles;          /* on AMX: for amx_direct */
    float *rows;              /* on AMX: (keys, D), K or V in logical order */
    struct key_range *ranges; /* (range_count) */
    int32_t range_count;
    int32_t keys;               /* logical keys of the block's last query */
    int32_t full_keys;          /* those before the triangle: seen by all queries of the block */
    float limit[BLOCK_QUERIES]; /* logical index of the last key each query sees */
    float lse[BLOCK_QUERIES];
    float sum[BLOCK_QUERIES];   /* forward: of the weights before they are divided by it */
    float delta[BLOCK_QUERIES]; /* backward: do · o */
};

/* Builds the plan of one call in shared scratch. */
void OPS_FN(attention_plan)(struct device *device, struct attention_plan *plan, bool backward);

/* The thread's scratch, laid out for the plan. */
void OPS_FN(attention_thread)(struct device *device, const struct attention_plan *plan, int thread,
                              bool backward, struct attention_scratch *scratch);

/* Lists the block's key ranges and limits, and computes its scores for head h. */
void OPS_FN(attention_scores)(const struct attention_plan *plan, const struct query_block *block,
                              int32_t h, struct attention_scratch *scratch);

/* product[j][i] = rows_j · x_i over D, for all logical keys j: rows are those of K or V, x_t is
 * (D, queries). */
void OPS_FN(attention_product)(const struct attention_plan *plan, const struct query_block *block,
                               const float *rows, const float *x_t, float *product,
                               const struct attention_scratch *scratch);

/* out_i = Σ_j weights[j][i] · rows_j over all logical keys in order, for the block's queries: rows
 * are those of K or V, weights (keys, queries), out (queries, D). In bf16 the sum goes in blocks of
 * 32 logical keys, so ranges are first copied together. */
void OPS_FN(attention_sum)(const struct attention_plan *plan, const struct query_block *block,
                           const float *weights, const float *rows, float *out, int64_t ldout,
                           const struct attention_scratch *scratch);

/* gemm_direct in the plan's dtype. */
void OPS_FN(attention_multiply)(const struct attention_plan *plan, const struct gemm *gemm,
                                const struct attention_scratch *scratch);

/* Copies count rows of D into the columns of out (D, block_queries), zeros up to whole vectors. */
void OPS_FN(attention_transpose)(const struct attention_plan *plan, const float *x, int64_t ldx,
                                 int32_t count, float *out);

/* Queries rounded up to whole vectors. */
static inline int32_t whole_lanes(int32_t count)
{
    return (count + LANES - 1) / LANES * LANES;
}

#endif
