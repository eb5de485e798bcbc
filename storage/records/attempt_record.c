/* SPDX-License-Identifier: Apache-2.0
 *
 * Rejected: keeping terms in memory and checking there. A restart, or a report that was queued
 * behind the decision to restart, would go by the wrong one.
 */
#include "storage/records/attempt_record.h"

#include <inttypes.h>

#include "lib/check.h"
#include "storage/records/sql.h"

static enum status past(int64_t job_id, int64_t term, struct error *error)
{
    return error_set(error, STATUS_CONFLICT, "term %" PRId64 " of job j-%" PRId64 " is past", term,
                     job_id);
}

static enum status insert_ranks(struct records *records, const Api__Attempt *attempt, int64_t term,
                                struct error *error)
{
    for (size_t i = 0; i < attempt->n_ranks; i++) {
        struct sql sql;
        sql_begin(&sql, records,
                  "INSERT INTO attempt_ranks (job_id, term, rank, worker_id, worker, slot)"
                  " VALUES (:job_id, :term, :rank, :worker_id, :worker, :slot)");
        sql_message(&sql, &attempt->ranks[i]->base);
        sql_i64(&sql, ":job_id", attempt->job_id);
        sql_i64(&sql, ":term", term);
        TRY(sql_insert(&sql, "this rank", NULL, error));
    }
    return STATUS_OK;
}

enum status attempt_record_begin(struct records *records, const Api__Attempt *attempt,
                                 int64_t *term_out, struct error *error)
{
    struct sql sql;
    bool found;
    int64_t term;
    CHECK(attempt->has_job_id && attempt->has_created_ms);
    sql_begin(&sql, records, "UPDATE jobs SET term = term + 1 WHERE id = :job_id RETURNING term");
    sql_message(&sql, &attempt->base);
    TRY(sql_value(&sql, &term, &found, error));
    if (!found)
        return error_set(error, STATUS_NOT_FOUND, "there is no job j-%" PRId64, attempt->job_id);
    sql_begin(&sql, records,
              "INSERT INTO attempts (job_id, term, state, reason, created_ms, numerics, first_step)"
              " VALUES (:job_id, :term, :starting, :reason, :created_ms, :numerics, :first_step)");
    sql_message(&sql, &attempt->base);
    sql_i64(&sql, ":term", term);
    sql_i64(&sql, ":starting", API__ATTEMPT_STATE__ATTEMPT_STATE_STARTING);
    TRY(sql_insert(&sql, "this attempt", NULL, error));
    TRY(insert_ranks(records, attempt, term, error));
    *term_out = term;
    return STATUS_OK;
}

enum status attempt_record_accept(struct records *records, const Wire__Stamp *stamp,
                                  Wire__AckResult *result_out, struct error *error)
{
    struct sql sql;
    int64_t changes, term;
    bool found;
    sql_begin(&sql, records,
              "UPDATE attempts SET sequence = :sequence"
              " WHERE job_id = :job AND term = :term AND sequence < :sequence"
              " AND term = (SELECT term FROM jobs WHERE id = :job)");
    sql_message(&sql, &stamp->base);
    TRY(sql_run(&sql, &changes, error));
    if (changes == 1) {
        *result_out = WIRE__ACK_RESULT__ACK_RESULT_COMMITTED;
        return STATUS_OK;
    }
    sql_begin(&sql, records, "SELECT term FROM jobs WHERE id = :job");
    sql_message(&sql, &stamp->base);
    TRY(sql_value(&sql, &term, &found, error));
    if (!found || stamp->term > term)
        *result_out = WIRE__ACK_RESULT__ACK_RESULT_UNKNOWN;
    else if (stamp->term < term)
        *result_out = WIRE__ACK_RESULT__ACK_RESULT_FENCED;
    else
        *result_out = WIRE__ACK_RESULT__ACK_RESULT_DUPLICATE;
    return STATUS_OK;
}

enum status attempt_record_update(struct records *records, const Api__Attempt *attempt,
                                  struct error *error)
{
    struct sql sql;
    CHECK(attempt->has_job_id && attempt->has_term && attempt->has_state);
    sql_begin(&sql, records,
              "UPDATE attempts SET state = :state, started_ms = :started_ms,"
              " finished_ms = :finished_ms, numerics = :numerics, first_step = :first_step,"
              " last_step = :last_step, failure_class = :failure_class,"
              " failure_message = :failure_message"
              " WHERE job_id = :job_id AND term = :term"
              " AND term = (SELECT term FROM jobs WHERE id = :job_id)");
    sql_message(&sql, &attempt->base);
    enum status status = sql_change(&sql, error);
    return status == STATUS_NOT_FOUND ? past(attempt->job_id, attempt->term, error) : status;
}

