/* SPDX-License-Identifier: Apache-2.0
 *
 * Encoding: merges, alphabets, words, normalizers, added tokens, and texts made to hurt.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/limits.h"
#include "lib/rng.h"
#include "tests/test.h"
#include "tests/tokenizer_fixture.h"
#include "worker/data/normalizer.h"
#include "worker/data/pretokenizer.h"

#define EXPECT_TOKENS(expected, tokenizer, text)                                                   \
    EXPECT_STR(expected, fixture_encode(tokenizer, text))

/* Opens or says why not. */
static struct tokenizer *opened(const struct tokenizer_parts_text *parts)
{
    struct tokenizer *tokenizer = fixture_tokenizer_open(parts);
    if (!tokenizer) {
        test_fail(__FILE__, __LINE__, "%s", fixture_error.text);
    }
    return tokenizer;
}

TEST(the_lowest_rank_is_merged_first_and_then_the_leftmost)
{
    struct tokenizer *tokenizer = opened(&(struct tokenizer_parts_text){
        .vocab = "\"a\":0,\"b\":1,\"c\":2,\"bc\":3,\"ab\":4,\"aa\":5,\"abc\":6",
        .merges = "[\"b\",\"c\"],[\"a\",\"b\"],\"a a\",\"a bc\""});
    REQUIRE(tokenizer);
    EXPECT_TOKENS("6", tokenizer, "abc"); /* bc before ab */
    EXPECT_TOKENS("4 4", tokenizer, "abab");
    EXPECT_TOKENS("5 0", tokenizer, "aaa"); /* leftmost of equals */
    EXPECT_TOKENS("5 5 5 0", tokenizer, "aaaaaaa");
    EXPECT_TOKENS("", tokenizer, "");
    tokenizer_free(tokenizer);
}

TEST(a_merge_that_is_listed_twice_has_its_later_rank)
{
    struct tokenizer *tokenizer = opened(&(struct tokenizer_parts_text){
        .vocab = "\"a\":0,\"b\":1,\"c\":2,\"bc\":3,\"ab\":4", .merges = "\"a b\",\"b c\",\"a b\""});
    REQUIRE(tokenizer);
    EXPECT_TOKENS("0 3", tokenizer, "abc");
    tokenizer_free(tokenizer);
}

static bool is_part(const char *merge, const char *word, const int *starts)
{
    size_t length = (size_t)(starts[1] - starts[0]);
    return strlen(merge) == length && memcmp(merge, word + starts[0], length) == 0;
}

/* What bpe.c must equal, in the plainest way: part i is word[starts[i] … starts[i + 1]). */
static void merge_plainly(const char (*merges)[2][16], int merge_count, const char *word,
                          struct buf *out)
{
    int starts[130];
    int count = (int)strlen(word);
    for (int i = 0; i <= count; i++) {
        starts[i] = i;
    }
    for (;;) {
        int best = -1;
        int best_rank = merge_count;
        for (int i = 0; i + 1 < count; i++) {
            for (int rank = 0; rank < best_rank; rank++) {
                if (is_part(merges[rank][0], word, &starts[i]) &&
                    is_part(merges[rank][1], word, &starts[i + 1])) {
                    best = i;
                    best_rank = rank;
                }
            }
        }
        if (best < 0) {
            break;
        }
        memmove(&starts[best + 1], &starts[best + 2], sizeof(int) * (size_t)(count - best - 1));
        count--;
    }
    for (int i = 0; i < count; i++) {
        buf_printf(out, "%s%.*s", i > 0 ? " " : "", starts[i + 1] - starts[i], word + starts[i]);
    }
}

static void show_parts(const struct tokenizer *tokenizer, const char *text, struct buf *out)
{
    struct ids ids = {0};
    tokenizer_encode(tokenizer, text, strlen(text), &ids);
    for (size_t i = 0; i < ids.count; i++) {
        size_t length;
        const char *token = tokenizer_text(tokenizer, ids.items[i], &length);
        buf_printf(out, "%s%.*s", i > 0 ? " " : "", (int)length, token);
    }
    ids_release(&ids);
}

