/* SPDX-License-Identifier: Apache-2.0
 *
 * Forms: each is detected and read, and every mistake in one is refused with its place.
 */
#include <string.h>

#include "lib/buf.h"
#include "tests/data_fixture.h"
#include "tests/test.h"
#include "worker/data/record.h"

static struct error error;
static struct data_source source;
static struct buf shown;

static void turns_show(const struct message *messages, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        buf_printf(&shown, "%c:%.*s;", messages[i].role[0], (int)messages[i].content_length,
                   messages[i].content);
    }
}

static void record_show(const struct record *record)
{
    buf_printf(&shown, "[%lld ", (long long)record->number);
    if (record->invalid_utf8) {
        buf_append_string(&shown, "invalid");
    }
    turns_show(record->prompt, record->prompt_count);
    for (int32_t i = 0; i < record->response_count; i++) {
        const struct response *response = &record->responses[i];
        buf_printf(&shown, " %d=%g(", response->index, (double)response->score);
        turns_show(response->messages, response->message_count);
        buf_append(&shown, response->text, response->text_length);
        for (int32_t id = 0; id < response->id_count; id++) {
            buf_printf(&shown, "%d,", response->ids[id]);
        }
        buf_append_string(&shown, ")");
    }
    if (record->margin != 0) {
        buf_printf(&shown, " margin %g", (double)record->margin);
    }
    for (int32_t i = 0; i < record->unknown_count; i++) {
        buf_printf(&shown, " ?%s", record->unknown[i]);
    }
    buf_append_string(&shown, "]");
}

/* All records of a text read with `source`'s options as "form [record] …"; NULL and `error`. */
static const char *read_text(const char *text)
{
    struct record_reader *reader;
    struct record record;
    enum status status;
    error = (struct error){0};
    source.path = fixture_write("f.jsonl", text);
    buf_clear(&shown);
    if (record_reader_open(&source, &reader, &error) != STATUS_OK) {
        return NULL;
    }
    while ((status = record_reader_next(reader, &record, &error)) == STATUS_OK &&
           record.number > 0) {
        record_show(&record);
    }
    buf_printf(&shown, " %s", record_reader_form(reader));
    record_reader_close(reader);
    source = (struct data_source){0};
    return status == STATUS_OK ? shown.data : NULL;
}

static void expect_refused(enum status status, const char *needle, const char *text)
{
    EXPECT(read_text(text) == NULL);
    EXPECT_I64(status, error.status);
    EXPECT_CONTAINS("/f.jsonl:", error.text);
    EXPECT_CONTAINS(needle, error.text);
}

TEST(ranked_groups_are_read)
{
    EXPECT_STR("[1 u:p; 0=0.5(a:x;) 1=-2(a:y;) 2=7(a:z;)] ranked group",
               read_text("{\"prompt\":\"p\",\"responses\":[\"x\",\"y\",\"z\"],"
                         "\"scores\":[0.5,-2,7]}"));
    EXPECT_STR("[1 s:be kind;u:p; 0=1(a:x;) 1=0(a:y;u:more;a:z;)] ranked group",
               read_text("{\"prompt\":[{\"role\":\"system\",\"content\":\"be kind\"},"
                         "{\"role\":\"user\",\"content\":\"p\"}],\"scores\":[1,0],"
                         "\"responses\":[\"x\",[{\"role\":\"assistant\",\"content\":\"y\"},"
                         "{\"role\":\"user\",\"content\":\"more\"},"
                         "{\"role\":\"assistant\",\"content\":\"z\"}]]}"));
}

TEST(dsp_texts_leave_out_absent_responses)
{
    EXPECT_STR("[1  0=1(t) 1=0(u)][2  1=0(u) 2=3(v)][3  1=0(u)] dsp texts",
               read_text("{\"text\":[\"t\",\"u\"],\"score\":[1.0,0.0]}\n"
                         "{\"text\":[\"t\",\"u\",\"v\"],\"score\":[-1,0,3]}\n"
                         "{\"text\":[\"t\",\"u\"],\"score\":[-1,0]}\n"));
}

