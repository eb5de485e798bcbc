/* SPDX-License-Identifier: Apache-2.0
 *
 * Templates: names, recognition, layouts and refusals; what is added to a row, cut off it, pooled
 * in it. The presets' texts themselves are compared with Transformers' in tests/golden.
 */
#include <string.h>

#include "lib/buf.h"
#include "tests/data_fixture.h"
#include "tests/test.h"
#include "tests/tokenizer_fixture.h"
#include "worker/data/template.h"

static struct error error;

/* Roles by letter: "u:text". */
static struct message turn(const char *text)
{
    const char *role = text[0] == 'u'   ? "user"
                       : text[0] == 'a' ? "assistant"
                       : text[0] == 's' ? "system"
                       : text[0] == 't' ? "tool"
                                        : "stranger";
    return (struct message){role, text + 2, strlen(text + 2)};
}

/* The rendered conversation, or the error's sentence. */
static const char *rendered(enum template_kind kind, const struct template_prefixes *prefixes,
                            bool generation, const char *const *turns)
{
    static struct buf text;
    struct message messages[8];
    size_t count = 0;
    while (turns[count]) {
        messages[count] = turn(turns[count]);
        count++;
    }
    buf_clear(&text);
    buf_append_string(&text, "|");
    if (template_render(kind, prefixes, fixture_tokenizer(), messages, count, generation, &text,
                        &error) != STATUS_OK) {
        EXPECT_I64(STATUS_FORMAT, error.status);
        EXPECT_STR("|", text.data); /* nothing of a refused conversation stays */
        return error.text;
    }
    return text.data + 1;
}

#define TURNS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define EXPECT_RENDERED(expected, kind, generation, ...)                                           \
    EXPECT_STR(expected, rendered(kind, NULL, generation, TURNS(__VA_ARGS__)))

TEST(names_are_parsed_and_a_wrong_one_gets_a_proposal)
{
    enum template_kind kind;
    enum overlong overlong;
    enum pooling pooling;
    EXPECT_I64(STATUS_OK, template_parse("qwen2.5", &kind, &error));
    EXPECT_I64(TEMPLATE_QWEN25, kind);
    EXPECT_STR("prefixes", template_name(TEMPLATE_PREFIXES));
    EXPECT_I64(STATUS_OK, overlong_parse("truncate_left", &overlong, &error));
    EXPECT_I64(OVERLONG_TRUNCATE_LEFT, overlong);
    EXPECT_I64(STATUS_OK, pooling_parse("before_eos", &pooling, &error));
    EXPECT_I64(POOLING_BEFORE_EOS, pooling);
    EXPECT_I64(STATUS_USAGE, template_parse("chatlm", &kind, &error));
    EXPECT_CONTAINS("template \"chatlm\" is unknown, did you mean chatml?; known: dsp, plain,",
                    error.text);
    EXPECT_I64(STATUS_USAGE, pooling_parse("zzz", &pooling, &error));
    EXPECT_STR("pooling \"zzz\" is unknown; known: last_token, before_eos, mean, max", error.text);
}

/* The template that a directory with this chat_template.jinja is recognised as, or the error. */
static const char *recognised(const char *text)
{
    enum template_kind kind;
    struct tokenizer *tokenizer =
        fixture_tokenizer_open(&(struct tokenizer_parts_text){.chat_template = text});
    if (!tokenizer) {
        return fixture_error.text;
    }
    enum status status = template_recognise(tokenizer, &kind, &error);
    tokenizer_free(tokenizer);
    return status == STATUS_OK ? template_name(kind) : error.text;
}

