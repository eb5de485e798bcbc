/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading goes through one function for a single value, whether it came from JSON or from a query:
 * both know texts, and JSON knows numbers and booleans besides.
 *
 * Rejected: protobuf's own JSON mapping. It spells 64-bit numbers as strings and names in camel
 * case, and no user of this service would guess that.
 */
#include "proto/message_json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "lib/check.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/text.h"
#include "proto/ident.h"

/* ---- names ---- */
enum status message_field_find(const ProtobufCMessageDescriptor *type, const char *name,
                               const ProtobufCFieldDescriptor **field_out, struct error *error)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(type, name);
    if (field != NULL) {
        *field_out = field;
        return STATUS_OK;
    }
    const char *names[64];
    CHECK(type->n_fields <= 64);
    for (unsigned i = 0; i < type->n_fields; i++)
        names[i] = type->fields[i].name;
    const char *nearest = nearest_name(name, names, type->n_fields);
    if (nearest != NULL)
        return error_set(error, STATUS_USAGE, "unknown field \"%.80s\"; did you mean \"%s\"?", name,
                         nearest);
    return error_set(error, STATUS_USAGE, "unknown field \"%.80s\"", name);
}

void enum_choices(const ProtobufCEnumDescriptor *type, struct buf *out)
{
    char name[64];
    for (unsigned i = 0; i < type->n_values; i++)
        if (enum_text(type, type->values[i].value, name) != NULL)
            buf_printf(out, "%s%s", out->length > 0 ? ", " : "", name);
}

static enum status enum_error(const ProtobufCEnumDescriptor *type, const char *text,
                              struct error *error)
{
    struct buf choices = {0};
    enum_choices(type, &choices);
    enum status status = error_set(error, STATUS_USAGE, "\"%.80s\" is none of %s", text,
                                   choices.data != NULL ? choices.data : "");
    buf_release(&choices);
    return status;
}

/* ---- one value from a text ---- */
static bool is_ident(const struct field_rule *rule)
{
    return rule != NULL && rule->format >= FIELD_FORMAT_IDENT_JOB;
}

static enum ident_kind ident_of(const struct field_rule *rule)
{
    return (enum ident_kind)(rule->format - FIELD_FORMAT_IDENT_JOB);
}

static enum status put_i64_text(struct arena *arena, ProtobufCMessage *message,
                                const ProtobufCFieldDescriptor *field, const char *text,
                                struct error *error)
{
    const struct field_rule *rule = field_rule_find(message->descriptor, field);
    int64_t value;
    if (is_ident(rule))
        TRY(ident_parse(ident_of(rule), text, &value, error));
    else if (!parse_i64(text, &value))
        return error_set(error, STATUS_USAGE, "\"%.80s\" is no whole number", text);
    message_put_i64(arena, message, field, value);
    return STATUS_OK;
}

static enum status put_text(struct arena *arena, ProtobufCMessage *message,
                            const ProtobufCFieldDescriptor *field, const char *text,
                            struct error *error)
{
    double number;
    int choice;
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        message_put_pointer(arena, message, field, arena_strdup(arena, text));
        return STATUS_OK;
    case PROTOBUF_C_TYPE_INT64:
        return put_i64_text(arena, message, field, text, error);
    case PROTOBUF_C_TYPE_DOUBLE:
        if (!parse_f64(text, &number))
            return error_set(error, STATUS_USAGE, "\"%.80s\" is no finite number", text);
        message_put_f64(arena, message, field, number);
        return STATUS_OK;
    case PROTOBUF_C_TYPE_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return error_set(error, STATUS_USAGE, "\"%.80s\" is neither true nor false", text);
        message_put_i64(arena, message, field, text[0] == 't');
        return STATUS_OK;
    case PROTOBUF_C_TYPE_ENUM:
        choice = enum_parse(field->descriptor, text);
        if (choice < 0)
            return enum_error(field->descriptor, text, error);
        message_put_i64(arena, message, field, choice);
        return STATUS_OK;
    default:
        return error_set(error, STATUS_USAGE, "cannot be given as a text");
    }
}

enum status message_put_text(struct arena *arena, ProtobufCMessage *message,
                             const ProtobufCFieldDescriptor *field, const char *text,
                             struct error *error)
{
    if (put_text(arena, message, field, text, error) == STATUS_OK)
        return STATUS_OK;
    return error_prefix(error, "%s", field->name);
}

/* ---- reading JSON ---- */
/* Commas and opening brackets outside strings: at least as many as there are values less one. */
static enum status count_values(const char *text, size_t length, struct error *error)
{
    size_t values = 1;
    bool quoted = false;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (quoted) {
            i += c == '\\';
            quoted = c != '"';
        } else {
            quoted = c == '"';
            values += c == ',' || c == '[' || c == '{';
        }
    }
    if (values > MESSAGE_VALUES_MAX)
        return error_set(error, STATUS_LIMIT, "more than %d JSON values", MESSAGE_VALUES_MAX);
    return STATUS_OK;
}

