/* SPDX-License-Identifier: Apache-2.0
 *
 * Joining: who is missing is named, who does not belong is not noticed, what was left is replaced.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/comm_fixture.h"

/* Short for a person, long for a machine on which ranks start seconds apart. */
enum { SHORT_MS = 6000 };

/* Joins and adds up ranks, as proof that the group works. */
static void works_body(const struct comm_options *options, struct ranks_board *board,
                       void *argument)
{
    (void)argument;
    struct comm *comm = NULL;
    struct error error = {0};
    struct comm_order order = {.count = options->world - 1};
    for (int32_t r = 1; r < options->world; r++) {
        order.merge[r - 1].from = r;
    }
    atomic_store(&board->ready[options->rank], 1);
    if (comm_open(options, &comm, &error) != STATUS_OK) {
        test_fail(__FILE__, __LINE__, "rank %d cannot open: %s", options->rank, error.text);
        return;
    }
    float sum = (float)options->rank + 1;
    EXPECT_I64(STATUS_OK, comm_all_reduce(comm, &sum, 1, &order, &error));
    EXPECT_CLOSE(options->world * (options->world + 1) / 2, sum, 0.0);
    comm_close(comm);
}

/* Does not get in, and is told about `argument`. */
static void fails_body(const struct comm_options *options, struct ranks_board *board,
                       void *argument)
{
    struct comm *comm = NULL;
    struct error error = {0};
    atomic_store(&board->ready[options->rank], 1);
    EXPECT_I64(STATUS_COMMUNICATION, comm_open(options, &comm, &error));
    EXPECT_CONTAINS(argument, error.text);
    EXPECT(comm == NULL);
}

TEST(a_missing_rank_is_named_by_all_who_came)
{
    struct ranks *groups[6]; /* all at a time, since each waits for its deadline */
    for (int32_t g = 0; g < 6; g++) {
        static const char *const names[] = {"rank 0 failed", "rank 1 failed", "rank 2 failed"};
        groups[g] = ranks_create(g < 3 ? COMM_SHM : COMM_TCP, 3, SHORT_MS);
        for (int32_t r = 0; r < 3; r++) {
            if (r != g % 3) {
                ranks_start_one(groups[g], r, fails_body, (void *)names[g % 3]);
            }
        }
    }
    for (int g = 0; g < 6; g++) {
        ranks_finish(groups[g]);
    }
}

TEST(a_rank_killed_while_joining_is_named)
{
    for (int backend = COMM_SHM; backend <= COMM_TCP; backend++) {
        struct ranks *ranks = ranks_create((enum comm_backend)backend, 4, SHORT_MS);
        for (int32_t r = 0; r < 3; r++) {
            ranks_start_one(ranks, r, r == 1 ? works_body : fails_body, "rank 1 failed");
        }
        for (int32_t r = 0; r < 3; r++) {
            ranks_wait_ready(ranks, r, 1);
        }
        usleep(200000); /* for them to find each other */
        ranks_kill(ranks, 1, SIGKILL);
        ranks_finish(ranks);
    }
}

/* ---- strangers ---------------------------------------------------------------------------------
 */

static int connect_to(const char *endpoint)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(strrchr(endpoint, ':') + 1)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    for (int tries = 0; connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0; tries++) {
        if (tries > 1000) {
            test_fail(__FILE__, __LINE__, "cannot connect to %s", endpoint);
            break;
        }
        usleep(5000);
        close(fd);
        fd = socket(AF_INET, SOCK_STREAM, 0);
    }
    return fd;
}

static void send_noise(int fd, size_t bytes)
{
    uint8_t noise[4096];
    for (size_t i = 0; i < sizeof(noise); i++) {
        noise[i] = (uint8_t)(i * 131 + 7);
    }
    ssize_t sent = send(fd, noise, bytes, MSG_NOSIGNAL);
    (void)sent; /* it may have been shown the door already */
}

TEST(strangers_connections_change_nothing)
{
    enum { STRANGERS = 200 };
    int fds[3 * STRANGERS], count = 0;
    struct ranks *ranks = ranks_create(COMM_TCP, 3, LONG_MS);
    ranks_start_one(ranks, 0, works_body, NULL);
    ranks_start_one(ranks, 1, works_body, NULL);
    for (int i = 0; i < STRANGERS; i++) {
        for (int32_t r = 0; r < 2; r++) {
            int fd = connect_to(ranks->endpoints[r]);
            fds[count++] = fd; /* i % 4 == 0: it stays silent */
            if (i % 4 == 1) {
                send_noise(fd, 1);
            } else if (i % 4 == 2) {
                send_noise(fd, 4096);
            } else if (i % 4 == 3) {
                send_noise(fd, 100);
                shutdown(fd, SHUT_WR);
            }
        }
    }
    ranks_start_one(ranks, 2, works_body, NULL);
    ranks_finish(ranks);
    for (int i = 0; i < count; i++) {
        close(fds[i]);
    }
}

