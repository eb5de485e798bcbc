/* SPDX-License-Identifier: Apache-2.0
 *
 * file: whole files in, whole files out, and nothing half-written.
 *
 * file_write_atomic: temporary name in the same directory → write → fsync → rename → fsync of the
 * directory. After a crash the old or the new content is there, never a mixture. An fsync error is
 * final (the kernel may already have dropped the pages): the write is reported as failed.
 * Tests break each of these steps (failpoint.h).
 */
#ifndef TAILOR_LIB_FILE_H
#define TAILOR_LIB_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/status.h"

/* A read-only mapping. Regular files only (a FIFO or device is refused, so nothing hangs). */
struct file_map {
    const uint8_t *data; /* NULL when the file is empty */
    size_t size;
};

enum status file_map_open(const char *path, struct file_map *map_out, struct error *error);
void file_map_close(struct file_map *map);

/* Reads a whole regular file of at most size_max bytes; STATUS_LIMIT names both sizes. */
enum status file_read(const char *path, size_t size_max, struct buf *buf_out, struct error *error);
enum status file_write_atomic(const char *path, const void *data, size_t size, struct error *error);
/* Appends one line (newline added) in a single write. */
enum status file_append_line(const char *path, const char *line, size_t length,
                             struct error *error);
enum status dir_create(const char *path, struct error *error); /* with parents, like mkdir -p */
enum status dir_fsync(const char *path, struct error *error);
enum status dir_remove(const char *path, struct error *error); /* recursive, follows no link */
bool file_exists(const char *path);
bool dir_exists(const char *path);
int64_t file_size(const char *path); /* -1 if it is not a regular file */

/* "dir/name" into out[size]; CHECKs that it fits (PATH_MAX). */
void path_join(char *out, size_t size, const char *dir, const char *name);
const char *path_base(const char *path); /* borrowed: the part behind the last slash */

#endif
