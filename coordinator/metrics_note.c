/* SPDX-License-Identifier: Apache-2.0
 *
 * Training is counted by what each line says it adds ("since_line"), never by differences between
 * lines: a coordinator that has just started knows no line before.
 */
#include "coordinator/metrics_note.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- jobs ------------------------------------------------------------------------------------ */

const char *attempt_reason(const struct job_change *it, const struct cluster_job *core)
{
    if (it->from == JOB_STATE_RECOVERING)
        return failure_row(core->run.failure)->name;
    return it->term == 1 ? "submitted" : "resumed";
}

static bool ends_badly(const struct job_change *it)
{
    return it->event == JOB_EVENT_RETRY ||
           (it->event == JOB_EVENT_FAIL && job_has_attempt(it->from));
}

static void note_failure(struct metrics *metrics, const struct cluster_job *core)
{
    metrics_count(metrics, METRIC_ATTEMPTS_FAILED, (int)core->run.failure, 1);
    if (core->ask.ranks > 1)
        metrics_count(metrics, METRIC_COMM_ABORTS, 0, 1);
    if (core->run.failure == FAILURE_STORAGE)
        metrics_count(metrics, METRIC_CHECKPOINT_FAILURES, 0, 1);
}

/* People count a job that was cut into shards once. */
static void note_end(struct metrics *metrics, const struct job_change *it, const struct job *job,
                     const struct cluster_job *core)
{
    metrics_count(metrics, METRIC_JOBS_FINISHED, metrics_finished_label(it->to, core->run.failure),
                  1);
    if (job->started_ms > 0)
        metrics_observe(metrics, METRIC_JOB_RUN, 0,
                        (double)(job->finished_ms - job->started_ms) / 1000);
}

void metrics_note_change(struct coordinator *coordinator, const struct job_change *it,
                         struct job *job, const struct cluster_job *core)
{
    struct metrics *metrics = &coordinator->metrics;
    job->heard_ms = coordinator->now_ms;
    if (it->event == JOB_EVENT_ASSIGN)
        metrics_count_named(metrics, METRIC_JOB_ATTEMPTS, attempt_reason(it, core), 1);
    if (it->event == JOB_EVENT_START && job->started_ms == coordinator->now_ms)
        metrics_observe(metrics, METRIC_JOB_QUEUE_WAIT, 0,
                        (double)(job->started_ms - core->ask.submitted_ms) / 1000);
    if (ends_badly(it))
        note_failure(metrics, core);
    if (job_is_final(it->to) && job->shard_of == 0)
        note_end(metrics, it, job, core);
}

/* ---- training -------------------------------------------------------------------------------- */

/* NaN: the line does not say. */
static double value_of(const Wire__MetricReport *report, const char *name)
{
    for (size_t i = 0; i < report->n_metrics; i++)
        if (report->metrics[i]->name != NULL && strcmp(report->metrics[i]->name, name) == 0)
            return report->metrics[i]->value;
    return NAN;
}

static void note_phases(struct metrics *metrics, const Wire__MetricReport *report)
{
    char name[64];
    for (int i = 0; metrics_label(METRIC_STEP, i) != NULL; i++) {
        snprintf(name, sizeof(name), "step_seconds.%s", metrics_label(METRIC_STEP, i));
        metrics_observe(metrics, METRIC_STEP, i, value_of(report, name));
    }
}

void metrics_note_training(struct coordinator *coordinator, struct job *job,
                           const Wire__MetricReport *report)
{
    struct metrics *metrics = &coordinator->metrics;
    double bytes = value_of(report, "reduce_bytes");
    job->heard_ms = coordinator->now_ms;
    if (isnan(value_of(report, "since_line.steps")))
        return; /* an evaluation's line */
    metrics_count(metrics, METRIC_STEPS, 0, value_of(report, "since_line.steps"));
    metrics_count(metrics, METRIC_TOKENS, 0, value_of(report, "since_line.tokens"));
    metrics_count(metrics, METRIC_NONFINITE_STEPS, 0,
                  value_of(report, "since_line.nonfinite_steps"));
    note_phases(metrics, report);
    job->packed_fill = value_of(report, "packed_fill_ratio");
    job->shared_token = value_of(report, "shared_token_ratio");
    if (isnan(bytes))
        return; /* of one rank */
    metrics_count(metrics, METRIC_ALLREDUCE_BYTES, 0, bytes);
    metrics_observe(metrics, METRIC_ALLREDUCE, 0, value_of(report, "step_seconds.reduce"));
}

void metrics_note_checkpoint(struct coordinator *coordinator, const Wire__CheckpointReport *report)
{
    struct metrics *metrics = &coordinator->metrics;
    metrics_count(metrics, METRIC_CHECKPOINT_BYTES, 0, (double)report->bytes);
    if (!report->has_seconds)
        return;
    metrics_observe(metrics, METRIC_CHECKPOINT_WRITE, 0, report->seconds);
    metrics_observe_named(metrics, METRIC_STEP, "checkpoint", report->seconds);
}
