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
        /* a service: on this machine, and a job on it */
        &cmd_up, &cmd_down, &cmd_login, &cmd_submit, &cmd_serve, &cmd_ls, &cmd_show, &cmd_logs,
        &cmd_wait, &cmd_cancel, &cmd_top,
        /* specs, runs and jobs */
        &cmd_job_init, &cmd_job_validate, &cmd_job_schema, &cmd_job_report, &cmd_job_rows,
        &cmd_job_diff, &cmd_job_submit, &cmd_job_clone, &cmd_job_list, &cmd_job_show, &cmd_job_why,
        &cmd_job_logs, &cmd_job_metrics, &cmd_job_events, &cmd_job_wait, &cmd_job_watch,
        &cmd_job_cancel, &cmd_job_pause, &cmd_job_resume, &cmd_job_retry, &cmd_job_priority,
        &cmd_job_attempts, &cmd_job_checkpoints,
        /* a job for each row of a table */
        &cmd_batch_submit, &cmd_batch_list, &cmd_batch_show, &cmd_batch_wait, &cmd_batch_cancel,
        &cmd_batch_retry,
        /* what goes in */
        &cmd_base_check, &cmd_base_import, &cmd_base_add, &cmd_base_list, &cmd_base_show,
        &cmd_base_rm, &cmd_data_report, &cmd_data_preview, &cmd_data_add, &cmd_data_list,
        &cmd_data_show, &cmd_data_rm,
        /* what comes out */
        &cmd_model_show, &cmd_model_score, &cmd_model_compare, &cmd_model_export, &cmd_model_add,
        &cmd_model_list, &cmd_model_versions, &cmd_model_promote, &cmd_model_history,
        &cmd_model_rollback, &cmd_model_rm, &cmd_share_list, &cmd_share_add, &cmd_share_rm,
        /* the service itself */
        &cmd_tenant_create, &cmd_tenant_list, &cmd_tenant_show, &cmd_tenant_quota,
        &cmd_tenant_usage, &cmd_token_create, &cmd_token_list, &cmd_token_rotate, &cmd_token_revoke,
        &cmd_webhook_add, &cmd_webhook_list, &cmd_webhook_resume, &cmd_webhook_remove,
        &cmd_worker_list, &cmd_worker_show, &cmd_worker_drain, &cmd_worker_undrain,
        &cmd_worker_forget, &cmd_worker_join_token, &cmd_queue_list, &cmd_queue_pause,
        &cmd_queue_resume, &cmd_cluster_status, &cmd_cluster_top, &cmd_cluster_events,
        &cmd_cluster_audit, &cmd_cluster_df, &cmd_cluster_gc, &cmd_cluster_backup,
        &cmd_cluster_restore,
        /* this machine and this program */
        &cmd_doctor, &cmd_completion, &cmd_version};
    struct cli cli = {commands, sizeof(commands) / sizeof(commands[0])};
    return cli_main(&cli, argc, (const char *const *)argv);
}
