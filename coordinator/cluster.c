/* SPDX-License-Identifier: Apache-2.0
 *
 * cluster: people's verbs, and the life of an attempt.
 *
 * Invariants: a job has members exactly while job_has_attempt(); a tenant's `slots` is the sum of
 * held over its jobs; every change of a state is in `changes`; every slot of a live member is held
 * at its worker, unless that worker restarted or was forgotten.
 */
#include "coordinator/cluster.h"

#include <string.h>

#include "coordinator/cluster_parts.h"
#include "lib/check.h"

void cluster_init(struct cluster *cluster, const struct cluster_options *options, uint64_t boots,
                  int64_t now_ms)
{
    CHECK(boots > 0 && boots <= UINT32_MAX);
    *cluster = (struct cluster){.options = *options,
                                .next_job = 1,
                                .boots = boots,
                                .next_command = boots << 32, /* above all that was sent before */
                                .dirty = true};
    cluster->batches = mem_alloc(sizeof(*cluster->batches));
    cluster->batch_count = 1;
    registry_init(&cluster->registry, options->lost_after_ms, now_ms);
}

void cluster_release(struct cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->job_count; i++) {
        mem_free(cluster->jobs[i].members);
        mem_free(cluster->jobs[i].after);
    }
    mem_free(cluster->jobs);
    mem_free(cluster->tenants);
    mem_free(cluster->queues);
    mem_free(cluster->batches);
    mem_free(cluster->commands);
    mem_free(cluster->changes);
    arena_release(&cluster->scratch);
    registry_release(&cluster->registry);
    *cluster = (struct cluster){0};
}

uint32_t cluster_add_tenant(struct cluster *cluster, double weight, const struct quota *quota,
                            int64_t now_ms)
{
    CHECK(weight > 0);
    cluster->tenants = mem_grow(
        cluster->tenants, size_mul(cluster->tenant_count + (size_t)1, sizeof(*cluster->tenants)));
    cluster->tenants[cluster->tenant_count] =
        (struct cluster_tenant){.share = {.at_ms = now_ms, .weight = weight}, .quota = *quota};
    return cluster->tenant_count++;
}

uint32_t cluster_add_queue(struct cluster *cluster, int32_t priority)
{
    cluster->queues = mem_grow(
        cluster->queues, size_mul(cluster->queue_count + (size_t)1, sizeof(*cluster->queues)));
    cluster->queues[cluster->queue_count] = (struct snapshot_queue){.priority = priority};
    return cluster->queue_count++;
}

void cluster_pause_queue(struct cluster *cluster, uint32_t queue, bool paused)
{
    CHECK(queue < cluster->queue_count);
    cluster->queues[queue].paused = paused;
    cluster->dirty = true;
}

uint32_t cluster_batch(struct cluster *cluster, uint64_t id)
{
    for (uint32_t i = cluster->batch_count; id != 0 && i-- > 1;) {
        if (cluster->batches[i].id == id) {
            return i;
        }
    }
    if (id == 0) {
        return 0;
    }
    cluster->batches = mem_grow(
        cluster->batches, size_mul(cluster->batch_count + (size_t)1, sizeof(*cluster->batches)));
    cluster->batches[cluster->batch_count] = (struct cluster_batch){.id = id};
    return cluster->batch_count++;
}

void cluster_bound_batch(struct cluster *cluster, uint32_t batch, int32_t running_max)
{
    CHECK(batch > 0 && batch < cluster->batch_count);
    cluster->batches[batch].running_max = running_max;
    cluster->dirty = true;
}

void cluster_drained(struct cluster *cluster)
{
    cluster->command_count = 0;
    cluster->change_count = 0;
}

