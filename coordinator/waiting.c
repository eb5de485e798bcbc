/* SPDX-License-Identifier: Apache-2.0
 *
 * waiting: the table of reasons and the sentences.
 */
#include "coordinator/waiting.h"

#include <string.h>

#include "lib/check.h"
#include "lib/text.h"

static const struct {
    const char *name, *sentence;
} rows[WAITING_COUNT] = {
    [WAITING_NONE] = {"none", "waits for the next turn of the scheduler"},
    [WAITING_RESOURCES] = {"resources", "is next in turn and waits for free slots"},
    [WAITING_PRIORITY] = {"priority", "waits behind a job that goes first by priority or age"},
    [WAITING_TENANT_QUOTA] = {"tenant_quota", "waits because its tenant's quota is used up"},
    [WAITING_FAIR_SHARE] = {"fair_share",
                            "waits while tenants that had less than its own go first"},
    [WAITING_DEPENDENCY] = {"dependency", "waits for a job that it comes after"},
    [WAITING_BEGIN_TIME] = {"begin_time", "waits for the time that schedule.not_before names"},
    [WAITING_QUEUE_PAUSED] = {"queue_paused", "waits because its queue is paused"},
    [WAITING_BACKOFF] = {"backoff", "waits a while after an attempt that ended badly"},
    [WAITING_NO_MATCHING_WORKER] = {"no_matching_worker",
                                    "waits for workers that could hold it; none do now"},
    [WAITING_STORAGE] = {"storage",
                         "waits for space on the disk of the store or of its worker, and "
                         "goes on by itself when there is some"},
    [WAITING_PREEMPTED] = {"preempted", "gave its slots to another job and waits for new ones"},
    [WAITING_BATCH_LIMIT] = {"batch_limit", "waits because as many of its batch run as may"},
};

const char *waiting_name(enum waiting reason)
{
    CHECK((unsigned)reason < WAITING_COUNT);
    return rows[reason].name;
}

bool waiting_by_name(const char *name, enum waiting *reason_out)
{
    for (int i = 0; i < WAITING_COUNT; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            *reason_out = (enum waiting)i;
            return true;
        }
    }
    return false;
}

void waiting_sentence(const struct wait *wait, int64_t now_ms, struct buf *out)
{
    CHECK((unsigned)wait->reason < WAITING_COUNT);
    char text[16];
    buf_append_string(out, rows[wait->reason].sentence);
    if (wait->need > 0) {
        buf_printf(out, " (needs %d slot%s, %d %s)", wait->need, wait->need == 1 ? "" : "s",
                   wait->have,
                   wait->reason == WAITING_NO_MATCHING_WORKER ? "exist on workers that match"
                                                              : "free for it");
    }
    if (wait->job != 0) {
        buf_printf(out, " (job %llu)", (unsigned long long)wait->job);
    }
    if (wait->until_ms > now_ms) {
        format_duration((double)(wait->until_ms - now_ms) / 1000, text);
        buf_printf(out, ", %s more", text);
    }
    format_duration((double)(now_ms - wait->since_ms) / 1000, text);
    buf_printf(out, "; for %s so far", text);
}
