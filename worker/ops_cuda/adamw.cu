/* SPDX-License-Identifier: Apache-2.0
 *
 * adamw: the optimizer's step, and the norm that clips the gradient before it.
 *
 * The step is elementwise IEEE arithmetic in the reference's order, nothing fused: the reference's
 * bits. Bound by memory: it reads 16 bytes a weight and writes 12.
 *
 * The squares are exact in double. A thread block has a block of SUMSQ_BLOCK numbers: thread t
 * takes its quads t, t + THREADS, … in turn, then a tree over the threads by halving. The host adds
 * the blocks in order. So neither the machine nor the number of ranks changes a bit, and no number
 * is added that is not there: threads behind a short block's end bring zeros.
 */
#include "worker/ops_cuda/reduce.h"

enum { THREADS = 256, BLOCKS_AT_A_TIME = 1024 };

/* ---- sumsq ----------------------------------------------------------------------------------- */

__global__ static void sumsq_kernel(double *block_sum, const float *x, int64_t count, bool vector)
{
    __shared__ double sums[THREADS];
    const int64_t start = (int64_t)blockIdx.x * SUMSQ_BLOCK;
    const int32_t n = (int32_t)min(count - start, (int64_t)SUMSQ_BLOCK), t = (int32_t)threadIdx.x;
    double sum = 0.0;
    for (int32_t i = t * QUAD; i < n; i += THREADS * QUAD) {
        const float4 q = quad_load(x + start, i, n, vector && i + QUAD <= n);
        sum += (double)q.x * (double)q.x;
        sum += (double)q.y * (double)q.y;
        sum += (double)q.z * (double)q.z;
        sum += (double)q.w * (double)q.w;
    }
    sums[t] = sum;
    for (int32_t half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (t < half) {
            sums[t] += sums[t + half];
        }
    }
    if (t == 0) {
        block_sum[blockIdx.x] = sums[0];
    }
}

extern "C" size_t cuda_adamw_scratch(void)
{
    return cuda_scratch_piece(BLOCKS_AT_A_TIME * sizeof(double));
}

extern "C" double cuda_sumsq(struct device *device, const float *x, size_t count)
{
    double total = 0.0, on_host[BLOCKS_AT_A_TIME];
    const size_t stretch = (size_t)BLOCKS_AT_A_TIME * SUMSQ_BLOCK, mark = cuda_scratch_mark(device);
    double *block_sum = (double *)cuda_scratch_take(device, sizeof(on_host));
    for (size_t start = 0; start < count; start += stretch) {
        const size_t left = count - start < stretch ? count - start : stretch;
        const int32_t blocks = blocks_of((int64_t)left, SUMSQ_BLOCK);
        LAUNCH(sumsq_kernel, blocks, THREADS, 0, device, block_sum, x + start, (int64_t)left,
               quads_aligned(x, 0));
        cuda_copy_out(device, on_host, block_sum, (size_t)blocks * sizeof(double));
        for (int32_t b = 0; b < blocks; b++) {
            total += on_host[b];
        }
    }
    cuda_scratch_release(device, mark);
    return total;
}

/* ---- adamw ----------------------------------------------------------------------------------- */

struct adamw {
    float *w, *m, *v;
    const float *g;
    int64_t count;
    struct adamw_step step;
    bool vector;
};

__device__ static inline void adamw_move(float *w, float *m, float *v, float g,
                                         const struct adamw_step *step)
{
    const float gradient = g * step->gradient_scale;
    *m = step->beta1 * *m + (1.0f - step->beta1) * gradient;
    *v = step->beta2 * *v + (1.0f - step->beta2) * gradient * gradient;
    const float mean = *m / step->correction1;
    const float spread = sqrtf(*v / step->correction2) + step->epsilon;
    *w = *w * (1.0f - step->learning_rate * step->weight_decay) -
         step->learning_rate * mean / spread;
}

__global__ static void adamw_kernel(struct adamw a)
{
    const int64_t at = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * QUAD;
    if (at >= a.count) {
        return;
    }
    const int32_t n = (int32_t)min(a.count - at, (int64_t)QUAD);
    const bool whole = a.vector && n == QUAD;
    float4 w = quad_load(a.w + at, 0, n, whole), m = quad_load(a.m + at, 0, n, whole);
    float4 v = quad_load(a.v + at, 0, n, whole);
    const float4 g = quad_load(a.g + at, 0, n, whole);
    adamw_move(&w.x, &m.x, &v.x, g.x, &a.step);
    adamw_move(&w.y, &m.y, &v.y, g.y, &a.step);
    adamw_move(&w.z, &m.z, &v.z, g.z, &a.step);
    adamw_move(&w.w, &m.w, &v.w, g.w, &a.step);
    quad_store(a.w + at, w, 0, n, whole);
    quad_store(a.m + at, m, 0, n, whole);
    quad_store(a.v + at, v, 0, n, whole);
}

extern "C" void cuda_adamw(struct device *device, float *w, float *m, float *v, const float *g,
                           size_t count, const struct adamw_step *step)
{
    if (count > 0) {
        const bool vector = quads_aligned(w, 0) && quads_aligned(m, 0) && quads_aligned(v, 0) &&
                            quads_aligned(g, 0);
        const struct adamw adamw = {w, m, v, g, (int64_t)count, *step, vector};
        LAUNCH(adamw_kernel, blocks_of((int64_t)count, THREADS * QUAD), THREADS, 0, device, adamw);
    }
}
