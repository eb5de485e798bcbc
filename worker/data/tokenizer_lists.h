/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer_lists: the two long lists of tokenizer.json, model.vocab and model.merges, one entry
 * after the other.
 *
 *     struct lists lists;
 *     struct buf rest = {0};
 *     lists_cut(text, length, &lists, &rest);      // `rest` has {} and [] in their place
 *     struct list_reader reader = list_reader(&lists.merges);
 *     struct merge_entry merge;
 *     while (merge_next(&reader, &merge)) {
 *         …
 *     }
 *     if (!reader.ended) … entry reader.count is malformed
 *     list_reader_release(&reader);
 *
 * The text must be valid UTF-8 and outlive the lists.
 */
#ifndef TAILOR_WORKER_DATA_TOKENIZER_LISTS_H
#define TAILOR_WORKER_DATA_TOKENIZER_LISTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

struct list_span {
    const char *start,
        *end; /* from the opening bracket to behind the closing one; NULL: not there */
};

struct lists {
    struct list_span vocabulary, merges;
};

struct list_reader {
    const char *at, *end;
    size_t count;          /* entries read so far: the number of the next one, also in errors */
    bool ended;            /* the list was read to its closing bracket */
    struct buf decoded[2]; /* strings that hold escapes */
};

struct list_string {
    const char *text; /* valid until the next entry is read */
    size_t length;
};

struct vocabulary_entry {
    struct list_string token;
    int64_t id; /* from 0 on */
};

struct merge_entry {
    struct list_string parts[2]; /* none is empty */
};

/* A list that is missing, or is not of its kind of bracket, is left in `rest` for the JSON reader.
 */
void lists_cut(const char *text, size_t length, struct lists *lists_out, struct buf *rest);

struct list_reader list_reader(const struct list_span *span);
bool vocabulary_next(struct list_reader *reader, struct vocabulary_entry *entry_out);
bool merge_next(struct list_reader *reader, struct merge_entry *entry_out);
void list_reader_release(struct list_reader *reader);

#endif
