/* SPDX-License-Identifier: Apache-2.0
 *
 * on_openai_files: datasets under OpenAI's names, for programs that were written for those.
 *
 *     file-NAME ↔ the newest version of dataset NAME of the caller's tenant
 *
 * A file that is uploaded here becomes the dataset that is called by the first digits of its
 * digest: the same bytes again are the same file. It is judged like every dataset; rows have the
 * form of OpenAI's preference data, or any other that tailor reads. One body holds at most 8 MiB:
 * larger files are uploaded in chunks (`tailor data add`) and are files here all the same.
 */
#include <string.h>

#include "coordinator/api/handlers.h"
#include "coordinator/api/multipart.h"
#include "coordinator/api/openai.h"
#include "lib/limits.h"
#include "lib/sha256.h"
#include "lib/text.h"
#include "storage/records/dataset_record.h"

enum { NAME_DIGITS = 24 };

struct file_upload {
    Api__DatasetAddRequest add; /* the first: it is the exchange's request once it is uploaded */
    Api__Upload upload;
    const char *data;
    bool known; /* the dataset is there: exchange->reply */
};

enum status openai_file_name(struct exchange *exchange, const char *id, const char *field,
                             const char **name_out, struct error *error)
{
    const size_t prefix = sizeof(OPENAI_FILE_PREFIX) - 1;
    if (strncmp(id, OPENAI_FILE_PREFIX, prefix) != 0 ||
        !name_is_valid(id + prefix, strlen(id + prefix)))
        return error_set(error, STATUS_NOT_FOUND,
                         "%s: there is no file %s; files are called " OPENAI_FILE_PREFIX "NAME",
                         field, id);
    *name_out = arena_strdup(&exchange->arena, id + prefix);
    return STATUS_OK;
}

/* ---- what they look like --------------------------------------------------------------------- */

static Api__OpenaiFile *file_of(struct arena *arena, const Api__Dataset *dataset)
{
    Api__OpenaiFile *file = message_new(arena, &api__openai_file__descriptor);
    const bool judged = dataset->state != API__DATASET_STATE__DATASET_STATE_ADMITTING;
    const bool rejected = dataset->state == API__DATASET_STATE__DATASET_STATE_REJECTED;
    file->id = arena_printf(arena, OPENAI_FILE_PREFIX "%s", dataset->name);
    file->object = "file";
    file->has_bytes = file->has_created_at = true;
    file->bytes = dataset->bytes;
    file->created_at = dataset->created_ms / 1000;
    file->filename = dataset->file != NULL ? dataset->file : dataset->name;
    file->purpose = OPENAI_PURPOSE;
    file->status = !judged ? "uploaded" : rejected ? "error" : "processed";
    file->status_details = judged ? dataset->message : NULL;
    return file;
}

void openai_file_shape(struct exchange *exchange)
{
    exchange->reply = file_of(&exchange->arena, exchange->reply);
}

/* ---- reading --------------------------------------------------------------------------------- */

static enum status read_dataset(struct records *records, struct exchange *exchange,
                                Api__Dataset **dataset_out, struct error *error)
{
    const char *name, *tenant;
    const char *id = ((const Api__OpenaiFileRequest *)exchange->request)->file;
    TRY(exchange_tenant(exchange, NULL, &tenant, error));
    TRY(openai_file_name(exchange, id, "file", &name, error));
    return dataset_record_get(records, exchange_scope(exchange), API__SHARE_RIGHT__SHARE_RIGHT_READ,
                              tenant, name, 0, &exchange->arena, dataset_out, error);
}

enum status openai_file_read(struct records *records, struct exchange *exchange,
                             struct error *error)
{
    Api__Dataset *dataset;
    TRY(read_dataset(records, exchange, &dataset, error));
    exchange->reply = dataset;
    return STATUS_OK;
}

