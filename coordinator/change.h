/* SPDX-License-Identifier: Apache-2.0
 *
 * change: what one message, request or tick changes in the records, applied in one savepoint, in
 * the order in which changes are committed.
 *
 *     struct change *change = change_begin(coordinator);
 *     verdict = cluster_report(&coordinator->cluster, &report, now_ms);
 *     change_checkpoint(change, job, message);
 *     change_commit(change, send_ack, argument);      // `send_ack` is called after the commit
 *
 * change_commit also takes what the cluster has decided meanwhile: its changes of states become
 * rows of jobs, attempts and events; its commands are sent behind the commit, in order, the rows
 * that an Assign needs being read in the same savepoint. Rows are copied when they are put into the
 * change, so memory may move on.
 *
 * Every effect is written so that to repeat it changes nothing (fence.h says why).
 */
#ifndef TAILOR_COORDINATOR_CHANGE_H
#define TAILOR_COORDINATOR_CHANGE_H

#include "coordinator/state.h"
#include "proto/worker.pb-c.h"

struct change;

struct change *change_begin(struct coordinator *coordinator);
struct arena *change_arena(struct change *change);

/* job 0: of the cluster. */
void change_event(struct change *change, const struct job *job, const char *kind,
                  Api__Severity severity, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void change_finding(struct change *change, const struct job *job, const Wire__Finding *finding);
void change_job(struct change *change, const struct job *job); /* its row, as memory has it */
/* A finished checkpoint; older ones beyond the job's keep_last go. */
void change_checkpoint(struct change *change, const struct job *job,
                       const Wire__CheckpointReport *report);
/* The job's model becomes its next version, once. */
void change_model(struct change *change, const struct job *job, const Wire__ModelReport *report);
/* What the job left besides a model. */
void change_result(struct change *change, const struct job *job, const Wire__ResultReport *report);
/* What a tenant used and that is not recorded yet; one without a name is idle capacity. */
void change_usage(struct change *change, const struct tenant *used, int64_t begin_ms,
                  int64_t end_ms);
void change_worker(struct change *change, struct member *member);
/* Anything else, in the same savepoint, behind the rows. One a change. */
void change_also(struct change *change, coordinator_run *run, void *argument);

/* Hands it over; the change is gone behind `done` (or NULL). `done` gets STATUS_OK; STATUS_IO means
 * that the coordinator ends with a full disk, and then nobody may be told anything; anything else
 * is why a worker's claim (a checkpoint, a model, a result) was not taken, while the rest was. */
void change_commit(struct change *change, coordinator_done *done, void *argument);
/* The same, with the job's row behind what the cluster did to it. */
void change_commit_job(struct change *change, const struct job *job, coordinator_done *done,
                       void *argument);
/* Nothing in it and nothing from the cluster: it may be dropped. */
bool change_is_empty(const struct change *change);
void change_drop(struct change *change);

#endif
