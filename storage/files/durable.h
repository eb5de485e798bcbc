/* SPDX-License-Identifier: Apache-2.0
 *
 * durable: the two halves of a commit, apart: bytes under a temporary name, and the rename.
 *
 * lib/file.h does both in one call for content that is known beforehand. A blob's name is the
 * digest of what was written, so here the caller names the file in between. Private to
 * storage/files.
 */
#ifndef TAILOR_STORAGE_FILES_DURABLE_H
#define TAILOR_STORAGE_FILES_DURABLE_H

#include <limits.h>
#include <stddef.h>

#include "lib/sha256.h"
#include "lib/status.h"

/* Every temporary begins with this; one that is found later was left by a crash. */
#define DURABLE_PREFIX "tmp-"

/* The failpoints (lib/failpoint.h) of one kind of file. */
struct durable_points {
    const char *write, *fsync, *rename;
};

/* Writes and fsyncs `data` under a new temporary name in `dir`. `digest_out` may be NULL; otherwise
 * it gets the digest of the bytes, taken in the same pass. A failure leaves no file. */
enum status durable_write(const char *dir, const void *data, size_t size,
                          const struct durable_points *points, char temporary_out[PATH_MAX],
                          char digest_out[SHA256_HEX_SIZE], struct error *error);
/* Syncs a file that was written elsewhere. */
enum status durable_fsync(const char *path, const struct durable_points *points,
                          struct error *error);
/* Renames the temporary to dir/name, replacing what was there, and fsyncs the directory. A failure
 * removes the temporary. */
enum status durable_rename(const char *temporary, const char *dir, const char *name,
                           const struct durable_points *points, struct error *error);
/* Creates dir/name unless it is there, so that it survives a crash. */
enum status durable_dir(const char *dir, const char *name, char path_out[PATH_MAX],
                        struct error *error);
/* Removes the temporaries of `dir`; returns how many. */
int durable_sweep(const char *dir);

#endif