TEST(dsp_domains_prefer_the_one_that_is_asked_for)
{
    source.domain = "business";
    EXPECT_STR("[1 u:q; 0=0(a:x;) 1=1(a:y;) 2=0(a:z;)] dsp domains",
               read_text("{\"query\":\"q\",\"responses\":{\"academy\":\"x\",\"business\":\"y\","
                         "\"normal\":\"z\"}}"));
}

TEST(a_domain_must_be_named_and_there)
{
    static const char text[] =
        "{\"query\":\"q\",\"responses\":{\"academy\":\"x\",\"normal\":\"z\"}}";
    expect_refused(STATUS_USAGE, "say which domain is preferred", text);
    EXPECT_CONTAINS("academy, normal", error.text);
    source.domain = "law";
    expect_refused(STATUS_FORMAT,
                   "no response of the domain \"law\"; domains here: academy, normal", text);
    source.domain = "law";
    expect_refused(STATUS_USAGE, "domain is for the form dsp domains",
                   "{\"chosen\":\"a\",\"rejected\":\"b\"}");
    source.pairs = true;
    expect_refused(STATUS_USAGE, "pairs is for the form dsp domains",
                   "{\"chosen\":\"a\",\"rejected\":\"b\"}");
}

TEST(trl_preferences_are_read)
{
    EXPECT_STR("[1 u:p; 0=1(a:c;) 1=0(a:r;) margin 0.25] preference (trl)",
               read_text("{\"prompt\":\"p\",\"chosen\":\"c\",\"rejected\":\"r\","
                         "\"margin\":0.25}"));
    EXPECT_STR("[1 u:p; 0=1(a:c;) 1=0(a:r;)] preference (trl)",
               read_text("{\"prompt\":[{\"role\":\"user\",\"content\":\"p\"}],"
                         "\"chosen\":[{\"role\":\"assistant\",\"content\":\"c\"}],"
                         "\"rejected\":[{\"role\":\"assistant\",\"content\":\"r\"}],"
                         "\"margin\":null}"));
}

TEST(implicit_prompts_stay_inside_texts_and_are_found_in_messages)
{
    EXPECT_STR("[1  0=1(p c) 1=0(p r) margin -1] preference (trl, prompt inside)",
               read_text("{\"chosen\":\"p c\",\"rejected\":\"p r\",\"margin\":-1}"));
    EXPECT_STR("[1 s:s;u:p; 0=1(a:c;) 1=0(a:r;)] preference (trl, prompt inside)",
               read_text("{\"chosen\":[{\"role\":\"system\",\"content\":\"s\"},"
                         "{\"role\":\"user\",\"content\":\"p\"},"
                         "{\"role\":\"assistant\",\"content\":\"c\"}],"
                         "\"rejected\":[{\"role\":\"system\",\"content\":\"s\"},"
                         "{\"role\":\"user\",\"content\":\"p\"},"
                         "{\"role\":\"assistant\",\"content\":\"r\"}]}"));
    EXPECT_STR("[1 u:p; 0=1(a:same;) 1=0(a:same;)] preference (trl, prompt inside)",
               read_text("{\"chosen\":[{\"role\":\"user\",\"content\":\"p\"},"
                         "{\"role\":\"assistant\",\"content\":\"same\"}],"
                         "\"rejected\":[{\"role\":\"user\",\"content\":\"p\"},"
                         "{\"role\":\"assistant\",\"content\":\"same\"}]}"));
}

TEST(a_response_that_repeats_the_prompt_does_not_render_it_twice)
{
    EXPECT_STR("[1 u:p; 0=1(a:c;) 1=0(a:r;)] preference (trl)",
               read_text("{\"prompt\":\"p\",\"chosen\":[{\"role\":\"user\",\"content\":\"p\"},"
                         "{\"role\":\"assistant\",\"content\":\"c\"}],"
                         "\"rejected\":[{\"role\":\"user\",\"content\":\"p\"},"
                         "{\"role\":\"assistant\",\"content\":\"r\"}]}"));
    expect_refused(STATUS_FORMAT, "field \"chosen\": begins with a user turn",
                   "{\"prompt\":\"p\",\"chosen\":[{\"role\":\"user\",\"content\":\"other\"},"
                   "{\"role\":\"assistant\",\"content\":\"c\"}],\"rejected\":\"r\"}");
}

