/* SPDX-License-Identifier: Apache-2.0
 *
 * The test harness itself: an expectation that cannot fail proves nothing. Each is made to fail in
 * a child process, whose output is read back.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/test.h"

static char said[8192];

/* Runs `body` in a child with its output in `said`; returns whether an expectation failed. */
static bool fails(void (*body)(void))
{
    int ends[2];
    if (pipe(ends) != 0) {
        return false;
    }
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        body();
        fflush(stdout);
        _exit(test_failed() ? 1 : 0);
    }
    close(ends[1]);
    size_t length = 0;
    ssize_t got;
    while ((got = read(ends[0], said + length, sizeof(said) - 1 - length)) > 0) {
        length += (size_t)got;
    }
    said[length] = '\0';
    close(ends[0]);
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

static void body_condition(void)
{
    EXPECT(1 > 2);
}

static void body_i64(void)
{
    EXPECT_I64(3, 2 + 2);
}

static void body_string(void)
{
    EXPECT_STR("abc", "abd");
}

static void body_string_null(void)
{
    EXPECT_STR("abc", NULL);
}

static void body_contains(void)
{
    EXPECT_CONTAINS("needle", "haystack");
}

static void body_bytes(void)
{
    EXPECT_BYTES("abcd", "abXd", 4);
}

static void body_nan(void)
{
    EXPECT_CLOSE(1.0, NAN, 1e300);
}

static void body_nan_expected(void)
{
    EXPECT_CLOSE(NAN, 1.0, INFINITY);
}

static void body_infinite(void)
{
    EXPECT_CLOSE(INFINITY, -INFINITY, 1.0);
}

static void body_require(void)
{
    REQUIRE(1 > 2);
    printf("went on\n");
}

static void body_good(void)
{
    EXPECT(true);
    EXPECT_I64(4, 2 + 2);
    EXPECT_STR("a", "a");
    EXPECT_STR(NULL, NULL);
    EXPECT_CONTAINS("st", "haystack");
    EXPECT_CLOSE(1.0, 1.5, 0.5);
    EXPECT_CLOSE(INFINITY, INFINITY, 0.0);
    EXPECT_BYTES("ab", "ab", 2);
}

TEST(each_expectation_fails_and_says_what_came)
{
    EXPECT(fails(body_condition));
    EXPECT_CONTAINS("FAIL each_expectation_fails_and_says_what_came ", said);
    EXPECT_CONTAINS("lib_harness_test.c:", said);
    EXPECT_CONTAINS(": expected 1 > 2\n", said);
    EXPECT(fails(body_i64));
    EXPECT_CONTAINS("expected 3, got 4\n", said);
    EXPECT(fails(body_string));
    EXPECT_CONTAINS("expected \"abc\", got \"abd\" (first difference at byte 2)", said);
    EXPECT(fails(body_string_null));
    EXPECT_CONTAINS("got NULL", said);
    EXPECT(fails(body_contains));
    EXPECT_CONTAINS("expected to contain \"needle\", got \"haystack\"", said);
    EXPECT(fails(body_bytes));
    EXPECT_CONTAINS("expected byte 0x63 at 2, got 0x58 (1 of 4 differ)", said);
}

TEST(not_a_number_is_close_to_nothing)
{
    EXPECT(fails(body_nan));
    EXPECT(fails(body_nan_expected));
    EXPECT(fails(body_infinite));
}

TEST(require_ends_the_test)
{
    EXPECT(fails(body_require));
    EXPECT(strstr(said, "went on") == NULL);
}

TEST(what_holds_passes_silently)
{
    EXPECT(!fails(body_good));
    EXPECT_STR("", said);
}

static void body_other_program(void)
{
    char program[] = "program";
    char word[] = "body_that_no_test_is_named_after";
    char *arguments[] = {program, word, NULL};
    EXPECT_I64(1, test_main(2, arguments));
}

TEST(a_run_of_no_tests_is_a_failure)
{
    EXPECT(!fails(body_other_program));
    EXPECT_STR("0 passed, 0 failed\n", said);
}

TEST_MAIN()
