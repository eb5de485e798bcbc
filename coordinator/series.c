/* SPDX-License-Identifier: Apache-2.0
 *
 * Each report becomes one append of whole lines, so a reader that meets a last line without its end
 * leaves it for the next page.
 */
#include "coordinator/series.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/json.h"
#include "proto/message.h"

enum { WAITING_MAX = 2000, PAGE_BYTES_MAX = 1 << 20 };

#define FILE_BYTES_MAX (64 * (int64_t)MIB) /* of one job's metrics or logs; what comes later is lost */

static void series_path(const struct coordinator *coordinator, int64_t job, const char *name,
                        char *out)
{
    CHECK(snprintf(out, PATH_MAX, "%s/logs/j-%" PRId64 "%s%s", coordinator->data, job,
                   name != NULL ? "/" : "", name != NULL ? name : "") < PATH_MAX);
}

/* ---- adding ---------------------------------------------------------------------------------- */

struct addition {
    struct work work;
    struct coordinator *coordinator;
    enum watch_kind kind;
    int64_t job;
    struct buf lines;
};

static const char *file_of(enum watch_kind kind)
{
    return kind == WATCH_METRICS ? "metrics.jsonl" : "logs.jsonl";
}

static enum status append(void *context, void *argument, struct error *error)
{
    struct addition *addition = argument;
    char path[PATH_MAX];
    struct stat info;
    (void)context;
    series_path(addition->coordinator, addition->job, NULL, path);
    TRY(dir_create(path, error));
    series_path(addition->coordinator, addition->job, file_of(addition->kind), path);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set(error, STATUS_FAILED, "%s: %s", path, strerror(errno));
    if (fstat(fd, &info) == 0 && info.st_size < FILE_BYTES_MAX) {
        ssize_t written = write(fd, addition->lines.data, addition->lines.length);
        if (written >= 0 && (size_t)written < addition->lines.length &&
            ftruncate(fd, info.st_size) != 0) { /* no half line stays */
            close(fd);
            return error_set(error, STATUS_FAILED, "%s: %s", path, strerror(errno));
        }
    }
    close(fd);
    return STATUS_OK;
}

static void on_appended(void *argument, enum status status, const struct error *error)
{
    struct addition *addition = argument;
    (void)error;
    if (status == STATUS_OK)
        watch_wake(addition->coordinator, addition->kind, addition->job);
    buf_release(&addition->lines);
    mem_free(addition);
}

static struct addition *addition_begin(struct coordinator *coordinator, enum watch_kind kind,
                                       int64_t job)
{
    if (background_waiting(coordinator->store_thread) > WAITING_MAX)
        return NULL;
    struct addition *addition = mem_alloc(sizeof(*addition));
    *addition = (struct addition){
        .work = {.kind = WORK_WRITE, .run = append, .done = on_appended, .argument = addition},
        .coordinator = coordinator,
        .kind = kind,
        .job = job};
    return addition;
}

void series_add_metrics(struct coordinator *coordinator, const Wire__MetricReport *report)
{
    struct addition *addition = addition_begin(coordinator, WATCH_METRICS, report->job);
    if (addition == NULL)
        return;
    json_t *values = json_object();
    for (size_t i = 0; i < report->n_metrics; i++)
        if (report->metrics[i]->name != NULL)
            json_object_set_new(values, report->metrics[i]->name,
                                json_real(report->metrics[i]->value));
    buf_printf(&addition->lines, "{\"t\":%" PRId64 ",\"term\":%" PRId64 ",\"step\":%" PRId64
               ",\"v\":", report->time_ms, report->term, report->step);
    json_append(&addition->lines, values);
    buf_append_string(&addition->lines, "}\n");
    json_decref(values);
    background_add(coordinator->store_thread, &addition->work);
}

static void log_line(struct buf *out, const Wire__LogReport *report, const char *text)
{
    buf_printf(out, "{\"t\":%" PRId64 ",\"term\":%" PRId64 ",\"rank\":%" PRId64 ",\"text\":",
               report->time_ms, report->term, report->rank);
    buf_append_json_string(out, text, strlen(text));
    buf_append_string(out, "}\n");
}

