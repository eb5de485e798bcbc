/* SPDX-License-Identifier: Apache-2.0
 *
 * findings: what a person would want to be told while a run goes, said once each.
 *
 *   learns_nothing     the ranking loss stayed within 1e-3 of ln 2 for 50 steps (every reward
 * equal: a template that ends all rows alike, a learning rate of nearly 0) general_falls general
 * accuracy on the sample fell by more than FINDING_GENERAL_DROP score_is_length    rewards follow
 * length: |correlation| above FINDING_LENGTH_CORRELATION one_source         one part of the mix has
 * more than FINDING_SOURCE_SHARE of the pairs nonfinite          a step was skipped
 */
#ifndef TAILOR_WORKER_TRAINER_FINDINGS_H
#define TAILOR_WORKER_TRAINER_FINDINGS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/status.h"
#include "worker/trainer/figures.h"
#include "worker/trainer/journal.h"
#include "worker/trainer/step.h"

enum finding_kind {
    FINDING_LEARNS_NOTHING,
    FINDING_GENERAL_FALLS,
    FINDING_SCORE_IS_LENGTH,
    FINDING_ONE_SOURCE,
    FINDING_NONFINITE,
    FINDING_KIND_COUNT
};

struct findings {
    bool said[FINDING_KIND_COUNT];
    char text[FINDING_KIND_COUNT][256];
    int flat_steps; /* in a row with a loss next to ln 2 */
    int64_t pairs[MIX_PARTS];
};

void findings_init(struct findings *findings);
enum status findings_on_step(struct findings *findings, struct journal *journal, int64_t step,
                             const struct step_result *result, struct error *error);
enum status findings_on_evaluation(struct findings *findings, struct journal *journal, int64_t step,
                                   double general_before, double general_now, struct error *error);
/* At the end, over a whole evaluation set. */
enum status findings_on_figures(struct findings *findings, struct journal *journal, int64_t step,
                                const char *set, const struct figures *figures,
                                struct error *error);
json_t *findings_json(const struct findings *findings);

#endif
