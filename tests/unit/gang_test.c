/* SPDX-License-Identifier: Apache-2.0
 *
 * gang: what ranks compute together has the bits of one, and wrong bits of one rank end the job
 * with its number. Real processes, shared memory.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/rng.h"
#include "tests/comm_fixture.h"
#include "tests/model_fixture.h"
#include "worker/trainer/gang.h"
#include "worker/trainer/norm.h"
#include "worker/trainer/optimizer.h"
#include "worker/trainer/step.h"

static struct gang join(const struct comm_options *options)
{
    struct error error = {0};
    struct gang gang = {.rank = options->rank, .world = options->world};
    if (options->world > 1 && comm_open(options, &gang.comm, &error) != STATUS_OK) {
        test_fail(__FILE__, __LINE__, "rank %d: %s", options->rank, error.text);
        exit(1);
    }
    return gang;
}

static void in_gang(int32_t world, rank_body *body, void *argument)
{
    ranks_finish(ranks_start(COMM_SHM, world, LONG_MS, body, argument));
}

static float value_at(uint64_t stream, size_t i)
{
    return (float)rng_normal(5, stream, i);
}

/* ---- the norm -------------------------------------------------------------------------------- */

/* Every other rank's block is NaN here: it must not be read. */
static void norm_body(const struct comm_options *options, struct ranks_board *board, void *argument)
{
    static const size_t counts[] = {1,     15,        16,        17,        1000,  16383,
                                    16384, 16384 + 1, 40 * 1024, 49152 + 7, 300001};
    (void)board;
    (void)argument;
    struct gang gang = join(options);
    struct device *device = fixture_device();
    for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        size_t count = counts[c], begin, end;
        float *x = mem_alloc(count * sizeof(*x));
        for (size_t i = 0; i < count; i++) {
            x[i] = value_at(1, i);
        }
        double expected = device->ops->sumsq(device, x, count), got = NAN;
        gang_block(&gang, count, &begin, &end);
        for (size_t i = 0; i < count; i++) {
            x[i] = i >= begin && i < end ? x[i] : NAN;
        }
        struct error error;
        EXPECT(norm_sumsq_of_blocks(device, &gang, x, count, &got, &error) == STATUS_OK);
        if (memcmp(&expected, &got, sizeof(got)) != 0) {
            test_fail(__FILE__, __LINE__, "%zu elements on %d ranks: expected %.17g, got %.17g",
                      count, gang.world, expected, got);
        }
        mem_free(x);
    }
    gang_close(&gang, NULL);
}

TEST(the_norm_of_cut_gradients_has_the_bits_of_one_rank)
{
    for (int32_t world = 1; world <= 5; world++) {
        in_gang(world, norm_body, NULL);
    }
}

/* ---- a step ---------------------------------------------------------------------------------- */

enum { GROUPS = 9, ROWS = 3, TOKENS = 6, SLICES = 4, STEPS = 3 };

/* Groups of three short rows with a common opening. */
static struct dataset *groups_dataset(struct arena *arena)
{
    struct dataset *d = arena_new(arena, struct dataset);
    struct data_group *groups = arena_array(arena, struct data_group, GROUPS);
    struct data_row *rows = arena_array(arena, struct data_row, GROUPS * ROWS);
    int32_t *tokens = arena_array(arena, int32_t, GROUPS * ROWS * TOKENS);
    for (int32_t r = 0; r < GROUPS * ROWS; r++) {
        int32_t score = r % ROWS, group = r / ROWS;
        rows[r] = (struct data_row){.token0 = r * TOKENS,
                                    .tokens = TOKENS - group % 3,
                                    .score = (float)score,
                                    .normalised = (float)score / 2};
        for (int32_t t = 0; t < TOKENS; t++) {
            uint64_t stream = t < 2 ? (uint64_t)group : 100 + (uint64_t)r;
            tokens[r * TOKENS + t] = 3 + (int32_t)rng_below(7, stream, (uint64_t)t, 21);
        }
    }
    for (int32_t g = 0; g < GROUPS; g++) {
        groups[g] = (struct data_group){
            .row0 = g * ROWS, .rows = ROWS, .pairs = ROWS, .tokens = ROWS * (TOKENS - g % 3)};
    }
    *d = (struct dataset){.group_count = GROUPS,
                          .row_count = GROUPS * ROWS,
                          .token_count = GROUPS * ROWS * TOKENS,
                          .groups = groups,
                          .rows = rows,
                          .tokens = tokens,
                          .row_tokens_max = TOKENS,
                          .group_rows_max = ROWS};
    return d;
}

/* What one rank works with. */
struct bench {
    struct arena arena;
    struct model *model;
    struct dataset *dataset;
    struct schedule schedule;
    struct loss_config loss;
    struct stepper stepper;
};

static void model_body(const struct comm_options *options, struct ranks_board *board,
                       void *argument)
{
    (void)options;
    (void)board;
    struct model_config config = fixture_config(ARCHITECTURE_QWEN3);
    fixture_model(argument, &config, &(struct params_heads){.lm_head = true, .score = true}, 3);
}

