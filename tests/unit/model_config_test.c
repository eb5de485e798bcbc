/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/json.h"
#include "tests/model_fixture.h"
#include "tests/test.h"
#include "worker/model/model.h"

#define SIZES                                                                                      \
    "\"hidden_size\":64,\"intermediate_size\":160,\"num_hidden_layers\":2,"                        \
    "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"vocab_size\":100,"                      \
    "\"max_position_embeddings\":512,"

static enum status config_read(const char *text, struct model_config *config, bool *classifier,
                               struct error *error)
{
    json_t *json;
    TRY(json_read("c.json", text, strlen(text), &json, error));
    enum status status = model_config_parse("c.json", json, config, classifier, error);
    json_decref(json);
    return status;
}

static struct model_config expect_good(const char *text)
{
    struct model_config config = {0};
    struct error error;
    bool classifier;
    if (config_read(text, &config, &classifier, &error) != STATUS_OK) {
        test_fail(__FILE__, __LINE__, "%s: %s", text, error.text);
    }
    return config;
}

/* A llama with these further fields is refused, and the sentence holds `word`. */
static void expect_bad(const char *fields, const char *word)
{
    char text[2048];
    struct model_config config;
    struct error error = {0};
    bool classifier;
    snprintf(text, sizeof(text), "{" SIZES "\"model_type\":\"llama\",%s}", fields);
    EXPECT(config_read(text, &config, &classifier, &error) != STATUS_OK);
    EXPECT_CONTAINS(word, error.text);
    EXPECT_CONTAINS("c.json: ", error.text);
}

/* Compared as JSON: padding between the fields of a struct may be anything. */
static void expect_same(const struct model_config *expected, const struct model_config *got)
{
    struct buf texts[2] = {{0}, {0}};
    const struct model_config *configs[2] = {expected, got};
    for (int i = 0; i < 2; i++) {
        json_t *json = model_config_json(configs[i], false, "float32");
        json_append(&texts[i], json);
        json_decref(json);
    }
    EXPECT_STR(texts[0].data, texts[1].data);
    EXPECT(expected->qkv_bias == got->qkv_bias && expected->qk_norm == got->qk_norm);
    buf_release(&texts[0]);
    buf_release(&texts[1]);
}

TEST(both_key_styles_give_the_same)
{
    struct model_config old = expect_good(
        "{" SIZES "\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],"
        "\"rope_theta\":500000.0,\"torch_dtype\":\"bfloat16\",\"rms_norm_eps\":1e-05,"
        "\"rope_scaling\":{\"factor\":8.0,\"high_freq_factor\":4.0,\"low_freq_factor\":1.0,"
        "\"original_max_position_embeddings\":128,\"rope_type\":\"llama3\"},"
        "\"bos_token_id\":1,\"eos_token_id\":[2,3],\"pad_token_id\":null}");
    struct model_config new = expect_good(
        "{" SIZES "\"model_type\":\"llama\",\"architectures\":[\"LlamaForCausalLM\"],"
        "\"dtype\":\"bfloat16\",\"rms_norm_eps\":1e-05,\"head_dim\":16,"
        "\"rope_parameters\":{\"rope_theta\":500000.0,\"factor\":8.0,\"high_freq_factor\":4.0,"
        "\"low_freq_factor\":1.0,\"original_max_position_embeddings\":128,"
        "\"rope_type\":\"llama3\"},\"bos_token_id\":1,\"eos_token_id\":2}");
    expect_same(&old, &new);
    EXPECT(old.rope_llama3 && old.rope_theta == 500000 && old.rope_original_positions == 128);
    EXPECT(old.D == 16 && old.eos == 2 && old.pad == -1 && old.norm_epsilon == 1e-5f);
}

TEST(every_architecture_comes_back_from_its_own_json)
{
    static const enum architecture kinds[] = {ARCHITECTURE_LLAMA, ARCHITECTURE_MISTRAL,
                                              ARCHITECTURE_QWEN2, ARCHITECTURE_QWEN3};
    for (size_t i = 0; i < 8; i++) {
        struct model_config config = fixture_config(kinds[i / 2]);
        struct model_config back;
        bool classifier;
        struct error error;
        config.tied = i % 2 == 1;
        if (kinds[i / 2] == ARCHITECTURE_LLAMA && config.tied) {
            config.rope_llama3 = true;
            config.rope_factor = 32;
            config.rope_low_factor = 1;
            config.rope_high_factor = 4;
            config.rope_original_positions = 16;
        }
        json_t *json = model_config_json(&config, i % 2 == 0, "bfloat16");
        REQUIRE(model_config_parse("c", json, &back, &classifier, &error) == STATUS_OK);
        EXPECT(classifier == (i % 2 == 0));
        expect_same(&config, &back);
        json_decref(json);
    }
}

