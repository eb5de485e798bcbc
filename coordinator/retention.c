/* SPDX-License-Identifier: Apache-2.0
 *
 * Rejected: to keep a number of events; how long one can look back would depend on how busy it was.
 */
#include "coordinator/retention.h"

#include <inttypes.h>

#include "coordinator/state.h"
#include "lib/log.h"
#include "storage/records/event_record.h"

#define HOUR_MS (3600 * 1000LL)

struct retention {
    struct coordinator *coordinator;
    struct event *timer;
};

/* One at a time or not: it is its own, for the retention may have stopped when it is done. */
struct removal {
    int64_t before_ms, removed;
};

static enum status removal_run(struct records *records, void *argument, struct error *error)
{
    struct removal *removal = argument;
    return event_record_expire(records, removal->before_ms, &removal->removed, error);
}

static void on_removed(void *argument, enum status status, const struct error *error)
{
    struct removal *removal = argument;
    if (status != STATUS_OK)
        log_warn("old events stay for now: %s", error->text);
    else if (removal->removed > 0)
        log_info("removed %" PRId64 " old events", removal->removed);
    mem_free(removal);
}

static void on_timer(evutil_socket_t none, short what, void *argument)
{
    struct retention *retention = argument;
    struct coordinator *coordinator = retention->coordinator;
    struct removal *removal = mem_alloc(sizeof(*removal));
    (void)none, (void)what;
    removal->before_ms = now_read(coordinator) - coordinator->options.keep_events_ms;
    coordinator_write(coordinator, removal_run, on_removed, removal);
}

struct retention *retention_start(struct coordinator *coordinator)
{
    int64_t every_ms = coordinator->options.keep_events_ms / 2;
    if (coordinator->options.keep_events_ms == 0)
        return NULL;
    every_ms = every_ms < HOUR_MS ? every_ms + 1 : HOUR_MS;
    struct retention *retention = mem_alloc(sizeof(*retention));
    struct timeval every = {.tv_sec = every_ms / 1000, .tv_usec = every_ms % 1000 * 1000};
    retention->coordinator = coordinator;
    retention->timer = event_new(coordinator->base, -1, EV_PERSIST, on_timer, retention);
    CHECK(retention->timer != NULL);
    event_add(retention->timer, &every);
    on_timer(-1, 0, retention);
    return retention;
}

void retention_stop(struct retention *retention)
{
    if (retention == NULL)
        return;
    event_free(retention->timer);
    mem_free(retention);
}