/* 20 vocabularies of random merges × 200 words of 1 … 120 letters: short and long ways alike. */
TEST(both_ways_to_merge_equal_the_plain_one)
{
    enum { MERGES = 30, WORDS = 200 };
    for (uint64_t seed = 0; seed < 20 && !test_failed(); seed++) {
        char merges[MERGES][2][16];
        char tokens[MERGES + 2][16] = {"a", "b"};
        int count = 0;
        struct buf vocab = {0};
        struct buf list = {0};
        buf_append_string(&vocab, "\"a\":0,\"b\":1");
        for (uint64_t draw = 0; count < MERGES && draw < 10000; draw++) {
            const char *left = tokens[rng_below(seed, 1, draw, (uint64_t)count + 2)];
            const char *right = tokens[rng_below(seed, 2, draw, (uint64_t)count + 2)];
            char joined[32];
            snprintf(joined, sizeof(joined), "%s%s", left, right);
            bool fresh = strlen(joined) < 9;
            for (int i = 0; i < count + 2; i++) {
                fresh = fresh && strcmp(tokens[i], joined) != 0;
            }
            if (fresh) {
                snprintf(merges[count][0], sizeof(merges[0][0]), "%s", left);
                snprintf(merges[count][1], sizeof(merges[0][1]), "%s", right);
                memcpy(tokens[count + 2], joined, sizeof(tokens[0]));
                buf_printf(&vocab, ",\"%s\":%d", joined, count + 2);
                buf_printf(&list, "%s[\"%s\",\"%s\"]", count > 0 ? "," : "", left, right);
                count++;
            }
        }
        struct tokenizer *tokenizer =
            opened(&(struct tokenizer_parts_text){.vocab = vocab.data, .merges = list.data});
        for (uint64_t w = 0; tokenizer && w < WORDS; w++) {
            char word[128] = "";
            size_t length = 1 + rng_below(seed, 3, w, 120);
            for (size_t i = 0; i < length; i++) {
                word[i] = rng_below(seed, 4 + w, i, 3) ? 'a' : 'b';
            }
            struct buf expected = {0};
            struct buf got = {0};
            merge_plainly((const char(*)[2][16])merges, count, word, &expected);
            show_parts(tokenizer, word, &got);
            EXPECT_STR(expected.data, got.data);
            buf_release(&expected);
            buf_release(&got);
        }
        tokenizer_free(tokenizer);
        buf_release(&vocab);
        buf_release(&list);
    }
}

TEST(what_has_no_token_is_dropped_or_unk_or_bytes)
{
    struct tokenizer_parts_text parts = {.pre_tokenizer = "null",
                                         .vocab = "\"a\":0,\"?\":1,\"<0xC3>\":2,\"<0xA9>\":3,"
                                                  "\"<0xE7>\":4",
                                         .merges = ""};
    struct tokenizer *tokenizer = opened(&parts);
    REQUIRE(tokenizer);
    EXPECT_TOKENS("0 0", tokenizer, "axya");
    tokenizer_free(tokenizer);

    parts.options = "\"unk_token\":\"?\",";
    REQUIRE((tokenizer = opened(&parts)));
    EXPECT_TOKENS("0 1 1 0 1", tokenizer, "axyaé");
    tokenizer_free(tokenizer);

    parts.options = "\"unk_token\":\"?\",\"fuse_unk\":true,";
    REQUIRE((tokenizer = opened(&parts)));
    EXPECT_TOKENS("0 1 0 1", tokenizer, "axyaé");
    tokenizer_free(tokenizer);

    /* All of a character's bytes, or none; and an unk waits behind bytes, as at Hugging Face. */
    parts.options = "\"unk_token\":\"?\",\"fuse_unk\":true,\"byte_fallback\":true,";
    REQUIRE((tokenizer = opened(&parts)));
    EXPECT_TOKENS("0 2 3 0", tokenizer, "aéa");
    EXPECT_TOKENS("2 3 1 0", tokenizer, "的é的a");
    tokenizer_free(tokenizer);
}

TEST(byte_level_bytes_without_a_token_are_dropped)
{
    struct tokenizer *tokenizer = opened(&(struct tokenizer_parts_text){0});
    REQUIRE(tokenizer);
    EXPECT_TOKENS("4 3 2", tokenizer, "axb c"); /* and what stood beside it may merge */
    tokenizer_free(tokenizer);
}

