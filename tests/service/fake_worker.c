/* SPDX-License-Identifier: Apache-2.0
 *
 * One attempt's messages go out in order; one that was sent and not acknowledged for RESEND_MS
 * takes all behind it along again.
 */
#include "tests/service/fake_worker.h"

#include <stdio.h>
#include <string.h>
#include <zmq.h>

#include "lib/check.h"
#include "lib/limits.h"
#include "lib/sha256.h"

enum { RESEND_MS = 300, HELLO_MS = 500 };

static void to_z85(const uint8_t *key, char out[41])
{
    CHECK(zmq_z85_encode(out, key, CURVE_KEY_SIZE) != NULL);
}

static void key_pair(uint8_t *public_key, uint8_t *secret_key)
{
    char public_text[41], secret_text[41];
    CHECK(zmq_curve_keypair(public_text, secret_text) == 0);
    zmq_z85_decode(public_key, public_text);
    zmq_z85_decode(secret_key, secret_text);
}

static void option_int(void *socket, int option, int value)
{
    CHECK(zmq_setsockopt(socket, option, &value, sizeof(value)) == 0);
}

/* With its own key, or with the token's. */
static void dial(struct fake_worker *worker)
{
    char endpoint[JOIN_ADDRESS_MAX + 8], public_text[41], secret_text[41];
    uint8_t secret[CURVE_KEY_SIZE];
    if (worker->socket != NULL)
        zmq_close(worker->socket);
    worker->socket = zmq_socket(worker->context, ZMQ_DEALER);
    CHECK(worker->socket != NULL);
    memcpy(secret, worker->joined ? worker->secret_key : worker->token.secret, sizeof(secret));
    to_z85(secret, secret_text);
    CHECK(zmq_curve_public(public_text, secret_text) == 0);
    option_int(worker->socket, ZMQ_LINGER, 0);
    option_int(worker->socket, ZMQ_RECONNECT_IVL, 50);
    zmq_setsockopt(worker->socket, ZMQ_CURVE_SERVERKEY, worker->token.server_key, CURVE_KEY_SIZE);
    zmq_setsockopt(worker->socket, ZMQ_CURVE_PUBLICKEY, public_text, 41);
    zmq_setsockopt(worker->socket, ZMQ_CURVE_SECRETKEY, secret_text, 41);
    snprintf(endpoint, sizeof(endpoint), "tcp://%s", worker->token.address);
    CHECK(zmq_connect(worker->socket, endpoint) == 0);
    worker->attached = false;
    worker->hello_ms = 0;
}

struct fake_worker *fake_worker_create(const char *token, const char *name, int64_t slots)
{
    struct error error;
    struct fake_worker *worker = mem_alloc(sizeof(*worker));
    *worker = (struct fake_worker){.slots = slots, .boot = 1, .heartbeat_ms = 50};
    snprintf(worker->name, sizeof(worker->name), "%s", name);
    if (join_token_parse(token, &worker->token, &error) != STATUS_OK) {
        fprintf(stderr, "%s\n", error.text);
        CHECK(false);
    }
    key_pair(worker->public_key, worker->secret_key);
    worker->context = zmq_ctx_new();
    dial(worker);
    return worker;
}

static void attempt_drop(struct fake_worker *worker, struct fake_attempt *attempt)
{
    for (int i = 0; i < attempt->outbox_count; i++)
        buf_release(&attempt->outbox[i].bytes);
    size_t at = (size_t)(attempt - worker->attempts);
    memmove(attempt, attempt + 1,
            ((size_t)worker->attempt_count - at - 1) * sizeof(struct fake_attempt));
    worker->attempt_count--;
}

void fake_worker_free(struct fake_worker *worker)
{
    while (worker->attempt_count > 0)
        attempt_drop(worker, &worker->attempts[0]);
    zmq_close(worker->socket);
    zmq_ctx_term(worker->context);
    buf_release(&worker->blob);
    mem_free(worker);
}

