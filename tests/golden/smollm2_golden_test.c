/* SPDX-License-Identifier: Apache-2.0
 *
 * Section F: SmolLM2-135M. Needs the model's directory in TAILOR_SMOLLM2 (tests/golden.sh makes
 * it).
 *
 * The golden numbers are float32, and PyTorch took the softmax over 49,152 tokens along a strided
 * axis, in one chain of floats: its probabilities add up to 1 + 1e-4, which the gradients of the
 * last layers' norms feel. Where a golden norm lies further from float64's than the tolerance,
 * float64's norm (data/smollm2_float64.json, made by float64.py) is the reference instead, with the
 * same tolerance; the test names it. That file belongs to one golden.json, by digest.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/sha256.h"
#include "tests/golden/golden.h"
#include "tests/model_fixture.h"
#include "tests/test.h"
#include "worker/trainer/scorer.h"

static const struct optimizer_config NO_OPTIMIZER = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};
#define FLOAT64 TEST_SOURCE_DIR "/tests/golden/data/smollm2_float64.json"
static const struct golden_tolerance REWARD_BIG = {1e-4, 1e-4};

/* The base with the golden's head. */
static struct model *smollm2_model(struct device *device)
{
    const char *dir = getenv("TAILOR_SMOLLM2");
    struct model *model;
    struct error error;
    size_t elements;
    if (dir == NULL || !dir_exists(golden_path("smollm2"))) {
        test_skip(
            "smollm2: needs TAILOR_SMOLLM2 (its directory) and a golden directory with smollm2/");
        return NULL;
    }
    struct model_open_options options = {
        .need_score = true, .init_score = true, .need_lm_head = true, .positions = 512};
    if (model_open(device, dir, &options, &model, &error) != STATUS_OK) {
        test_fail(__FILE__, __LINE__, "%s", error.text);
        return NULL;
    }
    float *head = golden_tensor(golden_path("smollm2/golden.safetensors"), "score_head", &elements);
    if (head == NULL || elements != (size_t)model->config.C) {
        test_fail(__FILE__, __LINE__, "golden.safetensors: score_head is not [1, %d]",
                  model->config.C);
        model_free(model);
        return NULL;
    }
    device->ops->copy_in(device, params_at(&model->table, model->weights, TENSOR_SCORE, -1), head,
                         elements * sizeof(float));
    mem_free(head);
    return model;
}

static double number(const json_t *object, const char *key)
{
    return golden_number(json_object_get(object, key));
}

static double cell(const json_t *matrix, int64_t row, size_t K)
{
    return golden_number(json_array_get(json_array_get(matrix, (size_t)row / K), (size_t)row % K));
}

static void check_rewards(struct model *model, const struct dataset *dataset, const json_t *json,
                          const json_t *expected, bool bf16)
{
    size_t K = json_array_size(json_array_get(json_object_get(json, "scores"), 0));
    float *reward = mem_alloc(sizeof(float) * (size_t)dataset->row_count);
    for (int p = 0; p < GOLDEN_POOLINGS; p++) {
        const json_t *matrix = json_object_get(expected, GOLDEN_POOLING[p].name);
        if (matrix == NULL || GOLDEN_POOLING[p].pooling == POOLING_MAX) {
            continue; /* these rows are padded: the goldens' max counts a zero there */
        }
        struct golden_stepper *g =
            golden_stepper(model, dataset, GOLDEN_POOLING[p].pooling, 0, 0.85, &NO_OPTIMIZER);
        struct scorer scorer = {
            .model = model, .acts = g->stepper.acts, .pooling = GOLDEN_POOLING[p].pooling};
        struct error error;
        EXPECT(scorer_rewards(&scorer, dataset, reward, &error) == STATUS_OK);
        struct golden_tolerance tolerance = REWARD_BIG;
        if (bf16) {
            tolerance = (struct golden_tolerance){
                0, GOLDEN_POOLING[p].pooling == POOLING_BEFORE_EOS ? 0.06 : 0.12};
        }
        for (int64_t r = 0; r < dataset->row_count; r++) {
            golden_expect(cell(matrix, r, K), reward[r], tolerance, "smollm2 %s%s row %lld",
                          GOLDEN_POOLING[p].name, bf16 ? " bf16" : "", (long long)r);
        }
        golden_stepper_free(g);
    }
    mem_free(reward);
}

