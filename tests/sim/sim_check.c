/* SPDX-License-Identifier: Apache-2.0
 *
 * sim_check: what must hold, whatever happens. Each breach begins with the invariant's name:
 *
 *   transition   changes follow one another: each starts from the state that the last one left
 *   final        nothing changes after a final state
 *   term         each assignment's term is the last one's plus one; only assignments change it
 *   gang         an attempt has min_ranks to ranks ranks, all told to begin, on workers of the
 *                job's pool with its labels and one numerics id; strict numerics never change
 *   slots        ranks that really exist on a worker never exceed its slots (sim_worker.c)
 *   quota        a tenant's live attempts hold no more slots than its quota
 *   order        nothing starts before what it comes after, before its time, in a paused queue, or
 *                into a full store
 *   zombie       a checkpoint or an end is taken from the newest attempt only, and a job succeeds
 *                only if that attempt did all the work that no registered checkpoint covers
 *   reason       a job that waits has a reason
 *   detection    a worker that does not answer is lost after lost_after, not before, and not
 *                because the coordinator was away
 *   shards       a whole starts when all its shards have succeeded, ends with the first that does
 *                not, and takes those along that still go on; they pause when it does
 *   starvation   nobody waits for slots longer than its tenant's share of the cluster would take
 *   share        busy: every tenant's part of the held slots is within 10 % of its weight's
 *   end          every job that was accepted is final at the end
 */
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "lib/check.h"
#include "tests/sim/sim_world.h"

enum { BREACHES_MAX = 20, RUN_MAX_MS = 5 * MINUTE };

void sim_breach(struct sim *sim, const char *format, ...)
{
    if (sim->breaches++ >= BREACHES_MAX) {
        return;
    }
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    buf_printf(&sim->result->breaches, "%s, seed %llu, second %lld: %s\n",
               sim_scenario_name(sim->options.scenario), (unsigned long long)sim->options.seed,
               (long long)(sim->now_ms / SECOND), text);
}

/* ---- changes --------------------------------------------------------------------------------- */

static bool waits(enum job_state state)
{
    return job_is_waiting(state) || state == JOB_STATE_PAUSED;
}

static void check_assign(struct sim *sim, struct sim_job *job, const struct job_change *change)
{
    if (change->term != job->term + 1) {
        sim_breach(sim, "term: job %llu goes from term %llu to %llu", (unsigned long long)job->id,
                   (unsigned long long)job->term, (unsigned long long)change->term);
    }
    const struct ask *ask = &job->ask;
    bool after = ask->after_count == 0 || job->shards > 0 ||
                 sim->jobs[sim->job_of_id[job->after.job]].state == JOB_STATE_SUCCEEDED;
    for (int32_t i = 1; i <= job->shards; i++) {
        after &= job[i].state == JOB_STATE_SUCCEEDED;
    }
    if (!after || ask->not_before_ms > sim->now_ms || sim->cluster.queues[ask->queue].paused ||
        sim->cluster.store_full) {
        sim_breach(sim, "order: job %llu starts too early", (unsigned long long)job->id);
    }
    job->term = change->term;
}

static void check_finish(struct sim *sim, struct sim_job *job, const struct job_change *change)
{
    const struct sim_attempt *attempt = &sim->attempts[job->attempt];
    if (attempt->term != change->term || attempt->job != job->id || !attempt->finished) {
        sim_breach(sim, "zombie: job %llu ended by term %llu, which did not finish",
                   (unsigned long long)job->id, (unsigned long long)change->term);
    }
    if (attempt->base > job->registered || sim_attempt_done(sim, attempt) != job->work) {
        sim_breach(sim, "zombie: job %llu succeeded with %lld of %lld done",
                   (unsigned long long)job->id, (long long)sim_attempt_done(sim, attempt),
                   (long long)job->work);
    }
}

static void count_change(struct sim *sim, const struct job_change *change)
{
    struct sim_result *result = sim->result;
    result->starts += change->event == JOB_EVENT_ASSIGN;
    result->retries += change->event == JOB_EVENT_RETRY;
    result->yields += change->event == JOB_EVENT_YIELD;
    result->succeeded += change->to == JOB_STATE_SUCCEEDED;
    result->failed += change->to == JOB_STATE_FAILED;
    result->cancelled += change->to == JOB_STATE_CANCELLED;
    if (sim->options.trace) {
        fprintf(sim->options.trace, "%lld job %llu term %llu %s: %s -> %s\n",
                (long long)(sim->now_ms / SECOND), (unsigned long long)change->job,
                (unsigned long long)change->term, job_event_name(change->event),
                job_state_name(change->from), job_state_name(change->to));
    }
}

