/* SPDX-License-Identifier: Apache-2.0
 *
 * Section G: every figure of an evaluation. Both sides compute in double from the same doubles, so
 * only the order of a sum differs.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/golden/golden.h"
#include "tests/test.h"
#include "worker/trainer/figures.h"

static const struct golden_tolerance EXACT = {1e-12, 1e-15};
static const struct golden_tolerance SEARCHED = {1e-9, 0}; /* both sides bisect a derivative */

/* null is NaN on our side. */
static void expect(const json_t *of, const char *key, double got, struct golden_tolerance tolerance,
                   const char *name)
{
    const json_t *value = json_object_get(of, key);
    if (value == NULL)
        test_fail(__FILE__, __LINE__, "%s: the file has no %s", name, key);
    else if (json_is_null(value) && !isnan(got))
        test_fail(__FILE__, __LINE__, "%s %s: expected NaN, got %.17g", name, key, got);
    else if (!json_is_null(value))
        golden_expect(golden_number(value), got, tolerance, "%s %s", name, key);
}

static double *doubles(struct arena *arena, const json_t *list)
{
    size_t n = json_array_size(list);
    double *values = arena_array(arena, double, n + 1);
    for (size_t i = 0; i < n; i++)
        values[i] = golden_number(json_array_get(list, i));
    return values;
}

static double sigmoid(double d)
{
    return d >= 0 ? 1 / (1 + exp(-d)) : exp(d) / (1 + exp(d));
}

static void check_calibration(struct arena *arena, const json_t *of, const double *difference,
                              int64_t n, const char *name)
{
    static const int32_t counts[] = {10, 15};
    double *probability = arena_array(arena, double, n);
    double *one = arena_array(arena, double, n);
    for (int64_t i = 0; i < n; i++) {
        probability[i] = sigmoid(difference[i]);
        one[i] = 1;
    }
    for (size_t c = 0; c < 2; c++) {
        char key[32];
        struct reliability_bin bins[15];
        snprintf(key, sizeof(key), "ece_confidence_%d", counts[c]);
        expect(of, key, figures_ece_confidence(difference, n, counts[c], bins), EXACT, name);
        snprintf(key, sizeof(key), "ece_label1_%d", counts[c]);
        expect(of, key, figures_ece_labelled(probability, one, n, counts[c]), EXACT, name);
        int64_t counted = 0;
        for (int32_t b = 0; b < counts[c]; b++)
            counted += bins[b].count;
        EXPECT_I64(n, counted);
    }
}

static void check_temperature(const json_t *of, const double *difference, int64_t n,
                              const char *name)
{
    double nll;
    double temperature = figures_temperature(difference, n, &nll);
    const char *word = json_string_value(json_object_get(of, "temperature"));
    if (word != NULL) {
        EXPECT_STR("inf", word);
        if (!(isinf(temperature) && temperature > 0))
            test_fail(__FILE__, __LINE__, "%s: expected infinity, got %.17g", name, temperature);
    } else {
        expect(of, "temperature", temperature, SEARCHED, name);
    }
    expect(of, "nll_at_temperature", nll, SEARCHED, name);
}

/* The pairs as a dataset of groups of two, in float where that is exact, through figures_compute.
 */
static void check_whole(struct arena *arena, const json_t *of, const double *chosen,
                        const double *rejected, int64_t n, const char *name)
{
    struct data_group *groups = arena_array(arena, struct data_group, n);
    struct data_row *rows = arena_array(arena, struct data_row, 2 * n);
    float *reward = arena_array(arena, float, 2 * n);
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        groups[i] = (struct data_group){.row0 = 2 * i, .rows = 2, .pairs = 1};
        rows[2 * i].score = 1;
        reward[2 * i] = (float)chosen[i];
        reward[2 * i + 1] = (float)rejected[i];
        worst = fmax(worst,
                     fmax(fabs(reward[2 * i] - chosen[i]), fabs(reward[2 * i + 1] - rejected[i])));
    }
    struct dataset dataset = {.group_count = n, .row_count = 2 * n, .groups = groups, .rows = rows};
    struct golden_tolerance rounded = {1e-12, 4 * worst + 1e-15}; /* what float loses of rewards */
    struct figures figures;
    figures_compute(&dataset, reward, 0.95, 1, &figures);
    expect(of, "accuracy", figures.accuracy, EXACT, name);
    expect(of, "ties", (double)figures.ties, EXACT, name);
    expect(of, "brier", figures.brier, rounded, name);
    expect(of, "nll", figures.nll, rounded, name);
    EXPECT_I64(n, figures.pairs);
}

