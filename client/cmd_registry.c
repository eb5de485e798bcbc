/* SPDX-License-Identifier: Apache-2.0
 *
 * What the service keeps to train from: bases and datasets. (cmd_models.c: models; cmd_base.c looks
 * at files of this machine; cmd_data.c gives data to the service.)
 */
#include <string.h>

#include "client/commands.h"
#include "client/path.h"
#include "client/remote.h"
#include "client/upload.h"
#include "client/wait.h"
#include "lib/file.h"

#define CLUSTER "cluster" /* whose uploads bases are */

static const struct option_row plain_rows[] = {REMOTE_ROWS};
static const struct option_row page_rows[] = {REMOTE_PAGE_ROWS, REMOTE_ROWS};
static const struct option_row remove_rows[] = {REMOTE_YES_ROW, REMOTE_ROWS};

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
/* ---- lists ---- */
static const struct remote base_list_remote = {
    .route = ROUTE_BASE_LIST, .list = "bases", REMOTE_COLUMNS(base_columns)};
static const struct remote data_list_remote = {
    .route = ROUTE_DATASET_LIST, .own = true, .list = "datasets", REMOTE_COLUMNS(data_columns)};
static const struct remote base_show_remote = {.route = ROUTE_BASE_SHOW, .fields = {"name"}};
static const struct remote base_rm_remote = {
    .route = ROUTE_BASE_REMOVE, .fields = {"name"}, .confirm = "remove the base"};
static const struct remote data_show_remote = {
    .route = ROUTE_DATASET_SHOW, .fields = {"name@version"}, .own = true};
static const struct remote data_rm_remote = {.route = ROUTE_DATASET_REMOVE,
                                             .fields = {"name@version"},
                                             .own = true,
                                             .confirm = "remove every version of the dataset"};

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

const struct command cmd_base_show = {.noun = "base",
                                      .verb = "show",
                                      .summary = "Show a base of the service",
                                      .example = "tailor base show smollm2",
                                      .arguments = {{.placeholder = "NAME"}},
                                      OPTION_ROWS(plain_rows),
                                      .remote = &base_show_remote,
                                      REMOTE_COMMAND};

const struct command cmd_base_rm = {.noun = "base",
                                    .verb = "rm",
                                    .summary = "Remove a base that nothing refers to",
                                    .details = "Its files go with the next tailor cluster gc.",
                                    .example = "tailor base rm smollm2",
                                    .arguments = {{.placeholder = "NAME"}},
                                    OPTION_ROWS(remove_rows),
                                    .remote = &base_rm_remote,
                                    REMOTE_COMMAND};

const struct command cmd_data_show = {.noun = "data",
                                      .verb = "show",
                                      .summary = "Show a dataset of the service, or a version",
                                      .example = "tailor data show tickets@2",
                                      .arguments = {{.placeholder = "NAME"}},
                                      OPTION_ROWS(plain_rows),
                                      .remote = &data_show_remote,
                                      REMOTE_COMMAND};

const struct command cmd_data_rm = {
    .noun = "data",
    .verb = "rm",
    .summary = "Remove a dataset that nothing refers to",
    .details = "All its versions; the files go with the next tailor cluster gc.",
    .example = "tailor data rm tickets",
    .arguments = {{.placeholder = "NAME"}},
    OPTION_ROWS(remove_rows),
    .remote = &data_rm_remote,
    REMOTE_COMMAND};

/* ---- what is added is uploaded first ---- */
/* Until its job has made it; what became of the job stands in the base. */
static enum status await_base(const struct call *call, const struct service *service, json_t **base,
                              struct error *error)
{
    Api__ObjectRequest *request = service_request(service, ROUTE_BASE_SHOW);
    const struct wait wait = {.quiet = call->globals->quiet};
    enum status status = wait_for_job(service, remote_text(*base, "job_id"), &wait, error);
    if (status != STATUS_OK && status != STATUS_FAILED && status != STATUS_CANCELLED) {
        return status;
    }
    request->name = arena_strdup(service->arena, remote_text(*base, "name"));
    json_decref(*base);
    *base = NULL;
    return service_call(service, ROUTE_BASE_SHOW, &request->base, base, error);
}

/* A directory goes among the cluster's blobs, a GGUF file among those of the tenant whose job makes
 * a base of it. */
static enum status upload_base(const struct call *call, const struct service *service,
                               const char *path, Api__BaseAddRequest *request, struct error *error)
{
    char *digest = arena_array(service->arena, char, SHA256_HEX_SIZE);
    const bool whole = dir_exists(path);
    const char *tenant = whole ? CLUSTER : service->profile.tenant;
    const struct upload upload = {service, tenant, call->globals->quiet, NULL};
    if (whole) {
        request->manifest = digest;
        return upload_dir(&upload, path, digest, error);
    }
    TRY(path_check("FILE", path, error));
    if (!tenant) {
        return error_set(error, STATUS_USAGE, "say whose job makes a base of it: --tenant NAME");
    }
    request->gguf = digest;
    request->tenant = (char *)tenant; /* protobuf-c knows no const */
    return upload_file(&upload, path, digest, error);
}

static enum status base_add_in(struct arena *arena, const struct call *call, struct error *error)
{
    const struct remote_options *options = call->options;
    const struct remote *remote = call->command->remote;
    struct service service;
    ProtobufCMessage *message;
    json_t *base;
    TRY(remote_open(arena, call, &service, error));
    TRY(remote_request(call, &service, remote, &message, error));
    Api__BaseAddRequest *request = (Api__BaseAddRequest *)message;
    TRY(upload_base(call, &service, call->arguments[1], request, error));
    TRY(service_call(&service, ROUTE_BASE_ADD, message, &base, error));
    enum status status = STATUS_OK;
    if (!options->no_wait && strcmp(remote_text(base, "state"), "importing") == 0) {
        status = await_base(call, &service, &base, error);
    }
    if (status == STATUS_OK) {
        status = remote_print(call, remote, base, error);
    }
    if (status == STATUS_OK && strcmp(remote_text(base, "state"), "rejected") == 0) {
        fflush(stdout);
        status = error_set(error, STATUS_FAILED, "%s is no base: %s", request->name,
                           remote_text(base, "message"));
    }
    json_decref(base);
    return status;
}

static enum status base_add_run(const struct call *call, struct error *error)
{
    return remote_within(base_add_in, call, error);
}

static const struct remote base_add_remote = {
    .route = ROUTE_BASE_ADD, .fields = {"name"}, REMOTE_COLUMNS(base_columns)};

static const struct option_row add_rows[] = {
    REMOTE_ROW("no-wait", 0, OPTION_FLAG, no_wait, NULL, "not until a worker has made it"),
    REMOTE_ROWS,
};

const struct command cmd_base_add = {
    .noun = "base",
    .verb = "add",
    .summary = "Give the service a pretrained model, for all tenants",
    .details =
        "DIR is a Hugging Face directory; look at it first with tailor base check. Of a GGUF file\n"
        "a worker makes one: a job of the tenant, for which this waits; exit code 1 when it fails.",
    .example = "tailor base add smollm2 ./SmolLM2-135M",
    .arguments = {{.placeholder = "NAME"}, {.placeholder = "DIR|FILE.gguf"}},
    OPTION_ROWS(add_rows),
    .options_size = sizeof(struct remote_options),
    .remote = &base_add_remote,
    .run = base_add_run};
