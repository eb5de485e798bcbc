/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer_file: tokenizer.json, read strictly: model, vocabulary, merges, added tokens.
 *
 * Invariants after success:
 * 1. the vocabulary's ids are 0 … n-1, each once; added tokens that are not in it follow from n on,
 * in the file's order (Hugging Face numbers them so, whatever the file says);
 * 2. every id has a text; every merge's two parts and result are tokens of the vocabulary;
 * 3. texts for people are decoded once, here: bytes of byte-level tokens, <0xNN>, "▁".
 * Rejected: taking gaps and repaired ids with a warning, as Hugging Face does: the embedding's rows
 * would then mean something else than the file says.
 */
#include <inttypes.h>
#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/text.h"
#include "worker/data/byte_level.h"
#include "worker/data/tokenizer_lists.h"
#include "worker/data/tokenizer_parts.h"

#define MARK "▁" /* what LLaMA-2 writes for a blank */
enum {
    MARK_BYTES = sizeof(MARK) - 1,
    ENTRY_BYTES = 16, /* of a vocabulary's entry: a first guess at their number */
    SHOWN_MAX = 60    /* bytes of a stranger's string in a sentence */
};

/* The whole file while it is read. */
struct reading {
    struct tokenizer *tokenizer;
    struct lists lists;
    const json_t *root, *model;
    bool byte_fallback, ignore_merges;
    bool mark_joined; /* some merge joins something to a "▁" behind it */
};

static int shown_length(size_t length)
{
    return length < SHOWN_MAX ? (int)length : SHOWN_MAX;
}

static enum status option_refuse(bool given, const char *key, struct error *error)
{
    return given ? error_set(error, STATUS_UNSUPPORTED, "\"%s\" is set, and not known", key)
                 : STATUS_OK;
}

/* The model's type and options; "" and 0 mean the same as null in files of different age. */
static enum status model_read(struct reading *reading, struct error *error)
{
    const json_t *model = reading->model;
    struct bpe *bpe = &reading->tokenizer->bpe;
    const char *type = "BPE"; /* GPT-2's own file does not say */
    const char *prefix = "";
    const char *suffix = "";
    double dropout = 0;
    TRY(json_get_string(model, "type", &type, error));
    if (strcmp(type, "BPE") != 0) {
        return error_set(error, STATUS_UNSUPPORTED, "\"type\" is \"%.40s\", and only BPE is known",
                         type);
    }
    TRY(json_get_string(model, "continuing_subword_prefix", &prefix, error));
    TRY(json_get_string(model, "end_of_word_suffix", &suffix, error));
    TRY(json_get_f64(model, "dropout", &dropout, error));
    TRY(option_refuse(prefix[0] != '\0', "continuing_subword_prefix", error));
    TRY(option_refuse(suffix[0] != '\0', "end_of_word_suffix", error));
    TRY(option_refuse(dropout != 0, "dropout", error));
    TRY(json_get_bool(model, "fuse_unk", &bpe->unknown_fused, error));
    TRY(json_get_bool(model, "byte_fallback", &reading->byte_fallback, error));
    TRY(json_get_bool(model, "ignore_merges", &reading->ignore_merges, error));
    const struct lists *lists = &reading->lists;
    if (!lists->vocabulary.start || !lists->merges.start) {
        const char *key = lists->vocabulary.start ? "merges" : "vocab";
        return error_set(error, STATUS_FORMAT, "\"%s\" is %s: %s is expected", key,
                         json_object_get(model, key) ? "something else" : "missing",
                         lists->vocabulary.start ? "an array" : "an object");
    }
    return STATUS_OK;
}

/* Enters the vocabulary's strings and ids into the map, in the file's order. */
static enum status vocabulary_enter(struct reading *reading, struct list_reader *reader,
                                    struct error *error)
{
    struct map *ids = reading->tokenizer->ids;
    struct vocabulary_entry entry;
    while (vocabulary_next(reader, &entry)) {
        if (!map_put(ids, entry.token.text, entry.token.length, (uint64_t)entry.id, NULL)) {
            return error_set(error, STATUS_FORMAT, "vocab: \"%.*s\" is there twice",
                             shown_length(entry.token.length), entry.token.text);
        }
        if (map_count(ids) > TOKENIZER_TOKENS_MAX) {
            return error_set(error, STATUS_LIMIT, "vocab: more than %d tokens",
                             TOKENIZER_TOKENS_MAX);
        }
    }
    if (!reader->ended || reader->count == 0) {
        return error_set(error, STATUS_FORMAT,
                         reader->ended
                             ? "vocab: there are no tokens"
                             : "vocab: entry %zu is not a token and its id, an integer from 0 on",
                         reader->count);
    }
    return STATUS_OK;
}

