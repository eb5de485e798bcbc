/* SPDX-License-Identifier: Apache-2.0
 *
 * on_admission: an uploaded file becomes a dataset's next version, and the job that judges it.
 *
 * Both are one transaction: no dataset waits for a verdict that no job is on its way to. The job's
 * verdict changes the dataset's state (change_rows.c), and only what is accepted is read by other
 * jobs (resolve.c); each of them still judges it by its own data.policy.
 *
 * A large file is judged in shards, as many as the pool has slots; the report is the same. A small
 * one is not: to start a trainer takes longer than to read it.
 *
 * To judge takes a tokenizer and a template: those of the model or base that is named, or of a base
 * of the service. A service without one takes data unseen, and says so.
 */
#include <string.h>

#include "coordinator/api/handlers.h"
#include "coordinator/api/resolve.h"
#include "lib/buf.h"
#include "lib/check.h"
#include "lib/limits.h"
#include "storage/records/blob_record.h"
#include "storage/records/dataset_record.h"
#include "storage/records/tenant_record.h"

struct admission {
    struct resolution resolution;
    struct job_submission submission;
    Api__Dataset *dataset;
    bool shared, sharded;
};

/* ---- the database's thread ------------------------------------------------------------------- */

/* A base of the service: the first that is ready. NULL: there is none. */
static enum status any_base(struct records *records, struct exchange *exchange,
                            const char **name_out, struct error *error)
{
    Api__BaseList *list = message_new(&exchange->arena, &api__base_list__descriptor);
    TRY(base_record_list(records, &exchange->arena, list, error));
    *name_out = NULL;
    for (size_t i = 0; i < list->n_bases && *name_out == NULL; i++)
        if (list->bases[i]->state == API__BASE_STATE__BASE_STATE_READY)
            *name_out = list->bases[i]->name;
    return STATUS_OK;
}

static void put_text(struct buf *out, const char *before, const char *text)
{
    buf_append_string(out, before);
    buf_append_json_string(out, text, strlen(text));
}

static enum status spec_make(struct exchange *exchange, const Api__DatasetAddRequest *request,
                             const char *from, struct spec **spec_out, struct error *error)
{
    struct buf text = {0};
    char label[NAME_BYTES_MAX + 1]; /* for reports */
    label_make(request->file != NULL ? request->file : request->name, label);
    put_text(&text, "{\"stage\":\"admit\",\"name\":", request->name);
    put_text(&text, ",\"from\":", from);
    buf_printf(&text, ",\"data\":{\"eval\":[{\"dataset\":\"sha256:%s\"", request->digest);
    put_text(&text, ",\"name\":", label);
    if (request->domain != NULL)
        put_text(&text, ",\"domain\":", request->domain);
    if (request->columns != NULL)
        buf_printf(&text, ",\"columns\":%s", request->columns);
    buf_printf(&text, "}]},\"resources\":{\"shards\":%lld}}", (long long)request->shards);
    enum status status = spec_parse(&exchange->arena, "the request", text.data, text.length, NULL,
                                    0, spec_out, error);
    buf_release(&text);
    return status;
}

/* Does the file pay for more than one process? */
static enum status is_large(struct records *records, const Api__DatasetAddRequest *request,
                            bool *large_out, struct error *error)
{
    int64_t bytes;
    TRY(blob_record_size(records, request->tenant, request->digest, &bytes, error));
    *large_out = bytes >= (int64_t)ADMISSION_SHARDED_BYTES;
    return STATUS_OK;
}

static enum status check(struct records *records, struct exchange *exchange,
                         const Api__DatasetAddRequest *request, struct error *error)
{
    TRY(exchange_own(exchange, request->tenant, error));
    if (request->shared && exchange->caller.role < API__ROLE__ROLE_TENANT_ADMIN)
        return error_set(error, STATUS_DENIED, "shared: this needs the role tenant_admin");
    return need_blob(records, request->tenant, request->digest, "digest", error);
}

enum status dataset_resolve(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__DatasetAddRequest *request = exchange->request;
    struct admission *it = arena_new(&exchange->arena, struct admission);
    Api__Dataset *dataset = message_new(&exchange->arena, &api__dataset__descriptor);
    const char *from = request->from;
    TRY(check(records, exchange, request, error));
    if (from == NULL)
        TRY(any_base(records, exchange, &from, error));
    *it = (struct admission){.resolution = {.arena = &exchange->arena, .tenant = request->tenant},
                             .dataset = dataset,
                             .shared = request->shared,
                             .sharded = request->shards > 0};
    if (request->shards == 0)
        TRY(is_large(records, request, &it->sharded, error));
    exchange->state = it;
    exchange->reply = dataset;
    dataset->tenant = request->tenant;
    dataset->name = request->name;
    dataset->digest = request->digest;
    dataset->file = request->file;
    dataset->has_state = dataset->has_created_ms = true;
    dataset->created_ms = coordinator_now_ms();
    dataset->state = API__DATASET_STATE__DATASET_STATE_ADMITTING;
    if (from != NULL) {
        TRY(spec_make(exchange, request, from, &it->resolution.spec, error));
        return resolve_spec(records, &it->resolution, error);
    }
    dataset->state = API__DATASET_STATE__DATASET_STATE_ACCEPTED;
    dataset->message = "not judged: the service has no base to read it with";
    return STATUS_OK;
}

static enum status share_with_all(struct records *records, const Api__Dataset *dataset,
                                  struct error *error)
{
    Api__Share share = API__SHARE__INIT;
    share.tenant = dataset->tenant;
    share.name = dataset->name;
    share.grantee = "*";
    share.has_kind = share.has_right = share.has_created_ms = true;
    share.kind = API__OBJECT_KIND__OBJECT_KIND_DATASET;
    share.right = API__SHARE_RIGHT__SHARE_RIGHT_USE;
    share.created_ms = dataset->created_ms;
    return share_record_put(records, &share, error);
}

/* The job reads the version that is made here: that is how its verdict finds it. */
static enum status insert(struct records *records, void *argument, struct error *error)
{
    struct admission *it = ((struct exchange *)argument)->state;
    Api__Dataset *dataset = it->dataset;
    struct resolution *resolution = &it->resolution;
    TRY(dataset_record_insert(records, dataset, &dataset->version, error));
    dataset->has_version = true;
    if (it->submission.input_count > 0) {
        struct reference *object = &resolution->inputs[it->submission.input_count - 1].object;
        *object = (struct reference){.version = dataset->version};
        snprintf(object->tenant, sizeof(object->tenant), "%s", dataset->tenant);
        snprintf(object->name, sizeof(object->name), "%s", dataset->name);
    }
    return it->shared ? share_with_all(records, dataset, error) : STATUS_OK;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void on_submitted(void *argument, enum status status, const struct error *error)
{
    struct exchange *exchange = argument;
    struct admission *it = exchange->state;
    it->dataset->has_job_id = status == STATUS_OK;
    it->dataset->job_id = it->submission.id;
    exchange_done(exchange, status, error);
}

void dataset_add(struct exchange *exchange)
{
    struct admission *it = exchange->state;
    struct resolution *resolution = &it->resolution;
    if (((const Api__DatasetAddRequest *)exchange->request)->dry_run) {
        exchange_done(exchange, STATUS_OK, NULL);
        return;
    }
    if (resolution->spec == NULL) {
        coordinator_write(exchange->api->coordinator, insert, exchange_on_done, exchange);
        return;
    }
    object_job_submit(exchange, resolution, &it->submission, API__OBJECT_KIND__OBJECT_KIND_DATASET,
                      it->sharded, insert, on_submitted);
}
