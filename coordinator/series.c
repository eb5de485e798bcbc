/* SPDX-License-Identifier: Apache-2.0
 *
 * A writer is kept open for the jobs that report; the one that was used longest ago makes room.
 */
#include "coordinator/series.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"
#include "proto/message.h"
#include "storage/files/segment.h"
#include "storage/records/job_record.h"

enum { WAITING_MAX = 2000, WRITERS_MAX = 64, LINES_MAX = 1025 };

static const struct segment_options SEGMENTS = {.segment_bytes = 4 << 20, .keep = 8};

struct writer {
    int64_t job, used;
    enum watch_kind kind;
    struct segment_writer *segment;
};

struct series {
    struct writer writers[WRITERS_MAX];
    int count;
    int64_t clock;
};

struct series *series_create(void)
{
    return mem_alloc(sizeof(struct series));
}

void series_free(struct series *series)
{
    for (int i = 0; i < series->count; i++)
        segment_close(series->writers[i].segment);
    mem_free(series);
}

static void series_path(const struct coordinator *coordinator, int64_t job, enum watch_kind kind,
                        char *out)
{
    CHECK(snprintf(out, PATH_MAX, "%s/logs/j-%" PRId64 "/%s", coordinator->data, job,
                   kind == WATCH_METRICS ? "metrics" : "lines") < PATH_MAX);
}

/* ---- adding ---------------------------------------------------------------------------------- */

struct addition {
    struct work work;
    struct coordinator *coordinator;
    enum watch_kind kind;
    int64_t job, time_ms;
    struct buf text;
    size_t ends[LINES_MAX]; /* of the entries in `text` */
    int count;
};

static enum status writer_of(struct series *series, const struct addition *addition,
                             struct segment_writer **writer_out, struct error *error)
{
    char path[PATH_MAX];
    struct writer *oldest = &series->writers[0];
    for (int i = 0; i < series->count; i++) {
        struct writer *it = &series->writers[i];
        if (it->job == addition->job && it->kind == addition->kind) {
            it->used = ++series->clock;
            *writer_out = it->segment;
            return STATUS_OK;
        }
        oldest = it->used < oldest->used ? it : oldest;
    }
    struct writer writer = {addition->job, ++series->clock, addition->kind, NULL};
    series_path(addition->coordinator, addition->job, addition->kind, path);
    TRY(segment_open(path, &SEGMENTS, &writer.segment, error));
    if (series->count < WRITERS_MAX) {
        series->writers[series->count++] = writer;
    } else {
        segment_close(oldest->segment);
        *oldest = writer;
    }
    *writer_out = writer.segment;
    return STATUS_OK;
}

static enum status append(void *context, void *argument, struct error *error)
{
    struct addition *addition = argument;
    struct segment_writer *writer;
    int64_t number;
    size_t begin = 0;
    (void)context;
    TRY(writer_of(addition->coordinator->series, addition, &writer, error));
    for (int i = 0; i < addition->count; i++) {
        TRY(segment_append(writer, addition->time_ms, addition->text.data + begin,
                           addition->ends[i] - begin, &number, error));
        begin = addition->ends[i];
    }
    return STATUS_OK;
}

static void on_appended(void *argument, enum status status, const struct error *error)
{
    struct addition *addition = argument;
    (void)error;
    if (status == STATUS_OK)
        watch_wake(addition->coordinator, addition->kind, addition->job);
    buf_release(&addition->text);
    mem_free(addition);
}

static struct addition *addition_begin(struct coordinator *coordinator, enum watch_kind kind,
                                       int64_t job, int64_t time_ms)
{
    if (background_waiting(coordinator->store_thread) > WAITING_MAX)
        return NULL;
    struct addition *addition = mem_alloc(sizeof(*addition));
    *addition = (struct addition){
        .work = {.kind = WORK_WRITE, .run = append, .done = on_appended, .argument = addition},
        .coordinator = coordinator,
        .kind = kind,
        .job = job,
        .time_ms = time_ms};
    return addition;
}

void series_add_metrics(struct coordinator *coordinator, const Wire__MetricReport *report)
{
    struct addition *addition =
        addition_begin(coordinator, WATCH_METRICS, report->job, report->time_ms);
    if (addition == NULL)
        return;
    json_t *values = json_object();
    for (size_t i = 0; i < report->n_metrics; i++)
        if (report->metrics[i]->name != NULL)
            json_object_set_new(values, report->metrics[i]->name,
                                json_real(report->metrics[i]->value));
    buf_printf(&addition->text, "{\"term\":%" PRId64 ",\"step\":%" PRId64 ",\"v\":", report->term,
               report->step);
    json_append(&addition->text, values);
    buf_append_char(&addition->text, '}');
    json_decref(values);
    addition->ends[addition->count++] = addition->text.length;
    background_add(coordinator->store_thread, &addition->work);
}

