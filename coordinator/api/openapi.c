/* SPDX-License-Identifier: Apache-2.0
 *
 * What every route may refuse is written for every route: a precise list of codes for each would
 * be a second table that nobody keeps. Rejected: "default", under which no answer is a surprise.
 */
#include "coordinator/api/openapi.h"

#include <ctype.h>
#include <string.h>

#include "coordinator/api/handlers.h"
#include "proto/api.pb-c.h"

enum { TAG_MAX = 32 };

static void quote(struct buf *out, const char *text)
{
    buf_append_json_string(out, text, strlen(text));
}

static bool is_served(const struct route *route)
{
    const struct handler *handler = handler_of(route->id);
    return handler->read != NULL || handler->write != NULL || handler->start != NULL;
}

static const ProtobufCFieldDescriptor *field_of(const struct route *route, const char *name)
{
    return protobuf_c_message_descriptor_get_field_by_name(route->request, name);
}

/* ---- tags ------------------------------------------------------------------------------------ */

/* The noun of a path: the part behind /v1, or behind the tenant; "service" for what has none. */
static void tag_of(const struct route *route, char tag_out[TAG_MAX])
{
    static const char version[] = "/v1/", tenant[] = "tenants/{tenant}/";
    const char *path = route->path;
    bool has = strncmp(path, version, sizeof(version) - 1) == 0;
    path += has ? sizeof(version) - 1 : 0;
    if (strncmp(path, tenant, sizeof(tenant) - 1) == 0)
        path += sizeof(tenant) - 1;
    snprintf(tag_out, TAG_MAX, "%.*s", has ? (int)strcspn(path, "/:.") : 7, has ? path : "service");
}

static void write_tags(struct buf *out)
{
    const char *comma = "";
    for (int i = 0; i < ROUTE_COUNT; i++) {
        char tag[TAG_MAX], other[TAG_MAX];
        bool seen = false;
        tag_of(route_at(i), tag);
        for (int k = 0; k < i && !seen; k++) {
            tag_of(route_at(k), other);
            seen = strcmp(tag, other) == 0;
        }
        if (seen)
            continue;
        buf_printf(out, "%s{\"name\":\"%s\"}", comma, tag);
        comma = ",";
    }
}

/* ---- what is asked --------------------------------------------------------------------------- */

static bool in_path(const char *path, const char *field)
{
    size_t length = strlen(field);
    for (const char *open = strchr(path, '{'); open != NULL; open = strchr(open + 1, '{'))
        if (strncmp(open + 1, field, length) == 0 && open[1 + length] == '}')
            return true;
    return false;
}

static bool answers(const struct route *route, const char *type)
{
    const struct route_answer *answer;
    for (int i = 0; (answer = route_answer_at(i)) != NULL; i++)
        if (answer->id == route->id && answer->code == 200 && strcmp(answer->type, type) == 0)
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
        bool needed = path || route_needs(route->id, field->name);
        buf_printf(out, "%s{\"name\":\"%s\",\"in\":\"%s\",\"required\":%s,\"schema\":", comma,
                   field->name, path ? "path" : "query", needed ? "true" : "false");
        openapi_write_field(route->request, field, out);
        buf_append_char(out, '}');
        comma = ",";
    }
    if (route->id == ROUTE_JOB_SUBMIT)
        buf_printf(out, "%s{\"$ref\":\"#/components/parameters/IdempotencyKey\"}", comma);
    if (answers(route, "text/event-stream"))
        buf_printf(out, "%s{\"$ref\":\"#/components/parameters/LastEventId\"}", comma);
    buf_append_string(out, "],");
}

/* The request without what the path says; an unknown field is refused. */
static bool write_object(const struct route *route, struct buf *out)
{
    const char *comma = "", *before = ",\"required\":[";
    buf_printf(out, "{\"title\":\"%s\",\"type\":\"object\",\"properties\":{",
               route->request->short_name);
    for (unsigned i = 0; i < route->request->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &route->request->fields[i];
        if (in_path(route->path, field->name))
            continue;
        buf_printf(out, "%s\"%s\":", comma, field->name);
        openapi_write_field(route->request, field, out);
        comma = ",";
    }
    buf_append_string(out, "},\"additionalProperties\":false");
    for (unsigned i = 0; i < route->request->n_fields; i++) {
        if (!route_needs(route->id, route->request->fields[i].name))
            continue;
        buf_printf(out, "%s\"%s\"", before, route->request->fields[i].name);
        before = ",";
    }
    bool needed = before[1] == '\0';
    buf_append_string(out, needed ? "]}" : "}");
    return needed;
}

