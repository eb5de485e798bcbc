/* SPDX-License-Identifier: Apache-2.0
 *
 * status: the sentence that travels with a failure.
 *
 * Invariants: the text is always NUL-terminated valid UTF-8 without control characters, because it
 * quotes file names and field values of strangers and ends up on terminals and in JSON. Formatting
 * goes through a scratch buffer, so the arguments may point into the error itself. Rejected: a
 * chain of errors; one sentence is what a person reads.
 */
#include "lib/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "lib/text.h"

enum status error_set(struct error *error, enum status status, const char *format, ...)
{
    CHECK(status > STATUS_OK && status < STATUS_COUNT);
    if (!error) {
        return status;
    }
    char text[ERROR_TEXT_MAX * 2];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    text_clean(text, error->text, sizeof(error->text));
    error->status = status;
    return status;
}

enum status error_prefix(struct error *error, const char *format, ...)
{
    if (!error) {
        return STATUS_FAILED;
    }
    char text[ERROR_TEXT_MAX * 3];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, ERROR_TEXT_MAX, format, arguments);
    va_end(arguments);
    size_t length = strlen(text);
    snprintf(text + length, sizeof(text) - length, ": %s", error->text);
    text_clean(text, error->text, sizeof(error->text));
    return error->status;
}

const char *status_name(enum status status)
{
    static const char *const names[STATUS_COUNT] = {
        [STATUS_OK] = "ok",
        [STATUS_FAILED] = "failed",
        [STATUS_USAGE] = "bad usage",
        [STATUS_NOT_FOUND] = "not found",
        [STATUS_DENIED] = "denied",
        [STATUS_CONFLICT] = "conflict",
        [STATUS_FORMAT] = "bad format",
        [STATUS_UNSUPPORTED] = "unsupported",
        [STATUS_LIMIT] = "over a limit",
        [STATUS_IO] = "i/o error",
        [STATUS_MEMORY] = "out of memory",
        [STATUS_NUMERIC] = "not finite",
        [STATUS_CANCELLED] = "cancelled",
        [STATUS_COMMUNICATION] = "communication failed",
        [STATUS_TIMEOUT] = "timed out",
        [STATUS_HELD] = "held",
        [STATUS_FULL] = "no space left",
    };
    CHECK((unsigned)status < STATUS_COUNT);
    return names[status];
}

int status_exit_code(enum status status)
{
    switch (status) {
    case STATUS_OK:
        return 0;
    case STATUS_USAGE:
        return 2;
    case STATUS_NOT_FOUND:
        return 3;
    case STATUS_DENIED:
        return 4;
    case STATUS_CONFLICT:
        return 5;
    case STATUS_COMMUNICATION:
        return 6;
    case STATUS_TIMEOUT:
        return 7;
    case STATUS_CANCELLED:
        return 8;
    case STATUS_HELD:
        return 9;
    default:
        return 1;
    }
}
