/* SPDX-License-Identifier: Apache-2.0
 *
 * pool: from the hidden states of a row's tokens to one vector. A thread has one channel of a row
 * and goes through its tokens in logical order; neighbouring threads have neighbouring channels.
 * The order depends on the row alone. The mean's gradient is in scatter.cu.
 *
 * Going back from the maximum, a thread has one channel of all rows, since several rows may have
 * the same winner: it adds in their order.
 */
#include "worker/ops_cuda/launch.h"

enum { THREADS = 128 };

/* pooled[r] = (Σ_t x[token[t]]) / count */
__global__ static void pool_mean_kernel(float *pooled, const float *x, const int32_t *offset,
                                        const int32_t *token, int32_t C)
{
    const int32_t c = (int32_t)(blockIdx.y * THREADS + threadIdx.x);
    const int32_t first = offset[blockIdx.x], last = offset[blockIdx.x + 1];
    if (c < C) {
        float sum = 0.0f;
        for (int32_t t = first; t < last; t++) {
            sum += x[(int64_t)token[t] * C + c];
        }
        pooled[(int64_t)blockIdx.x * C + c] = sum / (float)(last - first);
    }
}

/* pooled[r][c] = max_t x[token[t]][c];  argmax[r][c] = the first token that has it */
__global__ static void pool_max_kernel(float *pooled, int32_t *argmax, const float *x,
                                       const int32_t *offset, const int32_t *token, int32_t C)
{
    const int32_t c = (int32_t)(blockIdx.y * THREADS + threadIdx.x);
    const int32_t first = offset[blockIdx.x], last = offset[blockIdx.x + 1];
    if (c < C) {
        int32_t winner = token[first];
        float best = x[(int64_t)winner * C + c];
        for (int32_t t = first + 1; t < last; t++) {
            const float value = x[(int64_t)token[t] * C + c];
            if (value > best) {
                best = value;
                winner = token[t];
            }
        }
        pooled[(int64_t)blockIdx.x * C + c] = best;
        argmax[(int64_t)blockIdx.x * C + c] = winner;
    }
}

/* dx[argmax[r][c]][c] += dpooled[r][c] */
__global__ static void pool_max_backward_kernel(float *dx, const float *dpooled,
                                                const int32_t *argmax, int32_t R, int32_t C)
{
    const int32_t c = (int32_t)(blockIdx.x * THREADS + threadIdx.x);
    for (int32_t r = 0; c < C && r < R; r++) {
        const int64_t at = (int64_t)r * C + c;
        dx[(int64_t)argmax[at] * C + c] += dpooled[at];
    }
}

extern "C" void cuda_pool_mean_forward(struct device *device, real *pooled, const real *x,
                                       const int32_t *offset, const int32_t *token, int32_t R,
                                       int32_t C)
{
    if (R > 0 && C > 0) {
        const dim3 grid((unsigned)R, (unsigned)blocks_of(C, THREADS));
        LAUNCH(pool_mean_kernel, grid, THREADS, 0, device, pooled, x, offset, token, C);
    }
}

extern "C" void cuda_pool_max_forward(struct device *device, real *pooled, int32_t *argmax,
                                      const real *x, const int32_t *offset, const int32_t *token,
                                      int32_t R, int32_t C)
{
    if (R > 0 && C > 0) {
        const dim3 grid((unsigned)R, (unsigned)blocks_of(C, THREADS));
        LAUNCH(pool_max_kernel, grid, THREADS, 0, device, pooled, argmax, x, offset, token, C);
    }
}

extern "C" void cuda_pool_max_backward(struct device *device, real *dx, const real *dpooled,
                                       const int32_t *argmax, int32_t R, int32_t C)
{
    if (R > 0 && C > 0) {
        LAUNCH(pool_max_backward_kernel, blocks_of(C, THREADS), THREADS, 0, device, dx, dpooled,
               argmax, R, C);
    }
}
