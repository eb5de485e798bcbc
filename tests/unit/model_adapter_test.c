/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/rng.h"
#include "tests/model_fixture.h"
#include "tests/test.h"
#include "worker/model/adapter.h"
#include "worker/model/card.h"
#include "worker/model/model.h"
#include "worker/model/safetensors.h"
#include "worker/model/tokenizer_dir.h"

static const struct model_open_options OVER = {.need_score = true, .positions = 16};
static const struct model_open_options MERGED = {
    .need_score = true, .merge_adapter = true, .positions = 16};
static const struct lora_config LORA = {.r = 3, .alpha = 6, .targets = LORA_ALL_LINEAR};

static enum status config_read(const char *text, struct lora_config *lora, struct error *error)
{
    json_t *json;
    const char *parent;
    TRY(json_read("a.json", text, strlen(text), &json, error));
    enum status status = adapter_config_parse("a.json", json, lora, &parent, error);
    json_decref(json);
    return status;
}

static void expect_bad(const char *fields, const char *word)
{
    char text[1024];
    struct lora_config lora;
    struct error error = {0};
    snprintf(text, sizeof(text), "{\"peft_type\":\"LORA\",%s}", fields);
    EXPECT(config_read(text, &lora, &error) != STATUS_OK);
    EXPECT_CONTAINS(word, error.text);
    EXPECT_CONTAINS("a.json: ", error.text);
}

TEST(configurations_of_peft_are_read)
{
    struct lora_config lora;
    struct error error;
    REQUIRE(config_read("{\"peft_type\":\"LORA\",\"r\":16,\"lora_alpha\":32,\"use_rslora\":true,"
                        "\"target_modules\":[\"q_proj\",\"mlp.down_proj\"],\"lora_dropout\":0.1,"
                        "\"modules_to_save\":[\"score\",\"classifier\",\"score\"],"
                        "\"init_lora_weights\":true,\"rank_pattern\":{},\"task_type\":\"SEQ_CLS\","
                        "\"use_dora\":false,\"loftq_config\":{},\"qalora_group_size\":16}",
                        &lora, &error) == STATUS_OK);
    EXPECT(lora.r == 16 && lora.alpha == 32 && lora.rslora);
    EXPECT_I64(1u << TENSOR_Q | 1u << TENSOR_DOWN, lora.targets);
    REQUIRE(config_read("{\"peft_type\":\"LORA\",\"target_modules\":\"all-linear\"}", &lora,
                        &error) == STATUS_OK);
    EXPECT(lora.r == 8 && lora.alpha == 8 && !lora.rslora && lora.targets == LORA_ALL_LINEAR);
}

TEST(what_is_not_plain_lora_is_refused_by_name)
{
    expect_bad("\"target_modules\":[\"q_proj\"],\"use_dora\":true", "\"use_dora\" is set");
    expect_bad("\"target_modules\":[\"q_proj\"],\"rank_pattern\":{\"q_proj\":4}", "rank_pattern");
    expect_bad("\"target_modules\":[\"q_proj\"],\"alpha_pattern\":{\"q_proj\":4}", "alpha_pattern");
    expect_bad("\"target_modules\":[\"q_proj\"],\"bias\":\"all\"", "bias");
    expect_bad("\"target_modules\":[\"q_proj\"],\"lora_bias\":true", "lora_bias");
    expect_bad("\"target_modules\":[\"q_proj\"],\"fan_in_fan_out\":true", "fan_in_fan_out");
    expect_bad("\"target_modules\":[\"q_proj\"],\"layers_to_transform\":[0]",
               "layers_to_transform");
    expect_bad("\"target_modules\":[\"q_proj\"],\"use_next_years_idea\":true",
               "use_next_years_idea");
    expect_bad("\"target_modules\":[\"q_proj\"],\"init_lora_weights\":\"pissa\"", "pissa");
    expect_bad("\"target_modules\":[\"q_proj\"],\"modules_to_save\":[\"embed_tokens\"]",
               "embed_tokens");
    expect_bad("\"target_modules\":[\"lm_head\"]", "lm_head");
    expect_bad("\"target_modules\":[3]", "target_modules");
    expect_bad("\"target_modules\":\".*proj\"", "target_modules");
    expect_bad("\"r\":8", "target_modules");
    expect_bad("\"target_modules\":[\"q_proj\"],\"r\":0", "\"r\" is 0");
    expect_bad("\"target_modules\":[\"q_proj\"],\"r\":1000000", "\"r\" is 1000000");
    expect_bad("\"target_modules\":[\"q_proj\"],\"lora_alpha\":1e300", "lora_alpha");
}

