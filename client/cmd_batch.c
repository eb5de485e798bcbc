/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches, looked at, waited for, cancelled and tried again. (cmd_batch_submit.c makes them.)
 */
#include <inttypes.h>
#include <string.h>

#include "client/batch.h"
#include "client/commands.h"
#include "client/wait.h"
#include "lib/text.h"

enum { PATIENCE_MS = 300000 };

static const struct column batch_columns[] = {
    {"id", "id", COLUMN_TEXT},
    {"name", "name", COLUMN_TEXT},
    {"tenant", "tenant", COLUMN_TEXT},
    {"rows", "rows_total", COLUMN_TEXT},
    {"refused", "rows_invalid", COLUMN_TEXT},
    {"waiting", "rows_waiting", COLUMN_TEXT},
    {"active", "jobs_active", COLUMN_TEXT},
    {"succeeded", "jobs_succeeded", COLUMN_TEXT},
    {"held", "jobs_held", COLUMN_TEXT},
    {"failed", "jobs_failed", COLUMN_TEXT},
    {"cancelled", "jobs_cancelled", COLUMN_TEXT},
    {"age", "created_ms", COLUMN_AGE},
};

static const struct column row_columns[] = {
    {"key", "key", COLUMN_TEXT},    {"tenant", "tenant", COLUMN_TEXT},
    {"job", "job_id", COLUMN_TEXT}, {"state", "now", COLUMN_TEXT},
    {"model", "made", COLUMN_TEXT}, {"gate", "gate_decision", COLUMN_TEXT},
    {"why", "why", COLUMN_TEXT},
};

/* ---- printing -------------------------------------------------------------------------------- */

static int64_t count_of(const json_t *batch, const char *field)
{
    return json_integer_value(json_object_get(batch, field));
}

/* Cells that are made of several fields. */
static void complete_row(json_t *row)
{
    const char *state = remote_text(row, "job_state"), *error = remote_text(row, "error");
    const json_t *version = json_object_get(row, "output_version");
    struct buf made = {0};
    if (!state[0]) {
        state = error[0] ? "refused" : remote_text(row, "state");
    }
    json_object_set_new(row, "now", json_string(state));
    json_object_set_new(row, "why",
                        json_string(error[0] ? error : remote_text(row, "failure_message")));
    if (version) {
        buf_printf(&made, "%s@%" JSON_INTEGER_FORMAT, remote_text(row, "output_model"),
                   json_integer_value(version));
        json_object_set_new(row, "made", json_string(made.data));
    }
    buf_release(&made);
}

enum status batch_print(const struct call *call, const json_t *reply, struct error *error)
{
    static const struct remote rows_remote = {
        .route = ROUTE_BATCH_SHOW, .list = "rows", REMOTE_COLUMNS(row_columns)};
    static const struct remote whole_remote = {.route = ROUTE_BATCH_SHOW};
    enum table_format format;
    size_t index;
    json_t *row;
    TRY(call_format(call, TABLE_FORMAT_TABLE, &format, error));
    if (format == TABLE_FORMAT_JSON) {
        return remote_print(call, &whole_remote, reply, error);
    }
    json_array_foreach(json_object_get(reply, "rows"), index, row)
    {
        complete_row(row);
    }
    return remote_print(call, &rows_remote, reply, error);
}

static void put_count(struct buf *line, int64_t count, const char *word)
{
    if (count > 0) {
        buf_printf(line, "%s%" PRId64 " %s", line->length > 0 ? ", " : "", count, word);
    }
}

/* "296 succeeded (2 held by their gates), 1 failed (1 user_data), 3 refused" */
static void summarize(const json_t *batch, struct buf *line)
{
    size_t index;
    const json_t *failure;
    put_count(line, count_of(batch, "jobs_succeeded"), "succeeded");
    if (count_of(batch, "jobs_held") > 0) {
        buf_printf(line, " (%" PRId64 " held by their gates)", count_of(batch, "jobs_held"));
    }
    put_count(line, count_of(batch, "jobs_failed"), "failed");
    json_array_foreach(json_object_get(batch, "failures"), index, failure)
    {
        buf_printf(line, "%s%" PRId64 " %s", index == 0 ? " (" : ", ", count_of(failure, "jobs"),
                   remote_text(failure, "failure_class"));
    }
    buf_append_string(line, index > 0 ? ")" : "");
    put_count(line, count_of(batch, "jobs_cancelled"), "cancelled");
    put_count(line, count_of(batch, "rows_invalid"), "refused");
    int64_t waiting = count_of(batch, "rows_waiting");
    put_count(line, count_of(batch, "jobs_active") - waiting, "running");
    put_count(line, waiting, "waiting");
}

