/* SPDX-License-Identifier: Apache-2.0
 *
 * gguf_tokenizer: tokenizer.json and the files beside it, from a GGUF file's metadata.
 *
 * GGUF names a pre-tokenizer ("smollm") where tokenizer.json spells it out. The spelling of each
 * known name is a row of a table, in the very words that the tokenizer's reader knows. Rejected:
 * SentencePiece vocabularies ("llama"), which GGUF stores as scores: tokenizer.json needs merges,
 * and these would have to be guessed from the scores.
 */
#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/text.h"
#include "worker/model/gguf.h"
#include "worker/model/staging.h"
#include "worker/model/tokenizer_json.h"

#define BYTE_LEVEL(add_prefix_space, use_regex)                                                    \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":" add_prefix_space                               \
    ",\"trim_offsets\":true,\"use_regex\":" use_regex "}"
#define SEQUENCE(first) "{\"type\":\"Sequence\",\"pretokenizers\":[" first "]}"
#define SPLIT(digits)                                                                              \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|"                   \
    "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|" digits "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|" \
    "\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":\"Isolated\",\"invert\":false}"

static const struct pre_row {
    const char *name, *normalizer, *pre_tokenizer;
    bool ignore_merges;
} pre_rows[] = {
    {"smollm", "null",
     SEQUENCE("{\"type\":\"Digits\",\"individual_digits\":true}," BYTE_LEVEL("false", "true")),
     false},
    {"llama-bpe", "null", SEQUENCE(SPLIT("\\\\p{N}{1,3}") "," BYTE_LEVEL("false", "false")), true},
    {"qwen2", "{\"type\":\"NFC\"}", SEQUENCE(SPLIT("\\\\p{N}") "," BYTE_LEVEL("false", "false")),
     false},
    {"gpt-2", "null", BYTE_LEVEL("false", "true"), false},
};

/* The types of tokens that are looked for in a text before anything else. */
enum { TOKEN_TYPE_CONTROL = 3, TOKEN_TYPE_USER_DEFINED = 4 };

struct tokens {
    const struct gguf_field *texts, *types, *merges; /* types may be NULL */
    const struct pre_row *pre;
    json_t *by_id; /* array of strings */
};

static json_t *json_text(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    CHECK(value != NULL);
    return value;
}

static enum status pre_find(struct gguf *file, const struct pre_row **out, struct error *error)
{
    const char *model = "(missing)";
    const char *pre = "(missing)";
    TRY(gguf_get_string(file, "tokenizer.ggml.model", &model, error));
    TRY(gguf_get_string(file, "tokenizer.ggml.pre", &pre, error));
    for (size_t i = 0; i < sizeof(pre_rows) / sizeof(*pre_rows); i++) {
        if (strcmp(model, "gpt2") == 0 && strcmp(pre, pre_rows[i].name) == 0) {
            *out = &pre_rows[i];
            return STATUS_OK;
        }
    }
    return error_set(error, STATUS_UNSUPPORTED,
                     "%s: its tokenizer is %.40s with the pre-tokenizer %.40s; known is gpt2 with "
                     "smollm, llama-bpe, qwen2 or gpt-2: start from the Hugging Face directory",
                     file->name, model, pre);
}

static enum status tokens_read(struct gguf *file, int32_t vocabulary, struct tokens *tokens,
                               struct error *error)
{
    TRY(pre_find(file, &tokens->pre, error));
    TRY(gguf_get_array(file, "tokenizer.ggml.tokens", true, &tokens->texts, error));
    TRY(gguf_get_array(file, "tokenizer.ggml.token_type", false, &tokens->types, error));
    TRY(gguf_get_array(file, "tokenizer.ggml.merges", true, &tokens->merges, error));
    if (tokens->texts == NULL || tokens->merges == NULL) {
        return error_set(error, STATUS_FORMAT, "%s: tokenizer.ggml.tokens or merges is missing",
                         file->name);
    }
    if (tokens->texts->count > (uint64_t)vocabulary ||
        tokens->merges->count > TOKENIZER_TOKENS_MAX ||
        (tokens->types != NULL && tokens->types->count != tokens->texts->count)) {
        return error_set(
            error, STATUS_FORMAT,
            "%s: %llu tokens, %llu types and %llu merges do not fit an embedding of %d "
            "rows",
            file->name, (unsigned long long)tokens->texts->count,
            (unsigned long long)(tokens->types ? tokens->types->count : 0),
            (unsigned long long)tokens->merges->count, vocabulary);
    }
    return STATUS_OK;
}

