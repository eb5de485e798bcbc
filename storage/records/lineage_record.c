/* SPDX-License-Identifier: Apache-2.0
 *
 * Without a scope: who asks holds a digest that the records gave it.
 */
#include "storage/records/lineage_record.h"

#include <stdio.h>

#include "proto/api.pb-c.h"
#include "storage/records/sql.h"

/* What a job made comes before what a tenant says of the same bytes. */
enum status lineage_record_parent(struct records *records, const char *manifest, bool *found_out,
                                  char parent_out[SHA256_HEX_SIZE], struct error *error)
{
    struct sql sql;
    struct arena arena = {0};
    Api__ModelVersion *version = message_new(&arena, &api__model_version__descriptor);
    sql_begin(&sql, records,
              "SELECT parent_digest FROM model_versions WHERE manifest = :manifest"
              " AND parent_digest IS NOT NULL ORDER BY job_id IS NULL, id LIMIT 1");
    sql_text(&sql, ":manifest", manifest);
    enum status status = sql_one(&sql, &arena, &version->base, error);
    *found_out = status == STATUS_OK && version->parent_digest != NULL;
    if (*found_out)
        snprintf(parent_out, SHA256_HEX_SIZE, "%s", version->parent_digest);
    arena_release(&arena);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}
