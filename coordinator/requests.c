/* SPDX-License-Identifier: Apache-2.0
 *
 * requests: what people ask, by coordinator.h.
 *
 * A submit is committed first and enters the cluster then, so a job that could not be recorded
 * never was. A wish about a live job changes the cluster first and is answered behind its commit. A
 * job that is not live is looked up, to tell what is not there from what is over.
 */
#include <inttypes.h>
#include <string.h>

#include "coordinator/change.h"
#include "coordinator/estimate.h"
#include "lib/check.h"
#include "storage/records/batch_record.h"
#include "storage/records/job_record.h"
#include "storage/records/tenant_record.h"
#include "storage/records/worker_record.h"

/* ---- any work -------------------------------------------------------------------------------- */

struct request {
    struct work work;
    struct coordinator *coordinator;
    coordinator_run *run;
    coordinator_done *done;
    void *argument;
    struct error refusal;
};

static enum status request_run(void *context, void *argument, struct error *error)
{
    struct request *request = argument;
    return request->run(context, request->argument, error);
}

static void request_done(void *argument, enum status status, const struct error *error)
{
    struct request *request = argument;
    request->done(request->argument, status, error);
    mem_free(request);
}

static void request_add(struct coordinator *coordinator, enum work_kind kind, coordinator_run *run,
                        coordinator_done *done, void *argument)
{
    struct request *request = mem_alloc(sizeof(*request));
    *request = (struct request){
        .work = {.kind = kind, .run = request_run, .done = request_done, .argument = request},
        .coordinator = coordinator,
        .run = run,
        .done = done,
        .argument = argument};
    background_add(coordinator->database, &request->work);
}

void coordinator_read(struct coordinator *coordinator, coordinator_run *run, coordinator_done *done,
                      void *argument)
{
    request_add(coordinator, WORK_READ, run, done, argument);
}

void coordinator_write(struct coordinator *coordinator, coordinator_run *run,
                       coordinator_done *done, void *argument)
{
    request_add(coordinator, WORK_WRITE, run, done, argument);
}

void coordinator_alone(struct coordinator *coordinator, coordinator_run *run,
                       coordinator_done *done, void *argument)
{
    request_add(coordinator, WORK_ALONE, run, done, argument);
}

static enum status refusal_run(void *context, void *argument, struct error *error)
{
    struct request *request = argument;
    (void)context;
    *error = request->refusal;
    return request->refusal.status;
}

/* Never from inside the call that asked. */
static void refuse(struct coordinator *coordinator, const struct error *error,
                   coordinator_done *done, void *argument)
{
    struct request *request = mem_alloc(sizeof(*request));
    *request = (struct request){
        .work = {.kind = WORK_READ, .run = refusal_run, .done = request_done, .argument = request},
        .done = done,
        .argument = argument,
        .refusal = *error};
    background_add(coordinator->database, &request->work);
}

/* ---- submit ---------------------------------------------------------------------------------- */

struct submitting {
    struct work work;
    struct coordinator *coordinator;
    struct job_submission *submission;
    struct arena arena;
    struct ask ask;
    struct job *job;
    int64_t after[64];
    struct dependency *states; /* of `after`, as the records have them */
    coordinator_done *done;
    void *argument;
};

static void after_states(struct submitting *it, const Api__JobList *list)
{
    int32_t count = (int32_t)list->n_jobs;
    it->states = arena_array(&it->arena, struct dependency, count);
    for (int32_t i = 0; i < count; i++)
        it->states[i] = (struct dependency){(uint64_t)list->jobs[i]->id,
                                            (enum job_state)(list->jobs[i]->state - 1)};
    it->ask.after = it->states;
    it->ask.after_count = count;
}

static enum status submit_run(void *context, void *argument, struct error *error)
{
    struct submitting *it = argument;
    struct job_submission *submission = it->submission;
    struct job_submit submit = {
        .job = submission->job,
        .idempotency_key = submission->idempotency_key,
        .body_digest = submission->idempotency_key != NULL ? submission->request_digest : NULL,
        .after = it->after,
        .after_count = it->ask.after_count,
        .inputs = submission->inputs,
        .input_count = submission->input_count};
    Api__JobList *after = message_new(&it->arena, &api__job_list__descriptor);
    if (submission->before != NULL)
        TRY(submission->before(context, submission->before_argument, error));
    TRY(job_record_submit(context, &submit, &submission->id, &submission->created, error));
    TRY(job_record_after(context, submission->id + (submission->job->shards > 0), &it->arena, after,
                         error));
    if (submission->row != NULL) {
        submission->row->has_job_id = true;
        submission->row->job_id = submission->id;
        TRY(batch_record_put_row(context, submission->row, error));
    }
    after_states(it, after);
    return STATUS_OK;
}

