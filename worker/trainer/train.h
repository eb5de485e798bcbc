/* SPDX-License-Identifier: Apache-2.0
 *
 * train: the loop of a run, from its checkpoint (or step 0) to its model.
 *
 *     evaluate before → { step; metrics; evaluate and checkpoint when due } → best weights
 *     → evaluate after → RUN/model, RUN/result.json, RUN/rows/
 *
 * Every rank of a gang runs this loop; the leader alone writes the run's files and what remains.
 */
#ifndef TAILOR_WORKER_TRAINER_TRAIN_H
#define TAILOR_WORKER_TRAINER_TRAIN_H

#include <stdbool.h>

#include "lib/status.h"
#include "worker/trainer/session.h"

struct train_options {
    bool resume;         /* go on from the newest checkpoint of RUN; without one, from step 0 */
    bool quiet;          /* no progress */
    bool verify_packing; /* before step 1: packed and shared = alone and padded */
};

/* STATUS_CANCELLED after SIGINT or SIGTERM to the leader (other ranks ignore them): a checkpoint
 * was written, resume goes on exactly. */
enum status train_run(struct session *session, const struct train_options *options,
                      struct error *error);

#endif
