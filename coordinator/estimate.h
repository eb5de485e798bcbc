/* SPDX-License-Identifier: Apache-2.0
 *
 * estimate: where a submitted job stands in its queue, and when it may end.
 */
#ifndef TAILOR_COORDINATOR_ESTIMATE_H
#define TAILOR_COORDINATOR_ESTIMATE_H

#include "coordinator/state.h"

/* A job has succeeded: how long it took counts for the next ones of its tenant and stage. */
void estimate_note(struct coordinator *coordinator, const struct job *job);
/* Counts anew who waits in each queue (shards are their whole's) and who runs: once a cycle, since
 * it looks at every job. */
void estimate_count(struct coordinator *coordinator);
/* Until a job that is `position`-th in its queue ends; 0: none like it has ended yet. */
int64_t estimate_ms(const struct coordinator *coordinator, const struct ask *ask, int32_t stage,
                    int64_t position);

#endif
