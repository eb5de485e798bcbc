/* SPDX-License-Identifier: Apache-2.0
 *
 * on_cluster: workers, queues, and the cluster as a whole.
 */
#include <inttypes.h>
#include <string.h>

#include "coordinator/api/handlers.h"
#include "coordinator/api/openapi.h"
#include "coordinator/api/stream.h"
#include "coordinator/metrics_read.h"
#include "storage/records/blob_record.h"
#include "storage/records/event_record.h"
#include "storage/records/worker_record.h"

/* ---- workers --------------------------------------------------------------------------------- */

void workers_show(struct exchange *exchange)
{
    coordinator_workers(exchange->api->coordinator, &exchange->arena, 0, exchange_reply(exchange));
    exchange_done(exchange, STATUS_OK, NULL);
}

void worker_show(struct exchange *exchange)
{
    int64_t id = ((const Api__WorkerRequest *)exchange->request)->id;
    Api__WorkerList *list = message_new(&exchange->arena, &api__worker_list__descriptor);
    struct error error;
    coordinator_workers(exchange->api->coordinator, &exchange->arena, id, list);
    if (list->n_workers == 0) {
        exchange_done(exchange,
                      error_set(&error, STATUS_NOT_FOUND, "there is no worker w-%" PRId64, id),
                      &error);
        return;
    }
    exchange->reply = list->workers[0];
    exchange_done(exchange, STATUS_OK, NULL);
}

static void on_worker(void *argument, enum status status, const struct error *error)
{
    struct exchange *exchange = argument;
    if (status == STATUS_OK)
        worker_show(exchange);
    else
        exchange_done(exchange, status, error);
}

static void worker_wish(struct exchange *exchange, enum worker_verb verb, coordinator_done *done)
{
    coordinator_worker_verb(exchange->api->coordinator, verb,
                            ((const Api__WorkerRequest *)exchange->request)->id, done, exchange);
}

void worker_drain(struct exchange *exchange)
{
    worker_wish(exchange, WORKER_VERB_DRAIN, on_worker);
}

void worker_undrain(struct exchange *exchange)
{
    worker_wish(exchange, WORKER_VERB_UNDRAIN, on_worker);
}

void worker_forget(struct exchange *exchange)
{
    worker_wish(exchange, WORKER_VERB_FORGET, exchange_on_done);
}

void join_token(struct exchange *exchange)
{
    const Api__JoinTokenRequest *request = exchange->request;
    Api__JoinToken *reply = exchange_reply(exchange);
    reply->token = arena_alloc(&exchange->arena, JOIN_TOKEN_MAX);
    reply->has_expires_ms = request->has_expires_ms;
    reply->expires_ms = request->expires_ms;
    coordinator_join_token(exchange->api->coordinator,
                           request->pool != NULL ? request->pool : "default", request->expires_ms,
                           reply->token, exchange_on_done, exchange);
}

/* ---- queues ---------------------------------------------------------------------------------- */

enum status queues_read(struct records *records, struct exchange *exchange, struct error *error)
{
    return queue_record_list(records, &exchange->arena, exchange_reply(exchange), error);
}

static void pause_queue(struct exchange *exchange, bool paused)
{
    const Api__QueueRequest *request = exchange->request;
    Api__Queue *queue = exchange_reply(exchange);
    queue->name = request->name;
    queue->has_paused = true;
    queue->paused = paused;
    queue->pause_reason = paused ? request->reason : NULL;
    coordinator_queue_pause(exchange->api->coordinator, request->name, paused, request->reason,
                            exchange_on_done, exchange);
}

void queue_pause(struct exchange *exchange)
{
    pause_queue(exchange, true);
}

void queue_resume(struct exchange *exchange)
{
    pause_queue(exchange, false);
}

/* ---- the whole ------------------------------------------------------------------------------- */

void events_follow(struct exchange *exchange)
{
    const Api__EventListRequest *request = exchange->request;
    struct series_query query = {.after = request->after,
                                 .limit = page_limit(request->has_limit, request->limit)};
    stream_begin(exchange, WATCH_EVENTS, &query);
}

enum status audit_read(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__EventListRequest *request = exchange->request;
    return audit_record_list(records, exchange_scope(exchange), request->after,
                             page_limit(request->has_limit, request->limit), &exchange->arena,
                             exchange_reply(exchange), error);
}

/* What the coordinator does not keep in memory. */
enum status cluster_read(struct records *records, struct exchange *exchange, struct error *error)
{
    Api__ClusterStatus *cluster = exchange_reply(exchange);
    cluster->has_store_bytes = true;
    return blob_record_bytes(records, &cluster->store_bytes, error);
}

void cluster_show(struct exchange *exchange)
{
    coordinator_status(exchange->api->coordinator, &exchange->arena, exchange->reply);
    exchange_done(exchange, STATUS_OK, NULL);
}

void cluster_gc(struct exchange *exchange)
{
    const Api__GcRequest *request = exchange->request;
    Api__GcReply *reply = exchange_reply(exchange);
    reply->has_dry_run = true;
    reply->dry_run = request->dry_run;
    coordinator_gc(exchange->api->coordinator, reply, exchange_on_done, exchange);
}

void cluster_backup(struct exchange *exchange)
{
    coordinator_backup(exchange->api->coordinator, &exchange->arena, exchange_reply(exchange),
                       exchange_on_done, exchange);
}

/* ---- without a token ------------------------------------------------------------------------- */

void healthz(struct exchange *exchange)
{
    buf_append_string(&exchange->text, "ok\n");
    exchange->content_type = "text/plain; charset=utf-8";
    exchange_done(exchange, STATUS_OK, NULL);
}

void readyz(struct exchange *exchange)
{
    Api__Ready *ready = exchange_reply(exchange);
    struct error cause;
    ready->has_ready = ready->has_time_ms = true;
    ready->version = TAILOR_VERSION;
    ready->time_ms = coordinator_now_ms();
    ready->ready = coordinator_ready(exchange->api->coordinator, &cause);
    if (!ready->ready) {
        ready->cause = arena_strdup(&exchange->arena, cause.text);
        exchange->code = 503;
    }
    exchange_done(exchange, STATUS_OK, NULL);
}

void metrics_show(struct exchange *exchange)
{
    const struct tls *tls = exchange->api->tls;
    coordinator_metrics(exchange->api->coordinator, tls != NULL ? tls_expires_s(tls) : 0,
                        &exchange->text);
    exchange->content_type = "text/plain; version=0.0.4; charset=utf-8";
    exchange_done(exchange, STATUS_OK, NULL);
}

void openapi_show(struct exchange *exchange)
{
    const struct buf *document = openapi_document();
    buf_append(&exchange->text, document->data, document->length);
    exchange->content_type = "application/json";
    exchange_done(exchange, STATUS_OK, NULL);
}
