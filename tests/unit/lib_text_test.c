/* SPDX-License-Identifier: Apache-2.0
 *
 * text: UTF-8, numbers, names and what people see of them.
 */
#include <math.h>
#include <string.h>

#include "lib/text.h"
#include "tests/test.h"

static void valid_up_to(size_t expected, const char *text, size_t length)
{
    EXPECT_I64((int64_t)expected, (int64_t)utf8_valid_prefix(text, length));
}

TEST(utf8_forms_are_accepted_and_refused_as_the_standard_says)
{
    valid_up_to(0, "", 0);
    valid_up_to(1, "\0", 1);
    valid_up_to(16, "abcdefghijklmnop", 16);
    valid_up_to(2, "\xc3\xa9", 2);
    valid_up_to(3, "\xe2\x82\xac", 3);
    valid_up_to(4, "\xf4\x8f\xbf\xbf", 4);
    valid_up_to(0, "\xf4\x90\x80\x80", 4); /* above U+10FFFF */
    valid_up_to(0, "\xf5\x80\x80\x80", 4);
    valid_up_to(0, "\xc0\x80", 2); /* overlong */
    valid_up_to(0, "\xc1\xbf", 2);
    valid_up_to(0, "\xe0\x9f\xbf", 3);
    valid_up_to(3, "\xe0\xa0\x80", 3);
    valid_up_to(0, "\xf0\x8f\xbf\xbf", 4);
    valid_up_to(4, "\xf0\x90\x80\x80", 4);
    valid_up_to(3, "\xed\x9f\xbf", 3);
    valid_up_to(0, "\xed\xa0\x80", 3); /* a surrogate */
    valid_up_to(3, "\xee\x80\x80", 3);
    valid_up_to(0, "\x80", 1);
    valid_up_to(0, "\xff", 1);
    valid_up_to(9, "abcdefghi\xffjklmnopqr", 19);
    valid_up_to(8, "abcdefgh\xe2\x82", 10); /* cut short */
    valid_up_to(0, "\xe2\x82", 2);
    valid_up_to(0, "\xe2\x82y", 3);
}

TEST(every_code_point_survives_encoding)
{
    for (uint32_t point = 0; point <= 0x10ffff; point++) {
        if (point == 0xd800) {
            point = 0xe000;
        }
        char bytes[4];
        size_t length = utf8_put(point, bytes);
        size_t offset = 0;
        if (utf8_valid_prefix(bytes, length) != length ||
            utf8_next(bytes, length, &offset) != point || offset != length) {
            test_fail(__FILE__, __LINE__, "U+%04X does not survive", (unsigned)point);
            return;
        }
    }
}

TEST(text_for_people_is_clean_and_cut_between_code_points)
{
    char out[8];
    EXPECT_I64(5, (int64_t)text_clean("a\nb\x1b\xff", out, sizeof(out)));
    EXPECT_STR("a b??", out);
    EXPECT_I64(6, (int64_t)text_clean("\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac", out, sizeof(out)));
    EXPECT_STR("\xe2\x82\xac\xe2\x82\xac", out);
    EXPECT_I64(0, (int64_t)text_clean("abc", out, 1));
    EXPECT_STR("", out);
}

TEST(integers_are_taken_whole_or_not_at_all)
{
    int64_t value = 77;
    static const char *const bad[] = {"",
                                      "-",
                                      "+5",
                                      " 5",
                                      "5 ",
                                      "0x10",
                                      "1.0",
                                      "1e3",
                                      "--5",
                                      "5a",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (parse_i64(bad[i], &value)) {
            test_fail(__FILE__, __LINE__, "took '%s'", bad[i]);
        }
    }
    EXPECT_I64(77, value);
    EXPECT(parse_i64("-9223372036854775808", &value) && value == INT64_MIN);
    EXPECT(parse_i64("9223372036854775807", &value) && value == INT64_MAX);
    EXPECT(parse_i64("0", &value) && value == 0);
    EXPECT(parse_i64("-12", &value) && value == -12);
}

TEST(reals_are_taken_whole_finite_or_not_at_all)
{
    double value = 77;
    static const char *const bad[] = {"",      "-",   ".",     "e5",    "1e",
                                      "1e+",   "nan", "inf",   " 1",    "1 ",
                                      "0x1p3", "1,5", "1e999", "1.2.3", "-infinity"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (parse_f64(bad[i], &value)) {
            test_fail(__FILE__, __LINE__, "took '%s'", bad[i]);
        }
    }
    EXPECT(value == 77);
    EXPECT(parse_f64("1e-5", &value) && value == 1e-5);
    EXPECT(parse_f64("-2.50", &value) && value == -2.5);
    EXPECT(parse_f64("+.5", &value) && value == 0.5);
    EXPECT(parse_f64("3.", &value) && value == 3);
    EXPECT(parse_f64("4E+2", &value) && value == 400);
    EXPECT(parse_f64("1e-400", &value) && value == 0);
}

