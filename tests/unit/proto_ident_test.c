/* SPDX-License-Identifier: Apache-2.0
 *
 * ident: one id has one text, and a name is nothing but a name.
 */
#include <string.h>

#include "proto/ident.h"
#include "tests/test.h"

TEST(an_id_is_shown_with_its_kind_and_read_back)
{
    char text[IDENT_TEXT_MAX];
    int64_t id = 0;
    ident_format(IDENT_JOB, 17, text);
    EXPECT_STR("j-17", text);
    EXPECT_I64(STATUS_OK, ident_parse(IDENT_JOB, text, &id, NULL));
    EXPECT_I64(17, id);
    EXPECT_I64(STATUS_OK, ident_parse(IDENT_JOB, "42", &id, NULL));
    EXPECT_I64(42, id);
    ident_format(IDENT_MODEL_VERSION, INT64_MAX, text);
    EXPECT_I64(STATUS_OK, ident_parse(IDENT_MODEL_VERSION, text, &id, NULL));
    EXPECT_I64(INT64_MAX, id);
}

TEST(what_is_no_id_is_refused_with_an_example)
{
    static const char *const bad[] = {"",      "j-",    "j-0",  "j-007", "j--1",   "w-17",
                                      "j-17 ", "j-1e3", "J-17", "-17",   "j-0x11", "../17"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct error error = {0};
        int64_t id = -5;
        if (ident_parse(IDENT_JOB, bad[i], &id, &error) != STATUS_USAGE || id != -5)
            test_fail(__FILE__, __LINE__, "\"%s\" was taken as a job's id", bad[i]);
        EXPECT_CONTAINS("j-17", error.text);
    }
    EXPECT_I64(STATUS_USAGE, ident_parse(IDENT_JOB, "j-9223372036854775808", &(int64_t){0}, NULL));
}

TEST(names_keep_to_their_alphabet)
{
    char longest[NAME_BYTES_MAX + 2];
    memset(longest, 'a', sizeof(longest));
    EXPECT(name_is_valid("acme", 4));
    EXPECT(name_is_valid("0.a_b-c", 7));
    EXPECT(name_is_valid(longest, NAME_BYTES_MAX));
    EXPECT(!name_is_valid(longest, NAME_BYTES_MAX + 1));
    static const char *const bad[] = {"", ".a", "-a", "_a", "A", "a b", "a/b", "a\n", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (name_is_valid(bad[i], strlen(bad[i])))
            test_fail(__FILE__, __LINE__, "\"%s\" was taken as a name", bad[i]);
    EXPECT(!name_is_valid("a\0b", 3));
}

TEST(a_reference_has_a_tenant_a_name_and_a_version_or_alias)
{
    struct reference reference;
    char text[REFERENCE_TEXT_MAX];
    REQUIRE(reference_parse("acme/support@v12", &reference, NULL) == STATUS_OK);
    EXPECT_STR("acme", reference.tenant);
    EXPECT_STR("support", reference.name);
    EXPECT_I64(12, reference.version);
    EXPECT_STR("", reference.alias);
    reference_format(&reference, text);
    EXPECT_STR("acme/support@12", text);
    REQUIRE(reference_parse("support@prod", &reference, NULL) == STATUS_OK);
    EXPECT_STR("", reference.tenant);
    EXPECT_STR("prod", reference.alias);
    EXPECT_I64(0, reference.version);
    reference_format(&reference, text);
    EXPECT_STR("support@prod", text);
    REQUIRE(reference_parse("general/hh", &reference, NULL) == STATUS_OK);
    EXPECT_I64(0, reference.version);
}

TEST(a_reference_that_is_none_is_refused)
{
    static const char *const bad[] = {"",
                                      "/a",
                                      "a/",
                                      "a/b/c",
                                      "a@",
                                      "a/b@",
                                      "a/b@v0",
                                      "a/b@007",
                                      "A/b",
                                      "../b",
                                      "a/b@P",
                                      "a/b@1@2",
                                      "a/b@9223372036854775808"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct reference reference;
        struct error error = {0};
        if (reference_parse(bad[i], &reference, &error) != STATUS_USAGE || error.text[0] == '\0')
            test_fail(__FILE__, __LINE__, "\"%s\" was taken as a reference", bad[i]);
    }
}

TEST(any_text_becomes_a_label)
{
    char label[NAME_BYTES_MAX + 1], most[100];
    label_make("acme.train.jsonl", label);
    EXPECT_STR("acme.train.jsonl", label);
    label_make("My data (1).jsonl", label);
    EXPECT_STR("My-data--1-.jsonl", label);
    label_make(".hidden", label);
    EXPECT_STR("xhidden", label);
    label_make("", label);
    EXPECT_STR("x", label);
    memset(most, 'a', sizeof(most));
    most[99] = '\0';
    label_make(most, label);
    EXPECT_I64(NAME_BYTES_MAX, (int64_t)strlen(label));
}

TEST_MAIN()