enum status attempt_record_list(struct records *records, struct scope scope, int64_t job_id,
                                struct arena *arena, Api__AttemptList *list, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "SELECT job_id, term, state, reason, created_ms, started_ms, finished_ms, numerics,"
              " first_step, last_step, failure_class, failure_message, sequence FROM attempts"
              " WHERE job_id = :job_id AND EXISTS (SELECT 1 FROM jobs WHERE id = :job_id"
              "   AND (:scope IS NULL OR tenant = :scope))"
              " ORDER BY term DESC");
    sql_i64(&sql, ":job_id", job_id);
    sql_scope(&sql, scope);
    TRY(sql_rows(&sql, arena, list, "attempts", error));
    for (size_t i = 0; i < list->n_attempts; i++) {
        sql_begin(&sql, records,
                  "SELECT rank, worker_id, worker, slot FROM attempt_ranks"
                  " WHERE job_id = :job_id AND term = :term ORDER BY rank");
        sql_message(&sql, &list->attempts[i]->base);
        TRY(sql_rows(&sql, arena, list->attempts[i], "ranks", error));
    }
    return STATUS_OK;
}

/* ---- checkpoints ---- */
static enum status manifest_is_there(struct records *records, const Api__Checkpoint *checkpoint,
                                     struct error *error)
{
    struct sql sql;
    int64_t one;
    bool found;
    sql_begin(&sql, records,
              "SELECT 1 FROM blobs WHERE digest = :manifest"
              " AND tenant = (SELECT tenant FROM jobs WHERE id = :job_id)");
    sql_message(&sql, &checkpoint->base);
    TRY(sql_value(&sql, &one, &found, error));
    if (!found)
        return error_set(error, STATUS_NOT_FOUND,
                         "the manifest %.12s… of job j-%" PRId64 " is not in the store",
                         checkpoint->manifest, checkpoint->job_id);
    return STATUS_OK;
}

enum status checkpoint_record_insert(struct records *records, const Api__Checkpoint *checkpoint,
                                     struct error *error)
{
    struct sql sql;
    CHECK(checkpoint->has_job_id && checkpoint->has_term && checkpoint->has_step);
    CHECK(checkpoint->manifest != NULL && checkpoint->has_bytes && checkpoint->has_created_ms);
    TRY(manifest_is_there(records, checkpoint, error));
    sql_begin(&sql, records,
              "INSERT OR REPLACE INTO checkpoints (job_id, term, step, tenant, manifest, bytes,"
              " created_ms, best, figures)"
              " SELECT :job_id, :term, :step, tenant, :manifest, :bytes, :created_ms, :best,"
              " :figures FROM jobs WHERE id = :job_id AND term = :term");
    sql_message(&sql, &checkpoint->base);
    enum status status = sql_change(&sql, error);
    if (status == STATUS_NOT_FOUND)
        return past(checkpoint->job_id, checkpoint->term, error);
    return status;
}

enum status checkpoint_record_list(struct records *records, struct scope scope, int64_t job_id,
                                   struct arena *arena, Api__CheckpointList *list,
                                   struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "SELECT job_id, term, step, manifest, bytes, created_ms, best, figures"
              " FROM checkpoints WHERE job_id = :job_id AND (:scope IS NULL OR tenant = :scope)"
              " ORDER BY step DESC");
    sql_i64(&sql, ":job_id", job_id);
    sql_scope(&sql, scope);
    return sql_rows(&sql, arena, list, "checkpoints", error);
}

enum status checkpoint_record_prune(struct records *records, int64_t job_id, int64_t keep_last,
                                    int64_t *removed_out, struct error *error)
{
    struct sql sql;
    CHECK(keep_last >= 1);
    sql_begin(&sql, records,
              "DELETE FROM checkpoints WHERE job_id = :job_id AND coalesce(best, 0) = 0"
              " AND step NOT IN (SELECT step FROM checkpoints WHERE job_id = :job_id"
              "   ORDER BY step DESC LIMIT :keep_last)");
    sql_i64(&sql, ":job_id", job_id);
    sql_i64(&sql, ":keep_last", keep_last);
    return sql_run(&sql, removed_out, error);
}
