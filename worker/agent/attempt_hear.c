/* SPDX-License-Identifier: Apache-2.0
 *
 * What ranks print becomes log lines, what they report becomes metrics, findings and states.
 *
 * Both pipes are read whenever they have something, so no trainer ever waits for us. What the
 * coordinator does not take in time is dropped and counted; only stamped reports are kept.
 */
#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "lib/text.h"
#include "proto/message.h"
#include "worker/agent/attempt.h"

enum { READ_BYTES = 1 << 16, METRICS_MAX = 64, METRIC_NAME_MAX = 63 };

/* ---- what it prints -------------------------------------------------------------------------- */

static void tail_add(struct rank *rank, const char *line, size_t length)
{
    length = length < TAIL_BYTES - 1 ? length : TAIL_BYTES - 1;
    if (rank->tail_length + length + 1 > TAIL_BYTES) {
        size_t keep = TAIL_BYTES - length - 1;
        keep = keep < rank->tail_length ? keep : rank->tail_length;
        memmove(rank->tail, rank->tail + rank->tail_length - keep, keep);
        rank->tail_length = keep;
    }
    memcpy(rank->tail + rank->tail_length, line, length);
    rank->tail_length += length;
    rank->tail[rank->tail_length++] = '\n';
}

static void on_printed(void *argument, const char *line, size_t length)
{
    struct rank *rank = argument;
    char clean[LOG_LINE_BYTES + 1];
    (void)length;
    size_t size = text_clean(line, clean, sizeof(clean));
    tail_add(rank, clean, size);
    if (rank->log_count == LOG_LINES_MAX)
        rank->log_lost++;
    else
        rank->log[rank->log_count++] = mem_strdup(clean);
}

void attempt_flush_logs(struct attempt *it, struct rank *rank, bool all)
{
    Wire__LogReport report = WIRE__LOG_REPORT__INIT;
    bool due = it->now_ms - rank->log_ms >= LOG_FLUSH_MS || all;
    if (rank->log_count == 0 || !due || (!it->place->link->up && !all))
        return;
    report.has_job = report.has_term = report.has_rank = report.has_time_ms = true;
    report.has_lost = true;
    report.job = it->job;
    report.term = it->term;
    report.rank = rank->number;
    report.time_ms = it->wall_ms;
    report.lost = rank->log_lost;
    report.lines = rank->log;
    report.n_lines = (size_t)rank->log_count;
    link_send(it->place->link, WORKER_LOG_REPORT, &report);
    for (int i = 0; i < rank->log_count; i++)
        mem_free(rank->log[i]);
    rank->log_count = 0;
    rank->log_lost = 0;
    rank->log_ms = it->now_ms;
}

/* ---- what it reports ------------------------------------------------------------------------- */

static void metric_add(struct arena *arena, Wire__MetricReport *report, const char *section,
                       const char *key, const json_t *value)
{
    char name[2 * METRIC_NAME_MAX + 2];
    snprintf(name, sizeof(name), "%s%s%s", section, section[0] != '\0' ? "." : "", key);
    if (!json_is_number(value) || strcmp(name, "step") == 0 || strlen(name) > METRIC_NAME_MAX ||
        report->n_metrics == METRICS_MAX)
        return;
    Wire__Metric *metric = message_add(arena, report, "metrics");
    metric->name = arena_strdup(arena, name);
    metric->has_value = true;
    metric->value = json_number_value(value);
}

static void on_metrics(struct attempt *it, const json_t *line)
{
    struct arena arena = {0};
    Wire__MetricReport *report = message_new(&arena, &wire__metric_report__descriptor);
    const char *key, *inner;
    json_t *value, *number;
    report->has_job = report->has_term = report->has_step = report->has_time_ms = true;
    report->job = it->job;
    report->term = it->term;
    report->step = it->step;
    report->time_ms = it->wall_ms;
    json_object_foreach((json_t *)line, key, value)
    {
        metric_add(&arena, report, "", key, value);
        json_object_foreach(value, inner, number) metric_add(&arena, report, key, inner, number);
    }
    link_send(it->place->link, WORKER_METRIC_REPORT, report);
    arena_release(&arena);
}

