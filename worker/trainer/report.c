/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a run as it lies on disk, perhaps while it is being written: the last line of a journal
 * may be torn, a file may not be there yet. Whatever cannot be read becomes a sentence on the page.
 *
 * Rejected: the page asking for its data (fetch, or JSON in a script): one file that opens
 * anywhere, in a mail or years later, is what a customer keeps.
 */
#include "worker/trainer/report.h"

#include <math.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "worker/trainer/report_parts.h"

#define REPORT_JSON_BYTES_MAX (64 * MIB)

enum { PATH_BYTES_MAX = 4096 };

static const char *const SERIES_KEYS[SERIES_COUNT] = {
    [SERIES_LOSS] = "loss",
    [SERIES_RANK_LOSS] = "rank_loss",
    [SERIES_LM_LOSS] = "lm_loss",
    [SERIES_ACCURACY] = "accuracy",
    [SERIES_OWN_ACCURACY] = "own_accuracy",
    [SERIES_GENERAL_ACCURACY] = "general_accuracy",
    [SERIES_MARGIN] = "margin",
    [SERIES_REWARD] = "mean_reward",
    [SERIES_GRAD_NORM] = "grad_norm",
    [SERIES_LEARNING_RATE] = "learning_rate",
    [SERIES_SPEED] = "tokens_per_second",
    [SERIES_EVAL_LOSS] = "eval_loss",
    [SERIES_EVAL_ACCURACY] = "eval_accuracy",
    [SERIES_EVAL_CUSTOM] = "eval_custom_accuracy",
    [SERIES_EVAL_GENERAL] = "eval_general_accuracy",
};

enum status lines_visit(const char *path, line_visitor *visit, void *argument, struct error *error)
{
    struct file_map map;
    TRY(file_map_open(path, &map, error));
    enum status status = STATUS_OK;
    int64_t line = 0;
    for (size_t begin = 0; begin < map.size && status == STATUS_OK;) {
        const char *text = (const char *)map.data + begin;
        const char *end = memchr(text, '\n', map.size - begin);
        size_t length = end != NULL ? (size_t)(end - text) : map.size - begin;
        line++;
        if (length > 0) {
            status = visit(argument, line, text, length, error);
        }
        begin += length + 1;
    }
    file_map_close(&map);
    return status;
}

static void note(struct report_run *run, const char *text)
{
    json_array_append_new(run->notes, json_string(text));
}

/* ---- the journals ---------------------------------------------------------------------------- */

/* What line visitors work on. */
struct reading {
    struct report_run *run;
    int64_t capacity[SERIES_COUNT];
    int64_t unread; /* lines that are not JSON objects */
};

static void series_add(struct reading *reading, enum series_id id, double step, double value)
{
    struct series *series = &reading->run->series[id];
    if (series->count == reading->capacity[id]) {
        reading->capacity[id] = series->count > 0 ? 2 * series->count : 64;
        size_t size = size_mul(sizeof(double), (size_t)reading->capacity[id]);
        series->step = mem_grow(series->step, size);
        series->value = mem_grow(series->value, size);
    }
    series->step[series->count] = step;
    series->value[series->count++] = value;
}

static json_t *read_object(struct reading *reading, const char *text, size_t length)
{
    json_t *json = NULL;
    if (json_read("line", text, length, &json, NULL) == STATUS_OK && json_is_object(json)) {
        return json;
    }
    json_decref(json);
    reading->unread++;
    return NULL;
}

static enum status visit_metrics(void *argument, int64_t line, const char *text, size_t length,
                                 struct error *error)
{
    (void)line;
    (void)error;
    struct reading *reading = argument;
    struct report_run *run = reading->run;
    json_t *json = read_object(reading, text, length);
    double step = json_number_of(json, "step");
    if (json == NULL || !(step >= 0 && step < 1e15)) {
        reading->unread += json != NULL;
        json_decref(json);
        return STATUS_OK;
    }
    run->step_max = fmax(run->step_max, step);
    for (int id = 0; id < SERIES_COUNT; id++) {
        double value = json_number_of(json, SERIES_KEYS[id]);
        if (isfinite(value)) {
            series_add(reading, (enum series_id)id, step, value);
        }
    }
    if (isfinite(json_number_of(json, "epoch"))) {
        run->epoch = json_number_of(json, "epoch");
    }
    if (isfinite(json_number_of(json, "num_tokens"))) {
        run->tokens = json_integer_value(json_object_get(json, "num_tokens"));
    }
    json_decref(json);
    return STATUS_OK;
}

