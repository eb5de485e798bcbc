/* SPDX-License-Identifier: Apache-2.0
 *
 * result_record: what jobs left besides models, one manifest a job: rows to be looked at, figures,
 * a verdict; of a shard its part of them, until the whole has succeeded.
 */
#ifndef TAILOR_STORAGE_RECORDS_RESULT_RECORD_H
#define TAILOR_STORAGE_RECORDS_RESULT_RECORD_H

#include "proto/api.pb-c.h"
#include "storage/records/records.h"

struct arena;

/* Replaces what an earlier attempt left. STATUS_NOT_FOUND: the manifest is no blob of the tenant.
 */
enum status result_record_put(struct records *records, const Api__Result *result,
                              struct error *error);
enum status result_record_get(struct records *records, struct scope scope, int64_t job_id,
                              struct arena *arena, Api__Result **result_out, struct error *error);
/* Of the shards of a job, in their order. */
enum status result_record_parts(struct records *records, int64_t job_id, struct arena *arena,
                                Api__ResultList *list, struct error *error);
/* Of jobs of stage export that ended before `time_ms`: their blobs are garbage then. */
enum status result_record_expire_exports(struct records *records, int64_t time_ms,
                                         int64_t *removed_out, struct error *error);
enum status result_record_drop_parts(struct records *records, int64_t job_id, struct error *error);

#endif
