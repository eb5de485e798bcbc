/* SPDX-License-Identifier: Apache-2.0
 *
 * message: protobuf-c messages through their descriptors: made, filled, checked, packed, unpacked.
 *
 *     Api__Job *job = message_new(&arena, &api__job__descriptor);
 *     TRY(message_unpack(&arena, &wire__ack__descriptor, bytes, length, REPORT_BYTES_MAX, &ack,
 *                        error));
 *
 * A message and all that hangs on it live in one arena: nothing is freed singly. What comes from
 * outside passes message_check (message_unpack and message_from_json call it): texts are UTF-8
 * without NUL and as field_rules.def says, enums are known, numbers and counts in their ranges.
 * Behind it the code may trust.
 * Unpacking takes at most MESSAGE_BUDGET bytes of memory for each byte. protobuf-c knows no depth
 * limit; the descriptors have none that recurses (a test), so depth is bounded.
 */
#ifndef TAILOR_PROTO_MESSAGE_H
#define TAILOR_PROTO_MESSAGE_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/status.h"

enum field_format {
    FIELD_FORMAT_NONE, /* no row: see field_rules.def */
    FIELD_FORMAT_NAME,
    FIELD_FORMAT_ALIAS,
    FIELD_FORMAT_NAMES,
    FIELD_FORMAT_REFERENCE,
    FIELD_FORMAT_DIGEST,
    FIELD_FORMAT_LINE,
    FIELD_FORMAT_TEXT,
    FIELD_FORMAT_KEY,
    FIELD_FORMAT_JSON,
    FIELD_FORMAT_JSON_OBJECT,
    FIELD_FORMAT_LABEL,
    FIELD_FORMAT_BYTES,
    FIELD_FORMAT_MESSAGE,
    FIELD_FORMAT_ENUM,
    FIELD_FORMAT_NUMBER,
    FIELD_FORMAT_IDENT_JOB, /* in the order of enum ident_kind */
    FIELD_FORMAT_IDENT_BATCH,
    FIELD_FORMAT_IDENT_WORKER,
    FIELD_FORMAT_IDENT_TOKEN,
    FIELD_FORMAT_IDENT_WEBHOOK,
    FIELD_FORMAT_IDENT_TENANT,
    FIELD_FORMAT_IDENT_BASE,
    FIELD_FORMAT_IDENT_DATASET,
    FIELD_FORMAT_IDENT_MODEL,
    FIELD_FORMAT_IDENT_MODEL_VERSION
};

struct field_rule {
    const char *message, *field;
    enum field_format format;
    int64_t min, max;
    int64_t count_max;
};

/* The row of a field, or NULL. Any thread. */
const struct field_rule *field_rule_find(const ProtobufCMessageDescriptor *message,
                                         const ProtobufCFieldDescriptor *field);

/* Zeroed and initialized; never NULL. */
void *message_new(struct arena *arena, const ProtobufCMessageDescriptor *type);

/* Checks a whole message against the rules; STATUS_USAGE names the field ("jobs[3].name: …"). */
enum status message_check(const ProtobufCMessage *message, struct error *error);

/* STATUS_FORMAT for bytes that are no such message, STATUS_LIMIT for too many of them, and what
 * message_check says. Fields that are unknown (of a newer peer) are dropped. */
enum status message_unpack(struct arena *arena, const ProtobufCMessageDescriptor *type,
                           const void *bytes, size_t length, size_t bytes_max, void *message_out,
                           struct error *error);
void message_pack(const ProtobufCMessage *message, struct buf *out); /* appends */

/* A deep copy that lives in the arena; the message has passed message_check. */
void *message_copy(struct arena *arena, const ProtobufCMessage *message);

/* ---- one field at a time: for JSON, for database rows, for path and query parameters ---- */
/* Set or not: a repeated one counts as set when it has an element. */
bool message_has(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);
size_t message_count(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);
/* int64, bool and enum fields; 0 when not set. `index` is 0 unless the field is repeated. */
int64_t message_i64(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                    size_t index);
double message_f64(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                   size_t index);
/* string and message fields; NULL when not set. */
void *message_pointer(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                      size_t index);
/* Sets the field; a repeated one gets one element more. The pointed-to thing is borrowed. */
void message_put_i64(struct arena *arena, ProtobufCMessage *message,
                     const ProtobufCFieldDescriptor *field, int64_t value);
void message_put_f64(struct arena *arena, ProtobufCMessage *message,
                     const ProtobufCFieldDescriptor *field, double value);
void message_put_pointer(struct arena *arena, ProtobufCMessage *message,
                         const ProtobufCFieldDescriptor *field, void *value);
/* A new element of a repeated message field, by the field's name (CHECKs that it is one). */
void *message_add(struct arena *arena, void *message, const char *field);

/* "queued" ↔ JOB_STATE_QUEUED. NULL and −1 when there is no such value. */
const char *enum_text(const ProtobufCEnumDescriptor *type, int64_t value, char out[64]);
int enum_parse(const ProtobufCEnumDescriptor *type, const char *text);

#endif
