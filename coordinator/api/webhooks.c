/* SPDX-License-Identifier: Apache-2.0
 *
 * Rejected: a thread for each webhook; hundreds of tenants have some, and nearly all are idle. And
 * one thread for all: a receiver that takes its whole time would hold up every other.
 */
#include "coordinator/api/webhooks.h"

#include <string.h>

#include "coordinator/api/exchange.h"
#include "coordinator/api/webhook_post.h"
#include "coordinator/background.h"
#include "coordinator/backoff.h"
#include "lib/check.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "lib/rng.h"
#include "storage/records/event_record.h"
#include "storage/records/webhook_record.h"

enum {
    LOOK_MS = 1000,    /* waits end between events too */
    SOON_MS = 100,     /* behind an event */
    BEHIND_MAX = 512,  /* a place is moved over events of other kinds when it is so far behind */
    MOVE_MS = 3600000, /* … and once an hour, so that no gap is told of them */
    GONE = 410         /* the receiver's word for: never again */
};

/* One event on its way to one receiver; its own arena. */
struct flight {
    struct work work;
    struct webhooks *webhooks;
    struct arena arena;
    Api__Webhook *webhook;
    struct webhook_post post;
    struct buf body;
    char id[WEBHOOK_ID_SIZE], signature[WEBHOOK_SIGNATURE_SIZE];
    int64_t number; /* the event's */
    struct flight *next;
};

struct webhooks {
    struct api *api;
    bool private;
    const char *ca;
    atomic_bool stopping;
    bool looks, again; /* a look is under way; another is wanted behind it */
    bool any;          /* the last look found a webhook that is not stopped */
    int64_t moved_ms;  /* when all places were moved last */
    struct event *timer, *soon;
    struct watch watch;
    struct background *threads[WEBHOOK_THREADS];
    struct flight *unwritten;          /* told, and the records could not take it yet */
    int64_t busy[WEBHOOK_FLIGHTS_MAX]; /* ids of webhooks with a flight */
    int busy_count;
};

/* ---- who has something under way ------------------------------------------------------------- */

static bool is_busy(const struct webhooks *it, int64_t id)
{
    for (int i = 0; i < it->busy_count; i++)
        if (it->busy[i] == id)
            return true;
    return false;
}

static void not_busy(struct webhooks *it, int64_t id)
{
    for (int i = 0; i < it->busy_count; i++)
        if (it->busy[i] == id) {
            it->busy[i] = it->busy[--it->busy_count];
            return;
        }
    CHECK(false);
}

static void flight_free(struct flight *flight)
{
    buf_release(&flight->body);
    arena_release(&flight->arena);
    mem_free(flight);
}

/* ---- what came of it ------------------------------------------------------------------------- */

static enum status outcome_write(struct records *records, void *argument, struct error *error)
{
    return webhook_record_outcome(records, ((struct flight *)argument)->webhook, error);
}

/* While the disk is full its webhook stays busy: told anew in the meantime, the receiver would get
 * the same event once a second. */
static void on_written(void *argument, enum status status, const struct error *error)
{
    struct flight *flight = argument;
    struct webhooks *it = flight->webhooks;
    if (status == STATUS_IO && !atomic_load(&it->stopping)) {
        flight->next = it->unwritten;
        it->unwritten = flight;
        return;
    }
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) /* it was removed meanwhile */
        log_warn("webhook h-%lld: what came of it is not recorded, it is told again: %s",
                 (long long)flight->webhook->id, error->text);
    not_busy(it, flight->webhook->id);
    flight_free(flight);
    webhooks_look(it);
}

static void write_again(struct webhooks *it)
{
    struct flight *flight = it->unwritten, *next;
    it->unwritten = NULL;
    for (; flight != NULL; flight = next) {
        next = flight->next;
        coordinator_write(it->api->coordinator, outcome_write, on_written, flight);
    }
}

/* Up to 1 s, 2 s, 4 s … an hour. */
static int64_t wait_ms(const struct webhooks *it, const Api__Webhook *webhook)
{
    static const struct backoff backoff = {1000, WEBHOOK_WAIT_MS_MAX};
    return backoff_ms(&backoff, (int32_t)webhook->failed_attempts,
                      rng_stream("webhook") ^ (uint64_t)webhook->id, it->api->seed);
}

