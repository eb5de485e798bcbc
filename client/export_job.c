/* SPDX-License-Identifier: Apache-2.0
 *
 * The files lie below export/ in the job's result; other files of it are no part of the model.
 */
#include "client/export_job.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/download.h"
#include "client/remote.h"
#include "client/wait.h"
#include "lib/file.h"

#define EXPORT_DIR "export"

static bool is_exported(const char *name)
{
    return strncmp(name, EXPORT_DIR "/", sizeof(EXPORT_DIR)) == 0;
}

static void write_spec(const char *model, const struct offline_options *options, const char *path,
                       struct buf *out)
{
    json_t *export = json_object(), *spec = json_object();
    json_object_set_new(export, "format", json_string(options->format));
    json_object_set_new(export, "merge", json_boolean(options->merge));
    if (options->dtype != NULL) {
        json_object_set_new(export, "dtype", json_string(options->dtype));
    }
    json_object_set_new(export, "destination", json_string(path));
    json_object_set_new(spec, "stage", json_string("export"));
    json_object_set_new(spec, "from", json_string(model));
    json_object_set_new(spec, "export", export);
    json_append(out, spec);
    json_decref(spec);
}

static enum status submit(const struct service *service, const char *model,
                          const struct offline_options *options, const char *out,
                          const char **job_out, struct error *error)
{
    char here[PATH_MAX], path[PATH_MAX];
    Api__JobSubmitRequest *request = service_request(service, ROUTE_JOB_SUBMIT);
    struct buf text = {0};
    json_t *reply;
    if (getcwd(here, sizeof(here)) == NULL ||
        snprintf(path, sizeof(path), "%s%s%s", out[0] == '/' ? "" : here, out[0] == '/' ? "" : "/",
                 out) >= (int)sizeof(path)) {
        return error_set(error, STATUS_USAGE, "%.100s…: the path is too long", out);
    }
    write_spec(model, options, path, &text);
    request->spec = arena_strdup(service->arena, text.data);
    buf_release(&text);
    request->tenant = (char *)service->profile.tenant; /* protobuf-c knows no const */
    TRY(service_call(service, ROUTE_JOB_SUBMIT, &request->base, &reply, error));
    *job_out = arena_strdup(service->arena, remote_text(json_object_get(reply, "job"), "id"));
    json_decref(reply);
    return STATUS_OK;
}

static enum status fetch(const struct service *service, const char *job, bool quiet,
                         const char *out, struct error *error)
{
    char from[4096];
    json_t *shown;
    ProtobufCMessage *request = service_request(service, ROUTE_JOB_SHOW);
    TRY(remote_put(service, request, "id", job, error));
    TRY(service_call(service, ROUTE_JOB_SHOW, request, &shown, error));
    const struct download download = {
        service, arena_strdup(service->arena, remote_text(shown, "tenant")), quiet};
    const char *manifest = arena_strdup(service->arena, remote_text(shown, "manifest"));
    json_decref(shown);
    const char *dir = arena_printf(service->arena, "%s.%s", out, job);
    TRY(download_dir(&download, manifest, is_exported, dir, error));
    path_join(from, sizeof(from), dir, EXPORT_DIR);
    if (rename(from, out) != 0) {
        return error_set(error, STATUS_IO, "%s: %s", out, strerror(errno));
    }
    return dir_remove(dir, error);
}

enum status export_job(const struct service *service, const char *model,
                       const struct offline_options *options, bool quiet, const char *out,
                       struct error *error)
{
    const char *job;
    struct stat there;
    if (stat(out, &there) == 0) {
        return error_set(error, STATUS_CONFLICT, "%s exists: name a directory that does not", out);
    }
    TRY(submit(service, model, options, out, &job, error));
    const struct wait wait = {.quiet = quiet};
    TRY(wait_for_job(service, job, &wait, error));
    TRY(fetch(service, job, quiet, out, error));
    if (!quiet) {
        puts(out);
    }
    return STATUS_OK;
}
