/* SPDX-License-Identifier: Apache-2.0
 *
 * schedule: the cycle: collect candidates, order them, place them or say why not.
 *
 * Invariants: a job gets at most one decision of START, YIELD or ORPHAN; the sum of placements on a
 * worker never exceeds its free slots; a tenant's starts never exceed its slots_left, a batch's its
 * starts_left; the order of decisions depends on nothing but the snapshot. Rejected: a priority
 * number that mixes age, size and share by weights: nobody can say why a job waits under it.
 */
#include "coordinator/schedule.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/schedule_plan.h"
#include "lib/check.h"

struct decision *plan_decide(struct plan *plan, enum decision_kind kind, uint32_t job)
{
    CHECK(plan->count < plan->capacity);
    struct decision *decision = &plan->items[plan->count++];
    *decision = (struct decision){.kind = kind, .job = job};
    return decision;
}

/* ---- why not --------------------------------------------------------------------------------- */

static void decide_wait(struct plan *plan, uint32_t job, struct wait wait)
{
    const struct snapshot_job *it = &plan->snapshot->jobs[job];
    bool same = wait.reason == it->wait.reason;
    wait.since_ms = same ? it->wait.since_ms : plan->snapshot->now_ms;
    if (same && wait.job == it->wait.job && wait.need == it->wait.need &&
        wait.have == it->wait.have && wait.until_ms == it->wait.until_ms) {
        return;
    }
    plan_decide(plan, DECISION_WAIT, job)->wait = wait;
}

/* What keeps it out before any slot is looked at; WAITING_NONE: nothing. */
static struct wait not_eligible(const struct snapshot *snapshot, const struct snapshot_job *job,
                                uint64_t *broken_out)
{
    const struct ask *ask = job->ask;
    for (int32_t i = 0; i < ask->after_count; i++) {
        const struct dependency *after = &ask->after[i];
        if (after->state != JOB_STATE_SUCCEEDED) {
            if (job_is_final(after->state)) {
                *broken_out = after->job;
            }
            return (struct wait){.reason = WAITING_DEPENDENCY, .job = after->job};
        }
    }
    if (ask->not_before_ms > snapshot->now_ms) {
        return (struct wait){.reason = WAITING_BEGIN_TIME, .until_ms = ask->not_before_ms};
    }
    if (job->backoff_until_ms > snapshot->now_ms) {
        return (struct wait){.reason = WAITING_BACKOFF, .until_ms = job->backoff_until_ms};
    }
    if (snapshot->queues[ask->queue].paused) {
        return (struct wait){.reason = WAITING_QUEUE_PAUSED};
    }
    if (snapshot->store_full) {
        return (struct wait){.reason = WAITING_STORAGE};
    }
    return (struct wait){.reason = WAITING_NONE};
}

/* ---- the order ------------------------------------------------------------------------------- */

static int by_order(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->level != y->level) {
        return x->level > y->level ? -1 : 1;
    }
    if (x->tenant != y->tenant) {
        return x->tenant < y->tenant ? -1 : 1;
    }
    if (x->priority != y->priority) {
        return x->priority > y->priority ? -1 : 1;
    }
    return x->job < y->job ? -1 : 1; /* ids grow with submit times */
}

/* What ages is the tenant that starts nothing, not the job: else whoever queues ten thousand jobs
 * would own the future. */
static int64_t level_of(const struct snapshot *snapshot, const struct ask *ask)
{
    int64_t since = snapshot->tenants[ask->tenant].last_start_ms;
    since = since > ask->submitted_ms ? since : ask->submitted_ms;
    int64_t waited = snapshot->now_ms - since;
    int64_t risen = waited > 0 ? waited / snapshot->policy.ageing_ms : 0;
    return snapshot->queues[ask->queue].priority + risen;
}

