/* SPDX-License-Identifier: Apache-2.0
 *
 * card: see card.h.
 */
#include "worker/model/card.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"

_Static_assert(MODEL_PATH_MAX >= PATH_MAX, "realpath writes PATH_MAX bytes");

/* The fields of struct template_prefixes under their own names, for reading and writing. */
static const struct {
    const char *key;
    size_t offset;
} prefix_fields[] = {
    {"system_prefix", offsetof(struct template_prefixes, system_prefix)},
    {"system_suffix", offsetof(struct template_prefixes, system_suffix)},
    {"user_prefix", offsetof(struct template_prefixes, user_prefix)},
    {"user_suffix", offsetof(struct template_prefixes, user_suffix)},
    {"assistant_prefix", offsetof(struct template_prefixes, assistant_prefix)},
    {"assistant_suffix", offsetof(struct template_prefixes, assistant_suffix)},
};

enum { PREFIX_FIELDS = sizeof(prefix_fields) / sizeof(*prefix_fields) };

static const char **prefix_field(struct template_prefixes *prefixes, int field)
{
    return (const char **)((char *)prefixes + prefix_fields[field].offset);
}

static enum status card_check(const json_t *card, struct error *error)
{
    int64_t version = 0;
    if (!json_is_object(card)) {
        return error_set(error, STATUS_FORMAT, "not a JSON object");
    }
    TRY(json_get_i64(card, "format_version", 0, INT64_MAX, &version, error));
    if (version != CARD_FORMAT_VERSION) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "\"format_version\" is %lld, this program knows %d: use the version of "
                         "tailor that wrote it",
                         (long long)version, CARD_FORMAT_VERSION);
    }
    const char *kind = "";
    TRY(json_get_string(card, "kind", &kind, error));
    if (strcmp(kind, "full") != 0 && strcmp(kind, "adapter") != 0 && strcmp(kind, "base") != 0) {
        return error_set(error, STATUS_FORMAT, "\"kind\" is \"%.40s\", not full, adapter or base",
                         kind);
    }
    return STATUS_OK;
}

enum status card_read(const char *dir, json_t **card_out, struct error *error)
{
    char path[MODEL_PATH_MAX];
    path_join(path, sizeof(path), dir, CARD_FILE);
    if (!file_exists(path)) {
        *card_out = NULL;
        return STATUS_OK;
    }
    json_t *card;
    TRY(json_read_file(path, CONFIG_BYTES_MAX, &card, error));
    if (card_check(card, error) != STATUS_OK) {
        json_decref(card);
        return error_prefix(error, "%s", path);
    }
    *card_out = card;
    return STATUS_OK;
}

static enum status format_read(const json_t *text, struct text_format *format, struct error *error)
{
    const char *template = NULL;
    const char *overlong = overlong_name(OVERLONG_DROP);
    const char *pooling = pooling_name(POOLING_LAST_TOKEN);
    int64_t max_length = 0;
    TRY(json_get_string(text, "template", &template, error));
    TRY(json_get_string(text, "overlong", &overlong, error));
    TRY(json_get_string(text, "pooling", &pooling, error));
    TRY(json_get_i64(text, "max_length", 1, ROW_TOKENS_MAX, &max_length, error));
    if (template == NULL || max_length == 0) {
        return error_set(error, STATUS_FORMAT, "\"text\" needs \"template\" and \"max_length\"");
    }
    TRY(template_parse(template, &format->template_kind, error));
    TRY(overlong_parse(overlong, &format->overlong, error));
    TRY(pooling_parse(pooling, &format->pooling, error));
    format->max_length = (int32_t)max_length;
    const json_t *prefixes = json_object_get(text, "prefixes");
    for (int i = 0; i < PREFIX_FIELDS; i++) {
        const char **field = prefix_field(&format->prefixes, i);
        *field = "";
        TRY(json_get_string(prefixes, prefix_fields[i].key, field, error));
    }
    return STATUS_OK;
}

