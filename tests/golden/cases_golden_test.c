/* SPDX-License-Identifier: Apache-2.0
 *
 * Section C: rewards under four poolings, row losses, total losses and every gradient of every
 * case.
 */
#include <math.h>
#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "tests/golden/golden.h"
#include "tests/model_fixture.h"
#include "tests/test.h"
#include "worker/trainer/scorer.h"

static const struct optimizer_config NO_OPTIMIZER = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};

/* One case file with its model, ready to run. */
struct golden_case {
    const char *model_name, *name;
    struct model *model;
    json_t *json;
    struct arena arena;
    struct dataset *dataset;
    const int32_t *place; /* of our rows in the file's */
    size_t K;
};

static bool case_open(struct golden_case *c)
{
    c->json = golden_load("cases/%s/%s.json", c->model_name, c->name);
    if (c->json == NULL) {
        return false;
    }
    c->K = (size_t)json_integer_value(json_object_get(c->json, "width"));
    c->dataset = golden_dataset(&c->arena, json_object_get(c->json, "rows"),
                                json_object_get(c->json, "scores"), &c->place);
    return true;
}

static void case_close(struct golden_case *c)
{
    json_decref(c->json);
    arena_release(&c->arena);
}

static double at(const json_t *matrix, const struct golden_case *c, int64_t row)
{
    size_t place = (size_t)c->place[row];
    return golden_number(json_array_get(json_array_get(matrix, place / c->K), place % c->K));
}

/* The goldens' max lets padding's zero take part: comparable only where no row is padded. */
static bool rows_are_padded(const struct golden_case *c)
{
    const json_t *lengths = json_object_get(c->json, "len");
    for (size_t i = 1; i < json_array_size(lengths); i++) {
        if (json_integer_value(json_array_get(lengths, i)) !=
            json_integer_value(json_array_get(lengths, 0))) {
            return true;
        }
    }
    return false;
}

static void check_rewards(const struct golden_case *c)
{
    float *reward = mem_alloc(sizeof(float) * (size_t)c->dataset->row_count);
    for (int p = 0; p < GOLDEN_POOLINGS; p++) {
        if (GOLDEN_POOLING[p].pooling == POOLING_MAX && rows_are_padded(c)) {
            continue;
        }
        struct golden_stepper *g =
            golden_stepper(c->model, c->dataset, GOLDEN_POOLING[p].pooling, 0, 0.85, &NO_OPTIMIZER);
        struct scorer scorer = {
            .model = c->model, .acts = g->stepper.acts, .pooling = GOLDEN_POOLING[p].pooling};
        struct error error;
        if (scorer_rewards(&scorer, c->dataset, reward, &error) != STATUS_OK) {
            test_fail(__FILE__, __LINE__, "%s", error.text);
        }
        const json_t *expected =
            json_object_get(json_object_get(c->json, "rewards"), GOLDEN_POOLING[p].name);
        for (int64_t r = 0; r < c->dataset->row_count; r++) {
            golden_expect(at(expected, c, r), reward[r], GOLDEN_REWARD, "%s/%s reward %s row %d",
                          c->model_name, c->name, GOLDEN_POOLING[p].name, c->place[r]);
        }
        golden_stepper_free(g);
    }
    mem_free(reward);
}

static void check_row_nll(const struct golden_case *c)
{
    float *nll = mem_alloc(sizeof(float) * (size_t)c->dataset->row_count);
    struct golden_stepper *g =
        golden_stepper(c->model, c->dataset, POOLING_LAST_TOKEN, 0, 0.85, &NO_OPTIMIZER);
    struct scorer scorer = {.model = c->model, .acts = g->stepper.acts};
    struct error error;
    double mean;
    if (scorer_nll(&scorer, c->dataset, nll, &mean, &error) != STATUS_OK) {
        test_fail(__FILE__, __LINE__, "%s", error.text);
    }
    const json_t *expected = json_object_get(c->json, "row_nll");
    for (int64_t r = 0; r < c->dataset->row_count; r++) {
        golden_expect(golden_number(json_array_get(expected, (size_t)c->place[r])), nll[r],
                      GOLDEN_LOSS, "%s/%s row_nll %d", c->model_name, c->name, c->place[r]);
    }
    golden_stepper_free(g);
    mem_free(nll);
}

