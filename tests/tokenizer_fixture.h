/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer_fixture: tokenizer directories that a test writes part by part.
 *
 *     struct tokenizer *tokenizer = fixture_tokenizer_open(
 *         &(struct tokenizer_parts_text){.vocab = "\"a\":0,\"b\":1", .pre_tokenizer = "null"});
 */
#ifndef TAILOR_TESTS_TOKENIZER_FIXTURE_H
#define TAILOR_TESTS_TOKENIZER_FIXTURE_H

#include <stddef.h>

#include "worker/data/tokenizer.h"

/* JSON texts; NULL: the default, which is a valid tokenizer: byte-level, the tokens a, b, c, Ġ, ab.
 */
struct tokenizer_parts_text {
    const char *added;          /* inside [] */
    const char *normalizer;     /* default null */
    const char *pre_tokenizer;  /* default ByteLevel */
    const char *post_processor; /* default null */
    const char *options;        /* of the model, each with a comma behind */
    const char *vocab;          /* inside {} */
    const char *merges;         /* inside [] */
    const char *config;         /* tokenizer_config.json; default: no such file */
    const char *chat_template;  /* chat_template.jinja; default: no such file */
};

#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"

/* The sentence of the last fixture_tokenizer_open that failed. */
extern struct error fixture_error;

/* tokenizer.json of these parts. Valid until the next call. */
const char *fixture_tokenizer_json(const struct tokenizer_parts_text *parts, size_t *length_out);
/* Writes a fresh directory and opens it; NULL and fixture_error on failure. */
struct tokenizer *fixture_tokenizer_open(const struct tokenizer_parts_text *parts);
/* The same with these bytes as tokenizer.json. */
struct tokenizer *fixture_tokenizer_bytes(const void *json, size_t length);

/* The tokens of a text as "1 2 3". Valid until the next call. */
const char *fixture_encode(const struct tokenizer *tokenizer, const char *text);
const char *fixture_encode_special(const struct tokenizer *tokenizer, const char *text);

#endif
