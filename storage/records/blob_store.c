/* SPDX-License-Identifier: Apache-2.0
 *
 * Invariant: a row without its file is never committed by this; a file without its row is only
 * waste. Rejected: files first. A crash then leaves rows that promise what is gone.
 */
#include "storage/records/blob_store.h"

#include "lib/arena.h"
#include "lib/log.h"
#include "storage/files/blob.h"

enum status blob_store_register(struct records *records, const char *root,
                                const struct blob_row *blob, int64_t now_ms, struct error *error)
{
    char store[PATH_MAX];
    int64_t size;
    blob_tenant_path(root, blob->tenant, store);
    TRY(blob_size(store, blob->digest, &size, error));
    if (size != blob->bytes)
        return error_set(error, STATUS_NOT_FOUND, "the blob %.12s… is not in the store: upload it",
                         blob->digest);
    return blob_record_put(records, blob, now_ms, error);
}

enum status blob_store_mark(struct records *records, int64_t now_ms, int64_t before_ms,
                            bool dry_run, struct arena *arena, struct blob_garbage *garbage_out,
                            struct error *error)
{
    struct blob_garbage garbage = {.count = 0};
    int found;
    TRY(blob_record_garbage(records, now_ms, before_ms, BLOB_STORE_MARK_MAX, arena, &garbage.rows,
                            &found, error));
    for (int i = 0; i < found; i++) {
        struct blob_row row = garbage.rows[i];
        bool removed = true;
        if (!dry_run)
            TRY(blob_record_remove(records, row.tenant, row.digest, now_ms, before_ms, &removed,
                                   error));
        if (!removed)
            continue;
        garbage.rows[garbage.count++] = row;
        garbage.bytes += row.bytes;
    }
    *garbage_out = garbage;
    return STATUS_OK;
}

enum status blob_store_sweep(struct records *records, const char *root,
                             const struct blob_garbage *garbage, int64_t *bytes_out,
                             struct error *error)
{
    *bytes_out = 0;
    for (int i = 0; i < garbage->count; i++) {
        const struct blob_row *row = &garbage->rows[i];
        char store[PATH_MAX];
        struct error cause;
        bool has;
        TRY(blob_record_has(records, row->tenant, row->digest, &has, error));
        if (has)
            continue;
        blob_tenant_path(root, row->tenant, store);
        if (blob_remove(store, row->digest, &cause) == STATUS_OK)
            *bytes_out += row->bytes;
        else
            log_warn("gc: %s", cause.text);
    }
    return STATUS_OK;
}

struct orphan_walk {
    struct records *records;
    const char *tenant, *store;
    int64_t before_ms;
    bool dry_run;
    int count;
    enum status status;
    struct error *error;
};

static void visit_blob(const char *digest, int64_t time_ms, void *argument)
{
    struct orphan_walk *walk = argument;
    bool has;
    if (walk->status != STATUS_OK || time_ms >= walk->before_ms)
        return;
    walk->status = blob_record_has(walk->records, walk->tenant, digest, &has, walk->error);
    if (walk->status != STATUS_OK || has)
        return;
    if (!walk->dry_run)
        walk->status = blob_remove(walk->store, digest, walk->error);
    walk->count += walk->status == STATUS_OK;
}

enum status blob_store_orphans(struct records *records, const char *root, const char *tenant,
                               int64_t before_ms, bool dry_run, int *count_out, struct error *error)
{
    char store[PATH_MAX];
    struct orphan_walk walk = {.records = records,
                               .tenant = tenant,
                               .store = store,
                               .before_ms = before_ms,
                               .dry_run = dry_run,
                               .error = error};
    blob_tenant_path(root, tenant, store);
    blob_each(store, visit_blob, &walk);
    *count_out = walk.count;
    return walk.status;
}
