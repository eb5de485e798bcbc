/* SPDX-License-Identifier: Apache-2.0
 *
 * The digest is taken over the whole file at the end, not chunk by chunk: the state of a hash
 * would have to survive a restart, and reading the file once more also finds what the disk lost.
 */
#include "storage/files/upload.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/failpoint.h"
#include "lib/file.h"
#include "storage/files/blob.h"

#define UPLOAD_PREFIX "upload-"

static void part_path(const char *store, const char *digest, char out[PATH_MAX])
{
    char name[sizeof(UPLOAD_PREFIX) + SHA256_HEX_SIZE];
    snprintf(name, sizeof(name), UPLOAD_PREFIX "%s", digest);
    path_join(out, PATH_MAX, store, name);
}

static enum status io_error(struct error *error, const char *doing, const char *path)
{
    enum status status = errno == ENOSPC || errno == EDQUOT ? STATUS_FULL : STATUS_IO;
    return error_set(error, status, "%s: cannot %s: %s", path, doing, strerror(errno));
}

enum status upload_state(const char *store, const char *digest, int64_t *offset_out,
                         bool *complete_out, struct error *error)
{
    char path[PATH_MAX];
    int64_t size;
    TRY(blob_size(store, digest, &size, error));
    *complete_out = size >= 0;
    if (size < 0) {
        part_path(store, digest, path);
        size = file_size(path);
    }
    *offset_out = size < 0 ? 0 : size;
    return STATUS_OK;
}

static enum status append(const char *path, int64_t offset, const char *data, size_t length,
                          struct error *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0)
        return io_error(error, "create", path);
    enum status status = STATUS_OK;
    size_t done = 0;
    while (done < length && status == STATUS_OK) {
        ssize_t written = failpoint_fails("upload_write")
                              ? -1
                              : pwrite(fd, data + done, length - done, offset + (off_t)done);
        if (written > 0)
            done += (size_t)written;
        else if (written < 0 && errno != EINTR)
            status = io_error(error, "write", path);
    }
    /* What did not fit is cut off, so that what is there has arrived. */
    if (status != STATUS_OK && ftruncate(fd, offset) != 0)
        unlink(path);
    if (close(fd) != 0 && status == STATUS_OK)
        status = io_error(error, "close", path);
    return status;
}

/* All bytes are there: are they the right ones? */
static enum status complete(const char *store, const char *digest, const char *path,
                            struct error *error)
{
    char found[SHA256_HEX_SIZE];
    TRY(sha256_file_hex(path, found, error));
    if (strcmp(found, digest) != 0) {
        unlink(path);
        return error_set(error, STATUS_FORMAT,
                         "what was uploaded has the digest %s, not %s; upload it again", found,
                         digest);
    }
    return blob_adopt(store, path, digest, error);
}

enum status upload_write(const char *store, const char *digest, int64_t size, int64_t offset,
                         const void *data, size_t length, int64_t *offset_out, bool *complete_out,
                         struct error *error)
{
    char path[PATH_MAX];
    int64_t have;
    bool is_complete;
    TRY(upload_state(store, digest, &have, &is_complete, error));
    if (size < 0 || offset < 0 || offset > size || (int64_t)length > size - offset)
        return error_set(error, STATUS_LIMIT,
                         "%zu bytes at %" PRId64 " go beyond the %" PRId64 " of this upload",
                         length, offset, size);
    if (!is_complete) {
        if (have > size) /* of another upload, that named another size */
            have = 0;
        if (offset > have)
            return error_set(error, STATUS_CONFLICT,
                             "%" PRId64 " bytes have arrived: go on from there, not from %" PRId64,
                             have, offset);
        TRY(dir_create(store, error));
        part_path(store, digest, path);
        if (offset + (int64_t)length > have || have == 0) {
            TRY(append(path, offset, data, length, error));
            have = offset + (int64_t)length;
        }
        is_complete = have == size;
        if (is_complete)
            TRY(complete(store, digest, path, error));
    }
    *offset_out = have;
    *complete_out = is_complete;
    return STATUS_OK;
}

int upload_expire(const char *store, int64_t before_ms)
{
    int removed = 0;
    DIR *entries = opendir(store);
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        struct stat info;
        if (strncmp(entry->d_name, UPLOAD_PREFIX, strlen(UPLOAD_PREFIX)) == 0 &&
            fstatat(dirfd(entries), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
            (int64_t)info.st_mtim.tv_sec * 1000 < before_ms)
            removed += unlinkat(dirfd(entries), entry->d_name, 0) == 0;
    }
    if (entries != NULL)
        closedir(entries);
    return removed;
}