TEST(token_ids_are_read_under_both_names)
{
    EXPECT_STR("[1  0=1(5,6,7,) 1=0(5,8,) margin 2] preference (token ids)",
               read_text("{\"chosen_ids\":[5,6,7],\"rejected_ids\":[5,8],\"margin\":2}"));
    EXPECT_STR("[1  0=1(5,) 1=0(6,)] preference (token ids)",
               read_text("{\"chosen_input_ids\":[5],\"rejected_input_ids\":[6]}"));
    expect_refused(STATUS_FORMAT, "field \"chosen_ids\": item 2 is not a token id",
                   "{\"chosen_ids\":[5,-6],\"rejected_ids\":[5]}");
    expect_refused(STATUS_FORMAT, "field \"rejected_ids\": item 1 is not a token id",
                   "{\"chosen_ids\":[5],\"rejected_ids\":[1.5]}");
    expect_refused(STATUS_FORMAT, "field \"chosen_ids\": a list of token ids is expected",
                   "{\"chosen_ids\":\"5\",\"rejected_ids\":[5]}");
}

TEST(openai_preferences_are_read)
{
    EXPECT_STR("[1 u:p; 0=1(a:c;) 1=0(a:r;)] preference (openai)",
               read_text("{\"input\":{\"messages\":[{\"role\":\"user\",\"content\":\"p\"}],"
                         "\"tools\":[]},"
                         "\"preferred_output\":[{\"role\":\"assistant\",\"content\":\"c\"}],"
                         "\"non_preferred_output\":[{\"role\":\"assistant\",\"content\":\"r\"}]}"));
    expect_refused(STATUS_FORMAT, "field \"input\": an object {\"messages\": [...]} is expected",
                   "{\"input\":\"p\",\"preferred_output\":\"c\",\"non_preferred_output\":\"r\"}");
}

TEST(texts_of_stage_lm_are_read)
{
    source.language_model = true;
    EXPECT_STR("[1  0=1(once)] text", read_text("{\"text\":\"once\"}"));
    source.language_model = true;
    EXPECT_STR("[1  0=1(once) ?score] text", read_text("{\"text\":\"once\",\"score\":0.5}"));
    source.language_model = true;
    EXPECT_STR("[1 u:p; 0=1(a:c;)] text (prompt + completion)",
               read_text("{\"prompt\":\"p\",\"completion\":\"c\"}"));
    source.language_model = true;
    EXPECT_STR("[1 u:p; 0=1(a:c;)][2  0=1(u:p;)] text (messages)",
               read_text("{\"messages\":[{\"role\":\"user\",\"content\":\"p\"},"
                         "{\"role\":\"assistant\",\"content\":\"c\"}]}\n"
                         "{\"messages\":[{\"role\":\"user\",\"content\":\"p\"}]}"));
}

TEST(stages_refuse_each_others_forms)
{
    source.language_model = true;
    expect_refused(STATUS_USAGE, "the form is preference (trl, prompt inside), but stage lm reads",
                   "{\"chosen\":\"a\",\"rejected\":\"b\"}");
    expect_refused(STATUS_USAGE, "the form is text, but a preference is needed",
                   "{\"text\":\"a\"}");
}

TEST(any_form_takes_texts_or_preferences_but_not_both)
{
    source.any_form = true;
    EXPECT_STR("[1  0=1(once)] text", read_text("{\"text\":\"once\"}"));
    source.any_form = true;
    EXPECT_STR("[1  0=1(a) 1=0(b)] preference (trl, prompt inside)",
               read_text("{\"chosen\":\"a\",\"rejected\":\"b\"}"));
    source.any_form = true;
    expect_refused(STATUS_FORMAT, "/f.jsonl:2: mixed forms: this record is text,",
                   "{\"chosen\":\"a\",\"rejected\":\"b\"}\n{\"text\":\"once\"}\n");
    source.any_form = true;
    expect_refused(STATUS_FORMAT, "or messages, or text (rename", "{\"question\":\"q\"}");
}

