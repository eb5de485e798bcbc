/* SPDX-License-Identifier: Apache-2.0
 *
 * worker_message: the table of worker_messages.def, and its messages as bytes on the wire.
 *
 *     byte 0, 1   'T' 'W'
 *     byte 2      WORKER_WIRE_FORMAT: of these four bytes, not of the messages
 *     byte 3      the message's number
 *     the rest    the message, in protobuf's encoding
 *
 * Which version of the *messages* two programs speak is settled by hello and welcome: the newest
 * that both know, or a refusal that says which side to upgrade.
 */
#ifndef TAILOR_PROTO_WORKER_MESSAGE_H
#define TAILOR_PROTO_WORKER_MESSAGE_H

#include <stdbool.h>

#include "proto/message.h"

enum { WORKER_WIRE_FORMAT = 1, WORKER_VERSION = 1, WORKER_VERSION_MIN = 1 };

enum worker_message_id {
#define WORKER_MESSAGE(number, id, type, from, bytes_max, stamped, help) WORKER_##id = (number),
#include "proto/worker_messages.def"
};

enum worker_peer { WORKER_FROM_WORKER = 1, WORKER_FROM_COORDINATOR = 2, WORKER_FROM_BOTH = 3 };

struct worker_message {
    enum worker_message_id id;
    const char *name;
    const ProtobufCMessageDescriptor *type;
    enum worker_peer from;
    size_t bytes_max;
    bool stamped; /* its first field is a Stamp */
    const char *help;
};

const struct worker_message *worker_message_at(int index);    /* NULL behind the last */
const struct worker_message *worker_message_find(int number); /* NULL: unknown */

/* Appends header and message. CHECKs that it is what the table says and within its limit: what we
 * send we have made, and lists are cut before. */
void worker_message_pack(enum worker_message_id id, const void *message, struct buf *out);
/* `from` is who sent it: a message that this peer may not send is STATUS_DENIED; bytes that are
 * none are STATUS_FORMAT; a stamped one without a whole stamp is STATUS_USAGE. */
enum status worker_message_unpack(struct arena *arena, enum worker_peer from, const void *bytes,
                                  size_t length, const struct worker_message **row_out,
                                  void *message_out, struct error *error);

/* The version that a worker of [min, max] and this program speak; STATUS_UNSUPPORTED says which
 * side is too old. */
enum status worker_version_agree(int64_t min, int64_t max, int64_t *version_out,
                                 struct error *error);

#endif
