/* SPDX-License-Identifier: Apache-2.0
 *
 * report: a run's page. rows: what it gets wrong.
 */
#include <stdio.h>

#include "lib/file.h"
#include "worker/trainer/report.h"
#include "worker/trainer/verbs.h"

static enum status need_run(const struct arguments *arguments, const char **run_out,
                            struct error *error)
{
    TRY(arguments_need(arguments, 0, "the run's directory", run_out, error));
    char path[4096];
    path_join(path, sizeof(path), *run_out, "spec.json");
    if (!file_exists(path)) {
        return error_set(error, STATUS_NOT_FOUND, "%s holds no run: there is no spec.json in it",
                         *run_out);
    }
    return STATUS_OK;
}

enum status verb_report(const struct arguments *arguments, struct error *error)
{
    const char *run;
    char path[4096];
    TRY(need_run(arguments, &run, error));
    if (arguments->out != NULL) {
        snprintf(path, sizeof(path), "%s", arguments->out);
    } else {
        path_join(path, sizeof(path), run, "report.html");
    }
    TRY(report_write(run, path, error));
    if (!arguments->quiet) {
        printf("%s\n", path);
    }
    return STATUS_OK;
}

enum status verb_rows(const struct arguments *arguments, struct error *error)
{
    const char *run;
    TRY(need_run(arguments, &run, error));
    return report_rows(run, (int)arguments->worst, arguments_table_format(arguments), stdout,
                       error);
}
