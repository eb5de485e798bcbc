/* SPDX-License-Identifier: Apache-2.0
 *
 * config: config.json, in the key styles of Transformers 4 (rope_theta, rope_scaling, torch_dtype)
 * and 5 (rope_parameters, dtype).
 *
 * Invariant: a configuration that is accepted is computed exactly. So a field that changes the
 * maths must either be understood or have the value that changes nothing. Fields nobody has heard
 * of are the hard case: published files are full of harmless ones ("unsloth_version"), so refusing
 * them all would refuse most models, and ignoring them all would one day ignore a
 * "logits_multiplier". The rule: an unknown field whose name speaks of the maths (words below) and
 * whose value is not neutral is refused by name; other unknown fields are let pass.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "worker/model/model.h"

static const struct architecture_row {
    const char *model_type, *class_prefix;
} architectures[] = {
    [ARCHITECTURE_LLAMA] = {"llama", "Llama"},
    [ARCHITECTURE_MISTRAL] = {"mistral", "Mistral"},
    [ARCHITECTURE_QWEN2] = {"qwen2", "Qwen2"},
    [ARCHITECTURE_QWEN3] = {"qwen3", "Qwen3"},
};

enum { ARCHITECTURE_COUNT = sizeof(architectures) / sizeof(*architectures) };

#define CLASSIFIER_SUFFIX "ForSequenceClassification"
#define CAUSAL_SUFFIX     "ForCausalLM"

/* An unknown field with one of these in its name might change the maths. */
static const char *const maths_words[] = {
    "scal",  "multipl", "softcap", "bias",   "norm",  "rope",  "rotary", "window",
    "quant", "moe",     "expert",  "attn",   "clip",  "alibi", "layer",  "residual",
    "embed", "act_fn",  "gated",   "router", "mrope", "head",  "pooler", "adapter",
};

/* …and these are known to be harmless, or are read below. */
static const char *const known_fields[] = {
    "attention_bias",
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_attn_implementation_internal",
    "clip_qkv",
    "head_dim",
    "layer_types",
    "max_position_embeddings",
    "max_window_layers",
    "mlp_bias",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "pruned_heads",
    "quantization_config",
    "rms_norm_eps",
    "rope_interleaved",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "tie_word_embeddings",
    "use_sliding_window",
};

/* A value as short text, for error sentences. */
static void value_text(const json_t *value, char out[80])
{
    struct buf text = {0};
    json_append(&text, value);
    snprintf(out, 80, "%.70s%s", text.data, text.length > 70 ? "..." : "");
    buf_release(&text);
}

static enum status refuse(const json_t *object, const char *key, const char *why,
                          struct error *error)
{
    char text[80];
    value_text(json_object_get(object, key), text);
    return error_set(error, STATUS_UNSUPPORTED, "\"%s\" is %s: %s", key, text, why);
}

