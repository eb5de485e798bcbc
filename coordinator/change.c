/* SPDX-License-Identifier: Apache-2.0
 *
 * Invariants: rows are written in the order of the calls; commands leave in the order of the
 * cluster's numbers, each behind the commit of the change that it came with, so an Assign never
 * precedes the record of its attempt and a Cancel never overtakes the Assign.
 */
#include "coordinator/change.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "coordinator/change_rows.h"
#include "coordinator/command.h"
#include "coordinator/estimate.h"
#include "coordinator/metrics_note.h"
#include "lib/check.h"
#include "lib/log.h"
#include "lib/text.h"

struct change {
    struct work work;
    struct coordinator *coordinator;
    struct arena arena;
    struct change_row *first, **end;
    struct command_list *commands;
    coordinator_run *also;
    void *also_argument;
    coordinator_done *done;
    void *argument;
    struct error refusal; /* STATUS_OK: none */
    bool events;
    int64_t event_jobs[8]; /* whose followers are woken; more: everybody's */
    int event_job_count;
};

_Static_assert((int)API__JOB_STATE__JOB_STATE_QUEUED == JOB_STATE_QUEUED + 1, "same order");
_Static_assert((int)API__JOB_STATE__JOB_STATE_CANCELLED == JOB_STATE_CANCELLED + 1, "same order");
_Static_assert((int)API__FAILURE_CLASS__FAILURE_CLASS_USER_DATA == FAILURE_USER_DATA, "same");
_Static_assert((int)API__FAILURE_CLASS__FAILURE_CLASS_INTERNAL == FAILURE_INTERNAL, "same");

struct change *change_begin(struct coordinator *coordinator)
{
    struct change *change = mem_alloc(sizeof(*change));
    *change = (struct change){.coordinator = coordinator};
    change->end = &change->first;
    return change;
}

struct arena *change_arena(struct change *change)
{
    return &change->arena;
}

void change_drop(struct change *change)
{
    arena_release(&change->arena);
    mem_free(change);
}

bool change_is_empty(const struct change *change)
{
    const struct cluster *cluster = &change->coordinator->cluster;
    return change->first == NULL && change->also == NULL && cluster->change_count == 0 &&
           cluster->command_count == 0;
}