TEST(ignore_merges_takes_a_word_that_is_a_token)
{
    struct tokenizer_parts_text parts = {.vocab =
                                             "\"a\":0,\"b\":1,\"ab\":2,\"aba\":3,\"\\u0120ab\":4,"
                                             "\"\\u0120\":5",
                                         .options = "\"ignore_merges\":true,"};
    struct tokenizer *tokenizer = opened(&parts);
    REQUIRE(tokenizer);
    EXPECT_TOKENS("3 4", tokenizer, "aba ab");
    EXPECT_TOKENS("2 2", tokenizer, "abab");
    tokenizer_free(tokenizer);
    parts.options = "";
    REQUIRE((tokenizer = opened(&parts)));
    EXPECT_TOKENS("2 0 5 2", tokenizer, "aba ab");
    tokenizer_free(tokenizer);
}

/* The words of a text, with "|" between. */
static const char *words_of(enum pretokenizer pretokenizer, const char *text)
{
    static char shown[512];
    size_t length = strlen(text);
    size_t used = 0;
    while (length > 0) {
        size_t size = pretokenizer_next(pretokenizer, text, length);
        if (size == 0 || size > length || used + size + 2 > sizeof(shown)) {
            return "no progress";
        }
        memcpy(shown + used, text, size);
        used += size;
        shown[used++] = '|';
        text += size;
        length -= size;
    }
    shown[used > 0 ? used - 1 : 0] = '\0';
    return shown;
}

