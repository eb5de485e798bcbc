/* SPDX-License-Identifier: Apache-2.0
 *
 * A text's reward depends on the text alone: scored by itself, in batches of 7 and of 64, among
 * strangers, in any order and so at any offset of a pack, on 1, 2 and 8 threads, by AVX2 and by
 * AVX-512, it has the same bits; in bf16 on AMX too, which are others, and on a GPU in either.
 *
 *     TAILOR_TEXTS=1000 batch_invariance_test     more than the 60 of everyday
 *     TAILOR_MODEL=DIR  batch_invariance_test     a real model instead of two small random ones
 */
#include <stdlib.h>
#include <string.h>

#include "lib/rng.h"
#include "lib/text.h"
#include "tests/model_fixture.h"
#include "tests/test.h"
#include "worker/model/transformer.h"

enum {
    TEXTS_MAX = 100000,
    TEXTS_EVERYDAY = 60,
    TOKENS_MAX = 160,
    BATCH_MAX = 64,
    FAMILY = 4 /* every so many texts open alike: strangers that share a prefix are not merged */
};

static const char *const ISAS_FP32[] = {"avx2", "avx512", "amx", NULL};
static const char *const ISAS_BF16[] = {"amx", NULL};
static const char *const ISAS_GPU[] = {"cuda", NULL};
static const int THREADS[] = {1, 2, 8};
static const int32_t BATCHES[] = {7, BATCH_MAX};
static const enum pooling POOLINGS[] = {POOLING_LAST_TOKEN, POOLING_MEAN};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* ---- texts ----------------------------------------------------------------------------------- */

struct texts {
    struct arena arena;
    int32_t count;
    const int32_t **ids; /* (count) */
    int32_t *lengths;    /* (count) */
};

static int32_t texts_wanted(void)
{
    int64_t count = TEXTS_EVERYDAY;
    const char *wanted = getenv("TAILOR_TEXTS");
    CHECK(wanted == NULL || (parse_i64(wanted, &count) && count > 0 && count <= TEXTS_MAX));
    return (int32_t)count;
}

/* Lengths from 1 to TOKENS_MAX; one of a family is a prefix of its neighbours or nearly so. */
static void texts_draw(struct texts *texts, int32_t V)
{
    *texts = (struct texts){.count = texts_wanted()};
    texts->ids = arena_array(&texts->arena, const int32_t *, texts->count);
    texts->lengths = arena_array(&texts->arena, int32_t, texts->count);
    for (int32_t t = 0; t < texts->count; t++) {
        uint64_t family = (uint64_t)(t / FAMILY);
        int32_t *ids = arena_array(&texts->arena, int32_t, TOKENS_MAX);
        int32_t shared = (int32_t)rng_below(1, family, 0, TOKENS_MAX);
        texts->lengths[t] = 1 + (int32_t)rng_below(2, (uint64_t)t, 0, TOKENS_MAX);
        for (int32_t i = 0; i < texts->lengths[t]; i++) {
            ids[i] = (int32_t)rng_below(3, i < shared ? family : TEXTS_MAX + (uint64_t)t,
                                        (uint64_t)i, (uint64_t)V);
        }
        texts->ids[t] = ids;
    }
}

/* ---- models ---------------------------------------------------------------------------------- */

static struct model *random_model(struct device *device, bool qwen3)
{
    struct model_config config = {.architecture = qwen3 ? ARCHITECTURE_QWEN3 : ARCHITECTURE_LLAMA,
                                  .L = 2,
                                  .H = 6,
                                  .G = qwen3 ? 2 : 3,
                                  .D = qwen3 ? 24 : 16,
                                  .C = 88,
                                  .F = 136,
                                  .V = 97,
                                  .positions_max = TOKENS_MAX,
                                  .norm_epsilon = 1e-6f,
                                  .rope_theta = 1e4,
                                  .qk_norm = qwen3,
                                  .tied = true,
                                  .bos = -1,
                                  .eos = -1,
                                  .pad = -1};
    return model_fixture_random(device, &config, &(struct params_heads){.score = true}, TOKENS_MAX);
}

