/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may see a model is one condition, VISIBLE, which every reading statement carries. Writing is
 * for the owner: OWNED.
 */
#include "storage/records/model_record.h"

#include <inttypes.h>

#include "lib/check.h"
#include "lib/limits.h"
#include "storage/records/blob_record.h"
#include "storage/records/records_parts.h"
#include "storage/records/sql.h"

#define OWNED " AND (:scope IS NULL OR tenant = :scope)"
/* 2 is OBJECT_KIND_MODEL; `name` is the column or text that holds the model's name. */
#define VISIBLE(table, name)                                                                       \
    " AND (:scope IS NULL OR " table ".tenant = :scope OR EXISTS (SELECT 1 FROM shares s WHERE"    \
    " s.tenant = " table ".tenant AND s.kind = 2 AND s.name = " table "." name                     \
    " AND s.grantee IN (:scope, '*') AND s.\"right\" >= :need))"

#define VERSION_ROWS                                                                               \
    "SELECT id, tenant, model, version, manifest, bytes, created_ms, job_id, stage, parent,"       \
    " parent_digest, base_model, spec_digest, data_digest, numerics, template, adapter, figures,"  \
    " gate_decision FROM model_versions"
#define VERSION_SELECT VERSION_ROWS " WHERE tenant = :tenant AND model = :name"

static enum status no_model(const char *tenant, const char *name, struct error *error)
{
    return error_set(error, STATUS_NOT_FOUND, "there is no model %s/%s", tenant, name);
}

static void bind_object(struct sql *sql, struct scope scope, const char *tenant, const char *name)
{
    sql_text(sql, ":tenant", tenant);
    sql_text(sql, ":name", name);
    sql_scope(sql, scope);
}

/* ---- versions ---- */
static enum status insert_version(struct records *records, const Api__ModelVersion *version,
                                  int64_t number, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "INSERT INTO model_versions (tenant, model, version, manifest, bytes, created_ms,"
              " job_id, stage, parent, parent_digest, base_model, spec_digest, data_digest,"
              " numerics, template, adapter, figures, gate_decision)"
              " VALUES (:tenant, :model, :version, :manifest, :bytes, :created_ms, :job_id, :stage,"
              " :parent, :parent_digest, :base_model, :spec_digest, :data_digest, :numerics,"
              " :template, :adapter, :figures, :gate_decision)");
    sql_message(&sql, &version->base);
    sql_i64(&sql, ":version", number);
    return sql_insert(&sql, "this version", NULL, error);
}

enum status model_record_add_version(struct records *records, const Api__ModelVersion *version,
                                     int64_t *version_out, struct error *error)
{
    struct sql sql;
    bool found;
    int64_t number, one;
    CHECK(version->tenant != NULL && version->model != NULL && version->manifest != NULL);
    CHECK(version->has_created_ms);
    sql_begin(&sql, records, "SELECT 1 FROM blobs WHERE tenant = :tenant AND digest = :manifest");
    sql_message(&sql, &version->base);
    TRY(sql_value(&sql, &one, &found, error));
    if (!found)
        return error_set(error, STATUS_NOT_FOUND, "the manifest %.12s… is not in the store of %s",
                         version->manifest, version->tenant);
    sql_begin(&sql, records,
              "INSERT INTO models (tenant, name, created_ms, latest)"
              " SELECT name, :model, :created_ms, 1 FROM tenants WHERE name = :tenant"
              " ON CONFLICT (tenant, name) DO UPDATE SET latest = latest + 1 RETURNING latest");
    sql_message(&sql, &version->base);
    TRY(sql_value(&sql, &number, &found, error));
    if (!found)
        return error_set(error, STATUS_NOT_FOUND, "there is no tenant %s", version->tenant);
    TRY(insert_version(records, version, number, error));
    *version_out = number;
    return STATUS_OK;
}

