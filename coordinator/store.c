/* SPDX-License-Identifier: Apache-2.0
 *
 * Names become paths only after they were checked: a tenant is a name (proto/ident.h) or empty, a
 * digest is 64 hex digits.
 */
#include "coordinator/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/sha256.h"
#include "proto/ident.h"

enum { PARTS_MAX = 4096 };

#define MANIFEST_BYTES_MAX (16 * MIB)
#define CLUSTER            "_cluster"

struct store {
    char dir[PATH_MAX - 256];
};

struct store *store_create(const char *dir)
{
    struct store *store = mem_alloc(sizeof(*store));
    CHECK(snprintf(store->dir, sizeof(store->dir), "%s", dir) < (int)sizeof(store->dir));
    return store;
}

void store_free(struct store *store)
{
    mem_free(store);
}

int64_t store_free_bytes(const struct store *store)
{
    struct statvfs info;
    if (statvfs(store->dir, &info) != 0)
        return 0;
    return (int64_t)info.f_bavail * (int64_t)info.f_frsize;
}

/* ---- paths ----------------------------------------------------------------------------------- */

static enum status names_check(const char *tenant, const char *digest, struct error *error)
{
    if (tenant[0] != '\0' && !name_is_valid(tenant, strlen(tenant)))
        return error_set(error, STATUS_USAGE, "this is no tenant's name");
    if (strlen(digest) != SHA256_HEX_SIZE - 1 || strspn(digest, "0123456789abcdef") !=
                                                     SHA256_HEX_SIZE - 1)
        return error_set(error, STATUS_USAGE, "this is no SHA-256 digest");
    return STATUS_OK;
}

static void tenant_dir(const struct store *store, const char *tenant, char *out)
{
    path_join(out, PATH_MAX, store->dir, tenant[0] != '\0' ? tenant : CLUSTER);
}

static void blob_path(const char *dir, const char *digest, char *shard_out, char *out)
{
    char shard[3] = {digest[0], digest[1], '\0'};
    path_join(shard_out, PATH_MAX, dir, shard);
    path_join(out, PATH_MAX, shard_out, digest);
}

static void upload_path(const char *dir, const char *digest, char *out)
{
    char name[SHA256_HEX_SIZE + 8];
    snprintf(name, sizeof(name), "upload-%s", digest);
    path_join(out, PATH_MAX, dir, name);
}

/* ---- uploads --------------------------------------------------------------------------------- */

enum status store_upload_show(struct store *store, const char *tenant, const char *digest,
                              struct upload_state *state_out, struct error *error)
{
    char dir[PATH_MAX], shard[PATH_MAX], path[PATH_MAX];
    TRY(names_check(tenant, digest, error));
    tenant_dir(store, tenant, dir);
    blob_path(dir, digest, shard, path);
    int64_t size = file_size(path);
    if (size >= 0) {
        *state_out = (struct upload_state){size, true};
        return STATUS_OK;
    }
    upload_path(dir, digest, path);
    size = file_size(path);
    *state_out = (struct upload_state){size > 0 ? size : 0, false};
    return STATUS_OK;
}

static enum status io_error(const char *path, struct error *error)
{
    int cause = errno;
    return error_set(error, STATUS_IO, "%s: %s", path, strerror(cause));
}

/* A chunk is there whole or not at all. */
static enum status append_chunk(const char *path, int64_t offset, const void *data, size_t length,
                                struct error *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return io_error(path, error);
    size_t written = 0;
    enum status status = STATUS_OK;
    while (written < length && status == STATUS_OK) {
        ssize_t n = pwrite(fd, (const char *)data + written, length - written,
                           offset + (int64_t)written);
        if (n > 0)
            written += (size_t)n;
        else if (n == 0 || errno != EINTR)
            status = io_error(path, error);
    }
    if (status != STATUS_OK && ftruncate(fd, offset) != 0)
        unlink(path);
    close(fd);
    return status;
}