static void on_event(struct attempt *it, const json_t *line)
{
    Wire__Finding finding = WIRE__FINDING__INIT;
    const char *kind = json_string_value(json_object_get(line, "event"));
    const char *text = json_string_value(json_object_get(line, "text"));
    char message[1024];
    if (kind == NULL || text == NULL || strlen(kind) > METRIC_NAME_MAX)
        return;
    if (strcmp(kind, "checkpoint") == 0 || strcmp(kind, "resume") == 0)
        return; /* no findings: the run's own records of them */
    text_clean(text, message, sizeof(message));
    finding.kind = (char *)kind; /* protobuf-c knows no const */
    finding.message = message;
    finding.has_step = finding.has_severity = finding.has_time_ms = true;
    finding.step = it->step;
    finding.time_ms = it->wall_ms;
    finding.severity = API__SEVERITY__SEVERITY_WARNING;
    if (!outbox_put(&it->outbox, WORKER_FINDING, &finding.stamp, &finding, false))
        log_warn("a finding of job %lld is lost: too many reports wait", (long long)it->job);
}

static void on_checkpoint(struct attempt *it, const json_t *line)
{
    it->checkpoint_step = it->step;
    it->checkpoint_seconds = json_number_value(json_object_get(line, "seconds"));
}

static void on_running(struct attempt *it, struct rank *rank, const json_t *line)
{
    json_get_i64(line, "steps", 0, STEPS_MAX, &it->steps_total, NULL);
    rank->trains = true;
    for (int i = 0; i < it->rank_count; i++)
        if (!it->ranks[i].trains)
            return;
    if (!it->running_said) {
        it->running_said = true;
        attempt_report_state(it, API__ATTEMPT_STATE__ATTEMPT_STATE_RUNNING);
    }
}

static void on_failure(struct attempt *it, const struct rank *rank, const json_t *line)
{
    const char *name = json_string_value(json_object_get(line, "class"));
    const char *text = json_string_value(json_object_get(line, "message"));
    char message[1024];
    int failure = name != NULL ? enum_parse(&api__failure_class__descriptor, name) : -1;
    if (failure <= 0 || text == NULL)
        return; /* "stopped" is no failure */
    /* That it lost the others is what follows from another's failure: that one speaks for itself.
     */
    if (failure == API__FAILURE_CLASS__FAILURE_CLASS_COMMUNICATION && it->rank_count > 1)
        return;
    text_clean(text, message, sizeof(message));
    it->no_space = it->no_space || json_is_true(json_object_get(line, "full"));
    attempt_fail(it, (Api__FailureClass)failure, rank->number, "%s", message);
}

static void on_reported(void *argument, const char *text, size_t length)
{
    struct rank *rank = argument;
    struct attempt *it = rank->attempt;
    struct error error;
    json_t *line;
    if (json_read("report", text, length, &line, &error) != STATUS_OK) {
        log_warn("job %lld rank %lld: %s", (long long)it->job, (long long)rank->number, error.text);
        return;
    }
    const char *type = json_string_value(json_object_get(line, "type"));
    json_get_i64(line, "step", 0, STEPS_MAX, &it->step, NULL);
    if (type == NULL)
        log_warn("job %lld: a report without a type", (long long)it->job);
    else if (strcmp(type, "metrics") == 0)
        on_metrics(it, line);
    else if (strcmp(type, "event") == 0)
        on_event(it, line);
    else if (strcmp(type, "checkpoint") == 0)
        on_checkpoint(it, line);
    else if (strcmp(type, "running") == 0)
        on_running(it, rank, line);
    else if (strcmp(type, "failure") == 0)
        on_failure(it, rank, line);
    else if (strcmp(type, "scores") == 0 && it->serving != NULL)
        serving_answer(it->serving, it, line);
    json_decref(line);
}

/* At most so much a turn of each, so that one that floods does not keep us from the others. */
static void drain(int *fd, struct lines *lines, lines_take *take, struct rank *rank)
{
    char block[READ_BYTES];
    for (int i = 0; i < 8; i++) {
        ssize_t got = process_read(fd, block, sizeof(block));
        if (got > 0)
            lines_feed(lines, block, (size_t)got, take, rank);
        else if (got < 0)
            lines_end(lines, take, rank);
        if (got <= 0)
            return;
    }
}

void attempt_hear(struct attempt *it, struct rank *rank)
{
    (void)it;
    drain(&rank->process.reports, &rank->reports, on_reported, rank);
    drain(&rank->process.printed, &rank->printed, on_printed, rank);
}
