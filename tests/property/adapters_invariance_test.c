/* SPDX-License-Identifier: Apache-2.0
 *
 * A text's reward by one model is the same, bit for bit, by the model with that adapter alone and
 * in a pass with other adapters over the same weights: of other ranks, in any order, with rows of
 * no adapter between, on each instruction set, on a GPU and in bf16.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/rng.h"
#include "tests/model_fixture.h"
#include "tests/test.h"
#include "worker/model/adapter_open.h"
#include "worker/model/transformer.h"

enum { ADAPTERS = 5, TEXTS = 40, TOKENS_MAX = 70, R_MAX = 16 };

static const int32_t RANKS[ADAPTERS] = {4, R_MAX, 1, 8, 3};

struct scene {
    struct device *device;
    struct model *model;
    struct activations *acts;
    struct adapter adapters[ADAPTERS];
    const struct adapter *list[ADAPTERS];
    int32_t ids[TEXTS][TOKENS_MAX], lengths[TEXTS];
    enum pooling pooling;
};

/* ---- the scene ------------------------------------------------------------------------------- */

static void adapter_draw(struct scene *scene, int32_t index, uint32_t targets)
{
    struct adapter *adapter = &scene->adapters[index];
    struct error error;
    void *block;
    *adapter = (struct adapter){.lora = {.r = RANKS[index], .alpha = 9, .targets = targets}};
    params_table_init_adapter(&adapter->table, &scene->model->config, &adapter->lora);
    size_t elements = adapter->table.elements;
    CHECK(scene->device->ops->block_alloc(scene->device, elements * sizeof(float), "adapter",
                                          &block, &error) == STATUS_OK);
    adapter->weights = block;
    float *host = mem_alloc(elements * sizeof(*host));
    for (size_t i = 0; i < elements; i++) {
        host[i] = (float)(0.2 * rng_normal((uint64_t)index + 11, 0, i));
    }
    scene->device->ops->copy_in(scene->device, block, host, elements * sizeof(*host));
    mem_free(host);
    scene->list[index] = adapter;
}

static void texts_draw(struct scene *scene)
{
    for (uint64_t t = 0; t < TEXTS; t++) {
        scene->lengths[t] = 1 + (int32_t)rng_below(2, t, 0, TOKENS_MAX);
        for (int32_t i = 0; i < scene->lengths[t]; i++) {
            scene->ids[t][i] =
                (int32_t)rng_below(3, t, (uint64_t)i, (uint64_t)scene->model->config.V);
        }
    }
}

static bool scene_open(struct scene *scene, const struct device_options *options,
                       enum pooling pooling, uint32_t targets)
{
    struct error error;
    struct model_config config = fixture_config(ARCHITECTURE_LLAMA);
    const struct lora_config widest = {.r = R_MAX};
    config.positions_max = TOKENS_MAX;
    *scene = (struct scene){.pooling = pooling};
    if (device_open(options, &scene->device, &error) != STATUS_OK) {
        test_skip("%s", error.text);
        return false;
    }
    scene->model = model_fixture_random(scene->device, &config,
                                        &(struct params_heads){.score = true}, TOKENS_MAX);
    struct pass_capacity capacity = {
        .S = TEXTS * TOKENS_MAX, .R = TEXTS, .row_tokens_max = TOKENS_MAX, .all_tokens = true};
    struct scratch_shape shape = pass_scratch(&config, &capacity, R_MAX);
    CHECK(scene->device->ops->scratch_reserve(scene->device, &shape, &error) == STATUS_OK);
    CHECK(activations_create(scene->device, &config, &widest, &capacity, &scene->acts, &error) ==
          STATUS_OK);
    for (int32_t i = 0; i < ADAPTERS; i++) {
        adapter_draw(scene, i, targets);
    }
    texts_draw(scene);
    return true;
}

static void scene_close(struct scene *scene)
{
    for (int32_t i = 0; i < ADAPTERS; i++) {
        scene->device->ops->block_free(scene->device, scene->adapters[i].weights,
                                       adapter_bytes(&scene->adapters[i]));
        params_table_release(&scene->adapters[i].table);
    }
    activations_free(scene->acts);
    model_free(scene->model);
    device_close(scene->device);
}

/* ---- the two ways ---------------------------------------------------------------------------- */

/* −1: none. */
static int32_t adapter_of(int32_t text)
{
    return text * 7 % (ADAPTERS + 1) - 1;
}

