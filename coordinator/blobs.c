/* SPDX-License-Identifier: Apache-2.0
 *
 * blobs: chunks from people and workers into the store, and out of it to them.
 *
 * An upload's last chunk takes two threads: the store's renames the file, then the database's
 * records it, with what it names if it is a manifest; only then it is said to be complete. After a
 * crash in between the next chunk finds the file whole and records it then.
 */
#include <inttypes.h>
#include <string.h>

#include "coordinator/series.h"
#include "coordinator/state.h"
#include "coordinator/store.h"
#include "lib/check.h"
#include "lib/log.h"
#include "lib/sha256.h"
#include "proto/message.h"
#include "proto/worker.pb-c.h"
#include "storage/records/blob_store.h"
#include "storage/records/records.h"

enum { IN_HAND_MAX = 64, FORGET_MAX = 512 };

/* ---- uploads --------------------------------------------------------------------------------- */

struct upload {
    struct work work;
    struct coordinator *coordinator;
    char tenant[NAME_BYTES_MAX + 1], digest[SHA256_HEX_SIZE];
    const char *root; /* of the store */
    int64_t total, offset, now_ms;
    const void *data;
    size_t length;
    bool only_show;
    struct upload_state state;
    struct arena arena;
    const char **parts;
    int part_count;
    void (*end)(struct upload *upload, enum status status, const struct error *error);
    /* whose: */
    Api__Upload *api;
    coordinator_done *done;
    void *argument;
    struct identity worker;
    void *copy; /* of a worker's chunk */
};

static enum status upload_run(void *context, void *argument, struct error *error)
{
    struct upload *it = argument;
    if (it->only_show)
        return store_upload_show(context, it->tenant, it->digest, &it->state, error);
    TRY(store_upload_put(context, it->tenant, it->digest, it->total, it->offset, it->data,
                         it->length, &it->state, error));
    if (it->state.complete)
        TRY(store_parts(context, it->tenant, it->digest, &it->arena, &it->parts, &it->part_count,
                        error));
    return STATUS_OK;
}

static enum status upload_record(void *context, void *argument, struct error *error)
{
    struct upload *it = argument;
    struct blob_row row = {it->tenant, it->digest, it->state.offset};
    TRY(blob_store_register(context, it->root, &row, it->now_ms, error));
    if (it->part_count == 0)
        return STATUS_OK;
    return blob_record_put_parts(context, it->tenant, it->digest, it->parts, it->part_count, error);
}

static void upload_end(struct upload *it, enum status status, const struct error *error)
{
    if (status != STATUS_OK)
        it->state.complete = false;
    it->end(it, status, error);
    arena_release(&it->arena);
    mem_free(it->copy);
    mem_free(it);
}

static void on_recorded(void *argument, enum status status, const struct error *error)
{
    upload_end(argument, status, error);
}

static void on_stored(void *argument, enum status status, const struct error *error)
{
    struct upload *it = argument;
    if (status == STATUS_FULL)
        space_failed(&it->coordinator->space, now_read(it->coordinator));
    if (status != STATUS_OK || !it->state.complete || it->only_show || it->coordinator->closing) {
        upload_end(it, status, error);
        return;
    }
    it->work = (struct work){
        .kind = WORK_WRITE, .run = upload_record, .done = on_recorded, .argument = it};
    background_add(it->coordinator->database, &it->work);
}

static struct upload *upload_begin(struct coordinator *coordinator, const char *tenant,
                                   const char *digest)
{
    struct upload *it = mem_alloc(sizeof(*it));
    *it = (struct upload){
        .work = {.kind = WORK_WRITE, .run = upload_run, .done = on_stored, .argument = it},
        .coordinator = coordinator,
        .root = store_root(coordinator->store),
        .now_ms = now_read(coordinator)};
    snprintf(it->tenant, sizeof(it->tenant), "%s", tenant);
    snprintf(it->digest, sizeof(it->digest), "%s", digest);
    return it;
}