static void log_line(struct addition *addition, const Wire__LogReport *report, const char *text)
{
    if (addition->count == LINES_MAX)
        return;
    buf_printf(&addition->text,
               "{\"term\":%" PRId64 ",\"rank\":%" PRId64 ",\"text\":", report->term, report->rank);
    buf_append_json_string(&addition->text, text, strlen(text));
    buf_append_char(&addition->text, '}');
    addition->ends[addition->count++] = addition->text.length;
}

void series_add_logs(struct coordinator *coordinator, const Wire__LogReport *report)
{
    char lost[64];
    struct addition *addition =
        addition_begin(coordinator, WATCH_LOGS, report->job, report->time_ms);
    if (addition == NULL)
        return;
    if (report->lost > 0) {
        snprintf(lost, sizeof(lost), "(%" PRId64 " lines were lost here)", report->lost);
        log_line(addition, report, lost);
    }
    for (size_t i = 0; i < report->n_lines; i++)
        log_line(addition, report, report->lines[i]);
    background_add(coordinator->store_thread, &addition->work);
}

/* ---- forgetting ------------------------------------------------------------------------------ */

enum { FORGET_JOBS = 64 }; /* at a time */

struct forgetting {
    struct work work; /* on the store's thread */
    struct coordinator *coordinator;
    int64_t jobs[FORGET_JOBS];
    int count, done; /* of these, the first have no lines any more */
};

static enum status forget_read(struct records *records, void *argument, struct error *error)
{
    struct forgetting *it = argument;
    return job_record_stale_logs(records, it->jobs, FORGET_JOBS, &it->count, error);
}

static void writer_drop(struct series *series, int64_t job)
{
    for (int i = 0; i < series->count; i++) {
        struct writer *it = &series->writers[i];
        if (it->job != job || it->kind != WATCH_LOGS)
            continue;
        segment_close(it->segment);
        *it = series->writers[--series->count];
        return;
    }
}

static enum status forget_files(void *context, void *argument, struct error *error)
{
    struct forgetting *it = argument;
    char path[PATH_MAX];
    (void)context;
    for (it->done = 0; it->done < it->count; it->done++) {
        writer_drop(it->coordinator->series, it->jobs[it->done]);
        series_path(it->coordinator, it->jobs[it->done], WATCH_LOGS, path);
        if (dir_exists(path))
            TRY(dir_remove(path, error));
    }
    return STATUS_OK;
}

static enum status forget_write(struct records *records, void *argument, struct error *error)
{
    struct forgetting *it = argument;
    for (int i = 0; i < it->done; i++)
        TRY(job_record_log_gone(records, it->jobs[i], error));
    return STATUS_OK;
}

static void on_forgotten(void *argument, enum status status, const struct error *error)
{
    struct forgetting *it = argument;
    if (status != STATUS_OK)
        log_warn("logs that quote removed data stay until the next start: %s", error->text);
    else if (it->count == FORGET_JOBS && !it->coordinator->closing)
        series_forget(it->coordinator);
    mem_free(it);
}

static void on_files_gone(void *argument, enum status status, const struct error *error)
{
    struct forgetting *it = argument;
    if (status != STATUS_OK || it->count == 0 || it->coordinator->closing)
        on_forgotten(it, status, error);
    else
        coordinator_write(it->coordinator, forget_write, on_forgotten, it);
}

static void on_forget_read(void *argument, enum status status, const struct error *error)
{
    struct forgetting *it = argument;
    if (status != STATUS_OK || it->count == 0 || it->coordinator->closing) {
        it->count = 0;
        on_forgotten(it, status, error);
        return;
    }
    it->work = (struct work){
        .kind = WORK_WRITE, .run = forget_files, .done = on_files_gone, .argument = it};
    background_add(it->coordinator->store_thread, &it->work);
}

void series_forget(struct coordinator *coordinator)
{
    struct forgetting *it = mem_alloc(sizeof(*it));
    it->coordinator = coordinator;
    coordinator_read(coordinator, forget_read, on_forget_read, it);
}

/* ---- reading --------------------------------------------------------------------------------- */

