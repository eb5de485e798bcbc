/* SPDX-License-Identifier: Apache-2.0
 *
 * Sections D and E: training curves to the last weight, and LoRA.
 */
#include <math.h>
#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "tests/golden/golden.h"
#include "tests/model_fixture.h"
#include "tests/test.h"
#include "worker/trainer/scorer.h"

static double number(const json_t *object, const char *key)
{
    return golden_number(json_object_get(object, key));
}

static enum pooling pooling_named(const char *name)
{
    for (int p = 0; p < GOLDEN_POOLINGS; p++) {
        if (strcmp(GOLDEN_POOLING[p].name, name) == 0) {
            return GOLDEN_POOLING[p].pooling;
        }
    }
    test_fail(__FILE__, __LINE__, "pooling %s is not known", name);
    return POOLING_LAST_TOKEN;
}

/* groups.json holds one object a group: joined into the two arrays that golden_dataset takes. All
 * rows of a group count, so each group's rows are exactly as many as its scores. */
static struct dataset *curve_dataset(struct arena *arena, const json_t *groups)
{
    json_t *rows = json_array(), *scores = json_array();
    for (size_t g = 0; g < json_array_size(groups); g++) {
        const json_t *group = json_array_get(groups, g);
        json_array_append(scores, json_object_get(group, "scores"));
        json_array_extend(rows, json_object_get(group, "rows"));
    }
    size_t width = json_array_size(json_array_get(scores, 0));
    struct dataset *dataset = NULL;
    bool even = true;
    for (size_t g = 1; g < json_array_size(scores); g++) {
        even = even && json_array_size(json_array_get(scores, g)) == width;
    }
    if (even) {
        dataset = golden_dataset(arena, rows, scores, NULL);
    } else { /* golden_dataset wants one width: fill up with absent rows */
        size_t widest = 0, at = 0;
        for (size_t g = 0; g < json_array_size(scores); g++) {
            widest = json_array_size(json_array_get(scores, g)) > widest
                         ? json_array_size(json_array_get(scores, g))
                         : widest;
        }
        json_t *wide_rows = json_array(), *wide_scores = json_array();
        for (size_t g = 0; g < json_array_size(scores); g++) {
            json_t *of_group = json_copy(json_array_get(scores, g));
            size_t K = json_array_size(of_group);
            for (size_t k = 0; k < widest; k++) {
                json_array_append(wide_rows, json_array_get(rows, k < K ? at + k : at));
            }
            for (size_t k = K; k < widest; k++) {
                json_array_append_new(of_group, json_real(-1));
            }
            json_array_append_new(wide_scores, of_group);
            at += K;
        }
        dataset = golden_dataset(arena, wide_rows, wide_scores, NULL);
        json_decref(wide_rows);
        json_decref(wide_scores);
    }
    json_decref(rows);
    json_decref(scores);
    return dataset;
}

/* ---- D
 * ------------------------------------------------------------------------------------------- */

struct curve {
    const char *name;
    struct golden_stepper *g;
    struct dataset *dataset;
    bool accumulate;
    float *sum; /* of the micro-batches, when they are averaged */
};

/* One step's gradients: the four groups as one batch, or each alone and averaged (the golden's
 * accumulation divides every micro-batch's loss by their number). */
static float *curve_gradients(struct curve *curve, const json_t *order, struct step_result *result)
{
    struct stepper *s = &curve->g->stepper;
    struct batch_group groups[64];
    int32_t count = (int32_t)json_array_size(order);
    for (int32_t i = 0; i < count; i++) {
        groups[i] =
            (struct batch_group){.dataset = curve->dataset,
                                 .group = json_integer_value(json_array_get(order, (size_t)i))};
    }
    if (!curve->accumulate) {
        CHECK(stepper_gradients(s, groups, count, NULL, result, NULL) == STATUS_OK);
        return slice_tree_sum(s->tree);
    }
    struct device *device = s->model->device;
    size_t elements = model_trained_table(s->model)->elements;
    memset(curve->sum, 0, sizeof(float) * elements);
    *result = (struct step_result){0};
    for (int32_t i = 0; i < count; i++) {
        struct step_result one;
        CHECK(stepper_gradients(s, &groups[i], 1, NULL, &one, NULL) == STATUS_OK);
        float *g = fixture_host(device, slice_tree_sum(s->tree), elements);
        for (size_t e = 0; e < elements; e++) {
            curve->sum[e] += g[e] / (float)count;
        }
        mem_free(g);
        result->loss += one.loss / count;
        result->rank_loss += one.rank_loss / count;
        result->lm_loss += one.lm_loss / count;
    }
    float *sum = slice_tree_sum(s->tree);
    device->ops->copy_in(device, sum, curve->sum, sizeof(float) * elements);
    return sum;
}

