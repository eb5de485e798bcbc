/* SPDX-License-Identifier: Apache-2.0
 *
 * Removal asks once more, in its own statement, whether the blob is garbage: between the list and
 * the removal a job may have come to need it.
 */
#include "storage/records/blob_record.h"

#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/map.h"
#include "storage/records/sql.h"

/* roots: what rows name; live: these and the parts of those that are manifests. */
#define LIVE                                                                                       \
    "WITH roots (tenant, digest) AS ("                                                             \
    " SELECT tenant, manifest FROM checkpoints"                                                    \
    " UNION SELECT tenant, manifest FROM model_versions"                                           \
    " UNION SELECT tenant, manifest FROM results"                                                  \
    " UNION SELECT '', manifest FROM bases WHERE manifest IS NOT NULL"                             \
    " UNION SELECT tenant, digest FROM datasets"                                                   \
    " UNION SELECT tenant, report FROM datasets WHERE report IS NOT NULL"                          \
    " UNION SELECT tenant, digest FROM blob_pins WHERE until_ms > :now),"                          \
    " live (tenant, digest) AS (SELECT tenant, digest FROM roots"                                  \
    " UNION SELECT p.tenant, p.digest FROM blob_parts p JOIN roots r"                              \
    "  ON r.tenant = p.tenant AND r.digest = p.manifest) "
#define GARBAGE "created_ms < :before AND (tenant, digest) NOT IN (SELECT tenant, digest FROM live)"

static void bind_blob(struct sql *sql, const char *tenant, const char *digest)
{
    sql_text(sql, ":tenant", tenant);
    sql_text(sql, ":digest", digest);
}

enum status blob_record_put(struct records *records, const struct blob_row *blob, int64_t now_ms,
                            struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "INSERT INTO blobs (tenant, digest, bytes, created_ms)"
              " VALUES (:tenant, :digest, :bytes, :now)"
              " ON CONFLICT (tenant, digest) DO UPDATE SET created_ms = excluded.created_ms");
    bind_blob(&sql, blob->tenant, blob->digest);
    sql_i64(&sql, ":bytes", blob->bytes);
    sql_i64(&sql, ":now", now_ms);
    return sql_run(&sql, NULL, error);
}

enum status blob_record_bytes(struct records *records, int64_t *bytes_out, struct error *error)
{
    struct sql sql;
    bool found;
    sql_begin(&sql, records, "SELECT coalesce(sum(bytes), 0) FROM blobs");
    return sql_value(&sql, bytes_out, &found, error);
}

enum status blob_record_has(struct records *records, const char *tenant, const char *digest,
                            bool *has_out, struct error *error)
{
    struct sql sql;
    int64_t one;
    sql_begin(&sql, records, "SELECT 1 FROM blobs WHERE tenant = :tenant AND digest = :digest");
    bind_blob(&sql, tenant, digest);
    return sql_value(&sql, &one, has_out, error);
}

enum status blob_record_size(struct records *records, const char *tenant, const char *digest,
                             int64_t *bytes_out, struct error *error)
{
    struct sql sql;
    bool found;
    sql_begin(&sql, records, "SELECT bytes FROM blobs WHERE tenant = :tenant AND digest = :digest");
    bind_blob(&sql, tenant, digest);
    TRY(sql_value(&sql, bytes_out, &found, error));
    return found ? STATUS_OK
                 : error_set(error, STATUS_NOT_FOUND, "%s has no blob %.12s…", tenant, digest);
}

enum status blob_record_put_parts(struct records *records, const char *tenant, const char *manifest,
                                  const char *const *digests, int count, struct error *error)
{
    for (int i = 0; i < count; i++) {
        struct sql sql;
        bool has;
        TRY(blob_record_has(records, tenant, digests[i], &has, error));
        if (!has)
            return error_set(error, STATUS_NOT_FOUND, "the part %.12s… of %.12s… is not there",
                             digests[i], manifest);
        sql_begin(&sql, records,
                  "INSERT OR IGNORE INTO blob_parts (tenant, manifest, digest)"
                  " VALUES (:tenant, :manifest, :digest)");
        bind_blob(&sql, tenant, digests[i]);
        sql_text(&sql, ":manifest", manifest);
        TRY(sql_insert(&sql, "the manifest's part", NULL, error));
    }
    return STATUS_OK;
}

enum status blob_record_pin(struct records *records, const char *tenant, const char *digest,
                            const char *owner, int64_t until_ms, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records,
              "INSERT OR REPLACE INTO blob_pins (tenant, digest, owner, until_ms)"
              " VALUES (:tenant, :digest, :owner, :until)");
    bind_blob(&sql, tenant, digest);
    sql_text(&sql, ":owner", owner);
    sql_i64(&sql, ":until", until_ms);
    return sql_run(&sql, NULL, error);
}