/* An array of all strings of a field; NULL with the sentence if one is not UTF-8. */
static json_t *strings_read(const struct gguf *file, const struct gguf_field *field,
                            struct error *error)
{
    json_t *list = json_array();
    size_t cursor = 0;
    for (uint64_t i = 0; i < field->count; i++) {
        size_t length;
        const char *text = gguf_array_string(field, &cursor, &length);
        if (memchr(text, '\0', length) != NULL || utf8_valid_prefix(text, length) != length) {
            error_set(error, STATUS_FORMAT, "%s: element %llu of %s is not UTF-8 text", file->name,
                      (unsigned long long)i, field->key);
            json_decref(list);
            return NULL;
        }
        json_array_append_new(list, json_stringn_nocheck(text, length));
    }
    return list;
}

static json_t *vocabulary_json(const struct gguf *file, const struct tokens *tokens,
                               struct error *error)
{
    json_t *vocabulary = json_object();
    size_t index;
    json_t *text;
    json_array_foreach(tokens->by_id, index, text)
    {
        const char *key = json_string_value(text);
        if (json_object_get(vocabulary, key) != NULL) {
            error_set(error, STATUS_FORMAT, "%s: token %zu, \"%.60s\", is there twice", file->name,
                      index, key);
            json_decref(vocabulary);
            return NULL;
        }
        json_object_set_new_nocheck(vocabulary, key, json_integer((json_int_t)index));
    }
    return vocabulary;
}

static json_t *added_json(const struct tokens *tokens)
{
    json_t *added = json_array();
    for (uint64_t i = 0; tokens->types != NULL && i < tokens->types->count; i++) {
        int64_t type = gguf_array_i64(tokens->types, i);
        if (type == TOKEN_TYPE_CONTROL || type == TOKEN_TYPE_USER_DEFINED) {
            const char *text = json_string_value(json_array_get(tokens->by_id, (size_t)i));
            json_array_append_new(
                added, tokenizer_json_added(text, (int32_t)i, type == TOKEN_TYPE_CONTROL));
        }
    }
    return added;
}

/* The text of a token that the metadata names by id; NULL where it names none. */
static enum status named_token(const struct gguf *file, const struct tokens *tokens,
                               const char *name, json_t **out, int64_t *id_out, struct error *error)
{
    char key[64];
    int64_t id = -1;
    snprintf(key, sizeof(key), "tokenizer.ggml.%s_token_id", name);
    TRY(gguf_get_i64(file, key, -1, (int64_t)json_array_size(tokens->by_id) - 1, &id, error));
    *out = id < 0 ? NULL : json_array_get(tokens->by_id, (size_t)id);
    *id_out = id;
    return STATUS_OK;
}

/* What `tokenizer(text)` adds: BOS, where the file says so. */
static enum status post_processor_json(const struct gguf *file, const struct tokens *tokens,
                                       json_t **out, struct error *error)
{
    bool add = tokens->pre->ignore_merges; /* llama.cpp's default for llama-bpe */
    json_t *bos;
    int64_t id;
    TRY(gguf_get_bool(file, "tokenizer.ggml.add_bos_token", &add, error));
    TRY(named_token(file, tokens, "bos", &bos, &id, error));
    if (!add || bos == NULL) {
        *out = json_text(BYTE_LEVEL("true", "true"));
    } else {
        struct special_token begin = {json_string_value(bos), (int32_t)id};
        *out = tokenizer_json_template(begin, (struct special_token){0});
    }
    return STATUS_OK;
}

