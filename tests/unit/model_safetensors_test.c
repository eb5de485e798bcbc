/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/file.h"
#include "lib/limits.h"
#include "tests/model_fixture.h"
#include "tests/test.h"
#include "worker/model/half.h"
#include "worker/model/safetensors.h"

/* A header over `data_size` zero bytes must be refused with a sentence that holds `word`. */
static void expect_refused(const char *header, size_t data_size, enum status expected,
                           const char *word)
{
    static unsigned char file[1 << 16];
    size_t size = fixture_safetensors(header, data_size, file, sizeof(file));
    struct safetensors set;
    struct error error = {0};
    enum status status = safetensors_open_memory("f.safetensors", file, size, &set, &error);
    EXPECT_STR(status_name(expected), status_name(status));
    EXPECT_CONTAINS(word, error.text);
    EXPECT_CONTAINS("f.safetensors", error.text);
    if (status == STATUS_OK) {
        safetensors_close(&set);
    }
}

#define A_F32(shape, begin, end)                                                                   \
    "{\"a\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}}"

TEST(a_sound_file_is_read)
{
    static unsigned char file[4096];
    const char *header = "{\"__metadata__\":{\"format\":\"pt\"},"
                         "\"b\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[8,12]},"
                         "\"a\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]},"
                         "\"s\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[12,14]}}";
    size_t size = fixture_safetensors(header, 14, file, sizeof(file));
    unsigned char *data = file + size - 14;
    const float a[2] = {1.5f, -2};
    const uint16_t b[2] = {0x3c00, 0x0001};
    memcpy(data, a, 8);
    memcpy(data + 8, b, 4);
    memcpy(data + 12, &(uint16_t){0xc040}, 2);
    struct safetensors set;
    struct error error;
    REQUIRE(safetensors_open_memory("f", file, size, &set, &error) == STATUS_OK);
    EXPECT_I64(3, set.count);
    float got[2];
    const struct safetensor *tensor = safetensors_find(&set, "a");
    REQUIRE(tensor != NULL && tensor->rank == 2 && tensor->elements == 2);
    safetensors_read(tensor, 1, 1, got);
    EXPECT(got[0] == -2);
    safetensors_read(safetensors_find(&set, "b"), 0, 2, got);
    EXPECT(got[0] == 1 && got[1] == 0x1p-24f);
    safetensors_read(safetensors_find(&set, "s"), 0, 1, got);
    EXPECT(got[0] == -3);
    EXPECT(safetensors_find(&set, "c") == NULL);
    safetensors_close(&set);
}

TEST(a_header_that_lies_is_refused)
{
    expect_refused("", 0, STATUS_FORMAT, "begin with '{'");
    expect_refused("[1]", 0, STATUS_FORMAT, "begin with '{'");
    expect_refused("{\"a\":", 0, STATUS_FORMAT, "f.safetensors:1:");
    expect_refused("{\"a\":{},\"a\":{}}", 0, STATUS_FORMAT, "duplicate key \"a\"");
    expect_refused("{\"\\u00ff\xff\":{}}", 0, STATUS_FORMAT, "f.safetensors:1:");
    expect_refused("{\"a\":[]}", 0, STATUS_FORMAT, "tensor a");
    expect_refused("{\"__metadata__\":{\"x\":1}}", 0, STATUS_FORMAT, "__metadata__");
    expect_refused("{\"\":{}}", 0, STATUS_FORMAT, "name");
    expect_refused("{\"a\\nb\":{}}", 0, STATUS_FORMAT, "control");
    expect_refused("{\"a\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8,
                   STATUS_UNSUPPORTED, "tensor a is I64");
    expect_refused("{\"a\":{\"dtype\":3,\"shape\":[1],\"data_offsets\":[0,8]}}", 8, STATUS_FORMAT,
                   "dtype");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4,
                   STATUS_FORMAT, "tensor a");
}

