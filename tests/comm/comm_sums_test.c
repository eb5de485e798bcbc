/* SPDX-License-Identifier: Apache-2.0
 *
 * Collectives give what their definition says, bit for bit, on every backend and world.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/rng.h"
#include "tests/comm_fixture.h"

enum { WORLDS = 4, ORDERS = 3, COUNT_MAX = 1100003 };

/* Around the border of blocks, of the direct path (32 KiB), and beyond every transport's piece. */
static const size_t counts[] = {0,    1,    15,   16,   17,    48,    63,     100,
                                1001, 8191, 8192, 8193, 12345, 70001, 600001, COUNT_MAX};

/* Values of very different sizes, so that the order of a sum shows in its bits. */
static void fill(float *data, size_t count, int32_t rank, uint64_t seed)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t bits = rng_u64(seed, (uint64_t)rank, i);
        data[i] =
            ldexpf((float)(int32_t)(bits & 0xffffff) - 8388608.0f, (int)(bits >> 24 & 31) - 40);
    }
}

static struct comm_order order_of(int32_t kind, int32_t world)
{
    struct comm_order order = {.count = world - 1};
    int32_t m = 0;
    if (kind == 0) { /* a tree of neighbours: (0+1) + (2+3) */
        for (int32_t distance = 1; distance < world; distance *= 2) {
            for (int32_t r = 0; r + distance < world; r += 2 * distance) {
                order.merge[m].into = r;
                order.merge[m++].from = r + distance;
            }
        }
    }
    for (int32_t r = 1; kind == 1 && r < world; r++) { /* ((0+1)+2)+3 */
        order.merge[m].into = 0;
        order.merge[m++].from = r;
    }
    for (int32_t r = world - 1; kind == 2 && r > 0; r--) { /* 0+(1+(2+3)) */
        order.merge[m].into = r - 1;
        order.merge[m++].from = r;
    }
    return order;
}

/* The definition, as comm.h says it. */
static float *expected_sum(size_t count, int32_t world, const struct comm_order *order,
                           uint64_t seed)
{
    float *x = calloc((size_t)world * (count + 1), sizeof(float));
    for (int32_t r = 0; r < world; r++) {
        fill(x + (size_t)r * count, count, r, seed);
    }
    for (int32_t m = 0; m < order->count; m++) {
        float *into = x + (size_t)order->merge[m].into * count;
        const float *from = x + (size_t)order->merge[m].from * count;
        for (size_t i = 0; i < count; i++) {
            into[i] = into[i] + from[i];
        }
    }
    return x;
}

static struct comm *open_or_fail(const struct comm_options *options)
{
    struct comm *comm = NULL;
    struct error error = {0};
    if (comm_open(options, &comm, &error) != STATUS_OK) {
        test_fail(__FILE__, __LINE__, "rank %d cannot open: %s", options->rank, error.text);
        exit(1);
    }
    return comm;
}

#define EXPECT_OK(call)                                                                            \
    do {                                                                                           \
        struct error error_ = {0};                                                                 \
        enum status status_ = call;                                                                \
        if (status_ != STATUS_OK) {                                                                \
            test_fail(__FILE__, __LINE__, "expected ok, got %s: %s", status_name(status_),         \
                      error_.text);                                                                \
        }                                                                                          \
    } while (0)

/* ---- sums --------------------------------------------------------------------------------------
 */

static void reduce_one(struct comm *comm, size_t count, const struct comm_order *order,
                       uint64_t seed)
{
    int32_t rank = comm_rank(comm), world = comm_world(comm);
    float *expected = expected_sum(count, world, order, seed);
    /* At an odd address, with guards on both sides. */
    float *memory = calloc(count + 3, sizeof(float));
    float *data = memory + 1;
    size_t begin, end;
    memory[0] = memory[count + 1] = 42.0f;
    comm_block(comm, count, rank, &begin, &end);

    fill(data, count, rank, seed);
    EXPECT_OK(comm_all_reduce(comm, data, count, order, &error_));
    EXPECT_BYTES(expected, data, count * sizeof(float));

    fill(data, count, rank, seed);
    EXPECT_OK(comm_reduce_scatter(comm, (struct comm_span){data, count, 0, count}, order, &error_));
    EXPECT_BYTES(expected + begin, data + begin, (end - begin) * sizeof(float));
    EXPECT_OK(comm_all_gather(comm, data, count, &error_));
    EXPECT_BYTES(expected, data, count * sizeof(float));

    EXPECT_CLOSE(42.0, memory[0], 0.0);
    EXPECT_CLOSE(42.0, memory[count + 1], 0.0);
    free(memory);
    free(expected);
}

