/* SPDX-License-Identifier: Apache-2.0
 *
 * on_worker: workers come, say what they have and what they run, and go. The conversation is told
 * in proto/worker.proto.
 *
 * What is known of a worker comes from its key; fields of a message that could name another are not
 * looked at. A worker is given nothing before it has said what it runs, so that a slot whose ranks
 * outlived a restart of ours is never given twice.
 */
#include <inttypes.h>
#include <string.h>

#include "coordinator/change.h"
#include "coordinator/join.h"
#include "coordinator/scores.h"
#include "lib/check.h"
#include "lib/log.h"
#include "proto/worker_message.h"

struct identity worker_identity(int64_t worker)
{
    return (struct identity){IDENTITY_WORKER, worker};
}

/* ---- hello ----------------------------------------------------------------------------------- */

struct greeting {
    struct coordinator *coordinator;
    struct identity to;
    int64_t worker, version;
};

static void welcome(void *argument, enum status status, const struct error *error)
{
    struct greeting *greeting = argument;
    struct coordinator *coordinator = greeting->coordinator;
    Wire__Welcome reply = WIRE__WELCOME__INIT;
    (void)error;
    if (status != STATUS_OK || coordinator->closing)
        return;
    reply.has_version = reply.has_worker = reply.has_epoch = reply.has_heartbeat_ms = true;
    reply.has_lost_after_ms = reply.has_stop_after_ms = reply.has_time_ms = true;
    reply.version = greeting->version;
    reply.cluster = coordinator->cluster_name;
    reply.worker = greeting->worker;
    reply.epoch = coordinator->epoch;
    reply.heartbeat_ms = coordinator->options.heartbeat_ms;
    reply.lost_after_ms = coordinator->options.lost_after_ms;
    reply.stop_after_ms = coordinator->options.stop_after_ms;
    reply.time_ms = coordinator->now_ms;
    worker_socket_send(coordinator->socket, greeting->to, WORKER_WELCOME, &reply);
}

static void refuse(struct coordinator *coordinator, struct identity to, const char *message)
{
    Wire__Refusal refusal = WIRE__REFUSAL__INIT;
    refusal.message = (char *)message; /* protobuf-c knows no const */
    refusal.has_version = refusal.has_version_min = true;
    refusal.version = WORKER_VERSION;
    refusal.version_min = WORKER_VERSION_MIN;
    worker_socket_send(coordinator->socket, to, WORKER_REFUSAL, &refusal);
    log_warn("worker %" PRId64 " refused: %s", to.id, message);
}

static void row_text(struct member *member, char **field, const char *text)
{
    if (text != NULL && (*field == NULL || strcmp(*field, text) != 0))
        *field = arena_strdup(&member->arena, text);
}

static void on_joined(struct coordinator *coordinator, struct identity from, int64_t worker,
                      enum status status, const struct error *error)
{
    struct greeting greeting = {coordinator, from, worker, WORKER_VERSION};
    if (status == STATUS_OK)
        welcome(&greeting, STATUS_OK, NULL);
    else if (!coordinator->closing)
        refuse(coordinator, from, error->text);
}

static void on_hello(struct coordinator *coordinator, struct identity from,
                     const Wire__Hello *hello)
{
    struct error error;
    int64_t version;
    if (worker_version_agree(hello->version_min, hello->version, &version, &error) != STATUS_OK) {
        refuse(coordinator, from, error.text);
        return;
    }
    if (hello->cluster != NULL && strcmp(hello->cluster, coordinator->cluster_name) != 0) {
        refuse(coordinator, from,
               "this worker belongs to another cluster: give it an empty data directory and a new "
               "join token");
        return;
    }
    if (from.kind == IDENTITY_JOIN) {
        joins_hello(coordinator->joins, from, hello, on_joined);
        return;
    }
    struct member *member = member_find(coordinator, from.id);
    row_text(member, &member->row->name, hello->name);
    row_text(member, &member->row->host, hello->host);
    row_text(member, &member->row->version, hello->software);
    member->boot = (uint64_t)hello->boot;
    member->attached = false;
    member->offered = false;
    struct greeting greeting = {coordinator, from, member->id, version};
    welcome(&greeting, STATUS_OK, NULL);
}

