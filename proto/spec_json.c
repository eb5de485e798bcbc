/* SPDX-License-Identifier: Apache-2.0
 *
 * spec_json: the resolved spec as text, one way only, so that its digest means something.
 *
 * Every row of spec.def in its order; null where nothing is set or the stage has no use for the
 * field, which spec_parse reads as "not given". Numbers are the shortest that restore the same
 * double. Rejected: leaving defaults out; a later version's defaults would change what an old spec
 * means.
 */
#include <inttypes.h>
#include <string.h>

#include "lib/check.h"
#include "lib/json.h"
#include "proto/spec_table.h"

static void append_text(struct buf *out, const char *text)
{
    if (text) {
        buf_append_json_string(out, text, strlen(text));
    } else {
        buf_append_string(out, "null");
    }
}

static void append_real(struct buf *out, double number)
{
    json_t *value = json_real(number);
    CHECK(value != NULL);
    json_append(out, value);
    json_decref(value);
}

static void append_set(struct buf *out, const struct spec_choices *choices, uint32_t bits)
{
    if (bits == (1u << (choices->count + 1)) - 2) {
        buf_append_string(out, "\"all-linear\"");
        return;
    }
    const char *comma = "";
    buf_append_char(out, '[');
    for (int i = 0; i < choices->count; i++) {
        if (bits & 1u << (i + 1)) {
            buf_append_string(out, comma);
            append_text(out, choices->items[i].text);
            comma = ", ";
        }
    }
    buf_append_char(out, ']');
}

static void append_strings(struct buf *out, const struct spec_strings *strings)
{
    buf_append_char(out, '[');
    for (int i = 0; i < strings->count; i++) {
        buf_append_string(out, i > 0 ? ", " : "");
        append_text(out, strings->items[i]);
    }
    buf_append_char(out, ']');
}

static void append_map(struct buf *out, const struct spec_map *map)
{
    buf_append_char(out, '{');
    for (int i = 0; i < map->count; i++) {
        buf_append_string(out, i > 0 ? ", " : "");
        append_text(out, map->items[i].key);
        buf_append_string(out, ": ");
        append_text(out, map->items[i].value);
    }
    buf_append_char(out, '}');
}

static void append_rows(struct buf *out, const struct spec_rows *rows, const void *base,
                        unsigned stage_bit, int indent);

static void append_sources(struct buf *out, const struct spec_sources *sources, int indent)
{
    buf_append_char(out, '[');
    for (int i = 0; i < sources->count; i++) {
        buf_append_string(out, i > 0 ? ", " : "");
        append_rows(out, &spec_source_rows, &sources->items[i], SPEC_IN_ALL, indent);
    }
    buf_append_char(out, ']');
}

static void append_value(struct buf *out, const struct spec_row *row, const void *base, int indent)
{
    const void *field = (const char *)base + row->offset;
    int choice;
    switch (row->type) {
    case SPEC_TYPE_STRING:
        append_text(out, *(const char *const *)field);
        break;
    case SPEC_TYPE_BOOL:
        buf_append_string(out, *(const bool *)field ? "true" : "false");
        break;
    case SPEC_TYPE_I64:
        if (*(const int64_t *)field == 0 && row->min > 0) {
            buf_append_string(out, "null"); /* unset: 0 is out of the row's range */
        } else {
            buf_printf(out, "%" PRId64, *(const int64_t *)field);
        }
        break;
    case SPEC_TYPE_F64:
    case SPEC_TYPE_DURATION:
        if (*(const double *)field < row->min) {
            buf_append_string(out, "null"); /* unset */
        } else {
            append_real(out, *(const double *)field);
        }
        break;
    case SPEC_TYPE_ENUM:
        memcpy(&choice, field, sizeof(choice));
        append_text(out, choice == 0 ? NULL : row->choices->items[choice - 1].text);
        break;
    case SPEC_TYPE_SET:
        append_set(out, row->choices, *(const uint32_t *)field);
        break;
    case SPEC_TYPE_STRINGS:
        append_strings(out, field);
        break;
    case SPEC_TYPE_MAP:
        append_map(out, field);
        break;
    case SPEC_TYPE_SOURCES:
        append_sources(out, field, indent);
        break;
    }
}

/* How many bytes of `name` are the section that `previous` is in too, dot included. */
static size_t shared_section(const char *name, const char *previous)
{
    size_t shared = 0;
    for (size_t i = 0; name[i] && name[i] == previous[i]; i++) {
        shared = name[i] == '.' ? i + 1 : shared;
    }
    return shared;
}

static int dots(const char *text)
{
    int count = 0;
    for (; *text; text++) {
        count += *text == '.';
    }
    return count;
}

static void newline(struct buf *out, int indent)
{
    buf_append_char(out, '\n');
    for (int i = 0; i < indent; i++) {
        buf_append_string(out, "  ");
    }
}

/* One object. Rows of a section are neighbours, so braces follow from each name and the one
 * before it. */
static void append_rows(struct buf *out, const struct spec_rows *rows, const void *base,
                        unsigned stage_bit, int indent)
{
    const char *previous = "";
    int depth = 0;
    buf_append_char(out, '{');
    for (int i = 0; i < rows->count; i++) {
        const struct spec_row *row = &rows->items[i];
        size_t shared = shared_section(row->name, previous);
        int common = depth - dots(previous + shared);
        for (; depth > common; depth--) {
            newline(out, indent + depth);
            buf_append_char(out, '}');
        }
        buf_append_string(out, i > 0 ? "," : "");
        const char *part = row->name + shared;
        for (const char *dot = strchr(part, '.'); dot; dot = strchr(part, '.')) {
            newline(out, indent + ++depth);
            buf_append_json_string(out, part, (size_t)(dot - part));
            buf_append_string(out, ": {");
            part = dot + 1;
        }
        newline(out, indent + depth + 1);
        append_text(out, part);
        buf_append_string(out, ": ");
        if (row->stages & stage_bit) {
            append_value(out, row, base, indent + depth + 1);
        } else {
            buf_append_string(out, "null");
        }
        previous = row->name;
    }
    for (; depth > 0; depth--) {
        newline(out, indent + depth);
        buf_append_char(out, '}');
    }
    newline(out, indent);
    buf_append_char(out, '}');
}

void spec_json(const struct spec *spec, struct buf *out)
{
    append_rows(out, &spec_rows, spec, 1u << spec->stage, 0);
    buf_append_char(out, '\n');
}

void spec_text_digest(const struct buf *text, char hex_out[SHA256_HEX_SIZE])
{
    sha256_hex(text->data, text->length, hex_out);
}

void spec_digest(const struct spec *spec, char hex_out[SHA256_HEX_SIZE])
{
    struct buf text = {0};
    spec_json(spec, &text);
    spec_text_digest(&text, hex_out);
    buf_release(&text);
}

struct spec spec_comparable(const struct spec *spec)
{
    struct spec same = *spec;
    same.resources.ranks = 1;
    same.resources.min_ranks = 1;
    same.train.zero_stage = 1;
    same.train.overlap = true;
    same.output.dir = NULL;
    return same;
}
