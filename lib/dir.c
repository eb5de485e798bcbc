/* SPDX-License-Identifier: Apache-2.0
 *
 * dir: the directory half of file.h.
 *
 * Invariant: dir_remove never leaves the tree it was given: it walks by descriptors with
 * O_NOFOLLOW, so a symbolic link, even one swapped in while it runs, is unlinked and not entered.
 * Rejected: nftw, which walks by path names and can be raced.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/failpoint.h"
#include "lib/file.h"

static enum status dir_error(struct error *error, const char *doing, const char *path)
{
    int number = errno;
    enum status status = STATUS_IO;
    if (number == ENOENT) {
        status = STATUS_NOT_FOUND;
    } else if (number == EACCES || number == EPERM || number == EROFS) {
        status = STATUS_DENIED;
    } else if (number == EEXIST || number == ENOTDIR || number == ELOOP) {
        status = STATUS_CONFLICT;
    }
    return error_set(error, status, "%s: cannot %s: %s", path, doing, strerror(number));
}

bool dir_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

enum status dir_create(const char *path, struct error *error)
{
    char partial[PATH_MAX];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof(partial)) {
        errno = length == 0 ? ENOENT : ENAMETOOLONG;
        return dir_error(error, "create the directory", path);
    }
    memcpy(partial, path, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0') {
            continue;
        }
        partial[i] = '\0';
        if (mkdir(partial, 0777) != 0) {
            /* Whatever mkdir says of an existing directory (EEXIST, EROFS, EACCES), it is there. */
            int number = errno;
            if (!dir_exists(partial)) {
                errno = number;
                return dir_error(error, "create the directory", partial);
            }
        }
        partial[i] = path[i];
    }
    return STATUS_OK;
}

enum status dir_fsync(const char *path, struct error *error)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return dir_error(error, "open", path);
    }
    enum status status = STATUS_OK;
    if (failpoint_fails("file_fsync") || fsync(fd) != 0) {
        status = dir_error(error, "fsync", path);
    }
    close(fd);
    return status;
}

/* Empties the directory `fd`, which it closes. False with errno at the first failure. */
static bool empty(int fd)
{
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return false;
    }
    bool done = true;
    while (done) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry) {
            done = errno == 0;
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            unlinkat(fd, entry->d_name, 0) == 0) {
            continue;
        }
        if (errno != EISDIR) {
            done = false;
            break;
        }
        int inner = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        done = inner >= 0 && empty(inner) && unlinkat(fd, entry->d_name, AT_REMOVEDIR) == 0;
    }
    int number = errno;
    closedir(dir);
    errno = number;
    return done;
}

enum status dir_remove(const char *path, struct error *error)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || !empty(fd) || rmdir(path) != 0) {
        return dir_error(error, "remove", path);
    }
    return STATUS_OK;
}
