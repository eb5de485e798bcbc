/* SPDX-License-Identifier: Apache-2.0
 *
 * attention: every token looks at itself and at what stands before it in its row.
 *
 * The row of a token is spread over the pack: its ancestors' segments, then its own (layout.h). For
 * each query we list these keys in logical order and then compute as if the row stood alone. The
 * bits of a row therefore do not depend on what else is in the pack.
 *
 * H query heads share G key/value heads: query head h reads head h / (H / G).
 */
#include <math.h>
#include <string.h>

#include "lib/check.h"
#include "worker/ops/ref/ref.h"

/* Lists the packed indices that token `i` attends to, in logical order, itself last. Filled from
 * the back: from the token up to the root. Returns their number. */
static int32_t list_keys(int32_t *keys, const struct layout *layout, int32_t i)
{
    CHECK(i >= 0 && i < layout->tokens);
    const int32_t count = layout->position[i] + 1;
    CHECK(count <= layout->row_tokens_max);
    int32_t at = count;
    int32_t last = i;
    for (int32_t s = layout->segment_of[i]; s >= 0; s = layout->segments[s].parent) {
        const struct segment *segment = &layout->segments[s];
        if (s != layout->segment_of[i]) {
            last = segment->start + segment->length - 1;
        }
        for (int32_t token = last; token >= segment->start; token--) {
            keys[--at] = token;
        }
    }
    CHECK(at == 0);
    return count;
}

static float dot(const float *a, const float *b, int32_t D)
{
    float sum = 0.0f;
    for (int32_t d = 0; d < D; d++) {
        sum += a[d] * b[d];
    }
    return sum;
}

/* One head of one query. s_j = scale·q·k_j;  p = softmax(s);  o = Σ_j p_j·v_j;  lse = log Σ_j exp
 * s_j. The maximum is taken out first, so exp cannot overflow. Returns lse. */
static float attend(float *o, float *p, const float *q, const float *k, const float *v,
                    int32_t ldkv, const int32_t *keys, int32_t key_count, int32_t D, float scale)
{
    float max = -INFINITY;
    for (int32_t j = 0; j < key_count; j++) {
        p[j] = scale * dot(q, k + (size_t)keys[j] * ldkv, D);
        max = fmaxf(max, p[j]);
    }
    float sum = 0.0f;
    for (int32_t j = 0; j < key_count; j++) {
        p[j] = expf(p[j] - max);
        sum += p[j];
    }
    memset(o, 0, (size_t)D * sizeof(*o));
    for (int32_t j = 0; j < key_count; j++) {
        const float *v_j = v + (size_t)keys[j] * ldkv;
        for (int32_t d = 0; d < D; d++) {
            o[d] += p[j] / sum * v_j[d];
        }
    }
    return max + logf(sum);
}

/* The same head's gradients, added to dq, dk and dv. With p_j = exp(s_j − lse) and Δ = do·o:
 *   dv_j += p_j·do;  ds_j = p_j·(do·v_j − Δ)·scale;  dq += ds_j·k_j;  dk_j += ds_j·q */
static void attend_backward(float *dq, float *dk, float *dv, int32_t lddkv, const float *d_o,
                            const float *o, float lse, const float *q, const float *k,
                            const float *v, int32_t ldkv, const int32_t *keys, int32_t key_count,
                            int32_t D, float scale)
{
    const float delta = dot(d_o, o, D);
    for (int32_t j = 0; j < key_count; j++) {
        const float *k_j = k + (size_t)keys[j] * ldkv;
        const float *v_j = v + (size_t)keys[j] * ldkv;
        float *dk_j = dk + (size_t)keys[j] * lddkv;
        float *dv_j = dv + (size_t)keys[j] * lddkv;
        float p = expf(scale * dot(q, k_j, D) - lse);
        float ds = p * (dot(d_o, v_j, D) - delta) * scale;
        for (int32_t d = 0; d < D; d++) {
            dv_j[d] += p * d_o[d];
            dq[d] += ds * k_j[d];
            dk_j[d] += ds * q[d];
        }
    }
}

void ref_attention_forward(struct device *device, real *o, float *lse, const real *q, int32_t ldq,
                           const real *k, const real *v, int32_t ldkv, const struct layout *layout,
                           const int32_t *queries, int32_t query_count,
                           const struct attention_shape *shape)
{
    const int32_t H = shape->H, G = shape->G, D = shape->D;
    CHECK(H % G == 0 && ldq >= H * D && ldkv >= G * D);
    CHECK(queries || query_count == layout->tokens);
    const size_t row = (size_t)layout->row_tokens_max;
    int32_t *keys = ref_scratch(device, row * (sizeof(int32_t) + sizeof(float)));
    float *p = (float *)(keys + row);
    for (int32_t i = 0; i < query_count; i++) {
        int32_t key_count = list_keys(keys, layout, queries ? queries[i] : i);
        for (int32_t h = 0; h < H; h++) {
            size_t head = (size_t)i * H + h;
            size_t kv_head = (size_t)(h / (H / G)) * D;
            lse[head] = attend(o + head * D, p, q + (size_t)i * ldq + (size_t)h * D, k + kv_head,
                               v + kv_head, ldkv, keys, key_count, D, shape->scale);
        }
    }
}

void ref_attention_backward(struct device *device, real *dq, int32_t lddq, real *dk, real *dv,
                            int32_t lddkv, const real *d_o, const real *o, const float *lse,
                            const real *q, int32_t ldq, const real *k, const real *v, int32_t ldkv,
                            const struct layout *layout, const int32_t *queries,
                            int32_t query_count, const struct attention_shape *shape)
{
    const int32_t H = shape->H, G = shape->G, D = shape->D;
    CHECK(H % G == 0 && lddq >= H * D && lddkv >= G * D && ldq >= H * D && ldkv >= G * D);
    CHECK(queries || query_count == layout->tokens);
    int32_t *keys = ref_scratch(device, (size_t)layout->row_tokens_max * sizeof(int32_t));
    for (int32_t i = 0; i < layout->tokens; i++) {
        memset(dk + (size_t)i * lddkv, 0, (size_t)G * D * sizeof(*dk));
        memset(dv + (size_t)i * lddkv, 0, (size_t)G * D * sizeof(*dv));
    }
    for (int32_t i = 0; i < query_count; i++) {
        memset(dq + (size_t)i * lddq, 0, (size_t)H * D * sizeof(*dq));
        int32_t key_count = list_keys(keys, layout, queries ? queries[i] : i);
        for (int32_t h = 0; h < H; h++) {
            size_t head = (size_t)i * H + h;
            size_t kv_head = (size_t)(h / (H / G)) * D;
            attend_backward(dq + (size_t)i * lddq + (size_t)h * D, dk + kv_head, dv + kv_head,
                            lddkv, d_o + head * D, o + head * D, lse[head],
                            q + (size_t)i * ldq + (size_t)h * D, k + kv_head, v + kv_head, ldkv,
                            keys, key_count, D, shape->scale);
        }
    }
}
