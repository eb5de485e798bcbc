/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes are hashed chunk by chunk as they are written, while they are in the cache: a part of many
 * GiB is read from memory once. A chunk also keeps each write() far below the 2 GiB that Linux
 * takes at a time.
 *
 * Rejected: hashing first and skipping the write where the blob exists. Weights and moments differ
 * in every checkpoint, and a blob that rotted on disk would never be replaced by a good one.
 */
#include "storage/files/durable.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/failpoint.h"
#include "lib/file.h"
#include "lib/limits.h"

#define CHUNK_BYTES (4 * MIB)

static enum status io_error(struct error *error, const char *doing, const char *path)
{
    int number = errno;
    enum status status = number == EACCES || number == EROFS    ? STATUS_DENIED
                         : number == ENOSPC || number == EDQUOT ? STATUS_FULL
                                                                : STATUS_IO;
    return error_set(error, status, "%s: cannot %s: %s", path, doing, strerror(number));
}

static bool write_fully(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, data, size);
        if (written < 0 && errno != EINTR)
            return false;
        if (written > 0) {
            data += written;
            size -= (size_t)written;
        }
    }
    return true;
}

/* Small content is cut in two as well: the failpoint's second passage leaves a torn file. */
static bool write_chunks(int fd, const char *data, size_t size, const char *point,
                         struct sha256 *sha)
{
    size_t chunk = size / 2 + 1 < CHUNK_BYTES ? size / 2 + 1 : CHUNK_BYTES;
    for (size_t begin = 0; begin < size; begin += chunk) {
        size_t length = size - begin < chunk ? size - begin : chunk;
        sha256_update(sha, data + begin, length);
        if (failpoint_fails(point) || !write_fully(fd, data + begin, length))
            return false;
    }
    return true;
}

static int temporary_create(const char *dir, char path_out[PATH_MAX])
{
    static atomic_uint counter;
    int fd;
    do {
        char name[64];
        snprintf(name, sizeof(name), DURABLE_PREFIX "%ld-%u", (long)getpid(),
                 atomic_fetch_add(&counter, 1));
        path_join(path_out, PATH_MAX, dir, name);
        fd = open(path_out, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    } while (fd < 0 && errno == EEXIST);
    return fd;
}

enum status durable_write(const char *dir, const void *data, size_t size,
                          const struct durable_points *points, char temporary_out[PATH_MAX],
                          char digest_out[SHA256_HEX_SIZE], struct error *error)
{
    int fd = temporary_create(dir, temporary_out);
    if (fd < 0)
        return io_error(error, "create", temporary_out);
    enum status status = STATUS_OK;
    char digest[SHA256_HEX_SIZE];
    struct sha256 *sha = sha256_create();
    if (!write_chunks(fd, data, size, points->write, sha))
        status = io_error(error, "write", temporary_out);
    sha256_finish_hex(sha, digest);
    if (status == STATUS_OK && (failpoint_fails(points->fsync) || fsync(fd) != 0))
        status = io_error(error, "fsync", temporary_out);
    if (close(fd) != 0 && status == STATUS_OK)
        status = io_error(error, "close", temporary_out);
    if (status != STATUS_OK)
        unlink(temporary_out);
    else if (digest_out != NULL)
        memcpy(digest_out, digest, sizeof(digest));
    return status;
}

enum status durable_fsync(const char *path, const struct durable_points *points,
                          struct error *error)
{
    enum status status = STATUS_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return io_error(error, "open", path);
    if (failpoint_fails(points->fsync) || fsync(fd) != 0)
        status = io_error(error, "fsync", path);
    close(fd);
    return status;
}

enum status durable_rename(const char *temporary, const char *dir, const char *name,
                           const struct durable_points *points, struct error *error)
{
    char path[PATH_MAX];
    path_join(path, sizeof(path), dir, name);
    if (failpoint_fails(points->rename) || rename(temporary, path) != 0) {
        enum status status = io_error(error, "rename", path);
        unlink(temporary);
        return status;
    }
    return dir_fsync(dir, error);
}

enum status durable_dir(const char *dir, const char *name, char path_out[PATH_MAX],
                        struct error *error)
{
    path_join(path_out, PATH_MAX, dir, name);
    if (dir_exists(path_out))
        return STATUS_OK;
    TRY(dir_create(path_out, error));
    return dir_fsync(dir, error);
}

int durable_sweep(const char *dir)
{
    int removed = 0;
    DIR *entries = opendir(dir);
    if (entries == NULL)
        return 0;
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;)
        if (strncmp(entry->d_name, DURABLE_PREFIX, strlen(DURABLE_PREFIX)) == 0)
            removed += unlinkat(dirfd(entries), entry->d_name, 0) == 0;
    closedir(entries);
    return removed;
}
