/* SPDX-License-Identifier: Apache-2.0
 *
 * Counts are taken from the rows when they are asked for: kept beside them, they would be one more
 * thing that a crash could leave wrong.
 */
#include "storage/records/batch_record.h"

#include <inttypes.h>

#include "lib/check.h"
#include "storage/records/sql.h"

enum status batch_record_put(struct records *records, const Api__Batch *batch, int64_t *id_out,
                             struct error *error)
{
    struct sql sql;
    bool found;
    CHECK(batch->tenant != NULL && batch->name != NULL && batch->recipe != NULL);
    CHECK(batch->has_created_ms);
    sql_begin(&sql, records,
              "INSERT INTO batches (tenant, name, created_ms, max_running, recipe)"
              " SELECT name, :name, :created_ms, :max_running, :recipe FROM tenants"
              " WHERE name = :tenant ON CONFLICT (tenant, name) DO UPDATE SET"
              " max_running = excluded.max_running, recipe = excluded.recipe,"
              " cancel_requested = NULL RETURNING id");
    sql_message(&sql, &batch->base);
    TRY(sql_value(&sql, id_out, &found, error));
    if (!found)
        return error_set(error, STATUS_NOT_FOUND, "there is no tenant %s", batch->tenant);
    return STATUS_OK;
}

enum status batch_record_put_row(struct records *records, const Api__BatchRow *row,
                                 bool *unchanged_out, struct error *error)
{
    struct sql sql;
    int64_t one;
    CHECK(row->has_batch_id && row->has_row && row->has_state);
    /* 9 and 10 are failed and cancelled */
    sql_begin(&sql, records,
              "SELECT 1 FROM batch_rows JOIN jobs ON jobs.id = job_id WHERE"
              " batch_rows.batch_id = :batch_id AND row = :row"
              " AND batch_rows.spec_digest = :spec_digest AND jobs.state NOT IN (9, 10)");
    sql_message(&sql, &row->base);
    TRY(sql_value(&sql, &one, unchanged_out, error));
    if (*unchanged_out)
        return STATUS_OK;
    sql_begin(&sql, records,
              "INSERT OR REPLACE INTO batch_rows (batch_id, row, tenant, state, job_id,"
              " spec_digest, error, \"values\") VALUES (:batch_id, :row, :tenant, :state, :job_id,"
              " :spec_digest, :error, :values)");
    sql_message(&sql, &row->base);
    return sql_insert(&sql, "this row", NULL, error);
}

/* State 1 is invalid and 2 waiting, of a row; below 8 active, of a job; gate 2 is held. */
#define BATCH_SELECT                                                                               \
    "WITH counts AS (SELECT r.batch_id, count(*) total, sum(r.state = 1) invalid,"                 \
    " sum(r.state = 2) waiting, total(j.state < 8) active, total(j.state = 8) succeeded,"          \
    " total(j.state = 9) failed, total(j.state = 10) cancelled,"                                   \
    " total(j.state = 8 AND j.gate_decision = 2) held"                                             \
    " FROM batch_rows r LEFT JOIN jobs j ON j.id = r.job_id GROUP BY r.batch_id)"                  \
    " SELECT id, tenant, name, created_ms, max_running, cancel_requested,"                         \
    " coalesce(total, 0) rows_total, coalesce(invalid, 0) rows_invalid,"                           \
    " coalesce(waiting, 0) rows_waiting, cast(coalesce(active, 0) AS INTEGER) jobs_active,"        \
    " cast(coalesce(succeeded, 0) AS INTEGER) jobs_succeeded,"                                     \
    " cast(coalesce(failed, 0) AS INTEGER) jobs_failed,"                                           \
    " cast(coalesce(cancelled, 0) AS INTEGER) jobs_cancelled,"                                     \
    " cast(coalesce(held, 0) AS INTEGER) jobs_held"                                                \
    " FROM batches LEFT JOIN counts ON batch_id = id WHERE (:scope IS NULL OR tenant = :scope) "

enum status batch_record_get(struct records *records, struct scope scope, int64_t id,
                             struct arena *arena, Api__Batch **batch_out, struct error *error)
{
    struct sql sql;
    Api__Batch *batch = message_new(arena, &api__batch__descriptor);
    sql_begin(&sql, records, BATCH_SELECT "AND id = :id");
    sql_i64(&sql, ":id", id);
    sql_scope(&sql, scope);
    enum status status = sql_one(&sql, arena, &batch->base, error);
    if (status == STATUS_NOT_FOUND)
        return error_set(error, STATUS_NOT_FOUND, "there is no batch b-%" PRId64, id);
    TRY(status);
    *batch_out = batch;
    return STATUS_OK;
}

enum status batch_record_list(struct records *records, struct scope scope, int64_t after,
                              int64_t limit, struct arena *arena, Api__BatchList *list,
                              struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              BATCH_SELECT "AND (:after = 0 OR id < :after) ORDER BY id DESC LIMIT :limit");
    sql_i64(&sql, ":after", after);
    sql_i64(&sql, ":limit", limit);
    sql_scope(&sql, scope);
    TRY(sql_rows(&sql, arena, list, "batches", error));
    list->has_next = (int64_t)list->n_batches == limit;
    if (list->has_next)
        list->next = list->batches[list->n_batches - 1]->id;
    return STATUS_OK;
}

enum status batch_record_rows(struct records *records, struct scope scope, int64_t id,
                              int64_t after, int64_t limit, struct arena *arena,
                              Api__BatchReply *reply, struct error *error)
{
    struct sql sql;
    sql_begin(
        &sql, records,
        "SELECT r.batch_id, r.row, r.tenant, r.state, r.job_id, r.spec_digest, r.error,"
        " r.\"values\", j.state job_state FROM batch_rows r LEFT JOIN jobs j ON j.id = r.job_id"
        " WHERE r.batch_id = :id AND r.row > :after AND EXISTS (SELECT 1 FROM batches b"
        "   WHERE b.id = :id AND (:scope IS NULL OR b.tenant = :scope))"
        " ORDER BY r.row LIMIT :limit");
    sql_i64(&sql, ":id", id);
    sql_i64(&sql, ":after", after);
    sql_i64(&sql, ":limit", limit);
    sql_scope(&sql, scope);
    TRY(sql_rows(&sql, arena, reply, "rows", error));
    reply->has_next = (int64_t)reply->n_rows == limit;
    if (reply->has_next)
        reply->next = reply->rows[reply->n_rows - 1]->row;
    return STATUS_OK;
}
