/* SPDX-License-Identifier: Apache-2.0
 *
 * figures: hand-made sets whose figures can be counted on fingers, and simulations whose truth is
 * known. The reference's numbers are in tests/golden/metrics_golden_test.c.
 */
#include <math.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/rng.h"
#include "tests/test.h"
#include "worker/trainer/figures.h"

/* A set of `groups` groups of K rows with scores K-1 … 0. */
struct set {
    struct arena arena;
    struct dataset dataset;
    struct data_group *groups;
    struct data_row *rows;
    float *reward;
};

static void set_create(struct set *set, int64_t groups, int32_t K)
{
    *set = (struct set){0};
    set->groups = arena_array(&set->arena, struct data_group, groups + 1);
    set->rows = arena_array(&set->arena, struct data_row, groups * K + 1);
    set->reward = arena_array(&set->arena, float, groups *K + 1);
    for (int64_t g = 0; g < groups; g++)
        set->groups[g] = (struct data_group){.row0 = g * K, .rows = K};
    for (int64_t row = 0; row < groups * K; row++)
        set->rows[row] = (struct data_row){.score = (float)(K - 1 - row % K), .tokens = 10};
    set->dataset = (struct dataset){
        .group_count = groups, .row_count = groups * K, .groups = set->groups, .rows = set->rows};
}

static struct figures figures_of(const struct set *set)
{
    struct figures figures;
    figures_compute(&set->dataset, set->reward, 0.95, 7, &figures);
    return figures;
}

/* scores 2 1 0, rewards 3 1 1; scores 1 0, rewards -1 1; scores 0.5 0.5: no pair. */
static void set_by_hand(struct set *set)
{
    static const float scores[] = {2, 1, 0, 1, 0, 0.5f, 0.5f};
    static const float rewards[] = {3, 1, 1, -1, 1, 0, 2};
    static const int32_t tokens[] = {30, 10, 10, 20, 25, 11, 12};
    set_create(set, 3, 3);
    set->dataset.row_count = 7;
    for (int i = 0; i < 7; i++) {
        set->rows[i] = (struct data_row){.score = scores[i], .tokens = tokens[i]};
        set->reward[i] = rewards[i];
    }
    set->groups[1] = (struct data_group){.row0 = 3, .rows = 2};
    set->groups[2] = (struct data_group){.row0 = 5, .rows = 2};
}

TEST(a_set_by_hand_has_the_figures_that_one_counts)
{
    struct set set;
    set_by_hand(&set);
    struct figures f = figures_of(&set);
    /* differences: 2 2 0 | -2 */
    EXPECT_I64(3, f.groups);
    EXPECT_I64(7, f.rows);
    EXPECT_I64(4, f.pairs);
    EXPECT_I64(2, f.correct);
    EXPECT_I64(1, f.ties);
    EXPECT_CLOSE(0.5, f.accuracy, 0);
    EXPECT_CLOSE(0.5, f.margin, 0);
    double p = 1 / (1 + exp(-2)), q = 1 - p;
    EXPECT_CLOSE((2 * q * q + 0.25 + p * p) / 4, f.brier, 1e-15);
    EXPECT_CLOSE((-2 * log(p) + log(2) - log(q)) / 4, f.nll, 1e-15);
    /* |1/2 − 0|·1/4 in the bin of the tie, |p − 2/3|·3/4 in the other */
    EXPECT_CLOSE(0.125 + 0.75 * fabs(p - 2.0 / 3), f.ece, 1e-15);
    EXPECT_I64(1, f.bins[7].count);
    EXPECT_I64(3, f.bins[13].count);
    EXPECT_CLOSE(2.0 / 3, f.bins[13].correct, 1e-15);
    EXPECT_CLOSE(p, f.bins[13].confidence, 1e-15);
    /* best rows 3 and -1 against 1 1 1: three of six */
    EXPECT_CLOSE(0.5, f.auc, 0);
    EXPECT_CLOSE(2.0 / 3, f.longer_preferred, 1e-15); /* of the 3 pairs that differ in length */
    EXPECT_CLOSE(1, f.reward_mean, 1e-15);
    EXPECT_CLOSE(-1, f.reward_min, 0);
    EXPECT_CLOSE(3, f.reward_max, 0);
    EXPECT_CLOSE(sqrt(10.0 / 7), f.reward_deviation, 1e-15);
    /* both orders of four pairs: 2+2+1+0 right; first two: 2 right of (0,1) twice */
    EXPECT_CLOSE(5.0 / 8, f.paper_total_accuracy, 0);
    EXPECT_CLOSE(0.5, f.paper_first_two_accuracy, 0);
    EXPECT(f.accuracy_interval.low >= 0 && f.accuracy_interval.high <= 2.0 / 3 + 1e-15);
    arena_release(&set.arena);
}

