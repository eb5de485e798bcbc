/* SPDX-License-Identifier: Apache-2.0
 *
 * Packed with shared prefixes = alone and padded by nothing: rewards bit for bit, gradients within
 * 1e-4 of the largest entry (in bf16, which rounds what rows share once or in each, 0.1), on random
 * groups of random models. Also: slices, packs and threads change no bit of a loss; trimming the
 * last layer to the tokens that are read changes none either.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/rng.h"
#include "lib/text.h"
#include "tests/model_fixture.h"
#include "tests/test.h"
#include "worker/model/transformer.h"
#include "worker/trainer/scorer.h"
#include "worker/trainer/step.h"
#include "worker/trainer/verify.h"

enum { TRIALS = 6, GROUPS = 6, VOCABULARY = 97 };

/* Random models for each test; TAILOR_TRIALS takes fewer where a device is slow. */
static int trials(void)
{
    int64_t count = TRIALS;
    const char *wanted = getenv("TAILOR_TRIALS");
    CHECK(wanted == NULL || (parse_i64(wanted, &count) && count > 0 && count <= TRIALS));
    return (int)count;
}

static uint64_t draw_at;

static uint64_t draw(uint64_t bound)
{
    return rng_below(7, rng_stream("packing test"), draw_at++, bound);
}

/* Random groups of 2…9 rows: a common prompt, responses that may share openings, one row now and
 * then a prefix of another, or its copy. */
static struct dataset *random_dataset(struct arena *arena)
{
    struct dataset *d = arena_new(arena, struct dataset);
    struct data_group *groups = arena_array(arena, struct data_group, GROUPS);
    struct data_row *rows = arena_array(arena, struct data_row, GROUPS * 9);
    int32_t *tokens = arena_array(arena, int32_t, GROUPS * 9 * 200);
    for (int g = 0; g < GROUPS; g++) {
        int32_t K = 2 + (int32_t)draw(8), prompt = (int32_t)draw(60);
        groups[g] = (struct data_group){.row0 = d->row_count, .rows = K, .line = g + 1};
        for (int32_t k = 0; k < K; k++) {
            struct data_row *row = &rows[d->row_count++];
            int32_t length = prompt + 1 + (int32_t)draw(70), shared = prompt;
            *row = (struct data_row){.token0 = d->token_count,
                                     .tokens = length,
                                     .response = k,
                                     .score = (float)draw(4),
                                     .answer_token = prompt};
            row->normalised = row->score / 4;
            const struct data_row *before =
                &rows[groups[g].row0 + (k > 0 ? (int32_t)draw((uint64_t)k) : 0)];
            if (k > 0 && draw(3) == 0) { /* a shared opening; sometimes all of the shorter row */
                shared = before->tokens < length ? before->tokens : length;
            }
            for (int32_t i = 0; i < length; i++) {
                tokens[d->token_count + i] = k > 0 && i < shared && i < before->tokens
                                                 ? tokens[before->token0 + i]
                                                 : (int32_t)draw(VOCABULARY);
            }
            d->token_count += length;
            groups[g].tokens += length;
            d->row_tokens_max = length > d->row_tokens_max ? length : d->row_tokens_max;
        }
        groups[g].pairs = group_pairs(&rows[groups[g].row0], K);
        d->group_rows_max = K > d->group_rows_max ? K : d->group_rows_max;
    }
    d->groups = groups;
    d->rows = rows;
    d->tokens = tokens;
    d->group_count = GROUPS;
    return d;
}

static struct model_config random_config(int trial)
{
    static const int32_t heads[][2] = {{4, 2}, {6, 1}, {3, 3}};
    struct model_config c = {.architecture = (enum architecture)(trial % 4),
                             .L = 2,
                             .H = heads[trial % 3][0],
                             .G = heads[trial % 3][1],
                             .D = trial % 2 == 0 ? 16 : 24,
                             .F = 72,
                             .V = VOCABULARY,
                             .positions_max = 512,
                             .norm_epsilon = 1e-6f,
                             .rope_theta = 1e4,
                             .tied = trial % 2 == 0,
                             .bos = -1,
                             .eos = 3,
                             .pad = -1};
    c.C = 48;
    c.qkv_bias = c.architecture == ARCHITECTURE_QWEN2;
    c.qk_norm = c.architecture == ARCHITECTURE_QWEN3;
    return c;
}

