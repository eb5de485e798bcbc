/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor wait, and what a job writes while it runs: logs, metrics, events, as a page or followed.
 */
#include <inttypes.h>
#include <string.h>

#include "client/commands.h"
#include "client/remote.h"
#include "client/wait.h"
#include "lib/text.h"

enum { PATIENCE_MS = 300000 };

/* ---- wait ---- */
static enum status wait_in(struct arena *arena, const struct call *call, struct error *error)
{
    const struct remote_options *options = call->options;
    struct service service;
    double timeout_s = 0;
    if (options->timeout && (!parse_duration_s(options->timeout, &timeout_s) || timeout_s <= 0)) {
        return error_set(error, STATUS_USAGE, "--timeout: \"%s\" is no time, such as 90 or 10m",
                         options->timeout);
    }
    TRY(remote_open(arena, call, &service, error));
    return wait_for_job(&service, call->arguments[0], timeout_s, call->globals->quiet, error);
}

static enum status wait_run(const struct call *call, struct error *error)
{
    struct arena arena = {0};
    enum status status = wait_in(&arena, call, error);
    arena_release(&arena);
    return status;
}

static const struct option_row wait_rows[] = {
    REMOTE_ROW("timeout", 0, OPTION_STRING, timeout, "TIME", "give up after; default: never"),
    REMOTE_ROWS,
};

#define WAIT_COMMAND                                                                               \
    .details = "Exit code 0 when it succeeded, 1 when it failed, 8 when it was cancelled.\n"       \
               "Ctrl-C leaves; the job goes on.",                                                  \
    .arguments = {{.placeholder = "JOB"}}, OPTION_ROWS(wait_rows),                                 \
    .options_size = sizeof(struct remote_options), .run = wait_run

const struct command cmd_wait = {.noun = "wait",
                                 .summary = "Wait for a job to end (tailor job wait)",
                                 .example = "tailor wait j-17",
                                 WAIT_COMMAND};
const struct command cmd_job_wait = {.noun = "job",
                                     .verb = "wait",
                                     .summary = "Wait for a job to end",
                                     .example = "tailor job wait j-17 --timeout 2h",
                                     WAIT_COMMAND};

/* ---- series ---- */
struct follow {
    const struct call *call;
    enum table_format format;
};

/* One entry as a line for people: the columns with two blanks between. */
static void print_line(const struct remote *remote, const json_t *entry)
{
    for (size_t i = 0; i < remote->column_count; i++) {
        struct buf cell = {0};
        char clean[4096];
        remote_cell(entry, &remote->columns[i], &cell);
        text_clean(cell.data ? cell.data : "", clean, sizeof(clean));
        printf("%s%s", i > 0 ? "  " : "", clean);
        buf_release(&cell);
    }
    putchar('\n');
}

static void print_entry(void *context, const json_t *entry)
{
    const struct follow *follow = context;
    if (follow->format == TABLE_FORMAT_TABLE) {
        print_line(follow->call->command->remote, entry);
    } else {
        struct buf text = {0};
        json_append(&text, entry);
        puts(text.data);
        buf_release(&text);
    }
    fflush(stdout);
}

/* All pages, or the stream. */
static enum status series(struct arena *arena, const struct call *call, struct error *error)
{
    const struct remote_options *options = call->options;
    const struct remote *remote = call->command->remote;
    struct follow follow = {.call = call};
    struct service service;
    ProtobufCMessage *request;
    json_t *reply;
    TRY(call_format(call, TABLE_FORMAT_TABLE, &follow.format, error));
    TRY(remote_open(arena, call, &service, error));
    TRY(remote_request(call, &service, remote, &request, error));
    if (options->follow) {
        return service_follow(&service, remote->route, request, PATIENCE_MS, print_entry, &follow,
                              error);
    }
    Api__JobRequest *page = (Api__JobRequest *)request;
    bool more = true;
    while (more) {
        TRY(service_call(&service, remote->route, request, &reply, error));
        const json_t *list = json_object_get(reply, remote->list);
        for (size_t i = 0; i < json_array_size(list); i++) {
            print_entry(&follow, json_array_get(list, i));
        }
        const json_t *next = json_object_get(reply, "next");
        more = json_array_size(list) > 0 && json_is_integer(next) && !options->limit;
        page->has_after = true;
        page->after = json_integer_value(next);
        json_decref(reply);
    }
    return STATUS_OK;
}

static enum status series_run(const struct call *call, struct error *error)
{
    struct arena arena = {0};
    enum status status = series(&arena, call, error);
    arena_release(&arena);
    return status;
}

static const struct option_row series_rows[] = {
    REMOTE_ROW("follow", 'f', OPTION_FLAG, follow, NULL, "go on until the job ends"),
    REMOTE_ROW("rank", 0, OPTION_STRING, rank, "N", "only of this rank"),
    REMOTE_PAGE_ROWS,
    REMOTE_ROWS,
};

static const struct column log_columns[] = {
    {"time", "time_ms", COLUMN_TIME}, {"rank", "rank", COLUMN_TEXT}, {"text", "text", COLUMN_TEXT}};
static const struct column metric_columns[] = {{"time", "time_ms", COLUMN_TIME},
                                               {"step", "step", COLUMN_TEXT},
                                               {"values", "values", COLUMN_TEXT}};
static const struct column event_columns[] = {{"time", "time_ms", COLUMN_TIME},
                                              {"kind", "kind", COLUMN_TEXT},
                                              {"message", "message", COLUMN_TEXT}};

static const struct remote logs_remote = {
    .route = ROUTE_JOB_LOGS, .fields = {"id"}, .list = "lines", REMOTE_COLUMNS(log_columns)};
static const struct remote metrics_remote = {
    .route = ROUTE_JOB_METRICS, .fields = {"id"}, .list = "points", REMOTE_COLUMNS(metric_columns)};
static const struct remote events_remote = {
    .route = ROUTE_JOB_EVENTS, .fields = {"id"}, .list = "events", REMOTE_COLUMNS(event_columns)};

#define SERIES_COMMAND(table)                                                                      \
    .arguments = {{.placeholder = "JOB"}}, OPTION_ROWS(series_rows),                               \
    .options_size = sizeof(struct remote_options), .remote = &(table), .run = series_run

const struct command cmd_logs = {.noun = "logs",
                                 .summary = "Print what a job writes (tailor job logs)",
                                 .example = "tailor logs j-17 -f",
                                 SERIES_COMMAND(logs_remote)};
const struct command cmd_job_logs = {.noun = "job",
                                     .verb = "logs",
                                     .summary = "Print what the ranks of a job write",
                                     .example = "tailor job logs j-17 -f --rank 0",
                                     SERIES_COMMAND(logs_remote)};
const struct command cmd_job_metrics = {.noun = "job",
                                        .verb = "metrics",
                                        .summary = "Print the curves of a job, a point a line",
                                        .example = "tailor job metrics j-17 -o jsonl",
                                        SERIES_COMMAND(metrics_remote)};
const struct command cmd_job_events = {.noun = "job",
                                       .verb = "events",
                                       .summary = "Print what happened to a job",
                                       .example = "tailor job events j-17 -f",
                                       SERIES_COMMAND(events_remote)};
