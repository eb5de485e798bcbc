/* SPDX-License-Identifier: Apache-2.0
 */
#include "worker/agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <zmq.h>

#include "lib/check.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "lib/memory.h"
#include "lib/pool.h"
#include "proto/message.h"
#include "worker/agent/recovery.h"

enum { CACHED_MAX = 1024, HOST_MAX = 128, DISK_LOOK_MS = 5000 };

struct agent {
    struct agent_options options;
    struct credential credential;
    struct link link;
    struct cache cache;
    struct transfer_arrivals arrivals;
    struct gpus gpus; /* none where the slots are CPUs */
    struct attempt_place place;
    struct attempt *attempts;
    struct recovery recovery; /* of a former life; while it lasts, this one takes nothing */
    char host[HOST_MAX], data[PATH_MAX], trainer[PATH_MAX], trainer_cuda[PATH_MAX];
    int lock;
    int64_t disk_ms;               /* when the free space was looked at last */
    int64_t command;               /* the greatest number of a command that arrived */
    bool draining, leaving, alone; /* alone: stop_after has passed */
};

/* ---- what is here ---------------------------------------------------------------------------- */

static struct attempt *find(struct agent *agent, int64_t job, int64_t term)
{
    for (struct attempt *it = agent->attempts; it != NULL; it = it->next)
        if (it->job == job && it->term == term)
            return it;
    return NULL;
}

static struct outbox *outbox_of(struct agent *agent, const Wire__Stamp *stamp)
{
    struct attempt *it = find(agent, stamp->job, stamp->term);
    return it != NULL ? &it->outbox : recovery_find(&agent->recovery, stamp->job, stamp->term);
}

static void list_running(struct agent *agent, struct arena *arena, void *message)
{
    recovery_list(&agent->recovery, arena, message);
    for (const struct attempt *it = agent->attempts; it != NULL; it = it->next) {
        Wire__RunningAttempt *running = message_add(arena, message, "attempts");
        running->has_job = running->has_term = running->has_step = true;
        running->has_sequence = running->has_state = true;
        running->job = it->job;
        running->term = it->term;
        running->step = it->step;
        running->sequence = it->outbox.sequence;
        running->state = attempt_state(it);
    }
}

/* −1: not known. */
static int64_t free_bytes(const struct agent *agent)
{
    struct statvfs disk;
    return statvfs(agent->data, &disk) == 0 ? (int64_t)disk.f_bavail * (int64_t)disk.f_frsize : -1;
}

/* Is a blob on its way, in or out? */
static bool transfers(const struct agent *agent)
{
    for (const struct attempt *it = agent->attempts; it != NULL; it = it->next)
        if (it->phase == ATTEMPT_FETCHING || !transfer_is_idle(&it->transfer))
            return true;
    return false;
}

/* With less than the reserve no job comes here: what the cache does not need goes before that. */
static void watch_disk(struct agent *agent, int64_t now_ms)
{
    int64_t wanted = 2 * (int64_t)WORKER_RESERVE_BYTES;
    if (now_ms - agent->disk_ms < DISK_LOOK_MS || transfers(agent))
        return;
    agent->disk_ms = now_ms;
    int64_t left = free_bytes(agent);
    if (left >= 0 && left < wanted)
        cache_relieve(&agent->cache, wanted - left);
}

static void add_gpus(const struct agent *agent, struct arena *arena, Wire__Heartbeat *beat)
{
    for (int i = 0; i < agent->gpus.count; i++) {
        const struct gpu *gpu = &agent->gpus.list[i];
        Api__Gpu *row = message_add(arena, beat, "gpus");
        row->uuid = arena_strdup(arena, gpu->uuid);
        row->name = arena_strdup(arena, gpu->name);
        row->has_memory_bytes = row->has_memory_used_bytes = true;
        row->memory_bytes = gpu->memory_bytes;
        row->memory_used_bytes = gpu->used_bytes;
        row->has_busy_percent = gpu->busy_percent >= 0;
        row->busy_percent = gpu->busy_percent;
        row->has_celsius = gpu->celsius >= 0;
        row->celsius = gpu->celsius;
        row->has_watts = gpu->watts >= 0;
        row->watts = gpu->watts;
        if (gpu->fault[0] != '\0')
            row->quarantine = arena_strdup(arena, gpu->fault);
    }
}

