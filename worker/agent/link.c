/* SPDX-License-Identifier: Apache-2.0
 *
 * Before it has joined, the token's key and the worker's own are tried in turn: if a crash came
 * between the registration and the welcome, the token is used up and the own key is known.
 */
#include "worker/agent/link.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/failpoint.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "proto/worker.pb-c.h"

enum { HELLO_MS = 1000, REDIAL_MS = 4000, RECONNECT_MS = 100, RECONNECT_MAX_MS = 1000 };

static void set_int(struct link *link, int option, int value)
{
    CHECK(zmq_setsockopt(link->socket, option, &value, sizeof(value)) == 0);
}

static enum status dial(struct link *link, bool by_token, int64_t now_ms, struct error *error)
{
    const struct credential *own = link->credential;
    const char *secret = by_token ? own->join_key : own->secret_key;
    char endpoint[JOIN_ADDRESS_MAX + 8], public_key[KEY_TEXT_SIZE];
    if (link->socket != NULL)
        zmq_close(link->socket);
    link->socket = zmq_socket(link->context, ZMQ_DEALER);
    if (link->socket == NULL || zmq_curve_public(public_key, secret) != 0)
        return error_set(error, STATUS_IO, "no socket: %s", zmq_strerror(zmq_errno()));
    set_int(link, ZMQ_LINGER, 0);
    set_int(link, ZMQ_RECONNECT_IVL, RECONNECT_MS);
    set_int(link, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
    set_int(link, ZMQ_TCP_KEEPALIVE, 1);
    zmq_setsockopt(link->socket, ZMQ_CURVE_SERVERKEY, own->server_key, KEY_TEXT_SIZE);
    zmq_setsockopt(link->socket, ZMQ_CURVE_PUBLICKEY, public_key, KEY_TEXT_SIZE);
    zmq_setsockopt(link->socket, ZMQ_CURVE_SECRETKEY, secret, KEY_TEXT_SIZE);
    snprintf(endpoint, sizeof(endpoint), "tcp://%s", own->address);
    if (zmq_connect(link->socket, endpoint) != 0)
        return error_set(error, STATUS_IO, "%s: %s", endpoint, zmq_strerror(zmq_errno()));
    link->by_token = by_token;
    link->dialed_ms = now_ms;
    link->hello_ms = 0;
    return STATUS_OK;
}

enum status link_open(struct link *link, struct credential *credential,
                      const struct link_options *options, int64_t now_ms, struct error *error)
{
    link->credential = credential;
    link->options = *options;
    link->heard_ms = now_ms;
    link->context = zmq_ctx_new();
    if (link->context == NULL)
        return error_set(error, STATUS_IO, "no sockets: %s", zmq_strerror(zmq_errno()));
    return dial(link, credential->worker == 0, now_ms, error);
}

void link_close(struct link *link)
{
    if (link->socket != NULL)
        zmq_close(link->socket);
    if (link->context != NULL)
        zmq_ctx_term(link->context);
    link->socket = link->context = NULL;
}

void link_renew(struct link *link, uint64_t boot)
{
    link->options.boot = boot;
    link->up = false;
    link->hello_ms = 0;
}

/* ---- sending --------------------------------------------------------------------------------- */

static bool put(struct link *link, const void *bytes, size_t length)
{
    return !failpoint_fails("worker_send") &&
           zmq_send(link->socket, bytes, length, ZMQ_DONTWAIT) >= 0;
}

bool link_send_bytes(struct link *link, const void *bytes, size_t length)
{
    return link->up && put(link, bytes, length);
}

static bool pack_and_put(struct link *link, enum worker_message_id id, const void *message)
{
    struct buf bytes = {0};
    worker_message_pack(id, message, &bytes);
    bool sent = put(link, bytes.data, bytes.length);
    buf_release(&bytes);
    return sent;
}

bool link_send(struct link *link, enum worker_message_id id, const void *message)
{
    return link->up && pack_and_put(link, id, message);
}

static void say_hello(struct link *link, int64_t now_ms)
{
    const struct credential *own = link->credential;
    uint8_t public_key[CURVE_KEY_SIZE];
    Wire__Hello hello = WIRE__HELLO__INIT;
    hello.has_version = hello.has_version_min = hello.has_boot = true;
    hello.version = WORKER_VERSION;
    hello.version_min = WORKER_VERSION_MIN;
    hello.software = TAILOR_VERSION;
    hello.name = (char *)link->options.name; /* protobuf-c knows no const */
    hello.host = (char *)link->options.host;
    hello.boot = (int64_t)(link->options.boot >> 1);
    hello.cluster = own->cluster[0] != '\0' ? (char *)own->cluster : NULL;
    if (link->by_token) {
        CHECK(zmq_z85_decode(public_key, own->public_key) != NULL);
        hello.has_public_key = true;
        hello.public_key = (ProtobufCBinaryData){CURVE_KEY_SIZE, public_key};
    }
    pack_and_put(link, WORKER_HELLO, &hello);
    link->hello_ms = now_ms;
}

/* ---- receiving ------------------------------------------------------------------------------- */

static void on_joined(struct link *link, const Wire__Welcome *welcome, int64_t now_ms)
{
    struct error error;
    struct credential *own = link->credential;
    own->worker = welcome->worker;
    own->join_key[0] = '\0';
    snprintf(own->cluster, sizeof(own->cluster), "%s",
             welcome->cluster != NULL ? welcome->cluster : "");
    if (credential_save(link->options.data, own, &error) != STATUS_OK)
        log_error("joined, but that cannot be saved: %s", error.text);
    log_info("joined cluster %s as worker %" PRId64, own->cluster, own->worker);
    if (link->by_token && dial(link, false, now_ms, &error) != STATUS_OK)
        log_error("%s", error.text);
}

static void on_welcome(struct link *link, const Wire__Welcome *welcome, int64_t now_ms)
{
    bool by_token = link->by_token;
    if (link->credential->worker == 0)
        on_joined(link, welcome, now_ms);
    if (by_token)
        return; /* hello again, with the own key */
    link->epoch = welcome->epoch;
    link->heartbeat_ms = welcome->heartbeat_ms > 0 ? welcome->heartbeat_ms : 1000;
    link->lost_after_ms = welcome->lost_after_ms > 0 ? welcome->lost_after_ms : 10000;
    link->stop_after_ms = welcome->stop_after_ms;
    link->up = true;
    link->beat_ms = now_ms;
    log_info("connected to %s epoch %" PRId64, link->credential->address, link->epoch);
    link->on_up(link->argument);
}

static void on_refusal(struct link *link, const Wire__Refusal *refusal)
{
    const char *message = refusal->message != NULL ? refusal->message : "no reason given";
    log_error("the coordinator refuses this worker: %s", message);
    link->up = false;
    if (link->by_token) {
        link->refused = true;
        error_set(&link->refusal, STATUS_DENIED, "%s", message);
    }
}

static void take(struct link *link, const struct worker_message *row, void *message, int64_t now_ms)
{
    link->heard_ms = now_ms;
    if (row->id == WORKER_WELCOME) {
        if (!link->up)
            on_welcome(link, message, now_ms);
    } else if (row->id == WORKER_REFUSAL) {
        on_refusal(link, message);
    } else if (row->id == WORKER_HEARTBEAT_REPLY) {
        const Wire__HeartbeatReply *reply = message;
        if (link->up && reply->epoch != link->epoch) {
            log_info("the coordinator has restarted: epoch %" PRId64, reply->epoch);
            link->up = false;
        }
    } else if (link->up) {
        link->on_message(link->argument, row, message);
    }
}

static bool receive(struct link *link, int64_t now_ms)
{
    struct arena arena = {0};
    struct error error;
    const struct worker_message *row;
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    bool got = zmq_msg_recv(&frame, link->socket, ZMQ_DONTWAIT) >= 0;
    if (got) {
        void *message;
        enum status status =
            worker_message_unpack(&arena, WORKER_FROM_COORDINATOR, zmq_msg_data(&frame),
                                  zmq_msg_size(&frame), &row, &message, &error);
        if (status == STATUS_OK)
            take(link, row, message, now_ms);
        else
            log_warn("a message of the coordinator is none: %s", error.text);
    }
    zmq_msg_close(&frame);
    arena_release(&arena);
    return got;
}

/* ---- time ------------------------------------------------------------------------------------ */

static void begin_again(struct link *link, int64_t now_ms)
{
    struct error error;
    bool joined = link->credential->worker > 0;
    if (now_ms - link->dialed_ms >= REDIAL_MS && !joined) {
        bool by_token = !link->by_token && link->credential->join_key[0] != '\0';
        if (dial(link, by_token, now_ms, &error) != STATUS_OK)
            log_error("%s", error.text);
    }
    if (link->hello_ms == 0 || now_ms - link->hello_ms >= HELLO_MS)
        say_hello(link, now_ms);
}

void link_turn(struct link *link, int64_t now_ms)
{
    int taken = 0;
    while (taken < LINK_BUDGET && receive(link, now_ms))
        taken++;
    if (link->up && now_ms - link->heard_ms >= link->lost_after_ms) {
        log_warn("nothing heard from the coordinator for %" PRId64 " ms", link->lost_after_ms);
        link->up = false;
    }
    if (!link->up)
        begin_again(link, now_ms);
}

bool link_beat(struct link *link, int64_t now_ms)
{
    if (!link->up || now_ms - link->beat_ms < link->heartbeat_ms)
        return false;
    link->beat_ms = now_ms;
    return true;
}
