/* SPDX-License-Identifier: Apache-2.0
 *
 * outcome: what remains of a run.
 *
 *     RUN/model/        the model, complete or absent; tailor.json is written last, with its probes
 *     RUN/result.json   figures before and after, differences with intervals, the gate's verdict
 *     RUN/rows/SET.jsonl  every evaluated group with its rewards, the worst with their texts
 *
 * and the final table on standard output.
 */
#ifndef TAILOR_WORKER_TRAINER_OUTCOME_H
#define TAILOR_WORKER_TRAINER_OUTCOME_H

#include <jansson.h>

#include "lib/status.h"
#include "worker/trainer/findings.h"
#include "worker/trainer/resume.h"
#include "worker/trainer/session.h"

/* Before step 1: the row that a person should look at, on standard error. */
enum status outcome_begin(struct session *session, struct error *error);
/* After the last: everything above. Frees the session's training blocks. */
enum status outcome_write(struct session *session, const struct train_state *state,
                          struct findings *findings, struct error *error);

/* ---- parts
 * --------------------------------------------------------------------------------------- */
enum gate_verdict { GATE_NONE, GATE_PASSED, GATE_HELD };

struct gate {
    enum gate_verdict verdict;
    bool has_general, has_custom;
    struct figures_difference general, custom; /* pooled over the sets of each kind */
    char reasons[512];
};

/* general: accuracy after minus before on the general sets; custom: likewise. */
void gate_judge(struct session *session, struct gate *gate);
const char *gate_verdict_name(enum gate_verdict verdict);
/* outcome_rows.c: the groups of a set, the worst first, into DIR/NAME.jsonl */
struct rows_set {
    const char *name;
    const struct data_source *source;
    const struct text_format *format;
    const struct tokenizer *tokenizer;
    const struct dataset *dataset;
    const float *reward; /* (row_count) */
};
enum status rows_write(const struct rows_set *set, const char *dir, struct error *error);
enum status outcome_rows_write(struct session *session, struct error *error);
/* outcome_model.c */
enum status outcome_model_save(struct session *session, const struct train_state *state,
                               const json_t *result, struct error *error);

#endif
