/* SPDX-License-Identifier: Apache-2.0
 *
 * boot: from the records to memory. Jobs that had an attempt still have it: their workers train on
 * and get the full grace to say so; the gangs are restored with their holds, and what the workers
 * then list decides (cluster_heartbeat).
 *
 * What no column keeps follows from rows: charged attempts and fruitless ones from the attempts'
 * failures, progress from the newest checkpoint, `yields` from the absence of a person's wish.
 */
#include <inttypes.h>
#include <string.h>

#include "coordinator/change.h"
#include "lib/check.h"
#include "lib/log.h"
#include "proto/spec.h"
#include "storage/records/attempt_record.h"
#include "storage/records/batch_record.h"
#include "storage/records/job_record.h"
#include "storage/records/tenant_record.h"
#include "storage/records/worker_record.h"

/* ---- from a spec ----------------------------------------------------------------------------- */

static enum status read_after(struct arena *arena, const struct spec *spec, struct ask *ask,
                              struct error *error)
{
    const struct spec_strings *after = &spec->schedule.after;
    struct dependency *states = arena_array(arena, struct dependency, after->count);
    for (int i = 0; i < after->count; i++) {
        int64_t id;
        if (ident_parse(IDENT_JOB, after->items[i], &id, error) != STATUS_OK)
            return error_prefix(error, "schedule.after");
        states[i] = (struct dependency){(uint64_t)id, JOB_STATE_QUEUED};
    }
    ask->after = states;
    ask->after_count = after->count;
    return STATUS_OK;
}

static enum status read_labels(struct coordinator *coordinator, const struct spec *spec,
                               struct ask *ask, struct error *error)
{
    ask->labels = spec->resources.device == SPEC_DEVICE_CUDA ? LABEL_CUDA : LABEL_CPU;
    for (int i = 0; i < spec->resources.labels.count; i++) {
        uint64_t bit = label_bit(coordinator, spec->resources.labels.items[i].key,
                                 spec->resources.labels.items[i].value);
        if (bit == 0)
            return error_set(error, STATUS_LIMIT,
                             "resources.labels: jobs ask for %d different labels already",
                             LABELS_ASKED_MAX);
        ask->labels |= bit;
    }
    return STATUS_OK;
}

static struct ask ask_from_row(struct coordinator *coordinator, const Api__Job *row)
{
    int32_t tenant = tenant_find(coordinator, row->tenant);
    CHECK(tenant != NO_TENANT);
    int32_t ranks = row->ranks > 0 ? (int32_t)row->ranks : 1;
    int32_t min_ranks = row->min_ranks > 0 ? (int32_t)row->min_ranks : 1;
    return (struct ask){
        .tenant = (uint32_t)tenant,
        .queue = queue_get(coordinator, row->queue != NULL ? row->queue : "default"),
        .pool = names_number(&coordinator->pools, row->pool != NULL ? row->pool : "default"),
        .warm = warm_number(coordinator, row->from_digest),
        .ranks = ranks,
        .min_ranks = min_ranks < ranks ? min_ranks : ranks,
        .priority = (int32_t)row->priority,
        .preemptible = row->preemptible,
        .batch = row->has_shard_of /* a whole counts, its shards do not */
                     ? 0
                     : cluster_batch(&coordinator->cluster, (uint64_t)row->batch_id),
        .submitted_ms = row->created_ms,
        .not_before_ms = row->not_before_ms,
        .whole = (uint64_t)row->shard_of,
        .serves = row->stage == API__STAGE__STAGE_SERVE};
}

enum status ask_from_spec(struct coordinator *coordinator, struct arena *arena, const Api__Job *row,
                          const struct spec *spec, struct ask *ask_out, struct job *job,
                          struct error *error)
{
    struct spec *read;
    snprintf(job->tenant, sizeof(job->tenant), "%s", row->tenant);
    job->stage = row->stage;
    job->shard_of = (uint64_t)row->shard_of;
    job->shard = row->shard;
    job->shards = row->shards;
    text_replace(&job->output_model, row->output_model);
    text_replace(&job->serves, row->stage == API__STAGE__STAGE_SERVE ? row->from_digest : NULL);
    *ask_out = ask_from_row(coordinator, row);
    if (row->spec == NULL)
        return error_set(error, STATUS_USAGE, "a job needs its spec");
    if (spec == NULL) {
        TRY(spec_parse(arena, "spec.json", row->spec, strlen(row->spec), NULL, 0, &read, error));
        spec = read;
    }
    job->keep_last = spec->checkpoint.keep_last > 0 ? spec->checkpoint.keep_last : 1;
    text_replace(&job->output_alias, spec->output.alias);
    TRY(read_labels(coordinator, spec, ask_out, error));
    ask_out->duration_max_ms = (int64_t)(spec->limits.wall_time * 1000);
    return read_after(arena, spec, ask_out, error);
}