enum status model_record_version(struct records *records, struct scope scope, Api__ShareRight need,
                                 const struct reference *reference, struct arena *arena,
                                 Api__ModelVersion **version_out, struct error *error)
{
    struct sql sql;
    char text[REFERENCE_TEXT_MAX];
    Api__ModelVersion *version = message_new(arena, &api__model_version__descriptor);
    sql_begin(&sql, records,
              VERSION_SELECT
              " AND version = CASE WHEN :version > 0 THEN :version"
              "  WHEN :alias <> '' THEN (SELECT a.version FROM aliases a WHERE a.tenant = :tenant"
              "   AND a.model = :name AND a.name = :alias)"
              "  ELSE (SELECT m.latest FROM models m WHERE m.tenant = :tenant AND m.name = :name)"
              "  END" VISIBLE("model_versions", "model"));
    bind_object(&sql, scope, reference->tenant, reference->name);
    sql_i64(&sql, ":version", reference->version);
    sql_text(&sql, ":alias", reference->alias);
    sql_i64(&sql, ":need", need);
    enum status status = sql_one(&sql, arena, &version->base, error);
    reference_format(reference, text);
    if (status == STATUS_NOT_FOUND)
        return error_set(error, STATUS_NOT_FOUND, "there is no model %s", text);
    TRY(status);
    *version_out = version;
    return STATUS_OK;
}

enum status model_record_versions(struct records *records, struct scope scope, const char *tenant,
                                  const char *name, int64_t after, int64_t limit,
                                  struct arena *arena, Api__ModelVersionList *list,
                                  struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              VERSION_SELECT " AND (:after = 0 OR version < :after)" VISIBLE(
                  "model_versions", "model") " ORDER BY version DESC LIMIT :limit");
    bind_object(&sql, scope, tenant, name);
    sql_i64(&sql, ":after", after);
    sql_i64(&sql, ":limit", limit);
    sql_i64(&sql, ":need", API__SHARE_RIGHT__SHARE_RIGHT_READ);
    TRY(sql_rows(&sql, arena, list, "versions", error));
    list->has_next = (int64_t)list->n_versions == limit;
    if (list->has_next)
        list->next = list->versions[list->n_versions - 1]->version;
    return STATUS_OK;
}

enum status model_record_all(struct records *records, struct scope scope, const char *tenant,
                             int64_t after, int64_t limit, struct arena *arena,
                             Api__ModelVersionList *list, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              VERSION_ROWS " WHERE id > :after AND (:tenant IS NULL OR tenant = :tenant)" VISIBLE(
                  "model_versions", "model") " ORDER BY id LIMIT :limit");
    sql_text(&sql, ":tenant", tenant);
    sql_scope(&sql, scope);
    sql_i64(&sql, ":after", after);
    sql_i64(&sql, ":limit", limit);
    sql_i64(&sql, ":need", API__SHARE_RIGHT__SHARE_RIGHT_READ);
    TRY(sql_rows(&sql, arena, list, "versions", error));
    list->has_next = (int64_t)list->n_versions == limit;
    if (list->has_next)
        list->next = list->versions[list->n_versions - 1]->id;
    return STATUS_OK;
}

enum status model_record_children(struct records *records, struct scope scope, const char *parent,
                                  int64_t limit, struct arena *arena, Api__ModelVersionList *list,
                                  struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              VERSION_ROWS " WHERE parent = :parent AND job_id IS NOT NULL"
                           " AND version = (SELECT m.latest FROM models m"
                           "  WHERE m.tenant = model_versions.tenant"
                           "  AND m.name = model_versions.model)" OWNED
                           " ORDER BY tenant, model LIMIT :limit");
    sql_text(&sql, ":parent", parent);
    sql_i64(&sql, ":limit", limit);
    sql_scope(&sql, scope);
    return sql_rows(&sql, arena, list, "versions", error);
}

