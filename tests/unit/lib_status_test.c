/* SPDX-License-Identifier: Apache-2.0
 *
 * status, check and log: what a person reads when something is wrong. A death is watched from a
 * parent process, which also reads what the child said.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/log.h"
#include "lib/status.h"
#include "tests/test.h"

/* Runs `body` in a child; fills `said` with its standard error and returns the wait status. */
static int child_run(void (*body)(void), char *said, size_t size)
{
    int ends[2];
    if (pipe(ends) != 0) {
        return -1;
    }
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        signal(SIGABRT, SIG_DFL);
        body();
        _exit(0);
    }
    close(ends[1]);
    size_t length = 0;
    ssize_t got;
    while (length + 1 < size && (got = read(ends[0], said + length, size - 1 - length)) > 0) {
        length += (size_t)got;
    }
    said[length] = '\0';
    close(ends[0]);
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}

TEST(an_error_carries_its_status_and_sentence)
{
    struct error error = {0};
    EXPECT_I64(STATUS_NOT_FOUND, error_set(&error, STATUS_NOT_FOUND, "%s: no such %s", "a", "b"));
    EXPECT_I64(STATUS_NOT_FOUND, error.status);
    EXPECT_STR("a: no such b", error.text);
}

TEST(an_error_nobody_wants_still_returns_its_status)
{
    EXPECT_I64(STATUS_IO, error_set(NULL, STATUS_IO, "disk"));
}

TEST(a_prefix_goes_before_the_sentence)
{
    struct error error = {0};
    error_set(&error, STATUS_FORMAT, "line 3: bad");
    EXPECT_I64(STATUS_FORMAT, error_prefix(&error, "file %d", 7));
    EXPECT_STR("file 7: line 3: bad", error.text);
}

TEST(an_error_may_be_formatted_from_itself)
{
    struct error error = {0};
    error_set(&error, STATUS_FORMAT, "inner");
    error_set(&error, STATUS_IO, "outer (%s)", error.text);
    EXPECT_STR("outer (inner)", error.text);
    EXPECT_I64(STATUS_IO, error.status);
}

TEST(a_long_sentence_is_cut_between_code_points)
{
    char text[2 * ERROR_TEXT_MAX];
    memset(text, 'a', sizeof(text));
    memcpy(text + ERROR_TEXT_MAX - 2, "\xe2\x82\xac", 3); /* would end behind the last byte */
    text[sizeof(text) - 1] = '\0';
    struct error error = {0};
    error_set(&error, STATUS_IO, "%s", text);
    EXPECT_I64(ERROR_TEXT_MAX - 2, (int64_t)strlen(error.text));
    text[ERROR_TEXT_MAX - 3] = '\0';
    error_prefix(&error, "%s", text);
    EXPECT_I64(ERROR_TEXT_MAX - 1, (int64_t)strlen(error.text));
}

TEST(hostile_bytes_in_a_sentence_become_harmless)
{
    struct error error = {0};
    error_set(&error, STATUS_IO, "%s", "a\x1b[2J\nb\xff\xc2\x9b \xc3\xa9");
    EXPECT_STR("a?[2J b?? \xc3\xa9", error.text);
}

TEST(every_status_has_a_name_of_its_own)
{
    for (int i = 0; i < STATUS_COUNT; i++) {
        EXPECT(status_name((enum status)i) != NULL);
        for (int j = 0; j < i; j++) {
            EXPECT(strcmp(status_name((enum status)i), status_name((enum status)j)) != 0);
        }
    }
    EXPECT_STR("not found", status_name(STATUS_NOT_FOUND));
    EXPECT_STR("bad format", status_name(STATUS_FORMAT));
}

