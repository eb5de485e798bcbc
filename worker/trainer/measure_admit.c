/* SPDX-License-Identifier: Apache-2.0
 *
 * Admission as a job: a verdict is a result, whatever it says; also that a file cannot be read as
 * preference data, with the line. Only what is no fault of the data fails the job.
 *
 *     RUN/result.json         {"verdict", "groups", "pairs", "message"}
 *     RUN/report.json         the whole report, as `tailor data report -o json` prints it
 *     RUN/rows/FINDING.jsonl  {"file", "line", "finding", "text"}: texts of the first ones
 *
 * A shard leaves RUN/shard/admission.part (worker/data/admission_shard.h). Who puts them together
 * reads the data once more where findings are listed, for their texts.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/text.h"
#include "worker/data/admission.h"
#include "worker/data/admission_shard.h"
#include "worker/data/record.h"
#include "worker/trainer/measure.h"
#include "worker/trainer/relay.h"
#include "worker/trainer/session.h"

enum { TEXTS_MAX = 200, MESSAGE_BYTES = 1000 };

#define PART_FILE "admission.part"

/* ---- the rows of findings -------------------------------------------------------------------- */

/* A line that some finding lists. */
struct listed {
    int64_t line;
    enum finding finding;
    bool with_text;
};

static int compare_listed(const void *a, const void *b)
{
    const struct listed *x = a, *y = b;
    if (x->line != y->line) {
        return x->line < y->line ? -1 : 1;
    }
    return (int)x->finding - (int)y->finding;
}

static struct listed *listed_make(struct measure *m, const struct admission *admission, int source,
                                  int64_t *count_out)
{
    const int64_t *lines;
    int64_t total = 0, count = 0;
    for (int f = 0; f < FINDING_COUNT; f++) {
        total += admission_listed(admission, source, f, &lines);
    }
    struct listed *listed = arena_array(&m->arena, struct listed, total + 1);
    for (int f = 0; f < FINDING_COUNT; f++) {
        int64_t of_this = admission_listed(admission, source, f, &lines);
        for (int64_t i = 0; i < of_this; i++) {
            listed[count++] = (struct listed){lines[i], f, i < TEXTS_MAX};
        }
    }
    qsort(listed, (size_t)count, sizeof(*listed), compare_listed);
    *count_out = count;
    return listed;
}

static void row_append(struct buf *out, const char *file, const struct listed *it,
                       const struct buf *text)
{
    json_t *json = json_object();
    json_object_set_new(json, "file", json_string(file));
    json_object_set_new(json, "line", json_integer(it->line));
    json_object_set_new(json, "finding", json_string(finding_name(it->finding)));
    if (text->length > 0) {
        json_object_set_new(json, "text", json_stringn(text->data, text->length));
    }
    json_append(out, json);
    buf_append_char(out, '\n');
    json_decref(json);
}

/* One pass over the file: the findings of each line, with its first response as the model reads it.
 */
static enum status rows_of_source(struct measure *m, const struct admission *admission, int i,
                                  struct buf *out, struct error *error)
{
    struct data_source source = measure_source(m, i);
    struct record_reader *reader;
    struct record record = {0};
    enum status status = STATUS_OK;
    int64_t count, next = 0;
    const struct listed *listed = listed_make(m, admission, i, &count);
    TRY(record_reader_open(&source, &reader, error));
    while (status == STATUS_OK && next < count) {
        struct buf text = {0};
        status = record_reader_next(reader, &record, error);
        if (status != STATUS_OK || record.number == 0) {
            break;
        }
        if (record.number == listed[next].line && listed[next].with_text && !record.invalid_utf8 &&
            record.response_count > 0 && record.responses[0].ids == NULL &&
            record_render(&record, &record.responses[0], &m->examiner.format, m->examiner.tokenizer,
                          &text, NULL) != STATUS_OK) {
            buf_clear(&text);
        }
        for (; next < count && listed[next].line <= record.number; next++) {
            row_append(&out[listed[next].finding], measure_name(m, i), &listed[next], &text);
        }
        buf_release(&text);
    }
    record_reader_close(reader);
    return status;
}

static enum status rows_leave(struct measure *m, const struct admission *admission,
                              struct error *error)
{
    struct buf out[FINDING_COUNT] = {{0}};
    enum status status = STATUS_OK;
    for (int i = 0; status == STATUS_OK && i < m->spec->data.eval.count; i++) {
        status = rows_of_source(m, admission, i, out, error);
    }
    for (int f = 0; f < FINDING_COUNT; f++) {
        if (status == STATUS_OK && out[f].length > 0) {
            const char *path = arena_printf(&m->arena, "%s/rows/%s.jsonl", m->run, finding_name(f));
            status = file_write_atomic(path, out[f].data, out[f].length, error);
        }
        buf_release(&out[f]);
    }
    return status;
}

/* ---- the verdict ----------------------------------------------------------------------------- */

