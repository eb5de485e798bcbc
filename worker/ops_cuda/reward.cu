/* SPDX-License-Identifier: Apache-2.0
 *
 * reward: the head, from a row's vector to its reward. A block of fixed size has a row, so a
 * reward's sum has an order that C alone decides (reduce.h).
 *
 * Backward, a thread has one channel of all rows: dw is a chain of fused multiply-adds over them.
 */
#include "worker/ops_cuda/reduce.h"

enum { THREADS = 128 };

/* reward[r] = Σ_c pooled[r][c]·w[c] */
__global__ static void reward_kernel(float *reward, const float *pooled, const float *w, int32_t C,
                                     bool vector)
{
    __shared__ float shared[WARP];
    const float *row = pooled + (int64_t)blockIdx.x * C;
    float sum = 0.0f;
    for (int32_t c = (int32_t)threadIdx.x * QUAD; c < C; c += THREADS * QUAD) {
        sum = quad_dot(quad_load(row, c, C, vector), quad_load(w, c, C, vector), sum);
    }
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) {
        reward[blockIdx.x] = sum;
    }
}

extern "C" void cuda_reward_forward(struct device *device, float *reward, const real *pooled,
                                    const float *w, int32_t R, int32_t C)
{
    if (R > 0) {
        const bool vector = quads_aligned(pooled, C) && quads_aligned(w, C);
        LAUNCH(reward_kernel, R, THREADS, 0, device, reward, pooled, w, C, vector);
    }
}

/* dpooled[r][c] = dreward[r]·w[c];  dw[c] += Σ_r dreward[r]·pooled[r][c] */
__global__ static void reward_backward_kernel(float *dpooled, float *dw, const float *dreward,
                                              const float *pooled, const float *w, int32_t R,
                                              int32_t C)
{
    const int32_t c = (int32_t)(blockIdx.x * THREADS + threadIdx.x);
    if (c >= C) {
        return;
    }
    float sum = dw ? dw[c] : 0.0f;
    for (int32_t r = 0; r < R; r++) {
        sum = fmaf(dreward[r], pooled[(int64_t)r * C + c], sum);
        dpooled[(int64_t)r * C + c] = dreward[r] * w[c];
    }
    if (dw) {
        dw[c] = sum;
    }
}

extern "C" void cuda_reward_backward(struct device *device, real *dpooled, float *dw,
                                     const float *dreward, const real *pooled, const float *w,
                                     int32_t R, int32_t C)
{
    if (R > 0 && C > 0) {
        LAUNCH(reward_backward_kernel, blocks_of(C, THREADS), THREADS, 0, device, dpooled, dw,
               dreward, pooled, w, R, C);
    }
}