TEST(columns_can_be_renamed)
{
    source.columns = (struct data_columns){
        .prompt = "question", .chosen = "good", .rejected = "bad", .margin = "gap"};
    EXPECT_STR("[1 u:p; 0=1(a:c;) 1=0(a:r;) margin 1 ?prompt] preference (trl)",
               read_text("{\"question\":\"p\",\"good\":\"c\",\"bad\":\"r\",\"gap\":1,"
                         "\"prompt\":5}"));
    source.columns = (struct data_columns){.text = "texts", .scores = "labels"};
    EXPECT_STR("[1  0=1(t) 1=0(u)] dsp texts",
               read_text("{\"texts\":[\"t\",\"u\"],\"labels\":[1,0]}"));
    source.columns = (struct data_columns){.chosen = "good"};
    expect_refused(STATUS_FORMAT, "field \"good\": a text, or a list",
                   "{\"prompt\":\"p\",\"good\":5,\"rejected\":\"r\"}");
}

TEST(unknown_columns_are_named)
{
    EXPECT_STR("[1 u:p; 0=1(a:c;) 1=0(a:r;) ?id ?meta] preference (trl)",
               read_text("{\"id\":7,\"prompt\":\"p\",\"chosen\":\"c\",\"rejected\":\"r\","
                         "\"meta\":{\"a\":[]}}"));
}

TEST(an_unknown_form_lists_what_is_there_and_what_is_expected)
{
    expect_refused(STATUS_FORMAT,
                   "/f.jsonl:1: no known form: the columns are \"question\", "
                   "\"answer\"; expected prompt + responses + scores",
                   "{\"question\":\"q\",\"answer\":\"a\"}");
    EXPECT_CONTAINS("chosen_ids + rejected_ids", error.text);
    EXPECT_CONTAINS("columns: {prompt: NAME}", error.text);
    expect_refused(STATUS_FORMAT, "the columns are none", "{}");
}

TEST(mixed_forms_are_refused_with_the_line)
{
    expect_refused(STATUS_FORMAT,
                   "/f.jsonl:2: mixed forms: this record is dsp texts, but the file began as "
                   "preference (trl)",
                   "{\"prompt\":\"p\",\"chosen\":\"c\",\"rejected\":\"r\"}\n"
                   "{\"text\":[\"t\",\"u\"],\"score\":[1,0]}\n");
    expect_refused(STATUS_FORMAT, "/f.jsonl:2: mixed forms: this record is text,",
                   "{\"prompt\":\"p\",\"chosen\":\"c\",\"rejected\":\"r\"}\n{\"text\":\"t\"}\n");
    expect_refused(STATUS_FORMAT, "/f.jsonl:3: field \"rejected\" is missing",
                   "{\"prompt\":\"p\",\"chosen\":\"c\",\"rejected\":\"r\"}\n\n"
                   "{\"prompt\":\"p\",\"chosen\":\"c\"}\n");
}

TEST(a_place_in_a_list_names_line_and_record)
{
    expect_refused(STATUS_FORMAT, "/f.jsonl:3 (record 2): field \"rejected\"",
                   "[{\"chosen\":\"c\",\"rejected\":\"r\"},\n\n{\"chosen\":\"c\",\"rejected\":1}]");
}