void fake_worker_restart(struct fake_worker *worker)
{
    while (worker->attempt_count > 0)
        attempt_drop(worker, &worker->attempts[0]);
    worker->boot++;
    worker->command = 0;
    dial(worker);
}

void fake_worker_reconnect(struct fake_worker *worker, const char *address)
{
    snprintf(worker->token.address, sizeof(worker->token.address), "%s", address);
    dial(worker);
}

/* ---- sending --------------------------------------------------------------------------------- */

void fake_send_bytes(struct fake_worker *worker, const void *bytes, size_t length)
{
    if (!worker->deaf)
        zmq_send(worker->socket, bytes, length, ZMQ_DONTWAIT);
}

void fake_send(struct fake_worker *worker, enum worker_message_id id, const void *message)
{
    struct buf bytes = {0};
    worker_message_pack(id, message, &bytes);
    fake_send_bytes(worker, bytes.data, bytes.length);
    buf_release(&bytes);
}

static void send_hello(struct fake_worker *worker)
{
    Wire__Hello hello = WIRE__HELLO__INIT;
    hello.has_version = hello.has_version_min = hello.has_boot = true;
    hello.version = WORKER_VERSION;
    hello.version_min = WORKER_VERSION_MIN;
    hello.software = "fake";
    hello.name = hello.host = worker->name;
    hello.boot = worker->boot;
    hello.has_public_key = !worker->joined;
    hello.public_key = (ProtobufCBinaryData){CURVE_KEY_SIZE, worker->public_key};
    fake_send(worker, WORKER_HELLO, &hello);
}

static Wire__RunningAttempt **running_list(struct fake_worker *worker, struct arena *arena)
{
    Wire__RunningAttempt **list =
        arena_array(arena, Wire__RunningAttempt *, worker->attempt_count + 1);
    for (int i = 0; i < worker->attempt_count; i++) {
        struct fake_attempt *attempt = &worker->attempts[i];
        list[i] = message_new(arena, &wire__running_attempt__descriptor);
        list[i]->has_job = list[i]->has_term = list[i]->has_step = list[i]->has_sequence = true;
        list[i]->has_state = true;
        list[i]->job = attempt->job;
        list[i]->term = attempt->term;
        list[i]->step = attempt->step;
        list[i]->sequence = attempt->sequence;
        list[i]->state = attempt->running ? API__ATTEMPT_STATE__ATTEMPT_STATE_RUNNING
                                          : API__ATTEMPT_STATE__ATTEMPT_STATE_STARTING;
    }
    return list;
}

static void send_heartbeat(struct fake_worker *worker)
{
    struct arena arena = {0};
    Wire__Heartbeat beat = WIRE__HEARTBEAT__INIT;
    beat.has_epoch = beat.has_command = true;
    beat.epoch = worker->epoch;
    beat.command = worker->command;
    beat.attempts = running_list(worker, &arena);
    beat.n_attempts = (size_t)worker->attempt_count;
    fake_send(worker, WORKER_HEARTBEAT, &beat);
    arena_release(&arena);
}

static void send_offer_and_reattach(struct fake_worker *worker)
{
    struct arena arena = {0};
    Wire__Offer offer = WIRE__OFFER__INIT;
    Wire__Reattach reattach = WIRE__REATTACH__INIT;
    offer.has_slots = offer.has_cores = offer.has_memory_bytes = true;
    offer.slots = offer.cores = worker->slots;
    offer.memory_bytes = 1 << 30;
    offer.pool = "default";
    offer.numerics = "fake-1";
    offer.address = "127.0.0.1";
    fake_send(worker, WORKER_OFFER, &offer);
    reattach.has_epoch = reattach.has_command = true;
    reattach.epoch = worker->epoch;
    reattach.command = worker->command;
    reattach.attempts = running_list(worker, &arena);
    reattach.n_attempts = (size_t)worker->attempt_count;
    fake_send(worker, WORKER_REATTACH, &reattach);
    arena_release(&arena);
}

