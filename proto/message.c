/* SPDX-License-Identifier: Apache-2.0
 *
 * Fields are reached by the offsets of their descriptors. Only the six kinds of fields that
 * api.proto allows are known here; anything else is our bug.
 *
 * Rejected: hand-written code per message. There are eighty of them, and eighty lists of fields
 * would differ from the .proto files some day.
 */
#include "proto/message.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "lib/check.h"
#include "lib/limits.h"
#include "lib/text.h"

/* ---- reaching a field ---- */
static bool is_repeated(const ProtobufCFieldDescriptor *field)
{
    return field->label == PROTOBUF_C_LABEL_REPEATED;
}

static bool is_pointer(const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE;
}

static size_t element_size(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT64:
        return sizeof(int64_t);
    case PROTOBUF_C_TYPE_DOUBLE:
        return sizeof(double);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_ENUM:
        return sizeof(int);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        CHECK(!"a kind of field that api.proto forbids");
        return 0;
    }
}

static const void *at(const ProtobufCMessage *message, unsigned offset)
{
    return (const char *)message + offset;
}

/* Where the element is; the caller knows that it is there. */
static const void *element(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                           size_t index)
{
    if (!is_repeated(field))
        return at(message, field->offset);
    return *(char *const *)at(message, field->offset) + index * element_size(field);
}

size_t message_count(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    if (is_repeated(field))
        return *(const size_t *)at(message, field->quantifier_offset);
    if (is_pointer(field))
        return *(void *const *)at(message, field->offset) != NULL;
    return *(const protobuf_c_boolean *)at(message, field->quantifier_offset) != 0;
}

bool message_has(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return message_count(message, field) > 0;
}

int64_t message_i64(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                    size_t index)
{
    if (index >= message_count(message, field))
        return 0;
    const void *value = element(message, field, index);
    if (field->type == PROTOBUF_C_TYPE_INT64)
        return *(const int64_t *)value;
    if (field->type == PROTOBUF_C_TYPE_BOOL)
        return *(const protobuf_c_boolean *)value != 0;
    CHECK(field->type == PROTOBUF_C_TYPE_ENUM);
    return *(const int *)value;
}

double message_f64(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                   size_t index)
{
    CHECK(field->type == PROTOBUF_C_TYPE_DOUBLE);
    if (index >= message_count(message, field))
        return 0;
    return *(const double *)element(message, field, index);
}

void *message_pointer(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                      size_t index)
{
    CHECK(is_pointer(field));
    if (index >= message_count(message, field))
        return NULL;
    return *(void *const *)element(message, field, index);
}

/* Room for one value more. A repeated field's array doubles: its old halves stay in the arena. */
static void *slot(struct arena *arena, ProtobufCMessage *message,
                  const ProtobufCFieldDescriptor *field)
{
    char *base = (char *)message;
    if (!is_repeated(field)) {
        if (!is_pointer(field))
            *(protobuf_c_boolean *)(base + field->quantifier_offset) = 1;
        return base + field->offset;
    }
    size_t *count = (size_t *)(base + field->quantifier_offset);
    char **items = (char **)(base + field->offset);
    size_t size = element_size(field);
    if ((*count & (*count - 1)) == 0) { /* 0 or a power of two: full */
        size_t capacity = *count == 0 ? 1 : size_mul(*count, 2);
        char *grown = arena_alloc(arena, size_mul(capacity, size));
        if (*count > 0)
            memcpy(grown, *items, *count * size);
        *items = grown;
    }
    return *items + size * (*count)++;
}

void message_put_i64(struct arena *arena, ProtobufCMessage *message,
                     const ProtobufCFieldDescriptor *field, int64_t value)
{
    void *place = slot(arena, message, field);
    if (field->type == PROTOBUF_C_TYPE_INT64)
        *(int64_t *)place = value;
    else if (field->type == PROTOBUF_C_TYPE_BOOL)
        *(protobuf_c_boolean *)place = value != 0;
    else {
        CHECK(field->type == PROTOBUF_C_TYPE_ENUM);
        *(int *)place = (int)value;
    }
}

void message_put_f64(struct arena *arena, ProtobufCMessage *message,
                     const ProtobufCFieldDescriptor *field, double value)
{
    CHECK(field->type == PROTOBUF_C_TYPE_DOUBLE);
    *(double *)slot(arena, message, field) = value;
}

void message_put_pointer(struct arena *arena, ProtobufCMessage *message,
                         const ProtobufCFieldDescriptor *field, void *value)
{
    CHECK(is_pointer(field));
    *(void **)slot(arena, message, field) = value;
}

void *message_new(struct arena *arena, const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage *message = arena_alloc(arena, type->sizeof_message);
    type->message_init(message);
    return message;
}