/* Every id once, none missing; texts point at the map's keys until they are decoded. */
static enum status vocabulary_read(struct reading *reading, struct error *error)
{
    struct tokenizer *tokenizer = reading->tokenizer;
    size_t added = json_array_size(json_object_get(reading->root, "added_tokens"));
    if (added > TOKENIZER_TOKENS_MAX) {
        return error_set(error, STATUS_LIMIT, "more than %d added tokens", TOKENIZER_TOKENS_MAX);
    }
    const struct list_span *span = &reading->lists.vocabulary;
    size_t guess = (size_t)(span->end - span->start) / ENTRY_BYTES;
    tokenizer->ids =
        map_create((guess < TOKENIZER_TOKENS_MAX ? guess : TOKENIZER_TOKENS_MAX) + added);
    struct list_reader reader = list_reader(span);
    enum status status = vocabulary_enter(reading, &reader, error);
    list_reader_release(&reader);
    TRY(status);
    size_t count = map_count(tokenizer->ids);
    tokenizer->texts = arena_array(&tokenizer->arena, struct token_text, count + added);
    tokenizer->vocabulary_size = (int32_t)count;
    tokenizer->size = tokenizer->vocabulary_size;
    for (size_t i = 0; i < count; i++) {
        uint64_t id;
        struct token_text token;
        token.text = map_at(tokenizer->ids, i, &token.length, &id);
        if (id >= count) {
            return error_set(
                error, STATUS_FORMAT,
                "vocab: \"%.60s\" has the id %" PRIu64
                ", so ids are missing or out of range: %zu tokens have the ids 0 to %zu",
                token.text, id, count, count - 1);
        }
        if (tokenizer->texts[id].text) {
            return error_set(error, STATUS_FORMAT,
                             "vocab: \"%.60s\" and \"%.60s\" have the same id %" PRIu64,
                             tokenizer->texts[id].text, token.text, id);
        }
        tokenizer->texts[id] = token;
    }
    return STATUS_OK;
}

static bool vocabulary_find(const struct tokenizer *tokenizer, const char *text, size_t length,
                            int32_t *id_out)
{
    uint64_t id;
    if (!map_get(tokenizer->ids, text, length, &id) || id >= (uint64_t)tokenizer->vocabulary_size) {
        return false;
    }
    *id_out = (int32_t)id;
    return true;
}

static bool mark_starts(const struct list_string *part)
{
    return part->length >= MARK_BYTES && memcmp(part->text, MARK, MARK_BYTES) == 0;
}

static bool mark_ends(const struct list_string *part)
{
    return part->length >= MARK_BYTES &&
           memcmp(part->text + part->length - MARK_BYTES, MARK, MARK_BYTES) == 0;
}

static enum status merge_add(struct reading *reading, const struct merge_entry *merge, size_t rank,
                             struct buf *joined, struct error *error)
{
    struct tokenizer *tokenizer = reading->tokenizer;
    const struct list_string *left = &merge->parts[0];
    const struct list_string *right = &merge->parts[1];
    int32_t ids[3];
    buf_clear(joined);
    buf_append(joined, left->text, left->length);
    buf_append(joined, right->text, right->length);
    const char *missing = NULL;
    if (!vocabulary_find(tokenizer, left->text, left->length, &ids[0])) {
        missing = "left part";
    } else if (!vocabulary_find(tokenizer, right->text, right->length, &ids[1])) {
        missing = "right part";
    } else if (!vocabulary_find(tokenizer, joined->data, joined->length, &ids[2])) {
        missing = "result";
    }
    if (missing) {
        return error_set(error, STATUS_FORMAT,
                         "merges[%zu]: the %s of \"%.*s\" + \"%.*s\" is not in the vocabulary",
                         rank, missing, shown_length(left->length), left->text,
                         shown_length(right->length), right->text);
    }
    bpe_add_merge(&tokenizer->bpe, ids[0], ids[1], (uint32_t)rank, ids[2]);
    reading->mark_joined = reading->mark_joined || (mark_starts(right) && !mark_ends(left));
    return STATUS_OK;
}

