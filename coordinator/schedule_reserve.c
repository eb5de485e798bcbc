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

/* ---- when ------------------------------------------------------------------------------------ */

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

/* ---- who yields ------------------------------------------------------------------------------ */

static double fair_slots(const struct plan *plan, uint32_t tenant)
{
    return plan->total_slots * plan->snapshot->tenants[tenant].weight / plan->weights;
}

/* The least important queue first, and there what began last: it has least to lose. */
static int by_loss(const void *a, const void *b)
{
    const struct runner *x = a, *y = b;
    if (x->queue_priority != y->queue_priority) {
        return x->queue_priority < y->queue_priority ? -1 : 1;
    }
    if (x->started_ms != y->started_ms) {
        return x->started_ms > y->started_ms ? -1 : 1;
    }
    return x->job < y->job ? -1 : 1;
}

/* Priority decides where it differs. Among equals of different tenants the share does: the one who
 * asks stays within its own, and the one who yields keeps its own. */
static bool may_push(const struct plan *plan, const struct snapshot_job *job,
                     const struct snapshot_job *other)
{
    const struct snapshot_queue *queues = plan->snapshot->queues;
    int32_t asks = queues[job->ask->queue].priority;
    int32_t yields = queues[other->ask->queue].priority;
    uint32_t tenant = job->ask->tenant, others = other->ask->tenant;
    if (asks != yields) {
        return asks > yields;
    }
    if (tenant == others) {
        return job->ask->priority > other->ask->priority;
    }
    return plan->held[tenant] + job->ask->min_ranks <= fair_slots(plan, tenant) &&
           plan->held[others] - other->held >= fair_slots(plan, others);
}

/* Returns the slots that will come: at least `missing`, or none at all. */
static int32_t preempt(struct plan *plan, uint32_t job, int32_t realm, int32_t missing)
{
    const struct snapshot *snapshot = plan->snapshot;
    const struct snapshot_job *it = &snapshot->jobs[job];
    if (!plan->runners_sorted) {
        qsort(plan->runners, plan->runner_count, sizeof(*plan->runners), by_loss);
        plan->runners_sorted = true;
    }
    uint32_t chosen[GANG_RANKS_MAX];
    uint32_t count = 0;
    int32_t coming = 0;
    for (uint32_t i = 0; i < plan->runner_count && coming < missing && count < GANG_RANKS_MAX;
         i++) {
        uint32_t runner = plan->runners[i].job;
        const struct snapshot_job *other = &snapshot->jobs[runner];
        if (!plan->yielding[runner] && runs_in(plan, runner, it->ask, realm) &&
            may_push(plan, it, other)) {
            chosen[count++] = runner;
            coming += other->held;
            plan->held[other->ask->tenant] -= other->held;
        }
    }
    bool enough = coming >= missing;
    for (uint32_t i = 0; i < count; i++) {
        const struct snapshot_job *other = &snapshot->jobs[chosen[i]];
        if (enough) {
            plan->yielding[chosen[i]] = true;
            plan_decide(plan, DECISION_YIELD, chosen[i])->for_job = it->id;
            plan->out->yields++;
        } else {
            plan->held[other->ask->tenant] += other->held;
        }
    }
    return enough ? coming : 0;
}

/* ---- both ------------------------------------------------------------------------------------ */

void plan_reserve(struct plan *plan, uint32_t job, int32_t realm, int64_t level)
{
    const struct snapshot *snapshot = plan->snapshot;
    const struct ask *ask = snapshot->jobs[job].ask;
    struct realm *it = &plan->realms[realm];
    bool first = it->waits == NOBODY;
    bool pushes = snapshot->policy.preempt && it->waiters < WAITERS_MAX &&
                  snapshot->now_ms - ask->submitted_ms >= snapshot->policy.preempt_after_ms;
    if (!first && !pushes) {
        return;
    }
    int32_t free = 0, ending = 0;
    for (int32_t k = 0; k < plan->kind_count; k++) {
        struct kind *kind = &plan->kinds[k];
        if (kind_matches(kind, ask, realm)) {
            kind->reserved |= first;
            free += kind->free;
            ending += kind->ending;
        }
    }
    if (first) {
        it->waits = job;
        it->waits_level = level;
        it->met_ms = met_when(plan, ask, realm, ask->min_ranks - free);
    }
    /* Those before it get what is free or on its way first. */
    it->waiters++;
    it->promised += ask->min_ranks;
    int32_t missing = it->promised - free - ending - it->yielding;
    if (pushes && missing > 0) {
        int32_t coming =
            preempt(plan, job, realm, missing < ask->min_ranks ? missing : ask->min_ranks);
        it->yielding += coming;
        it->promised -= coming == 0 ? ask->min_ranks : 0; /* it does not wait for these */
    }
}
