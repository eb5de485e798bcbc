/* SPDX-License-Identifier: Apache-2.0
 *
 * row_batch: some records at a time, rendered one by one, then encoded by a pool of threads.
 *
 *     TRY(row_batch_add(batch, &record, source, error));    // renders; until row_batch_full
 *     row_batch_encode(batch);                              // tokens, answer_token, max_length
 *     … batch->records, batch->rows …
 *     row_batch_clear(batch);
 *
 * What comes out depends on the records only, not on the threads or on where a batch ends.
 */
#ifndef TAILOR_WORKER_DATA_ROW_BATCH_H
#define TAILOR_WORKER_DATA_ROW_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/status.h"
#include "worker/data/record.h"

struct pool;

struct batch_row {
    size_t text, text_length; /* the rendered text, an offset into batch->bytes */
    struct ids ids;           /* fitted to max_length once encoded */
    bool empty;               /* the response is nothing but white space */
    bool given;               /* the ids came with the record: there is no text */
    bool overlong;            /* was longer than max_length */
    bool dropped;             /* … and the policy is to drop */
    int32_t answer_token;
    int32_t index; /* among the record's responses as written */
    float score;
    uint64_t hash; /* of the text (or the given ids) before truncation */
};

struct batch_record {
    int64_t number;
    int32_t source;
    int32_t row0, rows;
    int32_t groups;    /* to be made of it: 1, or the pairs of a DSP-domain group */
    int32_t preferred; /* row of the DSP domain's response; -1 otherwise */
    float margin;
    bool prompt_empty;
    bool prompt_known;
    size_t prompt, prompt_length;
    uint64_t prompt_hash;
};

struct row_batch {
    const struct text_format *format;
    const struct tokenizer *tokenizer;
    struct pool *pool;
    struct ids *scratch; /* of each thread */
    struct buf bytes;
    struct batch_record *records;
    struct batch_row *rows;
    int32_t record_count, record_capacity;
    int32_t row_count, row_capacity;
};

/* Both are borrowed. */
struct row_batch *row_batch_create(const struct text_format *format,
                                   const struct tokenizer *tokenizer);
void row_batch_free(struct row_batch *batch);
/* The record has at least one response. */
enum status row_batch_add(struct row_batch *batch, const struct record *record, int32_t source,
                          int32_t groups, struct error *error);
bool row_batch_full(const struct row_batch *batch);
void row_batch_encode(struct row_batch *batch);
void row_batch_clear(struct row_batch *batch); /* keeps memory */

#endif