/* ---- what it has and runs -------------------------------------------------------------------- */

static bool has_label(const Api__Worker *row, const char *key)
{
    for (size_t i = 0; i < row->n_labels; i++)
        if (strcmp(row->labels[i]->key, key) == 0)
            return true;
    return false;
}

static void on_offer(struct coordinator *coordinator, struct member *member,
                     const Wire__Offer *offer)
{
    Api__Worker *row = member->row;
    row->has_slots = row->has_cores = row->has_memory_bytes = row->has_gpus = true;
    row->slots = offer->slots;
    row->cores = offer->cores;
    row->memory_bytes = offer->memory_bytes;
    row->gpus = offer->gpus;
    row_text(member, &row->pool, offer->pool != NULL ? offer->pool : "default");
    row_text(member, &row->numerics, offer->numerics);
    snprintf(member->address, sizeof(member->address), "%s",
             offer->address != NULL ? offer->address : "");
    row->n_labels = 0;
    for (size_t i = 0; i < offer->n_labels; i++) {
        if (has_label(row, offer->labels[i]->key))
            continue; /* a key has one value: the first */
        Api__Label *label = message_add(&member->arena, row, "labels");
        label->key = arena_strdup(&member->arena, offer->labels[i]->key);
        label->value = arena_strdup(&member->arena, offer->labels[i]->value);
    }
    member->offer =
        (struct worker_offer){.incarnation = member->boot,
                              .slots = (int32_t)offer->slots,
                              .pool = names_number(&coordinator->pools, row->pool),
                              .numerics = names_number(&coordinator->numerics, offer->numerics),
                              .labels = worker_labels(coordinator, row)};
    member->offered = true;
    struct change *change = change_begin(coordinator);
    change_worker(change, member);
    change_commit(change, NULL, NULL);
    member_cached_set(member, offer->cached, offer->n_cached);
}

static void note_back(struct member *member, struct change *change)
{
    if (member->row->state != API__WORKER_STATE__WORKER_STATE_LOST)
        return;
    member->row->state = member->was_draining ? API__WORKER_STATE__WORKER_STATE_DRAINING
                                              : API__WORKER_STATE__WORKER_STATE_LIVE;
    change_worker(change, member);
    change_event(change, NULL, "worker_back", API__SEVERITY__SEVERITY_INFO,
                 "worker %s of %s is back", member->row->name, member->row->host);
}

/* How late it is, and whether another process speaks than the one that held slots. */
static void note_beat(struct coordinator *coordinator, const struct member *member)
{
    uint32_t index;
    int64_t late_ms = coordinator->now_ms - member->seen_ms - coordinator->options.heartbeat_ms;
    if (member->attached && member->seen_ms != 0)
        metrics_observe(&coordinator->metrics, METRIC_HEARTBEAT_LATENESS, 0,
                        late_ms > 0 ? (double)late_ms / 1000 : 0);
    if (!member_index(coordinator, member, &index))
        return;
    const struct worker *known = &coordinator->cluster.registry.workers[index];
    if (known->held > 0 && known->offer.incarnation != 0 &&
        known->offer.incarnation != member->boot)
        metrics_count_named(&coordinator->metrics, METRIC_WORKER_LOST, "restarted", 1);
}

