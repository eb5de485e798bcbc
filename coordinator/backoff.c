/* SPDX-License-Identifier: Apache-2.0
 *
 * backoff: see backoff.h. Rejected: full jitter over [0, d), whose short draws hit a worker that is
 * still rebooting.
 */
#include "coordinator/backoff.h"

#include "lib/check.h"
#include "lib/rng.h"

int64_t backoff_ms(const struct backoff *backoff, int32_t failures, uint64_t who, uint64_t seed)
{
    CHECK(failures >= 1);
    CHECK(backoff->base_ms >= 2 && backoff->base_ms <= backoff->max_ms);
    int64_t full = backoff->base_ms;
    for (int32_t i = 1; i < failures && full < backoff->max_ms; i++) {
        full *= 2;
    }
    full = full < backoff->max_ms ? full : backoff->max_ms;
    double jitter = rng_uniform(seed, rng_stream("backoff") ^ who, (uint64_t)failures);
    return full / 2 + (int64_t)(jitter * (double)(full - full / 2));
}
