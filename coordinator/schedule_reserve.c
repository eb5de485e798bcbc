/* SPDX-License-Identifier: Apache-2.0
 *
 * schedule_reserve: what is kept for the first job that does not fit, when that is expected to
 * suffice, and who yields for it.
 *
 * Invariant: yields are decided all together or not at all, and never more than needed beside what
 * is free and what is already on its way out. Rejected: to let an expected end that is only a guess
 * (no wall-time limit) lend slots out: guesses that are wrong again and again starve the gang.
 */
#include <stdlib.h>

#include "coordinator/schedule_plan.h"
#include "lib/check.h"

static bool runs_in(const struct plan *plan, uint32_t runner, const struct ask *ask, int32_t realm)
{
    int32_t kind = plan->kind_of[plan->snapshot->jobs[runner].worker];
    return kind != NOWHERE && kind_matches(&plan->kinds[kind], ask, realm);
}

/* ---- when -------------------------------------------------------------------------------------*/

struct end {
    int64_t at_ms;
    int32_t slots;
};

static int by_end(const void *a, const void *b)
{
    const struct end *x = a, *y = b;
    return x->at_ms < y->at_ms ? -1 : x->at_ms > y->at_ms;
}

/* When the running gangs that say when they end will have left `missing` slots; 0: nobody knows. */
static int64_t met_when(struct plan *plan, const struct ask *ask, int32_t realm, int32_t missing)
{
    const struct snapshot *snapshot = plan->snapshot;
    struct arena_mark mark = arena_mark(plan->arena);
    struct end *ends = arena_array(plan->arena, struct end, snapshot->job_count);
    uint32_t count = 0;
    for (uint32_t i = 0; i < snapshot->job_count; i++) {
        const struct snapshot_job *job = &snapshot->jobs[i];
        if (job->held > 0 && job->ends_ms != INT64_MAX && runs_in(plan, i, ask, realm)) {
            ends[count++] = (struct end){job->ends_ms, job->held};
        }
    }
    qsort(ends, count, sizeof(*ends), by_end);
    int64_t met = 0;
    for (uint32_t i = 0; i < count && missing > 0; i++) {
        missing -= ends[i].slots;
        met = ends[i].at_ms;
    }
    arena_reset(plan->arena, mark);
    return missing <= 0 && met > snapshot->now_ms ? met : 0;
}

/* ---- who yields -------------------------------------------------------------------------------*/

static double fair_slots(const struct plan *plan, uint32_t tenant)
{
    double weights = 0;
    for (uint32_t i = 0; i < plan->snapshot->tenant_count; i++) {
        weights += plan->active[i] ? plan->snapshot->tenants[i].weight : 0;
    }
    return plan->total_slots * plan->snapshot->tenants[tenant].weight / weights;
}

struct victim {
    int32_t queue_priority;
    int64_t started_ms;
    uint32_t job;
};

/* The least important queue first, and there what began last: it has least to lose. */
static int by_loss(const void *a, const void *b)
{
    const struct victim *x = a, *y = b;
    if (x->queue_priority != y->queue_priority) {
        return x->queue_priority < y->queue_priority ? -1 : 1;
    }
    if (x->started_ms != y->started_ms) {
        return x->started_ms > y->started_ms ? -1 : 1;
    }
    return x->job < y->job ? -1 : 1;
}

/* May this gang be told to yield for that job, as far as ranks and priorities go? */
static bool outranks(const struct plan *plan, const struct snapshot_job *job,
                     const struct snapshot_job *victim, bool job_has_share)
{
    const struct snapshot_queue *queues = plan->snapshot->queues;
    int32_t own = queues[job->ask->queue].priority;
    int32_t other = queues[victim->ask->queue].priority;
    if (own != other) {
        return own > other;
    }
    if (job->ask->tenant == victim->ask->tenant) {
        return job->ask->priority > victim->ask->priority;
    }
    return job_has_share;
}

