/* SPDX-License-Identifier: Apache-2.0
 *
 * Datasets: the rows that come out of every kind of record, truncation, parts, texts again.
 */
#include <string.h>

#include "lib/buf.h"
#include "tests/data_fixture.h"
#include "tests/test.h"

static const char PREFERENCE[] =
    "{\"prompt\":\"Q\",\"chosen\":\"yes\",\"rejected\":\"no\",\"margin\":0.5}\n";

static const struct data_row *row_at(const struct fixture_data *data, int64_t row)
{
    return &data->dataset->rows[row];
}

TEST(a_preference_becomes_two_rows_in_preference_order)
{
    struct fixture_data data = fixture_text(PREFERENCE);
    REQUIRE(data.dataset != NULL);
    EXPECT_I64(1, data.dataset->group_count);
    EXPECT_I64(2, data.dataset->row_count);
    EXPECT_I64(1, data.dataset->pair_count);
    EXPECT_STR("<s>## Human:\nQ\n\n## Assistant:\nyes</s>", fixture_row(data.dataset, 0));
    EXPECT_STR("<s>## Human:\nQ\n\n## Assistant:\nno</s>", fixture_row(data.dataset, 1));
    EXPECT_I64(1, data.dataset->groups[0].line);
    EXPECT_I64(2, data.dataset->groups[0].rows);
    EXPECT_I64(1, data.dataset->groups[0].pairs);
    EXPECT_I64(data.dataset->token_count, data.dataset->groups[0].tokens);
    EXPECT_CLOSE(0.5, row_at(&data, 0)->margin, 0);
    EXPECT_CLOSE(0.5, row_at(&data, 1)->margin, 0);
    EXPECT_CLOSE(0.99999, row_at(&data, 0)->normalised, 1e-7);
    EXPECT_CLOSE(0, row_at(&data, 1)->normalised, 0);
    EXPECT_STR("f.jsonl", data.dataset->source_names[0]);
    fixture_close(&data);
}

TEST(rows_are_sorted_by_score_and_of_equal_ones_the_later_comes_first)
{
    struct fixture_data data =
        fixture_text("{\"prompt\":\"Q\",\"responses\":[\"a\",\"b\",\"c\",\"d\"],"
                     "\"scores\":[1,3,1,2]}\n");
    static const int32_t order[4] = {1, 3, 2, 0};
    REQUIRE(data.dataset != NULL);
    EXPECT_I64(5, data.dataset->pair_count);
    for (int i = 0; i < 4; i++) {
        EXPECT_I64(order[i], row_at(&data, i)->response);
    }
    EXPECT_STR("<s>## Human:\nQ\n\n## Assistant:\nb</s>", fixture_row(data.dataset, 0));
    fixture_close(&data);
}

TEST(scores_below_zero_are_normalised_between_the_extremes)
{
    struct fixture_data data =
        fixture_text("{\"prompt\":\"Q\",\"responses\":[\"a\",\"b\",\"c\"],\"scores\":[-3,1,-1]}\n");
    REQUIRE(data.dataset != NULL);
    EXPECT_CLOSE(1, row_at(&data, 0)->normalised, 0);
    EXPECT_CLOSE(0.5, row_at(&data, 1)->normalised, 0);
    EXPECT_CLOSE(0, row_at(&data, 2)->normalised, 0);
    EXPECT_CLOSE(-3, row_at(&data, 2)->score, 0);
    fixture_close(&data);
}

TEST(the_answer_begins_where_the_row_leaves_the_prompt)
{
    struct fixture_data data = fixture_text(PREFERENCE);
    REQUIRE(data.dataset != NULL);
    int32_t expected = 1 + (int32_t)strlen("## Human:\nQ\n\n## Assistant:\n");
    EXPECT_I64(expected, row_at(&data, 0)->answer_token);
    EXPECT_I64(expected, row_at(&data, 1)->answer_token);
    fixture_close(&data);
    data = fixture_text("{\"prompt\":\"Q\",\"chosen\":\"yes\",\"rejected\":\"\"}\n");
    REQUIRE(data.dataset != NULL);
    EXPECT_I64(expected, row_at(&data, 1)->answer_token); /* an empty answer is its EOS */
    fixture_close(&data);
    data = fixture_text("{\"chosen\":\"Q yes\",\"rejected\":\"Q no\"}\n");
    REQUIRE(data.dataset != NULL);
    EXPECT_I64(0, row_at(&data, 0)->answer_token);
    EXPECT_STR("<s>Q yes</s>", fixture_row(data.dataset, 0));
    fixture_close(&data);
}