TEST(a_configuration_comes_back_from_its_own_json)
{
    struct lora_config lora = {
        .r = 5, .alpha = 2.5f, .rslora = true, .targets = 1u << TENSOR_UP | 1u << TENSOR_O};
    struct lora_config back;
    struct error error;
    const char *parent;
    json_t *json = adapter_config_json(&lora, "/some/where");
    REQUIRE(adapter_config_parse("a", json, &back, &parent, &error) == STATUS_OK);
    EXPECT(back.r == 5 && back.alpha == 2.5f && back.rslora && back.targets == lora.targets);
    EXPECT_STR("/some/where", parent);
    EXPECT_STR("SEQ_CLS", json_string_value(json_object_get(json, "task_type")));
    json_decref(json);
}

/* ---- directories ---------------------------------------------------------------------------- */

static void noise(struct model *model, uint64_t seed)
{
    for (int32_t i = 0; i < model->adapter_table.count; i++) {
        const struct tensor_place *place = &model->adapter_table.places[i];
        for (size_t e = place->offset; e < place->offset + place->elements; e++) {
            model->adapter[e] += (float)(0.1 * rng_normal(seed, 0, e));
        }
    }
}

/* dir/parent, a classifier, and dir/adapter over it, with noise in A, B and score. */
static void family_make(char dir[FIXTURE_PATH_MAX])
{
    struct model_config config = fixture_config(ARCHITECTURE_QWEN2);
    struct error error = {0};
    fixture_dir(dir);
    EXPECT(dir_create(model_fixture_path(dir, "parent"), NULL) == STATUS_OK);
    fixture_model(model_fixture_path(dir, "parent"), &config, &(struct params_heads){.score = true},
                  5);
    struct model *model = model_fixture_open(model_fixture_path(dir, "parent"), &OVER);
    REQUIRE(model != NULL);
    EXPECT(model_add_adapter(model, &LORA, 9, &error) == STATUS_OK);
    noise(model, 1);
    EXPECT(model_save(model, model_fixture_path(dir, "adapter"), NULL,
                      model_fixture_path(dir, "parent"), NULL, &error) == STATUS_OK);
    EXPECT_STR("", error.text);
    model_free(model);
}

TEST(a_fresh_adapter_changes_nothing_and_is_seeded)
{
    char dir[FIXTURE_PATH_MAX];
    struct error error;
    family_make(dir);
    struct model *a = model_fixture_open(model_fixture_path(dir, "parent"), &OVER);
    struct model *b = model_fixture_open(model_fixture_path(dir, "parent"), &OVER);
    REQUIRE(a != NULL && b != NULL);
    REQUIRE(model_add_adapter(a, &LORA, 9, &error) == STATUS_OK);
    REQUIRE(model_add_adapter(b, &LORA, 9, &error) == STATUS_OK);
    EXPECT_BYTES(a->adapter, b->adapter, a->adapter_table.elements * sizeof(float));
    EXPECT(model_trained_table(a) == &a->adapter_table && model_trained_weights(a) == a->adapter);
    double bound = 1 / sqrt(12);
    const struct tensor_place *place = params_place(&a->adapter_table, TENSOR_LORA_A + TENSOR_Q, 1);
    double largest = 0;
    for (size_t i = 0; i < place->elements; i++) {
        double x = fabs((double)a->adapter[place->offset + i]);
        largest = x > largest ? x : largest;
    }
    EXPECT(largest <= bound && largest > bound / 2);
    const float *B = params_at(&a->adapter_table, a->adapter, TENSOR_LORA_B + TENSOR_Q, 1);
    EXPECT(B[0] == 0 && B[1] == 0);
    EXPECT_BYTES(params_at(&a->table, a->weights, TENSOR_SCORE, -1),
                 params_at(&a->adapter_table, a->adapter, TENSOR_SCORE, -1), 12 * sizeof(float));
    model_free(a);
    model_free(b);
}

