/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor data: what is in a file, before a slot is used on it; and giving it to the service, which
 * judges it too.
 */
#include <string.h>

#include "client/commands.h"
#include "client/dual.h"
#include "client/path.h"
#include "client/upload.h"
#include "client/wait.h"
#include "lib/file.h"
#include "lib/limits.h"
#include "lib/text.h"

/* ---- report of a file ------------------------------------------------------------------------ */

#define REPORT_ROWS                                                                                \
    OFFLINE_ROW("from", 'f', OPTION_STRING, from, "DIR", "the base or model it is meant for"),     \
        OFFLINE_ROW("against", 0, OPTION_STRING, against, "FILE",                                  \
                    "training data: count prompts that are in both"),                              \
        OFFLINE_ROW("rows", 0, OPTION_STRING, rows, "FINDING",                                     \
                    "list the rows of one finding (contradiction, duplicate, tie, ...)"),          \
        OFFLINE_DATA_ROWS, OFFLINE_FORMAT_ROWS, OFFLINE_COMPUTE_ROWS

static const struct option_row file_rows[] = {REPORT_ROWS};
static const struct command of_file = {.noun = "data",
                                       .verb = "report",
                                       OPTION_ROWS(file_rows),
                                       .trainer_verb = "admit",
                                       OFFLINE_COMMAND};

/* ---- report of a dataset --------------------------------------------------------------------- */

static const struct column finding_columns[] = {
    {"file", "file", COLUMN_TEXT},
    {"line", "line", COLUMN_TEXT},
    {"finding", "finding", COLUMN_TEXT},
    {"text", "text", COLUMN_TEXT},
};
static const struct remote report_remote = {.route = ROUTE_DATASET_REPORT,
                                            .fields = {"name@version"},
                                            .own = true,
                                            .list = "rows",
                                            REMOTE_COLUMNS(finding_columns)};

/* All pages: who sends the rows back to where they came from wants every one. */
static enum status all_rows(const struct service *service, Api__ObjectRequest *request, json_t *all,
                            struct error *error)
{
    json_t *reply, *rows = json_object_get(all, "rows");
    request->has_limit = request->has_after = true;
    request->limit = PAGE_MAX;
    for (bool more = true; more;) {
        TRY(service_call(service, ROUTE_DATASET_REPORT, &request->base, &reply, error));
        json_array_extend(rows, json_object_get(reply, "rows"));
        more = json_object_get(reply, "next") != NULL;
        request->after = json_integer_value(json_object_get(reply, "next"));
        json_decref(reply);
    }
    return STATUS_OK;
}

static enum status of_dataset_in(struct arena *arena, const struct call *call, struct error *error)
{
    const struct remote_options *options = call->options;
    struct service service;
    ProtobufCMessage *request;
    TRY(remote_open(arena, call, &service, error));
    TRY(remote_request(call, &service, &report_remote, &request, error));
    if (options->rows) {
        TRY(remote_put(&service, request, "kind", options->rows, error));
    }
    json_t *all = json_object();
    json_object_set_new(all, "rows", json_array());
    enum status status = all_rows(&service, (Api__ObjectRequest *)request, all, error);
    if (status == STATUS_OK) {
        status = remote_print(call, &report_remote, all, error);
    }
    json_decref(all);
    return status;
}

static enum status of_dataset_run(const struct call *call, struct error *error)
{
    return remote_within(of_dataset_in, call, error);
}

static const struct option_row dataset_rows[] = {REMOTE_ROWS};
static const struct command of_dataset = {.noun = "data",
                                          .verb = "report",
                                          OPTION_ROWS(dataset_rows),
                                          .remote = &report_remote,
                                          .run = of_dataset_run};

/* ---- which ----------------------------------------------------------------------------------- */

static bool is_file_name(const char *text)
{
    return file_size(text) >= 0 || text[0] == '.' || text[0] == '/' || path_names_data(text);
}

static enum status report_run(const struct call *call, struct error *error)
{
    const char *argument = call->arguments[0];
    struct dual_options options = *(const struct dual_options *)call->options;
    struct call own = *call;
    own.options = &options;
    own.globals = &options.offline.globals;
    if (!is_file_name(argument)) {
        options.remote.rows = options.offline.rows;
        return dual_run(&own, &of_dataset, true, error);
    }
    TRY(path_check("FILE", argument, error));
    if (!options.offline.from) {
        return error_set(error, STATUS_USAGE, "--from DIR is missing: see tailor data report -h");
    }
    TRY(path_check("DIR", options.offline.from, error));
    return dual_run(&own, &of_file, false, error);
}

