/* SPDX-License-Identifier: Apache-2.0
 *
 * waiting: what a job waits for, since when, as a word for filters and metrics and as a sentence
 * for `job why`.
 */
#ifndef TAILOR_COORDINATOR_WAITING_H
#define TAILOR_COORDINATOR_WAITING_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"

enum waiting {
    WAITING_NONE = 0,
    WAITING_RESOURCES,          /* it is next, and slots are not free */
    WAITING_PRIORITY,           /* slots go to a job of higher priority, or an earlier one */
    WAITING_TENANT_QUOTA,       /* running slots or slot-hours of the month are used up */
    WAITING_FAIR_SHARE,         /* slots go to a tenant that had less */
    WAITING_DEPENDENCY,         /* a job that it comes after has not succeeded yet */
    WAITING_BEGIN_TIME,         /* schedule.not_before */
    WAITING_QUEUE_PAUSED,       /* by a person */
    WAITING_BACKOFF,            /* an attempt ended badly */
    WAITING_NO_MATCHING_WORKER, /* no set of workers could ever hold it */
    WAITING_STORAGE,            /* the store is full */
    WAITING_PREEMPTED,          /* it gave its slots to another and waits for new ones */
    WAITING_BATCH_LIMIT,        /* as many of its batch run as it allows: max_running */
    WAITING_COUNT
};

struct wait {
    enum waiting reason;
    int64_t since_ms;
    int64_t until_ms;   /* begin_time, backoff; else 0 */
    uint64_t job;       /* the job that goes first or that it comes after; else 0 */
    int32_t need, have; /* slots: resources, no_matching_worker */
};

const char *waiting_name(enum waiting reason);
bool waiting_by_name(const char *name, enum waiting *reason_out);
/* Appends "needs 4 slots, 3 of the matching workers' are free; waiting for 2m 05s". Jobs are named
 * by number; a caller with better names renders `wait` itself. */
void waiting_sentence(const struct wait *wait, int64_t now_ms, struct buf *out);

#endif
