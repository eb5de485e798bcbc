/* SPDX-License-Identifier: Apache-2.0
 *
 * cluster_whole: a job that is cut into shards, the whole, and its shards.
 *
 * A shard is a job like any other: it has its own term, attempts, back-off and place, so a worker
 * that is lost costs that shard alone. The whole comes after its shards (ask.after), and its own
 * attempt puts their results together. What binds them is here, and is a matter of state, not of
 * messages: each cycle looks at every shard and its whole, so a restart forgets nothing.
 *
 * Invariants, once a cycle is over:
 *   - a shard that failed or was cancelled for good has taken its whole with it;
 *   - a whole that is over, or is being cancelled, has no shard that goes on;
 *   - shards of a paused whole pause, and their priority is the whole's.
 * A whole has an attempt only when all its shards have succeeded, so nothing can befall a shard
 * while its whole runs. Rejected: one job with many terms at once; fence, restart and scheduler
 * would each need to know of shards.
 */
#include "coordinator/cluster_parts.h"
#include "lib/check.h"

void cluster_add_whole(struct cluster *cluster, uint64_t id, const struct ask *ask, int32_t shards,
                       int32_t attempts_max, int64_t now_ms)
{
    struct ask whole = *ask, shard = *ask;
    struct arena_mark mark = arena_mark(&cluster->scratch);
    struct dependency *after = arena_array(&cluster->scratch, struct dependency, shards);
    CHECK(shards >= 1);
    for (int32_t i = 0; i < shards; i++) {
        after[i] = (struct dependency){id + 1 + (uint64_t)i, JOB_STATE_QUEUED};
    }
    whole.after = after;
    whole.after_count = shards;
    shard.whole = id;
    shard.batch = 0; /* the whole counts against its bound */
    cluster_add_job(cluster, id, &whole, attempts_max, now_ms);
    for (int32_t i = 0; i < shards; i++) {
        cluster_add_job(cluster, after[i].job, &shard, attempts_max, now_ms);
    }
    arena_reset(&cluster->scratch, mark);
}

/* What a shard's end means for its whole, which still waits for it. */
static void lift(struct cluster *cluster, struct cluster_job *whole,
                 const struct cluster_job *shard, int64_t now_ms)
{
    if (job_is_final(whole->run.state)) {
        return;
    }
    if (shard->run.state == JOB_STATE_FAILED) {
        whole->run.failure = shard->run.failure;
        cluster_move(cluster, whole, JOB_EVENT_FAIL, now_ms);
    } else if (shard->run.state == JOB_STATE_CANCELLED &&
               whole->run.state != JOB_STATE_CANCELLING) {
        cluster_move(cluster, whole, JOB_EVENT_ORPHAN, now_ms);
    }
}

static void cancel(struct cluster *cluster, struct cluster_job *shard, int64_t now_ms)
{
    if (shard->run.state != JOB_STATE_CANCELLING) {
        cluster_move(cluster, shard, JOB_EVENT_CANCEL, now_ms);
        cluster_command_all(cluster, COMMAND_STOP, shard);
    }
}

static void follow(struct cluster *cluster, const struct cluster_job *whole,
                   struct cluster_job *shard, int64_t now_ms)
{
    enum job_state state = shard->run.state;
    if (job_is_final(state)) {
        return;
    }
    if (!whole || job_is_final(whole->run.state) || whole->run.state == JOB_STATE_CANCELLING) {
        cancel(cluster, shard, now_ms);
        return;
    }
    shard->ask.priority = whole->ask.priority;
    bool rests = state == JOB_STATE_PAUSED || (state == JOB_STATE_PAUSING && !shard->run.yields) ||
                 state == JOB_STATE_CANCELLING;
    if (whole->run.state == JOB_STATE_PAUSED && !rests) {
        cluster_move(cluster, shard, JOB_EVENT_PAUSE, now_ms);
        cluster_command_all(cluster, COMMAND_YIELD, shard);
    } else if (whole->run.state != JOB_STATE_PAUSED && rests && state != JOB_STATE_CANCELLING) {
        cluster_move(cluster, shard, JOB_EVENT_RESUME, now_ms);
        shard->yielded = false;
    }
}

void cluster_wholes(struct cluster *cluster, int64_t now_ms)
{
    for (uint32_t i = 0; i < cluster->job_count; i++) {
        const struct cluster_job *shard = &cluster->jobs[i];
        struct cluster_job *whole =
            shard->ask.whole ? cluster_job(cluster, shard->ask.whole) : NULL;
        if (whole) {
            lift(cluster, whole, shard, now_ms);
        }
    }
    for (uint32_t i = 0; i < cluster->job_count; i++) {
        struct cluster_job *shard = &cluster->jobs[i];
        if (shard->ask.whole != 0) {
            follow(cluster, cluster_job(cluster, shard->ask.whole), shard, now_ms);
        }
    }
}