struct cluster_job *cluster_job(struct cluster *cluster, uint64_t id)
{
    uint32_t low = 0, high = cluster->job_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (cluster->jobs[middle].run.id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < cluster->job_count && cluster->jobs[low].run.id == id ? &cluster->jobs[low] : NULL;
}

struct cluster_job *cluster_live(struct cluster *cluster, uint64_t job, uint64_t term)
{
    struct cluster_job *it = cluster_job(cluster, job);
    return it && it->run.term == term && job_has_attempt(it->run.state) ? it : NULL;
}

/* ---- changes and commands -------------------------------------------------------------------- */

bool cluster_job_waits(const struct cluster_job *job, enum job_state state)
{
    return job->ask.whole == 0 && (job_is_waiting(state) || state == JOB_STATE_PAUSED);
}

static void record(struct cluster *cluster, struct cluster_job *job, enum job_event event,
                   enum job_state from)
{
    enum job_state to = job->run.state;
    struct cluster_tenant *tenant = &cluster->tenants[job->ask.tenant];
    tenant->waiting += cluster_job_waits(job, to) - cluster_job_waits(job, from);
    tenant->unfinished -= job_is_final(to);
    cluster->batches[job->ask.batch].unfinished -= job_is_final(to);
    if (job->run.halted)
        job->wait = (struct wait){.reason = WAITING_STORAGE, .since_ms = job->run.since_ms};
    cluster->dirty = true;
    if (cluster->change_count == cluster->change_capacity) {
        cluster->change_capacity = cluster->change_capacity ? cluster->change_capacity * 2 : 64;
        cluster->changes = mem_grow(cluster->changes,
                                    size_mul(cluster->change_capacity, sizeof(struct job_change)));
    }
    cluster->changes[cluster->change_count++] = (struct job_change){
        .job = job->run.id, .term = job->run.term, .event = event, .from = from, .to = to};
}

void cluster_move(struct cluster *cluster, struct cluster_job *job, enum job_event event,
                  int64_t now_ms)
{
    enum job_state from = job->run.state;
    CHECK(job_transition(&job->run, event, now_ms, NULL) == STATUS_OK);
    record(cluster, job, event, from);
}

static struct command *command_add(struct cluster *cluster)
{
    if (cluster->command_count == cluster->command_capacity) {
        cluster->command_capacity = cluster->command_capacity ? cluster->command_capacity * 2 : 64;
        cluster->commands = mem_grow(cluster->commands,
                                     size_mul(cluster->command_capacity, sizeof(struct command)));
    }
    struct command *command = &cluster->commands[cluster->command_count++];
    *command = (struct command){.number = ++cluster->next_command};
    return command;
}

void cluster_command_stop(struct cluster *cluster, uint32_t worker, uint64_t job, uint64_t term)
{
    struct command *command = command_add(cluster);
    command->kind = COMMAND_STOP;
    command->worker = worker;
    command->incarnation = cluster->registry.workers[worker].offer.incarnation;
    command->job = job;
    command->term = term;
}

void cluster_command(struct cluster *cluster, enum command_kind kind, struct cluster_job *job,
                     const struct gang_member *member)
{
    cluster_command_stop(cluster, member->worker, job->run.id, job->run.term);
    struct command *command = &cluster->commands[cluster->command_count - 1];
    command->kind = kind;
    if (kind == COMMAND_BEGIN) {
        command->ranks = member->ranks;
        command->first_rank = member->first_rank;
        command->gang_ranks = job->held;
        struct worker *worker = &cluster->registry.workers[member->worker];
        struct hold *hold = worker_hold(worker, job->run.id, job->run.term);
        CHECK(hold != NULL);
        hold->command = command->number;
    }
}

void cluster_command_all(struct cluster *cluster, enum command_kind kind, struct cluster_job *job)
{
    for (int32_t i = 0; i < job->member_count; i++) {
        if (!job->members[i].ended) {
            cluster_command(cluster, kind, job, &job->members[i]);
        }
    }
}

/* ---- an attempt's end ------------------------------------------------------------------------ */

void cluster_gang_close(struct cluster *cluster, struct cluster_job *job, int64_t now_ms)
{
    CHECK(!job_has_attempt(job->run.state));
    cluster_command_all(cluster, COMMAND_STOP, job);
    cluster->tenants[job->ask.tenant].slots -= job->held;
    CHECK(cluster->tenants[job->ask.tenant].slots >= 0);
    job->ran_ms += now_ms - job->assigned_ms;
    mem_free(job->members);
    job->members = NULL;
    job->member_count = 0;
    job->held = 0;
}

void cluster_attempt_failed(struct cluster *cluster, struct cluster_job *job, enum failure failure,
                            uint64_t worker, int64_t now_ms)
{
    enum job_state from = job->run.state;
    if (job->ask.serves && from == JOB_STATE_RUNNING &&
        now_ms - job->run.since_ms >= CLUSTER_PROVED_MS) {
        job_proved(&job->run); /* or a server that lives for months would use up its attempts */
    }
    enum job_event event = job_attempt_failed(&job->run, failure, now_ms);
    record(cluster, job, event, from);
    job->yielded = event == JOB_EVENT_REQUEUE;
    job->avoid = failure_row(failure)->elsewhere ? worker : 0;
    if (event == JOB_EVENT_RETRY) {
        job->backoff_until_ms = now_ms + backoff_ms(&cluster->options.backoff, job->run.fruitless,
                                                    job->run.id, cluster->options.seed);
    }
    cluster_gang_close(cluster, job, now_ms);
}

void cluster_attempt_ended(struct cluster *cluster, struct cluster_job *job, int64_t now_ms)
{
    enum job_state from = job->run.state;
    enum job_event event = job_attempt_ended(&job->run, now_ms);
    record(cluster, job, event, from);
    job->yielded = event == JOB_EVENT_REQUEUE;
    cluster_gang_close(cluster, job, now_ms);
}

void cluster_attempt_full(struct cluster *cluster, struct cluster_job *job, uint64_t worker,
                          int64_t now_ms)
{
    if (job->run.state == JOB_STATE_STARTING || job->run.state == JOB_STATE_RUNNING) {
        cluster_move(cluster, job, JOB_EVENT_HALT, now_ms);
    }
    job->halts++;
    job->avoid = worker;
    job->backoff_until_ms = now_ms + backoff_ms(&cluster->options.backoff, job->halts, job->run.id,
                                                cluster->options.seed);
    cluster_attempt_ended(cluster, job, now_ms);
}

/* ---- people's verbs -------------------------------------------------------------------------- */

static double least_level(const struct cluster *cluster)
{
    double least = -1;
    for (uint32_t i = 0; i < cluster->tenant_count; i++) {
        double level = fair_share_level(&cluster->tenants[i].share);
        if (cluster->tenants[i].unfinished > 0 && (least < 0 || level < least)) {
            least = level;
        }
    }
    return least < 0 ? 0 : least;
}

struct cluster_job *cluster_job_add(struct cluster *cluster)
{
    if (cluster->job_count == cluster->job_capacity) {
        cluster->job_capacity = cluster->job_capacity ? cluster->job_capacity * 2 : 64;
        cluster->jobs =
            mem_grow(cluster->jobs, size_mul(cluster->job_capacity, sizeof(struct cluster_job)));
    }
    return &cluster->jobs[cluster->job_count++];
}

static void after_copy(struct cluster *cluster, struct cluster_job *job)
{
    int32_t count = job->ask.after_count;
    job->after = mem_alloc(size_mul((size_t)count, sizeof(*job->after)));
    for (int32_t i = 0; i < count; i++) {
        struct cluster_job *after = cluster_job(cluster, job->ask.after[i].job);
        job->after[i] = job->ask.after[i];
        job->after[i].state = after ? after->run.state : job->after[i].state;
    }
    job->ask.after = job->after;
}

enum status cluster_admit(const struct cluster *cluster, const struct ask *ask, int32_t more,
                          struct error *error)
{
    CHECK(ask->tenant < cluster->tenant_count);
    const struct cluster_tenant *tenant = &cluster->tenants[ask->tenant];
    return quota_admit(&tenant->quota, tenant->waiting + more, ask->min_ranks, error);
}

void cluster_add_job(struct cluster *cluster, uint64_t id, const struct ask *ask,
                     int32_t attempts_max, int64_t now_ms)
{
    CHECK(ask->tenant < cluster->tenant_count);
    CHECK(ask->queue < cluster->queue_count);
    CHECK(ask->batch < cluster->batch_count);
    CHECK(ask->min_ranks >= 1 && ask->min_ranks <= ask->ranks);
    CHECK(ask->ranks <= GANG_RANKS_MAX);
    CHECK(id >= cluster->next_job);
    struct cluster_tenant *tenant = &cluster->tenants[ask->tenant];
    if (tenant->unfinished == 0) {
        fair_share_charge(&tenant->share, 0, now_ms, cluster->options.half_life_ms);
        fair_share_enter(&tenant->share, least_level(cluster));
    }
    struct cluster_job *job = cluster_job_add(cluster);
    *job = (struct cluster_job){.ask = *ask, .wait = {.since_ms = now_ms}};
    job->ask.submitted_ms = now_ms;
    job_init(&job->run, id, attempts_max, now_ms);
    after_copy(cluster, job);
    cluster->next_job = id + 1;
    tenant->waiting += cluster_job_waits(job, job->run.state);
    tenant->unfinished++;
    cluster->batches[ask->batch].unfinished++;
    cluster->batches[ask->batch].end_told = false;
    cluster->dirty = true;
}

enum status cluster_submit(struct cluster *cluster, const struct ask *ask, int32_t attempts_max,
                           int64_t now_ms, uint64_t *id_out, struct error *error)
{
    TRY(cluster_admit(cluster, ask, 0, error));
    *id_out = cluster->next_job;
    cluster_add_job(cluster, *id_out, ask, attempts_max, now_ms);
    return STATUS_OK;
}

static enum status apply(struct cluster *cluster, uint64_t id, enum job_event event, int64_t now_ms,
                         struct cluster_job **job_out, struct error *error)
{
    struct cluster_job *job = cluster_job(cluster, id);
    if (!job) {
        return error_set(error, STATUS_NOT_FOUND, "there is no job %llu", (unsigned long long)id);
    }
    if (job->ask.whole != 0) {
        return error_set(error, STATUS_CONFLICT, "job %llu is a shard of job %llu: say it of that",
                         (unsigned long long)id, (unsigned long long)job->ask.whole);
    }
    enum job_state from = job->run.state;
    TRY(job_transition(&job->run, event, now_ms, error));
    record(cluster, job, event, from);
    *job_out = job;
    return STATUS_OK;
}

enum status cluster_cancel(struct cluster *cluster, uint64_t id, int64_t now_ms,
                           struct error *error)
{
    struct cluster_job *job;
    TRY(apply(cluster, id, JOB_EVENT_CANCEL, now_ms, &job, error));
    cluster_command_all(cluster, COMMAND_STOP, job);
    return STATUS_OK;
}

enum status cluster_pause(struct cluster *cluster, uint64_t id, int64_t now_ms, struct error *error)
{
    struct cluster_job *job;
    TRY(apply(cluster, id, JOB_EVENT_PAUSE, now_ms, &job, error));
    cluster_command_all(cluster, COMMAND_YIELD, job);
    return STATUS_OK;
}

enum status cluster_resume(struct cluster *cluster, uint64_t id, int64_t now_ms,
                           struct error *error)
{
    struct cluster_job *job;
    TRY(apply(cluster, id, JOB_EVENT_RESUME, now_ms, &job, error));
    job->yielded = false;
    return STATUS_OK;
}

void cluster_store_full(struct cluster *cluster, bool full)
{
    cluster->store_full = full;
    cluster->dirty = true;
}

void cluster_stuck(struct cluster *cluster, bool stuck)
{
    cluster->stuck = stuck;
    cluster->dirty = true;
}
