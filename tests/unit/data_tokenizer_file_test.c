/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokenizer files: every way to write the same thing is read, every bad file is refused with the
 * file and the field, and no bytes at all bring the process down.
 */
#include <stdio.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/file.h"
#include "lib/limits.h"
#include "lib/rng.h"
#include "tests/data_fixture.h"
#include "tests/test.h"
#include "tests/tokenizer_fixture.h"
#include "worker/data/tokenizer_lists.h"

#define SPLIT(pattern)                                                                             \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"        \
    "\"" pattern "\"},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\","        \
    "\"add_prefix_space\":false,\"use_regex\":false}]}"
#define ADDED(id, content) "{\"id\":" id ",\"content\":\"" content "\",\"special\":true}"

static void expect_refused(const struct tokenizer_parts_text *parts, enum status status,
                           const char *sentence)
{
    struct tokenizer *tokenizer = fixture_tokenizer_open(parts);
    EXPECT(!tokenizer);
    EXPECT_I64(status, fixture_error.status);
    EXPECT_CONTAINS("tokenizer.json", fixture_error.text);
    EXPECT_CONTAINS(sentence, fixture_error.text);
    tokenizer_free(tokenizer);
}

struct refusal {
    struct tokenizer_parts_text parts;
    enum status status;
    const char *sentence;
};

static void expect_all_refused(const struct refusal *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        expect_refused(&rows[i].parts, rows[i].status, rows[i].sentence);
    }
}

static const struct refusal bad_vocabularies[] = {
    {{.vocab = ""}, STATUS_FORMAT, "model: vocab: there are no tokens"},
    {{.vocab = "\"a\":0,\"b\":2,\"ab\":1,\"c\":4"},
     STATUS_FORMAT,
     "\"c\" has the id 4, so ids are missing"},
    {{.vocab = "\"a\":0,\"b\":0"}, STATUS_FORMAT, "\"a\" and \"b\" have the same id 0"},
    {{.vocab = "\"a\":0,\"a\":1"}, STATUS_FORMAT, "\"a\" is there twice"},
    {{.vocab = "\"a\":-1"}, STATUS_FORMAT, "vocab: entry 0 is not a token and its id"},
    {{.vocab = "\"a\":0.0"}, STATUS_FORMAT, "vocab: entry 1 is not"},
    {{.vocab = "\"a\":00"}, STATUS_FORMAT, "vocab: entry 0 is not"},
    {{.vocab = "\"a\":\"0\""}, STATUS_FORMAT, "vocab: entry 0 is not"},
    {{.vocab = "\"a\":0,"}, STATUS_FORMAT, "vocab: entry 1 is not"},
    {{.vocab = "\"a\":99999999999999999999"}, STATUS_FORMAT, "so ids are missing"},
    {{.vocab = "\"\\ud800\":0"}, STATUS_FORMAT, "vocab: entry 0 is not"},
    {{.vocab = "\"\\u0000\":0"}, STATUS_FORMAT, "vocab: entry 0 is not"},
    {{.vocab = "\"\\x\":0"}, STATUS_FORMAT, "vocab: entry 0 is not"},
    {{.vocab = "\"a\nb\":0"}, STATUS_FORMAT, "vocab: entry 0 is not"},
};

TEST(vocabularies_with_gaps_repeats_or_wrong_ids_are_refused)
{
    expect_all_refused(bad_vocabularies, sizeof(bad_vocabularies) / sizeof(bad_vocabularies[0]));
}

