/* SPDX-License-Identifier: Apache-2.0
 *
 * attention_backward: dQ, dK, dV, with the weights computed again from lse.
 *
 *     p = exp(scale · s − lse);  dP = dO Vᵀ;  dS = p · (dP − Δ) · scale,  Δ = Σ_d dO · O
 *     dQ = dS K;   dK += dSᵀ Q;   dV += pᵀ dO
 *
 * A key's gradient is a sum over queries, so one task does all blocks of one (tree, query head) in
 * order: each element of dK and dV is one chain of fused multiply-adds over the queries that see
 * the key, ascending. Trees do not share keys. Query heads of a group share them: the first of the
 * group writes to dk, dv itself, the others to `head_gradient`, and a second pass adds those in the
 * order of heads. Nothing depends on the number of threads.
 */
#include <string.h>

#include "lib/check.h"
#include "worker/ops/cpu/attention.h"
#include "worker/ops/cpu/cpu.h"
#include "worker/ops/cpu/lane_math.h"
#include "worker/ops/cpu/ranges.h"
#ifdef OPS_ISA_amx
#include "worker/ops/cpu/amx.h"
#include "worker/ops/cpu/gemm_vec.h"
#endif

struct attention_backward {
    struct device *device;
    struct attention_plan plan;
    float *dq, *dk, *dv;
    int64_t lddq, lddkv;
    const float *d_o, *o, *lse;
};

/* Where a query head's dK or dV lies: S rows of D with a stride. */
struct head_matrix {
    float *rows;
    int64_t ld;
};

static struct head_matrix head_matrix(const struct attention_backward *backward, int32_t h,
                                      bool is_v)
{
    const struct attention_plan *plan = &backward->plan;
    const int32_t group = plan->shape.H / plan->shape.G, D = plan->shape.D;
    if (h % group == 0) {
        float *out = is_v ? backward->dv : backward->dk;
        return (struct head_matrix){out + (int64_t)(h / group) * D, backward->lddkv};
    }
    int64_t slot = (int64_t)(h / group) * (group - 1) + h % group - 1;
    int64_t matrix = (int64_t)plan->layout->tokens * D;
    return (struct head_matrix){plan->head_gradient + (2 * slot + is_v) * matrix, D};
}

/* Δ of 16 queries: a chain over d like that of dP, so that a query with one key gets dS = 0. */
static struct lanes delta_lanes(const float *do_t, const float *o_t, int64_t stride, int32_t D)
{
    struct lanes delta = lanes_zero();
    for (int32_t d = 0; d < D; d++) {
        delta = lanes_fma(lanes_load(do_t + d * stride), lanes_load(o_t + d * stride), delta);
    }
    return delta;
}

#ifdef OPS_ISA_amx
/* As dP is summed there (amx.h), of the same rounded factors. */
static struct lanes delta_lanes_amx(const float *do_t, const float *o_t, int64_t stride, int32_t D)
{
    struct lanes delta = lanes_zero();
    for (int32_t block = 0; block < D; block += AMX_K) {
        const int32_t end = block + AMX_K < D ? block + AMX_K : D;
        struct lanes sums[2] = {lanes_zero(), lanes_zero()};
        for (int32_t d = block; d < end; d++) {
            struct lanes a = {vec_bf16(lanes_load(do_t + d * stride).all)};
            struct lanes b = {vec_bf16(lanes_load(o_t + d * stride).all)};
            sums[d % 2] = lanes_fma(a, b, sums[d % 2]);
        }
        delta = lanes_add(delta, lanes_add(sums[0], sums[1]));
    }
    return delta;
}
#endif

static struct lanes block_delta(const struct attention_plan *plan, const float *do_t,
                                const float *o_t)
{
#ifdef OPS_ISA_amx
    if (plan->bf16) {
        return delta_lanes_amx(do_t, o_t, plan->block_queries, plan->shape.D);
    }
#endif
    return delta_lanes(do_t, o_t, plan->block_queries, plan->shape.D);
}

/* lse and Δ of the block's queries; zeros up to whole vectors. The scores are done with q_t, which
 * holds o now. */