TEST(dialogues_are_laid_out_turn_by_turn)
{
    static const char text[] =
        "{\"prompt\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"A\"}"
        ","
        "{\"role\":\"assistant\",\"content\":\"B\"},{\"role\":\"user\",\"content\":\"C\"}],"
        "\"chosen\":\"y\",\"rejected\":\"n\"}\n";
    struct fixture_data data = fixture_text(text);
    REQUIRE(data.dataset != NULL);
    EXPECT_STR("<s>S\n\n## Human:\nA\n\n## Assistant:\nB\n\n## Human:\nC\n\n## Assistant:\ny</s>",
               fixture_row(data.dataset, 0));
    fixture_close(&data);
    struct data_source source = {.path = fixture_write("f.jsonl", text)};
    struct text_format format = fixture_format();
    format.template_kind = TEMPLATE_PLAIN;
    data = fixture_open(&source, &format, NULL);
    REQUIRE(data.dataset != NULL);
    EXPECT_STR("<s>SABCy</s>", fixture_row(data.dataset, 0));
    EXPECT_I64(5, row_at(&data, 0)->answer_token);
    fixture_close(&data);
}

TEST(chat_presets_make_a_user_and_an_assistant_turn_of_strings)
{
    struct data_source source = {.path = fixture_write("f.jsonl", PREFERENCE)};
    struct text_format format = fixture_format();
    format.template_kind = TEMPLATE_ZEPHYR;
    struct fixture_data data = fixture_open(&source, &format, NULL);
    REQUIRE(data.dataset != NULL);
    EXPECT_STR("<|user|>\nQ</s>\n<|assistant|>\nyes</s>\n", fixture_row(data.dataset, 0));
    EXPECT_I64((int64_t)strlen("<|user|>\nQ\x01\n<|assistant|>\n"), row_at(&data, 0)->answer_token);
    fixture_close(&data);
}

TEST(truncation_moves_the_answer_with_the_tokens)
{
    struct data_source source = {.path = fixture_write("f.jsonl", PREFERENCE)};
    struct text_format format = fixture_format();
    format.max_length = 6;
    format.overlong = OVERLONG_TRUNCATE_LEFT;
    struct fixture_data data = fixture_open(&source, &format, NULL);
    REQUIRE(data.dataset != NULL);
    EXPECT_STR(":\nyes</s>", fixture_row(data.dataset, 0));
    EXPECT_I64(2, row_at(&data, 0)->answer_token);
    EXPECT_I64(3, row_at(&data, 1)->answer_token);
    EXPECT_I64(1, data.report->findings[FINDING_OVERLONG]);
    fixture_close(&data);
    format.max_length = 30; /* both end inside the answer */
    format.overlong = OVERLONG_TRUNCATE_RIGHT;
    data = fixture_open(&source, &format, NULL);
    REQUIRE(data.dataset != NULL);
    EXPECT_STR("<s>## Human:\nQ\n\n## Assistant:\nye", fixture_row(data.dataset, 0));
    EXPECT_I64(28, row_at(&data, 0)->answer_token);
    fixture_close(&data);
    format.max_length = 512;
    format.overlong = OVERLONG_DROP;
    data = fixture_open(&source, &format, NULL);
    REQUIRE(data.dataset != NULL);
    EXPECT_I64(0, data.report->findings[FINDING_OVERLONG]);
    fixture_close(&data);
    format.max_length = 31; /* the longer of the two does not fit: the group goes */
    data = fixture_open(&source, &format, NULL);
    REQUIRE(data.dataset != NULL);
    EXPECT_I64(1, data.report->findings[FINDING_OVERLONG]);
    EXPECT_I64(0, data.dataset->group_count);
    EXPECT_I64(1, data.report->groups_read);
    fixture_close(&data);
}