TEST(a_shape_that_lies_is_refused)
{
    expect_refused(A_F32("[0]", "0", "0"), 0, STATUS_FORMAT, "dimension 0");
    expect_refused(A_F32("[2,-1]", "0", "8"), 8, STATUS_FORMAT, "dimension 1");
    expect_refused(A_F32("[1.5]", "0", "4"), 4, STATUS_FORMAT, "dimension 0");
    expect_refused(A_F32("{}", "0", "4"), 4, STATUS_FORMAT, "shape");
    expect_refused(A_F32("[1,1,1,1,1,1,1,1,1]", "0", "4"), 4, STATUS_FORMAT, "at most 8");
    expect_refused(A_F32("[4294967296,4294967296]", "0", "4"), 4, STATUS_FORMAT, "overflows");
    expect_refused(A_F32("[4611686018427387904]", "0", "0"), 0, STATUS_FORMAT, "overflows");
    expect_refused(A_F32("[3]", "0", "8"), 8, STATUS_FORMAT, "[3] of F32 takes 12");
}

TEST(ranges_must_cover_the_file_exactly)
{
    expect_refused(A_F32("[2]", "0", "8"), 4, STATUS_FORMAT, "truncated");
    expect_refused(A_F32("[2]", "0", "8"), 9, STATUS_FORMAT, "1 bytes behind the last tensor");
    expect_refused(A_F32("[1]", "4", "8"), 8, STATUS_FORMAT, "hole");
    expect_refused(A_F32("[1]", "4", "0"), 8, STATUS_FORMAT, "[begin, end]");
    expect_refused(A_F32("[1]", "-4", "0"), 8, STATUS_FORMAT, "[begin, end]");
    expect_refused("{}", 1, STATUS_FORMAT, "behind the last tensor");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                   "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
                   12, STATUS_FORMAT, "overlapping");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                   "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}",
                   12, STATUS_FORMAT, "hole");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                   "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                   4, STATUS_FORMAT, "overlapping");
}

TEST(every_truncation_is_refused)
{
    static unsigned char file[4096];
    size_t size = fixture_safetensors(A_F32("[4]", "0", "16"), 16, file, sizeof(file));
    for (size_t cut = 0; cut < size; cut++) {
        /* A heap copy of the very size lets the sanitizer see a read beyond it. */
        unsigned char *copy = malloc(cut > 0 ? cut : 1);
        memcpy(copy, file, cut);
        struct safetensors set;
        struct error error;
        EXPECT(safetensors_open_memory("f", copy, cut, &set, &error) != STATUS_OK);
        free(copy);
    }
}

TEST(a_huge_header_length_is_refused_before_anything_is_read)
{
    unsigned char file[16] = {0};
    struct safetensors set;
    struct error error;
    memset(file, 0xff, 8);
    EXPECT(safetensors_open_memory("f", file, sizeof(file), &set, &error) == STATUS_LIMIT);
    EXPECT_CONTAINS("18446744073709551615", error.text);
    memset(file, 0, 8);
    file[3] = 2; /* 32 MiB */
    EXPECT(safetensors_open_memory("f", file, sizeof(file), &set, &error) == STATUS_LIMIT);
}

TEST(halves_widen_and_round_to_nearest_even)
{
    for (uint32_t bits = 0; bits < 65536; bits++) {
        float f16 = half_f16_widen((uint16_t)bits);
        float bf16 = half_bf16_widen((uint16_t)bits);
        if (!isnan(f16)) {
            EXPECT_I64(bits, half_f16_round(f16));
        } else {
            EXPECT(isnan(half_f16_widen(half_f16_round(f16))));
        }
        if (!isnan(bf16)) {
            EXPECT_I64(bits, half_bf16_round(bf16));
        } else {
            EXPECT(isnan(half_bf16_widen(half_bf16_round(bf16))));
        }
    }
    EXPECT_I64(0x3c00, half_f16_round(1 + 0x1p-11f));     /* tie to even: down */
    EXPECT_I64(0x3c02, half_f16_round(1 + 3 * 0x1p-11f)); /* tie to even: up */
    EXPECT_I64(0x3c01, half_f16_round(1 + 0x1p-11f + 0x1p-20f));
    EXPECT_I64(0x7bff, half_f16_round(65519));
    EXPECT_I64(0x7c00, half_f16_round(65520));
    EXPECT_I64(0x0000, half_f16_round(0x1p-25f));
    EXPECT_I64(0x0001, half_f16_round(0x1.8p-25f));
    EXPECT_I64(0x0400, half_f16_round(0x1p-14f - 0x1p-26f)); /* carries into a normal number */
    EXPECT_I64(0x8000, half_f16_round(-0.0f));
    EXPECT_I64(0x3f80, half_bf16_round(1 + 0x1p-8f));
    EXPECT_I64(0x3f82, half_bf16_round(1 + 3 * 0x1p-8f));
}