/* ---- models ---- */
static enum status read_aliases(struct records *records, struct arena *arena, Api__Model *model,
                                struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "SELECT name, version, moved_ms, job_id, \"by\" FROM aliases"
              " WHERE tenant = :tenant AND model = :name ORDER BY name");
    sql_message(&sql, &model->base);
    return sql_rows(&sql, arena, model, "aliases", error);
}

enum status model_record_get(struct records *records, struct scope scope, const char *tenant,
                             const char *name, struct arena *arena, Api__Model **model_out,
                             struct error *error)
{
    struct sql sql;
    Api__Model *model = message_new(arena, &api__model__descriptor);
    sql_begin(&sql, records,
              "SELECT id, tenant, name, created_ms, latest FROM models"
              " WHERE tenant = :tenant AND name = :name" VISIBLE("models", "name"));
    bind_object(&sql, scope, tenant, name);
    sql_i64(&sql, ":need", API__SHARE_RIGHT__SHARE_RIGHT_READ);
    enum status status = sql_one(&sql, arena, &model->base, error);
    if (status == STATUS_NOT_FOUND)
        return no_model(tenant, name, error);
    TRY(status);
    TRY(read_aliases(records, arena, model, error));
    *model_out = model;
    return STATUS_OK;
}

enum status model_record_list(struct records *records, struct scope scope, const char *tenant,
                              int64_t after, int64_t limit, struct arena *arena,
                              Api__ModelList *list, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "SELECT id, tenant, name, created_ms, latest FROM models"
              " WHERE tenant = :tenant AND id > :after" VISIBLE(
                  "models", "name") " ORDER BY id LIMIT :limit");
    sql_text(&sql, ":tenant", tenant);
    sql_scope(&sql, scope);
    sql_i64(&sql, ":after", after);
    sql_i64(&sql, ":limit", limit);
    sql_i64(&sql, ":need", API__SHARE_RIGHT__SHARE_RIGHT_READ);
    TRY(sql_rows(&sql, arena, list, "models", error));
    for (size_t i = 0; i < list->n_models; i++)
        TRY(read_aliases(records, arena, list->models[i], error));
    list->has_next = (int64_t)list->n_models == limit;
    if (list->has_next)
        list->next = list->models[list->n_models - 1]->id;
    return STATUS_OK;
}

/* ---- aliases ---- */
enum status model_record_move_alias(struct records *records, struct scope scope, const char *tenant,
                                    const char *name, const Api__Alias *alias, struct error *error)
{
    struct sql sql;
    CHECK(alias->name != NULL && alias->has_version && alias->has_moved_ms);
    sql_begin(&sql, records,
              "INSERT OR REPLACE INTO aliases (tenant, model, name, version, moved_ms, job_id,"
              " \"by\") SELECT tenant, model, :alias, version, :moved_ms, :job_id, :by"
              " FROM model_versions WHERE tenant = :tenant AND model = :model"
              " AND version = :version" OWNED);
    sql_message(&sql, &alias->base);
    sql_text(&sql, ":tenant", tenant);
    sql_text(&sql, ":model", name);
    sql_text(&sql, ":alias", alias->name);
    sql_scope(&sql, scope);
    enum status status = sql_change(&sql, error);
    if (status == STATUS_NOT_FOUND)
        return error_set(error, STATUS_NOT_FOUND, "there is no model %s/%s@%" PRId64, tenant, name,
                         alias->version);
    TRY(status);
    sql_begin(&sql, records,
              "INSERT INTO alias_moves (tenant, model, name, version, moved_ms, job_id, \"by\")"
              " VALUES (:tenant, :model, :name, :version, :moved_ms, :job_id, :by)");
    sql_message(&sql, &alias->base);
    sql_text(&sql, ":tenant", tenant);
    sql_text(&sql, ":model", name);
    return sql_run(&sql, NULL, error);
}

