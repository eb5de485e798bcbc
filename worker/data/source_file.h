/* SPDX-License-Identifier: Apache-2.0
 *
 * source_file: the records of a data file, one JSON text at a time.
 *
 *     TRY(source_file_open(path, &file, error));
 *     while (source_file_next(file, &text, error) == STATUS_OK && text.bytes != NULL) { … }
 *
 * Two shapes, told apart by the first byte that is not a space: '[' a JSON list of objects, '{' one
 * object a line. A byte order mark is skipped, blank lines and CRLF are taken, a record of more
 * than DATA_LINE_BYTES_MAX is STATUS_LIMIT. Streaming: memory is one record and one window.
 * One thread at a time.
 */
#ifndef TAILOR_WORKER_DATA_SOURCE_FILE_H
#define TAILOR_WORKER_DATA_SOURCE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/status.h"

struct source_file;

struct source_text {
    const char *bytes; /* borrowed until the next call; NULL at the end of the file */
    size_t length;
    int64_t number; /* the line, or the index in the list; from 1 */
};

enum status source_file_open(const char *path, struct source_file **file_out, struct error *error);
/* What sentences call the file, where people know it by another name than its path. */
void source_file_rename(struct source_file *file, const char *name);
void source_file_close(struct source_file *file); /* NULL is fine */

enum status source_file_next(struct source_file *file, struct source_text *text_out,
                             struct error *error);

/* Where the newest record begins, for error sentences: "f.jsonl:7", or "f.json:120 (record 7)" in a
 * list. Borrowed until the next call of any function here. */
const char *source_file_where(struct source_file *file);

#endif