TEST(finite_prefix_finds_the_first)
{
    float values[5] = {0, -1, 3e38f, INFINITY, NAN};
    EXPECT_I64(3, finite_prefix(values, 5));
    EXPECT_I64(3, finite_prefix(values, 3));
    values[1] = NAN;
    EXPECT_I64(1, finite_prefix(values, 5));
}

/* ---- writing -------------------------------------------------------------------------------- */

static void source_ramp(void *context, const struct safetensors_entry *entry, size_t first,
                        size_t count, float *out)
{
    const float *scale = entry->source;
    (void)context;
    for (size_t i = 0; i < count; i++) {
        out[i] = *scale * (float)(first + i);
    }
}

static enum status ramps_write(const char *path, enum weight_dtype dtype, float scale,
                               struct error *error)
{
    static float scales[2];
    scales[0] = 1;
    scales[1] = scale;
    struct safetensors_entry entries[2] = {
        {.name = "z", .rank = 2, .shape = {3, 5}, .source = &scales[0]},
        {.name = "a", .rank = 1, .shape = {1100000}, .source = &scales[1]},
    };
    return safetensors_write(path, entries, 2, dtype, source_ramp, NULL, error);
}

TEST(what_is_written_is_read_back_and_aligned)
{
    char dir[FIXTURE_PATH_MAX];
    fixture_dir(dir);
    static const enum weight_dtype dtypes[] = {WEIGHT_DTYPE_F32, WEIGHT_DTYPE_BF16,
                                               WEIGHT_DTYPE_F16};
    for (size_t i = 0; i < 3; i++) {
        struct error error;
        struct safetensors set;
        const char *path = model_fixture_path(dir, "w.safetensors");
        REQUIRE(ramps_write(path, dtypes[i], 0x1p-20f, &error) == STATUS_OK);
        REQUIRE(safetensors_open(path, &set, &error) == STATUS_OK);
        const struct safetensor *a = safetensors_find(&set, "a");
        const struct safetensor *z = safetensors_find(&set, "z");
        REQUIRE(a != NULL && z != NULL && a->dtype == dtypes[i]);
        EXPECT_I64(0, (uintptr_t)a->data % 64);
        EXPECT(a->data < z->data);
        float got[15];
        safetensors_read(z, 0, 15, got);
        EXPECT(got[14] == 14);
        safetensors_read(a, 1048576, 1, got); /* behind the writer's first piece */
        EXPECT(got[0] == 1);
        safetensors_close(&set);
    }
}

TEST(a_value_that_does_not_fit_is_refused_and_leaves_no_file)
{
    char dir[FIXTURE_PATH_MAX];
    fixture_dir(dir);
    struct error error;
    const char *path = model_fixture_path(dir, "w.safetensors");
    EXPECT(ramps_write(path, WEIGHT_DTYPE_F16, 1, &error) == STATUS_NUMERIC);
    EXPECT_CONTAINS("tensor a, element 65520", error.text);
    EXPECT(ramps_write(path, WEIGHT_DTYPE_F32, NAN, &error) == STATUS_NUMERIC);
    EXPECT_CONTAINS("tensor a, element 0", error.text);
    EXPECT(!file_exists(path));
    EXPECT(dir_remove(dir, NULL) == STATUS_OK && dir_create(dir, NULL) == STATUS_OK);
}

