/* SPDX-License-Identifier: Apache-2.0
 *
 * Counts are taken from the rows when they are asked for: kept beside them, they would be one more
 * thing that a crash could leave wrong.
 */
#include "storage/records/batch_record.h"

#include <inttypes.h>

#include "lib/check.h"
#include "storage/records/sql.h"

enum status batch_record_find(struct records *records, const char *tenant, const char *name,
                              int64_t *id_out, struct error *error)
{
    struct sql sql;
    bool found;
    sql_begin(&sql, records, "SELECT id FROM batches WHERE tenant = :tenant AND name = :name");
    sql_text(&sql, ":tenant", tenant);
    sql_text(&sql, ":name", name);
    TRY(sql_value(&sql, id_out, &found, error));
    return found ? STATUS_OK : STATUS_NOT_FOUND;
}

/* Looked for first: an upsert would take an id from the sequence each time. */
enum status batch_record_put(struct records *records, const Api__Batch *batch, int64_t *id_out,
                             struct error *error)
{
    struct sql sql;
    bool found;
    CHECK(batch->tenant != NULL && batch->name != NULL && batch->recipe != NULL);
    CHECK(batch->has_created_ms);
    enum status status = batch_record_find(records, batch->tenant, batch->name, id_out, error);
    if (status == STATUS_OK) {
        sql_begin(&sql, records,
                  "UPDATE batches SET max_running = :max_running, recipe = :recipe,"
                  " cancel_requested = NULL WHERE tenant = :tenant AND name = :name");
        sql_message(&sql, &batch->base);
        return sql_change(&sql, error);
    }
    if (status != STATUS_NOT_FOUND)
        return status;
    sql_begin(&sql, records,
              "INSERT INTO batches (tenant, name, created_ms, max_running, recipe)"
              " SELECT name, :name, :created_ms, :max_running, :recipe FROM tenants"
              " WHERE name = :tenant RETURNING id");
    sql_message(&sql, &batch->base);
    TRY(sql_value(&sql, id_out, &found, error));
    if (!found)
        return error_set(error, STATUS_NOT_FOUND, "there is no tenant %s", batch->tenant);
    return STATUS_OK;
}

enum status batch_record_cancel(struct records *records, int64_t id, bool wish, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records, "UPDATE batches SET cancel_requested = :wish WHERE id = :id");
    sql_i64(&sql, ":wish", wish);
    sql_i64(&sql, ":id", id);
    return sql_run(&sql, NULL, error);
}

/* State 1 is invalid, of a row; 1 queued, 6 recovering, below 8 active, of a job; gate 2 is held.
 */
#define BATCH_SELECT(which_rows, recipe)                                                           \
    "WITH counts AS (SELECT r.batch_id, count(*) total, sum(r.state = 1) invalid,"                 \
    " total(j.state IN (1, 6)) waiting, total(j.state < 8) active, total(j.state = 8) succeeded,"  \
    " total(j.state = 9) failed, total(j.state = 10) cancelled,"                                   \
    " total(j.state = 8 AND j.gate_decision = 2) held"                                             \
    " FROM batch_rows r LEFT JOIN jobs j ON j.id = r.job_id"                                       \
    " WHERE (:scope IS NULL OR r.tenant = :scope)" which_rows " GROUP BY r.batch_id)"              \
    " SELECT id, tenant, name, created_ms, max_running, cancel_requested," recipe                  \
    " coalesce(total, 0) rows_total, coalesce(invalid, 0) rows_invalid,"                           \
    " cast(coalesce(waiting, 0) AS INTEGER) rows_waiting,"                                         \
    " cast(coalesce(active, 0) AS INTEGER) jobs_active,"                                           \
    " cast(coalesce(succeeded, 0) AS INTEGER) jobs_succeeded,"                                     \
    " cast(coalesce(failed, 0) AS INTEGER) jobs_failed,"                                           \
    " cast(coalesce(cancelled, 0) AS INTEGER) jobs_cancelled,"                                     \
    " cast(coalesce(held, 0) AS INTEGER) jobs_held"                                                \
    " FROM batches LEFT JOIN counts ON batch_id = id WHERE (:scope IS NULL OR tenant = :scope) "

static enum status read_failures(struct records *records, struct scope scope, struct arena *arena,
                                 Api__Batch *batch, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "SELECT j.failure_class, count(*) jobs FROM batch_rows r JOIN jobs j"
              " ON j.id = r.job_id WHERE r.batch_id = :id AND j.state = 9"
              " AND j.failure_class IS NOT NULL AND (:scope IS NULL OR r.tenant = :scope)"
              " GROUP BY j.failure_class ORDER BY j.failure_class");
    sql_i64(&sql, ":id", batch->id);
    sql_scope(&sql, scope);
    return sql_rows(&sql, arena, batch, "failures", error);
}