void *message_add(struct arena *arena, void *message, const char *name)
{
    ProtobufCMessage *parent = message;
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(parent->descriptor, name);
    CHECK(field != NULL);
    CHECK(is_repeated(field) && field->type == PROTOBUF_C_TYPE_MESSAGE);
    void *child = message_new(arena, field->descriptor);
    message_put_pointer(arena, parent, field, child);
    return child;
}

/* ---- enums: JobState's JOB_STATE_QUEUED is shown as "queued" ---- */
static size_t enum_prefix_length(const ProtobufCEnumDescriptor *type)
{
    size_t length = 0;
    for (const char *c = type->short_name; *c != '\0'; c++) /* a '_' before each capital but one */
        length += 1 + (*c >= 'A' && *c <= 'Z' && c != type->short_name);
    return length + 1;
}

static void enum_lower(const ProtobufCEnumDescriptor *type, const char *name, char out[64])
{
    size_t prefix = enum_prefix_length(type), i = 0;
    CHECK(strlen(name) > prefix && strlen(name) - prefix < 64);
    for (const char *c = name + prefix; *c != '\0'; c++)
        out[i++] = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
    out[i] = '\0';
}

const char *enum_text(const ProtobufCEnumDescriptor *type, int64_t value, char out[64])
{
    if (value <= 0 || value > INT32_MAX)
        return NULL;
    const ProtobufCEnumValue *found = protobuf_c_enum_descriptor_get_value(type, (int)value);
    if (found == NULL)
        return NULL;
    enum_lower(type, found->name, out);
    return out;
}

int enum_parse(const ProtobufCEnumDescriptor *type, const char *text)
{
    for (unsigned i = 0; i < type->n_values; i++) {
        char name[64];
        enum_lower(type, type->values[i].name, name);
        if (type->values[i].value > 0 && strcmp(name, text) == 0)
            return type->values[i].value;
    }
    return -1;
}

/* ---- the wire ---- */
struct budget {
    struct arena *arena;
    size_t left;
};

static void *budget_alloc(void *data, size_t size)
{
    struct budget *budget = data;
    if (size > budget->left)
        return NULL; /* protobuf-c gives up cleanly */
    budget->left -= size;
    return arena_alloc(budget->arena, size);
}

static void budget_free(void *data, void *memory)
{
    (void)data;
    (void)memory; /* the arena's */
}

/* Fields of a newer peer are no part of what this program checked, so they do not travel on. */
static void drop_unknown(ProtobufCMessage *message)
{
    message->n_unknown_fields = 0;
    message->unknown_fields = NULL;
    const ProtobufCMessageDescriptor *type = message->descriptor;
    for (unsigned i = 0; i < type->n_fields; i++)
        if (type->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
            for (size_t k = 0; k < message_count(message, &type->fields[i]); k++)
                drop_unknown(message_pointer(message, &type->fields[i], k));
}

enum status message_unpack(struct arena *arena, const ProtobufCMessageDescriptor *type,
                           const void *bytes, size_t length, size_t bytes_max, void *message_out,
                           struct error *error)
{
    if (length > bytes_max)
        return error_set(error, STATUS_LIMIT, "%s: %zu bytes; at most %zu", type->short_name,
                         length, bytes_max);
    /* Besides, one whole message: an empty one has its size too. */
    size_t room = size_add(size_mul(length, MESSAGE_BUDGET), 4 * KIB + type->sizeof_message);
    struct budget budget = {.arena = arena, .left = room};
    ProtobufCAllocator allocator = {
        .alloc = budget_alloc, .free = budget_free, .allocator_data = &budget};
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, length, bytes);
    if (message == NULL)
        return error_set(error, STATUS_FORMAT, "these %zu bytes are no message %s", length,
                         type->short_name);
    drop_unknown(message);
    TRY(message_check(message, error));
    *(void **)message_out = message;
    return STATUS_OK;
}

void message_pack(const ProtobufCMessage *message, struct buf *out)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    size_t before = out->length;
    uint8_t *bytes = mem_alloc(size + 1);
    CHECK(protobuf_c_message_pack(message, bytes) == size);
    buf_append(out, bytes, size);
    mem_free(bytes);
    CHECK(out->length == before + size);
}

void *message_copy(struct arena *arena, const ProtobufCMessage *message)
{
    struct error error;
    struct buf bytes = {0};
    void *copy;
    message_pack(message, &bytes);
    enum status status = message_unpack(arena, message->descriptor, bytes.data, bytes.length,
                                        bytes.length, &copy, &error);
    CHECK(status == STATUS_OK);
    buf_release(&bytes);
    return copy;
}