TEST(defaults_are_those_of_transformers)
{
    struct model_config llama =
        expect_good("{\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":160,"
                    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"vocab_size\":100,"
                    "\"max_position_embeddings\":512}");
    EXPECT(llama.G == 4 && llama.D == 16 && llama.rope_theta == 10000 && !llama.tied);
    EXPECT(llama.norm_epsilon == 1e-6f && llama.bos == -1 && llama.eos == -1);
    struct model_config qwen3 = expect_good("{" SIZES "\"model_type\":\"qwen3\"}");
    EXPECT(qwen3.D == 128 && qwen3.qk_norm && !qwen3.qkv_bias);
    struct model_config qwen2 = expect_good("{" SIZES "\"model_type\":\"qwen2\"}");
    EXPECT(qwen2.D == 16 && !qwen2.qk_norm && qwen2.qkv_bias);
}

TEST(a_sliding_window_lowers_the_longest_row)
{
    EXPECT_I64(
        512,
        expect_good("{" SIZES "\"model_type\":\"mistral\",\"sliding_window\":null}").positions_max);
    EXPECT_I64(
        512,
        expect_good("{" SIZES "\"model_type\":\"mistral\",\"sliding_window\":4096}").positions_max);
    EXPECT_I64(
        128,
        expect_good("{" SIZES "\"model_type\":\"mistral\",\"sliding_window\":128}").positions_max);
    /* Qwen2 publishes a window that is switched off. */
    EXPECT_I64(512, expect_good("{" SIZES "\"model_type\":\"qwen2\",\"sliding_window\":128,"
                                "\"use_sliding_window\":false,\"max_window_layers\":28}")
                        .positions_max);
    expect_bad("\"use_sliding_window\":true", "use_sliding_window");
    expect_bad("\"layer_types\":[\"full_attention\",\"sliding_attention\"]", "layer_types");
}

TEST(what_changes_the_maths_is_refused_by_name_and_value)
{
    expect_bad("\"hidden_act\":\"gelu\"", "\"hidden_act\" is \"gelu\"");
    expect_bad("\"attention_bias\":true", "attention_bias");
    expect_bad("\"mlp_bias\":true", "mlp_bias");
    expect_bad("\"partial_rotary_factor\":0.5", "\"partial_rotary_factor\" is 0.5");
    expect_bad("\"quantization_config\":{\"quant_method\":\"gptq\"}", "quantization_config");
    expect_bad("\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.0}", "linear");
    expect_bad("\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2.0}", "yarn");
    expect_bad("\"rope_scaling\":{\"rope_type\":\"default\",\"mscale\":2.0}", "mscale");
    expect_bad("\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":2.0}", "low_freq_factor");
    expect_bad("\"rope_scaling\":3", "rope_scaling");
    expect_bad("\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1.0}}", "full_attention");
    expect_bad("\"rope_parameters\":{\"rope_theta\":1.0,\"partial_rotary_factor\":0.25}",
               "partial_rotary_factor");
    expect_bad("\"rope_theta\":-1", "rope_theta");
    expect_bad("\"logits_scaling\":8.0", "\"logits_scaling\" is 8.0");
    expect_bad("\"embedding_multiplier\":12", "embedding_multiplier");
    expect_bad("\"final_logit_softcapping\":30.0", "final_logit_softcapping");
    expect_bad("\"num_local_experts\":8", "num_local_experts");
    expect_bad("\"clip_qkv\":8.0", "clip_qkv");
    expect_bad("\"rope_interleaved\":true", "rope_interleaved");
}

