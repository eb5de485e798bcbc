/* SPDX-License-Identifier: Apache-2.0
 */
#include "worker/agent/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/log.h"
#include "storage/files/blob.h"
#include "storage/files/upload.h"

void transfer_add(struct transfer *transfer, enum transfer_kind kind, const char *digest, int mark)
{
    if (transfer->count == transfer->capacity) {
        transfer->capacity = transfer->capacity != 0 ? 2 * transfer->capacity : 16;
        transfer->items = mem_grow(
            transfer->items, size_mul((size_t)transfer->capacity, sizeof(struct transfer_item)));
    }
    struct transfer_item *item = &transfer->items[transfer->count++];
    *item = (struct transfer_item){.kind = kind, .mark = mark};
    snprintf(item->digest, sizeof(item->digest), "%s", digest != NULL ? digest : "");
}

void transfer_await(struct transfer *transfer, const char *digest, int64_t bytes)
{
    transfer_add(transfer, TRANSFER_AWAIT, digest, 0);
    transfer->items[transfer->count - 1].bytes = bytes;
}

static void take_off(struct transfer *transfer, int count)
{
    transfer->count -= count;
    memmove(transfer->items, transfer->items + count,
            (size_t)transfer->count * sizeof(*transfer->items));
    transfer->offset = transfer->asked_ms = transfer->awaited_ms = 0;
    transfer->refusals = 0;
}

static void next(struct transfer *transfer)
{
    take_off(transfer, 1);
}

void transfer_skip(struct transfer *transfer)
{
    int count = 0;
    while (count < transfer->count && transfer->items[count++].kind != TRANSFER_MARK)
        continue;
    take_off(transfer, count);
}

void transfer_drop(struct transfer *transfer)
{
    take_off(transfer, transfer->count);
}

int64_t transfer_awaited(const struct transfer *transfer, int64_t now_ms)
{
    bool awaits = transfer->count > 0 && transfer->items[0].kind == TRANSFER_AWAIT;
    return awaits && transfer->awaited_ms != 0 ? now_ms - transfer->awaited_ms : 0;
}