/* ---- people's -------------------------------------------------------------------------------- */

static void end_for_api(struct upload *it, enum status status, const struct error *error)
{
    it->api->has_offset = it->api->has_complete = true;
    it->api->offset = it->state.offset;
    it->api->complete = it->state.complete;
    it->done(it->argument, status, error);
}

static struct upload *api_begin(struct coordinator *coordinator, Api__Upload *upload,
                                coordinator_done *done, void *argument)
{
    struct upload *it = upload_begin(coordinator, upload->tenant != NULL ? upload->tenant : "",
                                     upload->digest != NULL ? upload->digest : "");
    it->end = end_for_api;
    it->api = upload;
    it->done = done;
    it->argument = argument;
    return it;
}

void coordinator_upload_show(struct coordinator *coordinator, Api__Upload *upload,
                             coordinator_done *done, void *argument)
{
    struct upload *it = api_begin(coordinator, upload, done, argument);
    it->only_show = true;
    background_add(coordinator->store_thread, &it->work);
}

void coordinator_upload_put(struct coordinator *coordinator, Api__Upload *upload, const void *data,
                            size_t length, coordinator_done *done, void *argument)
{
    struct upload *it = api_begin(coordinator, upload, done, argument);
    it->total = upload->bytes;
    it->offset = upload->offset;
    it->data = data;
    it->length = length;
    background_add(coordinator->store_thread, &it->work);
}

/* ---- workers' -------------------------------------------------------------------------------- */

static void blob_ack(struct coordinator *coordinator, struct identity to, const char *tenant,
                     const char *digest, const struct upload_state *state, const char *message,
                     bool full)
{
    Wire__BlobAck ack = WIRE__BLOB_ACK__INIT;
    ack.tenant = tenant[0] != '\0' ? (char *)tenant : NULL; /* protobuf-c knows no const */
    ack.digest = (char *)digest;
    ack.has_offset = ack.has_complete = ack.has_full = true;
    ack.full = full;
    ack.offset = state->offset;
    ack.complete = state->complete;
    ack.message = (char *)message;
    worker_socket_send(coordinator->socket, to, WORKER_BLOB_ACK, &ack);
}

static void end_for_worker(struct upload *it, enum status status, const struct error *error)
{
    if (it->coordinator->closing)
        return;
    bool failed = status != STATUS_OK && status != STATUS_CONFLICT; /* the offset says it all */
    if (failed)
        log_warn("chunk of blob %.12s at %" PRId64 ": %s", it->digest, it->offset, error->text);
    blob_ack(it->coordinator, it->worker, it->tenant, it->digest, &it->state,
             failed ? error->text : NULL, status == STATUS_FULL);
}

static void on_chunk(struct coordinator *coordinator, struct identity from,
                     const Wire__BlobChunk *chunk)
{
    if (background_waiting(coordinator->store_thread) > IN_HAND_MAX * 8)
        return; /* no answer: it comes again */
    struct upload *it =
        upload_begin(coordinator, chunk->tenant != NULL ? chunk->tenant : "", chunk->digest);
    it->end = end_for_worker;
    it->worker = from;
    it->total = chunk->size;
    it->offset = chunk->offset;
    it->length = chunk->data.len;
    it->copy = mem_alloc(it->length + 1);
    if (it->length > 0)
        memcpy(it->copy, chunk->data.data, it->length);
    it->data = it->copy;
    background_add(coordinator->store_thread, &it->work);
}

/* ---- reading --------------------------------------------------------------------------------- */

struct blob_read {
    struct work work;
    struct coordinator *coordinator;
    char tenant[NAME_BYTES_MAX + 1], digest[SHA256_HEX_SIZE];
    int64_t offset, size;
    size_t length;
    bool anywhere;
    struct buf own, *out;
    int64_t *size_out;
    struct identity worker;
    coordinator_done *done;
    void *argument;
};

