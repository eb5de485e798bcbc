/* SPDX-License-Identifier: Apache-2.0
 *
 * A stream is reading (a page is on its way), flushing (a page is leaving) or waiting (for its
 * watches or its beat). Only one of them at a time, so there is one cursor. When its client goes
 * while a page is on its way, it lives on until that page comes.
 */
#include "coordinator/api/stream.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <inttypes.h>
#include <string.h>

#include "lib/check.h"
#include "lib/failpoint.h"
#include "lib/text.h"
#include "proto/message_json.h"
#include "storage/records/event_record.h"
#include "storage/records/job_record.h"

enum {
    INPUT_MAX = 65536, /* what a client may say while it listens */
    STALLED_S = 60     /* a client that takes nothing for so long is gone */
};

struct stream {
    struct exchange *exchange;
    enum watch_kind kind;
    struct series_query query;
    struct arena page; /* of this page */
    void *list;
    struct watch watch, end_watch;
    struct event *beat;
    bool reading, flushing, woken, closed, over; /* over: the job is in its final state */
    struct stream *next, **link;
};

static void pump(struct stream *stream);

/* ---- its end --------------------------------------------------------------------------------- */

static void stream_free(struct stream *stream)
{
    struct exchange *exchange = stream->exchange;
    *stream->link = stream->next;
    if (stream->next != NULL)
        stream->next->link = stream->link;
    exchange->api->stream_count--;
    coordinator_watch_stop(exchange->api->coordinator, &stream->watch);
    if (stream->query.job != 0)
        coordinator_watch_stop(exchange->api->coordinator, &stream->end_watch);
    event_free(stream->beat);
    arena_release(&stream->page);
    exchange_free(exchange);
    mem_free(stream);
}

/* The client is gone. A request without a connection is ours to free; otherwise it is evhttp's. */
static void on_close(struct evhttp_connection *connection, void *argument)
{
    struct stream *stream = argument;
    struct evhttp_request *http = stream->exchange->http;
    (void)connection;
    if (stream->closed)
        return;
    stream->closed = true;
    if (evhttp_request_get_connection(http) == NULL)
        evhttp_request_free(http);
    stream->exchange->http = NULL;
    if (!stream->reading)
        stream_free(stream);
}

static void stream_end(struct stream *stream)
{
    struct evhttp_request *http = stream->exchange->http;
    evhttp_connection_set_closecb(evhttp_request_get_connection(http), NULL, NULL);
    connection_answered(stream->exchange->api->connections, http);
    evhttp_send_reply_end(http);
    stream_free(stream);
}

void streams_stop(struct api *api)
{
    for (struct stream *stream = api->streams, *next; stream != NULL; stream = next) {
        next = stream->next;
        if (!stream->closed && !stream->reading) /* else it ends when its page comes */
            stream_end(stream);
    }
}

/* ---- pages ----------------------------------------------------------------------------------- */

