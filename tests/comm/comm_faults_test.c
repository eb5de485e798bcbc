/* SPDX-License-Identifier: Apache-2.0
 *
 * Whatever happens to a rank, at whatever point, every survivor returns and names it.
 *
 * A script of all collectives is run; a fault happens to one rank just before its n-th exchange,
 * for every n. Where the transport can tell that the rank is gone, deadlines are so long that to
 * return at all is to have noticed. Ranks that only hang are found by short deadlines.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/comm_fixture.h"
#include "worker/comm/backend.h"

enum { WORLD = 3, VICTIM = 1, COUNT = 400003, SHORT_MS = 3000 };

struct fault_case {
    enum comm_fault fault;
    int at;
    const char *reason; /* that survivors give */
};

static struct comm_order chain(int32_t world)
{
    struct comm_order order = {.count = world - 1};
    for (int32_t r = 1; r < world; r++) {
        order.merge[r - 1].into = 0;
        order.merge[r - 1].from = r;
    }
    return order;
}

/* Every collective once, until one fails. */
static enum status script(struct comm *comm, struct error *error)
{
    static float data[COUNT];
    static uint8_t all[WORLD * 8];
    static uint8_t blob[1000003];
    struct comm_order order = chain(comm_world(comm));
    struct comm_span whole = {data, COUNT, 0, COUNT}, low = {data, COUNT, 0, 999};
    TRY(comm_reduce_scatter(comm, whole, &order, error));
    TRY(comm_all_gather(comm, data, COUNT, error));
    TRY(comm_all_reduce(comm, data, 10, &order, error));
    TRY(comm_all_reduce(comm, data, COUNT, &order, error));
    TRY(comm_all_gather_bytes(comm, "12345678", 8, all, error));
    TRY(comm_broadcast(comm, blob, sizeof(blob), 2, error));
    TRY(comm_barrier(comm, error));
    TRY(comm_sum_start(comm, whole, COMM_TO_ALL, &order, error));
    TRY(comm_sum_start(comm, low, COMM_TO_OWNERS, &order, error));
    return comm_wait(comm, NULL, error);
}

/* Runs the script until it fails, then shows that the group stays poisoned. */
static void expect_failure(struct comm *comm, int32_t rank_expected, const char *reason_expected)
{
    struct error error = {0};
    enum status status = STATUS_OK;
    for (int round = 0; round < 2 && status == STATUS_OK; round++) {
        status = script(comm, &error);
    }
    EXPECT_I64(STATUS_COMMUNICATION, status);
    EXPECT_I64(rank_expected, comm_failed_rank(comm));
    EXPECT_CONTAINS(reason_expected, error.text);
    struct error again = {0};
    EXPECT_I64(STATUS_COMMUNICATION, comm_barrier(comm, &again));
    EXPECT_STR(error.text, again.text);
}

static struct comm *open_or_exit(const struct comm_options *options, struct ranks_board *board)
{
    struct comm *comm = NULL;
    struct error error = {0};
    if (comm_open(options, &comm, &error) != STATUS_OK) {
        test_fail(__FILE__, __LINE__, "rank %d cannot open: %s", options->rank, error.text);
        exit(1);
    }
    /* Faults while joining are another test's: here all have joined before one happens. */
    atomic_store(&board->ready[options->rank], 1);
    for (int32_t r = 0; r < options->world; r++) {
        while (atomic_load(&board->ready[r]) == 0) {
            usleep(100);
        }
    }
    return comm;
}

static void faults_body(const struct comm_options *options, struct ranks_board *board,
                        void *argument)
{
    const struct fault_case *fault = argument;
    bool victim = options->rank == VICTIM;
    struct comm *comm = open_or_exit(options, board);
    if (fault->fault == FAULT_STOP) {
        comm->timeout_ms = SHORT_MS;
    }
    comm_disturb(comm, board, victim ? fault->fault : FAULT_NONE, fault->at);
    if (!victim || fault->fault == FAULT_ABORT) {
        expect_failure(comm, VICTIM, fault->reason);
    } else {
        /* It finds itself cut off; whom it blames for that is its own affair. */
        EXPECT_I64(STATUS_COMMUNICATION, script(comm, NULL));
    }
    comm_close(comm);
}

static void count_body(const struct comm_options *options, struct ranks_board *board,
                       void *argument)
{
    (void)argument;
    struct comm *comm = open_or_exit(options, board);
    comm_disturb(comm, board, FAULT_NONE, 0);
    EXPECT_I64(STATUS_OK, script(comm, NULL));
    int count = atomic_load(&board->exchanges[options->rank]);
    comm_close(comm); /* NCCL's has one more */
    atomic_store(&board->exchanges[options->rank], count);
}

/* How many exchanges the script takes, so that a sweep is complete. */
static int count_exchanges(enum comm_backend backend)
{
    struct ranks *ranks = ranks_start(backend, WORLD, LONG_MS, count_body, NULL);
    ranks_wait(ranks, VICTIM);
    int count = atomic_load(&ranks->board->exchanges[VICTIM]);
    ranks_finish(ranks);
    EXPECT(count >= 8); /* one for each collective at least */
    return count;
}

static void sweep(enum comm_backend backend, enum comm_fault fault, const char *reason, int stride)
{
    int count = count_exchanges(backend);
    for (int at = 0; at < count && !test_failed(); at += stride) {
        struct fault_case now = {fault, at, reason};
        struct ranks *ranks = ranks_start(backend, WORLD, LONG_MS, faults_body, &now);
        if (fault == FAULT_STOP) {
            ranks_wait(ranks, 0);
            ranks_wait(ranks, 2);
            ranks_kill(ranks, VICTIM, SIGCONT);
        }
        ranks_finish(ranks);
    }
}

