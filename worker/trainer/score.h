/* SPDX-License-Identifier: Apache-2.0
 *
 * score: lines of JSON in, lines of JSON out, in the same order.
 *
 *     {"line": 3, "scores": [1.25, -0.5], "tokens": [118, 97], "truncated": [false, false]}
 *
 * One response gives "score" and so on without lists. A row over max_length under the policy drop
 * has no score but an "error".
 */
#ifndef TAILOR_WORKER_TRAINER_SCORE_H
#define TAILOR_WORKER_TRAINER_SCORE_H

#include <stdio.h>

#include "worker/data/dataset.h"
#include "worker/trainer/examiner.h"

struct score_options {
    int64_t batch_tokens;
    FILE *out;
    /* After each record; what it returns ends the scoring. NULL: nobody asks. */
    enum status (*on_record)(void *argument, struct error *error);
    void *argument;
};

enum status score_source(struct examiner *examiner, const struct data_source *source,
                         const struct score_options *options, struct error *error);

#endif