enum status blob_record_unpin(struct records *records, const char *owner, struct error *error)
{
    struct sql sql;
    sql_begin(&sql, records, "DELETE FROM blob_pins WHERE owner = :owner");
    sql_text(&sql, ":owner", owner);
    return sql_run(&sql, NULL, error);
}

enum status blob_record_garbage(struct records *records, int64_t now_ms, int64_t before_ms,
                                int limit, struct arena *arena, struct blob_row **rows_out,
                                int *count_out, struct error *error)
{
    struct sql sql;
    struct blob_row *rows = arena_array(arena, struct blob_row, limit);
    bool row = true;
    int count = 0;
    sql_begin(&sql, records,
              LIVE "SELECT tenant, digest, bytes FROM blobs WHERE " GARBAGE " LIMIT :limit");
    sql_i64(&sql, ":now", now_ms);
    sql_i64(&sql, ":before", before_ms);
    sql_i64(&sql, ":limit", limit);
    for (;;) {
        TRY(sql_step(&sql, &row, error));
        if (!row)
            break;
        CHECK(count < limit);
        rows[count].tenant =
            arena_strdup(arena, (const char *)sqlite3_column_text(sql.statement, 0));
        rows[count].digest =
            arena_strdup(arena, (const char *)sqlite3_column_text(sql.statement, 1));
        rows[count++].bytes = sqlite3_column_int64(sql.statement, 2);
    }
    sql_end(&sql);
    *rows_out = rows;
    *count_out = count;
    return STATUS_OK;
}

/* `named`: the digests that the thing names, of the tenant that :owner is. */
#define FORSAKE(named)                                                                             \
    "WITH named (digest) AS (" named ") UPDATE blobs SET created_ms = 0 WHERE tenant = :owner"     \
    " AND digest IN (SELECT digest FROM named UNION SELECT p.digest FROM blob_parts p"             \
    "  JOIN named n ON p.tenant = :owner AND p.manifest = n.digest)"

enum status blob_record_forsake(struct records *records, Api__ObjectKind kind, const char *tenant,
                                const char *name, struct error *error)
{
    struct sql sql;
    bool is_base = kind == API__OBJECT_KIND__OBJECT_KIND_BASE;
    if (is_base)
        sql_begin(&sql, records, FORSAKE("SELECT manifest FROM bases WHERE name = :name"));
    else if (kind == API__OBJECT_KIND__OBJECT_KIND_MODEL)
        sql_begin(&sql, records,
                  FORSAKE("SELECT manifest FROM model_versions"
                          " WHERE tenant = :owner AND model = :name"
                          " UNION SELECT c.manifest FROM checkpoints c JOIN model_versions v"
                          "  ON v.job_id = c.job_id AND v.tenant = c.tenant"
                          " WHERE v.tenant = :owner AND v.model = :name"));
    else
        sql_begin(&sql, records,
                  FORSAKE("SELECT digest FROM datasets WHERE tenant = :owner AND name = :name"
                          " UNION SELECT report FROM datasets"
                          " WHERE tenant = :owner AND name = :name"));
    sql_text(&sql, ":owner", is_base ? "" : tenant);
    sql_text(&sql, ":name", name);
    return sql_run(&sql, NULL, error);
}

enum status blob_record_remove(struct records *records, const char *tenant, const char *digest,
                               int64_t now_ms, int64_t before_ms, bool *removed_out,
                               struct error *error)
{
    struct sql sql;
    int64_t changes;
    sql_begin(&sql, records,
              LIVE "DELETE FROM blobs WHERE tenant = :tenant AND digest = :digest AND " GARBAGE);
    bind_blob(&sql, tenant, digest);
    sql_i64(&sql, ":now", now_ms);
    sql_i64(&sql, ":before", before_ms);
    TRY(sql_run(&sql, &changes, error));
    *removed_out = changes > 0;
    return STATUS_OK;
}

enum status blob_record_gone(struct records *records, struct blob_row *rows, int *count,
                             struct error *error)
{
    struct sql sql;
    struct map *there = map_create((size_t)*count);
    bool row = true;
    enum status status = STATUS_OK;
    for (int i = 0; i < *count; i++)
        map_put(there, rows[i].digest, strlen(rows[i].digest), false, NULL);
    sql_begin(&sql, records, "SELECT digest FROM blobs");
    while ((status = sql_step(&sql, &row, error)) == STATUS_OK && row) {
        const char *digest = (const char *)sqlite3_column_text(sql.statement, 0);
        uint64_t *is_there;
        if (map_get(there, digest, strlen(digest), NULL) &&
            !map_put(there, digest, strlen(digest), true, &is_there))
            *is_there = true;
    }
    if (status == STATUS_OK) {
        int gone = 0;
        sql_end(&sql);
        for (int i = 0; i < *count; i++) {
            uint64_t is_there = false;
            map_get(there, rows[i].digest, strlen(rows[i].digest), &is_there);
            if (!is_there)
                rows[gone++] = rows[i];
        }
        *count = gone;
    }
    map_free(there);
    return status;
}
