/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/rng.h"
#include "tests/gguf_fixture.h"
#include "tests/model_fixture.h"
#include "tests/test.h"
#include "worker/data/tokenizer.h"
#include "worker/model/export.h"
#include "worker/model/gguf.h"
#include "worker/model/model.h"

/* In place of the transformer: depends on every id, on their order, on the embedding, on merged
 * weights and on the head that counts. */
static enum status fake_score(void *context, struct model *model, const int32_t *ids, int32_t count,
                              double *score_out, struct error *error)
{
    int *calls = context;
    if (++*calls < 0) {
        return error_set(error, STATUS_FAILED, "the scorer failed");
    }
    int32_t C = model->config.C;
    const float *embed = params_at(&model->table, model->weights, TENSOR_EMBED, -1);
    const float *value = params_at(&model->table, model->weights, TENSOR_V, 0);
    const float *score =
        params_at(model_trained_table(model), model_trained_weights(model), TENSOR_SCORE, -1);
    double sum = 0;
    for (int32_t i = 0; i < count; i++) {
        for (int32_t c = 0; c < C; c++) {
            sum += (double)(embed[ids[i] * C + c] * (score[c] + 1e-3f * value[c])) * (i + 1);
        }
    }
    *score_out = sum / count;
    return STATUS_OK;
}

static void noise(const struct params_table *table, float *block, uint64_t seed)
{
    for (int32_t i = 0; i < table->count; i++) {
        const struct tensor_place *place = &table->places[i];
        for (size_t e = place->offset; e < place->offset + place->elements; e++) {
            block[e] = (float)(0.05 * rng_normal(seed, 1, e));
        }
    }
}

/* dir/rm: a reward model of the given format, over the tiny llama of gguf_fixture; dir/adapter: an
 * adapter over it. */
static void family_make(char dir[FIXTURE_PATH_MAX], const struct text_format *format)
{
    struct gguf_build build = {0};
    struct buf file = {0};
    struct error error = {0};
    fixture_dir(dir);
    gguf_build_model(&build);
    gguf_build_finish(&build, &file);
    fixture_bytes(dir, "m.gguf", file.data, file.length);
    buf_release(&file);
    EXPECT(gguf_import(model_fixture_path(dir, "m.gguf"), model_fixture_path(dir, "base"),
                       &error) == STATUS_OK);
    struct model *model =
        model_fixture_open(model_fixture_path(dir, "base"),
                           &(struct model_open_options){.need_score = true, .init_score = true});
    REQUIRE(model != NULL);
    noise(&model->table, model->weights, 1);
    model->has_format = true;
    model->format = *format;
    EXPECT(model_save(model, model_fixture_path(dir, "rm"), model_fixture_path(dir, "base"), NULL,
                      NULL, &error) == STATUS_OK);
    model_free(model);
    model = model_fixture_open(model_fixture_path(dir, "rm"),
                               &(struct model_open_options){.need_score = true});
    REQUIRE(model != NULL);
    const struct lora_config lora = {.r = 2, .alpha = 4, .targets = LORA_ALL_LINEAR};
    EXPECT(model_add_adapter(model, &lora, 3, &error) == STATUS_OK);
    noise(&model->adapter_table, model->adapter, 2);
    EXPECT(model_save(model, model_fixture_path(dir, "adapter"), model_fixture_path(dir, "base"),
                      model_fixture_path(dir, "rm"), NULL, &error) == STATUS_OK);
    EXPECT_STR("", error.text);
    model_free(model);
}

static const struct text_format DSP = {
    .template_kind = TEMPLATE_DSP, .max_length = 200, .pooling = POOLING_LAST_TOKEN};

static void export(const char *dir, const char *name, const struct export_options *options)
{
    int calls = 0;
    struct error error = {0};
    EXPECT(model_export(fixture_device(), model_fixture_path(dir, name), options, fake_score,
                        &calls, model_fixture_path(dir, "out"), &error) == STATUS_OK);
    EXPECT_STR("", error.text);
    EXPECT_I64(2 * PROBES_COUNT, calls);
}

/* The ids of the first probe in scoring.json, and what the exported tokenizer makes of its text. */
static void expect_probe(const char *dir, const char *tokenizer_dir, bool eos)
{
    struct tokenizer *tokenizer;
    struct ids ids = {0};
    json_t *scoring = fixture_read(dir, "out/scoring.json");
    const json_t *probes = json_object_get(scoring, "probes");
    EXPECT_I64(PROBES_COUNT, json_array_size(probes));
    const json_t *probe = json_array_get(probes, 0);
    const json_t *expected = json_object_get(probe, "ids");
    const char *text = json_string_value(json_object_get(probe, "text"));
    REQUIRE(tokenizer_open(tokenizer_dir, &tokenizer, NULL) == STATUS_OK && text != NULL);
    tokenizer_encode_special(tokenizer, text, strlen(text), &ids);
    REQUIRE(ids.count == json_array_size(expected) && ids.count > 10);
    for (size_t i = 0; i < ids.count; i++) {
        EXPECT_I64(json_integer_value(json_array_get(expected, i)), ids.items[i]);
    }
    EXPECT_I64(GGUF_TINY_BOS, ids.items[0]);
    EXPECT((ids.items[ids.count - 1] == GGUF_TINY_EOS) == eos);
    ids_release(&ids);
    tokenizer_free(tokenizer);
    json_decref(scoring);
}

