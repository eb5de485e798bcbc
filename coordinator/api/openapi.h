/* SPDX-License-Identifier: Apache-2.0
 *
 * openapi: the surface as an OpenAPI 3.1 document, from the routes, the messages' descriptors, the
 * fields' rules and the comments of api.proto. Private to this folder; loop thread.
 */
#ifndef TAILOR_COORDINATOR_API_OPENAPI_H
#define TAILOR_COORDINATOR_API_OPENAPI_H

#include "lib/buf.h"
#include "proto/message.h"

/* Made once, when it is first asked for: the table does not change while the program runs. */
const struct buf *openapi_document(void);

/* ---- openapi_schema.c ---- */
/* One field as a schema, description included. */
void openapi_write_field(const ProtobufCMessageDescriptor *message,
                         const ProtobufCFieldDescriptor *field, struct buf *out);
/* "Name":{schema} of each message that an answer may hold, with commas between. */
void openapi_write_schemas(struct buf *out);

/* ---- openapi_doc.c ---- */
/* Appends what api.proto says behind a field; nothing where it says nothing. */
void openapi_doc(const char *message, const char *field, struct buf *out);

#endif
