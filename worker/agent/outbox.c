/* SPDX-License-Identifier: Apache-2.0
 */
#include "worker/agent/outbox.h"

#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"

bool outbox_put(struct outbox *outbox, enum worker_message_id id, Wire__Stamp **stamp_place,
                const void *message, bool last)
{
    Wire__Stamp stamp = WIRE__STAMP__INIT;
    if (outbox->count >= OUTBOX_MAX - (last ? 0 : 1))
        return false;
    if (outbox->entries == NULL)
        outbox->entries = mem_alloc(OUTBOX_MAX * sizeof(*outbox->entries));
    stamp.has_job = stamp.has_term = stamp.has_sequence = true;
    stamp.job = outbox->job;
    stamp.term = outbox->term;
    stamp.sequence = ++outbox->sequence;
    *stamp_place = &stamp;
    struct outbox_entry *entry = &outbox->entries[outbox->count++];
    *entry = (struct outbox_entry){.sequence = stamp.sequence};
    worker_message_pack(id, message, &entry->bytes);
    *stamp_place = NULL;
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
    int done = 0;
    while (done < outbox->count && outbox->entries[done].sequence <= sequence)
        buf_release(&outbox->entries[done++].bytes);
    if (done == 0)
        return;
    outbox->count -= done;
    memmove(outbox->entries, outbox->entries + done,
            (size_t)outbox->count * sizeof(*outbox->entries));
}

void outbox_again(struct outbox *outbox)
{
    for (int i = 0; i < outbox->count; i++)
        outbox->entries[i].sent_ms = 0;
}

void outbox_release(struct outbox *outbox)
{
    outbox_ack(outbox, INT64_MAX);
    mem_free(outbox->entries);
    outbox->entries = NULL;
}