/* ---- attempts -------------------------------------------------------------------------------- */

struct fake_attempt *fake_attempt(struct fake_worker *worker, int64_t job, int64_t term)
{
    for (int i = 0; i < worker->attempt_count; i++)
        if (worker->attempts[i].job == job && worker->attempts[i].term == term)
            return &worker->attempts[i];
    return NULL;
}

struct fake_attempt *fake_newest(struct fake_worker *worker, int64_t job)
{
    struct fake_attempt *newest = NULL;
    for (int i = 0; i < worker->attempt_count; i++)
        if (worker->attempts[i].job == job &&
            (newest == NULL || worker->attempts[i].term > newest->term))
            newest = &worker->attempts[i];
    return newest;
}

static void put_stamped(struct fake_attempt *attempt, enum worker_message_id id,
                        Wire__Stamp **place, const void *message)
{
    Wire__Stamp stamp = WIRE__STAMP__INIT;
    CHECK(attempt->outbox_count < FAKE_OUTBOX_MAX);
    stamp.has_job = stamp.has_term = stamp.has_sequence = true;
    stamp.job = attempt->job;
    stamp.term = attempt->term;
    stamp.sequence = ++attempt->sequence;
    *place = &stamp;
    struct fake_message *entry = &attempt->outbox[attempt->outbox_count++];
    *entry = (struct fake_message){.sequence = stamp.sequence};
    worker_message_pack(id, message, &entry->bytes);
    *place = NULL;
}

void fake_report(struct fake_worker *worker, struct fake_attempt *attempt,
                 const Wire__AttemptReport *what)
{
    Wire__AttemptReport report = *what;
    (void)worker;
    put_stamped(attempt, WORKER_ATTEMPT_REPORT, &report.stamp, &report);
    attempt->running = report.state == API__ATTEMPT_STATE__ATTEMPT_STATE_RUNNING;
    attempt->succeeded |= report.state == API__ATTEMPT_STATE__ATTEMPT_STATE_SUCCEEDED;
    attempt->over |= report.state == API__ATTEMPT_STATE__ATTEMPT_STATE_SUCCEEDED ||
                     report.state == API__ATTEMPT_STATE__ATTEMPT_STATE_FAILED ||
                     report.state == API__ATTEMPT_STATE__ATTEMPT_STATE_STOPPED;
}

void fake_state(struct fake_worker *worker, struct fake_attempt *attempt, Api__AttemptState state)
{
    Wire__AttemptReport report = WIRE__ATTEMPT_REPORT__INIT;
    report.has_state = report.has_step = true;
    report.state = state;
    report.step = attempt->step;
    fake_report(worker, attempt, &report);
}

void fake_fail(struct fake_worker *worker, struct fake_attempt *attempt, Api__FailureClass failure,
               const char *message)
{
    Wire__AttemptReport report = WIRE__ATTEMPT_REPORT__INIT;
    report.has_state = report.has_failure_class = true;
    report.state = API__ATTEMPT_STATE__ATTEMPT_STATE_FAILED;
    report.failure_class = failure;
    report.failure_message = (char *)message;
    fake_report(worker, attempt, &report);
}

void fake_checkpoint(struct fake_worker *worker, struct fake_attempt *attempt, int64_t step,
                     const char *manifest)
{
    Wire__CheckpointReport report = WIRE__CHECKPOINT_REPORT__INIT;
    (void)worker;
    report.has_step = report.has_bytes = true;
    report.step = attempt->step = step;
    report.bytes = 1000;
    report.manifest = (char *)manifest;
    put_stamped(attempt, WORKER_CHECKPOINT_REPORT, &report.stamp, &report);
}

