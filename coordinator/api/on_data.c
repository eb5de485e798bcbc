/* SPDX-License-Identifier: Apache-2.0
 *
 * on_data: datasets, and the uploads that they and bases come from.
 *
 * A dataset is registered when its file is in the store (on_admission.c). Bases belong to the
 * cluster (on_bases.c): their files are uploaded under the tenant name "cluster", which is no
 * tenant, by an admin.
 */
#include <inttypes.h>
#include <string.h>

#include "coordinator/api/handlers.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "storage/records/blob_record.h"
#include "storage/records/dataset_record.h"
#include "storage/records/tenant_record.h"

#define CLUSTER "cluster"
#define READ    API__SHARE_RIGHT__SHARE_RIGHT_READ

enum status need_blob(struct records *records, const char *tenant, const char *digest,
                      const char *field, struct error *error)
{
    bool has;
    TRY(blob_record_has(records, tenant, digest, &has, error));
    if (!has)
        return error_set(error, STATUS_NOT_FOUND, "%s: %.12s… has not been uploaded", field,
                         digest);
    return STATUS_OK;
}

/* ---- datasets -------------------------------------------------------------------------------- */

enum status datasets_read(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__ObjectRequest *request = exchange->request;
    return dataset_record_list(records, exchange_scope(exchange), request->tenant, request->after,
                               page_limit(request->has_limit, request->limit), &exchange->arena,
                               exchange_reply(exchange), error);
}

enum status dataset_read(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__ObjectRequest *request = exchange->request;
    struct reference version = {.version = 0};
    Api__Dataset *dataset;
    if (request->version != NULL)
        TRY(version_parse(request->version, &version, error));
    if (version.alias[0] != '\0')
        return error_set(error, STATUS_USAGE, "version: datasets have numbers, no aliases");
    TRY(dataset_record_get(records, exchange_scope(exchange), READ, request->tenant, request->name,
                           version.version, &exchange->arena, &dataset, error));
    exchange->reply = dataset;
    return STATUS_OK;
}

enum status dataset_remove(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__ObjectRequest *request = exchange->request;
    return dataset_record_remove(records, exchange_scope(exchange), request->tenant, request->name,
                                 &exchange->arena, exchange_reply(exchange), error);
}

/* ---- what is left of a thing that was removed ------------------------------------------------ */

static void on_purged(void *argument, enum status status, const struct error *error)
{
    if (status != STATUS_OK) /* its rows are gone; the rest goes with the next garbage */
        log_warn("what was removed is not purged yet: %s", error->text);
    exchange_done(argument, STATUS_OK, NULL);
}

void object_removed(struct exchange *exchange)
{
    coordinator_purge(exchange->api->coordinator, on_purged, exchange);
}

/* ---- uploads --------------------------------------------------------------------------------- */

enum status upload_check(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__UploadRequest *request = exchange->request;
    Api__Upload *upload = exchange_reply(exchange);
    Api__Tenant *tenant;
    if (strcmp(request->tenant, CLUSTER) == 0 && exchange->caller.tenant[0] == '\0') {
        upload->tenant = "";
    } else {
        TRY(tenant_record_get(records, exchange_scope(exchange), request->tenant, &exchange->arena,
                              &tenant, error));
        upload->tenant = tenant->name;
    }
    upload->digest = request->digest;
    upload->has_offset = true;
    upload->offset = request->offset;
    upload->has_bytes = request->has_bytes;
    upload->bytes = request->bytes;
    return STATUS_OK;
}

static void on_upload(void *argument, enum status status, const struct error *error)
{
    struct exchange *exchange = argument;
    Api__Upload *upload = exchange->reply;
    char offset[32];
    if (upload->tenant[0] == '\0')
        upload->tenant = CLUSTER;
    snprintf(offset, sizeof(offset), "%" PRId64, upload->offset);
    evhttp_add_header(evhttp_request_get_output_headers(exchange->http), "Upload-Offset", offset);
    if (status == STATUS_FORMAT)
        exchange->code = 422; /* the digest is not that of the bytes */
    exchange_done(exchange, status, error);
}

void upload_show(struct exchange *exchange)
{
    coordinator_upload_show(exchange->api->coordinator, exchange->reply, on_upload, exchange);
}

void upload_put(struct exchange *exchange)
{
    coordinator_upload_put(exchange->api->coordinator, exchange->reply, exchange->body,
                           exchange->body_length, on_upload, exchange);
}

/* ---- reading them back ----------------------------------------------------------------------- */

/* What lies in the store without a row is nobody's. */
enum status blob_check(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__UploadRequest *request = exchange->request;
    bool has;
    TRY(exchange_own(exchange, request->tenant, error));
    TRY(blob_record_has(records, request->tenant, request->digest, &has, error));
    if (!has)
        return error_set(error, STATUS_NOT_FOUND, "%s has no blob %.12s…", request->tenant,
                         request->digest);
    return STATUS_OK;
}

void blob_read(struct exchange *exchange)
{
    const Api__UploadRequest *request = exchange->request;
    int64_t *size = arena_new(&exchange->arena, int64_t);
    size_t bytes = request->has_bytes && request->bytes > 0 ? (size_t)request->bytes : MIB;
    exchange->content_type = "application/octet-stream";
    coordinator_blob_read(exchange->api->coordinator, request->tenant, request->digest,
                          request->offset, bytes, &exchange->text, size, exchange_on_done,
                          exchange);
}
