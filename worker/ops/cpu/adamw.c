/* SPDX-License-Identifier: Apache-2.0
 *
 * adamw: the optimizer's step, and the norm that clips the gradient before it.
 *
 * The step is elementwise IEEE arithmetic in the reference's order: a plain loop, the same bits.
 * The squares are exact in double; within a block, element j goes into partial sum j mod 16 and the
 * partials are added by the tree of lane.h, then the blocks in order.
 */
#include <math.h>

#include "worker/ops/cpu/cpu.h"
#include "worker/ops/cpu/lane.h"
#include "worker/ops/cpu/ranges.h"

enum { BLOCKS_AT_A_TIME = 512 };

struct sumsq {
    const float *x;
    int64_t count;
    double *block_sum;
};

static double block_sumsq(const float *x, int64_t count)
{
    double partial[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        for (int j = 0; j < LANES; j++) {
            partial[j] += (double)x[i + j] * (double)x[i + j];
        }
    }
    for (int j = 0; i + j < count; j++) {
        partial[j] += (double)x[i + j] * (double)x[i + j];
    }
    for (int step = LANES / 2; step > 0; step /= 2) {
        for (int j = 0; j < step; j++) {
            partial[j] += partial[j + step];
        }
    }
    return partial[0];
}

static void sumsq_blocks(const void *op, int64_t begin, int64_t end)
{
    const struct sumsq *sumsq = op;
    for (int64_t b = begin; b < end; b++) {
        int64_t start = b * SUMSQ_BLOCK;
        int64_t left = sumsq->count - start;
        sumsq->block_sum[b] =
            block_sumsq(sumsq->x + start, left < SUMSQ_BLOCK ? left : SUMSQ_BLOCK);
    }
}

double OPS_FN(sumsq)(struct device *device, const float *x, size_t count)
{
    double total = 0.0, block_sum[BLOCKS_AT_A_TIME];
    const size_t stretch = (size_t)BLOCKS_AT_A_TIME * SUMSQ_BLOCK;
    for (size_t start = 0; start < count; start += stretch) {
        size_t left = count - start < stretch ? count - start : stretch;
        struct sumsq sumsq = {x + start, (int64_t)left, block_sum};
        int64_t blocks = (int64_t)(left + SUMSQ_BLOCK - 1) / SUMSQ_BLOCK;
        OPS_FN(for_ranges)(device, blocks, 1, SUMSQ_BLOCK, sumsq_blocks, &sumsq);
        for (int64_t b = 0; b < blocks; b++) {
            total += block_sum[b];
        }
    }
    return total;
}

struct adamw {
    float *w, *m, *v;
    const float *g;
    const struct adamw_step *step;
};

static void adamw_range(const void *op, int64_t begin, int64_t end)
{
    const struct adamw *adamw = op;
    const struct adamw_step step = *adamw->step;
    float *restrict w = adamw->w, *restrict m = adamw->m, *restrict v = adamw->v;
    const float *restrict g = adamw->g;
    const float rest1 = 1.0f - step.beta1, rest2 = 1.0f - step.beta2;
    const float keep = 1.0f - step.learning_rate * step.weight_decay;
    for (int64_t i = begin; i < end; i++) {
        float gradient = g[i] * step.gradient_scale;
        m[i] = step.beta1 * m[i] + rest1 * gradient;
        v[i] = step.beta2 * v[i] + rest2 * gradient * gradient;
        float mean = m[i] / step.correction1;
        float spread = sqrtf(v[i] / step.correction2) + step.epsilon;
        w[i] = w[i] * keep - step.learning_rate * mean / spread;
    }
}

void OPS_FN(adamw)(struct device *device, float *w, float *m, float *v, const float *g,
                   size_t count, const struct adamw_step *step)
{
    struct adamw adamw = {w, m, v, g, step};
    OPS_FN(for_ranges)(device, (int64_t)count, LANES, 7, adamw_range, &adamw);
}