void fake_model(struct fake_worker *worker, struct fake_attempt *attempt, const char *manifest)
{
    Wire__ModelReport report = WIRE__MODEL_REPORT__INIT;
    (void)worker;
    report.has_bytes = true;
    report.bytes = 2000;
    report.manifest = (char *)manifest;
    report.template_ = "plain";
    put_stamped(attempt, WORKER_MODEL_REPORT, &report.stamp, &report);
}

void fake_result(struct fake_worker *worker, struct fake_attempt *attempt, const char *manifest,
                 const char *figures)
{
    Wire__ResultReport report = WIRE__RESULT_REPORT__INIT;
    (void)worker;
    report.has_bytes = true;
    report.bytes = 100;
    report.manifest = (char *)manifest;
    report.figures = (char *)figures;
    put_stamped(attempt, WORKER_RESULT_REPORT, &report.stamp, &report);
}

void fake_metrics(struct fake_worker *worker, struct fake_attempt *attempt, int64_t step,
                  double loss)
{
    Wire__Metric metric = WIRE__METRIC__INIT, *list[] = {&metric};
    Wire__MetricReport report = WIRE__METRIC_REPORT__INIT;
    metric.name = "loss";
    metric.has_value = true;
    metric.value = loss;
    report.has_job = report.has_term = report.has_step = true;
    report.job = attempt->job;
    report.term = attempt->term;
    report.step = step;
    report.metrics = list;
    report.n_metrics = 1;
    fake_send(worker, WORKER_METRIC_REPORT, &report);
}

void fake_log(struct fake_worker *worker, struct fake_attempt *attempt, const char *line)
{
    char *lines[] = {(char *)line};
    Wire__LogReport report = WIRE__LOG_REPORT__INIT;
    report.has_job = report.has_term = report.has_rank = true;
    report.job = attempt->job;
    report.term = attempt->term;
    report.lines = lines;
    report.n_lines = 1;
    fake_send(worker, WORKER_LOG_REPORT, &report);
}

void fake_upload(struct fake_worker *worker, const char *tenant, const void *data, size_t length,
                 char digest_out[65])
{
    Wire__BlobChunk chunk = WIRE__BLOB_CHUNK__INIT;
    sha256_hex(data, length, digest_out);
    chunk.tenant = (char *)tenant;
    chunk.digest = digest_out;
    chunk.has_offset = chunk.has_size = chunk.has_data = true;
    chunk.size = (int64_t)length;
    chunk.data = (ProtobufCBinaryData){length, (uint8_t *)data};
    worker->blob_complete = false;
    worker->blob_message[0] = '\0';
    fake_send(worker, WORKER_BLOB_CHUNK, &chunk);
}

/* ---- receiving ------------------------------------------------------------------------------- */

static void see_command(struct fake_worker *worker, int64_t command)
{
    if (command > worker->command)
        worker->command = command;
}

static void on_assign(struct fake_worker *worker, const Wire__Assign *assign)
{
    Wire__AssignReply reply = WIRE__ASSIGN_REPLY__INIT;
    see_command(worker, assign->command);
    worker->assigns++;
    reply.has_job = reply.has_term = reply.has_accepted = true;
    reply.job = assign->job;
    reply.term = assign->term;
    reply.accepted = !worker->refuses;
    reply.message = worker->refuses ? "no room" : NULL;
    fake_send(worker, WORKER_ASSIGN_REPLY, &reply);
    if (worker->refuses || fake_attempt(worker, assign->job, assign->term) != NULL)
        return;
    CHECK(worker->attempt_count < FAKE_ATTEMPTS_MAX);
    struct fake_attempt *attempt = &worker->attempts[worker->attempt_count++];
    *attempt = (struct fake_attempt){.job = assign->job,
                                     .term = assign->term,
                                     .world = assign->world,
                                     .count = assign->n_ranks,
                                     .peers = assign->n_peers,
                                     .manifests = assign->n_manifests,
                                     .parts = assign->n_parts,
                                     .shard = assign->shard,
                                     .shards = assign->shards};
    for (size_t i = 0; i < assign->n_ranks && i < 8; i++) {
        attempt->ranks[i] = assign->ranks[i];
        attempt->slots[i] = assign->slots[i];
    }
    snprintf(attempt->spec, sizeof(attempt->spec), "%s", assign->spec != NULL ? assign->spec : "");
    snprintf(attempt->tenant, sizeof(attempt->tenant), "%s", assign->tenant);
    if (assign->checkpoint != NULL)
        snprintf(attempt->checkpoint, sizeof(attempt->checkpoint), "%s", assign->checkpoint);
    if (worker->automatic)
        fake_state(worker, attempt, API__ATTEMPT_STATE__ATTEMPT_STATE_RUNNING);
}