TEST(a_killed_rank_is_named_at_once_at_every_exchange)
{
    sweep(COMM_SHM, FAULT_KILL, "rank 1 failed: it is gone", 1);
    sweep(COMM_TCP, FAULT_KILL, "rank 1 failed: its connection was closed", 1);
}

TEST(a_rank_whose_connections_drop_is_named_at_once_at_every_exchange)
{
    sweep(COMM_TCP, FAULT_DROP, "rank 1 failed: its connection was closed", 1);
}

TEST(an_abort_reaches_everybody_with_its_reason_at_every_exchange)
{
    sweep(COMM_SHM, FAULT_ABORT, "rank 1 failed: as the test wishes", 1);
    sweep(COMM_TCP, FAULT_ABORT, "rank 1 failed: as the test wishes", 1);
}

TEST(a_stopped_rank_is_named_when_its_time_is_over)
{
    sweep(COMM_SHM, FAULT_STOP, "rank 1 failed: no progress within", 5);
    sweep(COMM_TCP, FAULT_STOP, "rank 1 failed: no progress within", 5);
}

/* ---- at any moment ------------------------------------------------------------------------------
 */

static void endless_body(const struct comm_options *options, struct ranks_board *board,
                         void *argument)
{
    struct comm *comm = open_or_exit(options, board);
    struct error error = {0};
    while (script(comm, &error) == STATUS_OK) {
    }
    EXPECT_I64(VICTIM, comm_failed_rank(comm));
    EXPECT_CONTAINS(argument, error.text);
    comm_close(comm);
}

TEST(a_rank_killed_in_the_middle_of_anything_is_named_at_once)
{
    for (int i = 0; i < 12 && !test_failed(); i++) {
        for (int backend = COMM_SHM; backend <= COMM_TCP; backend++) {
            char *reason = backend == COMM_SHM ? "it is gone" : "its connection was closed";
            struct ranks *ranks =
                ranks_start((enum comm_backend)backend, WORLD, LONG_MS, endless_body, reason);
            ranks_wait_ready(ranks, VICTIM, 1);
            usleep((useconds_t)(i * 1700));
            ranks_kill(ranks, VICTIM, SIGKILL);
            ranks_finish(ranks);
        }
    }
}

/* ---- abort beside a collective, and disagreement
 * ------------------------------------------------- */

static void abort_beside_body(const struct comm_options *options, struct ranks_board *board,
                              void *argument)
{
    (void)argument;
    static float data[COUNT];
    struct comm_order order = chain(options->world);
    struct comm *comm = open_or_exit(options, board);
    struct error error = {0};
    if (options->rank == VICTIM) {
        struct comm_span whole = {data, COUNT, 0, COUNT};
        EXPECT_I64(STATUS_OK, comm_sum_start(comm, whole, COMM_TO_ALL, &order, &error));
        usleep(20000); /* its thread now waits for the others */
        comm_abort(comm, "changed its mind");
        EXPECT_I64(STATUS_COMMUNICATION, comm_wait(comm, NULL, &error));
        atomic_store(&board->ready[VICTIM], 2);
    } else {
        while (atomic_load(&board->ready[VICTIM]) < 2) { /* busy with something else */
            usleep(1000);
        }
        EXPECT_I64(STATUS_COMMUNICATION, comm_all_reduce(comm, data, COUNT, &order, &error));
    }
    EXPECT_STR("rank 1 failed: changed its mind", error.text);
    EXPECT_I64(VICTIM, comm_failed_rank(comm));
    comm_close(comm);
}

TEST(an_abort_ends_the_collective_that_its_own_thread_waits_in)
{
    ranks_finish(ranks_start(COMM_SHM, WORLD, LONG_MS, abort_beside_body, NULL));
    ranks_finish(ranks_start(COMM_TCP, WORLD, LONG_MS, abort_beside_body, NULL));
}

static void disagree_body(const struct comm_options *options, struct ranks_board *board,
                          void *argument)
{
    const int *kind = argument;
    float data[128] = {0};
    struct comm_order order = chain(options->world);
    struct comm *comm = open_or_exit(options, board);
    struct error error = {0};
    enum status status;
    if (options->rank != VICTIM) {
        status = comm_all_reduce(comm, data, 100, &order, &error);
    } else if (*kind == 0) {
        status = comm_barrier(comm, &error);
    } else if (*kind == 1) {
        status = comm_all_reduce(comm, data, 101, &order, &error);
    } else {
        order.merge[0].into = 1;
        order.merge[0].from = 2;
        order.merge[1].from = 1;
        status = comm_all_reduce(comm, data, 100, &order, &error);
    }
    EXPECT_I64(STATUS_COMMUNICATION, status);
    EXPECT_CONTAINS("ranks disagree", error.text);
    EXPECT_I64(-1, comm_failed_rank(comm));
    comm_close(comm);
}

TEST(ranks_that_disagree_get_an_error_and_no_numbers)
{
    for (int kind = 0; kind < 3 && !test_failed(); kind++) {
        ranks_finish(ranks_start(COMM_SHM, WORLD, LONG_MS, disagree_body, &kind));
        ranks_finish(ranks_start(COMM_TCP, WORLD, LONG_MS, disagree_body, &kind));
    }
}

TEST_MAIN()