TEST(durations)
{
    double seconds = 77;
    static const char *const bad[] = {"",    "m",   "-5",   "1h30",  "1m1h", "1m1m",
                                      "10x", "1 h", "5e3s", "1..5s", "h1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (parse_duration_s(bad[i], &seconds)) {
            test_fail(__FILE__, __LINE__, "took '%s'", bad[i]);
        }
    }
    EXPECT(seconds == 77);
    EXPECT(parse_duration_s("90", &seconds) && seconds == 90);
    EXPECT(parse_duration_s("1.5", &seconds) && seconds == 1.5);
    EXPECT(parse_duration_s("10m", &seconds) && seconds == 600);
    EXPECT(parse_duration_s("2h", &seconds) && seconds == 7200);
    EXPECT(parse_duration_s("1h30m", &seconds) && seconds == 5400);
    EXPECT(parse_duration_s("2d1s", &seconds) && seconds == 172801);
    EXPECT(parse_duration_s("0.5h", &seconds) && seconds == 1800);
}

TEST(the_nearest_name_is_near_or_none)
{
    static const char *const names[] = {"learning_rate", "lora_rank", "run", "epochs"};
    EXPECT_STR("learning_rate", nearest_name("learnign_rate", names, 4));
    EXPECT_STR("lora_rank", nearest_name("lora-rank", names, 4));
    EXPECT_STR("lora_rank", nearest_name("lorarank", names, 4));
    EXPECT_STR("run", nearest_name("rn", names, 4));
    EXPECT_STR("run", nearest_name("urn", names, 4)); /* a swap is one step */
    EXPECT_STR("epochs", nearest_name("epochs", names, 4));
    EXPECT_STR(NULL, nearest_name("colour", names, 4));
    EXPECT_STR(NULL, nearest_name("", names, 4));
    EXPECT_STR(NULL, nearest_name("x", names, 0));
    char longest[200];
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    EXPECT_STR(NULL, nearest_name(longest, names, 4));
    const char *const long_names[] = {longest};
    EXPECT_STR(NULL, nearest_name("aaa", long_names, 1));
}

static void bytes_are(const char *expected, double bytes)
{
    char out[16];
    format_bytes(bytes, out);
    EXPECT_STR(expected, out);
}

static void count_is(const char *expected, double count)
{
    char out[16];
    format_count(count, out);
    EXPECT_STR(expected, out);
}

static void duration_is(const char *expected, double seconds)
{
    char out[16];
    format_duration(seconds, out);
    EXPECT_STR(expected, out);
}

TEST(sizes_are_shown_with_the_unit_that_fits)
{
    bytes_are("0 B", 0);
    bytes_are("1023 B", 1023);
    bytes_are("1.0 KiB", 1024);
    bytes_are("1.4 GiB", 1.4 * 1024 * 1024 * 1024);
    bytes_are("1.0 MiB", 1024 * 1024 - 1); /* not "1024.0 KiB" */
    bytes_are("-2.0 KiB", -2048);
    bytes_are("8192.0 PiB", 0x1p63);
    bytes_are("nan B", NAN);
    count_is("999", 999);
    count_is("12.3 k", 12345);
    count_is("1.0 M", 999960);
    count_is("7.6 G", 7.6e9);
    count_is("1e+18 T", 1e30);
    count_is("inf T", INFINITY);
}

TEST(durations_are_shown_with_two_units_at_most)
{
    duration_is("0ms", 0);
    duration_is("350ms", 0.35);
    duration_is("1.0s", 0.9999);
    duration_is("4.2s", 4.2);
    duration_is("45s", 45.2);
    duration_is("1m 00s", 59.7);
    duration_is("2m 05s", 125);
    duration_is("1h 00m", 3599.8);
    duration_is("3d 04h", 3 * 86400 + 4 * 3600 + 59);
    duration_is("-2m 05s", -125);
    duration_is("long", 1e12);
    duration_is("nan", NAN);
}

TEST(hex_digits_become_bytes)
{
    uint8_t bytes[3];
    EXPECT(parse_hex("00ff1e", bytes, 3));
    EXPECT_I64(0x00, bytes[0]);
    EXPECT_I64(0xff, bytes[1]);
    EXPECT_I64(0x1e, bytes[2]);
    static const char *const bad[] = {"",       "00ff1",  "00ff1e0", "00fg1e",
                                      "00FF1E", "0x0011", " 0ff1e"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (parse_hex(bad[i], bytes, 3)) {
            test_fail(__FILE__, __LINE__, "\"%s\" was taken for 3 bytes", bad[i]);
        }
    }
}

TEST_MAIN()
