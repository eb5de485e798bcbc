/* SPDX-License-Identifier: Apache-2.0
 */
#include "coordinator/space.h"

#include "coordinator/store.h"
#include "lib/limits.h"

void space_init(struct space *space, const struct store *store)
{
    *space = (struct space){.free_bytes = store_free_bytes(store)};
}

static enum status measure(void *context, void *argument, struct error *error)
{
    struct space *space = argument;
    (void)error;
    space->measured = store_free_bytes(context);
    return STATUS_OK;
}

static void on_measured(void *argument, enum status status, const struct error *error)
{
    struct space *space = argument;
    (void)status, (void)error;
    space->looking = false;
    space->free_bytes = space->measured;
}

void space_look(struct space *space, struct background *store_thread, int64_t now_ms)
{
    if (space->looking || now_ms - space->looked_ms < SPACE_LOOK_MS)
        return;
    space->looking = true;
    space->looked_ms = now_ms;
    space->work =
        (struct work){.kind = WORK_READ, .run = measure, .done = on_measured, .argument = space};
    background_add(store_thread, &space->work);
}

void space_failed(struct space *space, int64_t now_ms)
{
    space->failed_ms = now_ms;
}

bool space_is_full(struct space *space, int64_t now_ms)
{
    int64_t reserve = (int64_t)STORE_RESERVE_BYTES * (space->full ? 2 : 1);
    bool low = space->free_bytes < reserve;
    bool failed = space->failed_ms != 0 && now_ms - space->failed_ms < SPACE_FAILED_MS;
    space->full = low || failed;
    return space->full;
}
