/* SPDX-License-Identifier: Apache-2.0
 *
 * log: a line is composed in memory and written with one write(2).
 *
 * So lines of several threads, and of several processes on one pipe, never mix; there is no lock
 * and nothing to flush before a crash. Invariant: one event is one line; control characters of the
 * message are replaced. Rejected: stdio (its lock, and lines split at its buffer).
 */
#include "lib/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/text.h"

enum { LINE_BYTES = 2048, LEVEL_UNSET = -1 };

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static atomic_int level_now = LEVEL_UNSET;

static int level_get(void)
{
    int level = atomic_load_explicit(&level_now, memory_order_relaxed);
    if (level != LEVEL_UNSET) {
        return level;
    }
    level = LOG_LEVEL_INFO;
    const char *text = getenv("TAILOR_LOG");
    for (int i = LOG_LEVEL_DEBUG; text && i <= LOG_LEVEL_ERROR; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            level = i;
        }
    }
    int unset = LEVEL_UNSET; /* a log_level_set() of another thread wins */
    return atomic_compare_exchange_strong(&level_now, &unset, level) ? level : unset;
}

void log_level_set(enum log_level level)
{
    atomic_store(&level_now, (int)level);
}

static void log_line(enum log_level level, const char *format, va_list arguments)
{
    if ((int)level < level_get()) {
        return;
    }
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    char line[LINE_BYTES];
    size_t head = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &utc);
    head += (size_t)snprintf(line + head, sizeof(line) - head, ".%03ldZ %s ", now.tv_nsec / 1000000,
                             level_names[level]);
    char text[LINE_BYTES];
    vsnprintf(text, sizeof(text), format, arguments);
    /* One byte is kept back for the newline. */
    size_t length = head + text_clean(text, line + head, sizeof(line) - head - 1);
    line[length++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, length);
    (void)written; /* nowhere is left to report it */
}

#define LOG_FUNCTION(name, level)                                                                  \
    void name(const char *format, ...)                                                             \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, format);                                                               \
        log_line((level), format, arguments);                                                      \
        va_end(arguments);                                                                         \
    }

LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_warn, LOG_LEVEL_WARN)
LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