static enum status merges_read(struct reading *reading, struct error *error)
{
    struct tokenizer *tokenizer = reading->tokenizer;
    struct list_reader reader = list_reader(&reading->lists.merges);
    struct merge_entry merge;
    struct buf joined = {0};
    enum status status = STATUS_OK;
    bpe_create(&tokenizer->bpe);
    while (status == STATUS_OK && merge_next(&reader, &merge)) {
        status = reader.count <= TOKENIZER_TOKENS_MAX
                     ? merge_add(reading, &merge, reader.count - 1, &joined, error)
                     : error_set(error, STATUS_LIMIT, "more than %d merges", TOKENIZER_TOKENS_MAX);
    }
    if (status == STATUS_OK && !reader.ended) {
        status =
            error_set(error, STATUS_FORMAT,
                      "merges[%zu] is not two tokens: [\"a\", \"b\"] or \"a b\"", reader.count);
    }
    list_reader_release(&reader);
    buf_release(&joined);
    return status;
}

/* What a character or byte begins with: its own token, <0xNN>, unk. */
static enum status alphabet_read(struct reading *reading, struct error *error)
{
    struct tokenizer *tokenizer = reading->tokenizer;
    struct bpe *bpe = &tokenizer->bpe;
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        int32_t id;
        size_t length = utf8_put(byte_level_char((uint8_t)byte), text);
        if (bpe->byte_level && vocabulary_find(tokenizer, text, length, &id)) {
            bpe->bytes[byte] = id;
        }
        length = (size_t)snprintf(text, sizeof(text), "<0x%02X>", (unsigned)byte);
        if (reading->byte_fallback && vocabulary_find(tokenizer, text, length, &id)) {
            bpe->fallback[byte] = id;
        }
    }
    for (int32_t id = 0; id < tokenizer->vocabulary_size && !bpe->byte_level; id++) {
        const struct token_text *text = &tokenizer->texts[id];
        size_t at = 0;
        uint32_t point = text->length > 0 ? utf8_next(text->text, text->length, &at) : 0;
        if (at > 0 && at == text->length) {
            bpe_add_character(bpe, point, id);
        }
    }
    const char *unknown = NULL;
    TRY(json_get_string(reading->model, "unk_token", &unknown, error));
    if (unknown && !vocabulary_find(tokenizer, unknown, strlen(unknown), &bpe->unknown)) {
        return error_set(error, STATUS_FORMAT, "unk_token \"%.60s\" is not in the vocabulary",
                         unknown);
    }
    return STATUS_OK;
}

/* Where no merge joins anything to a "▁" behind it, and "▁" has a token of its own (so that an unk
 * never reaches across), a text without pre-tokenizer falls apart before every run of "▁". */
static void blocks_find(const struct reading *reading)
{
    struct tokenizer *tokenizer = reading->tokenizer;
    size_t at = 0;
    if (tokenizer->pretokenizer == PRETOKENIZER_NONE && !reading->ignore_merges &&
        !reading->mark_joined &&
        bpe_has_character(&tokenizer->bpe, utf8_next(MARK, MARK_BYTES, &at))) {
        tokenizer->pretokenizer = PRETOKENIZER_BLOCKS;
    }
}

/* What a person reads for a token that is not byte-level: <0x0A> is a line end, "▁" a blank. */
static size_t text_decode(const struct reading *reading, const struct token_text *text, char *out)
{
    unsigned byte = 0;
    int end = 0;
    if (reading->byte_fallback && text->length == 6 &&
        sscanf(text->text, "<0x%2X>%n", &byte, &end) == 1 && end == 6) {
        out[0] = (char)byte;
        return 1;
    }
    size_t length = 0;
    for (size_t at = 0; at < text->length;) {
        if (text->length - at >= MARK_BYTES && memcmp(text->text + at, MARK, MARK_BYTES) == 0) {
            out[length++] = ' ';
            at += MARK_BYTES;
        } else {
            out[length++] = text->text[at++];
        }
    }
    return length;
}

