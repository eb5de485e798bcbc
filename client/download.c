/* SPDX-License-Identifier: Apache-2.0
 *
 * download: a file that is cut off stays as long as it came and goes on from there; it counts only
 * when its digest is right, so what a broken disk or another version left there costs a second
 * download and nothing else. Names are those of a manifest, which somebody else wrote: they must
 * stay inside the directory.
 */
#include "client/download.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/remote.h"
#include "lib/file.h"
#include "lib/limits.h"
#include "lib/sha256.h"

#define MANIFEST_BYTES_MAX (16 * (int64_t)MIB)
enum { NAME_MAX_BYTES = 512, PATH_SIZE = 4096 };

enum status download_cache(const struct service *service, const char *kind, const char **dir_out,
                           struct error *error)
{
    const char *own = getenv("TAILOR_CACHE"), *xdg = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    if (!own && !xdg && !home) {
        return error_set(error, STATUS_USAGE, "HOME is not set: say where with TAILOR_CACHE");
    }
    *dir_out = own   ? arena_printf(service->arena, "%s/%s", own, kind)
               : xdg ? arena_printf(service->arena, "%s/tailor/%s", xdg, kind)
                     : arena_printf(service->arena, "%s/.cache/tailor/%s", home, kind);
    return STATUS_OK;
}

/* ---- chunks ---------------------------------------------------------------------------------- */

static enum status chunk_get(const struct download *download, const char *digest, int64_t offset,
                             struct buf *out, struct error *error)
{
    Api__UploadRequest *request = service_request(download->service, ROUTE_BLOB_READ);
    request->tenant = (char *)download->tenant; /* protobuf-c knows no const */
    request->digest = (char *)digest;
    request->has_offset = request->has_bytes = true;
    request->offset = offset;
    request->bytes = (int64_t)CHUNK_BYTES_MAX;
    return service_get(download->service, ROUTE_BLOB_READ, &request->base, out, error);
}

static enum status other_bytes(const char *digest, struct error *error)
{
    return error_set(error, STATUS_FORMAT, "blob %.12s… came with other bytes", digest);
}

enum status download_blob(const struct download *download, const char *digest, int64_t bytes_max,
                          struct buf *out, struct error *error)
{
    char found[SHA256_HEX_SIZE];
    size_t before;
    do {
        before = out->length;
        TRY(chunk_get(download, digest, (int64_t)before, out, error));
        if ((int64_t)out->length > bytes_max) {
            return error_set(error, STATUS_LIMIT, "a file has more than %lld bytes",
                             (long long)bytes_max);
        }
    } while (out->length - before == CHUNK_BYTES_MAX);
    sha256_hex(out->length > 0 ? out->data : "", out->length, found);
    return strcmp(found, digest) == 0 ? STATUS_OK : other_bytes(digest, error);
}

/* ---- a file ---------------------------------------------------------------------------------- */

struct wanted {
    const char *name, *digest;
    int64_t bytes;
};

/* Appends to what is there until the file is as long as it should be. */
static enum status file_fill(const struct download *download, const struct wanted *wanted,
                             const char *path, struct error *error)
{
    FILE *file = fopen(path, "abe");
    enum status status = STATUS_OK;
    if (file == NULL) {
        return error_set(error, STATUS_IO, "%s: %s", path, strerror(errno));
    }
    for (int64_t at = file_size(path); status == STATUS_OK && at < wanted->bytes;) {
        struct buf chunk = {0};
        status = chunk_get(download, wanted->digest, at, &chunk, error);
        if (status == STATUS_OK && chunk.length == 0) {
            status = other_bytes(wanted->digest, error);
        } else if (status == STATUS_OK &&
                   fwrite(chunk.data, 1, chunk.length, file) != chunk.length) {
            status = error_set(error, STATUS_IO, "%s: %s", path, strerror(errno));
        }
        at += (int64_t)chunk.length;
        buf_release(&chunk);
    }
    if ((fflush(file) != 0 || fsync(fileno(file)) != 0) && status == STATUS_OK) {
        status = error_set(error, STATUS_IO, "%s: %s", path, strerror(errno));
    }
    fclose(file);
    return status;
}

/* Where the bytes that were left there are others, all of them come again. */
static enum status file_get(const struct download *download, const struct wanted *wanted,
                            const char *path, struct error *error)
{
    char found[SHA256_HEX_SIZE];
    if (file_size(path) > wanted->bytes) {
        unlink(path);
    }
    const bool resumed = file_size(path) > 0;
    if (!download->quiet && file_size(path) < wanted->bytes) {
        fprintf(stderr, "fetching %s (%lld bytes)\n", wanted->name, (long long)wanted->bytes);
    }
    TRY(file_fill(download, wanted, path, error));
    TRY(sha256_file_hex(path, found, error));
    if (strcmp(found, wanted->digest) == 0) {
        return STATUS_OK;
    }
    unlink(path);
    return resumed ? file_get(download, wanted, path, error) : other_bytes(wanted->digest, error);
}

/* ---- a directory ----------------------------------------------------------------------------- */

static bool stays_inside(const char *name)
{
    const char *part = name;
    for (const char *at = name;; at++) {
        if (*at == '/' || *at == '\0') {
            const size_t length = (size_t)(at - part);
            if (length == 0 || (length <= 2 && strspn(part, ".") >= length)) {
                return false;
            }
            part = at + 1;
        }
        if (*at == '\0') {
            return at - name <= NAME_MAX_BYTES;
        }
        if ((unsigned char)*at < ' ') {
            return false;
        }
    }
}

static enum status wanted_read(const json_t *file, struct wanted *wanted, struct error *error)
{
    *wanted = (struct wanted){remote_text(file, "name"), remote_text(file, "digest"),
                              json_integer_value(json_object_get(file, "bytes"))};
    if (!stays_inside(wanted->name) || strlen(wanted->digest) != SHA256_HEX_SIZE - 1 ||
        wanted->bytes < 0) {
        return error_set(error, STATUS_FORMAT, "the manifest has a file that is none: \"%s\"",
                         wanted->name);
    }
    return STATUS_OK;
}

static enum status files_get(const struct download *download, const json_t *files,
                             download_wants *wants, const char *dir, struct error *error)
{
    for (size_t i = 0; i < json_array_size(files); i++) {
        struct wanted wanted;
        char path[PATH_SIZE], *slash;
        TRY(wanted_read(json_array_get(files, i), &wanted, error));
        if (!wants(wanted.name)) {
            continue;
        }
        path_join(path, sizeof(path), dir, wanted.name);
        slash = strrchr(path, '/');
        *slash = '\0';
        TRY(dir_create(path, error));
        *slash = '/';
        TRY(file_get(download, &wanted, path, error));
    }
    return STATUS_OK;
}

enum status download_dir(const struct download *download, const char *manifest,
                         download_wants *wants, const char *dir, struct error *error)
{
    const char *part = arena_printf(download->service->arena, "%s.part", dir);
    struct buf text = {0};
    json_t *root = NULL;
    if (dir_exists(dir)) {
        return STATUS_OK;
    }
    TRY(dir_create(part, error));
    enum status status = download_blob(download, manifest, MANIFEST_BYTES_MAX, &text, error);
    if (status == STATUS_OK) {
        status = json_read("the manifest", text.data, text.length, &root, error);
    }
    if (status == STATUS_OK) {
        status = files_get(download, json_object_get(root, "files"), wants, part, error);
    }
    if (status == STATUS_OK && rename(part, dir) != 0) {
        status = error_set(error, STATUS_IO, "%s: %s", dir, strerror(errno));
    }
    json_decref(root);
    buf_release(&text);
    return status;
}
