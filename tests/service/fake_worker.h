/* SPDX-License-Identifier: Apache-2.0
 *
 * fake_worker: a worker that speaks the protocol and trains nothing: the test says what its ranks
 * do. Reports are kept until they are acknowledged, and sent again; heartbeats list what is there.
 */
#ifndef TAILOR_TESTS_SERVICE_FAKE_WORKER_H
#define TAILOR_TESTS_SERVICE_FAKE_WORKER_H

#include "lib/buf.h"
#include "proto/join_token.h"
#include "proto/worker.pb-c.h"
#include "proto/worker_message.h"

enum { FAKE_ATTEMPTS_MAX = 64, FAKE_OUTBOX_MAX = 64, FAKE_FINISHED_MAX = 8192 };

struct fake_message {
    int64_t sequence;
    int64_t sent_ms; /* 0: due */
    struct buf bytes;
};

struct fake_attempt {
    int64_t job, term, world;
    int64_t ranks[8], slots[8];
    size_t count, peers;
    char spec[4096], checkpoint[65], tenant[64];
    size_t manifests, parts;
    int64_t shard, shards;
    int64_t sequence;
    int64_t step;
    bool running, cancelled, paused, succeeded;
    bool over; /* its final report was made */
    struct fake_message outbox[FAKE_OUTBOX_MAX];
    int outbox_count;
};

struct fake_worker {
    void *context, *socket;
    struct join_token token;
    uint8_t public_key[CURVE_KEY_SIZE], secret_key[CURVE_KEY_SIZE];
    char name[64];
    int64_t id, epoch, boot, command, slots;
    bool joined, attached, silent, deaf;
    bool automatic; /* reports RUNNING on an Assign, STOPPED on a Cancel or a Pause, by itself */
    bool refuses;   /* answers an Assign with accepted = false */
    int64_t heartbeat_ms, beat_ms, hello_ms;
    struct fake_attempt attempts[FAKE_ATTEMPTS_MAX];
    int attempt_count;
    int64_t acks[7]; /* by AckResult */
    char ack_message[1024], refusal[1024], blob_message[1024];
    int64_t blob_offset;
    bool blob_complete;
    struct buf blob; /* the last BlobChunk's bytes */
    int64_t blob_size;
    int64_t assigns, cancels, pauses, drains;
    int64_t finished[FAKE_FINISHED_MAX]; /* jobs whose success was acknowledged as recorded */
    int finished_count;
};

/* Joins with the token, then goes on with its own key. */
struct fake_worker *fake_worker_create(const char *token, const char *name, int64_t slots);
/* Closes its socket; what it was is lost, but for its key. */
void fake_worker_free(struct fake_worker *worker);
/* Another process of the same worker: no attempts, a new boot number. */
void fake_worker_restart(struct fake_worker *worker);
/* A new connection, the same process. */
void fake_worker_reconnect(struct fake_worker *worker, const char *address);
/* Takes what came, sends what is due. */
void fake_worker_turn(struct fake_worker *worker, int64_t now_ms);

struct fake_attempt *fake_attempt(struct fake_worker *worker, int64_t job,
                                  int64_t term); /* or NULL */
/* The newest attempt of the job, or NULL. */
struct fake_attempt *fake_newest(struct fake_worker *worker, int64_t job);
void fake_report(struct fake_worker *worker, struct fake_attempt *attempt,
                 const Wire__AttemptReport *what); /* its stamp is set here */
void fake_state(struct fake_worker *worker, struct fake_attempt *attempt, Api__AttemptState state);
void fake_fail(struct fake_worker *worker, struct fake_attempt *attempt, Api__FailureClass failure,
               const char *message);
void fake_checkpoint(struct fake_worker *worker, struct fake_attempt *attempt, int64_t step,
                     const char *manifest);
void fake_model(struct fake_worker *worker, struct fake_attempt *attempt, const char *manifest);
void fake_result(struct fake_worker *worker, struct fake_attempt *attempt, const char *manifest,
                 const char *figures);
void fake_metrics(struct fake_worker *worker, struct fake_attempt *attempt, int64_t step,
                  double loss);
void fake_log(struct fake_worker *worker, struct fake_attempt *attempt, const char *line);
void fake_send(struct fake_worker *worker, enum worker_message_id id, const void *message);
void fake_send_bytes(struct fake_worker *worker, const void *bytes, size_t length);
/* One chunk with the whole blob; its digest goes to `digest_out`. */
void fake_upload(struct fake_worker *worker, const char *tenant, const void *data, size_t length,
                 char digest_out[65]);

#endif
