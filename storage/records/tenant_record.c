/* SPDX-License-Identifier: Apache-2.0
 *
 * A token's secret has 256 random bits, so one SHA-256 keeps it as well as a slow hash would, and
 * looking it up by an index tells nobody how near a guess was.
 */
#include "storage/records/tenant_record.h"

#include <inttypes.h>
#include <stdio.h>

#include "lib/check.h"
#include "lib/limits.h"
#include "storage/records/sql.h"

#define TENANT_SELECT                                                                              \
    "SELECT id, name, title, created_ms, weight, running_slots_max, queued_jobs_max, bytes_max,"   \
    " slot_hours_month_max,"                                                                       \
    " (SELECT coalesce(sum(bytes), 0) FROM blobs WHERE tenant = tenants.name) bytes FROM tenants "

enum status tenant_record_insert(struct records *records, const Api__Tenant *tenant,
                                 int64_t *id_out, struct error *error)
{
    struct sql sql;
    char what[NAME_MAX];
    CHECK(tenant->name != NULL && tenant->has_created_ms);
    snprintf(what, sizeof(what), "the tenant %s", tenant->name);
    sql_begin(&sql, records,
              "INSERT INTO tenants (name, title, created_ms, weight, running_slots_max,"
              " queued_jobs_max, bytes_max, slot_hours_month_max)"
              " VALUES (:name, :title, :created_ms, :weight, :running_slots_max,"
              " :queued_jobs_max, :bytes_max, :slot_hours_month_max)");
    sql_message(&sql, &tenant->base);
    return sql_insert(&sql, what, id_out, error);
}

static enum status no_tenant(const char *name, struct error *error)
{
    return error_set(error, STATUS_NOT_FOUND, "there is no tenant %s", name);
}

enum status tenant_record_update(struct records *records, const Api__Tenant *tenant,
                                 struct error *error)
{
    struct sql sql;
    CHECK(tenant->name != NULL);
    sql_begin(&sql, records,
              "UPDATE tenants SET title = :title, weight = :weight,"
              " running_slots_max = :running_slots_max, queued_jobs_max = :queued_jobs_max,"
              " bytes_max = :bytes_max, slot_hours_month_max = :slot_hours_month_max"
              " WHERE name = :name");
    sql_message(&sql, &tenant->base);
    enum status status = sql_change(&sql, error);
    return status == STATUS_NOT_FOUND ? no_tenant(tenant->name, error) : status;
}

enum status tenant_record_get(struct records *records, struct scope scope, const char *name,
                              struct arena *arena, Api__Tenant **tenant_out, struct error *error)
{
    struct sql sql;
    Api__Tenant *tenant = message_new(arena, &api__tenant__descriptor);
    sql_begin(&sql, records,
              TENANT_SELECT "WHERE name = :name AND (:scope IS NULL OR name = :scope)");
    sql_text(&sql, ":name", name);
    sql_scope(&sql, scope);
    enum status status = sql_one(&sql, arena, &tenant->base, error);
    if (status == STATUS_NOT_FOUND)
        return no_tenant(name, error);
    TRY(status);
    *tenant_out = tenant;
    return STATUS_OK;
}

enum status tenant_record_list(struct records *records, struct arena *arena, Api__TenantList *list,
                               struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records, TENANT_SELECT "ORDER BY name");
    return sql_rows(&sql, arena, list, "tenants", error);
}

/* ---- tokens ---- */
#define TOKEN_COLUMNS "id, tenant, name, role, created_ms, expires_ms, revoked_ms"

enum status token_record_insert(struct records *records, const Api__Token *token,
                                const char *secret_digest, int64_t *id_out, struct error *error)
{
    struct sql sql;
    CHECK(token->name != NULL && token->has_role && token->has_created_ms);
    sql_begin(&sql, records,
              "INSERT INTO tokens (tenant, name, role, created_ms, expires_ms, secret_digest)"
              " VALUES (:tenant, :name, :role, :created_ms, :expires_ms, :digest)");
    sql_message(&sql, &token->base);
    sql_text(&sql, ":digest", secret_digest);
    return sql_insert(&sql, "this token", id_out, error);
}

enum status token_record_find(struct records *records, const char *secret_digest, int64_t now_ms,
                              struct arena *arena, Api__Token **token_out, struct error *error)
{
    struct sql sql;
    Api__Token *token = message_new(arena, &api__token__descriptor);
    sql_begin(&sql, records,
              "SELECT " TOKEN_COLUMNS " FROM tokens WHERE (secret_digest = :digest"
              "   OR (old_digest = :digest AND old_until_ms > :now))"
              " AND revoked_ms IS NULL AND (expires_ms IS NULL OR expires_ms > :now)");
    sql_text(&sql, ":digest", secret_digest);
    sql_i64(&sql, ":now", now_ms);
    enum status status = sql_one(&sql, arena, &token->base, error);
    if (status == STATUS_NOT_FOUND)
        return error_set(error, STATUS_DENIED, "this token is not valid");
    TRY(status);
    *token_out = token;
    return STATUS_OK;
}

static enum status change_token(struct sql *sql, int64_t id, struct error *error)
{
    enum status status = sql_change(sql, error);
    if (status == STATUS_NOT_FOUND)
        return error_set(error, STATUS_NOT_FOUND, "there is no valid token t-%" PRId64, id);
    return status;
}

enum status token_record_rotate(struct records *records, struct scope scope, int64_t id,
                                const char *secret_digest, int64_t old_until_ms,
                                struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "UPDATE tokens SET old_digest = secret_digest, old_until_ms = :old_until,"
              " secret_digest = :digest WHERE id = :id AND revoked_ms IS NULL"
              " AND (:scope IS NULL OR tenant = :scope)");
    sql_i64(&sql, ":id", id);
    sql_i64(&sql, ":old_until", old_until_ms);
    sql_text(&sql, ":digest", secret_digest);
    sql_scope(&sql, scope);
    return change_token(&sql, id, error);
}