TEST(an_adapter_is_saved_and_opened_to_the_bit)
{
    char dir[FIXTURE_PATH_MAX];
    struct error error = {0};
    family_make(dir);
    struct model *model = model_fixture_open(model_fixture_path(dir, "adapter"), &OVER);
    struct model *parent = model_fixture_open(model_fixture_path(dir, "parent"), &OVER);
    REQUIRE(model != NULL && model->adapter != NULL && parent != NULL);
    EXPECT(model->lora.r == 3 && model->lora.targets == LORA_ALL_LINEAR);
    EXPECT_STR(parent->digest, model->parent_digest);
    EXPECT_BYTES(parent->weights, model->weights, parent->table.elements * sizeof(float));
    EXPECT(model_save(model, model_fixture_path(dir, "again"), NULL,
                      model_fixture_path(dir, "parent"), model->card, &error) == STATUS_OK);
    struct model *again = model_fixture_open(model_fixture_path(dir, "again"), &OVER);
    REQUIRE(again != NULL);
    EXPECT_BYTES(model->adapter, again->adapter, model->adapter_table.elements * sizeof(float));
    EXPECT_STR(model->digest, again->digest);
    model_free(model);
    model_free(parent);
    model_free(again);
}

TEST(merging_adds_scale_times_b_a_and_replaces_the_score)
{
    char dir[FIXTURE_PATH_MAX];
    family_make(dir);
    struct model *over = model_fixture_open(model_fixture_path(dir, "adapter"), &OVER);
    struct model *merged = model_fixture_open(model_fixture_path(dir, "adapter"), &MERGED);
    REQUIRE(over != NULL && merged != NULL && merged->adapter == NULL);
    EXPECT_STR(over->digest, merged->digest);
    static const enum tensor_kind kinds[] = {TENSOR_Q,    TENSOR_K,  TENSOR_V,   TENSOR_O,
                                             TENSOR_GATE, TENSOR_UP, TENSOR_DOWN};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        const struct tensor_place *w = params_place(&over->table, kinds[i], 1);
        const float *A =
            params_at(&over->adapter_table, over->adapter, TENSOR_LORA_A + kinds[i], 1);
        const float *B =
            params_at(&over->adapter_table, over->adapter, TENSOR_LORA_B + kinds[i], 1);
        for (int32_t n = 0; n < w->rows; n++) {
            for (int32_t k = 0; k < w->columns; k++) {
                size_t at = w->offset + (size_t)(n * w->columns + k);
                double expected = (double)over->weights[at];
                for (int32_t j = 0; j < 3; j++) {
                    expected += 2.0 * (double)B[n * 3 + j] * (double)A[j * w->columns + k];
                }
                EXPECT_CLOSE(expected, merged->weights[at], 1e-6);
            }
        }
    }
    EXPECT_BYTES(params_at(&over->adapter_table, over->adapter, TENSOR_SCORE, -1),
                 params_at(&merged->table, merged->weights, TENSOR_SCORE, -1), 12 * sizeof(float));
    EXPECT_BYTES(params_at(&over->table, over->weights, TENSOR_EMBED, -1),
                 params_at(&merged->table, merged->weights, TENSOR_EMBED, -1), 24 * 12 * 4);
    model_free(over);
    model_free(merged);
}

