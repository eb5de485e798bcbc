/* SPDX-License-Identifier: Apache-2.0
 *
 * blob_store: where rows and files of blobs meet: a file becomes a blob, garbage goes.
 *
 *     blob_store_mark(records, now, before, false, &arena, &garbage, error);   // a transaction
 *     … commit …
 *     blob_store_sweep(records, root, &garbage);                               // the files go
 *
 * All of it on the database's thread, which is what makes "has it a row" and "is the file there"
 * answers that hold: between mark and sweep a blob may have been registered anew, and then it
 * stays. A crash between the two leaves files without rows; blob_store_orphans walks the store for
 * them.
 */
#ifndef TAILOR_STORAGE_RECORDS_BLOB_STORE_H
#define TAILOR_STORAGE_RECORDS_BLOB_STORE_H

#include "storage/records/blob_record.h"

enum { BLOB_STORE_MARK_MAX = 10000 }; /* blobs in one run: a transaction stays short */

struct blob_garbage {
    struct blob_row *rows; /* in the arena */
    int count;
    int64_t bytes;
};

/* The row of a blob whose file lies in the tenant's store; STATUS_NOT_FOUND when it does not. */
enum status blob_store_register(struct records *records, const char *root,
                                const struct blob_row *blob, int64_t now_ms, struct error *error);
/* What nothing leads to and is older than `before_ms`; unless `dry_run` its rows go. */
enum status blob_store_mark(struct records *records, int64_t now_ms, int64_t before_ms,
                            bool dry_run, struct arena *arena, struct blob_garbage *garbage_out,
                            struct error *error);
/* Removes the files that have no row; *bytes_out: how many bytes they had. What cannot be removed
 * is logged and stays for blob_store_orphans. */
enum status blob_store_sweep(struct records *records, const char *root,
                             const struct blob_garbage *garbage, int64_t *bytes_out,
                             struct error *error);
/* Files of one tenant's store that have no row and are older than `before_ms`. */
enum status blob_store_orphans(struct records *records, const char *root, const char *tenant,
                               int64_t before_ms, bool dry_run, int *count_out,
                               struct error *error);

#endif
