/* SPDX-License-Identifier: Apache-2.0
 *
 * Sections A and H of the goldens: tokens equal Hugging Face's, rendered conversations equal
 * Transformers', for whatever tokenizers and templates the golden directory holds. Everything is
 * compared exactly, and encoded twice: the second time the words come from the cache.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "tests/golden/golden.h"
#include "tests/test.h"
#include "worker/data/template.h"
#include "worker/data/tokenizer.h"

enum { FAILURES_SHOWN = 5 }; /* of one file */

static struct tokenizer *tokenizer_of(const char *name)
{
    struct error error;
    struct tokenizer *tokenizer = NULL;
    if (tokenizer_open(golden_path("tokenizers/%s", name), &tokenizer, &error) != STATUS_OK) {
        test_fail(__FILE__, __LINE__, "%s", error.text);
    }
    return tokenizer;
}

/* The index of the first difference, or -1. */
static int64_t difference(const struct ids *ids, const json_t *expected)
{
    size_t count = json_array_size(expected);
    for (size_t i = 0; i < count || i < ids->count; i++) {
        if (i >= count || i >= ids->count ||
            ids->items[i] != json_integer_value(json_array_get(expected, i))) {
            return (int64_t)i;
        }
    }
    return -1;
}

static bool ids_equal(const struct tokenizer *tokenizer, const json_t *text, const json_t *expected,
                      bool special, const char *what)
{
    struct ids ids = {0};
    int64_t at = -1;
    for (int pass = 0; pass < 2 && at < 0; pass++) {
        ids.count = 0;
        (special ? tokenizer_encode_special : tokenizer_encode)(tokenizer, json_string_value(text),
                                                                json_string_length(text), &ids);
        at = difference(&ids, expected);
    }
    if (at >= 0) {
        test_fail(__FILE__, __LINE__, "%s \"%.80s\": token %lld: expected %lld, got %d", what,
                  json_string_value(text), (long long)at,
                  (long long)json_integer_value(json_array_get(expected, (size_t)at)),
                  (size_t)at < ids.count ? ids.items[at] : -1);
    }
    ids_release(&ids);
    return at < 0;
}

static void vectors_check(const char *name)
{
    struct error error;
    struct buf lines = {0};
    struct tokenizer *tokenizer = tokenizer_of(name);
    if (!tokenizer ||
        file_read(golden_path("tokenizers/%s/vectors.jsonl", name), GIB, &lines, &error)) {
        test_skip("tokenizers/%s: no vectors.jsonl", name);
        tokenizer_free(tokenizer);
        return;
    }
    int failures = 0;
    int64_t rows = 0;
    for (char *at = lines.data; at < lines.data + lines.length && failures < FAILURES_SHOWN;) {
        char *end = strchr(at, '\n');
        size_t length = end ? (size_t)(end - at) : strlen(at);
        /* Texts hold U+0000, which lib/json refuses. */
        json_t *row = json_loadb(at, length, JSON_ALLOW_NUL, NULL);
        const json_t *text = json_object_get(row, "text");
        EXPECT(json_is_string(text));
        failures += !ids_equal(tokenizer, text, json_object_get(row, "ids"), false, name);
        failures += !ids_equal(tokenizer, text, json_object_get(row, "ids_special"), true, name);
        json_decref(row);
        rows++;
        at += length + 1;
    }
    printf("    %s: %lld texts\n", name, (long long)rows);
    buf_release(&lines);
    tokenizer_free(tokenizer);
}

TEST(tokens_are_those_of_hugging_face)
{
    struct arena arena = {0};
    const char **names;
    int count = golden_list(&arena, "tokenizers", &names);
    for (int i = 0; i < count; i++) {
        vectors_check(names[i]);
    }
    arena_release(&arena);
}

/* "chatml-smollm2.json" is the preset chatml. */
static enum template_kind preset_of(const char *file)
{
    char name[64];
    enum template_kind kind = TEMPLATE_DSP;
    struct error error;
    snprintf(name, sizeof(name), "%s", file);
    char *end = strchr(name, '-') ? strchr(name, '-') : strstr(name, ".json");
    *end = '\0';
    if (template_parse(name, &kind, &error) != STATUS_OK) {
        test_fail(__FILE__, __LINE__, "%s", error.text);
    }
    return kind;
}

static size_t messages_of(const json_t *row, struct message *messages, size_t most)
{
    const json_t *list = json_object_get(row, "messages");
    size_t count = json_array_size(list);
    for (size_t i = 0; i < count && i < most; i++) {
        const json_t *item = json_array_get(list, i);
        const json_t *content = json_object_get(item, "content");
        messages[i] = (struct message){json_string_value(json_object_get(item, "role")),
                                       json_string_value(content), json_string_length(content)};
    }
    return count < most ? count : 0;
}

