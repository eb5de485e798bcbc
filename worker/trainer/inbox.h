/* SPDX-License-Identifier: Apache-2.0
 *
 * inbox: lines from a descriptor, read by a thread of its own, so that requests gather while a pass
 * is computed. What does not fit the bound stays in the pipe: its sender holds it then.
 */
#ifndef TAILOR_WORKER_TRAINER_INBOX_H
#define TAILOR_WORKER_TRAINER_INBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { INBOX_LINES_MAX = 256 };

struct inbox;

/* `line_bytes_max`: a longer line is cut there. */
struct inbox *inbox_open(int fd, size_t line_bytes_max);
/* The next line, owned by the caller, without its end. NULL: there is none within `wait_ms`. */
char *inbox_take(struct inbox *inbox, int64_t wait_ms);
bool inbox_is_closed(struct inbox *inbox); /* the other end has gone, and all lines are taken */

#endif