static enum status visit_event(void *argument, int64_t line, const char *text, size_t length,
                               struct error *error)
{
    (void)line;
    (void)error;
    struct reading *reading = argument;
    json_t *json = read_object(reading, text, length);
    if (json != NULL) {
        json_array_append_new(reading->run->events, json);
    }
    return STATUS_OK;
}

/* Returns whether the file is there. */
static bool read_journal(struct report_run *run, const char *name, const char *what,
                         line_visitor *visit)
{
    char path[PATH_BYTES_MAX];
    struct error error;
    struct reading reading = {.run = run};
    path_join(path, sizeof(path), run->dir, name);
    struct buf text = {0};
    enum status status = lines_visit(path, visit, &reading, &error);
    if (status == STATUS_NOT_FOUND) {
        buf_printf(&text, "%s is not there: %s", name, what);
    } else if (status != STATUS_OK) {
        buf_printf(&text, "%s cannot be read: %s", name, error.text);
    } else if (reading.unread > 0) {
        buf_printf(&text, "%s: %lld %s not be read and %s left out.", name,
                   (long long)reading.unread, reading.unread == 1 ? "line could" : "lines could",
                   reading.unread == 1 ? "is" : "are");
    }
    if (text.length > 0) {
        note(run, text.data);
    }
    buf_release(&text);
    return status != STATUS_NOT_FOUND;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* Returns whether the file is there; *out is NULL unless it holds a JSON object. */
static bool read_json(struct report_run *run, const char *name, json_t **out)
{
    char path[PATH_BYTES_MAX];
    struct error error;
    struct buf text = {0};
    path_join(path, sizeof(path), run->dir, name);
    enum status status = json_read_file(path, REPORT_JSON_BYTES_MAX, out, &error);
    if (status == STATUS_NOT_FOUND) {
        return false;
    }
    if (status != STATUS_OK) {
        buf_printf(&text, "%s cannot be read: %s", name, error.text);
    } else if (!json_is_object(*out)) {
        buf_printf(&text, "%s is not a JSON object.", name);
    }
    if (text.length > 0) {
        note(run, text.data);
        json_decref(*out);
        *out = NULL;
    }
    buf_release(&text);
    return true;
}

static void run_close(struct report_run *run)
{
    for (int id = 0; id < SERIES_COUNT; id++) {
        mem_free(run->series[id].step);
        mem_free(run->series[id].value);
    }
    json_decref(run->spec);
    json_decref(run->result);
    json_decref(run->events);
    json_decref(run->notes);
}

static enum status run_open(struct report_run *run, const char *dir, struct error *error)
{
    if (!dir_exists(dir)) {
        return error_set(error, STATUS_NOT_FOUND, "%s: there is no such directory", dir);
    }
    *run = (struct report_run){
        .dir = dir, .events = json_array(), .notes = json_array(), .epoch = NAN};
    /* That there is no result yet is the page's first sentence. */
    bool any = read_json(run, "result.json", &run->result);
    run->result_damaged = any && run->result == NULL;
    bool has_spec = read_json(run, "spec.json", &run->spec);
    any |= has_spec;
    any |= read_journal(run, "metrics.jsonl", "no step has been logged yet.", visit_metrics);
    any |= read_journal(run, "events.jsonl", "nothing has been recorded yet.", visit_event);
    if (!has_spec) {
        note(run, "spec.json is not there: what was asked for is unknown.");
    }
    if (any) {
        return STATUS_OK;
    }
    run_close(run);
    return error_set(error, STATUS_NOT_FOUND,
                     "%s: holds no run: none of spec.json, metrics.jsonl, events.jsonl and "
                     "result.json is there",
                     dir);
}

enum status report_write(const char *run_dir, const char *out_path, struct error *error)
{
    struct report_run run;
    struct buf page = {0};
    TRY(run_open(&run, run_dir, error));
    page_draw(&page, &run);
    enum status status = file_write_atomic(out_path, page.data, page.length, error);
    buf_release(&page);
    run_close(&run);
    return status;
}
