/* SPDX-License-Identifier: Apache-2.0
 *
 * status: the whole in figures, read from memory at one moment. Private to this folder.
 */
#ifndef TAILOR_COORDINATOR_STATUS_H
#define TAILOR_COORDINATOR_STATUS_H

#include "coordinator/state.h"

enum { WORKER_STATES = 6 }; /* api.proto's WorkerState is below */

/* Shards are not counted apart: people count their whole. */
struct totals {
    int64_t jobs[JOB_STATE_COUNT];
    int64_t reasons[WAITING_COUNT];
    int64_t workers[WORKER_STATES];
    int64_t slots, held; /* of workers that are up */
    int64_t useful;      /* of these, of gangs that train */
};

void totals_count(const struct coordinator *coordinator, struct totals *totals_out);

#endif
