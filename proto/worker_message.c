/* SPDX-License-Identifier: Apache-2.0
 *
 * The number stands before the message, so that its limit and its direction are known before a
 * byte of it is parsed. Rejected: one envelope with a oneof; it has to be parsed to be refused.
 */
#include "proto/worker_message.h"

#include <inttypes.h>
#include <string.h>

#include "lib/check.h"
#include "lib/limits.h"
#include "proto/worker.pb-c.h"

enum { HEADER_SIZE = 4 };

static const struct worker_message MESSAGES[] = {
#define WORKER_MESSAGE(number, id_, type_, from_, bytes_max_, stamped_, help_)                     \
    {.id = WORKER_##id_,                                                                           \
     .name = #id_,                                                                                 \
     .type = &wire__##type_##__descriptor,                                                         \
     .from = WORKER_FROM_##from_,                                                                  \
     .bytes_max = bytes_max_,                                                                      \
     .stamped = stamped_,                                                                          \
     .help = help_},
#include "proto/worker_messages.def"
};
enum { MESSAGE_COUNT = sizeof(MESSAGES) / sizeof(MESSAGES[0]) };

const struct worker_message *worker_message_at(int index)
{
    return index >= 0 && index < MESSAGE_COUNT ? &MESSAGES[index] : NULL;
}

const struct worker_message *worker_message_find(int number)
{
    for (int i = 0; i < MESSAGE_COUNT; i++)
        if ((int)MESSAGES[i].id == number)
            return &MESSAGES[i];
    return NULL;
}

void worker_message_pack(enum worker_message_id id, const void *message, struct buf *out)
{
    const struct worker_message *row = worker_message_find((int)id);
    const ProtobufCMessage *base = message;
    const char header[HEADER_SIZE] = {'T', 'W', WORKER_WIRE_FORMAT, (char)id};
    CHECK(row != NULL && base->descriptor == row->type);
    size_t before = out->length;
    buf_append(out, header, sizeof(header));
    message_pack(base, out);
    CHECK(out->length - before - HEADER_SIZE <= row->bytes_max);
}

static enum status check_stamp(const struct worker_message *row, const ProtobufCMessage *message,
                               struct error *error)
{
    const Wire__Stamp *stamp = message_pointer(message, &row->type->fields[0], 0);
    if (stamp == NULL || stamp->job < 1 || stamp->term < 1 || stamp->sequence < 1)
        return error_set(error, STATUS_USAGE, "stamp: job, term and sequence are needed");
    return STATUS_OK;
}

enum status worker_message_unpack(struct arena *arena, enum worker_peer from, const void *bytes,
                                  size_t length, const struct worker_message **row_out,
                                  void *message_out, struct error *error)
{
    const uint8_t *header = bytes;
    if (length < HEADER_SIZE || header[0] != 'T' || header[1] != 'W')
        return error_set(error, STATUS_FORMAT, "%zu bytes that are no message of a worker", length);
    if (header[2] != WORKER_WIRE_FORMAT)
        return error_set(error, STATUS_FORMAT, "wire format %d; this program knows %d", header[2],
                         WORKER_WIRE_FORMAT);
    const struct worker_message *row = worker_message_find(header[3]);
    if (row == NULL)
        return error_set(error, STATUS_FORMAT, "no message has the number %d", header[3]);
    if ((row->from & from) == 0)
        return error_set(error, STATUS_DENIED, "%s is not this peer's to send", row->name);
    ProtobufCMessage *message;
    if (message_unpack(arena, row->type, header + HEADER_SIZE, length - HEADER_SIZE, row->bytes_max,
                       &message, error) != STATUS_OK)
        return error_prefix(error, "%s", row->name);
    if (row->stamped && check_stamp(row, message, error) != STATUS_OK)
        return error_prefix(error, "%s", row->name);
    *row_out = row;
    *(void **)message_out = message;
    return STATUS_OK;
}

enum status worker_version_agree(int64_t min, int64_t max, int64_t *version_out,
                                 struct error *error)
{
    if (min < 1 || max < min)
        return error_set(error, STATUS_USAGE, "versions %" PRId64 " to %" PRId64, min, max);
    if (max < WORKER_VERSION_MIN)
        return error_set(error, STATUS_UNSUPPORTED,
                         "this worker speaks versions up to %" PRId64
                         ", the coordinator from %d: upgrade the worker",
                         max, WORKER_VERSION_MIN);
    if (min > WORKER_VERSION)
        return error_set(error, STATUS_UNSUPPORTED,
                         "this worker speaks versions from %" PRId64
                         ", the coordinator up to %d: upgrade the coordinator",
                         min, WORKER_VERSION);
    *version_out = max < WORKER_VERSION ? max : WORKER_VERSION;
    return STATUS_OK;
}
