/* SPDX-License-Identifier: Apache-2.0
 *
 * evaluation: a session's sets, measured before, while and after training.
 */
#ifndef TAILOR_WORKER_TRAINER_EVALUATION_H
#define TAILOR_WORKER_TRAINER_EVALUATION_H

#include <jansson.h>

#include "lib/status.h"
#include "worker/trainer/session.h"

enum evaluation_when { EVALUATION_BEFORE, EVALUATION_AFTER };

/* All pairs of all sets; keeps rewards and figures in the sets. `progress` may be NULL. */
enum status evaluation_full(struct session *session, enum evaluation_when when,
                            scorer_progress *progress, void *argument, struct error *error);

/* What one evaluation while training says, over the samples. NaN where nothing counts. */
struct evaluation_summary {
    double custom_accuracy, general_accuracy, accuracy;
    double loss; /* ranking loss, or the language model's in stage lm */
};

/* `line_out`: a metrics line with eval_ names, per set and in all. Before the first step rewards
 * that were measured already are not measured again. */
enum status evaluation_sample(struct session *session, enum evaluation_when when,
                              struct evaluation_summary *summary_out, json_t **line_out,
                              struct error *error);

#endif
