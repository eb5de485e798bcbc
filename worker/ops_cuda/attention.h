/* SPDX-License-Identifier: Apache-2.0
 *
 * attention: what its kernels share: the problem, and where a row's tokens lie (layout.h).
 *
 *   attention.cu                 the ops: checks, Δ, and which kernels
 *   attention_fp32.cu            a warp for each query or key, fused multiply-adds
 *   attention_bf16_*.cu          tiles on the tensor cores, heads of up to ATTENTION_D_MAX channels
 */
#ifndef TAILOR_WORKER_OPS_CUDA_ATTENTION_H
#define TAILOR_WORKER_OPS_CUDA_ATTENTION_H

#include "worker/ops_cuda/launch.h"
#include "worker/ops_cuda/reduce.h"

enum { ATTENTION_D_MAX = 128, ATTENTION_D_MAX_FP32 = 256 };

/* Of one call, by value to its kernels. */
struct attention {
    struct layout layout;
    const int32_t *queries; /* NULL: token i is query i */
    int32_t query_count, H, G, D, ldq, ldkv;
    float scale;
    const float *q, *k, *v;
};

struct attention_gradient {
    float *dq, *dk, *dv;
    int32_t lddq, lddkv;
    const float *d_o, *lse;
    const float *delta; /* (query_count, H) do·o */
};

void attention_forward_fp32(struct device *device, const struct attention *of, float *o,
                            float *lse);
void attention_backward_fp32(struct device *device, const struct attention *of,
                             const struct attention_gradient *gradient);
void attention_forward_bf16(struct device *device, const struct attention *of, float *o,
                            float *lse);
void attention_backward_bf16(struct device *device, const struct attention *of,
                             const struct attention_gradient *gradient);

/* Where logical position `at` of a row lies whose leaf is `segment`, or lies below it. */
__device__ static inline int32_t token_at(const struct segment *segments, int32_t segment,
                                          int32_t at)
{
    while (segments[segment].position0 > at) {
        segment = segments[segment].parent;
    }
    return segments[segment].start + at - segments[segment].position0;
}

/* The first token behind the segment's subtree. In depth-first order segments s + 1, … are below s
 * as long as their parent is not before s. */
__device__ static inline int32_t subtree_end(const struct layout *layout, int32_t segment)
{
    int32_t next = segment + 1;
    while (next < layout->segment_count && layout->segments[next].parent >= segment) {
        next++;
    }
    return next < layout->segment_count ? layout->segments[next].start : layout->tokens;
}

__device__ static inline int32_t token_of(const struct attention *of, int32_t query)
{
    return of->queries != NULL ? of->queries[query] : query;
}

/* The first query that is not before `token`: queries ascend. */
__device__ static inline int32_t query_from(const struct attention *of, int32_t token)
{
    int32_t low = 0, high = of->query_count;
    if (of->queries == NULL) {
        return token;
    }
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (of->queries[middle] < token) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

#endif
