/* SPDX-License-Identifier: Apache-2.0
 *
 * An answer whose client has gone has no connection any more; evhttp then leaves it to us to free.
 */
#include "coordinator/api/sse.h"

#include <event2/bufferevent.h>
#include <event2/keyvalq_struct.h>
#include <inttypes.h>
#include <string.h>

#include "lib/check.h"
#include "lib/failpoint.h"
#include "lib/text.h"
#include "proto/message_json.h"

enum {
    INPUT_MAX = 65536, /* what a client may say while it listens */
    RETRY_S = 10       /* after which one may have ended */
};

/* ---- its end --------------------------------------------------------------------------------- */

static void release(struct sse *sse)
{
    struct exchange *exchange = sse->exchange;
    *sse->link = sse->next;
    if (sse->next != NULL)
        sse->next->link = sse->link;
    exchange->api->stream_count--;
    event_free(sse->beat);
    sse->calls->free(sse->argument);
    exchange_free(exchange);
}

static void on_close(struct evhttp_connection *connection, void *argument)
{
    struct sse *sse = argument;
    struct evhttp_request *http = sse->exchange->http;
    (void)connection;
    if (sse->closed)
        return;
    sse->closed = true;
    if (evhttp_request_get_connection(http) == NULL)
        evhttp_request_free(http);
    sse->exchange->http = NULL;
    if (!sse->reading)
        release(sse);
}

void sse_end(struct sse *sse)
{
    struct evhttp_request *http = sse->exchange->http;
    evhttp_connection_set_closecb(evhttp_request_get_connection(http), NULL, NULL);
    connection_answered(sse->exchange->api->connections, http);
    evhttp_send_reply_end(http);
    release(sse);
}

void sse_finish(struct sse *sse, struct evbuffer *chunk)
{
    evhttp_send_reply_chunk(sse->exchange->http, chunk);
    evbuffer_free(chunk);
    sse_end(sse);
}

void sse_stop(struct api *api)
{
    for (struct sse *sse = api->streams, *next; sse != NULL; sse = next) {
        next = sse->next;
        if (!sse->closed && !sse->reading) /* else it ends when what was asked for comes back */
            sse_end(sse);
    }
}

bool sse_returned(struct sse *sse)
{
    sse->reading = false;
    if (sse->closed) {
        release(sse);
        return false;
    }
    if (sse->exchange->api->stopping) {
        sse_end(sse);
        return false;
    }
    return true;
}

/* ---- what is sent ---------------------------------------------------------------------------- */

bool sse_idle(const struct sse *sse)
{
    return !sse->closed && !sse->reading && !sse->flushing && !sse->exchange->api->stopping;
}

static void on_flushed(struct evhttp_connection *connection, void *argument)
{
    struct sse *sse = argument;
    (void)connection;
    sse->flushing = false;
    if (sse_idle(sse))
        sse->calls->go_on(sse->argument);
}

void sse_send(struct sse *sse, struct evbuffer *chunk)
{
    sse->flushing = true;
    if (failpoint_fails("stream_send"))
        connection_cut(sse->exchange->http);
    evhttp_send_reply_chunk_with_cb(sse->exchange->http, chunk, on_flushed, sse);
    evbuffer_free(chunk);
}

static void on_beat(evutil_socket_t none, short what, void *argument)
{
    struct sse *sse = argument;
    (void)none, (void)what;
    if (sse_idle(sse)) {
        struct evbuffer *chunk = evbuffer_new();
        evbuffer_add(chunk, ": beat\n\n", 8);
        sse_send(sse, chunk);
    }
}

void sse_write(struct evbuffer *out, const char *event, int64_t id, const char *data, size_t length)
{
    if (id > 0)
        evbuffer_add_printf(out, "id: %" PRId64 "\n", id);
    evbuffer_add_printf(out, "event: %s\ndata: ", event);
    evbuffer_add(out, data, length);
    evbuffer_add(out, "\n\n", 2);
}

void sse_write_message(struct evbuffer *out, const char *event, int64_t id,
                       const ProtobufCMessage *message)
{
    struct buf json = {0};
    message_to_json(message, &json);
    while (json.length > 0 && json.data[json.length - 1] == '\n')
        json.length--;
    sse_write(out, event, id, json.data, json.length);
    buf_release(&json);
}

void sse_write_gap(struct evbuffer *out, int64_t from, int64_t to)
{
    evbuffer_add_printf(out, "event: gap\ndata: {\"from\":%" PRId64 ",\"to\":%" PRId64 "}\n\n",
                        from, to);
}

/* ---- its beginning --------------------------------------------------------------------------- */

int64_t sse_after(const struct exchange *exchange, int64_t given)
{
    const char *text =
        evhttp_find_header(evhttp_request_get_input_headers(exchange->http), "Last-Event-ID");
    int64_t after;
    return text != NULL && parse_i64(text, &after) && after >= 0 ? after : given;
}

static void link_up(struct sse *sse, struct api *api)
{
    sse->next = api->streams;
    sse->link = &api->streams;
    if (api->streams != NULL)
        api->streams->link = &sse->next;
    api->streams = sse;
    api->stream_count++;
}

static void send_headers(struct sse *sse)
{
    struct exchange *exchange = sse->exchange;
    struct evhttp_connection *connection = evhttp_request_get_connection(exchange->http);
    struct bufferevent *channel = evhttp_connection_get_bufferevent(connection);
    struct evkeyvalq *headers = evhttp_request_get_output_headers(exchange->http);
    struct timeval stalled = {.tv_sec = SSE_STALLED_S};
    evhttp_add_header(headers, "Content-Type", "text/event-stream");
    evhttp_add_header(headers, "Cache-Control", "no-store");
    evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
    evhttp_add_header(headers, "Connection", "close"); /* its limits are not an ordinary one's */
    evhttp_add_header(headers, "X-Request-Id", exchange->id);
    evhttp_connection_set_closecb(connection, on_close, sse);
    evhttp_send_reply_start(exchange->http, 200, NULL);
    bufferevent_set_timeouts(channel, NULL, &stalled); /* to be silent is no fault of a listener */
    bufferevent_setwatermark(channel, EV_READ, 0, INPUT_MAX);
}

enum status sse_open(struct sse *sse, struct exchange *exchange, const struct sse_calls *calls,
                     void *argument, struct error *error)
{
    struct api *api = exchange->api;
    struct timeval beat = {.tv_sec = SSE_BEAT_S};
    if (api->stream_count >= STREAMS_MAX) {
        exchange->code = 503;
        exchange->retry_after_s = RETRY_S;
        return error_set(error, STATUS_LIMIT, "%d streams are open; at most %d", api->stream_count,
                         STREAMS_MAX);
    }
    *sse = (struct sse){.exchange = exchange, .calls = calls, .argument = argument};
    link_up(sse, api);
    send_headers(sse);
    sse->beat = event_new(api->base, -1, EV_PERSIST, on_beat, sse);
    event_add(sse->beat, &beat);
    return STATUS_OK;
}