/* float64's numbers for the golden directory's golden.json; NULL if none are known. */
static json_t *float64_numbers(void)
{
    struct error error;
    char digest[SHA256_HEX_SIZE];
    json_t *exact = NULL;
    if (sha256_file_hex(golden_path("smollm2/golden.json"), digest, &error) != STATUS_OK ||
        json_read_file(FLOAT64, MIB, &exact, &error) != STATUS_OK) {
        test_fail(__FILE__, __LINE__, "%s", error.text);
        return NULL;
    }
    if (strcmp(digest, json_string_value(json_object_get(exact, "golden"))) != 0) {
        json_decref(exact);
        return NULL;
    }
    return exact;
}

/* The golden norm of a tensor, or float64's where the golden one is too far from it. */
static double reference_norm(const json_t *golden, const json_t *exact, const char *name)
{
    double norm = number(json_object_get(golden, "grad_norm"), name);
    if (exact != NULL) {
        double truth = number(json_object_get(exact, "grad_norm"), name);
        if (fabs(norm - truth) > GOLDEN_NORM.relative * truth) {
            printf("note: |d %s| is %.9g in the goldens, %.2g of it from float64's %.9g, which is "
                   "the reference\n",
                   name, norm, fabs(norm / truth - 1), truth);
            return truth;
        }
    }
    return norm;
}

static void check_gradient_norms(const struct params_table *table, const float *gradients,
                                 const json_t *json)
{
    json_t *exact = float64_numbers();
    double total = 0;
    for (int32_t i = 0; i < table->count; i++) {
        const struct tensor_place *place = &table->places[i];
        char name[128];
        double sum = 0;
        params_name(place, name);
        for (size_t e = 0; e < place->elements; e++) {
            sum += (double)gradients[place->offset + e] * gradients[place->offset + e];
        }
        total += sum;
        golden_expect(reference_norm(json, exact, name), sqrt(sum), GOLDEN_NORM, "smollm2 |d %s|",
                      name);
    }
    json_decref(exact);
    golden_expect(number(json, "grad_norm_total"), sqrt(total), GOLDEN_NORM, "smollm2 |gradient|");
}

static void check_losses(struct model *model, const struct dataset *dataset, const json_t *json)
{
    struct golden_stepper *g = golden_stepper(model, dataset, POOLING_BEFORE_EOS, 0.1,
                                              number(json, "lm_score_thresh"), &NO_OPTIMIZER);
    struct arena arena = {0};
    struct step_result result;
    int32_t count;
    struct batch_group *groups = golden_batch(&arena, dataset, &count);
    CHECK(stepper_gradients(&g->stepper, groups, count, NULL, &result, NULL) == STATUS_OK);
    const json_t *loss = json_object_get(json, "loss");
    golden_expect(number(loss, "rank_last"), result.rank_loss, GOLDEN_LOSS, "smollm2 rank loss");
    golden_expect(number(loss, "lm"), result.lm_loss, GOLDEN_LOSS, "smollm2 lm loss");
    golden_expect(number(loss, "total_0.1_last"), result.loss, GOLDEN_LOSS, "smollm2 total");
    const struct params_table *table = model_trained_table(model);
    float *gradients =
        fixture_host(model->device, slice_tree_sum(g->stepper.tree), table->elements);
    check_gradient_norms(table, gradients, json);
    mem_free(gradients);
    arena_release(&arena);
    golden_stepper_free(g);
}

TEST(smollm2_rewards_losses_and_gradient_norms_are_the_reference_s)
{
    struct model *model = smollm2_model(golden_device());
    if (model == NULL) {
        return;
    }
    json_t *json = golden_load("smollm2/golden.json");
    REQUIRE(json != NULL);
    struct arena arena = {0};
    struct dataset *dataset = golden_dataset(&arena, json_object_get(json, "rows"),
                                             json_object_get(json, "scores"), NULL);
    check_rewards(model, dataset, json, json_object_get(json, "rewards"), false);
    check_losses(model, dataset, json);
    golden_device()->dtype = DTYPE_BF16;
    check_rewards(model, dataset, json, json_object_get(json, "rewards"), true);
    golden_device()->dtype = DTYPE_FP32;
    json_decref(json);
    arena_release(&arena);
    model_free(model);
}

TEST_MAIN()
