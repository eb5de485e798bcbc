/* SPDX-License-Identifier: Apache-2.0
 *
 * The form of JSON is api.proto's: ids are texts, an enum's values are lower case, a text whose
 * rule says JSON is that value, and a list of key and value is an object. What field_rules.def
 * bounds is bounded here. Its bytes are given as characters, which are never more.
 */
#include <inttypes.h>
#include <string.h>

#include "coordinator/api/openapi.h"
#include "lib/limits.h"
#include "proto/api.pb-c.h"
#include "proto/ident.h"
#include "proto/message_types.h"

#define NAME "[a-z0-9][a-z0-9._-]*"

static const char *const PATTERNS[] = {
    [FIELD_FORMAT_NAME] = "^" NAME "$",
    [FIELD_FORMAT_ALIAS] = "^(?!v?[0-9]+$)" NAME "$",
    [FIELD_FORMAT_NAMES] = "^(\\*|" NAME ")$",
    [FIELD_FORMAT_REFERENCE] = "^(" NAME "/)?" NAME "(@" NAME ")?$",
    [FIELD_FORMAT_DIGEST] = "^[0-9a-f]{64}$",
    [FIELD_FORMAT_LINE] = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u202a-\\u202e\\u2066-\\u2069]*$",
    [FIELD_FORMAT_TEXT] = "^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f]*$",
    [FIELD_FORMAT_KEY] = "^[!-~]*$",
    [FIELD_FORMAT_LABEL] = "^" NAME "=[^\\u0000-\\u001f\\u007f-\\u009f]*$",
    [FIELD_FORMAT_IDENT_MODEL_VERSION] = NULL};

static void quote(struct buf *out, const char *text)
{
    buf_append_json_string(out, text, strlen(text));
}

/* ---- one value: the members of its schema, without the braces -------------------------------- */

static bool is_map(const ProtobufCFieldDescriptor *field)
{
    return field->descriptor == &api__label__descriptor;
}

static void write_enum(const ProtobufCEnumDescriptor *type, struct buf *out)
{
    const char *comma = "";
    buf_append_string(out, "\"type\":\"string\",\"enum\":[");
    for (unsigned i = 0; i < type->n_values; i++) {
        char text[64];
        if (enum_text(type, type->values[i].value, text) == NULL)
            continue;
        buf_append_string(out, comma);
        quote(out, text);
        comma = ",";
    }
    buf_append_char(out, ']');
}

/* Every text has a rule (a test of the rules). */
static void write_string(const struct field_rule *rule, struct buf *out)
{
    if (rule->format == FIELD_FORMAT_JSON)
        return;
    if (rule->format == FIELD_FORMAT_JSON_OBJECT) {
        buf_append_string(out, "\"type\":\"object\"");
        return;
    }
    buf_append_string(out, "\"type\":\"string\"");
    if (rule->min > 0)
        buf_printf(out, ",\"minLength\":%" PRId64, rule->min);
    buf_printf(out, ",\"maxLength\":%" PRId64 ",\"pattern\":", rule->max);
    quote(out, PATTERNS[rule->format]);
}

static void write_ident(const struct field_rule *rule, struct buf *out)
{
    char example[IDENT_TEXT_MAX];
    ident_format((enum ident_kind)(rule->format - FIELD_FORMAT_IDENT_JOB), 17, example);
    buf_printf(out,
               "\"type\":\"string\",\"pattern\":\"^%.*s-[1-9][0-9]{0,17}$\",\"examples\":[\"%s\"]",
               (int)(strchr(example, '-') - example), example, example);
}

static void write_integer(const struct field_rule *rule, struct buf *out)
{
    if (rule != NULL && rule->format >= FIELD_FORMAT_IDENT_JOB) {
        write_ident(rule, out);
        return;
    }
    buf_printf(out, "\"type\":\"integer\",\"format\":\"int64\",\"minimum\":%" PRId64,
               rule != NULL ? rule->min : 0);
    buf_printf(out, ",\"maximum\":%" PRId64, rule != NULL ? rule->max : INT64_MAX);
}

