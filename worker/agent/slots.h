/* SPDX-License-Identifier: Apache-2.0
 *
 * slots: the CPUs of this worker, cut into equal parts: slot i has the i-th. CPUs that are over
 * belong to no slot, so that every slot computes alike and something is left for the agent.
 */
#ifndef TAILOR_WORKER_AGENT_SLOTS_H
#define TAILOR_WORKER_AGENT_SLOTS_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

int slots_threads(int64_t slots); /* of one slot; at least 1 */
/* False: there are more slots than CPUs, and none is bound. */
bool slots_cpus(int64_t slots, int64_t slot, cpu_set_t *cpus_out);

#endif