static void expect_text(const char *dir, const char *name, const char *needle)
{
    struct buf text = {0};
    EXPECT(file_read(model_fixture_path(dir, name), MIB, &text, NULL) == STATUS_OK);
    EXPECT_CONTAINS(needle, text.data);
    buf_release(&text);
}

TEST(a_model_becomes_a_classifier_directory)
{
    char dir[FIXTURE_PATH_MAX];
    family_make(dir, &DSP);
    export(dir, "rm", &(struct export_options){.format = EXPORT_HF, .dtype = WEIGHT_DTYPE_F32});
    const char *out = model_fixture_path(dir, "out");
    json_t *config = fixture_read(out, "config.json");
    EXPECT_STR("LlamaForSequenceClassification",
               json_string_value(json_array_get(json_object_get(config, "architectures"), 0)));
    EXPECT_STR("regression", json_string_value(json_object_get(config, "problem_type")));
    EXPECT_I64(1, json_integer_value(json_object_get(config, "num_labels")));
    /* The fixture's tokenizer pads with EOS, so a pad token and a row of the embedding are new. */
    EXPECT_I64(GGUF_TINY_V, json_integer_value(json_object_get(config, "pad_token_id")));
    EXPECT_I64(GGUF_TINY_V + 1, json_integer_value(json_object_get(config, "vocab_size")));
    json_decref(config);
    struct safetensors set;
    REQUIRE(safetensors_open_dir(out, "model", &set, NULL) == STATUS_OK);
    const struct safetensor *score = safetensors_find(&set, "score.weight");
    const struct safetensor *embed = safetensors_find(&set, "model.embed_tokens.weight");
    REQUIRE(score != NULL && embed != NULL);
    EXPECT(score->rank == 2 && score->shape[0] == 1 && score->shape[1] == GGUF_TINY_C);
    EXPECT_I64(GGUF_TINY_V + 1, embed->shape[0]);
    float row[GGUF_TINY_C] = {1};
    safetensors_read(embed, GGUF_TINY_V * GGUF_TINY_C, GGUF_TINY_C, row);
    EXPECT_BYTES((const float[GGUF_TINY_C]){0}, row, sizeof(row));
    safetensors_close(&set);
    expect_probe(dir, out, true);
    expect_text(out, "README.md", "vllm serve ");
    expect_text(out, "README.md", "AutoModelForSequenceClassification.from_pretrained(path)");
    expect_text(out, "tokenizer_config.json", "\"pad_token\": \"<|pad|>\"");
    expect_text(out, "tokenizer_config.json", "{{ bos_token }}");
    expect_text(out, "tokenizer_config.json", "PreTrainedTokenizerFast");
}

TEST(before_eos_ends_without_eos)
{
    char dir[FIXTURE_PATH_MAX];
    struct text_format format = DSP;
    format.pooling = POOLING_BEFORE_EOS;
    family_make(dir, &format);
    export(dir, "rm", &(struct export_options){.format = EXPORT_HF, .dtype = WEIGHT_DTYPE_F32});
    expect_probe(dir, model_fixture_path(dir, "out"), false);
    expect_text(dir, "out/README.md", "BOS and no EOS");
}

TEST(an_adapter_is_merged_when_told_so)
{
    char dir[FIXTURE_PATH_MAX];
    family_make(dir, &DSP);
    export(dir, "adapter",
           &(struct export_options){.format = EXPORT_HF, .merge = true, .dtype = WEIGHT_DTYPE_F32});
    const struct model_open_options merged = {.need_score = true, .merge_adapter = true};
    struct model *expected = model_fixture_open(model_fixture_path(dir, "adapter"), &merged);
    struct model *got = model_fixture_open(model_fixture_path(dir, "out"), &merged);
    REQUIRE(expected != NULL && got != NULL);
    for (int32_t i = 0; i < expected->table.count; i++) {
        const struct tensor_place *a = &expected->table.places[i];
        const struct tensor_place *b = &got->table.places[i];
        EXPECT_BYTES(expected->weights + a->offset, got->weights + b->offset,
                     a->elements * sizeof(float));
    }
    model_free(expected);
    model_free(got);
}