static enum status read_run(void *context, void *argument, struct error *error)
{
    struct blob_read *it = argument;
    return store_read(context, it->tenant, it->digest, it->anywhere, it->offset, it->length,
                      it->out, &it->size, error);
}

static void on_read_for_api(void *argument, enum status status, const struct error *error)
{
    struct blob_read *it = argument;
    if (status == STATUS_OK)
        *it->size_out = it->size;
    it->done(it->argument, status, error);
    mem_free(it);
}

static void on_read_for_worker(void *argument, enum status status, const struct error *error)
{
    struct blob_read *it = argument;
    if (it->coordinator->closing) {
        /* nobody is told anything */
    } else if (status != STATUS_OK) {
        struct upload_state none = {.offset = it->offset};
        blob_ack(it->coordinator, it->worker, it->tenant, it->digest, &none, error->text, false);
    } else {
        Wire__BlobChunk chunk = WIRE__BLOB_CHUNK__INIT;
        chunk.tenant = it->tenant[0] != '\0' ? it->tenant : NULL;
        chunk.digest = it->digest;
        chunk.has_offset = chunk.has_size = chunk.has_data = true;
        chunk.offset = it->offset;
        chunk.size = it->size;
        chunk.data = (ProtobufCBinaryData){it->own.length, (uint8_t *)it->own.data};
        worker_socket_send(it->coordinator->socket, it->worker, WORKER_BLOB_CHUNK, &chunk);
    }
    buf_release(&it->own);
    mem_free(it);
}

static struct blob_read *read_begin(struct coordinator *coordinator, const char *tenant,
                                    const char *digest, int64_t offset, size_t length)
{
    struct blob_read *it = mem_alloc(sizeof(*it));
    *it = (struct blob_read){.work = {.kind = WORK_READ, .run = read_run, .argument = it},
                             .coordinator = coordinator,
                             .offset = offset,
                             .length = length < CHUNK_BYTES_MAX ? length : CHUNK_BYTES_MAX};
    snprintf(it->tenant, sizeof(it->tenant), "%s", tenant != NULL ? tenant : "");
    snprintf(it->digest, sizeof(it->digest), "%s", digest != NULL ? digest : "");
    return it;
}

void coordinator_blob_read(struct coordinator *coordinator, const char *tenant, const char *digest,
                           int64_t offset, size_t length, struct buf *out, int64_t *size_out,
                           coordinator_done *done, void *argument)
{
    struct blob_read *it = read_begin(coordinator, tenant, digest, offset, length);
    it->work.done = on_read_for_api;
    it->out = out;
    it->size_out = size_out;
    it->done = done;
    it->argument = argument;
    background_add(coordinator->store_thread, &it->work);
}

void on_blob(struct coordinator *coordinator, struct identity from,
             const struct worker_message *row, const void *message)
{
    if (row->id == WORKER_BLOB_CHUNK && ((const Wire__BlobChunk *)message)->digest != NULL) {
        on_chunk(coordinator, from, message);
    } else if (row->id == WORKER_BLOB_GET) {
        const Wire__BlobGet *get = message;
        struct blob_read *it = read_begin(coordinator, get->tenant, get->digest, get->offset,
                                          get->has_bytes ? (size_t)get->bytes : MIB);
        it->work.done = on_read_for_worker;
        it->out = &it->own;
        it->anywhere = true;
        it->worker = from;
        background_add(coordinator->store_thread, &it->work);
    }
}

/* ---- garbage: on the database's thread, which registers blobs too ------------------------------
 */

struct collection {
    struct work work;
    struct coordinator *coordinator;
    const char *root;
    int64_t now_ms, grace_ms, bytes;
    struct arena arena;
    struct blob_garbage garbage;
    Api__GcReply *reply;
    bool purges;    /* empties the records' log too, and the workers' caches */
    int gone_count; /* of the garbage: what no tenant has any more, moved to the front */
    coordinator_done *done;
    void *argument;
};

