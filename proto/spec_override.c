/* SPDX-License-Identifier: Apache-2.0
 *
 * spec_override: --set works on the tree before anything is decoded, so a value from the command
 * line meets the same checks and gets the same messages as one from the file.
 *
 * Rejected: setting fields of the struct; it would need a second way into every type.
 */
#include "proto/spec_override.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/text.h"

/* ---- short forms ---- */
static struct spec_node *source_of(struct arena *arena, struct spec_node *node)
{
    if (node->kind != SPEC_NODE_SCALAR) {
        return node;
    }
    struct spec_node *map = spec_node_new(arena, SPEC_NODE_MAP, node->origin, node->line);
    spec_node_add(arena, map, "dataset", node);
    return map;
}

static struct spec_node *sources_of(struct arena *arena, struct spec_node *node)
{
    struct spec_node *list = node;
    if (node->kind == SPEC_NODE_NULL) {
        return node;
    }
    if (node->kind != SPEC_NODE_LIST) {
        list = spec_node_new(arena, SPEC_NODE_LIST, node->origin, node->line);
        spec_node_add(arena, list, NULL, node);
    }
    for (int i = 0; i < list->count; i++) {
        list->items[i] = source_of(arena, list->items[i]);
    }
    return list;
}

static bool is_source_field(const char *name)
{
    return spec_row_find(&spec_source_rows, name) || spec_is_section(&spec_source_rows, name);
}

/* Moves the fields of a source that stand in data.enrich itself. */
static enum status enrich_normalise(struct arena *arena, struct spec_node *enrich, bool strict,
                                    struct error *error)
{
    struct spec_node *inline_source =
        spec_node_new(arena, SPEC_NODE_MAP, enrich->origin, enrich->line);
    int kept = 0;
    for (int i = 0; i < enrich->count; i++) {
        const char *name = arena_printf(arena, "data.enrich.%s", enrich->keys[i]);
        if (is_source_field(enrich->keys[i]) && !spec_row_find(&spec_rows, name)) {
            spec_node_add(arena, inline_source, enrich->keys[i], enrich->items[i]);
        } else {
            enrich->keys[kept] = enrich->keys[i];
            enrich->items[kept++] = enrich->items[i];
        }
    }
    enrich->count = kept;
    if (inline_source->count == 0) {
        return STATUS_OK;
    }
    struct spec_node *sources = spec_node_get(enrich, "sources");
    if (!sources || sources->kind == SPEC_NODE_NULL) {
        spec_node_set(arena, enrich, "sources", sources_of(arena, inline_source));
        return STATUS_OK;
    }
    if (strict || sources->kind != SPEC_NODE_LIST) {
        return spec_node_error(inline_source->items[0], error,
                               "data.enrich has both %s and sources: write it inside sources",
                               inline_source->keys[0]);
    }
    for (int i = 0; i < sources->count; i++) {
        for (int k = 0; k < inline_source->count && sources->items[i]->kind == SPEC_NODE_MAP; k++) {
            spec_node_set(arena, sources->items[i], inline_source->keys[k],
                          inline_source->items[k]);
        }
    }
    return STATUS_OK;
}

enum status spec_normalise(struct arena *arena, struct spec_node *root, bool strict,
                           struct error *error)
{
    struct spec_node *data = spec_node_get(root, "data");
    if (!data || data->kind != SPEC_NODE_MAP) {
        return STATUS_OK;
    }
    static const char *const lists[] = {"train", "eval"};
    for (int i = 0; i < 2; i++) {
        struct spec_node *list = spec_node_get(data, lists[i]);
        if (list) {
            spec_node_set(arena, data, lists[i], sources_of(arena, list));
        }
    }
    struct spec_node *enrich = spec_node_get(data, "enrich");
    if (!enrich || enrich->kind == SPEC_NODE_NULL) {
        return STATUS_OK;
    }
    if (enrich->kind != SPEC_NODE_MAP) {
        struct spec_node *map = spec_node_new(arena, SPEC_NODE_MAP, enrich->origin, enrich->line);
        spec_node_add(arena, map, "sources", enrich);
        spec_node_set(arena, data, "enrich", map);
        enrich = map;
    }
    TRY(enrich_normalise(arena, enrich, strict, error));
    struct spec_node *sources = spec_node_get(enrich, "sources");
    if (sources) {
        spec_node_set(arena, enrich, "sources", sources_of(arena, sources));
    }
    return STATUS_OK;
}

/* ---- --set ---- */
enum status spec_override_parse(struct arena *arena, const char *text,
                                struct spec_override *override_out, struct error *error)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text || (equals == text + 1 && text[0] == '+')) {
        return error_set(error, STATUS_USAGE,
                         "--set %s: write KEY=VALUE, such as --set train.seed=7", text);
    }
    bool append = equals[-1] == '+';
    size_t length = (size_t)(equals - text) - (append ? 1 : 0);
    *override_out = (struct spec_override){.key = arena_strndup(arena, text, length),
                                           .value = arena_strdup(arena, equals + 1),
                                           .append = append};
    return STATUS_OK;
}

