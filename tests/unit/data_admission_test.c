/* SPDX-License-Identifier: Apache-2.0
 *
 * Admission: every finding is counted, listed and explained; the policy decides.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/json.h"
#include "tests/data_fixture.h"
#include "tests/test.h"

static const struct admission_policy NO_BOUNDS = {-1, -1, -1, -1, -1, -1, 0, 0};

/* Opens the text and expects the finding on exactly this line, and `kept` groups. */
static void expect_finding(enum finding finding, int64_t line, int64_t kept, const char *text)
{
    struct fixture_data data = fixture_text(text);
    REQUIRE(data.dataset != NULL);
    const int64_t *lines;
    EXPECT_I64(1, data.report->findings[finding]);
    REQUIRE(admission_listed(data.admission, 0, finding, &lines) == 1);
    EXPECT_I64(line, lines[0]);
    EXPECT_I64(kept, data.report->groups_kept);
    EXPECT_I64(kept, data.dataset->group_count);
    for (int other = 0; other < FINDING_COUNT; other++) {
        EXPECT_I64(other == (int)finding, data.report->findings[other] != 0);
    }
    fixture_close(&data);
}

TEST(clean_data_have_no_finding)
{
    struct fixture_data data =
        fixture_text("{\"prompt\":\"p\",\"chosen\":\"c\",\"rejected\":\"r\"}\n"
                     "{\"prompt\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\"}\n");
    REQUIRE(data.dataset != NULL);
    for (int finding = 0; finding < FINDING_COUNT; finding++) {
        EXPECT_I64(0, data.report->findings[finding]);
    }
    EXPECT_I64(VERDICT_ACCEPTED, admission_judge(data.admission, &NO_BOUNDS, NULL));
    fixture_close(&data);
}

TEST(duplicates_are_found_and_kept)
{
    expect_finding(FINDING_DUPLICATE, 2, 2,
                   "{\"prompt\":\"p\",\"chosen\":\"c\",\"rejected\":\"r\"}\n"
                   "{\"rejected\":\"r\",\"chosen\":\"c\",\"prompt\":\"p\"}\n");
    /* The same order by other numbers, and ties between the same two. */
    expect_finding(FINDING_DUPLICATE, 2, 2,
                   "{\"prompt\":\"p\",\"responses\":[\"a\",\"b\",\"c\"],\"scores\":[5,1,1]}\n"
                   "{\"prompt\":\"p\",\"responses\":[\"c\",\"b\",\"a\"],\"scores\":[0,0,9]}\n");
}

TEST(contradictions_are_found_and_kept)
{
    expect_finding(FINDING_CONTRADICTION, 2, 2,
                   "{\"prompt\":\"p\",\"chosen\":\"c\",\"rejected\":\"r\"}\n"
                   "{\"prompt\":\"p\",\"chosen\":\"r\",\"rejected\":\"c\"}\n");
    expect_finding(FINDING_CONTRADICTION, 3, 3,
                   "{\"prompt\":\"p\",\"responses\":[\"a\",\"b\",\"c\"],\"scores\":[3,2,1]}\n"
                   "{\"prompt\":\"p\",\"responses\":[\"a\",\"b\",\"d\"],\"scores\":[3,2,1]}\n"
                   "{\"prompt\":\"p\",\"responses\":[\"a\",\"b\",\"c\"],\"scores\":[3,1,2]}\n");
}

TEST(a_tie_does_not_contradict)
{
    struct fixture_data data =
        fixture_text("{\"prompt\":\"p\",\"responses\":[\"a\",\"b\",\"c\"],\"scores\":[3,2,1]}\n"
                     "{\"prompt\":\"p\",\"responses\":[\"a\",\"b\",\"c\"],\"scores\":[3,2,2]}\n");
    REQUIRE(data.dataset != NULL);
    EXPECT_I64(0, data.report->findings[FINDING_CONTRADICTION]);
    EXPECT_I64(0, data.report->findings[FINDING_DUPLICATE]);
    fixture_close(&data);
}

TEST(ties_are_found_and_kept_for_imitation)
{
    expect_finding(FINDING_TIE, 1, 1,
                   "{\"prompt\":\"p\",\"responses\":[\"a\",\"b\"],\"scores\":[1,1]}\n");
    struct fixture_data data =
        fixture_text("{\"prompt\":\"p\",\"responses\":[\"a\",\"b\"],\"scores\":[1,1]}\n");
    REQUIRE(data.dataset != NULL);
    EXPECT_I64(0, data.dataset->groups[0].pairs);
    EXPECT_I64(2, data.dataset->groups[0].rows);
    fixture_close(&data);
}

