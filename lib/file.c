/* SPDX-License-Identifier: Apache-2.0
 *
 * file: reading, and writing so that a crash leaves the old content or the new.
 *
 * Invariants: every open is O_CLOEXEC, and O_NONBLOCK until fstat has shown a regular file; a
 * temporary file is called ".tmp-PID-N" (whoever sweeps a directory may delete those of dead
 * processes) and is gone when file_write_atomic returns. Rejected: O_TMPFILE with linkat, which
 * cannot replace an existing name; and retrying a failed fsync, which may then report success for
 * pages that the kernel has dropped.
 */
#include "lib/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/failpoint.h"
#include "lib/text.h"

static enum status errno_status(int number)
{
    switch (number) {
    case ENOENT:
    case ENOTDIR:
        return STATUS_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return STATUS_DENIED;
    case EEXIST:
    case EISDIR:
        return STATUS_CONFLICT;
    case ENOMEM:
        return STATUS_MEMORY;
    case ENOSPC:
    case EDQUOT:
        return STATUS_FULL;
    default:
        return STATUS_IO;
    }
}

static enum status errno_set(struct error *error, const char *doing, const char *path)
{
    int number = errno;
    return error_set(error, errno_status(number), "%s: cannot %s: %s", path, doing,
                     strerror(number));
}

static enum status regular_open(const char *path, int flags, int *fd_out, struct stat *info_out,
                                struct error *error)
{
    int fd = open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0666);
    if (fd < 0) {
        return errno_set(error, "open", path);
    }
    if (fstat(fd, info_out) != 0) {
        enum status status = errno_set(error, "stat", path);
        close(fd);
        return status;
    }
    if (!S_ISREG(info_out->st_mode)) {
        close(fd);
        return error_set(error, STATUS_UNSUPPORTED, "%s: is not a regular file", path);
    }
    *fd_out = fd;
    return STATUS_OK;
}

enum status file_map_open(const char *path, struct file_map *map_out, struct error *error)
{
    int fd;
    struct stat info;
    TRY(regular_open(path, O_RDONLY, &fd, &info, error));
    struct file_map map = {NULL, (size_t)info.st_size};
    if (map.size > 0) {
        void *data = mmap(NULL, map.size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            enum status status = errno_set(error, "map", path);
            close(fd);
            return status;
        }
        map.data = data;
    }
    close(fd);
    *map_out = map;
    return STATUS_OK;
}

void file_map_close(struct file_map *map)
{
    if (map->data) {
        CHECK(munmap((void *)map->data, map->size) == 0);
    }
    *map = (struct file_map){0};
}

static enum status over_limit(const char *path, double size, size_t size_max, struct error *error)
{
    char is[16];
    char most[16];
    format_bytes(size, is);
    format_bytes((double)size_max, most);
    return error_set(error, STATUS_LIMIT,
                     "%s: has %s (%.0f bytes), at most %s (%zu bytes) are read", path, is, size,
                     most, size_max);
}

enum status file_read(const char *path, size_t size_max, struct buf *buf_out, struct error *error)
{
    int fd;
    struct stat info;
    TRY(regular_open(path, O_RDONLY, &fd, &info, error));
    if ((uint64_t)info.st_size > size_max) {
        close(fd);
        return over_limit(path, (double)info.st_size, size_max, error);
    }
    /* The file may grow meanwhile: read to its end, whatever fstat said. */
    struct buf buf = {0};
    enum status status = STATUS_OK;
    buf_append(&buf, "", 0);
    for (;;) {
        char block[65536];
        ssize_t got = read(fd, block, sizeof(block));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            status = errno_set(error, "read", path);
        }
        if (got <= 0) {
            break;
        }
        if ((size_t)got > size_max - buf.length) {
            status = over_limit(path, (double)buf.length + (double)got, size_max, error);
            break;
        }
        buf_append(&buf, block, (size_t)got);
    }
    close(fd);
    if (status != STATUS_OK) {
        buf_release(&buf);
        return status;
    }
    buf_release(buf_out);
    *buf_out = buf;
    return STATUS_OK;
}

static bool write_fully(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, data, size);
        if (written < 0) {
            if (errno == EINTR) {
                continue;
            }
            return false;
        }
        data += written;
        size -= (size_t)written;
    }
    return true;
}

