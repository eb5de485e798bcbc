/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /metrics: every family of metrics.def in its order, those that are looked up by a function
 * of their name.
 */
#include "coordinator/metrics_read.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "coordinator/status.h"
#include "coordinator/store.h"
#include "lib/text.h"

/* What one answer is made from. */
struct reading {
    const struct coordinator *coordinator;
    struct totals totals;
    struct worker_socket_figures wire;
    int64_t certificate_expires_s;
    const char *name; /* of the family at hand */
    struct buf *out;
};

__attribute__((format(printf, 3, 4))) static void sample(const struct reading *it, double value,
                                                         const char *labels, ...)
{
    va_list list;
    va_start(list, labels);
    buf_printf(it->out, "tailor_%s", it->name);
    buf_vprintf(it->out, labels, list);
    buf_printf(it->out, " %.17g\n", value);
    va_end(list);
}

/* A format that prints nothing: compilers warn of an empty one. */
#define NO_LABELS "%s", ""

/* Text of a worker's, quoted: it may hold anything but control characters. */
static void label_text(struct buf *out, const char *name, const char *text)
{
    buf_printf(out, "%s=\"", name);
    for (const char *c = text != NULL ? text : ""; *c != '\0'; c++)
        buf_printf(out, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
    buf_append_char(out, '"');
}

static double since_s(const struct reading *it, int64_t ms)
{
    return (double)(it->coordinator->now_ms - ms) / 1000;
}

/* ---- jobs and queues ------------------------------------------------------------------------- */

static void read_build_info(const struct reading *it)
{
    sample(it, 1, "{version=\"%s\"}", TAILOR_VERSION);
}

static void read_jobs(const struct reading *it)
{
    for (int i = 0; i < JOB_STATE_SUCCEEDED; i++)
        sample(it, (double)it->totals.jobs[i], "{state=\"%s\"}", job_state_name(i));
}

/* A job that serves has nothing to say for as long as nobody asks it. */
static bool is_stalled(const struct coordinator *coordinator, const struct cluster_job *core)
{
    const struct job *job = job_list_find(&coordinator->jobs, core->run.id);
    return job_has_attempt(core->run.state) && !core->ask.serves && job != NULL &&
           coordinator->now_ms - (job->heard_ms > 0 ? job->heard_ms : coordinator->booted_ms) >
               STALLED_MS;
}

static void read_jobs_stalled(const struct reading *it)
{
    const struct cluster *cluster = &it->coordinator->cluster;
    int64_t stalled[JOB_STATE_COUNT] = {0};
    for (uint32_t i = 0; i < cluster->job_count; i++)
        stalled[cluster->jobs[i].run.state] += is_stalled(it->coordinator, &cluster->jobs[i]);
    for (int i = 0; i < JOB_STATE_SUCCEEDED; i++)
        if (job_has_attempt(i))
            sample(it, (double)stalled[i], "{phase=\"%s\"}", job_state_name(i));
}

static void read_queue_pending_jobs(const struct reading *it)
{
    const struct cluster *cluster = &it->coordinator->cluster;
    for (uint32_t queue = 0; queue < cluster->queue_count; queue++) {
        int64_t waiting[WAITING_COUNT] = {0};
        for (uint32_t i = 0; i < cluster->job_count; i++) {
            const struct cluster_job *job = &cluster->jobs[i];
            waiting[job->wait.reason] +=
                job->ask.queue == queue && job->ask.whole == 0 && job_is_waiting(job->run.state);
        }
        for (int i = 0; i < WAITING_COUNT; i++)
            sample(it, (double)waiting[i], "{queue=\"%s\",reason=\"%s\"}",
                   it->coordinator->queues[queue].name, waiting_name(i));
    }
}

static void read_queue_oldest_pending_seconds(const struct reading *it)
{
    const struct cluster *cluster = &it->coordinator->cluster;
    for (uint32_t queue = 0; queue < cluster->queue_count; queue++) {
        int64_t oldest_ms = it->coordinator->now_ms;
        for (uint32_t i = 0; i < cluster->job_count; i++) {
            const struct cluster_job *job = &cluster->jobs[i];
            if (job->ask.queue == queue && job_is_waiting(job->run.state) &&
                job->run.since_ms < oldest_ms)
                oldest_ms = job->run.since_ms;
        }
        sample(it, since_s(it, oldest_ms), "{queue=\"%s\"}", it->coordinator->queues[queue].name);
    }
}

/* ---- tenants that were named ----------------------------------------------------------------- */

static void each_tenant(const struct reading *it,
                        double (*value)(const struct cluster_tenant *tenant))
{
    const struct coordinator *coordinator = it->coordinator;
    char name[NAME_BYTES_MAX + 1];
    for (const char *rest = coordinator->options.metrics_tenants; rest != NULL;) {
        const char *comma = strchr(rest, ',');
        size_t length = comma != NULL ? (size_t)(comma - rest) : strlen(rest);
        if (length > 0 && length < sizeof(name)) {
            memcpy(name, rest, length);
            name[length] = '\0';
            int32_t index = tenant_find(coordinator, name);
            if (index != NO_TENANT)
                sample(it, value(&coordinator->cluster.tenants[index]), "{tenant=\"%s\"}", name);
        }
        rest = comma != NULL ? comma + 1 : NULL;
    }
}

static double slots_of(const struct cluster_tenant *tenant)
{
    return tenant->slots;
}

static double waiting_of(const struct cluster_tenant *tenant)
{
    return tenant->waiting;
}

static void read_tenant_slots_held(const struct reading *it)
{
    each_tenant(it, slots_of);
}

static void read_tenant_pending_jobs(const struct reading *it)
{
    each_tenant(it, waiting_of);
}

/* ---- workers --------------------------------------------------------------------------------- */

static void read_workers(const struct reading *it)
{
    char name[64];
    for (int i = API__WORKER_STATE__WORKER_STATE_LIVE; i <= API__WORKER_STATE__WORKER_STATE_LOST;
         i++)
        sample(it, (double)it->totals.workers[i], "{state=\"%s\"}",
               enum_text(&api__worker_state__descriptor, i, name));
}

static void read_worker_info(const struct reading *it)
{
    for (uint32_t i = 0; i < it->coordinator->member_count; i++) {
        const Api__Worker *row = it->coordinator->members[i]->row;
        struct buf labels = {0};
        buf_printf(&labels, "{worker=\"w-%" PRId64 "\",", row->id);
        label_text(&labels, "host", row->host);
        label_text(&labels, ",version", row->version);
        label_text(&labels, ",pool", row->pool);
        label_text(&labels, ",numerics", row->numerics);
        sample(it, 1, "%s}", labels.data);
        buf_release(&labels);
    }
}

static void read_worker_heartbeat_age_seconds(const struct reading *it)
{
    for (uint32_t i = 0; i < it->coordinator->member_count; i++) {
        const struct member *member = it->coordinator->members[i];
        if (member->seen_ms != 0)
            sample(it, since_s(it, member->seen_ms), "{worker=\"w-%" PRId64 "\"}", member->id);
    }
}

static double ratio(int64_t part, int64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0;
}

static void read_slots(const struct reading *it)
{
    sample(it, (double)it->totals.slots, NO_LABELS);
}

static void read_slot_busy_ratio(const struct reading *it)
{
    sample(it, ratio(it->totals.held, it->totals.slots), NO_LABELS);
}

static void read_goodput_ratio(const struct reading *it)
{
    sample(it, ratio(it->totals.useful, it->totals.slots), NO_LABELS);
}

/* ---- GPUs ------------------------------------------------------------------------------------ */

/* `value` is −1 where it is not known. */
static void each_gpu(const struct reading *it, double (*value)(const Api__Gpu *gpu))
{
    for (uint32_t i = 0; i < it->coordinator->member_count; i++) {
        const struct member *member = it->coordinator->members[i];
        for (size_t k = 0; member->gpus != NULL && k < member->gpus->n_gpu_list; k++) {
            const Api__Gpu *gpu = member->gpus->gpu_list[k];
            if (value(gpu) >= 0)
                sample(it, value(gpu), "{worker=\"w-%" PRId64 "\",gpu=\"%s\"}", member->id,
                       gpu->uuid != NULL ? gpu->uuid : "");
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

static void read_gpu_memory_used_bytes(const struct reading *it)
{
    each_gpu(it, gpu_memory);
}

static void read_gpu_busy_ratio(const struct reading *it)
{
    each_gpu(it, gpu_busy);
}

static void read_gpu_celsius(const struct reading *it)
{
    each_gpu(it, gpu_celsius);
}

static void read_gpu_watts(const struct reading *it)
{
    each_gpu(it, gpu_watts);
}

static void read_gpu_quarantined(const struct reading *it)
{
    each_gpu(it, gpu_quarantined);
}

/* ---- training -------------------------------------------------------------------------------- */

/* Over jobs that run and have said it; no sample where none has. */
static void mean_over_jobs(const struct reading *it, double (*value)(const struct job *job))
{
    const struct cluster *cluster = &it->coordinator->cluster;
    double sum = 0;
    int64_t count = 0;
    for (uint32_t i = 0; i < cluster->job_count; i++) {
        const struct job *job = job_list_find(&it->coordinator->jobs, cluster->jobs[i].run.id);
        if (cluster->jobs[i].run.state != JOB_STATE_RUNNING || job == NULL || isnan(value(job)))
            continue;
        sum += value(job);
        count++;
    }
    if (count > 0)
        sample(it, sum / (double)count, NO_LABELS);
}

static double fill_of(const struct job *job)
{
    return job->packed_fill;
}

static double shared_of(const struct job *job)
{
    return job->shared_token;
}

static void read_packed_fill_ratio(const struct reading *it)
{
    mean_over_jobs(it, fill_of);
}

static void read_shared_token_ratio(const struct reading *it)
{
    mean_over_jobs(it, shared_of);
}

/* ---- this program ---------------------------------------------------------------------------- */

static void read_store_free_bytes(const struct reading *it)
{
    sample(it, (double)store_free_bytes(it->coordinator->store), NO_LABELS);
}

static void read_db_commit_seconds(const struct reading *it)
{
    double batches, seconds;
    background_figures(it->coordinator->database, &batches, &seconds);
    sample(it, seconds, "_sum");
    sample(it, batches, "_count");
}

static void read_message_queue_depth(const struct reading *it)
{
    sample(it, (double)background_waiting(it->coordinator->database), "{socket=\"records\"}");
    sample(it, (double)background_waiting(it->coordinator->store_thread), "{socket=\"store\"}");
}

static void read_worker_messages_total(const struct reading *it)
{
    sample(it, (double)it->wire.received, "{result=\"received\"}");
    sample(it, (double)it->wire.sent, "{result=\"sent\"}");
    sample(it, (double)it->wire.dropped, "{result=\"dropped\"}");
    sample(it, (double)it->wire.malformed, "{result=\"malformed\"}");
}

static void read_fenced_total(const struct reading *it)
{
    sample(it, (double)it->coordinator->cluster.fenced, NO_LABELS);
}

static void read_auth_failures_total(const struct reading *it)
{
    sample(it, (double)(it->wire.handshakes_refused + it->wire.denied), "{who=\"worker\"}");
    sample(it, (double)it->coordinator->counters.unauthenticated, "{who=\"client\"}");
}

static void read_backup_last_success_timestamp_seconds(const struct reading *it)
{
    sample(it, (double)it->coordinator->counters.backup_ms / 1000, NO_LABELS);
}

static void read_certificate_expiry_timestamp_seconds(const struct reading *it)
{
    if (it->certificate_expires_s > 0)
        sample(it, (double)it->certificate_expires_s, NO_LABELS);
}

static void read_process_start_time_seconds(const struct reading *it)
{
    sample(it, (double)it->coordinator->booted_ms / 1000, NO_LABELS);
}

void coordinator_answered(struct coordinator *coordinator, int code, double seconds)
{
    coordinator->counters.unauthenticated += code == 401;
    metrics_count(&coordinator->metrics, METRIC_HTTP_REQUESTS, code / 100 - 2, 1);
    metrics_observe(&coordinator->metrics, METRIC_HTTP_REQUEST, 0, seconds);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void looked_up(struct reading *it, const char *name, const char *type, const char *help,
                      void (*read)(const struct reading *it))
{
    it->name = name;
    metrics_write_head(it->out, name, type, help);
    read(it);
}

void coordinator_metrics(struct coordinator *coordinator, int64_t certificate_expires_s,
                         struct buf *out)
{
    struct reading reading = {.coordinator = coordinator,
                              .wire = worker_socket_figures(coordinator->socket),
                              .certificate_expires_s = certificate_expires_s,
                              .out = out};
    now_read(coordinator);
    totals_count(coordinator, &reading.totals);
#define COUNTED(NAME, name, type, labels, help)                                                    \
    metrics_write(&coordinator->metrics, METRIC_##NAME, out);
#define LOOKED_UP(name, type, help) looked_up(&reading, #name, type, help, read_##name);
#include "coordinator/metrics.def"
#undef COUNTED
#undef LOOKED_UP
}
