/* SPDX-License-Identifier: Apache-2.0
 *
 * evaluate: every figure of a model on some sets. compare: two models on the same rows, paired, and
 * the groups whose pairs flipped.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/file.h"
#include "lib/json.h"
#include "worker/trainer/continuity.h"
#include "worker/trainer/examiner.h"
#include "worker/trainer/figures.h"
#include "worker/trainer/session.h"
#include "worker/trainer/verbs.h"

static enum status open_set(struct examiner *e, const struct arguments *arguments, const char *path,
                            struct dataset **dataset_out, struct error *error)
{
    struct data_source source;
    struct arena arena = {0};
    TRY(arguments_source(arguments, path, &source, error));
    enum status status = dataset_open(&source, 1, &e->format, e->tokenizer, token_cache_dir(&arena),
                                      dataset_out, NULL, error);
    arena_release(&arena);
    if (status == STATUS_OK && (*dataset_out)->pair_count == 0) {
        dataset_free(*dataset_out);
        status = error_set(error, STATUS_CONFLICT, "%s: no pair with different scores", path);
    }
    return status;
}

static enum status rewards_of(struct examiner *e, const struct dataset *dataset,
                              int64_t batch_tokens, float **reward_out, struct error *error)
{
    TRY(examiner_reserve_for(e, dataset, batch_tokens, error));
    float *reward = mem_alloc(sizeof(float) * (size_t)dataset->row_count);
    enum status status = scorer_rewards(&e->scorer, dataset, reward, error);
    if (status != STATUS_OK) {
        mem_free(reward);
        return status;
    }
    *reward_out = reward;
    return STATUS_OK;
}

/* ---- evaluate
 * ------------------------------------------------------------------------------------------- */

static enum status evaluate_sets(struct examiner *e, const struct arguments *arguments,
                                 struct table *table, json_t *list, struct error *error)
{
    for (int i = 0; i < arguments->data.count; i++) {
        const char *path = arguments->data.items[i];
        struct dataset *dataset;
        float *reward;
        TRY(open_set(e, arguments, path, &dataset, error));
        enum status status = rewards_of(e, dataset, arguments->batch_tokens, &reward, error);
        if (status == STATUS_OK) {
            struct figures figures;
            figures_compute(dataset, reward, FIGURES_CONFIDENCE, FIGURES_SEED, &figures);
            figures_row(table, path_base(path), &figures);
            json_t *one = figures_json(&figures);
            json_object_set_new(one, "data", json_string(path));
            json_array_append_new(list, one);
            mem_free(reward);
        }
        dataset_free(dataset);
        TRY(status);
    }
    return STATUS_OK;
}

static void print_json(json_t *value)
{
    struct buf text = {0};
    json_append(&text, value);
    puts(text.data);
    buf_release(&text);
}

enum status verb_evaluate(const struct arguments *arguments, struct error *error)
{
    const char *dir;
    struct examiner e;
    TRY(arguments_need(arguments, 0, "the model's directory", &dir, error));
    TRY(examiner_open(dir, arguments, NULL, &e, error));
    struct table *table = figures_table();
    json_t *list = json_array();
    enum status status = evaluate_sets(&e, arguments, table, list, error);
    if (status == STATUS_OK && arguments_table_format(arguments) == TABLE_FORMAT_JSON) {
        print_json(list); /* every figure, the reliability table included */
    } else if (status == STATUS_OK) {
        table_print(table, arguments_table_format(arguments), stdout);
    }
    json_decref(list);
    table_free(table);
    examiner_close(&e, true);
    return status;
}

/* ---- compare
 * -------------------------------------------------------------------------------------------- */

struct flip {
    int64_t group;
    double change; /* of the mean margin of its pairs */
    int32_t right_before, right_after, pairs;
};

static struct flip flip_of(const struct dataset *dataset, int64_t g, const float *a, const float *b)
{
    const struct data_group *group = &dataset->groups[g];
    const struct data_row *rows = &dataset->rows[group->row0];
    struct flip flip = {.group = g};
    for (int32_t i = 0; i < group->rows; i++) {
        for (int32_t j = 0; j < group->rows; j++) {
            if (!(rows[i].score > rows[j].score)) {
                continue;
            }
            double before = (double)a[group->row0 + i] - a[group->row0 + j];
            double after = (double)b[group->row0 + i] - b[group->row0 + j];
            flip.pairs++;
            flip.right_before += before > 0;
            flip.right_after += after > 0;
            flip.change += after - before;
        }
    }
    flip.change /= flip.pairs > 0 ? flip.pairs : 1;
    return flip;
}

static int compare_flips(const void *x, const void *y)
{
    const struct flip *a = x, *b = y;
    int32_t lost_a = a->right_before - a->right_after, lost_b = b->right_before - b->right_after;
    if (abs(lost_a) != abs(lost_b)) {
        return abs(lost_b) - abs(lost_a);
    }
    return a->group < b->group ? -1 : a->group > b->group;
}

