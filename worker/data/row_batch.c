/* SPDX-License-Identifier: Apache-2.0
 *
 * row_batch: the only place where texts become token rows.
 *
 * The prompt's hash is taken of its rendered text, trimmed. Where the prompt is inside the
 * responses' texts it is what they have in common, cut back to the last "Assistant:" in it, else to
 * the last white space: two responses that begin with the same words still give their prompt, and
 * with the template dsp a prompt has one hash whether it came apart or inside.
 *
 * The first token of the response is the first at which the row leaves the encoded prompt: a
 * tokenizer may merge across the border, and then the merged token belongs to the response.
 */
#include "worker/data/row_batch.h"

#include <string.h>

#include "lib/arena.h"
#include "lib/map.h"
#include "lib/pool.h"

enum {
    BATCH_BYTES = 4 * 1024 * 1024, /* of text: some milliseconds of work for each of 16 threads */
    BATCH_ROWS = 8192,
    ENCODE_THREADS_MAX = 16
};

struct row_batch *row_batch_create(const struct text_format *format,
                                   const struct tokenizer *tokenizer)
{
    struct row_batch *batch = mem_alloc(sizeof(*batch));
    int threads = cpu_count();
    batch->format = format;
    batch->tokenizer = tokenizer;
    batch->pool = pool_create(threads < ENCODE_THREADS_MAX ? threads : ENCODE_THREADS_MAX);
    batch->scratch = mem_alloc(sizeof(struct ids) * (size_t)pool_threads(batch->pool));
    buf_append(&batch->bytes, "", 0); /* so that bytes.data is never NULL */
    return batch;
}

void row_batch_free(struct row_batch *batch)
{
    for (int i = 0; i < pool_threads(batch->pool); i++) {
        ids_release(&batch->scratch[i]);
    }
    for (int32_t i = 0; i < batch->row_capacity; i++) {
        ids_release(&batch->rows[i].ids);
    }
    pool_free(batch->pool);
    buf_release(&batch->bytes);
    mem_free(batch->scratch);
    mem_free(batch->records);
    mem_free(batch->rows);
    mem_free(batch);
}

bool row_batch_full(const struct row_batch *batch)
{
    return batch->bytes.length >= BATCH_BYTES || batch->row_count >= BATCH_ROWS;
}

void row_batch_clear(struct row_batch *batch)
{
    buf_clear(&batch->bytes);
    batch->record_count = 0;
    batch->row_count = 0;
}

/* A cleared row at the end, whose ids keep the memory of an earlier batch. */
static struct batch_row *row_add(struct row_batch *batch)
{
    if (batch->row_count == batch->row_capacity) {
        int32_t capacity = batch->row_capacity == 0 ? 256 : 2 * batch->row_capacity;
        batch->rows = mem_grow(batch->rows, size_mul(sizeof(*batch->rows), (size_t)capacity));
        memset(batch->rows + batch->row_capacity, 0,
               sizeof(*batch->rows) * (size_t)(capacity - batch->row_capacity));
        batch->row_capacity = capacity;
    }
    struct batch_row *row = &batch->rows[batch->row_count++];
    *row = (struct batch_row){.ids = row->ids};
    row->ids.count = 0;
    return row;
}