struct reading {
    struct work work;
    struct coordinator *coordinator;
    enum watch_kind kind;
    struct series_query query;
    int64_t taken, next;
    struct arena *arena;
    Api__MetricList *metrics;
    Api__LogList *logs;
    coordinator_done *done;
    void *argument;
};

static void take_metric(struct reading *reading, const struct segment_entry *entry,
                        const json_t *line)
{
    struct buf text = {0};
    Api__MetricPoint *point = message_add(reading->arena, reading->metrics, "points");
    point->has_time_ms = point->has_term = point->has_step = true;
    point->time_ms = entry->time_ms;
    point->term = json_integer_value(json_object_get(line, "term"));
    point->step = json_integer_value(json_object_get(line, "step"));
    json_append(&text, json_object_get(line, "v"));
    point->values = arena_strdup(reading->arena, text.data);
    buf_release(&text);
}

static void take_log(struct reading *reading, const struct segment_entry *entry, const json_t *line)
{
    const char *text = json_string_value(json_object_get(line, "text"));
    Api__LogLine *out = message_add(reading->arena, reading->logs, "lines");
    out->has_number = out->has_time_ms = out->has_term = out->has_rank = true;
    out->number = entry->number;
    out->time_ms = entry->time_ms;
    out->term = json_integer_value(json_object_get(line, "term"));
    out->rank = json_integer_value(json_object_get(line, "rank"));
    out->text = arena_strdup(reading->arena, text != NULL ? text : "");
}

static bool is_asked_for(const struct reading *reading, const json_t *line)
{
    const struct series_query *query = &reading->query;
    int64_t term = json_integer_value(json_object_get(line, "term"));
    int64_t rank = json_integer_value(json_object_get(line, "rank"));
    return (query->term == 0 || query->term == term) &&
           (reading->kind == WATCH_METRICS || query->rank < 0 || query->rank == rank);
}

static bool take_entry(const struct segment_entry *entry, void *argument)
{
    struct reading *reading = argument;
    json_t *line;
    struct error error;
    if (reading->taken == reading->query.limit)
        return false;
    reading->next = entry->number;
    if (reading->query.end)
        return true;
    if (json_read("an entry", entry->data, entry->length, &line, &error) != STATUS_OK)
        return true;
    if (is_asked_for(reading, line)) {
        reading->taken++;
        if (reading->kind == WATCH_METRICS)
            take_metric(reading, entry, line);
        else
            take_log(reading, entry, line);
    }
    json_decref(line);
    return true;
}

static enum status read_page(void *context, void *argument, struct error *error)
{
    struct reading *reading = argument;
    char path[PATH_MAX];
    (void)context;
    reading->next = reading->query.after;
    series_path(reading->coordinator, reading->query.job, reading->kind, path);
    TRY(segment_read(path, reading->query.after, take_entry, reading, error));
    if (reading->kind == WATCH_METRICS) {
        reading->metrics->has_next = true;
        reading->metrics->next = reading->next;
    } else {
        reading->logs->has_next = true;
        reading->logs->next = reading->next;
    }
    return STATUS_OK;
}

static void on_read(void *argument, enum status status, const struct error *error)
{
    struct reading *reading = argument;
    reading->done(reading->argument, status, error);
    mem_free(reading);
}

static void reading_add(struct coordinator *coordinator, const struct reading *what)
{
    struct reading *reading = mem_alloc(sizeof(*reading));
    *reading = *what;
    reading->coordinator = coordinator;
    reading->work =
        (struct work){.kind = WORK_READ, .run = read_page, .done = on_read, .argument = reading};
    if (reading->query.limit <= 0 || reading->query.limit > PAGE_MAX)
        reading->query.limit = PAGE_MAX;
    background_add(coordinator->store_thread, &reading->work);
}

void coordinator_metrics_read(struct coordinator *coordinator, const struct series_query *query,
                              struct arena *arena, Api__MetricList *list_out,
                              coordinator_done *done, void *argument)
{
    reading_add(coordinator, &(struct reading){.kind = WATCH_METRICS,
                                               .query = *query,
                                               .arena = arena,
                                               .metrics = list_out,
                                               .done = done,
                                               .argument = argument});
}

void coordinator_logs_read(struct coordinator *coordinator, const struct series_query *query,
                           struct arena *arena, Api__LogList *list_out, coordinator_done *done,
                           void *argument)
{
    reading_add(coordinator, &(struct reading){.kind = WATCH_LOGS,
                                               .query = *query,
                                               .arena = arena,
                                               .logs = list_out,
                                               .done = done,
                                               .argument = argument});
}