TEST(a_failed_fsync_leaves_the_old_file)
{
    char dir[FIXTURE_PATH_MAX];
    fixture_dir(dir);
    struct error error;
    struct safetensors set;
    const char *path = model_fixture_path(dir, "w.safetensors");
    REQUIRE(ramps_write(path, WEIGHT_DTYPE_BF16, 2, &error) == STATUS_OK);
    setenv("TAILOR_FAIL", "safetensors_fsync:1", 1);
    EXPECT(ramps_write(path, WEIGHT_DTYPE_F32, 1, &error) == STATUS_IO);
    unsetenv("TAILOR_FAIL");
    REQUIRE(safetensors_open(path, &set, &error) == STATUS_OK);
    EXPECT(set.tensors[0].dtype == WEIGHT_DTYPE_BF16);
    safetensors_close(&set);
}

/* ---- shards --------------------------------------------------------------------------------- */

static void shard_write(const char *dir, const char *name, const char *tensor)
{
    static const float one = 1;
    struct safetensors_entry entry = {.name = tensor, .rank = 1, .shape = {4}, .source = &one};
    EXPECT(safetensors_write(model_fixture_path(dir, name), &entry, 1, WEIGHT_DTYPE_F32,
                             source_ramp, NULL, NULL) == STATUS_OK);
}

static enum status shards_open(const char *dir, const char *index, struct error *error)
{
    struct safetensors set;
    model_fixture_text(dir, "model.safetensors.index.json", index);
    enum status status = safetensors_open_dir(dir, "model", &set, error);
    if (status == STATUS_OK) {
        EXPECT_I64(2, set.count);
        EXPECT(safetensors_find(&set, "b") != NULL);
        safetensors_close(&set);
    }
    return status;
}

TEST(shards_are_one_set_and_must_agree_with_their_index)
{
    char dir[FIXTURE_PATH_MAX];
    fixture_dir(dir);
    struct error error;
    shard_write(dir, "1.safetensors", "a");
    shard_write(dir, "2.safetensors", "b");
    shard_write(dir, "3.safetensors", "a");
#define MAP(x) "{\"metadata\":{\"total_size\":32},\"weight_map\":{" x "}}"
    EXPECT(shards_open(dir, MAP("\"a\":\"1.safetensors\",\"b\":\"2.safetensors\""), &error) ==
           STATUS_OK);
    EXPECT(shards_open(dir, MAP("\"a\":\"1.safetensors\",\"b\":\"1.safetensors\""), &error) ==
           STATUS_FORMAT);
    EXPECT_CONTAINS("tensor b is listed", error.text);
    EXPECT(shards_open(dir, MAP("\"a\":\"1.safetensors\",\"c\":\"2.safetensors\""), &error) ==
           STATUS_FORMAT);
    EXPECT_CONTAINS("tensor b", error.text);
    EXPECT(shards_open(dir, MAP("\"a\":\"1.safetensors\",\"b\":\"3.safetensors\""), &error) ==
           STATUS_FORMAT);
    EXPECT_CONTAINS("tensor a is in", error.text);
    EXPECT(shards_open(dir, MAP("\"a\":\"1.safetensors\",\"b\":\"9.safetensors\""), &error) ==
           STATUS_NOT_FOUND);
    EXPECT(shards_open(dir, MAP("\"a\":\"../x/1.safetensors\""), &error) == STATUS_FORMAT);
    EXPECT(shards_open(dir, MAP("\"a\":\"1.bin\""), &error) == STATUS_FORMAT);
    EXPECT(shards_open(dir, MAP("\"a\":7"), &error) == STATUS_FORMAT);
    EXPECT(shards_open(dir, MAP(""), &error) == STATUS_FORMAT);
    EXPECT(shards_open(dir, "[]", &error) == STATUS_FORMAT);
}

TEST_MAIN()
