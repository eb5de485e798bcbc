/* SPDX-License-Identifier: Apache-2.0
 *
 * json: what is refused and how it is said, the getters, and exact numbers on the way out.
 */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/file.h"
#include "lib/json.h"
#include "lib/rng.h"
#include "tests/test.h"

static json_t *read_text(const char *text)
{
    struct error error = {0};
    json_t *root = NULL;
    if (json_read("t.json", text, strlen(text), &root, &error) != STATUS_OK) {
        test_fail(__FILE__, __LINE__, "expected to read %.200s, got %s", text, error.text);
        return NULL;
    }
    return root;
}

static void refused(const char *text, const char *sentence)
{
    struct error error = {0};
    json_t *root = NULL;
    EXPECT_I64(STATUS_FORMAT, json_read("t.json", text, strlen(text), &root, &error));
    EXPECT(root == NULL);
    EXPECT_CONTAINS(sentence, error.text);
    EXPECT(strncmp(error.text, "t.json:", 7) == 0);
}

TEST(malformed_text_is_refused_with_its_place)
{
    refused("", "t.json:1:1: ");
    refused("{\"a\": 1,}", "t.json:1:");
    refused("{\n  \"a\": 1\n  \"b\": 2\n}", "t.json:3:5: ");
    refused("[1, 2] 3", "end of file expected");
    refused("[1, 2]\n]", "t.json:2:1: ");
    refused("{\"a\": nul}", "t.json:1:9: invalid token");
    refused("[1", "t.json:1:2: ");
    refused("\"abc", "t.json:1:");
    refused("[\"\xff\"]", "unable to decode byte 0xff");
    refused("[\"a\\u0000b\"]", "t.json:1:");
    refused("[\"\\ud800\"]", "t.json:1:");
}

TEST(a_duplicate_key_is_named)
{
    refused("{\"hidden_size\": 1,\n      \"hidden_size\": 2}",
            "t.json:2:19: duplicate key \"hidden_size\"");
    refused("{\"a \\\\\\\"key that is longer than twenty bytes\": 1, "
            "\"a \\\\\\\"key that is longer than twenty bytes\": 1}",
            "duplicate key \"a \\\\\\\"key that is longer than twenty bytes\"");
    refused("{\"\": 1, \"\": 1}", "duplicate key \"\"");
    refused("{\"a\":{\"b\":10000000000000000000000,\"bb\":1,\"bb\":1}}", "duplicate key \"bb\"");
}

TEST(numbers_that_are_not_finite_are_refused)
{
    refused("[NaN]", "t.json:1:");
    refused("[Infinity]", "t.json:1:");
    refused("[1e999]", "t.json:1:");
    refused("[-1e999]", "t.json:1:");
}

TEST(depth_is_bounded)
{
    char text[2 * JSON_DEPTH_MAX + 4];
    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    text[2 * JSON_DEPTH_MAX] = '\0';
    json_decref(read_text(text));
    memset(text, '[', JSON_DEPTH_MAX + 1);
    refused(text, "t.json:1:65: nested deeper than 64");
    json_decref(read_text("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
                          "[[[[[[[[[\\\"[\"]")); /* brackets in a string do not nest */
    char *deep = malloc(1000001);
    REQUIRE(deep != NULL);
    memset(deep, '[', 1000000);
    deep[1000000] = '\0';
    refused(deep, "nested deeper");
    free(deep);
}

TEST(a_value_of_any_kind_may_be_the_root)
{
    json_t *root = read_text(" 3 ");
    EXPECT(json_is_integer(root));
    json_decref(root);
    root = read_text("null");
    EXPECT(json_is_null(root));
    json_decref(root);
}

