/* SPDX-License-Identifier: Apache-2.0
 *
 * cross_entropy: a chunk of entries times the whole vocabulary.
 *
 * The logits of a chunk exist once, in scratch, and turn into their gradient in place. The chunk is
 * as large as keeps them near LOGITS_FLOATS: each chunk reads w twice and reads and writes dw once,
 * which is memory traffic that only many entries pay for. Cutting the vocabulary as well, so that
 * logits stay in a cache, was rejected: the softmax needs all of a row before its first gradient,
 * so the products would be computed twice.
 *
 * dw is one chain over all entries in order, whatever the chunk. The gradient of an entry's x is
 * the target's row of w and what nearly outweighs it, many tiny parts of all rows: chains over
 * blocks of VOCABULARY_BLOCK tokens, each added to dx[index] when it is done. In one chain over the
 * whole vocabulary the tiny parts are rounded against the target's, by 1e-3 of the gradient where
 * rows of w have much in common. Entries that share an index may be in one chunk.
 */
#include "worker/ops/cpu/cross_entropy.h"

#include <math.h>

#include "lib/check.h"
#include "worker/ops/cpu/cpu.h"
#include "worker/ops/cpu/gemm.h"
#include "worker/ops/cpu/lane_math.h"
#include "worker/ops/cpu/ranges.h"
#include "worker/ops/cpu/scratch.h"

enum { CHUNK_MIN = 32, CHUNK_MAX = 256, LOGITS_FLOATS = 12 << 20 /* 48 MiB */ };
enum { VOCABULARY_BLOCK = 1024 };

struct chunk {
    float *logits; /* (rows, V), then their gradient */
    float *nll;    /* (rows), as are the next two */
    const int32_t *target;
    const float *weight;
    int64_t V;
    bool backward;
};

static int64_t chunk_rows(int64_t V)
{
    int64_t rows = LOGITS_FLOATS / (V > 0 ? V : 1);
    return rows < CHUNK_MIN ? CHUNK_MIN : rows > CHUNK_MAX ? CHUNK_MAX : rows;
}

size_t OPS_FN(cross_entropy_rows_bytes)(int32_t C, int32_t V)
{
    return size_mul(size_mul((size_t)chunk_rows(V), (size_t)C), sizeof(float));
}

size_t OPS_FN(cross_entropy_logits_bytes)(int32_t V)
{
    return size_mul(size_mul((size_t)chunk_rows(V), (size_t)V), sizeof(float));
}

static float first_lane(struct lanes a)
{
    float values[LANES];
    lanes_store(values, a);
    return values[0];
}

/* log Σ exp z; the maximum is taken out so that exp cannot overflow. What each addition rounds away
 * is carried into the next (Kahan): a plain chain loses the many small terms of a large vocabulary
 * one by one, and then the probabilities do not add up to 1. */
static float log_sum_exp(const float *z, int64_t V)
{
    struct lanes largest = lanes_set1(-INFINITY), sum = lanes_zero(), excess = lanes_zero();
    for (int64_t v = 0; v < V; v += LANES) {
        largest = lanes_max(largest, lanes_load_some(z + v, V - v, -INFINITY));
    }
    const float max = lanes_largest(largest);
    for (int64_t v = 0; v < V; v += LANES) {
        struct lanes value = lanes_load_some(z + v, V - v, -INFINITY);
        struct lanes term = lanes_sub(lanes_exp(lanes_sub(value, lanes_set1(max))), excess);
        struct lanes next = lanes_add(sum, term);
        excess = lanes_sub(lanes_sub(next, sum), term);
        sum = next;
    }
    struct lanes log = lanes_log(lanes_set1(lanes_sum(sum)));
    return max + first_lane(log);
}

