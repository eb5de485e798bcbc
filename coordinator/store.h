/* SPDX-License-Identifier: Apache-2.0
 *
 * store: the blobs of all tenants as files, the store thread's.
 *
 *     DIR/store/TENANT/…      blobs (storage/files/blob.h) and uploads (storage/files/upload.h)
 *
 * A manifest is a blob too: a JSON object with a `kind` ("files", "checkpoint") whose list
 * ("files", "parts") names other blobs of the same tenant. What it names is read when its upload is
 * complete, and recorded with it.
 */
#ifndef TAILOR_COORDINATOR_STORE_H
#define TAILOR_COORDINATOR_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/status.h"

struct store;

struct store *store_create(const char *dir);
void store_free(struct store *store);
const char *store_root(const struct store *store); /* any thread */

struct upload_state {
    int64_t offset; /* bytes that are there */
    bool complete;
};

enum status store_upload_show(struct store *store, const char *tenant, const char *digest,
                              struct upload_state *state_out, struct error *error);
/* One chunk of a blob of `total` bytes. STATUS_CONFLICT: not at the offset that *state_out wants;
 * STATUS_FORMAT: all is there and it is not that digest, or it grew beyond `total`; the part is
 * gone then. STATUS_FULL: less than STORE_RESERVE_BYTES would be left. *state_out is written in
 * each case. */
enum status store_upload_put(struct store *store, const char *tenant, const char *digest,
                             int64_t total, int64_t offset, const void *data, size_t length,
                             struct upload_state *state_out, struct error *error);
/* Appends at most `length` bytes at `offset` of the blob. `anywhere`: if the tenant has no such
 * blob, the cluster's, or anybody's: for workers, which are asked to fetch what a spec names. */
enum status store_read(struct store *store, const char *tenant, const char *digest, bool anywhere,
                       int64_t offset, size_t length, struct buf *out, int64_t *size_out,
                       struct error *error);
/* The digests that the blob names if it is a manifest; count 0 if it is none. */
enum status store_parts(struct store *store, const char *tenant, const char *digest,
                        struct arena *arena, const char ***digests_out, int *count_out,
                        struct error *error);
int64_t store_free_bytes(const struct store *store); /* of the file system */

#endif