/* ---- tables ---------------------------------------------------------------------------------- */

static enum status boot_tenants(struct coordinator *coordinator, struct arena *arena,
                                struct error *error)
{
    Api__TenantList *tenants = message_new(arena, &api__tenant_list__descriptor);
    TRY(tenant_record_list(coordinator->records, arena, tenants, error));
    for (size_t i = 0; i < tenants->n_tenants; i++)
        tenant_add(coordinator, tenants->tenants[i]);
    return STATUS_OK;
}

/* A month begins at the first hour whose quota_month() is the present one. */
static enum status boot_usage(struct coordinator *coordinator, struct arena *arena,
                              struct error *error)
{
    int64_t day_ms = 24 * 3600 * 1000LL;
    int32_t month = quota_month(coordinator->now_ms);
    int64_t begin = coordinator->now_ms / day_ms * day_ms;
    while (quota_month(begin - 1) == month)
        begin -= day_ms;
    Api__UsageList *list = message_new(arena, &api__usage_list__descriptor);
    TRY(usage_record_sum(coordinator->records, SCOPE_ALL, begin, coordinator->now_ms + day_ms,
                         arena, list, error));
    for (size_t i = 0; i < list->n_rows; i++) {
        const Api__Usage *row = list->rows[i];
        int32_t tenant = row->tenant != NULL ? tenant_find(coordinator, row->tenant) : NO_TENANT;
        if (tenant != NO_TENANT)
            coordinator->cluster.tenants[tenant].use =
                (struct quota_use){month, (double)row->slot_ms};
    }
    return STATUS_OK;
}

static enum status boot_queues(struct coordinator *coordinator, struct arena *arena,
                               struct error *error)
{
    Api__QueueList *queues = message_new(arena, &api__queue_list__descriptor);
    TRY(queue_record_list(coordinator->records, arena, queues, error));
    for (size_t i = 0; i < queues->n_queues; i++) {
        uint32_t index = queue_get(coordinator, queues->queues[i]->name);
        coordinator->cluster.queues[index].priority = (int32_t)queues->queues[i]->priority;
        coordinator->cluster.queues[index].paused = queues->queues[i]->paused;
    }
    return STATUS_OK;
}

