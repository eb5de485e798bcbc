/* SPDX-License-Identifier: Apache-2.0
 *
 * Models of the service: their versions and aliases, and who may use what. (cmd_model.c works on
 * directories of this machine.)
 *
 * An alias goes back by going forward: rollback points it at the version it had before, and that
 * move is kept like every other.
 */
#include <inttypes.h>
#include <string.h>

#include "client/commands.h"
#include "client/model_files.h"
#include "client/remote.h"
#include "client/upload.h"
#include "lib/file.h"

static const struct option_row plain_rows[] = {REMOTE_ROWS};
static const struct option_row page_rows[] = {REMOTE_PAGE_ROWS, REMOTE_ROWS};
static const struct option_row remove_rows[] = {REMOTE_YES_ROW, REMOTE_ROWS};

static const struct column model_columns[] = {
    {"name", "name", COLUMN_TEXT},
    {"tenant", "tenant", COLUMN_TEXT},
    {"latest", "latest", COLUMN_TEXT},
    {"aliases", "aliases", COLUMN_ALIASES},
    {"first made", "created_ms", COLUMN_TIME},
};
static const struct column version_columns[] = {
    {"version", "version", COLUMN_TEXT},
    {"job", "job_id", COLUMN_TEXT},
    {"stage", "stage", COLUMN_TEXT},
    {"from", "parent", COLUMN_TEXT},
    {"adapter", "adapter", COLUMN_TEXT},
    {"bytes", "bytes", COLUMN_BYTES},
    {"gate", "gate_decision", COLUMN_TEXT},
    {"made", "created_ms", COLUMN_TIME},
    {"template", "template", COLUMN_TEXT | COLUMN_WIDE},
    {"numerics", "numerics", COLUMN_TEXT | COLUMN_WIDE},
    {"manifest", "manifest", COLUMN_TEXT | COLUMN_WIDE},
};
static const struct column move_columns[] = {
    {"alias", "name", COLUMN_TEXT},     {"version", "version", COLUMN_TEXT},
    {"moved", "moved_ms", COLUMN_TIME}, {"job", "job_id", COLUMN_TEXT},
    {"by", "by", COLUMN_TEXT},
};
static const struct column share_columns[] = {
    {"name", "name", COLUMN_TEXT},   {"kind", "kind", COLUMN_TEXT},
    {"of", "tenant", COLUMN_TEXT},   {"with", "grantee", COLUMN_TEXT},
    {"right", "right", COLUMN_TEXT}, {"since", "created_ms", COLUMN_TIME},
};

/* ---- lists ---- */
static const struct remote list_remote = {
    .route = ROUTE_MODEL_LIST, .own = true, .list = "models", REMOTE_COLUMNS(model_columns)};
static const struct remote versions_remote = {.route = ROUTE_MODEL_VERSIONS,
                                              .fields = {"name@version"},
                                              .own = true,
                                              .list = "versions",
                                              REMOTE_COLUMNS(version_columns)};
static const struct remote history_remote = {.route = ROUTE_MODEL_HISTORY,
                                             .fields = {"name@version"},
                                             .own = true,
                                             .list = "moves",
                                             REMOTE_COLUMNS(move_columns)};
static const struct remote remove_remote = {.route = ROUTE_MODEL_REMOVE,
                                            .fields = {"name@version"},
                                            .own = true,
                                            .confirm = "remove every version of the model"};
static const struct remote promote_remote = {.route = ROUTE_MODEL_PROMOTE,
                                             .fields = {"name@version", "alias"},
                                             .own = true,
                                             REMOTE_COLUMNS(model_columns)};

const struct command cmd_model_list = {.noun = "model",
                                       .verb = "list",
                                       .summary = "List the models of a tenant and their aliases",
                                       .example = "tailor model list --tenant acme",
                                       OPTION_ROWS(page_rows),
                                       .remote = &list_remote,
                                       REMOTE_COMMAND};

const struct command cmd_model_versions = {.noun = "model",
                                           .verb = "versions",
                                           .summary = "List the versions of a model, newest first",
                                           .example = "tailor model versions support",
                                           .arguments = {{.placeholder = "NAME"}},
                                           OPTION_ROWS(page_rows),
                                           .remote = &versions_remote,
                                           REMOTE_COMMAND};

const struct command cmd_model_history = {.noun = "model",
                                          .verb = "history",
                                          .summary =
                                              "List how the aliases of a model moved, newest first",
                                          .example = "tailor model history support",
                                          .arguments = {{.placeholder = "NAME"}},
                                          OPTION_ROWS(plain_rows),
                                          .remote = &history_remote,
                                          REMOTE_COMMAND};

const struct command cmd_model_rm = {
    .noun = "model",
    .verb = "rm",
    .summary = "Remove a model that nothing refers to",
    .details = "All its versions and aliases; the files go with the next tailor cluster gc.",
    .example = "tailor model rm support",
    .arguments = {{.placeholder = "NAME"}},
    OPTION_ROWS(remove_rows),
    .remote = &remove_remote,
    REMOTE_COMMAND};