TEST(integers_beyond_64_bits_are_read_as_reals)
{
    json_t *root = read_text("{\"model_max_length\": 1000000000000000019884624838656, "
                             "\"a\": [9223372036854775807, 9223372036854775808, "
                             "-9223372036854775808, -9223372036854775809], "
                             "\"s\": \"99999999999999999999999\"}");
    REQUIRE(root != NULL);
    double length = 0;
    EXPECT_I64(STATUS_OK, json_get_f64(root, "model_max_length", &length, NULL));
    EXPECT_CLOSE(1e30, length, 0);
    int64_t whole = 0;
    EXPECT_I64(STATUS_FORMAT, json_get_i64(root, "model_max_length", 0, INT64_MAX, &whole, NULL));
    const json_t *list = json_object_get(root, "a");
    EXPECT(json_integer_value(json_array_get(list, 0)) == INT64_MAX);
    EXPECT_CLOSE(0x1p63, json_real_value(json_array_get(list, 1)), 0);
    EXPECT(json_integer_value(json_array_get(list, 2)) == INT64_MIN);
    EXPECT(json_is_real(json_array_get(list, 3)));
    EXPECT_STR("99999999999999999999999", json_string_value(json_object_get(root, "s")));
    json_decref(root);
    root = read_text("123456789012345678901234567890");
    EXPECT_CLOSE(123456789012345678901234567890.0, json_real_value(root), 0);
    json_decref(root);
}

TEST(integers_come_from_integers_integral_reals_and_strings)
{
    json_t *root = read_text("{\"a\": 5, \"b\": 2.0, \"c\": \"17\", \"d\": null, \"e\": 2.5, "
                             "\"f\": \"17 \", \"g\": true, \"h\": [1, 2], \"i\": 1e300}");
    REQUIRE(root != NULL);
    int64_t value = 99;
    EXPECT_I64(STATUS_OK, json_get_i64(root, "a", 0, 10, &value, NULL));
    EXPECT_I64(5, value);
    EXPECT_I64(STATUS_OK, json_get_i64(root, "b", 0, 10, &value, NULL));
    EXPECT_I64(2, value);
    EXPECT_I64(STATUS_OK, json_get_i64(root, "c", 0, 100, &value, NULL));
    EXPECT_I64(17, value);
    value = 99;
    EXPECT_I64(STATUS_OK, json_get_i64(root, "d", 0, 10, &value, NULL));
    EXPECT_I64(STATUS_OK, json_get_i64(root, "missing", 0, 10, &value, NULL));
    EXPECT_I64(STATUS_OK, json_get_i64(NULL, "a", 0, 10, &value, NULL));
    EXPECT_I64(99, value);
    struct error error = {0};
    EXPECT_I64(STATUS_FORMAT, json_get_i64(root, "a", 6, 10, &value, &error));
    EXPECT_STR("\"a\" is 5: expected an integer from 6 to 10", error.text);
    static const char *const bad[] = {"e", "f", "g", "h", "i"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        EXPECT_I64(STATUS_FORMAT, json_get_i64(root, bad[i], INT64_MIN, INT64_MAX, &value, &error));
        EXPECT(error.text[1] == bad[i][0]);
    }
    EXPECT_I64(99, value);
    EXPECT_I64(STATUS_FORMAT, json_get_i64(json_object_get(root, "h"), "a", 0, 10, &value, &error));
    json_decref(root);
}