static enum status tokenizer_json_write(const struct gguf *file, const struct tokens *tokens,
                                        const char *dir, struct error *error)
{
    json_t *post_processor;
    json_t *vocabulary = vocabulary_json(file, tokens, error);
    json_t *merges = vocabulary ? strings_read(file, tokens->merges, error) : NULL;
    if (merges == NULL || post_processor_json(file, tokens, &post_processor, error) != STATUS_OK) {
        json_decref(vocabulary);
        json_decref(merges);
        return STATUS_FORMAT;
    }
    json_t *model = json_pack(
        "{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout", "unk_token",
        "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0,
        "ignore_merges", (int)tokens->pre->ignore_merges, "vocab", vocabulary, "merges", merges);
    json_t *json = json_pack(
        "{s:s, s:n, s:n, s:o, s:o, s:o, s:o, s:o, s:o}", "version", "1.0", "truncation", "padding",
        "added_tokens", added_json(tokens), "normalizer", json_text(tokens->pre->normalizer),
        "pre_tokenizer", json_text(tokens->pre->pre_tokenizer), "post_processor", post_processor,
        "decoder", json_text(BYTE_LEVEL("true", "true")), "model", model);
    CHECK(json != NULL);
    return staging_json(dir, "tokenizer.json", json, error);
}

static enum status names_write(struct gguf *file, const struct tokens *tokens, const char *dir,
                               int32_t positions, struct error *error)
{
    static const char *const names[][2] = {{"bos_token", "bos"},
                                           {"eos_token", "eos"},
                                           {"pad_token", "padding"},
                                           {"unk_token", "unknown"}};
    const char *chat_template = NULL;
    TRY(gguf_get_string(file, "tokenizer.chat_template", &chat_template, error));
    if (chat_template != NULL &&
        utf8_valid_prefix(chat_template, strlen(chat_template)) != strlen(chat_template)) {
        return error_set(error, STATUS_FORMAT, "%s: tokenizer.chat_template is not UTF-8 text",
                         file->name);
    }
    json_t *special = json_object();
    enum status status = STATUS_OK;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names) && status == STATUS_OK; i++) {
        json_t *token = NULL;
        int64_t id;
        status = named_token(file, tokens, names[i][1], &token, &id, error);
        if (status == STATUS_OK && token != NULL) {
            json_object_set(special, names[i][0], token);
        }
    }
    if (status != STATUS_OK) {
        json_decref(special);
        return status;
    }
    json_t *config = json_pack("{s:s, s:b, s:b, s:i}", "tokenizer_class", "PreTrainedTokenizerFast",
                               "add_prefix_space", 0, "clean_up_tokenization_spaces", 0,
                               "model_max_length", (int)positions);
    json_object_update(config, special);
    if (chat_template != NULL) {
        json_object_set_new(config, "chat_template", json_string(chat_template));
    }
    status = staging_json(dir, "special_tokens_map.json", special, error);
    if (status != STATUS_OK) {
        json_decref(config);
        return status;
    }
    return staging_json(dir, "tokenizer_config.json", config, error);
}

enum status gguf_tokenizer_write(struct gguf *file, const char *dir, int32_t vocabulary,
                                 int32_t positions, struct error *error)
{
    struct tokens tokens = {0};
    TRY(tokens_read(file, vocabulary, &tokens, error));
    tokens.by_id = strings_read(file, tokens.texts, error);
    if (tokens.by_id == NULL) {
        return STATUS_FORMAT;
    }
    enum status status = tokenizer_json_write(file, &tokens, dir, error);
    if (status == STATUS_OK) {
        status = names_write(file, &tokens, dir, positions, error);
    }
    json_decref(tokens.by_id);
    return status;
}