/* Both a heartbeat and a reattach: what runs there against what should. */
static void beat(struct coordinator *coordinator, struct member *member, int64_t command,
                 Wire__RunningAttempt *const *attempts, size_t count)
{
    struct arena *arena;
    struct change *change = change_begin(coordinator);
    arena = change_arena(change);
    struct beat_gang *gangs = arena_array(arena, struct beat_gang, count);
    for (size_t i = 0; i < count; i++) {
        struct job *job = job_list_find(&coordinator->jobs, (uint64_t)attempts[i]->job);
        struct cluster_job *live = cluster_job(&coordinator->cluster, (uint64_t)attempts[i]->job);
        gangs[i] =
            (struct beat_gang){(uint64_t)attempts[i]->job, (uint64_t)attempts[i]->term,
                               attempts[i]->state == API__ATTEMPT_STATE__ATTEMPT_STATE_RUNNING};
        if (job != NULL && live != NULL && live->run.term == gangs[i].term &&
            attempts[i]->step > job->step)
            job->step = attempts[i]->step;
    }
    struct heartbeat heartbeat = {.worker = (uint64_t)member->id,
                                  .offer = member->offer,
                                  .command_seen = command > 0 ? (uint64_t)command : 0,
                                  .full = member->free_bytes >= 0 &&
                                          member->free_bytes < (int64_t)WORKER_RESERVE_BYTES,
                                  .gangs = gangs,
                                  .gang_count = (int32_t)count};
    uint32_t index;
    note_beat(coordinator, member);
    member->seen_ms = coordinator->now_ms;
    if (member_index(coordinator, member,
                     &index)) { /* restored: which process it was is not known */
        struct worker_offer *known = &coordinator->cluster.registry.workers[index].offer;
        known->incarnation = known->incarnation != 0 ? known->incarnation : member->boot;
    }
    cluster_heartbeat(&coordinator->cluster, &heartbeat, coordinator->now_ms);
    note_back(member, change);
    if (change_is_empty(change))
        change_drop(change);
    else
        change_commit(change, NULL, NULL);
    cycle_soon(coordinator);
}

static const char *quarantine_of(const Api__Worker *worker, const char *uuid)
{
    for (size_t i = 0; worker != NULL && i < worker->n_gpu_list; i++)
        if (worker->gpu_list[i]->uuid != NULL && strcmp(worker->gpu_list[i]->uuid, uuid) == 0)
            return worker->gpu_list[i]->quarantine;
    return NULL;
}

/* What its GPUs do now; that one went into quarantine or left it is an event. */
static void take_gpus(struct coordinator *coordinator, struct member *member, Api__Gpu *const *gpus,
                      size_t count)
{
    struct arena arena = {0};
    if (count == 0 && member->gpus == NULL)
        return;
    Api__Worker *now = message_new(&arena, &api__worker__descriptor);
    struct change *change = change_begin(coordinator);
    for (size_t i = 0; i < count; i++) {
        const char *uuid = gpus[i]->uuid != NULL ? gpus[i]->uuid : "";
        const char *before = quarantine_of(member->gpus, uuid), *fault = gpus[i]->quarantine;
        message_put_pointer(
            &arena, &now->base,
            protobuf_c_message_descriptor_get_field_by_name(now->base.descriptor, "gpu_list"),
            message_copy(&arena, &gpus[i]->base));
        if (fault != NULL && before == NULL)
            change_event(change, NULL, "gpu_quarantined", API__SEVERITY__SEVERITY_ERROR,
                         "worker %s: GPU %s is in quarantine: %s", member->row->name, uuid, fault);
        else if (fault == NULL && before != NULL)
            change_event(change, NULL, "gpu_back", API__SEVERITY__SEVERITY_INFO,
                         "worker %s: GPU %s is well again", member->row->name, uuid);
    }
    arena_release(&member->gpus_arena);
    member->gpus_arena = arena;
    member->gpus = now;
    if (change_is_empty(change))
        change_drop(change);
    else
        change_commit(change, NULL, NULL);
}

static void on_heartbeat(struct coordinator *coordinator, struct member *member,
                         const Wire__Heartbeat *message)
{
    Wire__HeartbeatReply reply = WIRE__HEARTBEAT_REPLY__INIT;
    reply.has_epoch = true;
    reply.epoch = coordinator->epoch;
    member->free_bytes = message->has_free_bytes ? message->free_bytes : -1;
    take_gpus(coordinator, member, message->gpus, message->n_gpus);
    if (member->attached)
        beat(coordinator, member, message->command, message->attempts, message->n_attempts);
    worker_socket_send(coordinator->socket, worker_identity(member->id), WORKER_HEARTBEAT_REPLY,
                       &reply);
}

