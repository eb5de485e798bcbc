/* SPDX-License-Identifier: Apache-2.0
 *
 * A dataset's version is a row that is written when the upload is complete and changed once, by its
 * admission. What jobs read is in job_inputs, so a removal knows whom it would hurt.
 */
#include "storage/records/dataset_record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "lib/limits.h"
#include "proto/ident.h"
#include "storage/records/blob_record.h"
#include "storage/records/records_parts.h"
#include "storage/records/sql.h"

#define DATASET_SELECT                                                                             \
    "SELECT id, tenant, name, version, digest, state, groups, bytes, created_ms, job_id, message," \
    " report, file FROM datasets WHERE tenant = :tenant"                                           \
    " AND (:scope IS NULL OR tenant = :scope OR EXISTS (SELECT 1 FROM shares s WHERE"              \
    "  s.tenant = datasets.tenant AND s.kind = 1 AND s.name = datasets.name"                       \
    "  AND s.grantee IN (:scope, '*') AND s.\"right\" >= :need))"

static enum status no_dataset(const char *tenant, const char *name, struct error *error)
{
    return error_set(error, STATUS_NOT_FOUND, "there is no dataset %s/%s", tenant, name);
}

enum status dataset_record_insert(struct records *records, const Api__Dataset *dataset,
                                  int64_t *version_out, struct error *error)
{
    struct sql sql;
    bool found;
    int64_t version;
    CHECK(dataset->tenant != NULL && dataset->name != NULL && dataset->digest != NULL);
    CHECK(dataset->has_state && dataset->has_created_ms);
    sql_begin(&sql, records,
              "INSERT INTO datasets (tenant, name, version, digest, state, groups, bytes,"
              " created_ms, job_id, message, report, file)"
              " SELECT name, :name, (SELECT coalesce(max(version), 0) + 1 FROM datasets d"
              "   WHERE d.tenant = :tenant AND d.name = :name), :digest, :state, :groups, :bytes,"
              " :created_ms, :job_id, :message, :report, :file FROM tenants WHERE name = :tenant"
              " RETURNING version");
    sql_message(&sql, &dataset->base);
    TRY(sql_value(&sql, &version, &found, error));
    if (!found)
        return error_set(error, STATUS_NOT_FOUND, "there is no tenant %s", dataset->tenant);
    *version_out = version;
    return STATUS_OK;
}

enum status dataset_record_update(struct records *records, const Api__Dataset *dataset,
                                  struct error *error)
{
    struct sql sql;
    CHECK(dataset->tenant != NULL && dataset->name != NULL && dataset->has_version);
    sql_begin(&sql, records,
              "UPDATE datasets SET state = :state, groups = :groups, message = :message,"
              " report = :report, job_id = :job_id"
              " WHERE tenant = :tenant AND name = :name AND version = :version");
    sql_message(&sql, &dataset->base);
    enum status status = sql_change(&sql, error);
    return status == STATUS_NOT_FOUND ? no_dataset(dataset->tenant, dataset->name, error) : status;
}

enum status dataset_record_judge(struct records *records, const Api__Dataset *dataset,
                                 struct error *error)
{
    struct sql sql;
    CHECK(dataset->has_job_id && dataset->has_state);
    sql_begin(&sql, records,
              "UPDATE datasets SET state = :state, groups = :groups, message = :message,"
              " report = :report, job_id = :job_id WHERE state = :admitting"
              " AND (tenant, name, version) IN (SELECT tenant, name, version FROM job_inputs"
              "  WHERE job_id = :job_id AND kind = 1)");
    sql_message(&sql, &dataset->base);
    sql_i64(&sql, ":admitting", API__DATASET_STATE__DATASET_STATE_ADMITTING);
    return sql_run(&sql, NULL, error);
}

enum status dataset_record_get(struct records *records, struct scope scope, Api__ShareRight need,
                               const char *tenant, const char *name, int64_t version,
                               struct arena *arena, Api__Dataset **dataset_out, struct error *error)
{
    struct sql sql;
    Api__Dataset *dataset = message_new(arena, &api__dataset__descriptor);
    sql_begin(&sql, records,
              DATASET_SELECT " AND name = :name AND (:version = 0 OR version = :version)"
                             " ORDER BY version DESC LIMIT 1");
    sql_text(&sql, ":tenant", tenant);
    sql_text(&sql, ":name", name);
    sql_i64(&sql, ":version", version);
    sql_i64(&sql, ":need", need);
    sql_scope(&sql, scope);
    enum status status = sql_one(&sql, arena, &dataset->base, error);
    if (status == STATUS_NOT_FOUND)
        return no_dataset(tenant, name, error);
    TRY(status);
    *dataset_out = dataset;
    return STATUS_OK;
}

