/* SPDX-License-Identifier: Apache-2.0
 *
 * Losses of rewards alone: pairs with margin and centring, and whole groups, with every gradient.
 * The reference is float32, ours double: they differ by its rounding.
 */
#include <math.h>
#include <stdio.h>

#include "tests/golden/golden.h"
#include "tests/test.h"
#include "worker/model/loss.h"

static const struct golden_tolerance LOSS = {1e-6, 1e-9};
/* A gradient is a sum of pairs of both signs; e^−d of a large d loses |d| ulps in float32. */
static const struct golden_tolerance GRADIENT = {1e-5, 1e-7};

static float number_at(const json_t *list, size_t i)
{
    return (float)golden_number(json_array_get(list, i));
}

static void check_pairwise(const json_t *of, size_t c)
{
    const json_t *chosen = json_object_get(of, "chosen");
    const json_t *rejected = json_object_get(of, "rejected");
    const json_t *margin = json_object_get(of, "margin");
    double centre = golden_number(json_object_get(of, "center_rewards_coefficient"));
    size_t n = json_array_size(chosen);
    struct ranking_sums sums;
    ranking_sums_clear(&sums);
    for (size_t i = 0; i < n; i++) {
        float reward[2] = {number_at(chosen, i), number_at(rejected, i)}, gradient[2];
        struct data_row rows[2] = {
            {.score = 1, .margin = json_is_array(margin) ? number_at(margin, i) : 0}, {.score = 0}};
        ranking_loss(reward, rows, 2, 1.0 / (double)n, centre, gradient, &sums);
        golden_expect(golden_number(json_array_get(json_object_get(of, "grad_chosen"), i)),
                      gradient[0], GRADIENT, "pairwise %zu d chosen %zu", c, i);
        golden_expect(golden_number(json_array_get(json_object_get(of, "grad_rejected"), i)),
                      gradient[1], GRADIENT, "pairwise %zu d rejected %zu", c, i);
    }
    EXPECT_I64((int64_t)n, sums.pairs);
    golden_expect(golden_number(json_object_get(of, "loss")),
                  (sums.rank + sums.centring) / (double)sums.pairs, LOSS, "pairwise %zu loss", c);
}

TEST(pairwise_losses_with_margin_and_centring_are_the_reference_s)
{
    json_t *root = golden_load("losses.json");
    if (root == NULL)
        return;
    const json_t *cases = json_object_get(root, "pairwise");
    for (size_t c = 0; c < json_array_size(cases); c++)
        check_pairwise(json_array_get(cases, c), c);
    EXPECT(json_array_size(cases) > 0);
    json_decref(root);
}

/* The rows of a group that are there; place_out[i]: index of row i in the file. */
static int32_t present_rows(const json_t *rewards, const json_t *scores, float *reward_out,
                            struct data_row *rows_out, size_t *place_out)
{
    int32_t count = 0;
    for (size_t k = 0; k < json_array_size(rewards); k++) {
        if (number_at(scores, k) < 0)
            continue;
        rows_out[count] = (struct data_row){.score = number_at(scores, k)};
        reward_out[count] = number_at(rewards, k);
        place_out[count++] = k;
    }
    return count;
}

static void check_ranking(const json_t *of, size_t c)
{
    enum { K_MAX = 64 };
    const json_t *rewards = json_object_get(of, "rewards"), *grads = json_object_get(of, "grad");
    int64_t pairs = json_integer_value(json_object_get(of, "pairs"));
    struct ranking_sums sums;
    ranking_sums_clear(&sums);
    for (size_t g = 0; g < json_array_size(rewards); g++) {
        float reward[K_MAX], gradient[K_MAX];
        double expected[K_MAX] = {0};
        struct data_row rows[K_MAX];
        size_t place[K_MAX], K = json_array_size(json_array_get(rewards, g));
        REQUIRE(K <= K_MAX);
        int32_t count =
            present_rows(json_array_get(rewards, g),
                         json_array_get(json_object_get(of, "scores"), g), reward, rows, place);
        ranking_loss(reward, rows, count, pairs > 0 ? 1.0 / (double)pairs : 0, 0, gradient, &sums);
        for (size_t k = 0; k < K; k++)
            expected[k] = golden_number(json_array_get(json_array_get(grads, g), k));
        for (int32_t i = 0; i < count; i++) {
            golden_expect(expected[place[i]], gradient[i], GRADIENT,
                          "ranking %zu group %zu row %zu", c, g, place[i]);
            expected[place[i]] = 0;
        }
        for (size_t k = 0; k < K; k++) /* absent rows get none */
            EXPECT(expected[k] == 0);
    }
    EXPECT_I64(pairs, sums.pairs);
    golden_expect(golden_number(json_object_get(of, "loss")),
                  sums.pairs > 0 ? sums.rank / (double)sums.pairs : 0, LOSS, "ranking %zu loss", c);
}

TEST(ranking_losses_of_groups_are_the_reference_s)
{
    json_t *root = golden_load("losses.json");
    if (root == NULL)
        return;
    const json_t *cases = json_object_get(root, "ranking");
    for (size_t c = 0; c < json_array_size(cases); c++)
        check_ranking(json_array_get(cases, c), c);
    EXPECT(json_array_size(cases) > 0);
    json_decref(root);
}

TEST_MAIN()
