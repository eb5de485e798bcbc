/* SPDX-License-Identifier: Apache-2.0
 *
 * verbs: what tailor-trainer can be asked to do; all that touch tensors. main.c holds the table.
 */
#ifndef TAILOR_WORKER_TRAINER_VERBS_H
#define TAILOR_WORKER_TRAINER_VERBS_H

#include "lib/status.h"
#include "worker/trainer/arguments.h"

typedef enum status verb_run(const struct arguments *arguments, struct error *error);

verb_run verb_train;    /* verb_train.c */
verb_run verb_evaluate; /* verb_evaluate.c */
verb_run verb_compare;
verb_run verb_measure; /* verb_measure.c */
verb_run verb_score;   /* verb_score.c */
verb_run verb_serve;   /* verb_serve.c */
verb_run verb_admit;   /* verb_data.c */
verb_run verb_preview;
verb_run verb_check; /* verb_model.c */
verb_run verb_import_gguf;
verb_run verb_export;
verb_run verb_device; /* verb_device.c */
verb_run verb_report; /* verb_report.c */
verb_run verb_rows;

#endif