static const struct refusal bad_merges[] = {
    {{.merges = "[\"a\",\"x\"]"},
     STATUS_FORMAT,
     "model: merges[0]: the right part of \"a\" + \"x\""},
    {{.merges = "[\"a\",\"b\"],\"x a\""},
     STATUS_FORMAT,
     "merges[1]: the left part of \"x\" + \"a\""},
    {{.merges = "[\"b\",\"a\"]"}, STATUS_FORMAT, "merges[0]: the result of \"b\" + \"a\""},
    {{.merges = "[\"a\"]"}, STATUS_FORMAT, "merges[0] is not two tokens"},
    {{.merges = "[\"a\",\"\"]"}, STATUS_FORMAT, "merges[0] is not two tokens"},
    {{.merges = "\"a b c\""}, STATUS_FORMAT, "merges[0] is not two tokens"},
    {{.merges = "\"ab\""}, STATUS_FORMAT, "merges[0] is not two tokens"},
    {{.merges = "[\"a\",\"b\"],7"}, STATUS_FORMAT, "merges[1] is not two tokens"},
    {{.merges = "[[[[[[[[\"a\"]]]]]]]]"}, STATUS_FORMAT, "merges[0] is not two tokens"},
};

TEST(merges_of_unknown_tokens_or_shapes_are_refused)
{
    expect_all_refused(bad_merges, sizeof(bad_merges) / sizeof(bad_merges[0]));
}

static const struct refusal bad_options[] = {
    {{.options = "\"type\":\"Unigram\","}, STATUS_UNSUPPORTED, "model: \"type\" is \"Unigram\""},
    {{.options = "\"type\":3,"}, STATUS_FORMAT, "model: \"type\" is 3: expected a string"},
    {{.options = "\"dropout\":0.1,"}, STATUS_UNSUPPORTED, "\"dropout\" is set"},
    {{.options = "\"end_of_word_suffix\":\"</w>\","},
     STATUS_UNSUPPORTED,
     "\"end_of_word_suffix\" is set"},
    {{.options = "\"fuse_unk\":\"no\","}, STATUS_FORMAT, "\"fuse_unk\" is \"no\""},
    {{.options = "\"unk_token\":\"<unk>\","},
     STATUS_FORMAT,
     "unk_token \"<unk>\" is not in the vocabulary"},
    {{.options = "\"vocab\":{},"}, STATUS_FORMAT, "duplicate key \"vocab\""},
};

TEST(options_of_another_model_are_refused)
{
    expect_all_refused(bad_options, sizeof(bad_options) / sizeof(bad_options[0]));
}

static const struct refusal bad_added[] = {
    {{.added = ADDED("6", "x")},
     STATUS_FORMAT,
     "added_tokens[0]: \"x\" has the id 6, and the next free one is 5"},
    {{.added = ADDED("3", "x")}, STATUS_FORMAT, "the next free one is 5"},
    {{.added = ADDED("1", "a")},
     STATUS_CONFLICT,
     "\"a\" has the id 1 here and 0 in the vocabulary"},
    {{.added = ADDED("5", "x") "," ADDED("6", "x")},
     STATUS_FORMAT,
     "added_tokens[1]: \"x\" was added before"},
    {{.added = ADDED("0", "a") "," ADDED("0", "a")},
     STATUS_FORMAT,
     "added_tokens[1]: \"a\" was added before"},
    {{.added = ADDED("5", "")}, STATUS_FORMAT, "\"content\" of 1 to 256 bytes"},
    {{.added = ADDED("-5", "x")}, STATUS_FORMAT, "\"id\" is -5"},
    {{.added = "7"}, STATUS_FORMAT, "added_tokens[0]: an object is expected"},
    {{.added = "{\"id\":5,\"content\":\"x\",\"lstrip\":1}"}, STATUS_FORMAT, "\"lstrip\" is 1"},
    {{.added = "{\"id\":5,\"content\":\"é\"},{\"id\":6,\"content\":\"e\\u0301\"}",
      .normalizer = "{\"type\":\"NFC\"}"},
     STATUS_FORMAT,
     "the tokens 5 and 6 the same"},
};

TEST(added_tokens_that_do_not_fit_are_refused)
{
    expect_all_refused(bad_added, sizeof(bad_added) / sizeof(bad_added[0]));
}

