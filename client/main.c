/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor: the command line. This list is the table of contents; each command is one constant in
 * cmd_NOUN.c (or cmd_NOUN_verb.c), and command.c turns words into one of them.
 */
#include "client/commands.h"

int main(int argc, char **argv)
{
    static const struct command *const commands[] = {
        /* training, without a service */
        &cmd_run, &cmd_evaluate, &cmd_explain,
        /* specs and runs */
        &cmd_job_init, &cmd_job_validate, &cmd_job_schema, &cmd_job_report, &cmd_job_rows,
        &cmd_job_diff,
        /* what goes in */
        &cmd_base_check, &cmd_base_import, &cmd_data_report, &cmd_data_preview,
        /* what comes out */
        &cmd_model_show, &cmd_model_score, &cmd_model_compare, &cmd_model_export,
        /* this machine and this program */
        &cmd_doctor, &cmd_completion, &cmd_version};
    struct cli cli = {commands, sizeof(commands) / sizeof(commands[0])};
    return cli_main(&cli, argc, (const char *const *)argv);
}