/* Datasets come by their numbers, and a page begins behind the one that `after` names. */
enum status openai_files_read(struct records *records, struct exchange *exchange,
                              struct error *error)
{
    const Api__OpenaiFileRequest *request = exchange->request;
    const int64_t limit = page_limit(request->has_limit, request->limit);
    Api__OpenaiFileList *reply = exchange_reply(exchange);
    Api__DatasetList *list = message_new(&exchange->arena, &api__dataset_list__descriptor);
    const char *tenant, *name;
    int64_t after = 0;
    TRY(exchange_tenant(exchange, NULL, &tenant, error));
    reply->object = "list";
    reply->has_has_more = true;
    if (request->purpose != NULL && strcmp(request->purpose, OPENAI_PURPOSE) != 0)
        return STATUS_OK;
    if (request->after != NULL) {
        Api__Dataset *last;
        TRY(openai_file_name(exchange, request->after, "after", &name, error));
        TRY(dataset_record_get(records, exchange_scope(exchange),
                               API__SHARE_RIGHT__SHARE_RIGHT_READ, tenant, name, 0,
                               &exchange->arena, &last, error));
        after = last->id;
    }
    TRY(dataset_record_list(records, exchange_scope(exchange), tenant, after, limit,
                            &exchange->arena, list, error));
    reply->has_more = list->has_next;
    for (size_t i = 0; i < list->n_datasets; i++)
        openai_list_add(&exchange->arena, &reply->base,
                        file_of(&exchange->arena, list->datasets[i]));
    if (reply->n_data > 0) {
        reply->first_id = reply->data[0]->id;
        reply->last_id = reply->data[reply->n_data - 1]->id;
    }
    return STATUS_OK;
}

static void on_content(void *argument, enum status status, const struct error *error)
{
    struct exchange *exchange = argument;
    exchange->reply = NULL; /* the bytes are the answer */
    exchange_done(exchange, status, error);
}

void openai_file_content(struct exchange *exchange)
{
    const Api__Dataset *dataset = exchange->reply;
    struct error error;
    if (dataset->bytes > (int64_t)CHUNK_BYTES_MAX) {
        exchange->hint = arena_printf(&exchange->arena, "GET /v1/tenants/%s/blobs/%s/content",
                                      dataset->tenant, dataset->digest);
        enum status status =
            error_set(&error, STATUS_LIMIT, "the file has more than 8 MiB and is read in parts");
        exchange->code = 413;
        exchange_done(exchange, status, &error);
        return;
    }
    exchange->content_type = "application/octet-stream";
    coordinator_blob_read(exchange->api->coordinator, dataset->tenant, dataset->digest, 0,
                          CHUNK_BYTES_MAX, &exchange->text, arena_new(&exchange->arena, int64_t),
                          on_content, exchange);
}

/* ---- removing -------------------------------------------------------------------------------- */

enum status openai_file_remove(struct records *records, struct exchange *exchange,
                               struct error *error)
{
    Api__Dataset *dataset;
    Api__ReferrerList *referrers = message_new(&exchange->arena, &api__referrer_list__descriptor);
    TRY(read_dataset(records, exchange, &dataset, error));
    exchange->reply = dataset;
    return dataset_record_remove(records, exchange_scope(exchange), dataset->tenant, dataset->name,
                                 &exchange->arena, referrers, error);
}

void openai_file_removed_shape(struct exchange *exchange)
{
    Api__OpenaiDeleted *deleted = message_new(&exchange->arena, &api__openai_deleted__descriptor);
    deleted->id = ((const Api__OpenaiFileRequest *)exchange->request)->file;
    deleted->object = "file";
    deleted->has_deleted = true;
    deleted->deleted = true;
    exchange->reply = deleted;
}

/* ---- uploading ------------------------------------------------------------------------------- */