static void sums_body(const struct comm_options *options, struct ranks_board *board, void *argument)
{
    (void)board, (void)argument;
    struct comm *comm = open_or_fail(options);
    EXPECT_I64(options->rank, comm_rank(comm));
    EXPECT_I64(options->world, comm_world(comm));
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        for (int32_t kind = 0; kind < ORDERS && !test_failed(); kind++) {
            struct comm_order order = order_of(kind, options->world);
            reduce_one(comm, counts[i], &order, i * ORDERS + (uint64_t)kind);
        }
    }
    EXPECT_I64(-1, comm_failed_rank(comm));
    comm_close(comm);
}

static void on_all_backends(rank_body *body, int32_t world_min)
{
    for (int32_t world = world_min; world <= WORLDS && !test_failed(); world++) {
        for (int backend = world == 1 ? COMM_LOCAL : COMM_SHM; backend <= COMM_TCP; backend++) {
            ranks_finish(ranks_start((enum comm_backend)backend, world, LONG_MS, body, NULL));
        }
    }
}

TEST(sums_have_the_bits_of_their_order_on_every_backend_and_world)
{
    on_all_backends(sums_body, 1);
}

TEST(the_orders_that_are_tested_do_differ_in_their_bits)
{
    float *sums[ORDERS];
    for (int32_t kind = 0; kind < ORDERS; kind++) {
        struct comm_order order = order_of(kind, 4);
        sums[kind] = expected_sum(1001, 4, &order, 1);
    }
    EXPECT(memcmp(sums[0], sums[1], 1001 * sizeof(float)) != 0);
    EXPECT(memcmp(sums[1], sums[2], 1001 * sizeof(float)) != 0);
    EXPECT(memcmp(sums[0], sums[2], 1001 * sizeof(float)) != 0);
    for (int32_t kind = 0; kind < ORDERS; kind++) {
        free(sums[kind]);
    }
}

static void blocks_body(const struct comm_options *options, struct ranks_board *board,
                        void *argument)
{
    (void)board, (void)argument;
    struct comm *comm = open_or_fail(options);
    for (size_t count = 0; count < 300; count++) {
        size_t last = 0, longest = 0, shortest = SIZE_MAX;
        for (int32_t r = 0; r < options->world; r++) {
            size_t begin, end;
            comm_block(comm, count, r, &begin, &end);
            EXPECT_I64((int64_t)last, (int64_t)begin);
            EXPECT(end >= begin && (begin % 16 == 0 || begin == count));
            longest = end - begin > longest ? end - begin : longest;
            shortest = end - begin < shortest ? end - begin : shortest;
            last = end;
        }
        EXPECT_I64((int64_t)count, (int64_t)last);
        EXPECT(longest - shortest <= 16);
    }
    comm_close(comm);
}

TEST(blocks_cover_everything_once_at_borders_of_64_bytes)
{
    ranks_finish(ranks_start(COMM_SHM, 3, LONG_MS, blocks_body, NULL));
}

/* ---- bytes -------------------------------------------------------------------------------------
 */

static uint8_t byte_of(int32_t rank, size_t i)
{
    return (uint8_t)rng_u64(99, (uint64_t)rank, i);
}

static void bytes_one(struct comm *comm, size_t bytes)
{
    int32_t rank = comm_rank(comm), world = comm_world(comm);
    uint8_t *all = calloc((size_t)world, bytes + 1), *expected = calloc((size_t)world, bytes + 1);
    uint8_t *mine = calloc(1, bytes + 1);
    for (int32_t r = 0; r < world; r++) {
        for (size_t i = 0; i < bytes; i++) {
            expected[(size_t)r * bytes + i] = byte_of(r, i);
        }
    }
    for (size_t i = 0; i < bytes; i++) {
        mine[i] = byte_of(rank, i);
    }
    EXPECT_OK(comm_all_gather_bytes(comm, mine, bytes, all, &error_));
    EXPECT_BYTES(expected, all, (size_t)world * bytes);
    for (int32_t root = 0; root < world; root++) {
        for (size_t i = 0; i < bytes; i++) {
            mine[i] = rank == root ? byte_of(root, i) : 0;
        }
        EXPECT_OK(comm_broadcast(comm, mine, bytes, root, &error_));
        EXPECT_BYTES(expected + (size_t)root * bytes, mine, bytes);
    }
    free(all);
    free(expected);
    free(mine);
}

