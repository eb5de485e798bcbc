/* SPDX-License-Identifier: Apache-2.0
 *
 * spec_cells: works on the tree, before anything is decoded: a cell meets the checks and gets the
 * sentences of a value that was written there. A cell never becomes structure: what it holds is one
 * value's text, so no table can add a field to a recipe.
 *
 * "$${" stands for "${". An empty cell that is a whole value leaves its field unset.
 *
 * Rejected: filling the text of the YAML; a quote or a line feed in a cell would be syntax there.
 */
#include "proto/spec_cells.h"

#include <string.h>

#include "lib/buf.h"
#include "lib/text.h"

struct filling {
    struct arena *arena;
    struct spec_cells *cells;
    struct error *error;
};

static struct spec_cell *find(const struct spec_cells *cells, const char *name, size_t length)
{
    for (int i = 0; i < cells->count; i++) {
        const char *column = cells->items[i].column;
        if (strlen(column) == length && memcmp(column, name, length) == 0) {
            return &cells->items[i];
        }
    }
    return NULL;
}

static enum status no_column(const struct filling *it, const struct spec_node *node,
                             const char *name, size_t length)
{
    const char *wanted = arena_strndup(it->arena, name, length);
    const char **names = arena_array(it->arena, const char *, it->cells->count);
    for (int i = 0; i < it->cells->count; i++) {
        names[i] = it->cells->items[i].column;
    }
    const char *near = nearest_name(wanted, names, (size_t)it->cells->count);
    return near ? spec_node_error(node, it->error,
                                  "the table has no column \"%.100s\": did you mean ${%.100s}?",
                                  wanted, near)
                : spec_node_error(node, it->error, "the table has no column \"%.100s\"", wanted);
}

/* One "${name}" at `at`; *end_out behind it. */
static enum status take(const struct filling *it, const struct spec_node *node, const char *at,
                        struct spec_cell **cell_out, const char **end_out)
{
    const char *close = strchr(at, '}');
    if (!close) {
        return spec_node_error(node, it->error, "\"%.100s\": ${ without its }", at);
    }
    struct spec_cell *cell = find(it->cells, at + 2, (size_t)(close - at) - 2);
    if (!cell) {
        return no_column(it, node, at + 2, (size_t)(close - at) - 2);
    }
    cell->used = true;
    *cell_out = cell;
    *end_out = close + 1;
    return STATUS_OK;
}

static enum status fill_text(const struct filling *it, struct spec_node *node, struct buf *out)
{
    for (const char *at = node->text; *at;) {
        if (strncmp(at, "$${", 3) == 0) {
            buf_append_string(out, "${");
            at += 3;
        } else if (strncmp(at, "${", 2) == 0) {
            struct spec_cell *cell;
            bool first = at == node->text;
            TRY(take(it, node, at, &cell, &at));
            buf_append_string(out, cell->text);
            if (first && *at == '\0' && cell->text[0] == '\0') {
                node->kind = SPEC_NODE_NULL;
            }
        } else {
            buf_append_char(out, *at++);
        }
    }
    return STATUS_OK;
}

static enum status fill(const struct filling *it, struct spec_node *node)
{
    struct buf text = {0};
    for (int i = 0; i < node->count; i++) {
        TRY(fill(it, node->items[i]));
    }
    if (node->kind != SPEC_NODE_SCALAR || !strchr(node->text, '$')) {
        return STATUS_OK;
    }
    enum status status = fill_text(it, node, &text);
    if (status == STATUS_OK) {
        node->text = arena_strdup(it->arena, text.data ? text.data : "");
    }
    buf_release(&text);
    return status;
}

enum status spec_cells_fill(struct arena *arena, struct spec_node *root, struct spec_cells *cells,
                            struct error *error)
{
    const struct filling it = {arena, cells, error};
    return fill(&it, root);
}

void spec_cells_mark(const struct spec_node *node, struct spec_cells *cells)
{
    for (int i = 0; i < node->count; i++) {
        spec_cells_mark(node->items[i], cells);
    }
    const char *at = node->kind == SPEC_NODE_SCALAR ? node->text : "";
    while ((at = strstr(at, "${"))) {
        at += 2;
        struct spec_cell *cell = find(cells, at, strcspn(at, "}"));
        if (cell) {
            cell->used = true;
        }
    }
}