TEST(figures_of_pairs_are_the_reference_s)
{
    json_t *root = golden_load("metrics.json");
    if (root == NULL)
        return;
    const json_t *cases = json_object_get(root, "pairs");
    for (size_t c = 0; c < json_array_size(cases); c++) {
        struct arena arena = {0};
        const json_t *of = json_array_get(cases, c);
        const char *name = json_string_value(json_object_get(of, "name"));
        int64_t n = (int64_t)json_array_size(json_object_get(of, "chosen"));
        double *chosen = doubles(&arena, json_object_get(of, "chosen"));
        double *rejected = doubles(&arena, json_object_get(of, "rejected"));
        double *difference = arena_array(&arena, double, n);
        for (int64_t i = 0; i < n; i++)
            difference[i] = chosen[i] - rejected[i];
        check_calibration(&arena, of, difference, n, name);
        check_temperature(of, difference, n, name);
        check_whole(&arena, of, chosen, rejected, n, name);
        arena_release(&arena);
    }
    EXPECT(json_array_size(cases) > 0);
    json_decref(root);
}

TEST(figures_of_labelled_scores_are_the_reference_s)
{
    json_t *root = golden_load("metrics.json");
    if (root == NULL)
        return;
    const json_t *cases = json_object_get(root, "labelled");
    for (size_t c = 0; c < json_array_size(cases); c++) {
        struct arena arena = {0};
        char name[32];
        const json_t *of = json_array_get(cases, c);
        snprintf(name, sizeof(name), "labelled %zu", c);
        int64_t n = (int64_t)json_array_size(json_object_get(of, "score"));
        double *score = doubles(&arena, json_object_get(of, "score"));
        double *label = doubles(&arena, json_object_get(of, "label"));
        expect(of, "auc", figures_auc(score, label, n), EXACT, name);
        for (int64_t i = 0; i < n; i++)
            score[i] = sigmoid(score[i]);
        expect(of, "ece_10", figures_ece_labelled(score, label, n, 10), EXACT, name);
        expect(of, "ece_15", figures_ece_labelled(score, label, n, 15), EXACT, name);
        arena_release(&arena);
    }
    EXPECT(json_array_size(cases) > 0);
    json_decref(root);
}

TEST(the_paper_s_accuracies_of_groups_are_the_reference_s)
{
    json_t *root = golden_load("metrics.json");
    if (root == NULL)
        return;
    const json_t *cases = json_object_get(root, "groups");
    for (size_t c = 0; c < json_array_size(cases); c++) {
        struct arena arena = {0};
        const json_t *of = json_array_get(cases, c);
        const json_t *rewards = json_object_get(of, "rewards");
        const json_t *scores = json_object_get(of, "scores");
        size_t G = json_array_size(rewards), K = json_array_size(json_array_get(rewards, 0));
        double *reward = arena_array(&arena, double, G *K);
        double *score = arena_array(&arena, double, G *K);
        for (size_t i = 0; i < G * K; i++) {
            reward[i] = golden_number(json_array_get(json_array_get(rewards, i / K), i % K));
            score[i] = golden_number(json_array_get(json_array_get(scores, i / K), i % K));
        }
        double total, first_two;
        char name[64];
        snprintf(name, sizeof(name), "groups %zu (%s)", c,
                 json_string_value(json_object_get(of, "kind")));
        figures_paper(reward, score, (int64_t)G, (int32_t)K, &total, &first_two);
        expect(of, "total_acc", total, EXACT, name);
        expect(of, "first_two_acc", first_two, EXACT, name);
        arena_release(&arena);
    }
    EXPECT(json_array_size(cases) > 0);
    json_decref(root);
}

TEST_MAIN()
