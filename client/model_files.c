/* SPDX-License-Identifier: Apache-2.0
 *
 * model_files: see model_files.h. The files of the run that made a model are left where they are.
 */
#include "client/model_files.h"

#include <inttypes.h>
#include <string.h>

#include "client/download.h"
#include "client/remote.h"
#include "lib/file.h"
#include "lib/limits.h"
#include "proto/ident.h"

#define CLUSTER "cluster" /* whose store has the bases */
enum { ANCESTORS_MAX = 4, PATH_SIZE = 4096 };

static bool is_of_model(const char *name)
{
    static const char *const of_run[] = {"metrics.jsonl", "events.jsonl", "result.json",
                                         "spec.json"};
    for (size_t i = 0; i < sizeof(of_run) / sizeof(of_run[0]); i++) {
        if (strcmp(name, of_run[i]) == 0) {
            return false;
        }
    }
    return strncmp(name, "rows/", 5) != 0;
}

/* ---- which version ---- */

static enum status latest_find(const struct service *service, Api__ObjectRequest *request,
                               struct error *error)
{
    json_t *model;
    TRY(service_call(service, ROUTE_MODEL_SHOW, &request->base, &model, error));
    const int64_t latest = json_integer_value(json_object_get(model, "latest"));
    json_decref(model);
    if (latest == 0) {
        return error_set(error, STATUS_NOT_FOUND, "%s has no version yet", request->name);
    }
    request->version = arena_printf(service->arena, "%" PRId64, latest);
    return STATUS_OK;
}

enum status model_version(const struct service *service, const char *text, json_t **version_out,
                          struct error *error)
{
    Api__ObjectRequest *request = service_request(service, ROUTE_MODEL_VERSION);
    const char *tenant = service->profile.tenant;
    struct reference reference;
    TRY(reference_parse(text, &reference, error));
    if (reference.tenant[0] == '\0' && tenant == NULL) {
        return error_set(error, STATUS_USAGE, "say whose model it is: --tenant NAME, or NAME/%s",
                         text);
    }
    request->name = arena_strdup(service->arena, reference.name);
    request->tenant =
        arena_strdup(service->arena, reference.tenant[0] != '\0' ? reference.tenant : tenant);
    if (reference.alias[0] != '\0') {
        request->version = arena_strdup(service->arena, reference.alias);
    } else if (reference.version != 0) {
        request->version = arena_printf(service->arena, "%" PRId64, reference.version);
    } else {
        TRY(latest_find(service, request, error));
    }
    return service_call(service, ROUTE_MODEL_VERSION, &request->base, version_out, error);
}

/* ---- its files ---- */

static enum status fetch(const struct service *service, const char *tenant, const char *manifest,
                         bool quiet, const char **dir_out, struct error *error)
{
    const struct download download = {service, tenant, quiet};
    const char *cache;
    TRY(download_cache(service, "models", &cache, error));
    *dir_out = arena_printf(service->arena, "%s/%s", cache, manifest);
    return download_dir(&download, manifest, is_of_model, *dir_out, error);
}

static enum status base_files(const struct service *service, const char *name, bool quiet,
                              const char **dir_out, struct error *error)
{
    Api__ObjectRequest *request = service_request(service, ROUTE_BASE_SHOW);
    json_t *base;
    request->name = arena_strdup(service->arena, name);
    TRY(service_call(service, ROUTE_BASE_SHOW, &request->base, &base, error));
    enum status status =
        fetch(service, CLUSTER, remote_text(base, "manifest"), quiet, dir_out, error);
    json_decref(base);
    return status;
}

/* The card of an adapter names its parent as it lay where it was trained; where it goes, the parent
 * is a neighbour. *moved_out: it was none before. */
static enum status card_over(const char *path, const char *parent, json_t **card_out,
                             bool *moved_out, struct error *error)
{
    char neighbour[PATH_SIZE];
    struct buf text = {0};
    *card_out = NULL;
    path_join(neighbour, sizeof(neighbour), "..", parent);
    enum status status = file_read(path, (size_t)MIB * 16, &text, error);
    if (status == STATUS_OK) {
        status = json_read(path, text.data, text.length, card_out, error);
    }
    buf_release(&text);
    TRY(status);
    json_t *named = json_object_get(*card_out, "parent");
    *moved_out = strcmp(remote_text(named, "path"), neighbour) != 0;
    if (!json_is_object(named)) {
        json_decref(*card_out);
        return error_set(error, STATUS_FORMAT,
                         "%s: parent: it does not say which model the adapter was trained over",
                         path);
    }
    json_object_set_new(named, "path", json_string(neighbour));
    return STATUS_OK;
}

static enum status name_parent(const char *dir, const char *parent_dir, struct error *error)
{
    char path[PATH_SIZE];
    json_t *card;
    bool moved;
    path_join(path, sizeof(path), dir, "tailor.json");
    TRY(card_over(path, strrchr(parent_dir, '/') + 1, &card, &moved, error));
    enum status status = moved ? json_write_file(path, card, error) : STATUS_OK;
    json_decref(card);
    return status;
}

enum status model_card_over(const char *dir, const char *parent, struct buf *card_out,
                            struct error *error)
{
    char path[PATH_SIZE];
    json_t *card;
    bool moved;
    path_join(path, sizeof(path), dir, "tailor.json");
    TRY(card_over(path, parent, &card, &moved, error));
    json_append(card_out, card);
    json_decref(card);
    return STATUS_OK;
}

static enum status version_files(const struct service *service, const char *reference, bool quiet,
                                 int ancestors, const char **dir_out, struct error *error)
{
    const char *parent_dir;
    json_t *version;
    if (ancestors > ANCESTORS_MAX) {
        return error_set(error, STATUS_LIMIT, "%s: adapters over adapters over adapters",
                         reference);
    }
    TRY(model_version(service, reference, &version, error));
    enum status status = fetch(service, remote_text(version, "tenant"),
                               remote_text(version, "manifest"), quiet, dir_out, error);
    if (status == STATUS_OK && json_is_true(json_object_get(version, "adapter"))) {
        const char *parent = remote_text(version, "parent");
        status = parent[0] != '\0'
                     ? version_files(service, parent, quiet, ancestors + 1, &parent_dir, error)
                     : base_files(service, remote_text(version, "base_model"), quiet, &parent_dir,
                                  error);
        if (status == STATUS_OK) {
            status = name_parent(*dir_out, parent_dir, error);
        }
    }
    json_decref(version);
    return status;
}

enum status model_files(const struct service *service, const char *reference, bool quiet,
                        const char **dir_out, struct error *error)
{
    return version_files(service, reference, quiet, 0, dir_out, error);
}
