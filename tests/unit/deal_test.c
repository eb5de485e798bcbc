/* SPDX-License-Identifier: Apache-2.0
 *
 * deal: for every number of slices and ranks the sum is the very tree of slice_tree, here computed
 * with texts: "((0+1)+(2+3))".
 */
#include <stdio.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/limits.h"
#include "tests/test.h"
#include "worker/trainer/deal.h"

static char *plus(struct arena *arena, const char *a, const char *b)
{
    return arena_printf(arena, "(%s+%s)", a, b);
}

/* What slice_tree does with slices [first, first + count): a binary counter. */
static char *counter_sum(struct arena *arena, int32_t first, int32_t count)
{
    char *text[16];
    int32_t size[16], depth = 0;
    for (int32_t i = 0; i < count; i++) {
        text[depth] = arena_printf(arena, "%d", first + i);
        size[depth++] = 1;
        while (depth > 1 && size[depth - 1] == size[depth - 2]) {
            depth--;
            text[depth - 1] = plus(arena, text[depth - 1], text[depth]);
            size[depth - 1] *= 2;
        }
    }
    for (; depth > 1; depth--) {
        text[depth - 2] = plus(arena, text[depth - 2], text[depth - 1]);
    }
    return text[0];
}

/* The same over ranks: each one's own counter, then the merges. */
static char *dealt_sum(struct arena *arena, const struct deal *deal)
{
    char *x[COMM_WORLD_MAX];
    for (int32_t r = 0; r < deal->ranks; r++) {
        x[r] = counter_sum(arena, deal->part[r].first, deal->part[r].count);
    }
    for (int32_t i = 0; i < deal->order.count; i++) {
        int32_t into = deal->order.merge[i].into, from = deal->order.merge[i].from;
        x[into] = plus(arena, x[into], x[from]);
    }
    return x[0];
}

static const char *shape(struct arena *arena, int32_t slices, int32_t ranks)
{
    struct deal deal;
    deal_slices(slices, ranks, &deal);
    char *text = arena_strdup(arena, "");
    for (int32_t r = 0; r < ranks; r++) {
        text = arena_printf(arena, "%s%s%d", text, r > 0 ? "/" : "", deal.part[r].count);
    }
    return text;
}

TEST(every_number_of_ranks_computes_the_sums_of_one)
{
    for (int32_t slices = 1; slices <= SLICES_MAX; slices++) {
        struct arena arena = {0};
        const char *alone = counter_sum(&arena, 0, slices);
        for (int32_t ranks = 1; ranks <= slices; ranks++) {
            struct deal deal;
            deal_slices(slices, ranks, &deal);
            EXPECT_I64(ranks - 1, deal.order.count);
            EXPECT_STR(alone, dealt_sum(&arena, &deal));
        }
        arena_release(&arena);
    }
}

TEST(every_slice_is_dealt_once_and_every_rank_has_one)
{
    for (int32_t slices = 1; slices <= SLICES_MAX; slices++) {
        for (int32_t ranks = 1; ranks <= slices; ranks++) {
            struct deal deal;
            deal_slices(slices, ranks, &deal);
            int32_t next = 0, most = 0;
            for (int32_t r = 0; r < ranks; r++) {
                EXPECT_I64(next, deal.part[r].first);
                EXPECT(deal.part[r].count >= 1);
                for (int32_t i = 0; i < deal.part[r].count; i++) {
                    EXPECT_I64(r, deal_rank_of(&deal, next + i));
                }
                next += deal.part[r].count;
                most = deal.part[r].count > most ? deal.part[r].count : most;
            }
            EXPECT_I64(slices, next);
            EXPECT_I64(most, deal_most(&deal));
        }
    }
}

TEST(shapes_are_those_of_the_tree)
{
    struct arena arena = {0};
    EXPECT_STR("4", shape(&arena, 4, 1));
    EXPECT_STR("2/2", shape(&arena, 4, 2));
    EXPECT_STR("2/1/1", shape(&arena, 4, 3));
    EXPECT_STR("1/1/1/1", shape(&arena, 4, 4));
    EXPECT_STR("4/2", shape(&arena, 6, 2));
    EXPECT_STR("2/2/2", shape(&arena, 6, 3));
    EXPECT_STR("4/2/2", shape(&arena, 8, 3));
    EXPECT_STR("2/2/3", shape(&arena, 7, 3));
    arena_release(&arena);
}

TEST(the_sum_ends_at_rank_0_and_each_other_rank_gives_its_once)
{
    for (int32_t ranks = 1; ranks <= COMM_WORLD_MAX; ranks++) {
        struct deal deal;
        bool given[COMM_WORLD_MAX] = {false};
        deal_slices(SLICES_MAX, ranks, &deal);
        for (int32_t i = 0; i < deal.order.count; i++) {
            EXPECT(!given[deal.order.merge[i].into]);
            EXPECT(!given[deal.order.merge[i].from]);
            given[deal.order.merge[i].from] = true;
        }
        EXPECT(!given[0]);
    }
}

TEST(every_slice_is_rechecked_in_turn_by_every_other_rank)
{
    struct deal deal;
    bool seen[4][3] = {{false}};
    deal_slices(4, 3, &deal);
    for (int64_t step = 0; step < 800; step++) {
        struct deal_recheck recheck = deal_recheck_at(&deal, step, 100);
        EXPECT((recheck.slice >= 0) == (step % 100 == 0));
        if (recheck.slice >= 0) {
            EXPECT_I64(deal_rank_of(&deal, recheck.slice), recheck.owner);
            EXPECT(recheck.checker != recheck.owner);
            seen[recheck.slice][recheck.checker] = true;
        }
    }
    for (int32_t slice = 0; slice < 4; slice++) {
        int checkers = 0;
        for (int32_t rank = 0; rank < 3; rank++) {
            checkers += seen[slice][rank];
        }
        EXPECT_I64(2, checkers);
    }
    EXPECT_I64(-1, deal_recheck_at(&deal, 100, 0).slice);
    deal_slices(4, 1, &deal);
    EXPECT_I64(-1, deal_recheck_at(&deal, 0, 100).slice);
}

TEST_MAIN()
