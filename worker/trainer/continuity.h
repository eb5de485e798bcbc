/* SPDX-License-Identifier: Apache-2.0
 *
 * continuity: the promise that a reward head is never lost or re-initialised on its way.
 *
 * A model's card holds probes: short rows of ids with the scores that the finished model gave them.
 * Whoever starts from the model scores them again before step 1; under the same numerics the bits
 * must agree, under others the scores within CONTINUITY_TOLERANCE.
 */
#ifndef TAILOR_WORKER_TRAINER_CONTINUITY_H
#define TAILOR_WORKER_TRAINER_CONTINUITY_H

#include <jansson.h>

#include "lib/status.h"
#include "worker/data/dataset.h"
#include "worker/trainer/scorer.h"

enum { PROBE_TOKENS_MAX = 64 };
#define CONTINUITY_TOLERANCE 2e-3

/* PROBES_COUNT short rows of the dataset and their scores, for a card. */
json_t *continuity_probes(const struct scorer *scorer, const struct dataset *dataset);
/* Scores the card's probes again; STATUS_CONFLICT names the first that moved. `checked_out`: how
 * many there were. */
enum status continuity_check(const struct scorer *scorer, const json_t *card, int *checked_out,
                             struct error *error);

#endif