static const struct refusal bad_pipelines[] = {
    {{.normalizer = "{\"type\":\"Lowercase\"}"},
     STATUS_UNSUPPORTED,
     "normalizer: \"Lowercase\" is not one of"},
    {{.normalizer = "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{}]}"},
     STATUS_FORMAT,
     "normalizer.normalizers[1]: \"type\" is missing"},
    {{.normalizer = "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(a+)+\"},\"content\":\"b\"}"},
     STATUS_UNSUPPORTED,
     "patterns from files are not run"},
    {{.normalizer = "{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"b\"}"},
     STATUS_FORMAT,
     "\"String\" is missing or empty"},
    {{.normalizer =
          "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"aaaaaaaaa\"}"},
     STATUS_LIMIT,
     "more than 8 times"},
    {{.normalizer = "{\"type\":\"Prepend\",\"prepend\":\"12345678901234567\"}"},
     STATUS_LIMIT,
     "more than 16 bytes"},
    {{.pre_tokenizer = SPLIT("(a+)+$")},
     STATUS_UNSUPPORTED,
     "pre_tokenizer.pretokenizers[0]: the pattern \"(a+)+$\" is not one of the known families"},
    {{.pre_tokenizer = SPLIT("(a+)+$")},
     STATUS_UNSUPPORTED,
     "the patterns of GPT-2, LLaMA-3 and Qwen2"},
    {{.pre_tokenizer = "{\"type\":\"Whitespace\"}"},
     STATUS_UNSUPPORTED,
     "pre_tokenizer: [Whitespace] is not one of"},
    {{.pre_tokenizer = "{\"type\":\"ByteLevel\",\"add_prefix_space\":true}"},
     STATUS_UNSUPPORTED,
     "\"add_prefix_space\" is true"},
    {{.pre_tokenizer = "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"},
     STATUS_UNSUPPORTED,
     "\"use_regex\" is false"},
    {{.pre_tokenizer =
          "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\"}," BYTE_LEVEL "]}"},
     STATUS_UNSUPPORTED,
     "\"individual_digits\" is false"},
    {{.pre_tokenizer =
          "{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"first\"}"},
     STATUS_UNSUPPORTED,
     "only \"split\" false"},
    {{.pre_tokenizer = "[]"}, STATUS_FORMAT, "pre_tokenizer: an object is expected"},
    {{.post_processor = "{\"type\":\"RobertaProcessing\"}"},
     STATUS_UNSUPPORTED,
     "\"RobertaProcessing\" is not one of"},
    {{.post_processor = "{\"type\":\"TemplateProcessing\",\"single\":[]}"},
     STATUS_UNSUPPORTED,
     "post_processor: \"single\" does not hold the text A once"},
    {{.post_processor =
          "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"B\"}}]}"},
     STATUS_FORMAT,
     "special_tokens has no ids for \"B\""},
    {{.post_processor =
          "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"B\"}}],"
          "\"special_tokens\":{\"B\":{\"ids\":[5]}}}"},
     STATUS_FORMAT,
     "an id of \"B\" is not below 5"},
};

TEST(steps_that_are_not_known_are_refused_with_their_place)
{
    expect_all_refused(bad_pipelines, sizeof(bad_pipelines) / sizeof(bad_pipelines[0]));
}

static void expect_bytes_refused(const char *json, size_t length, enum status status,
                                 const char *sentence)
{
    struct tokenizer *tokenizer = fixture_tokenizer_bytes(json, length);
    EXPECT(!tokenizer);
    EXPECT_I64(status, fixture_error.status);
    EXPECT_CONTAINS("tokenizer.json", fixture_error.text);
    EXPECT_CONTAINS(sentence, fixture_error.text);
    tokenizer_free(tokenizer);
}

