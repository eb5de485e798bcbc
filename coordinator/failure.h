/* SPDX-License-Identifier: Apache-2.0
 *
 * failure: why an attempt ended badly, and what follows from it. One table.
 *
 * Retry storms are the classic mistake: a wrong column name fails three times and costs three
 * hours. So the class decides, not the job: data and configuration are never tried again, a lost
 * worker always is, on another worker where there is one, and does not use up the job's attempts
 * (it is not the job's fault).
 */
#ifndef TAILOR_COORDINATOR_FAILURE_H
#define TAILOR_COORDINATOR_FAILURE_H

#include <stdbool.h>

enum failure {
    FAILURE_NONE = 0,
    FAILURE_USER_DATA,
    FAILURE_USER_CONFIG,
    FAILURE_OUT_OF_MEMORY,
    FAILURE_NUMERIC,
    FAILURE_WORKER_LOST,
    FAILURE_COMMUNICATION,
    FAILURE_STORAGE,
    FAILURE_TIMEOUT,
    FAILURE_INTERNAL,
    FAILURE_COUNT
};

struct failure_row {
    const char *name; /* in JSON, in the database and on the wire */
    bool retry;       /* may another attempt end differently? */
    bool elsewhere;   /* then rather not on the worker where it failed */
    bool charged;     /* it was the job: counts against retry.max_attempts */
    const char *hint; /* one sentence: what a person can do */
};

const struct failure_row *failure_row(enum failure failure);
bool failure_by_name(const char *name, enum failure *failure_out);

#endif
