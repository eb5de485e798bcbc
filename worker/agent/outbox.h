/* SPDX-License-Identifier: Apache-2.0
 *
 * outbox: the stamped reports of one attempt, in order, each kept until it is acknowledged.
 *
 * All of them go out again, in order, when the oldest was not acknowledged for RESEND_MS, and after
 * each new welcome. They lie in memory, and in a file, DATA/outbox/JOB-TERM, which is written
 * before anything is sent: a process that was killed leaves it to the next one (recovery.h). The
 * file is not synced: after a loss of power a report may be gone, and its attempt is begun anew as
 * if the worker had been lost a moment earlier.
 *
 * Bounded: OUTBOX_MAX reports and OUTBOX_BYTES_MAX of them. At the bound findings and checkpoints
 * are dropped and counted (`dropped`), and the attempt's end says how many; what an attempt says
 * once (that it runs, its model, that something was dropped, its end) has places of its own.
 */
#ifndef TAILOR_WORKER_AGENT_OUTBOX_H
#define TAILOR_WORKER_AGENT_OUTBOX_H

#include <limits.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/limits.h"
#include "proto/worker.pb-c.h"
#include "worker/agent/link.h"

enum { OUTBOX_MAX = 1024, OUTBOX_RESEND_MS = 5000, OUTBOX_ONCE = 4 };

#define OUTBOX_BYTES_MAX (8 * MIB)
#define OUTBOX_FILE_MAX                                                                            \
    (4 * OUTBOX_BYTES_MAX) /* with what was acknowledged; then it is rewritten */

struct outbox_entry {
    int64_t sequence, sent_ms; /* 0: not yet */
    struct buf bytes;
};

struct outbox {
    int64_t job, term;
    int64_t sequence; /* of the newest report made */
    int64_t dropped;
    struct outbox_entry *entries;
    int count;
    size_t bytes; /* of the entries */
    int fd;       /* −1: it has no file */
    size_t file_bytes;
    char path[PATH_MAX];
};

void outbox_init(struct outbox *outbox, int64_t job, int64_t term);
/* Its file, below the worker's directory; what it had is written over. */
enum status outbox_open(struct outbox *outbox, const char *data, struct error *error);
/* Reads the file of a former process; a torn end is cut off. STATUS_FORMAT: it is none. */
enum status outbox_restore(struct outbox *outbox, const char *path, struct error *error);
/* Stamps and packs. *stamp_place is the message's field `stamp`. False: it is full; `once`: the
 * report has one of the OUTBOX_ONCE places that are kept. */
bool outbox_put(struct outbox *outbox, enum worker_message_id id, Wire__Stamp **stamp_place,
                const void *message, bool once);
void outbox_send(struct outbox *outbox, struct link *link, int64_t now_ms);
/* Everything up to this sequence has taken effect. */
void outbox_ack(struct outbox *outbox, int64_t sequence);
void outbox_again(struct outbox *outbox); /* all of it is to be sent anew */
/* The file stays if anything in it is not acknowledged. */
void outbox_close(struct outbox *outbox);

#endif
