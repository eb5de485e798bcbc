/* SPDX-License-Identifier: Apache-2.0
 *
 * on_report: what a worker reports of an attempt. Judged by the fence, recorded, acknowledged
 * behind the commit; also the acknowledgement of a duplicate goes behind the commits that were
 * asked for before it, so that none of them precedes the record of the original.
 *
 * A final report says two things, why and that no process is left: the first is taken only from the
 * live attempt, the second (its slots) whenever it comes.
 */
#include <inttypes.h>
#include <string.h>

#include "coordinator/change.h"
#include "coordinator/metrics_note.h"
#include "coordinator/series.h"
#include "lib/check.h"
#include "lib/log.h"
#include "lib/text.h"

struct acknowledgement {
    struct coordinator *coordinator;
    int64_t worker;
    Wire__Stamp stamp;
    Wire__AckResult result;
    const char *refusal; /* NULL: none */
};

/* ---- the Ack --------------------------------------------------------------------------------- */

static void send_ack(void *argument, enum status status, const struct error *error)
{
    struct acknowledgement *it = argument;
    Wire__Ack ack = WIRE__ACK__INIT;
    char text[1024];
    if (status == STATUS_IO || it->coordinator->closing)
        return;
    ack.stamp = &it->stamp;
    ack.has_result = true;
    ack.result = it->result;
    if (status != STATUS_OK || it->refusal != NULL) {
        text_clean(it->refusal != NULL ? it->refusal : error->text, text, sizeof(text));
        ack.result = WIRE__ACK_RESULT__ACK_RESULT_REFUSED;
        ack.message = text;
        log_warn("report of job %" PRId64 " term %" PRId64 " refused: %s", it->stamp.job,
                 it->stamp.term, text);
    }
    worker_socket_send(it->coordinator->socket, worker_identity(it->worker), WORKER_ACK, &ack);
}

static void commit_and_ack(struct change *change, struct coordinator *coordinator,
                           const struct member *member, const Wire__Stamp *stamp,
                           Wire__AckResult result, const char *refusal)
{
    struct acknowledgement *it = arena_new(change_arena(change), struct acknowledgement);
    it->coordinator = coordinator;
    it->worker = member->id;
    it->result = result;
    it->refusal = refusal;
    wire__stamp__init(&it->stamp);
    it->stamp.has_job = it->stamp.has_term = it->stamp.has_sequence = true;
    it->stamp.job = stamp->job;
    it->stamp.term = stamp->term;
    it->stamp.sequence = stamp->sequence;
    change_commit(change, send_ack, it);
}

/* ---- to the cluster's words ------------------------------------------------------------------ */

/* That worker's part of the job's live gang, or NULL. */
static const struct gang_member *part_of(const struct coordinator *coordinator,
                                         const struct member *member,
                                         const struct cluster_job *core, int64_t term)
{
    for (int32_t i = 0; core != NULL && i < core->member_count; i++) {
        const struct gang_member *part = &core->members[i];
        if ((int64_t)coordinator->cluster.registry.workers[part->worker].id == member->id)
            return (int64_t)core->run.term == term ? part : NULL;
    }
    return NULL;
}

static bool is_final_report(const Wire__AttemptReport *report)
{
    return report->state == API__ATTEMPT_STATE__ATTEMPT_STATE_SUCCEEDED ||
           report->state == API__ATTEMPT_STATE__ATTEMPT_STATE_FAILED ||
           report->state == API__ATTEMPT_STATE__ATTEMPT_STATE_STOPPED;
}

static enum report_kind attempt_kind(const struct coordinator *coordinator,
                                     const struct member *member, const Wire__AttemptReport *report)
{
    const struct cluster_job *core =
        cluster_job((struct cluster *)&coordinator->cluster, (uint64_t)report->stamp->job);
    const struct gang_member *part = part_of(coordinator, member, core, report->stamp->term);
    switch (report->state) {
    case API__ATTEMPT_STATE__ATTEMPT_STATE_RUNNING:
        return REPORT_STARTED;
    case API__ATTEMPT_STATE__ATTEMPT_STATE_SUCCEEDED: /* a zombie's is judged, and counted */
        return part != NULL && part->first_rank > 0 ? REPORT_GONE : REPORT_FINISHED;
    case API__ATTEMPT_STATE__ATTEMPT_STATE_FAILED:
        return REPORT_FAILED;
    case API__ATTEMPT_STATE__ATTEMPT_STATE_STOPPED:
        return REPORT_GONE;
    default:
        return REPORT_NOTE;
    }
}

