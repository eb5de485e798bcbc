/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/data/pack_parts.h"

#include "lib/rng.h"
#include "tests/test.h"

enum { ROWS = 7, TOKENS = 60 };

static int32_t ids[ROWS][TOKENS];
static int32_t counts[ROWS];

/* Rows that begin with `prompt` common tokens; then every token is the row's own. */
static struct pack_group group_of(const int32_t **rows, int32_t count, int32_t prompt)
{
    for (int32_t r = 0; r < count; r++) {
        for (int32_t i = 0; i < TOKENS; i++) {
            ids[r][i] = i < prompt ? i : 1000 * (r + 1) + i;
        }
        rows[r] = ids[r];
    }
    return (struct pack_group){.ids = rows, .counts = counts, .rows = count};
}

TEST(parts_are_as_many_rows_in_order_as_fit_with_the_prefix)
{
    struct arena arena = {0};
    struct pack_parts parts;
    const int32_t *rows[ROWS];
    for (int32_t r = 0; r < 5; r++) {
        counts[r] = 30;
    }
    struct pack_group group = group_of(rows, 5, 20); /* 20 and five times 10 */
    pack_parts_plan(&arena, &group, 45, &parts);
    EXPECT_I64(20, parts.prefix);
    REQUIRE(parts.count == 3);
    EXPECT_I64(0, parts.row0[0]);
    EXPECT_I64(2, parts.row0[1]);
    EXPECT_I64(4, parts.row0[2]);
    EXPECT_I64(5, parts.row0[3]);
    EXPECT_I64(40, parts.tokens_max);
    struct pack_group part = pack_part(&group, &parts, 1);
    EXPECT_I64(2, part.rows);
    EXPECT(part.ids[0] == rows[2]);
    pack_parts_plan(&arena, &group, 70, &parts);
    EXPECT_I64(1, parts.count);
    EXPECT_I64(70, parts.tokens_max);
    arena_release(&arena);
}

TEST(two_tokens_of_every_row_lie_behind_the_prefix)
{
    struct arena arena = {0};
    struct pack_parts parts;
    const int32_t *rows[ROWS];
    counts[0] = 40;
    counts[1] = 21; /* the prompt and one token */
    struct pack_group group = group_of(rows, 2, 20);
    pack_parts_plan(&arena, &group, 40, &parts);
    EXPECT_I64(19, parts.prefix);
    counts[1] = 1;
    pack_parts_plan(&arena, &group, 40, &parts);
    EXPECT_I64(0, parts.prefix);
    EXPECT_I64(1, parts.count); /* a prefix of the other row: it adds nothing */
    arena_release(&arena);
}

TEST(the_parts_of_random_groups_cover_the_rows_and_fit)
{
    for (uint64_t trial = 0; trial < 500; trial++) {
        struct arena arena = {0};
        struct pack_parts parts;
        const int32_t *rows[ROWS];
        int32_t count = 1 + (int32_t)rng_below(3, 0, 3 * trial, ROWS);
        int32_t prompt = (int32_t)rng_below(3, 1, trial, 30), longest = 0;
        int32_t capacity = 1 + (int32_t)rng_below(3, 2, trial, 120);
        for (int32_t r = 0; r < count; r++) {
            counts[r] = 1 + (int32_t)rng_below(3, 3, ROWS * trial + (uint64_t)r, TOKENS);
            longest = counts[r] > longest ? counts[r] : longest;
        }
        struct pack_group group = group_of(rows, count, prompt);
        pack_parts_plan(&arena, &group, capacity, &parts);
        int32_t next = 0, largest = 0;
        for (int32_t p = 0; p < parts.count; p++) {
            struct pack_group part = pack_part(&group, &parts, p);
            int32_t tokens = pack_group_tokens(&part);
            EXPECT_I64(next, parts.row0[p]);
            EXPECT(part.rows >= 1);
            EXPECT(tokens <= capacity || part.rows == 1 || tokens <= longest);
            largest = tokens > largest ? tokens : largest;
            next += part.rows;
        }
        EXPECT_I64(count, next);
        EXPECT_I64(largest, parts.tokens_max);
        arena_release(&arena);
    }
}

TEST_MAIN()
