/* SPDX-License-Identifier: Apache-2.0
 *
 * schedule_place: kinds and realms, and the choice of workers for a gang.
 *
 * The choice looks at no more than LOOK workers that have room in each of two lists (those that
 * hold the object, then those of the matching kinds), so that ten thousand placements on a thousand
 * workers stay cheap. Invariants: kind->free is the sum of free over its workers; a worker without
 * free slots is dropped from a list when it is met there.
 */
#include <string.h>

#include "coordinator/schedule_plan.h"
#include "lib/check.h"

enum { LOOK = 24 };

static int32_t realm_of(struct plan *plan, const struct snapshot_worker *worker)
{
    for (int32_t i = 0; i < plan->realm_count; i++) {
        if (plan->realms[i].pool == worker->pool && plan->realms[i].numerics == worker->numerics) {
            return i;
        }
    }
    plan->realms[plan->realm_count] =
        (struct realm){.pool = worker->pool, .numerics = worker->numerics, .waits = NOBODY};
    return plan->realm_count++;
}

static int32_t kind_find(struct plan *plan, const struct snapshot_worker *worker)
{
    int32_t realm = realm_of(plan, worker);
    for (int32_t i = 0; i < plan->kind_count; i++) {
        if (plan->kinds[i].realm == realm && plan->kinds[i].labels == worker->labels) {
            return i;
        }
    }
    plan->kinds[plan->kind_count] = (struct kind){.realm = realm, .labels = worker->labels};
    return plan->kind_count++;
}

/* Counts, then fills: the lists lie in the arena and never grow. */
static void warm_lists(struct plan *plan)
{
    const struct snapshot *snapshot = plan->snapshot;
    plan->warm = arena_array(plan->arena, struct warm_list, snapshot->warm_count);
    for (int fill = 0; fill < 2; fill++) {
        for (uint32_t w = 0; w < snapshot->worker_count; w++) {
            const struct snapshot_worker *worker = &snapshot->workers[w];
            for (int32_t i = 0; plan->free[w] > 0 && i < worker->warm_count; i++) {
                CHECK(worker->warm[i] < snapshot->warm_count);
                struct warm_list *list = &plan->warm[worker->warm[i]];
                if (fill) {
                    list->workers[list->count] = w;
                }
                list->count++;
            }
        }
        for (uint32_t i = 0; !fill && i < snapshot->warm_count; i++) {
            plan->warm[i].workers = arena_array(plan->arena, uint32_t, plan->warm[i].count);
            plan->warm[i].count = 0;
        }
    }
}

void plan_kinds(struct plan *plan)
{
    const struct snapshot *snapshot = plan->snapshot;
    uint32_t count = snapshot->worker_count;
    plan->free = arena_array(plan->arena, int32_t, count);
    plan->kind_of = arena_array(plan->arena, int32_t, count);
    plan->kinds = arena_array(plan->arena, struct kind, count);
    plan->realms = arena_array(plan->arena, struct realm, count);
    for (uint32_t w = 0; w < count; w++) {
        const struct snapshot_worker *worker = &snapshot->workers[w];
        CHECK(worker->free >= 0 && worker->free <= worker->slots);
        plan->kind_of[w] = NOWHERE;
        if (worker->slots == 0) {
            continue;
        }
        plan->kind_of[w] = kind_find(plan, worker);
        struct kind *kind = &plan->kinds[plan->kind_of[w]];
        plan->free[w] = worker->free;
        plan->total_slots += worker->slots;
        kind->slots += worker->slots;
        kind->free += worker->free;
        kind->ending += worker->ending;
        kind->worker_count += worker->free > 0;
    }
    for (int32_t k = 0; k < plan->kind_count; k++) {
        plan->kinds[k].workers = arena_array(plan->arena, uint32_t, plan->kinds[k].worker_count);
        plan->kinds[k].worker_count = 0;
    }
    for (uint32_t w = 0; w < count; w++) {
        if (plan->free[w] > 0) {
            struct kind *kind = &plan->kinds[plan->kind_of[w]];
            kind->workers[kind->worker_count++] = w;
        }
    }
    warm_lists(plan);
}

bool kind_matches(const struct kind *kind, const struct ask *ask, int32_t realm)
{
    return kind->realm == realm && (kind->labels & ask->labels) == ask->labels;
}

/* A reservation is lent only to a job that is sure to end before it is met. */
static bool may_use(const struct plan *plan, const struct kind *kind, const struct ask *ask)
{
    if (!kind->reserved) {
        return true;
    }
    int64_t met_ms = plan->realms[kind->realm].met_ms;
    return ask->duration_max_ms > 0 && met_ms > 0 &&
           plan->snapshot->now_ms + ask->duration_max_ms <= met_ms;
}

static int32_t room(const struct plan *plan, const struct ask *ask, int32_t realm,
                    int32_t *slots_out)
{
    int32_t usable = 0, slots = 0;
    for (int32_t k = 0; k < plan->kind_count; k++) {
        const struct kind *kind = &plan->kinds[k];
        if (kind_matches(kind, ask, realm)) {
            slots += kind->slots;
            usable += may_use(plan, kind, ask) ? kind->free : 0;
        }
    }
    *slots_out = slots;
    return usable;
}

