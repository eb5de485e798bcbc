/* SPDX-License-Identifier: Apache-2.0
 *
 * blob: immutable files named by the SHA-256 of their content, under one directory.
 *
 *     DIR/ab/abcdef…           a blob
 *     DIR/tmp-…                being written; anything so named is garbage after a crash
 *
 * blob_put writes under a temporary name while hashing, fsyncs, renames to its digest and fsyncs
 * the directory: a blob exists completely or not at all, and putting the same bytes twice is one
 * file. Reading verifies the digest: corruption is detected, never used.
 */
#ifndef TAILOR_STORAGE_FILES_BLOB_H
#define TAILOR_STORAGE_FILES_BLOB_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/file.h"
#include "lib/sha256.h"
#include "lib/status.h"

enum status blob_put(const char *store, const void *data, size_t size,
                     char digest_out[SHA256_HEX_SIZE], struct error *error);
/* Maps a blob read-only and verifies it; STATUS_NOT_FOUND, or STATUS_FORMAT naming the digest. */
enum status blob_open(const char *store, const char *digest, struct file_map *map_out,
                      struct error *error);
/* Its size, or -1 when it is not there; STATUS_FORMAT for a digest that is none. Not verified. */
enum status blob_size(const char *store, const char *digest, int64_t *size_out,
                      struct error *error);
/* Makes the file `path`, on the store's file system, the blob of this digest, which the caller has
 * verified: fsync, rename, fsync of the directory. A failure removes the file. */
enum status blob_adopt(const char *store, const char *path, const char *digest,
                       struct error *error);
/* STATUS_OK also when it was not there. */
enum status blob_remove(const char *store, const char *digest, struct error *error);
/* Calls visit for each blob of the store, with its age in the file system (ms since 1970). */
void blob_each(const char *store,
               void (*visit)(const char *digest, int64_t time_ms, void *argument), void *argument);
/* Where a blob lies, or would; STATUS_FORMAT for a digest that is none. */
enum status blob_path(const char *store, const char *digest, char out[PATH_MAX],
                      struct error *error);
/* Where a tenant's blobs lie below the service's root; "" is the cluster's own. */
void blob_tenant_path(const char *root, const char *tenant, char out[PATH_MAX]);
/* Removes every blob that `keep` does not hold (and left-over temporaries). Returns how many. */
int blob_sweep(const char *store, const char *const *keep, int keep_count);

#endif
