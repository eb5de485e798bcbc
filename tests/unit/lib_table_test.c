/* SPDX-License-Identifier: Apache-2.0
 *
 * table: the six formats, and text that would rather not stay in its cell.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/json.h"
#include "lib/table.h"
#include "tests/test.h"

static void prints(const struct table *table, enum table_format format, const char *expected)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    REQUIRE(out != NULL);
    table_print(table, format, out);
    fclose(out);
    EXPECT_STR(expected, text);
    if (format == TABLE_FORMAT_JSON) {
        struct error error = {0};
        json_t *root = NULL;
        EXPECT_I64(STATUS_OK, json_read("table", text, size, &root, &error));
        json_decref(root);
    }
    free(text);
}

TEST(one_description_prints_in_every_format)
{
    struct table *table = table_create("data", "accuracy", "interval");
    table_row(table, "custom", "0.761", "0.71 \xe2\x80\xa6 0.80");
    table_row(table, "a", "-12", "x, \"y\"");
    prints(table, TABLE_FORMAT_TABLE,
           "data    accuracy  interval\n"
           "custom     0.761  0.71 \xe2\x80\xa6 0.80\n"
           "a            -12  x, \"y\"\n");
    prints(table, TABLE_FORMAT_JSON,
           "[\n"
           "{\"data\":\"custom\",\"accuracy\":0.761,\"interval\":\"0.71 \xe2\x80\xa6 0.80\"},\n"
           "{\"data\":\"a\",\"accuracy\":-12,\"interval\":\"x, \\\"y\\\"\"}\n"
           "]\n");
    prints(table, TABLE_FORMAT_JSONL,
           "{\"data\":\"custom\",\"accuracy\":0.761,\"interval\":\"0.71 \xe2\x80\xa6 0.80\"}\n"
           "{\"data\":\"a\",\"accuracy\":-12,\"interval\":\"x, \\\"y\\\"\"}\n");
    prints(table, TABLE_FORMAT_CSV,
           "data,accuracy,interval\n"
           "custom,0.761,0.71 \xe2\x80\xa6 0.80\n"
           "a,-12,\"x, \"\"y\"\"\"\n");
    prints(table, TABLE_FORMAT_NAME, "custom\na\n");
    prints(table, TABLE_FORMAT_YAML,
           "- data: custom\n  accuracy: 0.761\n  interval: \"0.71 \xe2\x80\xa6 0.80\"\n"
           "- data: a\n  accuracy: -12\n  interval: \"x, \\\"y\\\"\"\n");
    table_free(table);
}

TEST(an_empty_table_is_valid_in_every_format)
{
    struct table *table = table_create("a", "b");
    prints(table, TABLE_FORMAT_TABLE, "a  b\n");
    prints(table, TABLE_FORMAT_JSON, "[]\n");
    prints(table, TABLE_FORMAT_JSONL, "");
    prints(table, TABLE_FORMAT_CSV, "a,b\n");
    prints(table, TABLE_FORMAT_NAME, "");
    prints(table, TABLE_FORMAT_YAML, "[]\n");
    table_free(table);
    table_free(NULL);
}

TEST(empty_cells_of_a_numeric_column_are_null)
{
    struct table *table = table_create("n", "e");
    table_row(table, "1", "");
    table_row(table, NULL, "");
    prints(table, TABLE_FORMAT_JSONL, "{\"n\":1,\"e\":\"\"}\n{\"n\":null,\"e\":\"\"}\n");
    table_free(table);
}

TEST(only_json_numbers_make_a_numeric_column)
{
    static const char *const bad[] = {"+1",  ".5", "1.",    "007",  "-",   "nan", "1e",
                                      "0x1", "1 ", "1e999", "1.e5", "-.5", "--1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct table *table = table_create("n");
        table_row(table, bad[i]);
        char expected[64];
        snprintf(expected, sizeof(expected), "{\"n\":\"%s\"}\n", bad[i]);
        prints(table, TABLE_FORMAT_JSONL, expected);
        table_free(table);
    }
    struct table *table = table_create("n");
    table_row(table, "0");
    table_row(table, "-0.50");
    table_row(table, "1E+5");
    prints(table, TABLE_FORMAT_JSONL, "{\"n\":0}\n{\"n\":-0.50}\n{\"n\":1E+5}\n");
    prints(table, TABLE_FORMAT_TABLE, "    n\n    0\n-0.50\n 1E+5\n");
    table_free(table);
}

TEST(hostile_text_stays_in_its_cell)
{
    struct table *table = table_create("name", "x");
    table_row(table, "a\n\x1b[2Jb\xff\xc2\x9b", "1");
    prints(table, TABLE_FORMAT_TABLE,
           "name                   x\n"
           "a\\x0a\\x1b[2Jb\\xff\\x9b  1\n");
    prints(table, TABLE_FORMAT_NAME, "a\\x0a\\x1b[2Jb\\xff\\x9b\n");
    prints(table, TABLE_FORMAT_CSV, "name,x\na\\x0a\\x1b[2Jb\\xff\\x9b,1\n");
    prints(table, TABLE_FORMAT_JSON,
           "[\n{\"name\":\"a\\n\\u001b[2Jb\xef\xbf\xbd\\u009b\",\"x\":1}\n]\n");
    table_free(table);
}

TEST(width_counts_terminal_columns)
{
    struct table *table = table_create("name", "x");
    table_row(table, "caf\xc3\xa9", "y");                  /* 4 columns */
    table_row(table, "cafe\xcc\x81", "y");                 /* 4: a combining accent */
    table_row(table, "\xe6\x97\xa5\xe6\x9c\xac", "y");     /* 4: two wide */
    table_row(table, "\xf0\x9f\x98\x80\xe2\x80\xa6", "y"); /* 3: an emoji and an ellipsis */
    prints(table, TABLE_FORMAT_TABLE,
           "name  x\n"
           "caf\xc3\xa9  y\n"
           "cafe\xcc\x81  y\n"
           "\xe6\x97\xa5\xe6\x9c\xac  y\n"
           "\xf0\x9f\x98\x80\xe2\x80\xa6   y\n");
    table_free(table);
}

TEST(many_rows_are_kept)
{
    struct table *table = table_create("i");
    struct buf expected = {0};
    for (int i = 0; i < 1000; i++) {
        char cell[16];
        snprintf(cell, sizeof(cell), "%d", i);
        table_row(table, cell);
        buf_printf(&expected, "%d\n", i);
    }
    prints(table, TABLE_FORMAT_NAME, expected.data);
    buf_release(&expected);
    table_free(table);
}

TEST(format_names_are_parsed)
{
    enum table_format format = TABLE_FORMAT_TABLE;
    EXPECT_I64(STATUS_OK, table_format_parse("jsonl", &format, NULL));
    EXPECT_I64(TABLE_FORMAT_JSONL, format);
    EXPECT_I64(STATUS_OK, table_format_parse("name", &format, NULL));
    EXPECT_I64(TABLE_FORMAT_NAME, format);
    EXPECT_I64(STATUS_OK, table_format_parse("wide", &format, NULL));
    EXPECT_I64(TABLE_FORMAT_TABLE, format);
    EXPECT_I64(STATUS_OK, table_format_parse("yaml", &format, NULL));
    EXPECT_I64(TABLE_FORMAT_YAML, format);
    struct error error = {0};
    EXPECT_I64(STATUS_USAGE, table_format_parse("xml", &format, &error));
    EXPECT_STR("unknown output format 'xml': use table, wide, json, jsonl, csv, yaml or name",
               error.text);
    EXPECT_I64(TABLE_FORMAT_YAML, format);
}

TEST_MAIN()