static void on_stop(struct fake_worker *worker, int64_t job, int64_t term, bool pause)
{
    struct fake_attempt *attempt = fake_attempt(worker, job, term);
    if (attempt == NULL)
        return;
    attempt->paused |= pause;
    attempt->cancelled |= !pause;
    if (worker->automatic && !attempt->over)
        fake_state(worker, attempt, API__ATTEMPT_STATE__ATTEMPT_STATE_STOPPED);
}

static void on_ack(struct fake_worker *worker, const Wire__Ack *ack)
{
    struct fake_attempt *attempt = fake_attempt(worker, ack->stamp->job, ack->stamp->term);
    if ((int)ack->result < 7)
        worker->acks[ack->result]++;
    if (ack->message != NULL)
        snprintf(worker->ack_message, sizeof(worker->ack_message), "%s", ack->message);
    if (attempt == NULL)
        return;
    bool fenced = ack->result == WIRE__ACK_RESULT__ACK_RESULT_FENCED;
    while (attempt->outbox_count > 0 && attempt->outbox[0].sequence <= ack->stamp->sequence) {
        buf_release(&attempt->outbox[0].bytes);
        attempt->outbox_count--;
        memmove(&attempt->outbox[0], &attempt->outbox[1],
                (size_t)attempt->outbox_count * sizeof(attempt->outbox[0]));
    }
    bool recorded = ack->result == WIRE__ACK_RESULT__ACK_RESULT_COMMITTED ||
                    ack->result == WIRE__ACK_RESULT__ACK_RESULT_DUPLICATE;
    if (attempt->outbox_count == 0 && attempt->succeeded && recorded) {
        CHECK(worker->finished_count < FAKE_FINISHED_MAX);
        worker->finished[worker->finished_count++] = attempt->job;
    }
    if (attempt->outbox_count == 0 && attempt->over)
        attempt_drop(worker, attempt);
    else if (fenced && !attempt->over)
        fake_state(worker, attempt, API__ATTEMPT_STATE__ATTEMPT_STATE_STOPPED);
}

static void on_welcome(struct fake_worker *worker, const Wire__Welcome *welcome)
{
    worker->id = welcome->worker;
    worker->epoch = welcome->epoch;
    if (!worker->joined) {
        worker->joined = true;
        dial(worker);
        return;
    }
    worker->attached = true;
    send_offer_and_reattach(worker);
}

static void on_reattached(struct fake_worker *worker, const Wire__ReattachReply *reply)
{
    for (int i = 0; i < worker->attempt_count; i++)
        for (int k = 0; k < worker->attempts[i].outbox_count; k++)
            worker->attempts[i].outbox[k].sent_ms = 0;
    for (size_t i = 0; i < reply->n_stop; i++)
        on_stop(worker, reply->stop[i]->job, reply->stop[i]->term, false);
}