enum status batch_record_get(struct records *records, struct scope scope, int64_t id, bool recipe,
                             struct arena *arena, Api__Batch **batch_out, struct error *error)
{
    struct sql sql;
    Api__Batch *batch = message_new(arena, &api__batch__descriptor);
    sql_begin(&sql, records,
              recipe ? BATCH_SELECT(" AND r.batch_id = :id", " recipe,") "AND id = :id"
                     : BATCH_SELECT(" AND r.batch_id = :id", "") "AND id = :id");
    sql_i64(&sql, ":id", id);
    sql_scope(&sql, scope);
    enum status status = sql_one(&sql, arena, &batch->base, error);
    if (status == STATUS_NOT_FOUND)
        return error_set(error, STATUS_NOT_FOUND, "there is no batch b-%" PRId64, id);
    TRY(status);
    TRY(read_failures(records, scope, arena, batch, error));
    *batch_out = batch;
    return STATUS_OK;
}

enum status batch_record_list(struct records *records, struct scope scope, int64_t after,
                              int64_t limit, struct arena *arena, Api__BatchList *list,
                              struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              BATCH_SELECT("", "") "AND (:after = 0 OR id < :after) ORDER BY id DESC LIMIT :limit");
    sql_i64(&sql, ":after", after);
    sql_i64(&sql, ":limit", limit);
    sql_scope(&sql, scope);
    TRY(sql_rows(&sql, arena, list, "batches", error));
    for (size_t i = 0; i < list->n_batches; i++)
        TRY(read_failures(records, scope, arena, list->batches[i], error));
    list->has_next = (int64_t)list->n_batches == limit;
    if (list->has_next)
        list->next = list->batches[list->n_batches - 1]->id;
    return STATUS_OK;
}

enum status batch_record_bounds(struct records *records, struct arena *arena, Api__BatchList *list,
                                struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "SELECT id, max_running FROM batches WHERE max_running > 0 AND EXISTS"
              " (SELECT 1 FROM jobs WHERE jobs.batch_id = batches.id AND jobs.state < 8)");
    return sql_rows(&sql, arena, list, "batches", error);
}

/* ---- rows ---- */
enum status batch_record_put_row(struct records *records, const Api__BatchRow *row,
                                 struct error *error)
{
    struct sql sql;
    CHECK(row->has_batch_id && row->has_row && row->has_state && row->key != NULL);
    CHECK(row->has_job_id == (row->state == API__BATCH_ROW_STATE__BATCH_ROW_STATE_SUBMITTED));
    sql_begin(&sql, records,
              "INSERT INTO batch_rows (batch_id, key, row, tenant, state, job_id, spec_digest,"
              " error, \"values\") VALUES (:batch_id, :key, :row, :tenant, :state, :job_id,"
              " :spec_digest, :error, :values) ON CONFLICT (batch_id, key) DO UPDATE SET"
              " row = excluded.row, tenant = excluded.tenant, state = excluded.state,"
              " job_id = excluded.job_id, spec_digest = excluded.spec_digest,"
              " error = excluded.error, \"values\" = excluded.\"values\"");
    sql_message(&sql, &row->base);
    return sql_insert(&sql, "this row", NULL, error);
}

enum status batch_record_unchanged(struct records *records, int64_t id, const char *key,
                                   const char *spec_digest, int64_t *job_id_out,
                                   struct error *error)
{
    struct sql sql;
    bool found;
    sql_begin(&sql, records,
              "SELECT job_id FROM batch_rows WHERE batch_id = :id AND key = :key"
              " AND spec_digest = :spec_digest AND job_id IS NOT NULL");
    sql_i64(&sql, ":id", id);
    sql_text(&sql, ":key", key);
    sql_text(&sql, ":spec_digest", spec_digest);
    return sql_value(&sql, job_id_out, &found, error);
}

enum status batch_record_drop_refused(struct records *records, int64_t id, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records, "DELETE FROM batch_rows WHERE batch_id = :id AND job_id IS NULL");
    sql_i64(&sql, ":id", id);
    return sql_run(&sql, NULL, error);
}

enum status batch_record_rows(struct records *records, struct scope scope,
                              const struct batch_row_query *query, struct arena *arena,
                              Api__BatchReply *reply, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "SELECT r.id, r.batch_id, r.key, r.row, r.tenant, r.state, r.job_id, r.spec_digest,"
              " r.error, r.\"values\", j.state job_state, j.failure_class, j.failure_message,"
              " j.gate_decision, j.output_model, j.output_version"
              " FROM batch_rows r LEFT JOIN jobs j ON j.id = r.job_id"
              " WHERE r.batch_id = :id AND r.id > :after AND (:scope IS NULL OR r.tenant = :scope)"
              " AND (:states = 0 OR (:states >> coalesce(j.state, 0)) & 1)"
              " AND (:job = 0 OR r.job_id = :job) AND (:class = 0 OR j.failure_class = :class) AND "
              "EXISTS (SELECT 1 FROM batches b"
              "   WHERE b.id = :id AND (:scope IS NULL OR b.tenant = :scope))"
              " ORDER BY r.id LIMIT :limit");
    sql_i64(&sql, ":id", query->id);
    sql_i64(&sql, ":after", query->after);
    sql_i64(&sql, ":limit", query->limit);
    sql_i64(&sql, ":states", query->states);
    sql_i64(&sql, ":job", query->job);
    sql_i64(&sql, ":class", query->failure_class);
    sql_scope(&sql, scope);
    TRY(sql_rows(&sql, arena, reply, "rows", error));
    reply->has_next = (int64_t)reply->n_rows == query->limit;
    if (reply->has_next)
        reply->next = reply->rows[reply->n_rows - 1]->id;
    return STATUS_OK;
}