static void print_summary(const json_t *reply)
{
    const json_t *batch = json_object_get(reply, "batch");
    struct buf line = {0};
    summarize(batch, &line);
    printf("batch %s %s of %s: %" PRId64 " rows: %s\n", remote_text(batch, "id"),
           remote_text(batch, "name"), remote_text(batch, "tenant"), count_of(batch, "rows_total"),
           line.length > 0 ? line.data : "none");
    buf_release(&line);
    fflush(stdout);
}

/* ---- one call -------------------------------------------------------------------------------- */

static enum status call_in(struct arena *arena, const struct call *call, struct error *error)
{
    struct service service;
    ProtobufCMessage *request;
    enum table_format format;
    json_t *reply;
    TRY(call_format(call, TABLE_FORMAT_TABLE, &format, error));
    TRY(remote_open(arena, call, &service, error));
    TRY(remote_request(call, &service, call->command->remote, &request, error));
    TRY(service_call(&service, call->command->remote->route, request, &reply, error));
    if (format == TABLE_FORMAT_TABLE) {
        print_summary(reply);
    }
    bool rows = json_array_size(json_object_get(reply, "rows")) > 0;
    enum status status =
        rows || format != TABLE_FORMAT_TABLE ? batch_print(call, reply, error) : STATUS_OK;
    json_decref(reply);
    return status;
}

static enum status call_run(const struct call *call, struct error *error)
{
    return remote_within(call_in, call, error);
}

static const struct option_row list_rows[] = {REMOTE_PAGE_ROWS, REMOTE_ROWS};
static const struct option_row plain_rows[] = {REMOTE_ROWS};
static const struct option_row show_rows[] = {
    BATCH_ROW("failed", 0, OPTION_STRING, failed, "CLASS",
              "only rows whose job failed so: user_data, worker_lost, ..."),
    REMOTE_PAGE_ROWS,
    REMOTE_ROWS,
};
static const struct option_row retry_rows[] = {
    BATCH_ROW("failed", 0, OPTION_STRING, failed, "CLASS",
              "only jobs that failed so; default: all that failed or were cancelled"),
    REMOTE_ROWS,
};

static const struct remote list_remote = {
    .route = ROUTE_BATCH_LIST, .list = "batches", REMOTE_COLUMNS(batch_columns)};
static const struct remote show_remote = {.route = ROUTE_BATCH_SHOW, .fields = {"id"}};
static const struct remote cancel_remote = {.route = ROUTE_BATCH_CANCEL, .fields = {"id"}};
static const struct remote retry_remote = {.route = ROUTE_BATCH_RETRY, .fields = {"id"}};

const struct command cmd_batch_list = {.noun = "batch",
                                       .verb = "list",
                                       .summary = "List batches, newest first",
                                       .example = "tailor batch list",
                                       OPTION_ROWS(list_rows),
                                       .remote = &list_remote,
                                       REMOTE_COMMAND};

const struct command cmd_batch_show = {.noun = "batch",
                                       .verb = "show",
                                       .summary = "Show a batch: what its rows came to",
                                       .example = "tailor batch show b-1 --failed user_data",
                                       .arguments = {{.placeholder = "BATCH"}},
                                       OPTION_ROWS(show_rows),
                                       .options_size = sizeof(struct batch_options),
                                       .remote = &show_remote,
                                       .run = call_run};

const struct command cmd_batch_cancel = {.noun = "batch",
                                         .verb = "cancel",
                                         .summary = "Cancel every job of a batch that is not over",
                                         .example = "tailor batch cancel b-1",
                                         .arguments = {{.placeholder = "BATCH"}},
                                         OPTION_ROWS(plain_rows),
                                         .options_size = sizeof(struct batch_options),
                                         .remote = &cancel_remote,
                                         .run = call_run};

