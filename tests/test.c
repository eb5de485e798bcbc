/* SPDX-License-Identifier: Apache-2.0
 *
 * test: the runner behind test.h.
 *
 * Tests register themselves before main and run in order of definition, in this process: a crash
 * is a failure of the whole program, and what was printed before names the place. Output is one
 * line a test and a last line "N passed, N failed" (", N skipped" where parts of a test could not
 * run). Rejected: a process per test; sanitizers and CTest already isolate what matters here.
 */
#include "tests/test.h"

#include <math.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TESTS_MAX = 4096, TEXT_SHOWN_MAX = 300 };

static struct {
    const char *name;
    void (*run)(void);
} tests[TESTS_MAX];

static int test_count;
static const char *running = "";
static atomic_int failures; /* of the running test; a test's own threads may fail too */
static atomic_int skips;

void test_register(const char *name, void (*run)(void))
{
    if (test_count >= TESTS_MAX) {
        fprintf(stderr, "more than %d tests in one program\n", TESTS_MAX);
        abort();
    }
    tests[test_count].name = name;
    tests[test_count].run = run;
    test_count++;
}

void test_fail(const char *file, int line, const char *format, ...)
{
    char text[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    printf("FAIL %s %s:%d: %s\n", running, file, line, text);
    atomic_fetch_add(&failures, 1);
}

void test_skip(const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    printf("skip %s: %s\n", running, text);
    atomic_fetch_add(&skips, 1);
}

bool test_failed(void)
{
    return atomic_load(&failures) > 0;
}

void test_expect_i64(int64_t expected, int64_t got, const char *what, const char *file, int line)
{
    if (expected != got) {
        test_fail(file, line, "%s: expected %lld, got %lld", what, (long long)expected,
                  (long long)got);
    }
}

/* Quotes at most TEXT_SHOWN_MAX bytes from `start`; NULL has no quotes. */
static void quote(const char *text, size_t start, char out[TEXT_SHOWN_MAX + 16])
{
    if (!text) {
        strcpy(out, "NULL");
        return;
    }
    size_t length = strlen(text);
    snprintf(out, TEXT_SHOWN_MAX + 16, "%s\"%.*s\"%s", start > 0 ? "..." : "", TEXT_SHOWN_MAX,
             text + start, length - start > TEXT_SHOWN_MAX ? "..." : "");
}

void test_expect_str(const char *expected, const char *got, const char *what, const char *file,
                     int line)
{
    if (expected == got || (expected && got && strcmp(expected, got) == 0)) {
        return;
    }
    size_t same = 0;
    while (expected && got && expected[same] && expected[same] == got[same]) {
        same++;
    }
    size_t start = same > TEXT_SHOWN_MAX / 2 ? same - 40 : 0; /* far differences need a window */
    char expected_text[TEXT_SHOWN_MAX + 16];
    char got_text[TEXT_SHOWN_MAX + 16];
    quote(expected, start, expected_text);
    quote(got, start, got_text);
    test_fail(file, line, "%s: expected %s, got %s (first difference at byte %zu)", what,
              expected_text, got_text, same);
}

void test_expect_contains(const char *needle, const char *haystack, const char *what,
                          const char *file, int line)
{
    if (haystack && strstr(haystack, needle)) {
        return;
    }
    char got_text[TEXT_SHOWN_MAX + 16];
    quote(haystack, 0, got_text);
    test_fail(file, line, "%s: expected to contain \"%s\", got %s", what, needle, got_text);
}

void test_expect_close(double expected, double got, double tolerance, const char *what,
                       const char *file, int line)
{
    if (expected == got) { /* two equal infinities have no difference */
        return;
    }
    if (!(fabs(expected - got) <= tolerance)) {
        test_fail(file, line, "%s: expected %.17g, got %.17g (off by %g, allowed %g)", what,
                  expected, got, fabs(expected - got), tolerance);
    }
}

void test_expect_bytes(const void *expected, const void *got, size_t size, const char *what,
                       const char *file, int line)
{
    const unsigned char *a = expected;
    const unsigned char *b = got;
    size_t first = size;
    size_t different = 0;
    for (size_t i = 0; i < size; i++) {
        if (a[i] != b[i]) {
            first = first == size ? i : first;
            different++;
        }
    }
    if (different > 0) {
        test_fail(file, line, "%s: expected byte 0x%02x at %zu, got 0x%02x (%zu of %zu differ)",
                  what, a[first], first, b[first], different, size);
    }
}

int test_main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    bool list = strcmp(word, "--list") == 0;
    int passed = 0;
    int failed = 0;
    int skipped = 0;
    int number = 0;
    setvbuf(stdout, NULL, _IOLBF, 0); /* what was said before a crash is seen */
    for (int i = 0; i < test_count; i++) {
        if (list) {
            puts(tests[i].name);
            continue;
        }
        if (!strstr(tests[i].name, word)) {
            continue;
        }
        running = tests[i].name;
        atomic_store(&failures, 0);
        atomic_store(&skips, 0);
        tests[i].run();
        number++;
        if (test_failed()) {
            failed++;
        } else if (atomic_load(&skips) > 0) {
            skipped++;
        } else {
            passed++;
            printf("ok %d %s\n", number, running);
        }
    }
    if (list) {
        return 0;
    }
    printf("%d passed, %d failed", passed, failed);
    if (skipped > 0) {
        printf(", %d skipped", skipped);
    }
    puts("");
    return failed > 0 || number == 0 ? 1 : 0;
}
