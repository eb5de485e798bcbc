/* SPDX-License-Identifier: Apache-2.0
 *
 * fence: which message of an attempt is taken. At least once on the wire, once in effect.
 *
 * A worker numbers its messages about one (job, term) from 1, keeps each until it is acknowledged
 * and sends it again after a silence. The coordinator keeps, per (job, term, worker), the number
 * that it took last. An attempt that was given up (its worker was silent, then came back) speaks
 * under a term that is no longer the job's: whatever it says changes nothing, and is counted.
 *
 * The numbers are kept in memory only. After a restart of the coordinator `taken` is not known, and
 * the first message behind the Reattach (what comes before it is dropped: it may have waited in a
 * socket) is the oldest one without an acknowledgement, and is taken as it comes: at
 * worst it repeats one that took effect just before the end, and so each effect is written to be
 * the same when it is repeated.
 */
#ifndef TAILOR_COORDINATOR_FENCE_H
#define TAILOR_COORDINATOR_FENCE_H

#include <stdbool.h>
#include <stdint.h>

#define FENCE_TAKEN_UNKNOWN UINT64_MAX

enum fence_verdict {
    FENCE_ACCEPT,    /* the next one: record it, acknowledge after the commit */
    FENCE_DUPLICATE, /* was taken before: acknowledge, change nothing */
    FENCE_STALE,     /* of an attempt that is over: refuse, count, the sender stops its ranks */
    FENCE_GAP,       /* one before it is missing: no acknowledgement, the sender goes back */
    FENCE_UNKNOWN    /* a term that was never given: the sender is broken or lies */
};

/* `term` is the job's newest, `live` whether that attempt still runs, `taken` the last sequence
 * taken from this sender under it. */
enum fence_verdict fence_judge(uint64_t term, bool live, uint64_t taken, uint64_t message_term,
                               uint64_t message_sequence);
const char *fence_verdict_name(enum fence_verdict verdict);

#endif
