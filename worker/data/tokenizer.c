/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer: the order in which a text becomes ids.
 *
 *     text ── added tokens that are looked for as they are
 *       └ sections ── normalizer ── added tokens looked for behind it
 *           └ pieces ── Metaspace ── words ── whole-word token, cache, or merges ── ids
 *
 * Invariants: a tokenizer is written only while it is opened; what encoding changes (scratch, word
 * cache) belongs to an encoder, which one call has for itself and gives back. Rejected:
 * thread-local storage, which would outlive the tokenizer and must be told apart between
 * tokenizers; a cache per call, which is cold for every row of a dataset.
 */
#include "worker/data/tokenizer.h"

#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/text.h"
#include "worker/data/tokenizer_parts.h"
#include "worker/data/word_cache.h"

/* Even a text that the normalizer blows up (NFC: at most to three times its bytes) is one word that
 * bpe can count. */
_Static_assert(TOKENIZER_TEXT_BYTES_MAX * 3 * NORMALIZER_GROWTH_MAX + NORMALIZER_PREPEND_MAX <
                   BPE_WORD_BYTES_MAX,
               "words stay countable");

/* An encoder that once met a huge word or text gives its memory back. */
enum { ENCODER_KEPT_MAX = 8 << 20 };

struct encoder {
    struct encoder *next;
    struct word_cache *cache;
    struct bpe_scratch bpe;
    struct normalizer_scratch normalized, spaced;
};

struct encoders {
    pthread_mutex_t mutex;
    struct encoder *idle; /* as many as ever encoded at once */
};

static void ids_grow(struct ids *ids, size_t count)
{
    size_t needed = size_add(ids->count, count);
    size_t doubled = size_mul(ids->capacity, 2);
    ids->capacity = needed < 64 ? 64 : needed < doubled ? doubled : needed;
    ids->items = mem_grow(ids->items, size_mul(ids->capacity, sizeof(*ids->items)));
}

/* Room for `count` more. */
static inline void ids_reserve(struct ids *ids, size_t count)
{
    if (ids->capacity - ids->count < count) {
        ids_grow(ids, count);
    }
}

void ids_push(struct ids *ids, int32_t id)
{
    ids_reserve(ids, 1);
    ids->items[ids->count++] = id;
}

void ids_append(struct ids *ids, const int32_t *items, size_t count)
{
    ids_reserve(ids, count);
    if (count > 0) {
        memcpy(ids->items + ids->count, items, count * sizeof(*items));
    }
    ids->count += count;
}

void ids_release(struct ids *ids)
{
    mem_free(ids->items);
    *ids = (struct ids){0};
}

static struct encoder *encoder_take(struct encoders *encoders)
{
    CHECK(pthread_mutex_lock(&encoders->mutex) == 0);
    struct encoder *encoder = encoders->idle;
    if (encoder) {
        encoders->idle = encoder->next;
    }
    CHECK(pthread_mutex_unlock(&encoders->mutex) == 0);
    if (!encoder) {
        encoder = mem_alloc(sizeof(*encoder));
        encoder->cache = word_cache_create();
    }
    return encoder;
}

static void encoder_give(struct encoders *encoders, struct encoder *encoder)
{
    if (bpe_scratch_size(&encoder->bpe) > ENCODER_KEPT_MAX) {
        bpe_scratch_release(&encoder->bpe);
    }
    if (normalizer_scratch_size(&encoder->normalized) > ENCODER_KEPT_MAX) {
        normalizer_scratch_release(&encoder->normalized);
    }
    if (normalizer_scratch_size(&encoder->spaced) > ENCODER_KEPT_MAX) {
        normalizer_scratch_release(&encoder->spaced);
    }
    CHECK(pthread_mutex_lock(&encoders->mutex) == 0);
    encoder->next = encoders->idle;
    encoders->idle = encoder;
    CHECK(pthread_mutex_unlock(&encoders->mutex) == 0);
}

static struct encoders *encoders_create(void)
{
    struct encoders *encoders = mem_alloc(sizeof(*encoders));
    CHECK(pthread_mutex_init(&encoders->mutex, NULL) == 0);
    return encoders;
}

