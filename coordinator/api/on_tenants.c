/* SPDX-License-Identifier: Apache-2.0
 *
 * on_tenants: tenants, tokens, and what each tenant used.
 */
#include <string.h>

#include "coordinator/api/handlers.h"
#include "coordinator/api/token.h"
#include "storage/records/tenant_record.h"

enum { GRACE_MS = 24 * 3600 * 1000 }; /* of an old secret, when nothing else is said */

/* ---- tenants --------------------------------------------------------------------------------- */

enum status tenants_read(struct records *records, struct exchange *exchange, struct error *error)
{
    return tenant_record_list(records, &exchange->arena, exchange_reply(exchange), error);
}

enum status tenant_read(struct records *records, struct exchange *exchange, struct error *error)
{
    Api__Tenant *tenant;
    TRY(tenant_record_get(records, exchange_scope(exchange),
                          ((const Api__TenantRequest *)exchange->request)->name, &exchange->arena,
                          &tenant, error));
    exchange->reply = tenant;
    return STATUS_OK;
}

static void put_tenant(struct exchange *exchange, bool create)
{
    Api__Tenant *tenant = exchange->request;
    tenant->has_id = tenant->has_created_ms = tenant->has_bytes = false; /* not theirs to say */
    exchange->reply = tenant;
    coordinator_tenant_put(exchange->api->coordinator, tenant, create, exchange_on_done, exchange);
}

void tenant_create(struct exchange *exchange)
{
    const Api__Tenant *tenant = exchange->request;
    struct error error;
    if (strcmp(tenant->name, "cluster") == 0)
        exchange_done(exchange,
                      error_set(&error, STATUS_USAGE, "name: cluster is the cluster's own"),
                      &error);
    else
        put_tenant(exchange, true);
}

void tenant_quota(struct exchange *exchange)
{
    put_tenant(exchange, false);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

enum status tokens_read(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__TokenRequest *request = exchange->request;
    if (request->tenant == NULL)
        return token_record_list(records, exchange_scope(exchange), &exchange->arena,
                                 exchange_reply(exchange), error);
    TRY(exchange_own(exchange, request->tenant, error));
    return token_record_list(records, SCOPE_TENANT(request->tenant), &exchange->arena,
                             exchange_reply(exchange), error);
}

static enum status check_token(const struct exchange *exchange, Api__Token *token,
                               struct error *error)
{
    const char *tenant;
    if (token->role == API__ROLE__ROLE_WORKER)
        return error_set(error, STATUS_USAGE, "role: workers come with a join token");
    if (token->role > exchange->caller.role)
        return error_set(error, STATUS_DENIED, "role: nobody gives more than he has");
    if (token->role == API__ROLE__ROLE_ADMIN) {
        if (token->tenant != NULL)
            return error_set(error, STATUS_USAGE, "tenant: an admin is of none");
        return STATUS_OK;
    }
    TRY(exchange_tenant(exchange, token->tenant, &tenant, error));
    token->tenant = (char *)tenant; /* protobuf-c knows no const */
    return STATUS_OK;
}

enum status token_create(struct records *records, struct exchange *exchange, struct error *error)
{
    Api__Token *token = exchange->request;
    Api__Tenant *tenant;
    char digest[SHA256_HEX_SIZE], secret[TOKEN_SECRET_SIZE];
    TRY(check_token(exchange, token, error));
    if (token->tenant != NULL)
        TRY(tenant_record_get(records, exchange_scope(exchange), token->tenant, &exchange->arena,
                              &tenant, error));
    token_make(secret, digest);
    token->has_revoked_ms = false;
    token->has_id = token->has_created_ms = true;
    token->created_ms = coordinator_now_ms();
    token->secret = NULL;
    TRY(token_record_insert(records, token, digest, &token->id, error));
    token->secret = arena_strdup(&exchange->arena, secret);
    exchange->reply = token;
    return STATUS_OK;
}

enum status token_rotate(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__TokenRequest *request = exchange->request;
    Api__Token *token = exchange_reply(exchange);
    char digest[SHA256_HEX_SIZE], secret[TOKEN_SECRET_SIZE];
    int64_t grace_ms = request->has_grace_ms ? request->grace_ms : GRACE_MS;
    token_make(secret, digest);
    TRY(token_record_rotate(records, exchange_scope(exchange), request->id, digest,
                            coordinator_now_ms() + grace_ms, error));
    token->has_id = true;
    token->id = request->id;
    token->secret = arena_strdup(&exchange->arena, secret);
    return STATUS_OK;
}

enum status token_revoke(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__TokenRequest *request = exchange->request;
    Api__Token *token = exchange_reply(exchange);
    token->has_id = token->has_revoked_ms = true;
    token->id = request->id;
    token->revoked_ms = coordinator_now_ms();
    return token_record_revoke(records, exchange_scope(exchange), request->id, token->revoked_ms,
                               error);
}

/* ---- usage ----------------------------------------------------------------------------------- */

enum status usage_check(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__UsageRequest *request = exchange->request;
    (void)records;
    return request->tenant != NULL ? exchange_own(exchange, request->tenant, error) : STATUS_OK;
}

static enum status usage_read(struct records *records, void *argument, struct error *error)
{
    struct exchange *exchange = argument;
    const Api__UsageRequest *request = exchange->request;
    struct scope scope =
        request->tenant != NULL ? SCOPE_TENANT(request->tenant) : exchange_scope(exchange);
    int64_t until_ms = request->has_until_ms ? request->until_ms : coordinator_now_ms() + 1;
    return usage_record_sum(records, scope, request->since_ms, until_ms, &exchange->arena,
                            exchange_reply(exchange), error);
}

/* What was used up to this moment is recorded first; the read comes behind it. */
static void on_usage_recorded(void *argument, enum status status, const struct error *error)
{
    struct exchange *exchange = argument;
    if (status != STATUS_OK || exchange->api->stopping)
        exchange_done(exchange, status, error);
    else
        coordinator_read(exchange->api->coordinator, usage_read, exchange_on_done, exchange);
}

void usage_start(struct exchange *exchange)
{
    coordinator_usage_record(exchange->api->coordinator, on_usage_recorded, exchange);
}
