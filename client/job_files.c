/* SPDX-License-Identifier: Apache-2.0
 *
 * job_files: see job_files.h.
 */
#include "client/job_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/download.h"
#include "client/remote.h"
#include "lib/file.h"
#include "lib/limits.h"
#include "lib/sha256.h"

bool is_job(const char *text)
{
    return !dir_exists(text);
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

/* The spec is the job's: with digests, not with the paths of some worker. */
static enum status fetch_all(const struct download *download, const char *manifest,
                             const json_t *spec, const char *dir, struct error *error)
{
    const char *arrived = arena_printf(download->service->arena, "%s.files", dir);
    TRY(download_dir(download, manifest, is_wanted, arrived, error));
    TRY(dir_create(arena_printf(download->service->arena, "%s/rows", arrived), error));
    TRY(json_write_file(arena_printf(download->service->arena, "%s/spec.json", arrived), spec,
                        error));
    return rename(arrived, dir) == 0 ? STATUS_OK
                                     : error_set(error, STATUS_IO, "%s: %s", dir, strerror(errno));
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
    TRY(download_cache(service, "jobs", &cache, error));
    TRY(remote_put(service, request, "id", id, error));
    TRY(service_call(service, ROUTE_JOB_SHOW, request, &job, error));
    enum status status = find_model(service, job, &version, error);
    if (status == STATUS_OK) {
        const char *dir =
            arena_printf(service->arena, "%s/%s-%.12s", cache, remote_text(version, "manifest"),
                         remote_text(job, "spec_digest"));
        *dir_out = dir;
        const struct download download = {service, remote_text(version, "tenant"), true};
        status = dir_exists(dir) ? STATUS_OK
                                 : fetch_all(&download, remote_text(version, "manifest"),
                                             json_object_get(job, "spec"), dir, error);
        json_decref(version);
    }
    json_decref(job);
    return status;
}
