/* SPDX-License-Identifier: Apache-2.0
 *
 * admit: what is wrong with a file of preferences, and the verdict. preview: one row as the model
 * sees it. Neither reads weights: a tokenizer and a text format are enough.
 */
#include <stdio.h>
#include <string.h>

#include "lib/json.h"
#include "worker/data/admission.h"
#include "worker/trainer/examiner.h"
#include "worker/trainer/preview.h"
#include "worker/trainer/session.h"
#include "worker/trainer/verbs.h"

static enum status reader_open(const struct arguments *arguments, struct examiner *reader,
                               struct error *error)
{
    if (arguments->from == NULL) {
        return error_set(error, STATUS_USAGE,
                         "--from DIR is missing: the tokenizer and template come from there");
    }
    return examiner_open_texts(arguments->from, arguments, reader, error);
}

static enum status find_finding(const char *name, enum finding *finding_out, struct error *error)
{
    struct buf known = {0};
    for (int f = 0; f < FINDING_COUNT; f++) {
        if (strcmp(finding_name(f), name) == 0) {
            *finding_out = f;
            buf_release(&known);
            return STATUS_OK;
        }
        buf_printf(&known, "%s%s", f > 0 ? ", " : "", finding_name(f));
    }
    enum status status = error_set(error, STATUS_USAGE, "--rows %s: no such finding; there are %s",
                                   name, known.data);
    buf_release(&known);
    return status;
}

/* The rows of one finding, with their texts, to be sent back to whoever made the data. */
static enum status list_rows(const struct arguments *arguments, const struct examiner *reader,
                             const struct admission *admission, const struct data_source *source,
                             struct error *error)
{
    enum finding finding;
    const int64_t *lines;
    TRY(find_finding(arguments->rows, &finding, error));
    int64_t count = admission_listed(admission, 0, finding, &lines);
    struct table *table = table_create("file", "line", "finding", "text");
    for (int64_t i = 0; i < count; i++) {
        char line[32];
        struct buf text = {0};
        snprintf(line, sizeof(line), "%lld", (long long)lines[i]);
        if (dataset_row_text(source, &reader->format, reader->tokenizer, lines[i], 0, &text,
                             NULL) != STATUS_OK) {
            buf_append_string(&text, "");
        }
        table_row(table, source->path, line, finding_name(finding), text.data);
        buf_release(&text);
    }
    table_print(table, arguments_table_format(arguments), stdout);
    table_free(table);
    return STATUS_OK;
}

static enum status admit(const struct arguments *arguments, const struct examiner *reader,
                         const char *path, struct error *error)
{
    struct arena arena = {0};
    struct data_source source;
    struct dataset *dataset, *train = NULL;
    struct admission *admission;
    TRY(arguments_source(arguments, path, &source, error));
    const char *cache = token_cache_dir(&arena);
    TRY(dataset_open(&source, 1, &reader->format, reader->tokenizer, cache, &dataset, &admission,
                     error));
    enum status status = STATUS_OK;
    if (arguments->against != NULL) {
        struct data_source other = source;
        other.path = arguments->against;
        other.limit = 0;
        status =
            dataset_open(&other, 1, &reader->format, reader->tokenizer, cache, &train, NULL, error);
        if (status == STATUS_OK) {
            admission_overlap(admission, dataset, train);
        }
        dataset_free(train);
    }
    struct admission_policy policy = {-1, -1, -1, -1, -1, -1, 1, 0};
    struct buf reasons = {0};
    bool json = arguments_table_format(arguments) == TABLE_FORMAT_JSON;
    if (status == STATUS_OK && arguments->rows != NULL) {
        status = list_rows(arguments, reader, admission, &source, error);
    } else if (status == STATUS_OK) {
        admission_print(admission, &policy, json, stdout);
        if (admission_judge(admission, &policy, &reasons) == VERDICT_REJECTED) {
            status = error_set(error, STATUS_FAILED, "%s is rejected: %s", path, reasons.data);
        }
    }
    buf_release(&reasons);
    admission_free(admission);
    dataset_free(dataset);
    arena_release(&arena);
    return status;
}

enum status verb_admit(const struct arguments *arguments, struct error *error)
{
    const char *path;
    struct examiner reader = {0};
    TRY(arguments_need(arguments, 0, "the file", &path, error));
    enum status status = reader_open(arguments, &reader, error);
    if (status == STATUS_OK) {
        status = admit(arguments, &reader, path, error);
    }
    examiner_close(&reader, false);
    return status;
}

static enum status preview(const struct arguments *arguments, const struct examiner *reader,
                           const char *path, struct error *error)
{
    struct data_source source;
    struct dataset *dataset;
    TRY(arguments_source(arguments, path, &source, error));
    source.any_form = true;
    TRY(dataset_open(&source, 1, &reader->format, reader->tokenizer, NULL, &dataset, NULL, error));
    int64_t group = 0;
    while (arguments->line > 0 && group < dataset->group_count &&
           dataset->groups[group].line != arguments->line) {
        group++;
    }
    enum status status = STATUS_OK;
    if (group >= dataset->group_count) {
        status =
            error_set(error, STATUS_NOT_FOUND,
                      "%s: line %lld is not among the groups that are kept (tailor data report "
                      "says why)",
                      path, (long long)arguments->line);
    }
    for (int32_t k = 0; status == STATUS_OK && k < dataset->groups[group].rows; k++) {
        printf("line %lld, row %d of %d\n", (long long)dataset->groups[group].line, k + 1,
               dataset->groups[group].rows);
        preview_row(reader->tokenizer, &reader->format, dataset, dataset->groups[group].row0 + k,
                    arguments->ids, stdout);
    }
    dataset_free(dataset);
    return status;
}

enum status verb_preview(const struct arguments *arguments, struct error *error)
{
    const char *path;
    struct examiner reader = {0};
    TRY(arguments_need(arguments, 0, "the file", &path, error));
    enum status status = reader_open(arguments, &reader, error);
    if (status == STATUS_OK) {
        status = preview(arguments, &reader, path, error);
    }
    examiner_close(&reader, false);
    return status;
}
