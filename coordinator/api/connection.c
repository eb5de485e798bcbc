/* SPDX-License-Identifier: Apache-2.0
 *
 * A bufferevent whose callbacks evhttp has taken away is one that it has freed; only our reference
 * keeps it. The sweep finds those and lets go.
 */
#include "coordinator/api/connection.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "coordinator/coordinator.h"
#include "lib/check.h"
#include "lib/log.h"

enum { SWEEP_MS = 100, YIELD_AFTER_MS = 1000 };

struct connection {
    struct bufferevent *channel;
    int64_t deadline_ms;   /* INT64_MAX: none */
    int64_t owes_since_ms; /* a request; INT64_MAX: it has sent one */
    bool late;
};

struct connections {
    struct event_base *base;
    struct tls *tls; /* NULL: in the clear */
    struct evhttp_bound_socket *socket;
    struct connection_limits limits;
    struct connection *items;
    int32_t count, capacity;
    bool full; /* not accepting */
    struct event *sweep;
};

static void accept_or_not(struct connections *connections)
{
    bool full = connections->count >= connections->limits.count_max;
    if (full == connections->full || connections->socket == NULL)
        return;
    struct evconnlistener *listener = evhttp_bound_socket_get_listener(connections->socket);
    connections->full = full;
    if (full) {
        evconnlistener_disable(listener);
        log_warn("http connections %d: more have to wait", connections->count);
    } else {
        evconnlistener_enable(listener);
    }
}

static bool is_freed(struct bufferevent *channel)
{
    bufferevent_event_cb on_event = NULL;
    bufferevent_getcb(channel, NULL, NULL, &on_event, NULL);
    return on_event == NULL;
}

static void shut(struct connection *connection)
{
    connection->late = true;
    connection->deadline_ms = INT64_MAX;
    shutdown(bufferevent_getfd(connection->channel), SHUT_RDWR);
}

static int64_t body_bytes(const struct connection *connection)
{
    return (int64_t)evbuffer_get_length(bufferevent_get_input(connection->channel));
}

static void bound_bodies(struct connections *connections)
{
    struct connection *greatest = NULL;
    int64_t sum = 0;
    for (int32_t i = 0; i < connections->count; i++) {
        struct connection *it = &connections->items[i];
        sum += body_bytes(it);
        if (!it->late && (greatest == NULL || body_bytes(it) > body_bytes(greatest)))
            greatest = it;
    }
    if (sum > connections->limits.bodies_bytes_max && greatest != NULL)
        shut(greatest);
}

/* As many as wait to be accepted, less those who will find room; Linux says it of a listening
 * socket. */
static int32_t crowd_outside(const struct connections *connections)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    if (!connections->full || connections->socket == NULL ||
        getsockopt(evhttp_bound_socket_get_fd(connections->socket), IPPROTO_TCP, TCP_INFO, &info,
                   &size) != 0)
        return 0;
    int32_t room = connections->limits.count_max - connections->count;
    for (int32_t i = 0; i < connections->count; i++)
        room += connections->items[i].late;
    return (int32_t)info.tcpi_unacked - room;
}

static void make_room(struct connections *connections, int64_t now_ms)
{
    for (int32_t crowd = crowd_outside(connections); crowd > 0; crowd--) {
        struct connection *longest = NULL;
        for (int32_t i = 0; i < connections->count; i++) {
            struct connection *it = &connections->items[i];
            if (!it->late && it->owes_since_ms <= now_ms - YIELD_AFTER_MS &&
                (longest == NULL || it->owes_since_ms < longest->owes_since_ms))
                longest = it;
        }
        if (longest == NULL)
            return;
        shut(longest);
    }
}

static void on_sweep(evutil_socket_t none, short what, void *argument)
{
    struct connections *connections = argument;
    int64_t now_ms = coordinator_now_ms();
    (void)none, (void)what;
    for (int32_t i = 0; i < connections->count;) {
        struct connection *it = &connections->items[i];
        if (is_freed(it->channel)) {
            bufferevent_decref(it->channel);
            *it = connections->items[--connections->count];
            continue;
        }
        if (now_ms > it->deadline_ms)
            shut(it);
        i++;
    }
    bound_bodies(connections);
    make_room(connections, now_ms);
    accept_or_not(connections);
    if (connections->count == 0)
        event_del(connections->sweep);
}

