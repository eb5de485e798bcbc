/* SPDX-License-Identifier: Apache-2.0
 *
 * batch_record: many jobs from one recipe and one table, a row each.
 *
 * A batch is its tenant and name: submitting it again finds its rows, and a row whose resolved spec
 * has the digest of last time is left alone.
 */
#ifndef TAILOR_STORAGE_RECORDS_BATCH_RECORD_H
#define TAILOR_STORAGE_RECORDS_BATCH_RECORD_H

#include "proto/api.pb-c.h"
#include "storage/records/records.h"

struct arena;

/* A new batch, or the one of this name with a new recipe and max_running. */
enum status batch_record_put(struct records *records, const Api__Batch *batch, int64_t *id_out,
                             struct error *error);
/* Writes row->row of row->batch_id; *unchanged_out when it had this spec's digest and a job that
 * has not failed or been cancelled: then nothing is written. */
enum status batch_record_put_row(struct records *records, const Api__BatchRow *row,
                                 bool *unchanged_out, struct error *error);
/* With the counts of its rows and jobs. */
enum status batch_record_get(struct records *records, struct scope scope, int64_t id,
                             struct arena *arena, Api__Batch **batch_out, struct error *error);
enum status batch_record_list(struct records *records, struct scope scope, int64_t after,
                              int64_t limit, struct arena *arena, Api__BatchList *list,
                              struct error *error);
/* Rows behind `after`, with the states of their jobs. */
enum status batch_record_rows(struct records *records, struct scope scope, int64_t id,
                              int64_t after, int64_t limit, struct arena *arena,
                              Api__BatchReply *reply, struct error *error);

#endif