TEST(token_ids_are_taken_as_they_are)
{
    struct fixture_data data = fixture_text("{\"chosen_ids\":[97,98],\"rejected_ids\":[97,257]}\n");
    REQUIRE(data.dataset != NULL);
    EXPECT_STR("ab", fixture_row(data.dataset, 0));
    EXPECT_STR("a</s>", fixture_row(data.dataset, 1));
    fixture_close(&data);
    data = fixture_text("\n{\"chosen_ids\":[97],\"rejected_ids\":[258]}\n");
    EXPECT(data.dataset == NULL);
    EXPECT_CONTAINS("f.jsonl:2: token id 258: the tokenizer has 258 tokens", data.error.text);
}

static const char DOMAINS[] =
    "{\"query\":\"Q\",\"responses\":{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}}\n"
    "{\"query\":\"R\",\"responses\":{\"b\":\"5\",\"a\":\"4\",\"c\":\"6\"}}\n";

TEST(a_domain_gives_groups_or_pairs)
{
    struct data_source source = {.path = fixture_write("f.jsonl", DOMAINS), .domain = "b"};
    struct text_format format = fixture_format();
    struct fixture_data data = fixture_open(&source, &format, NULL);
    REQUIRE(data.dataset != NULL);
    EXPECT_I64(2, data.dataset->group_count);
    EXPECT_I64(4, data.dataset->pair_count);
    EXPECT_STR("<s>## Human:\nQ\n\n## Assistant:\n2</s>", fixture_row(data.dataset, 0));
    EXPECT_STR("<s>## Human:\nQ\n\n## Assistant:\n3</s>", fixture_row(data.dataset, 1));
    EXPECT_STR("<s>## Human:\nQ\n\n## Assistant:\n1</s>", fixture_row(data.dataset, 2));
    fixture_close(&data);
    source.pairs = true;
    data = fixture_open(&source, &format, NULL);
    REQUIRE(data.dataset != NULL);
    EXPECT_I64(4, data.dataset->group_count);
    EXPECT_I64(8, data.dataset->row_count);
    EXPECT_I64(4, data.dataset->pair_count);
    EXPECT_I64(2, data.dataset->groups[3].line);
    EXPECT_I64(0, row_at(&data, 4)->response);
    EXPECT_I64(1, row_at(&data, 5)->response);
    EXPECT_STR("<s>## Human:\nR\n\n## Assistant:\n5</s>", fixture_row(data.dataset, 6));
    EXPECT_STR("<s>## Human:\nR\n\n## Assistant:\n6</s>", fixture_row(data.dataset, 7));
    fixture_close(&data);
    source.limit = 3; /* groups, so the second record gives only its first pair */
    data = fixture_open(&source, &format, NULL);
    REQUIRE(data.dataset != NULL);
    EXPECT_I64(3, data.dataset->group_count);
    EXPECT_I64(3, data.report->groups_read);
    fixture_close(&data);
}

TEST(stage_lm_has_one_row_a_group_and_imitates_it)
{
    struct data_source source = {.path = fixture_write("f.jsonl", "{\"text\":\"abc\"}\n"),
                                 .language_model = true};
    struct text_format format = fixture_format();
    struct fixture_data data = fixture_open(&source, &format, NULL);
    REQUIRE(data.dataset != NULL);
    EXPECT_I64(1, data.dataset->groups[0].rows);
    EXPECT_I64(0, data.dataset->pair_count);
    EXPECT_I64(0, data.report->findings[FINDING_TIE]);
    EXPECT_STR("<s>abc</s>", fixture_row(data.dataset, 0));
    EXPECT(row_at(&data, 0)->normalised > 0.85F);
    fixture_close(&data);
}

TEST(a_text_that_any_form_let_in_is_kept)
{
    struct data_source source = {.path = fixture_write("f.jsonl", "{\"text\":\"abc\"}\n"),
                                 .any_form = true};
    struct text_format format = fixture_format();
    struct fixture_data data = fixture_open(&source, &format, NULL);
    REQUIRE(data.dataset != NULL);
    EXPECT_I64(1, data.dataset->group_count);
    EXPECT_I64(0, data.report->findings[FINDING_ONE_RESPONSE]);
    EXPECT_I64(0, data.report->findings[FINDING_TIE]);
    fixture_close(&data);
}

