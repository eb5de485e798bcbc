/* SPDX-License-Identifier: Apache-2.0
 *
 * fair_share: see fair_share.h.
 */
#include "coordinator/fair_share.h"

#include <math.h>

#include "lib/check.h"

void fair_share_charge(struct fair_share *share, int32_t slots, int64_t now_ms,
                       int64_t half_life_ms)
{
    CHECK(slots >= 0);
    CHECK(half_life_ms > 0);
    if (now_ms <= share->at_ms) {
        return;
    }
    double half_life = (double)half_life_ms;
    double kept = exp2(-(double)(now_ms - share->at_ms) / half_life);
    share->usage = share->usage * kept + slots * (1 - kept) * half_life / M_LN2;
    share->at_ms = now_ms;
}

void fair_share_enter(struct fair_share *share, double floor)
{
    CHECK(share->weight > 0);
    if (share->usage < floor * share->weight) {
        share->usage = floor * share->weight;
    }
}

double fair_share_level(const struct fair_share *share)
{
    return share->usage / share->weight;
}
