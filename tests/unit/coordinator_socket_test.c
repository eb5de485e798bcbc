/* SPDX-License-Identifier: Apache-2.0
 *
 * worker_socket: which keys get in, and as whom. Random keys, no mechanism, raw bytes, a peer that
 * names itself, a key that was taken away: none is heard.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include "coordinator/worker_socket.h"
#include "lib/check.h"
#include "proto/worker.pb-c.h"
#include "tests/test.h"

struct hall {
    struct event_base *base;
    struct keys *keys;
    struct key_pair server;
    struct worker_socket *socket;
    char address[JOIN_ADDRESS_MAX], endpoint[JOIN_ADDRESS_MAX + 8];
    void *context;
    int64_t heard[8]; /* by id */
    int64_t total;
};

static struct hall hall;

static void on_message(void *argument, struct identity from, const struct worker_message *row,
                       const void *message)
{
    struct hall *it = argument;
    (void)row, (void)message;
    it->total++;
    if (from.kind == IDENTITY_WORKER && from.id < 8)
        it->heard[from.id]++;
}

static void hall_open(void)
{
    struct error error;
    hall = (struct hall){.base = event_base_new(), .keys = keys_create()};
    key_pair_make(&hall.server);
    enum status status = worker_socket_open(hall.base, "127.0.0.1:0", &hall.server, hall.keys,
                                            on_message, &hall, &hall.socket, hall.address, &error);
    if (status != STATUS_OK)
        test_fail(__FILE__, __LINE__, "%s", error.text);
    CHECK(status == STATUS_OK);
    snprintf(hall.endpoint, sizeof(hall.endpoint), "tcp://%s", hall.address);
    hall.context = zmq_ctx_new();
}

static void hall_close(void)
{
    worker_socket_close(hall.socket);
    zmq_ctx_term(hall.context);
    keys_free(hall.keys);
    event_base_free(hall.base);
}

/* keys NULL: without a mechanism; name NULL: as libzmq names it. */
static void *dial(const struct key_pair *keys, const char *name)
{
    int linger = 0;
    void *dealer = zmq_socket(hall.context, ZMQ_DEALER);
    zmq_setsockopt(dealer, ZMQ_LINGER, &linger, sizeof(linger));
    if (name != NULL)
        zmq_setsockopt(dealer, ZMQ_ROUTING_ID, name, strlen(name));
    if (keys != NULL) {
        zmq_setsockopt(dealer, ZMQ_CURVE_SERVERKEY, hall.server.public, CURVE_KEY_SIZE);
        zmq_setsockopt(dealer, ZMQ_CURVE_PUBLICKEY, keys->public, CURVE_KEY_SIZE);
        zmq_setsockopt(dealer, ZMQ_CURVE_SECRETKEY, keys->secret, CURVE_KEY_SIZE);
    }
    zmq_connect(dealer, hall.endpoint);
    return dealer;
}

static void beat(void *dealer)
{
    Wire__Heartbeat heartbeat = WIRE__HEARTBEAT__INIT;
    struct buf bytes = {0};
    worker_message_pack(WORKER_HEARTBEAT, &heartbeat, &bytes);
    zmq_send(dealer, bytes.data, bytes.length, ZMQ_DONTWAIT);
    buf_release(&bytes);
}

static void turn(int times)
{
    for (int i = 0; i < times; i++) {
        event_base_loop(hall.base, EVLOOP_NONBLOCK);
        usleep(1000);
    }
}

static void turn_until(const int64_t *counter, int64_t value)
{
    for (int i = 0; i < 20000 && *counter < value; i++)
        turn(1);
}

TEST(a_known_key_is_heard_as_its_worker_and_answered)
{
    struct key_pair keys;
    char answer[64];
    hall_open();
    key_pair_make(&keys);
    keys_put(hall.keys, keys.public, (struct identity){IDENTITY_WORKER, 3});
    void *dealer = dial(&keys, NULL);
    beat(dealer);
    turn_until(&hall.heard[3], 1);
    EXPECT_I64(1, hall.heard[3]);
    Wire__HeartbeatReply reply = WIRE__HEARTBEAT_REPLY__INIT;
    EXPECT(worker_socket_send(hall.socket, (struct identity){IDENTITY_WORKER, 3},
                              WORKER_HEARTBEAT_REPLY, &reply));
    EXPECT(!worker_socket_send(hall.socket, (struct identity){IDENTITY_WORKER, 4},
                               WORKER_HEARTBEAT_REPLY, &reply));
    int length = -1;
    for (int i = 0; i < 5000 && length < 0; i++) {
        turn(1);
        length = zmq_recv(dealer, answer, sizeof(answer), ZMQ_DONTWAIT);
    }
    EXPECT_I64(4, length);
    zmq_close(dealer);
    hall_close();
}

TEST(strangers_are_not_heard_whatever_they_try)
{
    enum { STRANGERS = 20 };
    void *dealers[STRANGERS + 1];
    struct key_pair keys;
    hall_open();
    for (int i = 0; i < STRANGERS; i++) {
        key_pair_make(&keys);
        dealers[i] = dial(&keys, NULL);
        beat(dealers[i]);
    }
    dealers[STRANGERS] = dial(NULL, NULL);
    beat(dealers[STRANGERS]);
    const char *port = strrchr(hall.address, ':') + 1;
    struct sockaddr_in to = {.sin_family = AF_INET};
    to.sin_port = htons((uint16_t)strtol(port, NULL, 10));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int raw = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(raw, (struct sockaddr *)&to, sizeof(to)) == 0);
    CHECK(write(raw, "GET /v1/jobs HTTP/1.1\r\nHost: x\r\n\r\n", 35) == 35);
    /* Behind all of them one that is known: when it is heard, they have had their chance. */
    key_pair_make(&keys);
    keys_put(hall.keys, keys.public, (struct identity){IDENTITY_WORKER, 1});
    turn(300);
    void *known = dial(&keys, NULL);
    beat(known);
    turn_until(&hall.heard[1], 1);
    EXPECT_I64(1, hall.heard[1]);
    EXPECT_I64(1, hall.total);
    EXPECT(worker_socket_figures(hall.socket).handshakes_refused >= STRANGERS);
    close(raw);
    zmq_close(known);
    for (int i = 0; i <= STRANGERS; i++)
        zmq_close(dealers[i]);
    hall_close();
}

TEST(a_peer_that_names_itself_is_not_answered_and_a_key_that_is_taken_away_is_deaf)
{
    struct key_pair keys, other;
    hall_open();
    key_pair_make(&keys);
    key_pair_make(&other);
    keys_put(hall.keys, keys.public, (struct identity){IDENTITY_WORKER, 5});
    keys_put(hall.keys, other.public, (struct identity){IDENTITY_WORKER, 6});
    void *named = dial(&keys, "w-6");
    void *honest = dial(&other, NULL);
    beat(named);
    beat(honest);
    turn_until(&hall.heard[6], 1);
    turn(200);
    EXPECT_I64(0, hall.heard[5]);
    EXPECT_I64(1, hall.heard[6]);
    keys_remove(hall.keys, (struct identity){IDENTITY_WORKER, 6});
    beat(honest); /* its connection lives */
    turn(300);
    EXPECT_I64(1, hall.heard[6]);
    EXPECT(worker_socket_figures(hall.socket).denied >= 2);
    zmq_close(named);
    zmq_close(honest);
    hall_close();
}

TEST_MAIN()
