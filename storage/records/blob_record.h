/* SPDX-License-Identifier: Apache-2.0
 *
 * blob_record: which blobs are in the store, whose they are, and which of them are garbage.
 *
 * A blob's row is written after its file is in place (storage/files/blob.h). Blobs are kept per
 * tenant, so that nobody learns from an upload that another has the same file; '' is the
 * cluster's, for bases. Garbage is what no row leads to: manifests are named by checkpoints,
 * models, results, bases and datasets, parts by their manifest, and what is in flight by a pin.
 */
#ifndef TAILOR_STORAGE_RECORDS_BLOB_RECORD_H
#define TAILOR_STORAGE_RECORDS_BLOB_RECORD_H

#include "proto/api.pb-c.h"
#include "storage/records/records.h"

struct arena;

struct blob_row {
    const char *tenant, *digest;
    int64_t bytes;
};

enum status blob_record_put(struct records *records, const struct blob_row *blob, int64_t now_ms,
                            struct error *error); /* again: renews its age */
/* Of all blobs together. */
enum status blob_record_bytes(struct records *records, int64_t *bytes_out, struct error *error);
enum status blob_record_has(struct records *records, const char *tenant, const char *digest,
                            bool *has_out, struct error *error);
enum status blob_record_size(struct records *records, const char *tenant, const char *digest,
                             int64_t *bytes_out, struct error *error);
/* The manifest's parts. STATUS_NOT_FOUND: the manifest or one of them is not there. */
enum status blob_record_put_parts(struct records *records, const char *tenant, const char *manifest,
                                  const char *const *digests, int count, struct error *error);
/* Keeps a blob, and its parts if it is a manifest, until then; `owner` says for whom ("j-17"). */
enum status blob_record_pin(struct records *records, const char *tenant, const char *digest,
                            const char *owner, int64_t until_ms, struct error *error);
enum status blob_record_unpin(struct records *records, const char *owner, struct error *error);
/* Up to `limit` blobs that nothing leads to and that are older than `before_ms`. */
enum status blob_record_garbage(struct records *records, int64_t now_ms, int64_t before_ms,
                                int limit, struct arena *arena, struct blob_row **rows_out,
                                int *count_out, struct error *error);
/* The thing of this name is about to be removed on purpose: what it names becomes as old as can be,
 * for it is no upload that waits to be named. Before the rows of the thing go. */
enum status blob_record_forsake(struct records *records, Api__ObjectKind kind, const char *tenant,
                                const char *name, struct error *error);
/* Removes the row, if it is still garbage: before its file goes. *removed_out says whether. */
enum status blob_record_remove(struct records *records, const char *tenant, const char *digest,
                               int64_t now_ms, int64_t before_ms, bool *removed_out,
                               struct error *error);
/* Of `rows` those whose digest no tenant has, moved to the front; *count becomes how many. One pass
 * over all blobs. */
enum status blob_record_gone(struct records *records, struct blob_row *rows, int *count,
                             struct error *error);

#endif