static struct batch_record *record_add(struct row_batch *batch)
{
    if (batch->record_count == batch->record_capacity) {
        batch->record_capacity = batch->record_capacity == 0 ? 256 : 2 * batch->record_capacity;
        batch->records = mem_grow(
            batch->records, size_mul(sizeof(*batch->records), (size_t)batch->record_capacity));
    }
    return &batch->records[batch->record_count++];
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static uint64_t hash_trimmed(const char *text, size_t length)
{
    while (length > 0 && is_space(text[length - 1])) {
        length--;
    }
    while (length > 0 && is_space(text[0])) {
        text++;
        length--;
    }
    return hash_bytes(text, length, 0);
}

/* How much of `text[0 … common)` is the prompt (see the top). */
static size_t prompt_cut(const char *text, size_t common)
{
    static const char marker[] = "Assistant:";
    size_t marker_length = sizeof(marker) - 1;
    for (size_t end = common; end >= marker_length; end--) {
        if (memcmp(text + end - marker_length, marker, marker_length) == 0) {
            return end;
        }
    }
    size_t end = common;
    while (end > 0 && !is_space(text[end - 1])) {
        end--;
    }
    return end > 0 ? end : common;
}

static size_t bytes_common(const void *a, size_t a_length, const void *b, size_t b_length)
{
    const char *left = a, *right = b;
    size_t length = a_length < b_length ? a_length : b_length, common = 0;
    while (common < length && left[common] == right[common]) {
        common++;
    }
    return common;
}

/* The hash of a prompt that lies inside the record's rows. */
static uint64_t prompt_inside_hash(const struct row_batch *batch, const struct batch_record *record)
{
    const struct batch_row *first = &batch->rows[record->row0];
    const char *text =
        first->given ? (const char *)first->ids.items : batch->bytes.data + first->text;
    size_t common = first->given ? first->ids.count * sizeof(int32_t) : first->text_length;
    for (int32_t i = 1; i < record->rows; i++) {
        const struct batch_row *row = &first[i];
        if (row->given) {
            common = bytes_common(text, common, row->ids.items, row->ids.count * sizeof(int32_t));
            common -= common % sizeof(int32_t);
        } else {
            common = bytes_common(text, common, batch->bytes.data + row->text, row->text_length);
        }
    }
    if (common == 0) {
        return first->hash; /* nothing in common: no other group has this prompt */
    }
    return first->given ? hash_bytes(text, common, 0)
                        : hash_trimmed(text, record->rows > 1 ? prompt_cut(text, common) : common);
}

static enum status ids_take(struct row_batch *batch, const struct response *response,
                            struct batch_row *row, struct error *error)
{
    row->given = true;
    for (int32_t i = 0; i < response->id_count; i++) {
        if (response->ids[i] >= tokenizer_size(batch->tokenizer)) {
            return error_set(error, STATUS_FORMAT,
                             "token id %d: the tokenizer has %d tokens; was the file made with "
                             "another one?",
                             response->ids[i], tokenizer_size(batch->tokenizer));
        }
    }
    ids_append(&row->ids, response->ids, (size_t)response->id_count);
    row->hash = hash_bytes(response->ids, sizeof(int32_t) * (size_t)response->id_count, 0);
    return STATUS_OK;
}

static enum status row_render(struct row_batch *batch, const struct record *record,
                              const struct response *response, struct error *error)
{
    struct batch_row *row = row_add(batch);
    row->index = response->index;
    row->score = response->score;
    row->empty = response_empty(response);
    if (response->ids != NULL) {
        return ids_take(batch, response, row, error);
    }
    row->text = batch->bytes.length;
    TRY(record_render(record, response, batch->format, batch->tokenizer, &batch->bytes, error));
    row->text_length = batch->bytes.length - row->text;
    row->hash = hash_bytes(batch->bytes.data + row->text, row->text_length, 0);
    return STATUS_OK;
}

enum status row_batch_add(struct row_batch *batch, const struct record *record, int32_t source,
                          int32_t groups, struct error *error)
{
    CHECK(record->response_count >= 1);
    struct batch_record *added = record_add(batch);
    *added = (struct batch_record){.number = record->number,
                                   .source = source,
                                   .row0 = batch->row_count,
                                   .rows = record->response_count,
                                   .groups = groups,
                                   .preferred = record->preferred,
                                   .margin = record->margin,
                                   .prompt_empty = record_prompt_empty(record),
                                   .prompt_known = record->prompt != NULL,
                                   .prompt = batch->bytes.length};
    if (added->prompt_known) {
        TRY(record_render_prompt(record, batch->format, batch->tokenizer, &batch->bytes, error));
        added->prompt_length = batch->bytes.length - added->prompt;
        added->prompt_hash = hash_trimmed(batch->bytes.data + added->prompt, added->prompt_length);
    }
    for (int32_t i = 0; i < record->response_count; i++) {
        TRY(row_render(batch, record, &record->responses[i], error));
    }
    if (!added->prompt_known) {
        added->prompt_hash = prompt_inside_hash(batch, added);
    }
    return STATUS_OK;
}

/* The encoded prompt as a prefix of its rows: without the EOS that ends a whole row. */
static void prompt_encode(const struct row_batch *batch, const struct batch_record *record,
                          struct ids *prompt)
{
    prompt->count = 0;
    if (!record->prompt_known) {
        return;
    }
    template_encode_text(batch->format, batch->tokenizer, batch->bytes.data + record->prompt,
                         record->prompt_length, prompt);
    bool ends_row =
        !template_is_chat(batch->format->template_kind) && tokenizer_eos(batch->tokenizer) >= 0;
    prompt->count -= ends_row && prompt->count > 0 ? 1 : 0;
}

static void row_encode(const struct row_batch *batch, const struct ids *prompt,
                       struct batch_row *row)
{
    const struct text_format *format = batch->format;
    if (!row->given) {
        template_encode_text(format, batch->tokenizer, batch->bytes.data + row->text,
                             row->text_length, &row->ids);
    }
    int64_t answer = 0, before = (int64_t)row->ids.count;
    while (answer < before && answer < (int64_t)prompt->count &&
           row->ids.items[answer] == prompt->items[answer]) {
        answer++;
    }
    int64_t after = row_fit(format, row->ids.items, before);
    row->overlong = after != before;
    row->dropped = after < 0;
    if (row->dropped) {
        return;
    }
    if (format->overlong == OVERLONG_TRUNCATE_LEFT) {
        answer -= before - after;
    }
    row->ids.count = (size_t)after;
    row->answer_token = (int32_t)(answer < 0 ? 0 : answer > after ? after : answer);
}

static void encode_task(void *argument, size_t index, int thread)
{
    const struct row_batch *batch = argument;
    const struct batch_record *record = &batch->records[index];
    struct ids *prompt = &batch->scratch[thread];
    prompt_encode(batch, record, prompt);
    for (int32_t i = 0; i < record->rows; i++) {
        row_encode(batch, prompt, &batch->rows[record->row0 + i]);
    }
}

void row_batch_encode(struct row_batch *batch)
{
    pool_run(batch->pool, (size_t)batch->record_count, encode_task, batch);
}
