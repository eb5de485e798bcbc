/* SPDX-License-Identifier: Apache-2.0
 *
 * What the service keeps: bases, datasets, models. (cmd_base.c, cmd_data.c and cmd_model.c look at
 * files of this machine.)
 */
#include <string.h>

#include "client/commands.h"
#include "client/remote.h"
#include "client/upload.h"

#define CLUSTER "cluster" /* whose uploads bases are */

static const struct option_row plain_rows[] = {REMOTE_ROWS};
static const struct option_row page_rows[] = {REMOTE_PAGE_ROWS, REMOTE_ROWS};

static const struct column base_columns[] = {
    {"name", "name", COLUMN_TEXT},
    {"state", "state", COLUMN_TEXT},
    {"manifest", "manifest", COLUMN_TEXT},
    {"added", "created_ms", COLUMN_TIME},
};
static const struct column data_columns[] = {
    {"name", "name", COLUMN_TEXT},        {"version", "version", COLUMN_TEXT},
    {"tenant", "tenant", COLUMN_TEXT},    {"state", "state", COLUMN_TEXT},
    {"file", "file", COLUMN_TEXT},        {"digest", "digest", COLUMN_TEXT},
    {"added", "created_ms", COLUMN_TIME},
};
static const struct column model_columns[] = {
    {"name", "name", COLUMN_TEXT},
    {"tenant", "tenant", COLUMN_TEXT},
    {"latest", "latest", COLUMN_TEXT},
    {"aliases", "aliases", COLUMN_ALIASES},
    {"first made", "created_ms", COLUMN_TIME},
};
static const struct column version_columns[] = {
    {"version", "version", COLUMN_TEXT},    {"job", "job_id", COLUMN_TEXT},
    {"stage", "stage", COLUMN_TEXT},        {"from", "parent", COLUMN_TEXT},
    {"adapter", "adapter", COLUMN_TEXT},    {"bytes", "bytes", COLUMN_BYTES},
    {"gate", "gate_decision", COLUMN_TEXT}, {"made", "created_ms", COLUMN_TIME},
};

/* ---- lists ---- */
static const struct remote base_list_remote = {
    .route = ROUTE_BASE_LIST, .list = "bases", REMOTE_COLUMNS(base_columns)};
static const struct remote data_list_remote = {
    .route = ROUTE_DATASET_LIST, .own = true, .list = "datasets", REMOTE_COLUMNS(data_columns)};
static const struct remote model_list_remote = {
    .route = ROUTE_MODEL_LIST, .own = true, .list = "models", REMOTE_COLUMNS(model_columns)};
static const struct remote model_versions_remote = {.route = ROUTE_MODEL_VERSIONS,
                                                    .fields = {"name@version"},
                                                    .own = true,
                                                    .list = "versions",
                                                    REMOTE_COLUMNS(version_columns)};

const struct command cmd_base_list = {.noun = "base",
                                      .verb = "list",
                                      .summary = "List the bases of the service",
                                      .example = "tailor base list",
                                      OPTION_ROWS(plain_rows),
                                      .remote = &base_list_remote,
                                      REMOTE_COMMAND};

const struct command cmd_data_list = {.noun = "data",
                                      .verb = "list",
                                      .summary = "List the datasets of a tenant",
                                      .example = "tailor data list",
                                      OPTION_ROWS(page_rows),
                                      .remote = &data_list_remote,
                                      REMOTE_COMMAND};

const struct command cmd_model_list = {.noun = "model",
                                       .verb = "list",
                                       .summary = "List the models of a tenant and their aliases",
                                       .example = "tailor model list --tenant acme",
                                       OPTION_ROWS(page_rows),
                                       .remote = &model_list_remote,
                                       REMOTE_COMMAND};

const struct command cmd_model_versions = {.noun = "model",
                                           .verb = "versions",
                                           .summary = "List the versions of a model, newest first",
                                           .example = "tailor model versions support",
                                           .arguments = {{.placeholder = "NAME"}},
                                           OPTION_ROWS(page_rows),
                                           .remote = &model_versions_remote,
                                           REMOTE_COMMAND};