static void fail(struct transfer *transfer, enum status status, const struct error *error)
{
    transfer->status = status;
    transfer->error = *error;
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* The cluster has no name among the tenants. */
static char *whose(const struct transfer *transfer)
{
    return transfer->tenant[0] != '\0' ? (char *)transfer->tenant : NULL; /* it knows no const */
}

static bool is_under_way(const struct transfer_arrivals *arrivals, const char *digest,
                         int64_t offset, int64_t now_ms)
{
    for (int i = 0; i < TRANSFER_ARRIVALS_MAX; i++)
        if (strcmp(arrivals->items[i].digest, digest) == 0)
            return arrivals->items[i].offset == offset &&
                   now_ms - arrivals->items[i].asked_ms < TRANSFER_RETRY_MS;
    return false;
}

static void note_arrival(struct transfer_arrivals *arrivals, const char *digest, int64_t offset,
                         int64_t now_ms)
{
    int i = 0;
    while (i < TRANSFER_ARRIVALS_MAX && strcmp(arrivals->items[i].digest, digest) != 0)
        i++;
    if (i == TRANSFER_ARRIVALS_MAX) {
        i = arrivals->next;
        arrivals->next = (i + 1) % TRANSFER_ARRIVALS_MAX;
        snprintf(arrivals->items[i].digest, sizeof(arrivals->items[i].digest), "%s", digest);
    }
    arrivals->items[i].offset = offset;
    arrivals->items[i].asked_ms = now_ms;
}

static bool ask(struct transfer *transfer, struct link *link, int64_t now_ms)
{
    Wire__BlobGet get = WIRE__BLOB_GET__INIT;
    int64_t have;
    bool complete;
    const char *digest = transfer->items[0].digest;
    if (cache_has(transfer->cache, digest)) {
        next(transfer);
        return true;
    }
    enum status status =
        upload_state(transfer->cache->dir, digest, &have, &complete, &transfer->error);
    if (status != STATUS_OK) {
        transfer->status = status;
        return false;
    }
    if (is_under_way(transfer->arrivals, digest, have, now_ms)) {
        transfer->asked_ms = now_ms;
        return false;
    }
    get.tenant = whose(transfer);
    get.digest = (char *)digest;
    get.has_offset = get.has_bytes = true;
    get.offset = have;
    get.bytes = TRANSFER_CHUNK;
    if (link_send(link, WORKER_BLOB_GET, &get)) {
        transfer->asked_ms = now_ms;
        note_arrival(transfer->arrivals, digest, have, now_ms);
    }
    return false;
}

static enum status read_chunk(const struct transfer *transfer, uint8_t *block, size_t *length_out,
                              int64_t *size_out, struct error *error)
{
    char path[PATH_MAX];
    struct stat info;
    TRY(blob_path(transfer->cache->dir, transfer->items[0].digest, path, error));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got =
        fd >= 0 && fstat(fd, &info) == 0 ? pread(fd, block, TRANSFER_CHUNK, transfer->offset) : -1;
    int saved = errno;
    if (fd >= 0)
        close(fd);
    if (got < 0)
        return error_set(error, STATUS_IO, "%s: %s", path, strerror(saved));
    *length_out = (size_t)got;
    *size_out = info.st_size;
    return STATUS_OK;
}

static void send_chunk(struct transfer *transfer, struct link *link, int64_t offset, int64_t size,
                       uint8_t *data, size_t length, int64_t now_ms)
{
    Wire__BlobChunk chunk = WIRE__BLOB_CHUNK__INIT;
    chunk.tenant = whose(transfer);
    chunk.digest = transfer->items[0].digest;
    chunk.has_offset = chunk.has_size = chunk.has_data = true;
    chunk.offset = offset;
    chunk.size = size;
    chunk.data = (ProtobufCBinaryData){length, data};
    if (link_send(link, WORKER_BLOB_CHUNK, &chunk))
        transfer->asked_ms = now_ms;
}

static void tell(struct transfer *transfer, struct link *link, int64_t now_ms)
{
    struct error error;
    size_t length;
    int64_t size;
    uint8_t *block = mem_alloc(TRANSFER_CHUNK);
    enum status status = read_chunk(transfer, block, &length, &size, &error);
    if (status == STATUS_OK)
        send_chunk(transfer, link, transfer->offset, size, block, length, now_ms);
    else
        fail(transfer, status, &error);
    mem_free(block);
}

static void inquire(struct transfer *transfer, struct link *link, int64_t now_ms)
{
    uint8_t nothing = 0;
    if (transfer->awaited_ms == 0)
        transfer->awaited_ms = now_ms;
    send_chunk(transfer, link, 0, transfer->items[0].bytes, &nothing, 0, now_ms);
}

int transfer_turn(struct transfer *transfer, struct link *link, int64_t now_ms)
{
    while (transfer->count > 0 && transfer->status == STATUS_OK) {
        enum transfer_kind kind = transfer->items[0].kind;
        int64_t pause_ms = kind == TRANSFER_AWAIT ? TRANSFER_AWAIT_MS : TRANSFER_RETRY_MS;
        bool waits = transfer->asked_ms != 0 && now_ms - transfer->asked_ms < pause_ms;
        if (kind == TRANSFER_MARK) {
            int mark = transfer->items[0].mark;
            next(transfer);
            return mark;
        }
        if (waits || !link->up)
            return -1;
        if (kind == TRANSFER_PUT) {
            tell(transfer, link, now_ms);
            return -1;
        }
        if (kind == TRANSFER_AWAIT) {
            inquire(transfer, link, now_ms);
            return -1;
        }
        if (!ask(transfer, link, now_ms))
            return -1;
    }
    return -1;
}

bool transfer_is_idle(const struct transfer *transfer)
{
    return transfer->count == 0;
}

/* ---- answers --------------------------------------------------------------------------------- */

static bool is_first(const struct transfer *transfer, enum transfer_kind kind, const char *digest)
{
    return transfer->count > 0 && transfer->items[0].kind == kind && digest != NULL &&
           strcmp(transfer->items[0].digest, digest) == 0;
}

/* A refusal may be of the moment: a few of them are for good. */
static void refused(struct transfer *transfer, const char *message)
{
    struct error error;
    transfer->asked_ms = transfer->asked_ms != 0 ? transfer->asked_ms : 1;
    if (++transfer->refusals < TRANSFER_REFUSALS_MAX)
        return;
    error_set(&error, STATUS_IO, "blob %.12s…: %s", transfer->items[0].digest, message);
    fail(transfer, STATUS_IO, &error);
}

void transfer_on_chunk(struct transfer *transfer, const Wire__BlobChunk *chunk)
{
    struct error error;
    int64_t offset;
    bool complete;
    if (!is_first(transfer, TRANSFER_GET, chunk->digest) || transfer->status != STATUS_OK)
        return;
    if (chunk->offset == 0)
        cache_evict(transfer->cache, chunk->size);
    enum status status =
        upload_write(transfer->cache->dir, chunk->digest, chunk->size, chunk->offset,
                     chunk->data.data, chunk->data.len, &offset, &complete, &error);
    transfer->asked_ms = 0;
    if (status == STATUS_OK && complete)
        next(transfer);
    else if (status == STATUS_FORMAT) /* came damaged: once more from the beginning */
        refused(transfer, error.text);
    else if (status != STATUS_OK && status != STATUS_CONFLICT)
        fail(transfer, status, &error);
}

void transfer_on_ack(struct transfer *transfer, const Wire__BlobAck *ack)
{
    if (transfer->status != STATUS_OK || transfer->count == 0)
        return;
    bool put = is_first(transfer, TRANSFER_PUT, ack->digest);
    bool await = is_first(transfer, TRANSFER_AWAIT, ack->digest);
    if (is_first(transfer, TRANSFER_GET, ack->digest) && ack->message != NULL) {
        refused(transfer, ack->message);
    } else if (put || await) {
        bool moved = transfer->offset != ack->offset;
        transfer->full = ack->full;
        transfer->offset = ack->offset;
        if (ack->full)
            return; /* asked again when it is time */
        if (ack->message != NULL)
            refused(transfer, ack->message);
        else if (ack->complete)
            next(transfer);
        else if (put && moved) /* else it is the answer to another who puts it */
            transfer->asked_ms = 0;
        else if (moved)
            transfer->awaited_ms = 0;
    }
}

void transfer_again(struct transfer *transfer)
{
    transfer->asked_ms = 0;
}

void transfer_release(struct transfer *transfer)
{
    mem_free(transfer->items);
    transfer->items = NULL;
    transfer->count = 0;
}
