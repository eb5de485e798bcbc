/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/file.h"
#include "tests/gguf_fixture.h"
#include "tests/model_fixture.h"
#include "tests/test.h"
#include "worker/data/tokenizer.h"
#include "worker/model/gguf.h"
#include "worker/model/model.h"

/* ---- blocks --------------------------------------------------------------------------------- */

static void expect_block(uint32_t type, const uint8_t *block, int index, float expected)
{
    float out[256];
    const struct gguf_quant *quant = gguf_quant_find(type);
    REQUIRE(quant != NULL);
    gguf_quant_widen(quant, block, out);
    EXPECT_CLOSE(expected, out[index], 0);
}

TEST(blocks_of_every_type_are_widened)
{
    uint8_t block[256] = {0};
    EXPECT(gguf_quant_find(10) == NULL); /* Q2_K */
    memcpy(block, &(float){-2.5f}, 4);
    expect_block(0, block, 0, -2.5f);
    memcpy(block, (uint8_t[]){0x00, 0x3c, 0x00, 0xc0}, 4); /* fp16 1 and -2 */
    expect_block(1, block, 0, 1);
    memset(block + 4, 0, 16);
    block[2] = 0x5f; /* Q4_0: byte 0 holds weights 0 and 16 */
    expect_block(2, block, 0, 7);
    expect_block(2, block, 16, -3);
    block[2] = 0x00;
    block[4] = 0x5f; /* Q4_1 with minimum -2 */
    expect_block(3, block, 0, 13);
    expect_block(3, block, 16, 3);
    memset(block + 2, 0, 40);
    block[2] = 1;    /* Q5_0: the fifth bit of weight 0 */
    block[4] = 1;    /* and of weight 16 */
    block[6] = 0x23; /* 3 and 2 */
    expect_block(6, block, 0, 3);
    expect_block(6, block, 16, 2);
    expect_block(6, block, 1, -16);
    memset(block + 2, 0, 40);
    block[4] = 2; /* Q5_1: the fifth bit of weight 1 */
    block[9] = 0x0f;
    expect_block(7, block, 1, 31);
    memset(block + 2, 0, 40);
    block[2 + 31] = 0x80;
    expect_block(8, block, 31, -128);
    expect_block(30, (const uint8_t[]){0xc0, 0xbf}, 0, -1.5f);
}

TEST(k_blocks_have_a_scale_a_group)
{
    uint8_t block[256] = {0};
    block[1] = 0x3c;           /* d 1 */
    block[3] = 0x3c;           /* dmin 1 */
    block[4 + 1] = 5;          /* scale of group 1 */
    block[4 + 4 + 1] = 2;      /* its minimum */
    block[4 + 8 + 1] = 0x43;   /* group 5: lower halves: scale 3, minimum 4 */
    block[4 + 1] |= 0x40;      /* upper bits: scale + 16 */
    block[4 + 4 + 1] |= 0x80;  /* minimum + 32 */
    block[16 + 3] = 0x70;      /* weight 3 of group 1 is 7 */
    block[16 + 64 + 3] = 0x60; /* weight 3 of group 5 is 6 */
    expect_block(12, block, 32 + 3, 5 * 7 - 2);
    expect_block(12, block, 5 * 32 + 3, 19 * 6 - 36);
    expect_block(12, block, 0, 0);
    memset(block + 16, 0, 160);
    block[16 + 3] = 1 << 1; /* Q5_K: the fifth bit of weight 3 of group 1 */
    block[48 + 3] = 0x70;
    expect_block(13, block, 32 + 3, 5 * 23 - 2);
    memset(block, 0, sizeof(block));
    block[209] = 0x3c;          /* Q6_K: d 1 */
    block[192 + 8 + 6] = 0xff;  /* scale -1 of weights 224 … 239 */
    block[64 + 32 + 1] = 0x90;  /* run 1, quarter 3, lane 1: lower half 9 */
    block[128 + 32 + 1] = 0xc0; /* upper bits 3 */
    expect_block(14, block, 128 + 96 + 1, -(57 - 32));
}

