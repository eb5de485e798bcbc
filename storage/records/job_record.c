/* SPDX-License-Identifier: Apache-2.0
 *
 * A submit looks for its key first, in the transaction that would insert the job: between a look
 * and an insert nobody else writes, so two submits with one key cannot both be first.
 */
#include "storage/records/job_record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "lib/limits.h"
#include "storage/records/event_record.h"
#include "storage/records/sql.h"

#define JOB_COLUMNS                                                                                \
    "id, tenant, name, stage, state, state_since_ms, created_ms, started_ms, finished_ms, "        \
    "submitter, queue, pool, priority, waiting_reason, waiting_detail, waiting_since_ms, "         \
    "failure_class, failure_message, failure_hint, failure_rank, failure_log, term, batch_id, "    \
    "batch_row, spec_digest, numerics, step, steps_total, \"from\", from_digest, output_model, "   \
    "output_version, gate_decision, gate_figures, ranks, min_ranks, preemptible, not_before_ms, "  \
    "max_attempts, cancel_requested, pause_requested, shard_of, shard, shards"

static enum status not_found(int64_t id, struct error *error)
{
    return error_set(error, STATUS_NOT_FOUND, "there is no job j-%" PRId64, id);
}

/* ---- submit ---- */
static enum status find_key(struct records *records, const struct job_submit *submit,
                            int64_t *id_out, struct error *error)
{
    struct sql sql;
    bool found, same;
    int64_t same_body;
    sql_begin(&sql, records,
              "SELECT job_id FROM idempotency WHERE tenant = :tenant AND key = :key");
    sql_text(&sql, ":tenant", submit->job->tenant);
    sql_text(&sql, ":key", submit->idempotency_key);
    TRY(sql_value(&sql, id_out, &found, error));
    if (!found)
        return STATUS_OK;
    sql_begin(&sql, records,
              "SELECT 1 FROM idempotency "
              "WHERE tenant = :tenant AND key = :key AND body_digest = :body");
    sql_text(&sql, ":tenant", submit->job->tenant);
    sql_text(&sql, ":key", submit->idempotency_key);
    sql_text(&sql, ":body", submit->body_digest);
    TRY(sql_value(&sql, &same_body, &same, error));
    if (!same)
        return error_set(error, STATUS_CONFLICT,
                         "the key \"%s\" was used for another submit, which became job j-%" PRId64,
                         submit->idempotency_key, *id_out);
    return STATUS_OK;
}

static enum status insert_job(struct records *records, const Api__Job *job, int64_t *id_out,
                              struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "INSERT INTO jobs (tenant, name, stage, state, state_since_ms, created_ms, submitter,"
              " queue, pool, priority, waiting_reason, waiting_detail, waiting_since_ms, batch_id,"
              " batch_row, spec_digest, numerics, steps_total, \"from\", from_digest, output_model,"
              " ranks, min_ranks, preemptible, not_before_ms, max_attempts, shards)"
              " VALUES (:tenant, :name, :stage, :queued, :created_ms, :created_ms, :submitter,"
              " coalesce(:queue, 'default'), :pool, coalesce(:priority, 0), :waiting_reason,"
              " :waiting_detail, :waiting_since_ms, :batch_id, :batch_row, :spec_digest, :numerics,"
              " :steps_total, :from, :from_digest, :output_model, :ranks, :min_ranks, :preemptible,"
              " :not_before_ms, :max_attempts, :shards)");
    sql_message(&sql, &job->base);
    sql_i64(&sql, ":queued", API__JOB_STATE__JOB_STATE_QUEUED);
    TRY(sql_insert(&sql, "the job", id_out, error));
    sql_begin(&sql, records, "INSERT INTO job_specs (job_id, spec) VALUES (:id, :spec)");
    sql_i64(&sql, ":id", *id_out);
    sql_text(&sql, ":spec", job->spec);
    TRY(sql_run(&sql, NULL, error));
    for (size_t i = 0; i < job->n_labels; i++) {
        sql_begin(&sql, records,
                  "INSERT INTO job_labels (job_id, key, value) VALUES (:id, :key, :value)");
        sql_message(&sql, &job->labels[i]->base);
        sql_i64(&sql, ":id", *id_out);
        TRY(sql_insert(&sql, "this label", NULL, error));
    }
    return STATUS_OK;
}

