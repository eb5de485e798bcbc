/* SPDX-License-Identifier: Apache-2.0
 *
 * cluster_report: what workers say.
 *
 * A heartbeat is compared with what should be (level-triggered), a report moves a job at once
 * (edge-triggered); either alone would do, the second is only faster. Invariant: a hold ends only
 * when its worker is known to run no rank of it: it said REPORT_GONE, it leaves the gang out of a
 * heartbeat that was sent after the command to begin it had arrived, it is another process, or a
 * person says that the machine is no more.
 */
#include "coordinator/cluster_parts.h"
#include "lib/check.h"

static bool beat_lists(const struct heartbeat *beat, uint64_t job, uint64_t term)
{
    for (int32_t i = 0; i < beat->gang_count; i++) {
        if (beat->gangs[i].job == job && beat->gangs[i].term == term) {
            return true;
        }
    }
    return false;
}

static struct gang_member *member_of(struct cluster_job *job, uint32_t worker)
{
    for (int32_t i = 0; i < job->member_count; i++) {
        if (job->members[i].worker == worker) {
            return &job->members[i];
        }
    }
    return NULL;
}

/* All that ran there is dead: the holds end, and so do the attempts. */
static void holds_lost(struct cluster *cluster, uint32_t worker, int64_t now_ms)
{
    struct worker *it = &cluster->registry.workers[worker];
    while (it->hold_count > 0) {
        struct hold hold = it->holds[0];
        worker_give(it, hold.job, hold.term);
        struct cluster_job *job = cluster_live(cluster, hold.job, hold.term);
        if (job) {
            member_of(job, worker)->ended = true;
            cluster_attempt_failed(cluster, job, FAILURE_WORKER_LOST, it->id, now_ms);
        }
    }
}

static bool all_gone(const struct cluster_job *job)
{
    for (int32_t i = 0; i < job->member_count; i++) {
        if (!job->members[i].ended) {
            return false;
        }
    }
    return true;
}

/* All ranks of one member are gone, and nobody said that they failed. That one member ends before
 * the lead's REPORT_FINISHED arrives is usual (after an absence of the coordinator all reports come
 * at once, in any order of workers), so a job that runs waits for the rest; deadlines() gives up.
 */
static void member_gone(struct cluster *cluster, struct cluster_job *job, uint32_t worker,
                        int64_t now_ms)
{
    member_of(job, worker)->ended = true;
    job->gone_ms = job->gone_ms > 0 ? job->gone_ms : now_ms;
    if (!all_gone(job)) {
        return;
    }
    if (job->run.state == JOB_STATE_PAUSING || job->run.state == JOB_STATE_CANCELLING) {
        cluster_attempt_ended(cluster, job, now_ms);
    } else {
        cluster_attempt_failed(cluster, job, FAILURE_INTERNAL, cluster->registry.workers[worker].id,
                               now_ms);
    }
}

static void started(struct cluster *cluster, struct cluster_job *job, struct gang_member *member,
                    int64_t now_ms)
{
    member->started = true;
    cluster_warm(cluster, member->worker, job->ask.warm);
    if (job->run.state != JOB_STATE_STARTING) {
        return;
    }
    for (int32_t i = 0; i < job->member_count; i++) {
        if (!job->members[i].started) {
            return;
        }
    }
    cluster_move(cluster, job, JOB_EVENT_START, now_ms);
}

/* The worker has seen the command to begin, and doesn't run the gang. */
static void absent(struct cluster *cluster, uint32_t worker, const struct hold *hold,
                   int64_t now_ms)
{
    struct cluster_job *job = cluster_live(cluster, hold->job, hold->term);
    struct gang_member *member = job ? member_of(job, worker) : NULL;
    if (job && job->run.state == JOB_STATE_STARTING && !member->started) {
        cluster_command(cluster, COMMAND_BEGIN, job, member); /* the command was lost */
        return;
    }
    worker_give(&cluster->registry.workers[worker], hold->job, hold->term);
    cluster->dirty = true;
    if (job && (job->run.state == JOB_STATE_STARTING || job->run.state == JOB_STATE_RUNNING)) {
        member->ended = true; /* it has forgotten the gang: there will be no report */
        cluster_attempt_failed(cluster, job, FAILURE_WORKER_LOST,
                               cluster->registry.workers[worker].id, now_ms);
    } else if (job) {
        member_gone(cluster, job, worker, now_ms);
    }
}

/* The worker runs the gang: is that what should be? */
static void present(struct cluster *cluster, uint32_t worker, const struct beat_gang *gang,
                    int64_t now_ms)
{
    uint64_t id = gang->job, term = gang->term;
    struct cluster_job *job = cluster_live(cluster, id, term);
    struct gang_member *member = job ? member_of(job, worker) : NULL;
    if (!member || job->run.state == JOB_STATE_CANCELLING) {
        cluster_command_stop(cluster, worker, id, term);
    } else if (job->run.state == JOB_STATE_PAUSING) {
        cluster_command(cluster, COMMAND_YIELD, job, member);
    } else if (gang->started && !member->started) {
        started(cluster, job, member, now_ms); /* its report was lost with our memory */
    }
}

