/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "client/csv.h"
#include "tests/test.h"

static struct arena arena;
static struct error error;

static struct csv parse(const char *text)
{
    struct csv csv = {0};
    EXPECT_I64(STATUS_OK, csv_parse(&arena, "t.csv", text, strlen(text), 100, &csv, &error));
    return csv;
}

static void refused(const char *text, const char *sentence)
{
    struct csv csv;
    EXPECT_I64(STATUS_FORMAT, csv_parse(&arena, "t.csv", text, strlen(text), 100, &csv, &error));
    EXPECT_STR(sentence, error.text);
}

TEST(a_table_with_a_mark_crlf_and_no_last_line_feed_is_read)
{
    struct csv csv = parse("\xef\xbb\xbf"
                           "tenant,data\r\nacme,a.jsonl\r\n\r\nglobex, b c ");
    REQUIRE(csv.column_count == 2 && csv.row_count == 2);
    EXPECT_STR("tenant", csv.columns[0]);
    EXPECT_STR("data", csv.columns[1]);
    EXPECT_STR("a.jsonl", csv.rows[0].cells[1]);
    EXPECT_STR(" b c ", csv.rows[1].cells[1]);
    EXPECT_I64(2, csv.rows[0].line);
    EXPECT_I64(4, csv.rows[1].line);
    arena_release(&arena);
}

TEST(quotes_hold_commas_quotes_and_line_feeds)
{
    struct csv csv = parse("a,b\n\"1,2\",\"say \"\"hi\"\"\nthere\"\n\"\",x\n");
    REQUIRE(csv.row_count == 2);
    EXPECT_STR("1,2", csv.rows[0].cells[0]);
    EXPECT_STR("say \"hi\"\nthere", csv.rows[0].cells[1]);
    EXPECT_STR("", csv.rows[1].cells[0]);
    EXPECT_I64(4, csv.rows[1].line); /* the row before has two lines */
    EXPECT_I64(1, parse("a\n\"\"\n").row_count);
    EXPECT_I64(0, parse("a\n\n").row_count);
    arena_release(&arena);
}

TEST(what_is_no_table_is_told_with_its_line)
{
    refused("", "t.csv:1: the first line has to name the columns");
    refused("a,b,a\n", "t.csv:1: two columns are called a");
    refused("a,,b\n", "t.csv:1: column 2 has no name");
    refused("a;b\n1;2\n", "t.csv:1: one column only: separate the cells by commas");
    refused("a,b\n1,2\n\"x,y\n", "t.csv:3: a quote is not closed");
    refused("a,b\n\"x\"y,z\n", "t.csv:2: something stands behind a closing quote");
    refused("a,b\n1,x\"y\n", "t.csv:2: a quote inside a cell: put the cell into quotes, and \"\" "
                             "for each quote in it");
    refused("a,b\n1,\xff\n", "t.csv:2: not UTF-8: save the table as UTF-8");
    arena_release(&arena);
}

TEST(every_row_with_the_wrong_number_of_cells_is_listed)
{
    refused("a,b\n1\n1,2\n1,2,3\n", "t.csv:2: 1 cells instead of 2; t.csv:4: 3 cells instead of 2");
    arena_release(&arena);
}

TEST(a_table_has_no_more_rows_than_its_reader_takes)
{
    struct csv csv;
    EXPECT_I64(STATUS_LIMIT, csv_parse(&arena, "t.csv", "a\n1\n2\n3\n", 8, 2, &csv, &error));
    EXPECT_STR("t.csv:4: more than 2 rows", error.text);
    arena_release(&arena);
}

TEST_MAIN()