static struct model *random_model(struct device *device, int trial, bool lora)
{
    struct model_config model_config = random_config(trial);
    struct model *m = model_fixture_random(
        device, &model_config, &(struct params_heads){.lm_head = true, .score = true}, 512);
    struct error error;
    if (lora) {
        struct lora_config config = {.r = 4, .alpha = 8, .targets = LORA_ALL_LINEAR};
        CHECK(model_add_adapter(m, &config, 3, &error) == STATUS_OK);
        const size_t elements = m->adapter_table.elements;
        float *adapter = fixture_host(device, m->adapter, elements);
        for (size_t e = 0; e < elements; e++) {
            adapter[e] += (float)(0.05 * rng_normal(13, 99, e));
        }
        device->ops->copy_in(device, m->adapter, adapter, elements * sizeof(float));
        mem_free(adapter);
    }
    return m;
}

struct bench {
    struct model *model;
    struct stepper stepper;
    struct loss_config loss;
    struct dataset *dataset;
    struct batch_group groups[GROUPS];
};

static void bench_open(struct bench *b, struct device *device, struct arena *arena, int trial,
                       bool lora)
{
    struct error error;
    b->model = random_model(device, trial, lora);
    b->dataset = random_dataset(arena);
    b->loss = (struct loss_config){.lm_loss_coeff = trial % 3 == 0 ? 0 : 0.3,
                                   .lm_score_thresh = 0.5,
                                   .center_rewards_coefficient = 0.01,
                                   .lm_on_response = trial % 2 == 1};
    const struct model_config *c = &b->model->config;
    struct pass_capacity capacity = {.S = (int32_t)b->dataset->token_count,
                                     .R = (int32_t)b->dataset->row_count,
                                     .row_tokens_max = b->dataset->row_tokens_max,
                                     .prefix = b->dataset->row_tokens_max,
                                     .backward = true,
                                     .all_tokens = true,
                                     .imitation = true};
    struct scratch_shape shape = pass_scratch(c, &capacity, b->model->lora.r);
    CHECK(device->ops->scratch_reserve(device, &shape, &error) == STATUS_OK);
    b->stepper = (struct stepper){.model = b->model,
                                  .loss = &b->loss,
                                  .pooling = (enum pooling)(trial % 4),
                                  .slices = 1 + trial % 4,
                                  .capacity_tokens = 200,
                                  .mode = PACK_SHARED};
    CHECK(activations_create(device, c, &b->model->lora, &capacity, &b->stepper.acts, &error) ==
          STATUS_OK);
    CHECK(slice_tree_create(device, model_trained_table(b->model)->elements, b->stepper.slices,
                            &b->stepper.tree, &error) == STATUS_OK);
    for (int32_t g = 0; g < GROUPS; g++) {
        b->groups[g] = (struct batch_group){
            .dataset = b->dataset, .group = g, .part = g % 3 == 0 ? MIX_GENERAL : MIX_OWN};
    }
}

static void bench_close(struct bench *b)
{
    activations_free(b->stepper.acts);
    slice_tree_free(b->stepper.tree);
    model_free(b->model);
}

/* A GPU in executables without one; all but the one that TAILOR_ISA names. */
static bool isa_is_left_out(const char *isa)
{
    const char *only = getenv("TAILOR_ISA");
    if (isa != NULL && strcmp(isa, "cuda") == 0 && !device_gpu_is_linked()) {
        return true;
    }
    return isa != NULL && only != NULL && strcmp(isa, only) != 0;
}

