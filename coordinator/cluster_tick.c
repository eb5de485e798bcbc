/* SPDX-License-Identifier: Apache-2.0
 *
 * cluster_tick: the passing of time, and the scheduler's cycle.
 *
 * Order within a tick: leases, deadlines, full disks, usage, then one cycle over the result; in a
 * cycle shards and wholes agree before the scheduler looks. A cycle runs when something changed,
 * when a back-off or a begin time is over, and at least every cycle_ms.
 */
#include <string.h>

#include "coordinator/cluster_parts.h"
#include "lib/check.h"

enum { LOST_AT_ONCE = 64, FINAL_KEPT = 64 };

static void leases(struct cluster *cluster, int64_t now_ms)
{
    uint32_t lost[LOST_AT_ONCE];
    int32_t count;
    do {
        count = registry_tick(&cluster->registry, now_ms, lost, LOST_AT_ONCE);
        for (int32_t i = 0; i < count; i++) {
            struct worker *worker = &cluster->registry.workers[lost[i]];
            cluster->dirty = true;
            /* Its holds stay: silent is not dead. */
            for (int32_t h = 0; h < worker->hold_count; h++) {
                struct hold *hold = &worker->holds[h];
                struct cluster_job *job = cluster_live(cluster, hold->job, hold->term);
                if (job) {
                    cluster_attempt_failed(cluster, job, FAILURE_WORKER_LOST, worker->id, now_ms);
                }
            }
        }
    } while (count == LOST_AT_ONCE);
}

static void deadlines(struct cluster *cluster, int64_t now_ms)
{
    const struct cluster_options *options = &cluster->options;
    for (uint32_t i = 0; i < cluster->job_count; i++) {
        struct cluster_job *job = &cluster->jobs[i];
        if (!job_has_attempt(job->run.state)) {
            continue;
        }
        int64_t in_state = now_ms - job->run.since_ms;
        int64_t ran_ms = job->ran_ms + now_ms - job->assigned_ms;
        bool half_gone = job->gone_ms > 0 && now_ms - job->gone_ms > options->yield_timeout_ms;
        if ((job->run.state == JOB_STATE_STARTING && in_state > options->start_timeout_ms) ||
            (job->run.state == JOB_STATE_RUNNING && half_gone)) {
            cluster_attempt_failed(cluster, job, FAILURE_COMMUNICATION, 0, now_ms);
        } else if ((job->run.state == JOB_STATE_PAUSING ||
                    job->run.state == JOB_STATE_CANCELLING) &&
                   in_state > options->yield_timeout_ms &&
                   !(job->run.halted && cluster->store_full)) { /* its model waits for room too */
            cluster_attempt_ended(cluster, job, now_ms);
        } else if (job->run.state == JOB_STATE_RUNNING && job->ask.duration_max_ms > 0 &&
                   ran_ms > job->ask.duration_max_ms) {
            cluster_attempt_failed(cluster, job, FAILURE_TIMEOUT, 0, now_ms);
        }
    }
}

/* A worker that could take the job, if it had slots free. */
static bool has_room(const struct cluster *cluster, const struct cluster_job *job)
{
    for (uint32_t i = 0; i < cluster->registry.count; i++) {
        const struct worker *it = &cluster->registry.workers[i];
        if (it->state == WORKER_UP && !it->draining && !it->full &&
            it->offer.pool == job->ask.pool) {
            return true;
        }
    }
    return false;
}

/* What runs into a full store is halted; what was halted goes on when there is room. */
static void halts(struct cluster *cluster, int64_t now_ms)
{
    for (uint32_t i = 0; i < cluster->job_count; i++) {
        struct cluster_job *job = &cluster->jobs[i];
        enum job_state state = job->run.state;
        if (cluster->store_full && (state == JOB_STATE_STARTING || state == JOB_STATE_RUNNING)) {
            cluster_move(cluster, job, JOB_EVENT_HALT, now_ms);
            cluster_command_all(cluster, COMMAND_YIELD, job);
        } else if (state == JOB_STATE_PAUSED && job->run.halted && !cluster->store_full &&
                   !cluster->stuck && job->backoff_until_ms <= now_ms && has_room(cluster, job)) {
            cluster_move(cluster, job, JOB_EVENT_RESUME, now_ms);
        }
    }
}

/* What has no end of its own would keep a worker from being drained. */
static void leave_draining(struct cluster *cluster, int64_t now_ms)
{
    for (uint32_t i = 0; i < cluster->job_count; i++) {
        struct cluster_job *job = &cluster->jobs[i];
        bool leaves = false;
        for (int32_t m = 0; job->ask.serves && m < job->member_count; m++) {
            leaves |= cluster->registry.workers[job->members[m].worker].draining;
        }
        if (leaves && job->run.state == JOB_STATE_RUNNING) {
            cluster_move(cluster, job, JOB_EVENT_YIELD, now_ms);
            cluster_command_all(cluster, COMMAND_YIELD, job);
        }
    }
}