static enum status read_object(struct arena *arena, ProtobufCMessage *message, const json_t *object,
                               struct error *error);

static bool is_json_field(const struct field_rule *rule)
{
    return rule != NULL &&
           (rule->format == FIELD_FORMAT_JSON || rule->format == FIELD_FORMAT_JSON_OBJECT);
}

/* A string field that holds JSON takes any value and keeps its text. */
static enum status read_json_field(struct arena *arena, ProtobufCMessage *message,
                                   const ProtobufCFieldDescriptor *field, const json_t *value)
{
    struct buf text = {0};
    json_append(&text, value);
    message_put_pointer(arena, message, field, arena_strndup(arena, text.data, text.length));
    buf_release(&text);
    return STATUS_OK;
}

static enum status read_value(struct arena *arena, ProtobufCMessage *message,
                              const ProtobufCFieldDescriptor *field, const json_t *value,
                              struct error *error)
{
    if (field->type == PROTOBUF_C_TYPE_STRING &&
        is_json_field(field_rule_find(message->descriptor, field)))
        return read_json_field(arena, message, field, value);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        if (!json_is_object(value))
            return error_set(error, STATUS_USAGE, "expected an object");
        ProtobufCMessage *child = message_new(arena, field->descriptor);
        message_put_pointer(arena, message, field, child);
        return read_object(arena, child, value, error);
    }
    if (json_is_string(value)) {
        if (strlen(json_string_value(value)) != json_string_length(value))
            return error_set(error, STATUS_USAGE, "a text with a NUL in it");
        return put_text(arena, message, field, json_string_value(value), error);
    }
    if (field->type == PROTOBUF_C_TYPE_BOOL && json_is_boolean(value)) {
        message_put_i64(arena, message, field, json_is_true(value));
        return STATUS_OK;
    }
    if (field->type == PROTOBUF_C_TYPE_DOUBLE && json_is_number(value)) {
        message_put_f64(arena, message, field, json_number_value(value));
        return STATUS_OK;
    }
    if (field->type == PROTOBUF_C_TYPE_INT64 && json_is_integer(value)) {
        message_put_i64(arena, message, field, json_integer_value(value));
        return STATUS_OK;
    }
    double real = json_is_real(value) ? json_real_value(value) : NAN;
    if (field->type == PROTOBUF_C_TYPE_INT64 && real == floor(real) && fabs(real) < 0x1p53) {
        message_put_i64(arena, message, field, (int64_t)real);
        return STATUS_OK;
    }
    static const char *const expected[] = {[PROTOBUF_C_TYPE_STRING] = "a text",
                                           [PROTOBUF_C_TYPE_ENUM] = "a text",
                                           [PROTOBUF_C_TYPE_BOOL] = "true or false",
                                           [PROTOBUF_C_TYPE_DOUBLE] = "a number",
                                           [PROTOBUF_C_TYPE_INT64] = "a whole number",
                                           [PROTOBUF_C_TYPE_BYTES] =
                                               "nothing: it has no JSON form"};
    return error_set(error, STATUS_USAGE, "expected %s", expected[field->type]);
}

/* Repeated messages of a key and a value are written as an object. */
static bool is_map(const ProtobufCFieldDescriptor *field)
{
    if (field->type != PROTOBUF_C_TYPE_MESSAGE || field->label != PROTOBUF_C_LABEL_REPEATED)
        return false;
    const ProtobufCMessageDescriptor *type = field->descriptor;
    return type->n_fields == 2 && strcmp(type->fields[0].name, "key") == 0 &&
           strcmp(type->fields[1].name, "value") == 0;
}

static enum status read_map(struct arena *arena, ProtobufCMessage *message,
                            const ProtobufCFieldDescriptor *field, const json_t *value,
                            struct error *error)
{
    const ProtobufCMessageDescriptor *type = field->descriptor;
    const char *key;
    json_t *item;
    if (!json_is_object(value))
        return error_set(error, STATUS_USAGE, "%s: expected an object", field->name);
    json_object_foreach((json_t *)value, key, item)
    {
        ProtobufCMessage *child = message_new(arena, type);
        message_put_pointer(arena, message, field, child);
        TRY(put_text(arena, child, &type->fields[0], key, error));
        if (read_value(arena, child, &type->fields[1], item, error) != STATUS_OK)
            return error_prefix(error, "%s.%s", field->name, key);
    }
    return STATUS_OK;
}

