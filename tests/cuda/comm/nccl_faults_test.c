/* SPDX-License-Identifier: Apache-2.0
 *
 * What only NCCL can do wrong: each of its calls fails, hangs, never gets done, or fails later, in
 * one rank, at each point of a script of sums. Whatever it is, every rank ends in time with
 * STATUS_COMMUNICATION and the same first rank; a rank whose own call hangs ends by exit code.
 */
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "tests/comm_fixture.h"
#include "worker/comm/backend.h"

enum { WORLD = 4, VICTIM = 2, COUNT = 20001, STEP_MS = 2000, IN_TIME_S = 30 };

struct fault_case {
    const char *call, *kind;
    int first, last;       /* at the N-th call of the victim, for N of these */
    int32_t rank_expected; /* that has failed; the victim's number also stands for rank 0's calls */
    const char *reason;
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

static enum status script(struct comm *comm, struct error *error)
{
    static float data[COUNT];
    struct comm_order order = chain(comm_world(comm));
    struct comm_span whole = {data, COUNT, 0, COUNT};
    int64_t all[WORLD];
    TRY(comm_all_reduce(comm, data, 10, &order, error));
    TRY(comm_all_gather_bytes(comm, &(int64_t){1}, sizeof(int64_t), all, error));
    TRY(comm_reduce_scatter(comm, whole, &order, error));
    TRY(comm_all_gather(comm, data, COUNT, error));
    TRY(comm_sum_start(comm, whole, COMM_TO_ALL, &order, error));
    return comm_wait(comm, NULL, error);
}

/* ---- faults ------------------------------------------------------------------------------------
 */

static struct ranks_board *board_of_ending;

static void on_ending(const char *text)
{
    if (strstr(text, "did not end within") != NULL) {
        atomic_store(&board_of_ending->ready[COMM_WORLD_MAX - 1], 1);
    }
}

static void fault_body(const struct comm_options *options, struct ranks_board *board,
                       void *argument)
{
    const struct fault_case *fault = argument;
    struct comm_options own = *options;
    struct comm *comm = NULL;
    struct error error = {0};
    own.ending = on_ending;
    board_of_ending = board;
    const double begin = monotonic_s();
    enum status status = comm_open(&own, &comm, &error);
    if (status == STATUS_OK) {
        status = script(comm, &error);
    }
    EXPECT_I64(STATUS_COMMUNICATION, status);
    if (fault->rank_expected != COMM_NOBODY) {
        char named[32];
        snprintf(named, sizeof(named), "rank %d failed: ", fault->rank_expected);
        EXPECT_CONTAINS(named, error.text);
    }
    EXPECT_CONTAINS(fault->reason, error.text);
    if (comm != NULL) {
        EXPECT_I64(fault->rank_expected, comm_failed_rank(comm));
    }
    comm_close(comm);
    EXPECT(monotonic_s() - begin < IN_TIME_S);
}

static void faulty_body(const struct comm_options *options, struct ranks_board *board,
                        void *argument)
{
    const struct fault_case *fault = argument;
    char value[64];
    snprintf(value, sizeof(value), "%s:%d:%s", fault->call, fault->first, fault->kind);
    setenv("TAILOR_STUB_FAULT", value, 1);
    fault_body(options, board, argument);
}

static void expect_fault(enum comm_backend beneath, const struct fault_case *fault)
{
    const bool hangs = strcmp(fault->kind, "hang") == 0;
    const int32_t victim = fault->rank_expected == COMM_NOBODY ? VICTIM : fault->rank_expected;
    struct ranks *ranks = ranks_create(beneath, WORLD, STEP_MS);
    ranks->exit_codes[victim] = hangs ? status_exit_code(STATUS_COMMUNICATION) : 0;
    for (int32_t r = 0; r < WORLD; r++) {
        ranks_start_one(ranks, r, r == victim ? faulty_body : fault_body, (void *)fault);
    }
    ranks_wait(ranks, victim);
    if (hangs) { /* what ends it tells whoever started it */
        ranks_wait_ready(ranks, COMM_WORLD_MAX - 1, 1);
    }
    ranks_finish(ranks);
    if (test_failed()) {
        test_fail(__FILE__, __LINE__, "… with %s:%d:%s in rank %d", fault->call, fault->first,
                  fault->kind, victim);
    }
}

/* The script launches five groups, each with three sends of two pieces at most. */
static const struct fault_case cases[] = {
    {"ncclGetUniqueId", "error", 1, 1, 0, "NCCL: ncclGetUniqueId: unhandled system error"},
    {"ncclGetUniqueId", "hang", 1, 1, 0, "ncclGetUniqueId did not end within"},
    {"ncclCommInitRankConfig", "error", 1, 1, VICTIM, "NCCL: ncclCommInitRankConfig: unhandled"},
    {"ncclCommInitRankConfig", "later", 1, 1, VICTIM, "remote process exited"},
    {"ncclCommInitRankConfig", "stall", 1, 1, COMM_NOBODY, "ncclCommInitRankConfig did not end"},
    {"ncclCommInitRankConfig", "hang", 1, 1, VICTIM, "ncclCommInitRankConfig did not end within"},
    {"ncclCommGetAsyncError", "error", 1, 12, VICTIM, "unhandled system error"},
    {"ncclCommGetAsyncError", "hang", 2, 4, VICTIM, "ncclCommGetAsyncError did not end within"},
    {"ncclGroupStart", "error", 1, 5, VICTIM, "NCCL: ncclGroupStart: unhandled system error"},
    {"ncclGroupStart", "hang", 2, 2, VICTIM, "ncclGroupStart did not end within"},
    {"ncclSend", "error", 1, 9, VICTIM, "NCCL: ncclSend or ncclRecv: unhandled system error"},
    {"ncclSend", "later", 5, 5, VICTIM, "remote process exited"},
    {"ncclSend", "hang", 5, 5, VICTIM, "ncclSend did not end within"},
    {"ncclSend", "stall", 4, 4, COMM_NOBODY, "NCCL's transfer did not end"},
    {"ncclRecv", "error", 1, 9, VICTIM, "NCCL: ncclSend or ncclRecv: unhandled system error"},
    {"ncclRecv", "hang", 7, 7, VICTIM, "ncclRecv did not end within"},
    {"ncclGroupEnd", "error", 1, 5, VICTIM, "NCCL: ncclGroupEnd: unhandled system error"},
    {"ncclGroupEnd", "later", 1, 5, VICTIM, "remote process exited"},
    {"ncclGroupEnd", "stall", 1, 5, VICTIM, ""},
    {"ncclGroupEnd", "hang", 3, 5, VICTIM, "ncclGroupEnd did not end within"},
};

TEST(each_fault_of_each_call_ends_in_time_and_names_its_rank)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        for (int at = cases[i].first; at <= cases[i].last && !test_failed(); at++) {
            struct fault_case now = cases[i];
            now.first = at;
            expect_fault((i + (size_t)at) % 2 == 0 ? COMM_SHM : COMM_TCP, &now);
        }
    }
}

