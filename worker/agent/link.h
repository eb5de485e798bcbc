/* SPDX-License-Identifier: Apache-2.0
 *
 * link: this worker's connection to the coordinator: a DEALER socket under CURVE, hello,
 * heartbeats.
 *
 * ZeroMQ connects again by itself and says nothing about it; so the *conversation* has its own
 * state. It begins with hello; a welcome makes the link *up*. It is down again when the coordinator
 * was silent for lost_after_ms, or speaks of another epoch (it has restarted): then hello is said
 * anew. What is sent while the link is down is dropped: whatever must arrive is kept by its sender
 * (outbox.h, transfer.h) and sent again.
 *
 * All on the agent's thread.
 */
#ifndef TAILOR_WORKER_AGENT_LINK_H
#define TAILOR_WORKER_AGENT_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/worker_message.h"
#include "worker/agent/credential.h"

struct link_options {
    const char *data; /* the credential is saved here once joined */
    const char *name, *host;
    uint64_t boot;
};

struct link {
    struct credential *credential; /* borrowed */
    struct link_options options;
    void *context, *socket;
    bool up, by_token;
    int64_t dialed_ms, hello_ms, heard_ms, beat_ms;
    int64_t epoch, heartbeat_ms, lost_after_ms, stop_after_ms; /* of the welcome */
    bool refused; /* a token that is not taken: the sentence */
    struct error refusal;
    /* What comes, except what is about the link itself; it lives until the call returns. */
    void (*on_message)(void *argument, const struct worker_message *row, void *message);
    void (*on_up)(void *argument);
    void *argument;
};

enum status link_open(struct link *link, struct credential *credential,
                      const struct link_options *options, int64_t now_ms, struct error *error);
void link_close(struct link *link);
/* Says hello again, as another process of this worker. */
void link_renew(struct link *link, uint64_t boot);
/* Takes what has come, at most LINK_BUDGET messages, and says hello when it is time. */
void link_turn(struct link *link, int64_t now_ms);
/* Is a heartbeat due? True at most once a heartbeat_ms. */
bool link_beat(struct link *link, int64_t now_ms);
/* False: dropped. */
bool link_send(struct link *link, enum worker_message_id id, const void *message);
bool link_send_bytes(struct link *link, const void *bytes, size_t length); /* already packed */

enum { LINK_BUDGET = 256 };

#endif
