/* SPDX-License-Identifier: Apache-2.0
 *
 * A line is one write to a file opened for appending: a kill leaves whole lines, or one torn line
 * at the end, which the next journal_open cuts off.
 */
#include "worker/trainer/journal.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "worker/trainer/relay.h"

/* Keeps the lines whose "step" is at most `step`. */
static enum status cut_back(const char *path, int64_t step, struct error *error)
{
    struct buf all = {0}, kept = {0};
    enum status status = STATUS_OK;
    if (step > 0 && file_exists(path)) {
        status = file_read(path, 4 * GIB, &all, error);
    }
    for (size_t begin = 0; status == STATUS_OK && begin < all.length;) {
        const char *end = memchr(all.data + begin, '\n', all.length - begin);
        if (end == NULL) {
            break;
        }
        size_t length = (size_t)(end - all.data) - begin;
        json_t *line = NULL;
        bool whole = json_read(path, all.data + begin, length, &line, NULL) == STATUS_OK;
        if (whole && json_integer_value(json_object_get(line, "step")) <= step) {
            buf_append(&kept, all.data + begin, length + 1);
        }
        json_decref(line);
        begin += length + 1;
    }
    if (status == STATUS_OK) {
        status = file_write_atomic(path, kept.data, kept.length, error);
    }
    buf_release(&all);
    buf_release(&kept);
    return status;
}

enum status journal_open(struct journal *journal, const char *run, int64_t step, bool silent,
                         struct error *error)
{
    journal->silent = silent;
    path_join(journal->metrics_path, sizeof(journal->metrics_path), run, "metrics.jsonl");
    path_join(journal->events_path, sizeof(journal->events_path), run, "events.jsonl");
    if (silent) {
        return STATUS_OK;
    }
    TRY(cut_back(journal->metrics_path, step, error));
    return cut_back(journal->events_path, step, error);
}

static enum status append(const struct journal *journal, const char *path, const char *type,
                          json_t *line, struct error *error)
{
    struct buf text = {0};
    if (!journal->silent) {
        relay_line(type, line);
    }
    enum status status = STATUS_OK;
    json_append(&text, line);
    json_decref(line);
    if (!journal->silent) {
        status = file_append_line(path, text.data, text.length, error);
    }
    buf_release(&text);
    return status;
}

enum status journal_metrics(struct journal *journal, json_t *line, struct error *error)
{
    return append(journal, journal->metrics_path, "metrics", line, error);
}

enum status journal_event(struct journal *journal, int64_t step, const char *kind,
                          struct error *error, const char *format, ...)
{
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    json_t *line = json_object();
    json_object_set_new(line, "step", json_integer(step));
    json_object_set_new(line, "event", json_string(kind));
    json_object_set_new(line, "text", json_string(text));
    json_object_set_new(line, "time", json_integer((json_int_t)time(NULL)));
    return append(journal, journal->events_path, "event", line, error);
}