static void keep_or_stop(struct coordinator *coordinator, struct arena *arena, uint32_t index,
                         const Wire__RunningAttempt *running, Wire__ReattachReply *reply)
{
    struct cluster_job *job = cluster_job(&coordinator->cluster, (uint64_t)running->job);
    struct hold *hold = worker_hold(&coordinator->cluster.registry.workers[index],
                                    (uint64_t)running->job, (uint64_t)running->term);
    bool keep = job != NULL && hold != NULL && job->run.term == (uint64_t)running->term &&
                job_has_attempt(job->run.state) && job->run.state != JOB_STATE_CANCELLING;
    Wire__Stamp *stamp = message_add(arena, reply, keep ? "keep" : "stop");
    stamp->has_job = stamp->has_term = stamp->has_sequence = true;
    stamp->job = running->job;
    stamp->term = running->term;
    if (keep && hold->taken != FENCE_TAKEN_UNKNOWN)
        stamp->sequence = (int64_t)hold->taken;
}

/* What is listed may be of an attempt whose end is on its way to us: its reports are still to come,
 * and each of them is judged by the fence. */
static void on_reattach(struct coordinator *coordinator, struct member *member,
                        const Wire__Reattach *message)
{
    uint32_t index;
    struct arena arena = {0};
    Wire__ReattachReply *reply = message_new(&arena, &wire__reattach_reply__descriptor);
    member->attached = true;
    beat(coordinator, member, message->command, message->attempts, message->n_attempts);
    CHECK(member_index(coordinator, member, &index));
    registry_drain(&coordinator->cluster.registry, index,
                   member->row->state == API__WORKER_STATE__WORKER_STATE_DRAINING);
    member_cached_tell(coordinator, member);
    for (size_t i = 0; i < message->n_attempts; i++)
        keep_or_stop(coordinator, &arena, index, message->attempts[i], reply);
    worker_socket_send(coordinator->socket, worker_identity(member->id), WORKER_REATTACH_REPLY,
                       reply);
    arena_release(&arena);
    log_info("worker %s attached slots %d attempts %zu", member->row->name, member->offer.slots,
             message->n_attempts);
}

static void on_assign_reply(struct coordinator *coordinator, struct member *member,
                            const Wire__AssignReply *message)
{
    if (!message->has_accepted || message->accepted)
        return;
    log_warn("worker %s does not take job %" PRId64 " term %" PRId64 ": %s", member->row->name,
             message->job, message->term, message->message != NULL ? message->message : "");
    struct job *job = job_list_find(&coordinator->jobs, (uint64_t)message->job);
    struct change *change = change_begin(coordinator);
    if (job != NULL) {
        job->failure_term = (uint64_t)message->term;
        text_replace(&job->failure_message,
                     message->message != NULL ? message->message : "the worker did not take it");
        text_replace(&job->failure_hint, NULL);
        text_replace(&job->failure_log, NULL);
    }
    cluster_refuse(&coordinator->cluster, (uint64_t)member->id, (uint64_t)message->job,
                   (uint64_t)message->term, coordinator->now_ms);
    change_commit(change, NULL, NULL);
}

/* ---- the table ------------------------------------------------------------------------------- */

void on_message(void *argument, struct identity from, const struct worker_message *row,
                const void *message)
{
    struct coordinator *coordinator = argument;
    struct member *member = member_find(coordinator, from.id);
    if (coordinator->closing || (member == NULL && from.kind == IDENTITY_WORKER))
        return;
    now_read(coordinator);
    if (row->id == WORKER_HELLO) {
        on_hello(coordinator, from, message);
        return;
    }
    if (from.kind != IDENTITY_WORKER)
        return; /* a join key may say hello and nothing else */
    switch (row->id) {
    case WORKER_OFFER:
        on_offer(coordinator, member, message);
        break;
    case WORKER_REATTACH:
        if (member->offered)
            on_reattach(coordinator, member, message);
        break;
    case WORKER_HEARTBEAT:
        on_heartbeat(coordinator, member, message);
        break;
    case WORKER_ASSIGN_REPLY:
        on_assign_reply(coordinator, member, message);
        break;
    case WORKER_SCORE_ANSWER:
        scores_answered(coordinator->scores, member->id, message);
        break;
    case WORKER_BLOB_GET:
    case WORKER_BLOB_CHUNK:
    case WORKER_BLOB_ACK:
        on_blob(coordinator, from, row, message);
        break;
    default:
        on_report(coordinator, member, row, message);
    }
}
