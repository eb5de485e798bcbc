/* SPDX-License-Identifier: Apache-2.0
 *
 * resume: what a run must know to go on to the bit, and how it is kept.
 *
 * Order of samples, learning rate and enrichment are functions of the step, so the state is small:
 * the step, AdamW's count of updates, and counters. The rest is three blocks: trained weights, m,
 * v. The best weights are kept apart, in RUN/best, without moments.
 *
 * Each rank writes its own block of all three (gang_block), whatever it holds, into its own run
 * directory; so none ever holds or writes another's moments, and a checkpoint of any number of
 * ranks, with the optimizer's state cut or not, is read by any other. Where ranks have several
 * directories (place.h), each gets the manifest and the blobs of its own ranks; to resume there,
 * all blobs must have been brought to each. All functions are collective.
 */
#ifndef TAILOR_WORKER_TRAINER_RESUME_H
#define TAILOR_WORKER_TRAINER_RESUME_H

#include <stdint.h>

#include "lib/status.h"
#include "worker/trainer/session.h"

struct train_state {
    int64_t step; /* steps done */
    int64_t tokens;
    int64_t part_tokens[MIX_PARTS], part_pairs[MIX_PARTS];
    int64_t nonfinite, nonfinite_in_a_row;
    int64_t best_step; /* 0: none yet */
    double best_merit;
    double general_accuracy_before; /* of the sample; NaN: not measured */
    double seconds;                 /* of training */
};

enum status resume_save(struct session *session, const struct train_state *state,
                        struct error *error);
/* No checkpoint: leaves *state alone and returns STATUS_OK. A checkpoint of another spec or other
 * data is STATUS_CONFLICT. */
enum status resume_load(struct session *session, struct train_state *state, struct error *error);

enum status best_save(struct session *session, const struct train_state *state,
                      struct error *error);
enum status best_load(struct session *session, const struct train_state *state,
                      struct error *error);

#endif
