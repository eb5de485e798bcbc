/* SPDX-License-Identifier: Apache-2.0
 *
 * space: is there room in the store?
 *
 * A full disk must not be found out by a commit that fails: the records lie beside the blobs. So
 * blobs are refused while STORE_RESERVE_BYTES are still free (store.c), jobs are halted then, and
 * what records need has room. The free space is read on the store's thread, each second. A write
 * that fails for want of space all the same (a quota that the file system does not show) counts as
 * full for SPACE_FAILED_MS; then the next write tells.
 *
 * Full is full until twice the reserve is free, so that jobs do not stop and go at the border.
 * Loop thread.
 */
#ifndef TAILOR_COORDINATOR_SPACE_H
#define TAILOR_COORDINATOR_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/background.h"

struct store;

enum { SPACE_LOOK_MS = 1000, SPACE_FAILED_MS = 10000 };

struct space {
    struct work work;
    bool looking, full;
    int64_t free_bytes; /* when it was read last */
    int64_t measured;   /* the thread's, until `done` */
    int64_t looked_ms, failed_ms;
};

void space_init(struct space *space, const struct store *store);
/* Begins to read the free space if that is due. */
void space_look(struct space *space, struct background *store_thread, int64_t now_ms);
void space_failed(struct space *space, int64_t now_ms); /* a write found no space */
bool space_is_full(struct space *space, int64_t now_ms);

#endif