enum status card_format(const char *dir, const json_t *card, struct text_format *format_out,
                        bool *has_out, struct error *error)
{
    struct text_format format = {0};
    const json_t *text = json_object_get(card, "text");
    *has_out = json_is_object(text);
    if (!*has_out) {
        return STATUS_OK;
    }
    if (format_read(text, &format, error) != STATUS_OK) {
        return error_prefix(error, "%s/" CARD_FILE, dir);
    }
    *format_out = format;
    return STATUS_OK;
}

json_t *card_text_json(const struct text_format *format)
{
    json_t *prefixes = NULL;
    if (format->template_kind == TEMPLATE_PREFIXES) {
        struct template_prefixes copy = format->prefixes;
        prefixes = json_object();
        for (int i = 0; i < PREFIX_FIELDS; i++) {
            const char *value = *prefix_field(&copy, i);
            json_object_set_new(prefixes, prefix_fields[i].key, json_string(value ? value : ""));
        }
    }
    json_t *text =
        json_pack("{s:s, s:o?, s:i, s:s, s:s}", "template", template_name(format->template_kind),
                  "prefixes", prefixes, "max_length", (int)format->max_length, "overlong",
                  overlong_name(format->overlong), "pooling", pooling_name(format->pooling));
    CHECK(text != NULL);
    return text;
}

/* ---- parents -------------------------------------------------------------------------------- */

/* dir/name, if that is a directory and not the adapter itself. */
static bool parent_try(const char *adapter, const char *dir, const char *name,
                       char out[MODEL_PATH_MAX])
{
    char path[MODEL_PATH_MAX];
    if (strlen(dir) + strlen(name) + 2 > sizeof(path)) {
        return false;
    }
    path_join(path, sizeof(path), dir, name);
    return realpath(path, out) != NULL && dir_exists(out) && strcmp(out, adapter) != 0;
}

enum status card_parent_find(const char *dir, const char *name, char out[MODEL_PATH_MAX],
                             struct error *error)
{
    char adapter[MODEL_PATH_MAX];
    if (realpath(dir, adapter) == NULL) {
        return error_set(error, STATUS_NOT_FOUND, "%s: %s", dir, strerror(errno));
    }
    /* Upwards from the adapter, cutting one component at a time; the empty path that is left at
     * the end is the current directory. An absolute name needs no directory before it. */
    char above[MODEL_PATH_MAX];
    snprintf(above, sizeof(above), "%s", name[0] == '/' ? "" : adapter);
    for (char *end = above + strlen(above); end != NULL && name[0]; end = strrchr(above, '/')) {
        *end = '\0';
        if (parent_try(adapter, above, name, out)) {
            return STATUS_OK;
        }
    }
    return error_set(error, STATUS_NOT_FOUND,
                     "%s: the model it was trained over, \"%.400s\", is not there; put its "
                     "directory's path into \"base_model_name_or_path\" of adapter_config.json",
                     dir, name);
}

enum status card_parent_absolute(const char *parent_dir, char out[MODEL_PATH_MAX],
                                 struct error *error)
{
    if (realpath(parent_dir, out) == NULL) {
        return error_set(error, STATUS_NOT_FOUND, "%s: %s", parent_dir, strerror(errno));
    }
    return STATUS_OK;
}

enum status card_parent_name(const char *dir, const char *parent_dir, char out[MODEL_PATH_MAX],
                             struct error *error)
{
    char parent[MODEL_PATH_MAX];
    char above[MODEL_PATH_MAX];
    TRY(card_parent_absolute(parent_dir, parent, error));
    /* `dir` is about to be made, so the directory it will stand in is what is resolved. */
    snprintf(above, sizeof(above), "%.*s", (int)(path_base(dir) - dir), dir);
    char resolved[MODEL_PATH_MAX];
    TRY(card_parent_absolute(above[0] ? above : ".", resolved, error));
    size_t length = strlen(resolved);
    if (strncmp(parent, resolved, length) == 0 && parent[length] == '/' &&
        strchr(parent + length + 1, '/') == NULL) {
        snprintf(out, MODEL_PATH_MAX, "..%s", parent + length);
    } else {
        snprintf(out, MODEL_PATH_MAX, "%s", parent);
    }
    return STATUS_OK;
}