static uint32_t victims_find(struct plan *plan, uint32_t job, int32_t realm, struct victim *victims)
{
    const struct snapshot *snapshot = plan->snapshot;
    const struct snapshot_job *it = &snapshot->jobs[job];
    uint32_t tenant = it->ask->tenant;
    bool has_share = plan->held[tenant] + it->ask->min_ranks <= fair_slots(plan, tenant);
    uint32_t count = 0;
    for (uint32_t i = 0; i < plan->runner_count; i++) {
        uint32_t runner = plan->runners[i];
        const struct snapshot_job *other = &snapshot->jobs[runner];
        if (!plan->yielding[runner] &&
            snapshot->now_ms - other->started_ms >= snapshot->policy.preempt_min_run_ms &&
            runs_in(plan, runner, it->ask, realm) && outranks(plan, it, other, has_share)) {
            victims[count++] = (struct victim){snapshot->queues[other->ask->queue].priority,
                                               other->started_ms, runner};
        }
    }
    qsort(victims, count, sizeof(*victims), by_loss);
    return count;
}

/* A gang of the same queue yields for a tenant's share only if its own tenant keeps its share. */
static bool can_spare(const struct plan *plan, const struct snapshot_job *job,
                      const struct snapshot_job *victim, const int32_t *left)
{
    const struct snapshot_queue *queues = plan->snapshot->queues;
    uint32_t tenant = victim->ask->tenant;
    return queues[job->ask->queue].priority > queues[victim->ask->queue].priority ||
           tenant == job->ask->tenant || left[tenant] - victim->held >= fair_slots(plan, tenant);
}

static void preempt(struct plan *plan, uint32_t job, int32_t realm, int32_t missing)
{
    const struct snapshot *snapshot = plan->snapshot;
    const struct snapshot_job *it = &snapshot->jobs[job];
    struct arena_mark mark = arena_mark(plan->arena);
    struct victim *victims = arena_array(plan->arena, struct victim, plan->runner_count);
    int32_t *left = arena_array(plan->arena, int32_t, snapshot->tenant_count);
    for (uint32_t i = 0; i < snapshot->tenant_count; i++) {
        left[i] = plan->held[i];
    }
    uint32_t found = victims_find(plan, job, realm, victims), chosen = 0;
    for (uint32_t i = 0; i < found && missing > 0; i++) {
        const struct snapshot_job *victim = &snapshot->jobs[victims[i].job];
        if (can_spare(plan, it, victim, left)) {
            missing -= victim->held;
            left[victim->ask->tenant] -= victim->held;
            victims[chosen++] = victims[i];
        }
    }
    for (uint32_t i = 0; missing <= 0 && i < chosen; i++) {
        uint32_t victim = victims[i].job;
        plan->yielding[victim] = true;
        plan->held[snapshot->jobs[victim].ask->tenant] -= snapshot->jobs[victim].held;
        plan_decide(plan, DECISION_YIELD, victim)->for_job = it->id;
        plan->out->yields++;
    }
    arena_reset(plan->arena, mark);
}

/* ---- both -------------------------------------------------------------------------------------*/

void plan_reserve(struct plan *plan, uint32_t job, int32_t realm, int64_t level)
{
    const struct snapshot *snapshot = plan->snapshot;
    const struct ask *ask = snapshot->jobs[job].ask;
    struct realm *it = &plan->realms[realm];
    CHECK(it->waits == NOBODY);
    it->waits = job;
    it->waits_level = level;
    int32_t free = 0, ending = 0;
    for (int32_t k = 0; k < plan->kind_count; k++) {
        struct kind *kind = &plan->kinds[k];
        if (kind_matches(kind, ask, realm)) {
            kind->reserved = true;
            free += kind->free;
            ending += kind->ending;
        }
    }
    int32_t missing = ask->min_ranks - free;
    it->met_ms = met_when(plan, ask, realm, missing);
    if (snapshot->policy.preempt && missing > ending &&
        snapshot->now_ms - ask->submitted_ms >= snapshot->policy.preempt_after_ms) {
        preempt(plan, job, realm, missing - ending);
    }
}
