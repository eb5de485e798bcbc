/* SPDX-License-Identifier: Apache-2.0
 *
 * webhooks: tells receivers of a tenant's events, in order, each until it was taken.
 *
 *     look ─→ records: who is due, and which event ─→ a thread posts it ─→ records: what came of it
 *
 * A webhook has one event under way at most, so order holds; the place in the log moves in the
 * records (webhook_record.h), so a crash repeats the event that was under way and loses none.
 * Behind an attempt in vain it waits, twice as long each time; after WEBHOOK_ATTEMPTS_MAX, or at
 * once when the receiver says 410, it is stopped until a person resumes it.
 *
 * On the loop's thread; who blocks is one of WEBHOOK_THREADS.
 */
#ifndef TAILOR_COORDINATOR_API_WEBHOOKS_H
#define TAILOR_COORDINATOR_API_WEBHOOKS_H

#include <stdbool.h>

struct api;
struct webhooks;

/* private: receivers may be in the network that the coordinator stands in. ca: see api.h. */
struct webhooks *webhooks_start(struct api *api, bool private, const char *ca);
bool webhooks_private(const struct webhooks *webhooks);
void webhooks_look(struct webhooks *webhooks); /* there may be somebody to tell */
/* Ends what is under way, within a second; what it was is told again after the next start. */
void webhooks_stop(struct webhooks *webhooks);
void webhooks_free(struct webhooks *webhooks); /* when nothing asked of the coordinator is left */

#endif