TEST(a_chat_template_is_recognised_by_its_text_alone)
{
    /* Zephyr's, whose lines show what normalising means. */
#define ZEPHYR(n)                                                                                  \
    "{% for message in messages %}" n "{% if message['role'] == 'user' %}" n "{{ '<|user|>" n      \
    "' + message['content'] + eos_token }}" n "{% elif message['role'] == 'system' %}" n           \
    "{{ '<|system|>" n "' + message['content'] + eos_token }}" n                                   \
    "{% elif message['role'] == 'assistant' %}" n "{{ '<|assistant|>" n                            \
    "'  + message['content'] + eos_token }}" n "{% endif %}" n                                     \
    "{% if loop.last and add_generation_prompt %}" n "{{ '<|assistant|>' }}" n "{% endif %}" n     \
    "{% endfor %}"
    EXPECT_STR("dsp", recognised(NULL));
    EXPECT_STR("zephyr", recognised(ZEPHYR("\n")));
    EXPECT_STR("zephyr", recognised(ZEPHYR("\n") "\n"));
    EXPECT_STR("zephyr", recognised(ZEPHYR("\r\n") "\r\n"));
    EXPECT_STR("zephyr", recognised(ZEPHYR("\r")));
    EXPECT_CONTAINS("is none of the published ones", recognised(ZEPHYR("\n") "\n\n"));
    EXPECT_CONTAINS("is none of the published ones", recognised(" " ZEPHYR("\n")));
    EXPECT_CONTAINS("model.template: dsp, plain, chatml, llama3, llama2, mistral, qwen2.5, zephyr",
                    recognised(""));
    EXPECT_I64(STATUS_UNSUPPORTED, error.status);
}

TEST(dsp_and_plain_lay_out_whole_dialogues)
{
    EXPECT_RENDERED("## Human:\nhi\n\n## Assistant:\nyo", TEMPLATE_DSP, false, "u:hi", "a:yo");
    EXPECT_RENDERED("be kind\n\n## Human:\nhi\n\n## Assistant:\n", TEMPLATE_DSP, true, "s:be kind",
                    "u:hi");
    EXPECT_RENDERED("## Human:\n\n\n## Assistant:\nyo\n\n## Human:\nmore", TEMPLATE_DSP, false,
                    "u:", "a:yo", "u:more");
    EXPECT_RENDERED("hiyo", TEMPLATE_PLAIN, true, "u:hi", "a:yo");
    EXPECT_STR("", rendered(TEMPLATE_PLAIN, NULL, true, (const char *const[]){NULL}));
}

TEST(prefixes_and_suffixes_stand_around_their_roles)
{
    const struct template_prefixes prefixes = {
        .user_prefix = "<", .user_suffix = ">", .assistant_prefix = "[", .assistant_suffix = "]\n"};
    EXPECT_STR("sys<hi>[yo]\n<q>[",
               rendered(TEMPLATE_PREFIXES, &prefixes, true, TURNS("s:sys", "u:hi", "a:yo", "u:q")));
    EXPECT_STR("the template has no prefix for the role \"tool\"",
               rendered(TEMPLATE_PREFIXES, &prefixes, false, TURNS("u:hi", "t:x")));
}

TEST(what_a_template_refuses_is_said_in_its_own_words)
{
    static const char alternate[] =
        "Conversation roles must alternate user/assistant/user/assistant/...";
    EXPECT_RENDERED(alternate, TEMPLATE_LLAMA2, false, "u:1", "u:2");
    EXPECT_RENDERED(alternate, TEMPLATE_LLAMA2, false, "s:0", "a:1");
    EXPECT_RENDERED(alternate, TEMPLATE_MISTRAL, false, "s:0", "u:1");
    EXPECT_RENDERED("Only user and assistant roles are supported!", TEMPLATE_MISTRAL, false, "u:0",
                    "s:1");
    EXPECT_STR("The conversation has no messages",
               rendered(TEMPLATE_QWEN25, NULL, true, (const char *const[]){NULL}));
}

TEST(presets_strip_and_pass_through_as_jinja_does)
{
    EXPECT_RENDERED("<s><|start_header_id|>user<|end_header_id|>\n\na b<|eot_id|>", TEMPLATE_LLAMA3,
                    false, "u:\u00a0\x1f a b\u3000\n");
    EXPECT_RENDERED("<s><|start_header_id|>stranger<|end_header_id|>\n\n<|eot_id|>",
                    TEMPLATE_LLAMA3, false, "?: \t");
    EXPECT_RENDERED("<s>[INST] <<SYS>>\n s \n<</SYS>>\n\n x [/INST] y </s>", TEMPLATE_LLAMA2, true,
                    "s: s ", "u: x ", "a: y ");
    EXPECT_RENDERED("<s>[INST]  x  [/INST] y </s>", TEMPLATE_MISTRAL, true, "u: x ", "a: y ");
    EXPECT_RENDERED("<|user|>\nx</s>\n<|assistant|>\n", TEMPLATE_ZEPHYR, true, "u:x", "?:left out");
    EXPECT_RENDERED("<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n<tool_response>\n1\n"
                    "</tool_response>\n<tool_response>\n2\n</tool_response><|im_end|>\n",
                    TEMPLATE_QWEN25, false, "s:S", "t:1", "t:2");
}