static void print_flips(const struct dataset *dataset, const float *a, const float *b,
                        int64_t worst, enum table_format format)
{
    struct flip *flips = mem_alloc(sizeof(*flips) * (size_t)dataset->group_count);
    int64_t count = 0;
    for (int64_t g = 0; g < dataset->group_count; g++) {
        flips[count] = flip_of(dataset, g, a, b);
        count += flips[count].right_before != flips[count].right_after;
    }
    qsort(flips, (size_t)count, sizeof(*flips), compare_flips);
    struct table *table =
        table_create("line", "pairs", "right in A", "right in B", "margin change");
    for (int64_t i = 0; i < count && i < worst; i++) {
        char cells[5][32];
        snprintf(cells[0], 32, "%lld", (long long)dataset->groups[flips[i].group].line);
        snprintf(cells[1], 32, "%d", flips[i].pairs);
        snprintf(cells[2], 32, "%d", flips[i].right_before);
        snprintf(cells[3], 32, "%d", flips[i].right_after);
        snprintf(cells[4], 32, "%+.3f", flips[i].change);
        table_row(table, cells[0], cells[1], cells[2], cells[3], cells[4]);
    }
    table_print(table, format, stdout);
    if (format == TABLE_FORMAT_TABLE && count > worst) {
        printf("… and %lld more groups that flipped (--worst N)\n", (long long)(count - worst));
    }
    table_free(table);
    mem_free(flips);
}

static void print_comparison(const struct arguments *arguments, const char *path,
                             const struct dataset *dataset, const float *a, const float *b)
{
    struct figures of_a, of_b;
    struct figures_difference d;
    figures_compute(dataset, a, FIGURES_CONFIDENCE, FIGURES_SEED, &of_a);
    figures_compute(dataset, b, FIGURES_CONFIDENCE, FIGURES_SEED, &of_b);
    figures_compare(dataset, a, b, FIGURES_CONFIDENCE, FIGURES_SEED, &d);
    enum table_format format = arguments_table_format(arguments);
    if (format == TABLE_FORMAT_JSON) {
        json_t *json = json_object();
        json_object_set_new(json, "data", json_string(path));
        json_object_set_new(json, "a", figures_json(&of_a));
        json_object_set_new(json, "b", figures_json(&of_b));
        json_object_set_new(json, "difference", figures_difference_json(&d));
        print_json(json);
        json_decref(json);
        return;
    }
    if (format == TABLE_FORMAT_TABLE) {
        printf(
            "%s: A %.1f %%, B %.1f %%, B − A %+.1f points (%+.1f … %+.1f); %lld pairs gained, %lld "
            "lost\n",
            path_base(path), 100 * of_a.accuracy, 100 * of_b.accuracy, 100 * d.accuracy,
            100 * d.interval.low, 100 * d.interval.high, (long long)d.gained, (long long)d.lost);
    }
    print_flips(dataset, a, b, arguments->worst, format);
}

static enum status compare_set(struct examiner *a, struct examiner *b,
                               const struct arguments *arguments, const char *path,
                               struct error *error)
{
    struct dataset *for_a, *for_b;
    float *reward_a = NULL, *reward_b = NULL;
    TRY(open_set(a, arguments, path, &for_a, error));
    enum status status = open_set(b, arguments, path, &for_b, error);
    if (status != STATUS_OK) {
        dataset_free(for_a);
        return status;
    }
    if (for_a->row_count != for_b->row_count || for_a->group_count != for_b->group_count) {
        status =
            error_set(error, STATUS_CONFLICT,
                      "%s: the two models keep different rows of it (%lld and %lld): give both "
                      "the same --max-length and --overlong",
                      path, (long long)for_a->row_count, (long long)for_b->row_count);
    }
    if (status == STATUS_OK) {
        status = rewards_of(a, for_a, arguments->batch_tokens, &reward_a, error);
    }
    if (status == STATUS_OK) {
        status = rewards_of(b, for_b, arguments->batch_tokens, &reward_b, error);
    }
    if (status == STATUS_OK) {
        print_comparison(arguments, path, for_a, reward_a, reward_b);
    }
    mem_free(reward_a);
    mem_free(reward_b);
    dataset_free(for_a);
    dataset_free(for_b);
    return status;
}

enum status verb_compare(const struct arguments *arguments, struct error *error)
{
    const char *dirs[2];
    struct examiner a, b;
    TRY(arguments_need(arguments, 0, "the first model's directory", &dirs[0], error));
    TRY(arguments_need(arguments, 1, "the second model's directory", &dirs[1], error));
    TRY(examiner_open(dirs[0], arguments, NULL, &a, error));
    enum status status = examiner_open(dirs[1], arguments, &a, &b, error);
    if (status != STATUS_OK) {
        examiner_close(&a, true);
        return status;
    }
    for (int i = 0; i < arguments->data.count && status == STATUS_OK; i++) {
        status = compare_set(&a, &b, arguments, arguments->data.items[i], error);
    }
    examiner_close(&b, false);
    examiner_close(&a, true);
    return status;
}