TEST(empty_texts_are_found_and_kept)
{
    expect_finding(FINDING_EMPTY, 1, 1,
                   "{\"prompt\":\"p\",\"chosen\":\"c\",\"rejected\":\" \\n\"}\n");
    expect_finding(FINDING_EMPTY, 1, 1, "{\"prompt\":\"\",\"chosen\":\"c\",\"rejected\":\"r\"}\n");
}

TEST(a_row_without_a_token_is_left_out)
{
    expect_finding(FINDING_EMPTY, 1, 0, "{\"chosen_ids\":[],\"rejected_ids\":[5]}\n");
}

TEST(identical_rows_are_found_and_left_out_where_nothing_else_can_be_compared)
{
    expect_finding(FINDING_IDENTICAL, 1, 0,
                   "{\"prompt\":\"p\",\"chosen\":\"same\",\"rejected\":\"same\"}\n");
    expect_finding(FINDING_IDENTICAL, 1, 1,
                   "{\"prompt\":\"p\",\"responses\":[\"a\",\"b\",\"b\"],\"scores\":[1,0,0]}\n");
    expect_finding(FINDING_IDENTICAL, 1, 1,
                   "{\"prompt\":\"p\",\"responses\":[\"a\",\"b\",\"b\"],\"scores\":[0,1,0]}\n");
    expect_finding(FINDING_IDENTICAL, 1, 0,
                   "{\"prompt\":\"p\",\"responses\":[\"b\",\"b\",\"b\"],\"scores\":[0,1,0]}\n");
}

TEST(identical_ties_are_kept_for_imitation)
{
    struct fixture_data data =
        fixture_text("{\"prompt\":\"p\",\"responses\":[\"a\",\"a\"],\"scores\":[1,1]}\n");
    REQUIRE(data.dataset != NULL);
    EXPECT_I64(1, data.report->findings[FINDING_IDENTICAL]);
    EXPECT_I64(1, data.report->findings[FINDING_TIE]);
    EXPECT_I64(1, data.report->groups_kept);
    fixture_close(&data);
}

TEST(an_empty_response_marks_only_the_pairs_it_is_in)
{
    struct data_source source = {
        .path = fixture_write("f.jsonl", "{\"query\":\"q\",\"responses\":{\"a\":\"x\",\"b\":\"\","
                                         "\"c\":\"y\"}}\n"),
        .domain = "a",
        .pairs = true};
    struct text_format format = fixture_format();
    struct fixture_data data = fixture_open(&source, &format, NULL);
    REQUIRE(data.dataset != NULL);
    EXPECT_I64(2, data.report->groups_kept);
    EXPECT_I64(1, data.report->findings[FINDING_EMPTY]);
    fixture_close(&data);
}

TEST(rows_that_truncation_made_identical_are_found)
{
    struct data_source source = {
        .path = fixture_write("f.jsonl",
                              "{\"prompt\":\"p\",\"chosen\":\"abc\",\"rejected\":\"abd\"}\n")};
    struct text_format format = fixture_format();
    format.max_length = 20;
    format.overlong = OVERLONG_TRUNCATE_RIGHT;
    struct fixture_data data = fixture_open(&source, &format, NULL);
    REQUIRE(data.dataset != NULL);
    EXPECT_I64(1, data.report->findings[FINDING_IDENTICAL]);
    EXPECT_I64(1, data.report->findings[FINDING_OVERLONG]);
    EXPECT_I64(0, data.report->groups_kept);
    fixture_close(&data);
}

TEST(invalid_utf8_is_found_and_left_out)
{
    expect_finding(FINDING_INVALID_UTF8, 2, 1,
                   "{\"prompt\":\"p\",\"chosen\":\"c\",\"rejected\":\"r\"}\n"
                   "{\"prompt\":\"p\xe9\",\"chosen\":\"c\",\"rejected\":\"r\"}\n");
}

TEST(a_group_with_one_present_response_is_found_and_left_out)
{
    expect_finding(FINDING_ONE_RESPONSE, 2, 1,
                   "{\"text\":[\"a x\",\"a y\"],\"score\":[1,0]}\n"
                   "{\"text\":[\"b x\",\"b y\"],\"score\":[1,-1]}\n");
}

TEST(unknown_columns_are_found_once_each)
{
    struct fixture_data data =
        fixture_text("{\"prompt\":\"p\",\"chosen\":\"c\",\"rejected\":\"r\",\"id\":1}\n"
                     "{\"prompt\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\",\"id\":1,\"m\":2}\n");
    REQUIRE(data.dataset != NULL);
    EXPECT_I64(2, data.report->findings[FINDING_UNKNOWN_COLUMN]);
    EXPECT_I64(VERDICT_ACCEPTED, admission_judge(data.admission, &NO_BOUNDS, NULL));
    fixture_close(&data);
}

