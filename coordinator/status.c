/* SPDX-License-Identifier: Apache-2.0
 *
 * status: the whole in figures: for people, for probes, for Prometheus; and the backup.
 */
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

struct figures {
    int64_t jobs[JOB_STATE_COUNT];
    int64_t reasons[WAITING_COUNT];
    int64_t workers[6], slots, held, useful;
};

static void count(const struct coordinator *coordinator, struct figures *figures)
{
    const struct cluster *cluster = &coordinator->cluster;
    *figures = (struct figures){0};
    for (uint32_t i = 0; i < cluster->job_count; i++) {
        const struct cluster_job *job = &cluster->jobs[i];
        bool shard = job->ask.whole != 0; /* people count its whole */
        figures->jobs[job->run.state] += !shard;
        figures->reasons[job->wait.reason] += !shard && job_is_waiting(job->run.state);
        figures->useful += job->run.state == JOB_STATE_RUNNING ? job->held : 0;
    }
    for (uint32_t i = 0; i < coordinator->member_count; i++) {
        const struct worker *worker = worker_of(coordinator, coordinator->members[i]);
        figures->workers[state_of(coordinator->members[i], worker)]++;
        if (worker != NULL && worker->state == WORKER_UP) {
            figures->slots += worker->offer.slots;
            figures->held += worker->held;
        }
    }
}