static void send_heartbeat(struct agent *agent)
{
    struct arena arena = {0};
    Wire__Heartbeat *beat = message_new(&arena, &wire__heartbeat__descriptor);
    beat->has_epoch = beat->has_command = beat->has_slots_busy = true;
    beat->epoch = agent->link.epoch;
    beat->command = agent->command;
    for (int64_t slot = 0; slot < agent->options.slots; slot++)
        for (const struct attempt *it = agent->attempts; it != NULL; it = it->next)
            beat->slots_busy += attempt_uses(it, slot);
    beat->free_bytes = free_bytes(agent);
    beat->has_free_bytes = beat->free_bytes >= 0;
    add_gpus(agent, &arena, beat);
    list_running(agent, &arena, beat);
    link_send(&agent->link, WORKER_HEARTBEAT, beat);
    arena_release(&arena);
}

/* ---- hello ----------------------------------------------------------------------------------- */

struct cached {
    struct arena *arena;
    char **digests;
    size_t count;
};

static void add_cached(const char *digest, void *argument)
{
    struct cached *cached = argument;
    if (cached->count < CACHED_MAX)
        cached->digests[cached->count++] = arena_strdup(cached->arena, digest);
}

static void add_labels(const struct agent *agent, struct arena *arena, Wire__Offer *offer)
{
    for (int i = 0; i < agent->options.label_count; i++) {
        const char *text = agent->options.labels[i];
        Api__Label *label = message_add(arena, offer, "labels");
        label->key = arena_strndup(arena, text, strcspn(text, "="));
        label->value = arena_strdup(arena, strchr(text, '=') + 1);
    }
}

/* Those that may be had: what runs on a GPU in quarantine holds its slot until it ends. */
static int64_t slots_to_offer(const struct agent *agent)
{
    int64_t slots = agent->options.slots;
    if (!recovery_is_over(&agent->recovery))
        return 0;
    if (agent->options.trainer_cuda == NULL)
        return slots;
    int64_t healthy = gpus_healthy(&agent->gpus);
    return healthy < slots ? healthy : slots;
}

/* Workers that offer the same compute the same bits, whatever the dtype: in bf16 matrix
 * instructions have sums of their own, where all other processors agree. GPUs are of one kind:
 * gpus.h. */
static char *numerics_of(const struct agent *agent, struct arena *arena, const char *isa)
{
    if (agent->gpus.count == 0)
        return strcmp(isa, "amx") == 0 ? "cpu-amx" : "cpu";
    char *name = arena_printf(arena, "cuda-%s", agent->gpus.list[0].name);
    for (char *at = name; *at != '\0'; at++)
        *at = *at == ' ' ? '-' : *at;
    return name;
}

static void send_offer(struct agent *agent, struct arena *arena)
{
    Wire__Offer *offer = message_new(arena, &wire__offer__descriptor);
    struct cached cached = {arena, arena_array(arena, char *, CACHED_MAX), 0};
    offer->has_slots = offer->has_cores = offer->has_memory_bytes = true;
    offer->pool = (char *)agent->options.pool; /* protobuf-c knows no const */
    offer->slots = slots_to_offer(agent);
    offer->has_gpus = true;
    offer->gpus = agent->gpus.count;
    offer->isa = (char *)isa_best();
    offer->numerics = numerics_of(agent, arena, offer->isa);
    offer->cores = cpu_count();
    offer->memory_bytes = (int64_t)memory_total("");
    offer->address =
        (char *)(agent->options.address != NULL ? agent->options.address : agent->host);
    add_labels(agent, arena, offer);
    cache_each_input(&agent->cache, add_cached, &cached);
    offer->cached = cached.digests;
    offer->n_cached = cached.count;
    link_send(&agent->link, WORKER_OFFER, offer);
}

static void on_up(void *argument)
{
    struct agent *agent = argument;
    struct arena arena = {0};
    send_offer(agent, &arena);
    Wire__Reattach *reattach = message_new(&arena, &wire__reattach__descriptor);
    reattach->has_epoch = reattach->has_command = true;
    reattach->epoch = agent->link.epoch;
    reattach->command = agent->command;
    list_running(agent, &arena, reattach);
    link_send(&agent->link, WORKER_REATTACH, reattach);
    arena_release(&arena);
    agent->arrivals = (struct transfer_arrivals){0};
    for (struct attempt *it = agent->attempts; it != NULL; it = it->next) {
        transfer_again(&it->transfer);
        if (it->serving != NULL)
            transfer_again(serving_transfer(it->serving));
        outbox_again(
            &it->outbox); /* before any newer one: a coordinator takes the first for the oldest */
    }
    agent->alone = false;
}

