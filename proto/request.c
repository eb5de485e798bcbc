/* SPDX-License-Identifier: Apache-2.0
 *
 * The body is read first and parameters are laid over it; a field that both set is refused, so it
 * never has to be said which one wins.
 */
#include "proto/request.h"

#include <string.h>

#include "lib/limits.h"
#include "proto/message_json.h"

enum { QUERY_BYTES_MAX = 8192, QUERY_PARAMETERS_MAX = 64, QUERY_NAME_MAX = 64 };

static enum status put(struct arena *arena, ProtobufCMessage *message, const char *name,
                       const char *value, struct error *error)
{
    const ProtobufCFieldDescriptor *field;
    TRY(message_field_find(message->descriptor, name, &field, error));
    if (field->label != PROTOBUF_C_LABEL_REPEATED && message_has(message, field))
        return error_set(error, STATUS_USAGE, "%s: given twice", field->name);
    return message_put_text(arena, message, field, value, error);
}

static enum status put_parameter(struct arena *arena, ProtobufCMessage *message, const char *text,
                                 size_t length, struct error *error)
{
    char name[QUERY_NAME_MAX];
    size_t name_length = strcspn(text, "=&");
    size_t value_begin = name_length < length ? name_length + 1 : length;
    TRY(route_decode(text, name_length, true, name, sizeof(name), error));
    char *value = arena_alloc(arena, length - value_begin + 1);
    enum status status = route_decode(text + value_begin, length - value_begin, true, value,
                                      length - value_begin + 1, error);
    if (status != STATUS_OK)
        return error_prefix(error, "%s", name);
    return put(arena, message, name, value, error);
}

static enum status put_query(struct arena *arena, ProtobufCMessage *message, const char *query,
                             struct error *error)
{
    int count = 0;
    if (strlen(query) > QUERY_BYTES_MAX)
        return error_set(error, STATUS_USAGE, "a query of more than %d bytes", QUERY_BYTES_MAX);
    while (*query != '\0') {
        size_t length = strcspn(query, "&");
        if (++count > QUERY_PARAMETERS_MAX)
            return error_set(error, STATUS_USAGE, "more than %d parameters", QUERY_PARAMETERS_MAX);
        if (length > 0)
            TRY(put_parameter(arena, message, query, length, error));
        query += length + (query[length] == '&');
    }
    return STATUS_OK;
}

enum status request_read(struct arena *arena, const struct route_match *match, const char *query,
                         const char *body, size_t length, void *message_out, struct error *error)
{
    const struct route *route = match->route;
    ProtobufCMessage *message;
    if (length > route->bytes_max)
        return error_set(error, STATUS_LIMIT, "a body of %zu bytes; at most %zu", length,
                         route->bytes_max);
    if (route->body == ROUTE_BODY_JSON && length > 0)
        TRY(message_from_json(arena, route->request, body, length, &message, error));
    else
        message = message_new(arena, route->request);
    for (int i = 0; i < match->count; i++)
        TRY(put(arena, message, match->parameters[i].field, match->parameters[i].value, error));
    if (query != NULL)
        TRY(put_query(arena, message, query, error));
    TRY(message_check(message, error));
    *(void **)message_out = message;
    return STATUS_OK;
}

enum status request_is_complete(const struct route *route, const ProtobufCMessage *message,
                                struct error *error)
{
    for (unsigned i = 0; i < route->request->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &route->request->fields[i];
        if (route_needs(route->id, field->name) && !message_has(message, field))
            return error_set(error, STATUS_USAGE, "%s: say which", field->name);
    }
    return STATUS_OK;
}