static enum status gc_mark(void *context, void *argument, struct error *error)
{
    struct collection *it = argument;
    /* What was put later may be about to be named. */
    return blob_store_mark(context, it->now_ms, it->now_ms - it->grace_ms, it->reply->dry_run,
                           &it->arena, &it->garbage, error);
}

static enum status gc_sweep(void *context, void *argument, struct error *error)
{
    struct collection *it = argument;
    return blob_store_sweep(context, it->root, &it->garbage, &it->bytes, error);
}

static void collection_end(void *argument, enum status status, const struct error *error)
{
    struct collection *it = argument;
    it->reply->has_blobs = it->reply->has_bytes = it->reply->has_dry_run = true;
    it->reply->blobs = it->garbage.count;
    it->reply->bytes = it->garbage.bytes;
    it->done(it->argument, status, error);
    arena_release(&it->arena);
    mem_free(it);
}

/* Their caches drop it too. What another tenant has stays: somebody may be about to use it. */
static void tell_workers(struct coordinator *coordinator, const struct blob_row *rows, int count)
{
    char *digests[FORGET_MAX];
    for (int done = 0; done < count;) {
        Wire__BlobForget forget = WIRE__BLOB_FORGET__INIT;
        forget.digests = digests;
        while (forget.n_digests < FORGET_MAX && done < count)
            digests[forget.n_digests++] = (char *)rows[done++].digest;
        for (uint32_t i = 0; i < coordinator->member_count; i++)
            worker_socket_send(coordinator->socket, worker_identity(coordinator->members[i]->id),
                               WORKER_BLOB_FORGET, &forget);
    }
}

static enum status gc_scrub(struct records *records, void *argument, struct error *error)
{
    struct collection *it = argument;
    TRY(blob_record_gone(records, it->garbage.rows, &it->gone_count, error));
    return records_scrub(records, error);
}

static void on_scrubbed(void *argument, enum status status, const struct error *error)
{
    struct collection *it = argument;
    if (status == STATUS_OK && !it->coordinator->closing)
        tell_workers(it->coordinator, it->garbage.rows, it->gone_count);
    collection_end(it, status, error);
}

static void on_swept(void *argument, enum status status, const struct error *error)
{
    struct collection *it = argument;
    it->gone_count = it->garbage.count;
    if (status == STATUS_OK && it->purges && !it->coordinator->closing)
        coordinator_alone(it->coordinator, gc_scrub, on_scrubbed, it);
    else
        collection_end(it, status, error);
}

static void on_marked(void *argument, enum status status, const struct error *error)
{
    struct collection *it = argument;
    if (status != STATUS_OK || it->reply->dry_run || it->coordinator->closing) {
        on_swept(argument, status, error);
        return;
    }
    it->work = (struct work){.kind = WORK_READ, .run = gc_sweep, .done = on_swept, .argument = it};
    background_add(it->coordinator->database, &it->work);
}

static struct collection *collection_begin(struct coordinator *coordinator, coordinator_done *done,
                                           void *argument)
{
    struct collection *it = mem_alloc(sizeof(*it));
    *it = (struct collection){
        .work = {.kind = WORK_WRITE, .run = gc_mark, .done = on_marked, .argument = it},
        .coordinator = coordinator,
        .root = store_root(coordinator->store),
        .now_ms = now_read(coordinator),
        .grace_ms = coordinator->options.gc_grace_ms,
        .done = done,
        .argument = argument};
    return it;
}

void coordinator_gc(struct coordinator *coordinator, Api__GcReply *reply, coordinator_done *done,
                    void *argument)
{
    struct collection *it = collection_begin(coordinator, done, argument);
    it->reply = reply;
    background_add(coordinator->database, &it->work);
}

void coordinator_purge(struct coordinator *coordinator, coordinator_done *done, void *argument)
{
    struct collection *it = collection_begin(coordinator, done, argument);
    it->reply = message_new(&it->arena, &api__gc_reply__descriptor);
    it->purges = true;
    series_forget(coordinator);
    background_add(coordinator->database, &it->work);
}
