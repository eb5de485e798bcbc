/* SPDX-License-Identifier: Apache-2.0
 *
 * gang: the ranks of one run on this machine: started, watched, and ended together.
 *
 * Rank 0 has this terminal. What the others print is kept, and shown only when it says why the run
 * ended. Each is a process group of its own and dies with this process. SIGINT and SIGTERM go to
 * rank 0, which takes the others along; a second one ends all at once. When a rank fails, the
 * others get GANG_GRACE_S to notice by themselves.
 */
#ifndef TAILOR_CLIENT_GANG_H
#define TAILOR_CLIENT_GANG_H

#include <stdbool.h>
#include <stdint.h>

#include "client/trainer.h"

enum { GANG_GRACE_S = 10 };

/* As trainer_exec: returns only where the ranks could not be started. Otherwise this process ends
 * with the exit code of the rank that failed first, or 0. tcp: over the loopback interface instead
 * of shared memory. */
enum status gang_exec(const struct trainer *trainer, int32_t ranks, bool tcp, struct error *error);

#endif