static void curve_run(struct curve *curve, const json_t *order, const json_t *steps)
{
    struct stepper *s = &curve->g->stepper;
    for (size_t step = 0; step < json_array_size(steps); step++) {
        const json_t *expected = json_array_get(steps, step);
        struct step_result r;
        const float *gradients = curve_gradients(curve, json_array_get(order, step), &r);
        double norm;
        CHECK(optimizer_gradient_norm(s->optimizer, gradients, &norm, NULL) == STATUS_OK);
        double rate = schedule_rate(s->schedule, (int64_t)step);
        golden_expect(number(expected, "loss"), r.loss, GOLDEN_LOSS, "%s step %zu loss",
                      curve->name, step);
        golden_expect(number(expected, "rank"), r.rank_loss, GOLDEN_LOSS, "%s step %zu rank",
                      curve->name, step);
        if (curve->g->loss.lm_loss_coeff > 0) {
            golden_expect(number(expected, "lm"), r.lm_loss, GOLDEN_LOSS, "%s step %zu lm",
                          curve->name, step);
        }
        golden_expect(number(expected, "grad_norm"), norm, GOLDEN_CURVE_NORM, "%s step %zu norm",
                      curve->name, step);
        golden_expect(number(expected, "lr"), rate, (struct golden_tolerance){1e-6, 1e-12},
                      "%s step %zu learning rate", curve->name, step);
        CHECK(optimizer_step(s->optimizer, model_trained_weights(s->model), gradients, norm, rate,
                             NULL) == STATUS_OK);
    }
}

/* Worst and mean distance of each tensor from a file's. */
static void expect_weights(const char *what, const struct model *model, const char *path)
{
    const struct params_table *table = model_trained_table(model);
    float *weights = fixture_host(model->device, model_trained_weights(model), table->elements);
    for (int32_t i = 0; i < table->count; i++) {
        const struct tensor_place *place = &table->places[i];
        char name[128];
        size_t elements = 0;
        params_name(place, name);
        float *values = golden_tensor(path, name, &elements);
        if (values == NULL) {
            test_fail(__FILE__, __LINE__, "%s: %s lacks %s", what, path, name);
            continue;
        }
        double worst = 0, sum = 0;
        for (size_t e = 0; e < place->elements; e++) {
            double apart = fabs((double)values[e] - weights[place->offset + e]);
            worst = fmax(worst, apart);
            sum += apart;
        }
        golden_expect(0, worst, (struct golden_tolerance){0, GOLDEN_FINAL_WORST},
                      "%s final %s, worst", what, name);
        golden_expect(0, sum / (double)place->elements,
                      (struct golden_tolerance){0, GOLDEN_FINAL_MEAN}, "%s final %s, mean", what,
                      name);
        mem_free(values);
    }
    mem_free(weights);
}

static struct optimizer_config optimizer_from(const json_t *settings)
{
    const json_t *betas = json_object_get(settings, "betas");
    return (struct optimizer_config){.beta1 = golden_number(json_array_get(betas, 0)),
                                     .beta2 = golden_number(json_array_get(betas, 1)),
                                     .epsilon = number(settings, "eps"),
                                     .weight_decay = number(settings, "wd"),
                                     .max_grad_norm = number(settings, "clip")};
}

static void curve_check(const char *model_name, const char *variant, const json_t *groups)
{
    struct model *model = golden_model(model_name);
    json_t *json = golden_load("train/%s/%s.json", model_name, variant);
    if (model == NULL || json == NULL) {
        return;
    }
    struct arena arena = {0};
    const json_t *settings = json_object_get(json, "settings");
    struct optimizer_config optimizer = optimizer_from(settings);
    char name[256];
    snprintf(name, sizeof(name), "%s/%s", model_name, variant);
    struct curve curve = {.name = name,
                          .dataset = curve_dataset(&arena, json_object_get(groups, "groups")),
                          .accumulate = json_is_true(json_object_get(settings, "accumulate"))};
    curve.g = golden_stepper(
        model, curve.dataset, pooling_named(json_string_value(json_object_get(settings, "pool"))),
        number(settings, "lm_coeff"), number(settings, "lm_score_thresh"), &optimizer);
    curve.g->schedule =
        (struct schedule){.kind = SCHEDULE_LINEAR,
                          .peak = number(settings, "lr"),
                          .steps = json_integer_value(json_object_get(settings, "steps")),
                          .warmup_steps = json_integer_value(json_object_get(settings, "warmup"))};
    curve.sum = mem_alloc(sizeof(float) * model_trained_table(model)->elements);
    curve_run(&curve, json_object_get(groups, "order"), json_object_get(json, "steps"));
    char path[GOLDEN_PATH_MAX];
    snprintf(path, sizeof(path), "%s",
             golden_path("train/%s/%s.final.safetensors", model_name, variant));
    if (file_exists(path)) {
        expect_weights(name, model, path);
    } else {
        test_skip("%s: final weights are not in this golden directory", name);
    }
    mem_free(curve.sum);
    golden_stepper_free(curve.g);
    model_free(model);
    json_decref(json);
    arena_release(&arena);
}

