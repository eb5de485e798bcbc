/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/model/tokenizer_dir.h"

#include <stdio.h>
#include <string.h>

#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "worker/model/adapter.h"

static bool dir_has(const char *dir, const char *name)
{
    char path[MODEL_PATH_MAX];
    path_join(path, sizeof(path), dir, name);
    return file_exists(path);
}

static enum status parent_find(const char *dir, char out[MODEL_PATH_MAX], struct error *error)
{
    char path[MODEL_PATH_MAX];
    json_t *json, *card = NULL;
    const char *name = "";
    path_join(path, sizeof(path), dir, ADAPTER_CONFIG_FILE);
    TRY(json_read_file(path, CONFIG_BYTES_MAX, &json, error));
    enum status status = card_read(dir, &card, error);
    if (status == STATUS_OK) {
        const json_t *parent = json_object_get(card, "parent");
        const char *own = json_string_value(json_object_get(parent, "path"));
        status = json_get_string(json, "base_model_name_or_path", &name, error);
        if (status == STATUS_OK &&
            (own == NULL || card_parent_find(dir, own, out, NULL) != STATUS_OK)) {
            status = card_parent_find(dir, name, out, error);
        }
    }
    json_decref(card);
    json_decref(json);
    return status;
}

enum status model_tokenizer_dir(const char *dir, char out[MODEL_PATH_MAX], struct error *error)
{
    enum { SUFFIX_ROOM = 64 }; /* for the names of files inside */
    if (strlen(dir) + SUFFIX_ROOM >= MODEL_PATH_MAX) {
        return error_set(error, STATUS_USAGE, "%.60s...: the path is too long", dir);
    }
    snprintf(out, MODEL_PATH_MAX, "%s", dir);
    for (int depth = 0; !dir_has(out, "tokenizer.json") && dir_has(out, ADAPTER_CONFIG_FILE);
         depth++) {
        char parent[MODEL_PATH_MAX];
        if (depth >= ADAPTER_CHAIN_MAX) {
            return error_set(error, STATUS_LIMIT,
                             "%s: over %d adapters upon one another (a circle?)", dir,
                             ADAPTER_CHAIN_MAX);
        }
        TRY(parent_find(out, parent, error));
        snprintf(out, MODEL_PATH_MAX, "%s", parent);
    }
    return STATUS_OK;
}

enum status model_tokenizer_open(const char *dir, struct tokenizer **tokenizer_out,
                                 struct error *error)
{
    char path[MODEL_PATH_MAX];
    TRY(model_tokenizer_dir(dir, path, error));
    return tokenizer_open(path, tokenizer_out, error);
}
