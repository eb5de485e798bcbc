/* SPDX-License-Identifier: Apache-2.0
 *
 * on_webhooks: who is told of a tenant's events; webhooks.c tells them.
 */
#include <string.h>

#include "coordinator/api/handlers.h"
#include "coordinator/api/webhook_address.h"
#include "coordinator/api/webhook_message.h"
#include "coordinator/api/webhooks.h"
#include "storage/records/webhook_record.h"

enum status webhooks_read(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__WebhookRequest *request = exchange->request;
    struct scope scope = exchange_scope(exchange);
    if (request->tenant != NULL) {
        TRY(exchange_own(exchange, request->tenant, error));
        scope = SCOPE_TENANT(request->tenant);
    }
    return webhook_record_list(records, scope, &exchange->arena, exchange_reply(exchange), error);
}

enum status webhook_add(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__Webhook *request = exchange->request;
    Api__Webhook *webhook = exchange_reply(exchange);
    const char *tenant;
    char secret[WEBHOOK_SECRET_SIZE];
    TRY(exchange_tenant(exchange, request->tenant, &tenant, error));
    TRY(webhook_url_check(request->url, webhooks_private(exchange->api->webhooks), error));
    webhook_secret_make(secret);
    webhook->tenant = arena_strdup(&exchange->arena, tenant);
    webhook->url = request->url;
    webhook->events = request->events;
    webhook->secret = arena_strdup(&exchange->arena, secret);
    webhook->has_created_ms = webhook->has_id = true;
    webhook->created_ms = coordinator_now_ms();
    return webhook_record_insert(records, webhook, &webhook->id, error);
}

enum status webhook_resume(struct records *records, struct exchange *exchange, struct error *error)
{
    const int64_t id = ((const Api__WebhookRequest *)exchange->request)->id;
    Api__Webhook *webhook;
    TRY(webhook_record_resume(records, exchange_scope(exchange), id, error));
    TRY(webhook_record_get(records, exchange_scope(exchange), id, &exchange->arena, &webhook,
                           error));
    exchange->reply = webhook;
    return STATUS_OK;
}

enum status webhook_remove(struct records *records, struct exchange *exchange, struct error *error)
{
    return webhook_record_remove(records, exchange_scope(exchange),
                                 ((const Api__WebhookRequest *)exchange->request)->id, error);
}

void webhook_changed(struct exchange *exchange)
{
    webhooks_look(exchange->api->webhooks);
    exchange_done(exchange, STATUS_OK, NULL);
}
