/* SPDX-License-Identifier: Apache-2.0
 *
 * Rejected: a thread for the socket, with an inproc pair to the loop: twice the queues, and one
 * more place where an order can change.
 */
#include "coordinator/worker_socket.h"

#include <errno.h>
#include <string.h>
#include <zmq.h>

#include "coordinator/gatekeeper.h"
#include "lib/check.h"
#include "lib/failpoint.h"
#include "lib/limits.h"
#include "lib/log.h"

#define ZAP_ENFORCE_DOMAIN 93 /* in libzmq since 4.3.1; its header shows it to drafts only */

enum {
    ROUTE_BYTES_MAX = 16,
    DRAIN_MAX = 256, /* messages in one turn of the loop */
    WATCH_MS = 100,
    HANDSHAKE_MS = 3000,
    RECEIVE_QUEUE_MAX = 64, /* messages for one peer: of 8 MiB at most */
    SEND_QUEUE_MAX = 256,
    PROBE_TURNS = 300,
    PROBE_TURN_MS = 10
};

struct route {
    struct identity identity;
    unsigned char bytes[ROUTE_BYTES_MAX];
    size_t length;
};

struct worker_socket {
    void *context, *router;
    struct gatekeeper *gatekeeper;
    struct keys *keys;
    struct event *event, *watch;
    worker_socket_receive *receive;
    void *argument;
    struct route *routes;
    size_t route_count, route_capacity;
    struct worker_socket_figures figures;
    bool draining;
};

/* ---- return addresses ------------------------------------------------------------------------ */

static struct route *route_find(struct worker_socket *socket, struct identity identity)
{
    for (size_t i = 0; i < socket->route_count; i++)
        if (socket->routes[i].identity.kind == identity.kind &&
            socket->routes[i].identity.id == identity.id)
            return &socket->routes[i];
    return NULL;
}

static void route_put(struct worker_socket *socket, struct identity identity, zmq_msg_t *frame)
{
    struct route *route = route_find(socket, identity);
    if (route == NULL) {
        if (socket->route_count == socket->route_capacity) {
            socket->route_capacity = socket->route_capacity != 0 ? 2 * socket->route_capacity : 16;
            socket->routes =
                mem_grow(socket->routes, size_mul(socket->route_capacity, sizeof(struct route)));
        }
        route = &socket->routes[socket->route_count++];
        route->identity = identity;
    }
    route->length = zmq_msg_size(frame);
    memcpy(route->bytes, zmq_msg_data(frame), route->length);
}

void worker_socket_forget(struct worker_socket *socket, struct identity identity)
{
    struct route *route = route_find(socket, identity);
    if (route != NULL)
        *route = socket->routes[--socket->route_count];
}

/* ---- receiving ------------------------------------------------------------------------------- */

static bool route_is_ours(zmq_msg_t *frame)
{
    size_t length = zmq_msg_size(frame);
    return length >= 1 && length <= ROUTE_BYTES_MAX && *(unsigned char *)zmq_msg_data(frame) == 0;
}

static void take_message(struct worker_socket *socket, zmq_msg_t *route, zmq_msg_t *body)
{
    struct arena arena = {0};
    struct error error;
    const struct worker_message *row;
    void *message;
    struct identity from = identity_parse(zmq_msg_gets(body, "User-Id"));
    socket->figures.received++;
    if (from.kind == IDENTITY_NONE || !keys_know(socket->keys, from) || !route_is_ours(route)) {
        socket->figures.denied++;
        return;
    }
    if (worker_message_unpack(&arena, WORKER_FROM_WORKER, zmq_msg_data(body), zmq_msg_size(body),
                              &row, &message, &error) != STATUS_OK) {
        char name[IDENTITY_TEXT_MAX];
        identity_format(from, name);
        socket->figures.malformed++;
        log_warn("message of %s dropped: %s", name, error.text);
    } else {
        route_put(socket, from, route);
        socket->receive(socket->argument, from, row, message);
    }
    arena_release(&arena);
}