enum status token_record_revoke(struct records *records, struct scope scope, int64_t id,
                                int64_t now_ms, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "UPDATE tokens SET revoked_ms = :now, old_digest = NULL WHERE id = :id"
              " AND revoked_ms IS NULL AND (:scope IS NULL OR tenant = :scope)");
    sql_i64(&sql, ":id", id);
    sql_i64(&sql, ":now", now_ms);
    sql_scope(&sql, scope);
    return change_token(&sql, id, error);
}

enum status token_record_list(struct records *records, struct scope scope, struct arena *arena,
                              Api__TokenList *list, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "SELECT " TOKEN_COLUMNS " FROM tokens WHERE (:scope IS NULL OR tenant = :scope)"
              " ORDER BY id LIMIT :limit");
    sql_scope(&sql, scope);
    sql_i64(&sql, ":limit", PAGE_MAX);
    return sql_rows(&sql, arena, list, "tokens", error);
}

/* ---- shares ---- */
enum status share_record_put(struct records *records, const Api__Share *share, struct error *error)
{
    struct sql sql;
    CHECK(share->tenant != NULL && share->name != NULL && share->grantee != NULL);
    CHECK(share->has_kind && share->has_right && share->has_created_ms);
    sql_begin(&sql, records,
              "INSERT OR REPLACE INTO shares (tenant, kind, name, grantee, \"right\", created_ms)"
              " VALUES (:tenant, :kind, :name, :grantee, :right, :created_ms)");
    sql_message(&sql, &share->base);
    return sql_insert(&sql, "the share", NULL, error);
}

enum status share_record_remove(struct records *records, const Api__Share *share,
                                struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "DELETE FROM shares WHERE tenant = :tenant AND kind = :kind AND name = :name"
              " AND grantee = :grantee");
    sql_message(&sql, &share->base);
    enum status status = sql_change(&sql, error);
    if (status == STATUS_NOT_FOUND)
        return error_set(error, STATUS_NOT_FOUND, "there is no such share");
    return status;
}

enum status share_record_list(struct records *records, struct scope scope, struct arena *arena,
                              Api__ShareList *list, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "SELECT tenant, kind, name, grantee, \"right\", created_ms FROM shares"
              " WHERE (:scope IS NULL OR tenant = :scope) ORDER BY tenant, kind, name, grantee"
              " LIMIT :limit");
    sql_scope(&sql, scope);
    sql_i64(&sql, ":limit", PAGE_MAX);
    return sql_rows(&sql, arena, list, "shares", error);
}

enum status share_record_right(struct records *records, const char *owner, Api__ObjectKind kind,
                               const char *name, const char *tenant, int *right_out,
                               struct error *error)
{
    struct sql sql;
    int64_t right;
    bool found;
    sql_begin(&sql, records,
              "SELECT CASE WHEN :tenant = :owner THEN :read ELSE (SELECT max(\"right\")"
              "   FROM shares WHERE tenant = :owner AND kind = :kind AND name = :name"
              "   AND grantee IN (:tenant, '*')) END");
    sql_text(&sql, ":owner", owner);
    sql_text(&sql, ":tenant", tenant);
    sql_text(&sql, ":name", name);
    sql_i64(&sql, ":kind", kind);
    sql_i64(&sql, ":read", API__SHARE_RIGHT__SHARE_RIGHT_READ);
    TRY(sql_value(&sql, &right, &found, error));
    *right_out = (int)right;
    return STATUS_OK;
}

/* ---- usage ---- */
enum status usage_record_add(struct records *records, const Api__Usage *usage, struct error *error)
{
    struct sql sql;
    CHECK(usage->has_begin_ms && usage->has_end_ms && usage->has_slot_ms);
    sql_begin(&sql, records,
              "INSERT INTO usage (tenant, begin_ms, end_ms, slot_ms, productive_slot_ms, jobs)"
              " VALUES (coalesce(:tenant, ''), :begin_ms, :end_ms, :slot_ms,"
              "   coalesce(:productive_slot_ms, 0), coalesce(:jobs, 0))"
              " ON CONFLICT (begin_ms, tenant) DO UPDATE SET slot_ms = slot_ms + excluded.slot_ms,"
              " productive_slot_ms = productive_slot_ms + excluded.productive_slot_ms,"
              " jobs = jobs + excluded.jobs, end_ms = max(end_ms, excluded.end_ms)");
    sql_message(&sql, &usage->base);
    return sql_run(&sql, NULL, error);
}

enum status usage_record_sum(struct records *records, struct scope scope, int64_t since_ms,
                             int64_t until_ms, struct arena *arena, Api__UsageList *list,
                             struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "SELECT nullif(tenant, '') tenant, min(begin_ms) begin_ms, max(end_ms) end_ms,"
              " sum(slot_ms) slot_ms, sum(productive_slot_ms) productive_slot_ms, sum(jobs) jobs"
              " FROM usage WHERE begin_ms >= :since AND begin_ms < :until"
              " AND (:scope IS NULL OR usage.tenant = :scope) GROUP BY usage.tenant"
              " ORDER BY usage.tenant");
    sql_i64(&sql, ":since", since_ms);
    sql_i64(&sql, ":until", until_ms);
    sql_scope(&sql, scope);
    TRY(sql_rows(&sql, arena, list, "rows", error));
    list->has_capacity_slot_ms = 1;
    list->capacity_slot_ms = 0;
    for (size_t i = 0; i < list->n_rows; i++)
        list->capacity_slot_ms += list->rows[i]->slot_ms;
    return STATUS_OK;
}