/* The job, and its shards behind it. */
static void enter(struct submitting *it)
{
    struct coordinator *coordinator = it->coordinator;
    const Api__Job *row = it->submission->job;
    uint64_t id = (uint64_t)it->submission->id;
    int32_t shards = (int32_t)row->shards;
    for (int32_t i = 0; i <= shards; i++) {
        struct job *job = job_create(id + (uint64_t)i, row->tenant);
        job->stage = it->job->stage;
        job->keep_last = it->job->keep_last;
        job->shard_of = i > 0 ? id : 0;
        job->shard = i;
        job->shards = shards;
        text_replace(&job->output_model, it->job->output_model);
        text_replace(&job->output_alias, it->job->output_alias);
        text_replace(&job->serves, it->job->serves);
        job_list_add(&coordinator->jobs, job);
    }
    if (shards > 0)
        cluster_add_whole(&coordinator->cluster, id, &it->ask, shards, (int32_t)row->max_attempts,
                          now_read(coordinator));
    else
        cluster_add_job(&coordinator->cluster, id, &it->ask, (int32_t)row->max_attempts,
                        now_read(coordinator));
}

static void on_submitted(void *argument, enum status status, const struct error *error)
{
    struct submitting *it = argument;
    struct coordinator *coordinator = it->coordinator;
    struct job_submission *submission = it->submission;
    coordinator->tenants[it->ask.tenant].submitting--;
    if (status == STATUS_OK && submission->created) {
        enter(it);
        coordinator->queues[it->ask.queue].waiting++;
        metrics_count(&coordinator->metrics, METRIC_JOBS_SUBMITTED, 0, 1);
        watch_wake(coordinator, WATCH_EVENTS, submission->id);
        cycle_soon(coordinator);
    }
    submission->queue_position = coordinator->queues[it->ask.queue].waiting;
    submission->estimate_ms =
        estimate_ms(coordinator, &it->ask, (int32_t)it->job->stage, submission->queue_position);
    it->done(it->argument, status, error);
    job_free(it->job);
    arena_release(&it->arena);
    mem_free(it);
}

/* One for each slot that the pool has now: more would wait, fewer would leave slots idle. */
static int64_t shards_for(const struct coordinator *coordinator, const struct ask *ask)
{
    int64_t slots = 0;
    const struct registry *registry = &coordinator->cluster.registry;
    for (uint32_t i = 0; i < registry->count; i++) {
        const struct worker *worker = &registry->workers[i];
        bool open = worker->state == WORKER_UP && !worker->draining &&
                    worker->offer.pool == ask->pool &&
                    (worker->offer.labels & ask->labels) == ask->labels;
        slots += open ? worker->offer.slots : 0;
    }
    return slots < 1 ? 1 : slots < SHARDS_MAX ? slots : SHARDS_MAX;
}

static enum status submit_check(struct submitting *it, struct error *error)
{
    struct coordinator *coordinator = it->coordinator;
    Api__Job *row = it->submission->job;
    int32_t tenant = row->tenant != NULL ? tenant_find(coordinator, row->tenant) : NO_TENANT;
    const struct caller *caller = it->submission->caller;
    if (tenant == NO_TENANT ||
        (caller->tenant[0] != '\0' && strcmp(caller->tenant, row->tenant) != 0))
        return error_set(error, STATUS_NOT_FOUND, "there is no tenant %.63s",
                         row->tenant != NULL ? row->tenant : "");
    TRY(ask_from_spec(coordinator, &it->arena, row, it->submission->spec, &it->ask, it->job,
                      error));
    TRY(cluster_admit(&coordinator->cluster, &it->ask, coordinator->tenants[tenant].submitting,
                      error));
    for (int32_t i = 0; i < it->ask.after_count; i++)
        it->after[i] = (int64_t)it->ask.after[i].job;
    row->has_shards = it->submission->sharded;
    if (it->submission->sharded && row->shards == 0)
        row->shards = shards_for(coordinator, &it->ask);
    return STATUS_OK;
}