static void charge(struct cluster *cluster, int64_t now_ms)
{
    for (uint32_t i = 0; i < cluster->tenant_count; i++) {
        struct cluster_tenant *tenant = &cluster->tenants[i];
        int64_t passed = now_ms - tenant->share.at_ms;
        if (passed > 0) {
            quota_charge(&tenant->use, tenant->slots, passed, now_ms);
            fair_share_charge(&tenant->share, tenant->slots, now_ms, cluster->options.half_life_ms);
        }
    }
}

/* ---- the snapshot ---------------------------------------------------------------------------- */

static void snapshot_workers(struct cluster *cluster, struct snapshot *snapshot)
{
    struct registry *registry = &cluster->registry;
    struct snapshot_worker *workers =
        arena_array(&cluster->scratch, struct snapshot_worker, registry->count);
    for (uint32_t i = 0; i < registry->count; i++) {
        struct worker *it = &registry->workers[i];
        bool open = it->state == WORKER_UP && !it->draining && !it->full;
        int32_t ending = 0;
        for (int32_t h = 0; open && h < it->hold_count; h++) {
            struct cluster_job *job = cluster_live(cluster, it->holds[h].job, it->holds[h].term);
            bool stays = job && (job->run.state == JOB_STATE_STARTING ||
                                 job->run.state == JOB_STATE_RUNNING);
            ending += stays ? 0 : it->holds[h].slots;
        }
        workers[i] = (struct snapshot_worker){.id = it->id,
                                              .pool = it->offer.pool,
                                              .numerics = it->offer.numerics,
                                              .labels = it->offer.labels,
                                              .full = it->full,
                                              .slots = open ? it->offer.slots : 0,
                                              .free = worker_free(it),
                                              .ending = ending,
                                              .warm = it->warm,
                                              .warm_count = it->warm_count};
        for (int32_t w = 0; w < it->warm_count; w++) {
            if (it->warm[w] >= snapshot->warm_count) {
                snapshot->warm_count = it->warm[w] + 1;
            }
        }
    }
    snapshot->workers = workers;
    snapshot->worker_count = registry->count;
}

/* Every job learns what became of those that it comes after; then final jobs may go. */
static void dependencies_refresh(struct cluster *cluster)
{
    uint32_t final = 0;
    for (uint32_t i = 0; i < cluster->job_count; i++) {
        struct cluster_job *job = &cluster->jobs[i];
        final += job_is_final(job->run.state);
        for (int32_t k = 0; k < job->ask.after_count; k++) {
            struct cluster_job *after = cluster_job(cluster, job->after[k].job);
            job->after[k].state = after ? after->run.state : job->after[k].state;
        }
    }
    if (final < FINAL_KEPT || final < cluster->job_count / 2 || cluster->change_count > 0) {
        return; /* who reads the changes may still look at their jobs */
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < cluster->job_count; i++) {
        if (job_is_final(cluster->jobs[i].run.state)) {
            mem_free(cluster->jobs[i].after);
        } else {
            cluster->jobs[kept++] = cluster->jobs[i];
        }
    }
    cluster->job_count = kept;
}

static void wake_at(struct cluster *cluster, int64_t at_ms, int64_t now_ms)
{
    if (at_ms > now_ms && at_ms < cluster->wake_ms) {
        cluster->wake_ms = at_ms;
    }
}

/* Returns the jobs of the cluster behind the snapshot's, index for index. */
static struct cluster_job **snapshot_jobs(struct cluster *cluster, struct snapshot *snapshot)
{
    struct snapshot_job *jobs =
        arena_array(&cluster->scratch, struct snapshot_job, cluster->job_count);
    struct cluster_job **behind =
        arena_array(&cluster->scratch, struct cluster_job *, cluster->job_count);
    for (uint32_t i = 0; i < cluster->job_count; i++) {
        struct cluster_job *it = &cluster->jobs[i];
        if (job_is_final(it->run.state)) {
            continue;
        }
        wake_at(cluster, it->backoff_until_ms, snapshot->now_ms);
        wake_at(cluster, it->ask.not_before_ms, snapshot->now_ms);
        if (it->ask.warm >= snapshot->warm_count) {
            snapshot->warm_count = it->ask.warm + 1;
        }
        behind[snapshot->job_count] = it;
        jobs[snapshot->job_count++] =
            (struct snapshot_job){.id = it->run.id,
                                  .state = it->run.state,
                                  .ask = &it->ask,
                                  .numerics = it->numerics,
                                  .backoff_until_ms = it->backoff_until_ms,
                                  .avoid = it->avoid,
                                  .yielded = it->yielded,
                                  .wait = it->wait,
                                  .held = it->held,
                                  .worker = it->member_count > 0 ? it->members[0].worker : 0,
                                  .started_ms = it->assigned_ms,
                                  .ends_ms = it->ends_ms};
    }
    snapshot->jobs = jobs;
    return behind;
}

