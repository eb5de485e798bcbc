/* SPDX-License-Identifier: Apache-2.0
 *
 * spec_value: what a person wrote, as the type that its row asks for.
 *
 * A text becomes a number only where its row is one, and only when all of it parses; range and
 * choices are checked at the same place, so no unchecked value is ever in the struct. Messages say
 * the field, what it is, and what it must be. Rejected: a decode pass and a range pass; the second
 * would no longer know the line.
 */
#include "proto/spec_value.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "lib/text.h"

/* One value on its way: everything that the decoders of the types need. */
struct value {
    struct arena *arena;
    const struct spec_row *row;
    const struct spec_node *node;
    const char *path;
    struct error *error;
};

static const char *shown(const struct value *value)
{
    enum { SHOWN_MAX = 60 };
    switch (value->node->kind) {
    case SPEC_NODE_LIST:
        return "a list";
    case SPEC_NODE_MAP:
        return "a map";
    case SPEC_NODE_NULL:
        return "nothing";
    case SPEC_NODE_SCALAR:
        break;
    }
    const char *text = value->node->text;
    return text[0] == '\0'             ? "empty"
           : strlen(text) <= SHOWN_MAX ? text
                                       : arena_printf(value->arena, "%.*s...", SHOWN_MAX, text);
}

static enum status wrong(const struct value *value, const char *expected)
{
    return spec_node_error(value->node, value->error, "%s is %s: it must be %s", value->path,
                           shown(value), expected);
}

/* ---- numbers ---- */
static enum status decode_f64(const struct value *value, double *out)
{
    const struct spec_row *row = value->row;
    double number;
    if (value->node->kind != SPEC_NODE_SCALAR || !parse_f64(value->node->text, &number)) {
        return wrong(value, "a number");
    }
    if (number < row->min || number > row->max) {
        return wrong(value, arena_printf(value->arena, "from %g to %g", row->min, row->max));
    }
    *out = number;
    return STATUS_OK;
}

static enum status decode_i64(const struct value *value, int64_t *out)
{
    const struct spec_row *row = value->row;
    int64_t number;
    double real;
    if (value->node->kind != SPEC_NODE_SCALAR || !parse_f64(value->node->text, &real) ||
        real != floor(real)) {
        return wrong(value, "a whole number");
    }
    /* The bounds are below 2^53, so a real that is inside them is exact. */
    if (real < row->min || real > row->max) {
        return wrong(value, arena_printf(value->arena, "from %.0f to %.0f", row->min, row->max));
    }
    if (!parse_i64(value->node->text, &number)) {
        number = (int64_t)real;
    }
    *out = number;
    return STATUS_OK;
}

static enum status decode_duration(const struct value *value, double *out)
{
    double seconds;
    if (value->node->kind != SPEC_NODE_SCALAR || (!parse_duration_s(value->node->text, &seconds) &&
                                                  !parse_f64(value->node->text, &seconds))) {
        return wrong(value, "a duration such as 90s, 10m or 1h30m");
    }
    if (seconds < value->row->min || seconds > value->row->max) {
        return wrong(value, "from 0 to 365d");
    }
    *out = seconds;
    return STATUS_OK;
}

static enum status decode_bool(const struct value *value, bool *out)
{
    static const char *const words[] = {"false", "False", "FALSE", "true", "True", "TRUE"};
    for (int i = 0; i < 6 && value->node->kind == SPEC_NODE_SCALAR; i++) {
        if (strcmp(value->node->text, words[i]) == 0) {
            *out = i >= 3;
            return STATUS_OK;
        }
    }
    return wrong(value, "true or false");
}

/* ---- words ---- */
static enum status decode_choice(const struct value *value, int *out)
{
    const char *text = value->node->kind == SPEC_NODE_SCALAR ? value->node->text : NULL;
    *out = text ? spec_choice_find(value->row->choices, text) : 0;
    if (*out > 0) {
        return STATUS_OK;
    }
    struct buf hint = {0};
    spec_choices_hint(value->row->choices, text, &hint);
    enum status status = wrong(value, hint.data);
    buf_release(&hint);
    return status;
}

static enum status decode_set(const struct value *value, uint32_t *out)
{
    const struct spec_node *node = value->node;
    if (node->kind == SPEC_NODE_SCALAR && strcmp(node->text, "all-linear") == 0) {
        *out = (1u << (value->row->choices->count + 1)) - 2;
        return STATUS_OK;
    }
    uint32_t bits = 0;
    int count = node->kind == SPEC_NODE_LIST ? node->count : 1;
    for (int i = 0; i < count; i++) {
        struct value item = *value;
        int choice;
        item.node = node->kind == SPEC_NODE_LIST ? node->items[i] : node;
        TRY(decode_choice(&item, &choice));
        bits |= 1u << choice;
    }
    if (bits == 0) {
        return wrong(value, "all-linear or a list of matrices that is not empty");
    }
    *out = bits;
    return STATUS_OK;
}