static struct device *open_device_in(enum dtype dtype, const char *isa, int threads)
{
    struct device *device;
    struct error error;
    struct device_options options = {.isa = isa, .threads = threads, .dtype = dtype};
    if (isa_is_left_out(isa)) {
        return NULL;
    }
    if (device_open(&options, &device, &error) != STATUS_OK) {
        test_skip("%s", error.text);
        return NULL;
    }
    return device;
}

static struct device *open_device(const char *isa, int threads)
{
    return open_device_in(DTYPE_FP32, isa, threads);
}

/* Those from ISA_OWN on have bits of their own each; in bf16 AMX by instructions. */
enum { ISA_COUNT = 8, ISA_OWN = 4, ISA_BF16 = 5 };
static const char *const ISAS[ISA_COUNT] = {"ref",  "avx2",   "avx512", "amx",
                                            "cuda", "avx512", "amx",    "cuda"};
static const enum dtype DTYPES[ISA_COUNT] = {[ISA_BF16] = DTYPE_BF16, DTYPE_BF16, DTYPE_BF16};

TEST(packed_with_shared_prefixes_equals_each_row_alone)
{
    for (int i = 0; i < ISA_COUNT; i++) {
        struct device *device = open_device_in(DTYPES[i], ISAS[i], 2);
        const double allowed = DTYPES[i] == DTYPE_BF16 ? 0.1 : 1e-4;
        for (int trial = 0; device != NULL && trial < 2 * trials(); trial++) {
            struct arena arena = {0};
            struct bench b;
            struct packing_difference d;
            struct error error;
            bench_open(&b, device, &arena, trial, trial >= trials());
            EXPECT(packing_compare(&b.stepper, b.groups, GROUPS, &d, &error) == STATUS_OK);
            EXPECT_I64(0, d.rewards_differing);
            EXPECT(d.rewards == b.dataset->row_count);
            if (!(d.gradient_worst <= allowed)) {
                test_fail(__FILE__, __LINE__,
                          "%s%s trial %d: gradients differ by %.2g of the largest", ISAS[i],
                          i >= ISA_BF16 ? " bf16" : "", trial, d.gradient_worst);
            }
            bench_close(&b);
            arena_release(&arena);
        }
        if (device != NULL) {
            device_close(device);
        }
    }
}

/* Loss, gradients and rewards (NULL: none wanted) of a batch; the gradients are the tree's. */
static void gradients_of(struct bench *b, int32_t slices, int32_t capacity, float *out,
                         float *reward, struct step_result *result)
{
    struct error error;
    slice_tree_free(b->stepper.tree);
    b->stepper.slices = slices;
    b->stepper.capacity_tokens = capacity;
    size_t elements = model_trained_table(b->model)->elements;
    CHECK(slice_tree_create(b->model->device, elements, slices, &b->stepper.tree, &error) ==
          STATUS_OK);
    CHECK(stepper_gradients(&b->stepper, b->groups, GROUPS, reward, result, NULL) == STATUS_OK);
    b->model->device->ops->copy_out(b->model->device, out, slice_tree_sum(b->stepper.tree),
                                    elements * sizeof(float));
}

TEST(the_number_of_threads_and_the_instruction_set_change_no_bit_of_rewards)
{
    float reward[ISA_COUNT][3][GROUPS * 9];
    int64_t rows = 0;
    bool there[ISA_COUNT] = {0};
    for (int i = 1; i < ISA_COUNT; i++) {
        for (int threads = 1; threads <= 3; threads++) {
            struct device *device = open_device_in(DTYPES[i], ISAS[i], threads);
            if (device == NULL) {
                break;
            }
            struct arena arena = {0};
            struct bench b;
            struct error error;
            draw_at = 1000;
            bench_open(&b, device, &arena, 4, true);
            rows = b.dataset->row_count;
            struct scorer scorer = {
                .model = b.model, .acts = b.stepper.acts, .pooling = POOLING_LAST_TOKEN};
            EXPECT(scorer_rewards(&scorer, b.dataset, reward[i][threads - 1], &error) == STATUS_OK);
            there[i] = true;
            bench_close(&b);
            arena_release(&arena);
            device_close(device);
        }
    }
    for (int i = 1; i < ISA_COUNT; i++) {
        for (int t = 0; t < 3 && there[i]; t++) {
            const int first = i >= ISA_OWN ? i : there[1] ? 1 : there[2] ? 2 : i;
            EXPECT_BYTES(reward[first][0], reward[i][t], sizeof(float) * (size_t)rows);
        }
    }
}