static enum status insert_one_after(struct records *records, const char *tenant, int64_t id,
                                    int64_t after, struct error *error)
{
    struct sql sql;
    int64_t changes;
    sql_begin(&sql, records,
              "INSERT OR IGNORE INTO job_after (job_id, after_id)"
              " SELECT :id, id FROM jobs WHERE id = :after AND tenant = :tenant");
    sql_i64(&sql, ":id", id);
    sql_i64(&sql, ":after", after);
    sql_text(&sql, ":tenant", tenant);
    TRY(sql_run(&sql, &changes, error));
    return changes == 0 ? not_found(after, error) : STATUS_OK;
}

static enum status insert_after(struct records *records, const struct job_submit *submit,
                                int64_t id, struct error *error)
{
    for (int i = 0; i < submit->after_count; i++)
        TRY(insert_one_after(records, submit->job->tenant, id, submit->after[i], error));
    return STATUS_OK;
}

/* The shards of `id` get the ids behind it: nobody else inserts meanwhile. They come after what it
 * was to come after, and it comes after them. */
static enum status insert_shards(struct records *records, const struct job_submit *submit,
                                 int64_t id, struct error *error)
{
    for (int64_t shard = 1; shard <= submit->job->shards; shard++) {
        struct sql sql;
        int64_t shard_id;
        sql_begin(
            &sql, records,
            "INSERT INTO jobs (tenant, name, stage, state, state_since_ms, created_ms,"
            " submitter, queue, pool, priority, spec_digest, \"from\", from_digest, ranks,"
            " min_ranks, preemptible, not_before_ms, max_attempts, shard_of, shard, shards)"
            " SELECT tenant, name, stage, state, state_since_ms, created_ms, submitter, queue,"
            " pool, priority, spec_digest, \"from\", from_digest, ranks, min_ranks,"
            " preemptible, not_before_ms, max_attempts, id, :shard, shards"
            " FROM jobs WHERE id = :id");
        sql_i64(&sql, ":id", id);
        sql_i64(&sql, ":shard", shard);
        TRY(sql_insert(&sql, "the shard", &shard_id, error));
        CHECK(shard_id == id + shard);
        TRY(insert_after(records, submit, shard_id, error));
        TRY(insert_one_after(records, submit->job->tenant, id, shard_id, error));
    }
    return STATUS_OK;
}

static enum status insert_inputs(struct records *records, const struct job_submit *submit,
                                 int64_t id, struct error *error)
{
    for (int i = 0; i < submit->input_count; i++) {
        const struct job_input *input = &submit->inputs[i];
        struct sql sql;
        sql_begin(&sql, records,
                  "INSERT OR IGNORE INTO job_inputs (job_id, kind, tenant, name, version)"
                  " VALUES (:id, :kind, :tenant, :name, :version)");
        sql_i64(&sql, ":id", id);
        sql_i64(&sql, ":kind", input->kind);
        sql_text(&sql, ":tenant", input->object.tenant);
        sql_text(&sql, ":name", input->object.name);
        sql_i64(&sql, ":version", input->object.version);
        TRY(sql_run(&sql, NULL, error));
    }
    return STATUS_OK;
}

static enum status insert_key(struct records *records, const struct job_submit *submit, int64_t id,
                              struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "INSERT INTO idempotency (tenant, key, body_digest, job_id, created_ms)"
              " VALUES (:tenant, :key, :body, :id, :created_ms)");
    sql_message(&sql, &submit->job->base);
    sql_i64(&sql, ":id", id);
    sql_text(&sql, ":key", submit->idempotency_key);
    sql_text(&sql, ":body", submit->body_digest);
    return sql_run(&sql, NULL, error);
}

enum status job_record_submit(struct records *records, const struct job_submit *submit,
                              int64_t *id_out, bool *created_out, struct error *error)
{
    const Api__Job *job = submit->job;
    int64_t id = 0;
    CHECK(job->tenant != NULL && job->spec != NULL && job->spec_digest != NULL);
    CHECK(job->has_stage && job->has_created_ms);
    CHECK((submit->idempotency_key == NULL) == (submit->body_digest == NULL));
    if (submit->idempotency_key != NULL)
        TRY(find_key(records, submit, &id, error));
    *created_out = id == 0;
    if (id == 0) {
        TRY(insert_job(records, job, &id, error));
        if (job->shards > 0)
            TRY(insert_shards(records, submit, id, error));
        else
            TRY(insert_after(records, submit, id, error));
        TRY(insert_inputs(records, submit, id, error));
        if (submit->idempotency_key != NULL)
            TRY(insert_key(records, submit, id, error));
        TRY(event_record_job(records, job->created_ms, job->tenant, id, 0, "job_state", "queued",
                             error));
    }
    *id_out = id;
    return STATUS_OK;
}

