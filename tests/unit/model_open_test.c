/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/file.h"
#include "lib/json.h"
#include "tests/model_fixture.h"
#include "tests/test.h"
#include "worker/model/model.h"
#include "worker/model/safetensors.h"

static const struct model_open_options SCORING = {.need_score = true, .positions = 16};
static const struct model_open_options TRAINING = {
    .need_score = true, .init_score = true, .seed = 7, .positions = 16};

static void expect_refused(const char *dir, const struct model_open_options *options,
                           enum status expected, const char *word)
{
    struct model *model = NULL;
    struct error error = {0};
    enum status status = model_open(fixture_device(), dir, options, &model, &error);
    EXPECT_STR(status_name(expected), status_name(status));
    EXPECT_CONTAINS(word, error.text);
    EXPECT(model == NULL);
    model_free(model);
}

/* A llama with a score head in a fresh directory. */
static struct model_config classifier_make(char dir[FIXTURE_PATH_MAX], uint64_t seed)
{
    struct model_config config = fixture_config(ARCHITECTURE_LLAMA);
    fixture_dir(dir);
    fixture_model(dir, &config, &(struct params_heads){.score = true}, seed);
    return config;
}

static void expect_same_weights(const struct model *expected, const struct model *got)
{
    REQUIRE(expected != NULL && got != NULL);
    REQUIRE(expected->table.elements == got->table.elements);
    EXPECT_BYTES(expected->weights, got->weights, got->table.elements * sizeof(float));
}

TEST(a_model_is_saved_and_opened_to_the_bit)
{
    static const enum architecture kinds[] = {ARCHITECTURE_LLAMA, ARCHITECTURE_MISTRAL,
                                              ARCHITECTURE_QWEN2, ARCHITECTURE_QWEN3};
    for (size_t i = 0; i < 4; i++) {
        char dir[FIXTURE_PATH_MAX];
        struct error error = {0};
        struct model_config config = fixture_config(kinds[i]);
        fixture_dir(dir);
        fixture_model(dir, &config, &(struct params_heads){.score = true, .lm_head = i % 2 == 0},
                      i);
        struct model_open_options options = SCORING;
        options.need_lm_head = i % 2 == 0;
        struct model *model = model_fixture_open(dir, &options);
        REQUIRE(model != NULL);
        EXPECT(model->card == NULL && !model->has_format && model->adapter == NULL);
        EXPECT(model->heads.lm_head == options.need_lm_head);
        const char *copy = model_fixture_path(dir, "copy");
        json_t *card = json_pack("{s:[], s:s}", "probes", "owner", "me");
        model->has_format = true;
        model->format = (struct text_format){.template_kind = TEMPLATE_PLAIN, .max_length = 12};
        EXPECT(model_save(model, copy, NULL, NULL, card, &error) == STATUS_OK);
        struct model *back = model_fixture_open(copy, &options);
        expect_same_weights(model, back);
        REQUIRE(back != NULL && back->card != NULL);
        EXPECT_STR("full", json_string_value(json_object_get(back->card, "kind")));
        EXPECT_STR("me", json_string_value(json_object_get(back->card, "owner")));
        EXPECT(back->has_format && back->format.template_kind == TEMPLATE_PLAIN);
        EXPECT(strcmp(model->digest, back->digest) != 0); /* the format is part of what it is */
        EXPECT(model_save(model, copy, NULL, NULL, card, &error) == STATUS_CONFLICT);
        json_decref(card);
        model_free(model);
        model_free(back);
    }
}

TEST(the_digest_follows_content_and_not_names)
{
    char a[FIXTURE_PATH_MAX], b[FIXTURE_PATH_MAX], c[FIXTURE_PATH_MAX];
    classifier_make(a, 1);
    classifier_make(b, 1);
    classifier_make(c, 2);
    struct model *models[3] = {model_fixture_open(a, &SCORING), model_fixture_open(b, &SCORING),
                               model_fixture_open(c, &SCORING)};
    REQUIRE(models[0] && models[1] && models[2]);
    EXPECT_I64(64, strlen(models[0]->digest));
    EXPECT_STR(models[0]->digest, models[1]->digest);
    EXPECT(strcmp(models[0]->digest, models[2]->digest) != 0);
    for (int i = 0; i < 3; i++) {
        model_free(models[i]);
    }
}