static const struct option_row report_rows[] = {REPORT_ROWS, DUAL_ROWS};

const struct command cmd_data_report = {
    .noun = "data",
    .verb = "report",
    .summary = "Count what is wrong with preference data, and judge it",
    .details =
        "Duplicates, contradictions, ties, rows that are too long or become identical, with line "
        "numbers.\nExit code 1 when the data are rejected. Of a dataset of the service: the rows "
        "that its\nadmission found.",
    .example = "tailor data report prefs.jsonl --from ./general/model --rows contradiction "
               "-o jsonl\n       tailor data report acme/tickets --rows contradiction -o jsonl",
    .arguments = {{.placeholder = "DATA"}},
    OPTION_ROWS(report_rows),
    .options_size = sizeof(struct dual_options),
    .run = report_run};

/* ---- preview --------------------------------------------------------------------------------- */

static const struct option_row preview_rows[] = {
    OFFLINE_ROW("from", 'f', OPTION_STRING, from, "DIR", "the base or model it is meant for"),
    OFFLINE_ROW("line", 0, OPTION_STRING, line, "N", "which line of the file; default: the first"),
    OFFLINE_ROW("ids", 0, OPTION_FLAG, ids, NULL, "print the token ids too"),
    OFFLINE_DATA_ROWS,
    OFFLINE_FORMAT_ROWS,
};

const struct command cmd_data_preview = {
    .noun = "data",
    .verb = "preview",
    .summary = "Show a row as the model sees it, with the token that is scored",
    .example = "tailor data preview prefs.jsonl --from ./Qwen2.5-0.5B --line 12 --ids",
    .arguments = {{.placeholder = "FILE"}},
    OPTION_ROWS(preview_rows),
    .required = "from",
    .trainer_verb = "preview",
    OFFLINE_COMMAND};

/* ---- add ------------------------------------------------------------------------------------- */

static const struct column data_columns[] = {
    {"name", "name", COLUMN_TEXT},       {"version", "version", COLUMN_TEXT},
    {"tenant", "tenant", COLUMN_TEXT},   {"state", "state", COLUMN_TEXT},
    {"groups", "groups", COLUMN_TEXT},   {"file", "file", COLUMN_TEXT},
    {"digest", "digest", COLUMN_TEXT},   {"added", "created_ms", COLUMN_TIME},
    {"verdict", "message", COLUMN_TEXT},
};
static const struct remote add_remote = {.route = ROUTE_DATASET_ADD,
                                         .fields = {"name@version"},
                                         .own = true,
                                         REMOTE_COLUMNS(data_columns)};

/* {"prompt": "question"} of --column prompt=question. */
static enum status put_columns(struct arena *arena, const struct option_list *list,
                               Api__DatasetAddRequest *request, struct error *error)
{
    struct buf text = {0};
    json_t *columns = json_object();
    for (int i = 0; i < list->count; i++) {
        const char *equals = strchr(list->items[i], '=');
        if (!equals) {
            json_decref(columns);
            return error_set(error, STATUS_USAGE,
                             "--column %s: write OURS=THEIRS, as in prompt=question",
                             list->items[i]);
        }
        const char *ours = arena_strndup(arena, list->items[i], (size_t)(equals - list->items[i]));
        json_object_set_new(columns, ours, json_string(equals + 1));
    }
    json_append(&text, columns);
    json_decref(columns);
    request->columns = list->count > 0 ? arena_strdup(arena, text.data) : NULL;
    buf_release(&text);
    return STATUS_OK;
}

