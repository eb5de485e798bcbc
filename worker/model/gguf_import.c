/* SPDX-License-Identifier: Apache-2.0
 *
 * gguf_import: a GGUF file as a Hugging Face directory with bf16 weights.
 *
 * Invariant: what is written computes what the file meant, or nothing is written. So every tensor
 * must be expected, and whatever metadata changes the maths beyond a plain llama, qwen2 or qwen3
 * (rope scaling and factors, partial rotation, experts) is refused by name. bf16, because 4-bit
 * weights widened to fp32 would be a file four times as large that knows nothing more.
 */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/sha256.h"
#include "worker/data/tokenizer.h"
#include "worker/model/card.h"
#include "worker/model/gguf.h"
#include "worker/model/model.h"
#include "worker/model/safetensors.h"
#include "worker/model/staging.h"

static const struct architecture_row {
    const char *name;
    enum architecture architecture;
    bool interleaved; /* llama.cpp stores q and k rows in rotary pairs: (0, D/2), (1, D/2+1), … */
} architectures[] = {
    {"llama", ARCHITECTURE_LLAMA, true}, /* and Mistral, which llama.cpp calls so too */
    {"qwen2", ARCHITECTURE_QWEN2, false},
    {"qwen3", ARCHITECTURE_QWEN3, false},
};

/* llama.cpp's name of each tensor; those of layers stand behind "blk.N.". */
static const char *const tensor_names[TENSOR_MODEL_COUNT] = {
    [TENSOR_EMBED] = "token_embd.weight",   [TENSOR_ATTENTION_NORM] = "attn_norm.weight",
    [TENSOR_Q] = "attn_q.weight",           [TENSOR_K] = "attn_k.weight",
    [TENSOR_V] = "attn_v.weight",           [TENSOR_Q_BIAS] = "attn_q.bias",
    [TENSOR_K_BIAS] = "attn_k.bias",        [TENSOR_V_BIAS] = "attn_v.bias",
    [TENSOR_Q_NORM] = "attn_q_norm.weight", [TENSOR_K_NORM] = "attn_k_norm.weight",
    [TENSOR_O] = "attn_output.weight",      [TENSOR_FFN_NORM] = "ffn_norm.weight",
    [TENSOR_GATE] = "ffn_gate.weight",      [TENSOR_UP] = "ffn_up.weight",
    [TENSOR_DOWN] = "ffn_down.weight",      [TENSOR_FINAL_NORM] = "output_norm.weight",
    [TENSOR_LM_HEAD] = "output.weight",     [TENSOR_SCORE] = "score.weight",
};

struct importing {
    struct gguf file;
    const struct architecture_row *row;
    struct model_config config;
};

/* ---- configuration -------------------------------------------------------------------------- */

/* "llama.block_count" */
static const char *key_of(struct importing *importing, const char *suffix)
{
    return arena_printf(&importing->file.arena, "%s.%s", importing->row->name, suffix);
}

static enum status size_read(struct importing *importing, const char *suffix, int64_t max,
                             int32_t *out, struct error *error)
{
    const char *key = key_of(importing, suffix);
    int64_t value = *out;
    TRY(gguf_get_i64(&importing->file, key, 1, max, &value, error));
    if (value == 0) {
        return error_set(error, STATUS_FORMAT, "%s: %s is missing", importing->file.name, key);
    }
    *out = (int32_t)value;
    return STATUS_OK;
}

static enum status token_read(const struct importing *importing, const char *name, int32_t *out,
                              struct error *error)
{
    char key[64];
    int64_t id = -1;
    snprintf(key, sizeof(key), "tokenizer.ggml.%s_token_id", name);
    TRY(gguf_get_i64(&importing->file, key, -1, (int64_t)importing->config.V - 1, &id, error));
    *out = (int32_t)id;
    return STATUS_OK;
}

