/* SPDX-License-Identifier: Apache-2.0
 *
 * change: what one message, request or decision changes in the records: rows by value, applied in one
 * savepoint, in the order in which changes are made.
 *
 *     struct change *change = change_begin(coordinator, WORK_MUST);
 *     change_job(change, job);
 *     change_event(change, job, "job_state", API__SEVERITY__SEVERITY_INFO, "running");
 *     change_commit(change, send_ack, argument);      // called after the commit
 *
 * The rows are copied out of memory when change_job and its like are called, so memory may move on.
 * A change belongs to the arena it lies in and frees itself after `done`.
 */
#ifndef TAILOR_COORDINATOR_CHANGE_H
#define TAILOR_COORDINATOR_CHANGE_H

#include "coordinator/state.h"
#include "proto/worker.pb-c.h"

struct change;

struct change *change_begin(struct coordinator *coordinator, enum work_kind kind);
struct arena *change_arena(struct change *change);

/* The job's row: state, reasons, failure, attempt numbers, outcome. */
void change_job(struct change *change, const struct job *job);
/* The attempt of job->run.term begins: its row and those of its ranks. */
void change_attempt_begin(struct change *change, const struct job *job, const char *reason);
/* The attempt `term` of the job is now so. */
void change_attempt(struct change *change, const struct job *job, uint64_t term,
                    Api__AttemptState state, enum failure failure, const char *message);
void change_event(struct change *change, const struct job *job, const char *kind,
                  Api__Severity severity, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* A finished checkpoint; older ones beyond the job's keep_last go. */
void change_checkpoint(struct change *change, const struct job *job,
                       const Wire__CheckpointReport *report);
/* A model's next version, once a job: its number is the job's output_version afterwards. */
void change_model(struct change *change, const struct job *job, const Wire__ModelReport *report);
/* The job's alias points to its version from here on. */
void change_alias(struct change *change, const struct job *job);
/* Slot time since the last such row; tenant NULL: idle. */
void change_usage(struct change *change, const char *tenant, int64_t slot_ms,
                  int64_t productive_slot_ms);
void change_worker(struct change *change, const struct member *member);

/* Anything else, in the same savepoint, behind the rows. */
void change_also(struct change *change, coordinator_run *run, void *argument);

/* Hands it over. `done` may be NULL. WORK_MUST: `done` always gets STATUS_OK, or the coordinator is
 * closing with a full disk and nobody is told anything. */
void change_commit(struct change *change, coordinator_done *done, void *argument);

#endif