TEST(a_base_gets_a_score_only_when_told_to)
{
    char dir[FIXTURE_PATH_MAX];
    struct model_config config = fixture_config(ARCHITECTURE_LLAMA);
    config.tied = true;
    fixture_dir(dir);
    fixture_model(dir, &config, &(struct params_heads){0}, 3);
    expect_refused(dir, &SCORING, STATUS_NOT_FOUND, "no score head");
    struct model *plain = model_fixture_open(dir, &(struct model_open_options){.positions = 16});
    REQUIRE(plain != NULL);
    EXPECT(params_place(&plain->table, TENSOR_SCORE, -1) == NULL);
    model_free(plain);
    struct model *a = model_fixture_open(dir, &TRAINING);
    struct model *b = model_fixture_open(dir, &TRAINING);
    expect_same_weights(a, b);
    const float *score = params_at(&a->table, a->weights, TENSOR_SCORE, -1);
    double square = 0;
    for (int i = 0; i < config.C; i++) {
        square += (double)score[i] * (double)score[i];
    }
    EXPECT(square > 0.05 && square < 5); /* about C / (C + 1) */
    model_free(a);
    model_free(b);
}

TEST(imitation_needs_an_lm_head)
{
    char dir[FIXTURE_PATH_MAX];
    classifier_make(dir, 1);
    struct model_open_options options = SCORING;
    options.need_lm_head = true;
    expect_refused(dir, &options, STATUS_NOT_FOUND, "lm_head.weight");
}

TEST(the_longest_row_is_bounded_by_the_model)
{
    char dir[FIXTURE_PATH_MAX];
    classifier_make(dir, 1);
    struct model_open_options options = SCORING;
    options.positions = 65;
    expect_refused(dir, &options, STATUS_LIMIT, "up to 65 tokens");
    options.positions = 64;
    struct model *model = model_fixture_open(dir, &options);
    REQUIRE(model != NULL && model->rope_positions == 64);
    EXPECT(model->rope[0] == 1 && model->rope[1] == 0);
    model_free(model);
}

TEST(tensors_that_do_not_fit_are_listed_five_at_most)
{
    char dir[FIXTURE_PATH_MAX];
    struct model_config config = classifier_make(dir, 1);
    struct model_config other = config;
    json_t *json;

    other.V = 30;
    json = model_config_json(&other, true, "float32");
    EXPECT(json_write_file(model_fixture_path(dir, "config.json"), json, NULL) == STATUS_OK);
    json_decref(json);
    expect_refused(dir, &SCORING, STATUS_FORMAT,
                   "model.embed_tokens.weight is [24, 12], not [30, 12]");
    other = config;
    other.L = 4;
    json = model_config_json(&other, true, "float32");
    EXPECT(json_write_file(model_fixture_path(dir, "config.json"), json, NULL) == STATUS_OK);
    json_decref(json);
    expect_refused(dir, &SCORING, STATUS_FORMAT,
                   "model.layers.2.input_layernorm.weight is missing; ");
    expect_refused(dir, &SCORING, STATUS_FORMAT, "; and 13 more");
    other.L = 1;
    json = model_config_json(&other, true, "float32");
    EXPECT(json_write_file(model_fixture_path(dir, "config.json"), json, NULL) == STATUS_OK);
    json_decref(json);
    expect_refused(dir, &SCORING, STATUS_FORMAT,
                   "model.layers.1.input_layernorm.weight is not known; ");
    json = model_config_json(&config, false, "float32"); /* a causal model has no score */
    EXPECT(json_write_file(model_fixture_path(dir, "config.json"), json, NULL) == STATUS_OK);
    json_decref(json);
    expect_refused(dir, &(struct model_open_options){.positions = 1}, STATUS_FORMAT,
                   "score.weight is not known");
}

TEST(nan_and_infinity_are_refused_with_tensor_and_index)
{
    static const float bad[] = {NAN, INFINITY};
    for (int i = 0; i < 2; i++) {
        char dir[FIXTURE_PATH_MAX];
        classifier_make(dir, 1);
        const char *path = model_fixture_path(dir, "model.safetensors");
        struct safetensors set;
        struct buf file = {0};
        REQUIRE(safetensors_open(path, &set, NULL) == STATUS_OK);
        size_t offset = (size_t)(safetensors_find(&set, "model.layers.1.mlp.up_proj.weight")->data -
                                 set.maps[0].data);
        safetensors_close(&set);
        REQUIRE(file_read(path, 1 << 20, &file, NULL) == STATUS_OK);
        memcpy(file.data + offset + 4 * 17, &bad[i], 4);
        fixture_bytes(dir, "model.safetensors", file.data, file.length);
        buf_release(&file);
        expect_refused(dir, &SCORING, STATUS_NUMERIC,
                       "model.layers.1.mlp.up_proj.weight, element 17");
    }
}

