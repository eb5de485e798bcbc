/* SPDX-License-Identifier: Apache-2.0
 *
 * model_open: from a directory to a model in memory. See model.h.
 *
 * An adapter's directory is opened by opening its parent first, whatever that is, so a chain of
 * adapters is a recursion that ends at a directory with config.json; each adapter below the first
 * is merged on the way back. One struct opening goes along; its model is freed as a whole when
 * anything fails. Rejected: opening tensors lazily. A model is read completely and checked before
 * the first number is computed from it.
 */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/rng.h"
#include "worker/data/tokenizer.h"
#include "worker/model/adapter.h"
#include "worker/model/card.h"
#include "worker/model/model.h"
#include "worker/model/weights.h"

struct opening {
    struct device *device;
    const struct model_open_options *options;
    struct model *model;
    bool score_wanted; /* the table gets a place for it… */
    bool score_known;  /* …and a directory of the chain has filled it */
    int depth;         /* 0: the directory that was asked for */
};

static enum status dir_open(struct opening *opening, const char *dir, struct error *error);

static bool dir_has(const char *dir, const char *name)
{
    char path[MODEL_PATH_MAX];
    path_join(path, sizeof(path), dir, name);
    return file_exists(path);
}

static enum status dir_json(const char *dir, const char *name, char path_out[MODEL_PATH_MAX],
                            json_t **json_out, struct error *error)
{
    path_join(path_out, MODEL_PATH_MAX, dir, name);
    return json_read_file(path_out, CONFIG_BYTES_MAX, json_out, error);
}

static enum status block_alloc(struct device *device, size_t elements, const char *purpose,
                               float **block_out, struct error *error)
{
    void *block;
    TRY(device->ops->block_alloc(device, size_mul(elements, sizeof(float)), purpose, &block,
                                 error));
    *block_out = block;
    return STATUS_OK;
}

static void block_free(struct device *device, float *block, size_t elements)
{
    if (block != NULL) {
        device->ops->block_free(device, block, elements * sizeof(float));
    }
}

/* Safetensors, or the sentence that says how to get them. */
static enum status tensors_open(const char *dir, const char *stem, const char *pickle,
                                struct safetensors *set_out, struct error *error)
{
    enum status status = safetensors_open_dir(dir, stem, set_out, error);
    char index[64];
    snprintf(index, sizeof(index), "%s.index.json", pickle);
    if (status == STATUS_NOT_FOUND && (dir_has(dir, pickle) || dir_has(dir, index))) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s: has only %s, a pickle, which can run code; load it once with "
                         "Transformers and call save_pretrained(\"%s\", safe_serialization=True)",
                         dir, pickle, dir);
    }
    return status;
}

/* ---- card and digest ------------------------------------------------------------------------ */

/* Takes the card over. A format replaces that of the parent, which was opened before. */
static enum status card_take(struct opening *opening, const char *dir, json_t *card,
                             const char *kind, struct error *error)
{
    struct model *model = opening->model;
    bool has_format = false;
    enum status status = STATUS_OK;
    if (card != NULL) {
        bool adapter = strcmp(json_string_value(json_object_get(card, "kind")), "adapter") == 0;
        if (adapter != (strcmp(kind, "adapter") == 0)) {
            status = error_set(error, STATUS_CONFLICT,
                               "%s: " CARD_FILE " and the files beside it disagree on whether this "
                               "is an adapter",
                               dir);
        } else {
            status = card_format(dir, card, &model->format, &has_format, error);
        }
    }
    if (status == STATUS_OK && has_format) {
        json_decref(model->format_card);
        model->format_card = json_incref(card);
        model->has_format = true;
    }
    if (status == STATUS_OK && opening->depth == 0) {
        model->card = json_incref(card);
    }
    json_decref(card);
    return status;
}

