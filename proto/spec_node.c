/* SPDX-License-Identifier: Apache-2.0
 *
 * spec_node: libyaml's events to a tree, with an explicit stack instead of recursion.
 *
 * Anchors, aliases and tags are refused, so a small file cannot unfold into a big tree and no text
 * becomes something else behind its writer's back. Rejected: libyaml's document API, which resolves
 * aliases into a graph.
 */
#include "proto/spec_node.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "lib/check.h"
#include "lib/json.h"

struct spec_node *spec_node_new(struct arena *arena, enum spec_node_kind kind, const char *origin,
                                int line)
{
    struct spec_node *node = arena_new(arena, struct spec_node);
    node->kind = kind;
    node->origin = origin;
    node->line = line;
    return node;
}

struct spec_node *spec_node_scalar(struct arena *arena, const char *origin, const char *text)
{
    struct spec_node *node = spec_node_new(arena, SPEC_NODE_SCALAR, origin, 0);
    node->text = arena_strdup(arena, text);
    return node;
}

void spec_node_add(struct arena *arena, struct spec_node *parent, const char *key,
                   struct spec_node *child)
{
    CHECK((parent->kind == SPEC_NODE_MAP) == (key != NULL));
    if (parent->count == parent->capacity) {
        int capacity = parent->capacity == 0 ? 8 : parent->capacity * 2;
        struct spec_node **items = arena_array(arena, struct spec_node *, capacity);
        const char **keys = arena_array(arena, const char *, capacity);
        for (int i = 0; i < parent->count; i++) {
            items[i] = parent->items[i];
            keys[i] = parent->keys[i];
        }
        parent->items = items;
        parent->keys = keys;
        parent->capacity = capacity;
    }
    parent->keys[parent->count] = key;
    parent->items[parent->count++] = child;
}

static int find(const struct spec_node *map, const char *key)
{
    for (int i = 0; i < map->count; i++) {
        if (strcmp(map->keys[i], key) == 0) {
            return i;
        }
    }
    return -1;
}

struct spec_node *spec_node_get(const struct spec_node *map, const char *key)
{
    int index = map->kind == SPEC_NODE_MAP ? find(map, key) : -1;
    return index < 0 ? NULL : map->items[index];
}

void spec_node_set(struct arena *arena, struct spec_node *map, const char *key,
                   struct spec_node *child)
{
    int index = find(map, key);
    if (index < 0) {
        spec_node_add(arena, map, arena_strdup(arena, key), child);
    } else {
        map->items[index] = child;
    }
}

