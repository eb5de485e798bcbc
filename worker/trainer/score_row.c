/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/trainer/score_row.h"

#include <stdio.h>
#include <string.h>

#include "lib/arena.h"

static enum status response_ids(const struct text_format *format, const struct tokenizer *tokenizer,
                                int32_t vocabulary, const struct record *record,
                                const struct response *response, struct ids *ids,
                                struct error *error)
{
    if (response->ids != NULL) {
        for (int32_t i = 0; i < response->id_count; i++) {
            if (response->ids[i] < 0 || response->ids[i] >= vocabulary) {
                return error_set(error, STATUS_FORMAT, "id %d is not in the vocabulary",
                                 response->ids[i]);
            }
            ids_push(ids, response->ids[i]);
        }
        return STATUS_OK;
    }
    struct buf text = {0};
    enum status status = record_render(record, response, format, tokenizer, &text, error);
    if (status == STATUS_OK) {
        template_encode_text(format, tokenizer, text.data, text.length, ids);
    }
    buf_release(&text);
    return status;
}

enum status score_row_make(const struct text_format *format, const struct tokenizer *tokenizer,
                           int32_t vocabulary, const struct record *record,
                           const struct response *response, struct score_row *row_out,
                           struct error *error)
{
    struct ids ids = {0};
    enum status status = response_ids(format, tokenizer, vocabulary, record, response, &ids, error);
    if (status == STATUS_OK && ids.count == 0) {
        status = error_set(error, STATUS_FORMAT, "response %d has no tokens",
                           (int)(response - record->responses) + 1);
    }
    if (status == STATUS_OK) {
        int64_t fits = row_fit(format, ids.items, (int64_t)ids.count);
        *row_out = (struct score_row){.tokens = (int32_t)(fits < 0 ? (int64_t)ids.count : fits),
                                      .truncated = fits >= 0 && fits < (int64_t)ids.count,
                                      .dropped = fits < 0};
    }
    if (status == STATUS_OK && !row_out->dropped) {
        row_out->ids = mem_alloc(sizeof(int32_t) * (size_t)row_out->tokens);
        memcpy(row_out->ids, ids.items, sizeof(int32_t) * (size_t)row_out->tokens);
    }
    ids_release(&ids);
    return status;
}

void score_row_dropped(int32_t tokens, char out[96])
{
    snprintf(out, 96, "%d tokens are more than max_length (overlong: drop)", tokens);
}