/* ---- import --------------------------------------------------------------------------------- */

/* Builds the file, writes it and imports it; the directory is dir/out. */
static enum status import(struct gguf_build *build, char dir[FIXTURE_PATH_MAX], struct error *error)
{
    struct buf file = {0};
    fixture_dir(dir);
    gguf_build_finish(build, &file);
    fixture_bytes(dir, "m.gguf", file.data, file.length);
    buf_release(&file);
    return gguf_import(model_fixture_path(dir, "m.gguf"), model_fixture_path(dir, "out"), error);
}

TEST(a_file_becomes_a_directory_that_opens)
{
    char dir[FIXTURE_PATH_MAX];
    struct error error = {0};
    struct gguf_build build = {0};
    gguf_build_model(&build);
    EXPECT(import(&build, dir, &error) == STATUS_OK);
    EXPECT_STR("", error.text);
    struct model *model = model_fixture_open(
        model_fixture_path(dir, "out"),
        &(struct model_open_options){.need_score = true, .init_score = true, .positions = 8});
    REQUIRE(model != NULL);
    const struct model_config *c = &model->config;
    EXPECT(c->tied && c->C == 32 && c->H == 2 && c->G == 1 && c->D == 16 && c->V == GGUF_TINY_V);
    EXPECT(c->norm_epsilon == 1e-5f && c->bos == 1 && c->eos == 2 && c->pad == 2);
    EXPECT_STR("base", json_string_value(json_object_get(model->card, "kind")));
    const float *q = params_at(&model->table, model->weights, TENSOR_Q, 0);
    const float *k = params_at(&model->table, model->weights, TENSOR_K, 0);
    const float *v = params_at(&model->table, model->weights, TENSOR_V, 0);
    /* Row 1 of a head was stored third (its pair's first comes before it), row 8 second. Values
     * are rounded to bf16: multiples of 32 up to 256·32 are exact. */
    EXPECT_CLOSE(0, q[0], 0);
    EXPECT_CLOSE(2 * 32, q[1 * 32], 0);
    EXPECT_CLOSE(1 * 32, q[8 * 32], 0);
    EXPECT_CLOSE(15 * 32, q[15 * 32], 0);
    EXPECT_CLOSE(18 * 32, q[17 * 32], 0);
    EXPECT_CLOSE(-2 * 32, k[1 * 32], 0);
    EXPECT_CLOSE(2, v[1], 0);
    EXPECT_CLOSE(3, v[17], 0);
    model_free(model);
}

TEST(the_tokenizer_comes_along)
{
    static const char *const pres[] = {"smollm", "llama-bpe", "qwen2", "gpt-2"};
    for (size_t i = 0; i < 4; i++) {
        char dir[FIXTURE_PATH_MAX];
        struct error error = {0};
        struct gguf_build build = {0};
        struct tokenizer *tokenizer;
        struct ids ids = {0};
        gguf_build_sizes(&build);
        gguf_build_tokenizer(&build, pres[i]);
        gguf_build_tensors(&build);
        gguf_build_string(&build, "tokenizer.chat_template", "{{ messages }}");
        EXPECT(import(&build, dir, &error) == STATUS_OK);
        EXPECT_STR("", error.text);
        REQUIRE(tokenizer_open(model_fixture_path(dir, "out"), &tokenizer, &error) == STATUS_OK);
        tokenizer_encode(tokenizer, "a t</s>", 7, &ids);
        REQUIRE(ids.count == 3);
        EXPECT_I64(GGUF_TINY_BYTES + 'a', ids.items[0]);
        EXPECT_I64(GGUF_TINY_V - 1, ids.items[1]);
        EXPECT_I64(GGUF_TINY_EOS, ids.items[2]);
        EXPECT_I64(GGUF_TINY_BOS, tokenizer_bos(tokenizer));
        EXPECT_STR("{{ messages }}", tokenizer_chat_template(tokenizer));
        ids.count = 0;
        tokenizer_encode_special(tokenizer, "a", 1, &ids);
        EXPECT_I64(strcmp(pres[i], "llama-bpe") == 0 ? 2 : 1, ids.count);
        ids_release(&ids);
        tokenizer_free(tokenizer);
    }
}

