/* SPDX-License-Identifier: Apache-2.0
 *
 * cycle: the tick of the loop: time passes in the cluster, and what it decides is committed and
 * sent.
 *
 * Slot time is counted here, by what each worker's holds are at this moment, so the rows of all
 * tenants and of the idle add up to the whole capacity exactly.
 */
#include <inttypes.h>
#include <string.h>

#include "coordinator/change.h"
#include "coordinator/estimate.h"
#include "coordinator/retention.h"
#include "lib/check.h"
#include "lib/clock.h"
#include "lib/log.h"

enum { TICK_MS = 100, SOON_MS = 2, CYCLE_PAUSE = 9, RECORD_MS = 10000, SWEEP_TICKS = 64 };

#define HOUR_MS (3600 * 1000LL)

/* ---- usage ----------------------------------------------------------------------------------- */

static void charge_worker(struct coordinator *coordinator, const struct worker *worker,
                          int64_t passed_ms)
{
    int64_t idle = worker->offer.slots;
    for (int32_t i = 0; i < worker->hold_count; i++) {
        const struct hold *hold = &worker->holds[i];
        const struct cluster_job *job = cluster_job(&coordinator->cluster, hold->job);
        if (job == NULL)
            continue; /* of a job that is long over: idle until the worker says that it is gone */
        struct tenant *tenant = &coordinator->tenants[job->ask.tenant];
        bool productive = job->run.term == hold->term && job->run.state == JOB_STATE_RUNNING;
        tenant->slot_ms += passed_ms * hold->slots;
        tenant->productive_slot_ms += productive ? passed_ms * hold->slots : 0;
        idle -= hold->slots;
    }
    coordinator->idle_ms += idle > 0 ? passed_ms * idle : 0;
}

static void record_usage(struct coordinator *coordinator, struct change *change)
{
    int64_t hour = coordinator->now_ms / HOUR_MS * HOUR_MS;
    for (uint32_t i = 0; i < coordinator->cluster.tenant_count; i++) {
        struct tenant *tenant = &coordinator->tenants[i];
        if (tenant->slot_ms > 0 || tenant->jobs > 0)
            change_usage(change, tenant, hour, hour + HOUR_MS);
        tenant->slot_ms = tenant->productive_slot_ms = tenant->jobs = 0;
    }
    const struct tenant idle = {.slot_ms = coordinator->idle_ms};
    if (idle.slot_ms > 0)
        change_usage(change, &idle, hour, hour + HOUR_MS);
    coordinator->idle_ms = 0;
    coordinator->recorded_ms = coordinator->now_ms;
}

static void count_usage(struct coordinator *coordinator, struct change *change)
{
    int64_t passed_ms = coordinator->now_ms - coordinator->used_ms;
    const struct registry *registry = &coordinator->cluster.registry;
    for (uint32_t i = 0; passed_ms > 0 && i < registry->count; i++)
        if (registry->workers[i].state == WORKER_UP)
            charge_worker(coordinator, &registry->workers[i], passed_ms);
    coordinator->used_ms = coordinator->now_ms;
    if (change != NULL)
        record_usage(coordinator, change);
}

void coordinator_usage_record(struct coordinator *coordinator, coordinator_done *done,
                              void *argument)
{
    struct change *change = change_begin(coordinator);
    now_read(coordinator);
    count_usage(coordinator, change);
    change_commit(change, done, argument);
}

/* ---- workers --------------------------------------------------------------------------------- */

static void note_lost(struct coordinator *coordinator, struct change *change)
{
    const struct registry *registry = &coordinator->cluster.registry;
    for (uint32_t i = 0; i < registry->count; i++) {
        const struct worker *worker = &registry->workers[i];
        struct member *member = member_find(coordinator, (int64_t)worker->id);
        if (worker->state != WORKER_LOST || member == NULL ||
            member->row->state == API__WORKER_STATE__WORKER_STATE_LOST)
            continue;
        member->was_draining = worker->draining;
        member->row->state = API__WORKER_STATE__WORKER_STATE_LOST;
        metrics_count_named(&coordinator->metrics, METRIC_WORKER_LOST, "silent", 1);
        change_worker(change, member);
        change_event(change, NULL, "worker_lost", API__SEVERITY__SEVERITY_WARNING,
                     "worker %s was silent for %" PRId64 " s", member->row->name,
                     coordinator->options.lost_after_ms / 1000);
    }
}