static void on_reattached(struct agent *agent, const Wire__ReattachReply *reply, int64_t now_ms)
{
    for (size_t i = 0; i < reply->n_keep; i++) {
        struct outbox *outbox = outbox_of(agent, reply->keep[i]);
        if (outbox != NULL)
            outbox_ack(outbox, reply->keep[i]->sequence);
    }
    for (size_t i = 0; i < reply->n_stop; i++) {
        struct attempt *it = find(agent, reply->stop[i]->job, reply->stop[i]->term);
        if (it != NULL)
            attempt_stop(it, WISH_CANCEL, now_ms);
    }
    for (struct attempt *it = agent->attempts; it != NULL; it = it->next)
        outbox_again(&it->outbox);
    recovery_again(&agent->recovery);
}

/* ---- commands -------------------------------------------------------------------------------- */

static void saw(struct agent *agent, int64_t command)
{
    agent->command = command > agent->command ? command : agent->command;
}

static enum status take_assign(struct agent *agent, const Wire__Assign *assign, struct error *error)
{
    struct attempt *attempt;
    if (agent->leaving || agent->draining)
        return error_set(error, STATUS_CONFLICT, "this worker takes nothing new");
    for (size_t i = 0; i < assign->n_slots; i++)
        for (const struct attempt *it = agent->attempts; it != NULL; it = it->next)
            if (attempt_uses(it, assign->slots[i]))
                return error_set(error, STATUS_CONFLICT,
                                 "slot %" PRId64 " has job %" PRId64 " still", assign->slots[i],
                                 it->job);
    TRY(attempt_create(&agent->place, assign, &attempt, error));
    attempt->next = agent->attempts;
    agent->attempts = attempt;
    return STATUS_OK;
}

static void on_assign(struct agent *agent, const Wire__Assign *assign)
{
    struct error error;
    Wire__AssignReply reply = WIRE__ASSIGN_REPLY__INIT;
    if (!recovery_is_over(&agent->recovery))
        return; /* it comes again, to the life that follows */
    saw(agent, assign->command);
    reply.has_job = reply.has_term = reply.has_accepted = true;
    reply.job = assign->job;
    reply.term = assign->term;
    reply.accepted = true;
    if (find(agent, assign->job, assign->term) == NULL &&
        take_assign(agent, assign, &error) != STATUS_OK) {
        reply.accepted = false;
        reply.message = error.text;
        log_warn("job %" PRId64 " is not taken: %s", assign->job, error.text);
    }
    link_send(&agent->link, WORKER_ASSIGN_REPLY, &reply);
}

static void on_stop(struct agent *agent, int64_t command, int64_t job, int64_t term,
                    enum attempt_wish wish)
{
    struct attempt *it = find(agent, job, term);
    saw(agent, command);
    if (it != NULL)
        attempt_stop(it, wish, monotonic_ms());
}

static void on_ack(struct agent *agent, const Wire__Ack *ack)
{
    if (ack->stamp == NULL || ack->result == WIRE__ACK_RESULT__ACK_RESULT_BUSY)
        return;
    struct attempt *it = find(agent, ack->stamp->job, ack->stamp->term);
    struct outbox *outbox = outbox_of(agent, ack->stamp);
    if (outbox == NULL)
        return;
    bool stale = ack->result == WIRE__ACK_RESULT__ACK_RESULT_FENCED ||
                 ack->result == WIRE__ACK_RESULT__ACK_RESULT_UNKNOWN;
    if (ack->result == WIRE__ACK_RESULT__ACK_RESULT_REFUSED)
        log_warn("a report of job %" PRId64 " is refused: %s", outbox->job,
                 ack->message != NULL ? ack->message : "");
    outbox_ack(outbox, ack->stamp->sequence);
    if (stale && it != NULL)
        attempt_stop(it, WISH_CANCEL, monotonic_ms());
}

static void on_blob(struct agent *agent, const struct worker_message *row, const void *message)
{
    for (struct attempt *it = agent->attempts; it != NULL; it = it->next) {
        struct transfer *both[] = {&it->transfer,
                                   it->serving != NULL ? serving_transfer(it->serving) : NULL};
        for (int i = 0; i < 2 && both[i] != NULL; i++) {
            if (row->id == WORKER_BLOB_CHUNK)
                transfer_on_chunk(both[i], message);
            else
                transfer_on_ack(both[i], message);
        }
    }
}

static void on_score(struct agent *agent, const Wire__ScoreAsk *ask)
{
    struct attempt *it = find(agent, ask->job, ask->term);
    if (it != NULL && it->serving != NULL)
        serving_take(it->serving, it, ask);
    else
        serving_refuse(&agent->link, ask, "the serve job does not run here any more");
}

