/* SPDX-License-Identifier: Apache-2.0
 *
 * The one place where what a stranger wrote into a message is looked at. A message that passed may
 * be trusted, so the look is thorough: protobuf-c takes any bytes for a string, cuts it at a NUL
 * for whoever uses it as one, and any number for an enum.
 *
 * Rules are found by the address of a field's descriptor, in a map that is filled once from
 * field_rules.def. A field of a message is looked up by its own row first, then by the "*" row.
 */
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/map.h"
#include "lib/text.h"
#include "proto/ident.h"
#include "proto/message.h"
#include "proto/message_types.h"

static const struct field_rule RULES[] = {
#define FIELD_RULE(message, field, format, min, max, count_max)                                    \
    {message, field, FIELD_FORMAT_##format, (int64_t)(min), (int64_t)(max), (int64_t)(count_max)},
#include "proto/field_rules.def"
};
enum { RULE_COUNT = sizeof(RULES) / sizeof(RULES[0]) };

static struct map *by_field; /* address of a field's descriptor → index in RULES, plus 1 */
static pthread_once_t by_field_once = PTHREAD_ONCE_INIT;

static const struct field_rule *search(const char *message, const char *field)
{
    for (size_t i = 0; i < RULE_COUNT; i++)
        if (strcmp(RULES[i].field, field) == 0 && strcmp(RULES[i].message, message) == 0)
            return &RULES[i];
    return NULL;
}

static void add_type(const ProtobufCMessageDescriptor *type, void *argument)
{
    (void)argument;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        const struct field_rule *rule = search(type->short_name, field->name);
        if (rule == NULL)
            rule = search("*", field->name);
        uint64_t index = rule != NULL ? (uint64_t)(rule - RULES) + 1 : 0;
        map_put(by_field, &field, sizeof(field), index, NULL);
    }
}

static void fill(void)
{
    by_field = map_create(1024);
    message_types_each(add_type, NULL);
}

const struct field_rule *field_rule_find(const ProtobufCMessageDescriptor *message,
                                         const ProtobufCFieldDescriptor *field)
{
    uint64_t index;
    pthread_once(&by_field_once, fill);
    CHECK(message->magic == PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC);
    CHECK(map_get(by_field, &field, sizeof(field), &index)); /* else: in no table of messages */
    return index > 0 ? &RULES[index - 1] : NULL;
}

/* ---- texts ---- */
static bool has_control(const char *text, size_t length, bool lines)
{
    for (size_t offset = 0; offset < length;) {
        uint32_t point = utf8_next(text, length, &offset);
        if (lines && (point == '\n' || point == '\t' || point == '\r'))
            continue;
        if (point < 0x20 || (point >= 0x7f && point < 0xa0))
            return true;
        /* Marks that turn the direction of what follows: a name that reads as another one. */
        if (!lines &&
            ((point >= 0x202a && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069)))
            return true;
    }
    return false;
}

static bool is_visible_ascii(const char *text)
{
    for (; *text != '\0'; text++)
        if (*text < 0x21 || *text > 0x7e)
            return false;
    return true;
}

static enum status check_json(const char *text, size_t length, bool object, struct error *error)
{
    json_t *root;
    TRY(json_read("JSON", text, length, &root, error));
    bool wrong = object && !json_is_object(root);
    json_decref(root);
    return wrong ? error_set(error, STATUS_USAGE, "expected a JSON object") : STATUS_OK;
}

static enum status check_text(const char *text, size_t length, bool lines, struct error *error)
{
    if (has_control(text, length, lines))
        return error_set(error, STATUS_USAGE, "\"%.80s\" has control characters", text);
    return STATUS_OK;
}

static enum status check_label(const char *text, size_t length, struct error *error)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL || !name_is_valid(text, (size_t)(equals - text)))
        return error_set(error, STATUS_USAGE, "\"%.80s\" is no label: write key=value", text);
    return check_text(text, length, false, error);
}

static enum status check_digest(const char *text, struct error *error)
{
    if (strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64)
        return STATUS_OK;
    return error_set(error, STATUS_USAGE, "\"%.80s\" is no SHA-256 digest of 64 hex digits", text);
}

static enum status check_format(const struct field_rule *rule, const char *text, size_t length,
                                struct error *error)
{
    struct reference reference;
    switch (rule->format) {
    case FIELD_FORMAT_NAME:
        return name_check(rule->field, text, error);
    case FIELD_FORMAT_ALIAS:
        return alias_check(text, error);
    case FIELD_FORMAT_NAMES:
        return strcmp(text, "*") == 0 ? STATUS_OK : name_check("tenant", text, error);
    case FIELD_FORMAT_REFERENCE:
        return reference_parse(text, &reference, error);
    case FIELD_FORMAT_DIGEST:
        return check_digest(text, error);
    case FIELD_FORMAT_LABEL:
        return check_label(text, length, error);
    case FIELD_FORMAT_LINE:
    case FIELD_FORMAT_TEXT:
        return check_text(text, length, rule->format == FIELD_FORMAT_TEXT, error);
    case FIELD_FORMAT_KEY:
        if (!is_visible_ascii(text))
            return error_set(error, STATUS_USAGE, "\"%.80s\": only visible ASCII, without blanks",
                             text);
        return STATUS_OK;
    case FIELD_FORMAT_JSON:
    case FIELD_FORMAT_JSON_OBJECT:
        return check_json(text, length, rule->format == FIELD_FORMAT_JSON_OBJECT, error);
    default:
        CHECK(!"a string whose rule is of a number");
        return STATUS_FAILED;
    }
}