TEST(the_curve_tells_the_best_rows_from_all_others)
{
    struct set set;
    set_create(&set, 1, 3);
    set.reward[0] = 2; /* the middle row is below the worst: no matter to the AUC */
    set.reward[2] = 1;
    EXPECT_CLOSE(1, figures_of(&set).auc, 0);
    EXPECT_CLOSE(2.0 / 3, figures_of(&set).accuracy, 1e-15);
    arena_release(&set.arena);
}

TEST(a_set_without_a_pair_has_no_figures_but_those_of_its_rewards)
{
    struct set set;
    set_create(&set, 4, 2);
    for (int i = 0; i < 8; i++) {
        set.rows[i].score = 1;
        set.reward[i] = (float)i;
    }
    struct figures f = figures_of(&set);
    EXPECT_I64(0, f.pairs);
    EXPECT(isnan(f.accuracy) && isnan(f.accuracy_interval.low) && isnan(f.margin));
    EXPECT(isnan(f.brier) && isnan(f.nll) && isnan(f.ece) && isnan(f.temperature) && isnan(f.auc));
    EXPECT(isnan(f.paper_total_accuracy) && isnan(f.longer_preferred));
    EXPECT_CLOSE(3.5, f.reward_mean, 0);
    EXPECT(isnan(f.length_correlation)); /* all rows are equally long */
    set.dataset.group_count = set.dataset.row_count = 0;
    f = figures_of(&set);
    EXPECT(isnan(f.reward_mean) && isnan(f.reward_min) && isnan(f.accuracy));
    struct figures_difference d;
    figures_compare(&set.dataset, set.reward, set.reward, 0.95, 7, &d);
    EXPECT(isnan(d.accuracy) && isnan(d.interval.low));
    arena_release(&set.arena);
}

TEST(negative_scores_of_a_dataset_are_scores)
{
    struct set set, shifted;
    set_by_hand(&set);
    set_by_hand(&shifted);
    for (int i = 0; i < 7; i++)
        shifted.rows[i].score -= 8;
    struct figures a = figures_of(&set), b = figures_of(&shifted);
    EXPECT_BYTES(&a, &b, sizeof(a));
    arena_release(&set.arena);
    arena_release(&shifted.arena);
}

TEST(rewards_that_follow_length_are_found)
{
    struct set set;
    set_create(&set, 100, 2);
    for (int i = 0; i < 200; i++) {
        set.rows[i].tokens = (int32_t)rng_below(1, 2, (uint64_t)i, 400);
        set.reward[i] = 0.5f * (float)set.rows[i].tokens - 3;
    }
    EXPECT_CLOSE(1, figures_of(&set).length_correlation, 1e-12);
    for (int i = 0; i < 200; i++)
        set.reward[i] = (float)-set.rows[i].tokens;
    EXPECT_CLOSE(-1, figures_of(&set).length_correlation, 1e-12);
    arena_release(&set.arena);
}

TEST(the_temperature_of_overconfident_rewards_is_recovered)
{
    enum { N = 20000 };
    struct arena arena = {0};
    double *d = arena_array(&arena, double, N), nll;
    for (uint64_t i = 0; i < N; i++) {
        double logit = rng_normal(3, 1, i);
        bool right = rng_uniform(3, 2, i) < 1 / (1 + exp(-fabs(logit)));
        d[i] = 2.5 * (right ? fabs(logit) : -fabs(logit)); /* its truth is d / 2.5 */
    }
    EXPECT_CLOSE(2.5, figures_temperature(d, N, &nll), 0.15);
    double at_one = 0, nearby = 0, T = figures_temperature(d, N, &nll);
    for (int i = 0; i < N; i++) {
        at_one += log1p(exp(-d[i])) / N;
        nearby += log1p(exp(-d[i] / (T * 1.01))) / N;
    }
    EXPECT(nll < at_one && nll < nearby);
    arena_release(&arena);
}

/* Groups of four rows that are all right with `probability`, else all wrong: the six pairs of a
 * group stand and fall together. */
static void set_simulate(struct set *set, double probability, uint64_t seed)
{
    for (int64_t g = 0; g < set->dataset.group_count; g++) {
        float sign = rng_uniform(seed, 11, (uint64_t)g) < probability ? -1 : 1;
        for (int32_t k = 0; k < 4; k++)
            set->reward[4 * g + k] = sign * (float)k;
    }
}

TEST(an_interval_covers_the_truth_as_often_as_it_says)
{
    enum { TRIALS = 400, GROUPS = 80 };
    struct set set;
    set_create(&set, GROUPS, 4);
    int covered = 0, covered_less = 0;
    double width = 0;
    for (uint64_t trial = 0; trial < TRIALS; trial++) {
        struct figures f;
        set_simulate(&set, 0.7, 1000 + trial);
        figures_compute(&set.dataset, set.reward, 0.95, trial, &f);
        covered += f.accuracy_interval.low <= 0.7 && 0.7 <= f.accuracy_interval.high;
        width += (f.accuracy_interval.high - f.accuracy_interval.low) / TRIALS;
        figures_compute(&set.dataset, set.reward, 0.8, trial, &f);
        covered_less += f.accuracy_interval.low <= 0.7 && 0.7 <= f.accuracy_interval.high;
    }
    EXPECT_CLOSE(0.95, (double)covered / TRIALS, 0.035);
    EXPECT_CLOSE(0.8, (double)covered_less / TRIALS, 0.06);
    /* 2 · 1.96 · sqrt(p q / groups); pairs as the unit would give 0.41 of it */
    EXPECT_CLOSE(2 * 1.96 * sqrt(0.7 * 0.3 / GROUPS), width, 0.02);
    arena_release(&set.arena);
}

