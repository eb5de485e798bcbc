/* SPDX-License-Identifier: Apache-2.0
 *
 * schedule_plan: a cycle in progress; private to schedule*.c.
 *
 * Workers of the same pool, numerics and labels are a *kind*; kinds of the same pool and numerics
 * are a *realm*, within which a gang may spread. Both are few: a job looks at kinds, not at
 * workers. Free slots only shrink during a cycle, so a worker that is full leaves its lists for
 * good.
 */
#ifndef TAILOR_COORDINATOR_SCHEDULE_PLAN_H
#define TAILOR_COORDINATOR_SCHEDULE_PLAN_H

#include "coordinator/schedule.h"

/* So many jobs of a realm may ask others to yield in one cycle. */
enum { NOWHERE = -1, WAITERS_MAX = 32 };

#define NOBODY UINT32_MAX

struct kind {
    int32_t realm;
    uint64_t labels;
    int32_t slots, free, ending;
    bool reserved;     /* what is free is kept for the realm's reservation */
    uint32_t *workers; /* with free slots */
    uint32_t worker_count;
};

struct realm {
    uint32_t pool, numerics;
    uint32_t waits;      /* the first job that found no room here: index, or NOBODY */
    int64_t met_ms;      /* when its reservation is expected to be met; 0: not known */
    int64_t waits_level; /* the queue level of that job */
    int32_t waiters;     /* jobs that found no room and were considered for preemption */
    int32_t promised;    /* slots that these need */
    int32_t yielding;    /* slots that were told to yield for them in this cycle */
};

struct warm_list {
    uint32_t *workers; /* with free slots that hold the object */
    uint32_t count;
};

struct candidate {
    int64_t level;    /* of its tenant and queue, aged */
    int64_t priority; /* of the job, aged */
    uint32_t tenant;
    uint32_t job; /* index; jobs are in order of id, so this breaks ties */
};

struct runner { /* an attempt that could yield */
    int32_t queue_priority;
    int64_t started_ms;
    uint32_t job;
};

struct plan {
    const struct snapshot *snapshot;
    struct arena *arena;
    int32_t *free;    /* of each worker, as the cycle goes */
    int32_t *kind_of; /* of each worker; NOWHERE for those without slots */
    struct kind *kinds;
    int32_t kind_count;
    struct realm *realms;
    int32_t realm_count;
    struct warm_list *warm; /* of each warm object */
    double *usage;          /* of each tenant: with what it runs and was given, charged ahead */
    int32_t *held;          /* of each tenant: slots */
    int32_t *slots_left;    /* of each tenant */
    int32_t *starts_left;   /* of each batch */
    bool *active;           /* of each tenant: waits or runs */
    double weights;         /* of all active tenants */
    struct runner *runners; /* attempts that could yield */
    uint32_t runner_count;
    bool runners_sorted; /* the one to yield first is first */
    bool *yielding;      /* of each job: told so in this cycle */
    int32_t total_slots;
    struct decision *items;
    uint32_t count, capacity;
    struct decisions *out;
};

/* schedule_place.c */
void plan_kinds(struct plan *plan);
/* The realm where the job's gang is placed, or would be: sets *usable_out to the slots there that
 * it may take, *possible_out to the most that any realm could ever give. NOWHERE if no realm can
 * hold min_ranks. */
int32_t plan_realm(struct plan *plan, uint32_t job, int32_t *usable_out, int32_t *possible_out);
/* Takes `ranks` slots in the realm; the caller knows that they are there. */
void plan_take(struct plan *plan, uint32_t job, int32_t realm, int32_t ranks,
               struct decision *decision);
bool kind_matches(const struct kind *kind, const struct ask *ask, int32_t realm);

/* schedule_reserve.c: the job found no room in the realm. */
void plan_reserve(struct plan *plan, uint32_t job, int32_t realm, int64_t level);

struct decision *plan_decide(struct plan *plan, enum decision_kind kind, uint32_t job);

#endif