void coordinator_job_submit(struct coordinator *coordinator, struct job_submission *submission,
                            coordinator_done *done, void *argument)
{
    struct error error;
    struct submitting *it = mem_alloc(sizeof(*it));
    *it = (struct submitting){
        .work = {.kind = WORK_WRITE, .run = submit_run, .done = on_submitted, .argument = it},
        .coordinator = coordinator,
        .submission = submission,
        .job = job_create(0, ""),
        .done = done,
        .argument = argument};
    Api__Job *row = submission->job;
    row->has_created_ms = row->has_state_since_ms = row->has_state = row->has_max_attempts = true;
    row->created_ms = row->state_since_ms = now_read(coordinator);
    row->state = API__JOB_STATE__JOB_STATE_QUEUED;
    row->max_attempts = row->max_attempts > 0 ? row->max_attempts : 1;
    if (submit_check(it, &error) != STATUS_OK) {
        refuse(coordinator, &error, done, argument);
        job_free(it->job);
        arena_release(&it->arena);
        mem_free(it);
        return;
    }
    coordinator->tenants[it->ask.tenant].submitting++;
    background_add(coordinator->database, &it->work);
}

void coordinator_batch_bound(struct coordinator *coordinator, int64_t batch, int64_t running_max)
{
    struct cluster *cluster = &coordinator->cluster;
    cluster_bound_batch(cluster, cluster_batch(cluster, (uint64_t)batch), (int32_t)running_max);
}

/* ---- verbs of a job -------------------------------------------------------------------------- */

struct wish {
    int64_t id;
    enum job_verb verb;
    char tenant[NAME_BYTES_MAX + 1];
    coordinator_done *done;
    void *argument;
};

/* Of a job that is not live: it is over, or not there. */
static enum status wish_lookup(struct records *records, void *argument, struct error *error)
{
    struct wish *wish = argument;
    struct arena arena = {0};
    Api__Job *job;
    struct scope scope = wish->tenant[0] == '\0' ? SCOPE_ALL : SCOPE_TENANT(wish->tenant);
    enum status status = job_record_get(records, scope, wish->id, false, &arena, &job, error);
    if (status == STATUS_OK &&
        !(wish->verb == JOB_VERB_CANCEL && job->state == API__JOB_STATE__JOB_STATE_CANCELLED)) {
        char state[64];
        status = error_set(error, STATUS_CONFLICT, "job j-%" PRId64 " has %s", wish->id,
                           enum_text(&api__job_state__descriptor, job->state, state));
    }
    arena_release(&arena);
    return status;
}

static void wish_done(void *argument, enum status status, const struct error *error)
{
    struct wish *wish = argument;
    wish->done(wish->argument, status, error);
    mem_free(wish);
}

static enum status wish_apply(struct coordinator *coordinator, struct job *job, enum job_verb verb,
                              int64_t value, struct error *error)
{
    struct cluster *cluster = &coordinator->cluster;
    switch (verb) {
    case JOB_VERB_CANCEL:
        TRY(cluster_cancel(cluster, job->id, coordinator->now_ms, error));
        job->cancel_wanted = true;
        break;
    case JOB_VERB_PAUSE:
        TRY(cluster_pause(cluster, job->id, coordinator->now_ms, error));
        job->pause_wanted = true;
        break;
    case JOB_VERB_RESUME:
        TRY(cluster_resume(cluster, job->id, coordinator->now_ms, error));
        job->pause_wanted = false;
        break;
    case JOB_VERB_PRIORITY:
        cluster_job(cluster, job->id)->ask.priority = (int32_t)value;
        cluster->dirty = true;
        break;
    }
    return STATUS_OK;
}

void coordinator_job_verb(struct coordinator *coordinator, const struct caller *caller,
                          enum job_verb verb, int64_t id, int64_t value, coordinator_done *done,
                          void *argument)
{
    struct error error;
    struct job *job = job_list_find(&coordinator->jobs, (uint64_t)id);
    const struct cluster_job *core = cluster_job(&coordinator->cluster, (uint64_t)id);
    bool own =
        job != NULL && (caller->tenant[0] == '\0' || strcmp(caller->tenant, job->tenant) == 0);
    now_read(coordinator);
    if (!own || core == NULL || job_is_final(core->run.state)) {
        struct wish *wish = mem_alloc(sizeof(*wish));
        *wish = (struct wish){.id = id, .verb = verb, .done = done, .argument = argument};
        memcpy(wish->tenant, caller->tenant, sizeof(wish->tenant));
        coordinator_read(coordinator, wish_lookup, wish_done, wish);
        return;
    }
    struct change *change = change_begin(coordinator);
    if (wish_apply(coordinator, job, verb, value, &error) != STATUS_OK) {
        change_drop(change);
        refuse(coordinator, &error, done, argument);
        return;
    }
    change_commit_job(change, job, done, argument);
    cycle_soon(coordinator);
}

