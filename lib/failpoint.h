/* SPDX-License-Identifier: Apache-2.0
 *
 * failpoint: named places where a test makes a durable step or a message fail.
 *
 *     TAILOR_FAIL=blob_rename:3:kill tailord …    the process dies at the third passage
 *     if (failpoint_fails("blob_rename") || rename(from, to) != 0)
 *         …errno…
 *
 * TAILOR_FAIL is NAME:COUNT[+][:ACTION]. "3" is the third passage, "3+" that one and all behind it.
 *   error  errno is EIO (the default)     kill  SIGKILL to the process itself
 *   full   errno is ENOSPC                stop  SIGSTOP to itself; whoever sends SIGCONT goes on
 * @FILE stands for the content of FILE, read at every passage: a running program can be armed and
 * disarmed. Passages count from the last change of the spec. A name that failpoint.def has not, or
 * a spec that is none, ends the process: a sweep with a typing error would pass and show nothing.
 *
 * Compiled in always: what is tested is what runs; without the variable a passage is one getenv.
 * Rejected: a build of its own for tests (two programs, one of them untested), and libc replaced by
 * LD_PRELOAD (knows no "behind the commit, before the answer"). Any thread.
 */
#ifndef TAILOR_LIB_FAILPOINT_H
#define TAILOR_LIB_FAILPOINT_H

#include <stdbool.h>

/* False in ordinary runs. True: errno is set, and the caller does as if its call had failed. */
bool failpoint_fails(const char *name);

#endif
