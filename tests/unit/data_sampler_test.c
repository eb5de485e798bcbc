/* SPDX-License-Identifier: Apache-2.0
 *
 * sampler: how long a run is, and that every epoch takes every group once.
 */
#include <string.h>

#include "tests/test.h"
#include "worker/data/sampler.h"

enum { GROUPS = 5, BATCH = 2 };

static struct sampler sampler_of(double epochs, int64_t max_steps)
{
    static const struct dataset own = {.group_count = GROUPS, .pair_count = GROUPS};
    struct sampler sampler;
    sampler_init(&sampler, &own, NULL, 0, MIX_BY_PAIRS, BATCH, epochs, max_steps, 7);
    return sampler;
}

TEST(epochs_say_how_many_steps_there_are_and_the_last_one_may_be_short)
{
    struct sampler sampler = sampler_of(1, 0);
    struct sample samples[BATCH];
    EXPECT_I64(3, sampler.steps);
    EXPECT_I64(2, sampler_batch(&sampler, 0, samples));
    EXPECT_I64(1, sampler_batch(&sampler, 2, samples));
}

TEST(max_steps_wins_over_epochs_whether_it_is_less_or_more)
{
    EXPECT_I64(1, sampler_of(1, 1).steps);
    EXPECT_I64(10, sampler_of(1, 10).steps);
}

TEST(every_epoch_takes_every_group_once_also_beyond_the_epochs_that_were_asked_for)
{
    struct sampler sampler = sampler_of(1, 10);
    int taken[GROUPS] = {0};
    for (int64_t step = 0; step < sampler.steps; step++) {
        struct sample samples[BATCH];
        int64_t count = sampler_batch(&sampler, step, samples);
        EXPECT_I64(BATCH, count);
        for (int64_t i = 0; i < count; i++) {
            int64_t place = step * BATCH + i;
            EXPECT_I64(place / GROUPS, taken[samples[i].group]);
            taken[samples[i].group]++;
        }
    }
}

TEST_MAIN()
