/* SPDX-License-Identifier: Apache-2.0
 */
#include "worker/agent/lines.h"

#include <string.h>

void lines_end(struct lines *lines, lines_take *take, void *argument)
{
    if (lines->line.length > 0)
        take(argument, lines->line.data, lines->line.length);
    buf_clear(&lines->line);
    lines->dropping = false;
}

void lines_feed(struct lines *lines, const char *bytes, size_t length, lines_take *take,
                void *argument)
{
    while (length > 0) {
        const char *end = memchr(bytes, '\n', length);
        size_t count = end != NULL ? (size_t)(end - bytes) : length;
        size_t room = lines->size_max - lines->line.length;
        if (!lines->dropping)
            buf_append(&lines->line, bytes, count < room ? count : room);
        lines->dropping |= count > room;
        if (end == NULL)
            return;
        lines_end(lines, take, argument);
        bytes = end + 1;
        length -= count + 1;
    }
}