static bool warm_in(struct plan *plan, uint32_t object, int32_t realm)
{
    struct warm_list *list = object ? &plan->warm[object] : NULL;
    for (uint32_t i = 0; list && i < list->count && i < LOOK; i++) {
        uint32_t w = list->workers[i];
        if (plan->free[w] > 0 && plan->kinds[plan->kind_of[w]].realm == realm) {
            return true;
        }
    }
    return false;
}

int32_t plan_realm(struct plan *plan, uint32_t job, int32_t *usable_out, int32_t *possible_out)
{
    const struct snapshot_job *it = &plan->snapshot->jobs[job];
    const struct ask *ask = it->ask;
    int32_t best = NOWHERE, best_usable = 0, possible = 0;
    int64_t best_score = -1;
    for (int32_t r = 0; r < plan->realm_count; r++) {
        const struct realm *realm = &plan->realms[r];
        bool own = it->numerics != 0 && realm->numerics == it->numerics;
        int32_t slots;
        if (realm->pool != ask->pool || (ask->numerics_strict && it->numerics != 0 && !own)) {
            continue;
        }
        int32_t usable = room(plan, ask, r, &slots);
        possible = slots > possible ? slots : possible;
        if (slots < ask->min_ranks) {
            continue;
        }
        int32_t wanted = usable < ask->ranks ? usable : ask->ranks;
        int64_t score = own ? INT64_MAX : 4 * (int64_t)wanted;
        score += !own && usable >= ask->min_ranks && warm_in(plan, ask->warm, r) ? 2 : 0;
        if (score > best_score) {
            best = r;
            best_score = score;
            best_usable = usable;
        }
    }
    *usable_out = best_usable;
    *possible_out = possible;
    return best;
}

/* ---- choosing workers ------------------------------------------------------------------------ */

struct choice {
    uint32_t worker;
    int64_t score; /* higher is better; -1: none yet */
};

/* Whole and tight before whole and loose before the largest part; warm before cold; and elsewhere
 * than where it failed before all. */
static int64_t score_of(const struct plan *plan, const struct snapshot_job *job, uint32_t worker,
                        int32_t ranks, bool warm)
{
    int32_t free = plan->free[worker];
    int64_t fit = free >= ranks ? 4096 - (free - ranks) : free;
    bool elsewhere = job->avoid == 0 || plan->snapshot->workers[worker].id != job->avoid;
    return fit + (warm ? 8192 : 0) + (elsewhere ? 16384 : 0);
}

static void look(struct plan *plan, uint32_t job, int32_t realm, int32_t ranks, uint32_t *list,
                 uint32_t *count, bool warm, struct choice *choice)
{
    const struct snapshot_job *it = &plan->snapshot->jobs[job];
    int seen = 0;
    for (uint32_t i = 0; i < *count && seen < LOOK;) {
        uint32_t w = list[i];
        if (plan->free[w] == 0) {
            list[i] = list[--*count];
            continue;
        }
        i++;
        const struct kind *kind = &plan->kinds[plan->kind_of[w]];
        if (!kind_matches(kind, it->ask, realm) || !may_use(plan, kind, it->ask)) {
            continue;
        }
        seen++;
        int64_t score = score_of(plan, it, w, ranks, warm);
        if (score > choice->score) {
            *choice = (struct choice){w, score};
        }
    }
}

static uint32_t choose(struct plan *plan, uint32_t job, int32_t realm, int32_t ranks)
{
    const struct ask *ask = plan->snapshot->jobs[job].ask;
    struct choice choice = {NOBODY, -1};
    if (ask->warm != 0) {
        CHECK(ask->warm < plan->snapshot->warm_count);
        struct warm_list *list = &plan->warm[ask->warm];
        look(plan, job, realm, ranks, list->workers, &list->count, true, &choice);
    }
    for (int32_t k = 0; k < plan->kind_count; k++) {
        struct kind *kind = &plan->kinds[k];
        if (kind_matches(kind, ask, realm)) {
            look(plan, job, realm, ranks, kind->workers, &kind->worker_count, false, &choice);
        }
    }
    CHECK(choice.worker != NOBODY);
    return choice.worker;
}

void plan_take(struct plan *plan, uint32_t job, int32_t realm, int32_t ranks,
               struct decision *decision)
{
    const struct snapshot_job *it = &plan->snapshot->jobs[job];
    CHECK(ranks <= GANG_RANKS_MAX);
    struct placement placements[GANG_RANKS_MAX];
    int32_t count = 0;
    for (int32_t left = ranks; left > 0; count++) {
        uint32_t w = choose(plan, job, realm, left);
        int32_t taken = plan->free[w] < left ? plan->free[w] : left;
        plan->free[w] -= taken;
        plan->kinds[plan->kind_of[w]].free -= taken;
        placements[count] = (struct placement){w, taken};
        left -= taken;
    }
    struct placement *kept = arena_array(plan->arena, struct placement, count);
    memcpy(kept, placements, (size_t)count * sizeof(*kept));
    decision->placements = kept;
    decision->placement_count = count;
    decision->numerics = plan->realms[realm].numerics;
    decision->numerics_changed = it->numerics != 0 && it->numerics != decision->numerics;
}