/* ---- the last one ------------------------------------------------------------------------------
 */

static void late_body(const struct comm_options *options, struct ranks_board *board, void *argument)
{
    (void)board, (void)argument;
    struct comm *comm = NULL;
    struct error error = {0};
    struct comm_order order = chain(options->world);
    float data = 1;
    if (options->rank == VICTIM) {
        setenv("TAILOR_STUB_LATE_MS", "300", 1);
    }
    EXPECT_I64(STATUS_OK, comm_open(options, &comm, &error));
    EXPECT_I64(STATUS_OK, comm_all_reduce(comm, &data, 1, &order, &error));
    EXPECT_STR("", error.text);
    comm_close(comm);
}

TEST(a_rank_that_has_everything_stays_until_all_have)
{
    ranks_finish(ranks_start(COMM_SHM, WORLD, STEP_MS, late_body, NULL));
    ranks_finish(ranks_start(COMM_TCP, WORLD, STEP_MS, late_body, NULL));
}

/* ---- an abort that fails too -------------------------------------------------------------------
 */

/* Another rank fails; then this one's abort hangs, or leaves the GPU at work for ever. */
static void abort_body(const struct comm_options *options, struct ranks_board *board,
                       void *argument)
{
    const char *kind = argument;
    struct comm *comm = NULL;
    struct error error = {0};
    struct comm_options own = *options;
    char value[64];
    snprintf(value, sizeof(value), "ncclCommAbort:1:%s", kind);
    own.ending = on_ending;
    board_of_ending = board;
    EXPECT_I64(STATUS_OK, comm_open(&own, &comm, &error));
    if (options->rank == VICTIM) {
        setenv("TAILOR_STUB_FAULT", value, 1);
    } else if (options->rank == 1) {
        setenv("TAILOR_STUB_FAULT", "ncclSend:3:later", 1);
    }
    EXPECT_I64(STATUS_COMMUNICATION, script(comm, &error));
    EXPECT_CONTAINS("rank 1 failed: NCCL", error.text);
    comm_close(comm);
}

TEST(an_abort_that_hangs_ends_the_process_with_the_first_failure)
{
    for (int hangs = 0; hangs < 2 && !test_failed(); hangs++) {
        struct ranks *ranks = ranks_create(COMM_SHM, WORLD, STEP_MS);
        ranks->exit_codes[VICTIM] = hangs ? status_exit_code(STATUS_COMMUNICATION) : 0;
        for (int32_t r = 0; r < WORLD; r++) {
            ranks_start_one(ranks, r, abort_body, hangs ? "hang" : "error");
        }
        ranks_wait(ranks, VICTIM);
        if (hangs) {
            ranks_wait_ready(ranks, COMM_WORLD_MAX - 1, 1);
        }
        ranks_finish(ranks);
    }
}

