/* SPDX-License-Identifier: Apache-2.0
 *
 * source_file: finds where records begin and end; what is inside them is json.h's business.
 *
 * A list is cut by counting brackets outside of strings, with no recursion and no memory per
 * level: a hostile file of a million '[' costs a counter. The cutter may pass nonsense on
 * ("{]"), which the JSON reader then refuses with the place; it never passes two records as one.
 */
#include "worker/data/source_file.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/limits.h"
#include "worker/data/source_bytes.h"

enum shape { SHAPE_UNKNOWN, SHAPE_LINES, SHAPE_LIST };

struct source_file {
    char *path;
    struct source_bytes *bytes;
    enum shape shape;
    const char *window; /* borrowed from bytes */
    size_t at, count;
    int64_t line;         /* of the next byte, from 1 */
    int64_t record_line;  /* where the newest record begins */
    int64_t record_count; /* of a list */
    bool list_ended;
    struct buf text;  /* the newest record */
    struct buf where; /* for source_file_where */
};

enum status source_file_open(const char *path, struct source_file **file_out, struct error *error)
{
    struct source_bytes *bytes;
    TRY(source_bytes_open(path, &bytes, error));
    struct source_file *file = mem_alloc(sizeof(*file));
    file->path = mem_strdup(path);
    file->bytes = bytes;
    file->line = 1;
    file->record_line = 1;
    *file_out = file;
    return STATUS_OK;
}

void source_file_rename(struct source_file *file, const char *name)
{
    mem_free(file->path);
    file->path = mem_strdup(name);
}

void source_file_close(struct source_file *file)
{
    if (file == NULL) {
        return;
    }
    source_bytes_close(file->bytes);
    buf_release(&file->text);
    buf_release(&file->where);
    mem_free(file->path);
    mem_free(file);
}

const char *source_file_where(struct source_file *file)
{
    buf_clear(&file->where);
    buf_printf(&file->where, "%s:%lld", file->path, (long long)file->record_line);
    if (file->shape == SHAPE_LIST) {
        buf_printf(&file->where, " (record %lld)", (long long)file->record_count);
    }
    return file->where.data;
}

