/* SPDX-License-Identifier: Apache-2.0
 *
 * disk_fixture: a disk under SQLite that fills up, breaks, or loses what was not synced.
 *
 * disk_install makes it SQLite's default until disk_remove: every file that is opened in between
 * goes through it. One test at a time; any thread.
 */
#ifndef TAILOR_TESTS_DISK_FIXTURE_H
#define TAILOR_TESTS_DISK_FIXTURE_H

#include <stdbool.h>

void disk_install(void);
void disk_remove(void); /* no file may be open */

/* The k-th write, sync or truncation from now on (1 is the next) fails with this SQLite code; with
 * `forever` all later ones too. k 0: none. */
void disk_fail(int k, int code, bool forever);
int disk_operations(void); /* writes, syncs and truncations since disk_fail */

/* From now on each sync of a file copies it to `dir`: what lies there is what a loss of power at
 * this moment would leave. NULL ends that. */
void disk_keep_synced(const char *dir);

#endif
