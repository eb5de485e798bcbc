/* SPDX-License-Identifier: Apache-2.0
 *
 * Jobs of the service, looked at and steered. (cmd_submit.c makes them, cmd_follow.c
 * follows, cmd_wait.c waits; cmd_job.c is about specs and runs without a service.) `tailor ls`,
 * `show` and `cancel` are `tailor job list`, `show` and `cancel`.
 */
#include <stdio.h>
#include <string.h>

#include "client/commands.h"
#include "client/remote.h"
#include "lib/text.h"

static const struct column job_columns[] = {
    {"id", "id", COLUMN_TEXT},
    {"name", "name", COLUMN_TEXT},
    {"tenant", "tenant", COLUMN_TEXT},
    {"stage", "stage", COLUMN_TEXT},
    {"state", "state", COLUMN_TEXT},
    {"step", "step", COLUMN_TEXT},
    {"of", "steps_total", COLUMN_TEXT},
    {"age", "created_ms", COLUMN_AGE},
    {"waits for", "waiting_reason", COLUMN_TEXT},
    {"queue", "queue", COLUMN_TEXT | COLUMN_WIDE},
    {"priority", "priority", COLUMN_TEXT | COLUMN_WIDE},
    {"from", "from", COLUMN_TEXT | COLUMN_WIDE},
    {"model", "output_model", COLUMN_TEXT | COLUMN_WIDE},
    {"version", "output_version", COLUMN_TEXT | COLUMN_WIDE},
    {"gate", "gate_decision", COLUMN_TEXT | COLUMN_WIDE},
    {"failure", "failure_class", COLUMN_TEXT | COLUMN_WIDE},
    {"submitter", "submitter", COLUMN_TEXT | COLUMN_WIDE},
    {"labels", "labels", COLUMN_TEXT | COLUMN_WIDE},
};

/* ---- list ---- */
#define SELECT_ROWS                                                                                \
    REMOTE_ROW("state", 0, OPTION_LIST, state, "STATE",                                            \
               "queued, running, succeeded, failed, ...; may repeat"),                             \
        REMOTE_ROW("label", 'l', OPTION_LIST, label, "KEY=VALUE",                                  \
                   "only jobs with it; may repeat"),                                               \
        REMOTE_ROW("since", 0, OPTION_STRING, since, "TIME",                                       \
                   "only jobs submitted since, such as 8h"),                                       \
        REMOTE_ROW("stage", 0, OPTION_STRING, stage, "STAGE", "lm, general, customize, ..."),      \
        REMOTE_ROW("queue", 0, OPTION_STRING, queue, "NAME", "only of this queue")

static const struct option_row list_rows[] = {
    SELECT_ROWS,
    REMOTE_ROW("shards-of", 0, OPTION_STRING, shards_of, "JOB",
               "the shards of a job; they are not listed otherwise"),
    REMOTE_PAGE_ROWS,
    REMOTE_WATCH_ROW,
    REMOTE_ROWS,
};

static const struct remote list_remote = {
    .route = ROUTE_JOB_LIST, .list = "jobs", REMOTE_COLUMNS(job_columns)};

const struct command cmd_job_list = {.noun = "job",
                                     .verb = "list",
                                     .summary = "List jobs, newest first",
                                     .example = "tailor job list --state running -l team=support",
                                     OPTION_ROWS(list_rows),
                                     .remote = &list_remote,
                                     REMOTE_COMMAND};

const struct command cmd_ls = {.noun = "ls",
                               .summary = "List jobs, newest first (tailor job list)",
                               .example = "tailor ls --state running",
                               OPTION_ROWS(list_rows),
                               .remote = &list_remote,
                               REMOTE_COMMAND};

/* ---- show ---- */
static const struct option_row job_rows[] = {REMOTE_WATCH_ROW, REMOTE_ROWS};

static const struct remote show_remote = {.route = ROUTE_JOB_SHOW, .fields = {"id"}};

