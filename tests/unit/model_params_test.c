/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "tests/model_fixture.h"
#include "tests/test.h"
#include "worker/model/params.h"

static void expect_name(const char *expected, const struct params_table *table,
                        enum tensor_kind kind, int32_t layer)
{
    char name[128];
    const struct tensor_place *place = params_place(table, kind, layer);
    if (place == NULL) {
        test_fail(__FILE__, __LINE__, "no place for %s", expected);
        return;
    }
    params_name(place, name);
    EXPECT_STR(expected, name);
}

static void expect_sound(const struct params_table *table)
{
    size_t end = 0;
    for (int32_t i = 0; i < table->count; i++) {
        const struct tensor_place *place = &table->places[i];
        EXPECT(place->offset >= end);
        EXPECT(place->offset - end < PARAMS_ALIGNMENT);
        EXPECT_I64((int64_t)place->rows * (place->columns ? place->columns : 1), place->elements);
        EXPECT(params_place(table, place->kind, place->layer) == place);
        end = place->offset + place->elements;
    }
    EXPECT_I64(end, table->elements);
}

/* `second` stands directly behind `first`. */
static void expect_adjacent(const struct params_table *table, enum tensor_kind first,
                            enum tensor_kind second, int32_t layer)
{
    const struct tensor_place *a = params_place(table, first, layer);
    const struct tensor_place *b = params_place(table, second, layer);
    EXPECT(a != NULL && b != NULL && a->offset + a->elements == b->offset);
}

TEST(families_are_adjacent_and_aligned_for_any_size)
{
    static const enum architecture kinds[] = {ARCHITECTURE_LLAMA, ARCHITECTURE_QWEN2,
                                              ARCHITECTURE_QWEN3};
    for (size_t i = 0; i < 3; i++) {
        struct model_config config = fixture_config(kinds[i]);
        config.D = 6; /* k and v then do not end at a multiple of the alignment */
        config.G = 1;
        config.F = 7;
        struct params_table table;
        params_table_init(&table, &config, &(struct params_heads){.lm_head = true, .score = true});
        expect_sound(&table);
        for (int32_t layer = 0; layer < config.L; layer++) {
            expect_adjacent(&table, TENSOR_Q, TENSOR_K, layer);
            expect_adjacent(&table, TENSOR_K, TENSOR_V, layer);
            expect_adjacent(&table, TENSOR_GATE, TENSOR_UP, layer);
            EXPECT_I64(0, params_place(&table, TENSOR_Q, layer)->offset % PARAMS_ALIGNMENT);
            EXPECT_I64(0, params_place(&table, TENSOR_DOWN, layer)->offset % PARAMS_ALIGNMENT);
            if (config.qkv_bias) {
                expect_adjacent(&table, TENSOR_Q_BIAS, TENSOR_K_BIAS, layer);
                expect_adjacent(&table, TENSOR_K_BIAS, TENSOR_V_BIAS, layer);
            }
            EXPECT(config.qk_norm == (params_place(&table, TENSOR_K_NORM, layer) != NULL));
        }
        params_table_release(&table);
    }
}

TEST(names_are_those_of_hugging_face)
{
    struct model_config config = fixture_config(ARCHITECTURE_QWEN2);
    struct params_table table;
    params_table_init(&table, &config, &(struct params_heads){.score = true});
    expect_name("model.embed_tokens.weight", &table, TENSOR_EMBED, -1);
    expect_name("model.layers.1.self_attn.v_proj.bias", &table, TENSOR_V_BIAS, 1);
    expect_name("model.layers.0.post_attention_layernorm.weight", &table, TENSOR_FFN_NORM, 0);
    expect_name("model.norm.weight", &table, TENSOR_FINAL_NORM, -1);
    expect_name("score.weight", &table, TENSOR_SCORE, -1);
    EXPECT(params_place(&table, TENSOR_LM_HEAD, -1) == NULL);
    EXPECT(params_place(&table, TENSOR_LORA_A + TENSOR_Q, 0) == NULL);
    params_table_release(&table);
}

TEST(heads_are_there_when_they_are_wanted)
{
    struct model_config config = fixture_config(ARCHITECTURE_LLAMA);
    struct params_table table;
    params_table_init(&table, &config, &(struct params_heads){.lm_head = true});
    EXPECT(params_place(&table, TENSOR_LM_HEAD, -1) != NULL);
    EXPECT(params_place(&table, TENSOR_SCORE, -1) == NULL);
    float block[1];
    EXPECT(params_at(&table, block, TENSOR_SCORE, -1) == NULL);
    EXPECT(params_at(&table, NULL, TENSOR_LM_HEAD, -1) == NULL);
    params_table_release(&table);
    config.tied = true;
    params_table_init(&table, &config, &(struct params_heads){.lm_head = true});
    EXPECT(params_place(&table, TENSOR_LM_HEAD, -1) == NULL);
    params_table_release(&table);
}

TEST(norms_and_biases_do_not_decay)
{
    struct model_config config = fixture_config(ARCHITECTURE_QWEN2);
    struct params_table table;
    params_table_init(&table, &config, &(struct params_heads){.lm_head = true, .score = true});
    for (int32_t i = 0; i < table.count; i++) {
        char name[128];
        params_name(&table.places[i], name);
        bool exempt = strstr(name, "norm") != NULL || strstr(name, ".bias") != NULL;
        EXPECT(table.places[i].decays == !exempt);
    }
    params_table_release(&table);
}

TEST(an_adapter_has_a_and_b_of_its_targets_and_the_score)
{
    struct model_config config = fixture_config(ARCHITECTURE_LLAMA);
    struct lora_config lora = {.r = 3, .alpha = 6, .targets = 1u << TENSOR_Q | 1u << TENSOR_DOWN};
    struct params_table table;
    params_table_init_adapter(&table, &config, &lora);
    expect_sound(&table);
    EXPECT_I64(2 * 2 * config.L + 1, table.count);
    const struct tensor_place *a = params_place(&table, TENSOR_LORA_A + TENSOR_DOWN, 1);
    const struct tensor_place *b = params_place(&table, TENSOR_LORA_B + TENSOR_DOWN, 1);
    REQUIRE(a != NULL && b != NULL);
    EXPECT(a->rows == 3 && a->columns == config.F && b->rows == config.C && b->columns == 3);
    EXPECT(params_place(&table, TENSOR_LORA_A + TENSOR_V, 0) == NULL);
    expect_name("base_model.model.model.layers.1.mlp.down_proj.lora_B.weight", &table,
                TENSOR_LORA_B + TENSOR_DOWN, 1);
    expect_name("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", &table,
                TENSOR_LORA_A + TENSOR_Q, 0);
    expect_name("score.weight", &table, TENSOR_SCORE, -1);
    params_table_release(&table);
}

TEST(the_scale_of_lora)
{
    EXPECT_CLOSE(2, lora_scale(&(struct lora_config){.r = 8, .alpha = 16}), 0);
    EXPECT_CLOSE(4, lora_scale(&(struct lora_config){.r = 16, .alpha = 16, .rslora = true}), 0);
}

TEST_MAIN()