static void load_rows(const struct attention_backward *backward, const struct query_block *block,
                      int32_t h, struct attention_scratch *scratch)
{
    const struct attention_plan *plan = &backward->plan;
    const int32_t H = plan->shape.H, D = plan->shape.D;
    const float *o = backward->o + ((int64_t)block->first * H + h) * D;
    OPS_FN(attention_transpose)(plan, o, (int64_t)H * D, block->count, scratch->q_t);
    for (int32_t i = 0; i < whole_lanes(block->count); i += LANES) {
        lanes_store(scratch->delta + i, block_delta(plan, scratch->do_t + i, scratch->q_t + i));
    }
    memset(scratch->lse, 0, sizeof(scratch->lse));
    for (int32_t i = 0; i < block->count; i++) {
        scratch->lse[i] = backward->lse[(int64_t)(block->first + i) * H + h];
    }
}

/* For 16 queries, in place: scores become P, dP becomes dS. */
static void weight_lanes(const struct attention_scratch *scratch, int32_t i, int64_t stride,
                         float scale)
{
    const struct lanes limit = lanes_load(scratch->limit + i), factor = lanes_set1(scale);
    const struct lanes lse = lanes_load(scratch->lse + i);
    const struct lanes delta = lanes_load(scratch->delta + i);
    for (int32_t j = 0; j < scratch->keys; j++) {
        float *score = scratch->scores + j * stride + i;
        float *d_score = scratch->d_scores + j * stride + i;
        struct lanes p = lanes_exp_below(lanes_fms(lanes_load(score), factor, lse));
        if (j >= scratch->full_keys) {
            p = lanes_keep(lanes_less_equal(lanes_set1((float)j), limit), p);
        }
        lanes_store(score, p);
        struct lanes slope = lanes_sub(lanes_load(d_score), delta);
        lanes_store(d_score, lanes_mul(lanes_mul(p, slope), factor));
    }
}

/* rows j of `to` += Σ_i weights[j][i]·x_i for the keys of a range and the queries of a block. */
static void add_transposed(const struct attention_plan *plan, struct head_matrix to,
                           const struct key_range *range, const float *weights, const float *x,
                           int64_t ldx, int32_t count, const struct attention_scratch *scratch)
{
    const struct gemm gemm = {.c = to.rows + range->start * to.ld,
                              .ldc = to.ld,
                              .a = weights,
                              .a_row = plan->block_queries,
                              .a_k = 1,
                              .b = x,
                              .b_k = ldx,
                              .b_n = 1,
                              .M = range->length,
                              .N = plan->shape.D,
                              .K = count,
                              .accumulate = true};
    OPS_FN(attention_multiply)(plan, &gemm, scratch);
}

/* The block's share: dq is written, dk and dv are added to. */
static void backward_block(const struct attention_backward *backward,
                           const struct query_block *block, int32_t h, struct head_matrix dk,
                           struct head_matrix dv, struct attention_scratch *scratch)
{
    const struct attention_plan *plan = &backward->plan;
    const int32_t H = plan->shape.H, D = plan->shape.D;
    const int64_t stride = plan->block_queries, ldo = (int64_t)H * D;
    const int64_t kv_head = (int64_t)(h / (H / plan->shape.G)) * D;
    const float *q = plan->q + block->first * plan->ldq + (int64_t)h * D;
    const float *d_o = backward->d_o + block->first * ldo + (int64_t)h * D;
    const float *k = plan->k + kv_head, *v = plan->v + kv_head;
    float *dq = backward->dq + block->first * backward->lddq + (int64_t)h * D;