const struct command cmd_job_show = {.noun = "job",
                                     .verb = "show",
                                     .summary = "Show a job; -o json has its resolved spec",
                                     .example = "tailor job show j-17",
                                     .arguments = {{.placeholder = "JOB"}},
                                     OPTION_ROWS(job_rows),
                                     .remote = &show_remote,
                                     REMOTE_COMMAND};

const struct command cmd_show = {.noun = "show",
                                 .summary = "Show a job (tailor job show)",
                                 .example = "tailor show j-17",
                                 .arguments = {{.placeholder = "JOB"}},
                                 OPTION_ROWS(job_rows),
                                 .remote = &show_remote,
                                 REMOTE_COMMAND};

/* ---- verbs: of one job, or of all that are selected ---- */
static bool selects(const struct remote_options *options)
{
    return options->state.count > 0 || options->label.count > 0 || options->since ||
           options->stage || options->queue;
}

/* Asked of each; what one refuses does not keep the next from it. */
static enum status apply(const struct call *call, const struct service *service, const json_t *jobs,
                         json_t *changed, struct error *error)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < json_array_size(jobs); i++) {
        const char *id = remote_text(json_array_get(jobs, i), "id");
        ProtobufCMessage *request = service_request(service, call->command->remote->route);
        struct error cause;
        json_t *reply;
        TRY(remote_put(service, request, "id", arena_strdup(service->arena, id), error));
        enum status one =
            service_call(service, call->command->remote->route, request, &reply, &cause);
        if (one == STATUS_OK) {
            json_array_append_new(changed, reply);
        } else {
            status = error_set(error, one, "%s: %s", id, cause.text);
            fprintf(stderr, "%s: %s\n", id, cause.text);
        }
    }
    return status;
}

/* The newest PAGE_MAX that the options select. */
static enum status select_jobs(const struct call *call, const struct service *service,
                               json_t **reply_out, struct error *error)
{
    ProtobufCMessage *request;
    TRY(remote_request(call, service, &list_remote, &request, error));
    if (!((Api__JobListRequest *)request)->has_limit) {
        TRY(remote_put(service, request, "limit", "1000", error));
    }
    return service_call(service, ROUTE_JOB_LIST, request, reply_out, error);
}

static enum status verb_on_all(const struct call *call, const struct service *service,
                               struct error *error)
{
    const struct remote *remote = call->command->remote;
    char what[96];
    json_t *reply;
    TRY(select_jobs(call, service, &reply, error));
    const json_t *jobs = json_object_get(reply, "jobs");
    size_t count = json_array_size(jobs);
    const char *verb = call->command->verb ? call->command->verb : call->command->noun;
    snprintf(what, sizeof(what), "%s %zu job%s", verb, count, count == 1 ? "" : "s");
    enum status status = count > 0 ? remote_confirm(call, what, error) : STATUS_OK;
    if (status == STATUS_OK) {
        json_t *changed = json_array();
        status = apply(call, service, jobs, changed, error);
        json_t *rows = json_pack("{s:o}", "jobs", changed);
        const struct remote shown = {.route = ROUTE_JOB_LIST,
                                     .list = "jobs",
                                     .columns = remote->columns,
                                     .column_count = remote->column_count};
        enum status printed = remote_print(call, &shown, rows, error);
        status = status == STATUS_OK ? printed : status;
        json_decref(rows);
    }
    json_decref(reply);
    return status;
}

static enum status verb_in(struct arena *arena, const struct call *call, struct error *error)
{
    const struct remote_options *options = call->options;
    struct service service;
    ProtobufCMessage *request;
    TRY(remote_open(arena, call, &service, error));
    if (call->argument_count == 0) {
        return selects(options)
                   ? verb_on_all(call, &service, error)
                   : error_set(error, STATUS_USAGE,
                               "say which: JOB, or all that -l, --state, --since, --stage or "
                               "--queue select");
    }
    if (selects(options)) {
        return error_set(error, STATUS_USAGE, "either JOB or what selects several, not both");
    }
    TRY(remote_request(call, &service, call->command->remote, &request, error));
    return remote_show(call, &service, call->command->remote, request, error);
}