TEST(words_are_cut_as_the_patterns_cut_them)
{
    static const struct {
        enum pretokenizer pretokenizer;
        const char *text, *words;
    } rows[] = {
        {PRETOKENIZER_GPT2, "Hello, world! 12345", "Hello|,| world|!| 12345"},
        {PRETOKENIZER_GPT2, "I'm we'LL 'tis", "I|'m| we|'|LL| '|tis"},
        {PRETOKENIZER_GPT2, "a  b   ", "a| | b|   "},
        {PRETOKENIZER_GPT2, "a\n\n b\n", "a|\n\n| b|\n"},
        {PRETOKENIZER_GPT2, "é的\u0301x\u00a0y", "é的|\u0301|x|\u00a0|y"},
        {PRETOKENIZER_GPT2, "½Ⅳ٣ ", "½Ⅳ٣| "},
        {PRETOKENIZER_DIGITS_GPT2, "a 12  3", "a| |1|2|  |3"},
        {PRETOKENIZER_DIGITS_GPT2, "x½  y", "x|½| | y"},
        {PRETOKENIZER_LLAMA3, "Hello, world! 12345", "Hello|,| world|!| |123|45"},
        {PRETOKENIZER_LLAMA3, "we'LL don'ſ 'x", "we|'LL| don|'ſ| '|x"},
        {PRETOKENIZER_LLAMA3, "a.b\tc\nd", "a|.b|\tc|\n|d"},
        {PRETOKENIZER_LLAMA3, "end.\n\n  next", "end|.\n\n| | next"},
        {PRETOKENIZER_LLAMA3, "x \n \n  y", "x| \n \n| | y"},
        {PRETOKENIZER_LLAMA3, " !\r\n?", " !\r\n|?"},
        {PRETOKENIZER_QWEN2, "a 123", "a| |1|2|3"},
        {PRETOKENIZER_BLOCKS, "▁a▁▁b的▁", "▁a|▁▁b的|▁"},
        {PRETOKENIZER_BLOCKS, "a▁b", "a|▁b"},
        {PRETOKENIZER_NONE, "a b", "a b"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        EXPECT_STR(rows[i].words, words_of(rows[i].pretokenizer, rows[i].text));
    }
}

/* The mark of LLaMA-2 where some merge joins a letter to it: then the text must stay one word. */
TEST(blocks_are_cut_only_where_no_merge_reaches_across)
{
    struct tokenizer_parts_text parts = {.pre_tokenizer = "null",
                                         .vocab = "\"a\":0,\"▁\":1,\"a▁\":2,\"a▁a\":3,\"▁a\":4",
                                         .merges = "[\"a\",\"▁\"],[\"a▁\",\"a\"]"};
    struct tokenizer *tokenizer = opened(&parts);
    REQUIRE(tokenizer);
    EXPECT_TOKENS("2 3", tokenizer, "a▁a▁a");
    tokenizer_free(tokenizer);
    parts.merges = "[\"▁\",\"a\"]";
    REQUIRE((tokenizer = opened(&parts)));
    EXPECT_TOKENS("0 4 4", tokenizer, "a▁a▁a");
    tokenizer_free(tokenizer);
}

/* NFC of a text, in a static buffer. */
static const char *nfc(const char *text)
{
    static char shown[256];
    const struct normalizer normalizer = {.steps = {{.kind = NORMALIZER_NFC}}, .count = 1};
    struct normalizer_scratch scratch = {0};
    size_t length;
    normalizer_run(&normalizer, text, strlen(text), &scratch, &text, &length);
    snprintf(shown, sizeof(shown), "%.*s", (int)length, text);
    normalizer_scratch_release(&scratch);
    return shown;
}

TEST(nfc_composes_orders_and_knows_what_hugging_face_knows)
{
    EXPECT_STR("plain é", nfc("plain é"));
    EXPECT_STR("é", nfc("e\u0301"));
    EXPECT_STR("xé界é.", nfc("xe\u0301界e\u0301."));
    EXPECT_STR("\u1ec7", nfc("e\u0302\u0323"));
    EXPECT_STR("각", nfc("\u1100\u1161\u11a8"));
    EXPECT_STR("Å", nfc("\u212b"));
    EXPECT_STR("\u0915\u093c", nfc("\u0958"));         /* a composition that is excluded */
    EXPECT_STR("a\u0c3c\u0301", nfc("a\u0c3c\u0301")); /* U+0C3C is younger than Unicode 9 */
}

TEST(a_megabyte_of_marks_in_the_wrong_order_is_ordered)
{
    const struct normalizer normalizer = {.steps = {{.kind = NORMALIZER_NFC}}, .count = 1};
    struct normalizer_scratch scratch = {0};
    struct buf text = {0};
    buf_append_char(&text, 'x');
    while (text.length < MIB) {
        buf_append_string(&text, "\u0315\u0316"); /* classes 232 and 220 */
    }
    const char *out;
    size_t length;
    normalizer_run(&normalizer, text.data, text.length, &scratch, &out, &length);
    EXPECT_I64((int64_t)text.length, (int64_t)length);
    EXPECT_BYTES("x\u0316\u0316", out, 5);
    EXPECT_BYTES("\u0315\u0315", out + length - 4, 4);
    normalizer_scratch_release(&scratch);
    buf_release(&text);
}

TEST(prepend_replace_and_metaspace_mark_blanks)
{
    struct tokenizer_parts_text parts = {
        .added = "{\"id\":4,\"content\":\"<s>\",\"special\":true,\"normalized\":false}",
        .normalizer =
            "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"▁\"},"
            "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"▁\"}]}",
        .pre_tokenizer = "null",
        .vocab = "\"a\":0,\"b\":1,\"▁\":2,\"▁a\":3",
        .merges = "[\"▁\",\"a\"]"};
    struct tokenizer *tokenizer = opened(&parts);
    REQUIRE(tokenizer);
    EXPECT_TOKENS("3 3 2 3", tokenizer, "a a  a");
    EXPECT_TOKENS("3 4 3", tokenizer, "a<s>a"); /* each section gets its mark */
    EXPECT_TOKENS("4", tokenizer, "<s>");
    tokenizer_free(tokenizer);

    static const char *const schemes[][3] = {
        {"always", "3 3 4 3", "2 3"}, {"first", "3 3 4 0", "2 3"}, {"never", "0 3 4 0", "2 3"}};
    for (size_t i = 0; i < 3; i++) {
        char metaspace[160];
        snprintf(metaspace, sizeof(metaspace),
                 "{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":\"%s\","
                 "\"split\":false}",
                 schemes[i][0]);
        parts.normalizer = NULL;
        parts.pre_tokenizer = metaspace;
        REQUIRE((tokenizer = opened(&parts)));
        EXPECT_TOKENS(schemes[i][1], tokenizer, "a a<s>a");
        EXPECT_TOKENS(schemes[i][2], tokenizer, "  a"); /* begins with a mark already */
        tokenizer_free(tokenizer);
    }
}

TEST(added_tokens_are_found_first_and_the_longest_wins)
{
    struct tokenizer *tokenizer = opened(&(struct tokenizer_parts_text){
        .added = "{\"id\":5,\"content\":\"<x>\",\"special\":true,\"normalized\":false},"
                 "{\"id\":6,\"content\":\"<x>a\",\"special\":true,\"normalized\":false},"
                 "{\"id\":4,\"content\":\"ab\",\"special\":false,\"normalized\":true}"});
    REQUIRE(tokenizer);
    EXPECT_TOKENS("5 1", tokenizer, "<x>b");
    EXPECT_TOKENS("6 1", tokenizer, "<x>ab");
    EXPECT_TOKENS("0 4 1", tokenizer, "aabb");
    EXPECT_TOKENS("0", tokenizer, "a<x");
    tokenizer_free(tokenizer);
}

TEST(added_tokens_may_stand_alone_and_take_blanks)
{
    struct tokenizer *tokenizer = opened(&(struct tokenizer_parts_text){
        .added = "{\"id\":5,\"content\":\"L\",\"lstrip\":true,\"normalized\":false},"
                 "{\"id\":6,\"content\":\"R\",\"rstrip\":true,\"normalized\":false},"
                 "{\"id\":7,\"content\":\"W\",\"single_word\":true,\"normalized\":false},"
                 "{\"id\":8,\"content\":\"  \",\"lstrip\":true,\"normalized\":false}"});
    REQUIRE(tokenizer);
    EXPECT_TOKENS("0 5 3 1", tokenizer, "a \u00a0\tL b");
    EXPECT_TOKENS("0 3 6 1", tokenizer, "a R\n b");
    EXPECT_TOKENS("7 3 7 3 0", tokenizer, "W W aW");
    EXPECT_TOKENS("7 7", tokenizer, "W-W");
    EXPECT_TOKENS("6 1", tokenizer, "R  b"); /* nothing is left of the token of two blanks */
    tokenizer_free(tokenizer);
}

TEST(the_post_processor_puts_tokens_around_a_text)
{
    struct tokenizer_parts_text parts = {
        .added = "{\"id\":5,\"content\":\"<s>\",\"special\":true},"
                 "{\"id\":6,\"content\":\"</s>\",\"special\":true}",
        .post_processor =
            "{\"type\":\"Sequence\",\"processors\":[" BYTE_LEVEL
            ",{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"B\"}},"
            "{\"Sequence\":{\"id\":\"A\"}},{\"SpecialToken\":{\"id\":\"E\"}}],\"special_tokens\":"
            "{\"B\":{\"ids\":[5,5]},\"E\":{\"ids\":[6]}}}]}"};
    struct tokenizer *tokenizer = opened(&parts);
    REQUIRE(tokenizer);
    EXPECT_STR("5 5 4 6", fixture_encode_special(tokenizer, "ab"));
    EXPECT_STR("5 5 6", fixture_encode_special(tokenizer, ""));
    EXPECT_TOKENS("4", tokenizer, "ab");
    tokenizer_free(tokenizer);
}

/* A tokenizer in which blanks, letters, digits and line ends all merge to runs of 1, 2, 4 … 64. */
static struct tokenizer *runs_tokenizer(const char *pre_tokenizer)
{
    static const char *const units[] = {"a", "Ġ", "7", "Ċ", "x"};
    struct buf vocab = {0};
    struct buf merges = {0};
    int id = 0;
    for (int unit = 0; unit < 5; unit++) {
        for (int size = 1; size <= 64; size *= 2) {
            buf_append_string(&vocab, id > 0 ? ",\"" : "\"");
            for (int i = 0; i < size; i++) {
                buf_append_string(&vocab, units[unit]);
            }
            buf_printf(&vocab, "\":%d", id++);
            for (int half = 0; half < 2 && size > 1; half++) {
                buf_append_string(&merges, half ? " " : merges.length > 0 ? ",\"" : "\"");
                for (int i = 0; i < size / 2; i++) {
                    buf_append_string(&merges, units[unit]);
                }
                buf_append_string(&merges, half ? "\"" : "");
            }
        }
    }
    struct tokenizer *tokenizer = opened(&(struct tokenizer_parts_text){
        .pre_tokenizer = pre_tokenizer, .vocab = vocab.data, .merges = merges.data});
    buf_release(&vocab);
    buf_release(&merges);
    return tokenizer;
}

TEST(a_megabyte_of_anything_is_encoded)
{
    static const struct {
        const char *unit;
        int64_t tokens; /* of 1 MiB with GPT-2's pattern */
    } texts[] = {{"a", MIB / 64}, {" ", MIB / 64}, {"7", MIB / 64},        {"\n", MIB / 64},
                 {"a ", MIB},     {"ax", MIB},     {"👩🏽‍🚀", 0}, {"'s", 0}};
    struct tokenizer *tokenizer = runs_tokenizer(BYTE_LEVEL);
    REQUIRE(tokenizer);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct buf text = {0};
        struct ids ids = {0};
        while (text.length < MIB) {
            buf_append_string(&text, texts[i].unit);
        }
        tokenizer_encode(tokenizer, text.data, text.length, &ids);
        EXPECT_I64(texts[i].tokens, (int64_t)ids.count);
        ids_release(&ids);
        buf_release(&text);
    }
    tokenizer_free(tokenizer);
}