/* One message of however many frames; false: none waits. */
static bool take_one(struct worker_socket *socket)
{
    zmq_msg_t frames[2], spare;
    int count = 0, more = 1;
    zmq_msg_init(&frames[0]);
    zmq_msg_init(&frames[1]);
    while (more) {
        zmq_msg_t *frame = count < 2 ? &frames[count] : &spare;
        if (count >= 2)
            zmq_msg_init(&spare);
        if (zmq_msg_recv(frame, socket->router, ZMQ_DONTWAIT) < 0)
            break;
        more = zmq_msg_more(frame);
        count++;
        if (count > 2)
            zmq_msg_close(&spare);
    }
    if (count == 2)
        take_message(socket, &frames[0], &frames[1]);
    else if (count > 0)
        socket->figures.malformed++;
    zmq_msg_close(&frames[0]);
    zmq_msg_close(&frames[1]);
    return count > 0;
}

static int pending_events(void *zmq_socket)
{
    int events = 0;
    size_t size = sizeof(events);
    zmq_getsockopt(zmq_socket, ZMQ_EVENTS, &events, &size);
    return events;
}

static void drain(struct worker_socket *socket)
{
    socket->draining = true;
    for (int i = 0; i < DRAIN_MAX && take_one(socket); i++) {
    }
    socket->draining = false;
    if (pending_events(socket->router) & ZMQ_POLLIN)
        event_active(socket->event, EV_TIMEOUT, 0);
}

static void on_readable(evutil_socket_t fd, short what, void *argument)
{
    (void)fd, (void)what;
    drain(argument);
}

static void on_watch(evutil_socket_t fd, short what, void *argument)
{
    struct worker_socket *socket = argument;
    (void)fd, (void)what;
    gatekeeper_serve(socket->gatekeeper);
    drain(socket);
}

/* ---- sending --------------------------------------------------------------------------------- */