TEST(files_of_another_shape_are_refused)
{
    static const struct {
        const char *json, *sentence;
    } rows[] = {
        {"", "tokenizer.json:1:"},
        {"[]", "an object is expected"},
        {"{}", "\"model\" is missing"},
        {"{\"model\":[]}", "\"model\" is missing, or is not an object"},
        {"{\"model\":{}}", "model: \"vocab\" is missing: an object is expected"},
        {"{\"model\":{\"vocab\":[],\"merges\":[]}}", "model: \"vocab\" is something else"},
        {"{\"model\":{\"vocab\":{\"a\":0}}}", "model: \"merges\" is missing: an array is expected"},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":{}}}", "model: \"merges\" is something else"},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[", "tokenizer.json:1:"},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}x", "tokenizer.json:1:"},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\n\"model\":{}}",
         "duplicate key \"model\""},
        {"{\"added_tokens\":{},\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}",
         "added_tokens: an array"},
        {"{\"a\":\"\xff\"}", "byte 6 is not UTF-8"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        expect_bytes_refused(rows[i].json, strlen(rows[i].json), STATUS_FORMAT, rows[i].sentence);
    }
    struct buf deep = {0};
    for (int i = 0; i < 100000; i++) {
        buf_append_string(&deep, "{\"normalizer\":");
    }
    expect_bytes_refused(deep.data, deep.length, STATUS_FORMAT, "nested deeper than 64");
    buf_clear(&deep);
    buf_append_string(&deep, "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[");
    for (int i = 0; i < 100000; i++) {
        buf_append_char(&deep, '[');
    }
    expect_bytes_refused(deep.data, deep.length, STATUS_FORMAT, "tokenizer.json:1:");
    buf_release(&deep);
}

TEST(lines_keep_their_numbers_behind_the_long_lists)
{
    static const char json[] = "{\"model\":{\n\"vocab\":{\n\"a\":0\n},\n\"merges\":[\n]\n,x}}";
    expect_bytes_refused(json, sizeof(json) - 1, STATUS_FORMAT, "tokenizer.json:7:");
}

TEST(long_lists_are_found_whatever_the_tokens_are_called)
{
    static const char json[] =
        "{ \"decoder\" : {\"model\":{\"vocab\":{\"no\":7}}} , \"model\" :\n{ \"merges\" : [ "
        "[ \"\\u006d\" , \"\\\"\" ] , \"{ \\\\\" ],\"x\":[\"vocab\"],\"vocab\" : { \"m\" : 0 , "
        "\"\\\"\" : 1,\"m\\\"\":2,\"{\":3,\"\\\\\":4,\"{\\\\\":5,\"]}\":6,\"\\ud83d\\ude00\":7,"
        "\"\\u0120\\n\":8,\"merges\":9} } }";
    struct tokenizer *tokenizer = fixture_tokenizer_bytes(json, sizeof(json) - 1);
    EXPECT_STR("", fixture_error.text);
    REQUIRE(tokenizer);
    EXPECT_I64(10, tokenizer_size(tokenizer));
    EXPECT_I64(7, tokenizer_id(tokenizer, "😀"));
    EXPECT_I64(8, tokenizer_id(tokenizer, "Ġ\n"));
    EXPECT_STR("2 7", fixture_encode(tokenizer, "m\"😀"));
    EXPECT_STR("5", fixture_encode(tokenizer, "{\\"));
    tokenizer_free(tokenizer);
}

/* Every truncation, and thousands of changed bytes: an error with a sentence, or a tokenizer that
 * encodes. The sanitizers watch. */