static enum status boot_workers(struct coordinator *coordinator, struct arena *arena,
                                struct error *error)
{
    Api__WorkerList *workers = message_new(arena, &api__worker_list__descriptor);
    TRY(worker_record_list(coordinator->records, arena, workers, error));
    for (size_t i = 0; i < workers->n_workers; i++) {
        Api__Worker *row = workers->workers[i];
        uint8_t key[CURVE_KEY_SIZE];
        struct member *member = member_add(coordinator, row);
        member->was_draining = row->state == API__WORKER_STATE__WORKER_STATE_DRAINING;
        if (key_from_z85(row->public_key, key))
            keys_put(coordinator->keys, key, worker_identity(row->id));
    }
    return STATUS_OK;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

/* A worker whose ranks an attempt names enters the registry with a full grace, before its hello;
 * also one that was forgotten meanwhile: its silence then ends the attempt. Which process it is is
 * learnt when it speaks. */
static uint32_t worker_restore(struct coordinator *coordinator, int64_t id, int32_t more_slots)
{
    struct registry *registry = &coordinator->cluster.registry;
    struct member *member = member_find(coordinator, id);
    struct worker_offer offer = {0};
    uint32_t index;
    if (member != NULL)
        offer = (struct worker_offer){
            .slots = (int32_t)member->row->slots,
            .pool = names_number(&coordinator->pools, member->row->pool),
            .numerics = names_number(&coordinator->numerics, member->row->numerics),
            .labels = worker_labels(coordinator, member->row)};
    if (!registry_find(registry, (uint64_t)id, &index))
        index = cluster_restore_worker(&coordinator->cluster, (uint64_t)id, &offer,
                                       member != NULL && member->was_draining, coordinator->now_ms);
    struct worker *worker = &registry->workers[index];
    if (worker->offer.slots < worker->held + more_slots)
        worker->offer.slots = worker->held + more_slots; /* it offers fewer now: until it says so */
    return index;
}

static int32_t part_size(const Api__Attempt *attempt, size_t begin)
{
    size_t end = begin;
    while (end < attempt->n_ranks &&
           attempt->ranks[end]->worker_id == attempt->ranks[begin]->worker_id)
        end++;
    return (int32_t)(end - begin);
}

/* The live attempt's gang and its holds; what the fence had taken is not known. */
static void gang_restore(struct coordinator *coordinator, struct arena *arena,
                         struct cluster_job *core, const Api__Attempt *attempt)
{
    core->members = arena_array(arena, struct gang_member, attempt->n_ranks);
    for (size_t i = 0; i < attempt->n_ranks;) {
        int32_t ranks = part_size(attempt, i);
        int64_t id = attempt->ranks[i]->worker_id;
        uint32_t worker = worker_restore(coordinator, id, ranks);
        struct member *member = member_find(coordinator, id);
        core->members[core->member_count++] = (struct gang_member){
            .worker = worker,
            .ranks = ranks,
            .first_rank = (int32_t)attempt->ranks[i]->rank,
            .started = attempt->state == API__ATTEMPT_STATE__ATTEMPT_STATE_RUNNING};
        cluster_restore_hold(&coordinator->cluster, worker,
                             &(struct hold){.job = core->run.id,
                                            .term = core->run.term,
                                            .slots = ranks,
                                            .taken = FENCE_TAKEN_UNKNOWN});
        for (int32_t r = 0; member != NULL && r < ranks; r++)
            member_slots_restore(member, core->run.id, core->run.term,
                                 attempt->ranks[i + (size_t)r]->slot);
        core->held += ranks;
        i += (size_t)ranks;
    }
    core->assigned_ms = attempt->created_ms;
}

/* Attempts come newest first. */
static void counts_restore(struct job_run *run, const Api__AttemptList *attempts,
                           const Api__CheckpointList *checkpoints)
{
    int64_t checkpoint_term =
        checkpoints->n_checkpoints > 0 ? checkpoints->checkpoints[0]->term : 0;
    bool in_a_row = true;
    run->progress = checkpoints->n_checkpoints > 0 ? checkpoints->checkpoints[0]->step : 0;
    for (size_t i = 0; i < attempts->n_attempts; i++) {
        const Api__Attempt *attempt = attempts->attempts[i];
        bool failed = attempt->state == API__ATTEMPT_STATE__ATTEMPT_STATE_FAILED;
        enum failure failure = (enum failure)attempt->failure_class;
        if (failed && failure > FAILURE_NONE && failure < FAILURE_COUNT)
            run->charged += failure_row(failure)->charged;
        in_a_row &= attempt->term > checkpoint_term && (failed || i == 0);
        run->fruitless += in_a_row && failed;
    }
}

static struct job_run run_of(const Api__Job *row)
{
    return (struct job_run){
        .id = (uint64_t)row->id,
        .state = (enum job_state)(row->state - 1),
        .since_ms = row->state_since_ms,
        .term = (uint64_t)row->term,
        .charged_max = row->max_attempts > 0 ? (int32_t)row->max_attempts : 1,
        .yields = row->state == API__JOB_STATE__JOB_STATE_PAUSING && !row->pause_requested,
        .halted = row->state == API__JOB_STATE__JOB_STATE_PAUSED && !row->pause_requested,
        .failure = (enum failure)row->failure_class};
}

static void words_restore(struct job *job, const Api__Job *row)
{
    job->started_ms = row->started_ms;
    job->step = row->step;
    job->steps_total = row->steps_total;
    job->pause_wanted = row->pause_requested;
    job->cancel_wanted = row->cancel_requested;
    job->failure_term = (uint64_t)row->term;
    job->failure_rank = row->has_failure_rank ? row->failure_rank : -1;
    text_replace(&job->failure_message, row->failure_message);
    text_replace(&job->failure_hint, row->failure_hint);
    text_replace(&job->failure_log, row->failure_log);
    if (job_has_attempt((enum job_state)(row->state - 1)))
        job->failure_term--; /* words of an earlier attempt */
}

static enum status after_restore(struct coordinator *coordinator, struct arena *arena,
                                 const Api__Job *row, struct ask *ask, struct error *error)
{
    Api__JobList *list = message_new(arena, &api__job_list__descriptor);
    TRY(job_record_after(coordinator->records, row->id, arena, list, error));
    struct dependency *states = arena_array(arena, struct dependency, list->n_jobs);
    for (size_t i = 0; i < list->n_jobs; i++)
        states[i] = (struct dependency){(uint64_t)list->jobs[i]->id,
                                        (enum job_state)(list->jobs[i]->state - 1)};
    ask->after = states;
    ask->after_count = (int32_t)list->n_jobs;
    return STATUS_OK;
}

static enum status boot_job(struct coordinator *coordinator, struct arena *arena,
                            const Api__Job *row, struct error *error)
{
    struct ask ask;
    struct job_run run = run_of(row);
    struct job *job = job_create(run.id, row->tenant);
    Api__AttemptList *attempts = message_new(arena, &api__attempt_list__descriptor);
    Api__CheckpointList *checkpoints = message_new(arena, &api__checkpoint_list__descriptor);
    struct records *records = coordinator->records;
    job_list_add(&coordinator->jobs, job);
    if (ask_from_spec(coordinator, arena, row, NULL, &ask, job, error) != STATUS_OK)
        log_error("job j-%" PRId64 " cannot begin with this program: %s", row->id, error->text);
    TRY(after_restore(coordinator, arena, row, &ask, error));
    TRY(attempt_record_list(records, SCOPE_ALL, row->id, arena, attempts, error));
    TRY(checkpoint_record_list(records, SCOPE_ALL, row->id, arena, checkpoints, error));
    counts_restore(&run, attempts, checkpoints);
    words_restore(job, row);
    struct cluster_job core = {.run = run,
                               .ask = ask,
                               .after = (struct dependency *)ask.after,
                               .wait = {.since_ms = run.since_ms},
                               .numerics = names_number(&coordinator->numerics, row->numerics),
                               .ends_ms = INT64_MAX};
    for (size_t i = 0; i < attempts->n_attempts; i++) {
        const Api__Attempt *it = attempts->attempts[i];
        if (it->has_started_ms && it->has_finished_ms)
            core.ran_ms += it->finished_ms - it->started_ms;
    }
    if (job_has_attempt(run.state)) {
        if (attempts->n_attempts == 0 || attempts->attempts[0]->n_ranks == 0)
            return error_set(error, STATUS_FORMAT, "job j-%" PRId64 " has lost its attempt",
                             row->id);
        gang_restore(coordinator, arena, &core, attempts->attempts[0]);
    }
    cluster_restore_job(&coordinator->cluster, &core);
    return STATUS_OK;
}

static enum status boot_batches(struct coordinator *coordinator, struct arena *arena,
                                struct error *error)
{
    Api__BatchList *list = message_new(arena, &api__batch_list__descriptor);
    TRY(batch_record_bounds(coordinator->records, arena, list, error));
    for (size_t i = 0; i < list->n_batches; i++)
        coordinator_batch_bound(coordinator, list->batches[i]->id, list->batches[i]->max_running);
    return STATUS_OK;
}

enum status boot_from_records(struct coordinator *coordinator, struct error *error)
{
    struct arena arena = {0};
    enum status status = boot_tenants(coordinator, &arena, error);
    if (status == STATUS_OK)
        status = boot_usage(coordinator, &arena, error);
    if (status == STATUS_OK)
        status = boot_queues(coordinator, &arena, error);
    if (status == STATUS_OK)
        status = boot_workers(coordinator, &arena, error);
    if (status == STATUS_OK)
        status = boot_batches(coordinator, &arena, error);
    Api__JobList *jobs = message_new(&arena, &api__job_list__descriptor);
    if (status == STATUS_OK)
        status = job_record_active(coordinator->records, &arena, jobs, error);
    for (size_t i = 0; status == STATUS_OK && i < jobs->n_jobs; i++)
        status = boot_job(coordinator, &arena, jobs->jobs[i], error);
    if (status == STATUS_OK)
        log_info("coordinator %s epoch %" PRId64 " jobs %zu workers %u", coordinator->cluster_name,
                 coordinator->epoch, jobs->n_jobs, coordinator->member_count);
    arena_release(&arena);
    return status;
}
