/* SPDX-License-Identifier: Apache-2.0
 *
 * on_bases: pretrained models, the cluster's, for every tenant to train from.
 *
 * A Hugging Face directory is one as it was uploaded. A GGUF file becomes one by a job of stage
 * import: the file and the job are a tenant's, what the job writes is the cluster's (job.h,
 * job_store). Base and job are one transaction, as a dataset and its admission are: no base waits
 * for a job that nobody knows of; the job's end makes the base ready or rejected (change_rows.c).
 */
#include <string.h>

#include "coordinator/api/handlers.h"
#include "coordinator/api/resolve.h"
#include "lib/buf.h"
#include "lib/check.h"
#include "storage/records/dataset_record.h"

struct import {
    struct resolution resolution;
    struct job_submission submission;
    Api__Base *base;
};

/* ---- what there is --------------------------------------------------------------------------- */

enum status bases_read(struct records *records, struct exchange *exchange, struct error *error)
{
    return base_record_list(records, &exchange->arena, exchange_reply(exchange), error);
}

enum status base_read(struct records *records, struct exchange *exchange, struct error *error)
{
    Api__Base *base;
    TRY(base_record_get(records, ((const Api__ObjectRequest *)exchange->request)->name,
                        &exchange->arena, &base, error));
    exchange->reply = base;
    return STATUS_OK;
}

enum status base_remove(struct records *records, struct exchange *exchange, struct error *error)
{
    return base_record_remove(records, ((const Api__ObjectRequest *)exchange->request)->name,
                              &exchange->arena, exchange_reply(exchange), error);
}

/* ---- adding: the database's thread ----------------------------------------------------------- */

static enum status spec_make(struct exchange *exchange, const Api__BaseAddRequest *request,
                             struct spec **spec_out, struct error *error)
{
    struct buf text = {0};
    buf_append_string(&text, "{\"stage\":\"import\",\"name\":");
    buf_append_json_string(&text, request->name, strlen(request->name));
    buf_printf(&text, ",\"from\":\"sha256:%s\"}", request->gguf);
    enum status status = spec_parse(&exchange->arena, "the request", text.data, text.length, NULL,
                                    0, spec_out, error);
    buf_release(&text);
    return status;
}

enum status base_resolve(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__BaseAddRequest *request = exchange->request;
    struct import *it = arena_new(&exchange->arena, struct import);
    struct resolution *resolution = &it->resolution;
    Api__Base *base = exchange_reply(exchange);
    if ((request->manifest != NULL) == (request->gguf != NULL))
        return error_set(error, STATUS_USAGE,
                         "give the base as `manifest` (of its files) or as `gguf` (one file)");
    *it = (struct import){.resolution = {.arena = &exchange->arena}, .base = base};
    exchange->state = it;
    base->name = request->name;
    base->manifest = request->manifest;
    base->has_state = base->has_created_ms = base->has_id = true;
    base->created_ms = coordinator_now_ms();
    base->state = request->gguf != NULL ? API__BASE_STATE__BASE_STATE_IMPORTING
                                        : API__BASE_STATE__BASE_STATE_READY;
    if (request->gguf == NULL)
        return need_blob(records, "", request->manifest, "manifest", error);
    TRY(exchange_tenant(exchange, request->tenant, &resolution->tenant, error));
    TRY(need_blob(records, resolution->tenant, request->gguf, "gguf", error));
    TRY(spec_make(exchange, request, &resolution->spec, error));
    return resolve_spec(records, resolution, error);
}

static enum status insert(struct records *records, void *argument, struct error *error)
{
    struct import *it = ((struct exchange *)argument)->state;
    const struct resolution *resolution = &it->resolution;
    if (resolution->input_count > 0) {
        struct reference *object = &it->resolution.inputs[resolution->input_count - 1].object;
        snprintf(object->name, sizeof(object->name), "%s", it->base->name);
    }
    for (int i = 0; i < resolution->pin_count; i++)
        TRY(base_record_keep_source(records, it->base->name, resolution->tenant,
                                    resolution->pins[i], error));
    return base_record_insert(records, it->base, &it->base->id, error);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void on_submitted(void *argument, enum status status, const struct error *error)
{
    struct exchange *exchange = argument;
    struct import *it = exchange->state;
    it->base->has_job_id = status == STATUS_OK;
    it->base->job_id = it->submission.id;
    exchange_done(exchange, status, error);
}

void base_add(struct exchange *exchange)
{
    struct import *it = exchange->state;
    struct resolution *resolution = &it->resolution;
    if (resolution->spec == NULL) {
        coordinator_write(exchange->api->coordinator, insert, exchange_on_done, exchange);
        return;
    }
    object_job_submit(exchange, resolution, &it->submission, API__OBJECT_KIND__OBJECT_KIND_BASE,
                      false, insert, on_submitted);
}
