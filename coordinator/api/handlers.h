/* SPDX-License-Identifier: Apache-2.0
 *
 * handlers: the functions behind the routes, a file per noun. Which route has which is the table in
 * handlers.c. Private to this folder; exchange.h says what each kind may do.
 */
#ifndef TAILOR_COORDINATOR_API_HANDLERS_H
#define TAILOR_COORDINATOR_API_HANDLERS_H

#include "coordinator/api/exchange.h"

/* ---- on_submit.c ---- */
exchange_run submit_resolve, retry_resolve;
exchange_start submit_start;

/* ---- on_batch.c ---- */
exchange_run batch_submit_read, batches_read, batch_read, batch_cancel_write, batch_retry_read;
exchange_start batch_check_start, batch_cancel_start;

/* ---- on_jobs.c ---- */
exchange_run jobs_read, job_read, job_exists, attempts_read, checkpoints_read;
exchange_start jobs_refresh, job_refresh, job_cancel, job_pause, job_resume, job_priority;
exchange_start job_events, job_logs, job_metrics;
/* ---- on_rows.c ---- */
exchange_run job_result_read, dataset_report_read;
exchange_start rows_page;
/* Answers with the job as it is in the records now. */
void job_answer(struct exchange *exchange, int64_t id);

struct resolution;
/* The job that makes or judges an object, in one transaction with `before`, which adds that: the
 * object, of this kind, stands last among what the job reads (`before` may name it there), and that
 * is how the job's end finds it. */
void object_job_submit(struct exchange *exchange, struct resolution *resolution,
                       struct job_submission *submission, Api__ObjectKind kind, bool sharded,
                       coordinator_run *before, coordinator_done *done);

/* ---- on_bases.c ---- */
exchange_run bases_read, base_read, base_resolve, base_remove;
exchange_start base_add;

/* ---- on_data.c: datasets, uploads ---- */
exchange_run datasets_read, dataset_read, dataset_remove, upload_check;
exchange_run blob_check;
exchange_start object_removed, upload_show, upload_put, blob_read;
enum status need_blob(struct records *records, const char *tenant, const char *digest,
                      const char *field, struct error *error);

/* ---- on_admission.c ---- */
exchange_run dataset_resolve;
exchange_start dataset_add;

/* ---- on_models.c: models and shares ---- */
exchange_run models_read, model_read, model_history, versions_read, version_read, all_versions_read;
exchange_run model_add, model_promote, model_remove, shares_read, share_put, share_remove;

enum status model_version_find(struct records *records, struct exchange *exchange,
                               Api__ShareRight need, const char *tenant, const char *name,
                               const char *version, Api__ModelVersion **version_out,
                               struct error *error);
/* ---- on_score.c ---- */
exchange_run score_read;
exchange_start score_start;

/* ---- on_tenants.c: tenants, tokens, usage ---- */
exchange_run tenants_read, tenant_read, tokens_read, token_create, token_rotate, token_revoke;
exchange_run usage_check;
exchange_start tenant_create, tenant_quota, usage_start;

/* ---- on_webhooks.c ---- */
exchange_run webhooks_read, webhook_add, webhook_resume, webhook_remove;
exchange_start webhook_changed;

/* ---- on_login.c ---- */
exchange_run session_read, session_end;
exchange_start login_code, login_take, session_ended;

/* ---- live.c: a dashboard's stream ---- */
exchange_run live_read;
exchange_start live_start;

/* ---- on_cluster.c: workers, queues, the whole ---- */
exchange_start workers_show, worker_show, worker_drain, worker_undrain, worker_forget, join_token;
exchange_run queues_read, audit_read, cluster_read;
exchange_start queue_pause, queue_resume, events_follow, cluster_show, cluster_gc, cluster_backup;
exchange_start healthz, readyz, metrics_show, openapi_show;

/* ---- on_openai_files.c, on_openai_jobs.c: an alias of datasets and jobs ---- */
exchange_run openai_file_take, openai_files_read, openai_file_read, openai_file_remove;
exchange_run openai_job_resolve, openai_jobs_read, openai_job_read, openai_job_name,
    openai_events_read;
exchange_start openai_file_add, openai_file_content;
exchange_shape openai_file_shape, openai_file_removed_shape, openai_job_shape;

/* ---- on_page.c ---- */
exchange_start page_show, page_file_show;

#endif
