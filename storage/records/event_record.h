/* SPDX-License-Identifier: Apache-2.0
 *
 * event_record: what happened, and who did what. Both only grow; their number is the cursor.
 *
 * An event that says that a row changed is written in the transaction that changes it.
 */
#ifndef TAILOR_STORAGE_RECORDS_EVENT_RECORD_H
#define TAILOR_STORAGE_RECORDS_EVENT_RECORD_H

#include "proto/api.pb-c.h"
#include "storage/records/records.h"

struct arena;

enum status event_record_insert(struct records *records, const Api__Event *event,
                                struct error *error);
/* Unless the job has the very same one. */
enum status event_record_insert_once(struct records *records, const Api__Event *event,
                                     struct error *error);
/* The short form for a job: an event of severity info. term 0: of no attempt. */
enum status event_record_job(struct records *records, int64_t time_ms, const char *tenant,
                             int64_t job_id, int64_t term, const char *kind, const char *message,
                             struct error *error);
/* Events behind `after`, oldest first; job_id 0: of everything. list->next is the cursor to go on
 * with, also behind the last one. */
enum status event_record_list(struct records *records, struct scope scope, int64_t job_id,
                              int64_t after, int64_t limit, struct arena *arena,
                              Api__EventList *list, struct error *error);
/* The newest number that was given out, and the newest of those that were removed; 0: none. */
enum status event_record_bounds(struct records *records, int64_t *cut_out, int64_t *newest_out,
                                struct error *error);
/* Removes events before `time_ms` of jobs that are in a final state. */
enum status event_record_expire(struct records *records, int64_t time_ms, int64_t *removed_out,
                                struct error *error);

enum status audit_record_insert(struct records *records, const Api__AuditEntry *entry,
                                struct error *error);
enum status audit_record_list(struct records *records, struct scope scope, int64_t after,
                              int64_t limit, struct arena *arena, Api__AuditList *list,
                              struct error *error);

#endif