static struct model *open_model(struct device *device, bool qwen3)
{
    const char *dir = getenv("TAILOR_MODEL");
    struct model_open_options options = {
        .need_score = true, .init_score = true, .seed = 5, .positions = TOKENS_MAX};
    struct model *model;
    struct error error;
    if (dir == NULL) {
        return random_model(device, qwen3);
    }
    if (model_open(device, dir, &options, &model, &error) != STATUS_OK) {
        fatal(1, "%s", error.text);
    }
    return model;
}

/* ---- scoring --------------------------------------------------------------------------------- */

struct scoring {
    struct model *model;
    struct activations *acts;
    enum pooling pooling;
};

static void scoring_open(struct scoring *scoring, struct device *device, bool qwen3,
                         enum pooling pooling)
{
    struct error error;
    scoring->model = open_model(device, qwen3);
    scoring->pooling = pooling;
    const struct model_config *c = &scoring->model->config;
    struct pass_capacity capacity = {.S = BATCH_MAX * TOKENS_MAX,
                                     .R = BATCH_MAX,
                                     .row_tokens_max = TOKENS_MAX,
                                     .all_tokens = true};
    struct scratch_shape shape = pass_scratch(c, &capacity, 0);
    CHECK(device->ops->scratch_reserve(device, &shape, &error) == STATUS_OK);
    CHECK(activations_create(device, c, &scoring->model->lora, &capacity, &scoring->acts, &error) ==
          STATUS_OK);
}

static void scoring_close(struct scoring *scoring)
{
    activations_free(scoring->acts);
    model_free(scoring->model);
}

/* Rewards of texts[order[0 … count)] in one pack, each a group of its own; by text. */
static void score_batch(const struct scoring *scoring, const struct texts *texts,
                        const int32_t *order, int32_t count, float *reward_out)
{
    struct arena arena = {0};
    struct pack pack;
    struct reading reading;
    float reward[BATCH_MAX];
    struct pack_group *groups = arena_array(&arena, struct pack_group, count);
    for (int32_t i = 0; i < count; i++) {
        groups[i] = (struct pack_group){
            .ids = &texts->ids[order[i]], .counts = &texts->lengths[order[i]], .rows = 1};
    }
    pack_build(&arena, groups, count, PACK_SHARED, &pack);
    reading_build(&arena, &pack, scoring->pooling, scoring->model->config.eos, NULL, true, true,
                  &reading);
    activations_stage(scoring->acts, &pack, &reading);
    transformer_forward(scoring->model, scoring->acts, &reading, 0, NULL, reward, NULL);
    for (int32_t i = 0; i < count; i++) {
        reward_out[order[i]] = reward[i];
    }
    arena_release(&arena);
}

static void score_all(const struct scoring *scoring, const struct texts *texts,
                      const int32_t *order, int32_t batch, float *reward_out)
{
    for (int32_t at = 0; at < texts->count; at += batch) {
        int32_t count = texts->count - at < batch ? texts->count - at : batch;
        score_batch(scoring, texts, order + at, count, reward_out);
    }
}

