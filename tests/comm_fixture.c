/* SPDX-License-Identifier: Apache-2.0
 *
 * comm_fixture: ranks are forked from a process without threads, so that sanitizers may run.
 *
 * A fault is a transport put between a comm and its own: no hook in the product is needed.
 */
#include "tests/comm_fixture.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "worker/comm/backend.h"

const char *comm_backend_name(enum comm_backend backend)
{
    static const char *const names[] = {"local", "shm", "tcp", "nccl"};
    return names[backend];
}

/* A port that is free, and bound by the socket until that is closed. */
static int bind_free_port(int *socket_out)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    *socket_out = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(*socket_out, (struct sockaddr *)&address, size) != 0 ||
        getsockname(*socket_out, (struct sockaddr *)&address, &size) != 0) {
        perror("no free port");
        abort();
    }
    return ntohs(address.sin_port);
}

/* Ports that were free a moment ago, and that no group of this process had before: two groups that
 * each lack a rank would find one another at the same port. */
static void choose_endpoints(struct ranks *ranks, int32_t world)
{
    static bool had[65536];
    int sockets[COMM_WORLD_MAX];
    for (int32_t r = 0; r < world; r++) {
        int port = bind_free_port(&sockets[r]);
        while (had[port]) {
            close(sockets[r]);
            port = bind_free_port(&sockets[r]);
        }
        had[port] = true;
        snprintf(ranks->endpoint_texts[r], sizeof(ranks->endpoint_texts[r]), "127.0.0.1:%d", port);
        ranks->endpoints[r] = ranks->endpoint_texts[r];
    }
    for (int32_t r = 0; r < world; r++) {
        close(sockets[r]);
    }
}

struct ranks *ranks_create(enum comm_backend backend, int32_t world, int64_t timeout_ms)
{
    static int group;
    struct ranks *ranks = calloc(1, sizeof(*ranks));
    ranks->board = mmap(NULL, sizeof(*ranks->board), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    snprintf(ranks->name, sizeof(ranks->name), "test-%d-%d", getpid(), group++);
    choose_endpoints(ranks, world);
    ranks->options = (struct comm_options){.backend = backend,
                                           .world = world,
                                           .term = 7,
                                           .secret = "the secret of term seven",
                                           .name = ranks->name,
                                           .endpoints = ranks->endpoints,
                                           .timeout_ms = timeout_ms};
    if (backend != COMM_LOCAL && comm_nccl_is_linked()) {
        ranks->options.beneath = backend;
        ranks->options.backend = COMM_NCCL;
    }
    return ranks;
}

void ranks_start_one(struct ranks *ranks, int32_t rank, rank_body *body, void *argument)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct comm_options options = ranks->options;
        options.rank = rank;
        body(&options, ranks->board, argument);
        exit(test_failed() ? 1 : 0); /* not _exit: sanitizers have the last word */
    }
    ranks->pids[rank] = pid;
}

struct ranks *ranks_start(enum comm_backend backend, int32_t world, int64_t timeout_ms,
                          rank_body *body, void *argument)
{
    struct ranks *ranks = ranks_create(backend, world, timeout_ms);
    for (int32_t r = 0; r < world; r++) {
        ranks_start_one(ranks, r, body, argument);
    }
    return ranks;
}

void ranks_wait_ready(struct ranks *ranks, int32_t rank, int value)
{
    time_t end = time(NULL) + HANG_SECONDS;
    while (atomic_load(&ranks->board->ready[rank]) < value) {
        if (time(NULL) > end) {
            test_fail(__FILE__, __LINE__, "rank %d did not come to point %d", rank, value);
            return;
        }
        usleep(200);
    }
}

void ranks_kill(struct ranks *ranks, int32_t rank, int signal)
{
    kill(ranks->pids[rank], signal);
    if (signal == SIGKILL) {
        waitpid(ranks->pids[rank], NULL, 0);
        ranks->pids[rank] = 0;
    }
}

void ranks_wait(struct ranks *ranks, int32_t rank)
{
    int status;
    time_t end = time(NULL) + HANG_SECONDS;
    if (ranks->pids[rank] <= 0) {
        return;
    }
    while (waitpid(ranks->pids[rank], &status, WNOHANG) == 0) {
        if (time(NULL) > end) {
            test_fail(__FILE__, __LINE__, "%s: rank %d of %d hangs",
                      comm_backend_name(ranks->options.backend), rank, ranks->options.world);
            ranks_kill(ranks, rank, SIGKILL);
            return;
        }
        usleep(200);
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL) {
        test_fail(__FILE__, __LINE__, "%s: rank %d of %d died of signal %d",
                  comm_backend_name(ranks->options.backend), rank, ranks->options.world,
                  WTERMSIG(status));
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) != ranks->exit_codes[rank]) {
        test_fail(__FILE__, __LINE__, "%s: rank %d of %d: expected exit code %d, got %d, see above",
                  comm_backend_name(ranks->options.backend), rank, ranks->options.world,
                  ranks->exit_codes[rank], WEXITSTATUS(status));
    }
    ranks->pids[rank] = 0;
}

void ranks_finish(struct ranks *ranks)
{
    for (int32_t r = 0; r < ranks->options.world; r++) {
        ranks_wait(ranks, r);
    }
    char path[128];
    snprintf(path, sizeof(path), "/dev/shm/tailor-%s", ranks->name);
    if (access(path, F_OK) == 0) {
        test_fail(__FILE__, __LINE__, "expected nothing to be left behind, got %s", path);
        unlink(path);
    }
    munmap(ranks->board, sizeof(*ranks->board));
    free(ranks);
}

/* ---- faults ------------------------------------------------------------------------------------
 */

static struct {
    const struct comm_ops *ops;
    struct ranks_board *board;
    enum comm_fault fault;
    int at;
} disturbance;

static void shutdown_all_sockets(void)
{
    for (int fd = 3; fd < 256; fd++) {
        struct stat what;
        if (fstat(fd, &what) == 0 && S_ISSOCK(what.st_mode)) {
            shutdown(fd, SHUT_RDWR);
        }
    }
}

static bool disturbed_exchange(struct comm *comm, struct comm_exchange *exchange,
                               struct comm_failure *failure)
{
    int number = atomic_fetch_add(&disturbance.board->exchanges[comm->rank], 1);
    if (number == disturbance.at) {
        switch (disturbance.fault) {
        case FAULT_NONE:
            break;
        case FAULT_KILL:
            raise(SIGKILL);
            break;
        case FAULT_STOP:
            raise(SIGSTOP);
            break;
        case FAULT_DROP:
            shutdown_all_sockets();
            break;
        case FAULT_ABORT:
            comm_abort(comm, "as the test wishes");
            break;
        }
    }
    return disturbance.ops->exchange(comm, exchange, failure);
}

void comm_disturb(struct comm *comm, struct ranks_board *board, enum comm_fault fault, int at)
{
    static struct comm_ops ops;
    comm = comm_host(comm); /* NCCL's exchanges begin and end with one of its control */
    disturbance.ops = comm->ops;
    disturbance.board = board;
    disturbance.fault = fault;
    disturbance.at = at;
    ops = *comm->ops;
    ops.exchange = disturbed_exchange;
    comm->ops = &ops;
}