static bool is_label(const char *text)
{
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                 "-_.");
    return isalnum((unsigned char)text[0]) && text[length] == '\0';
}

/* RFC 3339 in UTC: 2026-01-31T08:00:00Z. */
static bool is_time(const char *text)
{
    static const char pattern[] = "0000-00-00T00:00:00Z";
    if (strlen(text) != sizeof(pattern) - 1) {
        return false;
    }
    for (size_t i = 0; i < sizeof(pattern) - 1; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';
        if (pattern[i] == '0' ? !digit : text[i] != pattern[i]) {
            return false;
        }
    }
    int month, day, hour, minute, second;
    sscanf(text + 5, "%2d-%2dT%2d:%2d:%2d", &month, &day, &hour, &minute, &second);
    return month >= 1 && month <= 12 && day >= 1 && day <= 31 && hour < 24 && minute < 60 &&
           second <= 60;
}

static bool has_control(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            return true;
        }
    }
    return false;
}

static enum status decode_string(const struct value *value, const char **out)
{
    const char *text = value->node->text;
    if (value->node->kind != SPEC_NODE_SCALAR) {
        return wrong(value, "a text");
    }
    if (strlen(text) > (size_t)value->row->max) {
        return wrong(value, arena_printf(value->arena, "at most %.0f bytes", value->row->max));
    }
    switch (value->row->format) {
    case SPEC_FORMAT_LABEL:
        if (!is_label(text)) {
            return wrong(value, "letters, digits, - _ and ., with a letter or digit first");
        }
        break;
    case SPEC_FORMAT_REFERENCE:
        if (text[0] == '\0' || has_control(text)) {
            return wrong(value, "a name or a path");
        }
        break;
    case SPEC_FORMAT_TIME:
        if (!is_time(text)) {
            return wrong(value, "a time in UTC such as 2026-01-31T08:00:00Z");
        }
        break;
    default:
        break;
    }
    *out = arena_strdup(value->arena, text);
    return STATUS_OK;
}

/* ---- lists and maps ---- */
/* The items of a list; what is not a list stands for a list of itself. */
static enum status list_items(const struct value *value, struct spec_node *const **items,
                              int *count)
{
    bool list = value->node->kind == SPEC_NODE_LIST;
    *items = list ? value->node->items : (struct spec_node *const *)&value->node;
    *count = list ? value->node->count : 1;
    if (*count > (int)value->row->max) {
        return spec_node_error(value->node, value->error, "%s has %d entries: it may have %.0f",
                               value->path, *count, value->row->max);
    }
    return STATUS_OK;
}

/* A row for the texts inside a list or map: the same format, a label's length. */
static struct spec_row item_row(const struct spec_row *row)
{
    enum { ITEM_BYTES_MAX = 255 };
    struct spec_row item = *row;
    item.max = ITEM_BYTES_MAX;
    return item;
}

static enum status decode_strings(const struct value *value, struct spec_strings *out)
{
    struct spec_row row = item_row(value->row);
    struct spec_node *const *items;
    struct spec_strings list = {0};
    TRY(list_items(value, &items, &list.count));
    list.items = arena_array(value->arena, const char *, list.count);
    for (int i = 0; i < list.count; i++) {
        const char *path = arena_printf(value->arena, "%s[%d]", value->path, i);
        struct value item = {value->arena, &row, items[i], path, value->error};
        TRY(decode_string(&item, &list.items[i]));
    }
    *out = list;
    return STATUS_OK;
}

static enum status decode_map(const struct value *value, struct spec_map *out)
{
    struct spec_row row = item_row(value->row);
    const struct spec_node *node = value->node;
    if (node->kind != SPEC_NODE_MAP) {
        return wrong(value, "a map such as {team: support}");
    }
    if (node->count > (int)value->row->max) {
        return spec_node_error(node, value->error, "%s has %d entries: it may have %.0f",
                               value->path, node->count, value->row->max);
    }
    struct spec_map map = {arena_array(value->arena, struct spec_pair, node->count), node->count};
    for (int i = 0; i < node->count; i++) {
        const char *path = arena_printf(value->arena, "%s.%s", value->path, node->keys[i]);
        struct value item = {value->arena, &row, node->items[i], path, value->error};
        if (!is_label(node->keys[i])) {
            return spec_node_error(node->items[i], value->error,
                                   "%s: a label's name must be letters, digits, - _ and .", path);
        }
        map.items[i].key = arena_strdup(value->arena, node->keys[i]);
        TRY(decode_string(&item, &map.items[i].value));
    }
    *out = map;
    return STATUS_OK;
}