/* The tokens of a text under a template, "<s>" and "</s>" for BOS and EOS. */
static const char *row_of(enum template_kind kind, const char *text)
{
    static struct buf shown;
    const struct text_format format = {.template_kind = kind};
    struct ids ids = {0};
    buf_clear(&shown);
    template_encode_text(&format, fixture_tokenizer(), text, strlen(text), &ids);
    for (size_t i = 0; i < ids.count; i++) {
        size_t length;
        const char *token = tokenizer_text(fixture_tokenizer(), ids.items[i], &length);
        buf_append(&shown, token, length);
    }
    ids_release(&ids);
    return shown.data;
}

TEST(only_dsp_and_plain_rows_get_bos_and_eos)
{
    EXPECT_STR("<s>ab</s>", row_of(TEMPLATE_DSP, "ab"));
    EXPECT_STR("<s>ab</s>", row_of(TEMPLATE_PLAIN, "ab"));
    EXPECT_STR("ab", row_of(TEMPLATE_CHATML, "ab"));
    EXPECT_STR("<s>ab", row_of(TEMPLATE_PREFIXES, "<s>ab"));
    EXPECT(!template_is_chat(TEMPLATE_DSP) && !template_is_chat(TEMPLATE_PLAIN));
    EXPECT(template_is_chat(TEMPLATE_LLAMA2) && template_is_chat(TEMPLATE_PREFIXES));
    struct tokenizer *tokenizer = fixture_tokenizer_open(&(struct tokenizer_parts_text){0});
    const struct text_format format = {.template_kind = TEMPLATE_DSP};
    struct ids ids = {0};
    REQUIRE(tokenizer);
    template_encode_text(&format, tokenizer, "ab", 2, &ids); /* a tokenizer with neither */
    EXPECT_I64(1, (int64_t)ids.count);
    ids_release(&ids);
    tokenizer_free(tokenizer);
}

TEST(rows_over_the_length_are_dropped_or_cut)
{
    struct text_format format = {.max_length = 3, .overlong = OVERLONG_DROP};
    int32_t ids[5] = {1, 2, 3, 4, 5};
    EXPECT_I64(3, row_fit(&format, ids, 3));
    EXPECT_I64(-1, row_fit(&format, ids, 4));
    format.overlong = OVERLONG_TRUNCATE_RIGHT;
    EXPECT_I64(3, row_fit(&format, ids, 5));
    EXPECT_I64(1, ids[0]);
    format.overlong = OVERLONG_TRUNCATE_LEFT;
    EXPECT_I64(3, row_fit(&format, ids, 5));
    EXPECT_BYTES(((int32_t[]){3, 4, 5}), ids, 3 * sizeof(int32_t));
    EXPECT_I64(0, row_fit(&format, ids, 0));
}

TEST(the_pooled_token_is_the_last_or_the_one_before_eos)
{
    const int32_t ids[] = {7, 8, 9};
    EXPECT_I64(2, row_pooled_token(POOLING_LAST_TOKEN, ids, 3, 9));
    EXPECT_I64(1, row_pooled_token(POOLING_BEFORE_EOS, ids, 3, 9));
    EXPECT_I64(2, row_pooled_token(POOLING_BEFORE_EOS, ids, 3, 8));
    EXPECT_I64(0, row_pooled_token(POOLING_BEFORE_EOS, ids + 2, 1, 9));
    EXPECT_I64(2, row_pooled_token(POOLING_BEFORE_EOS, ids, 3, -1));
    EXPECT_I64(-1, row_pooled_token(POOLING_MEAN, ids, 3, 9));
    EXPECT_I64(-1, row_pooled_token(POOLING_MAX, ids, 3, 9));
}

TEST_MAIN()