/* Turns the vocabulary's strings into what they stand for; collects whole words on the way. */
static void texts_decode(struct reading *reading)
{
    struct tokenizer *tokenizer = reading->tokenizer;
    bool byte_level = tokenizer->bpe.byte_level;
    if (reading->ignore_merges) {
        tokenizer->whole_words = map_create((size_t)tokenizer->vocabulary_size);
    }
    for (int32_t id = 0; id < tokenizer->vocabulary_size; id++) {
        struct token_text *text = &tokenizer->texts[id];
        struct token_text decoded = {arena_alloc(&tokenizer->arena, text->length + 1), 0};
        bool word = true; /* some word of a text could be this token */
        if (!byte_level) {
            decoded.length = text_decode(reading, text, (char *)decoded.text);
        } else if (!byte_level_decode(text->text, text->length, (char *)decoded.text,
                                      &decoded.length)) {
            decoded = *text;
            word = false;
        }
        if (tokenizer->whole_words && word) {
            const struct token_text *key = byte_level ? &decoded : text;
            map_put(tokenizer->whole_words, key->text, key->length, (uint64_t)id, NULL);
        }
        *text = decoded;
    }
}

/* One entry of added_tokens, into the set it belongs to. */
static enum status added_token_read(const json_t *entry, struct tokenizer *tokenizer, bool *seen,
                                    struct error *error)
{
    const char *content = NULL;
    int64_t id = -1;
    bool special = false;
    struct added_token token = {0};
    if (!json_is_object(entry)) {
        return error_set(error, STATUS_FORMAT, "an object is expected");
    }
    TRY(json_get_string(entry, "content", &content, error));
    TRY(json_get_i64(entry, "id", 0, INT32_MAX, &id, error));
    TRY(json_get_bool(entry, "special", &special, error));
    TRY(json_get_bool(entry, "single_word", &token.single_word, error));
    TRY(json_get_bool(entry, "lstrip", &token.lstrip, error));
    TRY(json_get_bool(entry, "rstrip", &token.rstrip, error));
    bool normalized = !special;
    TRY(json_get_bool(entry, "normalized", &normalized, error));
    size_t length = content ? strlen(content) : 0;
    if (length == 0 || length > ADDED_TOKEN_BYTES_MAX || id < 0) {
        return error_set(error, STATUS_FORMAT, "\"content\" of 1 to %d bytes and \"id\" are needed",
                         ADDED_TOKEN_BYTES_MAX);
    }
    int32_t in_vocabulary = -1;
    if (vocabulary_find(tokenizer, content, length, &in_vocabulary) && id != in_vocabulary) {
        return error_set(error, STATUS_CONFLICT,
                         "\"%.60s\" has the id %" PRId64 " here and %d in the vocabulary", content,
                         id, in_vocabulary);
    }
    if (in_vocabulary < 0 && !map_put(tokenizer->ids, content, length, (uint64_t)id, NULL)) {
        return error_set(error, STATUS_FORMAT, "\"%.60s\" was added before", content);
    }
    if (in_vocabulary < 0 && id != tokenizer->size) {
        return error_set(error, STATUS_FORMAT,
                         "\"%.60s\" has the id %" PRId64 ", and the next free one is %d", content,
                         id, tokenizer->size);
    }
    if (seen[id]) {
        return error_set(error, STATUS_FORMAT, "\"%.60s\" was added before", content);
    }
    seen[id] = true;
    content = arena_strndup(&tokenizer->arena, content, length);
    tokenizer->texts[id] = (struct token_text){content, length};
    tokenizer->size += in_vocabulary < 0;
    token.id = (int32_t)id;
    token.text = content;
    token.length = length;
    struct added_tokens *added = normalized ? &tokenizer->added_normalized : &tokenizer->added_raw;
    added->tokens[added->count++] = token;
    return STATUS_OK;
}

