/* SPDX-License-Identifier: Apache-2.0
 */
#include "client/dual.h"

#include "client/job_files.h"

enum status dual_run(const struct call *call, const struct command *command, bool of_service,
                     struct error *error)
{
    const struct dual_options *options = call->options;
    struct call side = *call;
    struct remote_options remote = options->remote;
    side.command = command;
    if (of_service) {
        remote.globals = *call->globals;
        side.options = &remote;
    }
    return command->run(&side, error);
}

enum status dual_neither(const char *text, struct error *error)
{
    return error_set(error, STATUS_NOT_FOUND,
                     "%s is neither the directory of a run nor a job such as j-17", text);
}

enum status dual_dir(struct arena *arena, const struct call *call, const char *text,
                     const char **dir_out, struct error *error)
{
    const struct remote_options *options = &((const struct dual_options *)call->options)->remote;
    struct service service = {.arena = arena};
    *dir_out = text;
    if (!is_job(text)) {
        return STATUS_OK;
    }
    TRY(profile_open(arena, options->server, options->profile, &service.profile, error));
    service.profile.ca = options->ca ? options->ca : service.profile.ca;
    enum status status = job_files(&service, text, dir_out, error);
    return status == STATUS_USAGE ? dual_neither(text, error) : status; /* no id either */
}

static enum status run_files(struct arena *arena, const struct call *call, struct error *error)
{
    struct call here = *call;
    for (int i = 0; i < here.argument_count; i++) {
        TRY(dual_dir(arena, call, call->arguments[i], &here.arguments[i], error));
    }
    return offline_run(&here, error);
}

enum status dual_run_files(const struct call *call, struct error *error)
{
    return remote_within(run_files, call, error);
}