void sim_check_change(struct sim *sim, const struct job_change *change)
{
    struct sim_job *job = &sim->jobs[sim->job_of_id[change->job]];
    struct sim_tenant *tenant = &sim->tenants[job->ask.tenant];
    count_change(sim, change);
    if (job_is_final(job->state)) {
        sim_breach(sim, "final: job %llu was %s and is %s", (unsigned long long)job->id,
                   job_state_name(job->state), job_state_name(change->to));
    }
    if (change->from != job->state) {
        sim_breach(sim, "transition: job %llu was %s, not %s", (unsigned long long)job->id,
                   job_state_name(job->state), job_state_name(change->from));
    }
    if (change->event == JOB_EVENT_ASSIGN) {
        check_assign(sim, job, change);
    } else if (change->term != job->term) {
        sim_breach(sim, "term: job %llu changes to %llu without an assignment",
                   (unsigned long long)job->id, (unsigned long long)change->term);
    }
    if (change->to == JOB_STATE_SUCCEEDED) {
        check_finish(sim, job, change);
    }
    if (job_has_attempt(change->from) && !job_has_attempt(change->to)) {
        tenant->held -= job->held;
        job->held = 0;
    }
    tenant->waiting += waits(change->to) - waits(change->from);
    if (job_is_final(change->to)) {
        sim->final++;
        tenant->done += (double)job->work;
    }
    job->state = change->to;
}

/* ---- gangs ----------------------------------------------------------------------------------- */

static struct sim_attempt *attempt_of(struct sim *sim, struct sim_job *job,
                                      const struct command *command)
{
    struct sim_attempt *newest = &sim->attempts[job->attempt];
    if (sim->attempt_count > 0 && newest->job == command->job && newest->term == command->term) {
        return newest;
    }
    if (sim->attempt_count == sim->attempt_capacity) {
        sim->attempt_capacity = sim->attempt_capacity ? sim->attempt_capacity * 2 : 64;
        sim->attempts =
            mem_grow(sim->attempts, size_mul(sim->attempt_capacity, sizeof(*sim->attempts)));
    }
    job->attempt = sim->attempt_count;
    job->held = command->gang_ranks;
    sim->tenants[job->ask.tenant].held += job->held;
    struct sim_attempt *attempt = &sim->attempts[sim->attempt_count++];
    *attempt = (struct sim_attempt){
        .job = command->job, .term = command->term, .ranks = command->gang_ranks};
    attempt->workers = arena_array(&sim->arena, uint32_t, command->gang_ranks);
    return attempt;
}

void sim_check_begin(struct sim *sim, const struct command *command)
{
    if (command->kind != COMMAND_BEGIN) {
        return;
    }
    struct sim_job *job = &sim->jobs[sim->job_of_id[command->job]];
    struct sim_attempt *attempt = attempt_of(sim, job, command);
    for (int32_t i = 0; i < attempt->members; i++) {
        if (attempt->workers[i] == command->worker) {
            return; /* told again */
        }
    }
    if (attempt->members == attempt->ranks) {
        sim_breach(sim, "gang: job %llu has more members than ranks", (unsigned long long)job->id);
        return;
    }
    attempt->workers[attempt->members++] = command->worker;
    attempt->ranks_told += command->ranks;
}

static void check_gang(struct sim *sim, const struct sim_job *job, struct sim_attempt *attempt)
{
    const struct ask *ask = &job->ask;
    unsigned long long id = job->id;
    if (attempt->ranks_told != attempt->ranks || attempt->ranks < ask->min_ranks ||
        attempt->ranks > ask->ranks) {
        sim_breach(sim, "gang: job %llu of %d to %d ranks begins with %d, and %d are told", id,
                   ask->min_ranks, ask->ranks, attempt->ranks, attempt->ranks_told);
    }
    uint32_t numerics = sim->workers[attempt->workers[0]].offer.numerics;
    for (int32_t i = 0; i < attempt->members; i++) {
        const struct worker_offer *offer = &sim->workers[attempt->workers[i]].offer;
        if (offer->pool != ask->pool || (offer->labels & ask->labels) != ask->labels ||
            offer->numerics != numerics) {
            sim_breach(sim, "gang: job %llu is on a worker that does not match", id);
        }
    }
    if (ask->numerics_strict && attempt->term > 1 && job->numerics != numerics) {
        sim_breach(sim, "gang: job %llu has changed its numerics", id);
    }
    sim->jobs[sim->job_of_id[attempt->job]].numerics = numerics;
}