/* `what` begins the description that is hashed: the configuration, or the adapter's. */
static enum status digest_take(struct opening *opening, const char *dir, struct buf *what,
                               const struct safetensors *set, struct error *error)
{
    struct model *model = opening->model;
    weights_describe(opening->device->pool, set, what);
    if (dir_has(dir, "tokenizer.json")) {
        char path[MODEL_PATH_MAX];
        char hex[SHA256_HEX_SIZE];
        path_join(path, sizeof(path), dir, "tokenizer.json");
        TRY(sha256_file_hex(path, hex, error));
        buf_printf(what, "tokenizer %s\n", hex);
    }
    if (model->has_format) {
        json_t *text = card_text_json(&model->format);
        buf_append_string(what, "text ");
        json_append(what, text);
        buf_append_char(what, '\n');
        json_decref(text);
    }
    sha256_hex(what->data, what->length, model->digest);
    return STATUS_OK;
}

/* ---- a directory with config.json ----------------------------------------------------------- */

static enum status heads_choose(struct opening *opening, const char *dir, bool classifier,
                                const struct safetensors *set, struct error *error)
{
    struct model *model = opening->model;
    bool stored = safetensors_find(set, "lm_head.weight") != NULL;
    if (classifier && safetensors_find(set, "score.weight") == NULL) {
        return error_set(error, STATUS_FORMAT,
                         "%s: config.json says it is a classifier, but score.weight is missing",
                         dir);
    }
    model->heads.score = opening->score_wanted || classifier;
    bool wanted = opening->options->need_lm_head || opening->options->keep_lm_head;
    model->heads.lm_head = wanted && stored && !model->config.tied;
    if (opening->options->need_lm_head && !model->config.tied && !stored) {
        return error_set(error, STATUS_NOT_FOUND,
                         "%s: lm_head.weight is missing, and imitation needs it: start from the "
                         "ForCausalLM directory, or set lm_loss_coeff to 0",
                         dir);
    }
    return STATUS_OK;
}

static enum status model_fill(struct opening *opening, const char *dir, bool classifier,
                              const struct safetensors *set, struct error *error)
{
    struct model *model = opening->model;
    const struct safetensor **found;
    TRY(heads_choose(opening, dir, classifier, set, error));
    params_table_init(&model->table, &model->config, &model->heads);
    TRY(weights_match(&model->table, set, dir, &found, error));
    opening->score_known = classifier;
    enum status status = block_alloc(opening->device, model->table.elements, "model weights",
                                     &model->weights, error);
    if (status == STATUS_OK) {
        status = weights_load(opening->device, &model->table, found, model->weights, error);
    }
    mem_free(found);
    return status;
}

