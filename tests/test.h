/* SPDX-License-Identifier: Apache-2.0
 *
 * test: a test is a sentence, a failure says what was expected and what came.
 *
 *     TEST(a_truncated_file_is_refused_by_name)
 *     {
 *         EXPECT_STR("expected", got);
 *     }
 *     TEST_MAIN()
 *
 * Every EXPECT records its failure and goes on; REQUIRE ends the test. `program [WORD]` runs only
 * the tests whose name contains WORD; `--list` lists them. Exit code 1 if anything failed, or if
 * no test ran. Close numbers are compared as !(difference <= tolerance), so that a NaN fails.
 */
#ifndef TAILOR_TESTS_TEST_H
#define TAILOR_TESTS_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void test_register(const char *name, void (*run)(void));
int test_main(int argc, char **argv);
void test_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A part of a test that cannot run here is named, never silent. */
void test_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool test_failed(void); /* has the running test failed so far? */

void test_expect_i64(int64_t expected, int64_t got, const char *what, const char *file, int line);
void test_expect_str(const char *expected, const char *got, const char *what, const char *file,
                     int line);
void test_expect_contains(const char *needle, const char *haystack, const char *what,
                          const char *file, int line);
void test_expect_close(double expected, double got, double tolerance, const char *what,
                       const char *file, int line);
void test_expect_bytes(const void *expected, const void *got, size_t size, const char *what,
                       const char *file, int line);

#define TEST(name)                                                                                 \
    static void name(void);                                                                        \
    __attribute__((constructor)) static void name##_register(void)                                 \
    {                                                                                              \
        test_register(#name, name);                                                                \
    }                                                                                              \
    static void name(void)
#define TEST_MAIN()                                                                                \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        return test_main(argc, argv);                                                              \
    }
#define EXPECT(condition)                                                                          \
    ((condition) ? (void)0 : test_fail(__FILE__, __LINE__, "expected %s", #condition))
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            test_fail(__FILE__, __LINE__, "required %s", #condition);                              \
            return;                                                                                \
        }                                                                                          \
    } while (0)
#define EXPECT_I64(expected, got) test_expect_i64((expected), (got), #got, __FILE__, __LINE__)
#define EXPECT_STR(expected, got) test_expect_str((expected), (got), #got, __FILE__, __LINE__)
#define EXPECT_CONTAINS(needle, haystack)                                                          \
    test_expect_contains((needle), (haystack), #haystack, __FILE__, __LINE__)
#define EXPECT_CLOSE(expected, got, tolerance)                                                     \
    test_expect_close((expected), (got), (tolerance), #got, __FILE__, __LINE__)
#define EXPECT_BYTES(expected, got, size)                                                          \
    test_expect_bytes((expected), (got), (size), #got, __FILE__, __LINE__)

#endif
