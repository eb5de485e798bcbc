/* SPDX-License-Identifier: Apache-2.0
 *
 * Order and normalised scores of a group, against the goldens' "normalise" entries.
 *
 * Where a raw score is negative the goldens follow the paper (a padded candidate) and we normalise
 * between the extremes (engine.md, Losses): there only the order is theirs.
 */
#include "lib/limits.h"
#include "tests/golden/golden.h"
#include "tests/test.h"

static void expect_entry(const json_t *entry)
{
    const json_t *raw = json_object_get(entry, "raw");
    const json_t *order = json_object_get(entry, "order");
    const json_t *scores = json_object_get(entry, "scores");
    float values[GROUP_RESPONSES_MAX], normalised[GROUP_RESPONSES_MAX];
    int32_t got[GROUP_RESPONSES_MAX];
    size_t count = json_array_size(raw);
    bool negative = false;
    REQUIRE(count > 0 && count <= GROUP_RESPONSES_MAX && json_array_size(scores) == count);
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)json_number_value(json_array_get(raw, i));
        negative |= values[i] < 0;
    }
    scores_normalise(values, (int32_t)count, got, normalised);
    for (size_t i = 0; i < count; i++) {
        EXPECT_I64(json_integer_value(json_array_get(order, i)), got[i]);
        if (!negative) {
            EXPECT_CLOSE(json_number_value(json_array_get(scores, i)), normalised[i], 2e-7);
        }
    }
}

TEST(orders_and_normalised_scores_are_the_goldens)
{
    json_t *losses = golden_load("losses.json");
    if (losses == NULL) {
        return;
    }
    const json_t *entries = json_object_get(losses, "normalise");
    EXPECT(json_array_size(entries) > 0);
    for (size_t i = 0; i < json_array_size(entries); i++) {
        expect_entry(json_array_get(entries, i));
    }
    json_decref(losses);
}

TEST(a_spread_over_zero_is_normalised_between_its_extremes)
{
    const float raw[4] = {-2, 6, 2, -2};
    const int32_t expected_order[4] = {1, 2, 3, 0};
    const double expected[4] = {1, 0.5, 0, 0};
    int32_t order[4];
    float normalised[4];
    scores_normalise(raw, 4, order, normalised);
    for (int i = 0; i < 4; i++) {
        EXPECT_I64(expected_order[i], order[i]);
        EXPECT_CLOSE(expected[i], normalised[i], 0);
    }
    const float equal[2] = {-1, -1};
    scores_normalise(equal, 2, order, normalised);
    EXPECT_I64(1, order[0]);
    EXPECT_CLOSE(0, normalised[0], 0);
    EXPECT_CLOSE(0, normalised[1], 0);
}

TEST_MAIN()