TEST(how_a_batch_is_cut_into_packs_changes_gradients_by_the_order_of_sums_only)
{
    struct device *device = open_device(NULL, 2);
    struct arena arena = {0};
    struct bench b;
    bench_open(&b, device, &arena, 1, false);
    size_t elements = b.model->table.elements;
    float *one = mem_alloc(elements * sizeof(float)), *many = mem_alloc(elements * sizeof(float));
    struct step_result of_one, of_many;
    gradients_of(&b, 4, 200, one, NULL, &of_one);
    gradients_of(&b, 4, 1 << 20, many, NULL, &of_many);
    EXPECT_CLOSE(of_one.loss, of_many.loss, 1e-12);
    double worst = 0, largest = 0;
    for (size_t e = 0; e < elements; e++) {
        largest = fmax(largest, fabs((double)one[e]));
        worst = fmax(worst, fabs((double)one[e] - many[e]));
    }
    EXPECT(worst <= 1e-5 * largest);
    mem_free(one);
    mem_free(many);
    bench_close(&b);
    arena_release(&arena);
    device_close(device);
}

TEST(the_last_layer_computed_only_where_it_is_read_gives_the_same_bits)
{
    struct device *device = open_device(NULL, 2);
    for (int trial = 0; trial < 4; trial++) {
        struct arena arena = {0};
        struct bench b;
        struct pack pack;
        struct reading reading;
        struct pack_group groups[GROUPS];
        float reward[2][GROUPS * 9];
        bench_open(&b, device, &arena, trial, false);
        for (int32_t g = 0; g < GROUPS; g++) {
            group_rows(&arena, b.dataset, g, &groups[g]);
        }
        pack_build(&arena, groups, GROUPS, PACK_SHARED, &pack);
        for (int prune = 0; prune < 2; prune++) {
            reading_build(&arena, &pack, POOLING_LAST_TOKEN, 3, NULL, true, prune == 1, &reading);
            EXPECT(prune == 0 || reading.query_count < pack.layout.tokens);
            activations_stage(b.stepper.acts, &pack, &reading);
            transformer_forward(b.model, b.stepper.acts, &reading, 0, NULL, reward[prune], NULL);
        }
        EXPECT_BYTES(reward[0], reward[1], sizeof(float) * (size_t)pack.row_count);
        bench_close(&b);
        arena_release(&arena);
    }
    device_close(device);
}

/* Buffers of another kind for the same stepper. */
static void reserve(struct bench *b, const struct pass_capacity *capacity)
{
    struct error error;
    struct device *device = b->model->device;
    activations_free(b->stepper.acts);
    CHECK(activations_create(device, &b->model->config, &b->model->lora, capacity, &b->stepper.acts,
                             &error) == STATUS_OK);
}

