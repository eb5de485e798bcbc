/* SPDX-License-Identifier: Apache-2.0
 *
 * Sections B, E and F, as far as files go: every directory opens, both key styles of config.json
 * give the same model, frequencies, and the import of SmolLM2 (TAILOR_GGUF names the file).
 */
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/sha256.h"
#include "tests/golden/golden.h"
#include "tests/model_fixture.h"
#include "tests/test.h"
#include "worker/model/gguf.h"
#include "worker/model/model.h"
#include "worker/model/safetensors.h"

static const struct model_open_options ANY = {.need_score = true, .init_score = true};

static struct model *golden_open(const char *format, const char *name,
                                 const struct model_open_options *options)
{
    char path[GOLDEN_PATH_MAX];
    snprintf(path, sizeof(path), format, golden_path("%s", ""), name);
    return model_fixture_open(path, options);
}

static void expect_same_backbone(const struct model *base, const struct model *rm)
{
    for (int32_t i = 0; i < rm->table.count; i++) {
        const struct tensor_place *place = &rm->table.places[i];
        if (place->kind != TENSOR_SCORE) {
            const float *expected =
                params_at(&base->table, base->weights, place->kind, place->layer);
            REQUIRE(expected != NULL);
            EXPECT_BYTES(expected, rm->weights + place->offset, place->elements * sizeof(float));
        }
    }
}

static void expect_frequencies(const char *name, const struct model *model)
{
    struct safetensors set;
    struct error error;
    char path[GOLDEN_PATH_MAX];
    snprintf(path, sizeof(path), "%s", golden_path("cases/%s/mixed.states.safetensors", name));
    if (!file_exists(path)) {
        test_skip("cases/%s/mixed.states.safetensors: not there", name);
        return;
    }
    REQUIRE(safetensors_open(path, &set, &error) == STATUS_OK);
    const struct safetensor *tensor = safetensors_find(&set, "inv_freq");
    float expected[128], got[128];
    REQUIRE(tensor != NULL && tensor->elements == (size_t)model->config.D / 2);
    safetensors_read(tensor, 0, tensor->elements, expected);
    model_rope_inverse_frequencies(&model->config, got);
    for (size_t i = 0; i < tensor->elements; i++) {
        EXPECT_CLOSE(1, (double)got[i] / (double)expected[i], 1e-6);
    }
    safetensors_close(&set);
}

TEST(base_and_rm_load_to_the_same_backbone)
{
    struct arena arena = {0};
    const char **names;
    int count = golden_list(&arena, "models", &names);
    if (count == 0) {
        test_skip("models: not in this golden directory");
    }
    for (int i = 0; i < count; i++) {
        struct model *base = golden_open("%s/models/%s/base", names[i], &ANY);
        struct model *rm = golden_open("%s/models/%s/rm", names[i], &ANY);
        REQUIRE(base != NULL && rm != NULL);
        expect_same_backbone(base, rm);
        expect_frequencies(names[i], rm);
        model_free(base);
        model_free(rm);
    }
    arena_release(&arena);
}

TEST(adapters_of_peft_open_and_merge)
{
    struct arena arena = {0};
    const char **names;
    int count = golden_list(&arena, "lora", &names);
    if (count == 0) {
        test_skip("lora: not in this golden directory");
    }
    for (int i = 0; i < count; i++) {
        struct model_open_options options = ANY;
        struct model *over = golden_open("%s/lora/%s/adapter", names[i], &options);
        options.merge_adapter = true;
        struct model *merged = golden_open("%s/lora/%s/adapter", names[i], &options);
        REQUIRE(over != NULL && merged != NULL);
        EXPECT(over->adapter != NULL && merged->adapter == NULL);
        EXPECT(over->lora.r > 0 && over->lora.targets != 0);
        EXPECT_BYTES(params_at(&over->adapter_table, over->adapter, TENSOR_SCORE, -1),
                     params_at(&merged->table, merged->weights, TENSOR_SCORE, -1),
                     (size_t)over->config.C * sizeof(float));
        model_free(over);
        model_free(merged);
    }
    arena_release(&arena);
}

TEST(the_import_of_smollm2_gives_every_tensor_its_digest)
{
    const char *gguf = getenv("TAILOR_GGUF");
    json_t *sums = golden_load("smollm2/sums.json");
    if (gguf == NULL || sums == NULL) {
        test_skip("TAILOR_GGUF does not name SmolLM2-135M-Instruct.Q4_1.gguf");
        json_decref(sums);
        return;
    }
    char dir[FIXTURE_PATH_MAX];
    struct error error = {0};
    struct safetensors set;
    fixture_dir(dir);
    EXPECT(gguf_import(gguf, model_fixture_path(dir, "out"), &error) == STATUS_OK);
    EXPECT_STR("", error.text);
    REQUIRE(safetensors_open_dir(model_fixture_path(dir, "out"), "model", &set, &error) ==
            STATUS_OK);
    json_t *tensors = json_object_get(sums, "tensors");
    EXPECT_I64(json_object_size(tensors), set.count);
    for (size_t i = 0; i < set.count; i++) {
        char hex[SHA256_HEX_SIZE];
        const json_t *expected = json_object_get(tensors, set.tensors[i].name);
        sha256_hex(set.tensors[i].data, set.tensors[i].bytes, hex);
        EXPECT_STR(json_string_value(json_object_get(expected, "sha256")), hex);
    }
    safetensors_close(&set);
    json_decref(sums);
}

TEST_MAIN()