TEST(exit_codes_are_those_of_the_header)
{
    static const int codes[STATUS_COUNT] = {
        [STATUS_OK] = 0,        [STATUS_FAILED] = 1,        [STATUS_USAGE] = 2,
        [STATUS_NOT_FOUND] = 3, [STATUS_DENIED] = 4,        [STATUS_CONFLICT] = 5,
        [STATUS_FORMAT] = 1,    [STATUS_UNSUPPORTED] = 1,   [STATUS_LIMIT] = 1,
        [STATUS_IO] = 1,        [STATUS_MEMORY] = 1,        [STATUS_NUMERIC] = 1,
        [STATUS_CANCELLED] = 8, [STATUS_COMMUNICATION] = 6, [STATUS_TIMEOUT] = 7,
        [STATUS_HELD] = 9,      [STATUS_FULL] = 1};
    for (int i = 0; i < STATUS_COUNT; i++) {
        EXPECT_I64(codes[i], status_exit_code((enum status)i));
    }
}

static enum status tried(enum status inner, int *after)
{
    TRY(inner);
    *after = 1;
    return STATUS_OK;
}

TEST(try_returns_the_failure_and_passes_success)
{
    int after = 0;
    EXPECT_I64(STATUS_LIMIT, tried(STATUS_LIMIT, &after));
    EXPECT_I64(0, after);
    EXPECT_I64(STATUS_OK, tried(STATUS_OK, &after));
    EXPECT_I64(1, after);
}

static void body_check(void)
{
    CHECK(1 + 1 == 3);
}

TEST(a_failed_check_names_the_place_and_aborts)
{
    char said[4096];
    int status = child_run(body_check, said, sizeof(said));
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    EXPECT_CONTAINS("lib_status_test.c:", said);
    EXPECT_CONTAINS("body_check: CHECK(1 + 1 == 3) failed\n", said);
}

static void body_overflow_add(void)
{
    size_add(SIZE_MAX, 1);
}

static void body_overflow_mul(void)
{
    size_mul(SIZE_MAX / 2, 3);
}

TEST(size_arithmetic_dies_rather_than_wraps)
{
    char said[4096];
    int status = child_run(body_overflow_add, said, sizeof(said));
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    status = child_run(body_overflow_mul, said, sizeof(said));
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

TEST(size_try_forms_report_overflow_and_leave_the_output)
{
    size_t out = 7;
    EXPECT_I64(0, size_add_try(SIZE_MAX, 1, &out));
    EXPECT_I64(0, size_mul_try(SIZE_MAX, 2, &out));
    EXPECT_I64(7, (int64_t)out);
    EXPECT_I64(1, size_add_try(SIZE_MAX - 1, 1, &out));
    EXPECT(out == SIZE_MAX);
    EXPECT_I64(1, size_mul_try(6, 7, &out));
    EXPECT_I64(42, (int64_t)out);
    EXPECT_I64(9, (int64_t)size_add(4, 5));
    EXPECT_I64(20, (int64_t)size_mul(4, 5));
}

static void body_fatal(void)
{
    fatal(3, "cannot start: %s", "no port");
}

TEST(fatal_prints_the_program_and_exits_with_its_code)
{
    char said[4096];
    int status = child_run(body_fatal, said, sizeof(said));
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    EXPECT_CONTAINS(": cannot start: no port\n", said);
}

static void body_log(void)
{
    log_level_set(LOG_LEVEL_WARN);
    log_info("unheard");
    log_warn("one\ntwo \x1b[1m%d", 5);
    log_error("last");
}

TEST(a_log_line_is_one_line_and_obeys_the_level)
{
    char said[4096];
    child_run(body_log, said, sizeof(said));
    EXPECT(strstr(said, "unheard") == NULL);
    EXPECT_CONTAINS("Z warn one two ?[1m5\n", said);
    EXPECT_CONTAINS("Z error last\n", said);
    EXPECT(said[0] == '2' && said[10] == 'T');
}

static void body_log_environment(void)
{
    setenv("TAILOR_LOG", "debug", 1);
    log_debug("step %d", 3);
    char text[8192];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    log_info("%s", text);
}

TEST(the_log_level_comes_from_the_environment_and_long_lines_are_cut)
{
    char said[16384];
    child_run(body_log_environment, said, sizeof(said));
    EXPECT_CONTAINS("Z debug step 3\n", said);
    const char *second = strchr(said, '\n') + 1;
    EXPECT(strlen(second) < 2050 && second[strlen(second) - 1] == '\n');
}

TEST_MAIN()
