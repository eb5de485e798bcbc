/* SPDX-License-Identifier: Apache-2.0
 *
 * exchange: one request and its answer, and what a handler has to know. Private to this folder.
 *
 *   loop      exchange_begin: route, headers, request message
 *   database  who is it, may it; the handler's `read`
 *   database  the handler's `write`: committed before `done`
 *   loop      the handler's `start`: asks the coordinator, and ends in exchange_done
 *   loop      exchange_done: the answer, the audit
 *
 * A handler has some of read, write and start; they run in this order, and the first that fails
 * ends it. `read` may run twice (background.h): it makes its reply anew. The memory of an exchange
 * is its arena, and belongs to the thread that works on it.
 *
 * A tenant sees what is its own and what was shared with it; all else is not found, like what does
 * not exist. That is decided in the records, by exchange_scope().
 */
#ifndef TAILOR_COORDINATOR_API_EXCHANGE_H
#define TAILOR_COORDINATOR_API_EXCHANGE_H

#include <event2/http.h>

#include "coordinator/api/connection.h"
#include "coordinator/coordinator.h"
#include "proto/message.h"
#include "proto/route.h"
#include "storage/records/records.h"

enum { REQUEST_ID_SIZE = 20, STREAMS_MAX = 64, LOGINS_MAX = 16 };

struct sse;
struct board;
struct lives;
struct tls;

/* A code that was given out (on_login.c). */
struct login {
    char digest[65];
    int64_t expires_ms; /* 0: the place is free */
    char by[NAME_BYTES_MAX + 1];
};

struct api {
    struct coordinator *coordinator;
    struct event_base *base;
    struct evhttp *http;
    struct connections *connections;
    struct tls *tls;     /* NULL: in the clear */
    struct sse *streams; /* all that follow */
    int32_t stream_count;
    struct board *board; /* what every tab sees */
    struct lives *lives; /* the tabs */
    struct webhooks *webhooks;
    char address[128];
    char machine[256];               /* this machine's own name */
    const struct option_list *hosts; /* further names that it is asked by */
    struct login logins[LOGINS_MAX];
    uint64_t seed, requests; /* of the request ids */
    int64_t in_hand;         /* exchanges without an answer */
    bool stopping;
};

struct exchange {
    struct api *api;
    struct evhttp_request *http;
    double began_s; /* monotonic */
    struct arena arena;
    char id[REQUEST_ID_SIZE];
    char peer[64];
    struct route_match match;
    const struct handler *handler;
    void *request;    /* the route's message, checked */
    const void *body; /* of a BYTES route; evhttp's memory */
    size_t body_length;
    char token_digest[65];
    char csrf[65];           /* of a session; "": a bearer token was shown */
    const Api__Token *token; /* whose it is, from `read` on */
    struct caller caller;
    bool head;
    void *reply;              /* the route's message, or … */
    struct buf text;          /* … a text */
    const char *content_type; /* of the text */
    const char *tag; /* ETag, in the arena: who has this one may ask whether it is still so;
                        NULL: nobody may keep the answer */
    int code;        /* 0: by the status */
    const char *hint;
    int retry_after_s; /* of a refusal: header Retry-After; 0: none */
    void *state;       /* the handler's, in the arena */
};

typedef enum status exchange_run(struct records *records, struct exchange *exchange,
                                 struct error *error);  /* database thread */
typedef void exchange_start(struct exchange *exchange); /* loop thread */

typedef void exchange_shape(struct exchange *exchange); /* loop thread */

struct handler {
    exchange_run *read, *write;
    exchange_start *start;
    exchange_shape
        *shape; /* puts the route's message in place of a reply of ours; NULL: it is it */
};

/* Of each route; all NULL: not part of this server. */
const struct handler *handler_of(enum route_id id);

/* evhttp's callback; the argument is the struct api. */
void exchange_begin(struct evhttp_request *request, void *argument);
/* Answers and frees the exchange. `error` says why it failed. */
void exchange_done(struct exchange *exchange, enum status status, const struct error *error);
/* The same as a coordinator_done, argument: the exchange. */
void exchange_on_done(void *argument, enum status status, const struct error *error);
/* For who answers by itself: audits nothing, answers nothing. */
void exchange_free(struct exchange *exchange);

struct scope exchange_scope(const struct exchange *exchange);
/* Which tenant a request that may leave it out is about: its own, or the one an admin names. */
enum status exchange_tenant(const struct exchange *exchange, const char *given,
                            const char **tenant_out, struct error *error);
/* May it change things of this tenant? Else it is not found. */
enum status exchange_own(const struct exchange *exchange, const char *tenant, struct error *error);
int64_t page_limit(bool has_limit, int64_t limit);
/* A new reply message of the route. */
void *exchange_reply(struct exchange *exchange);

#endif
