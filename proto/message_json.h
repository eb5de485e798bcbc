/* SPDX-License-Identifier: Apache-2.0
 *
 * message_json: messages as JSON, both ways, by their descriptors. The form is api.proto's.
 *
 *     {"id":"j-17","tenant":"acme","state":"queued","labels":{"team":"support"}}
 *
 * Reading: unknown fields are errors with the nearest right name; null is "not set"; numbers given
 * as strings are taken where they parse exactly; at most MESSAGE_VALUES_MAX values, counted before
 * a tree is built. The caller has bounded the bytes.
 */
#ifndef TAILOR_PROTO_MESSAGE_JSON_H
#define TAILOR_PROTO_MESSAGE_JSON_H

#include "proto/message.h"

/* STATUS_USAGE or STATUS_FORMAT with the place; the message is in the arena and checked. */
enum status message_from_json(struct arena *arena, const ProtobufCMessageDescriptor *type,
                              const char *text, size_t length, void *message_out,
                              struct error *error);
/* Appends without blanks or line feeds, but for those inside JSON that a field holds. */
void message_to_json(const ProtobufCMessage *message, struct buf *out);

/* A field by name; else STATUS_USAGE with the nearest one. */
enum status message_field_find(const ProtobufCMessageDescriptor *type, const char *name,
                               const ProtobufCFieldDescriptor **field_out, struct error *error);
/* Sets a field from a text as it stands in a path, a query or on a command line. */
enum status message_put_text(struct arena *arena, ProtobufCMessage *message,
                             const ProtobufCFieldDescriptor *field, const char *text,
                             struct error *error);
/* "queued, starting, running": the choices of an enum. */
void enum_choices(const ProtobufCEnumDescriptor *type, struct buf *out);

#endif
