/* SPDX-License-Identifier: Apache-2.0
 *
 * Invariant: a file under its digest was fsynced before it got that name. Putting bytes that are
 * there already replaces the file by its equal, which heals a blob that rotted.
 *
 * Digests come from manifests, and those from a disk: one that is not 64 hex digits never becomes a
 * path.
 */
#include "storage/files/blob.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/map.h"
#include "storage/files/durable.h"

enum { SHARD_DIGITS = 2 };

static const struct durable_points POINTS = {"blob_write", "blob_fsync", "blob_rename"};

static bool is_hex(const char *text, size_t digits)
{
    return strlen(text) == digits && strspn(text, "0123456789abcdef") == digits;
}

static void shard_name(const char *digest, char name_out[SHARD_DIGITS + 1])
{
    memcpy(name_out, digest, SHARD_DIGITS);
    name_out[SHARD_DIGITS] = '\0';
}

enum status blob_put(const char *store, const void *data, size_t size,
                     char digest_out[SHA256_HEX_SIZE], struct error *error)
{
    char temporary[PATH_MAX], dir[PATH_MAX], digest[SHA256_HEX_SIZE], name[SHARD_DIGITS + 1];
    TRY(dir_create(store, error));
    TRY(durable_write(store, data, size, &POINTS, temporary, digest, error));
    shard_name(digest, name);
    enum status status = durable_dir(store, name, dir, error);
    if (status != STATUS_OK) {
        unlink(temporary);
        return status;
    }
    TRY(durable_rename(temporary, dir, digest, &POINTS, error));
    memcpy(digest_out, digest, sizeof(digest));
    return STATUS_OK;
}

/* Where a blob of this digest lies or would lie. */
enum status blob_path(const char *store, const char *digest, char out[PATH_MAX],
                      struct error *error)
{
    if (!is_hex(digest, SHA256_HEX_SIZE - 1))
        return error_set(error, STATUS_FORMAT, "%s: \"%.80s\" is not a SHA-256 digest", store,
                         digest);
    char dir[PATH_MAX], name[SHARD_DIGITS + 1];
    shard_name(digest, name);
    path_join(dir, sizeof(dir), store, name);
    path_join(out, PATH_MAX, dir, digest);
    return STATUS_OK;
}

enum status blob_open(const char *store, const char *digest, struct file_map *map_out,
                      struct error *error)
{
    char path[PATH_MAX], found[SHA256_HEX_SIZE];
    struct file_map map;
    TRY(blob_path(store, digest, path, error));
    TRY(file_map_open(path, &map, error));
    if (map.size > 0)
        madvise((void *)map.data, map.size, MADV_SEQUENTIAL);
    sha256_hex(map.data, map.size, found);
    if (strcmp(found, digest) != 0) {
        file_map_close(&map);
        return error_set(error, STATUS_FORMAT,
                         "%s: damaged: its bytes have the digest %s; restore it from a backup",
                         path, found);
    }
    *map_out = map;
    return STATUS_OK;
}

enum status blob_size(const char *store, const char *digest, int64_t *size_out, struct error *error)
{
    char path[PATH_MAX];
    TRY(blob_path(store, digest, path, error));
    *size_out = file_size(path);
    return STATUS_OK;
}

enum status blob_adopt(const char *store, const char *path, const char *digest, struct error *error)
{
    char dir[PATH_MAX], target[PATH_MAX], name[SHARD_DIGITS + 1];
    TRY(blob_path(store, digest, target, error));
    shard_name(digest, name);
    enum status status = durable_fsync(path, &POINTS, error);
    if (status == STATUS_OK)
        status = durable_dir(store, name, dir, error);
    if (status != STATUS_OK) {
        unlink(path);
        return status;
    }
    return durable_rename(path, dir, digest, &POINTS, error);
}

enum status blob_remove(const char *store, const char *digest, struct error *error)
{
    char path[PATH_MAX];
    TRY(blob_path(store, digest, path, error));
    if (unlink(path) != 0 && errno != ENOENT)
        return error_set(error, STATUS_IO, "%s: cannot be removed: %s", path, strerror(errno));
    return STATUS_OK;
}

void blob_tenant_path(const char *root, const char *tenant, char out[PATH_MAX])
{
    /* No name of a tenant begins with a dash. */
    path_join(out, PATH_MAX, root, tenant[0] != '\0' ? tenant : "-cluster");
}

static void each_in_shard(const char *dir,
                          void (*visit)(const char *digest, int64_t time_ms, void *argument),
                          void *argument)
{
    DIR *entries = opendir(dir);
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        struct stat info;
        if (is_hex(entry->d_name, SHA256_HEX_SIZE - 1) &&
            fstatat(dirfd(entries), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0)
            visit(entry->d_name, (int64_t)info.st_mtim.tv_sec * 1000, argument);
    }
    if (entries != NULL)
        closedir(entries);
}

void blob_each(const char *store,
               void (*visit)(const char *digest, int64_t time_ms, void *argument), void *argument)
{
    DIR *entries = opendir(store);
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        char dir[PATH_MAX];
        if (!is_hex(entry->d_name, SHARD_DIGITS))
            continue;
        path_join(dir, sizeof(dir), store, entry->d_name);
        each_in_shard(dir, visit, argument);
    }
    if (entries != NULL)
        closedir(entries);
}

/* Removes the blobs of one shard that are not kept. What is not named like a blob is not ours. */
static int sweep_shard(const char *dir, const struct map *kept)
{
    int removed = 0;
    DIR *entries = opendir(dir);
    if (entries == NULL)
        return 0;
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;)
        if (is_hex(entry->d_name, SHA256_HEX_SIZE - 1) &&
            !map_get(kept, entry->d_name, SHA256_HEX_SIZE - 1, NULL))
            removed += unlinkat(dirfd(entries), entry->d_name, 0) == 0;
    closedir(entries);
    rmdir(dir); /* only an empty one goes */
    return removed;
}

int blob_sweep(const char *store, const char *const *keep, int keep_count)
{
    struct map *kept = map_create((size_t)keep_count);
    for (int i = 0; i < keep_count; i++)
        map_put(kept, keep[i], strlen(keep[i]), 0, NULL);
    int removed = durable_sweep(store);
    DIR *entries = opendir(store);
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        char dir[PATH_MAX];
        if (!is_hex(entry->d_name, SHARD_DIGITS))
            continue;
        path_join(dir, sizeof(dir), store, entry->d_name);
        removed += sweep_shard(dir, kept);
    }
    if (entries != NULL)
        closedir(entries);
    map_free(kept);
    return removed;
}
