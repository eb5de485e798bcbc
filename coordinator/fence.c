/* SPDX-License-Identifier: Apache-2.0
 *
 * fence: five verdicts from four numbers. Rejected: a lease by time alone; a process that was
 * stopped for an hour believes that it still holds it.
 */
#include "coordinator/fence.h"

#include "lib/check.h"

enum fence_verdict fence_judge(uint64_t term, bool live, uint64_t taken, uint64_t message_term,
                               uint64_t message_sequence)
{
    if (message_term > term || message_term == 0 || message_sequence == 0) {
        return FENCE_UNKNOWN;
    }
    if (message_term < term || !live) {
        return FENCE_STALE;
    }
    if (taken == FENCE_TAKEN_UNKNOWN) {
        return FENCE_ACCEPT;
    }
    if (message_sequence <= taken) {
        return FENCE_DUPLICATE;
    }
    return message_sequence == taken + 1 ? FENCE_ACCEPT : FENCE_GAP;
}

const char *fence_verdict_name(enum fence_verdict verdict)
{
    static const char *const names[] = {"accept", "duplicate", "stale", "gap", "unknown"};
    CHECK((unsigned)verdict <= FENCE_UNKNOWN);
    return names[verdict];
}
