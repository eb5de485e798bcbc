/* SPDX-License-Identifier: Apache-2.0
 *
 * commands: what the cmd_*.c files offer to main.c.
 */
#ifndef TAILOR_CLIENT_COMMANDS_H
#define TAILOR_CLIENT_COMMANDS_H

#include "client/command.h"

extern const struct command cmd_run, cmd_explain, cmd_job_init, cmd_job_validate, cmd_job_schema,
    cmd_job_report, cmd_job_rows, cmd_job_diff, cmd_base_check, cmd_base_import, cmd_data_report,
    cmd_data_preview, cmd_model_score, cmd_model_compare, cmd_model_show, cmd_model_export,
    cmd_evaluate, cmd_doctor, cmd_completion, cmd_version;

#endif