static enum status decode_sources(const struct value *value, struct spec_sources *out)
{
    struct spec_node *const *items;
    struct spec_sources sources = {0};
    TRY(list_items(value, &items, &sources.count));
    sources.items = arena_array(value->arena, struct spec_source, sources.count);
    for (int i = 0; i < sources.count; i++) {
        struct spec_source *source = &sources.items[i];
        const char *prefix = arena_printf(value->arena, "%s[%d].", value->path, i);
        for (int k = 0; k < spec_source_rows.count; k++) {
            const struct spec_row *row = &spec_source_rows.items[k];
            spec_value_set(value->arena, row, row->value, source);
        }
        TRY(spec_map_decode(value->arena, &spec_source_rows, items[i], "", prefix, source, NULL,
                            value->error));
    }
    *out = sources;
    return STATUS_OK;
}

/* ---- all types ---- */
enum status spec_value_decode(struct arena *arena, const struct spec_row *row,
                              const struct spec_node *node, const char *path, void *base,
                              struct error *error)
{
    struct value value = {arena, row, node, path, error};
    void *field = (char *)base + row->offset;
    switch (row->type) {
    case SPEC_TYPE_STRING:
        return decode_string(&value, field);
    case SPEC_TYPE_BOOL:
        return decode_bool(&value, field);
    case SPEC_TYPE_I64:
        return decode_i64(&value, field);
    case SPEC_TYPE_F64:
        return decode_f64(&value, field);
    case SPEC_TYPE_DURATION:
        return decode_duration(&value, field);
    case SPEC_TYPE_ENUM: {
        int choice;
        TRY(decode_choice(&value, &choice));
        memcpy(field, &choice, sizeof(choice));
        return STATUS_OK;
    }
    case SPEC_TYPE_SET:
        return decode_set(&value, field);
    case SPEC_TYPE_STRINGS:
        return decode_strings(&value, field);
    case SPEC_TYPE_MAP:
        return decode_map(&value, field);
    case SPEC_TYPE_SOURCES:
        return decode_sources(&value, field);
    }
    CHECK(!"a row of unknown type");
    return STATUS_OK;
}

_Static_assert(sizeof(enum spec_stage) == sizeof(int), "enums are stored as int");

void spec_value_set(struct arena *arena, const struct spec_row *row, const char *text, void *base)
{
    struct error error;
    if (text[0] != '\0') {
        struct spec_node *node = spec_node_scalar(arena, "spec.def", text);
        CHECK(spec_value_decode(arena, row, node, row->name, base, &error) == STATUS_OK);
    } else if (row->type == SPEC_TYPE_F64) {
        memcpy((char *)base + row->offset, &(double){-1}, sizeof(double));
    }
    /* Everything else is unset as zero bytes, which the caller's struct holds already. */
}

/* A key that is neither field nor section. `adam: {lr: 1}` is asked for as adam.lr, which somebody
 * else's list may know. */
static enum status unknown_field(struct arena *arena, const struct spec_rows *rows,
                                 const struct spec_node *node, const char *prefix, const char *name,
                                 struct error *error)
{
    struct buf hint = {0};
    if (node->kind == SPEC_NODE_MAP && node->count > 0) {
        const char *inner = arena_printf(arena, "%s.%s", name, node->keys[0]);
        const struct spec_synonym *synonym = spec_synonym_find(inner);
        name = synonym && strcmp(synonym->name, inner) == 0 ? inner : name;
    }
    if (spec_row_find(rows, name)) {
        buf_append_string(&hint, "in a file, write the section and the field below it");
    } else {
        spec_unknown_hint(rows, prefix, name, &hint);
    }
    enum status status =
        spec_node_error(node, error, "unknown field %s%s: %s", prefix, name, hint.data);
    buf_release(&hint);
    return status;
}

enum status spec_map_decode(struct arena *arena, const struct spec_rows *rows,
                            const struct spec_node *map, const char *section, const char *prefix,
                            void *base, const struct spec_node **given, struct error *error)
{
    if (map->kind != SPEC_NODE_MAP) {
        const char *entry = arena_strndup(arena, prefix, prefix[0] ? strlen(prefix) - 1 : 0);
        return spec_node_error(map, error, "%s%s must be a map of fields",
                               section[0] ? prefix : entry, section);
    }
    for (int i = 0; i < map->count; i++) {
        const struct spec_node *node = map->items[i];
        const char *name =
            section[0] ? arena_printf(arena, "%s.%s", section, map->keys[i]) : map->keys[i];
        const char *path = arena_printf(arena, "%s%s", prefix, name);
        const struct spec_row *row = spec_row_find(rows, name);
        bool nested = !strchr(map->keys[i], '.');
        if (nested && (row || spec_is_section(rows, name)) && node->kind == SPEC_NODE_NULL) {
            continue;
        }
        if (nested && row) {
            TRY(spec_value_decode(arena, row, node, path, base, error));
            if (given) {
                given[row - rows->items] = node;
            }
        } else if (nested && spec_is_section(rows, name)) {
            TRY(spec_map_decode(arena, rows, node, name, prefix, base, given, error));
        } else {
            return unknown_field(arena, rows, node, prefix, name, error);
        }
    }
    return STATUS_OK;
}