static void snapshot_tenants(struct cluster *cluster, struct snapshot *snapshot)
{
    struct snapshot_tenant *tenants =
        arena_array(&cluster->scratch, struct snapshot_tenant, cluster->tenant_count);
    for (uint32_t i = 0; i < cluster->tenant_count; i++) {
        const struct cluster_tenant *it = &cluster->tenants[i];
        tenants[i] = (struct snapshot_tenant){
            .usage = it->share.usage,
            .weight = it->share.weight,
            .slots_left = quota_slots_left(&it->quota, &it->use, it->slots, snapshot->now_ms),
            .last_start_ms = it->last_start_ms};
    }
    snapshot->tenants = tenants;
    snapshot->tenant_count = cluster->tenant_count;
}

static void snapshot_batches(struct cluster *cluster, struct snapshot *snapshot)
{
    uint32_t count = cluster->batch_count;
    struct snapshot_batch *batches = arena_array(&cluster->scratch, struct snapshot_batch, count);
    for (uint32_t i = 0; i < count; i++) {
        int32_t most = cluster->batches[i].running_max;
        batches[i].starts_left = most > 0 ? most : INT32_MAX;
    }
    for (uint32_t i = 0; i < snapshot->job_count; i++) {
        const struct snapshot_job *job = &snapshot->jobs[i];
        bool counts = batches[job->ask->batch].starts_left != INT32_MAX;
        batches[job->ask->batch].starts_left -= counts && job_has_attempt(job->state);
    }
    snapshot->batches = batches;
    snapshot->batch_count = count;
}

/* ---- the decisions --------------------------------------------------------------------------- */

static void begin(struct cluster *cluster, struct cluster_job *job, const struct decision *decision,
                  int64_t now_ms)
{
    cluster_move(cluster, job, JOB_EVENT_ASSIGN, now_ms);
    job->members = mem_alloc(size_mul((size_t)decision->placement_count, sizeof(*job->members)));
    job->member_count = decision->placement_count;
    job->numerics = decision->numerics;
    job->assigned_ms = now_ms;
    job->gone_ms = 0;
    job->ends_ms = INT64_MAX;
    job->backoff_until_ms = 0;
    job->yielded = false;
    job->wait = (struct wait){.since_ms = now_ms};
    for (int32_t i = 0; i < decision->placement_count; i++) {
        const struct placement *placement = &decision->placements[i];
        job->members[i] = (struct gang_member){
            .worker = placement->worker, .ranks = placement->ranks, .first_rank = job->held};
        worker_take(&cluster->registry.workers[placement->worker], job->run.id, job->run.term,
                    placement->ranks);
        job->held += placement->ranks;
    }
    cluster->tenants[job->ask.tenant].slots += job->held;
    cluster->tenants[job->ask.tenant].last_start_ms = now_ms;
    cluster_command_all(cluster, COMMAND_BEGIN, job);
}

static void carry_out(struct cluster *cluster, struct cluster_job *job,
                      const struct decision *decision, int64_t now_ms)
{
    switch (decision->kind) {
    case DECISION_START:
        begin(cluster, job, decision, now_ms);
        break;
    case DECISION_YIELD:
        cluster_move(cluster, job, JOB_EVENT_YIELD, now_ms);
        cluster_command_all(cluster, COMMAND_YIELD, job);
        break;
    case DECISION_ORPHAN:
        cluster_move(cluster, job, JOB_EVENT_ORPHAN, now_ms);
        break;
    case DECISION_WAIT:
        job->wait = decision->wait;
        break;
    }
}

static void cycle(struct cluster *cluster, int64_t now_ms)
{
    struct arena_mark mark = arena_mark(&cluster->scratch);
    struct snapshot snapshot = {.now_ms = now_ms,
                                .store_full = cluster->store_full || cluster->stuck,
                                .policy = cluster->options.policy,
                                .queues = cluster->queues,
                                .queue_count = cluster->queue_count};
    cluster->wake_ms = now_ms + cluster->options.cycle_ms;
    cluster_wholes(cluster, now_ms);
    dependencies_refresh(cluster);
    snapshot_workers(cluster, &snapshot);
    snapshot_tenants(cluster, &snapshot);
    struct cluster_job **behind = snapshot_jobs(cluster, &snapshot);
    snapshot_batches(cluster, &snapshot);
    struct decisions decisions;
    schedule(&snapshot, &cluster->scratch, &decisions);
    bool orphans = false; /* the only decision that may make room for another one */
    for (uint32_t i = 0; i < decisions.count; i++) {
        carry_out(cluster, behind[decisions.items[i].job], &decisions.items[i], now_ms);
        orphans |= decisions.items[i].kind == DECISION_ORPHAN;
    }
    cluster->dirty = orphans;
    arena_reset(&cluster->scratch, mark);
}

void cluster_tick(struct cluster *cluster, int64_t now_ms)
{
    leases(cluster, now_ms);
    deadlines(cluster, now_ms);
    halts(cluster, now_ms);
    leave_draining(cluster, now_ms);
    charge(cluster, now_ms);
    if (cluster->dirty || now_ms >= cluster->wake_ms) {
        cycle(cluster, now_ms);
    }
}