static enum status architecture_read(struct importing *importing, struct error *error)
{
    const char *name = "(missing)";
    TRY(gguf_get_string(&importing->file, "general.architecture", &name, error));
    for (size_t i = 0; i < sizeof(architectures) / sizeof(*architectures); i++) {
        if (strcmp(name, architectures[i].name) == 0) {
            importing->row = &architectures[i];
            importing->config.architecture = architectures[i].architecture;
            return STATUS_OK;
        }
    }
    return error_set(error, STATUS_UNSUPPORTED,
                     "%s: general.architecture is %.40s: the known ones are llama, qwen2 and qwen3",
                     importing->file.name, name);
}

static enum status sizes_read(struct importing *importing, struct error *error)
{
    struct model_config *c = &importing->config;
    const struct gguf_tensor *embedding = gguf_find(&importing->file, tensor_names[TENSOR_EMBED]);
    if (embedding == NULL || embedding->rank != 2 || embedding->shape[0] > MODEL_VOCAB_MAX) {
        return error_set(error, STATUS_FORMAT, "%s: %s is missing or not a matrix",
                         importing->file.name, tensor_names[TENSOR_EMBED]);
    }
    c->V = (int32_t)embedding->shape[0];
    TRY(size_read(importing, "block_count", MODEL_LAYERS_MAX, &c->L, error));
    TRY(size_read(importing, "embedding_length", MODEL_HIDDEN_MAX, &c->C, error));
    TRY(size_read(importing, "feed_forward_length", MODEL_FFN_MAX, &c->F, error));
    TRY(size_read(importing, "attention.head_count", MODEL_HEADS_MAX, &c->H, error));
    c->G = c->H;
    TRY(size_read(importing, "attention.head_count_kv", MODEL_HEADS_MAX, &c->G, error));
    TRY(size_read(importing, "context_length", INT32_MAX, &c->positions_max, error));
    c->D = c->C / c->H;
    int32_t value_length = 0;
    TRY(size_read(importing, "attention.key_length", MODEL_HEAD_DIM_MAX, &c->D, error));
    value_length = c->D;
    TRY(size_read(importing, "attention.value_length", MODEL_HEAD_DIM_MAX, &value_length, error));
    if (c->H % c->G != 0 || c->D % 2 != 0 || c->D > MODEL_HEAD_DIM_MAX || value_length != c->D) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s: %d query heads, %d key heads of size %d and values of size %d do not "
                         "fit together",
                         importing->file.name, c->H, c->G, c->D, value_length);
    }
    return STATUS_OK;
}

static enum status maths_read(struct importing *importing, struct error *error)
{
    struct model_config *c = &importing->config;
    struct gguf *file = &importing->file;
    double epsilon = 1e-5;
    c->rope_theta = 10000;
    TRY(gguf_get_f64(file, key_of(importing, "rope.freq_base"), &c->rope_theta, error));
    TRY(gguf_get_f64(file, key_of(importing, "attention.layer_norm_rms_epsilon"), &epsilon, error));
    c->norm_epsilon = (float)epsilon;
    if (!(c->rope_theta > 0) || !(c->norm_epsilon > 0) || !isfinite(c->norm_epsilon)) {
        return error_set(error, STATUS_FORMAT,
                         "%s: rope.freq_base and layer_norm_rms_epsilon must be positive",
                         file->name);
    }
    int64_t rotated = c->D;
    TRY(gguf_get_i64(file, key_of(importing, "rope.dimension_count"), 0, INT32_MAX, &rotated,
                     error));
    if (rotated != c->D) {
        return error_set(
            error, STATUS_UNSUPPORTED,
            "%s: rope.dimension_count is %lld of %d: rotating only a part of each head "
            "is not supported",
            file->name, (long long)rotated, c->D);
    }
    const char *scaling = "none";
    TRY(gguf_get_string(file, key_of(importing, "rope.scaling.type"), &scaling, error));
    int64_t experts = 0;
    TRY(gguf_get_i64(file, key_of(importing, "expert_count"), 0, INT32_MAX, &experts, error));
    int64_t window = 0;
    TRY(gguf_get_i64(file, key_of(importing, "attention.sliding_window"), 0, INT32_MAX, &window,
                     error));
    if (strcmp(scaling, "none") != 0 || experts != 0 ||
        (window != 0 && window < c->positions_max)) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s: rope scaling (%.20s), experts (%lld) or a sliding window (%lld) are "
                         "not supported here: start from the Hugging Face directory",
                         file->name, scaling, (long long)experts, (long long)window);
    }
    return STATUS_OK;
}

