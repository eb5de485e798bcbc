/* SPDX-License-Identifier: Apache-2.0
 *
 * csv: one pass over the bytes. Rejected: a dialect that is guessed; a file with semicolons or tabs
 * is told so, and nothing is read wrongly in silence.
 */
#include "client/csv.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/file.h"
#include "lib/text.h"

enum { COMPLAINTS_SHOWN = 5 };

struct reader {
    struct arena *arena;
    const char *name;
    const char *at, *end;
    int line; /* of `at` */
    struct buf cell, complaints;
    int complaint_count;
    struct error *error;
};

static enum status fail(const struct reader *it, int line, const char *sentence)
{
    return error_set(it->error, STATUS_FORMAT, "%s:%d: %s", it->name, line, sentence);
}

/* ---- cells ----------------------------------------------------------------------------------- */

static enum status quoted_cell(struct reader *it)
{
    int begin = it->line;
    for (it->at++; it->at < it->end; it->at++) {
        if (*it->at == '"' && it->at + 1 < it->end && it->at[1] == '"') {
            it->at++;
        } else if (*it->at == '"') {
            it->at++;
            if (it->at < it->end && !strchr(",\r\n", *it->at)) {
                return fail(it, it->line, "something stands behind a closing quote");
            }
            return STATUS_OK;
        }
        it->line += *it->at == '\n';
        buf_append_char(&it->cell, *it->at);
    }
    return fail(it, begin, "a quote is not closed");
}

static enum status plain_cell(struct reader *it)
{
    for (; it->at < it->end && *it->at != ',' && *it->at != '\n'; it->at++) {
        bool ends = *it->at == '\r' && (it->at + 1 == it->end || it->at[1] == '\n');
        if (*it->at == '"') {
            return fail(it, it->line,
                        "a quote inside a cell: put the cell into quotes, and \"\" "
                        "for each quote in it");
        }
        if (!ends) {
            buf_append_char(&it->cell, *it->at);
        }
    }
    return STATUS_OK;
}

/* The cells of one line; *count_out 0: an empty line. Cells beyond CSV_COLUMNS_MAX are counted. */
static enum status read_line(struct reader *it, const char *cells[CSV_COLUMNS_MAX], int *count_out)
{
    int count = 0;
    bool quotes = false, more = true;
    while (more) {
        buf_clear(&it->cell);
        bool quoted = it->at < it->end && *it->at == '"';
        quotes |= quoted;
        TRY(quoted ? quoted_cell(it) : plain_cell(it));
        if (it->at < it->end && *it->at == '\r') {
            it->at++;
        }
        if (count < CSV_COLUMNS_MAX) {
            cells[count] = arena_strdup(it->arena, it->cell.length > 0 ? it->cell.data : "");
        }
        count++;
        more = it->at < it->end && *it->at == ',';
        it->at += more;
    }
    if (it->at < it->end && *it->at == '\n') {
        it->at++;
        it->line++;
    }
    *count_out = count == 1 && cells[0][0] == '\0' && !quotes ? 0 : count;
    return STATUS_OK;
}

/* ---- the table ------------------------------------------------------------------------------- */

static enum status check_header(const struct reader *it, const struct csv *csv)
{
    char sentence[256];
    for (int i = 0; i < csv->column_count; i++) {
        if (csv->columns[i][0] == '\0') {
            snprintf(sentence, sizeof(sentence), "column %d has no name", i + 1);
            return fail(it, 1, sentence);
        }
        for (int k = 0; k < i; k++) {
            if (strcmp(csv->columns[i], csv->columns[k]) == 0) {
                snprintf(sentence, sizeof(sentence), "two columns are called %.100s",
                         csv->columns[i]);
                return fail(it, 1, sentence);
            }
        }
    }
    if (csv->column_count == 1 && strpbrk(csv->columns[0], ";\t|")) {
        return fail(it, 1, "one column only: separate the cells by commas");
    }
    return STATUS_OK;
}

