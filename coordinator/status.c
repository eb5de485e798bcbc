/* SPDX-License-Identifier: Apache-2.0
 *
 * status: the whole in figures, for people and for probes; and the backup.
 */
#include "coordinator/status.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "coordinator/backup.h"
#include "coordinator/change.h"
#include "coordinator/store.h"
#include "lib/check.h"
#include "storage/records/records.h"

/* ---- workers --------------------------------------------------------------------------------- */

static Api__WorkerState state_of(const struct member *member, const struct worker *worker)
{
    if (worker != NULL && worker->state == WORKER_UP &&
        member->row->state == API__WORKER_STATE__WORKER_STATE_DRAINING)
        return worker->held == 0 ? API__WORKER_STATE__WORKER_STATE_DRAINED
                                 : API__WORKER_STATE__WORKER_STATE_DRAINING;
    if (worker == NULL || worker->state == WORKER_LOST)
        return API__WORKER_STATE__WORKER_STATE_LOST;
    return API__WORKER_STATE__WORKER_STATE_LIVE;
}

static const struct worker *worker_of(const struct coordinator *coordinator,
                                      const struct member *member)
{
    uint32_t index;
    return member_index(coordinator, member, &index) ? &coordinator->cluster.registry.workers[index]
                                                     : NULL;
}

static void add_message(struct arena *arena, ProtobufCMessage *to, const char *field, void *message)
{
    message_put_pointer(
        arena, to, protobuf_c_message_descriptor_get_field_by_name(to->descriptor, field), message);
}

void coordinator_workers(struct coordinator *coordinator, struct arena *arena, int64_t id,
                         Api__WorkerList *workers_out)
{
    for (uint32_t i = 0; i < coordinator->member_count; i++) {
        const struct member *member = coordinator->members[i];
        const struct worker *worker = worker_of(coordinator, member);
        if (id != 0 && member->id != id)
            continue;
        Api__Worker *row = message_copy(arena, &member->row->base);
        row->has_state = row->has_slots_busy = true;
        row->state = state_of(member, worker);
        row->slots_busy = worker != NULL ? worker->held : 0;
        row->has_last_seen_ms = member->seen_ms != 0 || row->has_last_seen_ms;
        row->last_seen_ms = member->seen_ms != 0 ? member->seen_ms : row->last_seen_ms;
        for (size_t k = 0; member->gpus != NULL && k < member->gpus->n_gpu_list; k++)
            add_message(arena, &row->base, "gpu_list",
                        message_copy(arena, &member->gpus->gpu_list[k]->base));
        add_message(arena, &workers_out->base, "workers", row);
    }
}

/* ---- figures --------------------------------------------------------------------------------- */

void totals_count(const struct coordinator *coordinator, struct totals *totals_out)
{
    const struct cluster *cluster = &coordinator->cluster;
    struct totals totals = {0};
    for (uint32_t i = 0; i < cluster->job_count; i++) {
        const struct cluster_job *job = &cluster->jobs[i];
        bool shard = job->ask.whole != 0;
        totals.jobs[job->run.state] += !shard;
        totals.reasons[job->wait.reason] += !shard && job_is_waiting(job->run.state);
        totals.useful += job->run.state == JOB_STATE_RUNNING ? job->held : 0;
    }
    for (uint32_t i = 0; i < coordinator->member_count; i++) {
        const struct worker *worker = worker_of(coordinator, coordinator->members[i]);
        totals.workers[state_of(coordinator->members[i], worker)]++;
        if (worker != NULL && worker->state == WORKER_UP) {
            totals.slots += worker->offer.slots;
            totals.held += worker->held;
        }
    }
    *totals_out = totals;
}

void coordinator_status(struct coordinator *coordinator, struct arena *arena,
                        Api__ClusterStatus *status_out)
{
    struct totals totals;
    totals_count(coordinator, &totals);
    status_out->version = arena_strdup(arena, TAILOR_VERSION);
    status_out->cluster = arena_strdup(arena, coordinator->cluster_name);
    status_out->has_uptime_ms = status_out->has_jobs_queued = status_out->has_jobs_running = true;
    status_out->has_workers_live = status_out->has_workers_lost = status_out->has_slots = true;
    status_out->has_slots_busy = status_out->has_store_free_bytes = status_out->has_goodput = true;
    status_out->uptime_ms = now_read(coordinator) - coordinator->booted_ms;
    status_out->jobs_queued = totals.jobs[JOB_STATE_QUEUED] + totals.jobs[JOB_STATE_RECOVERING];
    status_out->jobs_running = totals.jobs[JOB_STATE_RUNNING];
    status_out->workers_live = totals.workers[API__WORKER_STATE__WORKER_STATE_LIVE];
    status_out->workers_lost = totals.workers[API__WORKER_STATE__WORKER_STATE_LOST];
    status_out->slots = totals.slots;
    status_out->slots_busy = totals.held;
    status_out->store_free_bytes = store_free_bytes(coordinator->store);
    status_out->goodput = totals.slots > 0 ? (double)totals.useful / (double)totals.slots : 0;
    for (int i = WAITING_NONE + 1; i < WAITING_COUNT; i++) {
        if (totals.reasons[i] == 0)
            continue;
        Api__WaitingJobs *row = message_add(arena, status_out, "waiting");
        row->has_waiting_reason = row->has_jobs = true;
        row->waiting_reason = (Api__WaitingReason)i;
        row->jobs = totals.reasons[i];
    }
}

bool coordinator_ready(struct coordinator *coordinator, struct error *cause_out)
{
    if (background_stuck(coordinator->database, cause_out))
        return false;
    if (store_free_bytes(coordinator->store) < (int64_t)STORE_RESERVE_BYTES) {
        error_set(cause_out, STATUS_IO, "the store has less than 64 MiB of free space");
        return false;
    }
    return true;
}

/* ---- backup ---------------------------------------------------------------------------------- */

struct backup {
    struct coordinator *coordinator;
    char path[PATH_MAX];
    int64_t blobs, bytes;
    Api__BackupReply *reply;
    struct arena *arena;
    coordinator_done *done;
    void *argument;
};

static enum status backup_run(struct records *records, void *argument, struct error *error)
{
    struct backup *backup = argument;
    return backup_make(records, backup->coordinator->data, backup->path, &backup->blobs,
                       &backup->bytes, error);
}

static void on_backup(void *argument, enum status status, const struct error *error)
{
    struct backup *backup = argument;
    if (status == STATUS_OK) {
        backup->reply->path = arena_strdup(backup->arena, backup->path);
        backup->reply->has_bytes = backup->reply->has_time_ms = backup->reply->has_blobs = true;
        backup->reply->bytes = backup->bytes;
        backup->reply->blobs = backup->blobs;
        backup->reply->time_ms = backup->coordinator->now_ms;
        backup->coordinator->counters.backup_ms = backup->coordinator->now_ms;
    }
    backup->done(backup->argument, status, error);
    mem_free(backup);
}

void coordinator_backup(struct coordinator *coordinator, struct arena *arena,
                        Api__BackupReply *reply, coordinator_done *done, void *argument)
{
    struct backup *backup = mem_alloc(sizeof(*backup));
    *backup = (struct backup){.coordinator = coordinator,
                              .reply = reply,
                              .arena = arena,
                              .done = done,
                              .argument = argument};
    backup_path(coordinator->data, now_read(coordinator), backup->path);
    coordinator_alone(coordinator, backup_run, on_backup, backup);
}
