/* SPDX-License-Identifier: Apache-2.0
 *
 * A live stream does one thing at a time: it reads events, or rows of jobs, or points of one job,
 * or writes what the board has; each ends in one chunk. The four take turns, so that a flood of one
 * does not keep the others away.
 */
#include "coordinator/api/live.h"

#include <inttypes.h>
#include <string.h>

#include "coordinator/api/board.h"
#include "coordinator/api/handlers.h"
#include "coordinator/api/sse.h"
#include "coordinator/news.h"
#include "lib/check.h"
#include "lib/limits.h"
#include "proto/message_json.h"
#include "storage/records/event_record.h"
#include "storage/records/job_record.h"
#include "storage/records/tenant_record.h"

#define LIVE_BYTES_MAX (256 * KIB) /* of one chunk … */
#define ROOM_BYTES     (64 * KIB) /* … in which an entry may still need so much (REPORT_BYTES_MAX) */
enum {
    TICK_MS = 1000,
    EVENTS_PAGE = 200,
    JOBS_PAGE = 200,
    POINTS_PAGE = 4, /* of REPORT_BYTES_MAX each at most */
    LINES_PAGE = 200,
    JOBS_FOLLOWED_MAX = 8 /* field_rules.def's */
};

/* Points, or lines, of one job. */
struct follow {
    struct live *live;
    struct watch watch;
    int64_t after;
    bool woken, begun; /* begun: `after` is known */
};

struct live {
    struct sse sse;
    struct exchange *exchange;
    struct live *next, **link;
    int64_t after, cut, cut_told;
    int64_t jobs_after;
    struct board_cursor board;
    struct watch events;
    struct follow follows[2 * JOBS_FOLLOWED_MAX];
    int follow_count;
    int turn; /* which of the four is next */
    bool greeted, events_woken, jobs_due;
    /* of what is being read */
    struct arena arena;
    Api__EventList *event_list;
    struct job_news *news;
    Api__Job **jobs; /* of the news; NULL: not to be seen */
    int job_count;
    struct follow *follow;
    void *series;
};

struct lives {
    struct api *api;
    struct event *tick; /* runs while there are any */
    struct live *first;
};

static void pump(struct live *live);

static struct coordinator *coordinator_of(const struct live *live)
{
    return live->exchange->api->coordinator;
}

static bool has_room(const struct evbuffer *out)
{
    return evbuffer_get_length(out) < LIVE_BYTES_MAX - ROOM_BYTES;
}

/* ---- events ---------------------------------------------------------------------------------- */

static enum status read_events(struct records *records, void *argument, struct error *error)
{
    struct live *live = argument;
    Api__Token *token;
    int64_t newest;
    TRY(token_record_find(records, live->exchange->token_digest, coordinator_now_ms(), &live->arena,
                          &token, error));
    live->event_list = message_new(&live->arena, &api__event_list__descriptor);
    TRY(event_record_bounds(records, &live->cut, &newest, error));
    return event_record_list(records, exchange_scope(live->exchange), 0, live->after, EVENTS_PAGE,
                             &live->arena, live->event_list, error);
}

static void write_events(struct live *live, struct evbuffer *out)
{
    const Api__EventList *list = live->event_list;
    if (live->cut > live->after && live->cut > live->cut_told) {
        sse_write_gap(out, live->after + 1, live->cut);
        live->cut_told = live->cut;
    }
    for (size_t i = 0; i < list->n_events && has_room(out); i++) {
        live->after = list->events[i]->number;
        sse_write_message(out, "event", live->after, &list->events[i]->base);
        live->events_woken = true; /* there may be more */
    }
}

/* Sends what was read, or goes on with something else. */
static void send_or_pump(struct live *live, struct evbuffer *out)
{
    if (evbuffer_get_length(out) > 0) {
        sse_send(&live->sse, out);
        return;
    }
    evbuffer_free(out);
    pump(live);
}

static void on_events(void *argument, enum status status, const struct error *error)
{
    struct live *live = argument;
    (void)error;
    if (!sse_returned(&live->sse))
        return;
    if (status == STATUS_DENIED) { /* the token has ended */
        sse_end(&live->sse);
        return;
    }
    struct evbuffer *out = evbuffer_new();
    if (status == STATUS_OK)
        write_events(live, out);
    send_or_pump(live, out);
}

