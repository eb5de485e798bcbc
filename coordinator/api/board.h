/* SPDX-License-Identifier: Apache-2.0
 *
 * board: the cluster's figures and its workers, rendered once for all tabs that show them.
 *
 * Each worker's row, and the figures, carry the number of their last change; a reader keeps how far
 * it has seen, so a slow one is given the newest state and no history. Refreshed while somebody
 * reads, every BOARD_MS. Loop thread.
 */
#ifndef TAILOR_COORDINATOR_API_BOARD_H
#define TAILOR_COORDINATOR_API_BOARD_H

#include <event2/buffer.h>

#include "coordinator/api/exchange.h"

enum { BOARD_MS = 2000 };

struct board;

struct board_cursor {
    int64_t cluster, workers;
};

struct board *board_create(struct api *api);
void board_free(struct board *board);
/* Reads anew what is older than BOARD_MS; `changed` is called when it is there. */
void board_refresh(struct board *board, void (*changed)(struct api *api));
/* Appends what the cursor has not seen, at most one message of each; workers for admins alone.
 * false: there is nothing. */
bool board_write(const struct board *board, bool admin, struct board_cursor *cursor,
                 struct evbuffer *out);

#endif
