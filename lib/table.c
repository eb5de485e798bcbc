/* SPDX-License-Identifier: Apache-2.0
 *
 * table: cells are kept as text until print time, when each column shows what it is.
 *
 * Invariants: a column is numeric when every cell that is not empty is a JSON number and there is
 * one at least; its empty cells are null in JSON. Text formats show control characters and bytes
 * that are not UTF-8 as \xNN, so one row is one line. Rejected: typed cells; callers hold formatted
 * numbers anyway, and one rule serves all six formats.
 */
#include "lib/table.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/check.h"
#include "lib/text.h"
#include "lib/yaml.h"

struct table {
    struct arena arena;
    int columns;
    const char *names[TABLE_COLUMNS_MAX];
    const char **cells; /* row-major */
    size_t rows;
    size_t capacity; /* in rows */
};

struct table *table_create_columns(const char *const *names, int count)
{
    CHECK(count >= 1 && count <= TABLE_COLUMNS_MAX);
    struct table *table = mem_alloc(sizeof(*table));
    table->columns = count;
    for (int i = 0; i < count; i++) {
        table->names[i] = arena_strdup(&table->arena, names[i]);
    }
    return table;
}

void table_row_cells(struct table *table, const char *const *cells, int count)
{
    CHECK(count == table->columns);
    size_t columns = (size_t)table->columns;
    if (table->rows == table->capacity) {
        table->capacity = table->capacity == 0 ? 16 : size_mul(table->capacity, 2);
        table->cells =
            mem_grow(table->cells, size_mul(size_mul(table->capacity, columns), sizeof(char *)));
    }
    for (size_t i = 0; i < columns; i++) {
        const char *text = cells[i] ? cells[i] : "";
        table->cells[table->rows * columns + i] = arena_strdup(&table->arena, text);
    }
    table->rows++;
}

void table_free(struct table *table)
{
    if (table) {
        arena_release(&table->arena);
        mem_free(table->cells);
        mem_free(table);
    }
}

static const char *cell(const struct table *table, size_t row, int column)
{
    return table->cells[row * (size_t)table->columns + (size_t)column];
}

/* The grammar of RFC 8259, which is narrower than parse_f64: no "+1", ".5" or "007". */
static bool is_json_number(const char *text)
{
    double value;
    const char *digits = text[0] == '-' ? text + 1 : text;
    if (digits[0] < '0' || digits[0] > '9' || !parse_f64(text, &value)) {
        return false;
    }
    if (digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9') {
        return false;
    }
    const char *point = strchr(text, '.');
    return !point || (point[1] >= '0' && point[1] <= '9');
}

static bool column_is_numeric(const struct table *table, int column)
{
    bool any = false;
    for (size_t row = 0; row < table->rows; row++) {
        const char *text = cell(table, row, column);
        if (text[0] == '\0') {
            continue;
        }
        if (!is_json_number(text)) {
            return false;
        }
        any = true;
    }
    return any;
}

struct range {
    uint32_t first, last;
};

static bool in_ranges(uint32_t point, const struct range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (point >= ranges[i].first && point <= ranges[i].last) {
            return true;
        }
    }
    return false;
}

/* Terminal columns of a code point. wcwidth() would need a locale; these are the blocks that
 * matter: combining marks, East Asian wide forms, emoji. */
static int point_width(uint32_t point)
{
    static const struct range none[] = {
        {0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd}, {0x064b, 0x065f},
        {0x093c, 0x093c}, {0x094d, 0x094d}, {0x0e34, 0x0e3a}, {0x0e47, 0x0e4e},
        {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x200b, 0x200f}, {0x2060, 0x2064},
        {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xfeff, 0xfeff}};
    static const struct range wide[] = {{0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},
                                        {0xa960, 0xa97f},   {0xac00, 0xd7a3},   {0xf900, 0xfaff},
                                        {0xfe30, 0xfe6f},   {0xff00, 0xff60},   {0xffe0, 0xffe6},
                                        {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff},
                                        {0x20000, 0x3fffd}};
    if (point < 0x0300) {
        return 1;
    }
    if (in_ranges(point, none, sizeof(none) / sizeof(none[0]))) {
        return 0;
    }
    return in_ranges(point, wide, sizeof(wide) / sizeof(wide[0])) ? 2 : 1;
}

