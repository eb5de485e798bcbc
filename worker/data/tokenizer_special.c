/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer_special: bos, eos, pad and the chat template from the files beside tokenizer.json.
 *
 * Each of the three comes from tokenizer_config.json, else from special_tokens_map.json, as text; a
 * null there says "none" and ends the search. config.json's ids are asked only where neither file
 * names any of the three: Qwen2's config.json has a bos_token_id that its tokenizer does not use.
 * The chat template comes from chat_template.jinja (Transformers from 4.52), else from
 * tokenizer_config.json, as text or as a list of named ones, of which "default" is taken.
 */
#include <limits.h>
#include <string.h>

#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "worker/data/tokenizer_parts.h"

enum { ROLE_BOS, ROLE_EOS, ROLE_PAD, ROLE_COUNT };

static const char *const token_keys[ROLE_COUNT] = {"bos_token", "eos_token", "pad_token"};
static const char *const id_keys[ROLE_COUNT] = {"bos_token_id", "eos_token_id", "pad_token_id"};

struct special {
    bool decided[ROLE_COUNT];
    int32_t ids[ROLE_COUNT]; /* -1: none */
    const char *texts[ROLE_COUNT];
};

/* A JSON object from dir/name; NULL, which has no keys, where there is no such file. */
static enum status side_file_read(const char *dir, const char *name, size_t size_max,
                                  json_t **root_out, struct error *error)
{
    char path[PATH_MAX];
    path_join(path, sizeof(path), dir, name);
    *root_out = NULL;
    if (!file_exists(path)) {
        return STATUS_OK;
    }
    json_t *root;
    TRY(json_read_file(path, size_max, &root, error));
    if (!json_is_object(root)) {
        json_decref(root);
        return error_set(error, STATUS_FORMAT, "%s: an object is expected", path);
    }
    *root_out = root;
    return STATUS_OK;
}

/* A token as Transformers writes it: "text", or {"content": "text", …}. */
static enum status token_read(const json_t *root, int role, struct tokenizer *tokenizer,
                              struct special *special, struct error *error)
{
    const char *key = token_keys[role];
    const json_t *value = json_object_get(root, key);
    if (!value || special->decided[role]) {
        return STATUS_OK;
    }
    special->decided[role] = true;
    if (json_is_null(value)) {
        return STATUS_OK;
    }
    const char *text =
        json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
    if (!text) {
        return error_set(error, STATUS_FORMAT,
                         "\"%s\" is neither a string nor an object with \"content\"", key);
    }
    special->ids[role] = tokenizer_id(tokenizer, text);
    special->texts[role] = arena_strdup(&tokenizer->arena, text);
    if (special->ids[role] < 0) {
        return error_set(error, STATUS_CONFLICT, "\"%s\" is \"%.60s\", which tokenizer.json lacks",
                         key, text);
    }
    return STATUS_OK;
}

/* An id, or the first of a list of them (LLaMA-3 has several ends); null or negative: none. */
static enum status config_id_read(const json_t *root, int role, const struct tokenizer *tokenizer,
                                  struct special *special, struct error *error)
{
    const json_t *value = json_object_get(root, id_keys[role]);
    if (json_is_array(value)) {
        value = json_array_get(value, 0);
    }
    if (!value || json_is_null(value)) {
        return STATUS_OK;
    }
    json_int_t id = json_integer_value(value);
    if (!json_is_integer(value) || id >= tokenizer->size) {
        return error_set(error, STATUS_FORMAT, "\"%s\" is not an id below %d", id_keys[role],
                         tokenizer->size);
    }
    if (id >= 0) {
        size_t length;
        special->ids[role] = (int32_t)id;
        special->texts[role] = tokenizer_text(tokenizer, (int32_t)id, &length);
    }
    return STATUS_OK;
}

/* "chat_template" of tokenizer_config.json. */
static enum status chat_template_read(const json_t *root, struct tokenizer *tokenizer,
                                      struct error *error)
{
    const json_t *value = json_object_get(root, "chat_template");
    const char *text = json_string_value(value);
    for (size_t i = 0; i < json_array_size(value) && !text; i++) {
        const json_t *named = json_array_get(value, i);
        const char *name = json_string_value(json_object_get(named, "name"));
        if (name && strcmp(name, "default") == 0) {
            text = json_string_value(json_object_get(named, "template"));
        }
    }
    if (text) {
        tokenizer->chat_template = arena_strdup(&tokenizer->arena, text);
    } else if (value && !json_is_null(value)) {
        return error_set(error, STATUS_FORMAT,
                         "\"chat_template\" is neither a string nor a list with a \"default\"");
    }
    return STATUS_OK;
}

static enum status chat_template_file_read(const char *dir, struct tokenizer *tokenizer,
                                           struct error *error)
{
    char path[PATH_MAX];
    struct buf text = {0};
    path_join(path, sizeof(path), dir, "chat_template.jinja");
    if (!file_exists(path)) {
        return STATUS_OK;
    }
    TRY(file_read(path, CONFIG_BYTES_MAX, &text, error));
    tokenizer->chat_template = arena_strndup(&tokenizer->arena, text.data, text.length);
    buf_release(&text);
    return STATUS_OK;
}

/* tokenizer_config.json or special_tokens_map.json. */
static enum status tokenizer_config_use(const char *dir, const char *name,
                                        struct tokenizer *tokenizer, struct special *special,
                                        struct error *error)
{
    json_t *root;
    TRY(side_file_read(dir, name, TOKENIZER_BYTES_MAX, &root, error));
    enum status status = STATUS_OK;
    for (int role = 0; role < ROLE_COUNT && status == STATUS_OK; role++) {
        status = token_read(root, role, tokenizer, special, error);
    }
    if (status == STATUS_OK && !tokenizer->chat_template) {
        status = chat_template_read(root, tokenizer, error);
    }
    json_decref(root);
    return status == STATUS_OK ? STATUS_OK : error_prefix(error, "%s/%s", dir, name);
}

static enum status model_config_use(const char *dir, const struct tokenizer *tokenizer,
                                    struct special *special, struct error *error)
{
    json_t *root;
    TRY(side_file_read(dir, "config.json", CONFIG_BYTES_MAX, &root, error));
    enum status status = STATUS_OK;
    for (int role = 0; role < ROLE_COUNT && status == STATUS_OK; role++) {
        status = config_id_read(root, role, tokenizer, special, error);
    }
    json_decref(root);
    return status == STATUS_OK ? STATUS_OK : error_prefix(error, "%s/config.json", dir);
}

enum status tokenizer_special_read(const char *dir, struct tokenizer *tokenizer,
                                   struct error *error)
{
    struct special special = {.ids = {-1, -1, -1}, .texts = {"", "", ""}};
    TRY(chat_template_file_read(dir, tokenizer, error));
    TRY(tokenizer_config_use(dir, "tokenizer_config.json", tokenizer, &special, error));
    TRY(tokenizer_config_use(dir, "special_tokens_map.json", tokenizer, &special, error));
    if (!special.decided[ROLE_BOS] && !special.decided[ROLE_EOS] && !special.decided[ROLE_PAD]) {
        TRY(model_config_use(dir, tokenizer, &special, error));
    }
    tokenizer->bos = special.ids[ROLE_BOS];
    tokenizer->eos = special.ids[ROLE_EOS];
    tokenizer->pad = special.ids[ROLE_PAD];
    tokenizer->bos_text = special.texts[ROLE_BOS];
    tokenizer->eos_text = special.texts[ROLE_EOS];
    return STATUS_OK;
}
