/* SPDX-License-Identifier: Apache-2.0
 *
 * attention_plan: cutting a call into blocks, memory for them, and the products both passes begin
 * with (attention.h).
 *
 * Scratch. A thread holds one block's scores, keys × queries (twice in the backward pass). To bound
 * it for long rows, the block gets narrower: as many queries as fit SCORES_MAX, never fewer than
 * one vector. No result depends on the width.
 */
#include <string.h>

#include "lib/check.h"
#include "worker/ops/cpu/attention.h"
#include "worker/ops/cpu/gemm.h"
#include "worker/ops/cpu/gemm_kernel.h"
#include "worker/ops/cpu/scratch.h"
#ifdef OPS_ISA_amx
#include "worker/ops/cpu/amx.h"
#endif

enum { SCORES_MAX = 64 * 4096 }; /* 1 MiB: stays in a second-level cache */

static int32_t block_queries(int32_t keys_max)
{
    int32_t fitting = SCORES_MAX / (keys_max > 0 ? keys_max : 1) / LANES * LANES;
    fitting = fitting < BLOCK_QUERIES ? fitting : BLOCK_QUERIES;
    return fitting > LANES ? fitting : LANES;
}

/* Floats of keys × queries that suffice for rows of `keys_max` tokens and for all shorter ones. */
static size_t score_floats(int32_t keys_max)
{
    size_t wide = size_mul((size_t)keys_max, BLOCK_QUERIES);
    size_t narrow = size_mul((size_t)keys_max, LANES);
    wide = wide < SCORES_MAX ? wide : SCORES_MAX;
    return wide > narrow ? wide : narrow;
}

static size_t whole_lines(size_t count)
{
    return size_add(count, LANES - 1) / LANES * LANES;
}

/* The areas of one thread, in order, in floats. */
struct thread_areas {
    size_t q_t, do_t, scores, d_scores, ranges, tiles, rows, total;
};

static struct thread_areas thread_areas(int32_t keys_max, int32_t D, bool backward)
{
    const size_t transposed = size_mul((size_t)D, BLOCK_QUERIES);
    const size_t scores = whole_lines(score_floats(keys_max));
    struct thread_areas at = {0};
    at.do_t = size_add(at.q_t, transposed);
    at.scores = size_add(at.do_t, backward ? transposed : 0);
    at.d_scores = size_add(at.scores, scores);
    at.ranges = size_add(at.d_scores, backward ? scores : 0);
    size_t ranges = size_mul((size_t)keys_max, sizeof(struct key_range) / sizeof(float));
    at.tiles = size_add(at.ranges, whole_lines(ranges));
    at.rows = at.tiles;
    at.total = at.rows;
#ifdef OPS_ISA_amx
    at.rows = size_add(at.tiles, AMX_DIRECT_NUMBERS * sizeof(uint16_t) / sizeof(float));
    at.total = size_add(at.rows, whole_lines(size_mul((size_t)keys_max, (size_t)D)));
#endif
    return at;
}

size_t OPS_FN(attention_scratch_bytes)(const struct scratch_shape *shape)
{
    struct thread_areas at = thread_areas(shape->row_tokens_max, shape->D, shape->backward);
    return size_mul(at.total, sizeof(float));
}

static size_t plan_bytes(int32_t tokens)
{
    size_t bytes = size_mul((size_t)tokens, sizeof(struct query_block) + sizeof(int32_t));
    return whole_lines(size_add(bytes, sizeof(int32_t)));
}

/* Blocks and tree_block; backward, dK and dV of each query head but the first of its group. */
size_t OPS_FN(attention_shared_bytes)(const struct scratch_shape *shape)
{
    size_t bytes = plan_bytes(shape->S);
    if (shape->backward) {
        size_t heads = (size_t)(shape->H - shape->G);
        size_t matrix = size_mul((size_t)shape->S, (size_t)shape->D);
        bytes = size_add(bytes, size_mul(size_mul(heads, matrix), 2 * sizeof(float)));
    }
    return bytes;
}

static int32_t token_of(const struct attention_plan *plan, int32_t query)
{
    return plan->queries ? plan->queries[query] : query;
}

