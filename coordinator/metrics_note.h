/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics_note: what a change of a job and a report of its training mean for metrics.h.
 */
#ifndef TAILOR_COORDINATOR_METRICS_NOTE_H
#define TAILOR_COORDINATOR_METRICS_NOTE_H

#include "coordinator/state.h"
#include "proto/worker.pb-c.h"

/* Behind the change, before its words are recorded: job->started_ms and finished_ms are set. */
void metrics_note_change(struct coordinator *coordinator, const struct job_change *it,
                         struct job *job, const struct cluster_job *core);
/* Why the attempt begins: a value of METRIC_JOB_ATTEMPTS' label, for its row too. */
const char *attempt_reason(const struct job_change *it, const struct cluster_job *core);
/* A line of the live attempt's metrics, as the trainer reports them (worker/trainer/train.c). */
void metrics_note_training(struct coordinator *coordinator, struct job *job,
                           const Wire__MetricReport *report);
void metrics_note_checkpoint(struct coordinator *coordinator, const Wire__CheckpointReport *report);

#endif