static enum status config_read(struct importing *importing, struct error *error)
{
    struct model_config *c = &importing->config;
    TRY(architecture_read(importing, error));
    TRY(sizes_read(importing, error));
    TRY(maths_read(importing, error));
    c->tied = gguf_find(&importing->file, tensor_names[TENSOR_LM_HEAD]) == NULL;
    c->qkv_bias = c->architecture == ARCHITECTURE_QWEN2;
    c->qk_norm = c->architecture == ARCHITECTURE_QWEN3;
    TRY(token_read(importing, "bos", &c->bos, error));
    TRY(token_read(importing, "eos", &c->eos, error));
    return token_read(importing, "padding", &c->pad, error);
}

/* ---- weights -------------------------------------------------------------------------------- */

struct import_tensor {
    const struct gguf_tensor *from;
    size_t columns;
    size_t head_rows; /* > 0: rows of a head are interleaved and must be parted again */
};

/* Row `row` of the file Hugging Face wants is this row of llama.cpp's. */
static size_t row_of(const struct import_tensor *tensor, size_t row)
{
    if (tensor->head_rows == 0) {
        return row;
    }
    size_t head = row / tensor->head_rows, within = row % tensor->head_rows;
    size_t half = tensor->head_rows / 2;
    return head * tensor->head_rows + within % half * 2 + within / half;
}

static void import_source(void *context, const struct safetensors_entry *entry, size_t first,
                          size_t count, float *out)
{
    (void)context;
    const struct import_tensor *tensor = entry->source;
    while (count > 0) {
        size_t row = first / tensor->columns, column = first % tensor->columns;
        size_t taken = tensor->columns - column < count ? tensor->columns - column : count;
        gguf_read(tensor->from, row_of(tensor, row) * tensor->columns + column, taken, out);
        out += taken;
        first += taken;
        count -= taken;
    }
}

static enum status tensor_pair(struct importing *importing, const struct tensor_place *place,
                               struct safetensors_entry *entry, struct import_tensor *tensor,
                               struct error *error)
{
    struct gguf *file = &importing->file;
    const char *name = tensor_names[place->kind];
    if (place->layer >= 0) {
        name = arena_printf(&file->arena, "blk.%d.%s", place->layer, name);
    }
    tensor->from = gguf_find(file, name);
    if (tensor->from == NULL) {
        return error_set(error, STATUS_FORMAT, "%s: tensor %s is missing", file->name, name);
    }
    entry->rank = place->columns == 0 ? 1 : 2;
    entry->shape[0] = place->rows;
    entry->shape[1] = place->columns;
    if (tensor->from->rank != entry->rank || tensor->from->shape[0] != entry->shape[0] ||
        (entry->rank == 2 && tensor->from->shape[1] != entry->shape[1])) {
        char got[128], wanted[64];
        safetensors_shape_text(tensor->from->shape, tensor->from->rank, got, sizeof(got));
        safetensors_shape_text(entry->shape, entry->rank, wanted, sizeof(wanted));
        return error_set(error, STATUS_FORMAT, "%s: tensor %s is %s, not %s", file->name, name, got,
                         wanted);
    }
    char hf_name[128];
    params_name(place, hf_name);
    entry->name = arena_strdup(&file->arena, hf_name);
    entry->source = tensor;
    tensor->columns = place->columns == 0 ? (size_t)place->rows : (size_t)place->columns;
    bool rotary = place->kind == TENSOR_Q || place->kind == TENSOR_K;
    tensor->head_rows = rotary && importing->row->interleaved ? (size_t)importing->config.D : 0;
    return STATUS_OK;
}