/* L2 and largest entry of each tensor against the file's, and every entry where it has them. */
static void check_gradients(const struct golden_case *c, const float *gradients, const char *label)
{
    const struct params_table *table = model_trained_table(c->model);
    const json_t *expected = json_object_get(json_object_get(c->json, "grads"), label);
    char path[GOLDEN_PATH_MAX];
    snprintf(path, sizeof(path), "%s",
             golden_path("cases/%s/%s.grads.%s.safetensors", c->model_name, c->name, label));
    for (int32_t i = 0; i < table->count; i++) {
        const struct tensor_place *place = &table->places[i];
        char name[128];
        params_name(place, name);
        double sum = 0, largest = 0;
        for (size_t e = 0; e < place->elements; e++) {
            double g = gradients[place->offset + e];
            sum += g * g;
            largest = fmax(largest, fabs(g));
        }
        const json_t *norm = json_object_get(json_object_get(expected, "norm"), name);
        const json_t *absmax = json_object_get(json_object_get(expected, "absmax"), name);
        if (norm != NULL) {
            golden_expect(golden_number(norm), sqrt(sum), GOLDEN_NORM, "%s/%s %s |d %s|",
                          c->model_name, c->name, label, name);
        }
        if (absmax != NULL) {
            golden_expect(golden_number(absmax), largest, GOLDEN_NORM, "%s/%s %s max d %s",
                          c->model_name, c->name, label, name);
        }
        size_t elements;
        float *values = file_exists(path) ? golden_tensor(path, name, &elements) : NULL;
        if (values == NULL) {
            continue;
        }
        EXPECT_I64((int64_t)elements, (int64_t)place->elements);
        double worst = 0, scale = 0;
        for (size_t e = 0; e < place->elements; e++) {
            scale = fmax(scale, fabs(values[e]));
            worst = fmax(worst, fabs((double)values[e] - gradients[place->offset + e]));
        }
        golden_expect(0, worst, (struct golden_tolerance){0, GOLDEN_GRADIENT_OF_LARGEST * scale},
                      "%s/%s %s worst entry of d %s (largest %.3g)", c->model_name, c->name, label,
                      name, scale);
        mem_free(values);
    }
}

static void check_losses(const struct golden_case *c, const struct golden_pooling *pooling,
                         double coefficient)
{
    char label[32];
    snprintf(label, sizeof(label), "%s.%g", pooling->name, coefficient);
    double threshold = golden_number(json_object_get(c->json, "lm_score_thresh"));
    struct golden_stepper *g = golden_stepper(c->model, c->dataset, pooling->pooling, coefficient,
                                              threshold, &NO_OPTIMIZER);
    struct arena arena = {0};
    int32_t count;
    struct step_result result;
    struct batch_group *groups = golden_batch(&arena, c->dataset, &count);
    CHECK(stepper_gradients(&g->stepper, groups, count, NULL, &result, NULL) == STATUS_OK);
    const json_t *expected = json_object_get(json_object_get(c->json, "loss"), pooling->name);
    char total[32];
    snprintf(total, sizeof(total), "total_%g", coefficient);
    const char *where = pooling->name;
    golden_expect(golden_number(json_object_get(expected, "rank")), result.rank_loss, GOLDEN_LOSS,
                  "%s/%s rank loss %s", c->model_name, c->name, where);
    golden_expect(golden_number(json_object_get(expected, total)), result.loss, GOLDEN_LOSS,
                  "%s/%s %s %s", c->model_name, c->name, total, where);
    if (coefficient > 0) {
        golden_expect(golden_number(json_object_get(expected, "lm")), result.lm_loss, GOLDEN_LOSS,
                      "%s/%s lm loss %s", c->model_name, c->name, where);
    }
    if (json_object_get(json_object_get(c->json, "grads"), label) != NULL) {
        float *gradients = fixture_host(c->model->device, slice_tree_sum(g->stepper.tree),
                                        model_trained_table(c->model)->elements);
        check_gradients(c, gradients, label);
        mem_free(gradients);
    }
    arena_release(&arena);
    golden_stepper_free(g);
}

static void check_case(struct golden_case *c)
{
    if (!case_open(c)) {
        return;
    }
    check_rewards(c);
    check_row_nll(c);
    for (int p = 0; p < GOLDEN_POOLINGS; p++) {
        if (GOLDEN_POOLING[p].pooling == POOLING_MAX && rows_are_padded(c)) {
            continue;
        }
        check_losses(c, &GOLDEN_POOLING[p], 0);
        check_losses(c, &GOLDEN_POOLING[p], 0.1);
    }
    case_close(c);
}

TEST(rewards_losses_and_gradients_of_every_case_are_the_reference_s)
{
    struct arena arena = {0};
    const char **models, **files;
    int model_count = golden_list(&arena, "cases", &models), cases = 0;
    for (int m = 0; m < model_count; m++) {
        struct model *model = golden_model(models[m]);
        if (model == NULL) {
            continue;
        }
        char folder[256];
        snprintf(folder, sizeof(folder), "cases/%s", models[m]);
        int count = golden_list(&arena, folder, &files);
        for (int f = 0; f < count; f++) {
            char *dot = strstr(files[f], ".json");
            if (dot == NULL || strcmp(files[f], "truncation.json") == 0) {
                continue;
            }
            struct golden_case c = {.model_name = models[m],
                                    .name =
                                        arena_strndup(&arena, files[f], (size_t)(dot - files[f])),
                                    .model = model};
            check_case(&c);
            cases++;
        }
        model_free(model);
    }
    if (model_count > 0) {
        EXPECT(cases > 0);
    }
    arena_release(&arena);
}

TEST_MAIN()