static uint32_t collect(struct plan *plan, struct candidate *candidates)
{
    const struct snapshot *snapshot = plan->snapshot;
    uint32_t count = 0;
    for (uint32_t i = 0; i < snapshot->job_count; i++) {
        const struct snapshot_job *job = &snapshot->jobs[i];
        const struct ask *ask = job->ask;
        uint64_t broken = 0;
        bool waits_for_others = job->state == JOB_STATE_QUEUED || job->state == JOB_STATE_PAUSED;
        struct wait wait = not_eligible(snapshot, job, &broken);
        if (broken != 0 && waits_for_others) {
            plan_decide(plan, DECISION_ORPHAN, i)->for_job = broken;
        } else if (!job_is_waiting(job->state)) {
            plan->active[ask->tenant] |= job->held > 0;
        } else if (wait.reason != WAITING_NONE) {
            decide_wait(plan, i, wait);
        } else {
            int64_t waited = snapshot->now_ms - ask->submitted_ms;
            plan->active[ask->tenant] = true;
            candidates[count++] = (struct candidate){
                .level = level_of(snapshot, ask),
                .priority = ask->priority + waited / snapshot->policy.job_ageing_ms,
                .tenant = ask->tenant,
                .job = i};
        }
        if (job->held > 0) {
            plan->held[ask->tenant] += job->held;
            plan->usage[ask->tenant] += (double)job->held * (double)snapshot->policy.charge_ms;
        }
        if (job->state == JOB_STATE_RUNNING && ask->preemptible &&
            snapshot->now_ms - job->started_ms >= snapshot->policy.preempt_min_run_ms) {
            plan->runners[plan->runner_count++] =
                (struct runner){snapshot->queues[ask->queue].priority, job->started_ms, i};
        }
    }
    for (uint32_t i = 0; i < snapshot->tenant_count; i++) {
        plan->weights += plan->active[i] ? snapshot->tenants[i].weight : 0;
    }
    qsort(candidates, count, sizeof(*candidates), by_order);
    return count;
}

/* ---- one job --------------------------------------------------------------------------------- */

static struct wait no_room(struct plan *plan, const struct candidate *it, struct realm *realm,
                           int32_t usable)
{
    const struct snapshot_job *job = &plan->snapshot->jobs[it->job];
    struct wait wait = {.need = job->ask->min_ranks, .have = usable};
    if (realm->waits == it->job) {
        wait.reason = WAITING_RESOURCES;
    } else {
        const struct snapshot_job *ahead = &plan->snapshot->jobs[realm->waits];
        bool share = realm->waits_level == it->level && ahead->ask->tenant != job->ask->tenant;
        wait = (struct wait){.reason = share ? WAITING_FAIR_SHARE : WAITING_PRIORITY,
                             .job = ahead->id};
    }
    if (job->yielded) {
        wait.reason = WAITING_PREEMPTED;
    }
    return wait;
}

/* Nobody could hold it: is that because a worker of its pool has no space? */
static bool pool_is_full(const struct snapshot *snapshot, uint32_t pool)
{
    for (uint32_t i = 0; i < snapshot->worker_count; i++) {
        if (snapshot->workers[i].full && snapshot->workers[i].pool == pool) {
            return true;
        }
    }
    return false;
}

static void consider(struct plan *plan, const struct candidate *it)
{
    const struct snapshot_job *job = &plan->snapshot->jobs[it->job];
    const struct ask *ask = job->ask;
    if (plan->slots_left[it->tenant] < ask->min_ranks) {
        decide_wait(plan, it->job,
                    (struct wait){.reason = WAITING_TENANT_QUOTA,
                                  .need = ask->min_ranks,
                                  .have = plan->slots_left[it->tenant]});
        return;
    }
    if (ask->batch != 0 && plan->starts_left[ask->batch] <= 0) {
        decide_wait(plan, it->job, (struct wait){.reason = WAITING_BATCH_LIMIT});
        return;
    }
    int32_t usable, possible;
    int32_t at = plan_realm(plan, it->job, &usable, &possible);
    if (at == NOWHERE) {
        decide_wait(plan, it->job,
                    (struct wait){.reason = pool_is_full(plan->snapshot, ask->pool)
                                                ? WAITING_STORAGE
                                                : WAITING_NO_MATCHING_WORKER,
                                  .need = ask->min_ranks,
                                  .have = possible});
        return;
    }
    struct realm *realm = &plan->realms[at];
    if (usable < ask->min_ranks) {
        plan_reserve(plan, it->job, at, it->level);
        decide_wait(plan, it->job, no_room(plan, it, realm, usable));
        return;
    }
    int32_t ranks = ask->ranks < usable ? ask->ranks : usable;
    ranks = ranks < plan->slots_left[it->tenant] ? ranks : plan->slots_left[it->tenant];
    struct decision *decision = plan_decide(plan, DECISION_START, it->job);
    plan_take(plan, it->job, at, ranks, decision);
    plan->out->starts++;
    plan->held[it->tenant] += ranks;
    plan->slots_left[it->tenant] -= ranks;
    if (ask->batch != 0) {
        plan->starts_left[ask->batch]--;
    }
    plan->usage[it->tenant] += (double)ranks * (double)plan->snapshot->policy.charge_ms;
}