static struct change_row *row_add(struct change *change, enum row_kind kind)
{
    struct change_row *row = arena_new(&change->arena, struct change_row);
    *row = (struct change_row){.kind = kind, .time_ms = change->coordinator->now_ms};
    *change->end = row;
    change->end = &row->next;
    return row;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static char *text_of(struct change *change, const char *text)
{
    return text != NULL ? arena_strdup(&change->arena, text) : NULL;
}

void change_event(struct change *change, const struct job *job, const char *kind,
                  Api__Severity severity, const char *format, ...)
{
    char text[1024], clean[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    text_clean(text, clean, sizeof(clean));
    Api__Event *event = message_new(&change->arena, &api__event__descriptor);
    event->has_time_ms = event->has_severity = true;
    event->time_ms = change->coordinator->now_ms;
    event->severity = severity;
    event->kind = text_of(change, kind);
    event->message = text_of(change, clean);
    change->events = true;
    if (job != NULL) {
        const struct cluster_job *core = cluster_job(&change->coordinator->cluster, job->id);
        event->has_job_id = event->has_term = true;
        event->job_id = (int64_t)job->id;
        event->term = core != NULL ? (int64_t)core->run.term : 0;
        event->tenant = text_of(change, job->tenant);
        if (change->event_job_count < (int)(sizeof(change->event_jobs) / sizeof(int64_t)))
            change->event_jobs[change->event_job_count++] = (int64_t)job->id;
    }
    row_add(change, ROW_EVENT)->event = event;
}

void change_finding(struct change *change, const struct job *job, const Wire__Finding *finding)
{
    struct change_row **place = change->end;
    change_event(change, job, finding->kind != NULL ? finding->kind : "finding",
                 finding->has_severity ? finding->severity : API__SEVERITY__SEVERITY_WARNING, "%s",
                 finding->message != NULL ? finding->message : "");
    (*place)->kind = ROW_FINDING;
    if (finding->has_time_ms) /* the same again when it is reported again */
        (*place)->event->time_ms = finding->time_ms;
}

static void job_outcome(struct change *change, const struct job *job, Api__Job *row)
{
    struct coordinator *coordinator = change->coordinator;
    const struct cluster_job *core = cluster_job(&coordinator->cluster, job->id);
    if (job->gate != API__GATE_DECISION__GATE_DECISION_UNSPECIFIED) {
        row->has_gate_decision = true;
        row->gate_decision = job->gate;
        row->gate_figures = text_of(change, job->gate_figures);
    }
    if (core->run.failure != FAILURE_NONE) {
        row->has_failure_class = true;
        row->failure_class = (Api__FailureClass)core->run.failure;
        row->failure_message = text_of(change, job->failure_message);
        row->failure_hint = text_of(change, job->failure_hint);
        row->failure_log = text_of(change, job->failure_log);
        row->has_failure_rank = job->failure_rank >= 0;
        row->failure_rank = job->failure_rank;
    }
    if (core->numerics != 0)
        row->numerics = text_of(change, names_text(&coordinator->numerics, core->numerics));
}

static Api__Job *job_row(struct change *change, const struct job *job, enum job_state state,
                         uint64_t term)
{
    const struct cluster_job *core = cluster_job(&change->coordinator->cluster, job->id);
    Api__Job *row = message_new(&change->arena, &api__job__descriptor);
    CHECK(core != NULL);
    row->has_id = row->has_state = row->has_term = row->has_state_since_ms = true;
    row->id = (int64_t)job->id;
    row->state = (Api__JobState)(state + 1);
    row->term = (int64_t)term;
    row->state_since_ms = core->run.since_ms;
    row->tenant = text_of(change, job->tenant);
    row->has_priority = true;
    row->priority = core->ask.priority;
    row->has_started_ms = job->started_ms != 0;
    row->started_ms = job->started_ms;
    row->has_finished_ms = job->finished_ms != 0;
    row->finished_ms = job->finished_ms;
    row->has_step = row->has_steps_total = job->steps_total > 0 || job->step > 0;
    row->step = job->step;
    row->steps_total = job->steps_total;
    row->has_cancel_requested = row->has_pause_requested = true;
    row->cancel_requested = job->cancel_wanted;
    row->pause_requested = job->pause_wanted;
    job_outcome(change, job, row);
    return row;
}

void change_job(struct change *change, const struct job *job)
{
    const struct cluster_job *core = cluster_job(&change->coordinator->cluster, job->id);
    struct change_row *row = row_add(change, ROW_JOB);
    row->job = job_row(change, job, core->run.state, core->run.term);
    row->from = row->job->state;
}

void change_checkpoint(struct change *change, const struct job *job,
                       const Wire__CheckpointReport *report)
{
    struct change_row *row = row_add(change, ROW_CHECKPOINT);
    Api__Checkpoint *checkpoint = message_new(&change->arena, &api__checkpoint__descriptor);
    checkpoint->has_job_id = checkpoint->has_term = checkpoint->has_step = true;
    checkpoint->has_bytes = checkpoint->has_created_ms = checkpoint->has_best = true;
    checkpoint->job_id = (int64_t)job->id;
    checkpoint->term = report->stamp->term;
    checkpoint->step = report->step;
    checkpoint->manifest = text_of(change, report->manifest);
    checkpoint->bytes = report->bytes;
    checkpoint->best = report->best;
    checkpoint->figures = text_of(change, report->figures);
    checkpoint->created_ms = change->coordinator->now_ms;
    row->checkpoint = checkpoint;
    row->keep_last = job->keep_last;
}

static Api__Job *stage_row(struct change *change, const struct job *job)
{
    Api__Job *row = message_new(&change->arena, &api__job__descriptor);
    row->has_id = row->has_stage = true;
    row->id = (int64_t)job->id;
    row->stage = job->stage;
    return row;
}

static void result_row(struct change *change, const struct job *job, const char *manifest,
                       int64_t bytes, const char *figures)
{
    struct change_row *row = row_add(change, ROW_RESULT);
    Api__Result *result = message_new(&change->arena, &api__result__descriptor);
    result->has_job_id = result->has_bytes = result->has_created_ms = true;
    result->job_id = (int64_t)job->id;
    result->tenant = text_of(change, job_store(job));
    result->manifest = text_of(change, manifest);
    result->bytes = bytes;
    result->figures = text_of(change, figures);
    result->created_ms = change->coordinator->now_ms;
    row->result = result;
    row->job = stage_row(change, job);
}

void change_model(struct change *change, const struct job *job, const Wire__ModelReport *report)
{
    struct change_row *row = row_add(change, ROW_MODEL);
    Api__ModelVersion *model = message_new(&change->arena, &api__model_version__descriptor);
    Api__Job *job_part = message_new(&change->arena, &api__job__descriptor);
    model->tenant = text_of(change, job->tenant);
    model->has_job_id = model->has_stage = model->has_bytes = model->has_created_ms = true;
    model->job_id = (int64_t)job->id;
    model->stage = job->stage;
    model->bytes = report->bytes;
    model->created_ms = change->coordinator->now_ms;
    model->manifest = text_of(change, report->manifest);
    model->figures = text_of(change, report->figures);
    model->data_digest = text_of(change, report->data_digest);
    model->template_ = text_of(change, report->template_);
    model->has_adapter = report->has_adapter;
    model->adapter = report->adapter;
    job_part->has_id = true;
    job_part->id = (int64_t)job->id;
    job_part->output_model = text_of(change, job->output_model);
    row->model = model;
    row->job = job_part;
    result_row(change, job, report->manifest, report->bytes, report->figures); /* its rows */
}

void change_result(struct change *change, const struct job *job, const Wire__ResultReport *report)
{
    result_row(change, job, report->manifest, report->bytes, report->figures);
}

void change_usage(struct change *change, const struct tenant *used, int64_t begin_ms,
                  int64_t end_ms)
{
    Api__Usage *usage = message_new(&change->arena, &api__usage__descriptor);
    usage->tenant = used->name[0] != '\0' ? text_of(change, used->name) : NULL;
    usage->has_begin_ms = usage->has_end_ms = usage->has_slot_ms = true;
    usage->has_productive_slot_ms = usage->has_jobs = true;
    usage->begin_ms = begin_ms;
    usage->end_ms = end_ms;
    usage->slot_ms = used->slot_ms;
    usage->productive_slot_ms = used->productive_slot_ms;
    usage->jobs = used->jobs;
    row_add(change, ROW_USAGE)->usage = usage;
}

void change_worker(struct change *change, struct member *member)
{
    struct change_row *row = row_add(change, ROW_WORKER);
    member->row->has_last_seen_ms = true;
    member->row->last_seen_ms = member->seen_ms;
    row->worker = message_copy(&change->arena, &member->row->base);
}

void change_also(struct change *change, coordinator_run *run, void *argument)
{
    CHECK(change->also == NULL);
    change->also = run;
    change->also_argument = argument;
}

/* ---- what the cluster decided ---------------------------------------------------------------- */

static Api__Attempt *attempt_row(struct change *change, const struct job_change *it,
                                 Api__AttemptState state)
{
    Api__Attempt *attempt = message_new(&change->arena, &api__attempt__descriptor);
    attempt->has_job_id = attempt->has_term = attempt->has_state = true;
    attempt->job_id = (int64_t)it->job;
    attempt->term = (int64_t)it->term;
    attempt->state = state;
    return attempt;
}

static void attempt_begins(struct change *change, const struct job_change *it,
                           const struct cluster_job *core)
{
    struct coordinator *coordinator = change->coordinator;
    Api__Attempt *attempt = attempt_row(change, it, API__ATTEMPT_STATE__ATTEMPT_STATE_STARTING);
    attempt->has_created_ms = true;
    attempt->created_ms = coordinator->now_ms;
    attempt->reason = text_of(change, attempt_reason(it, core));
    if (core->numerics != 0)
        attempt->numerics = text_of(change, names_text(&coordinator->numerics, core->numerics));
    for (int32_t i = 0; core->run.term == it->term && i < core->member_count; i++) {
        const struct gang_member *part = &core->members[i];
        struct worker *worker = &coordinator->cluster.registry.workers[part->worker];
        struct member *member = member_find(coordinator, (int64_t)worker->id);
        const struct slot_use *use =
            member_slots(coordinator, member, it->job, it->term, part->ranks);
        for (int32_t r = 0; r < part->ranks; r++) {
            Api__AttemptRank *rank = message_add(&change->arena, attempt, "ranks");
            rank->has_rank = rank->has_worker_id = rank->has_slot = true;
            rank->rank = part->first_rank + r;
            rank->worker_id = member->id;
            rank->worker = text_of(change, member->row->name);
            rank->slot = use->slots[r];
        }
    }
    row_add(change, ROW_ATTEMPT_BEGIN)->attempt = attempt;
}

static void attempt_ends(struct change *change, const struct job_change *it, const struct job *job,
                         Api__AttemptState state)
{
    const struct cluster_job *core = cluster_job(&change->coordinator->cluster, it->job);
    Api__Attempt *attempt = attempt_row(change, it, state);
    attempt->has_finished_ms = attempt->has_last_step = true;
    attempt->finished_ms = change->coordinator->now_ms;
    attempt->last_step = job->step;
    if (state == API__ATTEMPT_STATE__ATTEMPT_STATE_FAILED) {
        attempt->has_failure_class = true;
        attempt->failure_class = (Api__FailureClass)core->run.failure;
        attempt->failure_message = text_of(change, job->failure_message);
    }
    row_add(change, ROW_ATTEMPT)->attempt = attempt;
}

static void attempt_moves(struct change *change, const struct job_change *it, struct job *job,
                          const struct cluster_job *core)
{
    switch (it->event) {
    case JOB_EVENT_ASSIGN:
        attempt_begins(change, it, core);
        break;
    case JOB_EVENT_START: {
        Api__Attempt *attempt = attempt_row(change, it, API__ATTEMPT_STATE__ATTEMPT_STATE_RUNNING);
        attempt->has_started_ms = true;
        attempt->started_ms = change->coordinator->now_ms;
        row_add(change, ROW_ATTEMPT)->attempt = attempt;
        break;
    }
    case JOB_EVENT_FINISH:
        attempt_ends(change, it, job, API__ATTEMPT_STATE__ATTEMPT_STATE_SUCCEEDED);
        break;
    case JOB_EVENT_RETRY:
    case JOB_EVENT_FAIL:
        if (job_has_attempt(it->from))
            attempt_ends(change, it, job, API__ATTEMPT_STATE__ATTEMPT_STATE_FAILED);
        break;
    case JOB_EVENT_PARK:
    case JOB_EVENT_REQUEUE:
    case JOB_EVENT_STOP:
        attempt_ends(change, it, job, API__ATTEMPT_STATE__ATTEMPT_STATE_STOPPED);
        break;
    default:
        break;
    }
}

/* An alias moves when the gate passed; stages that have no gate always pass theirs. */
static bool alias_moves(const struct job *job)
{
    return job->gate == API__GATE_DECISION__GATE_DECISION_PASSED ||
           (job->gate == API__GATE_DECISION__GATE_DECISION_UNSPECIFIED &&
            job->stage != API__STAGE__STAGE_CUSTOMIZE);
}

static void job_succeeds(struct change *change, const struct job *job)
{
    struct metrics *metrics = &change->coordinator->metrics;
    if (!alias_moves(job))
        metrics_count_named(metrics, METRIC_GATE_DECISIONS, "held", 1);
    else if (job->gate == API__GATE_DECISION__GATE_DECISION_PASSED)
        metrics_count_named(metrics, METRIC_GATE_DECISIONS, "passed", 1);
    if (job->shards > 0 && job->shard_of == 0)
        row_add(change, ROW_SHARDS_OVER)->job = stage_row(change, job);
    if (job->output_alias == NULL || job->output_model == NULL)
        return;
    if (alias_moves(job)) {
        struct change_row *row = row_add(change, ROW_ALIAS);
        row->job = job_row(change, job, JOB_STATE_SUCCEEDED, 0);
        row->job->output_model = text_of(change, job->output_model);
        row->alias = text_of(change, job->output_alias);
    } else {
        change_event(change, job, "gate_held", API__SEVERITY__SEVERITY_WARNING,
                     "the gate holds the new model back: alias %s stays where it is",
                     job->output_alias);
    }
}

/* What no worker told: the cluster found it by itself. */
static const char *failure_words(enum failure failure)
{
    switch (failure) {
    case FAILURE_WORKER_LOST:
        return "a worker of it was silent for too long, restarted, or did not take it";
    case FAILURE_COMMUNICATION:
        return "not all of its ranks started, or ended, in time";
    case FAILURE_TIMEOUT:
        return "it ran longer than limits.wall_time";
    default:
        return "its ranks ended without a word";
    }
}

/* A whole fails by one of its shards, in whose words. */
static void shard_words(struct coordinator *coordinator, struct job *whole)
{
    for (uint32_t i = 0; i < coordinator->jobs.count; i++) {
        const struct job *shard = coordinator->jobs.items[i];
        const struct cluster_job *core = cluster_job(&coordinator->cluster, shard->id);
        char words[1024];
        if (shard->shard_of != whole->id || core == NULL || core->run.state != JOB_STATE_FAILED)
            continue;
        snprintf(words, sizeof(words), "shard %" PRId64 " of %" PRId64 " (j-%" PRIu64 "): %s",
                 shard->shard, shard->shards, shard->id,
                 shard->failure_message != NULL ? shard->failure_message : "");
        text_replace(&whole->failure_message, words);
        text_replace(&whole->failure_hint, shard->failure_hint);
        text_replace(&whole->failure_log, shard->failure_log);
        return;
    }
}

static void failure_note(struct job *job, const struct job_change *it,
                         const struct cluster_job *core)
{
    bool failed = it->event == JOB_EVENT_FAIL || it->event == JOB_EVENT_RETRY;
    const char *hint = failure_row(core->run.failure)->hint;
    if (failed && job->failure_term != it->term) {
        job->failure_term = it->term;
        job->failure_rank = -1;
        text_replace(&job->failure_message, failure_words(core->run.failure));
        text_replace(&job->failure_hint, hint);
        text_replace(&job->failure_log, NULL);
    } else if (failed && job->failure_hint == NULL) {
        text_replace(&job->failure_hint, hint);
    }
}

static void event_of(struct change *change, const struct job_change *it, const struct job *job,
                     const struct cluster_job *core)
{
    bool failed = it->event == JOB_EVENT_FAIL || it->event == JOB_EVENT_RETRY;
    const char *words = job->failure_message != NULL ? job->failure_message : "";
    if (failed && !job_has_attempt(it->from))
        change_event(change, job, "job_state", API__SEVERITY__SEVERITY_ERROR, "%s (%s): %s",
                     job_state_name(it->to), failure_row(core->run.failure)->name, words);
    else if (failed)
        change_event(change, job, "job_state",
                     it->event == JOB_EVENT_FAIL ? API__SEVERITY__SEVERITY_ERROR
                                                 : API__SEVERITY__SEVERITY_WARNING,
                     "%s: attempt %" PRIu64 " failed (%s): %s", job_state_name(it->to), it->term,
                     failure_row(core->run.failure)->name, words);
    else if (it->from != it->to)
        change_event(change, job, "job_state", API__SEVERITY__SEVERITY_INFO, "%s",
                     job_state_name(it->to));
}

/* Its last job is over: the followers of the batch learn it, once. */
static void batch_ends(struct change *change, const struct job *job, const struct cluster_job *core)
{
    struct cluster_batch *batch = &change->coordinator->cluster.batches[core->ask.batch];
    if (core->ask.batch == 0 || batch->unfinished > 0 || batch->end_told)
        return;
    batch->end_told = true;
    change_event(change, job, "batch_ended", API__SEVERITY__SEVERITY_INFO,
                 "batch b-%" PRIu64 ": its last job is over", batch->id);
}

static void take_one(struct change *change, const struct job_change *it)
{
    struct coordinator *coordinator = change->coordinator;
    struct job *job = job_list_find(&coordinator->jobs, it->job);
    const struct cluster_job *core = cluster_job(&coordinator->cluster, it->job);
    CHECK(job != NULL && core != NULL);
    if (it->event == JOB_EVENT_ASSIGN) {
        job->gate = API__GATE_DECISION__GATE_DECISION_UNSPECIFIED;
        text_replace(&job->gate_figures, NULL);
    }
    if (it->event == JOB_EVENT_START && job->started_ms == 0)
        job->started_ms = coordinator->now_ms;
    if (job_is_final(it->to)) {
        job->finished_ms = coordinator->now_ms;
        coordinator->tenants[core->ask.tenant].jobs += job->shard_of == 0;
    }
    metrics_note_change(coordinator, it, job, core);
    if (it->event == JOB_EVENT_FAIL && !job_has_attempt(it->from))
        shard_words(coordinator, job);
    failure_note(job, it, core);
    attempt_moves(change, it, job, core);
    struct change_row *row = row_add(change, ROW_JOB);
    row->job = job_row(change, job, it->to, it->term);
    row->from = (int)it->from + 1;
    event_of(change, it, job, core);
    if (it->to == JOB_STATE_SUCCEEDED) {
        estimate_note(coordinator, job);
        job_succeeds(change, job);
    }
    if (job_is_final(it->to))
        batch_ends(change, job, core);
}

static void take_cluster(struct change *change)
{
    struct cluster *cluster = &change->coordinator->cluster;
    for (size_t i = 0; i < cluster->change_count; i++)
        take_one(change, &cluster->changes[i]);
    change->commands = commands_take(change->coordinator, &change->arena);
    cluster_drained(cluster);
}

/* ---- the commit ------------------------------------------------------------------------------ */

static enum status on_thread(void *context, void *argument, struct error *error)
{
    struct change *change = argument;
    change->refusal = (struct error){.status = STATUS_OK};
    TRY(change_rows_write(context, change->first, &change->refusal, error));
    if (change->also != NULL)
        TRY(change->also(context, change->also_argument, error));
    return commands_read(context, change->commands, error);
}

static void wake_followers(struct change *change)
{
    int count = change->event_job_count;
    if (!change->events)
        return;
    if (count == 0)
        watch_wake(change->coordinator, WATCH_EVENTS, 0);
    for (int i = 0; i < count; i++)
        watch_wake(change->coordinator, WATCH_EVENTS, change->event_jobs[i]);
}

static void on_committed(void *argument, enum status status, const struct error *error)
{
    struct change *change = argument;
    struct coordinator *coordinator = change->coordinator;
    if (status != STATUS_OK && status != STATUS_IO) {
        log_error("a change could not be recorded: %s", error->text);
        CHECK(status == STATUS_OK); /* memory and records disagree: start again from the records */
    }
    if (status == STATUS_OK && !coordinator->closing) {
        commands_send(coordinator, change->commands);
        wake_followers(change);
    }
    bool refused = status == STATUS_OK && change->refusal.status != STATUS_OK;
    if (change->done != NULL && refused)
        change->done(change->argument, change->refusal.status, &change->refusal);
    else if (change->done != NULL)
        change->done(change->argument, status, error);
    change_drop(change);
}

static void hand_over(struct change *change, coordinator_done *done, void *argument)
{
    bool reads = change->first == NULL && change->also == NULL;
    change->done = done;
    change->argument = argument;
    change->work = (struct work){.kind = reads ? WORK_READ : WORK_MUST,
                                 .run = on_thread,
                                 .done = on_committed,
                                 .argument = change};
    background_add(change->coordinator->database, &change->work);
}

void change_commit(struct change *change, coordinator_done *done, void *argument)
{
    take_cluster(change);
    hand_over(change, done, argument);
}

void change_commit_job(struct change *change, const struct job *job, coordinator_done *done,
                       void *argument)
{
    take_cluster(change);
    change_job(change, job);
    hand_over(change, done, argument);
}
