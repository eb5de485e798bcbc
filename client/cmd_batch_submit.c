/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor batch submit: a recipe and a table become a job a row.
 *
 * The same command again is safe: a row whose spec came out as before keeps its job. Bad rows are
 * listed by the line of the table, and do not keep the good ones back.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/batch.h"
#include "client/batch_rows.h"
#include "client/commands.h"
#include "client/path.h"
#include "lib/file.h"
#include "lib/limits.h"
#include "lib/text.h"

enum { PATIENCE_MS = 60000 };

/* ---- the request ----------------------------------------------------------------------------- */

/* "recipes/Support.yaml" → "Support": the batch's name, when none is given. */
static char *stem(struct arena *arena, const char *path)
{
    const char *base = path_base(path);
    return arena_strndup(arena, base, strcspn(base, "."));
}

static enum status read_recipe(struct arena *arena, const char *path, const char **text_out,
                               struct error *error)
{
    struct buf text = {0};
    TRY(file_read(path, SPEC_BYTES_MAX, &text, error));
    *text_out = arena_strdup(arena, text.length > 0 ? text.data : "");
    buf_release(&text);
    return STATUS_OK;
}

static enum status from_table(const struct call *call, const struct service *service,
                              Api__BatchSubmitRequest *request, struct csv *csv,
                              struct error *error)
{
    const struct batch_options *options = call->options;
    struct batch_rows rows = {.service = service,
                              .tenant = request->tenant,
                              .set = &options->remote.set,
                              .csv = csv,
                              .quiet = call->globals->quiet};
    if (call->argument_count == 0 || !options->each) {
        return error_set(error, STATUS_USAGE,
                         "name a recipe and a table: tailor batch submit recipe.yaml --each "
                         "tenants.csv");
    }
    rows.recipe_path = call->arguments[0];
    TRY(read_recipe(service->arena, rows.recipe_path, &rows.recipe, error));
    TRY(csv_read(service->arena, options->each, BATCH_ROWS_MAX, csv, error));
    if (csv->row_count == 0) {
        return error_set(error, STATUS_USAGE, "%s has no row below its header", options->each);
    }
    if (!request->name) {
        request->name = stem(service->arena, rows.recipe_path);
    }
    request->key = (char *)(options->remote.key ? options->remote.key : csv->columns[0]);
    return batch_rows_put(&rows, request, error);
}

static enum status from_models(const struct call *call, const struct service *service,
                               Api__BatchSubmitRequest *request, struct error *error)
{
    const struct batch_options *options = call->options;
    if (call->argument_count > 0 || options->each) {
        return error_set(error, STATUS_USAGE,
                         "--from-models takes the specs of the models' jobs: leave recipe and "
                         "--each out");
    }
    if (!request->name) {
        return error_set(error, STATUS_USAGE, "--from-models needs a --name for the batch");
    }
    for (int i = 0; i < options->remote.set.count; i++) {
        TRY(remote_put(service, &request->base, "set", options->remote.set.items[i], error));
    }
    return remote_put(service, &request->base, "from_models", options->from_models, error);
}

static enum status build(const struct call *call, const struct service *service, struct csv *csv,
                         Api__BatchSubmitRequest **request_out, struct error *error)
{
    const struct batch_options *options = call->options;
    Api__BatchSubmitRequest *request = service_request(service, ROUTE_BATCH_SUBMIT);
    const char *tenant = options->remote.tenant ? options->remote.tenant : service->profile.tenant;
    if (!tenant) {
        return error_set(error, STATUS_USAGE, "say whose batch it is: --tenant NAME");
    }
    request->tenant = (char *)tenant; /* protobuf-c knows no const */
    request->name = (char *)options->name;
    request->has_dry_run = true;
    request->dry_run = options->remote.dry_run;
    if (options->max_running) {
        TRY(remote_put(service, &request->base, "max_running", options->max_running, error));
    }
    TRY(options->from_models ? from_models(call, service, request, error)
                             : from_table(call, service, request, csv, error));
    *request_out = request;
    return STATUS_OK;
}

/* ---- what is said about it ------------------------------------------------------------------- */

/* "tenants.csv:17 (acme): data.train[0]: …" */
static void list_refused(const struct call *call, const struct csv *csv, const json_t *reply)
{
    const struct batch_options *options = call->options;
    size_t index;
    const json_t *row;
    json_array_foreach(json_object_get(reply, "rows"), index, row)
    {
        const char *error = json_string_value(json_object_get(row, "error"));
        int64_t number = json_integer_value(json_object_get(row, "row"));
        char key[80], text[1024];
        if (!error) {
            continue;
        }
        text_clean(error, text, sizeof(text));
        const char *known = json_string_value(json_object_get(row, "key"));
        text_clean(known ? known : "?", key, sizeof(key));
        if (number > 0 && number <= csv->row_count) {
            fprintf(stderr, "%s:%d (%s): %s\n", options->each, csv->rows[number - 1].line, key,
                    text);
        } else {
            fprintf(stderr, "%s: %s\n", key, text);
        }
    }
}