/* ---- the store ------------------------------------------------------------------------------- */

static void note_space(struct coordinator *coordinator, struct change *change)
{
    bool full = space_is_full(&coordinator->space, coordinator->now_ms);
    space_look(&coordinator->space, coordinator->store_thread, coordinator->now_ms);
    if (full == coordinator->cluster.store_full)
        return;
    cluster_store_full(&coordinator->cluster, full);
    if (full)
        retention_make_room(coordinator);
    if (full)
        change_event(change, NULL, "store_full", API__SEVERITY__SEVERITY_ERROR,
                     "the store has %" PRId64 " MiB left: jobs pause until there is room",
                     coordinator->space.free_bytes / (int64_t)MIB);
    else
        change_event(change, NULL, "store_has_room", API__SEVERITY__SEVERITY_INFO,
                     "the store has room again: jobs go on");
}

/* ---- the tick -------------------------------------------------------------------------------- */

static bool job_is_wanted(void *argument, uint64_t id)
{
    struct coordinator *coordinator = argument;
    return cluster_job(&coordinator->cluster, id) != NULL ||
           coordinator->now_ms - job_list_find(&coordinator->jobs, id)->finished_ms < JOB_NEWS_MS;
}

static void tick(struct coordinator *coordinator)
{
    struct error error;
    int64_t now_ms = now_read(coordinator);
    double began = monotonic_s();
    struct change *change = change_begin(coordinator);
    bool stuck = background_stuck(coordinator->database, &error);
    if (stuck != coordinator->cluster.stuck)
        cluster_stuck(&coordinator->cluster, stuck);
    note_space(coordinator, change);
    count_usage(coordinator, now_ms - coordinator->recorded_ms >= RECORD_MS ? change : NULL);
    cluster_tick(&coordinator->cluster, now_ms);
    estimate_count(coordinator);
    note_lost(coordinator, change);
    coordinator->cycle_s = monotonic_s() - began;
    coordinator->counters.cycles++;
    metrics_observe(&coordinator->metrics, METRIC_CYCLE, 0, coordinator->cycle_s);
    if (change_is_empty(change))
        change_drop(change);
    else
        change_commit(change, NULL, NULL);
    if (coordinator->counters.cycles % SWEEP_TICKS == 0)
        job_list_sweep(&coordinator->jobs, job_is_wanted, coordinator);
}

static void on_tick(evutil_socket_t fd, short what, void *argument)
{
    struct coordinator *coordinator = argument;
    (void)fd, (void)what;
    coordinator->tick_is_soon = false;
    tick(coordinator);
    evtimer_add(coordinator->tick, &(struct timeval){.tv_usec = TICK_MS * 1000});
    cycle_soon(coordinator);
}

/* Changes that come one after the other share a cycle, and do not put it off. With a long queue a
 * cycle takes its time: then the loop has CYCLE_PAUSE times as much for everything else. */
void cycle_soon(struct coordinator *coordinator)
{
    if (coordinator->tick == NULL || !coordinator->cluster.dirty || coordinator->tick_is_soon)
        return;
    const double pause_ms = 1000 * CYCLE_PAUSE * coordinator->cycle_s;
    const double soon_ms = pause_ms < SOON_MS ? SOON_MS : pause_ms > TICK_MS ? TICK_MS : pause_ms;
    coordinator->tick_is_soon = true;
    evtimer_add(coordinator->tick, &(struct timeval){.tv_usec = (suseconds_t)(1000 * soon_ms)});
}

void cycle_start(struct coordinator *coordinator)
{
    coordinator->used_ms = coordinator->recorded_ms = now_read(coordinator);
    coordinator->tick = evtimer_new(coordinator->base, on_tick, coordinator);
    CHECK(coordinator->tick != NULL);
    evtimer_add(coordinator->tick, &(struct timeval){.tv_usec = SOON_MS * 1000});
}

void cycle_stop(struct coordinator *coordinator)
{
    if (coordinator->tick == NULL)
        return;
    event_free(coordinator->tick);
    coordinator->tick = NULL;
    struct change *change = change_begin(coordinator);
    now_read(coordinator);
    count_usage(coordinator, change);
    change_commit(change, NULL, NULL);
}