static enum status finish_upload(const char *dir, const char *part, const char *digest,
                                 struct error *error)
{
    char shard[PATH_MAX], path[PATH_MAX], found[SHA256_HEX_SIZE];
    int fd = open(part, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return io_error(part, error);
    bool synced = !file_failpoint("upload_fsync") && fsync(fd) == 0;
    close(fd);
    if (!synced) {
        unlink(part); /* an fsync that failed once says nothing when it succeeds */
        return error_set(error, STATUS_IO, "%s: cannot be written to the disk", part);
    }
    TRY(sha256_file_hex(part, found, error));
    if (strcmp(found, digest) != 0) {
        unlink(part);
        return error_set(error, STATUS_FORMAT,
                         "what was uploaded has the digest %s instead of %s: send it again", found,
                         digest);
    }
    blob_path(dir, digest, shard, path);
    TRY(dir_create(shard, error));
    if (file_failpoint("upload_rename") || rename(part, path) != 0)
        return io_error(path, error);
    TRY(dir_fsync(shard, error));
    return dir_fsync(dir, error);
}

enum status store_upload_put(struct store *store, const char *tenant, const char *digest,
                             int64_t total, int64_t offset, const void *data, size_t length,
                             struct upload_state *state_out, struct error *error)
{
    char dir[PATH_MAX], part[PATH_MAX];
    *state_out = (struct upload_state){0};
    TRY(store_upload_show(store, tenant, digest, state_out, error));
    if (state_out->complete)
        return STATUS_OK;
    if (offset != state_out->offset)
        return error_set(error, STATUS_CONFLICT,
                         "this chunk begins at %lld; the upload goes on at %lld", (long long)offset,
                         (long long)state_out->offset);
    if (total < 0 || (int64_t)length > total - offset)
        return error_set(error, STATUS_FORMAT, "more bytes than the %lld that were announced",
                         (long long)total);
    tenant_dir(store, tenant, dir);
    upload_path(dir, digest, part);
    TRY(dir_create(dir, error));
    TRY(append_chunk(part, offset, data, length, error));
    state_out->offset = offset + (int64_t)length;
    if (state_out->offset < total)
        return STATUS_OK;
    enum status status = finish_upload(dir, part, digest, error);
    state_out->complete = status == STATUS_OK;
    if (status == STATUS_FORMAT || status == STATUS_IO)
        state_out->offset = file_size(part) > 0 ? file_size(part) : 0;
    return status;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int open_in(const struct store *store, const char *tenant, const char *digest)
{
    char dir[PATH_MAX], shard[PATH_MAX], path[PATH_MAX];
    tenant_dir(store, tenant, dir);
    blob_path(dir, digest, shard, path);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static int open_anywhere(const struct store *store, const char *digest)
{
    int fd = open_in(store, "", digest);
    DIR *dir = fd < 0 ? opendir(store->dir) : NULL;
    for (struct dirent *entry; dir != NULL && fd < 0 && (entry = readdir(dir)) != NULL;)
        if (name_is_valid(entry->d_name, strlen(entry->d_name)))
            fd = open_in(store, entry->d_name, digest);
    if (dir != NULL)
        closedir(dir);
    return fd;
}

static enum status read_at(int fd, int64_t offset, size_t length, struct buf *out,
                           int64_t *size_out, struct error *error)
{
    struct stat info;
    char *block;
    ssize_t got = 0;
    if (fstat(fd, &info) != 0)
        return io_error("a blob", error);
    if (offset < 0 || offset > info.st_size)
        return error_set(error, STATUS_USAGE, "the blob has %lld bytes", (long long)info.st_size);
    block = mem_alloc(length + 1);
    got = pread(fd, block, length, offset);
    if (got >= 0)
        buf_append(out, block, (size_t)got);
    mem_free(block);
    if (got < 0)
        return io_error("a blob", error);
    *size_out = info.st_size;
    return STATUS_OK;
}

enum status store_read(struct store *store, const char *tenant, const char *digest, bool anywhere,
                       int64_t offset, size_t length, struct buf *out, int64_t *size_out,
                       struct error *error)
{
    TRY(names_check(tenant, digest, error));
    int fd = open_in(store, tenant, digest);
    if (fd < 0 && anywhere)
        fd = open_anywhere(store, digest);
    if (fd < 0)
        return error_set(error, STATUS_NOT_FOUND, "there is no blob %.12s… in the store", digest);
    enum status status = read_at(fd, offset, length, out, size_out, error);
    close(fd);
    return status;
}

/* ---- manifests ------------------------------------------------------------------------------- */

static const char *part_digest(const json_t *part)
{
    const char *digest = json_string_value(json_object_get(part, "digest"));
    if (digest == NULL)
        digest = json_string_value(json_object_get(part, "sha256"));
    return digest != NULL && strlen(digest) == SHA256_HEX_SIZE - 1 ? digest : NULL;
}

static enum status parts_of(const json_t *root, struct arena *arena, const char ***digests_out,
                            int *count_out, struct error *error)
{
    const char *kind = json_string_value(json_object_get(root, "kind"));
    bool files = kind != NULL && strcmp(kind, "files") == 0;
    bool checkpoint = kind != NULL && strcmp(kind, "checkpoint") == 0;
    const json_t *list = json_object_get(root, files ? "files" : "parts");
    size_t count = json_array_size(list);
    if ((!files && !checkpoint) || !json_is_array(list))
        return STATUS_OK;
    if (count > PARTS_MAX)
        return error_set(error, STATUS_LIMIT, "a manifest of %zu parts; at most %d", count,
                         PARTS_MAX);
    const char **digests = arena_array(arena, const char *, count);
    for (size_t i = 0; i < count; i++) {
        const char *digest = part_digest(json_array_get(list, i));
        if (digest == NULL)
            return error_set(error, STATUS_FORMAT, "part %zu of the manifest has no digest", i);
        digests[i] = arena_strdup(arena, digest);
    }
    *digests_out = digests;
    *count_out = (int)count;
    return STATUS_OK;
}

enum status store_parts(struct store *store, const char *tenant, const char *digest,
                        struct arena *arena, const char ***digests_out, int *count_out,
                        struct error *error)
{
    struct buf text = {0};
    int64_t size;
    json_t *root = NULL;
    *count_out = 0;
    TRY(store_read(store, tenant, digest, false, 0, 1, &text, &size, error));
    if (size > (int64_t)MANIFEST_BYTES_MAX || text.length != 1 || text.data[0] != '{') {
        buf_release(&text);
        return STATUS_OK;
    }
    buf_clear(&text);
    enum status status = store_read(store, tenant, digest, false, 0, (size_t)size, &text, &size,
                                    error);
    if (status == STATUS_OK &&
        json_read("the manifest", text.data, text.length, &root, NULL) == STATUS_OK)
        status = parts_of(root, arena, digests_out, count_out, error);
    json_decref(root);
    buf_release(&text);
    return status;
}

enum status store_remove(struct store *store, const char *tenant, const char *digest,
                         struct error *error)
{
    char dir[PATH_MAX], shard[PATH_MAX], path[PATH_MAX];
    TRY(names_check(tenant, digest, error));
    tenant_dir(store, tenant, dir);
    blob_path(dir, digest, shard, path);
    if (unlink(path) != 0 && errno != ENOENT)
        return io_error(path, error);
    return STATUS_OK;
}
