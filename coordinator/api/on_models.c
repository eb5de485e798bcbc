/* SPDX-License-Identifier: Apache-2.0
 *
 * on_models: models, their versions and aliases, and who may use what.
 */
#include <stdio.h>
#include <string.h>

#include "coordinator/api/handlers.h"
#include "storage/records/model_record.h"
#include "storage/records/tenant_record.h"

#define READ API__SHARE_RIGHT__SHARE_RIGHT_READ

enum status models_read(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__ObjectRequest *request = exchange->request;
    return model_record_list(records, exchange_scope(exchange), request->tenant, request->after,
                             page_limit(request->has_limit, request->limit), &exchange->arena,
                             exchange_reply(exchange), error);
}

static enum status read_model(struct records *records, struct exchange *exchange,
                              const char *tenant, const char *name, struct error *error)
{
    Api__Model *model;
    TRY(model_record_get(records, exchange_scope(exchange), tenant, name, &exchange->arena, &model,
                         error));
    exchange->reply = model;
    return STATUS_OK;
}

enum status model_read(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__ObjectRequest *request = exchange->request;
    return read_model(records, exchange, request->tenant, request->name, error);
}

enum status model_history(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__ObjectRequest *request = exchange->request;
    return model_record_history(records, exchange_scope(exchange), request->tenant, request->name,
                                &exchange->arena, exchange_reply(exchange), error);
}

enum status model_remove(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__ObjectRequest *request = exchange->request;
    return model_record_remove(records, exchange_scope(exchange), request->tenant, request->name,
                               &exchange->arena, exchange_reply(exchange), error);
}

/* ---- versions -------------------------------------------------------------------------------- */

enum status versions_read(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__ObjectRequest *request = exchange->request;
    return model_record_versions(records, exchange_scope(exchange), request->tenant, request->name,
                                 request->after, page_limit(request->has_limit, request->limit),
                                 &exchange->arena, exchange_reply(exchange), error);
}

/* The cursor is the number under which a version was recorded. */
enum status all_versions_read(struct records *records, struct exchange *exchange,
                              struct error *error)
{
    const Api__ObjectRequest *request = exchange->request;
    if (request->tenant != NULL)
        TRY(exchange_own(exchange, request->tenant, error));
    return model_record_all(records, exchange_scope(exchange), request->tenant, request->after,
                            page_limit(request->has_limit, request->limit), &exchange->arena,
                            exchange_reply(exchange), error);
}

enum status model_version_find(struct records *records, struct exchange *exchange,
                               Api__ShareRight need, const char *tenant, const char *name,
                               const char *version, Api__ModelVersion **version_out,
                               struct error *error)
{
    struct reference reference = {.version = 0};
    if (version != NULL)
        TRY(version_parse(version, &reference, error));
    snprintf(reference.tenant, sizeof(reference.tenant), "%s", tenant);
    snprintf(reference.name, sizeof(reference.name), "%s", name);
    return model_record_version(records, exchange_scope(exchange), need, &reference,
                                &exchange->arena, version_out, error);
}

enum status version_read(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__ObjectRequest *request = exchange->request;
    Api__ModelVersion *version;
    TRY(model_version_find(records, exchange, READ, request->tenant, request->name,
                           request->version, &version, error));
    exchange->reply = version;
    return STATUS_OK;
}

/* An adapter stands on a version that is fixed now, whatever an alias means later. */
static enum status add_parent(struct records *records, struct exchange *exchange,
                              const Api__ModelAddRequest *request, Api__ModelVersion *version,
                              struct error *error)
{
    char text[REFERENCE_TEXT_MAX];
    struct reference reference;
    Api__ModelVersion *parent;
    enum status status = reference_parse(request->parent, &reference, error);
    if (status == STATUS_OK && reference.tenant[0] == '\0')
        snprintf(reference.tenant, sizeof(reference.tenant), "%s", request->tenant);
    if (status == STATUS_OK)
        status = model_record_version(records, SCOPE_TENANT(request->tenant),
                                      API__SHARE_RIGHT__SHARE_RIGHT_USE, &reference,
                                      &exchange->arena, &parent, error);
    if (status != STATUS_OK)
        return error_prefix(error, "parent");
    reference.version = parent->version;
    reference.alias[0] = '\0';
    reference_format(&reference, text);
    version->parent = arena_strdup(&exchange->arena, text);
    version->parent_digest = parent->manifest;
    version->has_adapter = version->adapter = true;
    return STATUS_OK;
}

enum status model_add(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__ModelAddRequest *request = exchange->request;
    Api__ModelVersion *version = exchange_reply(exchange);
    TRY(exchange_own(exchange, request->tenant, error));
    version->tenant = request->tenant;
    version->model = request->name;
    version->manifest = request->manifest;
    version->has_created_ms = version->has_version = true;
    version->created_ms = coordinator_now_ms();
    if (request->parent != NULL)
        TRY(add_parent(records, exchange, request, version, error));
    return model_record_add_version(records, version, &version->version, error);
}

enum status model_promote(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__PromoteRequest *request = exchange->request;
    Api__ModelVersion *version;
    Api__Alias alias = API__ALIAS__INIT;
    TRY(exchange_own(exchange, request->tenant, error));
    TRY(model_version_find(records, exchange, READ, request->tenant, request->name,
                           request->version, &version, error));
    alias.name = request->alias;
    alias.by = exchange->caller.name;
    alias.has_version = alias.has_moved_ms = true;
    alias.version = version->version;
    alias.moved_ms = coordinator_now_ms();
    TRY(model_record_move_alias(records, exchange_scope(exchange), request->tenant, request->name,
                                &alias, error));
    return read_model(records, exchange, request->tenant, request->name, error);
}

/* ---- shares ---------------------------------------------------------------------------------- */

enum status shares_read(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__ObjectRequest *request = exchange->request;
    TRY(exchange_own(exchange, request->tenant, error));
    return share_record_list(records, SCOPE_TENANT(request->tenant), &exchange->arena,
                             exchange_reply(exchange), error);
}

enum status share_put(struct records *records, struct exchange *exchange, struct error *error)
{
    Api__Share *share = exchange->request;
    TRY(exchange_own(exchange, share->tenant, error));
    share->has_created_ms = true;
    share->created_ms = coordinator_now_ms();
    exchange->reply = share;
    return share_record_put(records, share, error);
}

enum status share_remove(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__Share *share = exchange->request;
    TRY(exchange_own(exchange, share->tenant, error));
    return share_record_remove(records, share, error);
}
