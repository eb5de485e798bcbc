/* SPDX-License-Identifier: Apache-2.0
 *
 * score_row: a response as the tokens that are scored: rendered, encoded, fitted to max_length. One
 * way for a file's rows and for a request's, so both have the same tokens.
 */
#ifndef TAILOR_WORKER_TRAINER_SCORE_ROW_H
#define TAILOR_WORKER_TRAINER_SCORE_ROW_H

#include "worker/data/record.h"

struct score_row {
    int32_t *ids;   /* owned; NULL: dropped */
    int32_t tokens; /* of a dropped one: as many as it would have */
    bool truncated, dropped;
};

/* `vocabulary`: given ids lie below it. A sentence says what is wrong with the response. */
enum status score_row_make(const struct text_format *format, const struct tokenizer *tokenizer,
                           int32_t vocabulary, const struct record *record,
                           const struct response *response, struct score_row *row_out,
                           struct error *error);
/* Why a dropped row has no reward. */
void score_row_dropped(int32_t tokens, char out[96]);

#endif
