/* SPDX-License-Identifier: Apache-2.0
 *
 * export: see export.h.
 *
 * Everything is written into a staging directory and opened from there like anybody's model, with
 * the same code that reads what people bring; only then does it get its name.
 */
#include "worker/model/export.h"

#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "worker/model/adapter.h"
#include "worker/model/export_parts.h"
#include "worker/model/staging.h"
#include "worker/model/tokenizer_dir.h"
#include "worker/model/weights.h"

/* The words of the format for what it cannot say. */
static enum status format_check(const struct exporting *exporting, const char *dir,
                                struct error *error)
{
    const struct model *model = exporting->model;
    if (!model->has_format) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s: has no " CARD_FILE " that says how texts become tokens: train it "
                         "first, or use it as it is",
                         dir);
    }
    if (model->format.pooling == POOLING_MEAN || model->format.pooling == POOLING_MAX) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s: pooling %s cannot be said in Hugging Face's classifier format, which "
                         "reads the last token: train with last_token or before_eos to export",
                         dir, pooling_name(model->format.pooling));
    }
    return STATUS_OK;
}

static enum status options_check(const char *dir, const struct export_options *options,
                                 struct error *error)
{
    char path[MODEL_PATH_MAX];
    path_join(path, sizeof(path), dir, ADAPTER_CONFIG_FILE);
    bool adapter = file_exists(path);
    if (options->format == EXPORT_HF && adapter && !options->merge) {
        return error_set(
            error, STATUS_USAGE,
            "%s is an adapter: add --merge to fold it into its parent, or use --format "
            "peft",
            dir);
    }
    if (options->format == EXPORT_PEFT && (!adapter || options->merge)) {
        return error_set(error, STATUS_USAGE,
                         adapter ? "%s: --merge and --format peft exclude each other"
                                 : "%s is not an adapter: use --format hf",
                         dir);
    }
    return STATUS_OK;
}

/* A classifier's directory from the model's weights, without its adapter. */
static enum status classifier_write(struct exporting *exporting, const char *dir,
                                    struct error *error)
{
    const struct model *model = exporting->model;
    struct model_config config = model->config;
    if (exporting->pad.id >= config.V) {
        config.V = exporting->pad.id + 1;
    }
    config.bos = tokenizer_bos(exporting->tokenizer);
    config.eos = tokenizer_eos(exporting->tokenizer);
    config.pad = exporting->pad.id;
    const struct weights_write_options options = {
        .dtype = exporting->options->dtype, .vocabulary = config.V, .skip_lm_head = true};
    const char *dtype = weight_dtype_torch_name(options.dtype);
    char path[MODEL_PATH_MAX];
    TRY(dir_create(dir, error));
    TRY(staging_json(dir, "config.json", model_config_json(&config, true, dtype), error));
    path_join(path, sizeof(path), dir, "model.safetensors");
    TRY(weights_write(exporting->device, &model->table, model->weights, &options, path, error));
    json_t *card = json_pack("{s:i, s:s, s:o, s:n, s:s}", "format_version", CARD_FORMAT_VERSION,
                             "kind", "full", "text", card_text_json(&model->format), "parent",
                             "exported_from", model->digest);
    TRY(staging_json(dir, CARD_FILE, card, error));
    return export_tokenizer_write(exporting, dir, error);
}

/* `final` is where the parent will stand: PEFT wants an absolute path. */
static enum status adapter_write(struct exporting *exporting, const char *dir, const char *final,
                                 struct error *error)
{
    const struct model *model = exporting->model;
    char path[MODEL_PATH_MAX];
    TRY(dir_create(dir, error));
    TRY(staging_json(dir, ADAPTER_CONFIG_FILE, adapter_config_json(&model->lora, final), error));
    path_join(path, sizeof(path), dir, ADAPTER_STEM ".safetensors");
    TRY(weights_write(exporting->device, &model->adapter_table, model->adapter,
                      &(struct weights_write_options){.dtype = WEIGHT_DTYPE_F32}, path, error));
    json_t *card =
        json_pack("{s:i, s:s, s:o, s:{s:s, s:n}, s:s}", "format_version", CARD_FORMAT_VERSION,
                  "kind", "adapter", "text", card_text_json(&model->format), "parent", "path",
                  "../parent", "digest", "exported_from", model->digest);
    TRY(staging_json(dir, CARD_FILE, card, error));
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json"};
    char parent[MODEL_PATH_MAX];
    path_join(parent, sizeof(parent), dir, "../parent");
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        TRY(staging_copy(parent, dir, names[i], error));
    }
    return STATUS_OK;
}