enum status dataset_record_list(struct records *records, struct scope scope, const char *tenant,
                                int64_t after, int64_t limit, struct arena *arena,
                                Api__DatasetList *list, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              DATASET_SELECT " AND id > :after AND version = (SELECT max(d.version) FROM datasets d"
                             " WHERE d.tenant = datasets.tenant AND d.name = datasets.name)"
                             " ORDER BY id LIMIT :limit");
    sql_text(&sql, ":tenant", tenant);
    sql_i64(&sql, ":after", after);
    sql_i64(&sql, ":limit", limit);
    sql_i64(&sql, ":need", API__SHARE_RIGHT__SHARE_RIGHT_READ);
    sql_scope(&sql, scope);
    TRY(sql_rows(&sql, arena, list, "datasets", error));
    list->has_next = (int64_t)list->n_datasets == limit;
    if (list->has_next)
        list->next = list->datasets[list->n_datasets - 1]->id;
    return STATUS_OK;
}

/* What jobs left of it quotes its texts. */
static enum status remove_results(struct records *records, struct scope scope, const char *tenant,
                                  const char *name, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "DELETE FROM results WHERE job_id IN (SELECT job_id FROM job_inputs WHERE kind = 1"
              " AND tenant = :tenant AND name = :name) AND (:scope IS NULL OR :scope = :tenant)");
    sql_text(&sql, ":tenant", tenant);
    sql_text(&sql, ":name", name);
    sql_scope(&sql, scope);
    return sql_run(&sql, NULL, error);
}

/* Logs quote a row too. Their files are removed behind the commit (coordinator/series.c). */
static enum status mark_logs(struct records *records, const char *tenant, const char *name,
                             struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "WITH readers AS (SELECT job_id FROM job_inputs WHERE kind = 1 AND tenant = :tenant"
              "  AND name = :name) INSERT OR IGNORE INTO stale_logs (job_id) SELECT id FROM jobs"
              " WHERE id IN readers OR shard_of IN readers");
    sql_text(&sql, ":tenant", tenant);
    sql_text(&sql, ":name", name);
    TRY(sql_run(&sql, NULL, error));
    sql_begin(&sql, records,
              "UPDATE jobs SET failure_log = NULL WHERE id IN (SELECT job_id FROM stale_logs)");
    return sql_run(&sql, NULL, error);
}

enum status dataset_record_remove(struct records *records, struct scope scope, const char *tenant,
                                  const char *name, struct arena *arena, Api__ReferrerList *list,
                                  struct error *error)
{
    struct sql sql;
    int64_t changes;
    sql_begin(&sql, records,
              "SELECT CASE WHEN :scope IS NULL OR jobs.tenant = :scope THEN 'job j-' || job_id"
              "  ELSE 'a job of another tenant' END"
              " FROM job_inputs JOIN jobs ON jobs.id = job_id"
              " WHERE kind = 1 AND job_inputs.tenant = :tenant AND job_inputs.name = :name"
              " AND state < 8 AND (:scope IS NULL OR job_inputs.tenant = :scope) LIMIT :limit");
    sql_text(&sql, ":tenant", tenant);
    sql_text(&sql, ":name", name);
    sql_scope(&sql, scope);
    sql_i64(&sql, ":limit", PAGE_MAX);
    TRY(sql_texts(&sql, arena, list, "referrers", error));
    if (list->n_referrers > 0)
        return records_in_use(arena_printf(arena, "the dataset %s", name), list->referrers,
                              list->n_referrers, error);
    TRY(remove_results(records, scope, tenant, name, error));
    TRY(mark_logs(records, tenant, name, error));
    if (scope.all || strcmp(scope.tenant, tenant) == 0)
        TRY(blob_record_forsake(records, API__OBJECT_KIND__OBJECT_KIND_DATASET, tenant, name,
                                error));
    sql_begin(&sql, records,
              "DELETE FROM datasets WHERE tenant = :tenant AND name = :name"
              " AND (:scope IS NULL OR tenant = :scope)");
    sql_text(&sql, ":tenant", tenant);
    sql_text(&sql, ":name", name);
    sql_scope(&sql, scope);
    TRY(sql_run(&sql, &changes, error));
    if (changes == 0)
        return no_dataset(tenant, name, error);
    sql_begin(&sql, records,
              "DELETE FROM shares WHERE tenant = :tenant AND kind = 1 AND name = :name");
    sql_text(&sql, ":tenant", tenant);
    sql_text(&sql, ":name", name);
    return sql_run(&sql, NULL, error);
}

/* ---- bases ---- */
#define BASE_SELECT                                                                                \
    "SELECT id, name, manifest, state, architecture, parameters, bytes, template, created_ms,"     \
    " job_id, message FROM bases "