/* ---- aliases ---- */
static enum status promote_in(struct arena *arena, const struct call *call, struct error *error)
{
    struct service service;
    ProtobufCMessage *request;
    TRY(remote_open(arena, call, &service, error));
    TRY(remote_request(call, &service, &promote_remote, &request, error));
    if (!((Api__PromoteRequest *)request)->version) {
        return error_set(error, STATUS_USAGE, "say which version, as in %s@3", call->arguments[0]);
    }
    return remote_show(call, &service, &promote_remote, request, error);
}

static enum status promote_run(const struct call *call, struct error *error)
{
    return remote_within(promote_in, call, error);
}

const struct command cmd_model_promote = {
    .noun = "model",
    .verb = "promote",
    .summary = "Point an alias at a version of a model",
    .details = "Jobs that were submitted keep the version that the alias meant then.",
    .example = "tailor model promote support@12 prod",
    .arguments = {{.placeholder = "NAME@VERSION"}, {.placeholder = "ALIAS"}},
    OPTION_ROWS(plain_rows),
    .options_size = sizeof(struct remote_options),
    .remote = &promote_remote,
    .run = promote_run};

/* The version that the alias had before the one it has; moves come newest first. */
static enum status version_before(const json_t *moves, const char *alias, int64_t *version_out,
                                  struct error *error)
{
    int64_t present = 0;
    for (size_t i = 0; i < json_array_size(moves); i++) {
        const json_t *move = json_array_get(moves, i);
        int64_t version = json_integer_value(json_object_get(move, "version"));
        if (strcmp(remote_text(move, "name"), alias) != 0) {
            continue;
        }
        if (present != 0 && version != present) {
            *version_out = version;
            return STATUS_OK;
        }
        present = version;
    }
    if (present == 0) {
        return error_set(error, STATUS_NOT_FOUND, "no alias %s has ever been there", alias);
    }
    return error_set(error, STATUS_CONFLICT,
                     "%s has never pointed at another version than %" PRId64, alias, present);
}

static enum status rollback_in(struct arena *arena, const struct call *call, struct error *error)
{
    struct service service;
    ProtobufCMessage *request, *history;
    json_t *reply;
    int64_t version;
    TRY(remote_open(arena, call, &service, error));
    TRY(remote_request(call, &service, &promote_remote, &request, error));
    Api__PromoteRequest *promote = (Api__PromoteRequest *)request;
    if (promote->version) {
        return error_set(error, STATUS_USAGE,
                         "the version is the one before; for a certain one: tailor model promote "
                         "%s %s",
                         call->arguments[0], promote->alias);
    }
    history = service_request(&service, ROUTE_MODEL_HISTORY);
    ((Api__ObjectRequest *)history)->tenant = promote->tenant;
    ((Api__ObjectRequest *)history)->name = promote->name;
    TRY(service_call(&service, ROUTE_MODEL_HISTORY, history, &reply, error));
    enum status status =
        version_before(json_object_get(reply, "moves"), promote->alias, &version, error);
    json_decref(reply);
    TRY(status);
    promote->version = arena_printf(arena, "%" PRId64, version);
    return remote_show(call, &service, &promote_remote, request, error);
}

static enum status rollback_run(const struct call *call, struct error *error)
{
    return remote_within(rollback_in, call, error);
}

const struct command cmd_model_rollback = {
    .noun = "model",
    .verb = "rollback",
    .summary = "Point an alias at the version that it had before",
    .example = "tailor model rollback support prod",
    .arguments = {{.placeholder = "NAME"}, {.placeholder = "ALIAS"}},
    OPTION_ROWS(plain_rows),
    .options_size = sizeof(struct remote_options),
    .remote = &promote_remote,
    .run = rollback_run};

/* ---- from outside ---- */
static const struct remote add_remote = {.route = ROUTE_MODEL_ADD,
                                         .fields = {"name@version"},
                                         .own = true,
                                         REMOTE_COLUMNS(version_columns)};

/* Its files, with a card that finds the parent where a worker puts it: beside, by its digest. */
static enum status upload_adapter(struct upload *upload, const char *dir, const char *parent,
                                  char digest_out[SHA256_HEX_SIZE], struct error *error)
{
    json_t *version;
    struct buf card = {0};
    if (model_version(upload->service, parent, &version, error) != STATUS_OK) {
        return error_prefix(error, "--parent");
    }
    enum status status = model_card_over(dir, remote_text(version, "manifest"), &card, error);
    upload->card = &card;
    if (status == STATUS_OK) {
        status = upload_dir(upload, dir, digest_out, error);
    }
    upload->card = NULL;
    buf_release(&card);
    json_decref(version);
    return status;
}