static bool is_neutral(const json_t *value)
{
    return json_is_null(value) || json_is_false(value) ||
           (json_is_number(value) && json_number_value(value) == 0) ||
           (json_is_string(value) && json_string_length(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0);
}

static bool speaks_of_maths(const char *key)
{
    for (size_t i = 0; i < sizeof(known_fields) / sizeof(*known_fields); i++) {
        if (strcmp(key, known_fields[i]) == 0) {
            return false;
        }
    }
    for (size_t i = 0; i < sizeof(maths_words) / sizeof(*maths_words); i++) {
        if (strstr(key, maths_words[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static enum status unknown_fields_check(const json_t *json, struct error *error)
{
    for (void *at = json_object_iter((json_t *)json); at;
         at = json_object_iter_next((json_t *)json, at)) {
        const char *key = json_object_iter_key(at);
        if (!is_neutral(json_object_iter_value(at)) && speaks_of_maths(key)) {
            return refuse(json, key,
                          "this field is not known and may change what the model computes; remove "
                          "it if it does not",
                          error);
        }
    }
    return STATUS_OK;
}

static enum status integer_read(const json_t *json, const char *key, int64_t max, int32_t *out,
                                struct error *error)
{
    int64_t value = 0;
    if (json_is_absent(json, key)) {
        return error_set(error, STATUS_FORMAT, "\"%s\" is missing", key);
    }
    TRY(json_get_i64(json, key, 1, max, &value, error));
    *out = (int32_t)value;
    return STATUS_OK;
}

/* A token id: an integer, null (-1), or a list, of which the first is taken. */
static enum status token_read(const json_t *json, const char *key, int32_t V, int32_t *out,
                              struct error *error)
{
    const json_t *value = json_object_get(json, key);
    json_t *first = NULL;
    int64_t id = -1;
    if (json_is_array(value) && json_array_size(value) > 0) {
        first = json_pack("{s:O}", key, json_array_get(value, 0));
        json = first;
    }
    enum status status = json_get_i64(json, key, -1, (int64_t)V - 1, &id, error);
    json_decref(first);
    *out = (int32_t)id;
    return status;
}

static enum status must_be_false(const json_t *json, const char *key, const char *why,
                                 struct error *error)
{
    const json_t *value = json_object_get(json, key);
    return value == NULL || is_neutral(value) ? STATUS_OK : refuse(json, key, why, error);
}

static enum status architecture_read(const json_t *json, struct model_config *config,
                                     bool *classifier, struct error *error)
{
    const char *type = NULL;
    TRY(json_get_string(json, "model_type", &type, error));
    int found = -1;
    for (int i = 0; i < ARCHITECTURE_COUNT && type != NULL; i++) {
        found = strcmp(type, architectures[i].model_type) == 0 ? i : found;
    }
    if (found < 0) {
        return error_set(
            error, STATUS_UNSUPPORTED,
            "\"model_type\" is %s%.60s%s: the known ones are llama, mistral, qwen2 and "
            "qwen3",
            type ? "\"" : "", type ? type : "missing", type ? "\"" : "");
    }
    config->architecture = (enum architecture)found;
    *classifier = false;
    const json_t *names = json_object_get(json, "architectures");
    if (names == NULL || is_neutral(names)) {
        return STATUS_OK;
    }
    const char *name = json_string_value(json_array_get(names, 0));
    const char *prefix = architectures[found].class_prefix;
    if (name != NULL && strncmp(name, prefix, strlen(prefix)) == 0) {
        const char *suffix = name + strlen(prefix);
        *classifier = strcmp(suffix, CLASSIFIER_SUFFIX) == 0;
        if (*classifier || strcmp(suffix, CAUSAL_SUFFIX) == 0) {
            return STATUS_OK;
        }
    }
    char why[160];
    snprintf(why, sizeof(why),
             "for model_type %s it must be %s" CAUSAL_SUFFIX " or %s" CLASSIFIER_SUFFIX, type,
             prefix, prefix);
    return refuse(json, "architectures", why, error);
}

static enum status sizes_read(const json_t *json, struct model_config *c, struct error *error)
{
    TRY(integer_read(json, "num_hidden_layers", MODEL_LAYERS_MAX, &c->L, error));
    TRY(integer_read(json, "hidden_size", MODEL_HIDDEN_MAX, &c->C, error));
    TRY(integer_read(json, "num_attention_heads", MODEL_HEADS_MAX, &c->H, error));
    c->G = c->H;
    if (c->architecture != ARCHITECTURE_LLAMA || !json_is_absent(json, "num_key_value_heads")) {
        TRY(integer_read(json, "num_key_value_heads", MODEL_HEADS_MAX, &c->G, error));
    }
    TRY(integer_read(json, "intermediate_size", MODEL_FFN_MAX, &c->F, error));
    TRY(integer_read(json, "vocab_size", MODEL_VOCAB_MAX, &c->V, error));
    TRY(integer_read(json, "max_position_embeddings", INT32_MAX, &c->positions_max, error));
    if (c->H % c->G != 0) {
        return error_set(error, STATUS_FORMAT,
                         "\"num_attention_heads\" (%d) is not a multiple of "
                         "\"num_key_value_heads\" (%d)",
                         c->H, c->G);
    }
    if (!json_is_absent(json, "head_dim")) {
        TRY(integer_read(json, "head_dim", MODEL_HEAD_DIM_MAX, &c->D, error));
    } else if (c->architecture == ARCHITECTURE_QWEN3) {
        c->D = 128; /* Qwen3's default is a number, the others' is hidden_size / heads */
    } else if (c->C % c->H == 0) {
        c->D = c->C / c->H;
    } else {
        return error_set(error, STATUS_FORMAT,
                         "\"hidden_size\" (%d) is not a multiple of \"num_attention_heads\" (%d) "
                         "and there is no \"head_dim\"",
                         c->C, c->H);
    }
    if (c->D % 2 != 0 || c->D > MODEL_HEAD_DIM_MAX) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "the head size is %d: it must be even and at most %d", c->D,
                         MODEL_HEAD_DIM_MAX);
    }
    return STATUS_OK;
}

static enum status positive_read(const json_t *json, const char *key, double *out,
                                 struct error *error)
{
    TRY(json_get_f64(json, key, out, error));
    if (!(*out > 0 && isfinite(*out))) {
        return error_set(error, STATUS_FORMAT, "\"%s\" is not a positive number", key);
    }
    return STATUS_OK;
}

static enum status rope_llama3_read(const json_t *rope, struct model_config *config,
                                    struct error *error)
{
    static const char *const keys[] = {"factor", "low_freq_factor", "high_freq_factor",
                                       "original_max_position_embeddings"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
        if (json_is_absent(rope, keys[i])) {
            return error_set(error, STATUS_FORMAT, "rope type llama3 needs \"%s\"", keys[i]);
        }
    }
    config->rope_llama3 = true;
    TRY(positive_read(rope, "factor", &config->rope_factor, error));
    TRY(positive_read(rope, "low_freq_factor", &config->rope_low_factor, error));
    TRY(positive_read(rope, "high_freq_factor", &config->rope_high_factor, error));
    if (!(config->rope_low_factor < config->rope_high_factor)) {
        return error_set(error, STATUS_FORMAT,
                         "\"low_freq_factor\" must be below \"high_freq_factor\"");
    }
    return integer_read(rope, "original_max_position_embeddings", INT32_MAX,
                        &config->rope_original_positions, error);
}

/* Transformers 4: rope_theta beside rope_scaling {rope_type or type, …}; 5: all in
 * rope_parameters. */
static enum status rope_read(const json_t *json, struct model_config *config, struct error *error)
{
    static const char *const keys[] = {"rope_type",
                                       "type",
                                       "rope_theta",
                                       "factor",
                                       "low_freq_factor",
                                       "high_freq_factor",
                                       "original_max_position_embeddings",
                                       "partial_rotary_factor"};
    bool newer = !json_is_absent(json, "rope_parameters");
    const char *field = newer ? "rope_parameters" : "rope_scaling";
    const json_t *rope = json_object_get(json, field);
    config->rope_theta = 10000;
    TRY(positive_read(json, "rope_theta", &config->rope_theta, error));
    if (rope == NULL || is_neutral(rope)) {
        return STATUS_OK;
    }
    if (!json_is_object(rope)) {
        return refuse(json, field, "it must be an object", error);
    }
    for (void *at = json_object_iter((json_t *)rope); at;
         at = json_object_iter_next((json_t *)rope, at)) {
        bool known = false;
        for (size_t i = 0; i < sizeof(keys) / sizeof(*keys) && !known; i++) {
            known = strcmp(json_object_iter_key(at), keys[i]) == 0;
        }
        if (!known && !is_neutral(json_object_iter_value(at))) {
            return refuse(rope, json_object_iter_key(at), "this part of the rope is not known",
                          error);
        }
    }
    TRY(positive_read(rope, "rope_theta", &config->rope_theta, error));
    const char *type = "default";
    TRY(json_get_string(rope, "type", &type, error));
    TRY(json_get_string(rope, "rope_type", &type, error));
    if (strcmp(type, "llama3") == 0) {
        return rope_llama3_read(rope, config, error);
    }
    if (strcmp(type, "default") != 0) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "\"%s\" has the type \"%.40s\": only default and llama3 are known", field,
                         type);
    }
    return STATUS_OK;
}

/* A window that is at least as long as a row changes nothing, so a shorter one only lowers the
 * longest row the model can take (exactly) from max_position_embeddings to the window. */
static enum status window_read(const json_t *json, struct model_config *config, struct error *error)
{
    TRY(must_be_false(json, "use_sliding_window", "sliding windows per layer are not supported",
                      error));
    const json_t *types = json_object_get(json, "layer_types");
    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *type = json_string_value(json_array_get(types, i));
        if (type == NULL || strcmp(type, "full_attention") != 0) {
            if (config->architecture != ARCHITECTURE_MISTRAL) {
                return refuse(json, "layer_types", "every layer must have full_attention", error);
            }
        }
    }
    if (config->architecture != ARCHITECTURE_MISTRAL) {
        return STATUS_OK; /* only read where use_sliding_window says so */
    }
    /* An absent field is Transformers' default, null is none. */
    int64_t window = json_object_get(json, "sliding_window") ? config->positions_max : 4096;
    TRY(json_get_i64(json, "sliding_window", 1, INT32_MAX, &window, error));
    if (window < config->positions_max) {
        config->positions_max = (int32_t)window;
    }
    return STATUS_OK;
}

static enum status maths_check(const json_t *json, const struct model_config *config,
                               struct error *error)
{
    const char *activation = "silu";
    TRY(json_get_string(json, "hidden_act", &activation, error));
    if (strcmp(activation, "silu") != 0) {
        return refuse(json, "hidden_act", "only silu is known", error);
    }
    if (config->architecture != ARCHITECTURE_QWEN2) { /* there the bias is a matter of course */
        TRY(must_be_false(json, "attention_bias",
                          "biases in attention are known for model_type qwen2 only", error));
    }
    TRY(must_be_false(json, "mlp_bias", "biases in the MLP are not supported", error));
    TRY(must_be_false(json, "quantization_config",
                      "quantized weights cannot be trained; start from the model in bf16 or fp32",
                      error));
    TRY(must_be_false(json, "clip_qkv", "clipping is not supported", error));
    TRY(must_be_false(json, "rope_interleaved", "interleaved rotary pairs are not supported",
                      error));
    TRY(must_be_false(json, "pruned_heads", "pruned heads are not supported", error));
    const json_t *places[] = {json, json_object_get(json, "rope_parameters"),
                              json_object_get(json, "rope_scaling")};
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        double factor = 1;
        if (!json_is_object(places[i])) {
            continue;
        }
        TRY(json_get_f64(places[i], "partial_rotary_factor", &factor, error));
        if (factor != 1) {
            return refuse(places[i], "partial_rotary_factor",
                          "rotating only a part of each head is not supported", error);
        }
    }
    return unknown_fields_check(json, error);
}