    OPS_FN(attention_scores)(plan, block, h, scratch);
    OPS_FN(attention_transpose)(plan, d_o, ldo, block->count, scratch->do_t);
    OPS_FN(attention_product)(plan, block, v, scratch->do_t, scratch->d_scores, scratch);
    load_rows(backward, block, h, scratch);
    for (int32_t i = 0; i < block->count; i += LANES) {
        weight_lanes(scratch, i, stride, plan->shape.scale);
    }
    for (int32_t r = 0; r < scratch->range_count; r++) {
        const struct key_range *range = &scratch->ranges[r];
        const float *p = scratch->scores + range->logical * stride;
        const float *ds = scratch->d_scores + range->logical * stride;
        add_transposed(plan, dv, range, p, d_o, ldo, block->count, scratch);
        add_transposed(plan, dk, range, ds, q, plan->ldq, block->count, scratch);
    }
    OPS_FN(attention_sum)(plan, block, scratch->d_scores, k, dq, backward->lddq, scratch);
}

static void zero_rows(struct head_matrix matrix, int32_t first, int32_t last, int32_t D)
{
    for (int32_t i = first; i < last; i++) {
        memset(matrix.rows + i * matrix.ld, 0, (size_t)D * sizeof(float));
    }
}

static void backward_tree(void *argument, size_t index, int thread)
{
    const struct attention_backward *backward = argument;
    const struct attention_plan *plan = &backward->plan;
    const struct layout *layout = plan->layout;
    const int32_t tree = (int32_t)(index / (size_t)plan->shape.H);
    const int32_t h = (int32_t)(index % (size_t)plan->shape.H);
    const struct segment *last = &layout->segments[layout->tree_segment[tree + 1] - 1];
    const int32_t first_token = layout->segments[layout->tree_segment[tree]].start;
    struct head_matrix dk = head_matrix(backward, h, false), dv = head_matrix(backward, h, true);
    zero_rows(dk, first_token, last->start + last->length, plan->shape.D);
    zero_rows(dv, first_token, last->start + last->length, plan->shape.D);
    struct attention_scratch scratch;
    OPS_FN(attention_thread)(backward->device, plan, thread, true, &scratch);
    for (int32_t b = plan->tree_block[tree]; b < plan->tree_block[tree + 1]; b++) {
        backward_block(backward, &plan->blocks[b], h, dk, dv, &scratch);
    }
}

/* dk and dv of tokens [begin, end): the other heads of each group are added to the first. */
static void add_heads(const void *op, int64_t begin, int64_t end)
{
    const struct attention_backward *backward = op;
    const int32_t H = backward->plan.shape.H, D = backward->plan.shape.D;
    const int32_t group = H / backward->plan.shape.G;
    for (int64_t i = begin; i < end; i++) {
        for (int32_t h = 0; h < H; h++) {
            for (int is_v = 0; is_v < 2 && h % group != 0; is_v++) {
                struct head_matrix to = head_matrix(backward, h - h % group, is_v);
                struct head_matrix from = head_matrix(backward, h, is_v);
                add_floats(to.rows + i * to.ld, from.rows + i * from.ld, D);
            }
        }
    }
}

void OPS_FN(attention_backward)(struct device *device, real *dq, int32_t lddq, real *dk, real *dv,
                                int32_t lddkv, const real *d_o, const real *o, const float *lse,
                                const real *q, int32_t ldq, const real *k, const real *v,
                                int32_t ldkv, const struct layout *layout, const int32_t *queries,
                                int32_t query_count, const struct attention_shape *shape)
{
    CHECK(lddq >= shape->H * shape->D && lddkv >= shape->G * shape->D);
    struct attention_backward backward = {
        .device = device,
        .plan = {.layout = layout,
                 .queries = queries,
                 .query_count = query_count,
                 .shape = *shape,
                 .q = q,
                 .k = k,
                 .v = v,
                 .ldq = ldq,
                 .ldkv = ldkv},
        .dq = dq,
        .dk = dk,
        .dv = dv,
        .lddq = lddq,
        .lddkv = lddkv,
        .d_o = d_o,
        .o = o,
        .lse = lse,
    };
    OPS_FN(attention_plan)(device, &backward.plan, true);
    pool_run(device->pool, (size_t)layout->tree_count * (size_t)shape->H, backward_tree, &backward);
    if (shape->H > shape->G) {
        const int64_t floats = (int64_t)6 * shape->H * shape->D;
        OPS_FN(for_ranges)(device, layout->tokens, 1, floats, add_heads, &backward);
    }
}