/* Makes a byte available at window[at], or leaves at == count at the end of the file. */
static enum status window_fill(struct source_file *file, struct error *error)
{
    if (file->at == file->count) {
        file->at = 0;
        file->count = 0;
        TRY(source_bytes_next(file->bytes, &file->window, &file->count, error));
    }
    return STATUS_OK;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Skips white space, counting lines. *byte_out is the next byte, not consumed; -1 at the end. */
static enum status skip_space(struct source_file *file, int *byte_out, struct error *error)
{
    for (;;) {
        TRY(window_fill(file, error));
        if (file->at == file->count) {
            *byte_out = -1;
            return STATUS_OK;
        }
        char c = file->window[file->at];
        if (!is_space(c)) {
            *byte_out = (unsigned char)c;
            return STATUS_OK;
        }
        file->line += c == '\n';
        file->at++;
    }
}

static enum status shape_detect(struct source_file *file, struct error *error)
{
    TRY(window_fill(file, error));
    if (file->count >= 3 && memcmp(file->window, "\xef\xbb\xbf", 3) == 0) {
        file->at = 3;
    }
    int byte;
    TRY(skip_space(file, &byte, error));
    if (byte == '[') {
        file->at++;
        file->shape = SHAPE_LIST;
    } else if (byte == '{') {
        file->shape = SHAPE_LINES;
    } else if (byte < 0) {
        return error_set(error, STATUS_FORMAT, "%s: the file is empty", file->path);
    } else {
        return error_set(error, STATUS_FORMAT,
                         "%s:%lld: neither a JSON list nor one JSON object a line: begins with "
                         "byte 0x%02x",
                         file->path, (long long)file->line, byte);
    }
    return STATUS_OK;
}

static enum status text_append(struct source_file *file, size_t count, struct error *error)
{
    if (file->text.length + count > DATA_LINE_BYTES_MAX) {
        return error_set(error, STATUS_LIMIT, "%s: a record of more than %zu MiB%s",
                         source_file_where(file), DATA_LINE_BYTES_MAX / MIB,
                         file->shape == SHAPE_LINES ? "; one object a line is expected" : "");
    }
    buf_append(&file->text, file->window + file->at, count);
    file->at += count;
    return STATUS_OK;
}

/* The rest of the line, without its newline. */
static enum status line_read(struct source_file *file, struct error *error)
{
    for (;;) {
        TRY(window_fill(file, error));
        size_t left = file->count - file->at;
        if (left == 0) {
            return STATUS_OK;
        }
        const char *from = file->window + file->at;
        const char *newline = memchr(from, '\n', left);
        TRY(text_append(file, newline != NULL ? (size_t)(newline - from) : left, error));
        if (newline != NULL) {
            file->at++;
            file->line++;
            return STATUS_OK;
        }
    }
}

/* One object of a list, from its '{' to the bracket that closes it. */
static enum status object_read(struct source_file *file, struct error *error)
{
    int64_t depth = 0;
    bool string = false, escape = false;
    for (;;) {
        TRY(window_fill(file, error));
        if (file->at == file->count) {
            return error_set(error, STATUS_FORMAT,
                             "%s: the file ends inside this record: is the copy complete?",
                             source_file_where(file));
        }
        size_t i = file->at;
        bool closed = false;
        while (i < file->count && !closed) {
            char c = file->window[i++];
            file->line += c == '\n';
            if (string) {
                string = escape || c != '"';
                escape = !escape && c == '\\';
            } else if (c == '"') {
                string = true;
            } else if (c == '{' || c == '[') {
                depth++;
            } else if (c == '}' || c == ']') {
                depth--;
                closed = depth == 0;
            }
        }
        TRY(text_append(file, i - file->at, error));
        if (closed) {
            return STATUS_OK;
        }
    }
}

/* What stands between two records of a list; ends with the next '{' unread, or the list ended. */
static enum status list_advance(struct source_file *file, struct error *error)
{
    int byte;
    TRY(skip_space(file, &byte, error));
    bool first = file->record_count == 0;
    if (byte == ',' && !first) {
        file->at++;
        TRY(skip_space(file, &byte, error));
    } else if (byte == ']') {
        file->at++;
        file->list_ended = true;
        TRY(skip_space(file, &byte, error));
        if (byte >= 0) {
            return error_set(error, STATUS_FORMAT, "%s:%lld: more bytes behind the list's end",
                             file->path, (long long)file->line);
        }
        return STATUS_OK;
    } else if (!first && byte >= 0) {
        return error_set(error, STATUS_FORMAT, "%s:%lld: a comma is missing behind record %lld",
                         file->path, (long long)file->line, (long long)file->record_count);
    }
    if (byte < 0) {
        return error_set(error, STATUS_FORMAT,
                         "%s:%lld: the file ends inside the list: is the copy complete?",
                         file->path, (long long)file->line);
    }
    if (byte != '{') {
        return error_set(error, STATUS_FORMAT, "%s:%lld: record %lld is not a JSON object",
                         file->path, (long long)file->line, (long long)file->record_count + 1);
    }
    return STATUS_OK;
}

enum status source_file_next(struct source_file *file, struct source_text *text_out,
                             struct error *error)
{
    if (file->shape == SHAPE_UNKNOWN) {
        TRY(shape_detect(file, error));
    }
    *text_out = (struct source_text){0};
    if (file->list_ended) {
        return STATUS_OK;
    }
    buf_clear(&file->text);
    if (file->shape == SHAPE_LIST) {
        TRY(list_advance(file, error));
        if (file->list_ended) {
            return STATUS_OK;
        }
        file->record_count++;
        file->record_line = file->line;
        TRY(object_read(file, error));
        text_out->number = file->record_count;
    } else {
        int byte;
        TRY(skip_space(file, &byte, error)); /* blank lines */
        if (byte < 0) {
            return STATUS_OK;
        }
        file->record_line = file->line;
        TRY(line_read(file, error));
        if (file->text.length > 0 && file->text.data[file->text.length - 1] == '\r') {
            file->text.length--;
        }
        text_out->number = file->record_line;
    }
    text_out->bytes = file->text.data;
    text_out->length = file->text.length;
    return STATUS_OK;
}