static enum status report_leave(struct measure *m, const struct admission *admission,
                                const struct admission_policy *policy, struct error *error)
{
    const char *path = arena_printf(&m->arena, "%s/report.json", m->run);
    FILE *out = fopen(path, "w");
    if (out == NULL) {
        return error_set(error, STATUS_IO, "%s: %s", path, strerror(errno));
    }
    admission_print(admission, policy, true, out);
    return fclose(out) == 0 ? STATUS_OK
                            : error_set(error, STATUS_IO, "%s: %s", path, strerror(errno));
}

static enum status verdict_leave(struct measure *m, const char *verdict, int64_t groups,
                                 int64_t pairs, const char *why, struct error *error)
{
    char clean[MESSAGE_BYTES];
    struct buf message = {0};
    json_t *fields = json_object();
    measure_words(m, why != NULL ? why : "", &message);
    for (size_t i = 0; i + 1 < message.length; i++) { /* reasons are lines */
        message.data[i] = message.data[i] == '\n' ? ';' : message.data[i];
    }
    text_clean(message.length > 0 ? message.data : "", clean, sizeof(clean));
    json_object_set_new(fields, "verdict", json_string(verdict));
    json_object_set_new(fields, "groups", json_integer(groups));
    json_object_set_new(fields, "pairs", json_integer(pairs));
    json_object_set_new(fields, "message", json_string(clean));
    printf("%s%s%s\n", verdict, clean[0] != '\0' ? ": " : "", clean);
    buf_release(&message);
    return measure_write_result(m, fields, error);
}

static enum status judge(struct measure *m, struct admission *admission, struct error *error)
{
    struct admission_policy policy = policy_from_spec(m->spec);
    struct buf reasons = {0};
    int64_t groups = 0, pairs = 0;
    enum verdict verdict = admission_judge(admission, &policy, &reasons);
    enum status status = rows_leave(m, admission, error);
    for (int i = 0; i < admission_source_count(admission); i++) {
        groups += admission_source(admission, i)->groups_kept;
        pairs += admission_source(admission, i)->pairs;
    }
    if (status == STATUS_OK) {
        status = report_leave(m, admission, &policy, error);
    }
    if (status == STATUS_OK) {
        status = verdict_leave(m, verdict_name(verdict), groups, pairs, reasons.data, error);
    }
    buf_release(&reasons);
    return status;
}

/* ---- reading --------------------------------------------------------------------------------- */

static enum status read_shard(struct measure *m, const struct admission_whole *whole,
                              struct error *error)
{
    struct buf bytes = {0};
    enum status status = admission_shard_read(whole, m->shard, m->shards, &bytes, error);
    if (status == STATUS_OK) {
        status = file_write_atomic(measure_own_path(m, PART_FILE), bytes.data, bytes.length, error);
    }
    buf_release(&bytes);
    return status;
}

static enum status read_parts(struct measure *m, const struct admission_whole *whole,
                              struct admission **admission_out, struct error *error)
{
    struct file_map maps[SHARDS_MAX] = {{0}};
    enum status status = STATUS_OK;
    for (int64_t k = 0; status == STATUS_OK && k < m->shards; k++) {
        status = file_map_open(measure_part_path(m, k + 1, PART_FILE), &maps[k], error);
    }
    if (status == STATUS_OK) {
        status = admission_shards_join(whole, maps, m->shards, admission_out, error);
    }
    for (int64_t k = 0; k < m->shards; k++) {
        file_map_close(&maps[k]);
    }
    return status;
}

static enum status read_all(struct measure *m, const struct admission_whole *whole,
                            struct admission **admission_out, struct error *error)
{
    struct dataset *dataset;
    TRY(dataset_open(whole->sources, whole->count, whole->format, whole->tokenizer,
                     token_cache_dir(&m->arena), &dataset, admission_out, error));
    dataset_free(dataset);
    return STATUS_OK;
}

enum status measure_admit(struct measure *m, struct error *error)
{
    int count = m->spec->data.eval.count;
    struct data_source *sources = arena_array(&m->arena, struct data_source, count);
    const struct admission_whole whole = {sources, count, &m->examiner.format,
                                          m->examiner.tokenizer};
    struct admission *admission;
    struct error trouble;
    for (int i = 0; i < count; i++) {
        sources[i] = measure_source(m, i);
    }
    relay_running(0, 0);
    if (m->shard > 0) {
        return read_shard(m, &whole, error);
    }
    enum status status = m->shards > 0 ? read_parts(m, &whole, &admission, &trouble)
                                       : read_all(m, &whole, &admission, &trouble);
    if (admission_is_verdict(status)) {
        return verdict_leave(m, verdict_name(VERDICT_REJECTED), 0, 0, trouble.text, error);
    }
    if (status != STATUS_OK) {
        *error = trouble;
        return status;
    }
    status = judge(m, admission, error);
    admission_free(admission);
    return status;
}