TEST(an_adapter_over_an_adapter_stands_on_merged_weights)
{
    char dir[FIXTURE_PATH_MAX];
    struct error error = {0};
    family_make(dir);
    struct model *model = model_fixture_open(model_fixture_path(dir, "adapter"), &MERGED);
    REQUIRE(model != NULL);
    struct lora_config lora = {.r = 2, .alpha = 1, .targets = 1u << TENSOR_V};
    REQUIRE(model_add_adapter(model, &lora, 1, &error) == STATUS_OK);
    noise(model, 2);
    REQUIRE(model_save(model, model_fixture_path(dir, "second"), NULL,
                       model_fixture_path(dir, "adapter"), NULL, &error) == STATUS_OK);
    struct model *second = model_fixture_open(model_fixture_path(dir, "second"), &OVER);
    REQUIRE(second != NULL && second->adapter != NULL);
    EXPECT_BYTES(model->weights, second->weights, model->table.elements * sizeof(float));
    EXPECT_BYTES(model->adapter, second->adapter, model->adapter_table.elements * sizeof(float));
    model_free(model);
    model_free(second);
}

static void expect_refused(const char *dir, enum status expected, const char *word)
{
    struct model *model = NULL;
    struct error error = {0};
    enum status status = model_open(fixture_device(), dir, &OVER, &model, &error);
    EXPECT_STR(status_name(expected), status_name(status));
    EXPECT_CONTAINS(word, error.text);
    model_free(model);
}

TEST(a_parent_that_changed_or_left_is_noticed)
{
    char dir[FIXTURE_PATH_MAX];
    struct model_config config = fixture_config(ARCHITECTURE_QWEN2);
    family_make(dir);
    fixture_model(model_fixture_path(dir, "parent"), &config, &(struct params_heads){.score = true},
                  6);
    expect_refused(model_fixture_path(dir, "adapter"), STATUS_CONFLICT, "is not the model");
    EXPECT(dir_remove(model_fixture_path(dir, "parent"), NULL) == STATUS_OK);
    expect_refused(model_fixture_path(dir, "adapter"), STATUS_NOT_FOUND, "base_model_name_or_path");
}

TEST(both_directories_can_be_moved_together)
{
    char dir[FIXTURE_PATH_MAX], elsewhere[FIXTURE_PATH_MAX];
    family_make(dir);
    fixture_dir(elsewhere);
    REQUIRE(rename(model_fixture_path(dir, "parent"), model_fixture_path(elsewhere, "parent")) ==
            0);
    REQUIRE(rename(model_fixture_path(dir, "adapter"), model_fixture_path(elsewhere, "adapter")) ==
            0);
    struct model *model = model_fixture_open(model_fixture_path(elsewhere, "adapter"), &OVER);
    EXPECT(model != NULL);
    model_free(model);
}

/* What PEFT itself leaves: no tailor.json, a path relative to where it ran. */
TEST(an_adapter_from_elsewhere_is_welcome)
{
    char dir[FIXTURE_PATH_MAX];
    family_make(dir);
    EXPECT(remove(model_fixture_path(dir, "adapter/tailor.json")) == 0);
    json_t *json = fixture_read(dir, "adapter/adapter_config.json");
    json_object_set_new(json, "base_model_name_or_path", json_string("parent"));
    EXPECT(json_write_file(model_fixture_path(dir, "adapter/adapter_config.json"), json, NULL) ==
           STATUS_OK);
    struct model *model = model_fixture_open(model_fixture_path(dir, "adapter"), &OVER);
    REQUIRE(model != NULL);
    EXPECT(model->card == NULL && model->adapter != NULL);
    model_free(model);
    json_object_set_new(json, "base_model_name_or_path", json_string("adapter"));
    EXPECT(json_write_file(model_fixture_path(dir, "adapter/adapter_config.json"), json, NULL) ==
           STATUS_OK);
    expect_refused(model_fixture_path(dir, "adapter"), STATUS_NOT_FOUND, "\"adapter\"");
    json_decref(json);
}