static void list_warnings(const json_t *reply)
{
    size_t index;
    const json_t *warning;
    json_array_foreach(json_object_get(reply, "warnings"), index, warning)
    {
        char text[512];
        text_clean(json_is_string(warning) ? json_string_value(warning) : "", text, sizeof(text));
        fprintf(stderr, "warning: %s\n", text);
    }
}

static int64_t count_refused(const json_t *reply)
{
    size_t index;
    const json_t *row;
    int64_t count = 0;
    json_array_foreach(json_object_get(reply, "rows"), index, row)
    {
        count += json_object_get(row, "error") != NULL;
    }
    return count;
}

static void tell(const json_t *reply, const char *name, int64_t refused)
{
    const json_t *batch = json_object_get(reply, "batch");
    const char *id = json_string_value(json_object_get(batch, "id"));
    int64_t failed = json_integer_value(json_object_get(batch, "jobs_failed")) +
                     json_integer_value(json_object_get(batch, "jobs_cancelled"));
    printf("batch %s %s: %zu rows, %" JSON_INTEGER_FORMAT " %s, %" JSON_INTEGER_FORMAT
           " as they were, %" PRId64 " refused\n",
           id ? id : "(not made)", name, json_array_size(json_object_get(reply, "rows")),
           json_integer_value(json_object_get(reply, "submitted")),
           id ? "submitted" : "would be submitted",
           json_integer_value(json_object_get(reply, "unchanged")), refused);
    if (!id) {
        return;
    }
    if (failed > 0) {
        printf("%" PRId64 " of those that are as they were failed or were cancelled: tailor batch "
               "retry %s\n",
               failed, id);
    }
    printf("\n  tailor batch wait %s     until all its jobs are over\n"
           "  tailor batch show %s     how they are\n  tailor batch cancel %s\n",
           id, id, id);
}

static enum status say(const struct call *call, const struct csv *csv, const json_t *reply,
                       const char *name, struct error *error)
{
    enum table_format format;
    int64_t refused = count_refused(reply);
    TRY(call_format(call, TABLE_FORMAT_TABLE, &format, error));
    list_refused(call, csv, reply);
    if (!call->globals->quiet) {
        list_warnings(reply);
    }
    if (format == TABLE_FORMAT_NAME || (format == TABLE_FORMAT_TABLE && call->globals->quiet)) {
        const char *id = json_string_value(json_object_get(json_object_get(reply, "batch"), "id"));
        puts(id ? id : "");
    } else if (format == TABLE_FORMAT_TABLE) {
        tell(reply, name, refused);
    } else {
        TRY(batch_print(call, reply, error));
    }
    fflush(stdout); /* what it came to stands before what is wrong with it */
    if (refused > 0) {
        return error_set(error, STATUS_USAGE,
                         "%" PRId64 " of %zu rows are refused: mend them, and submit the same "
                         "table again",
                         refused, json_array_size(json_object_get(reply, "rows")));
    }
    return STATUS_OK;
}

static enum status submit_in(struct arena *arena, const struct call *call, struct error *error)
{
    struct service service;
    struct csv csv = {0};
    Api__BatchSubmitRequest *request;
    json_t *reply;
    TRY(remote_open(arena, call, &service, error));
    TRY(build(call, &service, &csv, &request, error));
    TRY(service_insist(&service, ROUTE_BATCH_SUBMIT, &request->base, PATIENCE_MS, &reply, error));
    enum status status = say(call, &csv, reply, request->name, error);
    json_decref(reply);
    return status;
}

static enum status submit_run(const struct call *call, struct error *error)
{
    return remote_within(submit_in, call, error);
}

static const struct option_row submit_rows[] = {
    BATCH_ROW("each", 0, OPTION_STRING, each, "FILE", "CSV with a header: a job for each row"),
    BATCH_ROW("key", 0, OPTION_STRING, remote.key, "COLUMN",
              "what a row is known by when the table comes again; default: the first"),
    BATCH_ROW("name", 0, OPTION_STRING, name, "NAME", "of the batch; default: the recipe's"),
    BATCH_ROW("max-running", 0, OPTION_STRING, max_running, "N", "at most so many jobs at once"),
    BATCH_ROW("set", 's', OPTION_LIST, remote.set, "KEY=VALUE",
              "change the recipe first; may repeat"),
    BATCH_ROW("from-models", 0, OPTION_STRING, from_models, "parent=MODEL",
              "a row for each model that came from it, by its own spec"),
    BATCH_ROW("dry-run", 0, OPTION_FLAG, remote.dry_run, NULL, "upload and check, submit nothing"),
    REMOTE_ROWS,
};

const struct command cmd_batch_submit = {
    .noun = "batch",
    .verb = "submit",
    .summary = "Submit a recipe for each row of a table",
    .details = "${column} in the recipe's values is the row's cell. Files of this machine that a "
               "row\nnames are uploaded. All rows are checked first; the bad ones are listed (exit "
               "code 2).\nThe same table again submits only what has changed.",
    .example = "tailor batch submit recipe.yaml --each tenants.csv --max-running 40",
    .arguments = {{.placeholder = "FILE", .optional = true}},
    OPTION_ROWS(submit_rows),
    .options_size = sizeof(struct batch_options),
    .run = submit_run};