/* Written by a process of its own: the one that forks ranks has no threads, and so no device. */
static const char *model_dir(void)
{
    static char dir[FIXTURE_PATH_MAX];
    if (dir[0] == '\0') {
        fixture_dir(dir);
        in_gang(1, model_body, dir);
    }
    return dir;
}

static void bench_open(struct bench *b, const struct gang *gang, bool cut_state,
                       int32_t capacity_tokens)
{
    struct device *device = fixture_device();
    *b = (struct bench){.dataset = NULL};
    b->model = model_fixture_open(
        model_dir(), &(struct model_open_options){.keep_lm_head = true, .positions = 64});
    CHECK(b->model != NULL);
    b->dataset = groups_dataset(&b->arena);
    b->schedule = (struct schedule){.kind = SCHEDULE_CONSTANT, .peak = 1e-2, .steps = STEPS};
    b->loss = (struct loss_config){.lm_loss_coeff = 0.3, .lm_score_thresh = 0.8};
    const struct model_config *c = &b->model->config;
    struct pass_capacity capacity = {.S = 64,
                                     .R = GROUPS * ROWS,
                                     .row_tokens_max = TOKENS,
                                     .backward = true,
                                     .imitation = true,
                                     .prefix = TOKENS};
    struct scratch_shape shape = pass_scratch(c, &capacity, 0);
    struct optimizer_config config = {.beta1 = 0.9,
                                      .beta2 = 0.999,
                                      .epsilon = 1e-8,
                                      .weight_decay = 0.1,
                                      .max_grad_norm = 0.5,
                                      .cut_state = cut_state};
    struct stepper *s = &b->stepper;
    *s = (struct stepper){.model = b->model,
                          .gang = gang,
                          .schedule = &b->schedule,
                          .loss = &b->loss,
                          .pooling = POOLING_LAST_TOKEN,
                          .slices = SLICES,
                          .recheck_steps = 1,
                          .capacity_tokens = capacity_tokens,
                          .mode = PACK_SHARED};
    struct deal deal;
    const struct params_table *table = model_trained_table(b->model);
    deal_slices(SLICES, gang_world(gang), &deal);
    CHECK(device->ops->scratch_reserve(device, &shape, NULL) == STATUS_OK);
    CHECK(activations_create(device, c, &b->model->lora, &capacity, &s->acts, NULL) == STATUS_OK);
    CHECK(slice_tree_create(device, table->elements, deal.part[gang_rank(gang)].count, &s->tree,
                            NULL) == STATUS_OK);
    CHECK(optimizer_create(device, table, &config, gang, &s->optimizer, NULL) == STATUS_OK);
}

static void bench_close(struct bench *b)
{
    activations_free(b->stepper.acts);
    slice_tree_free(b->stepper.tree);
    optimizer_free(b->stepper.optimizer);
    model_free(b->model);
    arena_release(&b->arena);
}

static enum status one_step(struct bench *b, int64_t step, struct step_result *result,
                            struct error *error)
{
    struct batch_group groups[GROUPS];
    for (int32_t g = 0; g < GROUPS; g++) {
        groups[g] = (struct batch_group){
            .dataset = b->dataset, .group = g, .part = g % 3 == 0 ? MIX_GENERAL : MIX_OWN};
    }
    return stepper_step(&b->stepper, step, groups, GROUPS, result, error);
}

/* 12 tokens: the longest groups are computed in parts. */
struct step_case {
    bool cut_state, overlap;
    int32_t capacity_tokens;
};

/* The steps alone, then in the gang: the same losses, norms and weights. */
static void step_body(const struct comm_options *options, struct ranks_board *board, void *argument)
{
    (void)board;
    struct gang gang = join(options);
    struct bench alone, b;
    struct error error = {0};
    const struct step_case *c = argument;
    bench_open(&alone, NULL, false, c->capacity_tokens);
    bench_open(&b, &gang, c->cut_state, c->capacity_tokens);
    b.stepper.overlap_floats = c->overlap ? 1 : 0;
    size_t begin, end, elements = b.model->table.elements;
    gang_block(&gang, elements, &begin, &end);
    EXPECT_I64((int64_t)(c->cut_state ? end - begin : elements),
               (int64_t)(b.stepper.optimizer->end - b.stepper.optimizer->begin));
    for (int64_t step = 0; step < STEPS; step++) {
        struct step_result expected, got;
        CHECK(one_step(&alone, step, &expected, NULL) == STATUS_OK);
        if (one_step(&b, step, &got, &error) != STATUS_OK) {
            test_fail(__FILE__, __LINE__, "rank %d, step %d: %s", gang.rank, (int)step, error.text);
            break;
        }
        EXPECT(expected.lm_loss > 0 && expected.rank_loss > 0 && expected.gradient_norm > 0.5);
        EXPECT_BYTES(&expected.loss, &got.loss, sizeof(double));
        EXPECT_BYTES(&expected.part, &got.part, sizeof(expected.part));
        EXPECT_BYTES(&expected.gradient_norm, &got.gradient_norm, sizeof(double));
        EXPECT_BYTES(alone.model->weights, b.model->weights,
                     alone.model->table.elements * sizeof(float));
    }
    bench_close(&alone);
    bench_close(&b);
    gang_close(&gang, NULL);
}