/* Every part has to be there. */
static void write_form(const struct route *route, struct buf *out)
{
    struct buf required = {0};
    const struct route_part *part;
    const char *comma = "";
    buf_append_string(out, "{\"type\":\"object\",\"properties\":{");
    for (int i = 0; (part = route_part_at(i)) != NULL; i++) {
        if (part->id != route->id)
            continue;
        buf_printf(out, "%s\"%s\":{\"type\":\"string\"%s}", comma, part->name,
                   part->file ? ",\"format\":\"binary\"" : "");
        buf_printf(&required, "%s\"%s\"", comma, part->name);
        comma = ",";
    }
    buf_printf(out, "},\"required\":[%s]}", required.data);
    buf_release(&required);
}

static void write_body(const struct route *route, struct buf *out)
{
    if (route->body == ROUTE_BODY_NONE)
        return;
    buf_printf(out, "\"requestBody\":{\"description\":\"At most %zu bytes.\",\"content\":{",
               route->bytes_max);
    bool needed = true;
    if (route->body == ROUTE_BODY_BYTES) {
        buf_append_string(out, "\"application/octet-stream\":{\"schema\":{}}");
    } else if (route->body == ROUTE_BODY_FORM) {
        buf_append_string(out, "\"multipart/form-data\":{\"schema\":");
        write_form(route, out);
        buf_append_char(out, '}');
    } else {
        buf_append_string(out, "\"application/json\":{\"schema\":");
        needed = write_object(route, out);
        buf_append_char(out, '}');
    }
    buf_printf(out, "},\"required\":%s},", needed ? "true" : "false");
}

/* ---- what is answered ------------------------------------------------------------------------ */

static void write_content(const struct route *route, const char *type, struct buf *out)
{
    if (strcmp(type, "application/json") == 0)
        buf_printf(out, "\"%s\":{\"schema\":{\"$ref\":\"#/components/schemas/%s\"}}", type,
                   route->reply->short_name);
    else if (strcmp(type, "application/octet-stream") == 0 ||
             strcmp(type, "text/event-stream") == 0)
        buf_printf(out, "\"%s\":{\"schema\":{}}", type); /* bytes; events, each of its own form */
    else
        buf_printf(out, "\"%s\":{\"schema\":{\"type\":\"string\"}}", type);
}

static void begin_answer(int code, struct buf *out)
{
    buf_printf(out,
               "\"%d\":{\"description\":\"%s\",\"headers\":{\"X-Request-Id\":{\"$ref\":"
               "\"#/components/headers/RequestId\"}},\"content\":{",
               code,
               code == 200   ? "done"
               : code == 201 ? "made"
                             : "not now");
}

/* Where a 200 of another type stands, JSON comes too if one may ask to follow, and does not. */
static void write_done(const struct route *route, struct buf *out)
{
    const struct route_answer *answer;
    const char *comma = "";
    bool other = false;
    begin_answer(200, out);
    for (int i = 0; (answer = route_answer_at(i)) != NULL; i++) {
        if (answer->id != route->id || answer->code != 200)
            continue;
        buf_append_string(out, comma);
        write_content(route, answer->type, out);
        comma = ",";
        other = true;
    }
    if (!other || field_of(route, "follow") != NULL) {
        buf_append_string(out, comma);
        write_content(route, "application/json", out);
    }
    buf_append_string(out, "}}");
}

static bool may_refuse(const struct route *route, int code)
{
    switch (code) {
    case 401:
    case 403:
        return route->role != 0 || route->method != ROUTE_GET;
    case 413:
        return route->body != ROUTE_BODY_NONE;
    default:
        return true;
    }
}

static void write_answers(const struct route *route, struct buf *out)
{
    static const int codes[] = {400, 401, 403, 404, 405, 409, 413, 421, 422, 429, 500, 503};
    const struct route_answer *answer;
    int own = 0;
    buf_append_string(out, "\"responses\":{");
    write_done(route, out);
    for (int i = 0; (answer = route_answer_at(i)) != NULL; i++) {
        if (answer->id != route->id || answer->code == 200)
            continue;
        own = answer->code;
        buf_append_char(out, ',');
        begin_answer(own, out);
        write_content(route, answer->type, out);
        buf_append_string(out, "}}");
    }
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (codes[i] != own && may_refuse(route, codes[i]))
            buf_printf(out, ",\"%d\":{\"$ref\":\"#/components/responses/Refused\"}", codes[i]);
    buf_append_char(out, '}');
}