static void list_blocks(struct attention_plan *plan, struct query_block *blocks,
                        int32_t *tree_block)
{
    const struct layout *layout = plan->layout;
    int32_t count = 0, tree = 0;
    for (int32_t i = 0; i < plan->query_count; i++) {
        int32_t token = token_of(plan, i);
        CHECK(token >= 0 && token < layout->tokens);
        CHECK(i == 0 || token > token_of(plan, i - 1));
        int32_t segment = layout->segment_of[token];
        if (count > 0 && blocks[count - 1].segment == segment &&
            blocks[count - 1].count < plan->block_queries) {
            blocks[count - 1].count++;
            continue;
        }
        while (segment >= layout->tree_segment[tree]) {
            tree_block[tree++] = count;
        }
        blocks[count++] = (struct query_block){segment, i, 1};
    }
    while (tree <= layout->tree_count) {
        tree_block[tree++] = count;
    }
    plan->blocks = blocks;
    plan->block_count = count;
    plan->tree_block = tree_block;
}

void OPS_FN(attention_plan)(struct device *device, struct attention_plan *plan, bool backward)
{
    const struct layout *layout = plan->layout;
    const struct attention_shape *shape = &plan->shape;
    CHECK(shape->G > 0 && shape->H % shape->G == 0);
    CHECK(plan->ldq >= shape->H * shape->D && plan->ldkv >= shape->G * shape->D);
    CHECK(plan->queries ? plan->query_count <= layout->tokens
                        : plan->query_count == layout->tokens);
    struct scratch_shape need = {.S = layout->tokens,
                                 .H = shape->H,
                                 .G = shape->G,
                                 .D = shape->D,
                                 .row_tokens_max = layout->row_tokens_max,
                                 .backward = backward};
    char *shared = OPS_FN(scratch_attention_shared)(device, OPS_FN(attention_shared_bytes)(&need));
    plan->thread_bytes = OPS_FN(attention_scratch_bytes)(&need);
    plan->bf16 = device_multiplies_bf16(device);
    plan->block_queries = block_queries(layout->row_tokens_max);
    plan->head_gradient = (float *)(shared + plan_bytes(layout->tokens));
    struct query_block *blocks = (struct query_block *)shared;
    list_blocks(plan, blocks, (int32_t *)(blocks + layout->tokens));
}

void OPS_FN(attention_thread)(struct device *device, const struct attention_plan *plan, int thread,
                              bool backward, struct attention_scratch *scratch)
{
    float *base = OPS_FN(scratch_attention)(device, thread, plan->thread_bytes);
    struct thread_areas at = thread_areas(plan->layout->row_tokens_max, plan->shape.D, backward);
    scratch->q_t = base + at.q_t;
    scratch->do_t = base + at.do_t;
    scratch->scores = base + at.scores;
    scratch->d_scores = base + at.d_scores;
    scratch->ranges = (struct key_range *)(base + at.ranges);
    scratch->tiles = (uint16_t *)(base + at.tiles);
    scratch->rows = base + at.rows;
}

/* From the root to the segment, neighbours in the pack joined: a first child follows its parent. */
static void list_ranges(const struct attention_plan *plan, int32_t segment,
                        struct attention_scratch *scratch)
{
    const struct segment *segments = plan->layout->segments;
    struct key_range *ranges = scratch->ranges;
    int32_t depth = 0, count = 0;
    for (int32_t s = segment; s >= 0; s = segments[s].parent) {
        depth++;
    }
    CHECK(depth <= plan->layout->row_tokens_max);
    int32_t at = depth;
    for (int32_t s = segment; s >= 0; s = segments[s].parent) {
        int32_t length = s == segment ? scratch->keys - segments[s].position0 : segments[s].length;
        ranges[--at] = (struct key_range){segments[s].start, length, segments[s].position0};
    }
    for (int32_t r = 0; r < depth; r++) {
        if (count > 0 && ranges[count - 1].start + ranges[count - 1].length == ranges[r].start) {
            ranges[count - 1].length += ranges[r].length;
        } else {
            ranges[count++] = ranges[r];
        }
    }
    scratch->range_count = count;
}

void OPS_FN(attention_transpose)(const struct attention_plan *plan, const float *x, int64_t ldx,
                                 int32_t count, float *out)
{
    const struct gemm_pack pack = {.dst = out,
                                   .lddst = plan->block_queries,
                                   .src = x,
                                   .outer_stride = 1,
                                   .inner_stride = ldx,
                                   .outer = plan->shape.D,
                                   .inner = count,
                                   .width = whole_lanes(count)};
    OPS_FN(gemm_pack)(&pack);
}

