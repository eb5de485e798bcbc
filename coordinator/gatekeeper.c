/* SPDX-License-Identifier: Apache-2.0
 *
 * A request is eight or more frames; the seventh is the mechanism, the eighth the key. Whatever is
 * not exactly a CURVE handshake of our domain is refused, so a mistake elsewhere (a socket without
 * a mechanism) locks doors instead of opening them.
 */
#include "coordinator/gatekeeper.h"

#include <errno.h>
#include <string.h>
#include <zmq.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/log.h"

enum { FRAMES_MAX = 16, FRAME_BYTES_MAX = 256, SERVE_MAX = 64 };
enum { VERSION, REQUEST_ID, DOMAIN, ADDRESS, ROUTING_ID, MECHANISM, KEY, REQUEST_FRAMES };

struct gatekeeper {
    void *socket;
    struct keys *keys;
    struct event *event;
    int64_t refused;
};

struct frame {
    char bytes[FRAME_BYTES_MAX + 1]; /* NUL behind the last */
    int length;                      /* −1: longer */
};

/* One request; false: none waits. */
static bool request_take(void *socket, struct frame *frames, int *count_out)
{
    int more = 1;
    size_t size = sizeof(more);
    *count_out = 0;
    while (more) {
        struct frame spare, *frame = *count_out < FRAMES_MAX ? &frames[*count_out] : &spare;
        int length = zmq_recv(socket, frame->bytes, FRAME_BYTES_MAX, ZMQ_DONTWAIT);
        if (length < 0) {
            CHECK(errno == EAGAIN || errno == EINTR || errno == ETERM);
            return false;
        }
        frame->length = length <= FRAME_BYTES_MAX ? length : -1;
        frame->bytes[length <= FRAME_BYTES_MAX ? length : 0] = '\0';
        ++*count_out;
        CHECK(zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size) == 0);
    }
    return true;
}

static struct identity judge(struct gatekeeper *gatekeeper, const struct frame *frames, int count)
{
    if (count != REQUEST_FRAMES || strcmp(frames[VERSION].bytes, "1.0") != 0 ||
        strcmp(frames[DOMAIN].bytes, GATEKEEPER_DOMAIN) != 0 ||
        strcmp(frames[MECHANISM].bytes, "CURVE") != 0 || frames[KEY].length != CURVE_KEY_SIZE)
        return (struct identity){.kind = IDENTITY_NONE};
    return keys_find(gatekeeper->keys, (const uint8_t *)frames[KEY].bytes);
}

static void answer(struct gatekeeper *gatekeeper, const struct frame *frames, int count)
{
    struct identity identity = judge(gatekeeper, frames, count);
    bool known = identity.kind != IDENTITY_NONE;
    char user[IDENTITY_TEXT_MAX] = "";
    if (known)
        identity_format(identity, user);
    else
        gatekeeper->refused++;
    const char *reply[] = {"1.0",
                           count > REQUEST_ID ? frames[REQUEST_ID].bytes : "",
                           known ? "200" : "400",
                           known ? "OK" : "this key is not known",
                           user,
                           ""};
    enum { REPLY_FRAMES = sizeof(reply) / sizeof(reply[0]) };
    for (int i = 0; i < REPLY_FRAMES; i++)
        zmq_send(gatekeeper->socket, reply[i], strlen(reply[i]),
                 i + 1 < REPLY_FRAMES ? ZMQ_SNDMORE : 0);
}

void gatekeeper_serve(struct gatekeeper *gatekeeper)
{
    struct frame frames[FRAMES_MAX];
    int count;
    for (int i = 0; i < SERVE_MAX && request_take(gatekeeper->socket, frames, &count); i++)
        answer(gatekeeper, frames, count);
    int events = 0;
    size_t size = sizeof(events);
    zmq_getsockopt(gatekeeper->socket, ZMQ_EVENTS, &events, &size);
    if (events & ZMQ_POLLIN)
        event_active(gatekeeper->event, EV_TIMEOUT, 0);
}

static void on_request(evutil_socket_t fd, short what, void *argument)
{
    (void)fd, (void)what;
    gatekeeper_serve(argument);
}

enum status gatekeeper_open(void *zmq_context, struct event_base *base, struct keys *keys,
                            struct gatekeeper **gatekeeper_out, struct error *error)
{
    void *socket = zmq_socket(zmq_context, ZMQ_REP);
    int fd, linger = 0;
    size_t size = sizeof(fd);
    CHECK(socket != NULL);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger));
    if (zmq_bind(socket, "inproc://zeromq.zap.01") != 0) {
        int cause = errno;
        zmq_close(socket);
        return error_set(error, STATUS_CONFLICT, "the key handler cannot be bound: %s",
                         zmq_strerror(cause));
    }
    struct gatekeeper *gatekeeper = mem_alloc(sizeof(*gatekeeper));
    *gatekeeper = (struct gatekeeper){.socket = socket, .keys = keys};
    CHECK(zmq_getsockopt(socket, ZMQ_FD, &fd, &size) == 0);
    gatekeeper->event = event_new(base, fd, EV_READ | EV_PERSIST, on_request, gatekeeper);
    event_add(gatekeeper->event, NULL);
    *gatekeeper_out = gatekeeper;
    return STATUS_OK;
}

void gatekeeper_close(struct gatekeeper *gatekeeper)
{
    event_free(gatekeeper->event);
    zmq_close(gatekeeper->socket);
    mem_free(gatekeeper);
}

int64_t gatekeeper_refused(const struct gatekeeper *gatekeeper)
{
    return gatekeeper->refused;
}
