/* SPDX-License-Identifier: Apache-2.0
 *
 * What the service keeps to train from: bases and datasets. (cmd_models.c: models; cmd_base.c looks
 * at files of this machine; cmd_data.c gives data to the service.)
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/commands.h"
#include "client/path.h"
#include "client/remote.h"
#include "client/trainer.h"
#include "client/upload.h"
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

/* A GGUF file becomes a Hugging Face directory first, here, in `dir`/base: the service keeps those
 * alone. */
static enum status import_gguf(struct arena *arena, const char *file, const char *dir,
                               const char **base_out, struct error *error)
{
    struct trainer *trainer = arena_new(arena, struct trainer);
    *trainer = (struct trainer){0};
    *base_out = arena_printf(arena, "%s/base", dir);
    trainer_add(trainer, "import-gguf");
    trainer_add(trainer, "--");
    trainer_add(trainer, file);
    trainer_add(trainer, *base_out);
    return trainer_run(trainer, error);
}

static enum status upload_base(struct arena *arena, const struct upload *upload, const char *path,
                               char digest_out[SHA256_HEX_SIZE], struct error *error)
{
    char dir[] = "/tmp/tailor-base-XXXXXX";
    const char *base;
    if (dir_exists(path)) {
        return upload_dir(upload, path, digest_out, error);
    }
    TRY(path_check("FILE", path, error));
    if (!mkdtemp(dir)) {
        return error_set(error, STATUS_IO, "%s: %s", dir, strerror(errno));
    }
    enum status status = import_gguf(arena, path, dir, &base, error);
    if (status == STATUS_OK) {
        status = upload_dir(upload, base, digest_out, error);
    }
    dir_remove(dir, NULL);
    return status;
}

static enum status base_add_in(struct arena *arena, const struct call *call, struct error *error)
{
    struct addition it;
    TRY(remote_open(arena, call, &it.service, error));
    TRY(remote_request(call, &it.service, call->command->remote, &it.request, error));
    const struct upload upload = {&it.service, CLUSTER, call->globals->quiet, NULL};
    TRY(upload_base(arena, &upload, call->arguments[1], it.digest, error));
    return finish_addition(call, &it, "manifest", error);
}

static enum status base_add_run(const struct call *call, struct error *error)
{
    return remote_within(base_add_in, call, error);
}

static const struct remote base_add_remote = {
    .route = ROUTE_BASE_ADD, .fields = {"name"}, REMOTE_COLUMNS(base_columns)};

const struct command cmd_base_add = {
    .noun = "base",
    .verb = "add",
    .summary = "Give the service a pretrained model, for all tenants",
    .details =
        "DIR is a Hugging Face directory; look at it first with tailor base check. A GGUF file\n"
        "is turned into one on the way.",
    .example = "tailor base add smollm2 ./SmolLM2-135M",
    .arguments = {{.placeholder = "NAME"}, {.placeholder = "DIR|FILE.gguf"}},
    OPTION_ROWS(plain_rows),
    .options_size = sizeof(struct remote_options),
    .remote = &base_add_remote,
    .run = base_add_run};