static enum status full_open(struct opening *opening, const char *dir, struct error *error)
{
    struct model *model = opening->model;
    char path[MODEL_PATH_MAX];
    json_t *json;
    bool classifier;
    TRY(dir_json(dir, "config.json", path, &json, error));
    enum status status = model_config_parse(path, json, &model->config, &classifier, error);
    json_decref(json);
    json_t *card;
    if (status == STATUS_OK) {
        status = card_read(dir, &card, error);
    }
    if (status == STATUS_OK) {
        status = card_take(opening, dir, card, "full", error);
    }
    struct safetensors set;
    if (status == STATUS_OK) {
        status = tensors_open(dir, "model", "pytorch_model.bin", &set, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    status = model_fill(opening, dir, classifier, &set, error);
    if (status == STATUS_OK) {
        struct buf what = {0};
        json_t *canonical = model_config_json(&model->config, classifier, "float32");
        buf_append_string(&what, "tailor model 1\n");
        json_append(&what, canonical);
        buf_append_char(&what, '\n');
        json_decref(canonical);
        status = digest_take(opening, dir, &what, &set, error);
        buf_release(&what);
    }
    safetensors_close(&set);
    return status;
}

/* ---- an adapter's directory ----------------------------------------------------------------- */

/* The card's parent is tried first: it is relative, so it survives a move of both directories. */
static enum status parent_open(struct opening *opening, const char *dir, const json_t *card,
                               const char *name, struct error *error)
{
    const json_t *parent = json_object_get(card, "parent");
    const char *path = json_string_value(json_object_get(parent, "path"));
    const char *digest = json_string_value(json_object_get(parent, "digest"));
    char found[MODEL_PATH_MAX];
    if (path == NULL || card_parent_find(dir, path, found, NULL) != STATUS_OK) {
        TRY(card_parent_find(dir, name, found, error));
    }
    if (opening->depth + 1 >= ADAPTER_CHAIN_MAX) {
        return error_set(error, STATUS_LIMIT, "%s: over %d adapters upon one another (a circle?)",
                         dir, ADAPTER_CHAIN_MAX);
    }
    opening->depth++;
    enum status status = dir_open(opening, found, error);
    opening->depth--;
    TRY(status);
    struct model *model = opening->model;
    memcpy(model->parent_digest, model->digest, sizeof(model->parent_digest));
    if (digest != NULL && strcmp(digest, model->digest) != 0) {
        return error_set(error, STATUS_CONFLICT,
                         "%s: its parent %s is not the model it was trained over (digest %.12s, "
                         "expected %.12s)",
                         dir, found, model->digest, digest);
    }
    return STATUS_OK;
}

static void score_copy(struct device *device, const struct model *model, bool into_adapter)
{
    const struct tensor_place *of_model = params_place(&model->table, TENSOR_SCORE, -1);
    const struct tensor_place *of_adapter = params_place(&model->adapter_table, TENSOR_SCORE, -1);
    CHECK(of_model != NULL && of_adapter != NULL && of_model->elements == of_adapter->elements);
    float *in_model = model->weights + of_model->offset;
    float *in_adapter = model->adapter + of_adapter->offset;
    weights_copy(device, into_adapter ? in_adapter : in_model, into_adapter ? in_model : in_adapter,
                 of_model->elements);
}

static void adapter_release(struct model *model)
{
    block_free(model->device, model->adapter, model->adapter_table.elements);
    model->adapter = NULL;
    params_table_release(&model->adapter_table);
    model->lora = (struct lora_config){0};
}

/* Loads the adapter over the weights that its parent has filled, then merges it or leaves it. */
static enum status adapter_fill(struct opening *opening, const char *dir,
                                const struct lora_config *lora, const struct safetensors *set,
                                struct error *error)
{
    struct model *model = opening->model;
    struct device *device = opening->device;
    const struct safetensor **found;
    model->lora = *lora;
    params_table_init_adapter(&model->adapter_table, &model->config, lora);
    TRY(weights_match(&model->adapter_table, set, dir, &found, error));
    bool has_score = found[model->adapter_table.index[TENSOR_SCORE]] != NULL;
    enum status status = block_alloc(device, model->adapter_table.elements, "adapter weights",
                                     &model->adapter, error);
    if (status == STATUS_OK) {
        status = weights_load(device, &model->adapter_table, found, model->adapter, error);
    }
    mem_free(found);
    TRY(status);
    bool merge = opening->depth > 0 || opening->options->merge_adapter;
    if (!has_score && opening->score_known) {
        score_copy(device, model, true);
    } else if (has_score && (merge || !opening->score_known)) {
        score_copy(device, model, false);
        opening->score_known = true;
    }
    if (merge) {
        adapter_merge(device, &model->table, model->weights, &model->adapter_table, model->adapter,
                      lora);
        adapter_release(model);
    }
    return STATUS_OK;
}

static bool set_has_score(const struct safetensors *set)
{
    return safetensors_find(set, "base_model.model.score.weight") != NULL ||
           safetensors_find(set, "score.weight") != NULL;
}

static enum status adapter_open_with(struct opening *opening, const char *dir,
                                     const struct lora_config *lora, const char *parent,
                                     json_t *card, struct error *error)
{
    struct safetensors set;
    struct model *model = opening->model;
    TRY(tensors_open(dir, ADAPTER_STEM, ADAPTER_STEM ".bin", &set, error));
    opening->score_wanted = opening->score_wanted || set_has_score(&set);
    enum status status = parent_open(opening, dir, card, parent, error);
    if (status == STATUS_OK) {
        status = adapter_fill(opening, dir, lora, &set, error);
    }
    if (status == STATUS_OK) {
        status = card_take(opening, dir, json_incref(card), "adapter", error);
    }
    if (status == STATUS_OK) {
        struct buf what = {0};
        buf_printf(&what, "tailor adapter 1\nparent %s\nlora %d %.9g %d %x\n", model->parent_digest,
                   lora->r, (double)lora->alpha, lora->rslora, lora->targets);
        status = digest_take(opening, dir, &what, &set, error);
        buf_release(&what);
    }
    safetensors_close(&set);
    return status;
}

static enum status adapter_open(struct opening *opening, const char *dir, struct error *error)
{
    char path[MODEL_PATH_MAX];
    json_t *json;
    json_t *card = NULL;
    struct lora_config lora;
    const char *parent;
    TRY(dir_json(dir, ADAPTER_CONFIG_FILE, path, &json, error));
    enum status status = adapter_config_parse(path, json, &lora, &parent, error);
    if (status == STATUS_OK) {
        status = card_read(dir, &card, error);
    }
    if (status == STATUS_OK) {
        status = adapter_open_with(opening, dir, &lora, parent, card, error);
    }
    json_decref(card);
    json_decref(json);
    return status;
}

/* ---- any directory -------------------------------------------------------------------------- */

static enum status dir_open(struct opening *opening, const char *dir, struct error *error)
{
    enum { SUFFIX_ROOM = 64 }; /* for the names of files inside */
    if (strlen(dir) + SUFFIX_ROOM >= MODEL_PATH_MAX) {
        return error_set(error, STATUS_USAGE, "%.60s...: the path is too long", dir);
    }
    if (!dir_exists(dir)) {
        return error_set(error, STATUS_NOT_FOUND, "%s: no such directory%s", dir,
                         file_exists(dir) ? ", but a file; import a .gguf file first" : "");
    }
    if (dir_has(dir, ADAPTER_CONFIG_FILE)) {
        return adapter_open(opening, dir, error);
    }
    if (dir_has(dir, "config.json")) {
        return full_open(opening, dir, error);
    }
    return error_set(error, STATUS_NOT_FOUND,
                     "%s: neither config.json nor " ADAPTER_CONFIG_FILE
                     " is here: not a model's directory in Hugging Face's form",
                     dir);
}

static enum status score_ensure(struct opening *opening, const char *dir, struct error *error)
{
    struct model *model = opening->model;
    if (opening->score_known || !opening->options->need_score) {
        return STATUS_OK;
    }
    if (!opening->options->init_score) {
        return error_set(error, STATUS_NOT_FOUND,
                         "%s: has no score head (score.weight), so it gives no rewards: train it "
                         "first",
                         dir);
    }
    const struct tensor_place *place = params_place(&model->table, TENSOR_SCORE, -1);
    float *score = mem_alloc(place->elements * sizeof(*score));
    double deviation = 1 / sqrt((double)model->config.C + 1);
    for (size_t i = 0; i < place->elements; i++) {
        score[i] =
            (float)(deviation * rng_normal(opening->options->seed, rng_stream("score.weight"), i));
    }
    opening->device->ops->copy_in(opening->device, model->weights + place->offset, score,
                                  place->elements * sizeof(*score));
    mem_free(score);
    if (model->adapter != NULL) {
        score_copy(opening->device, model, true);
    }
    return STATUS_OK;
}

static enum status rope_fill(struct opening *opening, const char *dir, struct error *error)
{
    struct model *model = opening->model;
    int32_t positions = opening->options->positions;
    CHECK(positions >= 0);
    if (positions == 0) {
        int32_t max = model->config.positions_max;
        positions = max < ROW_TOKENS_MAX ? max : ROW_TOKENS_MAX;
    }
    if (positions > model->config.positions_max) {
        return error_set(error, STATUS_LIMIT,
                         "%s: rows of up to %d tokens are wanted, but the model takes %d "
                         "(max_position_embeddings, or sliding_window): lower max_length",
                         dir, positions, model->config.positions_max);
    }
    size_t elements = size_mul((size_t)positions, (size_t)model->config.D);
    TRY(block_alloc(opening->device, elements, "rope table", &model->rope, error));
    model->rope_positions = positions;
    float *host = mem_alloc(elements * sizeof(*host));
    model_rope_table(&model->config, positions, host);
    opening->device->ops->copy_in(opening->device, model->rope, host, elements * sizeof(*host));
    mem_free(host);
    return STATUS_OK;
}

static enum status vocabulary_check(const struct model *model, const char *dir, struct error *error)
{
    struct tokenizer *tokenizer;
    if (!dir_has(dir, "tokenizer.json")) {
        return STATUS_OK;
    }
    TRY(tokenizer_open(dir, &tokenizer, error));
    int32_t size = tokenizer_size(tokenizer);
    tokenizer_free(tokenizer);
    if (size > model->config.V) {
        return error_set(error, STATUS_CONFLICT,
                         "%s: the tokenizer has %d tokens, but the embedding only %d rows "
                         "(vocab_size): this tokenizer belongs to another model",
                         dir, size, model->config.V);
    }
    return STATUS_OK;
}

static enum status model_complete(struct opening *opening, const char *dir, struct error *error)
{
    TRY(dir_open(opening, dir, error));
    TRY(vocabulary_check(opening->model, dir, error));
    TRY(score_ensure(opening, dir, error));
    return rope_fill(opening, dir, error);
}

enum status model_open(struct device *device, const char *dir,
                       const struct model_open_options *options, struct model **model_out,
                       struct error *error)
{
    struct opening opening = {
        .device = device,
        .options = options,
        .model = mem_alloc(sizeof(struct model)),
        .score_wanted = options->need_score,
    };
    opening.model->device = device;
    enum status status = model_complete(&opening, dir, error);
    if (status != STATUS_OK) {
        model_free(opening.model);
        return status;
    }
    snprintf(opening.model->directory, sizeof(opening.model->directory), "%s", dir);
    *model_out = opening.model;
    return STATUS_OK;
}

void model_free(struct model *model)
{
    if (model == NULL) {
        return;
    }
    if (model->weights != NULL) {
        model->device->ops->weights_forget(model->device, model->weights, model->table.elements);
    }
    block_free(model->device, model->weights, model->table.elements);
    block_free(model->device, model->rope, (size_t)model->rope_positions * (size_t)model->config.D);
    adapter_release(model);
    params_table_release(&model->table);
    json_decref(model->card);
    json_decref(model->format_card);
    mem_free(model);
}

/* ---- a fresh adapter ------------------------------------------------------------------------ */

static void lora_a_draw(struct device *device, const struct tensor_place *place, float *out,
                        uint64_t seed)
{
    char name[128];
    params_name(place, name);
    float *host = mem_alloc(place->elements * sizeof(*host));
    double bound = 1 / sqrt((double)place->columns);
    for (size_t i = 0; i < place->elements; i++) {
        host[i] = (float)(bound * (2 * rng_uniform(seed, rng_stream(name), i) - 1));
    }
    device->ops->copy_in(device, out, host, place->elements * sizeof(*host));
    mem_free(host);
}

enum status model_add_adapter(struct model *model, const struct lora_config *lora, uint64_t seed,
                              struct error *error)
{
    CHECK(model->adapter == NULL && lora->r > 0 && lora->r <= LORA_RANK_MAX);
    model->lora = *lora;
    params_table_init_adapter(&model->adapter_table, &model->config, lora);
    enum status status = block_alloc(model->device, model->adapter_table.elements,
                                     "adapter weights", &model->adapter, error);
    if (status != STATUS_OK) {
        adapter_release(model);
        return status;
    }
    for (int32_t i = 0; i < model->adapter_table.count; i++) {
        const struct tensor_place *place = &model->adapter_table.places[i];
        if (place->kind >= TENSOR_LORA_A && place->kind < TENSOR_LORA_B) {
            lora_a_draw(model->device, place, model->adapter + place->offset, seed);
        }
    }
    if (model->heads.score) {
        score_copy(model->device, model, true);
    }
    memcpy(model->parent_digest, model->digest, sizeof(model->parent_digest));
    return STATUS_OK;
}

const struct params_table *model_trained_table(const struct model *model)
{
    return model->adapter != NULL ? &model->adapter_table : &model->table;
}

float *model_trained_weights(const struct model *model)
{
    return model->adapter != NULL ? model->adapter : model->weights;
}
