/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor-trainer: one process per rank of one attempt. Dies freely: nothing that lies only in its
 * memory counts. `tailor` (the command line) and the worker's agent start it.
 */
#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "worker/trainer/relay.h"
#include "worker/trainer/verbs.h"

static const struct verb {
    const char *name;
    verb_run *run;
    const char *help;
} VERBS[] = {
    {"train", verb_train,
     "--spec FILE --out RUN [--plan] [--resume] [--verify-packing] [--report-fd N]"},
    {"evaluate", verb_evaluate, "DIR --data FILE"},
    {"measure", verb_measure, "--spec FILE --out RUN [--shards N [--shard K]] [--report-fd N]"},
    {"compare", verb_compare, "DIR DIR --data FILE"},
    {"score", verb_score, "DIR [FILE|-]"},
    {"serve", verb_serve, "--spec FILE --out RUN --report-fd N, requests on standard input"},
    {"admit", verb_admit, "FILE --from DIR [--rows FINDING]"},
    {"preview", verb_preview, "FILE --from DIR [--line N] [--ids]"},
    {"check", verb_check, "DIR"},
    {"import-gguf", verb_import_gguf, "FILE.gguf OUT"},
    {"export", verb_export, "DIR OUT --format hf|peft [--merge] [--dtype fp32|bf16]"},
    {"device", verb_device, ""},
    {"report", verb_report, "RUN [--out FILE.html]"},
    {"rows", verb_rows, "RUN [--worst N]"},
};
enum { VERB_COUNT = sizeof(VERBS) / sizeof(VERBS[0]) };

static const struct verb *verb_find(const char *name)
{
    for (int i = 0; i < VERB_COUNT; i++) {
        if (strcmp(VERBS[i].name, name) == 0) {
            return &VERBS[i];
        }
    }
    return NULL;
}

static int usage(FILE *out, int code)
{
    fputs("tailor-trainer does the work of `tailor`; its verbs:\n", out);
    for (int i = 0; i < VERB_COUNT; i++) {
        fprintf(out, "  %-12s %s\n", VERBS[i].name, VERBS[i].help);
    }
    return code;
}

int main(int argc, char **argv)
{
    const struct verb *verb = argc > 1 ? verb_find(argv[1]) : NULL;
    if (verb == NULL) {
        return usage(argc > 1 && strcmp(argv[1], "--help") == 0 ? stdout : stderr,
                     argc > 1 && strcmp(argv[1], "--help") == 0 ? 0 : 2);
    }
    static struct arguments arguments;
    static struct error error;
    enum status status =
        arguments_parse(argc - 2, (const char *const *)argv + 2, &arguments, &error);
    if (status == STATUS_CANCELLED) {
        return usage(stdout, 0);
    }
    if (status == STATUS_OK) {
        status = relay_open((int)arguments.report_fd, &error);
    }
    if (status == STATUS_OK) {
        status = verb->run(&arguments, &error);
    }
    if (status != STATUS_OK) {
        relay_failure(status, error.text);
        fatal(status_exit_code(status), "%s", error.text);
    }
    return 0;
}