static enum status check_parent(const char *dir, const char *parent, struct error *error)
{
    char adapter[4096];
    path_join(adapter, sizeof(adapter), dir, "adapter_config.json");
    if (file_exists(adapter) && parent == NULL) {
        return error_set(error, STATUS_USAGE,
                         "%s is an adapter, which is no model without its parent: say which model "
                         "of the service it was trained over, --parent NAME@VERSION, or make a "
                         "whole one (tailor model export --merge)",
                         dir);
    }
    if (!file_exists(adapter) && parent != NULL) {
        return error_set(error, STATUS_USAGE,
                         "--parent: %s is no adapter (it has no adapter_config.json)", dir);
    }
    return STATUS_OK;
}

static enum status add_in(struct arena *arena, const struct call *call, struct error *error)
{
    struct service service;
    ProtobufCMessage *request;
    char digest[SHA256_HEX_SIZE];
    const char *dir = call->arguments[1];
    TRY(remote_open(arena, call, &service, error));
    TRY(remote_request(call, &service, &add_remote, &request, error));
    Api__ModelAddRequest *add = (Api__ModelAddRequest *)request;
    TRY(check_parent(dir, add->parent, error));
    if (!add->tenant) {
        return error_set(error, STATUS_USAGE, "say whose model it is: --tenant NAME");
    }
    service.profile.tenant = add->tenant; /* whose the parent is, if that is not said */
    struct upload upload = {&service, add->tenant, call->globals->quiet, NULL};
    TRY(add->parent ? upload_adapter(&upload, dir, add->parent, digest, error)
                    : upload_dir(&upload, dir, digest, error));
    add->manifest = digest;
    return remote_show(call, &service, &add_remote, request, error);
}

static enum status add_run(const struct call *call, struct error *error)
{
    return remote_within(add_in, call, error);
}

static const struct option_row add_rows[] = {
    REMOTE_ROW("parent", 0, OPTION_STRING, parent, "NAME@VERSION",
               "of an adapter: the model of the service that it was trained over"),
    REMOTE_ROWS,
};

const struct command cmd_model_add = {
    .noun = "model",
    .verb = "add",
    .summary = "Give the service a model of this machine, as a model's next version",
    .example = "tailor model add hh ./general/model",
    .arguments = {{.placeholder = "NAME"}, {.placeholder = "DIR"}},
    OPTION_ROWS(add_rows),
    .options_size = sizeof(struct remote_options),
    .remote = &add_remote,
    .run = add_run};

/* ---- shares ---- */
static const struct option_row share_rows[] = {
    REMOTE_ROW("with", 0, OPTION_STRING, with, "TENANT", "who; * for all; default *"),
    REMOTE_ROW("right", 0, OPTION_STRING, right, "RIGHT",
               "use: jobs may train on it; read: it is seen too; default use"),
    REMOTE_ROWS,
};
static const struct remote share_list_remote = {
    .route = ROUTE_SHARE_LIST, .own = true, .list = "shares", REMOTE_COLUMNS(share_columns)};
static const struct remote share_add_remote = {.route = ROUTE_SHARE_PUT,
                                               .fields = {"kind", "name@version"},
                                               .own = true,
                                               REMOTE_COLUMNS(share_columns)};
static const struct remote share_rm_remote = {
    .route = ROUTE_SHARE_REMOVE, .fields = {"kind", "name@version"}, .own = true};

static enum status share_in(struct arena *arena, const struct call *call, struct error *error)
{
    const struct remote_options *options = call->options;
    const struct remote *remote = call->command->remote;
    struct service service;
    ProtobufCMessage *request;
    TRY(remote_open(arena, call, &service, error));
    TRY(remote_request(call, &service, remote, &request, error));
    TRY(remote_put(&service, request, "grantee", options->with ? options->with : "*", error));
    if (remote == &share_add_remote && !options->right) {
        TRY(remote_put(&service, request, "right", "use", error));
    }
    return remote_show(call, &service, remote, request, error);
}

static enum status share_run(const struct call *call, struct error *error)
{
    return remote_within(share_in, call, error);
}

const struct command cmd_share_list = {.noun = "share",
                                       .verb = "list",
                                       .summary = "List what a tenant lets others use",
                                       .example = "tailor share list --tenant general",
                                       OPTION_ROWS(plain_rows),
                                       .remote = &share_list_remote,
                                       REMOTE_COMMAND};

const struct command cmd_share_add = {
    .noun = "share",
    .verb = "add",
    .summary = "Let other tenants use a model or a dataset",
    .example = "tailor share add model hh --with acme",
    .arguments = {{.placeholder = "KIND"}, {.placeholder = "NAME"}},
    OPTION_ROWS(share_rows),
    .options_size = sizeof(struct remote_options),
    .remote = &share_add_remote,
    .run = share_run};

const struct command cmd_share_rm = {
    .noun = "share",
    .verb = "rm",
    .summary = "Take a share back",
    .example = "tailor share rm model hh --with acme",
    .arguments = {{.placeholder = "KIND"}, {.placeholder = "NAME"}},
    OPTION_ROWS(share_rows),
    .options_size = sizeof(struct remote_options),
    .remote = &share_rm_remote,
    .run = share_run};
