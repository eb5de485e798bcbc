/* SPDX-License-Identifier: Apache-2.0
 *
 * export_tokenizer: a tokenizer that does by itself what training did with BOS and EOS.
 *
 * tokenizer.json stays as it is but for four things: truncation and padding are off (they would
 * change tokens silently), the post-processor is ours, and a pad token may be appended.
 * tokenizer_config.json is written anew: its class must be PreTrainedTokenizerFast, since the
 * classes that are named after models rebuild parts of tokenizer.json from their own defaults.
 */
#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/json.h"
#include "worker/model/export_parts.h"
#include "worker/model/staging.h"
#include "worker/model/tokenizer_json.h"

#define NEW_PAD "<|pad|>"

bool export_adds_bos(const struct exporting *exporting)
{
    return !template_is_chat(exporting->model->format.template_kind) &&
           tokenizer_bos(exporting->tokenizer) >= 0;
}

bool export_adds_eos(const struct exporting *exporting)
{
    const struct text_format *format = &exporting->model->format;
    return !template_is_chat(format->template_kind) && format->pooling == POOLING_LAST_TOKEN &&
           tokenizer_eos(exporting->tokenizer) >= 0;
}

static bool has_word(const char *text, const char *word)
{
    for (; *text != '\0'; text++) {
        size_t i = 0;
        while (word[i] != '\0' && tolower((unsigned char)text[i]) == word[i]) {
            i++;
        }
        if (word[i] == '\0') {
            return true;
        }
    }
    return false;
}

/* 0: unfit, else the better the higher. */
static int pad_rank(const struct exporting *exporting, const char *text, int32_t id)
{
    const struct tokenizer *tokenizer = exporting->tokenizer;
    const json_t *model = json_object_get(exporting->tokenizer_json, "model");
    const char *unknown = json_string_value(json_object_get(model, "unk_token"));
    if (id == tokenizer_bos(tokenizer) || id == tokenizer_eos(tokenizer) ||
        id >= exporting->model->config.V || strlen(text) >= EXPORT_TOKEN_BYTES_MAX ||
        (unknown != NULL && strcmp(text, unknown) == 0)) {
        return 0;
    }
    if (id == tokenizer_pad(tokenizer)) {
        return 3;
    }
    if (has_word(text, "pad")) {
        return 2;
    }
    return has_word(text, "reserved") || has_word(text, "unused") ? 1 : 0;
}

/* The id that the `tokenizers` library gives to a token that is added to this file: behind all
 * added tokens, or behind the vocabulary. */
static int32_t next_id(const struct exporting *exporting)
{
    const json_t *model = json_object_get(exporting->tokenizer_json, "model");
    json_int_t next = (json_int_t)json_object_size(json_object_get(model, "vocab"));
    size_t index;
    json_t *token;
    json_array_foreach(json_object_get(exporting->tokenizer_json, "added_tokens"), index, token)
    {
        json_int_t id = json_integer_value(json_object_get(token, "id"));
        next = id >= next ? id + 1 : next;
    }
    return (int32_t)next;
}

enum status export_pad_choose(struct exporting *exporting, const char *dir, struct error *error)
{
    char path[MODEL_PATH_MAX];
    struct export_pad *pad = &exporting->pad;
    int best = 0;
    size_t index;
    json_t *token;
    path_join(path, sizeof(path), dir, "tokenizer.json");
    TRY(json_read_file(path, TOKENIZER_BYTES_MAX, &exporting->tokenizer_json, error));
    json_array_foreach(json_object_get(exporting->tokenizer_json, "added_tokens"), index, token)
    {
        const char *text = json_string_value(json_object_get(token, "content"));
        int32_t id = tokenizer_id(exporting->tokenizer, text);
        int rank = pad_rank(exporting, text, id);
        if (rank > best) {
            best = rank;
            pad->id = id;
            snprintf(pad->text, sizeof(pad->text), "%s", text);
        }
    }
    if (best > 0) {
        return STATUS_OK;
    }
    pad->added = true;
    pad->id = next_id(exporting);
    snprintf(pad->text, sizeof(pad->text), "%s", NEW_PAD);
    if (tokenizer_id(exporting->tokenizer, NEW_PAD) >= 0 ||
        pad->id < tokenizer_size(exporting->tokenizer)) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s: no token is left for padding, and " NEW_PAD " cannot be added: give "
                         "the tokenizer a pad token that differs from BOS and EOS",
                         path);
    }
    return STATUS_OK;
}

/* ---- files ---------------------------------------------------------------------------------- */

static void post_processor_set(struct exporting *exporting)
{
    const struct tokenizer *tokenizer = exporting->tokenizer;
    struct special_token bos = {0}, eos = {0};
    if (export_adds_bos(exporting)) {
        bos = (struct special_token){tokenizer_bos_text(tokenizer), tokenizer_bos(tokenizer)};
    }
    if (export_adds_eos(exporting)) {
        eos = (struct special_token){tokenizer_eos_text(tokenizer), tokenizer_eos(tokenizer)};
    }
    json_t *root = exporting->tokenizer_json;
    json_object_set_new(root, "post_processor", tokenizer_json_template(bos, eos));
    json_object_set_new(root, "truncation", json_null());
    json_object_set_new(root, "padding", json_null());
    const struct export_pad *pad = &exporting->pad;
    json_t *added = json_object_get(root, "added_tokens");
    if (pad->added && added == NULL) {
        added = json_array();
        json_object_set_new(root, "added_tokens", added);
    }
    if (pad->added) {
        json_array_append_new(added, tokenizer_json_added(pad->text, pad->id, true));
    }
}

static void set_text(json_t *json, const char *key, const char *text)
{
    if (text != NULL && text[0] != '\0') {
        json_object_set_new(json, key, json_string(text));
    }
}

static json_t *config_json(const struct exporting *exporting)
{
    const struct tokenizer *tokenizer = exporting->tokenizer;
    const struct text_format *format = &exporting->model->format;
    const json_t *model = json_object_get(exporting->tokenizer_json, "model");
    bool left = format->overlong == OVERLONG_TRUNCATE_LEFT;
    json_t *json = json_pack("{s:s, s:i, s:s, s:s, s:b, s:[s,s]}", "tokenizer_class",
                             "PreTrainedTokenizerFast", "model_max_length", (int)format->max_length,
                             "padding_side", "right", "truncation_side", left ? "left" : "right",
                             "clean_up_tokenization_spaces", 0, "model_input_names", "input_ids",
                             "attention_mask");
    CHECK(json != NULL);
    set_text(json, "bos_token", tokenizer_bos_text(tokenizer));
    set_text(json, "eos_token", tokenizer_eos_text(tokenizer));
    set_text(json, "pad_token", exporting->pad.text);
    set_text(json, "unk_token", json_string_value(json_object_get(model, "unk_token")));
    struct buf chat = {0};
    export_chat_template(exporting, &chat);
    set_text(json, "chat_template", chat.data);
    buf_release(&chat);
    return json;
}

enum status export_tokenizer_write(struct exporting *exporting, const char *dir,
                                   struct error *error)
{
    post_processor_set(exporting);
    TRY(staging_json(dir, "tokenizer.json", json_incref(exporting->tokenizer_json), error));
    return staging_json(dir, "tokenizer_config.json", config_json(exporting), error);
}