void sim_check_gangs(struct sim *sim)
{
    for (; sim->attempts_checked < sim->attempt_count; sim->attempts_checked++) {
        struct sim_attempt *attempt = &sim->attempts[sim->attempts_checked];
        check_gang(sim, &sim->jobs[sim->job_of_id[attempt->job]], attempt);
    }
}

/* ---- every second ---------------------------------------------------------------------------- */

static void check_workers(struct sim *sim)
{
    const struct registry *registry = &sim->cluster.registry;
    int64_t lost_after = sim->cluster.options.lost_after_ms;
    int32_t up = 0;
    for (uint32_t i = 0; i < registry->count; i++) {
        const struct worker *worker = &registry->workers[i];
        const struct sim_worker *truth = &sim->workers[i];
        int64_t silent = sim->now_ms - truth->heard_ms;
        int64_t listened =
            silent < sim->now_ms - sim->booted_ms ? silent : sim->now_ms - sim->booted_ms;
        up += worker->state == WORKER_UP && !worker->draining ? worker->offer.slots : 0;
        if (worker->state == WORKER_UP && listened > lost_after + 2 * SECOND) {
            sim_breach(sim, "detection: worker %llu is silent for %lld s and not lost",
                       (unsigned long long)worker->id, (long long)(silent / SECOND));
        }
        if (worker->state == WORKER_LOST && silent < lost_after) {
            sim_breach(sim, "detection: worker %llu is lost after %lld s",
                       (unsigned long long)worker->id, (long long)(silent / SECOND));
        }
        if (worker->held > worker->offer.slots) {
            sim_breach(sim, "slots: worker %llu holds %d of %d slots",
                       (unsigned long long)worker->id, worker->held, worker->offer.slots);
        }
    }
    sim->slots_least = up < sim->slots_least ? up : sim->slots_least;
}

/* How long a tenant's share of the cluster would take for what stands before the job, and itself:
 * twice, because work is lost to failures and slots to reservations; and two whole runs of what may
 * be in its place. A visitor of the hog's cluster has a bound of its own: it may take what the hog
 * has above its share, once a gang has run as long as it must and written its checkpoint. */
static double wait_bound_ms(const struct sim *sim, const struct sim_job *job)
{
    const struct cluster_tenant *tenants = sim->cluster.tenants;
    if (sim->options.scenario == SIM_HOG && job->ask.tenant != 0) {
        const struct schedule_policy *policy = &sim->cluster.options.policy;
        return 1.1 * (double)(policy->preempt_min_run_ms + policy->preempt_after_ms +
                              10 * SECOND /* checkpoint, stop and the turns between */);
    }
    if (sim->options.scenario == SIM_WHALE && job->ask.tenant < SIM_WHALES) {
        return (2 + SIM_WHALES) * RUN_MAX_MS; /* the slots drain once for each that goes before */
    }
    double weights = 0;
    for (uint32_t i = 0; i < sim->cluster.tenant_count; i++) {
        weights += tenants[i].share.weight;
    }
    const struct cluster_tenant *own = &tenants[job->ask.tenant];
    double slots = 0.5 * sim->slots_least * own->share.weight / weights;
    if (own->quota.running_slots_max > 0 && own->quota.running_slots_max < slots) {
        slots = own->quota.running_slots_max;
    }
    double later = sim->tenants[job->ask.tenant].submitted - job->submitted_before;
    return 2 * RUN_MAX_MS + (job->ahead + later) / slots;
}

static void check_waiting(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->cluster.job_count; i++) {
        const struct cluster_job *it = &sim->cluster.jobs[i];
        struct sim_job *job = &sim->jobs[sim->job_of_id[it->run.id]];
        if (!job_is_waiting(it->run.state)) {
            continue;
        }
        enum waiting reason = it->wait.reason;
        int64_t since = it->run.since_ms > sim->booted_ms ? it->run.since_ms : sim->booted_ms;
        if (reason == WAITING_NONE && sim->now_ms - since > 10 * SECOND) {
            sim_breach(sim, "reason: job %llu waits for nothing", (unsigned long long)job->id);
        }
        bool slots = reason == WAITING_RESOURCES || reason == WAITING_PRIORITY ||
                     reason == WAITING_FAIR_SHARE || reason == WAITING_PREEMPTED;
        job->waited_ms += slots ? SECOND : 0;
        bool special = job->ask.labels != 0 || job->ask.numerics_strict;
        double ratio = (double)job->waited_ms / wait_bound_ms(sim, job);
        if (special || ratio <= sim->result->wait_ratio) {
            continue;
        }
        sim->result->wait_ratio = ratio;
        if (ratio > 1) {
            sim_breach(sim,
                       "starvation: job %llu of tenant %u has waited %lld s (%s), %.1f times "
                       "what its share allows",
                       (unsigned long long)job->id, job->ask.tenant,
                       (long long)(job->waited_ms / SECOND), waiting_name(reason), ratio);
        }
    }
}

