/* SPDX-License-Identifier: Apache-2.0
 *
 * cross_entropy: how surprised the model is by the token that came, −log softmax(z)[target].
 *
 * The logits z of one entry are computed, used for loss and gradient, and forgotten: the (count, V)
 * matrix never exists.
 */
#include <math.h>
#include <string.h>

#include "lib/check.h"
#include "worker/ops/ref/ref.h"

/* z = x wᵀ */
REF_FMA static void logits(float *z, const float *x, const float *w, int32_t C, int32_t V)
{
    for (int32_t v = 0; v < V; v++) {
        float sum = 0.0f;
        for (int32_t c = 0; c < C; c++) {
            sum = fmaf(x[c], w[(size_t)v * C + c], sum);
        }
        z[v] = sum;
    }
}

/* log Σ_v exp z[v], with the maximum taken out so that exp cannot overflow. Summed in double: in a
 * chain of floats the many small terms of a large vocabulary are rounded away one by one, and the
 * probabilities then add up to 1 + 1e-4. */
static float log_sum_exp(const float *z, int32_t V)
{
    float max = -INFINITY;
    for (int32_t v = 0; v < V; v++) {
        max = fmaxf(max, z[v]);
    }
    double sum = 0.0;
    for (int32_t v = 0; v < V; v++) {
        sum += (double)expf(z[v] - max);
    }
    return max + logf((float)sum);
}

/* dx += g w, where `sum` (C) holds the sum over v: in double for the reason above, since the
 * target's part is as large as all others together;  dw += gᵀ x */
REF_FMA static void logits_backward(float *dx, float *dw, double *sum, const float *g,
                                    const float *x, const float *w, int32_t C, int32_t V)
{
    memset(sum, 0, (size_t)C * sizeof(*sum));
    for (int32_t v = 0; v < V; v++) {
        for (int32_t c = 0; c < C; c++) {
            sum[c] += (double)g[v] * w[(size_t)v * C + c];
            if (dw) {
                dw[(size_t)v * C + c] = fmaf(g[v], x[c], dw[(size_t)v * C + c]);
            }
        }
    }
    for (int32_t c = 0; c < C; c++) {
        dx[c] += (float)sum[c];
    }
}

void ref_cross_entropy(struct device *device, float *nll, real *dx, float *dw, const real *x,
                       const real *w, const int32_t *index, const int32_t *target,
                       const float *weight, int32_t count, int32_t C, int32_t V)
{
    CHECK(dx || !dw);
    double *sum = ref_scratch(device, (size_t)C * sizeof(double) + (size_t)V * sizeof(float));
    float *z = (float *)(sum + C);
    for (int32_t i = 0; i < count; i++) {
        CHECK(target[i] >= 0 && target[i] < V);
        const float *x_row = x + (size_t)index[i] * C;
        logits(z, x_row, w, C, V);
        float lse = log_sum_exp(z, V);
        nll[i] = lse - z[target[i]];
        if (!dx) {
            continue;
        }
        /* g = weight·(softmax(z) − onehot(target)), in the place of z */
        for (int32_t v = 0; v < V; v++) {
            float probability = expf(z[v] - lse);
            z[v] = weight[i] * (probability - (v == target[i] ? 1.0f : 0.0f));
        }
        logits_backward(dx + (size_t)index[i] * C, dw, sum, z, x_row, w, C, V);
    }
}
