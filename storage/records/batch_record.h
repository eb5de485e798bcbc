/* SPDX-License-Identifier: Apache-2.0
 *
 * batch_record: many jobs from one recipe and one table, a row each.
 *
 * A batch is its tenant and name: submitting it again finds its rows by their keys, and a row whose
 * resolved spec has the digest of last time keeps the job that it has. A tenant sees of a batch the
 * rows whose jobs are its own.
 */
#ifndef TAILOR_STORAGE_RECORDS_BATCH_RECORD_H
#define TAILOR_STORAGE_RECORDS_BATCH_RECORD_H

#include "proto/api.pb-c.h"
#include "storage/records/records.h"

struct arena;

/* A new batch, or the one of this name with a new recipe and max_running. */
enum status batch_record_put(struct records *records, const Api__Batch *batch, int64_t *id_out,
                             struct error *error);
/* STATUS_NOT_FOUND without a sentence: there is none of this name yet. */
enum status batch_record_find(struct records *records, const char *tenant, const char *name,
                              int64_t *id_out, struct error *error);
/* A person asked for its end, or takes that back. */
enum status batch_record_cancel(struct records *records, int64_t id, bool wish,
                                struct error *error);
/* With the counts of its rows and jobs; `recipe`: with its recipe. */
enum status batch_record_get(struct records *records, struct scope scope, int64_t id, bool recipe,
                             struct arena *arena, Api__Batch **batch_out, struct error *error);
enum status batch_record_list(struct records *records, struct scope scope, int64_t after,
                              int64_t limit, struct arena *arena, Api__BatchList *list,
                              struct error *error);
/* Those with a bound on what runs at once, of which something is not over: id and max_running. */
enum status batch_record_bounds(struct records *records, struct arena *arena, Api__BatchList *list,
                                struct error *error);

/* ---- rows ---- */
/* Writes the row of row->batch_id and row->key. */
enum status batch_record_put_row(struct records *records, const Api__BatchRow *row,
                                 struct error *error);
/* The job that the row has if it was submitted with this digest, else 0. */
enum status batch_record_unchanged(struct records *records, int64_t id, const char *key,
                                   const char *spec_digest, int64_t *job_id_out,
                                   struct error *error);
/* Rows without a job go: the next submit says anew what is refused. */
enum status batch_record_drop_refused(struct records *records, int64_t id, struct error *error);

struct batch_row_query {
    int64_t id;
    int64_t after, limit; /* a page: rows whose id is greater; the last one's is list->next */
    int64_t job;          /* the one row of this job; 0: any */
    int64_t states;       /* bits 1 << Api__JobState of its job; 0: any, and rows without a job */
    int failure_class;    /* 0: any */
};

/* In the order in which they first came, with what their jobs are. */
enum status batch_record_rows(struct records *records, struct scope scope,
                              const struct batch_row_query *query, struct arena *arena,
                              Api__BatchReply *reply, struct error *error);

#endif