void OPS_FN(attention_multiply)(const struct attention_plan *plan, const struct gemm *gemm,
                                const struct attention_scratch *scratch)
{
#ifdef OPS_ISA_amx
    if (plan->bf16) {
        amx_direct(gemm, scratch->tiles);
        return;
    }
#endif
    (void)plan, (void)scratch;
    OPS_FN(gemm_direct)(gemm);
}

void OPS_FN(attention_product)(const struct attention_plan *plan, const struct query_block *block,
                               const float *rows, const float *x_t, float *product,
                               const struct attention_scratch *scratch)
{
    const int64_t stride = plan->block_queries;
    for (int32_t r = 0; r < scratch->range_count; r++) {
        const struct key_range *range = &scratch->ranges[r];
        const struct gemm gemm = {.c = product + range->logical * stride,
                                  .ldc = stride,
                                  .a = rows + range->start * plan->ldkv,
                                  .a_row = plan->ldkv,
                                  .a_k = 1,
                                  .b = x_t,
                                  .b_k = stride,
                                  .b_n = 1,
                                  .M = range->length,
                                  .N = whole_lanes(block->count),
                                  .K = plan->shape.D};
        OPS_FN(attention_multiply)(plan, &gemm, scratch);
    }
}

/* Copies all logical keys to scratch->rows, where they are one range. */
static struct key_range gather_keys(const struct attention_plan *plan, const float *rows,
                                    const struct attention_scratch *scratch)
{
    const size_t bytes = (size_t)plan->shape.D * sizeof(float);
    for (int32_t r = 0; r < scratch->range_count; r++) {
        const struct key_range *range = &scratch->ranges[r];
        for (int32_t j = 0; j < range->length; j++) {
            memcpy(scratch->rows + (int64_t)(range->logical + j) * plan->shape.D,
                   rows + (int64_t)(range->start + j) * plan->ldkv, bytes);
        }
    }
    return (struct key_range){.length = scratch->keys};
}

void OPS_FN(attention_sum)(const struct attention_plan *plan, const struct query_block *block,
                           const float *weights, const float *rows, float *out, int64_t ldout,
                           const struct attention_scratch *scratch)
{
    const bool gathered = plan->bf16 && scratch->range_count > 1;
    const struct key_range whole = gathered ? gather_keys(plan, rows, scratch) : scratch->ranges[0];
    const struct key_range *ranges = gathered ? &whole : scratch->ranges;
    const int32_t count = gathered ? 1 : scratch->range_count;
    const int64_t ld = gathered ? plan->shape.D : plan->ldkv;
    for (int32_t r = 0; r < count; r++) {
        const struct gemm gemm = {.c = out,
                                  .ldc = ldout,
                                  .a = weights + ranges[r].logical * plan->block_queries,
                                  .a_row = 1,
                                  .a_k = plan->block_queries,
                                  .b = (gathered ? scratch->rows : rows) + ranges[r].start * ld,
                                  .b_k = ld,
                                  .b_n = 1,
                                  .M = block->count,
                                  .N = plan->shape.D,
                                  .K = ranges[r].length,
                                  .accumulate = r > 0};
        OPS_FN(attention_multiply)(plan, &gemm, scratch);
    }
}

void OPS_FN(attention_scores)(const struct attention_plan *plan, const struct query_block *block,
                              int32_t h, struct attention_scratch *scratch)
{
    const int32_t *position = plan->layout->position;
    const int32_t D = plan->shape.D;
    const int32_t last = position[token_of(plan, block->first + block->count - 1)];
    for (int32_t i = 0; i < whole_lanes(block->count); i++) {
        scratch->limit[i] =
            (float)(i < block->count ? position[token_of(plan, block->first + i)] : last);
    }
    scratch->keys = last + 1;
    scratch->full_keys = position[token_of(plan, block->first)] + 1;
    CHECK(scratch->keys <= plan->layout->row_tokens_max);
    list_ranges(plan, block->segment, scratch);
    const float *q = plan->q + block->first * plan->ldq + (int64_t)h * D;
    OPS_FN(attention_transpose)(plan, q, plan->ldq, block->count, scratch->q_t);
    const float *k = plan->k + (int64_t)(h / (plan->shape.H / plan->shape.G)) * D;
    OPS_FN(attention_product)(plan, block, k, scratch->q_t, scratch->scores, scratch);
}
