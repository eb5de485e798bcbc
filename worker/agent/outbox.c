/* SPDX-License-Identifier: Apache-2.0
 *
 * The file is a log of records: a report, or (without bytes) that all up to a sequence is
 * acknowledged. A record whose digest is wrong ends it. Nothing in it is changed in place, so
 * whatever a kill leaves reads as a state that once was.
 */
#include "worker/agent/outbox.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/failpoint.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/sha256.h"

enum { RECORD_MAGIC = 0x78626f74 }; /* "tobx" */

struct record {
    uint32_t magic, length; /* of what follows; 0: an acknowledgement */
    int64_t job, term, sequence;
    char digest[SHA256_HEX_SIZE + 7]; /* of the above, and of what follows */
};

void outbox_init(struct outbox *outbox, int64_t job, int64_t term)
{
    *outbox = (struct outbox){.job = job, .term = term, .fd = -1};
}

/* ---- the file -------------------------------------------------------------------------------- */

static void record_digest(const struct record *record, const void *bytes, char out[SHA256_HEX_SIZE])
{
    struct sha256 *sha = sha256_create();
    sha256_update(sha, record, offsetof(struct record, digest));
    sha256_update(sha, bytes, record->length);
    sha256_finish_hex(sha, out);
}

static void record_add(const struct outbox *outbox, int64_t sequence, const struct buf *bytes,
                       struct buf *out)
{
    struct record record = {.magic = RECORD_MAGIC,
                            .length = bytes != NULL ? (uint32_t)bytes->length : 0,
                            .job = outbox->job,
                            .term = outbox->term,
                            .sequence = sequence};
    record_digest(&record, bytes != NULL ? bytes->data : "", record.digest);
    buf_append(out, &record, sizeof(record));
    if (bytes != NULL)
        buf_append(out, bytes->data, bytes->length);
}

/* What cannot be written is kept in memory alone; what was half written is cut off. */
static void append(struct outbox *outbox, int64_t sequence, const struct buf *bytes)
{
    struct buf record = {0};
    if (outbox->fd < 0)
        return;
    record_add(outbox, sequence, bytes, &record);
    ssize_t written =
        failpoint_fails("outbox_write")
            ? -1
            : pwrite(outbox->fd, record.data, record.length, (off_t)outbox->file_bytes);
    if (written == (ssize_t)record.length)
        outbox->file_bytes += record.length;
    else if (ftruncate(outbox->fd, (off_t)outbox->file_bytes) != 0 || written >= 0 ||
             errno != EINTR)
        log_warn("%s: a report is kept in memory alone: %s", outbox->path,
                 written < 0 ? strerror(errno) : "no space is left");
    buf_release(&record);
}

/* All that waits and nothing else; by a rename, so that a kill finds the old one or the new one. */
static void rewrite(struct outbox *outbox)
{
    struct buf all = {0};
    struct error error;
    int64_t acknowledged = outbox->count > 0 ? outbox->entries[0].sequence - 1 : outbox->sequence;
    record_add(outbox, acknowledged, NULL, &all);
    for (int i = 0; i < outbox->count; i++)
        record_add(outbox, outbox->entries[i].sequence, &outbox->entries[i].bytes, &all);
    enum status status = file_write_atomic(outbox->path, all.data, all.length, &error);
    int fd = status == STATUS_OK ? open(outbox->path, O_RDWR | O_CLOEXEC) : -1;
    if (fd >= 0) {
        close(outbox->fd);
        outbox->fd = fd;
        outbox->file_bytes = all.length;
    } else {
        log_warn("%s: cannot be made smaller: %s", outbox->path,
                 status != STATUS_OK ? error.text : strerror(errno));
    }
    buf_release(&all);
}

