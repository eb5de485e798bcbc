/* SPDX-License-Identifier: Apache-2.0
 *
 * The goldens' "last" is our before_eos, their "eos" our last_token.
 */
#include "tests/golden/golden.h"

#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "tests/model_fixture.h"
#include "tests/test.h"
#include "worker/model/safetensors.h"

const struct golden_tolerance GOLDEN_REWARD = {1e-4, 1e-5};
const struct golden_tolerance GOLDEN_LOSS = {1e-4, 0};
const struct golden_tolerance GOLDEN_NORM = {1e-3, 1e-7};
const struct golden_tolerance GOLDEN_CURVE_NORM = {1e-3, 0};

const struct golden_pooling GOLDEN_POOLING[GOLDEN_POOLINGS] = {{"last", POOLING_BEFORE_EOS},
                                                               {"eos", POOLING_LAST_TOKEN},
                                                               {"average", POOLING_MEAN},
                                                               {"max", POOLING_MAX}};

static const char *golden_dir(void)
{
    const char *dir = getenv("TAILOR_GOLDEN");
    return dir != NULL ? dir : TEST_SOURCE_DIR "/tests/golden/data";
}

const char *golden_path(const char *format, ...)
{
    static char path[GOLDEN_PATH_MAX];
    char name[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(name, sizeof(name), format, list);
    va_end(list);
    path_join(path, sizeof(path), golden_dir(), name);
    return path;
}

json_t *golden_load(const char *format, ...)
{
    char name[1024], path[GOLDEN_PATH_MAX];
    va_list list;
    va_start(list, format);
    vsnprintf(name, sizeof(name), format, list);
    va_end(list);
    path_join(path, sizeof(path), golden_dir(), name);
    if (!file_exists(path)) {
        test_skip("%s: not in this golden directory", name);
        return NULL;
    }
    struct error error;
    json_t *root = NULL;
    if (json_read_file(path, 64 * MIB, &root, &error) != STATUS_OK) {
        test_fail(__FILE__, __LINE__, "%s", error.text);
    }
    return root;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int golden_list(struct arena *arena, const char *folder, const char ***names_out)
{
    enum { NAMES_MAX = 256 };
    const char **names = arena_array(arena, const char *, NAMES_MAX);
    int count = 0;
    DIR *dir = opendir(golden_path("%s", folder));
    for (struct dirent *entry;
         dir != NULL && (entry = readdir(dir)) != NULL && count < NAMES_MAX;) {
        if (entry->d_name[0] != '.') {
            names[count++] = arena_strdup(arena, entry->d_name);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    } else {
        test_skip("%s: not in this golden directory", folder);
    }
    qsort(names, (size_t)count, sizeof(*names), compare_names);
    *names_out = names;
    return count;
}

void golden_expect(double expected, double got, struct golden_tolerance tolerance,
                   const char *format, ...)
{
    double allowed = fmax(tolerance.floor, tolerance.relative * fabs(expected));
    if (fabs(expected - got) <= allowed) {
        return;
    }
    char what[512];
    va_list list;
    va_start(list, format);
    vsnprintf(what, sizeof(what), format, list);
    va_end(list);
    test_fail(__FILE__, __LINE__, "%s: expected %.9g, got %.9g (allowed %.2g apart)", what,
              expected, got, allowed);
}

double golden_number(const json_t *value)
{
    return json_is_number(value) ? json_number_value(value) : NAN;
}

struct device *golden_device(void)
{
    static struct device *device;
    struct error error;
    if (device == NULL && device_open(&(struct device_options){0}, &device, &error) != STATUS_OK) {
        fprintf(stderr, "%s\n", error.text);
        exit(1);
    }
    return device;
}

/* Counts the rows that are there, and their tokens. */
static void dataset_measure(const json_t *rows, const json_t *scores, struct dataset *dataset)
{
    for (size_t g = 0; g < json_array_size(scores); g++) {
        const json_t *of_group = json_array_get(scores, g);
        size_t K = json_array_size(of_group);
        for (size_t k = 0; k < K; k++) {
            if (golden_number(json_array_get(of_group, k)) < 0) {
                continue;
            }
            dataset->row_count++;
            dataset->token_count += (int64_t)json_array_size(json_array_get(rows, g * K + k));
        }
    }
    dataset->group_count = (int64_t)json_array_size(scores);
}

struct dataset *golden_dataset(struct arena *arena, const json_t *rows, const json_t *scores,
                               const int32_t **place_out)
{
    struct dataset *dataset = arena_new(arena, struct dataset);
    dataset_measure(rows, scores, dataset);
    struct data_group *groups = arena_array(arena, struct data_group, dataset->group_count);
    struct data_row *data_rows = arena_array(arena, struct data_row, dataset->row_count);
    int32_t *tokens = arena_array(arena, int32_t, dataset->token_count);
    int32_t *place = arena_array(arena, int32_t, dataset->row_count);
    int64_t row = 0, token = 0;
    for (int64_t g = 0; g < dataset->group_count; g++) {
        const json_t *of_group = json_array_get(scores, (size_t)g);
        size_t K = json_array_size(of_group);
        groups[g].row0 = row;
        for (size_t k = 0; k < K; k++) {
            double score = golden_number(json_array_get(of_group, k));
            if (score < 0) {
                continue;
            }
            const json_t *ids = json_array_get(rows, (size_t)g * K + k);
            int32_t count = (int32_t)json_array_size(ids);
            place[row] = (int32_t)((size_t)g * K + k);
            data_rows[row++] = (struct data_row){.token0 = token,
                                                 .tokens = count,
                                                 .response = (int32_t)k,
                                                 .score = (float)score,
                                                 .normalised = (float)score};
            for (int32_t i = 0; i < count; i++) {
                tokens[token++] = (int32_t)json_integer_value(json_array_get(ids, (size_t)i));
            }
            groups[g].rows++;
            groups[g].tokens += count;
            if (count > dataset->row_tokens_max) {
                dataset->row_tokens_max = count;
            }
        }
        groups[g].pairs = group_pairs(&data_rows[groups[g].row0], groups[g].rows);
        dataset->pair_count += groups[g].pairs;
        if (groups[g].rows > dataset->group_rows_max) {
            dataset->group_rows_max = groups[g].rows;
        }
    }
    dataset->groups = groups;
    dataset->rows = data_rows;
    dataset->tokens = tokens;
    if (place_out != NULL) {
        *place_out = place;
    }
    return dataset;
}

struct model *golden_model(const char *name)
{
    char rm[GOLDEN_PATH_MAX], base[GOLDEN_PATH_MAX];
    snprintf(rm, sizeof(rm), "%s", golden_path("models/%s/rm", name));
    snprintf(base, sizeof(base), "%s", golden_path("models/%s/base", name));
    if (!dir_exists(rm) || !dir_exists(base)) {
        test_skip("models/%s: not in this golden directory", name);
        return NULL;
    }
    struct error error;
    struct model *head, *model;
    struct model_open_options options = {.need_score = true, .positions = 1024};
    if (model_open(golden_device(), rm, &options, &head, &error) != STATUS_OK) {
        test_fail(__FILE__, __LINE__, "%s", error.text);
        return NULL;
    }
    options.init_score = true;
    options.need_lm_head = true;
    if (model_open(golden_device(), base, &options, &model, &error) != STATUS_OK) {
        test_fail(__FILE__, __LINE__, "%s", error.text);
        model_free(head);
        return NULL;
    }
    struct device *device = golden_device();
    const size_t C = (size_t)model->config.C;
    float *score =
        fixture_host(device, params_at(&head->table, head->weights, TENSOR_SCORE, -1), C);
    device->ops->copy_in(device, params_at(&model->table, model->weights, TENSOR_SCORE, -1), score,
                         sizeof(float) * C);
    mem_free(score);
    model_free(head);
    return model;
}

static void must(enum status status, const struct error *error)
{
    if (status != STATUS_OK) {
        fprintf(stderr, "%s\n", error->text);
        exit(1);
    }
}

struct golden_stepper *golden_stepper(struct model *model, const struct dataset *dataset,
                                      enum pooling pooling, double lm_coefficient,
                                      double lm_threshold, const struct optimizer_config *optimizer)
{
    struct golden_stepper *golden = mem_alloc(sizeof(*golden));
    struct error error;
    golden->loss =
        (struct loss_config){.lm_loss_coeff = lm_coefficient, .lm_score_thresh = lm_threshold};
    struct stepper *s = &golden->stepper;
    *s = (struct stepper){.model = model,
                          .schedule = &golden->schedule,
                          .loss = &golden->loss,
                          .pooling = pooling,
                          .slices = 1,
                          .capacity_tokens = (int32_t)dataset->token_count,
                          .mode = PACK_SHARED};
    struct pass_capacity capacity = {.S = (int32_t)dataset->token_count,
                                     .R = (int32_t)dataset->row_count,
                                     .row_tokens_max = dataset->row_tokens_max,
                                     .backward = true,
                                     .all_tokens = true,
                                     .imitation = true};
    struct model_config *c = &model->config;
    struct scratch_shape shape = pass_scratch(c, &capacity, model->lora.r);
    struct device *device = golden_device();
    must(device->ops->scratch_reserve(device, &shape, &error), &error);
    must(activations_create(device, c, &model->lora, &capacity, &s->acts, &error), &error);
    const struct params_table *table = model_trained_table(model);
    must(slice_tree_create(device, table->elements, 1, &s->tree, &error), &error);
    must(optimizer_create(device, table, optimizer, NULL, &s->optimizer, &error), &error);
    return golden;
}

void golden_stepper_free(struct golden_stepper *golden)
{
    activations_free(golden->stepper.acts);
    slice_tree_free(golden->stepper.tree);
    optimizer_free(golden->stepper.optimizer);
    mem_free(golden);
}

struct batch_group *golden_batch(struct arena *arena, const struct dataset *dataset,
                                 int32_t *count_out)
{
    struct batch_group *groups = arena_array(arena, struct batch_group, dataset->group_count);
    for (int64_t g = 0; g < dataset->group_count; g++) {
        groups[g] = (struct batch_group){.dataset = dataset, .group = g, .part = MIX_OWN};
    }
    *count_out = (int32_t)dataset->group_count;
    return groups;
}

float *golden_tensor(const char *path, const char *name, size_t *elements_out)
{
    struct safetensors set;
    struct error error;
    if (safetensors_open(path, &set, &error) != STATUS_OK) {
        test_fail(__FILE__, __LINE__, "%s", error.text);
        return NULL;
    }
    const struct safetensor *tensor = safetensors_find(&set, name);
    float *values = NULL;
    if (tensor != NULL) {
        values = mem_alloc(sizeof(float) * tensor->elements);
        safetensors_read(tensor, 0, tensor->elements, values);
        *elements_out = tensor->elements;
    }
    safetensors_close(&set);
    return values;
}