TEST(broken_json_is_refused_with_the_line)
{
    expect_refused(STATUS_FORMAT, "/f.jsonl:2: record:1:",
                   "{\"chosen\":\"c\",\"rejected\":\"r\"}\n{\"chosen\":\"c\",\"rejected\":}\n");
    expect_refused(STATUS_FORMAT, "/f.jsonl:1: ", "{\"chosen\":\"c\"\n");
    expect_refused(STATUS_FORMAT, "/f.jsonl:1: ", "{\"chosen\":\"c\",\"rejected\":\"r\"} x\n");
    expect_refused(STATUS_FORMAT, "duplicate key \"chosen\"",
                   "{\"chosen\":\"c\",\"chosen\":\"d\",\"rejected\":\"r\"}");
    struct buf deep = {0};
    buf_append_string(&deep, "{\"chosen\":");
    for (int i = 0; i < 100000; i++) {
        buf_append_char(&deep, '[');
    }
    expect_refused(STATUS_FORMAT, "nested deeper than", deep.data);
    buf_release(&deep);
}

TEST(scores_must_be_finite_numbers)
{
    expect_refused(STATUS_FORMAT, "scores must be finite",
                   "{\"prompt\":\"p\",\"responses\":[\"x\",\"y\"],\"scores\":[NaN,1]}");
    expect_refused(STATUS_FORMAT, "scores must be finite",
                   "{\"prompt\":\"p\",\"responses\":[\"x\",\"y\"],\"scores\":[1,-Infinity]}");
    expect_refused(STATUS_NUMERIC, "field \"scores\": 1e+300 is not a finite 32-bit number",
                   "{\"prompt\":\"p\",\"responses\":[\"x\",\"y\"],\"scores\":[1,1e300]}");
    expect_refused(STATUS_FORMAT, "field \"scores\": a number is expected",
                   "{\"prompt\":\"p\",\"responses\":[\"x\",\"y\"],\"scores\":[1,\"2\"]}");
    expect_refused(STATUS_FORMAT, "field \"scores\": a list of numbers is expected",
                   "{\"prompt\":\"p\",\"responses\":[\"x\",\"y\"],\"scores\":1}");
    expect_refused(STATUS_FORMAT, "field \"margin\": a number is expected",
                   "{\"chosen\":\"x\",\"rejected\":\"y\",\"margin\":true}");
}

TEST(counts_must_match_and_be_at_least_two)
{
    expect_refused(STATUS_FORMAT, "field \"scores\": 3 scores for 2 responses in \"responses\"",
                   "{\"prompt\":\"p\",\"responses\":[\"x\",\"y\"],\"scores\":[1,2,3]}");
    expect_refused(STATUS_FORMAT, "field \"score\": 1 scores for 2 responses in \"text\"",
                   "{\"text\":[\"x\",\"y\"],\"score\":[1]}");
    expect_refused(STATUS_FORMAT, "field \"responses\": one response only",
                   "{\"prompt\":\"p\",\"responses\":[\"x\"],\"scores\":[1]}");
    expect_refused(STATUS_FORMAT, "field \"text\": one response only",
                   "{\"text\":[\"x\"],\"score\":[1]}");
    expect_refused(STATUS_FORMAT, "field \"responses\": no response",
                   "{\"prompt\":\"p\",\"responses\":[],\"scores\":[]}");
    source.domain = "a";
    expect_refused(STATUS_FORMAT, "field \"responses\": one response only",
                   "{\"query\":\"p\",\"responses\":{\"a\":\"x\"}}");
}

TEST(groups_and_dialogues_are_bounded)
{
    struct buf text = {0};
    buf_append_string(&text, "{\"text\":[\"x\"");
    for (int i = 0; i < 64; i++) {
        buf_append_string(&text, ",\"x\"");
    }
    buf_append_string(&text, "],\"score\":[]}");
    expect_refused(STATUS_LIMIT, "field \"text\": 65 responses, at most 64", text.data);
    buf_clear(&text);
    buf_append_string(&text, "{\"chosen\":\"c\",\"rejected\":\"r\",\"prompt\":[0");
    for (int i = 0; i < 1024; i++) {
        buf_append_string(&text, ",0");
    }
    buf_append_string(&text, "]}");
    expect_refused(STATUS_LIMIT, "field \"prompt\": 1025 messages, at most 1024", text.data);
    buf_release(&text);
}

