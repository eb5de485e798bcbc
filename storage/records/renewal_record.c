/* SPDX-License-Identifier: Apache-2.0
 *
 * renewal_record: see renewal_record.h. Rejected: a new cluster name, which would send every worker
 * home; they keep their keys, and are told what to stop.
 */
#include "storage/records/renewal_record.h"

#include "lib/check.h"
#include "storage/files/blob.h"
#include "storage/records/sql.h"

/* How much may have been given away since the copy. */
enum { IDS_JUMP = 1000, NUMBERS_JUMP = 1000000, TERMS_JUMP = 1000 };

static enum status jump_ids(struct records *records, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "UPDATE sqlite_sequence SET seq = seq + CASE WHEN name IN"
              " ('events', 'audit', 'alias_moves') THEN :numbers ELSE :ids END");
    sql_i64(&sql, ":numbers", NUMBERS_JUMP);
    sql_i64(&sql, ":ids", IDS_JUMP);
    return sql_run(&sql, NULL, error);
}

/* 1, 2, 3 of AttemptState are live; 6 is stopped, which is charged to nobody. */
static enum status end_attempts(struct records *records, int64_t now_ms, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "UPDATE attempts SET state = 6, finished_ms = :now,"
              " failure_message = 'the records were restored from a backup'"
              " WHERE state IN (1, 2, 3)");
    sql_i64(&sql, ":now", now_ms);
    return sql_run(&sql, NULL, error);
}

/* JobState: 1 queued, 5 paused, 7 cancelling, 10 cancelled; from 8 on they are final. */
static enum status queue_jobs(struct records *records, int64_t now_ms, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "UPDATE jobs SET term = CASE WHEN state = 7 THEN term ELSE term + :terms END,"
              " state_since_ms = :now, finished_ms = CASE WHEN state = 7 THEN :now END,"
              " state = CASE state WHEN 5 THEN 5 WHEN 7 THEN 10 ELSE 1 END WHERE state < 8");
    sql_i64(&sql, ":terms", TERMS_JUMP);
    sql_i64(&sql, ":now", now_ms);
    return sql_run(&sql, NULL, error);
}

enum status records_renew(struct records *records, int64_t now_ms, struct error *error)
{
    TRY(records_begin(records, error));
    enum status status = jump_ids(records, error);
    if (status == STATUS_OK)
        status = end_attempts(records, now_ms, error);
    if (status == STATUS_OK)
        status = queue_jobs(records, now_ms, error);
    if (status == STATUS_OK)
        return records_commit(records, error);
    records_rollback(records);
    return status;
}

/* ---- is all of it there? ---- */
static enum status count_rows(struct records *records, const char *query, int64_t *count_out,
                              struct error *error)
{
    struct sql sql;
    bool found;
    sql_begin(&sql, records, query);
    return sql_value(&sql, count_out, &found, error);
}

static enum status check_blob(const char *root, const char *tenant, const char *digest,
                              int64_t bytes, struct error *error)
{
    char store[PATH_MAX];
    int64_t size;
    blob_tenant_path(root, tenant, store);
    TRY(blob_size(store, digest, &size, error));
    if (size != bytes)
        return error_set(error, STATUS_FORMAT, "blob %s of %s is %s", digest,
                         tenant[0] != '\0' ? tenant : "the cluster",
                         size < 0 ? "not in the backup" : "of another length than it was");
    return STATUS_OK;
}

enum status renewal_check_blobs(struct records *records, const char *root,
                                struct renewal_counts *counts_out, struct error *error)
{
    struct renewal_counts counts = {0};
    struct sql sql;
    bool row = true;
    TRY(count_rows(records, "SELECT count(*) FROM jobs", &counts.jobs, error));
    TRY(count_rows(records, "SELECT count(*) FROM model_versions", &counts.models, error));
    sql_begin(&sql, records, "SELECT tenant, digest, bytes FROM blobs");
    for (;;) {
        TRY(sql_step(&sql, &row, error));
        if (!row)
            break;
        int64_t bytes = sqlite3_column_int64(sql.statement, 2);
        enum status status =
            check_blob(root, (const char *)sqlite3_column_text(sql.statement, 0),
                       (const char *)sqlite3_column_text(sql.statement, 1), bytes, error);
        if (status != STATUS_OK) {
            sql_end(&sql);
            return status;
        }
        counts.blobs++;
        counts.bytes += bytes;
    }
    sql_end(&sql);
    *counts_out = counts;
    return STATUS_OK;
}
