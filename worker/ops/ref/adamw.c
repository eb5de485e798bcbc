/* SPDX-License-Identifier: Apache-2.0
 *
 * adamw: the optimizer's step, and the norm that clips the gradient before it.
 */
#include <math.h>

#include "worker/ops/ref/ref.h"

/* Σ x², in double, block by block: a total of block sums. */
double ref_sumsq(struct device *device, const float *x, size_t count)
{
    (void)device;
    double total = 0.0;
    for (size_t start = 0; start < count; start += SUMSQ_BLOCK) {
        size_t end = count - start < SUMSQ_BLOCK ? count : start + SUMSQ_BLOCK;
        double sum = 0.0;
        for (size_t i = start; i < end; i++) {
            sum += (double)x[i] * (double)x[i];
        }
        total += sum;
    }
    return total;
}

/* m and v are running means of the gradient and of its square. Both begin at zero; the corrections
 * undo that bias. The weight decays apart from the gradient (the W of AdamW). */
void ref_adamw(struct device *device, float *w, float *m, float *v, const float *g, size_t count,
               const struct adamw_step *step)
{
    (void)device;
    for (size_t i = 0; i < count; i++) {
        float gradient = g[i] * step->gradient_scale;
        m[i] = step->beta1 * m[i] + (1.0f - step->beta1) * gradient;
        v[i] = step->beta2 * v[i] + (1.0f - step->beta2) * gradient * gradient;
        float mean = m[i] / step->correction1;
        float spread = sqrtf(v[i] / step->correction2) + step->epsilon;
        w[i] *= 1.0f - step->learning_rate * step->weight_decay;
        w[i] -= step->learning_rate * mean / spread;
    }
}
