/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes are storage/files'; here are tenants, and the look into manifests.
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
#include "storage/files/blob.h"
#include "storage/files/upload.h"

enum { PARTS_MAX = 4096 };

#define MANIFEST_BYTES_MAX (16 * MIB)

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

const char *store_root(const struct store *store)
{
    return store->dir;
}

int64_t store_free_bytes(const struct store *store)
{
    struct statvfs info;
    if (statvfs(store->dir, &info) != 0)
        return 0;
    return (int64_t)info.f_bavail * (int64_t)info.f_frsize;
}

/* ---- uploads --------------------------------------------------------------------------------- */

/* Names become paths only after they were checked: digests by blob.h, tenants here. */
static enum status tenant_dir(const struct store *store, const char *tenant, char out[PATH_MAX],
                              struct error *error)
{
    if (tenant[0] != '\0' && !name_is_valid(tenant, strlen(tenant)))
        return error_set(error, STATUS_USAGE, "this is no tenant's name");
    blob_tenant_path(store->dir, tenant, out);
    return STATUS_OK;
}

enum status store_upload_show(struct store *store, const char *tenant, const char *digest,
                              struct upload_state *state_out, struct error *error)
{
    char dir[PATH_MAX];
    TRY(tenant_dir(store, tenant, dir, error));
    return upload_state(dir, digest, &state_out->offset, &state_out->complete, error);
}

enum status store_upload_put(struct store *store, const char *tenant, const char *digest,
                             int64_t total, int64_t offset, const void *data, size_t length,
                             struct upload_state *state_out, struct error *error)
{
    char dir[PATH_MAX];
    *state_out = (struct upload_state){0};
    TRY(tenant_dir(store, tenant, dir, error));
    if (length > 0 && store_free_bytes(store) < (int64_t)(STORE_RESERVE_BYTES + length)) {
        upload_state(dir, digest, &state_out->offset, &state_out->complete, NULL);
        return error_set(error, STATUS_FULL, "the store is full: what is left is for the records");
    }
    TRY(dir_create(dir, error));
    enum status status = upload_write(dir, digest, total, offset, data, length, &state_out->offset,
                                      &state_out->complete, error);
    if (status != STATUS_OK)
        upload_state(dir, digest, &state_out->offset, &state_out->complete, NULL);
    return status;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* −1: it is not there. */
static int open_in(const struct store *store, const char *tenant, const char *digest)
{
    char dir[PATH_MAX], path[PATH_MAX];
    blob_tenant_path(store->dir, tenant, dir);
    return blob_path(dir, digest, path, NULL) == STATUS_OK ? open(path, O_RDONLY | O_CLOEXEC) : -1;
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

static enum status io_error(struct error *error)
{
    return error_set(error, STATUS_IO, "a blob cannot be read: %s", strerror(errno));
}

static enum status read_at(int fd, int64_t offset, size_t length, struct buf *out,
                           int64_t *size_out, struct error *error)
{
    struct stat info;
    char *block;
    ssize_t got = 0;
    if (fstat(fd, &info) != 0)
        return io_error(error);
    if (offset < 0 || offset > info.st_size)
        return error_set(error, STATUS_USAGE, "the blob has %lld bytes", (long long)info.st_size);
    block = mem_alloc(length + 1);
    got = pread(fd, block, length, offset);
    if (got >= 0)
        buf_append(out, block, (size_t)got);
    mem_free(block);
    if (got < 0)
        return io_error(error);
    *size_out = info.st_size;
    return STATUS_OK;
}

enum status store_read(struct store *store, const char *tenant, const char *digest, bool anywhere,
                       int64_t offset, size_t length, struct buf *out, int64_t *size_out,
                       struct error *error)
{
    char dir[PATH_MAX];
    TRY(tenant_dir(store, tenant, dir, error));
    TRY(blob_size(dir, digest, size_out, error)); /* also: is that a digest? */
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
    enum status status =
        store_read(store, tenant, digest, false, 0, (size_t)size, &text, &size, error);
    if (status == STATUS_OK &&
        json_read("the manifest", text.data, text.length, &root, NULL) == STATUS_OK)
        status = parts_of(root, arena, digests_out, count_out, error);
    json_decref(root);
    buf_release(&text);
    return status;
}
