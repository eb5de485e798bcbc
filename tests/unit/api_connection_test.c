/* SPDX-License-Identifier: Apache-2.0
 *
 * connection: who is slow is cut off, who is being worked for is not, and a crowd waits.
 */
#include "coordinator/api/connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "coordinator/coordinator.h"
#include "lib/check.h"
#include "tests/test.h"

enum { WAIT_MS = 60000, CROWD = 6, CAP = 3 };

struct site {
    struct event_base *base;
    struct evhttp *http;
    struct connections *connections;
    struct evhttp_request *held; /* a request that waits for its answer */
    int port;
};

static void on_request(struct evhttp_request *request, void *argument)
{
    struct site *site = argument;
    connection_busy(site->connections, request);
    site->held = request;
}

static void answer(struct site *site)
{
    struct evbuffer *body = evbuffer_new();
    evbuffer_add(body, "x", 1);
    connection_answered(site->connections, site->held);
    evhttp_send_reply(site->held, 200, "OK", body);
    evbuffer_free(body);
    site->held = NULL;
}

static void site_open(struct site *site, struct connection_limits limits)
{
    struct sockaddr_in name;
    socklen_t size = sizeof(name);
    *site = (struct site){.base = event_base_new()};
    site->http = evhttp_new(site->base);
    site->connections = connections_create(site->base, site->http, &limits);
    evhttp_set_gencb(site->http, on_request, site);
    struct evhttp_bound_socket *bound = evhttp_bind_socket_with_handle(site->http, "127.0.0.1", 0);
    CHECK(bound != NULL);
    connections_listen(site->connections, bound);
    CHECK(getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&name, &size) == 0);
    site->port = ntohs(name.sin_port);
}

static void site_close(struct site *site)
{
    evhttp_free(site->http);
    connections_free(site->connections);
    event_base_free(site->base);
}

static int client(const struct site *site)
{
    struct sockaddr_in name = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)site->port),
                               .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0);
    return fd;
}

static void turns(struct site *site, int64_t ms)
{
    int64_t until_ms = coordinator_now_ms() + ms;
    while (coordinator_now_ms() < until_ms) {
        event_base_loop(site->base, EVLOOP_NONBLOCK);
        usleep(1000);
    }
}

#define UNTIL(site, condition)                                                                     \
    do {                                                                                           \
        int64_t until_ms_ = coordinator_now_ms() + WAIT_MS;                                        \
        while (!(condition) && coordinator_now_ms() < until_ms_)                                   \
            turns((site), 10);                                                                     \
        EXPECT(condition);                                                                         \
    } while (0)

static bool is_closed(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    return got == 0 || (got < 0 && errno != EAGAIN);
}

TEST(an_answer_s_body_does_not_wait_for_its_head_to_be_acknowledged)
{
    struct site site;
    site_open(&site, CONNECTION_LIMITS_DEFAULT);
    const int fd = client(&site);
    const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    CHECK(write(fd, request, sizeof(request) - 1) == sizeof(request) - 1);
    UNTIL(&site, site.held != NULL);
    int at_once = 0;
    socklen_t size = sizeof(at_once);
    struct evhttp_connection *at = evhttp_request_get_connection(site.held);
    CHECK(getsockopt(bufferevent_getfd(evhttp_connection_get_bufferevent(at)), IPPROTO_TCP,
                     TCP_NODELAY, &at_once, &size) == 0);
    EXPECT(at_once != 0);
    answer(&site);
    close(fd);
    site_close(&site);
}

TEST(who_has_left_is_forgotten_also_while_others_keep_coming)
{
    struct site site;
    enum { COMERS = 12, BETWEEN_MS = 40 };
    site_open(&site, CONNECTION_LIMITS_DEFAULT);
    for (int i = 0; i < COMERS; i++) {
        close(client(&site));
        turns(&site, BETWEEN_MS);
    }
    EXPECT(connections_count(site.connections) < COMERS);
    site_close(&site);
}

TEST(a_request_that_drips_in_is_cut_off_though_it_is_never_silent)
{
    struct site site;
    site_open(&site,
              (struct connection_limits){
                  .count_max = CAP, .read_ms = 300, .write_ms = 300, .bodies_bytes_max = 1 << 20});
    int fd = client(&site);
    int64_t until_ms = coordinator_now_ms() + WAIT_MS;
    while (!is_closed(fd) && coordinator_now_ms() < until_ms) {
        send(fd, "G", 1, MSG_NOSIGNAL);
        turns(&site, 20);
    }
    EXPECT(is_closed(fd));
    EXPECT(site.held == NULL);
    close(fd);
    site_close(&site);
}