TEST(overlap_with_the_training_data_is_found)
{
    struct fixture_data train =
        fixture_text("{\"prompt\":\"p\",\"chosen\":\"c\",\"rejected\":\"r\"}\n");
    struct fixture_data evaluation =
        fixture_text("{\"prompt\":\"q\",\"chosen\":\"c\",\"rejected\":\"r\"}\n"
                     "{\"prompt\":\"p\",\"chosen\":\"x\",\"rejected\":\"y\"}\n");
    REQUIRE(train.dataset != NULL && evaluation.dataset != NULL);
    admission_overlap(evaluation.admission, evaluation.dataset, train.dataset);
    const int64_t *lines;
    REQUIRE(admission_listed(evaluation.admission, 0, FINDING_OVERLAP, &lines) == 1);
    EXPECT_I64(2, lines[0]);
    fixture_close(&train);
    fixture_close(&evaluation);
}

TEST(lengths_and_sharing_are_counted)
{
    /* Rows: 1 + 27 for the shared prompt, then the response, then EOS. */
    struct fixture_data data =
        fixture_text("{\"prompt\":\"p\",\"chosen\":\"abc\",\"rejected\":\"d\"}\n"
                     "{\"prompt\":\"q\",\"chosen\":\"e\",\"rejected\":\"fg\"}\n"
                     "{\"prompt\":\"r\",\"chosen\":\"h\",\"rejected\":\"i\"}\n");
    REQUIRE(data.dataset != NULL);
    EXPECT_I64(2, data.report->length_pairs);
    EXPECT_I64(1, data.report->longer_preferred);
    EXPECT_I64(6 * 29 + 9, data.report->tokens);
    EXPECT_I64(6 * 29 + 9 - 3 * 28, data.report->tokens_shared);
    EXPECT_I64(30, data.report->row_tokens_median);
    EXPECT_I64(32, data.report->row_tokens_p95);
    EXPECT_I64(32, data.report->row_tokens_max);
    EXPECT_I64(32, data.dataset->row_tokens_max);
    fixture_close(&data);
}

TEST(lists_are_bounded_and_counts_are_not)
{
    struct admission *admission = admission_create(2);
    for (int64_t i = 0; i < ADMISSION_LISTED_MAX + 5; i++) {
        admission_add(admission, 1, FINDING_TIE, i);
    }
    const int64_t *lines;
    EXPECT_I64(ADMISSION_LISTED_MAX, admission_listed(admission, 1, FINDING_TIE, &lines));
    EXPECT_I64(ADMISSION_LISTED_MAX + 5, admission_source(admission, 1)->findings[FINDING_TIE]);
    EXPECT_I64(0, admission_listed(admission, 0, FINDING_TIE, &lines));
    for (int i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "column%d", i);
        admission_column(admission, 0, name, i);
    }
    EXPECT_I64(32, admission_source(admission, 0)->findings[FINDING_UNKNOWN_COLUMN]);
    admission_free(admission);
}

/* A report of 100 groups with `count` of a finding. */
static struct admission *report_with(enum finding finding, int count)
{
    struct admission *admission = admission_create(1);
    struct admission_source *source = admission_source(admission, 0);
    snprintf(source->name, sizeof(source->name), "support.jsonl");
    snprintf(source->form, sizeof(source->form), "preference (trl)");
    source->groups_read = 100;
    source->groups_kept = 100 - count;
    source->pairs = 100 - count;
    for (int i = 0; i < count; i++) {
        admission_add(admission, 0, finding, 10 + i);
    }
    return admission;
}

TEST(the_policy_turns_shares_into_a_verdict)
{
    struct admission *admission = report_with(FINDING_CONTRADICTION, 5);
    struct admission_policy policy = NO_BOUNDS;
    struct buf reasons = {0};
    EXPECT_I64(VERDICT_WARNINGS, admission_judge(admission, NULL, &reasons));
    EXPECT_CONTAINS("support.jsonl: 5 of 100 groups (5 %): the responses of an earlier",
                    reasons.data);
    policy.contradictions_max = 0.05;
    EXPECT_I64(VERDICT_WARNINGS, admission_judge(admission, &policy, NULL));
    policy.contradictions_max = 0.04;
    buf_clear(&reasons);
    EXPECT_I64(VERDICT_REJECTED, admission_judge(admission, &policy, &reasons));
    EXPECT_CONTAINS("at most 4 % are allowed (lines ", reasons.data);
    admission_free(admission);
    buf_release(&reasons);
}