static void forward(struct scene *scene, const int32_t *order, int32_t count, bool together,
                    float *reward_out)
{
    struct arena arena = {0};
    struct pack pack;
    struct reading reading;
    float reward[TEXTS];
    const int32_t *ids[TEXTS];
    struct pack_group groups[TEXTS];
    int32_t adapter_of_group[TEXTS];
    for (int32_t i = 0; i < count; i++) {
        ids[i] = scene->ids[order[i]];
        groups[i] = (struct pack_group){&ids[i], &scene->lengths[order[i]], 1};
        adapter_of_group[i] = adapter_of(order[i]);
    }
    pack_build(&arena, groups, count, PACK_SHARED, &pack);
    reading_build(&arena, &pack, scene->pooling, -1, NULL, true, true, &reading);
    if (together) {
        reading_adapt(&arena, &pack, scene->list, ADAPTERS, R_MAX, adapter_of_group, &reading);
    }
    activations_stage(scene->acts, &pack, &reading);
    transformer_forward(scene->model, scene->acts, &reading, 0, NULL, reward, NULL);
    for (int32_t i = 0; i < count; i++) {
        reward_out[order[i]] = reward[i];
    }
    arena_release(&arena);
}

/* The model as it is when its directory is opened with this adapter alone. */
static void alone(struct scene *scene, int32_t text, float *reward_out)
{
    struct model *model = scene->model;
    const int32_t index = adapter_of(text);
    if (index >= 0) {
        model->lora = scene->adapters[index].lora;
        model->adapter_table = scene->adapters[index].table;
        model->adapter = scene->adapters[index].weights;
    }
    forward(scene, &text, 1, false, reward_out);
    model->lora = (struct lora_config){0};
    model->adapter_table = (struct params_table){0};
    model->adapter = NULL;
}

static void compare(const struct device_options *options, enum pooling pooling, uint32_t targets)
{
    static struct scene scene;
    float expected[TEXTS], got[TEXTS];
    int32_t order[TEXTS], distinct = 0;
    if (!scene_open(&scene, options, pooling, targets)) {
        return;
    }
    for (int32_t t = 0; t < TEXTS; t++) {
        alone(&scene, t, expected);
        distinct += t > 0 && expected[t] != expected[t - 1];
    }
    EXPECT(distinct > TEXTS / 2);
    for (int32_t by = 1; by <= 3; by += 2) { /* as they come, and every third: other neighbours */
        for (int32_t t = 0; t < TEXTS; t++) {
            order[t] = t * by % TEXTS;
        }
        forward(&scene, order, TEXTS, true, got);
        for (int32_t t = 0; t < TEXTS; t++) {
            if (memcmp(&expected[t], &got[t], sizeof(float)) != 0) {
                test_fail(__FILE__, __LINE__,
                          "%s%s: text %d by adapter %d: expected %.9g as alone, got %.9g",
                          options->isa, options->dtype == DTYPE_BF16 ? " bf16" : "", t,
                          adapter_of(t), (double)expected[t], (double)got[t]);
                break;
            }
        }
    }
    scene_close(&scene);
}

/* All that are in this executable, or the one that TAILOR_ISA names. */
static void compare_everywhere(enum pooling pooling, uint32_t targets)
{
    static const struct device_options devices[] = {
        {.isa = "ref", .threads = 2},
        {.isa = "avx2", .threads = 2},
        {.isa = "avx512", .threads = 2},
        {.isa = "amx", .threads = 2},
        {.isa = "amx", .threads = 2, .dtype = DTYPE_BF16},
        {.isa = "cuda", .threads = 2},
        {.isa = "cuda", .threads = 2, .dtype = DTYPE_BF16},
    };
    const char *only = getenv("TAILOR_ISA");
    for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
        const bool there = strcmp(devices[i].isa, "cuda") != 0 || device_gpu_is_linked();
        if (there && (only == NULL || strcmp(only, devices[i].isa) == 0)) {
            compare(&devices[i], pooling, targets);
        }
    }
}

TEST(a_reward_among_other_adapters_has_the_bits_of_its_model_alone)
{
    compare_everywhere(POOLING_LAST_TOKEN, LORA_ALL_LINEAR);
}

TEST(so_it_is_where_all_tokens_are_read)
{
    compare_everywhere(POOLING_MEAN, LORA_ALL_LINEAR);
}

TEST(so_it_is_where_only_some_matrices_have_adapters)
{
    compare_everywhere(POOLING_LAST_TOKEN, 1u << TENSOR_V | 1u << TENSOR_DOWN);
}

TEST_MAIN()