TEST(training_curves_and_final_weights_are_the_reference_s)
{
    struct arena arena = {0};
    const char **models, **files;
    int model_count = golden_list(&arena, "train", &models);
    for (int m = 0; m < model_count; m++) {
        char folder[256];
        snprintf(folder, sizeof(folder), "train/%s", models[m]);
        json_t *groups = golden_load("%s/groups.json", folder);
        int count = groups == NULL ? 0 : golden_list(&arena, folder, &files);
        for (int f = 0; f < count; f++) {
            const char *dot = strstr(files[f], ".json");
            if (dot != NULL && strcmp(files[f], "groups.json") != 0) {
                curve_check(models[m], arena_strndup(&arena, files[f], (size_t)(dot - files[f])),
                            groups);
            }
        }
        json_decref(groups);
    }
    arena_release(&arena);
}

/* ---- E
 * ------------------------------------------------------------------------------------------- */

/* The base with its LM head under the adapter of lora/NAME/FOLDER: what PEFT trains. */
static struct model *lora_model(const char *name, const char *folder, bool merge)
{
    struct error error;
    struct model *adapter;
    char dir[GOLDEN_PATH_MAX];
    snprintf(dir, sizeof(dir), "%s", golden_path("lora/%s/%s", name, folder));
    struct model_open_options options = {
        .need_score = true, .merge_adapter = merge, .positions = 1024};
    if (model_open(golden_device(), dir, &options, &adapter, &error) != STATUS_OK) {
        test_fail(__FILE__, __LINE__, "%s", error.text);
        return NULL;
    }
    if (merge) {
        return adapter;
    }
    struct model *model = golden_model(name);
    if (model == NULL) {
        model_free(adapter);
        return NULL;
    }
    struct model whole = *model; /* swap the adapter into the model that has the LM head */
    model->lora = adapter->lora;
    model->adapter_table = adapter->adapter_table;
    model->adapter = adapter->adapter;
    adapter->lora = whole.lora;
    adapter->adapter_table = whole.adapter_table;
    adapter->adapter = NULL;
    model_free(adapter);
    return model;
}

static void lora_expect_rewards(struct model *model, const struct dataset *dataset,
                                const int32_t *place, size_t K, const json_t *expected,
                                const char *what)
{
    static const struct optimizer_config none = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};
    float *reward = mem_alloc(sizeof(float) * (size_t)dataset->row_count);
    for (int p = 0; p < GOLDEN_POOLINGS; p++) {
        const json_t *matrix = json_object_get(expected, GOLDEN_POOLING[p].name);
        if (matrix == NULL || GOLDEN_POOLING[p].pooling == POOLING_MAX) {
            continue;
        }
        struct golden_stepper *g =
            golden_stepper(model, dataset, GOLDEN_POOLING[p].pooling, 0, 0.85, &none);
        struct scorer scorer = {
            .model = model, .acts = g->stepper.acts, .pooling = GOLDEN_POOLING[p].pooling};
        struct error error;
        if (scorer_rewards(&scorer, dataset, reward, &error) != STATUS_OK) {
            test_fail(__FILE__, __LINE__, "%s", error.text);
        }
        for (int64_t r = 0; r < dataset->row_count; r++) {
            size_t at = (size_t)place[r];
            golden_expect(golden_number(json_array_get(json_array_get(matrix, at / K), at % K)),
                          reward[r], (struct golden_tolerance){1e-4, 2e-5}, "%s %s row %zu", what,
                          GOLDEN_POOLING[p].name, at);
        }
        golden_stepper_free(g);
    }
    mem_free(reward);
}