static void judge(const struct webhooks *it, struct flight *flight)
{
    Api__Webhook *webhook = flight->webhook;
    const int64_t now_ms = coordinator_now_ms();
    webhook->has_tried_ms = true;
    webhook->tried_ms = now_ms;
    webhook->has_status_code = flight->post.code > 0;
    webhook->status_code = flight->post.code;
    if (flight->post.cause[0] == '\0') {
        webhook->event_number = flight->number;
        webhook->delivered++;
        webhook->failed_attempts = 0;
        webhook->has_next_ms = false;
        webhook->cause = NULL;
        return;
    }
    webhook->failed_attempts++;
    webhook->has_next_ms = true;
    webhook->next_ms = now_ms + wait_ms(it, webhook);
    webhook->cause = flight->post.cause;
    webhook->has_stopped_ms =
        flight->post.code == GONE || webhook->failed_attempts >= WEBHOOK_ATTEMPTS_MAX;
    webhook->stopped_ms = now_ms;
    if (webhook->has_stopped_ms)
        log_warn("webhook h-%lld of %s is stopped: %s", (long long)webhook->id, webhook->tenant,
                 webhook->cause);
}

static enum status post(void *context, void *argument, struct error *error)
{
    struct flight *flight = argument;
    (void)context, (void)error;
    webhook_post(&flight->post);
    return STATUS_OK;
}

static void on_posted(void *argument, enum status status, const struct error *error)
{
    struct flight *flight = argument;
    struct webhooks *it = flight->webhooks;
    (void)status, (void)error;
    if (atomic_load(&it->stopping)) {
        flight_free(flight);
        return;
    }
    judge(it, flight);
    coordinator_write(it->api->coordinator, outcome_write, on_written, flight);
}

/* ---- a look ---------------------------------------------------------------------------------- */

struct look {
    struct webhooks *webhooks;
    struct arena arena;
    int64_t now_ms;
    Api__WebhookList *live;
    Api__Event **events; /* of each of these, or NULL */
    int64_t *scanned;
    int64_t cut; /* the event up to which retention may have removed some */
};

/* On the database's thread; who is busy is known to the loop alone, which looks at that later. */
static enum status look_read(struct records *records, void *argument, struct error *error)
{
    struct look *look = argument;
    int64_t newest;
    look->live = message_new(&look->arena, &api__webhook_list__descriptor);
    TRY(event_record_bounds(records, &look->cut, &newest, error));
    TRY(webhook_record_live(records, &look->arena, look->live, error));
    look->events = arena_array(&look->arena, Api__Event *, (int64_t)look->live->n_webhooks + 1);
    look->scanned = arena_array(&look->arena, int64_t, (int64_t)look->live->n_webhooks + 1);
    for (size_t i = 0; i < look->live->n_webhooks; i++) {
        Api__Webhook *webhook = look->live->webhooks[i];
        look->scanned[i] = webhook->event_number;
        if (!webhook->has_next_ms || webhook->next_ms <= look->now_ms)
            TRY(webhook_record_event(records, webhook, webhook->event_number, &look->arena,
                                     &look->events[i], &look->scanned[i], error));
    }
    return STATUS_OK;
}

static struct flight *flight_new(struct webhooks *it, const Api__Webhook *webhook)
{
    struct flight *flight = mem_alloc(sizeof(*flight));
    flight->webhooks = it;
    flight->webhook = message_copy(&flight->arena, &webhook->base);
    it->busy[it->busy_count++] = webhook->id;
    return flight;
}

static struct background *quietest(const struct webhooks *it)
{
    struct background *found = it->threads[0];
    for (int i = 1; i < WEBHOOK_THREADS; i++)
        if (background_waiting(it->threads[i]) < background_waiting(found))
            found = it->threads[i];
    return found;
}

static void take_off(struct webhooks *it, const Api__Webhook *webhook, const Api__Event *event,
                     int64_t cut)
{
    struct flight *flight = flight_new(it, webhook);
    const int64_t now_s = coordinator_now_ms() / 1000;
    flight->number = event->number;
    webhook_message_id(webhook, event, flight->id);
    webhook_message_body(event, webhook->event_number + 1,
                         cut < event->number ? cut : event->number - 1, &flight->body);
    webhook_message_sign(webhook->secret, flight->id, now_s, flight->body.data, flight->body.length,
                         flight->signature);
    flight->post = (struct webhook_post){.url = flight->webhook->url,
                                         .id = flight->id,
                                         .signature = flight->signature,
                                         .body = flight->body.data,
                                         .body_length = flight->body.length,
                                         .timestamp_s = now_s,
                                         .private = it->private,
                                         .ca = it->ca,
                                         .given_up = &it->stopping};
    flight->work =
        (struct work){.kind = WORK_WRITE, .run = post, .done = on_posted, .argument = flight};
    background_add(quietest(it), &flight->work);
}