TEST(several_sources_are_one_dataset)
{
    struct data_source sources[2] = {
        {.path = fixture_write("f.jsonl", PREFERENCE)},
        {.path = fixture_write("g.jsonl", DOMAINS), .name = "domains", .domain = "a"}};
    struct text_format format = fixture_format();
    struct dataset *dataset;
    struct admission *admission;
    REQUIRE(dataset_open(sources, 2, &format, fixture_tokenizer(), NULL, &dataset, &admission,
                         NULL) == STATUS_OK);
    EXPECT_I64(3, dataset->group_count);
    EXPECT_I64(0, dataset->groups[0].source);
    EXPECT_I64(1, dataset->groups[1].source);
    EXPECT_I64(1, dataset->groups[1].line);
    EXPECT_STR("domains", dataset->source_names[1]);
    EXPECT_STR("preference (trl)", admission_source(admission, 0)->form);
    EXPECT_STR("dsp domains", admission_source(admission, 1)->form);
    EXPECT_I64(2, admission_source(admission, 1)->groups_kept);
    admission_free(admission);
    dataset_free(dataset);
}

TEST(a_prompt_has_one_hash_whether_it_came_apart_or_inside)
{
    struct fixture_data data = fixture_text(PREFERENCE);
    REQUIRE(data.dataset != NULL);
    uint64_t apart = data.dataset->groups[0].prompt_hash;
    fixture_close(&data);
    data = fixture_text("{\"text\":[\"## Human:\\nQ\\n\\n## Assistant:\\nyes, sir\","
                        "\"## Human:\\nQ\\n\\n## Assistant:\\nyes, or no\"],\"score\":[1,0]}\n"
                        "{\"text\":[\"## Human:\\nR\\n\\n## Assistant:\\nyes\","
                        "\"## Human:\\nR\\n\\n## Assistant:\\nno\"],\"score\":[1,0]}\n");
    REQUIRE(data.dataset != NULL);
    EXPECT(data.dataset->groups[0].prompt_hash == apart);
    EXPECT(data.dataset->groups[1].prompt_hash != apart);
    fixture_close(&data);
}

TEST(a_rows_text_can_be_read_again)
{
    struct data_source source = {.path = fixture_write("f.jsonl", DOMAINS), .domain = "b"};
    struct text_format format = fixture_format();
    struct buf text = {0};
    struct error error = {0};
    REQUIRE(dataset_row_text(&source, &format, fixture_tokenizer(), 2, 2, &text, &error) ==
            STATUS_OK);
    EXPECT_STR("## Human:\nR\n\n## Assistant:\n6", text.data);
    EXPECT_I64(STATUS_NOT_FOUND,
               dataset_row_text(&source, &format, fixture_tokenizer(), 3, 0, &text, &error));
    EXPECT_CONTAINS("f.jsonl: no record 3", error.text);
    EXPECT_I64(STATUS_NOT_FOUND,
               dataset_row_text(&source, &format, fixture_tokenizer(), 1, 3, &text, &error));
    EXPECT_CONTAINS("f.jsonl:1: no response 3", error.text);
    source = (struct data_source){
        .path = fixture_write("g.jsonl", "{\"chosen_ids\":[97,98],\"rejected_ids\":[99]}\n")};
    buf_clear(&text);
    REQUIRE(dataset_row_text(&source, &format, fixture_tokenizer(), 1, 0, &text, &error) ==
            STATUS_OK);
    EXPECT_STR("ab", text.data);
    buf_release(&text);
}

/* `count` pairs over count/2 prompts. */
static struct fixture_data many_pairs(int count)
{
    struct buf text = {0};
    for (int i = 0; i < count; i++) {
        buf_printf(&text, "{\"prompt\":\"prompt %d\",\"chosen\":\"y%d\",\"rejected\":\"n\"}\n",
                   i / 2, i);
    }
    struct fixture_data data = fixture_text(text.data);
    buf_release(&text);
    return data;
}

static void expect_whole(const struct dataset *part)
{
    int64_t rows = 0, tokens = 0, pairs = 0;
    for (int64_t i = 0; i < part->group_count; i++) {
        EXPECT_I64(rows, part->groups[i].row0);
        for (int32_t k = 0; k < part->groups[i].rows; k++) {
            tokens += part->rows[rows + k].tokens;
        }
        rows += part->groups[i].rows;
        pairs += part->groups[i].pairs;
    }
    EXPECT_I64(rows, part->row_count);
    EXPECT_I64(tokens, part->token_count);
    EXPECT_I64(pairs, part->pair_count);
}

