/* SPDX-License-Identifier: Apache-2.0
 *
 * process: one rank's trainer: started, heard, ended.
 *
 * It is a process group of its own, dies with this process (SIGKILL), is bound to the CPUs of its
 * slot, sees one GPU if it has one, and has two pipes to us: what it prints, and its reports
 * (worker/trainer/relay.h). One that serves has a third: requests.
 */
#ifndef TAILOR_WORKER_AGENT_PROCESS_H
#define TAILOR_WORKER_AGENT_PROCESS_H

#include <sched.h>
#include <stdbool.h>
#include <sys/types.h>

#include "lib/status.h"

enum { PROCESS_REPORT_FD = 3 };

struct process_options {
    const char *const *words; /* program and arguments, NULL-terminated */
    const char *dir;          /* where it runs */
    const char *secret;       /* hex; in its environment. NULL: none */
    const char *cache;        /* TAILOR_CACHE */
    const cpu_set_t *cpus;    /* NULL: all */
    const char *gpu;          /* the UUID of the one that it may see; NULL: as we do */
    bool asked;               /* its standard input is a pipe of ours */
};

struct process {
    pid_t pid;       /* 0: none, or reaped */
    int printed;     /* −1: at its end */
    int reports;     /* likewise */
    int requests;    /* its standard input, to write to without waiting; −1: none */
    int wait_status; /* once reaped */
};

enum status process_start(const struct process_options *options, struct process *process_out,
                          struct error *error);
void process_signal(const struct process *process, int number); /* to its group */
/* True once it is gone; wait_status is set then. Does not wait. */
bool process_reap(struct process *process);
/* Reads what there is: > 0 bytes, 0 nothing now, −1 the end (the descriptor is closed). */
ssize_t process_read(int *fd, char *block, size_t size);
void process_close(struct process *process); /* the pipes */

#endif
