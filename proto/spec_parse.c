/* SPDX-License-Identifier: Apache-2.0
 *
 * spec_parse: text → tree → overrides → struct → defaults that depend → checks.
 *
 * Order of precedence: explicit (file, then overrides), preset, conditional default, default. The
 * preset is read before the rest, wherever it stands in the file.
 */
#include "proto/spec.h"

#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/limits.h"
#include "proto/spec_cells.h"
#include "proto/spec_check.h"
#include "proto/spec_override.h"
#include "proto/spec_value.h"

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    size_t end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

static enum status tree_read(struct arena *arena, const char *name, const char *text, size_t length,
                             const struct spec_override *overrides, int count,
                             struct spec_cells *cells, struct spec_node **root_out,
                             struct error *error)
{
    if (length > SPEC_BYTES_MAX) {
        return error_set(error, STATUS_USAGE, "%s: %zu bytes: a spec may have %zu", name, length,
                         (size_t)SPEC_BYTES_MAX);
    }
    struct spec_node *root;
    if (length > 0 && ends_with(name, ".json")) {
        TRY(spec_node_read_json(arena, name, text, length, &root, error));
    } else {
        TRY(spec_node_read_yaml(arena, name, true, text, length, &root, error));
    }
    if (root->kind == SPEC_NODE_NULL) {
        root = spec_node_new(arena, SPEC_NODE_MAP, name, 0);
    }
    if (root->kind != SPEC_NODE_MAP) {
        return spec_node_error(root, error,
                               "a spec is a map of fields, such as stage: general; see tailor job "
                               "init general");
    }
    TRY(spec_normalise(arena, root, true, error));
    if (cells) { /* a value that --set replaces has used its column all the same */
        spec_cells_mark(root, cells);
    }
    for (int i = 0; i < count; i++) {
        TRY(spec_override_apply(arena, root, &overrides[i], error));
        TRY(spec_normalise(arena, root, false, error));
    }
    *root_out = root;
    return STATUS_OK;
}

static const struct spec_row *row_of(const char *path)
{
    const struct spec_row *row = spec_row_find(&spec_rows, path);
    CHECK(row != NULL); /* else spec.def names a field that it does not have */
    return row;
}

/* Defaults, then the preset; settled[row] tells which rows no conditional default may touch. */
static enum status start(struct arena *arena, const struct spec_node *root, struct spec *spec,
                         bool *settled, struct error *error)
{
    for (int i = 0; i < spec_rows.count; i++) {
        spec_value_set(arena, &spec_rows.items[i], spec_rows.items[i].value, spec);
    }
    const struct spec_node *preset = spec_node_get(root, "preset");
    if (!preset || preset->kind == SPEC_NODE_NULL) {
        return STATUS_OK;
    }
    TRY(spec_value_decode(arena, row_of("preset"), preset, "preset", spec, error));
    const struct spec_preset_value *value;
    for (int i = 0; (value = spec_preset_value_at(i)); i++) {
        if (value->preset == spec->preset) {
            spec_value_set(arena, row_of(value->path), value->value, spec);
            settled[row_of(value->path) - spec_rows.items] = true;
        }
    }
    return STATUS_OK;
}

static enum status resolve(struct arena *arena, const char *name, const struct spec_node *root,
                           struct spec *spec, struct error *error)
{
    bool *settled = arena_array(arena, bool, spec_rows.count);
    struct spec_given given = {name, arena_array(arena, const struct spec_node *, spec_rows.count)};
    TRY(start(arena, root, spec, settled, error));
    TRY(spec_map_decode(arena, &spec_rows, root, "", "", spec, given.nodes, error));
    TRY(spec_check_stage(spec, &given, error));
    const struct spec_default *value;
    for (int i = 0; (value = spec_default_at(i)); i++) {
        const struct spec_row *row = row_of(value->path);
        size_t index = (size_t)(row - spec_rows.items);
        if (!settled[index] && !given.nodes[index] && value->condition->holds(spec)) {
            spec_value_set(arena, row, value->value, spec);
        }
    }
    return spec_check(spec, &given, error);
}

enum status spec_parse_row(struct arena *arena, const char *name, const char *text, size_t length,
                           const struct spec_override *overrides, int count,
                           struct spec_cells *cells, struct spec **spec_out, struct error *error)
{
    struct spec_node *root;
    const char *kept = arena_strdup(arena, name);
    TRY(tree_read(arena, kept, text, length, overrides, count, cells, &root, error));
    if (cells) {
        TRY(spec_cells_fill(arena, root, cells, error));
    }
    struct spec *spec = arena_new(arena, struct spec);
    TRY(resolve(arena, kept, root, spec, error));
    *spec_out = spec;
    return STATUS_OK;
}

enum status spec_parse(struct arena *arena, const char *name, const char *text, size_t length,
                       const struct spec_override *overrides, int count, struct spec **spec_out,
                       struct error *error)
{
    return spec_parse_row(arena, name, text, length, overrides, count, NULL, spec_out, error);
}

enum status spec_read(struct arena *arena, const char *path, const struct spec_override *overrides,
                      int count, struct spec **spec_out, struct error *error)
{
    if (!path) {
        return spec_parse(arena, "spec", "", 0, overrides, count, spec_out, error);
    }
    struct buf text = {0};
    TRY(file_read(path, SPEC_BYTES_MAX, &text, error));
    enum status status = spec_parse(arena, path, text.data ? text.data : "", text.length, overrides,
                                    count, spec_out, error);
    buf_release(&text);
    return status;
}
