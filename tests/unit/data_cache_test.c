/* SPDX-License-Identifier: Apache-2.0
 *
 * The token cache: what is found again, what is not, and what happens to damaged files.
 */
#include <dirent.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/file.h"
#include "lib/limits.h"
#include "tests/data_fixture.h"
#include "tests/test.h"
#include "worker/data/dataset_image.h"
#include "worker/data/dataset_storage.h"

static const char TEXT[] = "{\"prompt\":\"p\",\"chosen\":\"c\",\"rejected\":\"r\",\"id\":1}\n"
                           "{\"prompt\":\"q\",\"chosen\":\"c\",\"rejected\":\"\"}\n";

static struct data_source source;
static struct text_format format;
static const char *dir;

static void start(const char *name)
{
    dir = fixture_path(name);
    format = fixture_format();
    source = (struct data_source){.path = fixture_write("f.jsonl", TEXT)};
}

static bool from_cache(const struct fixture_data *data)
{
    return ((const struct dataset_storage *)data->dataset->storage)->map.data != NULL;
}

/* Files in the cache directory; the name of one of them. */
static int files(char path_out[PATH_MAX])
{
    DIR *entries = opendir(dir);
    int count = 0;
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        if (entry->d_name[0] != '.') {
            path_join(path_out, PATH_MAX, dir, entry->d_name);
            count++;
        }
    }
    if (entries != NULL) {
        closedir(entries);
    }
    return count;
}

static void expect_same(const struct fixture_data *a, const struct fixture_data *b)
{
    const struct dataset *x = a->dataset, *y = b->dataset;
    EXPECT_I64(x->group_count, y->group_count);
    EXPECT_BYTES(x->groups, y->groups, sizeof(*x->groups) * (size_t)x->group_count);
    EXPECT_BYTES(x->rows, y->rows, sizeof(*x->rows) * (size_t)x->row_count);
    EXPECT_BYTES(x->tokens, y->tokens, sizeof(*x->tokens) * (size_t)x->token_count);
    EXPECT_STR(x->digest, y->digest);
    EXPECT_BYTES(a->report, b->report, sizeof(*a->report));
}

TEST(the_second_opening_comes_from_the_cache_with_its_report)
{
    start("hit");
    char path[PATH_MAX];
    struct fixture_data built = fixture_open(&source, &format, dir);
    REQUIRE(built.dataset != NULL);
    EXPECT(!from_cache(&built));
    EXPECT_I64(1, files(path));
    struct fixture_data cached = fixture_open(&source, &format, dir);
    REQUIRE(cached.dataset != NULL);
    EXPECT(from_cache(&cached));
    expect_same(&built, &cached);
    const int64_t *lines;
    EXPECT_I64(1, admission_listed(cached.admission, 0, FINDING_EMPTY, &lines));
    EXPECT_I64(2, lines[0]);
    fixture_close(&built);
    fixture_close(&cached);
}

TEST(without_a_cache_nothing_is_written_and_nothing_differs)
{
    start("none");
    char path[PATH_MAX];
    struct fixture_data plain = fixture_open(&source, &format, NULL);
    EXPECT_I64(0, files(path));
    struct fixture_data built = fixture_open(&source, &format, dir);
    REQUIRE(plain.dataset != NULL && built.dataset != NULL);
    expect_same(&plain, &built);
    fixture_close(&plain);
    fixture_close(&built);
}

/* Opens, and expects that this changed nothing in the cache, or added a file. */
static void expect_files(int count)
{
    char path[PATH_MAX];
    struct fixture_data data = fixture_open(&source, &format, dir);
    EXPECT(data.dataset != NULL);
    EXPECT_I64(count, files(path));
    fixture_close(&data);
}

TEST(whatever_changes_tokens_changes_the_key_and_nothing_else_does)
{
    start("key");
    expect_files(1);
    format.pooling = POOLING_MEAN;
    expect_files(1);
    format.max_length = 100;
    expect_files(2);
    format.overlong = OVERLONG_TRUNCATE_LEFT;
    expect_files(3);
    format.template_kind = TEMPLATE_PLAIN;
    expect_files(4);
    source.limit = 1;
    expect_files(5);
    source.columns.margin = "id";
    expect_files(6);
    source.name = "another name";
    expect_files(6);
    source.path = fixture_write("copy.jsonl", TEXT);
    expect_files(6);
    source.path = fixture_write("copy.jsonl", "{\"chosen\":\"a\",\"rejected\":\"b\"}\n");
    source.columns.margin = NULL;
    expect_files(7);
}

TEST(names_are_those_of_this_opening)
{
    start("names");
    struct fixture_data data = fixture_open(&source, &format, dir);
    fixture_close(&data);
    source.name = "other";
    data = fixture_open(&source, &format, dir);
    REQUIRE(data.dataset != NULL);
    EXPECT(from_cache(&data));
    EXPECT_STR("other", data.dataset->source_names[0]);
    EXPECT_STR("other", data.report->name);
    fixture_close(&data);
}

/* The damaged file must be ignored, the dataset be right, and the file be whole again. */
static void expect_rebuilt(const struct fixture_data *good, const char *path, const char *bytes,
                           size_t size)
{
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
    struct fixture_data data = fixture_open(&source, &format, dir);
    REQUIRE(data.dataset != NULL);
    EXPECT(!from_cache(&data));
    expect_same(good, &data);
    fixture_close(&data);
    data = fixture_open(&source, &format, dir);
    EXPECT(data.dataset != NULL && from_cache(&data));
    fixture_close(&data);
}

