/* SPDX-License-Identifier: Apache-2.0
 *
 * relay: what a run tells the process that started it, as JSON lines on a descriptor it inherited
 * (--report-fd N). Without one every call does nothing.
 *
 *     {"type": "running", "step", "steps"}        this rank trains now
 *     {"type": "checkpoint", "step", "seconds"}   its host's parts of one are written
 *     {"type": "metrics", …}, {"type": "event", …}  a line of the journal (journal.h)
 *     {"type": "failure", "class", "message",     the last line of a run that failed; full: for
 * want "full"}                                    of space on the disk
 *
 * A line is one write of at most RELAY_LINE_MAX bytes. Nobody at the other end is no failure of the
 * run: training goes on. The process has one relay; its first thread alone writes, but for the
 * failure of a process that ends because a thread hangs.
 */
#ifndef TAILOR_WORKER_TRAINER_RELAY_H
#define TAILOR_WORKER_TRAINER_RELAY_H

#include <jansson.h>
#include <stdint.h>

#include "lib/status.h"

enum { RELAY_LINE_MAX = 65536 };

/* −1: none. STATUS_USAGE: no such descriptor is open. */
enum status relay_open(int fd, struct error *error);
/* The object's fields behind "type"; a line that is too long is left out. */
void relay_line(const char *type, const json_t *fields);
void relay_running(int64_t step, int64_t steps);
/* This host's parts of a checkpoint are in its directory; writing them took so long. */
void relay_checkpoint(int64_t step, double seconds);
/* The class is one of the service's: user_data, user_config, out_of_memory, … A run that was told
 * to stop ("stopped") has not failed. */
void relay_failure(enum status status, const char *message);

#endif
