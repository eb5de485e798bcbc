/* SPDX-License-Identifier: Apache-2.0
 *
 * cluster: jobs, workers and tenants together, as one pure machine: facts go in, commands and
 * changes come out. The coordinator wraps sockets and a database around it; the simulator wraps a
 * heap of fake events around the same code.
 *
 *     cluster_submit(cluster, &ask, 3, now_ms, &id, &error);        // from the API
 *     cluster_heartbeat(cluster, &beat, now_ms);                    // from a worker
 *     verdict = cluster_report(cluster, &report, now_ms);           // from a worker
 *     cluster_tick(cluster, now_ms);                                // every second or so
 *     … send cluster->commands, persist cluster->changes, then cluster_drained(cluster) …
 *
 * Handlers record facts, the tick decides. Commands may be lost: every heartbeat says what the
 * worker runs and which command it saw last, and whatever differs from what should be is commanded
 * again. Reports may be repeated: fence.h. So nothing here waits for one message.
 *
 * After a start of the process the cluster is built from what was persisted (cluster_restore_*,
 * tenants and queues first, then workers, holds, jobs), and everyone gets the full grace.
 *
 * One thread. Pure: time is an argument, and so is the seed of the back-off's jitter. now_ms is
 * UTC at the start of the process plus monotonic time since: it never jumps, and what is persisted
 * can be compared after a restart.
 */
#ifndef TAILOR_COORDINATOR_CLUSTER_H
#define TAILOR_COORDINATOR_CLUSTER_H

#include "coordinator/backoff.h"
#include "coordinator/fair_share.h"
#include "coordinator/fence.h"
#include "coordinator/quota.h"
#include "coordinator/registry.h"
#include "coordinator/schedule.h"
#include "lib/arena.h"

struct cluster_options {
    uint64_t seed;
    int64_t lost_after_ms;
    int64_t start_timeout_ms; /* from the assignment to the last rank's report */
    int64_t yield_timeout_ms; /* to write a checkpoint and stop; then it is stopped */
    int64_t cycle_ms;         /* the scheduler runs when something changed, and at least so often */
    int64_t half_life_ms;     /* of usage */
    struct backoff backoff;
    struct schedule_policy policy;
};

struct gang_member {
    uint32_t worker; /* index in the registry */
    int32_t ranks, first_rank;
    bool started, ended; /* all its ranks reported; all are gone */
};

struct cluster_job {
    struct job_run run;
    struct ask ask;
    struct dependency *after; /* owned; ask.after */
    struct wait wait;
    uint32_t numerics;
    int64_t backoff_until_ms;
    uint64_t avoid; /* worker id */
    int32_t halts;  /* in a row for want of space on a worker, with no new checkpoint */
    bool yielded;
    struct gang_member *members; /* owned; of the newest attempt, while it lives */
    int32_t member_count;
    int32_t held;        /* slots of the members */
    int64_t assigned_ms; /* of the newest attempt */
    int64_t gone_ms;     /* when the first member ended without a failure; 0: none has */
    int64_t ends_ms;     /* as its last report expects; INT64_MAX: not known */
    int64_t ran_ms;      /* in earlier attempts: counts for the wall time */
};

struct cluster_tenant {
    struct fair_share share;
    struct quota quota;
    struct quota_use use;
    int32_t waiting;    /* jobs, paused ones too */
    int32_t unfinished; /* jobs */
    int32_t slots;      /* of live attempts */
    int64_t last_start_ms;
};

struct cluster_batch {
    uint64_t id;
    int32_t running_max; /* 0: no bound */
    int32_t unfinished;  /* jobs */
    bool end_told;       /* that nothing of it is left */
};

enum command_kind {
    COMMAND_BEGIN, /* start these ranks; nothing if (job, term) is known already */
    COMMAND_YIELD, /* write a checkpoint, then stop */
    COMMAND_STOP   /* stop now */
};

struct command {
    enum command_kind kind;
    uint32_t worker;      /* index in the registry */
    uint64_t incarnation; /* another process of that worker must not obey */
    uint64_t number;      /* grows; a heartbeat says which it saw last */
    uint64_t job, term;
    int32_t ranks, first_rank, gang_ranks; /* BEGIN */
};

/* One change of a job's state, in order: a row of its events, and of the database transaction. */
struct job_change {
    uint64_t job, term;
    enum job_event event;
    enum job_state from, to;
};

struct beat_gang {
    uint64_t job, term;
    bool started; /* all its ranks there train */
};

struct heartbeat {
    uint64_t worker; /* id, from the transport */
    struct worker_offer offer;
    uint64_t command_seen;         /* number of the last command that arrived; 0: none */
    bool full;                     /* its disk has no room for another job */
    const struct beat_gang *gangs; /* what it runs, until its REPORT_GONE is acknowledged */
    int32_t gang_count;
};

enum report_kind {
    REPORT_STARTED,    /* all ranks of this worker are up */
    REPORT_CHECKPOINT, /* `step` is registered */
    REPORT_FINISHED,   /* the work is done and its results are registered */
    REPORT_FAILED,     /* a rank ended badly: `failure` */
    REPORT_GONE,       /* no rank of (job, term) is left on this worker */
    REPORT_NOTE        /* for the records only: a finding, a model */
};

struct report {
    enum report_kind kind;
    uint64_t worker; /* id, from the transport */
    uint64_t job, term, sequence;
    enum failure failure;
    bool full; /* FAILED: for want of space on the worker: the job halts */
    int64_t step;
    int64_t ends_ms; /* STARTED, CHECKPOINT: when it expects to end; INT64_MAX: it cannot tell */
};

