/* SPDX-License-Identifier: Apache-2.0
 *
 * remote: see remote.h. Rejected: code for each command; there are sixty routes, and what differs
 * between them is in three tables already.
 */
#include "client/remote.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "lib/check.h"
#include "lib/text.h"
#include "proto/ident.h"
#include "proto/message_json.h"

/* ---- the request ----------------------------------------------------------------------------- */

enum status remote_open(struct arena *arena, const struct call *call, struct service *service_out,
                        struct error *error)
{
    const struct remote_options *options = call->options;
    service_out->arena = arena;
    return profile_open(arena, options->server, options->profile, &service_out->profile, error);
}

enum status remote_put(const struct service *service, ProtobufCMessage *request, const char *name,
                       const char *text, struct error *error)
{
    const ProtobufCFieldDescriptor *field;
    TRY(message_field_find(request->descriptor, name, &field, error));
    return message_put_text(service->arena, request, field, text, error);
}

/* "tenant/name@version" into the fields that the request has. */
static enum status put_reference(const struct service *service, ProtobufCMessage *request,
                                 const char *text, struct error *error)
{
    struct reference reference;
    char version[NAME_BYTES_MAX + 1];
    TRY(reference_parse(text, &reference, error));
    TRY(remote_put(service, request, "name", arena_strdup(service->arena, reference.name), error));
    if (reference.tenant[0]) {
        TRY(remote_put(service, request, "tenant", arena_strdup(service->arena, reference.tenant),
                       error));
    }
    if (reference.version == 0 && !reference.alias[0]) {
        return STATUS_OK;
    }
    snprintf(version, sizeof(version), "%" PRId64, reference.version);
    return remote_put(service, request, "version",
                      arena_strdup(service->arena, reference.alias[0] ? reference.alias : version),
                      error);
}

static enum status put_arguments(const struct call *call, const struct service *service,
                                 const struct remote *remote, ProtobufCMessage *request,
                                 struct error *error)
{
    for (int i = 0; i < call->argument_count; i++) {
        const char *field = remote->fields[i];
        if (!field) {
            continue; /* the command's own business */
        }
        if (strcmp(field, "name@version") == 0) {
            TRY(put_reference(service, request, call->arguments[i], error));
        } else {
            TRY(remote_put(service, request, field, call->arguments[i], error));
        }
    }
    return STATUS_OK;
}

/* Options of the words of a row; lists are the repeated fields. */
static enum status put_option(const struct call *call, const struct option_row *row,
                              const struct service *service, ProtobufCMessage *request,
                              struct error *error)
{
    char name[64];
    const char *at = (const char *)call->options + row->offset;
    snprintf(name, sizeof(name), "%s", row->name);
    for (char *dash = name; (dash = strchr(dash, '-')); dash++) {
        *dash = '_';
    }
    if (!protobuf_c_message_descriptor_get_field_by_name(request->descriptor, name)) {
        return STATUS_OK;
    }
    enum status status = STATUS_OK;
    if (row->type == OPTION_STRING) {
        const char *text;
        memcpy(&text, at, sizeof(text));
        status = text ? remote_put(service, request, name, text, error) : STATUS_OK;
    } else if (row->type == OPTION_FLAG && *(const bool *)at) {
        status = remote_put(service, request, name, "true", error);
    } else if (row->type == OPTION_LIST) {
        const struct option_list *list = (const void *)at;
        for (int i = 0; i < list->count && status == STATUS_OK; i++) {
            status = remote_put(service, request, name, list->items[i], error);
        }
    }
    return status == STATUS_OK ? status : error_prefix(error, "--%s", row->name);
}

enum status remote_request(const struct call *call, const struct service *service,
                           const struct remote *remote, ProtobufCMessage **request_out,
                           struct error *error)
{
    ProtobufCMessage *request = service_request(service, remote->route);
    const ProtobufCFieldDescriptor *tenant =
        protobuf_c_message_descriptor_get_field_by_name(request->descriptor, "tenant");
    for (size_t i = 0; i < call->command->option_count; i++) {
        TRY(put_option(call, &call->command->options[i], service, request, error));
    }
    TRY(put_arguments(call, service, remote, request, error));
    if (remote->own && tenant && !message_has(request, tenant) && service->profile.tenant) {
        TRY(remote_put(service, request, "tenant", service->profile.tenant, error));
    }
    *request_out = request;
    return STATUS_OK;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void put_time(int64_t ms, struct buf *out)
{
    char text[32];
    struct tm local;
    time_t seconds = (time_t)(ms / 1000);
    localtime_r(&seconds, &local);
    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local);
    buf_append_string(out, text);
}

static void put_aliases(const json_t *list, struct buf *out)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *alias = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(alias, "name"));
        buf_printf(out, "%s%s=%" JSON_INTEGER_FORMAT, i > 0 ? " " : "", name ? name : "?",
                   json_integer_value(json_object_get(alias, "version")));
    }
}

/* Clocks differ: what is not yet begun is 0 old. */
static double age_s(int64_t ms)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    double age = (double)now.tv_sec + (double)now.tv_nsec / 1e9 - (double)ms / 1000;
    return age > 0 ? age : 0;
}