static enum status labels_check(const json_t *json, struct error *error)
{
    int64_t labels = 1;
    const json_t *names = json_object_get(json, "id2label");
    TRY(json_get_i64(json, "num_labels", 0, INT32_MAX, &labels, error));
    if (json_is_object(names) && json_is_absent(json, "num_labels")) {
        labels = (int64_t)json_object_size(names);
    }
    if (labels != 1) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "\"num_labels\" (or \"id2label\") gives %lld labels: a reward model has "
                         "one",
                         (long long)labels);
    }
    return STATUS_OK;
}

static enum status parse(const json_t *json, struct model_config *c, bool *classifier,
                         struct error *error)
{
    if (!json_is_object(json)) {
        return error_set(error, STATUS_FORMAT, "not a JSON object");
    }
    TRY(architecture_read(json, c, classifier, error));
    TRY(sizes_read(json, c, error));
    TRY(rope_read(json, c, error));
    TRY(window_read(json, c, error));
    TRY(maths_check(json, c, error));
    if (*classifier) {
        TRY(labels_check(json, error));
    }
    double epsilon = 1e-6;
    TRY(positive_read(json, "rms_norm_eps", &epsilon, error));
    c->norm_epsilon = (float)epsilon;
    if (!(c->norm_epsilon > 0) || !isfinite(c->norm_epsilon)) {
        return error_set(error, STATUS_FORMAT, "\"rms_norm_eps\" is out of range for fp32");
    }
    TRY(json_get_bool(json, "tie_word_embeddings", &c->tied, error));
    TRY(token_read(json, "bos_token_id", c->V, &c->bos, error));
    TRY(token_read(json, "eos_token_id", c->V, &c->eos, error));
    TRY(token_read(json, "pad_token_id", c->V, &c->pad, error));
    c->qkv_bias = c->architecture == ARCHITECTURE_QWEN2;
    c->qk_norm = c->architecture == ARCHITECTURE_QWEN3;
    return STATUS_OK;
}