struct cluster {
    struct cluster_options options;
    struct registry registry;
    struct cluster_job *jobs; /* in order of id; final ones are dropped after a while */
    uint32_t job_count, job_capacity;
    struct cluster_tenant *tenants;
    uint32_t tenant_count;
    struct snapshot_queue *queues;
    uint32_t queue_count;
    struct cluster_batch *batches; /* the first stands for none */
    uint32_t batch_count;
    bool store_full, stuck;
    uint64_t next_job; /* restored by the caller: above every id that was ever given */
    uint64_t boots, next_command;
    uint64_t fenced;          /* reports that were refused as stale */
    bool dirty;               /* something changed since the last cycle */
    int64_t wake_ms;          /* when the next cycle runs although nothing changed */
    struct arena scratch;     /* of one cycle */
    struct command *commands; /* since the last drain */
    size_t command_count, command_capacity;
    struct job_change *changes; /* since the last drain */
    size_t change_count, change_capacity;
};

/* `boots` counts the starts of the coordinator, from 1; the caller persists it. */
void cluster_init(struct cluster *cluster, const struct cluster_options *options, uint64_t boots,
                  int64_t now_ms);
void cluster_release(struct cluster *cluster);
uint32_t cluster_add_tenant(struct cluster *cluster, double weight, const struct quota *quota,
                            int64_t now_ms);
uint32_t cluster_add_queue(struct cluster *cluster, int32_t priority);
void cluster_pause_queue(struct cluster *cluster, uint32_t queue, bool paused);
/* The index of a batch; 0 for id 0. It is made when it is new. */
uint32_t cluster_batch(struct cluster *cluster, uint64_t id);
void cluster_bound_batch(struct cluster *cluster, uint32_t batch, int32_t running_max);
/* No room for blobs: nothing begins, and what runs is halted until there is some. */
void cluster_store_full(struct cluster *cluster, bool full);
/* Nothing can be recorded: nothing begins. What runs is let alone, for no command could leave. */
void cluster_stuck(struct cluster *cluster, bool stuck);

/* What was persisted. Of a tenant: share, quota, use, last_start_ms; the rest follows from its
 * jobs. A worker is taken for up until its silence says otherwise. A job that is final may be left
 * out. */
void cluster_restore_tenant(struct cluster *cluster, const struct cluster_tenant *saved);
uint32_t cluster_restore_worker(struct cluster *cluster, uint64_t id,
                                const struct worker_offer *offer, bool draining, int64_t now_ms);
void cluster_restore_hold(struct cluster *cluster, uint32_t worker, const struct hold *saved);
void cluster_restore_job(struct cluster *cluster, const struct cluster_job *saved);

/* People's verbs. NOT_FOUND, CONFLICT (the state allows no such thing) or LIMIT (a quota), with a
 * sentence. ask->after is copied; its states are the caller's where the job is no longer here. */
enum status cluster_submit(struct cluster *cluster, const struct ask *ask, int32_t attempts_max,
                           int64_t now_ms, uint64_t *id_out, struct error *error);
/* The two halves of a submit, with a commit in between: may it (`more` others of the tenant are on
 * their way)? and then: here it is, under the id that the records gave it, above all before. */
enum status cluster_admit(const struct cluster *cluster, const struct ask *ask, int32_t more,
                          struct error *error);
void cluster_add_job(struct cluster *cluster, uint64_t id, const struct ask *ask,
                     int32_t attempts_max, int64_t now_ms);
/* The same for a job that is cut into shards: they get the ids behind `id`, and come after what the
 * whole was to come after. */
void cluster_add_whole(struct cluster *cluster, uint64_t id, const struct ask *ask, int32_t shards,
                       int32_t attempts_max, int64_t now_ms);
/* CONFLICT also for a shard: these follow their whole. */
enum status cluster_cancel(struct cluster *cluster, uint64_t id, int64_t now_ms,
                           struct error *error);
enum status cluster_pause(struct cluster *cluster, uint64_t id, int64_t now_ms,
                          struct error *error);
enum status cluster_resume(struct cluster *cluster, uint64_t id, int64_t now_ms,
                           struct error *error);

/* Workers. */
void cluster_heartbeat(struct cluster *cluster, const struct heartbeat *beat, int64_t now_ms);
enum fence_verdict cluster_report(struct cluster *cluster, const struct report *report,
                                  int64_t now_ms);
/* No process of (job, term) is left on the worker, whatever was said before and whether or not the
 * attempt is live. Another report of the same worker told why. */
void cluster_ranks_gone(struct cluster *cluster, uint64_t worker, uint64_t job, uint64_t term,
                        int64_t now_ms);
/* The worker will not begin the attempt. */
void cluster_refuse(struct cluster *cluster, uint64_t worker, uint64_t job, uint64_t term,
                    int64_t now_ms);
/* What cannot be begun for a reason of ours. */
void cluster_fail(struct cluster *cluster, uint64_t job, uint64_t term, enum failure failure,
                  int64_t now_ms);
void cluster_warm(struct cluster *cluster, uint32_t worker, uint32_t object);
void cluster_drain(struct cluster *cluster, uint32_t worker, bool draining);
void cluster_forget(struct cluster *cluster, uint32_t worker, int64_t now_ms);

void cluster_tick(struct cluster *cluster, int64_t now_ms);
void cluster_drained(struct cluster *cluster);
/* NULL: never was, or is final and was dropped. Valid until the next submit or tick. */
struct cluster_job *cluster_job(struct cluster *cluster, uint64_t id);

#endif
