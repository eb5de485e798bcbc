/* SPDX-License-Identifier: Apache-2.0
 *
 * schedule: the learning rate of each step, by Transformers' formulas (optimization.py,
 * get_*_schedule*). Step 0 of a warm-up has rate 0, as there.
 */
#ifndef TAILOR_WORKER_TRAINER_SCHEDULE_H
#define TAILOR_WORKER_TRAINER_SCHEDULE_H

#include <stdint.h>

enum schedule_kind {
    SCHEDULE_LINEAR,
    SCHEDULE_COSINE,
    SCHEDULE_COSINE_WITH_MIN_LR,
    SCHEDULE_CONSTANT,
    SCHEDULE_CONSTANT_WITH_WARMUP
};

struct schedule {
    enum schedule_kind kind;
    double peak;
    double min_rate; /* of the peak, cosine_with_min_lr */
    int64_t steps, warmup_steps;
};

/* ceil(ratio · steps), as Transformers rounds. */
int64_t schedule_warmup_steps(int64_t steps, double ratio);
double schedule_rate(const struct schedule *schedule, int64_t step);

#endif