/* ---- the GPU, and the library ------------------------------------------------------------------
 */

struct refusal {
    const char *variable, *value;
    enum status own;
    const char *reason;
};

static void refusal_body(const struct comm_options *options, struct ranks_board *board,
                         void *argument)
{
    const struct refusal *refusal = argument;
    struct comm *comm = NULL;
    struct error error = {0};
    (void)board;
    const bool victim = options->rank == VICTIM;
    if (victim) {
        setenv(refusal->variable, refusal->value, 1);
    }
    enum status status = comm_open(options, &comm, &error);
    status = status == STATUS_OK ? script(comm, &error) : status;
    EXPECT_I64(victim ? refusal->own : STATUS_COMMUNICATION, status);
    EXPECT_CONTAINS(refusal->reason, error.text);
    comm_close(comm);
}

TEST(what_a_rank_lacks_is_told_to_all)
{
    static const struct refusal refusals[] = {
        {"TAILOR_STUB_VERSION", "21705", STATUS_UNSUPPORTED, "NCCL is of version 2.17 here: 2.18"},
        {"TAILOR_STUB_VERSION", "22203", STATUS_COMMUNICATION,
         "rank 0 has NCCL 2.21.0, rank 2 2.22.3"},
        {"TAILOR_STUB_FAULT", "ncclGetVersion:1:error", STATUS_UNSUPPORTED, "version 0.0"},
        {"TAILOR_EMULATE_FAIL", "cudaStreamCreateWithFlags:1", STATUS_UNSUPPORTED,
         "no GPU can be used"},
        {"TAILOR_EMULATE_FAIL", "cudaMalloc:1", STATUS_COMMUNICATION, "for sums: emulated failure"},
        {"TAILOR_EMULATE_FAIL", "cudaStreamQuery:3", STATUS_COMMUNICATION, "rank 2 failed: CUDA: "},
    };
    for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals) && !test_failed(); i++) {
        ranks_finish(ranks_start(COMM_TCP, WORLD, STEP_MS, refusal_body, (void *)&refusals[i]));
    }
}

/* ---- memory of the device ----------------------------------------------------------------------
 */

static float value_of(int32_t rank, size_t i)
{
    return (float)((double)(i % 977 + 1) * (rank % 2 == 0 ? 1e-4 : 3e3) / (rank + 3));
}

/* In blocks that the host cannot touch, in many pieces: the order's bits in everybody's block. */
static void device_body(const struct comm_options *options, struct ranks_board *board,
                        void *argument)
{
    (void)board, (void)argument;
    static float mine[COUNT], expected[COUNT], got[COUNT];
    struct comm *comm = NULL;
    struct error error = {0};
    struct comm_order order = chain(options->world);
    cudaStream_t stream;
    void *block;
    EXPECT_I64(STATUS_OK, comm_open(options, &comm, &error));
    EXPECT(comm_on_device(comm));
    comm->to_bytes_max = comm->same_bytes_max = 4096;
    for (size_t i = 0; i < COUNT; i++) {
        mine[i] = value_of(options->rank, i);
        expected[i] = value_of(0, i);
        for (int32_t r = 1; r < options->world; r++) {
            expected[i] += value_of(r, i);
        }
    }
    EXPECT_I64(cudaSuccess, cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    EXPECT_I64(cudaSuccess, cudaMalloc(&block, sizeof(mine)));
    for (size_t count = COUNT; count > 0 && !test_failed(); count /= 9) {
        const size_t bytes = count * sizeof(float);
        cudaMemcpyAsync(block, mine, bytes, cudaMemcpyHostToDevice, stream);
        EXPECT_I64(STATUS_OK, comm_all_reduce(comm, block, count, &order, &error));
        cudaMemcpyAsync(got, block, bytes, cudaMemcpyDeviceToHost, stream);
        EXPECT_BYTES(expected, got, bytes);
    }
    EXPECT_I64(cudaSuccess, cudaFree(block));
    EXPECT_I64(cudaSuccess, cudaStreamDestroy(stream));
    comm_close(comm);
}

TEST(blocks_of_a_device_are_summed_where_the_host_cannot_reach)
{
    for (int32_t world = 2; world <= 4; world += 2) {
        ranks_finish(ranks_start(COMM_SHM, world, LONG_MS, device_body, NULL));
        ranks_finish(ranks_start(COMM_TCP, world, LONG_MS, device_body, NULL));
    }
}

TEST_MAIN()
