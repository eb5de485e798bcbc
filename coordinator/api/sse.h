/* SPDX-License-Identifier: Apache-2.0
 *
 * sse: an answer that goes on: server-sent events to one client, as long as both want.
 *
 *     TRY(sse_open(&live->sse, exchange, &CALLS, live, error));   // headers are sent
 *     if (sse_idle(&live->sse)) sse_send(&live->sse, chunk);      // one chunk at a time
 *     …                        // calls->go_on(live): the chunk has left
 *
 * Who writes has the struct sse in its own and says `reading` while work for it is on its way to
 * another thread; when the client goes meanwhile, all lives until that comes back and
 * sse_returned() says so. A client that does not read is not written for: what waits for it is one
 * chunk. Every SSE_BEAT_S a comment keeps proxies from closing it; a client that takes nothing for
 * SSE_STALLED_S is gone. Loop thread.
 */
#ifndef TAILOR_COORDINATOR_API_SSE_H
#define TAILOR_COORDINATOR_API_SSE_H

#include <event2/buffer.h>

#include "coordinator/api/exchange.h"

enum { SSE_BEAT_S = 15, SSE_STALLED_S = 60 };

struct sse_calls {
    void (*go_on)(void *argument); /* it is idle: a chunk has left, or it is time for a beat */
    void (*free)(void *argument);  /* the exchange and the struct sse are done with */
};

struct sse {
    struct exchange *exchange;
    bool reading;
    /* private: */
    const struct sse_calls *calls;
    void *argument;
    struct event *beat;
    bool flushing, closed;
    struct sse *next, **link;
};

/* STATUS_LIMIT, with exchange->code 503 and a Retry-After, when STREAMS_MAX are open: the exchange
 * is the caller's still. */
enum status sse_open(struct sse *sse, struct exchange *exchange, const struct sse_calls *calls,
                     void *argument, struct error *error);
bool sse_idle(const struct sse *sse); /* may be read and written for */
/* What was asked of another thread is back. false: the client has gone, or the server stops, and
 * all is freed. */
bool sse_returned(struct sse *sse);
void sse_send(struct sse *sse, struct evbuffer *chunk); /* takes the chunk; is not idle then */
/* The same without the answer's end: `chunk` is the last. Frees all. */
void sse_finish(struct sse *sse, struct evbuffer *chunk);
void sse_end(struct sse *sse);
/* Ends them all. */
void sse_stop(struct api *api);

/* Appends one event; id 0: without one. */
void sse_write(struct evbuffer *out, const char *event, int64_t id, const char *data,
               size_t length);
void sse_write_message(struct evbuffer *out, const char *event, int64_t id,
                       const ProtobufCMessage *message);
/* "events" from … to (both included) are there no more. */
void sse_write_gap(struct evbuffer *out, int64_t from, int64_t to);
/* Where to go on: the header Last-Event-ID, else `given`. */
int64_t sse_after(const struct exchange *exchange, int64_t given);

#endif