const struct command cmd_batch_retry = {
    .noun = "batch",
    .verb = "retry",
    .summary = "Queue a batch's failed and cancelled jobs again, as new ones",
    .example = "tailor batch retry b-1 --failed worker_lost",
    .arguments = {{.placeholder = "BATCH"}},
    OPTION_ROWS(retry_rows),
    .options_size = sizeof(struct batch_options),
    .remote = &retry_remote,
    .run = call_run};

/* ---- wait ------------------------------------------------------------------------------------ */

static enum status verdict(const json_t *batch, struct error *error)
{
    const char *id = remote_text(batch, "id");
    int64_t failed = count_of(batch, "jobs_failed"), held = count_of(batch, "jobs_held");
    int64_t cancelled = count_of(batch, "jobs_cancelled");
    if (failed > 0) {
        return error_set(error, STATUS_FAILED,
                         "%" PRId64 " of the jobs of %s failed: tailor batch show %s has the "
                         "reasons",
                         failed, id, id);
    }
    if (cancelled > 0) {
        return error_set(error, STATUS_CANCELLED, "%" PRId64 " of the jobs of %s were cancelled",
                         cancelled, id);
    }
    return held > 0 ? error_set(error, STATUS_HELD,
                                "%" PRId64 " models of %s are held by their gates: their aliases "
                                "stay where they are",
                                held, id)
                    : STATUS_OK;
}

/* One look; prints what changed since the last one. */
static enum status look(const struct service *service, Api__BatchRequest *request, bool quiet,
                        struct buf *last, json_t **reply_out, struct error *error)
{
    struct buf line = {0};
    json_t *reply;
    TRY(service_insist(service, ROUTE_BATCH_SHOW, &request->base, PATIENCE_MS, &reply, error));
    const json_t *batch = json_object_get(reply, "batch");
    summarize(batch, &line);
    if (!quiet && line.length > 0 && (!last->data || strcmp(last->data, line.data) != 0)) {
        fprintf(stderr, "%s: %s\n", remote_text(batch, "id"), line.data);
    }
    buf_clear(last);
    buf_append_string(last, line.length > 0 ? line.data : "");
    buf_release(&line);
    *reply_out = reply;
    return STATUS_OK;
}

static enum status watch(const struct service *service, Api__BatchRequest *request,
                         double timeout_s, bool quiet, struct buf *last, struct error *error)
{
    struct asking asking = asking_begin(timeout_s);
    for (;;) {
        json_t *reply;
        TRY(look(service, request, quiet, last, &reply, error));
        const json_t *batch = json_object_get(reply, "batch");
        int64_t active = count_of(batch, "jobs_active");
        enum status status = active == 0 ? verdict(batch, error) : STATUS_OK;
        json_decref(reply);
        if (active == 0) {
            return status;
        }
        if (!asking_pause(&asking)) {
            return error_set(error, STATUS_TIMEOUT,
                             "%" PRId64 " jobs of the batch are not over after %g s", active,
                             timeout_s);
        }
    }
}

static enum status wait_in(struct arena *arena, const struct call *call, struct error *error)
{
    struct service service;
    ProtobufCMessage *request;
    struct buf last = {0};
    TRY(remote_open(arena, call, &service, error));
    TRY(remote_request(call, &service, &show_remote, &request, error));
    TRY(remote_put(&service, request, "limit", "1", error));
    enum status status = watch(&service, (Api__BatchRequest *)request, service.timeout_s,
                               call->globals->quiet, &last, error);
    buf_release(&last);
    return status;
}

static enum status wait_run(const struct call *call, struct error *error)
{
    return remote_within(wait_in, call, error);
}

static const struct option_row wait_rows[] = {REMOTE_ROWS};

const struct command cmd_batch_wait = {
    .noun = "batch",
    .verb = "wait",
    .summary = "Wait until every job of a batch is over",
    .details = "Exit code 0 when all succeeded, 1 when one failed, 8 when one was cancelled, 9 "
               "when a\ngate holds one back. Ctrl-C leaves; the jobs go on.",
    .example = "tailor batch wait b-1 --timeout 2h",
    .arguments = {{.placeholder = "BATCH"}},
    OPTION_ROWS(wait_rows),
    .options_size = sizeof(struct batch_options),
    .run = wait_run};