/* ---- reading ---- */
static enum status read_labels(struct records *records, struct arena *arena, Api__Job *job,
                               struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records, "SELECT key, value FROM job_labels WHERE job_id = :id ORDER BY key");
    sql_i64(&sql, ":id", job->id);
    return sql_rows(&sql, arena, job, "labels", error);
}

enum status job_record_get(struct records *records, struct scope scope, int64_t id, bool with_spec,
                           struct arena *arena, Api__Job **job_out, struct error *error)
{
    struct sql sql;
    Api__Job *job = message_new(arena, &api__job__descriptor);
    sql_begin(
        &sql, records,
        "SELECT " JOB_COLUMNS ", CASE WHEN :with_spec THEN (SELECT spec FROM job_specs"
        " WHERE job_id = coalesce(shard_of, id)) END spec,"
        " CASE WHEN :with_spec THEN (SELECT figures FROM results WHERE job_id = id) END figures,"
        " CASE WHEN :with_spec THEN (SELECT manifest FROM results WHERE job_id = id) END manifest"
        " FROM jobs WHERE id = :id AND (:scope IS NULL OR tenant = :scope)");
    sql_i64(&sql, ":id", id);
    sql_i64(&sql, ":with_spec", with_spec);
    sql_scope(&sql, scope);
    enum status status = sql_one(&sql, arena, &job->base, error);
    if (status == STATUS_NOT_FOUND)
        return not_found(id, error);
    TRY(status);
    TRY(read_labels(records, arena, job, error));
    *job_out = job;
    return STATUS_OK;
}

/* ["team=support", …] for json_each. */
static void bind_labels(struct sql *sql, const Api__JobListRequest *request)
{
    struct buf text = {0};
    buf_append_char(&text, '[');
    for (size_t i = 0; i < request->n_label; i++) {
        if (i > 0)
            buf_append_char(&text, ',');
        buf_append_json_string(&text, request->label[i], strlen(request->label[i]));
    }
    buf_append_char(&text, ']');
    sql_text(sql, ":labels", text.data);
    buf_release(&text);
}

/* Two texts, so that a tenant's page is read from the tenant's own index. */
#define JOB_LIST(whose)                                                                            \
    "SELECT " JOB_COLUMNS " FROM jobs WHERE " whose                                                \
    " AND id < coalesce(:after, 9223372036854775807)"                                              \
    " AND (:states = 0 OR (:states >> state) & 1)"                                                 \
    " AND (:tenant IS NULL OR tenant = :tenant)"                                                   \
    " AND (:stage IS NULL OR stage = :stage) AND (:queue IS NULL OR queue = :queue)"               \
    " AND (:batch_id IS NULL OR batch_id = :batch_id) AND shard_of IS :shards_of"                  \
    " AND (:since_ms IS NULL OR created_ms >= :since_ms)"                                          \
    " AND (:failure_class IS NULL OR failure_class = :failure_class)"                              \
    " AND NOT EXISTS (SELECT 1 FROM json_each(:labels) wanted WHERE NOT EXISTS"                    \
    "   (SELECT 1 FROM job_labels WHERE job_id = jobs.id AND key || '=' || value = wanted.value))" \
    " ORDER BY id DESC LIMIT :limit"

enum status job_record_list(struct records *records, struct scope scope,
                            const Api__JobListRequest *request, struct arena *arena,
                            Api__JobList *list, struct error *error)
{
    struct sql sql;
    int64_t states = 0;
    int64_t limit = request->has_limit ? request->limit : PAGE_DEFAULT;
    for (size_t i = 0; i < request->n_state; i++)
        states |= INT64_C(1) << request->state[i];
    sql_begin(&sql, records, scope.all ? JOB_LIST(":scope IS NULL") : JOB_LIST("tenant = :scope"));
    sql_message(&sql, &request->base);
    sql_scope(&sql, scope);
    sql_i64(&sql, ":states", states);
    sql_i64(&sql, ":limit", limit);
    bind_labels(&sql, request);
    TRY(sql_rows(&sql, arena, list, "jobs", error));
    for (size_t i = 0; i < list->n_jobs; i++)
        TRY(read_labels(records, arena, list->jobs[i], error));
    if (list->n_jobs > 0 && (int64_t)list->n_jobs == limit) {
        list->has_next = 1;
        list->next = list->jobs[list->n_jobs - 1]->id;
    }
    return STATUS_OK;
}

enum status job_record_active(struct records *records, struct arena *arena, Api__JobList *list,
                              struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "SELECT " JOB_COLUMNS
              ", spec FROM jobs JOIN job_specs ON job_id = coalesce(shard_of, id)"
              " WHERE state < 8 ORDER BY id");
    TRY(sql_rows(&sql, arena, list, "jobs", error));
    for (size_t i = 0; i < list->n_jobs; i++)
        TRY(read_labels(records, arena, list->jobs[i], error));
    return STATUS_OK;
}