static void bytes_body(const struct comm_options *options, struct ranks_board *board,
                       void *argument)
{
    (void)argument;
    static const size_t sizes[] = {0, 1, 7, 8, 4096, 524287, 524288, 524289, 4500001};
    struct comm *comm = open_or_fail(options);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes) && !test_failed(); i++) {
        bytes_one(comm, sizes[i]);
    }
    /* Nobody leaves a barrier before everybody has come to it. */
    for (int round = 1; round <= 100 && !test_failed(); round++) {
        atomic_store(&board->ready[options->rank], round);
        EXPECT_OK(comm_barrier(comm, &error_));
        for (int32_t r = 0; r < options->world; r++) {
            EXPECT(atomic_load(&board->ready[r]) >= round);
        }
    }
    comm_close(comm);
}

TEST(bytes_broadcasts_and_barriers_on_every_backend_and_world)
{
    on_all_backends(bytes_body, 1);
}

/* ---- beside compute ----------------------------------------------------------------------------
 */

/* Pieces of one block from its end to its beginning, each begun as soon as it is filled, as a
 * backward pass does; every second round only the owners get the sums. */
static void beside_body(const struct comm_options *options, struct ranks_board *board,
                        void *argument)
{
    (void)board, (void)argument;
    enum { ROUNDS = 30, COUNT = 50000, PIECES = 7 };
    struct comm *comm = open_or_fail(options);
    struct comm_order order = order_of(0, options->world);
    float *data = calloc(COUNT, sizeof(float)), *mine = calloc(COUNT, sizeof(float));
    for (uint64_t round = 0; round < ROUNDS && !test_failed(); round++) {
        size_t count = round % 3 == 0 ? 5 : COUNT, begin = 0, end = count;
        bool to_all = round % 2 == 0;
        float *expected = expected_sum(count, options->world, &order, round);
        double seconds = -1;
        fill(mine, count, options->rank, round);
        for (size_t piece = PIECES; piece-- > 0; end = begin) {
            begin = count * piece / PIECES;
            memcpy(data + begin, mine + begin, (end - begin) * sizeof(float)); /* the compute */
            struct comm_span span = {data, count, begin, end};
            EXPECT_OK(
                comm_sum_start(comm, span, to_all ? COMM_TO_ALL : COMM_TO_OWNERS, &order, &error_));
        }
        EXPECT_OK(comm_wait(comm, &seconds, &error_));
        EXPECT(seconds >= 0);
        begin = 0;
        end = count;
        if (!to_all) {
            comm_block(comm, count, options->rank, &begin, &end);
        }
        EXPECT_BYTES(expected + begin, data + begin, (end - begin) * sizeof(float));
        free(expected);
        if (round % 7 == 0) { /* both kinds of call, in turn */
            EXPECT_OK(comm_barrier(comm, &error_));
        }
    }
    free(data);
    free(mine);
    comm_close(comm);
}

TEST(sums_beside_compute_have_the_same_bits_piece_by_piece)
{
    on_all_backends(beside_body, 1);
}

static void crowd_body(const struct comm_options *options, struct ranks_board *board,
                       void *argument)
{
    (void)board, (void)argument;
    struct comm *comm = open_or_fail(options);
    struct comm_order order = order_of(0, options->world);
    for (int round = 0; round < 200 && !test_failed(); round++) {
        float data[3] = {1.0f, (float)options->rank, 2.0f};
        EXPECT_OK(comm_all_reduce(comm, data, 3, &order, &error_));
        EXPECT_CLOSE(16.0, data[0], 0.0);
        EXPECT_CLOSE(120.0, data[1], 0.0);
    }
    comm_close(comm);
}

TEST(sixteen_ranks_work_whatever_the_number_of_cores)
{
    ranks_finish(ranks_start(COMM_SHM, 16, LONG_MS, crowd_body, NULL));
    ranks_finish(ranks_start(COMM_TCP, 16, LONG_MS, crowd_body, NULL));
}

TEST_MAIN()
