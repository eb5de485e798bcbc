/* SPDX-License-Identifier: Apache-2.0
 *
 * on_rows: what jobs left, row by row: of an evaluation or a training run the groups, the worst
 * first; of a scoring the rewards; of an admission what it found.
 */
#include <string.h>

#include "coordinator/api/handlers.h"
#include "proto/ident.h"
#include "storage/records/dataset_record.h"
#include "storage/records/job_record.h"
#include "storage/records/result_record.h"

#define READ API__SHARE_RIGHT__SHARE_RIGHT_READ

static struct rows_query *query_new(struct exchange *exchange, const char *tenant,
                                    const char *manifest)
{
    struct rows_query *query = arena_new(&exchange->arena, struct rows_query);
    *query = (struct rows_query){.tenant = tenant, .manifest = manifest};
    exchange->state = query;
    return query;
}

enum status job_result_read(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__JobRequest *request = exchange->request;
    Api__Result *result;
    TRY(job_exists(records, exchange, error));
    TRY(result_record_get(records, exchange_scope(exchange), request->id, &exchange->arena, &result,
                          error));
    struct rows_query *query = query_new(exchange, result->tenant, result->manifest);
    query->worst = request->worst;
    query->after = request->after;
    query->limit = page_limit(request->has_limit, request->limit);
    return STATUS_OK;
}

enum status dataset_report_read(struct records *records, struct exchange *exchange,
                                struct error *error)
{
    const Api__ObjectRequest *request = exchange->request;
    Api__Dataset *dataset;
    TRY(dataset_read(records, exchange, error));
    dataset = exchange->reply;
    exchange->reply = NULL;
    if (dataset->report == NULL)
        return error_set(error, STATUS_NOT_FOUND, "%s/%s@%lld has no report: %s", dataset->tenant,
                         dataset->name, (long long)dataset->version,
                         dataset->state == API__DATASET_STATE__DATASET_STATE_ADMITTING
                             ? "it is being admitted"
                             : "it was not judged");
    struct rows_query *query = query_new(exchange, dataset->tenant, dataset->report);
    query->kind = request->kind;
    query->after = request->after;
    query->limit = page_limit(request->has_limit, request->limit);
    return STATUS_OK;
}

void rows_page(struct exchange *exchange)
{
    coordinator_rows_read(exchange->api->coordinator, exchange->state, &exchange->arena,
                          exchange_reply(exchange), exchange_on_done, exchange);
}