enum status model_config_parse(const char *name, const json_t *json,
                               struct model_config *config_out, bool *classifier_out,
                               struct error *error)
{
    struct model_config config = {0};
    bool classifier = false;
    if (parse(json, &config, &classifier, error) != STATUS_OK) {
        return error_prefix(error, "%s", name);
    }
    *config_out = config;
    *classifier_out = classifier;
    return STATUS_OK;
}

/* ---- writing -------------------------------------------------------------------------------- */

/* The shortest decimal that restores the float: 1e-05, not 9.9999997473787516e-06. */
static json_t *json_float(float value)
{
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) {
            break;
        }
    }
    return json_real(strtod(text, NULL));
}

static void set(json_t *json, const char *key, json_t *value)
{
    CHECK(value != NULL && json_object_set_new(json, key, value) == 0);
}

static void set_token(json_t *json, const char *key, int32_t id)
{
    set(json, key, id < 0 ? json_null() : json_integer(id));
}

static void set_rope(json_t *json, const struct model_config *c)
{
    set(json, "rope_theta", json_real(c->rope_theta));
    if (!c->rope_llama3) {
        set(json, "rope_scaling", json_null());
        return;
    }
    json_t *rope = json_object();
    set(rope, "rope_type", json_string("llama3"));
    set(rope, "factor", json_real(c->rope_factor));
    set(rope, "low_freq_factor", json_real(c->rope_low_factor));
    set(rope, "high_freq_factor", json_real(c->rope_high_factor));
    set(rope, "original_max_position_embeddings", json_integer(c->rope_original_positions));
    set(json, "rope_scaling", rope);
}