TEST(harmless_fields_pass)
{
    expect_good("{" SIZES
                "\"model_type\":\"llama\",\"is_llama_config\":true,\"rope_interleaved\":false,"
                "\"transformers.js_config\":{\"dtype\":\"q4\"},\"unsloth_version\":\"2024.9\","
                "\"use_cache\":true,\"attention_dropout\":0.1,\"pretraining_tp\":1,"
                "\"quantization_config\":null,\"layer_types\":[\"full_attention\"],"
                "\"router_aux_loss_coef\":0.0,\"_attn_implementation\":\"sdpa\"}");
}

TEST(sizes_must_make_sense)
{
    struct model_config config;
    struct error error;
    bool classifier;
    static const char *const texts[][2] = {
        {"[]", "not a JSON object"},
        {"{}", "\"model_type\" is missing"},
        {"{\"model_type\":\"gpt2\"}", "llama, mistral, qwen2 and qwen3"},
        {"{\"model_type\":7}", "model_type"},
        {"{\"model_type\":\"llama\"}", "\"num_hidden_layers\" is missing"},
        {"{\"model_type\":\"llama\",\"num_hidden_layers\":100000}", "num_hidden_layers"},
        {"{\"model_type\":\"llama\",\"num_hidden_layers\":2.5}", "num_hidden_layers"},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        EXPECT(config_read(texts[i][0], &config, &classifier, &error) != STATUS_OK);
        EXPECT_CONTAINS(texts[i][1], error.text);
    }
    expect_bad("\"head_dim\":15", "even");
    expect_bad("\"head_dim\":512", "head_dim");
    expect_bad("\"eos_token_id\":100", "eos_token_id");
    expect_bad("\"eos_token_id\":[100]", "eos_token_id");
    expect_bad("\"rms_norm_eps\":0", "rms_norm_eps");
    expect_bad("\"rms_norm_eps\":1e-105", "rms_norm_eps"); /* zero in fp32 */
    expect_bad("\"tie_word_embeddings\":\"yes\"", "tie_word_embeddings");
}

TEST(only_the_two_classes_are_known_and_a_classifier_has_one_label)
{
    expect_bad("\"architectures\":[\"LlamaForTokenClassification\"]", "LlamaForCausalLM");
    expect_bad("\"architectures\":[\"LlamaModel\"]", "LlamaModel");
    expect_bad("\"architectures\":[\"MistralForCausalLM\"]", "MistralForCausalLM");
    expect_bad("\"architectures\":[\"LlamaForSequenceClassification\"],\"num_labels\":2",
               "2 labels");
    expect_bad("\"architectures\":[\"LlamaForSequenceClassification\"],"
               "\"id2label\":{\"0\":\"a\",\"1\":\"b\"}",
               "2 labels");
}

/* The blend of the middle band, from the formula in the other direction. */
TEST(llama3_frequencies_have_three_bands)
{
    struct model_config config = fixture_config(ARCHITECTURE_LLAMA);
    float plain[8], scaled[8];
    config.D = 16;
    config.rope_theta = 500000;
    model_rope_inverse_frequencies(&config, plain);
    config.rope_llama3 = true;
    config.rope_factor = 8;
    config.rope_low_factor = 1;
    config.rope_high_factor = 4;
    config.rope_original_positions = 128;
    model_rope_inverse_frequencies(&config, scaled);
    int kept = 0, stretched = 0, blended = 0;
    for (int j = 0; j < 8; j++) {
        EXPECT(scaled[j] <= plain[j] && scaled[j] >= plain[j] / 8);
        if (scaled[j] == plain[j]) {
            kept++;
        } else if (scaled[j] == plain[j] / 8) {
            stretched++;
        } else {
            blended++;
        }
    }
    EXPECT(kept > 0 && stretched > 0 && blended > 0);
    EXPECT(plain[0] == 1);
}

TEST(the_rope_table_is_cos_and_sin_of_the_angle)
{
    struct model_config config = fixture_config(ARCHITECTURE_LLAMA);
    float frequency[2], table[3 * 4];
    model_rope_inverse_frequencies(&config, frequency);
    model_rope_table(&config, 3, table);
    for (int position = 0; position < 3; position++) {
        for (int j = 0; j < 2; j++) {
            double angle = position * (double)frequency[j];
            EXPECT_CLOSE(cos(angle), table[position * 4 + 2 * j], 1e-7);
            EXPECT_CLOSE(sin(angle), table[position * 4 + 2 * j + 1], 1e-7);
        }
    }
}

TEST_MAIN()