static enum status verb_run(const struct call *call, struct error *error)
{
    return remote_within(verb_in, call, error);
}

static const struct option_row verb_rows[] = {
    SELECT_ROWS,
    REMOTE_ROW("limit", 'n', OPTION_STRING, limit, "N", "how many at most; default 1000"),
    REMOTE_YES_ROW,
    REMOTE_ROWS,
};

#define VERB_COMMAND(name)                                                                         \
    .details = "Without JOB: every job that the options select, such as -l team=support.",         \
    .arguments = {{.placeholder = "JOB", .optional = true}}, OPTION_ROWS(verb_rows),               \
    .options_size = sizeof(struct remote_options), .remote = &name##_remote, .run = verb_run

#define JOB_VERB(name, word, route_id, sentence)                                                   \
    static const struct remote name##_remote = {                                                   \
        .route = route_id, .fields = {"id"}, REMOTE_COLUMNS(job_columns)};                         \
    const struct command cmd_job_##name = {.noun = "job",                                          \
                                           .verb = word,                                           \
                                           .summary = sentence,                                    \
                                           .example = "tailor job " word " j-17",                  \
                                           VERB_COMMAND(name)}

JOB_VERB(cancel, "cancel", ROUTE_JOB_CANCEL, "Cancel a job; its checkpoints stay for a while");
JOB_VERB(pause, "pause", ROUTE_JOB_PAUSE, "Checkpoint a job and give its slots to others");
JOB_VERB(resume, "resume", ROUTE_JOB_RESUME, "Put a paused job back into its queue");
JOB_VERB(retry, "retry", ROUTE_JOB_RETRY, "Queue a failed or cancelled job again, as a new one");

const struct command cmd_cancel = {.noun = "cancel",
                                   .summary = "Cancel a job (tailor job cancel)",
                                   .example = "tailor cancel j-17",
                                   VERB_COMMAND(cancel)};

static const struct option_row priority_rows[] = {REMOTE_ROWS};
static const struct remote priority_remote = {
    .route = ROUTE_JOB_PRIORITY, .fields = {"id", "priority"}, REMOTE_COLUMNS(job_columns)};

const struct command cmd_job_priority = {
    .noun = "job",
    .verb = "priority",
    .summary = "Change the priority of a job within its tenant's share",
    .details = "From -1000 to 1000, the greater first; write a negative one behind --.",
    .example = "tailor job priority j-17 50",
    .arguments = {{.placeholder = "JOB"}, {.placeholder = "N"}},
    OPTION_ROWS(priority_rows),
    .remote = &priority_remote,
    REMOTE_COMMAND};

/* ---- attempts and checkpoints ---- */
static const struct column attempt_columns[] = {
    {"term", "term", COLUMN_TEXT},           {"state", "state", COLUMN_TEXT},
    {"why it began", "reason", COLUMN_TEXT}, {"begun", "created_ms", COLUMN_TIME},
    {"ended", "finished_ms", COLUMN_TIME},   {"from step", "first_step", COLUMN_TEXT},
    {"to step", "last_step", COLUMN_TEXT},   {"failure", "failure_message", COLUMN_TEXT},
};
static const struct remote attempts_remote = {.route = ROUTE_JOB_ATTEMPTS,
                                              .fields = {"id"},
                                              .list = "attempts",
                                              REMOTE_COLUMNS(attempt_columns)};

const struct command cmd_job_attempts = {.noun = "job",
                                         .verb = "attempts",
                                         .summary =
                                             "List the attempts of a job, and why each began",
                                         .example = "tailor job attempts j-17",
                                         .arguments = {{.placeholder = "JOB"}},
                                         OPTION_ROWS(job_rows),
                                         .remote = &attempts_remote,
                                         REMOTE_COMMAND};

