/* SPDX-License-Identifier: Apache-2.0
 *
 * swiglu: the gate of the feed-forward layer. A thread has four neighbouring columns of a row, of
 * the gate and of what it gates: it reads all of both before it writes, so dgate_up may be gate_up.
 * Bound by memory: forward 12 bytes a number of h, backward 20, or 24 with h.
 */
#include "worker/ops_cuda/reduce.h"

enum { THREADS = 128 };

/* 1 / (1 + exp(−g)); where exp overflows it is 0 */
__device__ static inline float4 quad_sigmoid(float4 g)
{
    return make_float4(1.0f / (1.0f + expf(-g.x)), 1.0f / (1.0f + expf(-g.y)),
                       1.0f / (1.0f + expf(-g.z)), 1.0f / (1.0f + expf(-g.w)));
}

/* h = g·σ(g)·u */
__global__ static void swiglu_forward_kernel(float *h, const float *gate_up, int32_t F, bool vector)
{
    const int32_t f = (int32_t)(blockIdx.y * THREADS + threadIdx.x) * QUAD;
    if (f >= F) {
        return;
    }
    const float *gate = gate_up + (int64_t)blockIdx.x * 2 * F;
    const float4 g = quad_load(gate, f, F, vector), u = quad_load(gate + F, f, F, vector);
    quad_store(h + (int64_t)blockIdx.x * F, quad_mul(quad_mul(g, quad_sigmoid(g)), u), f, F,
               vector);
}

/* dg = dh·u·σ·(1 + g·(1 − σ));  du = dh·g·σ */
__global__ static void swiglu_backward_kernel(float *dgate_up, float *h, const float *dh,
                                              const float *gate_up, int32_t F, bool vector)
{
    const int32_t f = (int32_t)(blockIdx.y * THREADS + threadIdx.x) * QUAD;
    if (f >= F) {
        return;
    }
    const float *gate = gate_up + (int64_t)blockIdx.x * 2 * F;
    float *dgate = dgate_up + (int64_t)blockIdx.x * 2 * F;
    const float4 g = quad_load(gate, f, F, vector), u = quad_load(gate + F, f, F, vector);
    const float4 d = quad_load(dh + (int64_t)blockIdx.x * F, f, F, vector);
    const float4 sigmoid = quad_sigmoid(g);
    const float4 bend =
        make_float4(1.0f + g.x * (1.0f - sigmoid.x), 1.0f + g.y * (1.0f - sigmoid.y),
                    1.0f + g.z * (1.0f - sigmoid.z), 1.0f + g.w * (1.0f - sigmoid.w));
    if (h) {
        quad_store(h + (int64_t)blockIdx.x * F, quad_mul(quad_mul(g, sigmoid), u), f, F, vector);
    }
    quad_store(dgate, quad_mul(quad_mul(quad_mul(d, u), sigmoid), bend), f, F, vector);
    quad_store(dgate + F, quad_mul(quad_mul(d, g), sigmoid), f, F, vector);
}

static dim3 grid_of(int32_t rows, int32_t F)
{
    return dim3((unsigned)rows, (unsigned)blocks_of(F, THREADS * QUAD));
}

extern "C" void cuda_swiglu_forward(struct device *device, real *h, const real *gate_up,
                                    int32_t rows, int32_t F)
{
    if (rows > 0 && F > 0) {
        const bool vector = quads_aligned(h, F) && quads_aligned(gate_up, F);
        LAUNCH(swiglu_forward_kernel, grid_of(rows, F), THREADS, 0, device, h, gate_up, F, vector);
    }
}

extern "C" void cuda_swiglu_backward(struct device *device, real *dgate_up, real *h, const real *dh,
                                     const real *gate_up, int32_t rows, int32_t F)
{
    if (rows > 0 && F > 0) {
        const bool vector = quads_aligned(dgate_up, F) && quads_aligned(h, F) &&
                            quads_aligned(dh, F) && quads_aligned(gate_up, F);
        LAUNCH(swiglu_backward_kernel, grid_of(rows, F), THREADS, 0, device, dgate_up, h, dh,
               gate_up, F, vector);
    }
}