static void encoders_free(struct encoders *encoders)
{
    if (!encoders) {
        return;
    }
    while (encoders->idle) {
        struct encoder *encoder = encoders->idle;
        encoders->idle = encoder->next;
        word_cache_free(encoder->cache);
        bpe_scratch_release(&encoder->bpe);
        normalizer_scratch_release(&encoder->normalized);
        normalizer_scratch_release(&encoder->spaced);
        mem_free(encoder);
    }
    CHECK(pthread_mutex_destroy(&encoders->mutex) == 0);
    mem_free(encoders);
}

static void word_merge(const struct tokenizer *tokenizer, struct encoder *encoder, const char *word,
                       size_t length, struct ids *ids)
{
    uint64_t id;
    if (tokenizer->whole_words && map_get(tokenizer->whole_words, word, length, &id)) {
        ids_push(ids, (int32_t)id);
    } else {
        bpe_word(&tokenizer->bpe, &encoder->bpe, word, length, ids);
    }
}

/* `readable` bytes from `word` on lie in the same text. */
static void word_encode(const struct tokenizer *tokenizer, struct encoder *encoder,
                        const char *word, size_t length, size_t readable, struct ids *ids)
{
    if (length > WORD_CACHE_BYTES_MAX) {
        word_merge(tokenizer, encoder, word, length, ids);
        return;
    }
    struct word_key key = word_key(word, length, readable);
    struct word_entry *entry = word_cache_entry(encoder->cache, &key);
    if (word_key_equal(&entry->key, &key)) {
        ids_append(ids, entry->ids, (size_t)entry->count);
        return;
    }
    size_t before = ids->count;
    word_merge(tokenizer, encoder, word, length, ids);
    size_t count = ids->count - before;
    if (count <= WORD_CACHE_IDS_MAX) {
        entry->key = key;
        entry->count = (int32_t)count;
        for (size_t i = 0; i < count; i++) {
            entry->ids[i] = ids->items[before + i];
        }
    }
}

static void piece_encode(const struct tokenizer *tokenizer, struct encoder *encoder,
                         const char *text, size_t length, bool at_start, struct ids *ids)
{
    normalizer_run(&tokenizer->spaces[at_start], text, length, &encoder->spaced, &text, &length);
    while (length > 0) {
        size_t size = pretokenizer_next(tokenizer->pretokenizer, text, length);
        word_encode(tokenizer, encoder, text, size, length, ids);
        text += size;
        length -= size;
    }
}

static void section_encode(const struct tokenizer *tokenizer, struct encoder *encoder,
                           const char *text, size_t length, bool at_start, struct ids *ids)
{
    normalizer_run(&tokenizer->normalizer, text, length, &encoder->normalized, &text, &length);
    struct added_search search = {0};
    struct added_match match;
    size_t done = 0;
    while (added_tokens_find(&tokenizer->added_normalized, text, length, &search, &match)) {
        if (match.start > done) {
            piece_encode(tokenizer, encoder, text + done, match.start - done, at_start && done == 0,
                         ids);
        }
        ids_push(ids, match.id);
        done = search.done;
    }
    piece_encode(tokenizer, encoder, text + done, length - done, at_start && done == 0, ids);
}

void tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t length,
                      struct ids *ids)
{
    CHECK(length <= TOKENIZER_TEXT_BYTES_MAX);
    CHECK(utf8_valid_prefix(text, length) == length);
    struct encoder *encoder = encoder_take(tokenizer->encoders);
    struct added_search search = {0};
    struct added_match match;
    size_t done = 0;
    while (added_tokens_find(&tokenizer->added_raw, text, length, &search, &match)) {
        if (match.start > done) {
            section_encode(tokenizer, encoder, text + done, match.start - done, done == 0, ids);
        }
        ids_push(ids, match.id);
        done = search.done;
    }
    if (done < length) {
        section_encode(tokenizer, encoder, text + done, length - done, done == 0, ids);
    }
    encoder_give(tokenizer->encoders, encoder);
}