TEST(a_step_on_several_ranks_has_the_bits_of_one)
{
    model_dir();
    for (int32_t world = 1; world <= SLICES; world++) {
        for (int i = 0; i < 8; i++) {
            struct step_case c = {
                .cut_state = i & 1, .overlap = i & 2, .capacity_tokens = i & 4 ? 12 : 40};
            in_gang(world, step_body, &c);
        }
    }
}

/* ---- wrong bits ------------------------------------------------------------------------------ */

static void flip(float *x, size_t at, int bit)
{
    uint32_t word;
    memcpy(&word, &x[at], sizeof(word));
    word ^= UINT32_C(1) << bit;
    memcpy(&x[at], &word, sizeof(word));
}

TEST(every_flipped_bit_changes_the_fingerprint)
{
    enum { COUNT = 37 };
    float x[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        x[i] = value_at(2, i);
    }
    uint64_t whole = gang_fingerprint(fixture_device(), x, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        for (int bit = 0; bit < 32; bit++) {
            flip(x, i, bit);
            EXPECT(gang_fingerprint(fixture_device(), x, COUNT) != whole);
            flip(x, i, bit);
        }
    }
    EXPECT(gang_fingerprint(fixture_device(), x, COUNT) == whole);
    EXPECT(gang_fingerprint(fixture_device(), x, COUNT - 1) != whole);
}

/* Rank *argument has one bit of its weights flipped. */
static void compare_body(const struct comm_options *options, struct ranks_board *board,
                         void *argument)
{
    enum { COUNT = 5000 };
    int32_t wrong = *(const int32_t *)argument;
    char expected[64];
    struct error error = {0};
    struct gang gang = join(options);
    float *x = mem_alloc(COUNT * sizeof(*x));
    (void)board;
    for (size_t i = 0; i < COUNT; i++) {
        x[i] = value_at(3, i);
    }
    EXPECT_I64(STATUS_OK, gang_compare(&gang, fixture_device(), x, COUNT, 11, &error));
    if (gang.rank == wrong) {
        flip(x, 4321, 0);
    }
    EXPECT_I64(STATUS_NUMERIC, gang_compare(&gang, fixture_device(), x, COUNT, 12, &error));
    if (gang.world == 2) {
        EXPECT_CONTAINS("rank 0 and rank 1 have different weights after step 12", error.text);
    } else {
        snprintf(expected, sizeof(expected), "rank %d has other weights", wrong);
        EXPECT_CONTAINS(expected, error.text);
    }
    mem_free(x);
    gang_close(&gang, NULL);
}

TEST(weights_that_differ_name_the_rank_and_the_step)
{
    for (int32_t world = 2; world <= 4; world++) {
        for (int32_t wrong = 0; wrong < world; wrong++) {
            in_gang(world, compare_body, &wrong);
        }
    }
}

/* A weight that differs on one rank is found by the slice that another computes too. */
static void recheck_body(const struct comm_options *options, struct ranks_board *board,
                         void *argument)
{
    (void)board;
    (void)argument;
    struct bench b;
    struct step_result result;
    struct error error = {0};
    struct gang gang = join(options);
    bench_open(&b, &gang, true, 40);
    EXPECT_I64(STATUS_OK, one_step(&b, 0, &result, &error));
    float *q = params_at(&b.model->table, b.model->weights, TENSOR_Q, 0);
    if (gang.rank == 1) {
        flip(q, 5, 22);
    }
    /* Slice 1 of step 1: of rank 0, who shares it with rank 1. */
    EXPECT_I64(STATUS_NUMERIC, one_step(&b, 1, &result, &error));
    EXPECT_CONTAINS("rank 0 and rank 1 computed different gradients for slice 1 of step 2",
                    error.text);
    EXPECT_I64(1, b.stepper.optimizer->t); /* nothing was updated */
    bench_close(&b);
    gang_close(&gang, NULL);
}

TEST(a_slice_that_two_ranks_compute_differently_ends_the_job_before_the_update)
{
    model_dir();
    in_gang(2, recheck_body, NULL);
}

/* ---- failures -------------------------------------------------------------------------------- */

static void failing_body(const struct comm_options *options, struct ranks_board *board,
                         void *argument)
{
    (void)board;
    (void)argument;
    struct error error = {0};
    struct gang gang = join(options);
    if (gang.rank == 2) {
        error_set(&error, STATUS_IO, "data.jsonl: the disk is gone");
        gang_close(&gang, &error);
        return;
    }
    EXPECT_I64(STATUS_COMMUNICATION, gang_barrier(&gang, &error));
    EXPECT_CONTAINS("rank 2", error.text);
    EXPECT_CONTAINS("the disk is gone", error.text);
    gang_close(&gang, &error);
}

TEST(a_rank_that_fails_tells_the_others_why)
{
    in_gang(3, failing_body, NULL);
}

TEST_MAIN()