static enum status left_over_check(const struct importing *importing,
                                   const struct import_tensor *tensors, int32_t count,
                                   struct error *error)
{
    const struct gguf *file = &importing->file;
    if (file->tensor_count == (size_t)count) {
        return STATUS_OK; /* names are unique on both sides */
    }
    for (size_t i = 0; i < file->tensor_count; i++) {
        bool used = false;
        for (int32_t j = 0; j < count && !used; j++) {
            used = tensors[j].from == &file->tensors[i];
        }
        if (!used) {
            return error_set(error, STATUS_UNSUPPORTED,
                             "%s: tensor %s is not known for %s: start from the Hugging Face "
                             "directory",
                             file->name, file->tensors[i].name, importing->row->name);
        }
    }
    return STATUS_OK;
}

static enum status weights_import(struct importing *importing, const char *dir, struct error *error)
{
    struct params_table table;
    params_table_init(&table, &importing->config, &(struct params_heads){.lm_head = true});
    size_t count = (size_t)table.count;
    struct safetensors_entry *entries = mem_alloc(size_mul(count, sizeof(*entries)));
    struct import_tensor *tensors = mem_alloc(size_mul(count, sizeof(*tensors)));
    enum status status = STATUS_OK;
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        status = tensor_pair(importing, &table.places[i], &entries[i], &tensors[i], error);
    }
    if (status == STATUS_OK) {
        status = left_over_check(importing, tensors, table.count, error);
    }
    if (status == STATUS_OK) {
        char path[MODEL_PATH_MAX];
        path_join(path, sizeof(path), dir, "model.safetensors");
        status =
            safetensors_write(path, entries, count, WEIGHT_DTYPE_BF16, import_source, NULL, error);
    }
    mem_free(entries);
    mem_free(tensors);
    params_table_release(&table);
    return status;
}

/* ---- the directory -------------------------------------------------------------------------- */

static enum status card_write(const struct importing *importing, const char *dir,
                              struct error *error)
{
    char digest[SHA256_HEX_SIZE];
    const char *path = importing->file.name;
    TRY(sha256_file_hex(path, digest, error));
    json_t *card = json_pack("{s:i, s:s, s:{s:s%, s:s}}", "format_version", CARD_FORMAT_VERSION,
                             "kind", "base", "source", "file", path_base(path),
                             strlen(path_base(path)), "sha256", digest);
    if (card == NULL) {
        return error_set(error, STATUS_USAGE, "%s: the file's name is not UTF-8", path);
    }
    return staging_json(dir, CARD_FILE, card, error);
}

static enum status directory_write(struct importing *importing, const char *dir,
                                   struct error *error)
{
    const struct model_config *config = &importing->config;
    TRY(weights_import(importing, dir, error));
    TRY(gguf_tokenizer_write(&importing->file, dir, config->V, config->positions_max, error));
    struct tokenizer *tokenizer; /* opened once, so that a broken one is noticed here */
    TRY(tokenizer_open(dir, &tokenizer, error));
    tokenizer_free(tokenizer);
    TRY(staging_json(dir, "config.json",
                     model_config_json(config, false, weight_dtype_torch_name(WEIGHT_DTYPE_BF16)),
                     error));
    return card_write(importing, dir, error);
}

enum status gguf_import(const char *path, const char *dir, struct error *error)
{
    struct importing importing = {0};
    struct staging staging;
    TRY(gguf_open(path, &importing.file, error));
    enum status status = config_read(&importing, error);
    if (status == STATUS_OK) {
        status = staging_begin(&staging, dir, error);
    }
    if (status == STATUS_OK) {
        status = directory_write(&importing, staging.temporary, error);
        status = staging_end(&staging, status, error);
    }
    gguf_close(&importing.file);
    return status;
}