static enum status no_base(const char *name, struct error *error)
{
    return error_set(error, STATUS_NOT_FOUND, "there is no base %s", name);
}

enum status base_record_insert(struct records *records, const Api__Base *base, int64_t *id_out,
                               struct error *error)
{
    struct sql sql;
    char what[128];
    CHECK(base->name != NULL && base->has_state && base->has_created_ms);
    snprintf(what, sizeof(what), "the base %s", base->name);
    sql_begin(&sql, records, "DELETE FROM bases WHERE name = :name AND state = :rejected");
    sql_text(&sql, ":name", base->name);
    sql_i64(&sql, ":rejected", API__BASE_STATE__BASE_STATE_REJECTED);
    TRY(sql_run(&sql, NULL, error));
    sql_begin(&sql, records,
              "INSERT INTO bases (name, manifest, state, architecture, parameters, bytes, template,"
              " created_ms, job_id, message) VALUES (:name, :manifest, :state, :architecture,"
              " :parameters, :bytes, :template, :created_ms, :job_id, :message)");
    sql_message(&sql, &base->base);
    return sql_insert(&sql, what, id_out, error);
}

#define OWNER "base " /* of the pin; behind it the base's name */

enum status base_record_keep_source(struct records *records, const char *name, const char *tenant,
                                    const char *digest, struct error *error)
{
    char owner[sizeof(OWNER) + NAME_BYTES_MAX];
    snprintf(owner, sizeof(owner), OWNER "%s", name);
    return blob_record_pin(records, tenant, digest, owner, INT64_MAX, error);
}

enum status base_record_judge(struct records *records, const Api__Base *base, struct error *error)
{
    struct sql sql;
    CHECK(base->has_job_id && base->has_state);
    sql_begin(&sql, records,
              "UPDATE bases SET state = :state, manifest = :manifest, bytes = :bytes,"
              " message = :message, job_id = :job_id WHERE state = :importing"
              " AND name IN (SELECT name FROM job_inputs WHERE job_id = :job_id AND kind = 3)");
    sql_message(&sql, &base->base);
    sql_i64(&sql, ":importing", API__BASE_STATE__BASE_STATE_IMPORTING);
    TRY(sql_run(&sql, NULL, error));
    sql_begin(&sql, records,
              "DELETE FROM blob_pins WHERE owner IN (SELECT '" OWNER "' || name FROM job_inputs"
              "  WHERE job_id = :job_id AND kind = 3)");
    sql_i64(&sql, ":job_id", base->job_id);
    return sql_run(&sql, NULL, error);
}

enum status base_record_get(struct records *records, const char *name, struct arena *arena,
                            Api__Base **base_out, struct error *error)
{
    struct sql sql;
    Api__Base *base = message_new(arena, &api__base__descriptor);
    sql_begin(&sql, records, BASE_SELECT "WHERE name = :name");
    sql_text(&sql, ":name", name);
    enum status status = sql_one(&sql, arena, &base->base, error);
    if (status == STATUS_NOT_FOUND)
        return no_base(name, error);
    TRY(status);
    *base_out = base;
    return STATUS_OK;
}

enum status base_record_list(struct records *records, struct arena *arena, Api__BaseList *list,
                             struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records, BASE_SELECT "ORDER BY name LIMIT :limit");
    sql_i64(&sql, ":limit", PAGE_MAX);
    return sql_rows(&sql, arena, list, "bases", error);
}

enum status base_record_remove(struct records *records, const char *name, struct arena *arena,
                               Api__ReferrerList *list, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "SELECT 'job j-' || job_id FROM job_inputs JOIN jobs ON jobs.id = job_id"
              " WHERE kind = 3 AND job_inputs.name = :name AND state < 8"
              " UNION ALL SELECT 'model ' || tenant || '/' || model || '@' || version"
              " FROM model_versions WHERE base_model = :name LIMIT :limit");
    sql_text(&sql, ":name", name);
    sql_i64(&sql, ":limit", PAGE_MAX);
    TRY(sql_texts(&sql, arena, list, "referrers", error));
    if (list->n_referrers > 0)
        return records_in_use(arena_printf(arena, "the base %s", name), list->referrers,
                              list->n_referrers, error);
    TRY(blob_record_forsake(records, API__OBJECT_KIND__OBJECT_KIND_BASE, NULL, name, error));
    sql_begin(&sql, records, "DELETE FROM bases WHERE name = :name");
    sql_text(&sql, ":name", name);
    enum status status = sql_change(&sql, error);
    return status == STATUS_NOT_FOUND ? no_base(name, error) : status;
}