static bool step_events(struct live *live)
{
    if (!live->events_woken)
        return false;
    live->events_woken = false;
    live->sse.reading = true;
    coordinator_read(coordinator_of(live), read_events, on_events, live);
    return true;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static bool came_before(const struct live *live, int index)
{
    for (int i = 0; i < index; i++)
        if (live->news[i].job == live->news[index].job)
            return true;
    return false;
}

static enum status read_jobs(struct records *records, void *argument, struct error *error)
{
    struct live *live = argument;
    live->jobs = arena_array(&live->arena, Api__Job *, live->job_count);
    for (int i = 0; i < live->job_count; i++) {
        live->jobs[i] = NULL;
        enum status status =
            came_before(live, i)
                ? STATUS_NOT_FOUND
                : job_record_get(records, exchange_scope(live->exchange), live->news[i].job, false,
                                 &live->arena, &live->jobs[i], error);
        if (status != STATUS_NOT_FOUND)
            TRY(status);
    }
    return STATUS_OK;
}

static void write_jobs(struct live *live, struct evbuffer *out)
{
    struct buf text = {0};
    const char *comma = "";
    buf_append_string(&text, "{\"jobs\":[");
    for (int i = 0; i < live->job_count && text.length < LIVE_BYTES_MAX - ROOM_BYTES; i++) {
        live->jobs_after = live->news[i].number;
        if (live->jobs[i] == NULL)
            continue;
        coordinator_job_refresh(coordinator_of(live), &live->arena, live->jobs[i]);
        buf_append_string(&text, comma);
        message_to_json(&live->jobs[i]->base, &text);
        comma = ",";
    }
    buf_append_string(&text, "]}");
    if (comma[0] != '\0')
        sse_write(out, "jobs", 0, text.data, text.length);
    buf_release(&text);
}

static void on_jobs(void *argument, enum status status, const struct error *error)
{
    struct live *live = argument;
    (void)error;
    if (!sse_returned(&live->sse))
        return;
    struct evbuffer *out = evbuffer_new();
    if (status == STATUS_OK)
        write_jobs(live, out);
    send_or_pump(live, out);
}

static bool step_jobs(struct live *live)
{
    if (!live->jobs_due)
        return false;
    int count = coordinator_jobs_changed(coordinator_of(live), live->exchange->caller.tenant,
                                         live->jobs_after, &live->arena, &live->news);
    live->jobs_due = count > JOBS_PAGE; /* then it goes on at once */
    if (count == 0)
        return false;
    live->job_count = count < JOBS_PAGE ? count : JOBS_PAGE;
    live->sse.reading = true;
    coordinator_read(coordinator_of(live), read_jobs, on_jobs, live);
    return true;
}

/* ---- the cluster ----------------------------------------------------------------------------- */

static bool step_board(struct live *live)
{
    bool admin = live->exchange->caller.role == API__ROLE__ROLE_ADMIN;
    struct evbuffer *out = evbuffer_new();
    if (!board_write(live->exchange->api->board, admin, &live->board, out)) {
        evbuffer_free(out);
        return false;
    }
    sse_send(&live->sse, out);
    return true;
}

/* ---- points and lines ------------------------------------------------------------------------ */

static void write_entry(struct evbuffer *out, const struct follow *follow, const char *event,
                        const char *field, const ProtobufCMessage *entry)
{
    struct buf text = {0};
    char id[IDENT_TEXT_MAX];
    ident_format(IDENT_JOB, follow->watch.job, id);
    buf_printf(&text, "{\"job\":\"%s\",\"%s\":", id, field);
    message_to_json(entry, &text);
    buf_append_char(&text, '}');
    sse_write(out, event, 0, text.data, text.length);
    buf_release(&text);
}

static void write_points(struct live *live, struct evbuffer *out)
{
    const Api__MetricList *list = live->series;
    for (size_t i = 0; i < list->n_points; i++)
        write_entry(out, live->follow, "metric", "point", &list->points[i]->base);
    live->follow->after = list->next;
    live->follow->woken = live->follow->woken || list->n_points > 0;
}

static void write_lines(struct live *live, struct evbuffer *out)
{
    const Api__LogList *list = live->series;
    for (size_t i = 0; i < list->n_lines && has_room(out); i++) {
        write_entry(out, live->follow, "log", "line", &list->lines[i]->base);
        live->follow->after = list->lines[i]->number;
    }
    live->follow->woken = live->follow->woken || list->n_lines > 0;
}

static void on_series(void *argument, enum status status, const struct error *error)
{
    struct live *live = argument;
    struct follow *follow = live->follow;
    bool points = follow->watch.kind == WATCH_METRICS;
    (void)error;
    if (!sse_returned(&live->sse))
        return;
    struct evbuffer *out = evbuffer_new();
    if (status == STATUS_OK && !follow->begun)
        follow->after = points ? ((const Api__MetricList *)live->series)->next
                               : ((const Api__LogList *)live->series)->next;
    else if (status == STATUS_OK && points)
        write_points(live, out);
    else if (status == STATUS_OK)
        write_lines(live, out);
    follow->begun = true;
    send_or_pump(live, out);
}

/* What is there when the stream begins is not new: the first reading looks for its end alone. */
static void read_series(struct live *live, struct follow *follow)
{
    bool points = follow->watch.kind == WATCH_METRICS;
    struct series_query query = {.job = follow->watch.job,
                                 .after = follow->after,
                                 .limit = points ? POINTS_PAGE : LINES_PAGE,
                                 .rank = -1,
                                 .end = !follow->begun};
    live->follow = follow;
    follow->woken = false;
    live->sse.reading = true;
    if (points) {
        live->series = message_new(&live->arena, &api__metric_list__descriptor);
        coordinator_metrics_read(coordinator_of(live), &query, &live->arena, live->series,
                                 on_series, live);
    } else {
        live->series = message_new(&live->arena, &api__log_list__descriptor);
        coordinator_logs_read(coordinator_of(live), &query, &live->arena, live->series, on_series,
                              live);
    }
}

static bool step_series(struct live *live)
{
    for (int i = 1; i <= live->follow_count; i++) { /* the one behind the last one first */
        int64_t last = live->follow != NULL ? live->follow - live->follows : 0;
        struct follow *follow = &live->follows[(last + i) % live->follow_count];
        if (follow->woken) {
            read_series(live, follow);
            return true;
        }
    }
    return false;
}

/* ---- the pump -------------------------------------------------------------------------------- */

/* Behind the ends of all series: a page that reads the past after it misses no point. */
static void greet(struct live *live)
{
    const struct api *api = live->exchange->api;
    char boot[17];
    struct evbuffer *out = evbuffer_new();
    Api__StreamHello hello = API__STREAM_HELLO__INIT;
    snprintf(boot, sizeof(boot), "%016" PRIx64, api->seed);
    hello.boot = boot;
    hello.version = (char *)TAILOR_VERSION;
    hello.has_time_ms = hello.has_number = true;
    hello.time_ms = coordinator_now_ms();
    hello.number = ((const Api__StreamHello *)live->exchange->reply)->number;
    sse_write_message(out, "hello", 0, &hello.base);
    live->greeted = true;
    sse_send(&live->sse, out);
}

static void pump(struct live *live)
{
    static bool (*const steps[])(struct live * live) = {step_events, step_jobs, step_board,
                                                        step_series};
    enum { STEPS = sizeof(steps) / sizeof(steps[0]) };
    if (!sse_idle(&live->sse))
        return;
    arena_release(&live->arena);
    for (int i = 0; !live->greeted && i < live->follow_count; i++)
        if (!live->follows[i].begun) {
            read_series(live, &live->follows[i]);
            return;
        }
    if (!live->greeted) {
        greet(live);
        return;
    }
    for (int i = 0; i < STEPS; i++) {
        int step = (live->turn + i) % STEPS;
        if (steps[step](live)) {
            live->turn = step + 1;
            return;
        }
    }
}

static void on_event(void *argument)
{
    struct live *live = argument;
    live->events_woken = true;
    pump(live);
}

static void on_series_woken(void *argument)
{
    struct follow *follow = argument;
    follow->woken = true;
    pump(follow->live);
}

/* Behind a beat too: to read events is to ask whether the token still is one. */
static void on_flushed(void *argument)
{
    struct live *live = argument;
    live->events_woken = true;
    pump(live);
}

static void on_board(struct api *api)
{
    for (struct live *live = api->lives->first; live != NULL; live = live->next)
        pump(live);
}

static void on_tick(evutil_socket_t none, short what, void *argument)
{
    struct lives *lives = argument;
    (void)none, (void)what;
    board_refresh(lives->api->board, on_board);
    for (struct live *live = lives->first; live != NULL; live = live->next) {
        live->jobs_due = true;
        pump(live);
    }
}

/* ---- its beginning and its end --------------------------------------------------------------- */

/* What is asked for is looked at first: a job of somebody else's is not found. */
enum status live_read(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__StreamRequest *request = exchange->request;
    Api__StreamHello *hello = exchange_reply(exchange);
    Api__Job *job;
    int64_t cut;
    for (size_t i = 0; i < request->n_job; i++)
        TRY(job_record_get(records, exchange_scope(exchange), request->job[i], false,
                           &exchange->arena, &job, error));
    hello->has_number = true;
    return event_record_bounds(records, &cut, &hello->number, error);
}

static void live_free(void *argument)
{
    struct live *live = argument;
    struct lives *lives = live->exchange->api->lives;
    *live->link = live->next;
    if (live->next != NULL)
        live->next->link = live->link;
    coordinator_watch_stop(coordinator_of(live), &live->events);
    for (int i = 0; i < live->follow_count; i++)
        coordinator_watch_stop(coordinator_of(live), &live->follows[i].watch);
    if (lives->first == NULL)
        event_del(lives->tick);
    arena_release(&live->arena);
    mem_free(live);
}

static void follow_start(struct live *live, enum watch_kind kind, int64_t job)
{
    struct follow *follow = &live->follows[live->follow_count++];
    *follow = (struct follow){
        .live = live,
        .watch = {.kind = kind, .job = job, .wake = on_series_woken, .argument = follow}};
    coordinator_watch_start(coordinator_of(live), &follow->watch);
}

static void start(struct live *live)
{
    const Api__StreamRequest *request = live->exchange->request;
    struct lives *lives = live->exchange->api->lives;
    int64_t newest = ((const Api__StreamHello *)live->exchange->reply)->number;
    struct timeval every = {.tv_sec = TICK_MS / 1000};
    live->next = lives->first;
    live->link = &lives->first;
    if (live->next != NULL)
        live->next->link = &live->next;
    else
        event_add(lives->tick, &every);
    lives->first = live;
    live->after = sse_after(live->exchange, request->has_after ? request->after : newest);
    live->jobs_after = coordinator_jobs_newest(coordinator_of(live));
    live->events = (struct watch){.kind = WATCH_EVENTS, .wake = on_event, .argument = live};
    live->events_woken = true;
    coordinator_watch_start(coordinator_of(live), &live->events);
    for (size_t i = 0; i < request->n_job; i++) {
        follow_start(live, WATCH_METRICS, request->job[i]);
        if (request->logs)
            follow_start(live, WATCH_LOGS, request->job[i]);
    }
    board_refresh(lives->api->board, on_board);
    pump(live);
}

void live_start(struct exchange *exchange)
{
    static const struct sse_calls calls = {.go_on = on_flushed, .free = live_free};
    struct error error;
    if (exchange->head) {
        exchange_done(exchange, STATUS_OK, NULL);
        return;
    }
    struct live *live = mem_alloc(sizeof(*live));
    live->exchange = exchange;
    enum status status = sse_open(&live->sse, exchange, &calls, live, &error);
    if (status == STATUS_OK) {
        start(live);
        return;
    }
    mem_free(live);
    exchange_done(exchange, status, &error);
}

struct lives *lives_create(struct api *api)
{
    struct lives *lives = mem_alloc(sizeof(*lives));
    lives->api = api;
    lives->tick = event_new(api->base, -1, EV_PERSIST, on_tick, lives);
    CHECK(lives->tick != NULL);
    return lives;
}

void lives_free(struct lives *lives)
{
    CHECK(lives->first == NULL);
    event_free(lives->tick);
    mem_free(lives);
}
