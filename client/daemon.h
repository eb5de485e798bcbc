/* SPDX-License-Identifier: Apache-2.0
 *
 * daemon: programs of ours in the background of this machine, each by a name in one directory.
 *
 * DIR/NAME.pid holds the process, DIR/NAME.log what it writes. A pid counts only while that process
 * is the program that was started, with this directory among its words: pids are used again.
 */
#ifndef TAILOR_CLIENT_DAEMON_H
#define TAILOR_CLIENT_DAEMON_H

#include <stdbool.h>
#include <sys/types.h>

#include "lib/status.h"

struct daemon {
    const char *dir;     /* absolute */
    const char *name;    /* "tailord", "worker-1" */
    const char *program; /* "tailord": it lies beside this program */
};

/* Where a program lies that was installed with this one; out has PATH_MAX bytes. */
enum status daemon_program(const char *name, char *out, struct error *error);
/* 0: it does not run. */
pid_t daemon_find(const struct daemon *daemon);
/* Starts it with these words (NULL behind the last; the program's name is put in front); `input`
 * is its standard input, at most DAEMON_INPUT_MAX bytes, or NULL. */
enum { DAEMON_INPUT_MAX = 4096, DAEMON_WORDS_MAX = 24 };
enum status daemon_start(const struct daemon *daemon, const char *const *words, const char *input,
                         pid_t *pid_out, struct error *error);
/* A child that ended at once: STATUS_FAILED with the last line of its log. */
enum status daemon_check(const struct daemon *daemon, pid_t pid, struct error *error);
/* SIGTERM, and waits until it is gone. STATUS_FAILED after `patience_s`. */
enum status daemon_stop(const struct daemon *daemon, int patience_s, struct error *error);

#endif
