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

#include <stddef.h>

#include "lib/file.h"
#include "lib/sha256.h"
#include "lib/status.h"

enum status blob_put(const char *store, const void *data, size_t size,
                     char digest_out[SHA256_HEX_SIZE], struct error *error);
/* Maps a blob read-only and verifies it; STATUS_NOT_FOUND, or STATUS_FORMAT naming the digest. */
enum status blob_open(const char *store, const char *digest, struct file_map *map_out,
                      struct error *error);
/* Removes every blob that `keep` does not hold (and left-over temporaries). Returns how many. */
int blob_sweep(const char *store, const char *const *keep, int keep_count);

#endif