void cluster_heartbeat(struct cluster *cluster, const struct heartbeat *beat, int64_t now_ms)
{
    uint32_t worker;
    if (registry_find(&cluster->registry, beat->worker, &worker) &&
        cluster->registry.workers[worker].offer.incarnation != beat->offer.incarnation) {
        holds_lost(cluster, worker, now_ms);
    }
    if (registry_hear(&cluster->registry, beat->worker, &beat->offer, now_ms, &worker) !=
        REGISTRY_KNOWN) {
        cluster->dirty = true;
    }
    struct worker *it = &cluster->registry.workers[worker];
    cluster->dirty |= it->full != beat->full;
    it->full = beat->full;
    for (int32_t i = it->hold_count; i-- > 0;) { /* giving moves the last one here */
        struct hold hold = it->holds[i];
        bool arrived = beat->command_seen >= hold.command ||
                       hold.command >> 32 != cluster->boots; /* sent before this boot: or never */
        if (arrived && !beat_lists(beat, hold.job, hold.term)) {
            absent(cluster, worker, &hold, now_ms);
        }
    }
    for (int32_t i = 0; i < beat->gang_count; i++) {
        present(cluster, worker, &beat->gangs[i], now_ms);
    }
}

/* ---- reports --------------------------------------------------------------------------------- */

static void finished(struct cluster *cluster, struct cluster_job *job, int64_t now_ms)
{
    if (job->run.state == JOB_STATE_STARTING) { /* faster than another member's first word */
        cluster_move(cluster, job, JOB_EVENT_START, now_ms);
    }
    cluster_move(cluster, job, JOB_EVENT_FINISH, now_ms);
    cluster_gang_close(cluster, job, now_ms);
}

/* Slots come back even from an attempt that is long over. */
static void gone(struct cluster *cluster, struct cluster_job *live, uint32_t worker,
                 const struct report *report, int64_t now_ms)
{
    if (worker_give(&cluster->registry.workers[worker], report->job, report->term) > 0) {
        cluster->dirty = true;
        if (live) {
            member_gone(cluster, live, worker, now_ms);
        }
    }
}

enum fence_verdict cluster_report(struct cluster *cluster, const struct report *report,
                                  int64_t now_ms)
{
    uint32_t worker;
    struct cluster_job *job = cluster_job(cluster, report->job);
    if (report->job >= cluster->next_job ||
        !registry_find(&cluster->registry, report->worker, &worker)) {
        return FENCE_UNKNOWN;
    }
    struct cluster_job *live = cluster_live(cluster, report->job, report->term);
    struct hold *hold = worker_hold(&cluster->registry.workers[worker], report->job, report->term);
    struct gang_member *member = live ? member_of(live, worker) : NULL;
    uint64_t term = job ? job->run.term : UINT64_MAX; /* a job that was dropped is final */
    enum fence_verdict verdict =
        fence_judge(term, member != NULL && hold != NULL, hold ? hold->taken : 0, report->term,
                    report->sequence);
    if (report->kind == REPORT_GONE && verdict == FENCE_STALE) {
        gone(cluster, NULL, worker, report, now_ms);
        return FENCE_DUPLICATE; /* acknowledged: the worker may forget the attempt */
    }
    cluster->fenced += verdict == FENCE_STALE;
    if (verdict != FENCE_ACCEPT) {
        return verdict;
    }
    hold->taken = report->sequence;
    switch (report->kind) {
    case REPORT_STARTED:
        job->ends_ms = report->ends_ms;
        started(cluster, job, member, now_ms);
        break;
    case REPORT_CHECKPOINT:
        job->ends_ms = report->ends_ms;
        job->halts = report->step > job->run.progress ? 0 : job->halts;
        job_progressed(&job->run, report->step);
        break;
    case REPORT_FINISHED:
        finished(cluster, job, now_ms);
        break;
    case REPORT_FAILED:
        if (report->full) {
            cluster_attempt_full(cluster, job, report->worker, now_ms);
            break;
        }
        cluster_attempt_failed(cluster, job, report->failure, report->worker, now_ms);
        break;
    case REPORT_GONE:
        gone(cluster, live, worker, report, now_ms);
        break;
    case REPORT_NOTE:
        break;
    }
    return verdict;
}

void cluster_ranks_gone(struct cluster *cluster, uint64_t worker, uint64_t job, uint64_t term,
                        int64_t now_ms)
{
    uint32_t index;
    if (registry_find(&cluster->registry, worker, &index)) {
        struct report report = {.worker = worker, .job = job, .term = term};
        gone(cluster, cluster_live(cluster, job, term), index, &report, now_ms);
    }
}

void cluster_refuse(struct cluster *cluster, uint64_t worker, uint64_t job, uint64_t term,
                    int64_t now_ms)
{
    uint32_t index;
    struct cluster_job *live = cluster_live(cluster, job, term);
    if (!registry_find(&cluster->registry, worker, &index) ||
        worker_give(&cluster->registry.workers[index], job, term) == 0) {
        return;
    }
    cluster->dirty = true;
    struct gang_member *member = live ? member_of(live, index) : NULL;
    if (member && live->run.state == JOB_STATE_STARTING) {
        member->ended = true;
        cluster_attempt_failed(cluster, live, FAILURE_WORKER_LOST, worker, now_ms);
    } else if (member) {
        member_gone(cluster, live, index, now_ms);
    }
}

void cluster_fail(struct cluster *cluster, uint64_t job, uint64_t term, enum failure failure,
                  int64_t now_ms)
{
    struct cluster_job *live = cluster_live(cluster, job, term);
    if (live) {
        cluster_attempt_failed(cluster, live, failure, 0, now_ms);
    }
}

void cluster_warm(struct cluster *cluster, uint32_t worker, uint32_t object)
{
    CHECK(worker < cluster->registry.count);
    if (object != 0) {
        worker_warm(&cluster->registry.workers[worker], object);
    }
}

void cluster_drain(struct cluster *cluster, uint32_t worker, bool draining)
{
    registry_drain(&cluster->registry, worker, draining);
    cluster->dirty = true;
}

void cluster_forget(struct cluster *cluster, uint32_t worker, int64_t now_ms)
{
    holds_lost(cluster, worker, now_ms);
    registry_forget(&cluster->registry, worker);
    cluster->dirty = true;
}