/* ---- routes ---------------------------------------------------------------------------------- */

static void write_operation(const struct route *route, struct buf *out)
{
    static const char *const methods[] = {"get", "post", "put", "delete"};
    char tag[TAG_MAX], name[64], role[64];
    size_t length = 0;
    for (; route->name[length] != '\0' && length + 1 < sizeof(name); length++)
        name[length] = (char)tolower((unsigned char)route->name[length]);
    name[length] = '\0';
    tag_of(route, tag);
    buf_printf(out, "\"%s\":{\"operationId\":\"%s\",\"tags\":[\"%s\"],\"summary\":",
               methods[route->method], name, tag);
    quote(out, route->help);
    buf_append_char(out, ',');
    if (route->role == 0)
        buf_append_string(out, "\"security\":[],");
    else
        buf_printf(out, "\"description\":\"The least role: %s.\",",
                   enum_text(&api__role__descriptor, route->role, role));
    write_parameters(route, out);
    write_body(route, out);
    write_answers(route, out);
    buf_append_char(out, '}');
}

static bool is_first_of_path(int index)
{
    for (int i = 0; i < index; i++)
        if (strcmp(route_at(i)->path, route_at(index)->path) == 0)
            return false;
    return true;
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

/* ---- the document ---------------------------------------------------------------------------- */

#define HEAD                                                                                       \
    "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"tailor\",\"version\":\"" TAILOR_VERSION "\","    \
    "\"description\":\"Distributed training of customized reward models: jobs, data, models, "     \
    "tenants and workers. Times are milliseconds since 1970. A field that is not set is absent.\"" \
    ",\"license\":{\"name\":\"Apache-2.0\",\"identifier\":\"Apache-2.0\"}},"                       \
    "\"servers\":[{\"url\":\"/\"}],\"security\":[{\"token\":[]},{\"session\":[]}],\"tags\":["

#define PARTS                                                                                      \
    "},\n\"components\":{\"securitySchemes\":{"                                                    \
    "\"token\":{\"type\":\"http\",\"scheme\":\"bearer\"},"                                         \
    "\"session\":{\"type\":\"apiKey\",\"in\":\"cookie\",\"name\":\"tailor_session\","              \
    "\"description\":\"A browser's; all but GET need the csrf of GET /v1/session in the header "   \
    "X-Tailor-CSRF.\"}},\n\"headers\":{\"RequestId\":{\"description\":\"what the log of the "      \
    "service calls this request\",\"schema\":{\"type\":\"string\"}}},\n\"parameters\":{"           \
    "\"IdempotencyKey\":{\"name\":\"Idempotency-Key\",\"in\":\"header\",\"description\":\"The "    \
    "same key and the same submit make one job.\",\"schema\":{\"type\":\"string\",\"minLength\":"  \
    "1,\"maxLength\":255,\"pattern\":\"^[!-~]*$\"}},\"LastEventId\":{\"name\":\"Last-Event-ID\","  \
    "\"in\":\"header\",\"description\":\"Go on behind this number, as `after` does.\",\"schema\":" \
    "{\"type\":\"string\",\"pattern\":\"^[0-9]+$\"}}},\n\"responses\":{\"Refused\":{"              \
    "\"description\":\"refused, and why\",\"headers\":{\"X-Request-Id\":{\"$ref\":"                \
    "\"#/components/headers/RequestId\"},\"Retry-After\":{\"description\":\"seconds\",\"schema\":" \
    "{\"type\":\"integer\"}}},\"content\":{\"application/json\":{\"schema\":{\"$ref\":"            \
    "\"#/components/schemas/ErrorReply\"}}}}},\n\"schemas\":{"

static void write_document(struct buf *out)
{
    const char *comma = "";
    buf_append_string(out, HEAD);
    write_tags(out);
    buf_append_string(out, "],\n\"paths\":{");
    for (int i = 0; i < ROUTE_COUNT; i++) {
        if (!is_first_of_path(i) || !is_served(route_at(i)))
            continue;
        buf_append_string(out, comma);
        write_path(i, out);
        comma = ",\n";
    }
    buf_append_string(out, PARTS);
    openapi_write_schemas(out);
    buf_append_string(out, "}}}\n");
}

const struct buf *openapi_document(void)
{
    static struct buf document;
    if (document.length == 0)
        write_document(&document);
    return &document;
}