void coordinator_status(struct coordinator *coordinator, struct arena *arena,
                        Api__ClusterStatus *status_out)
{
    struct figures figures;
    count(coordinator, &figures);
    status_out->version = arena_strdup(arena, TAILOR_VERSION);
    status_out->cluster = arena_strdup(arena, coordinator->cluster_name);
    status_out->has_uptime_ms = status_out->has_jobs_queued = status_out->has_jobs_running = true;
    status_out->has_workers_live = status_out->has_workers_lost = status_out->has_slots = true;
    status_out->has_slots_busy = status_out->has_store_free_bytes = status_out->has_goodput = true;
    status_out->uptime_ms = now_read(coordinator) - coordinator->booted_ms;
    status_out->jobs_queued = figures.jobs[JOB_STATE_QUEUED] + figures.jobs[JOB_STATE_RECOVERING];
    status_out->jobs_running = figures.jobs[JOB_STATE_RUNNING];
    status_out->workers_live = figures.workers[API__WORKER_STATE__WORKER_STATE_LIVE];
    status_out->workers_lost = figures.workers[API__WORKER_STATE__WORKER_STATE_LOST];
    status_out->slots = figures.slots;
    status_out->slots_busy = figures.held;
    status_out->store_free_bytes = store_free_bytes(coordinator->store);
    status_out->goodput = figures.slots > 0 ? (double)figures.useful / (double)figures.slots : 0;
    for (int i = WAITING_NONE + 1; i < WAITING_COUNT; i++) {
        if (figures.reasons[i] == 0)
            continue;
        Api__WaitingJobs *row = message_add(arena, status_out, "waiting");
        row->has_waiting_reason = row->has_jobs = true;
        row->waiting_reason = (Api__WaitingReason)i;
        row->jobs = figures.reasons[i];
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

/* ---- Prometheus ------------------------------------------------------------------------------ */

static void family(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP tailor_%s %s\n# TYPE tailor_%s %s\n", name, help, name, type);
}

static void single(struct buf *out, const char *name, const char *type, const char *help,
                   double value)
{
    family(out, name, type, help);
    buf_printf(out, "tailor_%s %.17g\n", name, value);
}

static void metrics_jobs(const struct coordinator *coordinator, const struct figures *figures,
                         struct buf *out)
{
    static const char *const results[] = {"succeeded", "failed", "cancelled"};
    const struct counters *counters = &coordinator->counters;
    family(out, "jobs", "gauge", "Jobs that are not final, by state.");
    for (int i = 0; i < JOB_STATE_SUCCEEDED; i++)
        buf_printf(out, "tailor_jobs{state=\"%s\"} %" PRId64 "\n", job_state_name(i),
                   figures->jobs[i]);
    single(out, "jobs_submitted_total", "counter", "Jobs accepted.", (double)counters->submitted);
    family(out, "jobs_finished_total", "counter", "Jobs that became final.");
    for (int i = 0; i < 3; i++)
        buf_printf(out, "tailor_jobs_finished_total{result=\"%s\"} %" PRId64 "\n", results[i],
                   counters->finished[i]);
    family(out, "attempts_failed_total", "counter", "Attempts that ended badly, by class.");
    for (int i = FAILURE_NONE + 1; i < FAILURE_COUNT; i++)
        buf_printf(out, "tailor_attempts_failed_total{failure_class=\"%s\"} %" PRId64 "\n",
                   failure_row(i)->name, counters->attempts[i]);
    family(out, "queue_pending_jobs", "gauge", "Waiting jobs, by reason.");
    for (int i = 0; i < WAITING_COUNT; i++)
        buf_printf(out, "tailor_queue_pending_jobs{reason=\"%s\"} %" PRId64 "\n", waiting_name(i),
                   figures->reasons[i]);
    family(out, "gate_decisions_total", "counter", "What gates decided.");
    buf_printf(out,
               "tailor_gate_decisions_total{result=\"passed\"} %" PRId64
               "\ntailor_gate_decisions_total{result=\"held\"} %" PRId64 "\n",
               counters->gate_passed, counters->gate_held);
    single(out, "fenced_total", "counter", "Reports of attempts that were over.",
           (double)coordinator->cluster.fenced);
}

/* One value of each GPU; `value` is −1 where it is not known. */
static void metrics_gpu(const struct coordinator *coordinator, struct buf *out, const char *name,
                        const char *help, double (*value)(const Api__Gpu *gpu))
{
    family(out, name, "gauge", help);
    for (uint32_t i = 0; i < coordinator->member_count; i++) {
        const struct member *member = coordinator->members[i];
        for (size_t k = 0; member->gpus != NULL && k < member->gpus->n_gpu_list; k++) {
            const Api__Gpu *gpu = member->gpus->gpu_list[k];
            if (value(gpu) >= 0)
                buf_printf(out, "tailor_%s{worker=\"w-%" PRId64 "\",gpu=\"%s\"} %.17g\n", name,
                           member->id, gpu->uuid != NULL ? gpu->uuid : "", value(gpu));
        }
    }
}

static double gpu_memory(const Api__Gpu *gpu)
{
    return gpu->has_memory_used_bytes ? (double)gpu->memory_used_bytes : -1;
}

static double gpu_busy(const Api__Gpu *gpu)
{
    return gpu->has_busy_percent ? (double)gpu->busy_percent / 100 : -1;
}

static double gpu_celsius(const Api__Gpu *gpu)
{
    return gpu->has_celsius ? (double)gpu->celsius : -1;
}

static double gpu_watts(const Api__Gpu *gpu)
{
    return gpu->has_watts ? (double)gpu->watts : -1;
}

static double gpu_quarantined(const Api__Gpu *gpu)
{
    return gpu->quarantine != NULL;
}

static void metrics_gpus(const struct coordinator *coordinator, struct buf *out)
{
    metrics_gpu(coordinator, out, "gpu_memory_used_bytes", "Memory in use on a GPU.", gpu_memory);
    metrics_gpu(coordinator, out, "gpu_busy_ratio", "Time with a kernel running.", gpu_busy);
    metrics_gpu(coordinator, out, "gpu_celsius", "A GPU's temperature.", gpu_celsius);
    metrics_gpu(coordinator, out, "gpu_watts", "What a GPU draws.", gpu_watts);
    metrics_gpu(coordinator, out, "gpu_quarantined", "1: no rank gets it.", gpu_quarantined);
}

static void metrics_workers(const struct coordinator *coordinator, const struct figures *figures,
                            struct buf *out)
{
    char name[64];
    family(out, "workers", "gauge", "Workers, by state.");
    for (int i = API__WORKER_STATE__WORKER_STATE_LIVE; i <= API__WORKER_STATE__WORKER_STATE_LOST;
         i++)
        buf_printf(out, "tailor_workers{state=\"%s\"} %" PRId64 "\n",
                   enum_text(&api__worker_state__descriptor, i, name), figures->workers[i]);
    family(out, "worker_heartbeat_age_seconds", "gauge", "Since a worker was heard.");
    for (uint32_t i = 0; i < coordinator->member_count; i++)
        if (coordinator->members[i]->seen_ms != 0)
            buf_printf(out, "tailor_worker_heartbeat_age_seconds{worker=\"w-%" PRId64 "\"} %.3f\n",
                       coordinator->members[i]->id,
                       (double)(coordinator->now_ms - coordinator->members[i]->seen_ms) / 1000);
    metrics_gpus(coordinator, out);
    single(out, "worker_lost_total", "counter", "Workers that were silent for too long.",
           (double)coordinator->counters.workers_lost);
    single(out, "slot_busy_ratio", "gauge", "Slots that are held.",
           figures->slots > 0 ? (double)figures->held / (double)figures->slots : 0);
    single(out, "goodput_ratio", "gauge", "Slots of gangs that train.",
           figures->slots > 0 ? (double)figures->useful / (double)figures->slots : 0);
}

void coordinator_metrics(struct coordinator *coordinator, struct buf *out)
{
    struct figures figures;
    double batches, seconds;
    struct worker_socket_figures wire = worker_socket_figures(coordinator->socket);
    const struct counters *counters = &coordinator->counters;
    now_read(coordinator);
    count(coordinator, &figures);
    background_figures(coordinator->database, &batches, &seconds);
    family(out, "build_info", "gauge", "This program.");
    buf_printf(out, "tailor_build_info{version=\"%s\"} 1\n", TAILOR_VERSION);
    metrics_jobs(coordinator, &figures, out);
    metrics_workers(coordinator, &figures, out);
    single(out, "store_free_bytes", "gauge", "Free space of the store.",
           (double)store_free_bytes(coordinator->store));
    family(out, "db_commit_seconds", "summary", "Batches of the records.");
    buf_printf(out, "tailor_db_commit_seconds_sum %.6f\ntailor_db_commit_seconds_count %.0f\n",
               seconds, batches);
    family(out, "scheduler_cycle_seconds", "summary", "Ticks.");
    buf_printf(out,
               "tailor_scheduler_cycle_seconds_sum %.6f\n"
               "tailor_scheduler_cycle_seconds_count %" PRId64 "\n",
               counters->cycle_seconds, counters->cycles);
    family(out, "message_queue_depth", "gauge", "Work that waits for a thread.");
    buf_printf(out,
               "tailor_message_queue_depth{socket=\"records\"} %zu\n"
               "tailor_message_queue_depth{socket=\"store\"} %zu\n",
               background_waiting(coordinator->database),
               background_waiting(coordinator->store_thread));
    family(out, "worker_messages_total", "counter", "Messages of the workers' socket.");
    buf_printf(out,
               "tailor_worker_messages_total{result=\"received\"} %" PRId64
               "\ntailor_worker_messages_total{result=\"sent\"} %" PRId64
               "\ntailor_worker_messages_total{result=\"dropped\"} %" PRId64
               "\ntailor_worker_messages_total{result=\"malformed\"} %" PRId64 "\n",
               wire.received, wire.sent, wire.dropped, wire.malformed);
    single(out, "backup_last_success_timestamp_seconds", "gauge",
           "Newest backup since this program started; 0: none.",
           (double)counters->backup_ms / 1000);
    single(out, "auth_failures_total", "counter", "Handshakes with unknown keys.",
           (double)(wire.handshakes_refused + wire.denied));
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
    CHECK(snprintf(backup->path, PATH_MAX, "%s/backups/backup-%" PRId64, coordinator->data,
                   now_read(coordinator)) < PATH_MAX);
    coordinator_alone(coordinator, backup_run, on_backup, backup);
}
