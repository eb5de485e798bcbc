/* SPDX-License-Identifier: Apache-2.0
 *
 * upload: see upload.h.
 */
#include "client/upload.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/file.h"
#include "lib/limits.h"
#include "lib/text.h"

enum { PATIENCE_MS = 30000, FILES_MAX = 4096 };

/* ---- bytes ----------------------------------------------------------------------------------- */

static enum status take_offset(json_t *reply, int64_t total, int64_t *offset, bool *complete,
                               struct error *error)
{
    *complete = false;
    *offset = 0;
    enum status status = json_get_bool(reply, "complete", complete, error);
    if (status == STATUS_OK) {
        status = json_get_i64(reply, "offset", 0, total, offset, error);
    }
    json_decref(reply);
    return status;
}

static enum status send_chunk(const struct upload *upload, Api__UploadRequest *request,
                              const uint8_t *data, int64_t total, bool *complete,
                              struct error *error)
{
    json_t *reply;
    int64_t begin = request->offset;
    size_t length = (size_t)(total - begin);
    length = length < CHUNK_BYTES_MAX ? length : CHUNK_BYTES_MAX;
    request->has_offset = request->has_bytes = true;
    request->bytes = total;
    TRY(service_put(upload->service, ROUTE_UPLOAD_PUT, &request->base,
                    length > 0 ? (const char *)data + begin : "", length, &reply, error));
    TRY(take_offset(reply, total, &request->offset, complete, error));
    if (!*complete && request->offset <= begin) {
        return error_set(error, STATUS_FORMAT, "the server took nothing of a part of the upload");
    }
    return STATUS_OK;
}

static enum status send_all(const struct upload *upload, const char *name, const void *data,
                            size_t size, const char *digest, struct error *error)
{
    Api__UploadRequest *request = service_request(upload->service, ROUTE_UPLOAD_SHOW);
    json_t *reply;
    bool complete;
    char text[16];
    request->tenant = (char *)upload->tenant; /* protobuf-c knows no const */
    request->digest = arena_strdup(upload->service->arena, digest);
    TRY(service_insist(upload->service, ROUTE_UPLOAD_SHOW, &request->base, PATIENCE_MS, &reply,
                       error));
    TRY(take_offset(reply, INT64_MAX, &request->offset, &complete, error));
    if (complete) {
        return STATUS_OK;
    }
    if (request->offset > (int64_t)size) {
        request->offset = 0;
    }
    if (!upload->quiet) {
        format_bytes((double)size - (double)request->offset, text);
        fprintf(stderr, "uploading %s, %s\n", name, text);
    }
    while (!complete) {
        TRY(send_chunk(upload, request, data, (int64_t)size, &complete, error));
    }
    return STATUS_OK;
}

enum status upload_file(const struct upload *upload, const char *path,
                        char digest_out[SHA256_HEX_SIZE], struct error *error)
{
    struct file_map map;
    TRY(file_map_open(path, &map, error));
    sha256_hex(map.data, map.size, digest_out);
    enum status status = send_all(upload, path_base(path), map.data, map.size, digest_out, error);
    file_map_close(&map);
    return status == STATUS_OK ? status : error_prefix(error, "%s", path);
}

/* ---- manifests ------------------------------------------------------------------------------- */

static enum status add_file(const struct upload *upload, const char *path, struct buf *manifest,
                            struct error *error)
{
    char digest[SHA256_HEX_SIZE];
    const char *name = path_base(path);
    int64_t bytes = file_size(path);
    if (upload->card != NULL && strcmp(name, "tailor.json") == 0) {
        bytes = (int64_t)upload->card->length;
        sha256_hex(upload->card->data, upload->card->length, digest);
        TRY(send_all(upload, name, upload->card->data, upload->card->length, digest, error));
    } else {
        TRY(upload_file(upload, path, digest, error));
    }
    if (manifest->length == 0) {
        buf_append_string(manifest, "{\"kind\":\"files\",\"files\":[");
    } else {
        buf_append_char(manifest, ',');
    }
    buf_append_string(manifest, "{\"name\":");
    buf_append_json_string(manifest, name, strlen(name));
    buf_printf(manifest, ",\"digest\":\"%s\",\"bytes\":%lld}", digest, (long long)bytes);
    return STATUS_OK;
}

static enum status send_manifest(const struct upload *upload, struct buf *manifest,
                                 char digest_out[SHA256_HEX_SIZE], struct error *error)
{
    buf_append_string(manifest, "]}");
    sha256_hex(manifest->data, manifest->length, digest_out);
    return send_all(upload, "its manifest", manifest->data, manifest->length, digest_out, error);
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

enum status upload_dir(const struct upload *upload, const char *path,
                       char digest_out[SHA256_HEX_SIZE], struct error *error)
{
    struct dirent **entries;
    struct buf manifest = {0};
    enum status status = STATUS_OK;
    int count = scandir(path, &entries, visible, alphasort);
    if (count < 0) {
        return error_set(error, STATUS_NOT_FOUND, "%s: %s", path, strerror(errno));
    }
    if (count > FILES_MAX) {
        status = error_set(error, STATUS_LIMIT, "%s has more than %d files", path, FILES_MAX);
    }
    for (int i = 0; i < count; i++) {
        char file[PATH_MAX];
        if (status == STATUS_OK) {
            path_join(file, sizeof(file), path, entries[i]->d_name);
            status = file_size(file) < 0 ? STATUS_OK : add_file(upload, file, &manifest, error);
        }
        mem_free(entries[i]);
    }
    mem_free(entries);
    if (status == STATUS_OK && manifest.length == 0) {
        status = error_set(error, STATUS_NOT_FOUND, "%s has no files", path);
    }
    if (status == STATUS_OK) {
        status = send_manifest(upload, &manifest, digest_out, error);
    }
    buf_release(&manifest);
    return status;
}
