/* SPDX-License-Identifier: Apache-2.0
 *
 * spec_cells: a recipe and a row of a table.
 */
#include <string.h>

#include "proto/spec.h"
#include "tests/test.h"

#define RECIPE                                                                                     \
    "stage: customize\nfrom: general/hh\ntenant: ${who}\n"                                         \
    "data:\n  train:\n  - dataset: data/${who}.jsonl\n    domain: ${what}\n"

static struct spec_cell cells[3];

static enum status parse_row(struct arena *arena, const char *text, const char *set,
                             struct spec **spec_out, struct error *error)
{
    struct spec_override override;
    struct spec_cells row = {cells, 3};
    if (set != NULL)
        TRY(spec_override_parse(arena, set, &override, error));
    return spec_parse_row(arena, "r.yaml", text, strlen(text), &override, set != NULL, &row,
                          spec_out, error);
}

static void row_of(const char *who, const char *what, const char *seed)
{
    cells[0] = (struct spec_cell){"who", who, false};
    cells[1] = (struct spec_cell){"what", what, false};
    cells[2] = (struct spec_cell){"seed", seed, false};
}

static void refused(const char *text, const char *sentence)
{
    struct arena arena = {0};
    struct error error = {0};
    struct spec *spec = NULL;
    EXPECT_I64(STATUS_USAGE, parse_row(&arena, text, NULL, &spec, &error));
    EXPECT_STR(sentence, error.text);
    arena_release(&arena);
}

TEST(a_cell_stands_where_the_recipe_names_its_column)
{
    struct arena arena = {0};
    struct error error = {0};
    struct spec *spec = NULL;
    row_of("acme", "a \"b\": {c}\n- d #e", "7");
    EXPECT_I64(STATUS_OK, parse_row(&arena, RECIPE, "train.seed=${seed}", &spec, &error));
    REQUIRE(spec != NULL);
    EXPECT_STR("acme", spec->tenant);
    EXPECT_STR("data/acme.jsonl", spec->data.train.items[0].dataset);
    EXPECT_STR("a \"b\": {c}\n- d #e", spec->data.train.items[0].domain); /* a text, no syntax */
    EXPECT_I64(1, spec->data.train.count);
    EXPECT_I64(7, spec->train.seed);
    EXPECT(cells[0].used && cells[1].used && cells[2].used);
    arena_release(&arena);
}

TEST(columns_that_no_value_names_are_not_marked_as_used)
{
    struct arena arena = {0};
    struct error error = {0};
    struct spec *spec;
    row_of("acme", "x", "7");
    EXPECT_I64(STATUS_OK, parse_row(&arena, RECIPE, NULL, &spec, &error));
    EXPECT(cells[0].used && !cells[2].used);
    row_of("acme", "x", "7");
    EXPECT_I64(STATUS_OK, parse_row(&arena, RECIPE, "data.train.domain=law", &spec, &error));
    EXPECT(cells[1].used); /* by the recipe, though --set puts something else there */
    arena_release(&arena);
}

TEST(an_empty_cell_that_is_a_whole_value_leaves_the_field_unset)
{
    struct arena arena = {0};
    struct error error = {0};
    struct spec *spec = NULL;
    row_of("acme", "", "");
    EXPECT_I64(STATUS_OK, parse_row(&arena, RECIPE, "train.seed=${seed}", &spec, &error));
    REQUIRE(spec != NULL);
    EXPECT(spec->data.train.items[0].domain == NULL);
    EXPECT_STR("data/acme.jsonl", spec->data.train.items[0].dataset);
    arena_release(&arena);
}

TEST(two_dollars_are_one_that_means_nothing)
{
    struct arena arena = {0};
    struct error error = {0};
    struct spec *spec = NULL;
    row_of("acme", "x", "7");
    EXPECT_I64(STATUS_OK,
               parse_row(&arena, RECIPE, "data.train.domain=$${who} 5$ $$", &spec, &error));
    REQUIRE(spec != NULL);
    EXPECT_STR("${who} 5$ $$", spec->data.train.items[0].domain);
    arena_release(&arena);
}

TEST(a_cell_meets_the_checks_of_its_field)
{
    row_of("acme", "x", "many");
    refused(RECIPE "train:\n  seed: ${seed}\n",
            "r.yaml:9: train.seed is many: it must be a whole number");
    row_of("Ac me", "x", "7");
    refused(RECIPE, "r.yaml:3: tenant is Ac me: it must be letters, digits, - _ and ., with a "
                    "letter or digit first");
}

TEST(a_column_that_is_not_there_is_named_with_the_nearest)
{
    row_of("acme", "x", "7");
    refused(RECIPE "train: {seed: \"${sede}\"}\n",
            "r.yaml:8: the table has no column \"sede\": did you mean ${seed}?");
    refused(RECIPE "name: ${quite other}\n", "r.yaml:8: the table has no column \"quite other\"");
    refused(RECIPE "name: x${who\n", "r.yaml:8: \"${who\": ${ without its }");
}

TEST_MAIN()
