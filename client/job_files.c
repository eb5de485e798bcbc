/* SPDX-License-Identifier: Apache-2.0
 *
 * job_files: see job_files.h.
 */
#include "client/job_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/remote.h"
#include "lib/file.h"
#include "lib/limits.h"
#include "lib/sha256.h"

#define FILE_BYTES_MAX (256 * (int64_t)MIB)

bool is_job(const char *text)
{
    return !dir_exists(text);
}

/* ---- where ---- */
static enum status cache_dir(struct arena *arena, const char **dir_out, struct error *error)
{
    const char *own = getenv("TAILOR_CACHE"), *xdg = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    if (!own && !xdg && !home) {
        return error_set(error, STATUS_USAGE, "HOME is not set: say where with TAILOR_CACHE");
    }
    *dir_out = own   ? arena_printf(arena, "%s/jobs", own)
               : xdg ? arena_printf(arena, "%s/tailor/jobs", xdg)
                     : arena_printf(arena, "%s/.cache/tailor/jobs", home);
    return STATUS_OK;
}

/* ---- one blob ---- */
static enum status fetch(const struct service *service, const char *tenant, const char *digest,
                         struct buf *out, struct error *error)
{
    Api__UploadRequest *request = service_request(service, ROUTE_BLOB_READ);
    char found[SHA256_HEX_SIZE];
    size_t before;
    request->tenant = (char *)tenant; /* protobuf-c knows no const */
    request->digest = (char *)digest;
    request->has_offset = request->has_bytes = true;
    request->bytes = (int64_t)CHUNK_BYTES_MAX;
    do {
        before = out->length;
        request->offset = (int64_t)before;
        TRY(service_get(service, ROUTE_BLOB_READ, &request->base, out, error));
        if ((int64_t)out->length > FILE_BYTES_MAX) {
            return error_set(error, STATUS_LIMIT, "a file of the job has more than %lld bytes",
                             (long long)FILE_BYTES_MAX);
        }
    } while (out->length - before == CHUNK_BYTES_MAX);
    sha256_hex(out->length > 0 ? out->data : "", out->length, found);
    if (strcmp(found, digest) != 0) {
        return error_set(error, STATUS_FORMAT, "blob %.12s… came with other bytes", digest);
    }
    return STATUS_OK;
}

/* ---- which of them ---- */
static bool is_wanted(const char *name)
{
    static const char *const names[] = {"result.json", "metrics.jsonl", "events.jsonl"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return strncmp(name, "rows/", 5) == 0 && name[5] != '.' && !strchr(name + 5, '/');
}

static enum status fetch_file(const struct service *service, const char *tenant, const json_t *file,
                              const char *dir, struct error *error)
{
    const char *name = remote_text(file, "name"), *digest = remote_text(file, "digest");
    char path[4096];
    struct buf bytes = {0};
    if (!is_wanted(name) || strlen(digest) != SHA256_HEX_SIZE - 1) {
        return STATUS_OK;
    }
    path_join(path, sizeof(path), dir, name);
    enum status status = fetch(service, tenant, digest, &bytes, error);
    if (status == STATUS_OK) {
        status = file_write_atomic(path, bytes.length > 0 ? bytes.data : "", bytes.length, error);
    }
    buf_release(&bytes);
    return status;
}

/* Under its name when all of it is there. The spec is the job's: with digests, not with the paths
 * of some worker. */
static enum status fetch_all(const struct service *service, const char *tenant,
                             const char *manifest, const json_t *spec, const char *dir,
                             struct error *error)
{
    const char *part = arena_printf(service->arena, "%s.part", dir);
    struct buf text = {0};
    json_t *root = NULL;
    dir_remove(part, NULL);
    TRY(dir_create(arena_printf(service->arena, "%s/rows", part), error));
    enum status status = fetch(service, tenant, manifest, &text, error);
    if (status == STATUS_OK) {
        status = json_read("the manifest", text.data, text.length, &root, error);
    }
    const json_t *files = json_object_get(root, "files");
    for (size_t i = 0; status == STATUS_OK && i < json_array_size(files); i++) {
        status = fetch_file(service, tenant, json_array_get(files, i), part, error);
    }
    if (status == STATUS_OK) {
        status = json_write_file(arena_printf(service->arena, "%s/spec.json", part), spec, error);
    }
    if (status == STATUS_OK && rename(part, dir) != 0) {
        status = error_set(error, STATUS_IO, "%s: %s", dir, strerror(errno));
    }
    json_decref(root);
    buf_release(&text);
    return status;
}

/* ---- which model ---- */
static enum status find_model(const struct service *service, const json_t *job,
                              json_t **version_out, struct error *error)
{
    Api__ObjectRequest *request = service_request(service, ROUTE_MODEL_VERSION);
    const char *id = remote_text(job, "id"), *model = remote_text(job, "output_model");
    const char *slash = strchr(model, '/');
    json_int_t version = json_integer_value(json_object_get(job, "output_version"));
    if (!slash || version == 0) {
        return error_set(error, STATUS_CONFLICT,
                         "%s is %s and has left no model to look into: tailor job why %s, or "
                         "tailor job metrics %s, say how it is",
                         id, remote_text(job, "state"), id, id);
    }
    request->tenant = arena_strndup(service->arena, model, (size_t)(slash - model));
    request->name = arena_strdup(service->arena, slash + 1);
    request->version = arena_printf(service->arena, "%lld", (long long)version);
    return service_call(service, ROUTE_MODEL_VERSION, &request->base, version_out, error);
}

enum status job_files(const struct service *service, const char *id, const char **dir_out,
                      struct error *error)
{
    ProtobufCMessage *request = service_request(service, ROUTE_JOB_SHOW);
    const char *cache;
    json_t *job, *version;
    TRY(cache_dir(service->arena, &cache, error));
    TRY(remote_put(service, request, "id", id, error));
    TRY(service_call(service, ROUTE_JOB_SHOW, request, &job, error));
    enum status status = find_model(service, job, &version, error);
    if (status == STATUS_OK) {
        const char *dir =
            arena_printf(service->arena, "%s/%s-%.12s", cache, remote_text(version, "manifest"),
                         remote_text(job, "spec_digest"));
        *dir_out = dir;
        status = dir_exists(dir) ? STATUS_OK
                                 : fetch_all(service, remote_text(version, "tenant"),
                                             remote_text(version, "manifest"),
                                             json_object_get(job, "spec"), dir, error);
        json_decref(version);
    }
    json_decref(job);
    return status;
}