/* Appends the text with what could drive a terminal as \xNN; returns its width in columns. */
static int append_visible(struct buf *out, const char *text)
{
    size_t length = strlen(text);
    size_t offset = 0;
    int width = 0;
    while (offset < length) {
        size_t start = offset;
        size_t rest = length - offset;
        uint32_t point = (unsigned char)text[offset];
        bool shown = utf8_valid_prefix(text + offset, rest < 4 ? rest : 4) > 0;
        if (shown) {
            point = utf8_next(text, length, &offset);
            shown = point >= 0x20 && (point < 0x7f || point >= 0xa0);
        } else {
            offset++;
        }
        if (shown) {
            buf_append(out, text + start, offset - start);
            width += point_width(point);
        } else {
            buf_printf(out, "\\x%02x", (unsigned)point);
            width += 4;
        }
    }
    return width;
}

static int visible_width(const char *text)
{
    struct buf scratch = {0};
    int width = append_visible(&scratch, text);
    buf_release(&scratch);
    return width;
}

static void append_spaces(struct buf *out, int count)
{
    buf_printf(out, "%*s", count, "");
}

/* One line: columns two spaces apart, no blanks at its end. */
static void append_table_line(struct buf *out, const char *const *cells, int columns,
                              const int *widths, const bool *numeric)
{
    for (int i = 0; i < columns; i++) {
        struct buf text = {0};
        int pad = widths[i] - append_visible(&text, cells[i]);
        append_spaces(out, (i > 0 ? 2 : 0) + (numeric[i] ? pad : 0));
        buf_append(out, text.data, text.length);
        append_spaces(out, numeric[i] ? 0 : pad);
        buf_release(&text);
    }
    while (out->length > 0 && out->data[out->length - 1] == ' ') {
        out->data[--out->length] = '\0';
    }
    buf_append_char(out, '\n');
}

static void append_table(struct buf *out, const struct table *table, const bool *numeric)
{
    int widths[TABLE_COLUMNS_MAX];
    for (int i = 0; i < table->columns; i++) {
        widths[i] = visible_width(table->names[i]);
        for (size_t row = 0; row < table->rows; row++) {
            int width = visible_width(cell(table, row, i));
            widths[i] = width > widths[i] ? width : widths[i];
        }
    }
    append_table_line(out, table->names, table->columns, widths, numeric);
    for (size_t row = 0; row < table->rows; row++) {
        append_table_line(out, table->cells + row * (size_t)table->columns, table->columns, widths,
                          numeric);
    }
}

static void append_object(struct buf *out, const struct table *table, size_t row,
                          const bool *numeric)
{
    for (int i = 0; i < table->columns; i++) {
        const char *text = cell(table, row, i);
        buf_append_char(out, i == 0 ? '{' : ',');
        buf_append_json_string(out, table->names[i], strlen(table->names[i]));
        buf_append_char(out, ':');
        if (!numeric[i]) {
            buf_append_json_string(out, text, strlen(text));
        } else {
            buf_append_string(out, text[0] ? text : "null");
        }
    }
    buf_append_char(out, '}');
}

static void append_json(struct buf *out, const struct table *table, const bool *numeric)
{
    buf_append_char(out, '[');
    for (size_t row = 0; row < table->rows; row++) {
        buf_append_string(out, row == 0 ? "\n" : ",\n");
        append_object(out, table, row, numeric);
    }
    buf_append_string(out, table->rows > 0 ? "\n]\n" : "]\n");
}

