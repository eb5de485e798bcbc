/* SPDX-License-Identifier: Apache-2.0
 *
 * remote_print: an answer of the service as people and programs want it. The columns are the
 * remote's own, with -o wide all of them, or what --columns names: any field of the answer, also
 * within it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/remote.h"
#include "lib/text.h"
#include "lib/yaml.h"

enum { WATCH_S = 2, WATCH_PATIENCE_MS = 300000 };
#define CLEAR "\x1b[H\x1b[2J"

/* ---- cells ----------------------------------------------------------------------------------- */

const char *remote_text(const json_t *entry, const char *field)
{
    const char *text = json_string_value(json_object_get(entry, field));
    return text ? text : "";
}

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
        buf_printf(out, "%s%s=%" JSON_INTEGER_FORMAT, i > 0 ? " " : "", remote_text(alias, "name"),
                   json_integer_value(json_object_get(alias, "version")));
    }
}

static void put_rewards(const json_t *list, struct buf *out)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *reward = json_object_get(json_array_get(list, i), "reward");
        buf_printf(out, "%s%.4g", i > 0 ? " " : "", json_number_value(reward));
    }
}

/* Texts of one prompt begin alike. */
static void put_texts(const json_t *list, struct buf *out)
{
    enum { SHOWN_BYTES = 48 };
    const char *texts[2] = {json_string_value(json_array_get(list, 0)),
                            json_string_value(json_array_get(list, 1))};
    size_t start = texts[0] && texts[1] ? text_common_start(texts[0], texts[1]) : 0;
    for (int i = 0; i < 2 && texts[i]; i++) {
        char line[SHOWN_BYTES];
        size_t length = text_clean(texts[i] + start, line, sizeof(line));
        buf_printf(out, "%s%s%s", i > 0 ? " | " : "", line,
                   strlen(texts[i] + start) > length ? "…" : "");
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

/* "spec.train.seed" */
static const json_t *find(const json_t *entry, const char *field)
{
    const json_t *value = json_object_get(entry, field);
    const char *dot = strchr(field, '.');
    if (value || !dot) {
        return value;
    }
    char *head = mem_strdup(field);
    head[dot - field] = '\0';
    value = json_object_get(entry, head);
    mem_free(head);
    return value ? find(value, dot + 1) : NULL;
}

void remote_cell(const json_t *entry, const struct column *column, struct buf *out)
{
    const json_t *value = find(entry, column->field);
    char text[32];
    if (!value) {
        return;
    }
    switch ((int)column->kind & ~COLUMN_WIDE) {
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
    case COLUMN_HOURS:
        buf_printf(out, "%.3f", (double)json_integer_value(value) / 3600000);
        break;
    case COLUMN_ALIASES:
        put_aliases(value, out);
        break;
    case COLUMN_REWARDS:
        put_rewards(value, out);
        break;
    case COLUMN_TEXTS:
        put_texts(value, out);
        break;
    default:
        if (json_is_string(value)) {
            buf_append_string(out, json_string_value(value));
        } else {
            json_append(out, value);
        }
    }
}

/* ---- which columns --------------------------------------------------------------------------- */

/* What an entry of the answer is. */
static const ProtobufCMessageDescriptor *entry_type(const struct remote *remote)
{
    const ProtobufCMessageDescriptor *reply = route_at(remote->route)->reply;
    const ProtobufCFieldDescriptor *list =
        remote->list ? protobuf_c_message_descriptor_get_field_by_name(reply, remote->list) : NULL;
    return list && list->type == PROTOBUF_C_TYPE_MESSAGE ? list->descriptor : reply;
}

static enum status unknown_column(const ProtobufCMessageDescriptor *type, const char *name,
                                  struct error *error)
{
    const char *names[128];
    size_t count = 0;
    for (unsigned i = 0; i < type->n_fields && count < sizeof(names) / sizeof(names[0]); i++) {
        names[count++] = type->fields[i].name;
    }
    const char *near = nearest_name(name, names, count);
    if (near) {
        return error_set(error, STATUS_USAGE, "--columns: there is no column %s: did you mean %s?",
                         name, near);
    }
    return error_set(error, STATUS_USAGE,
                     "--columns: there is no column %s: -o json shows them all", name);
}

static enum status choose_column(struct arena *arena, const struct remote *remote, const char *name,
                                 struct column *column_out, struct error *error)
{
    for (size_t i = 0; i < remote->column_count; i++) {
        if (strcmp(remote->columns[i].title, name) == 0 ||
            strcmp(remote->columns[i].field, name) == 0) {
            *column_out = remote->columns[i];
            return STATUS_OK;
        }
    }
    size_t length = strlen(name);
    const char *head = arena_strndup(arena, name, strcspn(name, "."));
    const ProtobufCMessageDescriptor *type = entry_type(remote);
    if (!protobuf_c_message_descriptor_get_field_by_name(type, head)) {
        return unknown_column(type, head, error);
    }
    bool time = length > 3 && strcmp(name + length - 3, "_ms") == 0;
    *column_out = (struct column){name, name, time ? COLUMN_TIME : COLUMN_TEXT};
    return STATUS_OK;
}

static bool is_wide(const struct call *call)
{
    return call->globals->output && strcmp(call->globals->output, "wide") == 0;
}

enum status remote_columns(struct arena *arena, const struct call *call,
                           const struct remote *remote,
                           struct column columns_out[TABLE_COLUMNS_MAX], int *count_out,
                           struct error *error)
{
    const struct remote_options *options = call->options;
    int count = 0;
    for (const char *at = options->columns; at && *at; at += strspn(at, ",")) {
        size_t length = strcspn(at, ",");
        if (count == TABLE_COLUMNS_MAX) {
            return error_set(error, STATUS_USAGE, "--columns: at most %d", TABLE_COLUMNS_MAX);
        }
        TRY(choose_column(arena, remote, arena_strndup(arena, at, length), &columns_out[count++],
                          error));
        at += length;
    }
    for (size_t i = 0; !options->columns && i < remote->column_count; i++) {
        if (is_wide(call) || !(remote->columns[i].kind & COLUMN_WIDE)) {
            columns_out[count++] = remote->columns[i];
        }
    }
    *count_out = count;
    return STATUS_OK;
}

/* ---- rows and cards -------------------------------------------------------------------------- */

void remote_value(const json_t *value, enum table_format format)
{
    struct buf text = {0};
    if (format == TABLE_FORMAT_YAML) {
        yaml_append(&text, value);
    } else {
        json_append(&text, value);
        buf_append_char(&text, '\n');
    }
    fputs(text.data, stdout);
    buf_release(&text);
}

static void print_rows(const struct column *columns, int count, const json_t *rows,
                       enum table_format format)
{
    const char *titles[TABLE_COLUMNS_MAX];
    for (int i = 0; i < count; i++) {
        titles[i] = columns[i].title;
    }
    struct table *table = table_create_columns(titles, count);
    for (size_t k = 0; k < json_array_size(rows); k++) {
        struct buf cells[TABLE_COLUMNS_MAX] = {{0}};
        const char *texts[TABLE_COLUMNS_MAX];
        for (int i = 0; i < count; i++) {
            remote_cell(json_array_get(rows, k), &columns[i], &cells[i]);
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

/* Every field that is set, one a line; nothing where nothing is. */
static void print_card(const json_t *object, enum table_format format)
{
    struct table *table = table_create("field", "value");
    int rows = 0;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value)
    {
        size_t length = strlen(name);
        bool is_time = length > 3 && strcmp(name + length - 3, "_ms") == 0 &&
                       json_integer_value(value) > 1000000000000;
        struct column column = {.field = name, .kind = is_time ? COLUMN_TIME : COLUMN_TEXT};
        struct buf cell = {0};
        if (strcmp(name, "spec") == 0 || strcmp(name, "figures") == 0 ||
            strcmp(name, "gate_figures") == 0 ||
            ((json_is_array(value) || json_is_object(value)) &&
             json_array_size(value) + json_object_size(value) == 0)) {
            continue; /* long, or nothing: -o json has it */
        }
        remote_cell(object, &column, &cell);
        table_row(table, name, cell.data ? cell.data : "");
        buf_release(&cell);
        rows++;
    }
    if (rows > 0 || format != TABLE_FORMAT_TABLE) {
        table_print(table, format, stdout);
    }
    table_free(table);
}

static bool is_whole(enum table_format format)
{
    return format == TABLE_FORMAT_JSON || format == TABLE_FORMAT_JSONL ||
           format == TABLE_FORMAT_YAML;
}

static void print_list(const struct column *columns, int count, const struct remote *remote,
                       const json_t *reply, enum table_format format)
{
    const json_t *rows = json_object_get(reply, remote->list);
    if (format == TABLE_FORMAT_JSONL && count == 0) {
        for (size_t i = 0; i < json_array_size(rows); i++) {
            remote_value(json_array_get(rows, i), format);
        }
    } else if (count == 0) {
        remote_value(rows ? rows : reply, format);
    } else {
        print_rows(columns, count, rows, format);
    }
}

static void print_one(const struct column *columns, int count, const json_t *reply,
                      enum table_format format)
{
    const char *name = remote_text(reply, json_object_get(reply, "id") ? "id" : "name");
    if (count > 0) {
        json_t *rows = json_array();
        json_array_append(rows, (json_t *)reply);
        print_rows(columns, count, rows, format);
        json_decref(rows);
    } else if (is_whole(format)) {
        remote_value(reply, format);
    } else if (format == TABLE_FORMAT_NAME && name[0]) {
        puts(name);
    } else {
        print_card(reply, format);
    }
}

static void tell_next(const struct call *call, const json_t *reply)
{
    struct buf text = {0};
    if (json_object_get(reply, "next") && !call->globals->quiet) {
        remote_cell(reply, &(struct column){.field = "next"}, &text);
        fprintf(stderr, "there are more: --after %s\n", text.data);
    }
    buf_release(&text);
}

static enum status print_in(struct arena *arena, const struct call *call,
                            const struct remote *remote, const json_t *reply, struct error *error)
{
    const struct remote_options *options = call->options;
    struct column columns[TABLE_COLUMNS_MAX];
    enum table_format format;
    int count;
    TRY(call_format(call, TABLE_FORMAT_TABLE, &format, error));
    TRY(remote_columns(arena, call, remote, columns, &count, error));
    if (is_whole(format) && !options->columns) {
        count = 0; /* everything, as it came */
    }
    const json_t *secret = remote->secret ? json_object_get(reply, remote->secret) : NULL;
    if (remote->list) {
        print_list(columns, count, remote, reply, format);
        tell_next(call, reply);
    } else if (secret && (format == TABLE_FORMAT_NAME || call->globals->quiet)) {
        puts(json_string_value(secret));
    } else {
        print_one(columns, count, reply, format);
    }
    return STATUS_OK;
}

enum status remote_print(const struct call *call, const struct remote *remote, const json_t *reply,
                         struct error *error)
{
    struct arena arena = {0};
    enum status status = print_in(&arena, call, remote, reply, error);
    arena_release(&arena);
    return status;
}

/* ---- again and again ------------------------------------------------------------------------- */

static enum status watch(const struct call *call, const struct service *service,
                         const struct remote *remote, const ProtobufCMessage *request,
                         struct error *error)
{
    json_t *last = NULL;
    enum status status = STATUS_OK;
    while (status == STATUS_OK) {
        json_t *reply;
        status = service_insist(service, remote->route, request, WATCH_PATIENCE_MS, &reply, error);
        if (status != STATUS_OK) {
            break;
        }
        if (!last || !json_equal(last, reply) || isatty(STDOUT_FILENO)) {
            fputs(isatty(STDOUT_FILENO) ? CLEAR : "", stdout);
            status = remote_print(call, remote, reply, error);
            fflush(stdout);
        }
        json_decref(last);
        last = reply;
        sleep(WATCH_S);
    }
    json_decref(last);
    return status;
}

enum status remote_show(const struct call *call, const struct service *service,
                        const struct remote *remote, const ProtobufCMessage *request,
                        struct error *error)
{
    const struct remote_options *options = call->options;
    json_t *reply;
    if (options->watch) {
        return watch(call, service, remote, request, error);
    }
    TRY(service_call(service, remote->route, request, &reply, error));
    enum status status = remote_print(call, remote, reply, error);
    json_decref(reply);
    return status;
}