TEST(damaged_files_never_crash)
{
    const struct tokenizer_parts_text parts = {
        .added = ADDED("5", "<s>") ",{\"id\":6,\"content\":\"two words\",\"single_word\":true}",
        .normalizer =
            "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Replace\","
            "\"pattern\":{\"String\":\" \"},\"content\":\"b\"}]}",
        .post_processor =
            "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"B\"}},"
            "{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"B\":{\"ids\":[5]}}}"};
    size_t length;
    const char *json = fixture_tokenizer_json(&parts, &length);
    char *copy = mem_alloc(length);
    int opened = 0;
    int refused = 0;
    for (uint64_t i = 0; i < 4000 && !test_failed(); i++) {
        size_t size = i < length ? i : length;
        memcpy(copy, json, length);
        for (uint64_t change = 0; i >= length && change < 1 + i % 3; change++) {
            copy[rng_below(1, i, 2 * change, length)] =
                "\"\\{}[],:0 9a\x01\xff-e"[rng_below(1, i, 2 * change + 1, 17)];
        }
        struct tokenizer *tokenizer = fixture_tokenizer_bytes(copy, size);
        if (tokenizer) {
            fixture_encode_special(tokenizer, "ab two words<s>é aab");
            opened++;
        } else {
            EXPECT_CONTAINS("tokenizer.json", fixture_error.text);
            refused++;
        }
        tokenizer_free(tokenizer);
    }
    EXPECT(opened > 0 && refused > (int)length - 2);
    mem_free(copy);
}

TEST(old_forms_get_the_conversion_named)
{
    struct tokenizer *tokenizer = NULL;
    struct error error;
    const char *dir = fixture_path("old");
    REQUIRE(dir_create(dir, &error) == STATUS_OK);
    EXPECT_I64(STATUS_NOT_FOUND, tokenizer_open(dir, &tokenizer, &error));
    EXPECT_CONTAINS("there is no tokenizer.json", error.text);
    fixture_write("old/tokenizer.model", "x");
    EXPECT_I64(STATUS_UNSUPPORTED, tokenizer_open(dir, &tokenizer, &error));
    EXPECT_CONTAINS("only tokenizer.model is there", error.text);
    EXPECT_CONTAINS("AutoTokenizer.from_pretrained(", error.text);
    EXPECT_CONTAINS(").save_pretrained(", error.text);
    EXPECT_I64(STATUS_UNSUPPORTED, tokenizer_open(dir, &tokenizer, NULL));
    EXPECT(!tokenizer);
}

TEST(too_large_a_file_is_refused_unread)
{
    const char *dir = fixture_path("large");
    struct tokenizer *tokenizer = NULL;
    struct error error;
    REQUIRE(dir_create(dir, &error) == STATUS_OK);
    FILE *file = fopen(fixture_path("large/tokenizer.json"), "wb");
    REQUIRE(file);
    EXPECT(fseek(file, (long)TOKENIZER_BYTES_MAX, SEEK_SET) == 0 && fputc('x', file) == 'x');
    fclose(file);
    EXPECT_I64(STATUS_LIMIT, tokenizer_open(dir, &tokenizer, &error));
    EXPECT_CONTAINS("64.0 MiB", error.text);
}

/* What bos, eos and pad are for these side files, as "bos eos pad", or the error. */
static const char *specials(const char *config, const char *map, const char *model_config)
{
    static char shown[ERROR_TEXT_MAX];
    size_t length;
    const struct tokenizer_parts_text parts = {.added = ADDED("5", "<s>") "," ADDED("6", "</s>")};
    const char *json = fixture_tokenizer_json(&parts, &length);
    struct tokenizer *tokenizer = NULL;
    struct error error;
    const char *dir = fixture_path("side");
    if (dir_exists(dir)) {
        EXPECT_I64(STATUS_OK, dir_remove(dir, &error));
    }
    EXPECT_I64(STATUS_OK, dir_create(dir, &error));
    fixture_write_bytes("side/tokenizer.json", json, length);
    const char *const files[][2] = {{"side/tokenizer_config.json", config},
                                    {"side/special_tokens_map.json", map},
                                    {"side/config.json", model_config}};
    for (size_t i = 0; i < 3; i++) {
        if (files[i][1]) {
            fixture_write(files[i][0], files[i][1]);
        }
    }
    if (tokenizer_open(dir, &tokenizer, &error) == STATUS_OK) {
        snprintf(shown, sizeof(shown), "%d%s %d%s %d", tokenizer_bos(tokenizer),
                 tokenizer_bos_text(tokenizer), tokenizer_eos(tokenizer),
                 tokenizer_eos_text(tokenizer), tokenizer_pad(tokenizer));
        tokenizer_free(tokenizer);
    } else {
        snprintf(shown, sizeof(shown), "%s", strstr(error.text, "side/"));
    }
    return shown;
}