/* PEFT writes no tokenizer beside an adapter. */
TEST(an_adapter_without_a_tokenizer_has_its_parents)
{
    char dir[FIXTURE_PATH_MAX];
    char found[MODEL_PATH_MAX];
    struct error error;
    struct tokenizer *tokenizer;
    family_make(dir);
    const char *adapter = model_fixture_path(dir, "adapter");
    EXPECT_I64(STATUS_NOT_FOUND, model_tokenizer_open(adapter, &tokenizer, &error));
    EXPECT_CONTAINS("parent: there is no tokenizer.json", error.text);
    model_fixture_text(dir, "parent/tokenizer.json", "{}");
    EXPECT(model_tokenizer_dir(adapter, found, NULL) == STATUS_OK);
    EXPECT_STR("parent", path_base(found));
    model_fixture_text(dir, "adapter/tokenizer.json", "{}");
    EXPECT(model_tokenizer_dir(adapter, found, NULL) == STATUS_OK);
    EXPECT_STR("adapter", path_base(found));
    EXPECT(remove(model_fixture_path(dir, "adapter/tokenizer.json")) == 0);
    EXPECT(dir_remove(model_fixture_path(dir, "parent"), NULL) == STATUS_OK);
    EXPECT_I64(STATUS_NOT_FOUND, model_tokenizer_open(adapter, &tokenizer, &error));
    EXPECT_CONTAINS("base_model_name_or_path", error.text);
}

static void source_floats(void *context, const struct safetensors_entry *entry, size_t first,
                          size_t count, float *out)
{
    (void)context;
    safetensors_read(entry->source, first, count, out);
}

/* Writes the adapter again with its names cut by `cut` bytes, and without the score if told so. */
static void adapter_rewrite(const char *dir, size_t cut, bool with_score)
{
    struct safetensors set;
    const char *path = model_fixture_path(dir, "adapter/adapter_model.safetensors");
    REQUIRE(safetensors_open(path, &set, NULL) == STATUS_OK);
    struct safetensors_entry *entries = mem_alloc(set.count * sizeof(*entries));
    size_t count = 0;
    for (size_t i = 0; i < set.count; i++) {
        if (!with_score && strstr(set.tensors[i].name, "score") != NULL) {
            continue;
        }
        struct safetensors_entry *entry = &entries[count++];
        entry->name = set.tensors[i].name + cut;
        entry->rank = set.tensors[i].rank;
        memcpy(entry->shape, set.tensors[i].shape, sizeof(entry->shape));
        entry->source = &set.tensors[i];
    }
    EXPECT(safetensors_write(path, entries, count, WEIGHT_DTYPE_F32, source_floats, NULL, NULL) ==
           STATUS_OK);
    safetensors_close(&set);
    mem_free(entries);
}

TEST(names_without_prefix_are_read_too)
{
    char dir[FIXTURE_PATH_MAX];
    family_make(dir);
    struct model *before = model_fixture_open(model_fixture_path(dir, "adapter"), &OVER);
    adapter_rewrite(dir, strlen("base_model.model."), true);
    struct model *after = model_fixture_open(model_fixture_path(dir, "adapter"), &OVER);
    REQUIRE(before != NULL && after != NULL);
    EXPECT_BYTES(before->adapter, after->adapter, before->adapter_table.elements * sizeof(float));
    model_free(before);
    model_free(after);
}

TEST(an_adapter_without_score_takes_its_parents)
{
    char dir[FIXTURE_PATH_MAX];
    family_make(dir);
    adapter_rewrite(dir, 0, false);
    struct model *model = model_fixture_open(model_fixture_path(dir, "adapter"), &OVER);
    REQUIRE(model != NULL);
    EXPECT_BYTES(params_at(&model->table, model->weights, TENSOR_SCORE, -1),
                 params_at(&model->adapter_table, model->adapter, TENSOR_SCORE, -1),
                 12 * sizeof(float));
    model_free(model);
}

TEST(an_adapter_of_another_rank_is_refused)
{
    char dir[FIXTURE_PATH_MAX];
    family_make(dir);
    json_t *json = fixture_read(dir, "adapter/adapter_config.json");
    json_object_set_new(json, "r", json_integer(4));
    EXPECT(json_write_file(model_fixture_path(dir, "adapter/adapter_config.json"), json, NULL) ==
           STATUS_OK);
    json_decref(json);
    expect_refused(model_fixture_path(dir, "adapter"), STATUS_FORMAT,
                   "q_proj.lora_A.weight is [3, 12], not [4, 12]");
}

TEST_MAIN()
