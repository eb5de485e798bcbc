/* SPDX-License-Identifier: Apache-2.0
 *
 * openapi: the surface as an OpenAPI 3.1 document, from the routes and the messages' descriptors.
 *
 * The form of JSON is api.proto's: ids are texts, an enum's values are lower case, a text whose
 * rule says JSON is that value, and a list of key and value is an object.
 */
#include <string.h>

#include "coordinator/api/handlers.h"
#include "proto/api.pb-c.h"
#include "proto/message_types.h"

static void quote(struct buf *out, const char *text)
{
    buf_append_json_string(out, text, strlen(text));
}

/* ---- schemas --------------------------------------------------------------------------------- */

static bool is_map(const ProtobufCFieldDescriptor *field)
{
    return field->descriptor == &api__label__descriptor;
}

static void write_enum(const ProtobufCEnumDescriptor *type, struct buf *out)
{
    const char *comma = "";
    buf_append_string(out, "{\"type\":\"string\",\"enum\":[");
    for (unsigned i = 0; i < type->n_values; i++) {
        char text[64];
        if (enum_text(type, type->values[i].value, text) == NULL)
            continue;
        buf_append_string(out, comma);
        quote(out, text);
        comma = ",";
    }
    buf_append_string(out, "]}");
}

static void write_string(const struct field_rule *rule, struct buf *out)
{
    if (rule != NULL && rule->format == FIELD_FORMAT_JSON_OBJECT)
        buf_append_string(out, "{\"type\":\"object\"}");
    else if (rule != NULL && rule->format == FIELD_FORMAT_JSON)
        buf_append_string(out, "{}");
    else if (rule != NULL && rule->max > 0)
        buf_printf(out, "{\"type\":\"string\",\"maxLength\":%lld}", (long long)rule->max);
    else
        buf_append_string(out, "{\"type\":\"string\"}");
}

static void write_value(const ProtobufCMessageDescriptor *message,
                        const ProtobufCFieldDescriptor *field, struct buf *out)
{
    const struct field_rule *rule = field_rule_find(message, field);
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT64:
        if (rule != NULL && rule->format >= FIELD_FORMAT_IDENT_JOB)
            buf_append_string(out, "{\"type\":\"string\"}");
        else
            buf_append_string(out, "{\"type\":\"integer\",\"format\":\"int64\"}");
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        buf_append_string(out, "{\"type\":\"number\"}");
        break;
    case PROTOBUF_C_TYPE_BOOL:
        buf_append_string(out, "{\"type\":\"boolean\"}");
        break;
    case PROTOBUF_C_TYPE_ENUM:
        write_enum(field->descriptor, out);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        buf_printf(out, "{\"$ref\":\"#/components/schemas/%s\"}",
                   ((const ProtobufCMessageDescriptor *)field->descriptor)->short_name);
        break;
    default:
        write_string(rule, out);
    }
}

static void write_field(const ProtobufCMessageDescriptor *message,
                        const ProtobufCFieldDescriptor *field, struct buf *out)
{
    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
        write_value(message, field, out);
        return;
    }
    if (is_map(field)) {
        buf_append_string(out,
                          "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}}");
        return;
    }
    buf_append_string(out, "{\"type\":\"array\",\"items\":");
    write_value(message, field, out);
    buf_append_char(out, '}');
}

struct schemas {
    struct buf *out;
    const char *comma;
};

static void write_schema(const ProtobufCMessageDescriptor *type, void *argument)
{
    struct schemas *schemas = argument;
    if (strcmp(type->package_name, "api") != 0)
        return;
    buf_append_string(schemas->out, schemas->comma);
    schemas->comma = ",\n";
    quote(schemas->out, type->short_name);
    buf_append_string(schemas->out, ":{\"type\":\"object\",\"properties\":{");
    for (unsigned i = 0; i < type->n_fields; i++) {
        buf_append_string(schemas->out, i > 0 ? "," : "");
        quote(schemas->out, type->fields[i].name);
        buf_append_char(schemas->out, ':');
        write_field(type, &type->fields[i], schemas->out);
    }
    buf_append_string(schemas->out, "}}");
}

/* ---- paths ----------------------------------------------------------------------------------- */