/* Until they are done, they are its steps. */
static void count_shards(const struct cluster_job *core, Api__Job *row)
{
    row->has_shards_done = true;
    for (int32_t i = 0; i < core->ask.after_count; i++)
        row->shards_done += core->after[i].state == JOB_STATE_SUCCEEDED;
    if (!job_has_attempt(core->run.state)) {
        row->has_step = row->has_steps_total = true;
        row->step = row->shards_done;
        row->steps_total = row->shards;
    }
}

void coordinator_job_refresh(struct coordinator *coordinator, struct arena *arena, Api__Job *row)
{
    const struct job *job = job_list_find(&coordinator->jobs, (uint64_t)row->id);
    const struct cluster_job *core = cluster_job(&coordinator->cluster, (uint64_t)row->id);
    if (job == NULL || core == NULL || job_is_final(core->run.state))
        return;
    row->has_step = row->has_steps_total = job->steps_total > 0 || job->step > 0;
    row->step = job->step;
    row->steps_total = job->steps_total;
    if (job->shards > 0 && job->shard_of == 0)
        count_shards(core, row);
    if (!job_is_waiting(core->run.state) && !core->run.halted)
        return;
    struct buf sentence = {0};
    if (row->has_shards_done && row->shards_done < row->shards)
        buf_printf(&sentence, "%" PRId64 " of its %" PRId64 " shards are done", row->shards_done,
                   row->shards);
    else
        waiting_sentence(&core->wait, now_read(coordinator), &sentence);
    row->has_waiting_reason = core->wait.reason != WAITING_NONE;
    row->waiting_reason = (Api__WaitingReason)core->wait.reason;
    row->has_waiting_since_ms = true;
    row->waiting_since_ms = core->wait.since_ms;
    row->waiting_detail = arena_strdup(arena, sentence.data);
    buf_release(&sentence);
}

/* ---- tenants --------------------------------------------------------------------------------- */

struct tenant_request {
    struct coordinator *coordinator;
    Api__Tenant *tenant;
    bool create;
    coordinator_done *done;
    void *argument;
};

static void tenant_overlay(Api__Tenant *row, const Api__Tenant *set)
{
#define TENANT_FIELD(field)                                                                        \
    if (set->has_##field) {                                                                        \
        row->has_##field = true;                                                                   \
        row->field = set->field;                                                                   \
    }
    TENANT_FIELD(weight)
    TENANT_FIELD(running_slots_max)
    TENANT_FIELD(queued_jobs_max)
    TENANT_FIELD(bytes_max)
    TENANT_FIELD(slot_hours_month_max)
#undef TENANT_FIELD
}

static enum status tenant_run(struct records *records, void *argument, struct error *error)
{
    struct tenant_request *it = argument;
    struct arena arena = {0};
    Api__Tenant *row = NULL;
    if (it->create) {
        it->tenant->has_created_ms = true;
        it->tenant->created_ms = coordinator_now_ms();
        it->tenant->has_id = true;
        return tenant_record_insert(records, it->tenant, &it->tenant->id, error);
    }
    enum status status =
        tenant_record_get(records, SCOPE_ALL, it->tenant->name, &arena, &row, error);
    if (status == STATUS_OK) {
        tenant_overlay(row, it->tenant);
        row->title = it->tenant->title != NULL ? it->tenant->title : row->title;
        status = tenant_record_update(records, row, error);
        tenant_overlay(it->tenant, row);
        it->tenant->has_id = it->tenant->has_created_ms = true;
        it->tenant->id = row->id;
        it->tenant->created_ms = row->created_ms;
    }
    arena_release(&arena);
    return status;
}

static void on_tenant(void *argument, enum status status, const struct error *error)
{
    struct tenant_request *it = argument;
    if (status == STATUS_OK) {
        int32_t index = tenant_find(it->coordinator, it->tenant->name);
        if (index == NO_TENANT)
            tenant_add(it->coordinator, it->tenant);
        else
            tenant_set(it->coordinator, index, it->tenant);
        cycle_soon(it->coordinator);
    }
    it->done(it->argument, status, error);
    mem_free(it);
}

void coordinator_tenant_put(struct coordinator *coordinator, Api__Tenant *tenant, bool create,
                            coordinator_done *done, void *argument)
{
    struct tenant_request *it = mem_alloc(sizeof(*it));
    *it = (struct tenant_request){coordinator, tenant, create, done, argument};
    coordinator_write(coordinator, tenant_run, on_tenant, it);
}