TEST(an_adapter_is_exported_over_its_parent)
{
    char dir[FIXTURE_PATH_MAX];
    family_make(dir, &DSP);
    export(dir, "adapter",
           &(struct export_options){.format = EXPORT_PEFT, .dtype = WEIGHT_DTYPE_F32});
    json_t *config = fixture_read(dir, "out/adapter/adapter_config.json");
    EXPECT_STR("SEQ_CLS", json_string_value(json_object_get(config, "task_type")));
    EXPECT_STR("score",
               json_string_value(json_array_get(json_object_get(config, "modules_to_save"), 0)));
    EXPECT_STR(model_fixture_path(dir, "out/parent"),
               json_string_value(json_object_get(config, "base_model_name_or_path")));
    json_decref(config);
    const struct model_open_options over = {.need_score = true};
    struct model *expected = model_fixture_open(model_fixture_path(dir, "adapter"), &over);
    struct model *got = model_fixture_open(model_fixture_path(dir, "out/adapter"), &over);
    REQUIRE(expected != NULL && got != NULL);
    EXPECT_BYTES(expected->adapter, got->adapter, expected->adapter_table.elements * sizeof(float));
    model_free(expected);
    model_free(got);
    expect_probe(dir, model_fixture_path(dir, "out/adapter"), true);
    expect_text(dir, "out/README.md", "PeftModel.from_pretrained");
}

TEST(narrow_weights_may_move_a_score_a_little)
{
    char dir[FIXTURE_PATH_MAX];
    family_make(dir, &DSP);
    export(dir, "rm", &(struct export_options){.format = EXPORT_HF, .dtype = WEIGHT_DTYPE_BF16});
    expect_text(dir, "out/config.json", "\"bfloat16\"");
}

TEST(a_short_max_length_gets_short_probes)
{
    char dir[FIXTURE_PATH_MAX];
    struct text_format format = DSP;
    format.max_length = 40;
    family_make(dir, &format);
    export(dir, "rm", &(struct export_options){.format = EXPORT_HF, .dtype = WEIGHT_DTYPE_F32});
    expect_probe(dir, model_fixture_path(dir, "out"), true);
}

static void expect_refused(const char *dir, const char *name, const struct export_options *options,
                           int calls, enum status expected, const char *word)
{
    struct error error = {0};
    enum status status = model_export(fixture_device(), model_fixture_path(dir, name), options,
                                      fake_score, &calls, model_fixture_path(dir, "out"), &error);
    EXPECT_STR(status_name(expected), status_name(status));
    EXPECT_CONTAINS(word, error.text);
    EXPECT(!dir_exists(model_fixture_path(dir, "out")));
}

TEST(what_cannot_be_said_is_refused_by_name)
{
    char dir[FIXTURE_PATH_MAX];
    const struct export_options hf = {.format = EXPORT_HF};
    const struct export_options peft = {.format = EXPORT_PEFT};
    struct text_format format = DSP;
    format.pooling = POOLING_MEAN;
    family_make(dir, &format);
    expect_refused(dir, "rm", &hf, 0, STATUS_UNSUPPORTED, "pooling mean");
    expect_refused(dir, "base", &hf, 0, STATUS_NOT_FOUND, "no score head");
    format.pooling = POOLING_MAX;
    family_make(dir, &format);
    expect_refused(dir, "rm", &hf, 0, STATUS_UNSUPPORTED, "pooling max");
    family_make(dir, &DSP);
    expect_refused(dir, "adapter", &hf, 0, STATUS_USAGE, "--merge");
    expect_refused(dir, "rm", &peft, 0, STATUS_USAGE, "not an adapter");
    expect_refused(dir, "adapter", &(struct export_options){.format = EXPORT_PEFT, .merge = true},
                   0, STATUS_USAGE, "exclude each other");
    EXPECT(remove(model_fixture_path(dir, "rm/tailor.json")) == 0);
    expect_refused(dir, "rm", &hf, 0, STATUS_UNSUPPORTED, "tailor.json");
}

/* A scorer whose answers drift: the second reading is not the first. */
static enum status drifting_score(void *context, struct model *model, const int32_t *ids,
                                  int32_t count, double *score_out, struct error *error)
{
    int *calls = context;
    int before = *calls;
    TRY(fake_score(calls, model, ids, count, score_out, error));
    *score_out += before >= PROBES_COUNT + 3 ? 1e-12 : 0;
    return STATUS_OK;
}

TEST(a_score_that_moved_fails_the_export_and_leaves_nothing)
{
    char dir[FIXTURE_PATH_MAX];
    int calls = 0;
    struct error error = {0};
    family_make(dir, &DSP);
    EXPECT(model_export(fixture_device(), model_fixture_path(dir, "rm"),
                        &(struct export_options){.format = EXPORT_HF}, drifting_score, &calls,
                        model_fixture_path(dir, "out"), &error) == STATUS_FAILED);
    EXPECT_CONTAINS("the score of probe 3 moved", error.text);
    EXPECT(!dir_exists(model_fixture_path(dir, "out")));
    expect_refused(dir, "rm", &(struct export_options){.format = EXPORT_HF}, -5, STATUS_FAILED,
                   "the scorer failed");
}

TEST_MAIN()
