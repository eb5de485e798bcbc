/* SPDX-License-Identifier: Apache-2.0
 *
 * fair_share: what each tenant has had lately, so that the one who had least goes first.
 *
 * Usage is slot-milliseconds that fade by half every half-life: u(t + d) = u(t) · 2^(-d/h). While a
 * tenant holds s slots it grows by s · ∫ 2^(-(d-x)/h) dx = s · (1 - 2^(-d/h)) · h / ln 2. Tenants
 * are compared by usage / weight.
 *
 * A tenant that was idle does not come back with a claim on all the hours it did not use: on
 * entering it is put level with the least served of those who are waiting or running (the virtual
 * clock of start-time fair queueing). Rejected: usage alone, under which a newcomer holds the whole
 * cluster until it has caught up with weeks.
 */
#ifndef TAILOR_COORDINATOR_FAIR_SHARE_H
#define TAILOR_COORDINATOR_FAIR_SHARE_H

#include <stdint.h>

struct fair_share {
    double usage;  /* slot-milliseconds, faded to at_ms */
    int64_t at_ms; /* never moves back */
    double weight; /* > 0 */
};

/* Brings usage to `now_ms` for a tenant that held `slots` since at_ms. */
void fair_share_charge(struct fair_share *share, int32_t slots, int64_t now_ms,
                       int64_t half_life_ms);
/* A tenant with nothing waiting or running gets its first job; `floor` is the least
 * fair_share_level() of the others that are active (0 if there are none). */
void fair_share_enter(struct fair_share *share, double floor);
/* usage / weight: the lower goes first. */
double fair_share_level(const struct fair_share *share);

#endif
