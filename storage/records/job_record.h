/* SPDX-License-Identifier: Apache-2.0
 *
 * job_record: jobs as rows: submitted once, listed, moved from state to state.
 *
 * Which moves are allowed is the coordinator's to know; here a move is conditional: it changes the
 * row only if it is still in the state and the term that the mover saw.
 */
#ifndef TAILOR_STORAGE_RECORDS_JOB_RECORD_H
#define TAILOR_STORAGE_RECORDS_JOB_RECORD_H

#include "proto/api.pb-c.h"
#include "proto/ident.h"
#include "storage/records/records.h"

struct arena;

enum { JOB_INPUTS_MAX = 48 }; /* of one spec: an assignment lists them all, and their parents */

struct job_input {
    int kind; /* Api__ObjectKind */
    struct reference object;
};

/* A job with `shards` is inserted with so many jobs behind it, its shards: `after` is theirs then,
 * and it comes after them. */
struct job_submit {
    const Api__Job *job;         /* tenant, stage, queue, …; spec and spec_digest are needed */
    const char *idempotency_key; /* NULL: every submit is a new job */
    const char *body_digest;     /* of what was submitted; with a key */
    const int64_t *after;        /* jobs of the same tenant that must succeed before */
    int after_count;
    const struct job_input *inputs;
    int input_count;
};

/* Inserts the job, queued, and its first event. The same key and body as before give the id of
 * that time and *created_out false; with another body: STATUS_CONFLICT. STATUS_NOT_FOUND: the
 * tenant or a job of `after` is not there. */
enum status job_record_submit(struct records *records, const struct job_submit *submit,
                              int64_t *id_out, bool *created_out, struct error *error);
/* With labels; `with_spec`: with its resolved spec and its figures. */
enum status job_record_get(struct records *records, struct scope scope, int64_t id, bool with_spec,
                           struct arena *arena, Api__Job **job_out, struct error *error);
/* A page, newest first; list->next is set when there may be more. */
enum status job_record_list(struct records *records, struct scope scope,
                            const Api__JobListRequest *request, struct arena *arena,
                            Api__JobList *list, struct error *error);
/* All that are in no final state, oldest first, with their specs: for a coordinator that starts. */
enum status job_record_active(struct records *records, struct arena *arena, Api__JobList *list,
                              struct error *error);
/* What it reads, as it was submitted. */
enum status job_record_inputs(struct records *records, int64_t id, struct arena *arena,
                              struct job_input **inputs_out, int *count_out, struct error *error);
/* The jobs that `id` waits for: of a job with shards these. */
enum status job_record_after(struct records *records, int64_t id, struct arena *arena,
                             Api__JobList *list, struct error *error);
/* `job` is the whole job as it was read, changed. Writes what may change (states, times, reasons,
 * requests, step, outcome, priority) if its row is still in `from` and of job->term;
 * STATUS_CONFLICT otherwise. Leaves the rest. */
enum status job_record_update(struct records *records, const Api__Job *job, int from,
                              struct error *error);
/* Jobs whose logs quote data that were removed, at most `max`; and: its files are gone. */
enum status job_record_stale_logs(struct records *records, int64_t *ids, int max, int *count_out,
                                  struct error *error);
enum status job_record_log_gone(struct records *records, int64_t id, struct error *error);
/* How many of a tenant's jobs are in no final state: for its quota. */
enum status job_record_count_active(struct records *records, const char *tenant, int64_t *count_out,
                                    struct error *error);

#endif