struct encoding {
    const struct tokenizer *tokenizer;
    struct ids ids;
};

static void *encode_often(void *argument)
{
    struct encoding *encoding = argument;
    for (int round = 0; round < 50; round++) {
        encoding->ids.count = 0;
        for (int i = 0; i < 100; i++) {
            static const char *const texts[] = {"aaa a", "777 xxxx", "a\n\na",
                                                "  aaaaaaaaaaaaaaaa"};
            tokenizer_encode(encoding->tokenizer, texts[i % 4], strlen(texts[i % 4]),
                             &encoding->ids);
        }
    }
    return NULL;
}

TEST(threads_encode_side_by_side)
{
    enum { THREADS = 4 };
    struct tokenizer *tokenizer = runs_tokenizer(BYTE_LEVEL);
    REQUIRE(tokenizer);
    struct encoding encodings[THREADS] = {{0}};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        encodings[i].tokenizer = tokenizer;
        REQUIRE(pthread_create(&threads[i], NULL, encode_often, &encodings[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        EXPECT_I64((int64_t)encodings[0].ids.count, (int64_t)encodings[i].ids.count);
        EXPECT_BYTES(encodings[0].ids.items, encodings[i].ids.items,
                     encodings[0].ids.count * sizeof(int32_t));
    }
    for (int i = 0; i < THREADS; i++) {
        ids_release(&encodings[i].ids);
    }
    tokenizer_free(tokenizer);
}

TEST(tokens_have_texts_for_people)
{
    struct tokenizer *tokenizer = opened(
        &(struct tokenizer_parts_text){.added = "{\"id\":5,\"content\":\"<Ġ>\",\"special\":true}"});
    size_t length;
    REQUIRE(tokenizer);
    EXPECT_I64(6, tokenizer_size(tokenizer));
    EXPECT_STR(" ", tokenizer_text(tokenizer, 3, &length));
    EXPECT_STR("<Ġ>", tokenizer_text(tokenizer, 5, &length));
    EXPECT_STR("", tokenizer_text(tokenizer, 6, &length));
    EXPECT_STR("", tokenizer_text(tokenizer, -1, &length));
    EXPECT_I64(0, (int64_t)length);
    EXPECT_I64(3, tokenizer_id(tokenizer, "Ġ"));
    EXPECT_I64(-1, tokenizer_id(tokenizer, "nothing"));
    tokenizer_free(tokenizer);

    REQUIRE((tokenizer = opened(&(struct tokenizer_parts_text){.pre_tokenizer = "null",
                                                               .options = "\"byte_fallback\":true,",
                                                               .vocab = "\"▁a▁\":0,\"<0x0A>\":1",
                                                               .merges = ""})));
    EXPECT_STR(" a ", tokenizer_text(tokenizer, 0, &length));
    EXPECT_STR("\n", tokenizer_text(tokenizer, 1, &length));
    tokenizer_free(tokenizer);
}

TEST_MAIN()
