/* SPDX-License-Identifier: Apache-2.0
 *
 * A stream is reading (a page is on its way), flushing (a page is leaving) or waiting (for its
 * watches or its beat). Only one of them at a time, so there is one cursor.
 */
#include "coordinator/api/stream.h"

#include "coordinator/api/sse.h"
#include "lib/check.h"
#include "storage/records/event_record.h"
#include "storage/records/job_record.h"

struct stream {
    struct sse sse;
    struct exchange *exchange;
    enum watch_kind kind;
    struct series_query query;
    int64_t cut, cut_told; /* events up to here may have been removed, and were said to be */
    struct arena page;     /* of this page */
    void *list;
    struct watch watch, end_watch;
    bool woken, over; /* over: the job is in its final state */
};

static void stream_free(void *argument)
{
    struct stream *stream = argument;
    struct coordinator *coordinator = stream->exchange->api->coordinator;
    coordinator_watch_stop(coordinator, &stream->watch);
    if (stream->query.job != 0)
        coordinator_watch_stop(coordinator, &stream->end_watch);
    arena_release(&stream->page);
    mem_free(stream);
}

/* ---- pages ----------------------------------------------------------------------------------- */

static enum status read_events(struct records *records, void *argument, struct error *error)
{
    struct stream *stream = argument;
    int64_t newest;
    stream->list = message_new(&stream->page, &api__event_list__descriptor);
    if (stream->query.job == 0)
        TRY(event_record_bounds(records, &stream->cut, &newest, error));
    return event_record_list(records, exchange_scope(stream->exchange), stream->query.job,
                             stream->query.after, stream->query.limit, &stream->page, stream->list,
                             error);
}

static void read_page(struct stream *stream, coordinator_done *done)
{
    struct coordinator *coordinator = stream->exchange->api->coordinator;
    arena_release(&stream->page);
    switch (stream->kind) {
    case WATCH_EVENTS:
        coordinator_read(coordinator, read_events, done, stream);
        break;
    case WATCH_METRICS:
        stream->list = message_new(&stream->page, &api__metric_list__descriptor);
        coordinator_metrics_read(coordinator, &stream->query, &stream->page, stream->list, done,
                                 stream);
        break;
    case WATCH_LOGS:
        stream->list = message_new(&stream->page, &api__log_list__descriptor);
        coordinator_logs_read(coordinator, &stream->query, &stream->page, stream->list, done,
                              stream);
        break;
    }
}

static enum status read_over(struct records *records, void *argument, struct error *error)
{
    struct stream *stream = argument;
    Api__Job *job;
    TRY(job_record_get(records, exchange_scope(stream->exchange), stream->query.job, false,
                       &stream->page, &job, error));
    stream->over = job->state >= API__JOB_STATE__JOB_STATE_SUCCEEDED;
    return STATUS_OK;
}

/* Once for each cut: of what lies before it, events of jobs that are not over are still there. */
static void write_gap(struct stream *stream, struct evbuffer *out)
{
    if (stream->cut > stream->query.after && stream->cut > stream->cut_told) {
        sse_write_gap(out, stream->query.after + 1, stream->cut);
        stream->cut_told = stream->cut;
    }
}

/* The cursor moves behind them. Points have no number of their own: the last of a page carries the
 * cursor. */
static void write_page(struct stream *stream, struct evbuffer *out)
{
    const Api__EventList *events = stream->list;
    const Api__MetricList *metrics = stream->list;
    const Api__LogList *logs = stream->list;
    if (stream->kind == WATCH_EVENTS) {
        write_gap(stream, out);
        for (size_t i = 0; i < events->n_events; i++)
            sse_write_message(out, "event", events->events[i]->number, &events->events[i]->base);
        stream->query.after = events->has_next ? events->next : stream->query.after;
    } else if (stream->kind == WATCH_METRICS) {
        for (size_t i = 0; i < metrics->n_points; i++)
            sse_write_message(out, "metric", i + 1 == metrics->n_points ? metrics->next : 0,
                              &metrics->points[i]->base);
        stream->query.after = metrics->has_next ? metrics->next : stream->query.after;
    } else {
        for (size_t i = 0; i < logs->n_lines; i++)
            sse_write_message(out, "log", i + 1 == logs->n_lines ? logs->next : 0,
                              &logs->lines[i]->base);
        stream->query.after = logs->has_next ? logs->next : stream->query.after;
    }
}

