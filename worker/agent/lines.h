/* SPDX-License-Identifier: Apache-2.0
 *
 * lines: bytes from a pipe, cut into lines. One that is longer than `size_max` is cut there, and
 * its rest is dropped.
 */
#ifndef TAILOR_WORKER_AGENT_LINES_H
#define TAILOR_WORKER_AGENT_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

struct lines {
    size_t size_max;
    bool dropping;
    struct buf line;
};

/* `take` gets each whole line, NUL-terminated, without its end. */
typedef void lines_take(void *argument, const char *line, size_t length);

void lines_feed(struct lines *lines, const char *bytes, size_t length, lines_take *take,
                void *argument);
/* What is left without an end is a line too. */
void lines_end(struct lines *lines, lines_take *take, void *argument);

#endif
