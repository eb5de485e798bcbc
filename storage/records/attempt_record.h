/* SPDX-License-Identifier: Apache-2.0
 *
 * attempt_record: tries of a job, the fence between them, and the checkpoints they leave.
 *
 * A job's term grows by one with each attempt. What an attempt reports is taken only while its term
 * is the job's and its sequence is new; both are conditions of the SQL that writes, so an attempt
 * that was given up cannot slip in between a look and a write.
 */
#ifndef TAILOR_STORAGE_RECORDS_ATTEMPT_RECORD_H
#define TAILOR_STORAGE_RECORDS_ATTEMPT_RECORD_H

#include "proto/api.pb-c.h"
#include "proto/worker.pb-c.h"
#include "storage/records/records.h"

struct arena;

/* Raises the job's term and inserts the attempt with its ranks. attempt: job_id, reason,
 * created_ms, ranks; its term and state are set here. */
enum status attempt_record_begin(struct records *records, const Api__Attempt *attempt,
                                 int64_t *term_out, struct error *error);
/* Takes a report's stamp: COMMITTED the first time, DUPLICATE when this or a later one has been
 * taken, FENCED for a former term, UNKNOWN for what was never started. Only after COMMITTED may the
 * report's effects be written, in the same transaction. */
enum status attempt_record_accept(struct records *records, const Wire__Stamp *stamp,
                                  Wire__AckResult *result_out, struct error *error);
/* Writes state, times, steps, numerics and failure; STATUS_CONFLICT when the term is past. */
enum status attempt_record_update(struct records *records, const Api__Attempt *attempt,
                                  struct error *error);
/* The newest first, with ranks. */
enum status attempt_record_list(struct records *records, struct scope scope, int64_t job_id,
                                struct arena *arena, Api__AttemptList *list, struct error *error);

/* Registers a checkpoint whose manifest is a blob of the job's tenant: this row is the commit
 * point. STATUS_CONFLICT: the term is past; STATUS_NOT_FOUND: the manifest is not in the store. The
 * same step of a later term replaces the row. */
enum status checkpoint_record_insert(struct records *records, const Api__Checkpoint *checkpoint,
                                     struct error *error);
/* The newest first. */
enum status checkpoint_record_list(struct records *records, struct scope scope, int64_t job_id,
                                   struct arena *arena, Api__CheckpointList *list,
                                   struct error *error);
/* Keeps the newest `keep_last` and those marked best; the blobs of the others are then garbage. */
enum status checkpoint_record_prune(struct records *records, int64_t job_id, int64_t keep_last,
                                    int64_t *removed_out, struct error *error);

#endif