/* z = weight·(softmax(z) − onehot(target)) */
static void logits_gradient(float *z, int64_t V, float lse, int32_t target, float weight)
{
    const struct lanes shift = lanes_set1(lse), factor = lanes_set1(weight);
    const float hit = z[target];
    for (int64_t v = 0; v < V; v += LANES) {
        struct lanes value = lanes_load_some(z + v, V - v, 0.0f);
        struct lanes probability = lanes_exp(lanes_sub(value, shift));
        lanes_store_some(z + v, V - v, lanes_mul(factor, probability));
    }
    struct lanes probability = lanes_exp(lanes_set1(hit - lse));
    z[target] = weight * (first_lane(probability) - 1.0f);
}

static void loss_row(void *argument, size_t i, int thread)
{
    (void)thread;
    const struct chunk *chunk = argument;
    CHECK(chunk->target[i] >= 0 && chunk->target[i] < chunk->V);
    float *z = chunk->logits + (int64_t)i * chunk->V;
    float lse = log_sum_exp(z, chunk->V);
    chunk->nll[i] = lse - z[chunk->target[i]];
    if (chunk->backward) {
        logits_gradient(z, chunk->V, lse, chunk->target[i], chunk->weight[i]);
    }
}

/* dw += gᵀ x;  dx[index] += g·w, which takes the place of x, the chunk's gathered rows */
static void chunk_backward(struct device *device, const struct chunk *chunk, real *dx, float *dw,
                           float *x, const real *w, const int32_t *index, int64_t rows, int64_t C)
{
    void *packing = OPS_FN(scratch_gemm)(device);
    struct gemm product = {.a = chunk->logits,
                           .N = C,
                           .b_n = 1,
                           .b_k = C,
                           .ldc = C,
                           .bf16 = device_multiplies_bf16(device)};
    if (dw) {
        product.c = dw;
        product.a_row = 1;
        product.a_k = chunk->V;
        product.b = x;
        product.M = chunk->V;
        product.K = rows;
        product.accumulate = true;
        OPS_FN(gemm)(device->pool, &product, packing);
    }
    product.c = x;
    product.a_row = chunk->V;
    product.a_k = 1;
    product.M = rows;
    product.accumulate = false;
    for (int64_t v = 0; v < chunk->V; v += VOCABULARY_BLOCK) {
        product.a = chunk->logits + v;
        product.b = w + v * C;
        product.K = chunk->V - v < VOCABULARY_BLOCK ? chunk->V - v : VOCABULARY_BLOCK;
        OPS_FN(gemm)(device->pool, &product, packing);
        OPS_FN(scatter_add_rows)(device, dx, x, index, (int32_t)rows, (int32_t)C);
    }
}

void OPS_FN(cross_entropy)(struct device *device, float *nll, real *dx, float *dw, const real *x,
                           const real *w, const int32_t *index, const int32_t *target,
                           const float *weight, int32_t count, int32_t C, int32_t V)
{
    CHECK(dx || !dw);
    const int64_t rows_max = chunk_rows(V);
    float *logits = OPS_FN(scratch_logits)(device, OPS_FN(cross_entropy_logits_bytes)(V));
    float *gathered = OPS_FN(scratch_rows)(device, OPS_FN(cross_entropy_rows_bytes)(C, V));
    for (int64_t i = 0; i < count; i += rows_max) {
        const int64_t rows = count - i < rows_max ? count - i : rows_max;
        struct chunk chunk = {
            .logits = logits,
            .nll = nll + i,
            .target = target + i,
            .weight = dx ? weight + i : NULL,
            .V = V,
            .backward = dx != NULL,
        };
        OPS_FN(gather_rows)(device, gathered, x, index + i, (int32_t)rows, C);
        struct gemm product = {
            .c = logits,
            .ldc = V,
            .a = gathered,
            .a_row = C,
            .a_k = 1,
            .b = w,
            .b_k = 1,
            .b_n = C,
            .M = rows,
            .N = V,
            .K = C,
            .bf16 = device_multiplies_bf16(device),
        };
        OPS_FN(gemm)(device->pool, &product, OPS_FN(scratch_gemm)(device));
        pool_run(device->pool, (size_t)rows, loss_row, &chunk);
        if (dx) {
            chunk_backward(device, &chunk, dx, dw, gathered, w, index + i, rows, C);
        }
    }
}