static void on_message(void *argument, const struct worker_message *row, void *message)
{
    struct agent *agent = argument;
    const Wire__Cancel *cancel = message;
    const Wire__Pause *pause = message;
    const Wire__BlobForget *forget = message;
    switch (row->id) {
    case WORKER_ASSIGN:
        on_assign(agent, message);
        break;
    case WORKER_CANCEL:
        on_stop(agent, cancel->command, cancel->job, cancel->term, WISH_CANCEL);
        break;
    case WORKER_PAUSE:
        on_stop(agent, pause->command, pause->job, pause->term, WISH_PAUSE);
        break;
    case WORKER_DRAIN:
        agent->draining = !((const Wire__Drain *)message)->undo;
        log_info("%s", agent->draining ? "draining" : "takes jobs again");
        break;
    case WORKER_ACK:
        on_ack(agent, message);
        break;
    case WORKER_REATTACH_REPLY:
        on_reattached(agent, message, monotonic_ms());
        break;
    case WORKER_BLOB_CHUNK:
    case WORKER_BLOB_ACK:
        on_blob(agent, row, message);
        break;
    case WORKER_SCORE_ASK:
        on_score(agent, message);
        break;
    case WORKER_BLOB_FORGET:
        for (size_t i = 0; i < forget->n_digests; i++)
            cache_forget(&agent->cache, forget->digests[i]);
        break;
    default:
        log_debug("a %s has nothing to say to a worker", row->name);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

static enum status lock(struct agent *agent, struct error *error)
{
    char path[PATH_MAX];
    path_join(path, sizeof(path), agent->data, "lock");
    agent->lock = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (agent->lock < 0)
        return error_set(error, STATUS_IO, "%s: %s", path, strerror(errno));
    if (flock(agent->lock, LOCK_EX | LOCK_NB) != 0)
        return error_set(error, STATUS_CONFLICT, "%s: another worker runs in it", agent->data);
    return STATUS_OK;
}

/* Runs of a former life: their processes are gone, their checkpoints are in the store. */
static enum status runs_clear(struct agent *agent, struct error *error)
{
    char path[PATH_MAX];
    path_join(path, sizeof(path), agent->data, "runs");
    if (dir_exists(path))
        TRY(dir_remove(path, error));
    return dir_create(path, error);
}

static enum status open_parts(struct agent *agent, struct error *error)
{
    const struct agent_options *options = &agent->options;
    TRY(dir_create(options->data, error));
    if (realpath(options->data, agent->data) == NULL ||
        realpath(options->trainer, agent->trainer) == NULL)
        return error_set(error, STATUS_NOT_FOUND, "%s or %s: %s", options->data, options->trainer,
                         strerror(errno));
    if (options->trainer_cuda != NULL) {
        if (realpath(options->trainer_cuda, agent->trainer_cuda) == NULL)
            return error_set(error, STATUS_NOT_FOUND, "%s: %s", options->trainer_cuda,
                             strerror(errno));
        gpus_open(&agent->gpus);
    }
    TRY(lock(agent, error));
    TRY(runs_clear(agent, error));
    TRY(cache_open(&agent->cache, agent->data, options->cache_bytes, error));
    TRY(credential_open(agent->data, options->join, &agent->credential, error));
    TRY(recovery_open(&agent->recovery, agent->data, error));
    agent->place = (struct attempt_place){
        .data = agent->data,
        .trainer = agent->trainer,
        .trainer_cuda = options->trainer_cuda != NULL ? agent->trainer_cuda : NULL,
        .gpus = &agent->gpus,
        .cache = &agent->cache,
        .arrivals = &agent->arrivals,
        .link = &agent->link,
        .slots = options->slots,
        .pause_grace_ms = options->pause_grace_ms};
    const struct link_options link = {.data = agent->data,
                                      .name = options->name != NULL ? options->name : agent->host,
                                      .host = agent->host,
                                      .boot = agent->recovery.boot};
    agent->link.on_message = on_message;
    agent->link.on_up = on_up;
    agent->link.argument = agent;
    return link_open(&agent->link, &agent->credential, &link, monotonic_ms(), error);
}

enum status agent_open(const struct agent_options *options, struct agent **agent_out,
                       struct error *error)
{
    struct agent *agent = mem_alloc(sizeof(*agent));
    agent->options = *options;
    agent->lock = -1;
    if (gethostname(agent->host, sizeof(agent->host) - 1) != 0 || agent->host[0] == '\0')
        snprintf(agent->host, sizeof(agent->host), "unknown");
    enum status status = open_parts(agent, error);
    if (status != STATUS_OK) {
        agent_close(agent);
        return status;
    }
    *agent_out = agent;
    return STATUS_OK;
}

void agent_close(struct agent *agent)
{
    while (agent->attempts != NULL) {
        struct attempt *it = agent->attempts;
        agent->attempts = it->next;
        attempt_free(it);
    }
    recovery_close(&agent->recovery);
    gpus_close(&agent->gpus);
    link_close(&agent->link);
    if (agent->lock >= 0)
        close(agent->lock);
    mem_free(agent);
}

/* ---- the loop -------------------------------------------------------------------------------- */

enum { POLL_MAX = 3 * RANKS_MAX + 1 };

static int add_pipe(zmq_pollitem_t *items, int count, int fd, short events)
{
    if (fd >= 0 && count < POLL_MAX)
        items[count++] = (zmq_pollitem_t){.fd = fd, .events = events};
    return count;
}

static void await(struct agent *agent, int64_t wait_ms)
{
    zmq_pollitem_t items[POLL_MAX];
    int count = 0;
    items[count++] = (zmq_pollitem_t){.socket = agent->link.socket, .events = ZMQ_POLLIN};
    for (const struct attempt *it = agent->attempts; it != NULL; it = it->next) {
        for (int i = 0; i < it->rank_count; i++) {
            count = add_pipe(items, count, it->ranks[i].process.printed, ZMQ_POLLIN);
            count = add_pipe(items, count, it->ranks[i].process.reports, ZMQ_POLLIN);
            if (it->serving != NULL && serving_writes(it->serving))
                count = add_pipe(items, count, it->ranks[i].process.requests, ZMQ_POLLOUT);
        }
    }
    zmq_poll(items, count, (long)wait_ms); /* woken by a signal too */
}

/* Nothing heard for so long: others may have this worker's jobs; what trains here ends. */
static void watch_silence(struct agent *agent, int64_t now_ms)
{
    const struct link *link = &agent->link;
    if (agent->alone || link->stop_after_ms <= 0 || now_ms - link->heard_ms < link->stop_after_ms)
        return;
    agent->alone = true;
    log_warn("the coordinator is away for %" PRId64 " s: stopping what runs",
             link->stop_after_ms / 1000);
    for (struct attempt *it = agent->attempts; it != NULL; it = it->next)
        attempt_stop(it, WISH_LEAVE, now_ms);
}

static void turn_attempts(struct agent *agent, int64_t now_ms)
{
    for (struct attempt **place = &agent->attempts; *place != NULL;) {
        struct attempt *it = *place;
        attempt_turn(it, now_ms);
        if (!attempt_is_over(it)) {
            place = &it->next;
            continue;
        }
        *place = it->next;
        attempt_free(it);
    }
}

static void watch_gpus(struct agent *agent, int64_t now_ms)
{
    struct arena arena = {0};
    if (gpus_turn(&agent->gpus, now_ms) && agent->link.up)
        send_offer(agent, &arena);
    arena_release(&arena);
}

/* When all is told, the worker introduces itself anew: what else it ran is known to be dead. */
static enum status recover(struct agent *agent, int64_t now_ms, struct error *error)
{
    TRY(recovery_turn(&agent->recovery, &agent->link, now_ms, error));
    if (recovery_is_over(&agent->recovery))
        link_renew(&agent->link, agent->recovery.boot);
    return STATUS_OK;
}

enum status agent_turn(struct agent *agent, int64_t wait_ms, struct error *error)
{
    await(agent, wait_ms);
    int64_t now_ms = monotonic_ms();
    link_turn(&agent->link, now_ms);
    if (agent->link.refused) {
        *error = agent->link.refusal;
        return STATUS_DENIED;
    }
    watch_silence(agent, now_ms);
    if (!recovery_is_over(&agent->recovery))
        TRY(recover(agent, now_ms, error));
    turn_attempts(agent, now_ms);
    watch_disk(agent, now_ms);
    watch_gpus(agent, now_ms);
    if (link_beat(&agent->link, now_ms))
        send_heartbeat(agent);
    return STATUS_OK;
}

void agent_leave(struct agent *agent)
{
    agent->leaving = true;
    for (struct attempt *it = agent->attempts; it != NULL; it = it->next)
        attempt_stop(it, WISH_LEAVE, monotonic_ms());
}

bool agent_is_idle(const struct agent *agent)
{
    return agent->attempts == NULL;
}