TEST(computing_layers_again_instead_of_keeping_them_changes_no_bit)
{
    struct device *device = open_device(NULL, 2);
    for (int trial = 0; trial < 2 * trials(); trial++) {
        struct arena arena = {0};
        struct bench b;
        struct step_result kept, again;
        bench_open(&b, device, &arena, trial, trial >= trials());
        size_t elements = model_trained_table(b.model)->elements, bytes = elements * sizeof(float);
        float *of_kept = mem_alloc(bytes), *of_again = mem_alloc(bytes);
        gradients_of(&b, 2, 200, of_kept, NULL, &kept);
        struct pass_capacity capacity = b.stepper.acts->capacity;
        size_t kept_bytes = b.stepper.acts->kept_bytes;
        capacity.recompute = true;
        reserve(&b, &capacity);
        EXPECT(b.stepper.acts->kept_bytes < kept_bytes);
        gradients_of(&b, 2, 200, of_again, NULL, &again);
        EXPECT_BYTES(&kept.loss, &again.loss, sizeof(double));
        EXPECT_BYTES(of_kept, of_again, bytes);
        mem_free(of_kept);
        mem_free(of_again);
        bench_close(&b);
        arena_release(&arena);
    }
    device_close(device);
}

/* One token of capacity: every group in parts of one row. 90: some groups whole, most in parts of
 * several rows. */
TEST(a_group_computed_in_parts_has_the_same_rewards_and_gradients_but_for_the_order_of_sums)
{
    struct device *device = open_device(NULL, 2);
    for (int trial = 0; trial < 4 * trials(); trial++) {
        struct arena arena = {0};
        struct bench b;
        struct step_result of_whole, of_parts;
        float reward[2][GROUPS * 9];
        bench_open(&b, device, &arena, trial, trial % (2 * trials()) >= trials());
        struct pass_capacity capacity = b.stepper.acts->capacity;
        capacity.recompute = trial >= 2 * trials();
        reserve(&b, &capacity);
        size_t elements = model_trained_table(b.model)->elements;
        float *whole = mem_alloc(elements * sizeof(float));
        float *parts = mem_alloc(elements * sizeof(float));
        gradients_of(&b, 2, 1 << 20, whole, reward[0], &of_whole);
        gradients_of(&b, 2, trial % 2 == 0 ? 1 : 90, parts, reward[1], &of_parts);
        EXPECT_BYTES(reward[0], reward[1], sizeof(float) * (size_t)b.dataset->row_count);
        EXPECT_CLOSE(of_whole.rank_loss, of_parts.rank_loss, 1e-14);
        /* A token that two rows imitate weighs a sum of two floats, or each in its part. */
        EXPECT_CLOSE(of_whole.lm_loss, of_parts.lm_loss, 1e-7 * of_whole.lm_loss);
        double worst = 0, largest = 0;
        for (size_t e = 0; e < elements; e++) {
            largest = fmax(largest, fabs((double)whole[e]));
            worst = fmax(worst, fabs((double)whole[e] - parts[e]));
        }
        if (!(worst <= 1e-5 * largest)) {
            test_fail(__FILE__, __LINE__, "trial %d: gradients differ by %.2g of the largest",
                      trial, worst / largest);
        }
        mem_free(whole);
        mem_free(parts);
        bench_close(&b);
        arena_release(&arena);
    }
    device_close(device);
}

TEST(a_set_is_scored_to_the_same_bits_by_buffers_that_hold_no_more_than_its_longest_row)
{
    struct device *device = open_device(NULL, 2);
    for (int trial = 0; trial < trials(); trial++) {
        struct arena arena = {0};
        struct bench b;
        struct error error;
        float reward[2][GROUPS * 9];
        bench_open(&b, device, &arena, trial, false);
        struct pass_capacity capacity = b.stepper.acts->capacity;
        for (int small = 0; small < 2; small++) {
            struct scorer scorer = {.model = b.model,
                                    .acts = b.stepper.acts,
                                    .pooling = b.stepper.pooling,
                                    .mode = PACK_SHARED};
            EXPECT(scorer_rewards(&scorer, b.dataset, reward[small], &error) == STATUS_OK);
            capacity.S = b.dataset->row_tokens_max;
            reserve(&b, &capacity);
        }
        EXPECT_BYTES(reward[0], reward[1], sizeof(float) * (size_t)b.dataset->row_count);
        bench_close(&b);
        arena_release(&arena);
    }
    device_close(device);
}

TEST_MAIN()