void remote_cell(const json_t *entry, const struct column *column, struct buf *out)
{
    const json_t *value = json_object_get(entry, column->field);
    char text[32];
    if (!value) {
        return;
    }
    switch (column->kind) {
    case COLUMN_TIME:
        put_time(json_integer_value(value), out);
        break;
    case COLUMN_AGE:
        format_duration(age_s(json_integer_value(value)), text);
        buf_append_string(out, text);
        break;
    case COLUMN_BYTES:
        format_bytes((double)json_integer_value(value), text);
        buf_append_string(out, text);
        break;
    case COLUMN_ALIASES:
        put_aliases(value, out);
        break;
    case COLUMN_TEXT:
        if (json_is_string(value)) {
            buf_append_string(out, json_string_value(value));
        } else {
            json_append(out, value);
        }
    }
}

static void print_rows(const struct remote *remote, const json_t *rows, enum table_format format)
{
    const char *titles[TABLE_COLUMNS_MAX];
    int count = (int)remote->column_count;
    for (int i = 0; i < count; i++) {
        titles[i] = remote->columns[i].title;
    }
    struct table *table = table_create_columns(titles, count);
    for (size_t k = 0; k < json_array_size(rows); k++) {
        struct buf cells[TABLE_COLUMNS_MAX] = {{0}};
        const char *texts[TABLE_COLUMNS_MAX];
        for (int i = 0; i < count; i++) {
            remote_cell(json_array_get(rows, k), &remote->columns[i], &cells[i]);
            texts[i] = cells[i].data ? cells[i].data : "";
        }
        table_row_cells(table, texts, count);
        for (int i = 0; i < count; i++) {
            buf_release(&cells[i]);
        }
    }
    table_print(table, format, stdout);
    table_free(table);
}

/* Every field that is set, one a line. */
static void print_card(const json_t *object, enum table_format format)
{
    struct table *table = table_create("field", "value");
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value)
    {
        size_t length = strlen(name);
        bool is_time = length > 3 && strcmp(name + length - 3, "_ms") == 0 &&
                       json_integer_value(value) > 1000000000000;
        struct column column = {.field = name, .kind = is_time ? COLUMN_TIME : COLUMN_TEXT};
        struct buf cell = {0};
        if (strcmp(name, "spec") == 0 || ((json_is_array(value) || json_is_object(value)) &&
                                          json_array_size(value) + json_object_size(value) == 0)) {
            continue; /* long, or nothing: -o json has it */
        }
        remote_cell(object, &column, &cell);
        table_row(table, name, cell.data ? cell.data : "");
        buf_release(&cell);
    }
    table_print(table, format, stdout);
    table_free(table);
}

static void print_json(const json_t *value)
{
    struct buf text = {0};
    json_append(&text, value);
    puts(text.data);
    buf_release(&text);
}

static void print_list(const struct remote *remote, const json_t *reply, enum table_format format)
{
    const json_t *rows = json_object_get(reply, remote->list);
    if (format == TABLE_FORMAT_JSON) {
        print_json(rows ? rows : reply);
        return;
    }
    for (size_t i = 0; format == TABLE_FORMAT_JSONL && i < json_array_size(rows); i++) {
        print_json(json_array_get(rows, i));
    }
    if (format != TABLE_FORMAT_JSONL) {
        print_rows(remote, rows, format);
    }
}

enum status remote_print(const struct call *call, const struct remote *remote, const json_t *reply,
                         struct error *error)
{
    enum table_format format;
    TRY(call_format(call, TABLE_FORMAT_TABLE, &format, error));
    if (remote->list) {
        print_list(remote, reply, format);
        const json_t *next = json_object_get(reply, "next");
        if (next && !call->globals->quiet) {
            struct buf text = {0};
            remote_cell(reply, &(struct column){.field = "next"}, &text);
            fprintf(stderr, "there are more: --after %s\n", text.data);
            buf_release(&text);
        }
        return STATUS_OK;
    }
    const json_t *secret = remote->secret ? json_object_get(reply, remote->secret) : NULL;
    if (format == TABLE_FORMAT_JSON || format == TABLE_FORMAT_JSONL) {
        print_json(reply);
    } else if (secret && (format == TABLE_FORMAT_NAME || call->globals->quiet)) {
        puts(json_string_value(secret));
    } else if (remote->columns) {
        json_t *rows = json_array();
        json_array_append(rows, (json_t *)reply);
        print_rows(remote, rows, format);
        json_decref(rows);
    } else {
        print_card(reply, format);
    }
    return STATUS_OK;
}

static enum status run_in(struct arena *arena, const struct call *call, struct error *error)
{
    const struct remote *remote = call->command->remote;
    struct service service;
    ProtobufCMessage *request;
    json_t *reply;
    TRY(remote_open(arena, call, &service, error));
    TRY(remote_request(call, &service, remote, &request, error));
    TRY(service_call(&service, remote->route, request, &reply, error));
    enum status status = remote_print(call, remote, reply, error);
    json_decref(reply);
    return status;
}

enum status remote_run(const struct call *call, struct error *error)
{
    struct arena arena = {0};
    enum status status = run_in(&arena, call, error);
    arena_release(&arena);
    return status;
}
