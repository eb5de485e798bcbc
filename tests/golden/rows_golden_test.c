/* SPDX-License-Identifier: Apache-2.0
 *
 * From a file to token rows: the goldens' groups, written as JSON lines and opened as a dataset,
 * give the goldens' rows, orders and normalised scores.
 */
#include <string.h>

#include "lib/buf.h"
#include "lib/json.h"
#include "tests/data_fixture.h"
#include "tests/golden/golden.h"
#include "tests/test.h"
#include "worker/data/admission.h"

static struct dataset *rows_open(const char *lines, const char *model,
                                 const struct text_format *format)
{
    struct data_source source = {.path = fixture_write("golden.jsonl", lines)};
    struct tokenizer *tokenizer = NULL;
    struct dataset *dataset = NULL;
    struct error error = {0};
    if (tokenizer_open(golden_path("models/%s/base", model), &tokenizer, &error) == STATUS_OK) {
        dataset_open(&source, 1, format, tokenizer, NULL, &dataset, NULL, &error);
        tokenizer_free(tokenizer);
    }
    if (dataset == NULL) {
        test_fail(__FILE__, __LINE__, "%s: %s", model, error.text);
    }
    return dataset;
}

static void expect_row(const json_t *expected, const struct dataset *dataset, int64_t row)
{
    const struct data_row *got = &dataset->rows[row];
    EXPECT_I64((int64_t)json_array_size(expected), got->tokens);
    for (int32_t i = 0; i < got->tokens && !test_failed(); i++) {
        EXPECT_I64(json_integer_value(json_array_get(expected, (size_t)i)),
                   dataset->tokens[got->token0 + i]);
    }
}

static void group_append(struct buf *lines, const json_t *group)
{
    json_t *record = json_pack("{s:O, s:O, s:O}", "prompt", json_object_get(group, "prompt"),
                               "responses", json_object_get(group, "responses"), "scores",
                               json_object_get(group, "raw_scores"));
    json_append(lines, record);
    buf_append_char(lines, '\n');
    json_decref(record);
}

static void expect_case(const char *model, const char *name)
{
    json_t *golden = golden_load("cases/%s/%s.json", model, name);
    if (golden == NULL) {
        return;
    }
    const json_t *groups = json_object_get(golden, "groups"),
                 *rows = json_object_get(golden, "rows");
    size_t width = (size_t)json_integer_value(json_object_get(golden, "width"));
    struct text_format format = fixture_format();
    struct buf lines = {0};
    for (size_t g = 0; g < json_array_size(groups); g++) {
        group_append(&lines, json_array_get(groups, g));
    }
    format.max_length = 4096;
    struct dataset *dataset = rows_open(lines.data, model, &format);
    if (dataset != NULL) {
        EXPECT_I64((int64_t)json_array_size(groups), dataset->group_count);
        for (int64_t g = 0; g < dataset->group_count && !test_failed(); g++) {
            const json_t *group = json_array_get(groups, (size_t)g);
            const json_t *order = json_object_get(group, "order");
            const json_t *scores = json_object_get(group, "scores");
            EXPECT_I64((int64_t)json_array_size(order), dataset->groups[g].rows);
            for (size_t k = 0; k < json_array_size(order) && !test_failed(); k++) {
                int64_t row = dataset->groups[g].row0 + (int64_t)k;
                expect_row(json_array_get(rows, (size_t)g * width + k), dataset, row);
                EXPECT_I64(json_integer_value(json_array_get(order, k)),
                           dataset->rows[row].response);
                EXPECT_CLOSE(json_number_value(json_array_get(scores, k)),
                             dataset->rows[row].normalised, 2e-7);
            }
        }
    }
    dataset_free(dataset);
    buf_release(&lines);
    json_decref(golden);
}

TEST(every_case_gives_the_goldens_rows)
{
    static const char *const names[] = {"k2", "k3", "k5", "mixed", "ties", "single"};
    struct arena arena = {0};
    const char **models;
    int count = golden_list(&arena, "cases", &models);
    for (int i = 0; i < count; i++) {
        for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
            expect_case(models[i], names[n]);
        }
    }
    if (count == 0) {
        test_skip("cases: not in this golden directory");
    }
    arena_release(&arena);
}

static void expect_truncation(const char *model, const json_t *entry)
{
    const char *side = json_string_value(json_object_get(entry, "truncation_side"));
    const json_t *responses = json_object_get(entry, "responses");
    const json_t *rows = json_object_get(entry, "rows");
    struct text_format format = fixture_format();
    struct buf lines = {0};
    json_t *scores = json_array();
    for (size_t i = 0; i < json_array_size(responses); i++) {
        json_array_append_new(scores, json_integer(-(json_int_t)i)); /* keeps their order */
    }
    json_t *record = json_pack("{s:O, s:O, s:o}", "prompt", json_object_get(entry, "prompt"),
                               "responses", responses, "scores", scores);
    json_append(&lines, record);
    format.max_length = (int32_t)json_integer_value(json_object_get(entry, "max_length"));
    format.overlong = strcmp(side, "left") == 0 ? OVERLONG_TRUNCATE_LEFT : OVERLONG_TRUNCATE_RIGHT;
    struct dataset *dataset = rows_open(lines.data, model, &format);
    /* A group whose rows became identical is left out: then there is nothing to compare. */
    for (int64_t row = 0; dataset != NULL && row < dataset->row_count; row++) {
        expect_row(json_array_get(rows, (size_t)row), dataset, row);
    }
    dataset_free(dataset);
    json_decref(record);
    buf_release(&lines);
}

TEST(truncated_rows_are_the_goldens)
{
    struct arena arena = {0};
    const char **models;
    int count = golden_list(&arena, "cases", &models);
    for (int i = 0; i < count; i++) {
        json_t *entries = golden_load("cases/%s/truncation.json", models[i]);
        for (size_t e = 0; e < json_array_size(entries) && !test_failed(); e++) {
            expect_truncation(models[i], json_array_get(entries, e));
        }
        json_decref(entries);
    }
    arena_release(&arena);
}

TEST_MAIN()