enum status job_record_inputs(struct records *records, int64_t id, struct arena *arena,
                              struct job_input **inputs_out, int *count_out, struct error *error)
{
    struct sql sql;
    struct job_input *inputs = arena_array(arena, struct job_input, JOB_INPUTS_MAX);
    int count = 0;
    bool row;
    sql_begin(&sql, records,
              "SELECT kind, tenant, name, version FROM job_inputs WHERE job_id = :id"
              " ORDER BY kind, tenant, name, version");
    sql_i64(&sql, ":id", id);
    for (;;) {
        TRY(sql_step(&sql, &row, error));
        if (!row || count == JOB_INPUTS_MAX)
            break;
        struct job_input *input = &inputs[count++];
        input->kind = sqlite3_column_int(sql.statement, 0);
        snprintf(input->object.tenant, sizeof(input->object.tenant), "%s",
                 (const char *)sqlite3_column_text(sql.statement, 1));
        snprintf(input->object.name, sizeof(input->object.name), "%s",
                 (const char *)sqlite3_column_text(sql.statement, 2));
        input->object.version = sqlite3_column_int64(sql.statement, 3);
    }
    sql_end(&sql);
    *inputs_out = inputs;
    *count_out = count;
    return STATUS_OK;
}

enum status job_record_after(struct records *records, int64_t id, struct arena *arena,
                             Api__JobList *list, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "SELECT " JOB_COLUMNS " FROM jobs JOIN job_after ON id = after_id"
              " WHERE job_id = :id ORDER BY id");
    sql_i64(&sql, ":id", id);
    return sql_rows(&sql, arena, list, "jobs", error);
}

/* ---- changing ---- */
enum status job_record_update(struct records *records, const Api__Job *job, int from,
                              struct error *error)
{
    struct sql sql;
    CHECK(job->has_id && job->has_state && job->has_term && job->has_priority);
    sql_begin(&sql, records,
              "UPDATE jobs SET state = :state, state_since_ms = :state_since_ms,"
              " started_ms = :started_ms, finished_ms = :finished_ms, priority = :priority,"
              " waiting_reason = :waiting_reason, waiting_detail = :waiting_detail,"
              " waiting_since_ms = :waiting_since_ms, failure_class = :failure_class,"
              " failure_message = :failure_message, failure_hint = :failure_hint,"
              " failure_rank = :failure_rank, failure_log = :failure_log, numerics = :numerics,"
              " step = :step, steps_total = :steps_total, output_version = :output_version,"
              " gate_decision = :gate_decision, gate_figures = :gate_figures,"
              " not_before_ms = :not_before_ms, cancel_requested = :cancel_requested,"
              " pause_requested = :pause_requested"
              " WHERE id = :id AND term = :term AND state = :was");
    sql_message(&sql, &job->base);
    sql_i64(&sql, ":was", from);
    enum status status = sql_change(&sql, error);
    if (status == STATUS_NOT_FOUND)
        return error_set(error, STATUS_CONFLICT,
                         "job j-%" PRId64 " has changed since it was looked at", job->id);
    return status;
}

enum status job_record_count_active(struct records *records, const char *tenant, int64_t *count_out,
                                    struct error *error)
{
    struct sql sql;
    bool found;
    sql_begin(&sql, records, "SELECT count(*) FROM jobs WHERE tenant = :tenant AND state < 8");
    sql_text(&sql, ":tenant", tenant);
    return sql_value(&sql, count_out, &found, error);
}

/* ---- logs that quote what was removed -------------------------------------------------------- */

enum status job_record_stale_logs(struct records *records, int64_t *ids, int max, int *count_out,
                                  struct error *error)
{
    struct sql sql;
    bool row = true;
    *count_out = 0;
    sql_begin(&sql, records, "SELECT job_id FROM stale_logs ORDER BY job_id LIMIT :max");
    sql_i64(&sql, ":max", max);
    enum status status = sql_step(&sql, &row, error);
    while (status == STATUS_OK && row) {
        ids[(*count_out)++] = sqlite3_column_int64(sql.statement, 0);
        status = sql_step(&sql, &row, error);
    }
    sql_end(&sql);
    return status;
}

enum status job_record_log_gone(struct records *records, int64_t id, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records, "DELETE FROM stale_logs WHERE job_id = :id");
    sql_i64(&sql, ":id", id);
    return sql_run(&sql, NULL, error);
}