static enum status read_events(struct records *records, void *argument, struct error *error)
{
    struct stream *stream = argument;
    stream->list = message_new(&stream->page, &api__event_list__descriptor);
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

static void write_entry(struct evbuffer *out, const char *kind, int64_t id,
                        const ProtobufCMessage *entry)
{
    struct buf json = {0};
    message_to_json(entry, &json);
    while (json.length > 0 && json.data[json.length - 1] == '\n')
        json.length--;
    if (id > 0)
        evbuffer_add_printf(out, "id: %" PRId64 "\n", id);
    evbuffer_add_printf(out, "event: %s\ndata: ", kind);
    evbuffer_add(out, json.data, json.length);
    evbuffer_add(out, "\n\n", 2);
    buf_release(&json);
}

/* Returns how many entries; the cursor moves behind them. Points have no number of their own: the
 * last of a page carries the cursor. */
static size_t write_page(struct stream *stream, struct evbuffer *out)
{
    const Api__EventList *events = stream->list;
    const Api__MetricList *metrics = stream->list;
    const Api__LogList *logs = stream->list;
    size_t count = 0;
    if (stream->kind == WATCH_EVENTS) {
        for (count = 0; count < events->n_events; count++)
            write_entry(out, "event", events->events[count]->number, &events->events[count]->base);
        stream->query.after = events->has_next ? events->next : stream->query.after;
    } else if (stream->kind == WATCH_METRICS) {
        for (count = 0; count < metrics->n_points; count++)
            write_entry(out, "metric", count + 1 == metrics->n_points ? metrics->next : 0,
                        &metrics->points[count]->base);
        stream->query.after = metrics->has_next ? metrics->next : stream->query.after;
    } else {
        for (count = 0; count < logs->n_lines; count++)
            write_entry(out, "log", count + 1 == logs->n_lines ? logs->next : 0,
                        &logs->lines[count]->base);
        stream->query.after = logs->has_next ? logs->next : stream->query.after;
    }
    return count;
}

/* ---- the pump -------------------------------------------------------------------------------- */

static void on_flushed(struct evhttp_connection *connection, void *argument)
{
    struct stream *stream = argument;
    (void)connection;
    stream->flushing = false;
    pump(stream);
}

static void send_chunk(struct stream *stream, struct evbuffer *chunk)
{
    stream->flushing = true;
    if (failpoint_fails("stream_send"))
        connection_cut(stream->exchange->http);
    evhttp_send_reply_chunk_with_cb(stream->exchange->http, chunk, on_flushed, stream);
    evbuffer_free(chunk);
}

static void finish(struct stream *stream)
{
    struct evbuffer *chunk = evbuffer_new();
    evbuffer_add_printf(chunk, "event: end\ndata: {}\n\n");
    evhttp_send_reply_chunk(stream->exchange->http, chunk);
    evbuffer_free(chunk);
    stream_end(stream);
}

static void on_over(void *argument, enum status status, const struct error *error)
{
    struct stream *stream = argument;
    (void)error;
    stream->reading = false;
    if (stream->closed) {
        stream_free(stream);
        return;
    }
    if (status != STATUS_OK)
        stream->over = true; /* it is gone */
    if (stream->exchange->api->stopping)
        stream_end(stream);
    else
        pump(stream); /* if it is over: a page more, which may have come in between */
}

static void on_page(void *argument, enum status status, const struct error *error)
{
    struct stream *stream = argument;
    bool was_over = stream->over, stopping = stream->exchange->api->stopping;
    (void)error;
    stream->reading = false;
    if (stream->closed) {
        stream_free(stream);
        return;
    }
    struct evbuffer *chunk = evbuffer_new();
    size_t count = status == STATUS_OK ? write_page(stream, chunk) : 0;
    if (count > 0 && !stopping) {
        stream->woken = true; /* there may be more */
        send_chunk(stream, chunk);
        return;
    }
    evbuffer_free(chunk);
    if (stopping) {
        stream_end(stream); /* no "end": who follows comes again */
    } else if (was_over) {
        finish(stream);
    } else if (stream->query.job != 0) {
        stream->reading = true;
        coordinator_read(stream->exchange->api->coordinator, read_over, on_over, stream);
    } else if (stream->woken) {
        pump(stream);
    }
}

static void pump(struct stream *stream)
{
    if (stream->closed || stream->reading || stream->flushing || !(stream->woken || stream->over) ||
        stream->exchange->api->stopping)
        return;
    stream->woken = false;
    stream->reading = true;
    read_page(stream, on_page);
}

static void on_wake(void *argument)
{
    struct stream *stream = argument;
    stream->woken = true;
    pump(stream);
}

static void on_beat(evutil_socket_t none, short what, void *argument)
{
    struct stream *stream = argument;
    (void)none, (void)what;
    if (!stream->closed && !stream->reading && !stream->flushing) {
        struct evbuffer *chunk = evbuffer_new();
        evbuffer_add(chunk, ": beat\n\n", 8);
        stream->woken = true;
        send_chunk(stream, chunk);
    }
}

/* ---- its beginning --------------------------------------------------------------------------- */

static void stream_start(struct exchange *exchange, struct stream *stream)
{
    struct api *api = exchange->api;
    struct evhttp_connection *connection = evhttp_request_get_connection(exchange->http);
    struct bufferevent *channel = evhttp_connection_get_bufferevent(connection);
    struct evkeyvalq *headers = evhttp_request_get_output_headers(exchange->http);
    stream->next = api->streams;
    stream->link = &api->streams;
    if (api->streams != NULL)
        api->streams->link = &stream->next;
    api->streams = stream;
    api->stream_count++;
    evhttp_add_header(headers, "Content-Type", "text/event-stream");
    evhttp_add_header(headers, "Cache-Control", "no-store");
    evhttp_add_header(headers, "Connection", "close"); /* its limits are not an ordinary one's */
    evhttp_add_header(headers, "X-Request-Id", exchange->id);
    evhttp_connection_set_closecb(connection, on_close, stream);
    evhttp_send_reply_start(exchange->http, 200, NULL);
    struct timeval stalled = {.tv_sec = STALLED_S};
    bufferevent_set_timeouts(channel, NULL, &stalled); /* to be silent is no fault of a listener */
    bufferevent_setwatermark(channel, EV_READ, 0, INPUT_MAX);
    coordinator_watch_start(api->coordinator, &stream->watch);
    if (stream->query.job != 0)
        coordinator_watch_start(api->coordinator, &stream->end_watch);
    struct timeval beat = {.tv_sec = STREAM_BEAT_S};
    event_add(stream->beat, &beat);
    on_wake(stream);
}

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

static void last_event_id(struct exchange *exchange, struct series_query *query)
{
    const char *text =
        evhttp_find_header(evhttp_request_get_input_headers(exchange->http), "Last-Event-ID");
    int64_t after;
    if (text != NULL && parse_i64(text, &after) && after >= 0)
        query->after = after;
}

void stream_begin(struct exchange *exchange, enum watch_kind kind, const struct series_query *query)
{
    struct api *api = exchange->api;
    struct error error;
    struct stream *stream = mem_alloc(sizeof(*stream));
    *stream = (struct stream){.exchange = exchange, .kind = kind, .query = *query};
    if (!wants_follow(exchange) || exchange->head) {
        read_page(stream, on_single);
        return;
    }
    if (api->stream_count >= STREAMS_MAX) {
        mem_free(stream);
        exchange_done(exchange,
                      error_set(&error, STATUS_LIMIT, "%d streams are open; at most %d",
                                api->stream_count, STREAMS_MAX),
                      &error);
        return;
    }
    last_event_id(exchange, &stream->query);
    stream->watch =
        (struct watch){.kind = kind, .job = query->job, .wake = on_wake, .argument = stream};
    stream->end_watch = (struct watch){
        .kind = WATCH_EVENTS, .job = query->job, .wake = on_wake, .argument = stream};
    stream->beat = event_new(api->base, -1, EV_PERSIST, on_beat, stream);
    stream_start(exchange, stream);
}
