/* SPDX-License-Identifier: Apache-2.0
 *
 * attention: every token looks at itself and at what stands before it in its row (layout.h).
 *
 * The ops: what they are asked is checked, Δ = do·o is computed for the backward pass, and the
 * kernels of the dtype do the rest.
 */
#include "worker/ops_cuda/attention.h"
#include "worker/ops_cuda/mma.h"

enum { WARPS = 4, THREADS = WARPS * WARP };

/* Δ = do·o of each query and head. Where the other products take a rounded do, so does this: Δ is
 * the mean of do·v under p, and what is left of their difference must not be the rounding. */
__global__ static void delta_kernel(float *delta, const float *d_o, const float *o, int64_t heads,
                                    int32_t D, bool rounded)
{
    const int64_t head = (int64_t)blockIdx.x * WARPS + threadIdx.x / WARP;
    if (head >= heads) {
        return; /* the whole warp */
    }
    float sum = 0.0f;
    for (int32_t d = (int32_t)threadIdx.x % WARP; d < D; d += WARP) {
        const float gradient = d_o[head * D + d];
        sum += (rounded ? bf16_round(gradient) : gradient) * o[head * D + d];
    }
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0) {
        delta[head] = sum;
    }
}

static struct attention attention_of(const real *q, int32_t ldq, const real *k, const real *v,
                                     int32_t ldkv, const struct layout *layout,
                                     const int32_t *queries, int32_t query_count,
                                     const struct attention_shape *shape)
{
    const int32_t H = shape->H, G = shape->G, D = shape->D;
    CHECK(H % G == 0 && D <= ATTENTION_D_MAX_FP32 && ldq >= H * D && ldkv >= G * D);
    CHECK(queries != NULL || query_count == layout->tokens);
    const struct attention of = {*layout, queries, query_count,  H, G, D,
                                 ldq,     ldkv,    shape->scale, q, k, v};
    return of;
}

static bool on_tensor_cores(const struct device *device, const struct attention *of)
{
    return device->dtype == DTYPE_BF16 && of->D <= ATTENTION_D_MAX;
}

extern "C" void cuda_attention_forward(struct device *device, real *o, float *lse, const real *q,
                                       int32_t ldq, const real *k, const real *v, int32_t ldkv,
                                       const struct layout *layout, const int32_t *queries,
                                       int32_t query_count, const struct attention_shape *shape)
{
    const struct attention of =
        attention_of(q, ldq, k, v, ldkv, layout, queries, query_count, shape);
    if (query_count == 0) {
        return;
    }
    if (on_tensor_cores(device, &of)) {
        attention_forward_bf16(device, &of, o, lse);
    } else {
        attention_forward_fp32(device, &of, o, lse);
    }
}

extern "C" size_t cuda_attention_scratch(const struct scratch_shape *shape)
{
    const size_t heads = size_mul((size_t)shape->S, (size_t)shape->H);
    return shape->backward ? cuda_scratch_piece(size_mul(heads, sizeof(float))) : 0;
}

extern "C" void cuda_attention_backward(struct device *device, real *dq, int32_t lddq, real *dk,
                                        real *dv, int32_t lddkv, const real *d_o, const real *o,
                                        const float *lse, const real *q, int32_t ldq, const real *k,
                                        const real *v, int32_t ldkv, const struct layout *layout,
                                        const int32_t *queries, int32_t query_count,
                                        const struct attention_shape *shape)
{
    const struct attention of =
        attention_of(q, ldq, k, v, ldkv, layout, queries, query_count, shape);
    const int64_t heads = (int64_t)query_count * of.H;
    const size_t mark = cuda_scratch_mark(device);
    float *delta = (float *)cuda_scratch_take(device, size_mul((size_t)heads, sizeof(float)));
    const struct attention_gradient gradient = {dq, dk, dv, lddq, lddkv, d_o, lse, delta};
    CHECK(lddq >= of.H * of.D && lddkv >= of.G * of.D);
    if (heads > 0) {
        LAUNCH(delta_kernel, blocks_of(heads, WARPS), THREADS, 0, device, delta, d_o, o, heads,
               of.D, on_tensor_cores(device, &of));
    }
    if (layout->tokens > 0) {
        if (on_tensor_cores(device, &of)) {
            attention_backward_bf16(device, &of, &gradient);
        } else {
            attention_backward_fp32(device, &of, &gradient);
        }
    }
    cuda_scratch_release(device, mark);
}