TEST(wrong_types_are_refused_with_the_field)
{
    expect_refused(STATUS_FORMAT, "field \"prompt\": a text, or a list of at least one message",
                   "{\"prompt\":5,\"chosen\":\"c\",\"rejected\":\"r\"}");
    expect_refused(STATUS_FORMAT, "field \"chosen\": a text, or a list of at least one message",
                   "{\"prompt\":\"p\",\"chosen\":[],\"rejected\":\"r\"}");
    expect_refused(STATUS_FORMAT, "field \"rejected\": a text or a list of messages",
                   "{\"chosen\":\"c\",\"rejected\":{}}");
    expect_refused(STATUS_FORMAT, "\"chosen\" and \"rejected\": without a prompt, both are texts",
                   "{\"chosen\":\"c\",\"rejected\":[{\"role\":\"assistant\",\"content\":\"r\"}]}");
    expect_refused(STATUS_FORMAT, "field \"text\": a list of texts is expected",
                   "{\"text\":[\"x\",5],\"score\":[1,0]}");
    expect_refused(STATUS_FORMAT, "field \"text\": a list is expected",
                   "{\"text\":\"x\",\"score\":[1,0]}");
    source.domain = "a";
    expect_refused(STATUS_FORMAT, "field \"responses\": an object {domain: text} is expected",
                   "{\"query\":\"x\",\"responses\":[\"x\",\"y\"]}");
    source.domain = "a";
    expect_refused(STATUS_FORMAT, "field \"responses.b\": a text, or a list",
                   "{\"query\":\"x\",\"responses\":{\"a\":\"x\",\"b\":null}}");
}

TEST(messages_must_have_a_known_role_and_a_text)
{
    expect_refused(STATUS_FORMAT,
                   "field \"prompt\", message 2: role \"human\" is not known; roles are system",
                   "{\"prompt\":[{\"role\":\"system\",\"content\":\"s\"},"
                   "{\"role\":\"human\",\"content\":\"p\"}],\"chosen\":\"c\",\"rejected\":\"r\"}");
    expect_refused(STATUS_FORMAT, "field \"prompt\", message 1: an object with the strings",
                   "{\"prompt\":[{\"from\":\"human\",\"value\":\"p\"}],\"chosen\":\"c\","
                   "\"rejected\":\"r\"}");
    expect_refused(STATUS_FORMAT, "field \"chosen\": the last turn must be the assistant's",
                   "{\"prompt\":[{\"role\":\"assistant\",\"content\":\"hi\"}],"
                   "\"chosen\":[{\"role\":\"user\",\"content\":\"c\"}],\"rejected\":\"r\"}");
}

TEST(text_that_is_not_unicode_is_marked_and_passed_over)
{
    EXPECT_STR("[1 invalid][2 u:p; 0=1(a:c;) 1=0(a:r;)][3 invalid][4 invalid] preference (trl)",
               read_text("{\"prompt\":\"\xff\",\"chosen\":\"c\",\"rejected\":\"r\"}\n"
                         "{\"prompt\":\"p\",\"chosen\":\"c\",\"rejected\":\"r\"}\n"
                         "{\"prompt\":\"p \\ud83d\",\"chosen\":\"c\",\"rejected\":\"r\"}\n"
                         "{\"prompt\":\"p\",\"chosen\":\"\\\\\\udc00\",\"rejected\":\"r\"}\n"));
    EXPECT_STR("[1 u:\xf0\x9f\x99\x82; 0=1(a:\\ud83d;) 1=0(a:r;)] preference (trl)",
               read_text("{\"prompt\":\"\\ud83d\\ude42\",\"chosen\":\"\\\\ud83d\","
                         "\"rejected\":\"r\"}\n"));
    expect_refused(STATUS_FORMAT,
                   "/f.jsonl:1: record:1:", "{\"prompt\":\"\\ud83d\",\"chosen\":}\n");
}

TEST(an_array_line_is_no_record)
{
    expect_refused(STATUS_FORMAT, "record 1 is not a JSON object", "[1]\n");
}

TEST_MAIN()
