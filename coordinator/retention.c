/* SPDX-License-Identifier: Apache-2.0
 *
 * Rejected: to keep a number of events; how long one can look back would depend on how busy it was.
 * And to collect garbage with every removal: what two removals in a row leave is walked twice.
 */
#include "coordinator/retention.h"

#include <inttypes.h>

#include "coordinator/change.h"
#include "coordinator/series.h"
#include "coordinator/state.h"
#include "lib/log.h"
#include "storage/records/event_record.h"
#include "storage/records/result_record.h"

#define HOUR_MS        (3600 * 1000LL)
#define EXPORT_KEEP_MS (7 * 24 * HOUR_MS) /* it can be made again */

struct retention {
    struct coordinator *coordinator;
    struct event *events, *garbage; /* NULL: that is kept */
};

/* ---- events ---------------------------------------------------------------------------------- */

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

static void remove_events(evutil_socket_t none, short what, void *argument)
{
    struct retention *retention = argument;
    struct coordinator *coordinator = retention->coordinator;
    struct removal *removal = mem_alloc(sizeof(*removal));
    (void)none, (void)what;
    removal->before_ms = now_read(coordinator) - coordinator->options.keep_events_ms;
    coordinator_write(coordinator, removal_run, on_removed, removal);
}

/* ---- garbage --------------------------------------------------------------------------------- */

struct sweep {
    struct coordinator *coordinator;
    Api__GcReply reply;
    int64_t before_ms;
};

static void on_swept(void *argument, enum status status, const struct error *error)
{
    struct sweep *sweep = argument;
    struct coordinator *coordinator = sweep->coordinator;
    coordinator->sweeps = false;
    if (status != STATUS_OK) {
        log_warn("garbage stays for now: %s", error->text);
    } else if (sweep->reply.blobs > 0 && !coordinator->closing) {
        struct change *change = change_begin(coordinator);
        change_event(change, NULL, "garbage_removed", API__SEVERITY__SEVERITY_INFO,
                     "%" PRId64 " blobs that nothing refers to are removed: %" PRId64 " bytes",
                     sweep->reply.blobs, sweep->reply.bytes);
        change_commit(change, NULL, NULL);
    }
    mem_free(sweep);
}

static enum status exports_run(struct records *records, void *argument, struct error *error)
{
    const struct sweep *sweep = argument;
    int64_t removed;
    return result_record_expire_exports(records, sweep->before_ms, &removed, error);
}

static void on_exports(void *argument, enum status status, const struct error *error)
{
    struct sweep *sweep = argument;
    if (status != STATUS_OK || sweep->coordinator->closing)
        on_swept(sweep, status, error);
    else
        coordinator_gc(sweep->coordinator, &sweep->reply, on_swept, sweep);
}

void retention_make_room(struct coordinator *coordinator)
{
    if (coordinator->options.gc_every_ms == 0 || coordinator->sweeps)
        return;
    struct sweep *sweep = mem_alloc(sizeof(*sweep));
    coordinator->sweeps = true;
    sweep->coordinator = coordinator;
    api__gc_reply__init(&sweep->reply);
    sweep->before_ms = now_read(coordinator) - EXPORT_KEEP_MS;
    coordinator_write(coordinator, exports_run, on_exports, sweep);
}

static void remove_garbage(evutil_socket_t none, short what, void *argument)
{
    struct retention *retention = argument;
    (void)none, (void)what;
    retention_make_room(retention->coordinator);
}

/* ---- both ------------------------------------------------------------------------------------ */

static struct event *every(struct retention *retention, int64_t every_ms, event_callback_fn run)
{
    struct timeval time = {.tv_sec = every_ms / 1000, .tv_usec = every_ms % 1000 * 1000};
    struct event *timer = event_new(retention->coordinator->base, -1, EV_PERSIST, run, retention);
    CHECK(timer != NULL);
    event_add(timer, &time);
    return timer;
}

/* Events are looked at now, and then often enough that none stays for half as long again, at most
 * hourly. */
struct retention *retention_start(struct coordinator *coordinator)
{
    const struct coordinator_options *options = &coordinator->options;
    struct retention *retention = mem_alloc(sizeof(*retention));
    *retention = (struct retention){.coordinator = coordinator};
    if (options->keep_events_ms > 0) {
        int64_t half_ms = options->keep_events_ms / 2 + 1;
        retention->events = every(retention, half_ms < HOUR_MS ? half_ms : HOUR_MS, remove_events);
        remove_events(-1, 0, retention);
    }
    series_forget(coordinator);
    if (options->gc_every_ms > 0)
        retention->garbage = every(retention, options->gc_every_ms, remove_garbage);
    return retention;
}

void retention_stop(struct retention *retention)
{
    if (retention == NULL)
        return;
    if (retention->events != NULL)
        event_free(retention->events);
    if (retention->garbage != NULL)
        event_free(retention->garbage);
    mem_free(retention);
}
