/* SPDX-License-Identifier: Apache-2.0
 *
 * check: the end of the road for our own bugs, and size arithmetic that cannot wrap.
 *
 * A failed CHECK aborts, so that a core dump and a sanitizer both see the place. Rejected:
 * assert(), which vanishes with NDEBUG exactly where wrong results would be saved. The line goes
 * out through write(2) alone: the heap and stdio may be what is broken.
 */
#include "lib/check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void write_fully(const char *text, size_t length)
{
    while (length > 0) {
        ssize_t written = write(STDERR_FILENO, text, length);
        if (written <= 0) {
            return;
        }
        text += written;
        length -= (size_t)written;
    }
}

void check_failed(const char *condition, const char *file, int line, const char *function)
{
    char text[512];
    int length = snprintf(text, sizeof(text), "%s: bug: %s:%d: %s: CHECK(%s) failed\n",
                          program_invocation_short_name, file, line, function, condition);
    if (length > 0) {
        write_fully(text, (size_t)length < sizeof(text) ? (size_t)length : sizeof(text) - 1);
    }
    abort();
}

void fatal(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(code);
}

int size_add_try(size_t a, size_t b, size_t *out)
{
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum)) {
        return 0;
    }
    *out = sum;
    return 1;
}

int size_mul_try(size_t a, size_t b, size_t *out)
{
    size_t product;
    if (__builtin_mul_overflow(a, b, &product)) {
        return 0;
    }
    *out = product;
    return 1;
}

size_t size_add(size_t a, size_t b)
{
    size_t sum = 0;
    CHECK(size_add_try(a, b, &sum));
    return sum;
}

size_t size_mul(size_t a, size_t b)
{
    size_t product = 0;
    CHECK(size_mul_try(a, b, &product));
    return product;
}
