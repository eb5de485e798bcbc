/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer_json: the pieces of tokenizer.json that this program writes.
 */
#ifndef TAILOR_WORKER_MODEL_TOKENIZER_JSON_H
#define TAILOR_WORKER_MODEL_TOKENIZER_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* A token that stands before or after a text; text NULL: none. */
struct special_token {
    const char *text;
    int32_t id;
};

/* The post-processor that puts `begin` before and `end` behind a text; null if both are none. */
json_t *tokenizer_json_template(struct special_token begin, struct special_token end);
/* An entry of "added_tokens". */
json_t *tokenizer_json_added(const char *text, int32_t id, bool special);

#endif