TEST(while_a_request_is_worked_on_there_is_no_deadline_and_behind_its_answer_there_is)
{
    struct site site;
    char text[512];
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    site_open(&site,
              (struct connection_limits){
                  .count_max = CAP, .read_ms = 2000, .write_ms = 100, .bodies_bytes_max = 1 << 20});
    int fd = client(&site);
    CHECK(send(fd, request, sizeof(request) - 1, 0) == (ssize_t)sizeof(request) - 1);
    UNTIL(&site, site.held != NULL);
    REQUIRE(site.held != NULL);
    turns(&site, 3000);
    EXPECT(!is_closed(fd));
    answer(&site);
    UNTIL(&site, recv(fd, text, sizeof(text), MSG_DONTWAIT | MSG_PEEK) > 0);
    while (recv(fd, text, sizeof(text), MSG_DONTWAIT) > 0)
        continue;
    UNTIL(&site, is_closed(fd));
    close(fd);
    site_close(&site);
}

TEST(a_crowd_is_let_in_as_others_leave)
{
    struct site site;
    int fds[CROWD];
    site_open(&site, (struct connection_limits){.count_max = CAP,
                                                .read_ms = WAIT_MS,
                                                .write_ms = WAIT_MS,
                                                .bodies_bytes_max = 1 << 20});
    for (int i = 0; i < CROWD; i++) {
        fds[i] = client(&site);
        turns(&site, 20);
    }
    UNTIL(&site, connections_count(site.connections) == CAP);
    turns(&site, 200);
    EXPECT_I64(CAP, connections_count(site.connections));
    for (int i = 0; i < CAP; i++)
        close(fds[i]);
    UNTIL(&site, connections_count(site.connections) == CROWD - CAP);
    for (int i = CAP; i < CROWD; i++)
        close(fds[i]);
    UNTIL(&site, connections_count(site.connections) == 0);
    site_close(&site);
}

TEST(who_owes_a_request_makes_room_for_a_crowd_and_who_is_worked_for_does_not)
{
    struct site site;
    int idle[CAP - 1];
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    site_open(&site, (struct connection_limits){.count_max = CAP,
                                                .read_ms = 10 * WAIT_MS,
                                                .write_ms = 10 * WAIT_MS,
                                                .bodies_bytes_max = 1 << 20});
    const int busy = client(&site);
    CHECK(write(busy, request, sizeof(request) - 1) == sizeof(request) - 1);
    UNTIL(&site, site.held != NULL);
    struct evhttp_request *first = site.held;
    for (int i = 0; i < CAP - 1; i++)
        idle[i] = client(&site);
    UNTIL(&site, connections_count(site.connections) == CAP);
    const int comer = client(&site);
    CHECK(write(comer, request, sizeof(request) - 1) == sizeof(request) - 1);
    UNTIL(&site, site.held != first);
    EXPECT(!is_closed(busy));
    EXPECT(is_closed(idle[0]));
    EXPECT(!is_closed(idle[1])); /* one made room for one */
    answer(&site);
    site.held = first;
    answer(&site);
    for (int i = 0; i < CAP - 1; i++)
        close(idle[i]);
    close(busy);
    close(comer);
    site_close(&site);
}

TEST(bodies_beyond_their_sum_cost_the_greatest_its_connection)
{
    struct site site;
    static char bytes[60000];
    static const char head[] = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n";
    site_open(&site, (struct connection_limits){.count_max = CAP,
                                                .read_ms = WAIT_MS,
                                                .write_ms = WAIT_MS,
                                                .bodies_bytes_max = 100000});
    int small = client(&site), great = client(&site);
    for (int i = 0; i < 2; i++)
        CHECK(send(i == 0 ? small : great, head, sizeof(head) - 1, 0) > 0);
    CHECK(send(small, bytes, 1000, 0) == 1000);
    int64_t until_ms = coordinator_now_ms() + WAIT_MS;
    for (int i = 0; !is_closed(great) && coordinator_now_ms() < until_ms; i++) {
        if (i < 10)
            send(great, bytes, sizeof(bytes), MSG_NOSIGNAL);
        turns(&site, 20);
    }
    EXPECT(is_closed(great));
    EXPECT(!is_closed(small));
    close(small);
    close(great);
    site_close(&site);
}

TEST_MAIN()
