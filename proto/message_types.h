/* SPDX-License-Identifier: Apache-2.0
 *
 * message_types: every type of message there is: those of the two tables and what hangs on them.
 */
#ifndef TAILOR_PROTO_MESSAGE_TYPES_H
#define TAILOR_PROTO_MESSAGE_TYPES_H

#include <protobuf-c/protobuf-c.h>

typedef void message_type_visit(const ProtobufCMessageDescriptor *type, void *argument);

/* Each type once, a type before what it contains. CHECKs that none contains itself. */
void message_types_each(message_type_visit *visit, void *argument);

#endif