static enum status read_header(struct reader *it, struct csv *csv)
{
    const char *cells[CSV_COLUMNS_MAX];
    TRY(read_line(it, cells, &csv->column_count));
    if (csv->column_count == 0) {
        return fail(it, 1, "the first line has to name the columns");
    }
    if (csv->column_count > CSV_COLUMNS_MAX) {
        return fail(it, 1, "more than 256 columns");
    }
    csv->columns = arena_array(it->arena, const char *, csv->column_count);
    memcpy(csv->columns, cells, (size_t)csv->column_count * sizeof(*cells));
    return check_header(it, csv);
}

static void complain(struct reader *it, int line, int count, int wanted)
{
    if (it->complaint_count++ < COMPLAINTS_SHOWN) {
        buf_printf(&it->complaints, "%s%s:%d: %d cells instead of %d",
                   it->complaints.length > 0 ? "; " : "", it->name, line, count, wanted);
    }
}

static enum status read_rows(struct reader *it, int rows_max, struct csv *csv)
{
    const char *cells[CSV_COLUMNS_MAX];
    csv->rows = arena_array(it->arena, struct csv_row, rows_max);
    while (it->at < it->end) {
        int line = it->line, count;
        TRY(read_line(it, cells, &count));
        if (count == 0) {
            continue;
        }
        if (csv->row_count == rows_max) {
            return error_set(it->error, STATUS_LIMIT, "%s:%d: more than %d rows", it->name, line,
                             rows_max);
        }
        if (count != csv->column_count) {
            complain(it, line, count, csv->column_count);
            continue;
        }
        struct csv_row *row = &csv->rows[csv->row_count++];
        *row = (struct csv_row){arena_array(it->arena, const char *, count), line};
        memcpy(row->cells, cells, (size_t)count * sizeof(*cells));
    }
    if (it->complaint_count > 0) {
        return error_set(it->error, STATUS_FORMAT, "%s%s", it->complaints.data,
                         it->complaint_count > COMPLAINTS_SHOWN ? "; and more such lines" : "");
    }
    return STATUS_OK;
}

static enum status check_bytes(const struct reader *it, const char *text, size_t length)
{
    size_t valid = utf8_valid_prefix(text, length);
    const char *nul = memchr(text, '\0', length);
    size_t bad = nul && (size_t)(nul - text) < valid ? (size_t)(nul - text) : valid;
    int line = 1;
    if (bad == length) {
        return STATUS_OK;
    }
    for (size_t i = 0; i < bad; i++) {
        line += text[i] == '\n';
    }
    return fail(it, line, "not UTF-8: save the table as UTF-8");
}

enum status csv_parse(struct arena *arena, const char *name, const char *text, size_t length,
                      int rows_max, struct csv *csv_out, struct error *error)
{
    struct reader it = {.arena = arena, .name = name, .line = 1, .error = error};
    struct csv csv = {0};
    bool mark = length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0;
    it.at = text + (mark ? 3 : 0);
    it.end = text + length;
    enum status status = check_bytes(&it, text, length);
    if (status == STATUS_OK) {
        status = read_header(&it, &csv);
    }
    if (status == STATUS_OK) {
        status = read_rows(&it, rows_max, &csv);
    }
    buf_release(&it.cell);
    buf_release(&it.complaints);
    TRY(status);
    *csv_out = csv;
    return STATUS_OK;
}

enum status csv_read(struct arena *arena, const char *path, int rows_max, struct csv *csv_out,
                     struct error *error)
{
    struct buf text = {0};
    enum status status = file_read(path, CSV_BYTES_MAX, &text, error);
    if (status == STATUS_OK) {
        status = csv_parse(arena, path, text.length > 0 ? text.data : "", text.length, rows_max,
                           csv_out, error);
    }
    buf_release(&text);
    return status;
}
