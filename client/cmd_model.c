/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor model: two models of this machine side by side, and the way out. (cmd_score.c: rewards.)
 */
#include <string.h>

#include "client/commands.h"
#include "client/dual.h"
#include "client/export_job.h"
#include "client/model_files.h"
#include "client/path.h"
#include "lib/file.h"

static const struct option_row compare_rows[] = {
    OFFLINE_ROW("data", 'd', OPTION_LIST, data, "FILE", "preference data; may repeat"),
    OFFLINE_ROW("worst", 0, OPTION_STRING, worst, "N", "how many flipped rows to show; default 20"),
    OFFLINE_DATA_ROWS,
    OFFLINE_FORMAT_ROWS,
    OFFLINE_COMPUTE_ROWS,
};

const struct command cmd_model_compare = {
    .noun = "model",
    .verb = "compare",
    .summary = "Compare two models on the same rows",
    .details =
        "The paired difference with its interval, and the rows that flipped between A and B.",
    .example = "tailor model compare ./general/model ./support/model --data test.jsonl",
    .arguments = {{.placeholder = "A"}, {.placeholder = "B"}},
    OPTION_ROWS(compare_rows),
    .required = "data",
    .trainer_verb = "compare",
    OFFLINE_COMMAND};

/* ---- export ---- */

static enum status export_check(const struct offline_options *options, struct error *error)
{
    bool peft = strcmp(options->format, "peft") == 0;
    if (!peft && strcmp(options->format, "hf") != 0) {
        return error_set(error, STATUS_USAGE, "--format is %s: it must be hf or peft",
                         options->format);
    }
    if (options->dtype && strcmp(options->dtype, "auto") == 0) {
        return error_set(error, STATUS_USAGE, "--dtype is auto: it must be fp32 or bf16 here");
    }
    if (peft && options->merge) {
        return error_set(error, STATUS_USAGE,
                         "--merge folds the adapter into the weights, which leaves nothing for "
                         "--format peft: leave one of them out");
    }
    return STATUS_OK;
}

/* A model of the service is fetched first, with its parent if it is an adapter. */
static enum status export_of_service(struct arena *arena, const struct call *call,
                                     struct error *error)
{
    const struct remote_options *options = &((const struct dual_options *)call->options)->remote;
    struct service service = {.arena = arena};
    struct call here = *call;
    TRY(profile_open(arena, options->server, options->profile, &service.profile, error));
    service.profile.ca = options->ca ? options->ca : service.profile.ca;
    service.profile.tenant = options->tenant ? options->tenant : service.profile.tenant;
    if (options->job) {
        return export_job(&service, call->arguments[0], call->options, call->globals->quiet,
                          call->arguments[1], error);
    }
    TRY(model_files(&service, call->arguments[0], call->globals->quiet, &here.arguments[0], error));
    return offline_run(&here, error);
}

static enum status export_run(const struct call *call, struct error *error)
{
    const char *model = call->arguments[0];
    TRY(export_check(call->options, error));
    if (dir_exists(model) || model[0] == '.' || model[0] == '/') {
        TRY(path_check("MODEL", model, error));
        return offline_run(call, error);
    }
    return remote_within(export_of_service, call, error);
}

static const struct option_row export_rows[] = {
    OFFLINE_ROW("format", 0, OPTION_STRING, format, "FORMAT",
                "hf: a ForSequenceClassification directory; peft: the adapter"),
    OFFLINE_ROW("merge", 0, OPTION_FLAG, merge, NULL, "fold the adapter into the weights (hf)"),
    OFFLINE_ROW("dtype", 0, OPTION_STRING, dtype, "TYPE", "fp32 or bf16; default: as stored"),
    DUAL_ROW("job", 0, OPTION_FLAG, job, NULL,
             "of the service: let a worker do it, and fetch what it wrote"),
    DUAL_ROWS,
};

const struct command cmd_model_export = {
    .noun = "model",
    .verb = "export",
    .summary = "Write a model for Transformers, PEFT and vLLM",
    .details = "A directory, or a model of the service such as acme/support@prod, which is "
               "fetched first,\nor with --job exported by a worker and then fetched. It reads back "
               "what it wrote and fails if a score moved.",
    .example = "tailor model export support@prod ./support-hf --format hf --merge --dtype bf16",
    .arguments = {{.placeholder = "DIR|NAME"}, {.placeholder = "OUT"}},
    OPTION_ROWS(export_rows),
    .required = "format",
    .options_size = sizeof(struct dual_options),
    .trainer_verb = "export",
    .run = export_run};