TEST(other_getters_check_their_types)
{
    json_t *root = read_text("{\"f\": 2.5, \"i\": 3, \"s\": \"1e-5\", \"b\": true, \"n\": null, "
                             "\"t\": \"text\"}");
    REQUIRE(root != NULL);
    struct error error = {0};
    double real = 0;
    EXPECT_I64(STATUS_OK, json_get_f64(root, "f", &real, &error));
    EXPECT_CLOSE(2.5, real, 0);
    EXPECT_I64(STATUS_OK, json_get_f64(root, "i", &real, &error));
    EXPECT_CLOSE(3, real, 0);
    EXPECT_I64(STATUS_OK, json_get_f64(root, "s", &real, &error));
    EXPECT_CLOSE(1e-5, real, 0);
    EXPECT_I64(STATUS_FORMAT, json_get_f64(root, "t", &real, &error));
    EXPECT_STR("\"t\" is \"text\": expected a number", error.text);
    EXPECT_CLOSE(1e-5, real, 0);
    bool truth = false;
    EXPECT_I64(STATUS_OK, json_get_bool(root, "b", &truth, &error));
    EXPECT(truth);
    EXPECT_I64(STATUS_OK, json_get_bool(root, "n", &truth, &error));
    EXPECT(truth);
    EXPECT_I64(STATUS_FORMAT, json_get_bool(root, "i", &truth, &error));
    const char *text = "default";
    EXPECT_I64(STATUS_OK, json_get_string(root, "n", &text, &error));
    EXPECT_STR("default", text);
    EXPECT_I64(STATUS_OK, json_get_string(root, "t", &text, &error));
    EXPECT_STR("text", text);
    EXPECT_I64(STATUS_FORMAT, json_get_string(root, "b", &text, &error));
    EXPECT(json_is_absent(root, "n") && json_is_absent(root, "missing"));
    EXPECT(!json_is_absent(root, "b"));
    json_decref(root);
}

static void appended(const char *expected, json_t *value)
{
    struct buf buf = {0};
    json_append(&buf, value);
    EXPECT_STR(expected, buf.data);
    buf_release(&buf);
    json_decref(value);
}

TEST(values_are_written_compactly_in_insertion_order)
{
    const char *text = "{\"z\":1,\"a\":[true,false,null,-5,\"x\\\"y\"],\"m\":{},\"n\":[]}";
    appended(text, read_text(text));
}

TEST(reals_are_written_as_short_as_they_restore)
{
    appended("0.1", json_real(0.1));
    appended("2.0", json_real(2));
    appended("-0.0", json_real(-0.0));
    appended("1e+30", json_real(1e30));
    appended("0.30000000000000004", json_real(0.1 + 0.2));
    appended("4.94065645841247e-324", json_real(0x1p-1074));
    appended("1.7976931348623157e+308", json_real(1.7976931348623157e308));
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t bits = rng_u64(1, 2, i);
        double value;
        memcpy(&value, &bits, sizeof(value));
        if (!isfinite(value)) {
            continue;
        }
        struct buf buf = {0};
        json_t *real = json_real(value);
        json_append(&buf, real);
        json_t *again = read_text(buf.data);
        EXPECT(json_is_real(again) && json_real_value(again) == value);
        json_decref(real);
        json_decref(again);
        buf_release(&buf);
    }
}

TEST(files_are_written_indented_and_read_back)
{
    char dir[] = "/tmp/lib_json_test.XXXXXX";
    REQUIRE(mkdtemp(dir) != NULL);
    char path[PATH_MAX];
    path_join(path, sizeof(path), dir, "a.json");
    json_t *root = read_text("{\"a\":[1,{\"b\":2}],\"c\":{}}");
    struct error error = {0};
    EXPECT_I64(STATUS_OK, json_write_file(path, root, &error));
    struct buf text = {0};
    EXPECT_I64(STATUS_OK, file_read(path, 1000, &text, &error));
    EXPECT_STR("{\n  \"a\": [\n    1,\n    {\n      \"b\": 2\n    }\n  ],\n  \"c\": {}\n}\n",
               text.data);
    buf_release(&text);
    json_t *again = NULL;
    EXPECT_I64(STATUS_OK, json_read_file(path, 1000, &again, &error));
    EXPECT(json_equal(root, again));
    json_decref(again);
    json_decref(root);
    EXPECT_I64(STATUS_LIMIT, json_read_file(path, 10, &again, &error));
    EXPECT_I64(STATUS_OK, file_write_atomic(path, "{\n 5}", 5, &error));
    EXPECT_I64(STATUS_FORMAT, json_read_file(path, 1000, &again, &error));
    EXPECT_CONTAINS("a.json:2:2: ", error.text);
    EXPECT_I64(STATUS_OK, dir_remove(dir, &error));
    EXPECT_I64(STATUS_NOT_FOUND, json_read_file(path, 1000, &again, &error));
}

TEST_MAIN()
