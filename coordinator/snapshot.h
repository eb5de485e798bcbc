/* SPDX-License-Identifier: Apache-2.0
 *
 * snapshot: all that the scheduler may know, by value, at one moment.
 *
 * Names are interned: tenants and queues are indices into the arrays here; pools, numerics and warm
 * objects are numbers of the caller's, and a label is a bit (only labels that some job asks for
 * need one). All memory is the caller's and constant during a cycle.
 */
#ifndef TAILOR_COORDINATOR_SNAPSHOT_H
#define TAILOR_COORDINATOR_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/job_state.h"
#include "coordinator/waiting.h"

struct dependency {
    uint64_t job;
    enum job_state state;
};

enum { GANG_RANKS_MAX = 1024 };

/* What a job asks for: constant from its submit on, but for the states in `after`. */
struct ask {
    uint32_t tenant, queue;   /* indices */
    uint32_t pool;            /* number of the pool */
    uint64_t labels;          /* all of these must be among the worker's */
    uint32_t warm;            /* what it starts from: rather where that is cached; 0: nothing */
    int32_t ranks, min_ranks; /* one slot each; 1 <= min_ranks <= ranks <= GANG_RANKS_MAX */
    int32_t priority;         /* among its tenant's jobs */
    bool preemptible;         /* may be told to write a checkpoint and queue again */
    int64_t submitted_ms;
    int64_t not_before_ms;          /* 0: at once */
    int64_t duration_max_ms;        /* limits.wall_time: it ends by then; 0: no such promise */
    const struct dependency *after; /* jobs that must succeed first: after_count of them */
    int32_t after_count;
    uint32_t batch;       /* index; 0: of none */
    uint64_t whole;       /* the job that it is a shard of (cluster_whole.c); 0: of none */
    bool serves;          /* it has no end of its own: it leaves a worker that drains */
    bool numerics_strict; /* never moves to other numerics, even if those are gone */
};

struct snapshot_job {
    uint64_t id;
    enum job_state state; /* waiting ones are candidates, ones with an attempt may yield */
    const struct ask *ask;
    uint32_t numerics;        /* of its earlier attempts; 0: none yet */
    int64_t backoff_until_ms; /* 0: none */
    uint64_t avoid;           /* id of the worker where it last failed; 0: none */
    bool yielded;             /* its last attempt was preempted */
    struct wait wait;         /* what the last cycle said */
    /* Of the running attempt: */
    int32_t held;                /* slots of its gang */
    uint32_t worker;             /* index of one of the gang's workers */
    int64_t started_ms, ends_ms; /* ends: expected; INT64_MAX: not known */
};

struct snapshot_worker {
    uint64_t id;
    bool full; /* no space on its disk: that is why it has no slots */
    uint32_t pool, numerics;
    uint64_t labels;
    int32_t slots;  /* that gangs may have: 0 when draining or lost */
    int32_t free;   /* of these, not held now */
    int32_t ending; /* of these, held by attempts that are on their way out */
    const uint32_t *warm;
    int32_t warm_count;
};

struct snapshot_tenant {
    double usage;          /* fair_share: faded to now_ms */
    double weight;         /* > 0 */
    int32_t slots_left;    /* quota_slots_left() */
    int64_t last_start_ms; /* of any of its jobs */
};

struct snapshot_queue {
    int32_t priority;
    bool paused;
};

struct snapshot_batch {
    int32_t starts_left; /* jobs of it that may start now; INT32_MAX: no bound */
};

struct schedule_policy {
    int64_t charge_ms;          /* a running slot counts this much usage ahead */
    int64_t ageing_ms;          /* a tenant that waits this long rises by one queue priority */
    int64_t job_ageing_ms;      /* a job that waits this long rises by one job priority */
    bool preempt;               /* may anyone be preempted? */
    int64_t preempt_after_ms;   /* only for a job that has waited so long */
    int64_t preempt_min_run_ms; /* and only attempts that ran so long */
};

struct snapshot {
    int64_t now_ms;
    bool store_full; /* no starts until there is space */
    struct schedule_policy policy;
    const struct snapshot_job *jobs; /* in order of id; final and paused ones may be left out */
    const struct snapshot_worker *workers;
    const struct snapshot_tenant *tenants;
    const struct snapshot_queue *queues;
    const struct snapshot_batch *batches; /* the first stands for none and has no bound */
    uint32_t job_count, worker_count, tenant_count, queue_count, batch_count;
    uint32_t warm_count; /* warm objects are numbers below this */
};

#endif
