/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor top and cluster df: pictures that are put together from several answers.
 *
 * top asks for the cluster and its live jobs, again and again on a terminal, once in a pipe. What a
 * token may not see (the workers are an administrator's) is left out.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/commands.h"
#include "client/remote.h"
#include "lib/text.h"

enum { EVERY_S = 2, PATIENCE_MS = 300000 };
#define CLEAR "\x1b[H\x1b[2J"

static int64_t number(const json_t *object, const char *field)
{
    return json_integer_value(json_object_get(object, field));
}

/* ---- top ---- */
static const struct column job_columns[] = {
    {"id", "id", COLUMN_TEXT},
    {"name", "name", COLUMN_TEXT},
    {"tenant", "tenant", COLUMN_TEXT},
    {"state", "state", COLUMN_TEXT},
    {"step", "step", COLUMN_TEXT},
    {"of", "steps_total", COLUMN_TEXT},
    {"since", "state_since_ms", COLUMN_AGE},
    {"waits for", "waiting_reason", COLUMN_TEXT},
};
static const struct column worker_columns[] = {
    {"worker", "name", COLUMN_TEXT}, {"state", "state", COLUMN_TEXT},
    {"slots", "slots", COLUMN_TEXT}, {"busy", "slots_busy", COLUMN_TEXT},
    {"pool", "pool", COLUMN_TEXT},   {"seen", "last_seen_ms", COLUMN_AGE},
};
static const struct remote jobs_remote = {
    .route = ROUTE_JOB_LIST, .list = "jobs", REMOTE_COLUMNS(job_columns)};
static const struct remote workers_remote = {
    .route = ROUTE_WORKER_LIST, .list = "workers", REMOTE_COLUMNS(worker_columns)};

static void print_head(const json_t *cluster)
{
    char up[16], disk[16];
    format_duration((double)number(cluster, "uptime_ms") / 1000, up);
    format_bytes((double)number(cluster, "store_free_bytes"), disk);
    printf(
        "cluster %s, up %s: %" PRId64 " of %" PRId64 " slots busy on %" PRId64 " workers (%" PRId64
        " lost), %" PRId64 " jobs run, %" PRId64 " wait, goodput %.0f %%, store %s free\n\n",
        remote_text(cluster, "cluster"), up, number(cluster, "slots_busy"),
        number(cluster, "slots"), number(cluster, "workers_live"), number(cluster, "workers_lost"),
        number(cluster, "jobs_running"), number(cluster, "jobs_queued"),
        100 * json_number_value(json_object_get(cluster, "goodput")), disk);
}

static enum status ask_jobs(const struct service *service, json_t **reply_out, struct error *error)
{
    static const char *const live[] = {"queued", "starting",   "running",   "pausing",
                                       "paused", "recovering", "cancelling"};
    ProtobufCMessage *request = service_request(service, ROUTE_JOB_LIST);
    for (size_t i = 0; i < sizeof(live) / sizeof(live[0]); i++) {
        TRY(remote_put(service, request, "state", live[i], error));
    }
    return service_insist(service, ROUTE_JOB_LIST, request, PATIENCE_MS, reply_out, error);
}

static enum status look(const struct call *call, const struct service *service, bool terminal,
                        struct error *error)
{
    const struct remote_options *options = call->options;
    json_t *cluster, *jobs, *workers;
    enum table_format format;
    TRY(call_format(call, TABLE_FORMAT_TABLE, &format, error));
    TRY(service_insist(service, ROUTE_CLUSTER, service_request(service, ROUTE_CLUSTER), PATIENCE_MS,
                       &cluster, error));
    enum status status = ask_jobs(service, &jobs, error);
    if (status == STATUS_OK) {
        bool people = format == TABLE_FORMAT_TABLE;
        fputs(terminal ? CLEAR : "", stdout);
        if (people) {
            print_head(cluster);
        }
        if (people && !options->columns &&
            service_call(service, ROUTE_WORKER_LIST, service_request(service, ROUTE_WORKER_LIST),
                         &workers, error) == STATUS_OK) {
            status = remote_print(call, &workers_remote, workers, error);
            putchar('\n');
            json_decref(workers);
        }
        status = status == STATUS_OK ? remote_print(call, &jobs_remote, jobs, error) : status;
        json_decref(jobs);
    }
    json_decref(cluster);
    return status;
}

static enum status top_in(struct arena *arena, const struct call *call, struct error *error)
{
    const struct remote_options *options = call->options;
    struct service service;
    bool terminal = isatty(STDOUT_FILENO) == 1;
    TRY(remote_open(arena, call, &service, error));
    for (;;) {
        TRY(look(call, &service, terminal, error));
        if (!terminal && !options->watch) {
            return STATUS_OK;
        }
        fflush(stdout);
        sleep(EVERY_S);
    }
}

static enum status top_run(const struct call *call, struct error *error)
{
    return remote_within(top_in, call, error);
}

static const struct option_row top_rows[] = {REMOTE_WATCH_ROW, REMOTE_ROWS};

#define TOP_COMMAND                                                                                \
    .details = "On a terminal again and again until Ctrl-C, in a pipe once.",                      \
    OPTION_ROWS(top_rows), .options_size = sizeof(struct remote_options), .run = top_run

const struct command cmd_top = {.noun = "top",
                                .summary = "Watch workers and live jobs (tailor cluster top)",
                                .example = "tailor top",
                                TOP_COMMAND};
const struct command cmd_cluster_top = {.noun = "cluster",
                                        .verb = "top",
                                        .summary = "Watch workers and live jobs",
                                        .example = "tailor cluster top",
                                        TOP_COMMAND};

/* ---- df ---- */
static const struct column df_columns[] = {
    {"whose", "name", COLUMN_TEXT},
    {"bytes", "bytes", COLUMN_BYTES},
    {"at most", "bytes_max", COLUMN_BYTES},
};
static const struct remote df_remote = {
    .route = ROUTE_TENANT_LIST, .list = "tenants", REMOTE_COLUMNS(df_columns)};

static void add_row(json_t *rows, const char *name, int64_t bytes)
{
    json_array_append_new(rows, json_pack("{s:s, s:I}", "name", name, "bytes", (json_int_t)bytes));
}

static enum status df_in(struct arena *arena, const struct call *call, struct error *error)
{
    struct service service;
    json_t *tenants, *cluster;
    int64_t sum = 0;
    TRY(remote_open(arena, call, &service, error));
    TRY(service_call(&service, ROUTE_CLUSTER, service_request(&service, ROUTE_CLUSTER), &cluster,
                     error));
    enum status status = service_call(
        &service, ROUTE_TENANT_LIST, service_request(&service, ROUTE_TENANT_LIST), &tenants, error);
    if (status == STATUS_OK) {
        json_t *rows = json_object_get(tenants, "tenants");
        for (size_t i = 0; i < json_array_size(rows); i++) {
            sum += number(json_array_get(rows, i), "bytes");
        }
        if (number(cluster, "store_bytes") > sum) {
            add_row(rows, "(the bases)", number(cluster, "store_bytes") - sum);
        }
        add_row(rows, "(free)", number(cluster, "store_free_bytes"));
        status = remote_print(call, &df_remote, tenants, error);
        json_decref(tenants);
    }
    json_decref(cluster);
    return status;
}

static enum status df_run(const struct call *call, struct error *error)
{
    return remote_within(df_in, call, error);
}

static const struct option_row df_rows[] = {REMOTE_ROWS};

const struct command cmd_cluster_df = {.noun = "cluster",
                                       .verb = "df",
                                       .summary = "Show who has how much in the store",
                                       .example = "tailor cluster df",
                                       OPTION_ROWS(df_rows),
                                       .options_size = sizeof(struct remote_options),
                                       .run = df_run};