TEST(a_damaged_file_is_ignored_and_built_again)
{
    start("damage");
    char path[PATH_MAX];
    struct buf bytes = {0};
    struct fixture_data good = fixture_open(&source, &format, dir);
    REQUIRE(good.dataset != NULL && files(path) == 1);
    REQUIRE(file_read(path, 16 * MIB, &bytes, NULL) == STATUS_OK);
    for (size_t at = 0; at < bytes.length; at += at < 512 ? 1 : 997) {
        bytes.data[at] ^= 0x10;
        expect_rebuilt(&good, path, bytes.data, bytes.length);
        bytes.data[at] ^= 0x10;
    }
    size_t cuts[] = {0, 1, 100, 300, bytes.length / 2, bytes.length - 1};
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        expect_rebuilt(&good, path, bytes.data, cuts[i]);
    }
    buf_append_char(&bytes, 'x');
    expect_rebuilt(&good, path, bytes.data, bytes.length);
    fixture_close(&good);
    buf_release(&bytes);
}

TEST(a_file_under_a_strangers_name_is_not_taken)
{
    start("stranger");
    char first[PATH_MAX], second[PATH_MAX];
    struct buf bytes = {0};
    struct fixture_data data = fixture_open(&source, &format, dir);
    REQUIRE(data.dataset != NULL && files(first) == 1);
    REQUIRE(file_read(first, 16 * MIB, &bytes, NULL) == STATUS_OK);
    fixture_close(&data);
    REQUIRE(unlink(first) == 0);
    source.limit = 1;
    data = fixture_open(&source, &format, dir);
    REQUIRE(data.dataset != NULL && files(second) == 1);
    EXPECT(strcmp(first, second) != 0);
    expect_rebuilt(&data, second, bytes.data, bytes.length);
    fixture_close(&data);
    buf_release(&bytes);
}

/* Reads all that an accepted image points to: a sanitizer sees a step outside. */
static uint64_t image_walk(const void *image)
{
    struct dataset dataset = {0};
    struct admission *admission;
    uint64_t sum = 0;
    image_attach(image, &dataset, &admission);
    for (int64_t g = 0; g < dataset.group_count; g++) {
        const struct data_group *group = &dataset.groups[g];
        sum += (uint64_t)admission_source(admission, group->source)->rows;
        for (int32_t k = 0; k < group->rows; k++) {
            const struct data_row *row = &dataset.rows[group->row0 + k];
            for (int32_t i = 0; i < row->tokens; i++) {
                EXPECT(dataset.tokens[row->token0 + i] < 258);
                sum += (uint64_t)dataset.tokens[row->token0 + i];
            }
        }
    }
    admission_free(admission);
    return sum;
}

TEST(bytes_that_someone_made_up_lead_nowhere)
{
    enum { DIGEST_AT = 32, BODY_AT = 192 };
    start("forged");
    char path[PATH_MAX], key[SHA256_HEX_SIZE] = "", digest[SHA256_HEX_SIZE];
    struct buf bytes = {0};
    struct fixture_data data = fixture_open(&source, &format, dir);
    REQUIRE(data.dataset != NULL && files(path) == 1);
    fixture_close(&data);
    memcpy(key, path_base(path), SHA256_HEX_SIZE - 1);
    REQUIRE(file_read(path, 16 * MIB, &bytes, NULL) == STATUS_OK);
    sha256_hex(bytes.data + BODY_AT, bytes.length - BODY_AT, digest);
    EXPECT_BYTES(digest, bytes.data + DIGEST_AT, sizeof(digest));
    void *image = mem_alloc(bytes.length); /* exactly its size, so that a read behind it is seen */
    uint64_t sum = 0, accepted = 0;
    for (size_t at = BODY_AT; at < bytes.length; at++) {
        static const char forgeries[] = {'\x01', '\x80', '\x7f', '\xff'};
        char was = bytes.data[at];
        for (size_t i = 0; i < sizeof(forgeries); i++) {
            bytes.data[at] = (char)(was ^ forgeries[i]);
            sha256_hex(bytes.data + BODY_AT, bytes.length - BODY_AT, bytes.data + DIGEST_AT);
            memcpy(image, bytes.data, bytes.length);
            if (image_check(image, bytes.length, key, 258) == NULL) {
                sum += image_walk(image);
                accepted++;
            }
        }
        bytes.data[at] = was;
    }
    EXPECT(accepted > 0 && sum != 0); /* a score, a margin, a count: nothing leads from them */
    mem_free(image);
    buf_release(&bytes);
}

TEST(a_cache_that_cannot_be_written_costs_nothing_but_time)
{
    start("file-in-the-way");
    fixture_write("file-in-the-way", "not a directory");
    struct fixture_data data = fixture_open(&source, &format, dir);
    REQUIRE(data.dataset != NULL);
    EXPECT_I64(2, data.dataset->group_count);
    fixture_close(&data);
}

TEST(data_of_which_nothing_is_left_are_cached_too)
{
    start("nothing");
    format.max_length = 4;
    struct fixture_data data = fixture_open(&source, &format, dir);
    REQUIRE(data.dataset != NULL);
    EXPECT_I64(0, data.dataset->group_count);
    fixture_close(&data);
    data = fixture_open(&source, &format, dir);
    REQUIRE(data.dataset != NULL);
    EXPECT(from_cache(&data));
    EXPECT_I64(2, data.report->findings[FINDING_OVERLONG]);
    fixture_close(&data);
}

TEST_MAIN()
