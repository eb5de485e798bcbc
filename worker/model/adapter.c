/* SPDX-License-Identifier: Apache-2.0
 *
 * adapter: see adapter.h.
 *
 * PEFT grows a new variant every few months, each with a field of its own in adapter_config.json,
 * and each changing the maths. So here, unlike in config.json, every field that is not known must
 * be neutral: null, false, 0 or empty.
 *
 * Merging is a plain host routine: a row of W, plus its delta from a chain over the rank, in fp32.
 * Rejected: linear_backward_input, whose operands a bf16 device would round, so that the merged
 * weights would depend on the compute dtype.
 */
#include "worker/model/adapter.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/json.h"
#include "lib/limits.h"

/* Fields that are read below, or that say nothing about what a trained adapter computes. */
static const char *const known_fields[] = {
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "init_lora_weights",
    "lora_alpha",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "modules_to_save",
    "parent_library",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "rank_pattern",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "use_rslora",
};

/* What init_lora_weights may be: the ways that leave the base weights alone. */
static const char *const plain_inits[] = {"gaussian", "eva", "orthogonal"};

static bool is_listed(const char *name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, list[i]) == 0) {
            return true;
        }
    }
    return false;
}

#define IS_LISTED(name, list) is_listed((name), (list), sizeof(list) / sizeof(*(list)))

static bool is_neutral(const json_t *value)
{
    return value == NULL || json_is_null(value) || json_is_false(value) ||
           (json_is_number(value) && json_number_value(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0);
}

static enum status fields_check(const json_t *json, struct error *error)
{
    static const char *const must_be_neutral[] = {"rank_pattern", "alpha_pattern",
                                                  "exclude_modules"};
    for (void *at = json_object_iter((json_t *)json); at;
         at = json_object_iter_next((json_t *)json, at)) {
        const char *key = json_object_iter_key(at);
        bool free = IS_LISTED(key, known_fields) && !IS_LISTED(key, must_be_neutral);
        if (!free && !is_neutral(json_object_iter_value(at))) {
            return error_set(error, STATUS_UNSUPPORTED,
                             "\"%.80s\" is set, which is not supported: only plain LoRA is", key);
        }
    }
    const char *bias = "none";
    TRY(json_get_string(json, "bias", &bias, error));
    if (strcmp(bias, "none") != 0) {
        return error_set(error, STATUS_UNSUPPORTED, "\"bias\" is \"%.40s\": only none is supported",
                         bias);
    }
    const char *init = json_string_value(json_object_get(json, "init_lora_weights"));
    if (init != NULL && !IS_LISTED(init, plain_inits)) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "\"init_lora_weights\" is \"%.40s\", which changes the base weights: "
                         "convert the adapter to plain LoRA (save_pretrained with "
                         "path_initial_model_for_weight_conversion)",
                         init);
    }
    return STATUS_OK;
}

/* "q_proj" or "self_attn.q_proj"; 0 for anything else. */
static uint32_t target_bit(const char *name)
{
    static const char *const parents[] = {"self_attn.", "mlp."};
    for (size_t i = 0; i < sizeof(parents) / sizeof(*parents); i++) {
        if (strncmp(name, parents[i], strlen(parents[i])) == 0) {
            name += strlen(parents[i]);
            break;
        }
    }
    for (int kind = 0; kind < TENSOR_MODEL_COUNT; kind++) {
        const char *target = params_target_name((enum tensor_kind)kind);
        if (target != NULL && strcmp(name, target) == 0) {
            return 1u << kind;
        }
    }
    return 0;
}

static enum status targets_read(const json_t *json, uint32_t *targets, struct error *error)
{
    const json_t *value = json_object_get(json, "target_modules");
    if (json_is_string(value) && strcmp(json_string_value(value), "all-linear") == 0) {
        *targets = LORA_ALL_LINEAR;
        return STATUS_OK;
    }
    if (!json_is_array(value) || json_array_size(value) == 0) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "\"target_modules\" must be a list of names or \"all-linear\"");
    }
    *targets = 0;
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *name = json_string_value(json_array_get(value, i));
        uint32_t bit = name ? target_bit(name) : 0;
        if (bit == 0) {
            return error_set(error, STATUS_UNSUPPORTED,
                             "\"target_modules\" has \"%.80s\": known are q_proj, k_proj, v_proj, "
                             "o_proj, gate_proj, up_proj and down_proj",
                             name ? name : "(not a string)");
        }
        *targets |= bit;
    }
    return STATUS_OK;
}

/* PEFT itself lists score and classifier, whether they are there or not, and repeats them. */
static enum status modules_check(const json_t *json, struct error *error)
{
    const json_t *value = json_object_get(json, "modules_to_save");
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *name = json_string_value(json_array_get(value, i));
        if (name == NULL || (strcmp(name, "score") != 0 && strcmp(name, "classifier") != 0)) {
            return error_set(error, STATUS_UNSUPPORTED,
                             "\"modules_to_save\" has \"%.80s\": only score can be trained in full "
                             "beside an adapter",
                             name ? name : "(not a string)");
        }
    }
    return STATUS_OK;
}