static const struct column checkpoint_columns[] = {
    {"step", "step", COLUMN_TEXT},         {"term", "term", COLUMN_TEXT},
    {"bytes", "bytes", COLUMN_BYTES},      {"made", "created_ms", COLUMN_TIME},
    {"manifest", "manifest", COLUMN_TEXT}, {"best", "best", COLUMN_TEXT},
};
static const struct remote checkpoints_remote = {.route = ROUTE_JOB_CHECKPOINTS,
                                                 .fields = {"id"},
                                                 .list = "checkpoints",
                                                 REMOTE_COLUMNS(checkpoint_columns)};

const struct command cmd_job_checkpoints = {.noun = "job",
                                            .verb = "checkpoints",
                                            .summary = "List the checkpoints of a job",
                                            .example = "tailor job checkpoints j-17",
                                            .arguments = {{.placeholder = "JOB"}},
                                            OPTION_ROWS(job_rows),
                                            .remote = &checkpoints_remote,
                                            REMOTE_COMMAND};

/* ---- why ---- */
static void put_since(const json_t *job, FILE *out)
{
    struct buf age = {0};
    remote_cell(job, &(struct column){"", "waiting_since_ms", COLUMN_AGE}, &age);
    if (age.length > 0) {
        fprintf(out, ", for %s", age.data);
    }
    buf_release(&age);
}

/* One sentence: what it waits for and since when, or what became of it. */
static void explain(const json_t *job, FILE *out)
{
    char line[1024];
    const char *id = remote_text(job, "id"), *state = remote_text(job, "state");
    const char *detail = remote_text(job, "waiting_detail"),
               *message = remote_text(job, "failure_message");
    if (strcmp(state, "failed") == 0) {
        text_clean(message, line, sizeof(line));
        fprintf(out, "%s failed (%s): %s\n", id, remote_text(job, "failure_class"), line);
        text_clean(remote_text(job, "failure_hint"), line, sizeof(line));
        fprintf(out, "%s%s", line, line[0] ? "\n" : "");
    } else if (strcmp(state, "succeeded") == 0 || strcmp(state, "cancelled") == 0) {
        fprintf(out, "%s is over: %s\n", id, state);
    } else if (detail[0]) {
        text_clean(detail, line, sizeof(line));
        fprintf(out, "%s is %s (%s", id, state, remote_text(job, "waiting_reason"));
        put_since(job, out);
        fprintf(out, "): %s\n", line);
    } else if (remote_text(job, "waiting_reason")[0]) {
        fprintf(out, "%s is %s: it waits for %s", id, state, remote_text(job, "waiting_reason"));
        put_since(job, out);
        fputc('\n', out);
    } else {
        fprintf(out, "%s is %s; nothing holds it up\n", id, state);
    }
}

static enum status why_in(struct arena *arena, const struct call *call, struct error *error)
{
    const struct remote *remote = call->command->remote;
    struct service service;
    ProtobufCMessage *request;
    enum table_format format;
    json_t *job;
    TRY(call_format(call, TABLE_FORMAT_TABLE, &format, error));
    TRY(remote_open(arena, call, &service, error));
    TRY(remote_request(call, &service, remote, &request, error));
    TRY(service_call(&service, remote->route, request, &job, error));
    enum status status = STATUS_OK;
    if (format == TABLE_FORMAT_TABLE) {
        explain(job, stdout);
    } else {
        status = remote_print(call, remote, job, error);
    }
    json_decref(job);
    return status;
}

static enum status why_run(const struct call *call, struct error *error)
{
    return remote_within(why_in, call, error);
}

const struct command cmd_job_why = {.noun = "job",
                                    .verb = "why",
                                    .summary =
                                        "Say in a sentence what a job waits for, or why it failed",
                                    .example = "tailor job why j-17",
                                    .arguments = {{.placeholder = "JOB"}},
                                    OPTION_ROWS(job_rows),
                                    .options_size = sizeof(struct remote_options),
                                    .remote = &show_remote,
                                    .run = why_run};
