/* SPDX-License-Identifier: Apache-2.0
 *
 * quota: see quota.h. The calendar is counted here, in integers: gmtime_r would do the same for
 * more ceremony, and these lines can be read.
 */
#include "coordinator/quota.h"

#include "lib/check.h"

#define DAY_MS  (24LL * 3600 * 1000)
#define HOUR_MS 3600000.0

static int64_t divide_down(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Days are counted from 1 March of the year 0, so that a leap day ends its year; an era is 400
 * years of 146,097 days. 719,468 days lie between that March and 1970. */
int32_t quota_month(int64_t unix_ms)
{
    int64_t days = divide_down(unix_ms, DAY_MS) + 719468;
    int64_t era = divide_down(days, 146097);
    int64_t day = days - era * 146097;
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    int64_t day_of_year = day - (365 * year + year / 4 - year / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    return (int32_t)((year + era * 400) * 12 + month_from_march + 2);
}

void quota_charge(struct quota_use *use, int32_t slots, int64_t duration_ms, int64_t unix_ms)
{
    CHECK(slots >= 0);
    CHECK(duration_ms >= 0);
    int32_t month = quota_month(unix_ms);
    if (month != use->month) {
        *use = (struct quota_use){.month = month};
    }
    use->month_slot_ms += (double)slots * (double)duration_ms;
}

enum status quota_admit(const struct quota *quota, int32_t queued_jobs, int32_t min_ranks,
                        struct error *error)
{
    if (quota->running_slots_max > 0 && min_ranks > quota->running_slots_max) {
        return error_set(error, STATUS_LIMIT,
                         "resources.min_ranks: the job needs %d slots at once, and the tenant's "
                         "quota is %d: lower it, or ask for a larger quota",
                         min_ranks, quota->running_slots_max);
    }
    if (quota->queued_jobs_max > 0 && queued_jobs >= quota->queued_jobs_max) {
        return error_set(
            error, STATUS_LIMIT,
            "the tenant has %d jobs waiting, and its quota is %d: wait until some have "
            "started, cancel some, or ask for a larger quota",
            queued_jobs, quota->queued_jobs_max);
    }
    return STATUS_OK;
}

int32_t quota_slots_left(const struct quota *quota, const struct quota_use *use,
                         int32_t running_slots, int64_t unix_ms)
{
    if (quota->month_slot_hours_max > 0 && use->month == quota_month(unix_ms) &&
        use->month_slot_ms >= quota->month_slot_hours_max * HOUR_MS) {
        return 0;
    }
    if (quota->running_slots_max == 0) {
        return INT32_MAX;
    }
    int32_t left = quota->running_slots_max - running_slots;
    return left > 0 ? left : 0;
}