static enum status parse(const json_t *json, struct lora_config *lora, const char **parent,
                         struct error *error)
{
    if (!json_is_object(json)) {
        return error_set(error, STATUS_FORMAT, "not a JSON object");
    }
    const char *type = "(missing)";
    TRY(json_get_string(json, "peft_type", &type, error));
    if (strcmp(type, "LORA") != 0) {
        return error_set(error, STATUS_UNSUPPORTED, "\"peft_type\" is %.40s: only LORA is known",
                         type);
    }
    TRY(fields_check(json, error));
    TRY(targets_read(json, &lora->targets, error));
    TRY(modules_check(json, error));
    int64_t r = 8;
    double alpha = 8;
    TRY(json_get_i64(json, "r", 1, LORA_RANK_MAX, &r, error));
    TRY(json_get_f64(json, "lora_alpha", &alpha, error));
    TRY(json_get_bool(json, "use_rslora", &lora->rslora, error));
    if (!isfinite(alpha) || !isfinite((float)alpha)) {
        return error_set(error, STATUS_FORMAT, "\"lora_alpha\" is not a finite number");
    }
    lora->r = (int32_t)r;
    lora->alpha = (float)alpha;
    *parent = "";
    return json_get_string(json, "base_model_name_or_path", parent, error);
}

enum status adapter_config_parse(const char *name, const json_t *json, struct lora_config *lora_out,
                                 const char **parent_out, struct error *error)
{
    struct lora_config lora = {0};
    const char *parent = "";
    if (parse(json, &lora, &parent, error) != STATUS_OK) {
        return error_prefix(error, "%s", name);
    }
    *lora_out = lora;
    *parent_out = parent;
    return STATUS_OK;
}

json_t *adapter_config_json(const struct lora_config *lora, const char *parent)
{
    json_t *targets = json_array();
    for (int kind = 0; kind < TENSOR_MODEL_COUNT; kind++) {
        if ((lora->targets >> kind & 1u) != 0) {
            json_array_append_new(targets, json_string(params_target_name((enum tensor_kind)kind)));
        }
    }
    bool whole = lora->alpha == floorf(lora->alpha) && fabsf(lora->alpha) < 1e6f;
    json_t *alpha = whole ? json_integer((json_int_t)lora->alpha) : json_real((double)lora->alpha);
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:n, s:i, s:o, s:f, s:o, s:[s], s:s, s:b, s:b, s:b, s:b, s:b, s:{}, s:{}}",
        "peft_type", "LORA", "task_type", "SEQ_CLS", "base_model_name_or_path", parent, "revision",
        "r", (int)lora->r, "lora_alpha", alpha, "lora_dropout", 0.0, "target_modules", targets,
        "modules_to_save", "score", "bias", "none", "inference_mode", 1, "fan_in_fan_out", 0,
        "use_rslora", (int)lora->rslora, "use_dora", 0, "init_lora_weights", 1, "rank_pattern",
        "alpha_pattern");
    CHECK(json != NULL);
    return json;
}

/* ---- merging -------------------------------------------------------------------------------- */

enum { MERGE_ROWS = 64 }; /* of one task */

struct merge {
    const float *A, *B; /* (r, K), (N, r) */
    float *W;           /* (rows, K): the rows that B begins with */
    int32_t rows, K, r;
    float scale;
};

static void merge_rows(void *argument, size_t index, int thread)
{
    (void)thread;
    const struct merge *merge = argument;
    size_t K = (size_t)merge->K;
    float *delta = mem_alloc(K * sizeof(*delta));
    int32_t begin = (int32_t)index * MERGE_ROWS;
    int32_t end = merge->rows - begin < MERGE_ROWS ? merge->rows : begin + MERGE_ROWS;
    for (int32_t n = begin; n < end; n++) {
        memset(delta, 0, K * sizeof(*delta));
        for (int32_t j = 0; j < merge->r; j++) {
            const float b = merge->B[(size_t)n * (size_t)merge->r + (size_t)j];
            const float *a = merge->A + (size_t)j * K;
            for (size_t k = 0; k < K; k++) {
                delta[k] += b * a[k];
            }
        }
        float *w = merge->W + (size_t)n * K;
        for (size_t k = 0; k < K; k++) {
            w[k] += merge->scale * delta[k];
        }
    }
    mem_free(delta);
}

static float *fetch(struct device *device, const float *from, size_t elements)
{
    float *host = mem_alloc(size_mul(elements, sizeof(*host)));
    device->ops->copy_out(device, host, from, elements * sizeof(*host));
    return host;
}

void adapter_merge(struct device *device, const struct params_table *table, float *weights,
                   const struct params_table *adapter_table, const float *adapter,
                   const struct lora_config *lora)
{
    for (int32_t i = 0; i < adapter_table->count; i++) {
        const struct tensor_place *a = &adapter_table->places[i];
        if (a->kind < TENSOR_LORA_A || a->kind >= TENSOR_LORA_B) {
            continue;
        }
        int kind = (int)a->kind - TENSOR_LORA_A;
        const struct tensor_place *b =
            params_place(adapter_table, (enum tensor_kind)(TENSOR_LORA_B + kind), a->layer);
        const struct tensor_place *w = params_place(table, (enum tensor_kind)kind, a->layer);
        CHECK(b != NULL && w != NULL && w->rows == b->rows && w->columns == a->columns);
        float *host_a = fetch(device, adapter + a->offset, a->elements);
        float *host_b = fetch(device, adapter + b->offset, b->elements);
        float *host_w = fetch(device, weights + w->offset, w->elements);
        struct merge merge = {.A = host_a,
                              .B = host_b,
                              .W = host_w,
                              .rows = w->rows,
                              .K = w->columns,
                              .r = lora->r,
                              .scale = lora_scale(lora)};
        pool_run(device->pool, ((size_t)w->rows + MERGE_ROWS - 1) / MERGE_ROWS, merge_rows, &merge);
        device->ops->copy_in(device, weights + w->offset, host_w, w->elements * sizeof(float));
        mem_free(host_a);
        mem_free(host_b);
        mem_free(host_w);
    }
}