enum status outbox_open(struct outbox *outbox, const char *data, struct error *error)
{
    char dir[PATH_MAX], name[64];
    path_join(dir, sizeof(dir), data, "outbox");
    TRY(dir_create(dir, error));
    snprintf(name, sizeof(name), "%" PRId64 "-%" PRId64, outbox->job, outbox->term);
    path_join(outbox->path, sizeof(outbox->path), dir, name);
    outbox->fd = open(outbox->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (outbox->fd >= 0)
        return STATUS_OK;
    bool full = errno == ENOSPC || errno == EDQUOT;
    return error_set(error, full ? STATUS_FULL : STATUS_IO, "%s: %s", outbox->path,
                     strerror(errno));
}

/* ---- what is in it --------------------------------------------------------------------------- */

static void entry_add(struct outbox *outbox, int64_t sequence, const struct buf *bytes)
{
    if (outbox->entries == NULL)
        outbox->entries = mem_alloc(OUTBOX_MAX * sizeof(*outbox->entries));
    CHECK(outbox->count < OUTBOX_MAX);
    outbox->entries[outbox->count++] = (struct outbox_entry){.sequence = sequence, .bytes = *bytes};
    outbox->bytes += bytes->length;
    outbox->sequence = sequence;
}

static void forget(struct outbox *outbox, int64_t sequence)
{
    int done = 0;
    while (done < outbox->count && outbox->entries[done].sequence <= sequence) {
        outbox->bytes -= outbox->entries[done].bytes.length;
        buf_release(&outbox->entries[done++].bytes);
    }
    outbox->count -= done;
    if (done > 0)
        memmove(outbox->entries, outbox->entries + done,
                (size_t)outbox->count * sizeof(*outbox->entries));
}

/* The record at `begin`; false: there is none that is whole. */
static bool record_at(const struct buf *all, size_t begin, struct record *record)
{
    char digest[SHA256_HEX_SIZE];
    if (all->length - begin < sizeof(*record))
        return false;
    memcpy(record, all->data + begin, sizeof(*record));
    size_t left = all->length - begin - sizeof(*record);
    if (record->magic != RECORD_MAGIC || record->length > left || record->job < 1 ||
        record->term < 1 || record->sequence < 0)
        return false;
    record_digest(record, all->data + begin + sizeof(*record), digest);
    return memcmp(digest, record->digest, sizeof(digest)) == 0;
}

enum status outbox_restore(struct outbox *outbox, const char *path, struct error *error)
{
    struct buf all = {0};
    struct record record;
    size_t at = 0;
    outbox_init(outbox, 0, 0);
    snprintf(outbox->path, sizeof(outbox->path), "%s", path);
    TRY(file_read(path, OUTBOX_FILE_MAX + OUTBOX_BYTES_MAX, &all, error));
    while (record_at(&all, at, &record) && outbox->count < OUTBOX_MAX) {
        struct buf bytes = {0};
        buf_append(&bytes, all.data + at + sizeof(record), record.length);
        at += sizeof(record) + record.length;
        outbox->job = record.job;
        outbox->term = record.term;
        if (record.length == 0)
            forget(outbox, record.sequence);
        if (record.length == 0 || record.sequence <= outbox->sequence)
            buf_release(&bytes);
        else
            entry_add(outbox, record.sequence, &bytes);
    }
    bool is_one = at > 0 || all.length == 0; /* empty: it had said nothing yet */
    buf_release(&all);
    outbox->fd = is_one ? open(path, O_RDWR | O_CLOEXEC) : -1;
    outbox->file_bytes = at;
    if (outbox->fd >= 0 && ftruncate(outbox->fd, (off_t)at) == 0)
        return STATUS_OK;
    outbox_close(outbox);
    return error_set(error, STATUS_FORMAT, "%s: is no outbox", path);
}

bool outbox_put(struct outbox *outbox, enum worker_message_id id, Wire__Stamp **stamp_place,
                const void *message, bool once)
{
    Wire__Stamp stamp = WIRE__STAMP__INIT;
    struct buf bytes = {0};
    if (outbox->count >= OUTBOX_MAX - (once ? 0 : OUTBOX_ONCE) ||
        (!once && outbox->bytes >= OUTBOX_BYTES_MAX)) {
        outbox->dropped++;
        return false;
    }
    stamp.has_job = stamp.has_term = stamp.has_sequence = true;
    stamp.job = outbox->job;
    stamp.term = outbox->term;
    stamp.sequence = outbox->sequence + 1;
    *stamp_place = &stamp;
    worker_message_pack(id, message, &bytes);
    *stamp_place = NULL;
    entry_add(outbox, stamp.sequence, &bytes);
    append(outbox, stamp.sequence, &bytes);
    return true;
}

void outbox_send(struct outbox *outbox, struct link *link, int64_t now_ms)
{
    if (outbox->count == 0 || !link->up)
        return;
    int64_t oldest_ms = outbox->entries[0].sent_ms;
    bool again = oldest_ms != 0 && now_ms - oldest_ms >= OUTBOX_RESEND_MS;
    for (int i = 0; i < outbox->count; i++) {
        struct outbox_entry *entry = &outbox->entries[i];
        if (!again && entry->sent_ms != 0)
            continue;
        if (!link_send_bytes(link, entry->bytes.data, entry->bytes.length))
            return;
        entry->sent_ms = now_ms;
    }
}

void outbox_ack(struct outbox *outbox, int64_t sequence)
{
    int before = outbox->count;
    forget(outbox, sequence);
    if (outbox->count == before)
        return;
    append(outbox, sequence, NULL);
    if (outbox->file_bytes > OUTBOX_FILE_MAX)
        rewrite(outbox);
}

void outbox_again(struct outbox *outbox)
{
    for (int i = 0; i < outbox->count; i++)
        outbox->entries[i].sent_ms = 0;
}

void outbox_close(struct outbox *outbox)
{
    bool done = outbox->count == 0;
    forget(outbox, INT64_MAX);
    mem_free(outbox->entries);
    outbox->entries = NULL;
    if (outbox->fd >= 0) {
        close(outbox->fd);
        outbox->fd = -1;
        if (done)
            unlink(outbox->path);
    }
}