static void expect_import_refused(struct gguf_build *build, const char *word)
{
    char dir[FIXTURE_PATH_MAX];
    struct error error = {0};
    EXPECT(import(build, dir, &error) != STATUS_OK);
    EXPECT_CONTAINS(word, error.text);
    EXPECT_CONTAINS("m.gguf", error.text);
    EXPECT(!dir_exists(model_fixture_path(dir, "out")));
}

TEST(what_would_change_the_maths_is_refused_by_name)
{
    struct gguf_build build = {0};
    gguf_build_model(&build);
    gguf_build_u32(&build, "llama.expert_count", 4);
    expect_import_refused(&build, "experts (4)");
    gguf_build_model(&build);
    gguf_build_string(&build, "llama.rope.scaling.type", "yarn");
    expect_import_refused(&build, "yarn");
    gguf_build_model(&build);
    gguf_build_u32(&build, "llama.rope.dimension_count", 8);
    expect_import_refused(&build, "dimension_count is 8 of 16");
    gguf_build_model(&build);
    gguf_build_tensor(&build, "rope_freqs.weight", 0, 1, (const uint64_t[]){1}, "abcd", 4);
    expect_import_refused(&build, "rope_freqs.weight is not known");
    gguf_build_string(&build, "general.architecture", "falcon");
    expect_import_refused(&build, "falcon");
    gguf_build_sizes(&build);
    gguf_build_tensors(&build);
    gguf_build_tokenizer(&build, "deepseek");
    expect_import_refused(&build, "deepseek");
}

TEST(what_does_not_fit_is_refused)
{
    struct gguf_build build = {0};
    gguf_build_sizes(&build);
    gguf_build_tokenizer(&build, "smollm");
    expect_import_refused(&build, "token_embd.weight is missing");
    gguf_build_tokenizer(&build, "smollm");
    gguf_build_tensors(&build);
    expect_import_refused(&build, "general.architecture");
    gguf_build_sizes(&build);
    gguf_build_tensors(&build);
    expect_import_refused(&build, "tokenizer");
    gguf_build_string(&build, "general.architecture", "llama");
    gguf_build_tokenizer(&build, "smollm");
    gguf_build_tensors(&build);
    expect_import_refused(&build, "llama.block_count is missing");
    gguf_build_sizes(&build);
    gguf_build_tokenizer(&build, "smollm");
    static const float zeros[GGUF_TINY_V];
    gguf_build_tensor(&build, "token_embd.weight", 0, 2, (const uint64_t[]){1, GGUF_TINY_V}, zeros,
                      sizeof(zeros));
    expect_import_refused(&build, "is [260, 1], not [260, 32]");
    gguf_build_model(&build);
    gguf_build_string(&build, "llama.context_length", "long");
    expect_import_refused(&build, "llama.context_length is there twice");
}

/* ---- attacks -------------------------------------------------------------------------------- */

static enum status memory_open(const struct buf *file, struct error *error)
{
    struct gguf gguf;
    uint8_t *copy = malloc(file->length > 0 ? file->length : 1); /* exact, for the sanitizer */
    memcpy(copy, file->data, file->length);
    enum status status = gguf_open_memory("f.gguf", copy, file->length, &gguf, error);
    if (status == STATUS_OK) {
        gguf_close(&gguf);
    }
    free(copy);
    return status;
}

static void expect_refused(struct gguf_build *build, const char *word)
{
    struct buf file = {0};
    struct error error = {0};
    gguf_build_finish(build, &file);
    EXPECT(memory_open(&file, &error) != STATUS_OK);
    EXPECT_CONTAINS(word, error.text);
    buf_release(&file);
}

