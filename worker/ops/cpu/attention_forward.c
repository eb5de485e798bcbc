/* SPDX-License-Identifier: Apache-2.0
 *
 * attention_forward: o = softmax(scale · q Kᵀ) V for every block and head (attention.h); any block
 * and head is a task of its own.
 *
 *     m = scale · max_j s_j;  p_j = exp(scale · s_j − m);  l = Σ_j p_j;  o = (Σ_j p_j v_j) / l
 *
 * l is 16 partial sums by logical key mod 16 and the tree; Σ p v is one chain in logical key order,
 * range after range. lse = m + log l is what the backward pass needs.
 */
#include <math.h>

#include "worker/ops/cpu/attention.h"
#include "worker/ops/cpu/cpu.h"
#include "worker/ops/cpu/lane_math.h"

struct attention_forward {
    struct device *device;
    struct attention_plan plan;
    float *o, *lse;
};

/* Masks the triangle and returns the largest score of each of 16 queries. */
static struct lanes mask_and_max(const struct attention_scratch *scratch, float *scores,
                                 int64_t stride, struct lanes limit)
{
    const int32_t full = scratch->full_keys;
    struct lanes even = lanes_set1(-INFINITY), odd = even;
    for (int32_t j = 0; j + 1 < full; j += 2) {
        even = lanes_max(lanes_load(scores + j * stride), even);
        odd = lanes_max(lanes_load(scores + (j + 1) * stride), odd);
    }
    struct lanes largest = lanes_max(even, odd);
    for (int32_t j = full - full % 2; j < scratch->keys; j++) {
        struct lane_mask seen = lanes_less_equal(lanes_set1((float)j), limit);
        struct lanes score = lanes_load(scores + j * stride);
        score = lanes_select(seen, score, lanes_set1(-INFINITY));
        lanes_store(scores + j * stride, score);
        largest = lanes_max(score, largest);
    }
    return largest;
}

/* Scores of 16 queries become weights in place. `sum` gets l; returns lse. */
static struct lanes softmax_lanes(const struct attention_scratch *scratch, float *scores,
                                  int64_t stride, struct lanes limit, float scale,
                                  struct lanes *sum)
{
    struct lanes largest =
        lanes_mul(mask_and_max(scratch, scores, stride, limit), lanes_set1(scale));
    struct lanes partial[LANES];
    for (int32_t j = 0; j < LANES; j++) {
        partial[j] = lanes_zero();
    }
    for (int32_t j = 0; j < scratch->keys; j++) {
        struct lanes score = lanes_load(scores + j * stride);
        struct lanes weight = lanes_exp_below(lanes_fms(score, lanes_set1(scale), largest));
        lanes_store(scores + j * stride, weight);
        partial[j % LANES] = lanes_add(partial[j % LANES], weight);
    }
    for (int32_t step = LANES / 2; step > 0; step /= 2) {
        for (int32_t j = 0; j < step; j++) {
            partial[j] = lanes_add(partial[j], partial[j + step]);
        }
    }
    *sum = partial[0];
    return lanes_add(largest, lanes_log(partial[0]));
}

static void divide_row(float *o, float sum, int32_t D)
{
    for (int32_t d = 0; d < D; d += LANES) {
        struct lanes value = lanes_load_some(o + d, D - d, 0.0f);
        lanes_store_some(o + d, D - d, lanes_div(value, lanes_set1(sum)));
    }
}

static void forward_block(void *argument, size_t index, int thread)
{
    const struct attention_forward *forward = argument;
    const struct attention_plan *plan = &forward->plan;
    const int32_t H = plan->shape.H, G = plan->shape.G, D = plan->shape.D;
    const struct query_block *block = &plan->blocks[index / (size_t)H];
    const int32_t h = (int32_t)(index % (size_t)H);
    const int64_t stride = plan->block_queries, ldo = (int64_t)H * D;
    struct attention_scratch scratch;
    OPS_FN(attention_thread)(forward->device, plan, thread, false, &scratch);
    OPS_FN(attention_scores)(plan, block, h, &scratch);

    for (int32_t i = 0; i < block->count; i += LANES) {
        struct lanes sum;
        struct lanes lse = softmax_lanes(&scratch, scratch.scores + i, stride,
                                         lanes_load(scratch.limit + i), plan->shape.scale, &sum);
        lanes_store(scratch.lse + i, lse);
        lanes_store(scratch.sum + i, sum);
    }
    float *o = forward->o + block->first * ldo + (int64_t)h * D;
    const float *v = plan->v + (int64_t)(h / (H / G)) * D;
    OPS_FN(attention_sum)(plan, block, scratch.scores, v, o, ldo, &scratch);
    for (int32_t i = 0; i < block->count; i++) {
        divide_row(o + i * ldo, scratch.sum[i], D);
        forward->lse[(int64_t)(block->first + i) * H + h] = scratch.lse[i];
    }
}

void OPS_FN(attention_forward)(struct device *device, real *o, float *lse, const real *q,
                               int32_t ldq, const real *k, const real *v, int32_t ldkv,
                               const struct layout *layout, const int32_t *queries,
                               int32_t query_count, const struct attention_shape *shape)
{
    struct attention_forward forward = {
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
        .o = o,
        .lse = lse,
    };
    OPS_FN(attention_plan)(device, &forward.plan, false);
    pool_run(device->pool, (size_t)forward.plan.block_count * (size_t)shape->H, forward_block,
             &forward);
}