static void lora_expect_gradients(struct golden_stepper *g, const struct dataset *dataset,
                                  const char *name, double coefficient, const json_t *losses)
{
    char path[GOLDEN_PATH_MAX], label[64];
    struct arena arena = {0};
    struct step_result result;
    int32_t count;
    g->loss.lm_loss_coeff = coefficient;
    CHECK(stepper_gradients(&g->stepper, golden_batch(&arena, dataset, &count),
                            (int32_t)dataset->group_count, NULL, &result, NULL) == STATUS_OK);
    snprintf(label, sizeof(label), "total_%g", coefficient);
    golden_expect(number(json_object_get(losses, "last"), label), result.loss, GOLDEN_LOSS,
                  "lora/%s %s", name, label);
    snprintf(path, sizeof(path), "%s",
             golden_path("lora/%s/grads.last.%g.safetensors", name, coefficient));
    const struct params_table *table = model_trained_table(g->stepper.model);
    float *gradients =
        fixture_host(g->stepper.model->device, slice_tree_sum(g->stepper.tree), table->elements);
    for (int32_t i = 0; i < table->count && file_exists(path); i++) {
        const struct tensor_place *place = &table->places[i];
        char tensor[128];
        size_t elements = 0;
        if (place->kind == TENSOR_SCORE) { /* PEFT's name for modules_to_save */
            snprintf(tensor, sizeof(tensor), "base_model.model.score.weight");
        } else {
            params_name(place, tensor);
        }
        float *values = golden_tensor(path, tensor, &elements);
        if (values == NULL) {
            test_fail(__FILE__, __LINE__, "%s lacks %s", path, tensor);
            continue;
        }
        double worst = 0, largest = 0;
        for (size_t e = 0; e < place->elements; e++) {
            largest = fmax(largest, fabs((double)values[e]));
            worst = fmax(worst, fabs((double)values[e] - gradients[place->offset + e]));
        }
        golden_expect(0, worst, (struct golden_tolerance){0, GOLDEN_GRADIENT_OF_LARGEST * largest},
                      "lora/%s %s worst entry of d %s", name, label, tensor);
        mem_free(values);
    }
    mem_free(gradients);
    arena_release(&arena);
}

static void lora_train(struct golden_stepper *g, const struct dataset *dataset, const json_t *json,
                       const char *name)
{
    const json_t *steps = json_object_get(json, "steps");
    struct arena arena = {0};
    int32_t count;
    struct batch_group *groups = golden_batch(&arena, dataset, &count);
    g->loss.lm_loss_coeff = number(json_object_get(json, "settings"), "lm_coeff");
    g->schedule = (struct schedule){.kind = SCHEDULE_CONSTANT,
                                    .peak = number(json_object_get(json, "settings"), "lr"),
                                    .steps = (int64_t)json_array_size(steps)};
    for (size_t step = 0; step < json_array_size(steps); step++) {
        struct step_result result;
        const json_t *expected = json_array_get(steps, step);
        CHECK(stepper_step(&g->stepper, (int64_t)step, groups, count, &result, NULL) == STATUS_OK);
        golden_expect(number(expected, "loss"), result.loss, (struct golden_tolerance){1e-4, 1e-5},
                      "lora/%s step %zu loss", name, step);
        golden_expect(number(expected, "grad_norm"), result.gradient_norm, GOLDEN_CURVE_NORM,
                      "lora/%s step %zu norm", name, step);
    }
    arena_release(&arena);
}

static void lora_check(const char *name)
{
    json_t *json = golden_load("lora/%s/case.json", name);
    struct model *model = json == NULL ? NULL : lora_model(name, "adapter", false);
    if (model == NULL) {
        return;
    }
    struct arena arena = {0};
    const int32_t *place;
    static const struct optimizer_config optimizer = {
        .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .max_grad_norm = 1};
    struct dataset *dataset = golden_dataset(&arena, json_object_get(json, "rows"),
                                             json_object_get(json, "scores"), &place);
    size_t K = (size_t)json_integer_value(json_object_get(json, "width"));
    lora_expect_rewards(model, dataset, place, K, json_object_get(json, "rewards"), "lora");
    struct golden_stepper *g =
        golden_stepper(model, dataset, POOLING_BEFORE_EOS, 0, 0.85, &optimizer);
    lora_expect_gradients(g, dataset, name, 0, json_object_get(json, "loss"));
    lora_expect_gradients(g, dataset, name, 0.1, json_object_get(json, "loss"));
    lora_train(g, dataset, json, name);
    lora_expect_rewards(model, dataset, place, K, json_object_get(json, "rewards_final"),
                        "lora after training");
    golden_stepper_free(g);
    model_free(model);
    const json_t *merged = json_object_get(json, "merged_rewards");
    static const char *const folders[] = {"adapter", "adapter_final"};
    for (int i = 0; i < 2; i++) {
        model = lora_model(name, folders[i], true);
        if (model != NULL) {
            lora_expect_rewards(model, dataset, place, K, json_object_get(merged, folders[i]),
                                "lora merged");
        }
        model_free(model);
    }
    json_decref(json);
    arena_release(&arena);
}

TEST(lora_rewards_gradients_curves_and_merging_are_the_reference_s)
{
    struct arena arena = {0};
    const char **names;
    int count = golden_list(&arena, "lora", &names);
    for (int i = 0; i < count; i++) {
        lora_check(names[i]);
    }
    arena_release(&arena);
}

TEST_MAIN()