static struct bufferevent *on_accept(struct event_base *base, void *argument)
{
    struct connections *connections = argument;
    const int64_t now_ms = coordinator_now_ms();
    struct bufferevent *channel = connections->tls != NULL
                                      ? tls_accept(connections->tls, base)
                                      : bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    CHECK(channel != NULL);
    if (connections->count == connections->capacity) {
        connections->capacity = connections->capacity != 0 ? 2 * connections->capacity : 16;
        connections->items = mem_grow(
            connections->items, size_mul((size_t)connections->capacity, sizeof(struct connection)));
    }
    bufferevent_incref(channel);
    connections->items[connections->count++] =
        (struct connection){.channel = channel,
                            .deadline_ms = now_ms + connections->limits.read_ms,
                            .owes_since_ms = now_ms};
    accept_or_not(connections);
    struct timeval every = {.tv_usec = SWEEP_MS * 1000};
    if (!event_pending(connections->sweep, EV_TIMEOUT, NULL)) /* to add it again puts it off */
        event_add(connections->sweep, &every);
    return channel;
}

struct connections *connections_create(struct event_base *base, struct evhttp *http,
                                       const struct connection_limits *limits)
{
    struct connections *connections = mem_alloc(sizeof(*connections));
    connections->base = base;
    connections->limits = *limits;
    struct rlimit files; /* half of them are left for stores, logs and workers */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 &&
        (rlim_t)connections->limits.count_max > files.rlim_cur / 2)
        connections->limits.count_max = (int32_t)(files.rlim_cur / 2);
    connections->sweep = event_new(base, -1, EV_PERSIST, on_sweep, connections);
    evhttp_set_bevcb(http, on_accept, connections);
    return connections;
}

void connections_secure(struct connections *connections, struct tls *tls)
{
    connections->tls = tls;
}

void connections_listen(struct connections *connections, struct evhttp_bound_socket *socket)
{
    /* Accepted sockets inherit it. An answer leaves in two pieces, head and body: without it the
     * second waits until the client has acknowledged the first, which clients put off for 40 ms. */
    const int yes = 1;
    setsockopt(evhttp_bound_socket_get_fd(socket), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    connections->socket = socket;
}

void connections_stop(struct connections *connections)
{
    evconnlistener_disable(evhttp_bound_socket_get_listener(connections->socket));
    connections->socket = NULL;
}

void connections_free(struct connections *connections)
{
    for (int32_t i = 0; i < connections->count; i++)
        bufferevent_decref(connections->items[i].channel);
    event_free(connections->sweep);
    mem_free(connections->items);
    mem_free(connections);
}

void connection_cut(struct evhttp_request *request)
{
    struct evhttp_connection *at = evhttp_request_get_connection(request);
    if (at != NULL)
        shutdown(bufferevent_getfd(evhttp_connection_get_bufferevent(at)), SHUT_RDWR);
}

int32_t connections_count(const struct connections *connections)
{
    return connections->count;
}

static void set_deadline(struct connections *connections, struct evhttp_request *request,
                         int64_t deadline_ms, int64_t owes_since_ms)
{
    struct evhttp_connection *at = evhttp_request_get_connection(request);
    struct bufferevent *channel = at != NULL ? evhttp_connection_get_bufferevent(at) : NULL;
    for (int32_t i = 0; i < connections->count; i++)
        if (connections->items[i].channel == channel && !connections->items[i].late) {
            connections->items[i].deadline_ms = deadline_ms;
            connections->items[i].owes_since_ms = owes_since_ms;
        }
}

void connection_busy(struct connections *connections, struct evhttp_request *request)
{
    set_deadline(connections, request, INT64_MAX, INT64_MAX);
}

void connection_answered(struct connections *connections, struct evhttp_request *request)
{
    const int64_t now_ms = coordinator_now_ms();
    set_deadline(connections, request, now_ms + connections->limits.write_ms, now_ms);
}