/* RFC 4180, except that control characters are escaped and so a record is always one line. */
static void append_csv_line(struct buf *out, const char *const *cells, int columns)
{
    for (int i = 0; i < columns; i++) {
        struct buf text = {0};
        buf_append(&text, "", 0);
        append_visible(&text, cells[i]);
        buf_append(out, ",", i == 0 ? 0 : 1);
        bool blank_end =
            text.length > 0 && (text.data[0] == ' ' || text.data[text.length - 1] == ' ');
        if (blank_end || strpbrk(text.data, ",\"")) {
            buf_append_char(out, '"');
            for (const char *at = text.data; *at; at++) {
                buf_append(out, "\"", *at == '"' ? 1 : 0);
                buf_append_char(out, *at);
            }
            buf_append_char(out, '"');
        } else {
            buf_append(out, text.data, text.length);
        }
        buf_release(&text);
    }
    buf_append_char(out, '\n');
}

static void append_csv(struct buf *out, const struct table *table)
{
    append_csv_line(out, table->names, table->columns);
    for (size_t row = 0; row < table->rows; row++) {
        append_csv_line(out, table->cells + row * (size_t)table->columns, table->columns);
    }
}

static void append_yaml(struct buf *out, const struct table *table, const bool *numeric)
{
    for (size_t row = 0; row < table->rows; row++) {
        for (int i = 0; i < table->columns; i++) {
            const char *text = cell(table, row, i);
            buf_append_string(out, i == 0 ? "- " : "  ");
            yaml_append_string(out, table->names[i]);
            buf_append_string(out, ": ");
            if (!numeric[i]) {
                yaml_append_string(out, text);
            } else {
                buf_append_string(out, text[0] ? text : "null");
            }
            buf_append_char(out, '\n');
        }
    }
    buf_append_string(out, table->rows > 0 ? "" : "[]\n");
}

void table_print(const struct table *table, enum table_format format, FILE *out)
{
    bool numeric[TABLE_COLUMNS_MAX];
    for (int i = 0; i < table->columns; i++) {
        numeric[i] = column_is_numeric(table, i);
    }
    struct buf text = {0};
    buf_append(&text, "", 0);
    switch (format) {
    case TABLE_FORMAT_TABLE:
        append_table(&text, table, numeric);
        break;
    case TABLE_FORMAT_JSON:
        append_json(&text, table, numeric);
        break;
    case TABLE_FORMAT_JSONL:
        for (size_t row = 0; row < table->rows; row++) {
            append_object(&text, table, row, numeric);
            buf_append_char(&text, '\n');
        }
        break;
    case TABLE_FORMAT_CSV:
        append_csv(&text, table);
        break;
    case TABLE_FORMAT_YAML:
        append_yaml(&text, table, numeric);
        break;
    case TABLE_FORMAT_NAME:
        for (size_t row = 0; row < table->rows; row++) {
            append_visible(&text, cell(table, row, 0));
            buf_append_char(&text, '\n');
        }
        break;
    }
    fwrite(text.data, 1, text.length, out); /* the caller's fclose or fflush reports a full disk */
    buf_release(&text);
}

enum status table_format_parse(const char *name, enum table_format *format_out, struct error *error)
{
    static const char *const names[] = {
        [TABLE_FORMAT_TABLE] = "table", [TABLE_FORMAT_JSON] = "json",
        [TABLE_FORMAT_JSONL] = "jsonl", [TABLE_FORMAT_CSV] = "csv",
        [TABLE_FORMAT_YAML] = "yaml",   [TABLE_FORMAT_NAME] = "name"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            *format_out = (enum table_format)i;
            return STATUS_OK;
        }
    }
    if (strcmp(name, "wide") == 0) {
        *format_out = TABLE_FORMAT_TABLE;
        return STATUS_OK;
    }
    return error_set(error, STATUS_USAGE,
                     "unknown output format '%s': use table, wide, json, jsonl, csv, yaml or name",
                     name);
}