/* ---- the pump -------------------------------------------------------------------------------- */

static void pump(struct stream *stream);

static void finish(struct stream *stream)
{
    struct evbuffer *chunk = evbuffer_new();
    evbuffer_add_printf(chunk, "event: end\ndata: {}\n\n");
    sse_finish(&stream->sse, chunk);
}

static void on_over(void *argument, enum status status, const struct error *error)
{
    struct stream *stream = argument;
    (void)error;
    if (!sse_returned(&stream->sse))
        return;
    if (status != STATUS_OK)
        stream->over = true; /* it is gone */
    pump(stream);            /* if it is over: a page more, which may have come in between */
}

static void on_page(void *argument, enum status status, const struct error *error)
{
    struct stream *stream = argument;
    (void)error;
    if (!sse_returned(&stream->sse)) /* no "end" where the server stops: who follows comes again */
        return;
    struct evbuffer *chunk = evbuffer_new();
    if (status == STATUS_OK)
        write_page(stream, chunk);
    if (evbuffer_get_length(chunk) > 0) {
        stream->woken = true; /* there may be more */
        sse_send(&stream->sse, chunk);
        return;
    }
    evbuffer_free(chunk);
    if (stream->over) {
        finish(stream);
    } else if (stream->query.job != 0) {
        stream->sse.reading = true;
        coordinator_read(stream->exchange->api->coordinator, read_over, on_over, stream);
    } else if (stream->woken) {
        pump(stream);
    }
}

static void pump(struct stream *stream)
{
    if (!sse_idle(&stream->sse) || !(stream->woken || stream->over))
        return;
    stream->woken = false;
    stream->sse.reading = true;
    read_page(stream, on_page);
}

static void on_wake(void *argument)
{
    struct stream *stream = argument;
    stream->woken = true;
    pump(stream);
}

/* ---- its beginning --------------------------------------------------------------------------- */

static bool wants_follow(const struct exchange *exchange)
{
    if (exchange->match.route->id == ROUTE_EVENTS)
        return ((const Api__EventListRequest *)exchange->request)->follow;
    return ((const Api__JobRequest *)exchange->request)->follow;
}

/* A page without a stream. */
static void on_single(void *argument, enum status status, const struct error *error)
{
    struct stream *stream = argument;
    stream->exchange->reply = stream->list;
    exchange_done(stream->exchange, status, error);
    arena_release(&stream->page);
    mem_free(stream);
}

static void start(struct stream *stream)
{
    struct coordinator *coordinator = stream->exchange->api->coordinator;
    int64_t job = stream->query.job;
    stream->watch =
        (struct watch){.kind = stream->kind, .job = job, .wake = on_wake, .argument = stream};
    stream->end_watch =
        (struct watch){.kind = WATCH_EVENTS, .job = job, .wake = on_wake, .argument = stream};
    coordinator_watch_start(coordinator, &stream->watch);
    if (job != 0)
        coordinator_watch_start(coordinator, &stream->end_watch);
    on_wake(stream);
}

void stream_begin(struct exchange *exchange, enum watch_kind kind, const struct series_query *query)
{
    static const struct sse_calls calls = {.go_on = on_wake, .free = stream_free};
    struct error error;
    struct stream *stream = mem_alloc(sizeof(*stream));
    *stream = (struct stream){.exchange = exchange, .kind = kind, .query = *query};
    if (!wants_follow(exchange) || exchange->head) {
        read_page(stream, on_single);
        return;
    }
    stream->query.after = sse_after(exchange, query->after);
    enum status status = sse_open(&stream->sse, exchange, &calls, stream, &error);
    if (status == STATUS_OK) {
        start(stream);
        return;
    }
    mem_free(stream);
    exchange_done(exchange, status, &error);
}