static struct report report_of(const struct coordinator *coordinator, const struct member *member,
                               const struct worker_message *row, const void *message)
{
    const Wire__AttemptReport *attempt = message;
    const Wire__CheckpointReport *checkpoint = message;
    const Wire__Stamp *stamp = attempt->stamp; /* the first field of every stamped message */
    struct report report = {.kind = REPORT_NOTE,
                            .worker = (uint64_t)member->id,
                            .job = (uint64_t)stamp->job,
                            .term = (uint64_t)stamp->term,
                            .sequence = (uint64_t)stamp->sequence,
                            .ends_ms = INT64_MAX};
    if (row->id == WORKER_ATTEMPT_REPORT) {
        report.kind = attempt_kind(coordinator, member, attempt);
        report.failure =
            attempt->has_failure_class ? (enum failure)attempt->failure_class : FAILURE_INTERNAL;
        report.full = attempt->full;
    } else if (row->id == WORKER_CHECKPOINT_REPORT) {
        report.kind = REPORT_CHECKPOINT;
        report.step = checkpoint->step;
    }
    return report;
}

/* ---- what is recorded of an accepted one ----------------------------------------------------- */

static void note_attempt(struct job *job, const Wire__AttemptReport *report)
{
    if (report->has_step)
        job->step = report->step;
    if (report->has_steps_total)
        job->steps_total = report->steps_total;
    if (report->has_gate_decision)
        job->gate = report->gate_decision;
    if (report->figures != NULL)
        text_replace(&job->gate_figures, report->figures);
    if (report->state == API__ATTEMPT_STATE__ATTEMPT_STATE_FAILED) {
        job->failure_term = (uint64_t)report->stamp->term;
        job->failure_rank = report->has_failure_rank ? report->failure_rank : -1;
        text_replace(&job->failure_message, report->failure_message != NULL
                                                ? report->failure_message
                                                : "the worker gave no reason");
        text_replace(&job->failure_hint, report->failure_hint);
        text_replace(&job->failure_log, report->failure_log);
    }
}

static void note(struct change *change, struct job *job, const struct worker_message *row,
                 const void *message)
{
    if (row->id == WORKER_ATTEMPT_REPORT) {
        const Wire__AttemptReport *attempt = message;
        note_attempt(job, attempt);
        if (attempt->full)
            change_event(change, job, "storage", API__SEVERITY__SEVERITY_WARNING,
                         "no space is left on its worker: %s", job->failure_message);
    } else if (row->id == WORKER_CHECKPOINT_REPORT) {
        const Wire__CheckpointReport *checkpoint = message;
        job->step = checkpoint->step > job->step ? checkpoint->step : job->step;
        change_checkpoint(change, job, checkpoint);
    } else if (row->id == WORKER_MODEL_REPORT) {
        change_model(change, job, message);
    } else if (row->id == WORKER_RESULT_REPORT) {
        change_result(change, job, message);
    } else if (row->id == WORKER_FINDING) {
        change_finding(change, job, message);
    }
}

/* Why it cannot be taken as it is, or NULL. */
static const char *refusal_of(const struct worker_message *row, const void *message)
{
    const Wire__AttemptReport *attempt = message;
    const Wire__CheckpointReport *checkpoint = message;
    const Wire__ModelReport *model = message;
    const Wire__ResultReport *result = message;
    switch (row->id) {
    case WORKER_ATTEMPT_REPORT:
        return attempt->has_state ? NULL : "a report needs a state";
    case WORKER_CHECKPOINT_REPORT:
        return checkpoint->manifest != NULL ? NULL : "a checkpoint needs a manifest";
    case WORKER_MODEL_REPORT:
        return model->manifest != NULL ? NULL : "a model needs a manifest";
    case WORKER_RESULT_REPORT:
        return result->manifest != NULL ? NULL : "a result needs a manifest";
    default:
        return NULL;
    }
}

