/* SPDX-License-Identifier: Apache-2.0
 *
 * pooling: from the hidden states of a row's tokens to one vector, and from it to a reward.
 *
 * Cut by strips of channels, each of which goes through all rows and tokens in order: tokens of a
 * shared prefix collect gradient from several rows, always in the order of the rows. Plain loops
 * but for the reward, whose sum over channels follows the numeric contract.
 */
#include <string.h>

#include "lib/check.h"
#include "worker/ops/cpu/cpu.h"
#include "worker/ops/cpu/lane.h"
#include "worker/ops/cpu/ranges.h"

enum { STRIP = 4 * LANES };

struct pooling {
    float *pooled; /* or dx, backward */
    int32_t *argmax;
    const float *x; /* or dpooled */
    const int32_t *offset, *token;
    int64_t R, C;
};

static void for_strips(struct device *device, const struct pooling *pooling, int64_t reads,
                       range_body *body)
{
    OPS_FN(for_ranges)(device, pooling->C, STRIP, reads + pooling->R, body, pooling);
}

static void mean_forward_strip(const void *op, int64_t begin, int64_t end)
{
    const struct pooling *pooling = op;
    for (int64_t r = 0; r < pooling->R; r++) {
        int32_t first = pooling->offset[r], last = pooling->offset[r + 1];
        float *mean = pooling->pooled + r * pooling->C + begin;
        memset(mean, 0, (size_t)(end - begin) * sizeof(float));
        for (int32_t t = first; t < last; t++) {
            add_floats(mean, pooling->x + pooling->token[t] * pooling->C + begin, end - begin);
        }
        const float tokens = (float)(last - first);
        for (int64_t c = 0; c < end - begin; c++) {
            mean[c] /= tokens;
        }
    }
}

void OPS_FN(pool_mean_forward)(struct device *device, real *pooled, const real *x,
                               const int32_t *offset, const int32_t *token, int32_t R, int32_t C)
{
    struct pooling pooling = {pooled, NULL, x, offset, token, R, C};
    for (int32_t r = 0; r < R; r++) {
        CHECK(offset[r] < offset[r + 1]);
    }
    for_strips(device, &pooling, offset[R] - offset[0], mean_forward_strip);
}

static void mean_backward_strip(const void *op, int64_t begin, int64_t end)
{
    const struct pooling *pooling = op;
    float share[STRIP];
    for (int64_t c0 = begin; c0 < end; c0 += STRIP) {
        int64_t width = end - c0 < STRIP ? end - c0 : STRIP;
        for (int64_t r = 0; r < pooling->R; r++) {
            int32_t first = pooling->offset[r], last = pooling->offset[r + 1];
            for (int64_t c = 0; c < width; c++) {
                share[c] = pooling->x[r * pooling->C + c0 + c] / (float)(last - first);
            }
            for (int32_t t = first; t < last; t++) {
                add_floats(pooling->pooled + pooling->token[t] * pooling->C + c0, share, width);
            }
        }
    }
}

void OPS_FN(pool_mean_backward)(struct device *device, real *dx, const real *dpooled,
                                const int32_t *offset, const int32_t *token, int32_t R, int32_t C)
{
    struct pooling pooling = {dx, NULL, dpooled, offset, token, R, C};
    for_strips(device, &pooling, 2 * (offset[R] - offset[0]), mean_backward_strip);
}

/* The first of equals: only a larger one takes the place. */
static void max_strip(float *restrict best, int32_t *restrict argmax, const float *restrict x,
                      int32_t token, int64_t width)
{
    for (int64_t c = 0; c < width; c++) {
        bool larger = x[c] > best[c];
        best[c] = larger ? x[c] : best[c];
        argmax[c] = larger ? token : argmax[c];
    }
}

static void max_forward_strip(const void *op, int64_t begin, int64_t end)
{
    const struct pooling *pooling = op;
    for (int64_t r = 0; r < pooling->R; r++) {
        int32_t first = pooling->offset[r], last = pooling->offset[r + 1];
        float *best = pooling->pooled + r * pooling->C + begin;
        int32_t *argmax = pooling->argmax + r * pooling->C + begin;
        int32_t token = pooling->token[first];
        for (int64_t c = 0; c < end - begin; c++) {
            best[c] = pooling->x[token * pooling->C + begin + c];
            argmax[c] = token;
        }
        for (int32_t t = first + 1; t < last; t++) {
            token = pooling->token[t];
            max_strip(best, argmax, pooling->x + token * pooling->C + begin, token, end - begin);
        }
    }
}

void OPS_FN(pool_max_forward)(struct device *device, real *pooled, int32_t *argmax, const real *x,
                              const int32_t *offset, const int32_t *token, int32_t R, int32_t C)
{
    struct pooling pooling = {pooled, argmax, x, offset, token, R, C};
    for (int32_t r = 0; r < R; r++) {
        CHECK(offset[r] < offset[r + 1]);
    }
    for_strips(device, &pooling, offset[R] - offset[0], max_forward_strip);
}

void OPS_FN(pool_max_backward)(struct device *device, real *dx, const real *dpooled,
                               const int32_t *argmax, int32_t R, int32_t C)
{
    (void)device;
    for (int64_t at = 0; at < (int64_t)R * C; at++) {
        dx[(int64_t)argmax[at] * C + at % C] += dpooled[at];
    }
}

void OPS_FN(reward_forward)(struct device *device, float *reward, const real *pooled,
                            const float *w, int32_t R, int32_t C)
{
    (void)device;
    for (int64_t r = 0; r < R; r++) {
        struct lanes sum = lanes_zero();
        for (int64_t c = 0; c < C; c += LANES) {
            sum = lanes_fma(lanes_load_some(pooled + r * C + c, C - c, 0.0f),
                            lanes_load_some(w + c, C - c, 0.0f), sum);
        }
        reward[r] = lanes_sum(sum);
    }
}

/* dw is a chain of fused multiply-adds over the rows, so that two packs give the bits of one. */
void OPS_FN(reward_backward)(struct device *device, real *dpooled, float *dw, const float *dreward,
                             const real *pooled, const float *w, int32_t R, int32_t C)
{
    (void)device;
    for (int64_t r = 0; r < R; r++) {
        const struct lanes d = lanes_set1(dreward[r]);
        for (int64_t c = 0; c < C; c += LANES) {
            struct lanes x = lanes_load_some(pooled + r * C + c, C - c, 0.0f);
            if (dw) {
                struct lanes old = lanes_load_some(dw + c, C - c, 0.0f);
                lanes_store_some(dw + c, C - c, lanes_fma(d, x, old));
            }
            struct lanes weight = lanes_load_some(w + c, C - c, 0.0f);
            lanes_store_some(dpooled + r * C + c, C - c, lanes_mul(d, weight));
        }
    }
}
