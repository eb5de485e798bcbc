/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor job rows: the groups that a model gets most wrong, of a run on this machine or of a job.
 */
#include <string.h>

#include "client/commands.h"
#include "client/dual.h"
#include "lib/file.h"
#include "proto/ident.h"

/* ---- of a run -------------------------------------------------------------------------------- */

static const struct option_row run_rows[] = {
    OFFLINE_ROW("worst", 0, OPTION_STRING, worst, "N", "how many; default 20"),
};
static const struct command of_run = {
    .noun = "job", .verb = "rows", OPTION_ROWS(run_rows), .trainer_verb = "rows", OFFLINE_COMMAND};

/* ---- of a job -------------------------------------------------------------------------------- */

static const struct column columns[] = {
    {"set", "set", COLUMN_TEXT},       {"line", "line", COLUMN_TEXT},
    {"pairs", "pairs", COLUMN_TEXT},   {"wrong", "wrong", COLUMN_TEXT},
    {"margin", "margin", COLUMN_TEXT}, {"rewards", "rows", COLUMN_REWARDS},
    {"score", "score", COLUMN_TEXT},   {"scores", "scores", COLUMN_TEXT},
    {"texts", "texts", COLUMN_TEXTS},
};
static const struct remote remote = {
    .route = ROUTE_JOB_ROWS, .fields = {"id"}, .list = "rows", REMOTE_COLUMNS(columns)};

/* Only columns that some row has: those of an evaluation are not those of a scoring. */
static enum status print(const struct call *call, const json_t *reply, struct error *error)
{
    struct column used[sizeof(columns) / sizeof(columns[0])];
    struct remote shown = remote;
    const json_t *rows = json_object_get(reply, "rows");
    shown.columns = used;
    shown.column_count = 0;
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
        bool any = json_array_size(rows) == 0;
        for (size_t k = 0; k < json_array_size(rows); k++) {
            any |= json_object_get(json_array_get(rows, k), columns[i].field) != NULL;
        }
        if (any) {
            used[shown.column_count++] = columns[i];
        }
    }
    return remote_print(call, &shown, reply, error);
}

static enum status of_job_in(struct arena *arena, const struct call *call, struct error *error)
{
    struct service service;
    ProtobufCMessage *request;
    json_t *reply;
    TRY(remote_open(arena, call, &service, error));
    TRY(remote_request(call, &service, &remote, &request, error));
    Api__JobRequest *rows = (Api__JobRequest *)request;
    if (!rows->has_worst && !rows->has_limit && !rows->has_after) {
        rows->has_worst = true;
        rows->worst = 20;
    }
    TRY(service_call(&service, ROUTE_JOB_ROWS, request, &reply, error));
    enum status status = print(call, reply, error);
    json_decref(reply);
    return status;
}

static enum status of_job_run(const struct call *call, struct error *error)
{
    return remote_within(of_job_in, call, error);
}

static const struct option_row job_rows[] = {REMOTE_PAGE_ROWS, REMOTE_ROWS};
static const struct command of_job = {
    .noun = "job", .verb = "rows", OPTION_ROWS(job_rows), .remote = &remote, .run = of_job_run};

/* ---- which ----------------------------------------------------------------------------------- */

static enum status run(const struct call *call, struct error *error)
{
    int64_t id;
    const char *argument = call->arguments[0];
    struct dual_options options = *(const struct dual_options *)call->options;
    struct call own = *call;
    own.options = &options;
    own.globals = &options.offline.globals;
    if (ident_parse(IDENT_JOB, argument, &id, NULL) == STATUS_OK) {
        options.remote.worst = options.offline.worst;
        return dual_run(&own, &of_job, true, error);
    }
    if (!dir_exists(argument)) {
        return dual_neither(argument, error);
    }
    return dual_run(&own, &of_run, false, error);
}

static const struct option_row rows[] = {
    OFFLINE_ROW("worst", 0, OPTION_STRING, worst, "N", "how many; default 20"),
    DUAL_ROW("limit", 'n', OPTION_STRING, limit, "N", "of a job: in order, so many"),
    DUAL_ROW("after", 0, OPTION_STRING, after, "N", "of a job: the page behind this one"),
    DUAL_ROWS,
};

const struct command cmd_job_rows = {
    .noun = "job",
    .verb = "rows",
    .summary = "List the rows that a model gets most wrong, of a run or a job",
    .details =
        "RUN is a directory of tailor run, JOB an id of the service. Of a job of stage score, "
        "the rewards in order.",
    .example = "tailor job rows j-17 --worst 20",
    .arguments = {{.placeholder = "RUN|JOB"}},
    OPTION_ROWS(rows),
    .options_size = sizeof(struct dual_options),
    .run = run};
