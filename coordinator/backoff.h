/* SPDX-License-Identifier: Apache-2.0
 *
 * backoff: how long a job, or a webhook, waits before its next attempt: doubling, capped, jittered.
 *
 * The wait before attempt n + 1 is uniform in [d/2, d), d = min(base · 2^(n-1), max). A rack that
 * dies takes a hundred jobs at once; without the jitter they would come back at once too.
 */
#ifndef TAILOR_COORDINATOR_BACKOFF_H
#define TAILOR_COORDINATOR_BACKOFF_H

#include <stdint.h>

struct backoff {
    int64_t base_ms, max_ms;
};

/* A pure function of its arguments: `failures` in a row (from 1), who waits (a job's id; others
 * keep out of their range) and `seed` of the deployment choose the jitter. */
int64_t backoff_ms(const struct backoff *backoff, int32_t failures, uint64_t who, uint64_t seed);

#endif