/* Comes as rank 2 of the same group, but of another term or with another secret. */
static void impostor_body(const struct comm_options *options, struct ranks_board *board,
                          void *argument)
{
    const bool *other_term = argument;
    const char *endpoints[3] = {options->endpoints[0], options->endpoints[1], "127.0.0.1:0"};
    struct comm_options wrong = *options;
    struct comm *comm = NULL;
    struct error error = {0};
    wrong.endpoints = endpoints;
    wrong.timeout_ms = 1500;
    if (*other_term) {
        wrong.term = 6;
    } else {
        wrong.secret[0] ^= 1;
    }
    atomic_store(&board->ready[3], 1);
    EXPECT_I64(STATUS_COMMUNICATION, comm_open(&wrong, &comm, &error));
    EXPECT_CONTAINS("rank 0", error.text);
}

TEST(an_impostor_with_another_secret_or_of_another_term_does_not_get_in)
{
    for (int backend = COMM_SHM; backend <= COMM_TCP; backend++) {
        for (int other_term = 0; other_term < 2; other_term++) {
            bool argument = other_term;
            struct ranks *ranks = ranks_create((enum comm_backend)backend, 3, LONG_MS);
            ranks_start_one(ranks, 0, works_body, NULL);
            ranks_start_one(ranks, 1, works_body, NULL);
            ranks_start_one(ranks, 2, impostor_body, &argument);
            ranks_wait(ranks, 2); /* refused until its own deadline */
            ranks_start_one(ranks, 2, works_body, NULL);
            ranks_finish(ranks);
        }
    }
}

/* ---- names and ports ----------------------------------------------------------------------------
 */

static void segment_path(const struct ranks *ranks, char out[128])
{
    snprintf(out, 128, "/dev/shm/tailor-%s", ranks->name);
}

/* Until rank 0 has made it and proved itself in it; `ready` is its first word (shm.h). */
static void wait_for_segment(const char *path)
{
    uint32_t ready = 0;
    while (ready == 0) {
        int fd = open(path, O_RDONLY);
        if (fd >= 0) {
            ready = pread(fd, &ready, sizeof(ready), 0) == sizeof(ready) ? ready : 0;
            close(fd);
        }
        usleep(1000);
    }
}

TEST(what_lies_under_the_name_of_a_segment_is_replaced)
{
    char path[128];
    struct ranks *ranks = ranks_create(COMM_SHM, 2, LONG_MS);
    segment_path(ranks, path);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    EXPECT_I64(4, write(fd, "junk", 4));
    close(fd);
    ranks_start_one(ranks, 1, works_body, NULL); /* meets the junk first */
    ranks_wait_ready(ranks, 1, 1);
    usleep(20000);
    ranks_start_one(ranks, 0, works_body, NULL);
    ranks_finish(ranks);
}

TEST(a_segment_of_a_killed_attempt_is_replaced)
{
    char path[128];
    struct ranks *ranks = ranks_create(COMM_SHM, 2, LONG_MS);
    segment_path(ranks, path);
    ranks_start_one(ranks, 0, works_body, NULL);
    wait_for_segment(path);
    ranks_kill(ranks, 0, SIGKILL);
    EXPECT_I64(0, access(path, F_OK)); /* it is in the way */
    ranks_start_one(ranks, 1, works_body, NULL);
    usleep(20000);
    ranks_start_one(ranks, 0, works_body, NULL);
    ranks_finish(ranks);
}

TEST(a_second_rank_0_of_a_joining_group_is_refused)
{
    struct ranks *ranks = ranks_create(COMM_SHM, 2, LONG_MS);
    char path[128];
    segment_path(ranks, path);
    ranks_start_one(ranks, 0, works_body, NULL);
    struct error error = {0};
    struct comm *comm = NULL;
    wait_for_segment(path);
    EXPECT_I64(STATUS_CONFLICT, comm_open(&ranks->options, &comm, &error));
    EXPECT_CONTAINS("rank 0 is there already", error.text);
    ranks_start_one(ranks, 1, works_body, NULL);
    ranks_finish(ranks);
}

TEST(bad_endpoints_and_a_taken_port_are_named)
{
    static const char *const bad[] = {"nonsense", ":80", "127.0.0.1:", "[]:80", "127.0.0.1:x"};
    struct ranks *ranks = ranks_create(COMM_TCP, 2, SHORT_MS);
    struct error error = {0};
    struct comm *comm = NULL;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        const char *endpoints[2] = {bad[i], "127.0.0.1:1"};
        struct comm_options options = ranks->options;
        options.endpoints = endpoints;
        EXPECT_I64(STATUS_USAGE, comm_open(&options, &comm, &error));
        EXPECT_CONTAINS(bad[i], error.text);
    }
    ranks_start_one(ranks, 0, fails_body, "rank 1 failed");
    int fd = connect_to(ranks->endpoints[0]); /* now it listens */
    EXPECT_I64(STATUS_CONFLICT, comm_open(&ranks->options, &comm, &error));
    EXPECT_CONTAINS(ranks->endpoints[0], error.text);
    ranks_finish(ranks);
    close(fd);
}

TEST_MAIN()
