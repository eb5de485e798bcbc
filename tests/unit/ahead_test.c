/* SPDX-License-Identifier: Apache-2.0
 *
 * ahead: what a thread prepares is what the step would have prepared itself, in any order of takes.
 */
#include <string.h>

#include "lib/arena.h"
#include "tests/data_fixture.h"
#include "tests/test.h"
#include "worker/model/model.h"
#include "worker/trainer/ahead.h"

enum { GROUPS = 23, BATCH = 5, SLICES = 4, STEPS = 9 };

struct bench {
    struct fixture_data data;
    struct dataset *parts[MIX_PARTS];
    struct sampler sampler;
    struct model model;
    struct loss_config loss;
    struct stepper stepper;
};

/* Pairs of differing lengths; capacity makes several packs a slice. */
static void bench_open(struct bench *b)
{
    struct buf text = {0};
    for (int g = 0; g < GROUPS; g++) {
        buf_printf(
            &text,
            "{\"prompt\": \"question %d%.*s\", \"chosen\": \"yes %d\", \"rejected\": \"no\"}\n", g,
            g % 7, " about", g);
    }
    *b = (struct bench){.data = fixture_text(text.data),
                        .loss = {.lm_loss_coeff = 0.1, .lm_score_thresh = 0.8}};
    buf_release(&text);
    CHECK(b->data.dataset != NULL && b->data.dataset->group_count == GROUPS);
    b->parts[MIX_OWN] = b->data.dataset;
    sampler_init(&b->sampler, b->data.dataset, NULL, 0, MIX_BY_PAIRS, BATCH, 1, STEPS, 3);
    b->stepper = (struct stepper){.model = &b->model,
                                  .loss = &b->loss,
                                  .pooling = POOLING_LAST_TOKEN,
                                  .slices = SLICES,
                                  .capacity_tokens = 64,
                                  .mode = PACK_SHARED};
}

static void expect_same_pack(const struct batch_pack *a, const struct batch_pack *b)
{
    EXPECT_I64(a->count, b->count);
    EXPECT_I64(a->pack.row_count, b->pack.row_count);
    EXPECT_I64(a->pack.layout.tokens, b->pack.layout.tokens);
    if (test_failed()) {
        return;
    }
    EXPECT_BYTES(a->which, b->which, sizeof(*a->which) * (size_t)a->count);
    EXPECT_BYTES(a->pack.ids, b->pack.ids, sizeof(int32_t) * (size_t)a->pack.layout.tokens);
    EXPECT_I64(a->reading.R, b->reading.R);
    EXPECT_I64(a->reading.lm_count, b->reading.lm_count);
}

static void expect_taken(const struct bench *b, struct ahead *ahead, int64_t step)
{
    struct portion own;
    const struct portion *taken = ahead_take(ahead, step);
    portion_sample(&own, &b->stepper, &b->sampler, b->parts, step);
    EXPECT_I64(step, taken->step);
    EXPECT_I64(own.batch.count, taken->batch.count);
    EXPECT_I64(own.batch.pairs, taken->batch.pairs);
    EXPECT_CLOSE(own.epoch, taken->epoch, 0.0);
    for (int32_t i = 0; i < own.batch.count && !test_failed(); i++) {
        EXPECT_I64(own.batch.groups[i].group, taken->batch.groups[i].group);
    }
    for (int32_t slice = 0; slice < SLICES && !test_failed(); slice++) {
        EXPECT_I64(own.batch.packs[slice], taken->batch.packs[slice]);
        for (int32_t i = 0; i < own.batch.packs[slice] && !test_failed(); i++) {
            expect_same_pack(&own.packs[slice][i], &taken->packs[slice][i]);
        }
    }
    portion_release(&own);
}

TEST(what_is_prepared_ahead_is_what_the_step_would_have_prepared)
{
    struct bench b;
    struct ahead *ahead;
    bench_open(&b);
    REQUIRE(ahead_open(&b.stepper, &b.sampler, b.parts, &ahead, NULL) == STATUS_OK);
    for (int64_t step = 0; step < STEPS && !test_failed(); step++) {
        expect_taken(&b, ahead, step);
    }
    ahead_close(ahead);
    fixture_close(&b.data);
}

TEST(a_run_that_resumes_anywhere_takes_the_same)
{
    static const int64_t steps[] = {6, 7, 2, 2, 8, 0};
    struct bench b;
    struct ahead *ahead;
    bench_open(&b);
    REQUIRE(ahead_open(&b.stepper, &b.sampler, b.parts, &ahead, NULL) == STATUS_OK);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && !test_failed(); i++) {
        expect_taken(&b, ahead, steps[i]);
    }
    ahead_close(ahead);
    fixture_close(&b.data);
}

TEST(it_may_be_closed_before_anything_was_taken_and_while_it_builds)
{
    struct bench b;
    struct ahead *ahead;
    bench_open(&b);
    REQUIRE(ahead_open(&b.stepper, &b.sampler, b.parts, &ahead, NULL) == STATUS_OK);
    ahead_close(ahead);
    for (int64_t step = 0; step < STEPS - 1; step++) {
        REQUIRE(ahead_open(&b.stepper, &b.sampler, b.parts, &ahead, NULL) == STATUS_OK);
        EXPECT_I64(step, ahead_take(ahead, step)->step); /* the next is begun */
        ahead_close(ahead);
    }
    fixture_close(&b.data);
}

TEST_MAIN()
