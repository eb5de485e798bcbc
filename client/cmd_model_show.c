/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor model show: what a model's directory says of itself, without loading a tensor; or what the
 * service knows of one by its name.
 */
#include <dirent.h>
#include <string.h>

#include "client/commands.h"
#include "client/path.h"
#include "client/remote.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/text.h"

/* What is shown, in this order: a path of keys in one of the directory's files. */
static const struct shown {
    const char *label, *file, *path;
} shown[] = {
    {"architecture", "config.json", "architectures.0"},
    {"layers", "config.json", "num_hidden_layers"},
    {"hidden size", "config.json", "hidden_size"},
    {"vocabulary", "config.json", "vocab_size"},
    {"adapter", "adapter_config.json", "peft_type"},
    {"adapter r", "adapter_config.json", "r"},
    {"adapter alpha", "adapter_config.json", "lora_alpha"},
    {"adapter over", "adapter_config.json", "base_model_name_or_path"},
};

static const json_t *follow(const json_t *value, const char *path)
{
    while (value && *path) {
        size_t length = strcspn(path, ".");
        value = json_is_array(value) ? json_array_get(value, (size_t)(path[0] - '0'))
                                     : json_object_getn(value, path, length);
        path += length + (path[length] == '.');
    }
    return value;
}

static void row(struct table *table, const char *label, const json_t *value)
{
    struct buf text = {0};
    if (json_is_string(value)) {
        buf_append_string(&text, json_string_value(value));
    } else {
        json_append(&text, value);
    }
    table_row(table, label, text.data ? text.data : "");
    buf_release(&text);
}

/* tailor.json is ours: all of it, nested keys with dots. */
static void card_rows(struct table *table, const char *prefix, const json_t *card)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)card, key, value)
    {
        struct buf label = {0};
        buf_printf(&label, "%s%s%s", prefix, prefix[0] ? "." : "", key);
        if (json_is_object(value)) {
            card_rows(table, label.data, value);
        } else if (json_is_array(value)) {
            struct buf text = {0};
            buf_printf(&text, "%zu entries", json_array_size(value));
            table_row(table, label.data, text.data);
            buf_release(&text);
        } else {
            row(table, label.data, value);
        }
        buf_release(&label);
    }
}

static void weights_row(struct table *table, const char *dir)
{
    DIR *entries = opendir(dir);
    const struct dirent *entry;
    double bytes = 0;
    int files = 0;
    while (entries && (entry = readdir(entries))) {
        char path[4096 + 256];
        const char *end = strrchr(entry->d_name, '.');
        if (end && strcmp(end, ".safetensors") == 0 && strlen(dir) < 4096) {
            path_join(path, sizeof(path), dir, entry->d_name);
            int64_t size = file_size(path);
            bytes += size > 0 ? (double)size : 0;
            files++;
        }
    }
    if (entries) {
        closedir(entries);
    }
    char size[16];
    struct buf text = {0};
    format_bytes(bytes, size);
    buf_printf(&text, "%s in %d file%s", size, files, files == 1 ? "" : "s");
    table_row(table, "weights", text.data);
    buf_release(&text);
}

/* A file of the directory, or NULL with *status when it is there and cannot be read. */
static json_t *read_optional(const char *dir, const char *name, enum status *status,
                             struct error *error)
{
    struct buf path = {0};
    json_t *root = NULL;
    buf_printf(&path, "%s/%s", dir, name);
    if (file_exists(path.data)) {
        *status = json_read_file(path.data, CONFIG_BYTES_MAX, &root, error);
    }
    buf_release(&path);
    return root;
}

static enum status show_dir(const struct call *call, struct error *error)
{
    static const char *const names[] = {"config.json", "adapter_config.json", "tailor.json"};
    const char *dir = call->arguments[0];
    json_t *files[3] = {NULL, NULL, NULL};
    enum table_format format;
    enum status status = call_format(call, TABLE_FORMAT_TABLE, &format, error);
    for (int i = 0; i < 3 && status == STATUS_OK; i++) {
        files[i] = read_optional(dir, names[i], &status, error);
    }
    if (status == STATUS_OK && !files[0] && !files[1] && !files[2]) {
        status = error_set(error, STATUS_NOT_FOUND,
                           "%s holds no model: there is no config.json, adapter_config.json or "
                           "tailor.json in it",
                           dir);
    }
    if (status == STATUS_OK) {
        struct table *table = table_create("what", "value");
        for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
            int file = strcmp(shown[i].file, names[0]) == 0 ? 0 : 1;
            const json_t *value = follow(files[file], shown[i].path);
            if (value) {
                row(table, shown[i].label, value);
            }
        }
        weights_row(table, dir);
        card_rows(table, "", files[2]);
        table_print(table, format, stdout);
        table_free(table);
    }
    for (int i = 0; i < 3; i++) {
        json_decref(files[i]);
    }
    return status;
}

/* ---- a model of the service ---- */
static const struct remote model_remote = {
    .route = ROUTE_MODEL_SHOW, .fields = {"name@version"}, .own = true};
static const struct remote version_remote = {
    .route = ROUTE_MODEL_VERSION, .fields = {"name@version"}, .own = true};

static enum status show_name(struct arena *arena, const struct call *call, struct error *error)
{
    bool version = strchr(call->arguments[0], '@') != NULL;
    const struct remote *remote = version ? &version_remote : &model_remote;
    struct service service;
    ProtobufCMessage *request;
    TRY(remote_open(arena, call, &service, error));
    TRY(remote_request(call, &service, remote, &request, error));
    return remote_show(call, &service, remote, request, error);
}

static enum status run(const struct call *call, struct error *error)
{
    const char *text = call->arguments[0];
    if (strchr("./~", text[0])) {
        TRY(path_check("DIR", text, error));
    }
    return dir_exists(text) ? show_dir(call, error) : remote_within(show_name, call, error);
}

static const struct option_row show_rows[] = {REMOTE_ROWS};

const struct command cmd_model_show = {
    .noun = "model",
    .verb = "show",
    .summary = "Show what a model is: a directory of this machine, or a model of the service",
    .example = "tailor model show support@prod",
    .arguments = {{.placeholder = "DIR|NAME"}},
    OPTION_ROWS(show_rows),
    .options_size = sizeof(struct remote_options),
    .run = run};
