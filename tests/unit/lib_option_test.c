/* SPDX-License-Identifier: Apache-2.0
 *
 * option: every spelling of an option, and every refusal.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/option.h"
#include "tests/test.h"

struct options {
    const char *from;
    struct option_list set;
    bool plan;
    bool quiet;
    int64_t steps;
    double rate;
};

static const struct option_row rows[] = {
    {"from", 'f', OPTION_STRING, offsetof(struct options, from), "DIR", "where to start"},
    {"set", 's', OPTION_LIST, offsetof(struct options, set), "KEY=VALUE", "set a field"},
    {"plan", 'p', OPTION_FLAG, offsetof(struct options, plan), NULL, "plan only"},
    {"quiet", 'q', OPTION_FLAG, offsetof(struct options, quiet), NULL, "say less"},
    {"steps", 0, OPTION_I64, offsetof(struct options, steps), "N", "number of steps"},
    {"rate", 0, OPTION_F64, offsetof(struct options, rate), "X", "learning rate"},
};

enum { ROW_COUNT = sizeof(rows) / sizeof(rows[0]) };

static struct options options;
static struct option_list positional;
static struct error error;

#define PARSE(...)                                                                                 \
    parse((const char *const[]){"", ##__VA_ARGS__},                                                \
          (int)(sizeof((const char *const[]){"", ##__VA_ARGS__}) / sizeof(char *)))

static enum status parse(const char *const *arguments, int count)
{
    options = (struct options){.steps = 7};
    positional.count = 0;
    error = (struct error){0};
    return option_parse(rows, ROW_COUNT, count - 1, arguments + 1, &options, &positional, &error);
}

TEST(no_arguments_leave_the_defaults)
{
    EXPECT_I64(STATUS_OK, PARSE());
    EXPECT(options.from == NULL && !options.plan && options.steps == 7 && positional.count == 0);
}

TEST(each_spelling_of_a_value_is_taken)
{
    EXPECT_I64(STATUS_OK, PARSE("--from", "a"));
    EXPECT_STR("a", options.from);
    EXPECT_I64(STATUS_OK, PARSE("--from=a=b"));
    EXPECT_STR("a=b", options.from);
    EXPECT_I64(STATUS_OK, PARSE("--from="));
    EXPECT_STR("", options.from);
    EXPECT_I64(STATUS_OK, PARSE("-f", "a"));
    EXPECT_STR("a", options.from);
    EXPECT_I64(STATUS_OK, PARSE("-fabc"));
    EXPECT_STR("abc", options.from);
    EXPECT_I64(STATUS_OK, PARSE("-f", "--plan"));
    EXPECT_STR("--plan", options.from);
    EXPECT(!options.plan);
}

TEST(flags_may_share_a_dash_with_one_value_at_the_end)
{
    EXPECT_I64(STATUS_OK, PARSE("-pqf", "dir", "--plan"));
    EXPECT(options.plan && options.quiet);
    EXPECT_STR("dir", options.from);
}

TEST(numbers_are_parsed_exactly)
{
    EXPECT_I64(STATUS_OK, PARSE("--steps=-12", "--rate", "1e-5"));
    EXPECT_I64(-12, options.steps);
    EXPECT_CLOSE(1e-5, options.rate, 0);
    EXPECT_I64(STATUS_USAGE, PARSE("--steps", "12x"));
    EXPECT_STR("--steps: '12x' is not an integer", error.text);
    EXPECT_I64(STATUS_USAGE, PARSE("--rate", "fast"));
    EXPECT_STR("--rate: 'fast' is not a number", error.text);
}

TEST(lists_repeat_and_positional_arguments_mix_in)
{
    EXPECT_I64(STATUS_OK, PARSE("one", "--set", "a=1", "two", "-sb=2", "-", "--", "--plan", "-x"));
    EXPECT_I64(2, options.set.count);
    EXPECT_STR("a=1", options.set.items[0]);
    EXPECT_STR("b=2", options.set.items[1]);
    EXPECT_I64(5, positional.count);
    EXPECT_STR("one", positional.items[0]);
    EXPECT_STR("two", positional.items[1]);
    EXPECT_STR("-", positional.items[2]);
    EXPECT_STR("--plan", positional.items[3]);
    EXPECT_STR("-x", positional.items[4]);
    EXPECT(!options.plan);
}

TEST(what_is_wrong_is_said_with_the_nearest_name)
{
    EXPECT_I64(STATUS_USAGE, PARSE("--form=a"));
    EXPECT_STR("unknown option --form: did you mean --from?", error.text);
    EXPECT_I64(STATUS_USAGE, PARSE("--hepl"));
    EXPECT_STR("unknown option --hepl: did you mean --help?", error.text);
    EXPECT_I64(STATUS_USAGE, PARSE("--zzzzzzzz"));
    EXPECT_STR("unknown option --zzzzzzzz: see --help", error.text);
    EXPECT_I64(STATUS_USAGE, PARSE("-pz"));
    EXPECT_STR("unknown option -z: see --help", error.text);
    EXPECT_I64(STATUS_USAGE, PARSE("--from"));
    EXPECT_STR("--from needs a value: --from DIR", error.text);
    EXPECT_I64(STATUS_USAGE, PARSE("--plan=yes"));
    EXPECT_STR("--plan takes no value", error.text);
    EXPECT_I64(STATUS_USAGE, PARSE("--fro", "a")); /* no abbreviations */
}

TEST(help_stops_the_parse)
{
    EXPECT_I64(STATUS_CANCELLED, PARSE("--help"));
    EXPECT_I64(STATUS_CANCELLED, PARSE("-h"));
    EXPECT_I64(STATUS_CANCELLED, PARSE("x", "-qh"));
    EXPECT_I64(STATUS_OK, PARSE("--", "--help"));
}

TEST(too_many_arguments_are_refused)
{
    const char *arguments[OPTION_LIST_MAX + 2];
    for (int i = 0; i < OPTION_LIST_MAX + 2; i++) {
        arguments[i] = "x";
    }
    EXPECT_I64(STATUS_OK, parse(arguments, OPTION_LIST_MAX + 1));
    EXPECT_I64(OPTION_LIST_MAX, positional.count);
    EXPECT_I64(STATUS_USAGE, parse(arguments, OPTION_LIST_MAX + 2));
}

TEST(the_help_lists_every_option_in_columns)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    REQUIRE(out != NULL);
    option_print_help(out, rows, ROW_COUNT);
    fclose(out);
    EXPECT_STR("  -f, --from DIR       where to start\n"
               "  -s, --set KEY=VALUE  set a field\n"
               "  -p, --plan           plan only\n"
               "  -q, --quiet          say less\n"
               "      --steps N        number of steps\n"
               "      --rate X         learning rate\n"
               "  -h, --help           print this help\n",
               text);
    free(text);
}

TEST_MAIN()
