/* SPDX-License-Identifier: Apache-2.0
 *
 * reward_cache: what was stored comes back to the bit; whatever could change a reward changes the
 * key; a damaged file is a miss.
 */
#include <string.h>

#include "lib/buf.h"
#include "lib/file.h"
#include "tests/model_fixture.h"
#include "tests/test.h"
#include "worker/trainer/reward_cache.h"

static const int32_t tokens[] = {3, 4, 5, 3, 6};
static const struct data_row rows[] = {{.token0 = 0, .tokens = 3}, {.token0 = 3, .tokens = 2}};
static const struct dataset dataset = {
    .row_count = 2, .token_count = 5, .rows = rows, .tokens = tokens};

static struct model *open_model(uint64_t head_seed)
{
    static char dir[FIXTURE_PATH_MAX];
    if (dir[0] == '\0') {
        struct model_config config = fixture_config(ARCHITECTURE_LLAMA);
        fixture_dir(dir);
        fixture_model(dir, &config, &(struct params_heads){.lm_head = true}, 1);
    }
    return model_fixture_open(dir, &(struct model_open_options){
                                       .need_score = true, .init_score = true, .seed = head_seed});
}

static void key_of(uint64_t head_seed, enum pooling pooling, const struct dataset *of,
                   char key[SHA256_HEX_SIZE])
{
    struct model *model = open_model(head_seed);
    if (model != NULL) {
        reward_cache_key(model, pooling, of, key);
    }
    model_free(model);
}

TEST(what_is_stored_under_a_key_comes_back_to_the_bit)
{
    char dir[FIXTURE_PATH_MAX];
    fixture_dir(dir);
    const float stored[] = {0.1f, -2.5f};
    float loaded[2] = {0};
    EXPECT(!reward_cache_load(dir, "a", loaded, 2));
    reward_cache_store(dir, "a", stored, 2);
    REQUIRE(reward_cache_load(dir, "a", loaded, 2));
    EXPECT_BYTES(stored, loaded, sizeof(stored));
    EXPECT(!reward_cache_load(dir, "b", loaded, 2));
    EXPECT(!reward_cache_load(NULL, "a", loaded, 2));
}

TEST(a_damaged_file_or_one_of_another_length_is_a_miss_and_writes_nothing)
{
    char dir[FIXTURE_PATH_MAX], path[FIXTURE_PATH_MAX];
    fixture_dir(dir);
    const float stored[] = {0.1f, -2.5f};
    float loaded[3] = {7, 7, 7};
    reward_cache_store(dir, "a", stored, 2);
    EXPECT(!reward_cache_load(dir, "a", loaded, 1));
    EXPECT(!reward_cache_load(dir, "a", loaded, 3));
    path_join(path, sizeof(path), dir, "rewards/a");
    struct buf file = {0};
    REQUIRE(file_read(path, 4096, &file, NULL) == STATUS_OK);
    file.data[file.length - 1] ^= 1;
    REQUIRE(file_write_atomic(path, file.data, file.length, NULL) == STATUS_OK);
    buf_release(&file);
    EXPECT(!reward_cache_load(dir, "a", loaded, 2));
    EXPECT_BYTES(((const float[]){7, 7, 7}), loaded, sizeof(loaded));
}

TEST(the_key_changes_with_head_pooling_rows_and_their_borders_and_with_nothing_else)
{
    char key[SHA256_HEX_SIZE], other[SHA256_HEX_SIZE];
    key_of(1, POOLING_LAST_TOKEN, &dataset, key);
    key_of(1, POOLING_LAST_TOKEN, &dataset, other);
    EXPECT_STR(key, other);
    key_of(2, POOLING_LAST_TOKEN, &dataset, other);
    EXPECT(strcmp(key, other) != 0);
    key_of(1, POOLING_BEFORE_EOS, &dataset, other);
    EXPECT(strcmp(key, other) != 0);
    static const int32_t changed[] = {3, 4, 5, 3, 7};
    struct dataset another = dataset;
    another.tokens = changed;
    key_of(1, POOLING_LAST_TOKEN, &another, other);
    EXPECT(strcmp(key, other) != 0);
    static const struct data_row moved[] = {{.token0 = 0, .tokens = 2}, {.token0 = 2, .tokens = 3}};
    another = dataset;
    another.rows = moved;
    key_of(1, POOLING_LAST_TOKEN, &another, other);
    EXPECT(strcmp(key, other) != 0);
}

TEST_MAIN()
