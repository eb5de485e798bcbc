/* SPDX-License-Identifier: Apache-2.0
 *
 * stranger: knocks at the workers' port of a running coordinator in every way but the right one.
 *
 *     stranger HOST:PORT SERVER-KEY-Z85 COUNT      prints "COUNT knocks, N answered"
 *
 * A fifth each: keys of its own, no mechanism, a name and a password, bytes that are no protocol,
 * and a greeting of the protocol with nothing behind it. Each says all that a worker would say. An
 * answer to any of them is a door that is open.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include "lib/check.h"
#include "lib/rng.h"
#include "lib/text.h"
#include "proto/worker.pb-c.h"
#include "proto/worker_message.h"

enum { WAIT_MS = 200, AT_ONCE = 25, KINDS = 5 };

struct door {
    const char *address, *server_key;
    void *context;
};

static void knock(void *dealer)
{
    uint8_t key[32] = {1};
    Wire__Hello hello = WIRE__HELLO__INIT;
    Wire__Heartbeat heartbeat = WIRE__HEARTBEAT__INIT;
    struct buf bytes = {0};
    hello.has_version = hello.has_version_min = hello.has_public_key = true;
    hello.version = WORKER_VERSION;
    hello.version_min = WORKER_VERSION_MIN;
    hello.name = hello.host = "stranger";
    hello.public_key = (ProtobufCBinaryData){sizeof(key), key};
    worker_message_pack(WORKER_HELLO, &hello, &bytes);
    zmq_send(dealer, bytes.data, bytes.length, ZMQ_DONTWAIT);
    buf_clear(&bytes);
    worker_message_pack(WORKER_HEARTBEAT, &heartbeat, &bytes);
    zmq_send(dealer, bytes.data, bytes.length, ZMQ_DONTWAIT);
    buf_release(&bytes);
}

static void *dial(const struct door *door, int kind)
{
    char endpoint[256], public_key[41], secret_key[41];
    int linger = 0;
    void *dealer = zmq_socket(door->context, ZMQ_DEALER);
    CHECK(dealer != NULL);
    zmq_setsockopt(dealer, ZMQ_LINGER, &linger, sizeof(linger));
    if (kind == 0) {
        CHECK(zmq_curve_keypair(public_key, secret_key) == 0);
        CHECK(zmq_setsockopt(dealer, ZMQ_CURVE_SERVERKEY, door->server_key, 41) == 0);
        CHECK(zmq_setsockopt(dealer, ZMQ_CURVE_PUBLICKEY, public_key, 41) == 0);
        CHECK(zmq_setsockopt(dealer, ZMQ_CURVE_SECRETKEY, secret_key, 41) == 0);
    } else if (kind == 1) {
        zmq_setsockopt(dealer, ZMQ_PLAIN_USERNAME, "w-1", 3);
        zmq_setsockopt(dealer, ZMQ_PLAIN_PASSWORD, "w-1", 3);
    }
    snprintf(endpoint, sizeof(endpoint), "tcp://%s", door->address);
    CHECK(zmq_connect(dealer, endpoint) == 0);
    knock(dealer);
    return dealer;
}

/* Bytes; an answer is more than the greeting of 64 bytes that a server sends to everybody. */
static int open_raw(const struct door *door, int number, bool greets)
{
    static const unsigned char greeting[64] = {0xff, 0,    0, 0, 0,   0,   0,   0,
                                               1,    0x7f, 3, 1, 'N', 'U', 'L', 'L'};
    unsigned char bytes[512];
    const char *port = strrchr(door->address, ':') + 1;
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)strtol(port, NULL, 10))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)rng_u64(5, (uint64_t)number, i);
    if (greets)
        memcpy(bytes, greeting, sizeof(greeting));
    CHECK(send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL) == (ssize_t)sizeof(bytes));
    return fd;
}

static bool raw_answered(int fd)
{
    char bytes[4096];
    ssize_t all = 0, got;
    while ((got = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
        all += got;
    close(fd);
    return all > 64;
}

static int knock_at_once(const struct door *door, int first, int count)
{
    void *dealers[AT_ONCE] = {NULL};
    int raws[AT_ONCE], answered = 0;
    char bytes[256];
    for (int i = 0; i < count; i++) {
        int kind = (first + i) % KINDS;
        raws[i] = kind >= 3 ? open_raw(door, first + i, kind == 4) : -1;
        dealers[i] = kind < 3 ? dial(door, kind) : NULL;
    }
    usleep(WAIT_MS * 1000);
    for (int i = 0; i < count; i++) {
        if (raws[i] >= 0) {
            answered += raw_answered(raws[i]);
            continue;
        }
        answered += zmq_recv(dealers[i], bytes, sizeof(bytes), ZMQ_DONTWAIT) >= 0;
        zmq_close(dealers[i]);
    }
    return answered;
}

int main(int argc, char **argv)
{
    int64_t count;
    int answered = 0;
    if (argc != 4 || !parse_i64(argv[3], &count) || strlen(argv[2]) != 40) {
        fputs("usage: stranger HOST:PORT SERVER-KEY-Z85 COUNT\n", stderr);
        return 2;
    }
    struct door door = {argv[1], argv[2], zmq_ctx_new()};
    for (int64_t first = 0; first < count; first += AT_ONCE)
        answered += knock_at_once(&door, (int)first,
                                  (int)(count - first < AT_ONCE ? count - first : AT_ONCE));
    zmq_ctx_term(door.context);
    printf("%lld knocks, %d answered\n", (long long)count, answered);
    return answered == 0 ? 0 : 1;
}
