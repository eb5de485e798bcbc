/* SPDX-License-Identifier: Apache-2.0
 *
 * serve_request: one request for rewards: from its line to the responses that wait for theirs, and
 * to the line that answers it.
 *
 *     {"id": 7, "adapter": "DIGEST", "rows": [{"prompt": …, "response": …}, …]}    adapter absent:
 *                                                              the served model itself
 *     {"type": "scores", "id": 7, "numerics", "results": [{"row", "response", "score", "tokens",
 * "truncated"} | {"row", "response", "tokens", "error"}, …]}
 *     {"type": "scores", "id": 7, "message": "…", "again": bool}       no results; again: the
 *                                                              request may be sent once more
 *
 * Rows are records of any form of worker/data/record.h.
 */
#ifndef TAILOR_WORKER_TRAINER_SERVE_REQUEST_H
#define TAILOR_WORKER_TRAINER_SERVE_REQUEST_H

#include <jansson.h>

#include "lib/sha256.h"
#include "worker/model/adapter_open.h"
#include "worker/trainer/score_row.h"

struct serve_response {
    int32_t row, response; /* of the request's rows; of that row */
    struct score_row tokens;
    float score;
};

struct serve_request {
    int64_t id;
    char adapter[SHA256_HEX_SIZE]; /* "": the served model */
    json_t *rows;                  /* owned */
    const struct adapter *with;    /* NULL: the served model */
    struct serve_response *responses;
    int32_t count, waiting; /* waiting: for their scores */
    struct serve_request *next;
};

/* Reads the line; rows are not looked at. STATUS_FORMAT. */
enum status serve_request_read(const char *line, struct serve_request **request_out,
                               struct error *error);
/* Its responses, as tokens. A sentence names the row. */
enum status serve_request_encode(struct serve_request *request, const struct text_format *format,
                                 const struct tokenizer *tokenizer, int32_t vocabulary,
                                 struct error *error);
/* `numerics`: what they were computed with. */
void serve_request_answer(const struct serve_request *request, const char *numerics);
void serve_request_refuse(int64_t id, const char *message, bool again);
void serve_request_free(struct serve_request *request);

#endif