static void chat_row_check(const json_t *row, enum template_kind kind,
                           const struct tokenizer *tokenizer, bool with_ids, const char *file)
{
    enum { MOST = 64 };
    struct message messages[MOST];
    size_t count = messages_of(row, messages, MOST);
    struct buf text = {0};
    struct error error;
    enum status status =
        template_render(kind, NULL, tokenizer, messages, count,
                        json_is_true(json_object_get(row, "add_generation_prompt")), &text, &error);
    const char *refusal = json_string_value(json_object_get(row, "error"));
    if (refusal || status != STATUS_OK) {
        EXPECT_I64(refusal ? STATUS_FORMAT : STATUS_OK, status);
        EXPECT_STR(refusal ? refusal : "", status != STATUS_OK ? error.text : "");
        EXPECT_I64(0, (int64_t)text.length);
    } else {
        EXPECT_STR(json_string_value(json_object_get(row, "text")), text.data);
        if (with_ids) {
            const struct text_format format = {.template_kind = kind};
            struct ids ids = {0};
            template_encode_text(&format, tokenizer, text.data, text.length, &ids);
            EXPECT_I64(-1, difference(&ids, json_object_get(row, "ids")));
            ids_release(&ids);
        }
    }
    if (test_failed()) {
        printf("    %s\n", file);
    }
    buf_release(&text);
}

TEST(conversations_are_rendered_as_transformers_does)
{
    struct arena arena = {0};
    const char **names, **tokenizers;
    int count = golden_list(&arena, "chat", &names);
    int tokenizer_count = golden_list(&arena, "tokenizers", &tokenizers);
    for (int i = 0; i < count && tokenizer_count > 0; i++) {
        json_t *chat = golden_load("chat/%s", names[i]);
        const char *wanted = json_string_value(json_object_get(chat, "tokenizer"));
        bool with_ids = dir_exists(golden_path("tokenizers/%s", wanted));
        if (!with_ids) {
            test_skip("chat/%s: ids need tokenizers/%s", names[i], wanted);
        }
        struct tokenizer *tokenizer = tokenizer_of(with_ids ? wanted : tokenizers[0]);
        enum template_kind kind = preset_of(names[i]);
        const json_t *rows = json_object_get(chat, "rows");
        EXPECT(json_array_size(rows) > 0);
        for (size_t row = 0; tokenizer && row < json_array_size(rows) && !test_failed(); row++) {
            chat_row_check(json_array_get(rows, row), kind, tokenizer, with_ids, names[i]);
        }
        tokenizer_free(tokenizer);
        json_decref(chat);
    }
    arena_release(&arena);
}

static void file_copy(const char *from, const char *dir, const char *name)
{
    struct error error;
    struct buf bytes = {0};
    char path[PATH_MAX];
    path_join(path, sizeof(path), dir, name);
    EXPECT_I64(STATUS_OK, file_read(from, GIB, &bytes, &error));
    EXPECT_I64(STATUS_OK, file_write_atomic(path, bytes.data, bytes.length, &error));
    buf_release(&bytes);
}

/* A directory with this chat template, as Transformers 5 writes it. */
static void recognition_check(const char *tokenizer_name, const char *text, enum template_kind kind)
{
    char dir[] = "/tmp/tailor-golden-XXXXXX";
    char path[PATH_MAX];
    struct error error;
    struct tokenizer *tokenizer = NULL;
    enum template_kind found = TEMPLATE_DSP;
    REQUIRE(mkdtemp(dir));
    file_copy(golden_path("tokenizers/%s/tokenizer.json", tokenizer_name), dir, "tokenizer.json");
    path_join(path, sizeof(path), dir, "chat_template.jinja");
    EXPECT_I64(STATUS_OK, file_write_atomic(path, text, strlen(text), &error));
    if (tokenizer_open(dir, &tokenizer, &error) != STATUS_OK ||
        template_recognise(tokenizer, &found, &error) != STATUS_OK) {
        test_fail(__FILE__, __LINE__, "%s", error.text);
    }
    EXPECT_STR(template_name(kind), template_name(found));
    tokenizer_free(tokenizer);
    EXPECT_I64(STATUS_OK, dir_remove(dir, &error));
}

TEST(published_chat_templates_are_recognised)
{
    struct arena arena = {0};
    const char **names, **tokenizers;
    int count = golden_list(&arena, "chat", &names);
    int tokenizer_count = golden_list(&arena, "tokenizers", &tokenizers);
    for (int i = 0; i < count && tokenizer_count > 0; i++) {
        json_t *chat = golden_load("chat/%s", names[i]);
        recognition_check(tokenizers[0], json_string_value(json_object_get(chat, "template")),
                          preset_of(names[i]));
        json_decref(chat);
    }
    arena_release(&arena);
}

TEST_MAIN()
