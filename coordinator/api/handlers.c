/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/api/handlers.h"

#include "lib/check.h"

/* clang-format off */
static const struct handler HANDLERS[ROUTE_COUNT] = {
    [ROUTE_JOB_SUBMIT] = {.write = submit_resolve, .start = submit_start},
    [ROUTE_JOB_LIST] = {.read = jobs_read, .start = jobs_refresh},
    [ROUTE_JOB_SHOW] = {.read = job_read, .start = job_refresh},
    [ROUTE_JOB_CANCEL] = {.start = job_cancel},
    [ROUTE_JOB_PAUSE] = {.start = job_pause},
    [ROUTE_JOB_RESUME] = {.start = job_resume},
    [ROUTE_JOB_RETRY] = {.write = retry_resolve, .start = submit_start},
    [ROUTE_JOB_PRIORITY] = {.start = job_priority},
    [ROUTE_JOB_EVENTS] = {.read = job_exists, .start = job_events},
    [ROUTE_JOB_LOGS] = {.read = job_exists, .start = job_logs},
    [ROUTE_JOB_METRICS] = {.read = job_exists, .start = job_metrics},
    [ROUTE_JOB_CHECKPOINTS] = {.read = checkpoints_read},
    [ROUTE_JOB_ATTEMPTS] = {.read = attempts_read},
    [ROUTE_BASE_ADD] = {.write = base_add},
    [ROUTE_BASE_LIST] = {.read = bases_read},
    [ROUTE_BASE_SHOW] = {.read = base_read},
    [ROUTE_BASE_REMOVE] = {.write = base_remove, .start = object_removed},
    [ROUTE_DATASET_LIST] = {.read = datasets_read},
    [ROUTE_DATASET_ADD] = {.write = dataset_add},
    [ROUTE_DATASET_SHOW] = {.read = dataset_read},
    [ROUTE_DATASET_REMOVE] = {.write = dataset_remove, .start = object_removed},
    [ROUTE_MODEL_LIST] = {.read = models_read},
    [ROUTE_MODEL_SHOW] = {.read = model_read},
    [ROUTE_MODEL_ADD] = {.write = model_add},
    [ROUTE_MODEL_REMOVE] = {.write = model_remove, .start = object_removed},
    [ROUTE_MODEL_HISTORY] = {.read = model_history},
    [ROUTE_MODEL_VERSIONS] = {.read = versions_read},
    [ROUTE_MODEL_VERSION] = {.read = version_read},
    [ROUTE_MODEL_PROMOTE] = {.write = model_promote},
    [ROUTE_SHARE_LIST] = {.read = shares_read},
    [ROUTE_SHARE_PUT] = {.write = share_put},
    [ROUTE_SHARE_REMOVE] = {.write = share_remove},
    [ROUTE_UPLOAD_SHOW] = {.read = upload_check, .start = upload_show},
    [ROUTE_UPLOAD_PUT] = {.read = upload_check, .start = upload_put},
    [ROUTE_BLOB_READ] = {.read = blob_check, .start = blob_read},
    [ROUTE_TENANT_LIST] = {.read = tenants_read},
    [ROUTE_TENANT_CREATE] = {.start = tenant_create},
    [ROUTE_TENANT_SHOW] = {.read = tenant_read},
    [ROUTE_TENANT_QUOTA] = {.start = tenant_quota},
    [ROUTE_TOKEN_LIST] = {.read = tokens_read},
    [ROUTE_TOKEN_CREATE] = {.write = token_create},
    [ROUTE_TOKEN_ROTATE] = {.write = token_rotate},
    [ROUTE_TOKEN_REVOKE] = {.write = token_revoke},
    [ROUTE_LOGIN_CODE] = {.start = login_code},
    [ROUTE_LOGIN] = {.start = login_take},
    [ROUTE_USAGE] = {.read = usage_read},
    [ROUTE_WORKER_LIST] = {.start = workers_show},
    [ROUTE_WORKER_SHOW] = {.start = worker_show},
    [ROUTE_WORKER_DRAIN] = {.start = worker_drain},
    [ROUTE_WORKER_UNDRAIN] = {.start = worker_undrain},
    [ROUTE_WORKER_FORGET] = {.start = worker_forget},
    [ROUTE_JOIN_TOKEN] = {.start = join_token},
    [ROUTE_QUEUE_LIST] = {.read = queues_read},
    [ROUTE_QUEUE_PAUSE] = {.start = queue_pause},
    [ROUTE_QUEUE_RESUME] = {.start = queue_resume},
    [ROUTE_EVENTS] = {.start = events_follow},
    [ROUTE_AUDIT] = {.read = audit_read},
    [ROUTE_CLUSTER] = {.read = cluster_read, .start = cluster_show},
    [ROUTE_GC] = {.start = cluster_gc},
    [ROUTE_BACKUP] = {.start = cluster_backup},
    [ROUTE_OPENAPI] = {.start = openapi_show},
    [ROUTE_HEALTHZ] = {.start = healthz},
    [ROUTE_READYZ] = {.start = readyz},
    [ROUTE_METRICS] = {.start = metrics_show},
};
/* clang-format on */

const struct handler *handler_of(enum route_id id)
{
    CHECK(id >= 0 && id < ROUTE_COUNT);
    return &HANDLERS[id];
}
