/* SPDX-License-Identifier: Apache-2.0
 *
 * Section D: the learning rate of every step of every schedule. The file has 12 digits.
 */
#include <string.h>

#include "tests/golden/golden.h"
#include "tests/test.h"
#include "worker/trainer/schedule.h"

static const struct golden_tolerance RATE = {1e-11, 1e-12};

static const struct {
    const char *name; /* as the file calls it */
    enum schedule_kind kind;
    double min_rate;
} SCHEDULES[] = {
    {"linear", SCHEDULE_LINEAR, 0},
    {"cosine", SCHEDULE_COSINE, 0},
    {"cosine_with_min_lr(0.1)", SCHEDULE_COSINE_WITH_MIN_LR, 0.1},
    {"cosine_with_min_lr(0.25)", SCHEDULE_COSINE_WITH_MIN_LR, 0.25},
    {"constant", SCHEDULE_CONSTANT, 0},
    {"constant_with_warmup", SCHEDULE_CONSTANT_WITH_WARMUP, 0},
};

TEST(every_schedule_has_the_reference_s_rate_at_every_step)
{
    json_t *root = golden_load("schedules.json");
    if (root == NULL)
        return;
    const json_t *rates = json_object_get(root, "lr_used_at_step");
    size_t known = sizeof(SCHEDULES) / sizeof(SCHEDULES[0]);
    EXPECT_I64((int64_t)known, (int64_t)json_object_size(rates));
    for (size_t s = 0; s < known; s++) {
        const json_t *expected = json_object_get(rates, SCHEDULES[s].name);
        struct schedule schedule = {.kind = SCHEDULES[s].kind,
                                    .peak = golden_number(json_object_get(root, "peak_lr")),
                                    .min_rate = SCHEDULES[s].min_rate,
                                    .steps = json_integer_value(json_object_get(root, "steps")),
                                    .warmup_steps =
                                        json_integer_value(json_object_get(root, "warmup"))};
        EXPECT_I64(schedule.steps, (int64_t)json_array_size(expected));
        for (size_t step = 0; step < json_array_size(expected); step++)
            golden_expect(golden_number(json_array_get(expected, step)),
                          schedule_rate(&schedule, (int64_t)step), RATE, "%s at step %zu",
                          SCHEDULES[s].name, step);
    }
    json_decref(root);
}

TEST_MAIN()