static enum status read_form(struct exchange *exchange, const struct multipart_part **file_out,
                             struct error *error)
{
    struct multipart_part *parts =
        arena_array(&exchange->arena, struct multipart_part, MULTIPART_PARTS_MAX);
    int count;
    TRY(multipart_read(
        evhttp_find_header(evhttp_request_get_input_headers(exchange->http), "Content-Type"),
        exchange->body, exchange->body_length, parts, &count, error));
    const struct multipart_part *purpose = multipart_find(parts, count, "purpose");
    *file_out = multipart_find(parts, count, "file");
    if (purpose == NULL || purpose->length != sizeof(OPENAI_PURPOSE) - 1 ||
        memcmp(purpose->data, OPENAI_PURPOSE, purpose->length) != 0)
        return error_set(error, STATUS_USAGE, "purpose: there is " OPENAI_PURPOSE " only");
    if (*file_out == NULL || (*file_out)->length == 0)
        return error_set(error, STATUS_USAGE, "file: there is none, or it is empty");
    return STATUS_OK;
}

enum status openai_file_take(struct records *records, struct exchange *exchange,
                             struct error *error)
{
    struct file_upload *it = arena_new(&exchange->arena, struct file_upload);
    const struct multipart_part *file;
    const char *tenant;
    Api__Dataset *dataset;
    char digest[SHA256_HEX_SIZE], filename[MULTIPART_NAME_MAX + 1];
    TRY(exchange_tenant(exchange, NULL, &tenant, error));
    TRY(read_form(exchange, &file, error));
    sha256_hex(file->data, file->length, digest);
    text_clean(file->filename[0] != '\0' ? file->filename : "file.jsonl", filename,
               sizeof(filename));
    exchange->state = it;
    it->data = file->data;
    api__upload__init(&it->upload);
    it->upload.tenant = arena_strdup(&exchange->arena, tenant);
    it->upload.digest = arena_strdup(&exchange->arena, digest);
    it->upload.has_offset = it->upload.has_bytes = true;
    it->upload.bytes = (int64_t)file->length;
    api__dataset_add_request__init(&it->add);
    it->add.tenant = it->upload.tenant;
    it->add.digest = it->upload.digest;
    it->add.name = arena_printf(&exchange->arena, "%.*s", NAME_DIGITS, digest);
    it->add.file = arena_strdup(&exchange->arena, filename);
    enum status status =
        dataset_record_get(records, exchange_scope(exchange), API__SHARE_RIGHT__SHARE_RIGHT_READ,
                           it->add.tenant, it->add.name, 0, &exchange->arena, &dataset, error);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    it->known = status == STATUS_OK;
    exchange->reply = it->known ? dataset : NULL;
    return status;
}

static enum status resolve(struct records *records, void *argument, struct error *error)
{
    return dataset_resolve(records, argument, error);
}

static void on_resolved(void *argument, enum status status, const struct error *error)
{
    struct exchange *exchange = argument;
    if (status != STATUS_OK || exchange->api->stopping) {
        exchange_done(exchange, status, error);
        return;
    }
    const struct file_upload *it = exchange->request;
    ((Api__Dataset *)exchange->reply)->bytes = it->upload.bytes;
    dataset_add(exchange);
}

/* What the store has complete already is as good. */
static void on_uploaded(void *argument, enum status status, const struct error *error)
{
    struct exchange *exchange = argument;
    struct file_upload *it = exchange->state;
    if (status != STATUS_OK && !(status == STATUS_CONFLICT && it->upload.complete)) {
        exchange_done(exchange, status, error);
        return;
    }
    exchange->request = &it->add;
    coordinator_read(exchange->api->coordinator, resolve, on_resolved, exchange);
}

void openai_file_add(struct exchange *exchange)
{
    struct file_upload *it = exchange->state;
    if (it->known)
        exchange_done(exchange, STATUS_OK, NULL);
    else
        coordinator_upload_put(exchange->api->coordinator, &it->upload, it->data,
                               (size_t)it->upload.bytes, on_uploaded, exchange);
}