/* ---- what is added is uploaded first ---- */
struct addition {
    struct service service;
    ProtobufCMessage *request;
    char digest[SHA256_HEX_SIZE];
};

static enum status finish_addition(const struct call *call, struct addition *it,
                                   const char *digest_field, struct error *error)
{
    const struct remote *remote = call->command->remote;
    json_t *reply;
    TRY(remote_put(&it->service, it->request, digest_field,
                   arena_strdup(it->service.arena, it->digest), error));
    TRY(service_call(&it->service, remote->route, it->request, &reply, error));
    enum status status = remote_print(call, remote, reply, error);
    json_decref(reply);
    return status;
}

static enum status base_add_in(struct arena *arena, const struct call *call, struct error *error)
{
    struct addition it;
    TRY(remote_open(arena, call, &it.service, error));
    TRY(remote_request(call, &it.service, call->command->remote, &it.request, error));
    const struct upload upload = {&it.service, CLUSTER, call->globals->quiet};
    TRY(upload_dir(&upload, call->arguments[1], it.digest, error));
    return finish_addition(call, &it, "manifest", error);
}

static enum status base_add_run(const struct call *call, struct error *error)
{
    struct arena arena = {0};
    enum status status = base_add_in(&arena, call, error);
    arena_release(&arena);
    return status;
}

static const struct remote base_add_remote = {
    .route = ROUTE_BASE_ADD, .fields = {"name"}, REMOTE_COLUMNS(base_columns)};

const struct command cmd_base_add = {
    .noun = "base",
    .verb = "add",
    .summary = "Give the service a pretrained model, for all tenants",
    .details = "DIR is a Hugging Face directory; look at it first with tailor base check.",
    .example = "tailor base add smollm2 ./SmolLM2-135M",
    .arguments = {{.placeholder = "NAME"}, {.placeholder = "DIR"}},
    OPTION_ROWS(plain_rows),
    .options_size = sizeof(struct remote_options),
    .remote = &base_add_remote,
    .run = base_add_run};

static enum status data_add_in(struct arena *arena, const struct call *call, struct error *error)
{
    struct addition it;
    const char *file = strrchr(call->arguments[1], '/');
    TRY(remote_open(arena, call, &it.service, error));
    TRY(remote_request(call, &it.service, call->command->remote, &it.request, error));
    Api__DatasetAddRequest *request = (Api__DatasetAddRequest *)it.request;
    if (!request->tenant) {
        return error_set(error, STATUS_USAGE, "say whose dataset it is: --tenant NAME");
    }
    request->file = arena_strdup(arena, file ? file + 1 : call->arguments[1]);
    const struct upload upload = {&it.service, request->tenant, call->globals->quiet};
    TRY(upload_file(&upload, call->arguments[1], it.digest, error));
    return finish_addition(call, &it, "digest", error);
}

static enum status data_add_run(const struct call *call, struct error *error)
{
    struct arena arena = {0};
    enum status status = data_add_in(&arena, call, error);
    arena_release(&arena);
    return status;
}

static const struct option_row data_add_rows[] = {
    REMOTE_ROW("shared", 0, OPTION_FLAG, shared, NULL, "every tenant's jobs may train on it"),
    REMOTE_ROWS,
};
static const struct remote data_add_remote = {.route = ROUTE_DATASET_ADD,
                                              .fields = {"name@version"},
                                              .own = true,
                                              REMOTE_COLUMNS(data_columns)};

const struct command cmd_data_add = {
    .noun = "data",
    .verb = "add",
    .summary = "Give the service a file of data, as a dataset's next version",
    .details = "Look at it first with tailor data report.",
    .example = "tailor data add tickets ./tickets.jsonl",
    .arguments = {{.placeholder = "NAME"}, {.placeholder = "FILE"}},
    OPTION_ROWS(data_add_rows),
    .options_size = sizeof(struct remote_options),
    .remote = &data_add_remote,
    .run = data_add_run};