static void check_tenants(struct sim *sim)
{
    for (int32_t i = 0; i < sim->options.tenants; i++) {
        struct sim_tenant *tenant = &sim->tenants[i];
        int32_t most = sim->cluster.tenants[i].quota.running_slots_max;
        if (most > 0 && tenant->held > most) {
            sim_breach(sim, "quota: tenant %d holds %d slots of %d", i, tenant->held, most);
        }
        sim->busy_over |= tenant->waiting == 0;
    }
    for (int32_t i = 0; !sim->busy_over && i < sim->options.tenants; i++) {
        sim->tenants[i].busy_slot_ms += (double)sim->tenants[i].held * SECOND;
    }
    sim->busy_ms += sim->busy_over ? 0 : SECOND;
}

static bool stands_still(enum job_state state)
{
    return job_is_final(state) || state == JOB_STATE_CANCELLING;
}

static void check_shard(struct sim *sim, const struct sim_job *whole, const struct sim_job *shard)
{
    bool rests = stands_still(shard->state) || shard->state == JOB_STATE_PAUSED ||
                 shard->state == JOB_STATE_PAUSING;
    if ((stands_still(whole->state) && !stands_still(shard->state)) ||
        (whole->state == JOB_STATE_PAUSED && !rests) ||
        (whole->state == JOB_STATE_QUEUED && shard->state == JOB_STATE_PAUSED)) {
        sim_breach(sim, "shards: job %llu is %s, and its shard %llu %s",
                   (unsigned long long)whole->id, job_state_name(whole->state),
                   (unsigned long long)shard->id, job_state_name(shard->state));
    }
    if (job_is_final(shard->state) && shard->state != JOB_STATE_SUCCEEDED &&
        !stands_still(whole->state)) {
        sim_breach(sim, "shards: job %llu is %s although its shard %llu is %s",
                   (unsigned long long)whole->id, job_state_name(whole->state),
                   (unsigned long long)shard->id, job_state_name(shard->state));
    }
}

static void check_shards(struct sim *sim)
{
    for (int32_t i = 0; !sim->cluster.dirty && i < sim->options.jobs; i++) {
        const struct sim_job *whole = &sim->jobs[i];
        for (int32_t k = 1; whole->id != 0 && k <= whole->shards; k++) {
            check_shard(sim, whole, &whole[k]);
        }
    }
}

void sim_check_second(struct sim *sim)
{
    check_shards(sim);
    check_workers(sim);
    check_waiting(sim);
    check_tenants(sim);
}

/* ---- at the end ------------------------------------------------------------------------------ */

static void check_share(struct sim *sim)
{
    double slots = 0, weights = 0;
    for (int32_t i = 0; i < sim->options.tenants; i++) {
        slots += sim->tenants[i].busy_slot_ms;
        weights += sim->cluster.tenants[i].share.weight;
    }
    if (sim->busy_ms == 0) {
        sim_breach(sim, "share: some tenant got all it wanted before another got anything");
        return;
    }
    for (int32_t i = 0; i < sim->options.tenants; i++) {
        double fair = sim->cluster.tenants[i].share.weight / weights;
        double off = fabs(sim->tenants[i].busy_slot_ms / slots / fair - 1);
        if (!(off <= sim->result->share_off)) {
            sim->result->share_off = off;
        }
        if (!(off <= 0.1)) {
            sim_breach(sim, "share: tenant %d is %.0f %% off its share in %lld busy seconds", i,
                       100 * off, (long long)(sim->busy_ms / SECOND));
        }
    }
}

void sim_check_end(struct sim *sim)
{
    if (sim->breaches == 0 && sim->final < (uint32_t)sim->options.jobs) {
        sim_breach(sim, "end: %d of %d jobs are not final", sim->options.jobs - (int32_t)sim->final,
                   sim->options.jobs);
    }
    if (sim->options.scenario == SIM_BUSY) {
        check_share(sim);
    }
    if (sim->options.scenario == SIM_AWAY && sim->result->retries > 0) {
        sim_breach(sim, "detection: %lld attempts ended because the coordinator was away",
                   (long long)sim->result->retries);
    }
}
