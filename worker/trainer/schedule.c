/* SPDX-License-Identifier: Apache-2.0
 *
 * A pure function of the step: nothing to save, nothing to resume.
 */
#include "worker/trainer/schedule.h"

#include <math.h>

int64_t schedule_warmup_steps(int64_t steps, double ratio)
{
    return (int64_t)ceil((double)steps * ratio);
}

static double at_least_one(int64_t n)
{
    return n > 1 ? (double)n : 1;
}

/* Part of the peak at `step`. */
static double factor(const struct schedule *s, int64_t step)
{
    if (s->kind == SCHEDULE_CONSTANT) {
        return 1;
    }
    if (step < s->warmup_steps) {
        return (double)step / at_least_one(s->warmup_steps);
    }
    if (s->kind == SCHEDULE_CONSTANT_WITH_WARMUP) {
        return 1;
    }
    double rest = at_least_one(s->steps - s->warmup_steps);
    if (s->kind == SCHEDULE_LINEAR) {
        return fmax(0, (double)(s->steps - step) / rest);
    }
    /* half a cosine from 1 to 0 */
    double progress = (double)(step - s->warmup_steps) / rest;
    double cosine = 0.5 * (1 + cos(acos(-1.0) * progress));
    if (s->kind == SCHEDULE_COSINE_WITH_MIN_LR) {
        cosine = cosine * (1 - s->min_rate) + s->min_rate;
    }
    return fmax(0, cosine);
}

double schedule_rate(const struct schedule *schedule, int64_t step)
{
    return schedule->peak * factor(schedule, step);
}
