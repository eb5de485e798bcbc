/* SPDX-License-Identifier: Apache-2.0
 *
 * cross_entropy: a chunk of entries times the whole vocabulary, by cuda_gemm; softmax, loss and
 * gradient by one kernel, in the place of the logits.
 *
 * The logits of a chunk exist once, in scratch. A chunk is as large as keeps them near
 * LOGITS_FLOATS: each reads w twice and reads and writes dw once, which many entries pay for. An
 * entry's loss does not depend on its chunk: its logits are a row of a product, its softmax a block
 * of fixed size.
 *
 * Neither of the two sums over the vocabulary is one chain of floats (ops.h). Σ exp z: a thread
 * sums every THREADS-th, some dozens, and the tree of reduce.h adds the threads' sums. g·w:
 * products over VOCABULARY_BLOCK tokens each, added up in order; a product's own sum begins at
 * zero, so that the tiny terms of a block are together before they meet the target's.
 *
 * THE SOFTMAX'S BARRIERS. Each thread reads z[target] before it reaches the first of them, and
 * gradients are written behind the last; every thread writes only what it alone reads in its own
 * loops. All threads of a block take part in every tree, with 0 where they have no token.
 */
#include <float.h>

#include "worker/ops_cuda/reduce.h"

enum { THREADS = 1024, ROWS_MIN = 64, LOGITS_FLOATS = 64 << 20 /* 256 MiB */ };
enum { VOCABULARY_BLOCK = 1024 };

/* ---- the softmax ----------------------------------------------------------------------------- */

/* With M = max z:  nll = log Σ exp(z − M) − (z[target] − M). A thread's sum is relative to the
 * largest that it has met, and is scaled when there is a larger one, so that the logits are read
 * once for both. weight NULL: no gradient. */
__global__ static void softmax_kernel(float *nll, float *logits, const int32_t *target,
                                      const float *weight, int32_t V)
{
    __shared__ float shared[WARP];
    float *z = logits + (int64_t)blockIdx.x * V;
    const int32_t t = (int32_t)threadIdx.x, hit = target[blockIdx.x];
    const float at_hit = z[hit];
    float largest = -FLT_MAX, sum = 0.0f;
    for (int32_t v = t; v < V; v += THREADS) {
        const float value = z[v];
        if (value > largest) {
            sum *= expf(largest - value);
            largest = value;
        }
        sum += expf(value - largest);
    }
    const float max = block_max(largest, shared);
    sum = block_sum(sum * expf(largest - max), shared);
    if (t == 0) {
        nll[blockIdx.x] = logf(sum) - (at_hit - max);
    }
    if (weight == NULL) {
        return;
    }
    /* z = weight·(softmax(z) − onehot(target)) */
    const float factor = weight[blockIdx.x];
    for (int32_t v = t; v < V; v += THREADS) {
        const float probability = expf(z[v] - max) / sum;
        z[v] = factor * (probability - (v == hit ? 1.0f : 0.0f));
    }
}

/* ---- chunks ---------------------------------------------------------------------------------- */

static int32_t chunk_rows(int32_t V)
{
    const int32_t rows = LOGITS_FLOATS / (V > 0 ? V : 1);
    return rows < ROWS_MIN                  ? (int32_t)ROWS_MIN
           : rows > CUDA_CROSS_ENTROPY_ROWS ? (int32_t)CUDA_CROSS_ENTROPY_ROWS
                                            : rows;
}

static size_t chunk_bytes(int32_t width, int32_t V)
{
    return size_mul(size_mul((size_t)chunk_rows(V), (size_t)width), sizeof(float));
}

extern "C" size_t cuda_cross_entropy_scratch(const struct scratch_shape *shape)
{
    return shape->cross_entropy ? size_add(cuda_scratch_piece(chunk_bytes(shape->V, shape->V)),
                                           cuda_scratch_piece(chunk_bytes(shape->C, shape->V)))
                                : 0;
}

/* dw += gᵀ x;  then, in the place of x, the chunk's gathered rows, g·w */
static void chunk_backward(struct device *device, float *dw, float *x, const float *g,
                           const float *w, int32_t rows, int32_t C, int32_t V)
{
    if (dw) {
        const struct cuda_gemm product = {CUDA_TN, V, C, rows, g, V, x, C, dw, C, 1.0f, 1.0f};
        cuda_gemm(device, &product);
    }
    for (int32_t v = 0; v < V; v += VOCABULARY_BLOCK) {
        const int32_t tokens = V - v < VOCABULARY_BLOCK ? V - v : VOCABULARY_BLOCK;
        const float beta = v == 0 ? 0.0f : 1.0f;
        const struct cuda_gemm product = {CUDA_NN, rows, C, tokens, g + v, V, w + (int64_t)v * C,
                                          C,       x,    C, 1.0f,   beta};
        cuda_gemm(device, &product);
    }
}

extern "C" void cuda_cross_entropy(struct device *device, float *nll, real *dx, float *dw,
                                   const real *x, const real *w, const int32_t *index,
                                   const int32_t *target, const float *weight, int32_t count,
                                   int32_t C, int32_t V)
{
    CHECK(dx || !dw);
    const size_t mark = cuda_scratch_mark(device);
    float *logits = (float *)cuda_scratch_take(device, chunk_bytes(V, V));
    float *rows_of_x = (float *)cuda_scratch_take(device, chunk_bytes(C, V));
    for (int32_t i = 0; i < count; i += chunk_rows(V)) {
        const int32_t rows = count - i < chunk_rows(V) ? count - i : chunk_rows(V);
        cuda_gather_rows(device, rows_of_x, x, index + i, rows, C);
        const struct cuda_gemm product = {CUDA_NT, rows, V,      C, rows_of_x, C,
                                          w,       C,    logits, V, 1.0f,      0.0f};
        cuda_gemm(device, &product);
        LAUNCH(softmax_kernel, rows, THREADS, 0, device, nll + i, logits, target + i,
               dx ? weight + i : NULL, V);
        if (dx) {
            chunk_backward(device, dw, rows_of_x, logits, w, rows, C, V);
            cuda_scatter_add_rows(device, dx, rows_of_x, index + i, rows, C);
        }
    }
    cuda_scratch_release(device, mark);
}