/* Nothing for it among many events: the next look begins behind them. */
static void move_on(struct webhooks *it, const Api__Webhook *webhook, int64_t number)
{
    struct flight *flight = flight_new(it, webhook);
    flight->webhook->event_number = number;
    coordinator_write(it->api->coordinator, outcome_write, on_written, flight);
}

static void on_looked(void *argument, enum status status, const struct error *error)
{
    struct look *look = argument;
    struct webhooks *it = look->webhooks;
    if (status != STATUS_OK)
        log_warn("webhooks are not looked at: %s", error->text);
    const bool all = look->now_ms - it->moved_ms >= MOVE_MS;
    it->moved_ms = all && status == STATUS_OK ? look->now_ms : it->moved_ms;
    it->looks = false;
    it->any = status == STATUS_OK ? look->live->n_webhooks > 0 : it->any;
    for (size_t i = 0; status == STATUS_OK && !atomic_load(&it->stopping) &&
                       i < look->live->n_webhooks && it->busy_count < WEBHOOK_FLIGHTS_MAX;
         i++) {
        const Api__Webhook *webhook = look->live->webhooks[i];
        if (is_busy(it, webhook->id)) /* nothing was read for one that waits */
            continue;
        if (look->events[i] != NULL)
            take_off(it, webhook, look->events[i], look->cut);
        else if (look->scanned[i] - webhook->event_number > (all ? 0 : BEHIND_MAX))
            move_on(it, webhook, look->scanned[i]);
    }
    arena_release(&look->arena);
    mem_free(look);
    if (it->again)
        webhooks_look(it);
}

void webhooks_look(struct webhooks *it)
{
    it->again = it->looks;
    if (it->looks || atomic_load(&it->stopping))
        return;
    struct look *look = mem_alloc(sizeof(*look));
    it->looks = true;
    look->webhooks = it;
    look->now_ms = coordinator_now_ms();
    coordinator_read(it->api->coordinator, look_read, on_looked, look);
}

static void on_soon(evutil_socket_t none, short what, void *argument)
{
    (void)none, (void)what;
    webhooks_look(argument);
}

/* Events that come one after the other share a look. */
static void on_news(void *argument)
{
    struct webhooks *it = argument;
    const struct timeval soon = {.tv_usec = SOON_MS * 1000};
    if (it->any && !evtimer_pending(it->soon, NULL))
        evtimer_add(it->soon, &soon);
}

static void on_timer(evutil_socket_t none, short what, void *argument)
{
    (void)none, (void)what;
    write_again(argument);
    on_news(argument);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct webhooks *webhooks_start(struct api *api, bool private, const char *ca)
{
    struct webhooks *it = mem_alloc(sizeof(*it));
    const struct timeval every = {.tv_sec = LOOK_MS / 1000, .tv_usec = LOOK_MS % 1000 * 1000};
    webhook_post_start();
    it->api = api;
    it->private = private;
    it->ca = ca;
    it->watch = (struct watch){.kind = WATCH_EVENTS, .wake = on_news, .argument = it};
    for (int i = 0; i < WEBHOOK_THREADS; i++)
        it->threads[i] = background_start("webhook", api->base, NULL, NULL);
    it->timer = event_new(api->base, -1, EV_PERSIST, on_timer, it);
    it->soon = evtimer_new(api->base, on_soon, it);
    CHECK(it->timer != NULL && it->soon != NULL);
    event_add(it->timer, &every);
    coordinator_watch_start(api->coordinator, &it->watch);
    webhooks_look(it);
    return it;
}

bool webhooks_private(const struct webhooks *webhooks)
{
    return webhooks->private;
}

void webhooks_stop(struct webhooks *it)
{
    atomic_store(&it->stopping, true);
    event_free(it->timer);
    event_free(it->soon);
    coordinator_watch_stop(it->api->coordinator, &it->watch);
    for (int i = 0; i < WEBHOOK_THREADS; i++)
        background_stop(it->threads[i]);
    write_again(it); /* the last chance of what was told */
}

void webhooks_free(struct webhooks *it)
{
    mem_free(it);
}