/* Until its job has judged it; what became of the job stands in the dataset. */
static enum status await_verdict(const struct call *call, const struct service *service,
                                 const Api__DatasetAddRequest *added, json_t **dataset,
                                 struct error *error)
{
    Api__ObjectRequest *request = service_request(service, ROUTE_DATASET_SHOW);
    const struct wait wait = {.quiet = call->globals->quiet};
    struct buf version = {0};
    enum status status = wait_for_job(service, remote_text(*dataset, "job_id"), &wait, error);
    if (status != STATUS_OK && status != STATUS_FAILED && status != STATUS_CANCELLED) {
        return status;
    }
    json_append(&version, json_object_get(*dataset, "version"));
    request->tenant = added->tenant;
    request->name = added->name;
    request->version = arena_strdup(service->arena, version.data);
    buf_release(&version);
    json_decref(*dataset);
    *dataset = NULL;
    return service_call(service, ROUTE_DATASET_SHOW, &request->base, dataset, error);
}

static enum status verdict(const struct call *call, const json_t *dataset, struct error *error)
{
    char message[512];
    const char *name = remote_text(dataset, "name"), *state = remote_text(dataset, "state");
    text_clean(remote_text(dataset, "message"), message, sizeof(message));
    if (strcmp(state, "rejected") == 0) {
        return error_set(error, STATUS_FAILED,
                         "%s is rejected: %s (tailor data report %s lists the rows)", name, message,
                         name);
    }
    if (strcmp(state, "warned") == 0 && !call->globals->quiet) {
        fprintf(stderr, "%s is accepted with warnings: %s\n", name, message);
    }
    return STATUS_OK;
}

static enum status add_in(struct arena *arena, const struct call *call, struct error *error)
{
    const struct remote_options *options = call->options;
    struct service service;
    ProtobufCMessage *message;
    json_t *reply;
    char digest[SHA256_HEX_SIZE];
    TRY(remote_open(arena, call, &service, error));
    TRY(remote_request(call, &service, &add_remote, &message, error));
    Api__DatasetAddRequest *request = (Api__DatasetAddRequest *)message;
    if (!request->tenant) {
        return error_set(error, STATUS_USAGE, "say whose dataset it is: --tenant NAME");
    }
    TRY(put_columns(arena, &options->column, request, error));
    request->file = arena_strdup(arena, path_base(call->arguments[1]));
    const struct upload upload = {&service, request->tenant, call->globals->quiet, NULL};
    TRY(upload_file(&upload, call->arguments[1], digest, error));
    request->digest = digest;
    TRY(service_call(&service, ROUTE_DATASET_ADD, message, &reply, error));
    enum status status = STATUS_OK;
    if (!options->no_wait && strcmp(remote_text(reply, "state"), "admitting") == 0) {
        status = await_verdict(call, &service, request, &reply, error);
    }
    if (status == STATUS_OK) {
        status = remote_print(call, &add_remote, reply, error);
    }
    if (status == STATUS_OK) {
        fflush(stdout);
        status = verdict(call, reply, error);
    }
    json_decref(reply);
    return status;
}

static enum status add_run(const struct call *call, struct error *error)
{
    return remote_within(add_in, call, error);
}

static const struct option_row add_rows[] = {
    REMOTE_ROW("from", 'f', OPTION_STRING, from, "NAME",
               "the base or model it is meant for; default: a base of the service"),
    REMOTE_ROW("domain", 0, OPTION_STRING, domain, "NAME",
               "the preferred domain of data with one response a domain"),
    REMOTE_ROW("column", 0, OPTION_LIST, column, "OURS=THEIRS",
               "the data's own name of a column, as in prompt=question; may repeat"),
    REMOTE_ROW("shared", 0, OPTION_FLAG, shared, NULL, "every tenant's jobs may train on it"),
    REMOTE_ROW("shards", 0, OPTION_STRING, shards, "N",
               "judge it in N parts on free slots; default: a large file in as many as there are"),
    REMOTE_ROW("no-wait", 0, OPTION_FLAG, no_wait, NULL, "not until it has been judged"),
    REMOTE_ROWS,
};

const struct command cmd_data_add = {
    .noun = "data",
    .verb = "add",
    .summary = "Give the service a file of data, as a dataset's next version",
    .details = "Waits until a worker has judged it; exit code 1 when it is rejected. Jobs take "
               "accepted\ndata only, and judge them by their own data.policy too.",
    .example = "tailor data add tickets ./tickets.jsonl",
    .arguments = {{.placeholder = "NAME"}, {.placeholder = "FILE"}},
    OPTION_ROWS(add_rows),
    .options_size = sizeof(struct remote_options),
    .remote = &add_remote,
    .run = add_run};
