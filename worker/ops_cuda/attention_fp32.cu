/* SPDX-License-Identifier: Apache-2.0
 *
 * attention_fp32: a warp for each query of a head, and for each key of a key/value head.
 *
 * Forward and dq: a warp takes the row's keys 32 at a time, cut at logical positions: lane l has
 * key 32·t + l, finds where that lies by walking from the query's segment up to the one that holds
 * the position, and computes its score. What is summed over keys therefore has an order that
 * depends on the logical row alone.
 *
 * dk and dv: the queries that see key i are the tokens from i to the end of its segment and of all
 * segments below, in depth-first order one run of tokens. A warp takes them 32 at a time, in order,
 * each with all query heads of the group. Nothing is added by two warps, so there are no atomics.
 *
 * Products of 32 scores and D channels are done by handing the scores around the warp. It is right
 * rather than fast: fp32 on a GPU is for comparing; tiles on the tensor cores are what trains.
 */
#include "worker/ops_cuda/attention.h"

enum { WARPS = 4, THREADS = WARPS * WARP, CHANNELS = ATTENTION_D_MAX_FP32 / WARP };

/* A warp's copy of D numbers in shared memory. */
__device__ static inline void keep(float *shared, const float *from, int32_t D)
{
    for (int32_t d = (int32_t)threadIdx.x % WARP; d < D; d += WARP) {
        shared[d] = from[d];
    }
    __syncwarp();
}

__device__ static inline float dot(const float *shared, const float *row, int32_t D)
{
    float sum = 0.0f;
    for (int32_t d = 0; d < D; d++) {
        sum = fmaf(shared[d], row[d], sum);
    }
    return sum;
}

/* sum[d] += Σ_j p_j · row_j[d], where p_j and row_j are lane j's, j < count; lanes have channels.
 */
__device__ static inline void add_weighted(float sum[CHANNELS], float p, const float *rows,
                                           int64_t row, int32_t count, int32_t D)
{
    for (int32_t j = 0; j < count; j++) {
        const float weight = __shfl_sync(FULL_WARP, p, j);
        const float *from = rows + __shfl_sync(FULL_WARP, row, j);
#pragma unroll
        for (int32_t n = 0; n < CHANNELS; n++) {
            const int32_t d = n * WARP + (int32_t)threadIdx.x % WARP;
            if (d < D) {
                sum[n] = fmaf(weight, from[d], sum[n]);
            }
        }
    }
}

__device__ static inline void put(float *to, const float sum[CHANNELS], float by, int32_t D)
{
#pragma unroll
    for (int32_t n = 0; n < CHANNELS; n++) {
        const int32_t d = n * WARP + (int32_t)threadIdx.x % WARP;
        if (d < D) {
            to[d] = sum[n] * by;
        }
    }
}

/* o = Σ_j p_j v_j / Σ_j p_j,  lse = max + log Σ_j p_j,  with p_j = exp(s_j − max) and max the
 * largest score so far: what was summed under a smaller one is scaled down. */
__global__ static void forward_kernel(float *o, float *lse, struct attention of)
{
    __shared__ float shared[WARPS][ATTENTION_D_MAX_FP32];
    const int32_t warp = (int32_t)threadIdx.x / WARP, lane = (int32_t)threadIdx.x % WARP;
    const int64_t head = (int64_t)blockIdx.x * WARPS + warp;
    const int32_t i = (int32_t)(head / of.H), h = (int32_t)(head % of.H);
    if (i >= of.query_count) {
        return; /* the whole warp */
    }
    const int32_t token = token_of(&of, i);
    const int32_t keys = of.layout.position[token] + 1, leaf = of.layout.segment_of[token];
    const int64_t kv_head = (int64_t)(h / (of.H / of.G)) * of.D;
    keep(shared[warp], of.q + (int64_t)i * of.ldq + (int64_t)h * of.D, of.D);
    float sum[CHANNELS] = {0}, max = -INFINITY, total = 0.0f;
    for (int32_t base = 0; base < keys; base += WARP) {
        const bool own = base + lane < keys;
        int64_t row = 0;
        float s = -INFINITY;
        if (own) {
            row = token_at(of.layout.segments, leaf, base + lane) * (int64_t)of.ldkv + kv_head;
            s = of.scale * dot(shared[warp], of.k + row, of.D);
        }
        const float most = fmaxf(max, warp_max(s)), shrink = expf(max - most);
        const float p = own ? expf(s - most) : 0.0f;
        total = total * shrink + warp_sum(p);
        max = most;
        for (int32_t n = 0; n < CHANNELS; n++) {
            sum[n] *= shrink;
        }
        add_weighted(sum, p, of.v, row, keys - base < WARP ? keys - base : WARP, of.D);
    }
    put(o + head * of.D, sum, 1.0f / total, of.D);
    if (lane == 0) {
        lse[head] = max + logf(total);
    }
}

