/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/trainer/lru.h"

#include <stdio.h>
#include <string.h>

#include "lib/arena.h"
#include "tests/test.h"

static char dropped[64];

static void drop(void *argument, void *value)
{
    (void)argument;
    strcat(dropped, value);
}

static struct lru lru_of(size_t bytes_max)
{
    dropped[0] = '\0';
    return (struct lru){.bytes_max = bytes_max, .drop = drop};
}

/* Not in use afterwards. */
static void add(struct lru *lru, const char *name, size_t bytes)
{
    REQUIRE(lru_make_room(lru, bytes));
    lru_add(lru, name, (void *)name, bytes); /* the value is the name */
    lru_give(lru, name);
}

TEST(the_longest_unused_value_leaves_first)
{
    struct lru lru = lru_of(30);
    add(&lru, "a", 10);
    add(&lru, "b", 10);
    add(&lru, "c", 10);
    EXPECT_STR("a", lru_take(&lru, "a"));
    lru_give(&lru, "a");
    add(&lru, "d", 15);
    EXPECT_STR("bc", dropped);
    EXPECT(lru_take(&lru, "b") == NULL);
    EXPECT_I64(25, (int64_t)lru.bytes);
    lru_release(&lru);
    EXPECT_I64(0, lru.count);
}

TEST(what_is_in_use_stays_and_then_there_is_no_room)
{
    struct lru lru = lru_of(30);
    add(&lru, "a", 10);
    EXPECT_STR("a", lru_take(&lru, "a"));
    EXPECT_STR("a", lru_take(&lru, "a"));
    add(&lru, "b", 20);
    EXPECT(!lru_make_room(&lru, 25));
    EXPECT_STR("", dropped); /* nothing went in vain */
    EXPECT(lru_make_room(&lru, 20));
    EXPECT_STR("b", dropped); /* though a was used longer ago */
    lru_give(&lru, "a");
    EXPECT(!lru_make_room(&lru, 25)); /* taken twice, given back once */
    lru_give(&lru, "a");
    EXPECT(lru_make_room(&lru, 25));
    EXPECT_STR("ba", dropped);
    lru_release(&lru);
}

TEST(what_is_larger_than_the_bound_never_fits)
{
    struct lru lru = lru_of(30);
    add(&lru, "a", 30);
    EXPECT(!lru_make_room(&lru, 31));
    EXPECT_STR("", dropped);
    lru_release(&lru);
    EXPECT_STR("a", dropped);
}

TEST(a_thousand_values_are_found_again)
{
    struct lru lru = lru_of(1000);
    static char names[1000][LRU_NAME_SIZE];
    for (int i = 0; i < 1000; i++) {
        snprintf(names[i], sizeof(names[i]), "%d", i);
        add(&lru, names[i], 1);
    }
    for (int i = 0; i < 1000; i++) {
        EXPECT(lru_take(&lru, names[i]) == names[i]);
    }
    lru.drop = drop;
    dropped[0] = '\0';
    for (int i = 0; i < 1000; i++) {
        lru_give(&lru, names[i]);
    }
    EXPECT(lru_make_room(&lru, 3));
    EXPECT_STR("012", dropped);
    mem_free(lru.entries); /* without a thousand names in `dropped` */
}

TEST_MAIN()
