/* SPDX-License-Identifier: Apache-2.0
 *
 * schedule: who starts where, who yields, and why the others wait. A pure function: the same
 * snapshot gives the same decisions; no clock, no I/O, no memory beyond the arena.
 *
 * Order among the jobs that may start: queue priority (a tenant that has started nothing for long
 * rises) → the tenant with the least usage per weight, charged as it is given slots → job priority
 * (ageing) → submit time → id.
 *
 * A gang is placed whole: min_ranks to ranks slots, all on workers of one pool and one numerics id;
 * as few workers as are easily found, rather those with its base in their cache. The first job of
 * the order that does not fit *reserves*: matching slots that are free or become free are kept for
 * it, and a later job may borrow them only if its wall-time limit ends before the reservation is
 * expected to be met (bounded backfill). One reservation per pool and numerics.
 *
 * Jobs that find no room may preempt, several in one cycle: running, preemptible gangs of a lower
 * queue priority; or of their own tenant's lower job priority; or of a tenant that keeps its fair
 * share without them, when the job's own tenant stays within its own. They are told to write a
 * checkpoint first; nobody is told unless all that are needed can be had.
 *
 * Cost: O(jobs · log jobs + workers + placements · 64). Numbers in docs/results.md.
 */
#ifndef TAILOR_COORDINATOR_SCHEDULE_H
#define TAILOR_COORDINATOR_SCHEDULE_H

#include "coordinator/snapshot.h"
#include "lib/arena.h"

enum decision_kind {
    DECISION_START,  /* assign the gang */
    DECISION_YIELD,  /* checkpoint, stop, queue again */
    DECISION_ORPHAN, /* a job that it comes after did not succeed: cancel it */
    DECISION_WAIT    /* the reason changed, or what goes with it */
};

struct placement {
    uint32_t worker; /* index into the snapshot's */
    int32_t ranks;
};

struct decision {
    enum decision_kind kind;
    uint32_t job;                       /* index into the snapshot's */
    const struct placement *placements; /* START: placement_count of them */
    int32_t placement_count;
    uint32_t numerics;     /* START: of the workers */
    bool numerics_changed; /* START: earlier attempts ran on others: bits may differ from here */
    struct wait wait;      /* WAIT */
    uint64_t for_job;      /* YIELD: id of the job that gets the slots; ORPHAN: of the cause */
};

struct decisions {
    const struct decision *items; /* in the arena */
    uint32_t count;
    uint32_t starts, yields;
};

void schedule(const struct snapshot *snapshot, struct arena *arena, struct decisions *out);

#endif
