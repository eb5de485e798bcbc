/* SPDX-License-Identifier: Apache-2.0
 *
 * What a job writes while it runs, and what happens in the cluster: logs, metrics, events, as pages
 * or followed.
 */
#include <inttypes.h>
#include <string.h>

#include "client/commands.h"
#include "client/remote.h"
#include "client/tensorboard.h"
#include "lib/text.h"

enum { PATIENCE_MS = 300000 };

/* ---- series ---- */
struct follow {
    const struct call *call;
    enum table_format format;
    int64_t since_ms; /* what is older is passed over */
    struct column columns[TABLE_COLUMNS_MAX];
    int column_count;
    json_t *entries; /* collects them, instead of printing; NULL: prints */
    struct tensorboard board;
    enum status status; /* of writing there */
    struct error error;
};

/* One entry as a line for people: the columns with two blanks between. */
static void print_line(const struct follow *follow, const json_t *entry)
{
    for (int i = 0; i < follow->column_count; i++) {
        struct buf cell = {0};
        char clean[4096];
        remote_cell(entry, &follow->columns[i], &cell);
        text_clean(cell.data ? cell.data : "", clean, sizeof(clean));
        printf("%s%s", i > 0 ? "  " : "", clean);
        buf_release(&cell);
    }
    putchar('\n');
}

static void take_entry(void *context, const json_t *entry)
{
    struct follow *follow = context;
    const struct remote_options *options = follow->call->options;
    if (json_integer_value(json_object_get(entry, "time_ms")) < follow->since_ms) {
        return;
    }
    if (options->tensorboard) {
        /* A stream cannot be ended from here: what comes behind a failure is passed over. */
        if (follow->status == STATUS_OK) {
            follow->status = tensorboard_add(&follow->board, options->tensorboard,
                                             follow->call->arguments[0], entry, &follow->error);
        }
        return;
    }
    if (follow->entries) {
        json_array_append(follow->entries, (json_t *)entry);
    } else if (follow->format == TABLE_FORMAT_TABLE) {
        print_line(follow, entry);
    } else if (follow->format == TABLE_FORMAT_YAML) {
        puts("---");
        remote_value(entry, follow->format);
    } else {
        remote_value(entry, TABLE_FORMAT_JSONL);
    }
    fflush(stdout);
}

static enum status pages(struct arena *arena, const struct call *call,
                         const struct service *service, ProtobufCMessage *request,
                         struct follow *follow, struct error *error)
{
    const struct remote_options *options = call->options;
    const struct remote *remote = call->command->remote;
    const ProtobufCFieldDescriptor *after =
        protobuf_c_message_descriptor_get_field_by_name(request->descriptor, "after");
    bool more = true;
    while (more) {
        json_t *reply;
        TRY(service_call(service, remote->route, request, &reply, error));
        const json_t *list = json_object_get(reply, remote->list);
        for (size_t i = 0; i < json_array_size(list); i++) {
            take_entry(follow, json_array_get(list, i));
        }
        const json_t *next = json_object_get(reply, "next");
        more = json_array_size(list) > 0 && json_is_integer(next) && !options->limit;
        message_put_i64(arena, request, after, json_integer_value(next));
        json_decref(reply);
    }
    return STATUS_OK;
}

/* What is one document, or one table, is printed when all of it is there. */
static enum status collect(struct arena *arena, const struct call *call,
                           const struct service *service, ProtobufCMessage *request,
                           struct follow *follow, struct error *error)
{
    follow->entries = json_array();
    json_t *all = json_pack("{s:o}", call->command->remote->list, follow->entries);
    enum status status = pages(arena, call, service, request, follow, error);
    if (status == STATUS_OK) {
        status = remote_print(call, call->command->remote, all, error);
    }
    json_decref(all);
    return status;
}

static enum status entries_read(struct arena *arena, const struct call *call,
                                const struct service *service, ProtobufCMessage *request,
                                struct follow *follow, struct error *error)
{
    const struct remote_options *options = call->options;
    if (options->follow) {
        return service_follow(service, call->command->remote->route, request, PATIENCE_MS,
                              take_entry, follow, error);
    }
    bool lines = follow->format == TABLE_FORMAT_TABLE || follow->format == TABLE_FORMAT_JSONL ||
                 options->tensorboard;
    return lines ? pages(arena, call, service, request, follow, error)
                 : collect(arena, call, service, request, follow, error);
}

/* Says where the curves are. */
static enum status board_end(struct follow *follow, enum status status, struct error *error)
{
    enum status closed = tensorboard_close(&follow->board, &follow->error);
    if (status == STATUS_OK && follow->status == STATUS_OK) {
        follow->status = closed;
    }
    if (status == STATUS_OK && follow->status != STATUS_OK) {
        *error = follow->error;
        return follow->status;
    }
    if (status == STATUS_OK && follow->board.points == 0) {
        puts("the job has no points yet: nothing was written; --follow waits for them");
    } else if (status == STATUS_OK) {
        printf("%" PRId64 " points in %s\n", follow->board.points, follow->board.path);
    }
    return status;
}

static enum status series(struct arena *arena, const struct call *call, struct error *error)
{
    const struct remote_options *options = call->options;
    const struct remote *remote = call->command->remote;
    struct follow follow = {.call = call};
    struct service service;
    ProtobufCMessage *request;
    TRY(call_format(call, TABLE_FORMAT_TABLE, &follow.format, error));
    TRY(remote_columns(arena, call, remote, follow.columns, &follow.column_count, error));
    TRY(remote_since(call, &follow.since_ms, error));
    TRY(remote_open(arena, call, &service, error));
    TRY(remote_request(call, &service, remote, &request, error));
    enum status status = entries_read(arena, call, &service, request, &follow, error);
    return options->tensorboard ? board_end(&follow, status, error) : status;
}