enum status model_record_history(struct records *records, struct scope scope, const char *tenant,
                                 const char *name, struct arena *arena, Api__AliasMoveList *list,
                                 struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "SELECT name, version, moved_ms, job_id, \"by\" FROM alias_moves"
              " WHERE tenant = :tenant AND model = :name" VISIBLE(
                  "alias_moves", "model") " ORDER BY number DESC LIMIT :limit");
    bind_object(&sql, scope, tenant, name);
    sql_i64(&sql, ":need", API__SHARE_RIGHT__SHARE_RIGHT_READ);
    sql_i64(&sql, ":limit", PAGE_MAX);
    return sql_rows(&sql, arena, list, "moves", error);
}

/* ---- removing ---- */
/* Who it is says only as much as the asker may see. */
static enum status find_referrers(struct records *records, struct scope scope, const char *tenant,
                                  const char *name, struct arena *arena, Api__ReferrerList *list,
                                  struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "SELECT CASE WHEN :scope IS NULL OR jobs.tenant = :scope THEN 'job j-' || job_id"
              "  ELSE 'a job of another tenant' END"
              " FROM job_inputs JOIN jobs ON jobs.id = job_id"
              " WHERE kind = 2 AND job_inputs.tenant = :tenant AND job_inputs.name = :name"
              " AND state < 8"
              " UNION ALL SELECT CASE WHEN :scope IS NULL OR tenant = :scope"
              "  THEN 'model ' || tenant || '/' || model || '@' || version"
              "  ELSE 'a model of another tenant' END"
              " FROM model_versions WHERE substr(parent, 1, length(:prefix)) = :prefix"
              " AND NOT (tenant = :tenant AND model = :name) LIMIT :limit");
    bind_object(&sql, scope, tenant, name);
    sql_text(&sql, ":prefix", arena_printf(arena, "%s/%s@", tenant, name));
    sql_i64(&sql, ":limit", PAGE_MAX);
    return sql_texts(&sql, arena, list, "referrers", error);
}

static enum status remove_rows(struct records *records, const char *text, const char *tenant,
                               const char *name, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records, text);
    sql_text(&sql, ":tenant", tenant);
    sql_text(&sql, ":name", name);
    return sql_run(&sql, NULL, error);
}

enum status model_record_remove(struct records *records, struct scope scope, const char *tenant,
                                const char *name, struct arena *arena, Api__ReferrerList *list,
                                struct error *error)
{
    static const char *const rows[] = {
        /* The weights are in the checkpoints of the jobs that made it, too. */
        ("DELETE FROM checkpoints WHERE job_id IN (SELECT job_id FROM model_versions"
         " WHERE tenant = :tenant AND model = :name)"),
        /* the rows that its jobs left stand in the same manifests */
        "DELETE FROM results WHERE job_id IN (SELECT job_id FROM model_versions"
        " WHERE tenant = :tenant AND model = :name)",
        "DELETE FROM aliases WHERE tenant = :tenant AND model = :name",
        "DELETE FROM alias_moves WHERE tenant = :tenant AND model = :name",
        "DELETE FROM model_versions WHERE tenant = :tenant AND model = :name",
        "DELETE FROM shares WHERE tenant = :tenant AND kind = 2 AND name = :name",
        "DELETE FROM models WHERE tenant = :tenant AND name = :name"};
    struct sql sql;
    int64_t id;
    bool found;
    sql_begin(&sql, records, "SELECT id FROM models WHERE tenant = :tenant AND name = :name" OWNED);
    bind_object(&sql, scope, tenant, name);
    TRY(sql_value(&sql, &id, &found, error));
    if (!found)
        return no_model(tenant, name, error);
    TRY(find_referrers(records, scope, tenant, name, arena, list, error));
    if (list->n_referrers > 0)
        return records_in_use(arena_printf(arena, "%s/%s", tenant, name), list->referrers,
                              list->n_referrers, error);
    TRY(blob_record_forsake(records, API__OBJECT_KIND__OBJECT_KIND_MODEL, tenant, name, error));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        TRY(remove_rows(records, rows[i], tenant, name, error));
    return STATUS_OK;
}