TEST(minima_and_nothing_left_reject)
{
    struct admission *admission = report_with(FINDING_OVERLONG, 100);
    struct admission_policy policy = NO_BOUNDS;
    struct buf reasons = {0};
    EXPECT_I64(VERDICT_REJECTED, admission_judge(admission, &policy, &reasons));
    EXPECT_CONTAINS("no group is left", reasons.data);
    admission_free(admission);
    admission = report_with(FINDING_OVERLONG, 0);
    policy.min_groups = 101;
    policy.min_pairs = 102;
    EXPECT_I64(VERDICT_REJECTED, admission_judge(admission, &policy, &reasons));
    EXPECT_CONTAINS("100 groups are left, at least 101", reasons.data);
    EXPECT_CONTAINS("100 pairs are left, at least 102", reasons.data);
    admission_free(admission);
    buf_release(&reasons);
}

TEST(a_preference_for_length_is_warned_of)
{
    struct admission *admission = report_with(FINDING_TIE, 0);
    struct buf reasons = {0};
    admission_source(admission, 0)->length_pairs = 200;
    admission_source(admission, 0)->longer_preferred = 160;
    EXPECT_I64(VERDICT_WARNINGS, admission_judge(admission, NULL, &reasons));
    EXPECT_CONTAINS("preferred in 80 % of the pairs", reasons.data);
    admission_free(admission);
    buf_release(&reasons);
}

static char *printed(const struct admission *admission, bool json)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    admission_print(admission, &NO_BOUNDS, json, out);
    fclose(out);
    return text;
}

TEST(the_report_reads_for_people)
{
    struct admission *admission = report_with(FINDING_CONTRADICTION, 7);
    admission_column(admission, 0, "annotator", 3);
    char *text = printed(admission, false);
    EXPECT_CONTAINS("support.jsonl", text);
    EXPECT_CONTAINS("preference (trl)", text);
    EXPECT_CONTAINS("10, 11, 12, 13, 14, \xe2\x80\xa6", text);
    EXPECT_CONTAINS("7.0 %", text);
    EXPECT_CONTAINS("annotator", text);
    EXPECT_CONTAINS("\naccepted with warnings\n- support.jsonl: 7 of 100 groups (7 %)", text);
    free(text);
    admission_free(admission);
}

TEST(the_report_reads_for_programs)
{
    struct admission *admission = report_with(FINDING_CONTRADICTION, 2);
    char *text = printed(admission, true);
    json_t *root = NULL;
    REQUIRE(json_read("report", text, strlen(text), &root, NULL) == STATUS_OK);
    EXPECT_STR("accepted with warnings", json_string_value(json_object_get(root, "verdict")));
    const json_t *source = json_array_get(json_object_get(root, "sources"), 0);
    EXPECT_I64(100, json_integer_value(json_object_get(source, "groups_read")));
    const json_t *found =
        json_object_get(json_object_get(source, "findings"), finding_name(FINDING_CONTRADICTION));
    EXPECT_I64(2, json_integer_value(json_object_get(found, "count")));
    EXPECT_I64(11, json_integer_value(json_array_get(json_object_get(found, "lines"), 1)));
    EXPECT_I64(1, (int64_t)json_array_size(json_object_get(root, "reasons")));
    json_decref(root);
    free(text);
    admission_free(admission);
}

TEST(a_report_survives_being_packed)
{
    struct admission *admission = report_with(FINDING_TIE, 3), *back = NULL;
    struct buf bytes = {0};
    admission_column(admission, 0, "id", 1);
    admission_pack(admission, &bytes);
    REQUIRE(admission_unpack(bytes.data, bytes.length, &back));
    char *before = printed(admission, true), *after = printed(back, true);
    EXPECT_STR(before, after);
    free(before);
    free(after);
    admission_free(back);
    admission_free(admission);
    buf_release(&bytes);
}

TEST(a_report_cut_off_anywhere_is_refused)
{
    struct admission *admission = report_with(FINDING_TIE, 3), *back = NULL;
    struct buf bytes = {0};
    admission_pack(admission, &bytes);
    for (size_t size = 0; size < bytes.length; size++) {
        char *exact = malloc(size + 1); /* so that a read behind the end is seen */
        memcpy(exact, bytes.data, size);
        EXPECT(!admission_unpack(exact, size, &back));
        free(exact);
    }
    buf_append_char(&bytes, 'x');
    EXPECT(!admission_unpack(bytes.data, bytes.length, &back));
    admission_free(admission);
    buf_release(&bytes);
}

TEST_MAIN()
