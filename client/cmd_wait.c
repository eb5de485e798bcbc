/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor wait and job watch: until a job ends; watch says every step on the way.
 */
#include <string.h>

#include "client/commands.h"
#include "client/remote.h"
#include "client/wait.h"

static enum status wait_in(struct arena *arena, const struct call *call, struct error *error)
{
    const struct remote_options *options = call->options;
    struct service service;
    TRY(remote_open(arena, call, &service, error));
    const char *verb = call->command->verb;
    const struct wait wait = {.timeout_s = service.timeout_s,
                              .quiet = call->globals->quiet,
                              .steps = options->watch || (verb && strcmp(verb, "watch") == 0)};
    return wait_for_job(&service, call->arguments[0], &wait, error);
}

static enum status wait_run(const struct call *call, struct error *error)
{
    return remote_within(wait_in, call, error);
}

static const struct option_row wait_rows[] = {
    REMOTE_ROW("watch", 0, OPTION_FLAG, watch, NULL, "say every step, as tailor job watch"),
    REMOTE_ROWS,
};
static const struct option_row watch_rows[] = {REMOTE_ROWS};

#define CODES                                                                                      \
    "Exit code 0 when it succeeded, 1 when it failed, 8 when it was cancelled, 9 when its gate\n"  \
    "holds the alias back, 7 when --timeout has passed. Ctrl-C leaves; the job goes on."

#define WAIT_COMMAND                                                                               \
    .details = CODES, .arguments = {{.placeholder = "JOB"}}, OPTION_ROWS(wait_rows),               \
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
const struct command cmd_job_watch = {.noun = "job",
                                      .verb = "watch",
                                      .summary = "Watch a job until it ends: state, step, loss",
                                      .details = CODES,
                                      .example = "tailor job watch j-17",
                                      .arguments = {{.placeholder = "JOB"}},
                                      OPTION_ROWS(watch_rows),
                                      .options_size = sizeof(struct remote_options),
                                      .run = wait_run};