TEST(every_truncation_is_refused)
{
    struct gguf_build build = {0};
    struct buf file = {0};
    struct error error = {0};
    gguf_build_sizes(&build);
    gguf_build_tensor(&build, "a", 0, 2, (const uint64_t[]){2, 2}, "0123456789abcdef", 16);
    gguf_build_tensor(&build, "b", 0, 1, (const uint64_t[]){1}, "abcd", 4);
    gguf_build_finish(&build, &file);
    EXPECT(memory_open(&file, &error) == STATUS_OK);
    EXPECT_STR("", error.text);
    for (size_t length = file.length; length > 0; length--) {
        struct buf cut = {.data = file.data, .length = length - 1};
        EXPECT(memory_open(&cut, &error) != STATUS_OK);
    }
    buf_release(&file);
}

TEST(counts_and_lengths_that_lie_are_refused)
{
    static const struct {
        size_t offset;
        uint8_t byte;
        const char *word;
    } edits[] = {
        {0, 'X', "GGUF"},          {4, 1, "version 1"},       {8, 0xff, "ends inside"},
        {15, 0x7f, "the limits"},  {16, 200, "ends inside"},  {23, 0x80, "the limits"},
        {24, 0, "not printable"},  {31, 0x80, "ends inside"}, {32, ' ', "not printable"},
        {52, 77, "value type 77"}, {63, 0x10, "ends inside"},
    };
    for (size_t i = 0; i < sizeof(edits) / sizeof(*edits); i++) {
        struct gguf_build build = {0};
        struct buf file = {0};
        struct error error = {0};
        gguf_build_string(&build, "general.architecture", "llama");
        gguf_build_finish(&build, &file);
        file.data[edits[i].offset] = (char)edits[i].byte;
        EXPECT(memory_open(&file, &error) != STATUS_OK);
        EXPECT_CONTAINS(edits[i].word, error.text);
        buf_release(&file);
    }
}

TEST(tensors_that_lie_are_refused)
{
    struct gguf_build build = {0};
    gguf_build_tensor(&build, "a", 0, 1, (const uint64_t[]){9}, "abcd", 4);
    expect_refused(&build, "tensor a lies beyond the end");
    gguf_build_tensor(&build, "a", 0, 1, (const uint64_t[]){0}, "abcd", 4);
    expect_refused(&build, "zero or overflows");
    gguf_build_tensor(&build, "a", 0, 2, (const uint64_t[]){1ull << 33, 1ull << 33}, "abcd", 4);
    expect_refused(&build, "zero or overflows");
    gguf_build_tensor(&build, "a", 0, 1, (const uint64_t[]){1ull << 62}, "abcd", 4);
    expect_refused(&build, "overflows");
    gguf_build_tensor(&build, "a", 3, 1, (const uint64_t[]){33}, "abcd", 4);
    expect_refused(&build, "no multiple of a block of Q4_1 (32)");
    gguf_build_tensor(&build, "a", 99, 1, (const uint64_t[]){1}, "abcd", 4);
    expect_refused(&build, "type 99");
    gguf_build_tensor(&build, "a", 0, 5, (const uint64_t[]){1, 1, 1, 1, 1}, "abcd", 4);
    expect_refused(&build, "5 dimensions");
    gguf_build_tensor(&build, "a", 0, 0, (const uint64_t[]){0}, "abcd", 4);
    expect_refused(&build, "0 dimensions");
    gguf_build_tensor(&build, "a", 0, 1, (const uint64_t[]){1}, "abcd", 4);
    gguf_build_tensor(&build, "a", 0, 1, (const uint64_t[]){1}, "abcd", 4);
    expect_refused(&build, "a is there twice");
    gguf_build_tensor(&build, "a", 0, 1, (const uint64_t[]){9}, "abcd", 4);
    gguf_build_tensor(&build, "b", 0, 1, (const uint64_t[]){1}, "abcd", 4);
    expect_refused(&build, "a and b overlap");
    gguf_build_u32(&build, "general.alignment", 0);
    expect_refused(&build, "general.alignment is 0");
    gguf_build_u32(&build, "general.alignment", 3);
    gguf_build_tensor(&build, "a", 0, 1, (const uint64_t[]){1}, "abcd", 4);
    gguf_build_tensor(&build, "b", 0, 1, (const uint64_t[]){1}, "abcd", 4);
    expect_refused(&build, "not aligned to 3 bytes");
}

TEST_MAIN()