TEST(a_directory_that_is_no_model_says_what_it_lacks)
{
    char dir[FIXTURE_PATH_MAX];
    fixture_dir(dir);
    expect_refused("/nowhere/at/all", &SCORING, STATUS_NOT_FOUND, "no such directory");
    expect_refused(dir, &SCORING, STATUS_NOT_FOUND, "neither config.json nor adapter_config.json");
    model_fixture_text(dir, "x.gguf", "GGUF");
    expect_refused(model_fixture_path(dir, "x.gguf"), &SCORING, STATUS_NOT_FOUND, "import");
    json_t *json = model_config_json(&(struct model_config){.L = 1,
                                                            .C = 4,
                                                            .H = 1,
                                                            .G = 1,
                                                            .D = 4,
                                                            .F = 4,
                                                            .V = 4,
                                                            .positions_max = 16,
                                                            .norm_epsilon = 1,
                                                            .rope_theta = 1,
                                                            .bos = -1,
                                                            .eos = -1,
                                                            .pad = -1},
                                     true, "float32");
    EXPECT(json_write_file(model_fixture_path(dir, "config.json"), json, NULL) == STATUS_OK);
    json_decref(json);
    expect_refused(dir, &SCORING, STATUS_NOT_FOUND, "model.safetensors.index.json");
    model_fixture_text(dir, "pytorch_model.bin", "x");
    expect_refused(dir, &SCORING, STATUS_UNSUPPORTED, "safe_serialization=True");
    model_fixture_text(dir, "config.json", "{\"a\":1,\"a\":2}");
    expect_refused(dir, &SCORING, STATUS_FORMAT, "duplicate key \"a\"");
}

TEST(links_of_a_hub_cache_are_followed)
{
    char dir[FIXTURE_PATH_MAX], cache[FIXTURE_PATH_MAX];
    classifier_make(dir, 1);
    fixture_dir(cache);
    static const char *const names[] = {"config.json", "model.safetensors"};
    for (int i = 0; i < 2; i++) {
        REQUIRE(symlink(model_fixture_path(dir, names[i]), model_fixture_path(cache, names[i])) ==
                0);
    }
    struct model *model = model_fixture_open(cache, &SCORING);
    EXPECT(model != NULL);
    model_free(model);
}

TEST(a_fifo_does_not_hang)
{
    char dir[FIXTURE_PATH_MAX];
    classifier_make(dir, 1);
    EXPECT(unlink(model_fixture_path(dir, "model.safetensors")) == 0);
    EXPECT(mkfifo(model_fixture_path(dir, "model.safetensors"), 0600) == 0);
    expect_refused(dir, &SCORING, STATUS_NOT_FOUND, "model.safetensors");
}

TEST(a_card_that_lies_is_refused)
{
    char dir[FIXTURE_PATH_MAX];
    classifier_make(dir, 1);
    static const char *const cards[][2] = {
        {"[]", "not a JSON object"},
        {"{}", "format_version"},
        {"{\"format_version\":2,\"kind\":\"full\"}", "\"format_version\" is 2"},
        {"{\"format_version\":1,\"kind\":\"hat\"}", "\"hat\""},
        {"{\"format_version\":1,\"kind\":\"adapter\"}", "disagree"},
        {"{\"format_version\":1,\"kind\":\"full\",\"text\":{\"template\":\"dsp\"}}", "max_length"},
        {"{\"format_version\":1,\"kind\":\"full\",\"text\":{\"template\":\"dsp\","
         "\"max_length\":0}}",
         "max_length"},
    };
    for (size_t i = 0; i < sizeof(cards) / sizeof(*cards); i++) {
        struct model *model = NULL;
        struct error error = {0};
        model_fixture_text(dir, "tailor.json", cards[i][0]);
        EXPECT(model_open(fixture_device(), dir, &SCORING, &model, &error) != STATUS_OK);
        EXPECT_CONTAINS(cards[i][1], error.text);
        EXPECT_CONTAINS("tailor.json", error.text);
    }
}

TEST(a_save_that_fails_leaves_nothing)
{
    char dir[FIXTURE_PATH_MAX];
    classifier_make(dir, 1);
    struct model *model = model_fixture_open(dir, &SCORING);
    REQUIRE(model != NULL);
    static const char *const points[] = {"safetensors_fsync:1", "staging_rename:1", "file_fsync:1"};
    for (size_t i = 0; i < sizeof(points) / sizeof(*points); i++) {
        char out[FIXTURE_PATH_MAX];
        struct error error = {0};
        fixture_dir(out);
        setenv("TAILOR_FAIL", points[i], 1);
        EXPECT(model_save(model, model_fixture_path(out, "m"), NULL, NULL, NULL, &error) ==
               STATUS_IO);
        unsetenv("TAILOR_FAIL");
        EXPECT(rmdir(out) == 0); /* empty */
    }
    model_free(model);
}

TEST_MAIN()
