/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer_parts: what a tokenizer is made of. For tokenizer*.c alone: tokenizer.c encodes with
 * it, tokenizer_file.c fills it from tokenizer.json, tokenizer_special.c from the files beside it.
 */
#ifndef TAILOR_WORKER_DATA_TOKENIZER_PARTS_H
#define TAILOR_WORKER_DATA_TOKENIZER_PARTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/arena.h"
#include "lib/map.h"
#include "lib/sha256.h"
#include "lib/status.h"
#include "worker/data/added_tokens.h"
#include "worker/data/bpe.h"
#include "worker/data/normalizer.h"
#include "worker/data/pretokenizer.h"
#include "worker/data/tokenizer.h"

struct token_text {
    const char *text; /* in the arena; NULL: not seen yet */
    size_t length;
};

struct encoders; /* tokenizer.c: working memory of the threads that encode */

struct tokenizer {
    struct arena arena;
    struct map *ids; /* as the file writes it → id; the vocabulary's and the added tokens */
    struct token_text *texts; /* what a person reads, by id */
    int32_t vocabulary_size;  /* ids from here on are added tokens' */
    int32_t size;

    struct added_tokens added_raw; /* looked for in the text as it is */
    struct normalizer normalizer;
    struct added_tokens added_normalized; /* looked for behind the normalizer */
    struct normalizer spaces[2];          /* Metaspace; [1]: for what starts at the text's start */
    enum pretokenizer pretokenizer;
    struct bpe bpe;
    struct map *whole_words;   /* ignore_merges: words that are tokens as they stand; else NULL */
    struct ids prefix, suffix; /* the post-processor's */

    int32_t bos, eos, pad;
    const char *bos_text, *eos_text;
    const char *chat_template;
    char digest[SHA256_HEX_SIZE];
    struct encoders *encoders;
};

/* Reads tokenizer.json into a zeroed tokenizer. Errors begin with the path and name the field. */
enum status tokenizer_file_read(const char *path, struct tokenizer *tokenizer, struct error *error);

/* The parts of tokenizer.json that are pipelines (tokenizer_pipeline.c). `value` may be NULL. */
enum status normalizer_parse(const json_t *value, struct tokenizer *tokenizer, struct error *error);
enum status pretokenizer_parse(const json_t *value, struct tokenizer *tokenizer,
                               struct error *error);
enum status post_processor_parse(const json_t *value, struct tokenizer *tokenizer,
                                 struct error *error);

/* bos, eos, pad and the chat template, from the files that are there. */
enum status tokenizer_special_read(const char *dir, struct tokenizer *tokenizer,
                                   struct error *error);

#endif