json_t *model_config_json(const struct model_config *c, bool classifier, const char *dtype)
{
    const struct architecture_row *row = &architectures[c->architecture];
    char class_name[64];
    snprintf(class_name, sizeof(class_name), "%s%s", row->class_prefix,
             classifier ? CLASSIFIER_SUFFIX : CAUSAL_SUFFIX);
    json_t *json = json_object();
    set(json, "architectures", json_pack("[s]", class_name));
    set(json, "model_type", json_string(row->model_type));
    set(json, "torch_dtype", json_string(dtype));
    set(json, "hidden_size", json_integer(c->C));
    set(json, "intermediate_size", json_integer(c->F));
    set(json, "num_hidden_layers", json_integer(c->L));
    set(json, "num_attention_heads", json_integer(c->H));
    set(json, "num_key_value_heads", json_integer(c->G));
    set(json, "head_dim", json_integer(c->D));
    set(json, "vocab_size", json_integer(c->V));
    set(json, "max_position_embeddings", json_integer(c->positions_max));
    set(json, "hidden_act", json_string("silu"));
    set(json, "rms_norm_eps", json_float(c->norm_epsilon));
    set(json, "tie_word_embeddings", json_boolean(c->tied));
    set(json, "attention_dropout", json_real(0));
    set_rope(json, c);
    if (c->architecture == ARCHITECTURE_QWEN2) {
        set(json, "use_sliding_window", json_false());
    } else {
        set(json, "attention_bias", json_false());
    }
    if (c->architecture == ARCHITECTURE_LLAMA) {
        set(json, "mlp_bias", json_false());
    }
    if (c->architecture == ARCHITECTURE_MISTRAL) {
        set(json, "sliding_window", json_null());
    }
    set_token(json, "bos_token_id", c->bos);
    set_token(json, "eos_token_id", c->eos);
    set_token(json, "pad_token_id", c->pad);
    if (classifier) {
        set(json, "num_labels", json_integer(1));
        set(json, "id2label", json_pack("{s:s}", "0", "LABEL_0"));
        set(json, "label2id", json_pack("{s:i}", "LABEL_0", 0));
        set(json, "problem_type", json_string("regression"));
    }
    return json;
}