static enum status read_list(struct arena *arena, ProtobufCMessage *message,
                             const ProtobufCFieldDescriptor *field, const json_t *value,
                             struct error *error)
{
    size_t index;
    json_t *item;
    if (!json_is_array(value))
        return error_set(error, STATUS_USAGE, "%s: expected a list", field->name);
    json_array_foreach(value, index, item)
    {
        if (read_value(arena, message, field, item, error) != STATUS_OK)
            return error_prefix(error, "%s[%zu]", field->name, index);
    }
    return STATUS_OK;
}

static enum status read_object(struct arena *arena, ProtobufCMessage *message, const json_t *object,
                               struct error *error)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        const ProtobufCFieldDescriptor *field;
        TRY(message_field_find(message->descriptor, key, &field, error));
        if (json_is_null(value))
            continue;
        if (is_map(field))
            TRY(read_map(arena, message, field, value, error));
        else if (field->label == PROTOBUF_C_LABEL_REPEATED)
            TRY(read_list(arena, message, field, value, error));
        else if (read_value(arena, message, field, value, error) != STATUS_OK)
            return error_prefix(error, "%s", field->name);
    }
    return STATUS_OK;
}

enum status message_from_json(struct arena *arena, const ProtobufCMessageDescriptor *type,
                              const char *text, size_t length, void *message_out,
                              struct error *error)
{
    json_t *root;
    TRY(count_values(text, length, error));
    TRY(json_read("body", text, length, &root, error));
    enum status status = STATUS_OK;
    ProtobufCMessage *message = message_new(arena, type);
    if (!json_is_object(root))
        status = error_set(error, STATUS_USAGE, "body: expected an object");
    if (status == STATUS_OK)
        status = read_object(arena, message, root, error);
    if (status == STATUS_OK)
        status = message_check(message, error);
    json_decref(root);
    if (status == STATUS_OK)
        *(void **)message_out = message;
    return status;
}

/* ---- writing ---- */
static void write_string(struct buf *out, const char *text)
{
    buf_append_json_string(out, text, strlen(text));
}

static void write_double(struct buf *out, double value)
{
    json_t *number = json_real(value);
    CHECK(number != NULL); /* finite: checked */
    json_append(out, number);
    json_decref(number);
}

static void write_value(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                        size_t index, struct buf *out)
{
    const struct field_rule *rule = field_rule_find(message->descriptor, field);
    char text[64];
    const char *name;
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        if (is_json_field(rule))
            buf_append_string(out, message_pointer(message, field, index));
        else
            write_string(out, message_pointer(message, field, index));
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        message_to_json(message_pointer(message, field, index), out);
        break;
    case PROTOBUF_C_TYPE_INT64:
        if (is_ident(rule)) {
            ident_format(ident_of(rule), message_i64(message, field, index), text);
            write_string(out, text);
        } else {
            buf_printf(out, "%" PRId64, message_i64(message, field, index));
        }
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        write_double(out, message_f64(message, field, index));
        break;
    case PROTOBUF_C_TYPE_BOOL:
        buf_append_string(out, message_i64(message, field, index) ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_ENUM:
        name = enum_text(field->descriptor, message_i64(message, field, index), text);
        CHECK(name != NULL);
        write_string(out, name);
        break;
    default:
        CHECK(!"a field that has no JSON form");
    }
}

static void write_map(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                      struct buf *out)
{
    const ProtobufCMessageDescriptor *type = field->descriptor;
    buf_append_char(out, '{');
    for (size_t i = 0; i < message_count(message, field); i++) {
        const ProtobufCMessage *item = message_pointer(message, field, i);
        const char *key = message_pointer(item, &type->fields[0], 0);
        const char *value = message_pointer(item, &type->fields[1], 0);
        if (i > 0)
            buf_append_char(out, ',');
        write_string(out, key != NULL ? key : "");
        buf_append_char(out, ':');
        write_string(out, value != NULL ? value : "");
    }
    buf_append_char(out, '}');
}

static void write_list(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                       struct buf *out)
{
    buf_append_char(out, '[');
    for (size_t i = 0; i < message_count(message, field); i++) {
        if (i > 0)
            buf_append_char(out, ',');
        write_value(message, field, i, out);
    }
    buf_append_char(out, ']');
}

void message_to_json(const ProtobufCMessage *message, struct buf *out)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    bool first = true;
    buf_append_char(out, '{');
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        if (field->label != PROTOBUF_C_LABEL_REPEATED && !message_has(message, field))
            continue;
        if (!first)
            buf_append_char(out, ',');
        first = false;
        write_string(out, field->name);
        buf_append_char(out, ':');
        if (is_map(field))
            write_map(message, field, out);
        else if (field->label == PROTOBUF_C_LABEL_REPEATED)
            write_list(message, field, out);
        else
            write_value(message, field, 0, out);
    }
    buf_append_char(out, '}');
}