static void take(struct fake_worker *worker, const struct worker_message *row, void *message)
{
    switch (row->id) {
    case WORKER_WELCOME:
        on_welcome(worker, message);
        break;
    case WORKER_REFUSAL:
        snprintf(worker->refusal, sizeof(worker->refusal), "%s",
                 ((Wire__Refusal *)message)->message);
        break;
    case WORKER_HEARTBEAT_REPLY:
        if (((Wire__HeartbeatReply *)message)->epoch != worker->epoch)
            worker->attached = false;
        break;
    case WORKER_ASSIGN:
        on_assign(worker, message);
        break;
    case WORKER_CANCEL:
        worker->cancels++;
        see_command(worker, ((Wire__Cancel *)message)->command);
        on_stop(worker, ((Wire__Cancel *)message)->job, ((Wire__Cancel *)message)->term, false);
        break;
    case WORKER_PAUSE:
        worker->pauses++;
        see_command(worker, ((Wire__Pause *)message)->command);
        on_stop(worker, ((Wire__Pause *)message)->job, ((Wire__Pause *)message)->term, true);
        break;
    case WORKER_DRAIN:
        worker->drains++;
        break;
    case WORKER_ACK:
        on_ack(worker, message);
        break;
    case WORKER_REATTACH_REPLY:
        on_reattached(worker, message);
        break;
    case WORKER_BLOB_ACK:
        worker->blob_offset = ((Wire__BlobAck *)message)->offset;
        worker->blob_complete = ((Wire__BlobAck *)message)->complete;
        if (((Wire__BlobAck *)message)->message != NULL)
            snprintf(worker->blob_message, sizeof(worker->blob_message), "%s",
                     ((Wire__BlobAck *)message)->message);
        break;
    case WORKER_BLOB_CHUNK:
        buf_clear(&worker->blob);
        buf_append(&worker->blob, ((Wire__BlobChunk *)message)->data.data,
                   ((Wire__BlobChunk *)message)->data.len);
        worker->blob_size = ((Wire__BlobChunk *)message)->size;
        break;
    default:
        CHECK(false); /* nothing else is the coordinator's to send */
    }
}

static bool receive(struct fake_worker *worker)
{
    struct arena arena = {0};
    struct error error;
    const struct worker_message *row;
    void *message;
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    bool got = zmq_msg_recv(&frame, worker->socket, ZMQ_DONTWAIT) >= 0;
    if (got && !worker->deaf) {
        enum status status =
            worker_message_unpack(&arena, WORKER_FROM_COORDINATOR, zmq_msg_data(&frame),
                                  zmq_msg_size(&frame), &row, &message, &error);
        if (status != STATUS_OK)
            fprintf(stderr, "fake worker: %s\n", error.text);
        CHECK(status == STATUS_OK);
        take(worker, row, message);
    }
    zmq_msg_close(&frame);
    arena_release(&arena);
    return got;
}

static void send_outbox(struct fake_worker *worker, struct fake_attempt *attempt, int64_t now_ms)
{
    bool again = attempt->outbox_count > 0 && attempt->outbox[0].sent_ms != 0 &&
                 now_ms - attempt->outbox[0].sent_ms >= RESEND_MS;
    for (int i = 0; i < attempt->outbox_count; i++) {
        struct fake_message *entry = &attempt->outbox[i];
        if (entry->sent_ms == 0 || again) {
            fake_send_bytes(worker, entry->bytes.data, entry->bytes.length);
            entry->sent_ms = now_ms;
        }
    }
}

void fake_worker_turn(struct fake_worker *worker, int64_t now_ms)
{
    while (receive(worker)) {
    }
    if (worker->silent)
        return;
    if (!worker->attached) {
        if (now_ms - worker->hello_ms >= HELLO_MS) {
            send_hello(worker);
            worker->hello_ms = now_ms;
        }
        return;
    }
    for (int i = 0; i < worker->attempt_count; i++)
        send_outbox(worker, &worker->attempts[i], now_ms);
    if (now_ms - worker->beat_ms >= worker->heartbeat_ms) {
        send_heartbeat(worker);
        worker->beat_ms = now_ms;
    }
}
