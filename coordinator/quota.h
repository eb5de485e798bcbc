/* SPDX-License-Identifier: Apache-2.0
 *
 * quota: what one tenant may have at once and in a calendar month (UTC). 0 means no bound.
 *
 * Queued jobs are bounded at submit, with a sentence; running slots and slot-hours at each start,
 * where the job waits with reason tenant_quota. Slot-hours that are used up stop new starts, never
 * a job that runs.
 */
#ifndef TAILOR_COORDINATOR_QUOTA_H
#define TAILOR_COORDINATOR_QUOTA_H

#include <stdint.h>

#include "lib/status.h"

struct quota {
    int32_t running_slots_max;
    int32_t queued_jobs_max;
    double month_slot_hours_max;
};

struct quota_use {
    int32_t month; /* quota_month() of the last charge */
    double month_slot_ms;
};

int32_t quota_month(int64_t unix_ms); /* year · 12 + month - 1 */
/* Adds slots held for a time; a new month begins at nothing. */
void quota_charge(struct quota_use *use, int32_t slots, int64_t duration_ms, int64_t unix_ms);
/* May one more job wait, that needs min_ranks slots? STATUS_LIMIT with a sentence if not. */
enum status quota_admit(const struct quota *quota, int32_t queued_jobs, int32_t min_ranks,
                        struct error *error);
/* How many slots more the tenant may start now: INT32_MAX without a bound, 0 if none. */
int32_t quota_slots_left(const struct quota *quota, const struct quota_use *use,
                         int32_t running_slots, int64_t unix_ms);

#endif