/* What is looked for behind the normalizer goes through it first. */
static enum status added_normalize(struct tokenizer *tokenizer, struct error *error)
{
    struct added_tokens *added = &tokenizer->added_normalized;
    struct normalizer_scratch scratch = {0};
    enum status status = STATUS_OK;
    for (size_t i = 0; i < added->count && status == STATUS_OK; i++) {
        struct added_token *token = &added->tokens[i];
        const char *text;
        normalizer_run(&tokenizer->normalizer, token->text, token->length, &scratch, &text,
                       &token->length);
        token->text = arena_strndup(&tokenizer->arena, text, token->length);
        if (token->length == 0) {
            status =
                error_set(error, STATUS_FORMAT,
                          "added_tokens: the normalizer leaves nothing of the token %d", token->id);
        }
    }
    normalizer_scratch_release(&scratch);
    if (status != STATUS_OK) {
        return status;
    }
    added_tokens_sort(added);
    for (size_t i = 1; i < added->count; i++) {
        const struct added_token *a = &added->tokens[i - 1];
        const struct added_token *b = &added->tokens[i];
        if (a->length == b->length && memcmp(a->text, b->text, a->length) == 0) {
            return error_set(error, STATUS_FORMAT,
                             "added_tokens: the normalizer makes the tokens %d and %d the same",
                             a->id, b->id);
        }
    }
    return STATUS_OK;
}

static enum status added_tokens_read(struct reading *reading, struct error *error)
{
    struct tokenizer *tokenizer = reading->tokenizer;
    const json_t *list = json_object_get(reading->root, "added_tokens");
    if (list && !json_is_null(list) && !json_is_array(list)) {
        return error_set(error, STATUS_FORMAT, "added_tokens: an array is expected");
    }
    size_t count = json_array_size(list);
    tokenizer->added_raw.tokens = arena_array(&tokenizer->arena, struct added_token, count);
    tokenizer->added_normalized.tokens = arena_array(&tokenizer->arena, struct added_token, count);
    size_t ids_max = (size_t)tokenizer->vocabulary_size + count;
    bool *seen = arena_array(&tokenizer->arena, bool, ids_max);
    for (size_t i = 0; i < count; i++) {
        if (added_token_read(json_array_get(list, i), tokenizer, seen, error) != STATUS_OK) {
            return error_prefix(error, "added_tokens[%zu]", i);
        }
    }
    added_tokens_sort(&tokenizer->added_raw);
    return added_normalize(tokenizer, error);
}

/* In the order in which the parts need each other. */
static enum status parts_read(struct reading *reading, struct error *error)
{
    struct tokenizer *tokenizer = reading->tokenizer;
    if (!json_is_object(reading->root)) {
        return error_set(error, STATUS_FORMAT, "an object is expected");
    }
    reading->model = json_object_get(reading->root, "model");
    if (!json_is_object(reading->model)) {
        return error_set(error, STATUS_FORMAT, "\"model\" is missing, or is not an object");
    }
    TRY(normalizer_parse(json_object_get(reading->root, "normalizer"), tokenizer, error));
    TRY(pretokenizer_parse(json_object_get(reading->root, "pre_tokenizer"), tokenizer, error));
    enum status (*const steps[])(struct reading *, struct error *) = {model_read, vocabulary_read,
                                                                      merges_read, alphabet_read};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (steps[i](reading, error) != STATUS_OK) {
            return error_prefix(error, "model");
        }
    }
    texts_decode(reading);
    blocks_find(reading);
    TRY(added_tokens_read(reading, error));
    return post_processor_parse(json_object_get(reading->root, "post_processor"), tokenizer, error);
}

enum status tokenizer_file_read(const char *path, struct tokenizer *tokenizer, struct error *error)
{
    struct buf text = {0};
    struct buf rest = {0};
    struct reading reading = {.tokenizer = tokenizer};
    json_t *root = NULL;
    TRY(file_read(path, TOKENIZER_BYTES_MAX, &text, error));
    sha256_hex(text.data, text.length, tokenizer->digest);
    enum status status = STATUS_OK;
    size_t valid = utf8_valid_prefix(text.data, text.length);
    if (valid < text.length) {
        status = error_set(error, STATUS_FORMAT, "%s: byte %zu is not UTF-8", path, valid);
    } else {
        lists_cut(text.data, text.length, &reading.lists, &rest);
        status = json_read(path, rest.data, rest.length, &root, error);
    }
    buf_release(&rest);
    if (status == STATUS_OK) {
        reading.root = root;
        status = parts_read(&reading, error);
        status = status == STATUS_OK ? STATUS_OK : error_prefix(error, "%s", path);
    }
    json_decref(root);
    buf_release(&text);
    return status;
}