/* ---- queues ---------------------------------------------------------------------------------- */

struct queue_request {
    struct coordinator *coordinator;
    char name[NAME_BYTES_MAX + 1], reason[256];
    bool paused;
    int64_t priority;
    coordinator_done *done;
    void *argument;
};

static enum status queue_run(struct records *records, void *argument, struct error *error)
{
    struct queue_request *it = argument;
    Api__Queue queue = API__QUEUE__INIT;
    queue.name = it->name;
    queue.has_paused = queue.has_priority = true;
    queue.paused = it->paused;
    queue.priority = it->priority;
    queue.pause_reason = it->paused && it->reason[0] != '\0' ? it->reason : NULL;
    return queue_record_put(records, &queue, error);
}

static void on_queue(void *argument, enum status status, const struct error *error)
{
    struct queue_request *it = argument;
    if (status == STATUS_OK) {
        cluster_pause_queue(&it->coordinator->cluster, queue_get(it->coordinator, it->name),
                            it->paused);
        cycle_soon(it->coordinator);
    }
    it->done(it->argument, status, error);
    mem_free(it);
}

void coordinator_queue_pause(struct coordinator *coordinator, const char *queue, bool paused,
                             const char *reason, coordinator_done *done, void *argument)
{
    struct queue_request *it = mem_alloc(sizeof(*it));
    uint32_t index = queue_get(coordinator, queue);
    *it = (struct queue_request){.coordinator = coordinator,
                                 .paused = paused,
                                 .priority = coordinator->cluster.queues[index].priority,
                                 .done = done,
                                 .argument = argument};
    snprintf(it->name, sizeof(it->name), "%s", queue);
    snprintf(it->reason, sizeof(it->reason), "%s", reason != NULL ? reason : "");
    coordinator_write(coordinator, queue_run, on_queue, it);
}

/* ---- workers --------------------------------------------------------------------------------- */

static enum status forget_run(struct records *records, void *argument, struct error *error)
{
    return worker_record_forget(records, *(int64_t *)argument, error);
}

static void worker_drain(struct coordinator *coordinator, struct member *member, bool draining,
                         struct change *change)
{
    uint32_t index;
    Wire__Drain drain = WIRE__DRAIN__INIT;
    drain.has_undo = true;
    drain.undo = !draining;
    member->was_draining = draining;
    if (member->row->state != API__WORKER_STATE__WORKER_STATE_LOST)
        member->row->state = draining ? API__WORKER_STATE__WORKER_STATE_DRAINING
                                      : API__WORKER_STATE__WORKER_STATE_LIVE;
    if (member_index(coordinator, member, &index))
        cluster_drain(&coordinator->cluster, index, draining);
    change_worker(change, member);
    change_event(change, NULL, draining ? "worker_drain" : "worker_undrain",
                 API__SEVERITY__SEVERITY_INFO, "worker %s", member->row->name);
    worker_socket_send(coordinator->socket, worker_identity(member->id), WORKER_DRAIN, &drain);
}

static void worker_forget(struct coordinator *coordinator, struct member *member,
                          struct change *change)
{
    uint32_t index;
    int64_t *id = arena_new(change_arena(change), int64_t);
    *id = member->id;
    change_event(change, NULL, "worker_forgotten", API__SEVERITY__SEVERITY_WARNING, "worker %s",
                 member->row->name);
    change_also(change, forget_run, id);
    keys_remove(coordinator->keys, worker_identity(member->id));
    worker_socket_forget(coordinator->socket, worker_identity(member->id));
    if (member_index(coordinator, member, &index))
        cluster_forget(&coordinator->cluster, index, coordinator->now_ms);
    member_remove(coordinator, member);
}

void coordinator_worker_verb(struct coordinator *coordinator, enum worker_verb verb, int64_t id,
                             coordinator_done *done, void *argument)
{
    struct error error;
    struct member *member = member_find(coordinator, id);
    now_read(coordinator);
    if (member == NULL) {
        error_set(&error, STATUS_NOT_FOUND, "there is no worker w-%" PRId64, id);
        refuse(coordinator, &error, done, argument);
        return;
    }
    struct change *change = change_begin(coordinator);
    if (verb == WORKER_VERB_FORGET)
        worker_forget(coordinator, member, change);
    else
        worker_drain(coordinator, member, verb == WORKER_VERB_DRAIN, change);
    change_commit(change, done, argument);
    cycle_soon(coordinator);
}
