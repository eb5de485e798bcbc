/* SPDX-License-Identifier: Apache-2.0
 *
 * outbox: the stamped reports of one attempt, in order, each kept until it is acknowledged.
 *
 * All of them go out again, in order, when the oldest was not acknowledged for RESEND_MS, and after
 * each new welcome. They lie in memory: with this process its trainers die too, and what a report
 * would have said is then no longer so.
 */
#ifndef TAILOR_WORKER_AGENT_OUTBOX_H
#define TAILOR_WORKER_AGENT_OUTBOX_H

#include <stdint.h>

#include "lib/buf.h"
#include "proto/worker.pb-c.h"
#include "worker/agent/link.h"

enum { OUTBOX_MAX = 1024, OUTBOX_RESEND_MS = 5000 };

struct outbox_entry {
    int64_t sequence, sent_ms; /* 0: not yet */
    struct buf bytes;
};

struct outbox {
    int64_t job, term;
    int64_t sequence; /* of the newest report made */
    struct outbox_entry *entries;
    int count;
};

/* Stamps and packs. *stamp_place is the message's field `stamp`. False: it is full (OUTBOX_MAX; one
 * place is kept for the final report, which `last` says it is). */
bool outbox_put(struct outbox *outbox, enum worker_message_id id, Wire__Stamp **stamp_place,
                const void *message, bool last);
void outbox_send(struct outbox *outbox, struct link *link, int64_t now_ms);
/* Everything up to this sequence has taken effect. */
void outbox_ack(struct outbox *outbox, int64_t sequence);
void outbox_again(struct outbox *outbox); /* all of it is to be sent anew */
void outbox_release(struct outbox *outbox);

#endif