/* As they come, then shuffled anew for every batch size: strangers and offsets change. */
static void order_fill(int32_t *order, int32_t count, uint64_t shuffle)
{
    for (int32_t i = 0; i < count; i++) {
        order[i] = i;
    }
    for (int32_t i = count - 1; shuffle > 0 && i > 0; i--) {
        int32_t j = (int32_t)rng_below(4, shuffle, (uint64_t)i, (uint64_t)i + 1);
        int32_t kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

/* ---- the property ---------------------------------------------------------------------------- */

static void expect_same(const struct texts *texts, const float *alone, const float *got,
                        const char *how)
{
    int32_t differing = 0, first = -1;
    for (int32_t t = 0; t < texts->count; t++) {
        if (memcmp(&alone[t], &got[t], sizeof(float)) != 0) {
            first = first < 0 ? t : first;
            differing++;
        }
    }
    if (differing > 0) {
        test_fail(__FILE__, __LINE__,
                  "%s: %d of %d rewards differ; text %d of %d tokens: expected %.9g, got %.9g", how,
                  differing, texts->count, first, texts->lengths[first], (double)alone[first],
                  (double)got[first]);
    }
}

/* All ways of one device against `alone`, which the first device fills. */
static void compare_device(struct device_options options, bool qwen3, enum pooling pooling,
                           struct texts *texts, float *alone, bool *filled)
{
    const char *isa = options.isa, *dtype = options.dtype == DTYPE_BF16 ? " bf16" : "";
    const int threads = options.threads;
    struct device *device;
    struct error error;
    struct scoring scoring;
    if (device_open(&options, &device, &error) != STATUS_OK) {
        test_skip("%s", error.text);
        return;
    }
    scoring_open(&scoring, device, qwen3, pooling);
    if (texts->ids == NULL) {
        texts_draw(texts, scoring.model->config.V);
    }
    size_t count = (size_t)texts->count;
    int32_t *order = mem_alloc(count * sizeof(int32_t));
    float *got = mem_alloc(count * sizeof(float));
    char how[96];
    order_fill(order, texts->count, 0);
    score_all(&scoring, texts, order, 1, got);
    if (!*filled) {
        memcpy(alone, got, count * sizeof(float));
        *filled = true;
    }
    snprintf(how, sizeof(how), "%s%s, %d threads, alone", isa, dtype, threads);
    expect_same(texts, alone, got, how);
    for (size_t b = 0; b < COUNT(BATCHES); b++) {
        for (uint64_t shuffle = 0; shuffle < 2; shuffle++) {
            order_fill(order, texts->count, shuffle * (b + 1));
            score_all(&scoring, texts, order, BATCHES[b], got);
            snprintf(how, sizeof(how), "%s%s, %d threads, batches of %d%s", isa, dtype, threads,
                     BATCHES[b], shuffle > 0 ? ", shuffled" : "");
            expect_same(texts, alone, got, how);
        }
    }
    mem_free(order);
    mem_free(got);
    scoring_close(&scoring);
    device_close(device);
}

static void compare_all(const char *const *isas, enum dtype dtype, bool qwen3, enum pooling pooling)
{
    struct texts texts = {0};
    float *alone = mem_alloc((size_t)texts_wanted() * sizeof(float));
    bool filled = false;
    const char *only = getenv("TAILOR_ISA");
    for (; *isas != NULL; isas++) {
        if (only != NULL && strcmp(only, *isas) != 0) {
            continue;
        }
        for (size_t t = 0; t < COUNT(THREADS); t++) {
            struct device_options options = {.isa = *isas, .threads = THREADS[t], .dtype = dtype};
            compare_device(options, qwen3, pooling, &texts, alone, &filled);
        }
    }
    if (filled) { /* a test of equal constants would prove nothing */
        int32_t distinct = 0;
        for (int32_t t = 1; t < texts.count; t++) {
            distinct += alone[t] != alone[t - 1];
        }
        EXPECT(texts.count == 1 || distinct > texts.count / 2);
    }
    mem_free(alone);
    arena_release(&texts.arena);
}

TEST(a_text_alone_in_any_batch_and_at_any_offset_has_the_same_reward)
{
    for (size_t p = 0; p < COUNT(POOLINGS); p++) {
        compare_all(ISAS_FP32, DTYPE_FP32, false, POOLINGS[p]);
    }
}

TEST(so_it_is_with_normalised_queries_and_odd_sizes)
{
    if (getenv("TAILOR_MODEL") == NULL) {
        compare_all(ISAS_FP32, DTYPE_FP32, true, POOLING_LAST_TOKEN);
    }
}

TEST(so_it_is_in_bf16_on_amx)
{
    for (size_t p = 0; p < COUNT(POOLINGS); p++) {
        compare_all(ISAS_BF16, DTYPE_BF16, false, POOLINGS[p]);
    }
    if (getenv("TAILOR_MODEL") == NULL) {
        compare_all(ISAS_BF16, DTYPE_BF16, true, POOLING_LAST_TOKEN);
    }
}

TEST(so_it_is_on_a_gpu)
{
    if (!device_gpu_is_linked()) {
        test_skip("this executable has no GPU");
        return;
    }
    for (enum dtype dtype = DTYPE_FP32; dtype <= DTYPE_BF16; dtype++) {
        for (size_t p = 0; p < COUNT(POOLINGS); p++) {
            compare_all(ISAS_GPU, dtype, false, POOLINGS[p]);
        }
        if (getenv("TAILOR_MODEL") == NULL) {
            compare_all(ISAS_GPU, dtype, true, POOLING_LAST_TOKEN);
        }
    }
}

TEST_MAIN()