struct change {
    struct arena *arena;
    const char *origin, *key;
    struct spec_node *value;
    bool append;
    struct error *error;
};

static enum status change_error(const struct change *change, const char *sentence)
{
    return error_set(change->error, STATUS_USAGE, "%s: %s %s", change->origin, change->key,
                     sentence);
}

/* The last step of a path: `slot` holds the old value (never NULL). */
static enum status change_store(const struct change *change, struct spec_node **slot)
{
    if (!change->append) {
        *slot = change->value;
        return STATUS_OK;
    }
    struct spec_node *list = *slot;
    if (list->kind == SPEC_NODE_NULL) {
        list = spec_node_new(change->arena, SPEC_NODE_LIST, change->origin, 0);
    }
    if (list->kind != SPEC_NODE_LIST) {
        return change_error(change, "is no list: write = instead of +=");
    }
    bool many = change->value->kind == SPEC_NODE_LIST;
    for (int i = 0; i < (many ? change->value->count : 1); i++) {
        spec_node_add(change->arena, list, NULL, many ? change->value->items[i] : change->value);
    }
    *slot = list;
    return STATUS_OK;
}

static enum status change_walk(const struct change *change, struct spec_node **slot,
                               const char *rest);

/* "[3]…" on a list. */
static enum status change_entry(const struct change *change, struct spec_node *list,
                                const char *rest)
{
    char *end;
    long index = strtol(rest + 1, &end, 10);
    if (end == rest + 1 || *end != ']') {
        return change_error(change, "has an entry that is no number: write [0] for the first");
    }
    if (list->kind != SPEC_NODE_LIST) {
        return change_error(change, "names an entry of something that is no list");
    }
    if (index < 0 || index > list->count) {
        return change_error(change, arena_printf(change->arena,
                                                 "names entry %ld, counted from 0, of a list of %d",
                                                 index, list->count));
    }
    if (index == list->count) {
        spec_node_add(change->arena, list, NULL,
                      spec_node_new(change->arena, SPEC_NODE_NULL, change->origin, 0));
    }
    return change_walk(change, &list->items[index], end + 1);
}

/* "name…" on a map. */
static enum status change_member(const struct change *change, struct spec_node *map,
                                 const char *rest)
{
    size_t length = strcspn(rest, ".[");
    if (length == 0) {
        return change_error(change, "is no field's name");
    }
    char *name = arena_strndup(change->arena, rest, length);
    if (!spec_node_get(map, name)) {
        spec_node_add(change->arena, map, name,
                      spec_node_new(change->arena, SPEC_NODE_NULL, change->origin, 0));
    }
    for (int i = 0; i < map->count; i++) {
        if (strcmp(map->keys[i], name) == 0) {
            return change_walk(change, &map->items[i], rest + length);
        }
    }
    CHECK(!"the name was just added");
    return STATUS_OK;
}

/* `rest` is what is left of the key behind the node in `slot`: "", "[0]…" or ".name…". */
static enum status change_walk(const struct change *change, struct spec_node **slot,
                               const char *rest)
{
    if (rest[0] == '\0') {
        return change_store(change, slot);
    }
    if ((*slot)->kind == SPEC_NODE_NULL) {
        enum spec_node_kind kind = rest[0] == '[' ? SPEC_NODE_LIST : SPEC_NODE_MAP;
        *slot = spec_node_new(change->arena, kind, change->origin, 0);
    }
    if (rest[0] == '[') {
        return change_entry(change, *slot, rest);
    }
    if (rest[0] == '.' && (*slot)->kind == SPEC_NODE_MAP) {
        return change_member(change, *slot, rest + 1);
    }
    if (rest[0] == '.' && (*slot)->kind == SPEC_NODE_LIST) {
        for (int i = 0; i < (*slot)->count; i++) {
            TRY(change_walk(change, &(*slot)->items[i], rest));
        }
        return STATUS_OK;
    }
    return change_error(change, "goes into something that is no section");
}

enum status spec_override_apply(struct arena *arena, struct spec_node *root,
                                const struct spec_override *override, struct error *error)
{
    struct change change = {.arena = arena,
                            .origin = override->origin ? override->origin : "--set",
                            .key = override->key,
                            .append = override->append,
                            .error = error};
    if (strlen(override->key) > SPEC_NAME_MAX) {
        return error_set(error, STATUS_USAGE, "%s: a field's name has at most %d bytes",
                         change.origin, SPEC_NAME_MAX);
    }
    if (override->text) {
        change.value = spec_node_scalar(arena, change.origin, override->value);
    } else {
        struct error cause;
        if (spec_node_read_yaml(arena, change.origin, false, override->value,
                                strlen(override->value), &change.value, &cause) != STATUS_OK) {
            return error_set(error, STATUS_USAGE, "%s (in %s=%s)", cause.text, override->key,
                             override->value);
        }
    }
    return change_member(&change, root, override->key);
}