TEST(a_seed_gives_the_same_interval_to_the_bit)
{
    struct set set;
    set_create(&set, 80, 4);
    set_simulate(&set, 0.7, 5);
    struct figures a = figures_of(&set), b = figures_of(&set), c;
    EXPECT_BYTES(&a.accuracy_interval, &b.accuracy_interval, sizeof(a.accuracy_interval));
    figures_compute(&set.dataset, set.reward, 0.95, 8, &c);
    EXPECT(memcmp(&a.accuracy_interval, &c.accuracy_interval, sizeof(c.accuracy_interval)) != 0);
    EXPECT(a.accuracy_interval.low < a.accuracy && a.accuracy < a.accuracy_interval.high);
    EXPECT_CLOSE(a.accuracy_interval.low, c.accuracy_interval.low, 0.03);
    arena_release(&set.arena);
}

TEST(a_difference_is_paired_over_the_same_groups)
{
    enum { GROUPS = 400 };
    struct set set;
    set_create(&set, GROUPS, 4);
    set_simulate(&set, 0.7, 21);
    struct figures before = figures_of(&set);
    struct figures_difference d;
    figures_compare(&set.dataset, set.reward, set.reward, 0.95, 7, &d);
    EXPECT_CLOSE(0, d.accuracy, 0);
    EXPECT_CLOSE(0, d.interval.low, 0);
    EXPECT_CLOSE(0, d.interval.high, 0);
    EXPECT_I64(0, d.gained + d.lost);

    /* the first 20 wrong groups become right, the first 4 right ones wrong */
    float *after = arena_array(&set.arena, float, GROUPS * 4);
    int gained = 0, lost = 0;
    memcpy(after, set.reward, sizeof(float) * GROUPS * 4);
    for (int g = 0; g < GROUPS; g++) {
        bool right = set.reward[4 * g] > set.reward[4 * g + 1];
        bool change = right ? lost < 4 : gained < 20;
        lost += right && change;
        gained += !right && change;
        for (int k = 0; k < 4 && change; k++)
            after[4 * g + k] = -set.reward[4 * g + k];
    }
    figures_compare(&set.dataset, set.reward, after, 0.95, 7, &d);
    EXPECT_I64(20 * 6, d.gained);
    EXPECT_I64(4 * 6, d.lost);
    EXPECT_CLOSE(16.0 / GROUPS, d.accuracy, 1e-15);
    EXPECT(d.interval.low > 0 && d.interval.high < 0.08);
    /* Unpaired, the interval would be that of one model, and 0 would be in it. */
    double unpaired = before.accuracy_interval.high - before.accuracy_interval.low;
    EXPECT(d.interval.high - d.interval.low < 0.6 * unpaired);
    struct figures_difference back;
    figures_compare(&set.dataset, after, set.reward, 0.95, 7, &back);
    EXPECT_CLOSE(-d.accuracy, back.accuracy, 0);
    EXPECT_CLOSE(-d.interval.high, back.interval.low, 1e-12);
    arena_release(&set.arena);
}

TEST(json_says_infinity_and_nothing)
{
    struct set set;
    set_create(&set, 2, 2);
    for (int i = 0; i < 4; i++)
        set.reward[i] = (float)i; /* every pair is wrong */
    struct figures f = figures_of(&set);
    json_t *json = figures_json(&f);
    EXPECT_STR("inf", json_string_value(json_object_get(json, "temperature")));
    EXPECT(json_is_null(json_object_get(json, "nll_at_temperature")));
    EXPECT_CLOSE(0, json_real_value(json_object_get(json, "accuracy")), 0);
    EXPECT_I64(2, (int64_t)json_array_size(json_object_get(json, "accuracy_interval")));
    EXPECT_I64(FIGURES_BINS, (int64_t)json_array_size(json_object_get(json, "bins")));
    json_decref(json);
    for (int i = 0; i < 4; i++)
        set.reward[i] = (float)-i;
    f = figures_of(&set);
    EXPECT_CLOSE(0, f.temperature, 0);
    struct figures_difference d = {.accuracy = NAN, .interval = {-INFINITY, NAN}, .lost = 3};
    json = figures_difference_json(&d);
    EXPECT(json_is_null(json_object_get(json, "accuracy")));
    EXPECT_STR("-inf", json_string_value(json_array_get(json_object_get(json, "interval"), 0)));
    EXPECT_I64(3, json_integer_value(json_object_get(json, "lost")));
    json_decref(json);
    arena_release(&set.arena);
}

TEST_MAIN()