static bool in_path(const char *path, const char *field)
{
    size_t length = strlen(field);
    for (const char *open = strchr(path, '{'); open != NULL; open = strchr(open + 1, '{'))
        if (strncmp(open + 1, field, length) == 0 && open[1 + length] == '}')
            return true;
    return false;
}

static void write_parameters(const struct route *route, struct buf *out)
{
    const char *comma = "";
    buf_append_string(out, "\"parameters\":[");
    for (unsigned i = 0; i < route->request->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &route->request->fields[i];
        bool path = in_path(route->path, field->name);
        if (field->type == PROTOBUF_C_TYPE_MESSAGE || (!path && route->body == ROUTE_BODY_JSON))
            continue;
        buf_printf(out, "%s{\"name\":\"%s\",\"in\":\"%s\",\"required\":%s,\"schema\":", comma,
                   field->name, path ? "path" : "query", path ? "true" : "false");
        write_field(route->request, field, out);
        buf_append_char(out, '}');
        comma = ",";
    }
    buf_append_string(out, "],");
}

static void write_body(const struct route *route, struct buf *out)
{
    if (route->body == ROUTE_BODY_JSON)
        buf_printf(out,
                   "\"requestBody\":{\"content\":{\"application/json\":{\"schema\":{\"$ref\":"
                   "\"#/components/schemas/%s\"}}}},",
                   route->request->short_name);
    else if (route->body == ROUTE_BODY_BYTES)
        buf_append_string(out, "\"requestBody\":{\"content\":{\"application/octet-stream\":{}}},");
}

static void write_operation(const struct route *route, struct buf *out)
{
    static const char *const methods[] = {"get", "post", "put", "delete"};
    buf_printf(out, "\"%s\":{\"operationId\":\"%s\",\"summary\":", methods[route->method],
               route->name);
    quote(out, route->help);
    buf_append_char(out, ',');
    if (route->role == 0)
        buf_append_string(out, "\"security\":[],");
    write_parameters(route, out);
    write_body(route, out);
    buf_printf(out,
               "\"responses\":{\"200\":{\"description\":\"done\",\"content\":{\"application/json\":"
               "{\"schema\":{\"$ref\":\"#/components/schemas/%s\"}}}},\"default\":{\"description\":"
               "\"refused\",\"content\":{\"application/json\":{\"schema\":{\"$ref\":"
               "\"#/components/schemas/ErrorReply\"}}}}}}",
               route->reply->short_name);
}

static bool is_first_of_path(int index)
{
    for (int i = 0; i < index; i++)
        if (strcmp(route_at(i)->path, route_at(index)->path) == 0)
            return false;
    return true;
}

static bool is_served(const struct route *route)
{
    const struct handler *handler = handler_of(route->id);
    return handler->read != NULL || handler->write != NULL || handler->start != NULL;
}

static void write_path(int index, struct buf *out)
{
    const char *comma = "";
    quote(out, route_at(index)->path);
    buf_append_string(out, ":{");
    for (int i = index; i < ROUTE_COUNT; i++) {
        if (strcmp(route_at(i)->path, route_at(index)->path) != 0 || !is_served(route_at(i)))
            continue;
        buf_append_string(out, comma);
        write_operation(route_at(i), out);
        comma = ",";
    }
    buf_append_char(out, '}');
}

void openapi_write(struct buf *out)
{
    struct schemas schemas = {.out = out, .comma = ""};
    const char *comma = "";
    buf_append_string(out, "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"tailor\",\"version\":"
                           "\"" TAILOR_VERSION "\"},\"security\":[{\"token\":[]}],\"paths\":{");
    for (int i = 0; i < ROUTE_COUNT; i++) {
        if (!is_first_of_path(i) || !is_served(route_at(i)))
            continue;
        buf_append_string(out, comma);
        write_path(i, out);
        comma = ",\n";
    }
    buf_append_string(out, "},\n\"components\":{\"securitySchemes\":{\"token\":{\"type\":\"http\","
                           "\"scheme\":\"bearer\"}},\"schemas\":{");
    message_types_each(write_schema, &schemas);
    buf_append_string(out, "}}}\n");
}