static void write_value(const ProtobufCMessageDescriptor *message,
                        const ProtobufCFieldDescriptor *field, struct buf *out)
{
    const struct field_rule *rule = field_rule_find(message, field);
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT64:
        write_integer(rule, out);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        buf_append_string(out, "\"type\":\"number\"");
        break;
    case PROTOBUF_C_TYPE_BOOL:
        buf_append_string(out, "\"type\":\"boolean\"");
        break;
    case PROTOBUF_C_TYPE_ENUM:
        write_enum(field->descriptor, out);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        buf_printf(out, "\"$ref\":\"#/components/schemas/%s\"",
                   ((const ProtobufCMessageDescriptor *)field->descriptor)->short_name);
        break;
    default:
        write_string(rule, out);
    }
}

/* ---- fields ---------------------------------------------------------------------------------- */

static void write_map(const struct field_rule *rule, struct buf *out)
{
    const ProtobufCFieldDescriptor *fields = api__label__descriptor.fields;
    buf_printf(out, "\"type\":\"object\",\"maxProperties\":%" PRId64 ",\"propertyNames\":{",
               rule->count_max);
    write_value(&api__label__descriptor, &fields[0], out);
    buf_append_string(out, "},\"additionalProperties\":{");
    write_value(&api__label__descriptor, &fields[1], out);
    buf_append_char(out, '}');
}

static void write_list(const ProtobufCMessageDescriptor *message,
                       const ProtobufCFieldDescriptor *field, struct buf *out)
{
    buf_printf(out, "\"type\":\"array\",\"maxItems\":%" PRId64 ",\"items\":{",
               field_rule_find(message, field)->count_max);
    write_value(message, field, out);
    buf_append_char(out, '}');
}

void openapi_write_field(const ProtobufCMessageDescriptor *message,
                         const ProtobufCFieldDescriptor *field, struct buf *out)
{
    struct buf doc = {0};
    openapi_doc(message->short_name, field->name, &doc);
    buf_append_char(out, '{');
    if (doc.length > 0) {
        buf_append_string(out, "\"description\":");
        buf_append_json_string(out, doc.data, doc.length);
        buf_append_char(out, ',');
    }
    buf_release(&doc);
    size_t before = out->length;
    if (is_map(field))
        write_map(field_rule_find(message, field), out);
    else if (field->label == PROTOBUF_C_LABEL_REPEATED)
        write_list(message, field, out);
    else
        write_value(message, field, out);
    if (out->length == before) /* any value: take the comma back */
        out->length -= out->data[before - 1] == ',';
    buf_append_char(out, '}');
}

/* ---- messages -------------------------------------------------------------------------------- */

/* In an answer a list is always there. */
static void write_required(const ProtobufCMessageDescriptor *type, struct buf *out)
{
    const char *before = ",\"required\":[";
    for (unsigned i = 0; i < type->n_fields; i++) {
        if (type->fields[i].label != PROTOBUF_C_LABEL_REPEATED)
            continue;
        buf_append_string(out, before);
        quote(out, type->fields[i].name);
        before = ",";
    }
    if (before[1] == '\0')
        buf_append_char(out, ']');
}

/* Requests are written where they are used, without what their path says. */
static bool is_request(const ProtobufCMessageDescriptor *type)
{
    static const char end[] = "Request";
    size_t length = strlen(type->short_name), skip = sizeof(end) - 1;
    return length > skip && strcmp(type->short_name + length - skip, end) == 0;
}

struct schemas {
    struct buf *out;
    const char *comma;
};

static void write_schema(const ProtobufCMessageDescriptor *type, void *argument)
{
    struct schemas *schemas = argument;
    if (strcmp(type->package_name, "api") != 0 || type == &api__label__descriptor ||
        is_request(type))
        return;
    buf_append_string(schemas->out, schemas->comma);
    schemas->comma = ",\n";
    quote(schemas->out, type->short_name);
    buf_append_string(schemas->out, ":{\"type\":\"object\",\"properties\":{");
    for (unsigned i = 0; i < type->n_fields; i++) {
        buf_append_string(schemas->out, i > 0 ? "," : "");
        quote(schemas->out, type->fields[i].name);
        buf_append_char(schemas->out, ':');
        openapi_write_field(type, &type->fields[i], schemas->out);
    }
    buf_append_char(schemas->out, '}');
    write_required(type, schemas->out);
    buf_append_char(schemas->out, '}');
}

void openapi_write_schemas(struct buf *out)
{
    struct schemas schemas = {.out = out, .comma = ""};
    message_types_each(write_schema, &schemas);
}
