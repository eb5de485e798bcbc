/* SPDX-License-Identifier: Apache-2.0
 *
 * Whatever could give other rewards than the directory opened alone is refused here, by its name:
 * another parent, another tokenizer, no text format of its own.
 */
#include "worker/model/adapter_open.h"

#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "worker/model/adapter.h"
#include "worker/model/card.h"
#include "worker/model/weights.h"

static enum status config_read(const char *dir, struct lora_config *lora, struct error *error)
{
    char path[MODEL_PATH_MAX];
    const char *parent;
    json_t *json;
    path_join(path, sizeof(path), dir, ADAPTER_CONFIG_FILE);
    TRY(json_read_file(path, CONFIG_BYTES_MAX, &json, error));
    enum status status = adapter_config_parse(path, json, lora, &parent, error);
    json_decref(json);
    return status;
}

static enum status parent_check(const struct model *parent, const char *dir, const json_t *card,
                                struct error *error)
{
    const char *digest =
        json_string_value(json_object_get(json_object_get(card, "parent"), "digest"));
    if (digest == NULL || strcmp(digest, parent->digest) != 0) {
        return error_set(error, STATUS_CONFLICT,
                         "%s: was trained over another model (digest %.12s) than the one that is "
                         "served here (%.12s)",
                         dir, digest != NULL ? digest : "not said", parent->digest);
    }
    return STATUS_OK;
}

/* One tokenizer is kept for all. */
static enum status tokenizer_check(const char *tokenizer, const char *dir, struct error *error)
{
    char path[MODEL_PATH_MAX], own[SHA256_HEX_SIZE];
    path_join(path, sizeof(path), dir, "tokenizer.json");
    if (!file_exists(path)) {
        return STATUS_OK;
    }
    TRY(sha256_file_hex(path, own, error));
    return strcmp(own, tokenizer) == 0
               ? STATUS_OK
               : error_set(error, STATUS_CONFLICT, "%s: is not its parent's tokenizer", path);
}

static enum status card_take(const struct model *parent, const char *tokenizer, const char *dir,
                             struct adapter *adapter, struct error *error)
{
    bool has = false;
    TRY(card_read(dir, &adapter->card, error));
    if (adapter->card != NULL) {
        TRY(card_format(dir, adapter->card, &adapter->format, &has, error));
    }
    if (!has) {
        return error_set(error, STATUS_NOT_FOUND,
                         "%s: no " CARD_FILE " says how its texts become tokens", dir);
    }
    if (adapter->format.max_length > parent->rope_positions) {
        return error_set(error, STATUS_LIMIT,
                         "%s: its rows of up to %d tokens are longer than the "
                         "%d that its parent takes",
                         dir, adapter->format.max_length, parent->rope_positions);
    }
    TRY(parent_check(parent, dir, adapter->card, error));
    return tokenizer_check(tokenizer, dir, error);
}

/* A head of its own, or a copy of its parent's. */
static enum status head_fill(const struct model *parent, const char *dir, struct adapter *adapter,
                             struct error *error)
{
    const struct tensor_place *of_parent = params_place(&parent->table, TENSOR_SCORE, -1);
    const struct tensor_place *own = params_place(&adapter->table, TENSOR_SCORE, -1);
    if (of_parent == NULL) {
        return error_set(error, STATUS_NOT_FOUND,
                         "%s: has no score head, and neither has its parent", dir);
    }
    CHECK(of_parent->elements == own->elements);
    weights_copy(parent->device, adapter->weights + own->offset,
                 parent->weights + of_parent->offset, own->elements);
    return STATUS_OK;
}

static enum status fill(const struct model *parent, const struct safetensors *set, const char *dir,
                        struct adapter *adapter, struct error *error)
{
    struct device *device = parent->device;
    const struct safetensor **found;
    void *block;
    TRY(weights_match(&adapter->table, set, dir, &found, error));
    bool has_head = found[adapter->table.index[TENSOR_SCORE]] != NULL;
    enum status status =
        device->ops->block_alloc(device, adapter_bytes(adapter), "adapter weights", &block, error);
    if (status == STATUS_OK) {
        adapter->weights = block;
        status = weights_load(device, &adapter->table, found, adapter->weights, error);
    }
    mem_free(found);
    return status == STATUS_OK && !has_head ? head_fill(parent, dir, adapter, error) : status;
}

static enum status open_into(const struct model *parent, const char *tokenizer, const char *dir,
                             struct adapter *adapter, struct error *error)
{
    struct safetensors set;
    TRY(config_read(dir, &adapter->lora, error));
    params_table_init_adapter(&adapter->table, &parent->config, &adapter->lora);
    TRY(card_take(parent, tokenizer, dir, adapter, error));
    TRY(safetensors_open_dir(dir, ADAPTER_STEM, &set, error));
    enum status status = fill(parent, &set, dir, adapter, error);
    safetensors_close(&set);
    return status;
}

enum status adapter_open(const struct model *parent, const char *tokenizer, const char *dir,
                         struct adapter **adapter_out, struct error *error)
{
    struct adapter *adapter = mem_alloc(sizeof(*adapter));
    enum status status = open_into(parent, tokenizer, dir, adapter, error);
    if (status != STATUS_OK) {
        adapter_close(parent, adapter);
        return status;
    }
    *adapter_out = adapter;
    return STATUS_OK;
}

void adapter_close(const struct model *parent, struct adapter *adapter)
{
    if (adapter == NULL) {
        return;
    }
    if (adapter->weights != NULL) {
        parent->device->ops->block_free(parent->device, adapter->weights, adapter_bytes(adapter));
    }
    params_table_release(&adapter->table);
    json_decref(adapter->card);
    mem_free(adapter);
}

size_t adapter_bytes(const struct adapter *adapter)
{
    return size_mul(adapter->table.elements, sizeof(float));
}