/* ---- one level: the tenants take turns ------------------------------------------------------- */

struct turn {
    double share; /* usage per weight: the lowest is next */
    uint32_t tenant;
    uint32_t next, end; /* its candidates of this level */
};

static bool before(const struct turn *a, const struct turn *b)
{
    return a->share != b->share ? a->share < b->share : a->tenant < b->tenant;
}

static void sift_down(struct turn *heap, uint32_t count, uint32_t at)
{
    for (;;) {
        uint32_t least = at;
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < count; child++) {
            least = before(&heap[child], &heap[least]) ? child : least;
        }
        if (least == at) {
            return;
        }
        struct turn turn = heap[at];
        heap[at] = heap[least];
        heap[least] = turn;
        at = least;
    }
}

static double share_of(const struct plan *plan, uint32_t tenant)
{
    return plan->usage[tenant] / plan->snapshot->tenants[tenant].weight;
}

static void take_turns(struct plan *plan, const struct candidate *candidates, uint32_t begin,
                       uint32_t end, struct turn *heap)
{
    uint32_t count = 0;
    for (uint32_t i = begin; i < end; i++) {
        if (i == begin || candidates[i].tenant != candidates[i - 1].tenant) {
            uint32_t tenant = candidates[i].tenant;
            heap[count++] = (struct turn){share_of(plan, tenant), tenant, i, i};
        }
        heap[count - 1].end = i + 1;
    }
    for (uint32_t at = count; at-- > 0;) {
        sift_down(heap, count, at);
    }
    while (count > 0) {
        struct turn *turn = &heap[0];
        consider(plan, &candidates[turn->next++]);
        turn->share = share_of(plan, turn->tenant);
        if (turn->next == turn->end) {
            *turn = heap[--count];
        }
        sift_down(heap, count, 0);
    }
}

/* ---- the cycle ------------------------------------------------------------------------------- */

static void plan_begin(struct plan *plan)
{
    const struct snapshot *snapshot = plan->snapshot;
    CHECK(snapshot->policy.ageing_ms > 0);
    CHECK(snapshot->policy.job_ageing_ms > 0);
    uint32_t tenants = snapshot->tenant_count;
    plan->usage = arena_array(plan->arena, double, tenants);
    plan->held = arena_array(plan->arena, int32_t, tenants);
    plan->slots_left = arena_array(plan->arena, int32_t, tenants);
    plan->active = arena_array(plan->arena, bool, tenants);
    for (uint32_t i = 0; i < tenants; i++) {
        CHECK(snapshot->tenants[i].weight > 0);
        plan->usage[i] = snapshot->tenants[i].usage;
        plan->slots_left[i] = snapshot->tenants[i].slots_left;
    }
    plan->starts_left = arena_array(plan->arena, int32_t, snapshot->batch_count);
    for (uint32_t i = 0; i < snapshot->batch_count; i++) {
        plan->starts_left[i] = snapshot->batches[i].starts_left;
    }
    plan->runners = arena_array(plan->arena, struct runner, snapshot->job_count);
    plan->yielding = arena_array(plan->arena, bool, snapshot->job_count);
    plan->capacity = snapshot->job_count; /* one decision a job at most */
    plan->items = arena_array(plan->arena, struct decision, plan->capacity);
    plan_kinds(plan);
}

void schedule(const struct snapshot *snapshot, struct arena *arena, struct decisions *out)
{
    *out = (struct decisions){0};
    struct plan plan = {.snapshot = snapshot, .arena = arena, .out = out};
    plan_begin(&plan);
    struct candidate *candidates = arena_array(arena, struct candidate, snapshot->job_count);
    uint32_t count = collect(&plan, candidates);
    struct turn *heap = arena_array(arena, struct turn, snapshot->tenant_count);
    for (uint32_t begin = 0, end; begin < count; begin = end) {
        for (end = begin; end < count && candidates[end].level == candidates[begin].level;) {
            end++;
        }
        take_turns(&plan, candidates, begin, end, heap);
    }
    out->items = plan.items;
    out->count = plan.count;
}