bool worker_socket_send(struct worker_socket *socket, struct identity to, enum worker_message_id id,
                        const void *message)
{
    struct route *route = route_find(socket, to);
    struct buf bytes = {0};
    bool sent = false;
    if (route != NULL && keys_know(socket->keys, to)) {
        worker_message_pack(id, message, &bytes);
        sent = !failpoint_fails("coordinator_send") &&
               zmq_send(socket->router, route->bytes, route->length, ZMQ_SNDMORE | ZMQ_DONTWAIT) >=
                   0 &&
               zmq_send(socket->router, bytes.data, bytes.length, ZMQ_DONTWAIT) >= 0;
    }
    buf_release(&bytes);
    socket->figures.sent += sent;
    socket->figures.dropped += !sent;
    if (!socket->draining && (pending_events(socket->router) & ZMQ_POLLIN))
        event_active(socket->event, EV_TIMEOUT, 0);
    return sent;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void option_int(void *zmq_socket, int option, int value)
{
    CHECK(zmq_setsockopt(zmq_socket, option, &value, sizeof(value)) == 0);
}

static void options_set(void *router, const struct key_pair *server)
{
    option_int(router, ZMQ_LINGER, 500);
    option_int(router, ZMQ_ROUTER_MANDATORY, 1);
    option_int(router, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
    option_int(router, ZMQ_RCVHWM, RECEIVE_QUEUE_MAX);
    option_int(router, ZMQ_SNDHWM, SEND_QUEUE_MAX);
    option_int(router, ZMQ_HEARTBEAT_IVL, 5000);
    option_int(router, ZMQ_HEARTBEAT_TIMEOUT, 15000);
    option_int(router, ZMQ_CURVE_SERVER, 1);
    option_int(router, ZAP_ENFORCE_DOMAIN, 1);
    int64_t bytes_max = (int64_t)(CHUNK_BYTES_MAX + 64 * KIB);
    CHECK(zmq_setsockopt(router, ZMQ_MAXMSGSIZE, &bytes_max, sizeof(bytes_max)) == 0);
    CHECK(zmq_setsockopt(router, ZMQ_ZAP_DOMAIN, GATEKEEPER_DOMAIN, strlen(GATEKEEPER_DOMAIN)) ==
          0);
    CHECK(zmq_setsockopt(router, ZMQ_CURVE_SECRETKEY, server->secret, CURVE_KEY_SIZE) == 0);
}

/* Knocks with a key that nobody knows. The handler must be asked and say no. */
static enum status probe(struct worker_socket *socket, const char *endpoint,
                         const struct key_pair *server, struct error *error)
{
    struct key_pair stranger;
    void *dealer = zmq_socket(socket->context, ZMQ_DEALER);
    bool let_in = false;
    int64_t refused = gatekeeper_refused(socket->gatekeeper);
    CHECK(dealer != NULL);
    key_pair_make(&stranger);
    option_int(dealer, ZMQ_LINGER, 0);
    zmq_setsockopt(dealer, ZMQ_CURVE_SERVERKEY, server->public, CURVE_KEY_SIZE);
    zmq_setsockopt(dealer, ZMQ_CURVE_PUBLICKEY, stranger.public, CURVE_KEY_SIZE);
    zmq_setsockopt(dealer, ZMQ_CURVE_SECRETKEY, stranger.secret, CURVE_KEY_SIZE);
    zmq_connect(dealer, endpoint);
    zmq_send(dealer, "", 0, ZMQ_DONTWAIT);
    for (int i = 0; i < PROBE_TURNS && !let_in && gatekeeper_refused(socket->gatekeeper) == refused;
         i++) {
        zmq_pollitem_t item = {.socket = socket->router, .events = ZMQ_POLLIN};
        zmq_poll(&item, 1, PROBE_TURN_MS);
        let_in = item.revents & ZMQ_POLLIN;
        gatekeeper_serve(socket->gatekeeper);
    }
    zmq_close(dealer);
    if (let_in || gatekeeper_refused(socket->gatekeeper) == refused)
        return error_set(error, STATUS_DENIED,
                         "the workers' port let an unknown key in: the key handler is not asked; "
                         "nothing is started");
    return STATUS_OK;
}

static enum status bind_address(struct worker_socket *socket, const char *address,
                                const struct key_pair *server, char *address_out,
                                struct error *error)
{
    char endpoint[JOIN_ADDRESS_MAX + 8];
    size_t size = sizeof(endpoint);
    snprintf(endpoint, sizeof(endpoint), "tcp://%s", address);
    if (zmq_bind(socket->router, endpoint) != 0)
        return error_set(error, STATUS_IO, "cannot listen for workers on %s: %s", address,
                         zmq_strerror(errno));
    CHECK(zmq_getsockopt(socket->router, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0);
    snprintf(address_out, JOIN_ADDRESS_MAX, "%s", endpoint + strlen("tcp://"));
    const char *port = strrchr(endpoint, ':');
    char local[64];
    bool any = strncmp(endpoint, "tcp://0.0.0.0:", 14) == 0;
    snprintf(local, sizeof(local), "tcp://127.0.0.1%s", port);
    return probe(socket, any ? local : endpoint, server, error);
}

enum status worker_socket_open(struct event_base *base, const char *address,
                               const struct key_pair *server, struct keys *keys,
                               worker_socket_receive *receive, void *argument,
                               struct worker_socket **socket_out, char *address_out,
                               struct error *error)
{
    struct worker_socket *socket = mem_alloc(sizeof(*socket));
    int fd;
    size_t size = sizeof(fd);
    *socket = (struct worker_socket){.keys = keys, .receive = receive, .argument = argument};
    socket->context = zmq_ctx_new();
    CHECK(socket->context != NULL);
    enum status status = gatekeeper_open(socket->context, base, keys, &socket->gatekeeper, error);
    CHECK(status == STATUS_OK); /* the context is new */
    socket->router = zmq_socket(socket->context, ZMQ_ROUTER);
    CHECK(socket->router != NULL);
    options_set(socket->router, server);
    CHECK(zmq_getsockopt(socket->router, ZMQ_FD, &fd, &size) == 0);
    socket->event = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, socket);
    socket->watch = event_new(base, -1, EV_PERSIST, on_watch, socket);
    event_add(socket->event, NULL);
    event_add(socket->watch, &(struct timeval){.tv_usec = WATCH_MS * 1000});
    status = bind_address(socket, address, server, address_out, error);
    if (status != STATUS_OK) {
        worker_socket_close(socket);
        return status;
    }
    *socket_out = socket;
    return STATUS_OK;
}

void worker_socket_close(struct worker_socket *socket)
{
    event_free(socket->event);
    event_free(socket->watch);
    zmq_close(socket->router);
    gatekeeper_close(socket->gatekeeper);
    zmq_ctx_term(socket->context);
    mem_free(socket->routes);
    mem_free(socket);
}

struct worker_socket_figures worker_socket_figures(const struct worker_socket *socket)
{
    struct worker_socket_figures figures = socket->figures;
    figures.handshakes_refused = gatekeeper_refused(socket->gatekeeper);
    return figures;
}