TEST(bos_eos_and_pad_come_from_the_first_file_that_says)
{
    static const char both[] = "{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</s>\"}}";
    static const char ids[] = "{\"bos_token_id\":5,\"eos_token_id\":[6,4],\"pad_token_id\":-1}";
    EXPECT_STR("5<s> 6</s> -1", specials(both, NULL, NULL));
    EXPECT_STR("5<s> 6</s> -1", specials(NULL, both, NULL));
    EXPECT_STR("-1 6</s> 0", specials("{\"bos_token\":null,\"pad_token\":\"a\"}", both, ids));
    EXPECT_STR("-1 6</s> -1", specials("{\"eos_token\":\"</s>\"}", NULL, ids)); /* as Qwen2 */
    EXPECT_STR("5<s> 6</s> -1", specials(NULL, NULL, ids));
    EXPECT_STR("5<s> 6</s> -1", specials("{}", NULL, ids));
    EXPECT_STR("-1 -1 -1", specials(NULL, NULL, NULL));
    EXPECT_STR("side/tokenizer_config.json: \"bos_token\" is \"<b>\", which tokenizer.json lacks",
               specials("{\"bos_token\":\"<b>\"}", NULL, NULL));
    EXPECT_STR("side/tokenizer_config.json: \"pad_token\" is neither a string nor an object with "
               "\"content\"",
               specials("{\"pad_token\":7}", NULL, NULL));
    EXPECT_STR("side/config.json: \"eos_token_id\" is not an id below 7",
               specials(NULL, NULL, "{\"eos_token_id\":7}"));
    EXPECT_STR("side/special_tokens_map.json: an object is expected", specials(NULL, "[]", NULL));
}

TEST(the_chat_template_is_found_where_transformers_puts_it)
{
    static const struct {
        const char *config, *file, *expected;
    } rows[] = {
        {NULL, NULL, NULL},
        {"{\"chat_template\":\"x\"}", NULL, "x"},
        {"{\"chat_template\":[{\"name\":\"rag\",\"template\":\"y\"},"
         "{\"name\":\"default\",\"template\":\"x\"}]}",
         NULL, "x"},
        {"{\"chat_template\":\"x\"}", "newer\n", "newer\n"},
        {"{\"chat_template\":null}", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tokenizer *tokenizer = fixture_tokenizer_open(&(struct tokenizer_parts_text){
            .config = rows[i].config, .chat_template = rows[i].file});
        REQUIRE(tokenizer);
        EXPECT_STR(rows[i].expected ? rows[i].expected : "none",
                   tokenizer_chat_template(tokenizer) ? tokenizer_chat_template(tokenizer)
                                                      : "none");
        tokenizer_free(tokenizer);
    }
    struct tokenizer *tokenizer =
        fixture_tokenizer_open(&(struct tokenizer_parts_text){.config = "{\"chat_template\":[]}"});
    EXPECT(!tokenizer);
    EXPECT_CONTAINS("tokenizer_config.json: \"chat_template\" is neither", fixture_error.text);
}

TEST(the_digest_is_of_the_files_bytes)
{
    char expected[SHA256_HEX_SIZE];
    size_t length;
    const struct tokenizer_parts_text parts = {0};
    const char *json = fixture_tokenizer_json(&parts, &length);
    sha256_hex(json, length, expected);
    struct tokenizer *tokenizer = fixture_tokenizer_open(&parts);
    REQUIRE(tokenizer);
    EXPECT_STR(expected, tokenizer_digest(tokenizer));
    tokenizer_free(tokenizer);
}

TEST_MAIN()
