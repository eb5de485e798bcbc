/* SPDX-License-Identifier: Apache-2.0
 *
 * recovery: what a former process of this worker had still to report.
 *
 * It was killed; its attempts are dead, but some of what they had done is known to nobody: a
 * checkpoint that lies in the store, a model, why they failed. As soon as the worker introduces
 * itself as another process the coordinator takes all its attempts for lost, and would refuse such
 * reports as those of an older term. So the new process first speaks as the old one, with its boot
 * number, lists those attempts as stopping, offers no slots, and sends what waits; when all is
 * acknowledged (or refused) it draws a boot number of its own.
 *
 *     DATA/boot        the number that the coordinator knows this worker's process by
 *     DATA/outbox/…    one file an attempt (outbox.h)
 *
 * Rejected: to let the coordinator take reports of lost attempts. What a term may still change
 * would have no end.
 */
#ifndef TAILOR_WORKER_AGENT_RECOVERY_H
#define TAILOR_WORKER_AGENT_RECOVERY_H

#include "worker/agent/outbox.h"

struct recovery {
    char data[PATH_MAX];
    uint64_t boot;           /* as which this process speaks now */
    struct outbox *outboxes; /* none is empty */
    int count;
};

/* Reads what there is; if nothing, it is over at once. */
enum status recovery_open(struct recovery *recovery, const char *data, struct error *error);
bool recovery_is_over(const struct recovery *recovery);
/* Sends, and forgets what is acknowledged. When that was the last, `boot` is another one. */
enum status recovery_turn(struct recovery *recovery, struct link *link, int64_t now_ms,
                          struct error *error);
void recovery_list(const struct recovery *recovery, struct arena *arena, void *message);
struct outbox *recovery_find(struct recovery *recovery, int64_t job, int64_t term); /* or NULL */
void recovery_again(struct recovery *recovery);
void recovery_close(struct recovery *recovery);

#endif