void series_add_logs(struct coordinator *coordinator, const Wire__LogReport *report)
{
    char lost[64];
    struct addition *addition = addition_begin(coordinator, WATCH_LOGS, report->job);
    if (addition == NULL)
        return;
    if (report->lost > 0) {
        snprintf(lost, sizeof(lost), "(%" PRId64 " lines were lost here)", report->lost);
        log_line(&addition->lines, report, lost);
    }
    for (size_t i = 0; i < report->n_lines; i++)
        log_line(&addition->lines, report, report->lines[i]);
    background_add(coordinator->store_thread, &addition->work);
}

/* ---- reading --------------------------------------------------------------------------------- */

struct reading {
    struct work work;
    struct coordinator *coordinator;
    enum watch_kind kind;
    struct series_query query;
    struct arena *arena;
    Api__MetricList *metrics;
    Api__LogList *logs;
    coordinator_done *done;
    void *argument;
};

static void take_metric(struct reading *reading, json_t *line)
{
    struct buf text = {0};
    json_t *values = json_object_get(line, "v");
    Api__MetricPoint *point = message_add(reading->arena, reading->metrics, "points");
    point->has_time_ms = point->has_term = point->has_step = true;
    point->time_ms = json_integer_value(json_object_get(line, "t"));
    point->term = json_integer_value(json_object_get(line, "term"));
    point->step = json_integer_value(json_object_get(line, "step"));
    json_append(&text, values);
    point->values = arena_strdup(reading->arena, text.data);
    buf_release(&text);
}

static void take_log(struct reading *reading, json_t *line, int64_t number)
{
    const char *text = json_string_value(json_object_get(line, "text"));
    Api__LogLine *out = message_add(reading->arena, reading->logs, "lines");
    out->has_number = out->has_time_ms = out->has_term = out->has_rank = true;
    out->number = number;
    out->time_ms = json_integer_value(json_object_get(line, "t"));
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

/* Whole lines of the block that begins at `after`; returns where the next page begins. */
static int64_t take_lines(struct reading *reading, const char *block, size_t length)
{
    size_t at = 0;
    int64_t taken = 0;
    while (at < length && taken < reading->query.limit) {
        const char *end = memchr(block + at, '\n', length - at);
        json_t *line;
        struct error error;
        if (end == NULL)
            break;
        size_t size = (size_t)(end - block) - at;
        if (json_read("series", block + at, size, &line, &error) == STATUS_OK) {
            if (is_asked_for(reading, line)) {
                taken++;
                if (reading->kind == WATCH_METRICS)
                    take_metric(reading, line);
                else
                    take_log(reading, line, reading->query.after + (int64_t)at);
            }
            json_decref(line);
        }
        at += size + 1;
    }
    return reading->query.after + (int64_t)at;
}

static enum status read_page(void *context, void *argument, struct error *error)
{
    struct reading *reading = argument;
    char path[PATH_MAX];
    (void)context;
    int64_t next = reading->query.after;
    series_path(reading->coordinator, reading->query.job, file_of(reading->kind), path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT)
        return error_set(error, STATUS_FAILED, "%s: %s", path, strerror(errno));
    if (fd >= 0) {
        char *block = mem_alloc(PAGE_BYTES_MAX);
        ssize_t length = pread(fd, block, PAGE_BYTES_MAX, reading->query.after);
        if (length > 0)
            next = take_lines(reading, block, (size_t)length);
        mem_free(block);
        close(fd);
    }
    if (reading->kind == WATCH_METRICS) {
        reading->metrics->has_next = true;
        reading->metrics->next = next;
    } else {
        reading->logs->has_next = true;
        reading->logs->next = next;
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
    reading->work = (struct work){
        .kind = WORK_READ, .run = read_page, .done = on_read, .argument = reading};
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
