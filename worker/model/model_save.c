/* SPDX-License-Identifier: Apache-2.0
 *
 * model_save: from memory to a directory that model_open reads back to the bit.
 *
 * Weights are written as F32, because a model that is trained further must not lose what its
 * master weights know; export.h writes the narrow copies for others.
 */
#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/json.h"
#include "worker/model/adapter.h"
#include "worker/model/card.h"
#include "worker/model/model.h"
#include "worker/model/staging.h"
#include "worker/model/weights.h"

static enum status weights_save(const struct model *model, const char *dir, const char *name,
                                struct error *error)
{
    char path[MODEL_PATH_MAX];
    path_join(path, sizeof(path), dir, name);
    return weights_write(model->device, model_trained_table(model), model_trained_weights(model),
                         &(struct weights_write_options){.dtype = WEIGHT_DTYPE_F32}, path, error);
}

static enum status tokenizer_save(const char *tokenizer_dir, const char *dir, struct error *error)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json",
                                        "special_tokens_map.json", "chat_template.jinja"};
    for (size_t i = 0; tokenizer_dir != NULL && i < sizeof(names) / sizeof(*names); i++) {
        TRY(staging_copy(tokenizer_dir, dir, names[i], error));
    }
    return STATUS_OK;
}

/* The caller's card, with what only this function knows. */
static enum status card_save(const struct model *model, const struct staging *staging,
                             const char *parent_dir, const json_t *card, struct error *error)
{
    char parent[MODEL_PATH_MAX];
    bool adapter = model->adapter != NULL;
    if (adapter) {
        TRY(card_parent_name(staging->final, parent_dir, parent, error));
    }
    json_t *whole = json_pack("{s:i, s:s}", "format_version", CARD_FORMAT_VERSION, "kind",
                              adapter              ? "adapter"
                              : model->heads.score ? "full"
                                                   : "base");
    if (model->has_format) {
        json_object_set_new(whole, "text", card_text_json(&model->format));
    }
    if (adapter) { /* a full model's parent is history: the caller's card tells it */
        json_object_set_new(
            whole, "parent",
            json_pack("{s:s, s:s}", "path", parent, "digest", model->parent_digest));
    }
    if (card != NULL) {
        json_object_update_missing(whole, (json_t *)card);
    }
    return staging_json(staging->temporary, CARD_FILE, whole, error);
}

static enum status adapter_save(const struct model *model, const struct staging *staging,
                                const char *parent_dir, struct error *error)
{
    /* PEFT takes the path relative to the current directory, so it is written absolute; unless it
     * was given relative: then the two are to be moved together, from worker to store to worker. */
    char parent[MODEL_PATH_MAX];
    const char *dir = staging->temporary;
    TRY(parent_dir[0] == '/' ? card_parent_absolute(parent_dir, parent, error)
                             : card_parent_name(staging->final, parent_dir, parent, error));
    TRY(staging_json(dir, ADAPTER_CONFIG_FILE, adapter_config_json(&model->lora, parent), error));
    return weights_save(model, dir, ADAPTER_STEM ".safetensors", error);
}

static enum status full_save(const struct model *model, const char *dir, struct error *error)
{
    const char *dtype = weight_dtype_torch_name(WEIGHT_DTYPE_F32);
    json_t *config = model_config_json(&model->config, model->heads.score, dtype);
    TRY(staging_json(dir, "config.json", config, error));
    return weights_save(model, dir, "model.safetensors", error);
}

enum status model_save(const struct model *model, const char *dir, const char *tokenizer_dir,
                       const char *parent_dir, const json_t *card, struct error *error)
{
    CHECK(model->adapter == NULL || parent_dir != NULL);
    struct staging staging;
    TRY(staging_begin(&staging, dir, error));
    enum status status = model->adapter != NULL ? adapter_save(model, &staging, parent_dir, error)
                                                : full_save(model, staging.temporary, error);
    if (status == STATUS_OK) {
        status = tokenizer_save(tokenizer_dir, staging.temporary, error);
    }
    if (status == STATUS_OK) {
        status = card_save(model, &staging, parent_dir, card, error);
    }
    return staging_end(&staging, status, error);
}