TEST(a_split_is_seeded_whole_and_keeps_prompts_together)
{
    struct fixture_data data = many_pairs(2000);
    struct dataset *train, *evaluation, *again, *other;
    struct error error = {0};
    REQUIRE(data.dataset != NULL);
    REQUIRE(dataset_split(data.dataset, 0.1, 7, &train, &evaluation, &error) == STATUS_OK);
    EXPECT_I64(2000, train->group_count + evaluation->group_count);
    EXPECT(evaluation->group_count > 120 && evaluation->group_count < 280);
    expect_whole(train);
    expect_whole(evaluation);
    struct admission *report = admission_create(1);
    admission_overlap(report, evaluation, train);
    EXPECT_I64(0, admission_source(report, 0)->findings[FINDING_OVERLAP]);
    admission_free(report);
    EXPECT(strcmp(train->digest, evaluation->digest) != 0);
    EXPECT(strcmp(train->digest, data.dataset->digest) != 0);
    EXPECT_STR("f.jsonl", train->source_names[0]);
    char text[256];
    snprintf(text, sizeof(text), "%s", fixture_row(evaluation, 0));
    int64_t line = evaluation->groups[0].line;
    EXPECT_STR(text, fixture_row(data.dataset, 2 * (line - 1)));

    REQUIRE(dataset_split(data.dataset, 0.1, 7, &other, &again, &error) == STATUS_OK);
    EXPECT_STR(evaluation->digest, again->digest);
    EXPECT_I64(evaluation->group_count, again->group_count);
    EXPECT_BYTES(evaluation->groups, again->groups,
                 sizeof(*again->groups) * (size_t)again->group_count);
    dataset_free(again);
    dataset_free(other);
    dataset_free(train);
    dataset_free(evaluation);
    fixture_close(&data);
}

TEST(a_split_that_leaves_a_side_empty_is_refused)
{
    struct fixture_data data = fixture_text(PREFERENCE);
    struct dataset *train, *evaluation;
    struct error error = {0};
    REQUIRE(data.dataset != NULL);
    EXPECT_I64(STATUS_USAGE, dataset_split(data.dataset, 0.5, 1, &train, &evaluation, &error));
    EXPECT_CONTAINS("leaves no group for", error.text);
    EXPECT_I64(STATUS_USAGE, dataset_split(data.dataset, 1, 1, &train, &evaluation, &error));
    EXPECT_CONTAINS("must lie between 0 and 1", error.text);
    fixture_close(&data);
}

TEST(a_sample_is_seeded_bounded_and_in_order)
{
    struct fixture_data data = many_pairs(1000);
    REQUIRE(data.dataset != NULL);
    struct dataset *sample = dataset_sample(data.dataset, 100, 3);
    struct dataset *same = dataset_sample(data.dataset, 100, 3);
    struct dataset *other = dataset_sample(data.dataset, 100, 4);
    struct dataset *all = dataset_sample(data.dataset, 0, 3);
    EXPECT_I64(100, sample->pair_count);
    expect_whole(sample);
    EXPECT_BYTES(sample->groups, same->groups, sizeof(*same->groups) * 100);
    EXPECT(memcmp(sample->groups, other->groups, sizeof(*same->groups) * 100) != 0);
    EXPECT_I64(1000, all->pair_count);
    for (int64_t i = 1; i < sample->group_count; i++) {
        EXPECT(sample->groups[i - 1].line < sample->groups[i].line);
    }
    dataset_free(sample);
    dataset_free(same);
    dataset_free(other);
    dataset_free(all);
    fixture_close(&data);
}

TEST(an_error_in_a_later_record_leaves_nothing_behind)
{
    struct fixture_data data = fixture_text("{\"chosen\":\"a b\",\"rejected\":\"a c\"}\n{}\n");
    EXPECT(data.dataset == NULL);
    EXPECT(data.admission == NULL);
    EXPECT_I64(STATUS_FORMAT, data.error.status);
    EXPECT_CONTAINS("f.jsonl:2: field \"chosen\" is missing", data.error.text);
    struct data_source source = {.path = fixture_path("nowhere")};
    struct text_format format = fixture_format();
    data = fixture_open(&source, &format, NULL);
    EXPECT(data.dataset == NULL);
    EXPECT_I64(STATUS_NOT_FOUND, data.error.status);
}

TEST_MAIN()
