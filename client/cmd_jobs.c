/* SPDX-License-Identifier: Apache-2.0
 *
 * Jobs of the service, looked at and steered. (cmd_submit.c makes them, cmd_follow.c waits and
 * follows; cmd_job.c is about specs and runs without a service.) `tailor ls`, `show` and `cancel`
 * are `tailor job list`, `show` and `cancel`.
 */
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
};

/* ---- list ---- */
static const struct option_row list_rows[] = {
    REMOTE_ROW("state", 0, OPTION_LIST, state, "STATE",
               "queued, running, succeeded, failed, ...; may repeat"),
    REMOTE_ROW("label", 'l', OPTION_LIST, label, "KEY=VALUE", "only jobs with it; may repeat"),
    REMOTE_ROW("stage", 0, OPTION_STRING, stage, "STAGE", "lm, general, customize, ..."),
    REMOTE_ROW("queue", 0, OPTION_STRING, queue, "NAME", "only of this queue"),
    REMOTE_PAGE_ROWS,
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
static const struct option_row job_rows[] = {REMOTE_ROWS};

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

/* ---- verbs ---- */
#define JOB_VERB(name, word, route_id, sentence)                                                   \
    static const struct remote name##_remote = {                                                   \
        .route = route_id, .fields = {"id"}, REMOTE_COLUMNS(job_columns)};                         \
    const struct command cmd_job_##name = {.noun = "job",                                          \
                                           .verb = word,                                           \
                                           .summary = sentence,                                    \
                                           .example = "tailor job " word " j-17",                  \
                                           .arguments = {{.placeholder = "JOB"}},                  \
                                           OPTION_ROWS(job_rows),                                  \
                                           .remote = &name##_remote,                               \
                                           REMOTE_COMMAND}

JOB_VERB(cancel, "cancel", ROUTE_JOB_CANCEL, "Cancel a job; its checkpoints stay for a while");
JOB_VERB(pause, "pause", ROUTE_JOB_PAUSE, "Checkpoint a job and give its slots to others");
JOB_VERB(resume, "resume", ROUTE_JOB_RESUME, "Put a paused job back into its queue");
JOB_VERB(retry, "retry", ROUTE_JOB_RETRY, "Queue a failed or cancelled job again, as a new one");

const struct command cmd_cancel = {.noun = "cancel",
                                   .summary = "Cancel a job (tailor job cancel)",
                                   .example = "tailor cancel j-17",
                                   .arguments = {{.placeholder = "JOB"}},
                                   OPTION_ROWS(job_rows),
                                   .remote = &cancel_remote,
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
static const char *text_of(const json_t *job, const char *field)
{
    const char *text = json_string_value(json_object_get(job, field));
    return text ? text : "";
}

/* One sentence: what it waits for, or what became of it. */
static void explain(const json_t *job, FILE *out)
{
    char line[1024];
    const char *id = text_of(job, "id"), *state = text_of(job, "state");
    const char *detail = text_of(job, "waiting_detail"), *message = text_of(job, "failure_message");
    if (strcmp(state, "failed") == 0) {
        text_clean(message, line, sizeof(line));
        fprintf(out, "%s failed (%s): %s\n", id, text_of(job, "failure_class"), line);
        text_clean(text_of(job, "failure_hint"), line, sizeof(line));
        fprintf(out, "%s%s", line, line[0] ? "\n" : "");
    } else if (strcmp(state, "succeeded") == 0 || strcmp(state, "cancelled") == 0) {
        fprintf(out, "%s is over: %s\n", id, state);
    } else if (detail[0]) {
        text_clean(detail, line, sizeof(line));
        fprintf(out, "%s is %s (%s): %s\n", id, state, text_of(job, "waiting_reason"), line);
    } else if (text_of(job, "waiting_reason")[0]) {
        fprintf(out, "%s is %s: it waits for %s\n", id, state, text_of(job, "waiting_reason"));
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
    struct arena arena = {0};
    enum status status = why_in(&arena, call, error);
    arena_release(&arena);
    return status;
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