/* The staged directory's absolute final path, for what people will read and type. */
static enum status final_path(const struct staging *staging, char out[MODEL_PATH_MAX],
                              struct error *error)
{
    char above[MODEL_PATH_MAX];
    char parent[MODEL_PATH_MAX];
    const char *base = path_base(staging->final);
    snprintf(above, sizeof(above), "%.*s", (int)(base - staging->final), staging->final);
    TRY(card_parent_absolute(above[0] ? above : ".", parent, error));
    path_join(out, MODEL_PATH_MAX, parent, base);
    return STATUS_OK;
}

static enum status export_write(struct exporting *exporting, const struct staging *staging,
                                struct error *error)
{
    char final[MODEL_PATH_MAX];
    char model_dir[MODEL_PATH_MAX];
    char adapter_dir[MODEL_PATH_MAX];
    bool peft = exporting->options->format == EXPORT_PEFT;
    if (exporting->options->named != NULL) {
        snprintf(final, sizeof(final), "%s", exporting->options->named);
    } else {
        TRY(final_path(staging, final, error));
    }
    path_join(model_dir, sizeof(model_dir), staging->temporary, peft ? "parent" : "");
    TRY(classifier_write(exporting, model_dir, error));
    if (peft) {
        char final_parent[MODEL_PATH_MAX];
        path_join(final_parent, sizeof(final_parent), final, "parent");
        path_join(adapter_dir, sizeof(adapter_dir), staging->temporary, "adapter");
        TRY(adapter_write(exporting, adapter_dir, final_parent, error));
    }
    const char *whole = peft ? adapter_dir : model_dir;
    TRY(export_probes_tokenize(exporting, whole, error));
    TRY(export_probes_compare(exporting, whole, error));
    return export_files_write(exporting, staging->temporary, final, error);
}

static enum status export_all(struct exporting *exporting, const char *dir, const char *out,
                              struct error *error)
{
    const struct model_open_options options = {
        .need_score = true, .merge_adapter = exporting->options->format == EXPORT_HF};
    struct staging staging;
    char tokenizer_dir[MODEL_PATH_MAX];
    TRY(options_check(dir, exporting->options, error));
    TRY(model_open(exporting->device, dir, &options, &exporting->model, error));
    TRY(format_check(exporting, dir, error));
    TRY(model_tokenizer_dir(dir, tokenizer_dir, error));
    TRY(tokenizer_open(tokenizer_dir, &exporting->tokenizer, error));
    TRY(export_pad_choose(exporting, tokenizer_dir, error));
    TRY(export_probes_make(exporting, error));
    TRY(staging_begin(&staging, out, error));
    return staging_end(&staging, export_write(exporting, &staging, error), error);
}

enum status model_export(struct device *device, const char *dir,
                         const struct export_options *options, export_score *score, void *context,
                         const char *out, struct error *error)
{
    struct exporting exporting = {
        .device = device, .options = options, .score = score, .context = context};
    enum status status = export_all(&exporting, dir, out, error);
    for (int i = 0; i < PROBES_COUNT; i++) {
        buf_release(&exporting.probes[i].text);
        ids_release(&exporting.probes[i].ids);
    }
    json_decref(exporting.tokenizer_json);
    if (exporting.tokenizer != NULL) {
        tokenizer_free(exporting.tokenizer);
    }
    model_free(exporting.model);
    return status;
}