void tokenizer_encode_special(const struct tokenizer *tokenizer, const char *text, size_t length,
                              struct ids *ids)
{
    ids_append(ids, tokenizer->prefix.items, tokenizer->prefix.count);
    tokenizer_encode(tokenizer, text, length, ids);
    ids_append(ids, tokenizer->suffix.items, tokenizer->suffix.count);
}

/* tokenizer.json is missing: says what would help. */
static enum status file_missing(const char *dir, struct error *error)
{
    static const char *const old_forms[] = {"tokenizer.model", "vocab.json"};
    for (size_t i = 0; i < sizeof(old_forms) / sizeof(old_forms[0]); i++) {
        char path[PATH_MAX];
        path_join(path, sizeof(path), dir, old_forms[i]);
        if (file_exists(path)) {
            return error_set(error, STATUS_UNSUPPORTED,
                             "%s: only %s is there, and tokenizer.json is needed; convert it with "
                             "Transformers: AutoTokenizer.from_pretrained(\"%s\")"
                             ".save_pretrained(\"%s\")",
                             dir, old_forms[i], dir, dir);
        }
    }
    return error_set(error, STATUS_NOT_FOUND, "%s: there is no tokenizer.json", dir);
}

enum status tokenizer_open(const char *dir, struct tokenizer **tokenizer_out, struct error *error)
{
    struct error unasked; /* parts prefix the sentence, so there must be one */
    error = error ? error : &unasked;
    char path[PATH_MAX];
    if (strlen(dir) + NAME_MAX >= sizeof(path)) {
        return error_set(error, STATUS_USAGE, "%.200s…: the path is too long", dir);
    }
    path_join(path, sizeof(path), dir, "tokenizer.json");
    if (!file_exists(path)) {
        return file_missing(dir, error);
    }
    struct tokenizer *tokenizer = mem_alloc(sizeof(*tokenizer));
    tokenizer->encoders = encoders_create();
    enum status status = tokenizer_file_read(path, tokenizer, error);
    if (status == STATUS_OK) {
        status = tokenizer_special_read(dir, tokenizer, error);
    }
    if (status != STATUS_OK) {
        tokenizer_free(tokenizer);
        return status;
    }
    *tokenizer_out = tokenizer;
    return STATUS_OK;
}

void tokenizer_free(struct tokenizer *tokenizer)
{
    if (!tokenizer) {
        return;
    }
    encoders_free(tokenizer->encoders);
    ids_release(&tokenizer->prefix);
    ids_release(&tokenizer->suffix);
    map_free(tokenizer->whole_words);
    map_free(tokenizer->ids);
    bpe_release(&tokenizer->bpe);
    arena_release(&tokenizer->arena);
    mem_free(tokenizer);
}

int32_t tokenizer_size(const struct tokenizer *tokenizer)
{
    return tokenizer->size;
}

int32_t tokenizer_bos(const struct tokenizer *tokenizer)
{
    return tokenizer->bos;
}

int32_t tokenizer_eos(const struct tokenizer *tokenizer)
{
    return tokenizer->eos;
}

int32_t tokenizer_pad(const struct tokenizer *tokenizer)
{
    return tokenizer->pad;
}

int32_t tokenizer_id(const struct tokenizer *tokenizer, const char *token)
{
    uint64_t id;
    return map_get(tokenizer->ids, token, strlen(token), &id) ? (int32_t)id : -1;
}

const char *tokenizer_text(const struct tokenizer *tokenizer, int32_t id, size_t *length_out)
{
    if (id < 0 || id >= tokenizer->size) {
        *length_out = 0;
        return "";
    }
    *length_out = tokenizer->texts[id].length;
    return tokenizer->texts[id].text;
}

const char *tokenizer_chat_template(const struct tokenizer *tokenizer)
{
    return tokenizer->chat_template;
}

const char *tokenizer_bos_text(const struct tokenizer *tokenizer)
{
    return tokenizer->bos_text;
}

const char *tokenizer_eos_text(const struct tokenizer *tokenizer)
{
    return tokenizer->eos_text;
}

const char *tokenizer_digest(const struct tokenizer *tokenizer)
{
    return tokenizer->digest;
}