static enum status temporary_fill(int fd, const char *path, const uint8_t *data, size_t size,
                                  struct error *error)
{
    /* The failpoint stands in the middle, where a kill leaves a torn file. */
    size_t half = size / 2;
    if (!write_fully(fd, data, half) || failpoint_fails("file_write") ||
        !write_fully(fd, data + half, size - half)) {
        return errno_set(error, "write", path);
    }
    if (failpoint_fails("file_fsync") || fsync(fd) != 0) {
        return errno_set(error, "fsync", path);
    }
    return STATUS_OK;
}

static void path_dir(const char *path, char dir_out[PATH_MAX])
{
    size_t length = (size_t)(path_base(path) - path);
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    CHECK(length < PATH_MAX);
    if (length == 0) {
        memcpy(dir_out, ".", sizeof("."));
        return;
    }
    memcpy(dir_out, path, length);
    dir_out[length] = '\0';
}

/* Creates a temporary file that nobody else has; CONFLICT with a dead process's file moves on. */
static int temporary_create(const char *dir, char temporary_out[PATH_MAX])
{
    static atomic_uint counter;
    int fd;
    do {
        char name[64];
        snprintf(name, sizeof(name), ".tmp-%ld-%u", (long)getpid(), atomic_fetch_add(&counter, 1));
        path_join(temporary_out, PATH_MAX, dir, name);
        fd = open(temporary_out, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    } while (fd < 0 && errno == EEXIST);
    return fd;
}

enum status file_write_atomic(const char *path, const void *data, size_t size, struct error *error)
{
    enum { TEMPORARY_NAME_MAX = 64 };
    if (strlen(path) + TEMPORARY_NAME_MAX >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return errno_set(error, "write", path);
    }
    char dir[PATH_MAX];
    char temporary[PATH_MAX];
    path_dir(path, dir);
    int fd = temporary_create(dir, temporary);
    if (fd < 0) {
        return errno_set(error, "create", path);
    }
    enum status status = temporary_fill(fd, path, data, size, error);
    if (close(fd) != 0 && status == STATUS_OK) {
        status = errno_set(error, "close", path);
    }
    if (status == STATUS_OK && (failpoint_fails("file_rename") || rename(temporary, path) != 0)) {
        status = errno_set(error, "rename", path);
    }
    if (status != STATUS_OK) {
        unlink(temporary);
        return status;
    }
    return dir_fsync(dir, error);
}

enum status file_append_line(const char *path, const char *line, size_t length, struct error *error)
{
    CHECK(length == 0 || memchr(line, '\n', length) == NULL);
    int fd;
    struct stat info;
    TRY(regular_open(path, O_RDWR | O_CREAT | O_APPEND, &fd, &info, error));
    /* A crash may have torn the last line: end it, so that it does not swallow this one. */
    char last = '\n';
    if (info.st_size > 0 && pread(fd, &last, 1, info.st_size - 1) != 1) {
        last = '\n';
    }
    struct buf text = {0};
    buf_append(&text, "\n", last == '\n' ? 0 : 1);
    buf_append(&text, line, length);
    buf_append_char(&text, '\n');
    ssize_t written;
    do {
        written = write(fd, text.data, text.length);
    } while (written < 0 && errno == EINTR);
    enum status status = STATUS_OK;
    if (written != (ssize_t)text.length) {
        errno = written < 0 ? errno : ENOSPC; /* a short write to a regular file: no room */
        status = errno_set(error, "append", path);
    }
    buf_release(&text);
    if (close(fd) != 0 && status == STATUS_OK) {
        status = errno_set(error, "close", path);
    }
    return status;
}

bool file_exists(const char *path)
{
    return file_size(path) >= 0;
}

int64_t file_size(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) ? (int64_t)info.st_size : -1;
}

void path_join(char *out, size_t size, const char *dir, const char *name)
{
    size_t length = strlen(dir);
    const char *slash = length == 0 || dir[length - 1] == '/' ? "" : "/";
    int wanted = snprintf(out, size, "%s%s%s", dir, slash, name);
    CHECK(wanted >= 0 && (size_t)wanted < size);
}

const char *path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}
