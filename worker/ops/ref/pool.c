/* SPDX-License-Identifier: Apache-2.0
 *
 * pool: from the hidden states of a row's tokens to one vector, and from the vector to a reward.
 *
 * The tokens of row r are token[offset[r]] … token[offset[r + 1] − 1], in logical order. Tokens of
 * a shared prefix stand in several rows' lists and collect gradient from each.
 */
#include <string.h>

#include "lib/check.h"
#include "worker/ops/ref/ref.h"

/* pooled[r] = (Σ_t x[token[t]]) / count */
void ref_pool_mean_forward(struct device *device, real *pooled, const real *x,
                           const int32_t *offset, const int32_t *token, int32_t R, int32_t C)
{
    for (int32_t r = 0; r < R; r++) {
        CHECK(offset[r] < offset[r + 1]);
        float *mean = pooled + (size_t)r * C;
        memset(mean, 0, (size_t)C * sizeof(*mean));
        for (int32_t t = offset[r]; t < offset[r + 1]; t++) {
            ref_add(device, mean, x + (size_t)token[t] * C, (size_t)C);
        }
        for (int32_t c = 0; c < C; c++) {
            mean[c] /= (float)(offset[r + 1] - offset[r]);
        }
    }
}

/* dx[token[t]] += dpooled[r] / count */
void ref_pool_mean_backward(struct device *device, real *dx, const real *dpooled,
                            const int32_t *offset, const int32_t *token, int32_t R, int32_t C)
{
    (void)device;
    for (int32_t r = 0; r < R; r++) {
        for (int32_t t = offset[r]; t < offset[r + 1]; t++) {
            for (int32_t c = 0; c < C; c++) {
                dx[(size_t)token[t] * C + c] +=
                    dpooled[(size_t)r * C + c] / (float)(offset[r + 1] - offset[r]);
            }
        }
    }
}

/* pooled[r][c] = max_t x[token[t]][c];  argmax[r][c] = the first token that has it */
void ref_pool_max_forward(struct device *device, real *pooled, int32_t *argmax, const real *x,
                          const int32_t *offset, const int32_t *token, int32_t R, int32_t C)
{
    (void)device;
    for (int32_t r = 0; r < R; r++) {
        CHECK(offset[r] < offset[r + 1]);
        for (int32_t c = 0; c < C; c++) {
            int32_t best = token[offset[r]];
            for (int32_t t = offset[r] + 1; t < offset[r + 1]; t++) {
                if (x[(size_t)token[t] * C + c] > x[(size_t)best * C + c]) {
                    best = token[t];
                }
            }
            pooled[(size_t)r * C + c] = x[(size_t)best * C + c];
            argmax[(size_t)r * C + c] = best;
        }
    }
}

/* Only the winner moves the maximum: dx[argmax[r][c]][c] += dpooled[r][c] */
void ref_pool_max_backward(struct device *device, real *dx, const real *dpooled,
                           const int32_t *argmax, int32_t R, int32_t C)
{
    (void)device;
    for (int32_t r = 0; r < R; r++) {
        for (int32_t c = 0; c < C; c++) {
            size_t at = (size_t)r * C + c;
            dx[(size_t)argmax[at] * C + c] += dpooled[at];
        }
    }
}

/* reward[r] = Σ_c pooled[r][c]·w[c] */
void ref_reward_forward(struct device *device, float *reward, const real *pooled, const float *w,
                        int32_t R, int32_t C)
{
    (void)device;
    for (int32_t r = 0; r < R; r++) {
        float sum = 0.0f;
        for (int32_t c = 0; c < C; c++) {
            sum += pooled[(size_t)r * C + c] * w[c];
        }
        reward[r] = sum;
    }
}

/* dpooled[r][c] = dreward[r]·w[c];  dw[c] += Σ_r dreward[r]·pooled[r][c] */
void ref_reward_backward(struct device *device, real *dpooled, float *dw, const float *dreward,
                         const real *pooled, const float *w, int32_t R, int32_t C)
{
    (void)device;
    for (int32_t r = 0; r < R; r++) {
        for (int32_t c = 0; c < C; c++) {
            dpooled[(size_t)r * C + c] = dreward[r] * w[c];
            if (dw) {
                dw[c] += dreward[r] * pooled[(size_t)r * C + c];
            }
        }
    }
}
