/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer: text to token ids, as Hugging Face's `tokenizers` does it, from tokenizer.json.
 *
 * Known: BPE models; byte-level (GPT-2, LLaMA-3, Qwen2, SmolLM2: Digits then ByteLevel) and the
 * LLaMA-2 style (Prepend/Replace normalizers, byte_fallback, fuse_unk); NFC; the pre-tokenizer
 * patterns of those families only, recognised by their exact text and matched by hand-written
 * scanners (a pattern from a file is code: an unknown one is refused by name). Added tokens,
 * special or not, are found inside the text first, as Transformers does by default.
 *
 * Immutable after opening: any thread may encode.
 */
#ifndef TAILOR_WORKER_DATA_TOKENIZER_H
#define TAILOR_WORKER_DATA_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/sha256.h"
#include "lib/status.h"

struct tokenizer;

/* Of one text: eight records of DATA_LINE_BYTES_MAX. */
enum { TOKENIZER_TEXT_BYTES_MAX = 8 << 20 };

/* A growing list of token ids. Zero-initialise; free with ids_release. */
struct ids {
    int32_t *items;
    size_t count, capacity;
};

void ids_push(struct ids *ids, int32_t id);
void ids_append(struct ids *ids, const int32_t *items, size_t count);
void ids_release(struct ids *ids);

/* Reads dir/tokenizer.json, and dir/tokenizer_config.json, dir/special_tokens_map.json or
 * dir/config.json for bos, eos, pad and the chat template where they are there. A directory with
 * only tokenizer.model gets the conversion named (STATUS_UNSUPPORTED). */
enum status tokenizer_open(const char *dir, struct tokenizer **tokenizer_out, struct error *error);
void tokenizer_free(struct tokenizer *tokenizer);

/* Appends the ids of valid UTF-8 `text` of at most TOKENIZER_TEXT_BYTES_MAX bytes (both CHECKed),
 * without the post-processor's special tokens. Time is O(n log n) for any input. */
void tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t length,
                      struct ids *ids);
/* The same with the post-processor's special tokens around it (what `tokenizer(text)` gives). */
void tokenizer_encode_special(const struct tokenizer *tokenizer, const char *text, size_t length,
                              struct ids *ids);

int32_t tokenizer_size(const struct tokenizer *tokenizer); /* highest id + 1 */
int32_t tokenizer_bos(const struct tokenizer *tokenizer);  /* -1: none */
int32_t tokenizer_eos(const struct tokenizer *tokenizer);
int32_t tokenizer_pad(const struct tokenizer *tokenizer);
int32_t tokenizer_id(const struct tokenizer *tokenizer, const char *token); /* -1: unknown */
/* The text a token stands for (bytes of byte-level tokens decoded), for people. Borrowed; empty for
 * an id that has no token. */
const char *tokenizer_text(const struct tokenizer *tokenizer, int32_t id, size_t *length_out);
const char *tokenizer_chat_template(const struct tokenizer *tokenizer); /* NULL: none; borrowed */
const char *tokenizer_bos_text(const struct tokenizer *tokenizer);      /* "" where there is none */
const char *tokenizer_eos_text(const struct tokenizer *tokenizer);
/* SHA-256 of tokenizer.json's bytes: part of the token cache's key and of a model's identity. */
const char *tokenizer_digest(const struct tokenizer *tokenizer);

#endif
