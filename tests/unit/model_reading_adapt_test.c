/* SPDX-License-Identifier: Apache-2.0
 *
 * Which rows of a pass use which adapter: over its tokens, its queries and its rewards.
 */
#include "tests/test.h"
#include "worker/model/reading.h"

enum { EOS = 2 };

static const int32_t ids[][4] = {
    {1, 5, 6, 2}, {1, 5, 7, 2}, {3, 4, 2, 0}, {1, 8, 2, 0}, {9, 9, 9, 2}};
static const int32_t *const rows[] = {ids[0], ids[1], ids[2], ids[3], ids[4]};
static const int32_t counts[] = {4, 4, 3, 3, 4};
/* Two rows that share two tokens (6 in all), and three groups of a row: 3, 3 and 4 tokens. */
static const struct pack_group groups[] = {{&rows[0], &counts[0], 2},
                                           {&rows[2], &counts[2], 1},
                                           {&rows[3], &counts[3], 1},
                                           {&rows[4], &counts[4], 1}};

static void expect_range(const struct lora_range *range, int32_t row0, int32_t count,
                         int32_t adapter)
{
    EXPECT_I64(row0, range->row0);
    EXPECT_I64(count, range->rows);
    EXPECT_I64(adapter, range->adapter);
}

static const struct reading_adapters *adapt(struct arena *arena, enum pooling pooling,
                                            const int32_t *adapter_of_group)
{
    struct pack pack;
    struct reading reading;
    pack_build(arena, groups, 4, PACK_SHARED, &pack);
    EXPECT_I64(16, pack.layout.tokens);
    reading_build(arena, &pack, pooling, EOS, NULL, true, true, &reading);
    reading_adapt(arena, &pack, NULL, 2, 8, adapter_of_group, &reading);
    return reading.adapters;
}

TEST(each_group_uses_its_adapter_and_one_without_lies_between)
{
    struct arena arena = {0};
    const struct reading_adapters *it =
        adapt(&arena, POOLING_LAST_TOKEN, (const int32_t[]){0, 0, -1, 1});
    REQUIRE(it->token_ranges == 2 && it->query_ranges == 2 && it->row_ranges == 2);
    expect_range(&it->tokens[0], 0, 9, 0);
    expect_range(&it->tokens[1], 12, 4, 1);
    expect_range(&it->queries[0], 0, 3, 0);
    expect_range(&it->queries[1], 4, 1, 1);
    expect_range(&it->rows[0], 0, 3, 0);
    expect_range(&it->rows[1], 4, 1, 1);
    arena_release(&arena);
}

TEST(an_adapter_that_serves_two_places_has_two_ranges)
{
    struct arena arena = {0};
    const struct reading_adapters *it = adapt(&arena, POOLING_MEAN, (const int32_t[]){1, 0, 1, 1});
    REQUIRE(it->token_ranges == 3 && it->query_ranges == 0 && it->row_ranges == 3);
    expect_range(&it->tokens[0], 0, 6, 1);
    expect_range(&it->tokens[1], 6, 3, 0);
    expect_range(&it->tokens[2], 9, 7, 1);
    expect_range(&it->rows[2], 3, 2, 1);
    arena_release(&arena);
}

TEST_MAIN()