enum status spec_node_error(const struct spec_node *node, struct error *error, const char *format,
                            ...)
{
    char text[ERROR_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (node->line > 0) {
        return error_set(error, STATUS_USAGE, "%s:%d: %s", node->origin, node->line, text);
    }
    return error_set(error, STATUS_USAGE, "%s: %s", node->origin, text);
}

/* ---- YAML ---- */
struct reader {
    struct arena *arena;
    const char *origin;
    bool lines; /* the text is a file: its lines mean something */
    struct spec_node *stack[SPEC_DEPTH_MAX];
    const char *keys[SPEC_DEPTH_MAX]; /* the key that waits for its value, in a map */
    int key_lines[SPEC_DEPTH_MAX];    /* a value is reported in the line of its key */
    int depth, nodes;
    struct spec_node *root;
    struct error *error;
};

/* The line of an event as people count, or 0 where the text is no file. */
static int line_of(const struct reader *reader, const yaml_event_t *event)
{
    return reader->lines ? (int)event->start_mark.line + 1 : 0;
}

static enum status fail(const struct reader *reader, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum status fail(const struct reader *reader, int line, const char *format, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    struct spec_node place = {.origin = reader->origin, .line = line};
    return spec_node_error(&place, reader->error, "%s", text);
}

static enum status take_key(struct reader *reader, struct spec_node *map,
                            const struct spec_node *node)
{
    int top = reader->depth - 1;
    if (node->kind != SPEC_NODE_SCALAR) {
        return fail(reader, node->line, "a field's name must be a word");
    }
    if (map->count == SPEC_KEYS_MAX) {
        return fail(reader, node->line, "more than %d fields in one section", SPEC_KEYS_MAX);
    }
    int earlier = find(map, node->text);
    if (earlier >= 0) {
        int line = map->items[earlier]->line;
        return line > 0 ? fail(reader, node->line, "%s is given twice, first in line %d",
                               node->text, line)
                        : fail(reader, 0, "%s is given twice", node->text);
    }
    reader->keys[top] = node->text;
    reader->key_lines[top] = node->line;
    return STATUS_OK;
}

/* Puts a finished scalar, or a list or map that just began, where it belongs. */
static enum status place(struct reader *reader, struct spec_node *node)
{
    if (++reader->nodes > SPEC_NODES_MAX) {
        return fail(reader, node->line, "more than %d values", SPEC_NODES_MAX);
    }
    if (reader->depth == 0) {
        reader->root = node;
        return STATUS_OK;
    }
    struct spec_node *parent = reader->stack[reader->depth - 1];
    const char **key = &reader->keys[reader->depth - 1];
    if (parent->kind == SPEC_NODE_MAP && !*key) {
        return take_key(reader, parent, node);
    }
    if (*key) {
        node->line = reader->key_lines[reader->depth - 1];
    }
    spec_node_add(reader->arena, parent, *key, node);
    *key = NULL;
    return STATUS_OK;
}

static enum status push(struct reader *reader, enum spec_node_kind kind, int line)
{
    struct spec_node *node = spec_node_new(reader->arena, kind, reader->origin, line);
    TRY(place(reader, node));
    if (reader->depth == SPEC_DEPTH_MAX) {
        return fail(reader, line, "nested deeper than %d", SPEC_DEPTH_MAX);
    }
    reader->keys[reader->depth] = NULL;
    reader->stack[reader->depth++] = node;
    return STATUS_OK;
}

static bool is_null(const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static enum status scalar(struct reader *reader, const yaml_event_t *event)
{
    int line = line_of(reader, event);
    const char *text = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;
    if (strlen(text) != length) {
        return fail(reader, line, "a NUL byte in a text");
    }
    enum spec_node_kind kind = is_null(event) ? SPEC_NODE_NULL : SPEC_NODE_SCALAR;
    struct spec_node *node = spec_node_new(reader->arena, kind, reader->origin, line);
    node->text = arena_strndup(reader->arena, text, length);
    return place(reader, node);
}

static enum status no_anchor(const struct reader *reader, const yaml_event_t *event,
                             const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor) {
        return fail(reader, line_of(reader, event),
                    "anchors (&%s) are not supported: write the "
                    "value where it is needed",
                    (const char *)anchor);
    }
    if (tag) {
        return fail(reader, line_of(reader, event), "tags (%s) are not supported: leave it out",
                    (const char *)tag);
    }
    return STATUS_OK;
}

static enum status take_event(struct reader *reader, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (reader->root) {
            return fail(reader, line_of(reader, event), "a second document: one spec a file");
        }
        return STATUS_OK;
    case YAML_ALIAS_EVENT:
        return fail(reader, line_of(reader, event),
                    "aliases (*%s) are not supported: write the value where it is needed",
                    (const char *)event->data.alias.anchor);
    case YAML_SCALAR_EVENT:
        TRY(no_anchor(reader, event, event->data.scalar.anchor, event->data.scalar.tag));
        return scalar(reader, event);
    case YAML_SEQUENCE_START_EVENT:
        TRY(no_anchor(reader, event, event->data.sequence_start.anchor,
                      event->data.sequence_start.tag));
        return push(reader, SPEC_NODE_LIST, line_of(reader, event));
    case YAML_MAPPING_START_EVENT:
        TRY(no_anchor(reader, event, event->data.mapping_start.anchor,
                      event->data.mapping_start.tag));
        return push(reader, SPEC_NODE_MAP, line_of(reader, event));
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        CHECK(reader->depth > 0);
        reader->depth--;
        return STATUS_OK;
    default:
        return STATUS_OK;
    }
}

static enum status parser_error(const struct reader *reader, const yaml_parser_t *parser)
{
    const char *problem = parser->problem ? parser->problem : "not YAML";
    if (parser->error == YAML_READER_ERROR) {
        return error_set(reader->error, STATUS_USAGE, "%s: byte %zu: %s", reader->origin,
                         parser->problem_offset, problem);
    }
    if (!reader->lines) {
        return fail(reader, 0, "not YAML: %s", problem);
    }
    return error_set(reader->error, STATUS_USAGE, "%s:%zu:%zu: not YAML: %s", reader->origin,
                     parser->problem_mark.line + 1, parser->problem_mark.column + 1, problem);
}

enum status spec_node_read_yaml(struct arena *arena, const char *origin, bool lines,
                                const char *text, size_t length, struct spec_node **node_out,
                                struct error *error)
{
    struct reader reader = {.arena = arena, .origin = origin, .lines = lines, .error = error};
    yaml_parser_t parser;
    CHECK(yaml_parser_initialize(&parser));
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    enum status status = STATUS_OK;
    bool ended = false;
    while (status == STATUS_OK && !ended) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            status = parser_error(&reader, &parser);
            break;
        }
        ended = event.type == YAML_STREAM_END_EVENT;
        status = take_event(&reader, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    TRY(status);
    *node_out = reader.root ? reader.root : spec_node_new(arena, SPEC_NODE_NULL, origin, 0);
    return STATUS_OK;
}

/* ---- JSON ---- */
/* json_read bounds the depth; the spec's smaller bound is checked here. */
static enum status convert(struct reader *reader, const json_t *value, int depth,
                           struct spec_node **node_out)
{
    struct buf number = {0};
    struct spec_node *node = spec_node_new(reader->arena, SPEC_NODE_SCALAR, reader->origin, 0);
    if (depth > SPEC_DEPTH_MAX) {
        return spec_node_error(node, reader->error, "nested deeper than %d", SPEC_DEPTH_MAX);
    }
    if (++reader->nodes > SPEC_NODES_MAX) {
        return spec_node_error(node, reader->error, "more than %d values", SPEC_NODES_MAX);
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        node->kind = SPEC_NODE_MAP;
        for (void *at = json_object_iter((json_t *)value); at;
             at = json_object_iter_next((json_t *)value, at)) {
            struct spec_node *child;
            TRY(convert(reader, json_object_iter_value(at), depth + 1, &child));
            spec_node_add(reader->arena, node,
                          arena_strdup(reader->arena, json_object_iter_key(at)), child);
        }
        break;
    case JSON_ARRAY:
        node->kind = SPEC_NODE_LIST;
        for (size_t i = 0; i < json_array_size(value); i++) {
            struct spec_node *child;
            TRY(convert(reader, json_array_get(value, i), depth + 1, &child));
            spec_node_add(reader->arena, node, NULL, child);
        }
        break;
    case JSON_NULL:
        node->kind = SPEC_NODE_NULL;
        break;
    case JSON_STRING:
        node->text = arena_strdup(reader->arena, json_string_value(value));
        break;
    default:
        json_append(&number, value);
        node->text = arena_strndup(reader->arena, number.data, number.length);
        buf_release(&number);
        break;
    }
    *node_out = node;
    return STATUS_OK;
}

enum status spec_node_read_json(struct arena *arena, const char *origin, const char *text,
                                size_t length, struct spec_node **node_out, struct error *error)
{
    struct reader reader = {.arena = arena, .origin = origin, .error = error};
    struct error cause;
    json_t *root;
    if (json_read(origin, text, length, &root, &cause) != STATUS_OK) {
        return error_set(error, STATUS_USAGE, "%s", cause.text);
    }
    enum status status = convert(&reader, root, 0, node_out);
    json_decref(root);
    return status;
}