static enum status series_run(const struct call *call, struct error *error)
{
    return remote_within(series, call, error);
}

static const struct option_row series_rows[] = {
    REMOTE_ROW("follow", 'f', OPTION_FLAG, follow, NULL, "go on until the job ends"),
    REMOTE_ROW("rank", 0, OPTION_STRING, rank, "N", "only of this rank"),
    REMOTE_ROW("since", 0, OPTION_STRING, since, "TIME", "only what is younger, such as 10m"),
    REMOTE_PAGE_ROWS,
    REMOTE_ROWS,
};
static const struct option_row metric_rows[] = {
    REMOTE_ROW("follow", 'f', OPTION_FLAG, follow, NULL, "go on until the job ends"),
    REMOTE_ROW("since", 0, OPTION_STRING, since, "TIME", "only what is younger, such as 10m"),
    REMOTE_ROW("tensorboard", 0, OPTION_STRING, tensorboard, "PATH",
               "write an event file below PATH instead; with --follow while the job runs"),
    REMOTE_PAGE_ROWS,
    REMOTE_ROWS,
};
static const struct option_row cluster_rows[] = {
    REMOTE_ROW("follow", 'f', OPTION_FLAG, follow, NULL, "go on until Ctrl-C"),
    REMOTE_ROW("since", 0, OPTION_STRING, since, "TIME", "only what is younger, such as 8h"),
    REMOTE_PAGE_ROWS,
    REMOTE_ROWS,
};
static const struct option_row audit_rows[] = {
    REMOTE_ROW("since", 0, OPTION_STRING, since, "TIME", "only what is younger, such as 8h"),
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

static const struct column cluster_event_columns[] = {
    {"time", "time_ms", COLUMN_TIME},    {"tenant", "tenant", COLUMN_TEXT},
    {"job", "job_id", COLUMN_TEXT},      {"kind", "kind", COLUMN_TEXT},
    {"message", "message", COLUMN_TEXT},
};
static const struct column audit_columns[] = {
    {"time", "time_ms", COLUMN_TIME},    {"actor", "actor", COLUMN_TEXT},
    {"tenant", "tenant", COLUMN_TEXT},   {"action", "action", COLUMN_TEXT},
    {"object", "object", COLUMN_TEXT},   {"result", "result", COLUMN_TEXT},
    {"address", "address", COLUMN_TEXT},
};

static const struct remote logs_remote = {
    .route = ROUTE_JOB_LOGS, .fields = {"id"}, .list = "lines", REMOTE_COLUMNS(log_columns)};
static const struct remote metrics_remote = {
    .route = ROUTE_JOB_METRICS, .fields = {"id"}, .list = "points", REMOTE_COLUMNS(metric_columns)};
static const struct remote events_remote = {
    .route = ROUTE_JOB_EVENTS, .fields = {"id"}, .list = "events", REMOTE_COLUMNS(event_columns)};

#define SERIES_COMMAND(table, rows)                                                                \
    .arguments = {{.placeholder = "JOB"}}, OPTION_ROWS(rows),                                      \
    .options_size = sizeof(struct remote_options), .remote = &(table), .run = series_run

const struct command cmd_logs = {.noun = "logs",
                                 .summary = "Print what a job writes (tailor job logs)",
                                 .example = "tailor logs j-17 -f",
                                 SERIES_COMMAND(logs_remote, series_rows)};
const struct command cmd_job_logs = {.noun = "job",
                                     .verb = "logs",
                                     .summary = "Print what the ranks of a job write",
                                     .example = "tailor job logs j-17 -f --rank 0",
                                     SERIES_COMMAND(logs_remote, series_rows)};
const struct command cmd_job_metrics = {.noun = "job",
                                        .verb = "metrics",
                                        .summary = "Print the curves of a job, a point a line",
                                        .example =
                                            "tailor job metrics j-17 --tensorboard runs --follow",
                                        SERIES_COMMAND(metrics_remote, metric_rows)};
const struct command cmd_job_events = {.noun = "job",
                                       .verb = "events",
                                       .summary = "Print what happened to a job",
                                       .example = "tailor job events j-17 -f",
                                       SERIES_COMMAND(events_remote, series_rows)};

/* ---- of the cluster ---- */
static const struct remote cluster_events_remote = {
    .route = ROUTE_EVENTS, .list = "events", REMOTE_COLUMNS(cluster_event_columns)};
static const struct remote audit_remote = {
    .route = ROUTE_AUDIT, .list = "entries", REMOTE_COLUMNS(audit_columns)};

const struct command cmd_cluster_events = {.noun = "cluster",
                                           .verb = "events",
                                           .summary = "Print all that happened, in one stream",
                                           .example = "tailor cluster events -f --since 8h",
                                           OPTION_ROWS(cluster_rows),
                                           .options_size = sizeof(struct remote_options),
                                           .remote = &cluster_events_remote,
                                           .run = series_run};

const struct command cmd_cluster_audit = {.noun = "cluster",
                                          .verb = "audit",
                                          .summary = "Print who did what, and what came of it",
                                          .details = "It is only ever added to.",
                                          .example = "tailor cluster audit --since 24h -o jsonl",
                                          OPTION_ROWS(audit_rows),
                                          .options_size = sizeof(struct remote_options),
                                          .remote = &audit_remote,
                                          .run = series_run};