static const Wire__AckResult RESULT_OF[] = {
    [FENCE_ACCEPT] = WIRE__ACK_RESULT__ACK_RESULT_COMMITTED,
    [FENCE_DUPLICATE] = WIRE__ACK_RESULT__ACK_RESULT_DUPLICATE,
    [FENCE_STALE] = WIRE__ACK_RESULT__ACK_RESULT_FENCED,
    [FENCE_GAP] = WIRE__ACK_RESULT__ACK_RESULT_BUSY,
    [FENCE_UNKNOWN] = WIRE__ACK_RESULT__ACK_RESULT_UNKNOWN,
};

static void on_stamped(struct coordinator *coordinator, struct member *member,
                       const struct worker_message *row, const void *message)
{
    /* What waited in a socket while we were away may come before an older one that is lost. All
     * that is not acknowledged comes again behind the Reattach, the oldest first. */
    if (!member->attached)
        return;
    struct report report = report_of(coordinator, member, row, message);
    const Wire__AttemptReport *attempt = message;
    const char *refusal = refusal_of(row, message);
    if (refusal != NULL)
        report.kind = REPORT_NOTE; /* its number is taken, and nothing else */
    if (refusal != NULL && row->id == WORKER_CHECKPOINT_REPORT)
        metrics_count(&coordinator->metrics, METRIC_CHECKPOINT_FAILURES, 0, 1);
    struct change *change = change_begin(coordinator);
    struct job *job = job_list_find(&coordinator->jobs, report.job);
    enum fence_verdict verdict =
        cluster_report(&coordinator->cluster, &report, coordinator->now_ms);
    if (verdict == FENCE_GAP) {
        change_drop(change);
        return;
    }
    if (verdict == FENCE_ACCEPT && refusal == NULL)
        note(change, job, row, message);
    if (verdict == FENCE_ACCEPT && refusal == NULL && row->id == WORKER_CHECKPOINT_REPORT)
        metrics_note_checkpoint(coordinator, message);
    if ((verdict == FENCE_ACCEPT || verdict == FENCE_STALE) && row->id == WORKER_ATTEMPT_REPORT &&
        is_final_report(attempt))
        cluster_ranks_gone(&coordinator->cluster, report.worker, report.job, report.term,
                           coordinator->now_ms);
    commit_and_ack(change, coordinator, member, attempt->stamp, RESULT_OF[verdict],
                   verdict == FENCE_ACCEPT ? refusal : NULL);
    cycle_soon(coordinator);
}

/* ---- telemetry: of the live attempt only ----------------------------------------------------- */

static bool is_live(struct coordinator *coordinator, int64_t job, int64_t term)
{
    const struct cluster_job *core = cluster_job(&coordinator->cluster, (uint64_t)job);
    return core != NULL && (int64_t)core->run.term == term;
}

void on_report(struct coordinator *coordinator, struct member *member,
               const struct worker_message *row, const void *message)
{
    if (row->stamped) {
        on_stamped(coordinator, member, row, message);
    } else if (row->id == WORKER_METRIC_REPORT) {
        const Wire__MetricReport *metrics = message;
        struct job *job = job_list_find(&coordinator->jobs, (uint64_t)metrics->job);
        if (job == NULL || !is_live(coordinator, metrics->job, metrics->term))
            return;
        job->step = metrics->step > job->step ? metrics->step : job->step;
        metrics_note_training(coordinator, job, metrics);
        series_add_metrics(coordinator, metrics);
    } else if (row->id == WORKER_LOG_REPORT) {
        const Wire__LogReport *lines = message;
        struct job *job = job_list_find(&coordinator->jobs, (uint64_t)lines->job);
        if (job == NULL || !is_live(coordinator, lines->job, lines->term))
            return;
        job->heard_ms = coordinator->now_ms;
        series_add_logs(coordinator, lines);
    }
}
