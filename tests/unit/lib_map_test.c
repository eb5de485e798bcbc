/* SPDX-License-Identifier: Apache-2.0
 *
 * map and hash_bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/map.h"
#include "tests/test.h"

TEST(a_key_is_put_once)
{
    struct map *map = map_create(0);
    uint64_t value = 0;
    EXPECT(!map_get(map, "a", 1, &value));
    EXPECT(map_put(map, "a", 1, 5, NULL));
    uint64_t *place = NULL;
    EXPECT(!map_put(map, "a", 1, 6, &place));
    EXPECT_I64(5, (int64_t)*place);
    *place = 7;
    EXPECT(map_get(map, "a", 1, &value) && value == 7);
    EXPECT(map_get(map, "a", 1, NULL));
    EXPECT_I64(1, (int64_t)map_count(map));
    map_free(map);
    map_free(NULL);
}

TEST(keys_are_bytes_and_are_copied)
{
    struct map *map = map_create(4);
    char key[] = "a\0b";
    EXPECT(map_put(map, key, 3, 1, NULL));
    EXPECT(map_put(map, key, 1, 2, NULL));
    EXPECT(map_put(map, NULL, 0, 3, NULL));
    EXPECT(!map_put(map, "", 0, 4, NULL));
    key[0] = 'z';
    uint64_t value = 0;
    EXPECT(map_get(map, "a\0b", 3, &value) && value == 1);
    EXPECT(map_get(map, "a", 1, &value) && value == 2);
    EXPECT(map_get(map, "", 0, &value) && value == 3);
    EXPECT(!map_get(map, key, 3, NULL));
    map_free(map);
}

TEST(a_grown_map_keeps_every_key_in_order)
{
    enum { COUNT = 100000 };
    struct map *map = map_create(10);
    char key[32];
    for (int i = 0; i < COUNT; i++) {
        int length = snprintf(key, sizeof(key), "key %d", i * 7);
        uint64_t *place = NULL;
        EXPECT(map_put(map, key, (size_t)length, (uint64_t)i, &place) && *place == (uint64_t)i);
    }
    EXPECT_I64(COUNT, (int64_t)map_count(map));
    for (int i = 0; i < COUNT; i++) {
        int length = snprintf(key, sizeof(key), "key %d", i * 7);
        uint64_t value = 0;
        EXPECT(map_get(map, key, (size_t)length, &value) && value == (uint64_t)i);
        size_t stored = 0;
        const char *text = map_at(map, (size_t)i, &stored, &value);
        EXPECT(strcmp(text, key) == 0 && stored == (size_t)length && value == (uint64_t)i);
    }
    EXPECT(!map_get(map, "key 1", 5, NULL));
    EXPECT_STR("key 0", map_at(map, 0, NULL, NULL));
    map_free(map);
}

TEST(the_hash_is_a_fixed_function_of_bytes_and_seed)
{
    /* Stream numbers are made of it (rng_stream), so it may never change. */
    EXPECT(hash_bytes("", 0, 0) == hash_bytes(NULL, 0, 0));
    EXPECT(hash_bytes("lora_A", 6, 0) == UINT64_C(0x23ce4b106893a20b));
    EXPECT(hash_bytes("0123456789abcdef", 16, 1) == UINT64_C(0xaf7129820f0e8428));
    EXPECT(hash_bytes("lora_A", 6, 0) != hash_bytes("lora_A", 6, 1));
    EXPECT(hash_bytes("a", 1, 0) != hash_bytes("a\0", 2, 0));
}

TEST(flipping_any_bit_flips_half_of_the_hash)
{
    unsigned char bytes[24] = {0};
    double flipped = 0;
    for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
        uint64_t before = hash_bytes(bytes, sizeof(bytes), 9);
        bytes[bit / 8] ^= (unsigned char)(1 << (bit % 8));
        int changed = __builtin_popcountll(before ^ hash_bytes(bytes, sizeof(bytes), 9));
        EXPECT(changed > 10 && changed < 54);
        flipped += changed;
    }
    EXPECT_CLOSE(32, flipped / (sizeof(bytes) * 8), 1.0);
}

TEST_MAIN()
