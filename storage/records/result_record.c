/* SPDX-License-Identifier: Apache-2.0
 *
 * A row keeps its manifest's blobs from the garbage (blob_record.c). It goes with its model or its
 * dataset, whose texts it may quote.
 */
#include "storage/records/result_record.h"

#include <inttypes.h>

#include "lib/check.h"
#include "storage/records/blob_record.h"
#include "storage/records/sql.h"

#define RESULT_COLUMNS "r.job_id, r.tenant, r.manifest, r.bytes, r.figures, r.created_ms"

enum status result_record_put(struct records *records, const Api__Result *result,
                              struct error *error)
{
    struct sql sql;
    bool has;
    CHECK(result->has_job_id && result->tenant != NULL && result->manifest != NULL);
    CHECK(result->has_bytes && result->has_created_ms);
    TRY(blob_record_has(records, result->tenant, result->manifest, &has, error));
    if (!has)
        return error_set(error, STATUS_NOT_FOUND, "the result %.12s… is not in the store",
                         result->manifest);
    sql_begin(
        &sql, records,
        "INSERT OR REPLACE INTO results (job_id, tenant, manifest, bytes, figures, created_ms)"
        " VALUES (:job_id, :tenant, :manifest, :bytes, :figures, :created_ms)");
    sql_message(&sql, &result->base);
    return sql_run(&sql, NULL, error);
}

enum status result_record_get(struct records *records, struct scope scope, int64_t job_id,
                              struct arena *arena, Api__Result **result_out, struct error *error)
{
    struct sql sql;
    Api__Result *result = message_new(arena, &api__result__descriptor);
    sql_begin(&sql, records,
              "SELECT " RESULT_COLUMNS " FROM results r WHERE job_id = :id"
              " AND (:scope IS NULL OR tenant = :scope)");
    sql_i64(&sql, ":id", job_id);
    sql_scope(&sql, scope);
    enum status status = sql_one(&sql, arena, &result->base, error);
    if (status == STATUS_NOT_FOUND)
        return error_set(error, STATUS_NOT_FOUND, "job j-%" PRId64 " has left no rows (yet)",
                         job_id);
    TRY(status);
    *result_out = result;
    return STATUS_OK;
}

enum status result_record_parts(struct records *records, int64_t job_id, struct arena *arena,
                                Api__ResultList *list, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "SELECT " RESULT_COLUMNS " FROM results r JOIN jobs ON jobs.id = r.job_id"
              " WHERE shard_of = :id ORDER BY shard");
    sql_i64(&sql, ":id", job_id);
    return sql_rows(&sql, arena, list, "results", error);
}

enum status result_record_drop_parts(struct records *records, int64_t job_id, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "DELETE FROM results WHERE job_id IN (SELECT id FROM jobs WHERE shard_of = :id)");
    sql_i64(&sql, ":id", job_id);
    return sql_run(&sql, NULL, error);
}

enum status result_record_expire_exports(struct records *records, int64_t time_ms,
                                         int64_t *removed_out, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "DELETE FROM results WHERE created_ms < :time_ms"
              " AND job_id IN (SELECT id FROM jobs WHERE stage = :stage)");
    sql_i64(&sql, ":time_ms", time_ms);
    sql_i64(&sql, ":stage", API__STAGE__STAGE_EXPORT);
    return sql_run(&sql, removed_out, error);
}