static enum status check_string(const struct field_rule *rule, const char *text,
                                struct error *error)
{
    CHECK(rule != NULL);
    size_t length = strlen(text);
    if (length < (size_t)rule->min || length > (size_t)rule->max)
        return error_set(error, STATUS_USAGE, "%zu bytes; expected %" PRId64 " to %" PRId64, length,
                         rule->min, rule->max);
    if (utf8_valid_prefix(text, length) != length)
        return error_set(error, STATUS_USAGE, "not valid UTF-8 at byte %zu",
                         utf8_valid_prefix(text, length));
    return check_format(rule, text, length, error);
}

/* ---- numbers ---- */
static enum status check_number(const struct field_rule *rule, int64_t value, struct error *error)
{
    int64_t min = rule != NULL ? rule->min : 0;
    int64_t max = rule != NULL ? rule->max : INT64_MAX;
    if (value < min || value > max)
        return error_set(error, STATUS_USAGE, "%" PRId64 "; expected %" PRId64 " to %" PRId64,
                         value, min, max);
    return STATUS_OK;
}

static enum status check_enum(const ProtobufCEnumDescriptor *type, int64_t value,
                              struct error *error)
{
    char text[64];
    if (enum_text(type, value, text) == NULL)
        return error_set(error, STATUS_USAGE, "%" PRId64 " is no %s", value, type->short_name);
    return STATUS_OK;
}

static enum status check_bytes(const struct field_rule *rule, const ProtobufCBinaryData *bytes,
                               struct error *error)
{
    CHECK(rule != NULL && rule->format == FIELD_FORMAT_BYTES);
    if ((int64_t)bytes->len < rule->min || (int64_t)bytes->len > rule->max)
        return error_set(error, STATUS_USAGE, "%zu bytes; expected %" PRId64 " to %" PRId64,
                         bytes->len, rule->min, rule->max);
    return STATUS_OK;
}

/* ---- a message ---- */
static enum status check_element(const ProtobufCMessage *message,
                                 const ProtobufCFieldDescriptor *field,
                                 const struct field_rule *rule, size_t index, struct error *error)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return check_string(rule, message_pointer(message, field, index), error);
    case PROTOBUF_C_TYPE_MESSAGE:
        return message_check(message_pointer(message, field, index), error);
    case PROTOBUF_C_TYPE_INT64:
        return check_number(rule, message_i64(message, field, index), error);
    case PROTOBUF_C_TYPE_ENUM:
        return check_enum(field->descriptor, message_i64(message, field, index), error);
    case PROTOBUF_C_TYPE_DOUBLE:
        if (!isfinite(message_f64(message, field, index)))
            return error_set(error, STATUS_USAGE, "not a finite number");
        return STATUS_OK;
    case PROTOBUF_C_TYPE_BYTES:
        CHECK(field->label == PROTOBUF_C_LABEL_OPTIONAL);
        return check_bytes(
            rule, (const ProtobufCBinaryData *)((const char *)message + field->offset), error);
    default:
        return STATUS_OK; /* a bool */
    }
}

/* "jobs[3].name: sentence": the path grows from the inside. */
static enum status place(const ProtobufCFieldDescriptor *field, size_t index, struct error *error)
{
    if (error == NULL)
        return STATUS_USAGE;
    char where[128];
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        snprintf(where, sizeof(where), "%s[%zu]", field->name, index);
    else
        snprintf(where, sizeof(where), "%s", field->name);
    error->status = STATUS_USAGE;
    if (field->type != PROTOBUF_C_TYPE_MESSAGE)
        return error_prefix(error, "%s", where);
    char text[ERROR_TEXT_MAX];
    snprintf(text, sizeof(text), "%s", error->text);
    return error_set(error, STATUS_USAGE, "%s.%s", where, text);
}

enum status message_check(const ProtobufCMessage *message, struct error *error)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        size_t count = message_count(message, field);
        if (count == 0)
            continue;
        const struct field_rule *rule = field_rule_find(type, field);
        if (field->label == PROTOBUF_C_LABEL_REPEATED && count > (size_t)rule->count_max)
            return error_set(error, STATUS_USAGE, "%s: %zu of them; at most %" PRId64, field->name,
                             count, rule->count_max);
        for (size_t k = 0; k < count; k++)
            if (check_element(message, field, rule, k, error) != STATUS_OK)
                return place(field, k, error);
    }
    return STATUS_OK;
}
