/* SPDX-License-Identifier: Apache-2.0
 *
 * spec_explain: the table read aloud: one field, one section, or another program's word for it.
 *
 * Rejected: a manual written by hand; it would be wrong after the second change of a default.
 */
#include <string.h>

#include "lib/check.h"
#include "proto/spec_table.h"

void spec_row_describe(const struct spec_row *row, struct buf *out)
{
    switch (row->type) {
    case SPEC_TYPE_STRING:
        buf_append_string(out, row->format == SPEC_FORMAT_LABEL       ? "a word"
                               : row->format == SPEC_FORMAT_REFERENCE ? "a name or a path"
                               : row->format == SPEC_FORMAT_TIME      ? "a time in UTC"
                                                                      : "a text");
        break;
    case SPEC_TYPE_BOOL:
        buf_append_string(out, "true or false");
        break;
    case SPEC_TYPE_I64:
        buf_printf(out, "a whole number from %.0f to %.0f", row->min, row->max);
        break;
    case SPEC_TYPE_F64:
        buf_printf(out, "a number from %g to %g", row->min, row->max);
        break;
    case SPEC_TYPE_DURATION:
        buf_append_string(out, "a duration such as 90s, 10m or 1h30m");
        break;
    case SPEC_TYPE_ENUM:
        buf_append_string(out, row->choices->count > 1 ? "one of " : "");
        spec_choices_list(row->choices, out);
        break;
    case SPEC_TYPE_SET:
        buf_append_string(out, "all-linear, or a list of ");
        spec_choices_list(row->choices, out);
        break;
    case SPEC_TYPE_STRINGS:
        buf_append_string(out, "a list of words");
        break;
    case SPEC_TYPE_MAP:
        buf_append_string(out, "a map of words");
        break;
    case SPEC_TYPE_SOURCES:
        buf_append_string(out, "a source or a list of them (see data.*.dataset)");
        break;
    }
    if (row->unit[0]) {
        buf_printf(out, " (%s)", row->unit);
    }
}

static void append_defaults(const struct spec_row *row, struct buf *out)
{
    const struct spec_default *value;
    buf_printf(out, "  default    %s", row->value[0] ? row->value : "not set");
    for (int i = 0; (value = spec_default_at(i)); i++) {
        if (strcmp(value->path, row->shown) == 0) {
            buf_printf(out, "; %s %s", value->value, value->condition->words);
        }
    }
    buf_append_char(out, '\n');
    const struct spec_preset_value *preset;
    const char *lead = "  presets    ";
    for (int i = 0; (preset = spec_preset_value_at(i)); i++) {
        if (strcmp(preset->path, row->shown) == 0) {
            buf_printf(out, "%s%s in %s", lead, preset->value,
                       spec_choice_name("preset", (int)preset->preset));
            lead = "; ";
        }
    }
    buf_append_string(out, lead[0] == ';' ? "\n" : "");
}

static void append_stages(const struct spec_row *row, struct buf *out)
{
    if (row->stages == SPEC_IN_ALL) {
        return;
    }
    const char *lead = "  stages     ";
    for (int stage = SPEC_STAGE_LM; stage <= SPEC_STAGE_EXPORT; stage++) {
        if (row->stages & 1u << stage) {
            buf_printf(out, "%s%s", lead, spec_choice_name("stage", stage));
            lead = ", ";
        }
    }
    buf_append_char(out, '\n');
}

static void append_synonyms(const struct spec_row *row, struct buf *out)
{
    const struct spec_synonym *synonym;
    const char *lead = "  elsewhere  ";
    for (int i = 0; (synonym = spec_synonym_at(i)); i++) {
        if (strcmp(synonym->path, row->shown) == 0) {
            buf_printf(out, "%s%s (%s)%s%s\n", lead, synonym->name, synonym->origin,
                       synonym->note[0] ? ": " : "", synonym->note);
            lead = "             ";
        }
    }
}

static void append_choices(const struct spec_row *row, struct buf *out)
{
    int width = 0;
    for (int i = 0; row->choices && i < row->choices->count; i++) {
        int length = (int)strlen(row->choices->items[i].text);
        width = length > width ? length : width;
    }
    for (int i = 0; row->choices && i < row->choices->count; i++) {
        buf_printf(out, "  %s%-*s  %s\n", i == 0 ? "choices    " : "           ", width,
                   row->choices->items[i].text, row->choices->items[i].meaning);
    }
}

static void explain_row(const struct spec_row *row, struct buf *out)
{
    buf_printf(out, "%s: ", row->shown);
    if (row->type == SPEC_TYPE_ENUM) {
        buf_append_string(out, "a choice"); /* listed below, with what they mean */
    } else {
        spec_row_describe(row, out);
    }
    buf_printf(out, "\n  %s\n", row->help);
    append_defaults(row, out);
    append_choices(row, out);
    append_stages(row, out);
    append_synonyms(row, out);
}

static bool explain_section(const char *section, struct buf *out)
{
    size_t length = strlen(section);
    const struct spec_row *row;
    bool found = false;
    for (int i = 0; (row = spec_row_at(i)); i++) {
        if (strncmp(row->shown, section, length) == 0 && row->shown[length] == '.') {
            buf_printf(out, "%s\n    %s\n", row->shown, row->help);
            found = true;
        }
    }
    return found;
}

/* "data.train[0].limit", "data.enrich.limit" … → "data.*.limit"; other names stay. */
static const char *normal_name(struct arena *arena, const char *field)
{
    static const char *const lists[] = {"data.train", "data.eval", "data.enrich.sources",
                                        "data.enrich"};
    for (int i = 0; i < 4; i++) {
        size_t length = strlen(lists[i]);
        if (strncmp(field, lists[i], length) != 0) {
            continue;
        }
        const char *rest = field + length;
        rest = *rest == '[' && strchr(rest, ']') ? strchr(rest, ']') + 1 : rest;
        if (*rest == '.' && !spec_row_find(&spec_rows, field)) {
            return arena_printf(arena, "data.*%s", rest);
        }
    }
    return field;
}

static bool last_part_is(const char *name, const char *part)
{
    const char *dot = strrchr(name, '.');
    return dot && strcmp(dot + 1, part) == 0;
}

static bool explain_name(const char *name, struct buf *out)
{
    const struct spec_row *row;
    for (int i = 0; (row = spec_row_at(i)); i++) {
        if (strcmp(row->shown, name) == 0) {
            explain_row(row, out);
            return true;
        }
    }
    if (explain_section(name, out)) {
        return true;
    }
    bool found = false;
    for (int i = 0; (row = spec_row_at(i)); i++) {
        if (last_part_is(row->shown, name)) {
            explain_row(row, out);
            found = true;
        }
    }
    return found;
}

enum status spec_explain(const char *field, struct buf *out, struct error *error)
{
    struct arena arena = {0};
    const char *name = normal_name(&arena, field);
    bool found = explain_name(name, out);
    const struct spec_synonym *synonym = found ? NULL : spec_synonym_find(name);
    if (synonym) {
        spec_unknown_hint(&spec_rows, "", synonym->name, out);
        buf_append_char(out, '\n');
        found = synonym->path[0] == '\0' || explain_name(synonym->path, out);
        CHECK(found); /* else synonyms.def names a field that there is not */
    }
    enum status status = STATUS_OK;
    if (!found) {
        struct buf hint = {0};
        spec_unknown_hint(&spec_rows, "", name, &hint);
        status = error_set(error, STATUS_NOT_FOUND, "no field is called %s: %s", field, hint.data);
        buf_release(&hint);
    }
    arena_release(&arena);
    return status;
}