/* dq = Σ_j ds_j k_j,  ds_j = p_j·(do·v_j − Δ)·scale,  p_j = exp(s_j − lse) */
__global__ static void queries_kernel(struct attention_gradient to, struct attention of)
{
    __shared__ float shared[WARPS][2][ATTENTION_D_MAX_FP32];
    const int32_t warp = (int32_t)threadIdx.x / WARP, lane = (int32_t)threadIdx.x % WARP;
    const int64_t head = (int64_t)blockIdx.x * WARPS + warp;
    const int32_t i = (int32_t)(head / of.H), h = (int32_t)(head % of.H);
    if (i >= of.query_count) {
        return;
    }
    const int32_t token = token_of(&of, i);
    const int32_t keys = of.layout.position[token] + 1, leaf = of.layout.segment_of[token];
    const int64_t kv_head = (int64_t)(h / (of.H / of.G)) * of.D;
    keep(shared[warp][0], of.q + (int64_t)i * of.ldq + (int64_t)h * of.D, of.D);
    keep(shared[warp][1], to.d_o + head * of.D, of.D);
    float sum[CHANNELS] = {0};
    for (int32_t base = 0; base < keys; base += WARP) {
        int64_t row = 0;
        float ds = 0.0f;
        if (base + lane < keys) {
            row = token_at(of.layout.segments, leaf, base + lane) * (int64_t)of.ldkv + kv_head;
            const float s = of.scale * dot(shared[warp][0], of.k + row, of.D);
            const float dp = dot(shared[warp][1], of.v + row, of.D);
            ds = expf(s - to.lse[head]) * (dp - to.delta[head]) * of.scale;
        }
        add_weighted(sum, ds, of.k, row, keys - base < WARP ? keys - base : WARP, of.D);
    }
    put(to.dq + (int64_t)i * to.lddq + (int64_t)h * of.D, sum, 1.0f, of.D);
}

/* dv = Σ p·do,  dk = Σ ds·q  over the queries that see the key, and the heads that read it */
__global__ static void keys_kernel(struct attention_gradient to, struct attention of)
{
    __shared__ float shared[WARPS][2][ATTENTION_D_MAX_FP32];
    const int32_t warp = (int32_t)threadIdx.x / WARP, lane = (int32_t)threadIdx.x % WARP;
    const int64_t place = (int64_t)blockIdx.x * WARPS + warp;
    const int32_t i = (int32_t)(place / of.G), g = (int32_t)(place % of.G);
    if (i >= of.layout.tokens) {
        return;
    }
    const int64_t row = (int64_t)i * of.ldkv + (int64_t)g * of.D;
    keep(shared[warp][0], of.k + row, of.D);
    keep(shared[warp][1], of.v + row, of.D);
    const int32_t end = query_from(&of, subtree_end(&of.layout, of.layout.segment_of[i]));
    const int32_t group = of.H / of.G;
    float sum_k[CHANNELS] = {0}, sum_v[CHANNELS] = {0};
    for (int32_t base = query_from(&of, i); base < end; base += WARP) {
        const int32_t count = end - base < WARP ? end - base : WARP;
        for (int32_t h = g * group; h < (g + 1) * group; h++) {
            int64_t row_q = 0, row_o = 0;
            float p = 0.0f, ds = 0.0f;
            if (lane < count) {
                const int64_t head = (int64_t)(base + lane) * of.H + h;
                row_q = (int64_t)(base + lane) * of.ldq + (int64_t)h * of.D;
                row_o = head * of.D;
                p = expf(of.scale * dot(shared[warp][0], of.q + row_q, of.D) - to.lse[head]);
                ds = p * (dot(shared[warp][1], to.d_o + row_o, of.D) - to.delta[head]) * of.scale;
            }
            add_weighted(sum_v, p, to.d_o, row_o, count, of.D);
            add_weighted(sum_k, ds, of.q, row_q, count, of.D);
        }
    }
    put(to.dk + (int64_t)i * to.lddkv + (int64_t)g * of.D, sum_k, 1.0f, of.D);
    put(to.dv + (int64_t)i * to.lddkv + (int64_t)g * of.D, sum_v, 1.0f, of.D);
}

void attention_forward_fp32(struct device *device, const struct attention *of, float *o, float *lse)
{
    LAUNCH(forward_kernel, blocks_of((int64_t)of->query_count * of->H, WARPS), THREADS, 0, device,
           o, lse, *of);
}

void attention_backward_fp32(struct device *device, const struct attention *of,
                             const struct attention_gradient *gradient)
{
    const int64_t heads = (int64_t)of->query_count * of->H,
                  keys = (int64_t)of->layout.tokens * of->G;
    if (heads > 0) {
        LAUNCH(queries_kernel, blocks_of(heads, WARPS), THREADS, 0, device, *gradient, *of);
    }
    LAUNCH(keys_kernel, blocks_of(keys, WARPS), THREADS, 0, device, *gradient, *of);
}
