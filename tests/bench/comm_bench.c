/* SPDX-License-Identifier: Apache-2.0
 *
 * comm_bench: how long an all-reduce takes, and what of it is the machine's.
 *
 *     comm_bench shm|tcp RANKS PORT [BYTES…]
 *
 * Forks the ranks; prints a line a size: bytes, microseconds of the median and of the best round
 * (of the slowest rank in each), GB/s = bytes / median. vs_gloo.sh puts another library beside it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/text.h"
#include "worker/comm/comm.h"

enum { ROUNDS_MAX = 500, ROUNDS_MIN = 5, WARM_UP = 3, SIZES_MAX = 64 };
static const double ROUND_BYTES = 2e8; /* of all rounds of a size together */

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int rounds_of(size_t bytes)
{
    double rounds = ROUND_BYTES / (double)(bytes + 1);
    return rounds > ROUNDS_MAX ? ROUNDS_MAX : rounds < ROUNDS_MIN ? ROUNDS_MIN : (int)rounds;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void check(enum status status, const struct error *error)
{
    if (status != STATUS_OK) {
        fprintf(stderr, "comm_bench: %s\n", error->text);
        exit(1);
    }
}

/* times (world, ROUNDS_MAX) are shared; a barrier stands between rounds. */
static void measure(struct comm *comm, size_t bytes, int64_t *times, const struct comm_order *order)
{
    struct error error;
    size_t count = bytes / sizeof(float);
    void *memory;
    int32_t rank = comm_rank(comm), world = comm_world(comm);
    check(mem_map(bytes + 64, "the data", &memory, &error), &error);
    float *data = memory;
    for (size_t i = 0; i < count; i++) {
        data[i] = (float)(i % 7) * 0.25f;
    }
    int rounds = rounds_of(bytes);
    int64_t cpu = 0;
    for (int round = -WARM_UP; round < rounds; round++) {
        check(comm_barrier(comm, &error), &error);
        int64_t begin = now_ns(), cpu_begin = cpu_ns();
        check(comm_all_reduce(comm, data, count, order, &error), &error);
        times[rank * ROUNDS_MAX + (round < 0 ? 0 : round)] = now_ns() - begin;
        cpu += round < 0 ? 0 : cpu_ns() - cpu_begin;
        if (round % 64 == 0) { /* values stay finite */
            memset(data, 0, bytes);
        }
    }
    check(comm_barrier(comm, &error), &error);
    if (rank == 0) {
        for (int32_t r = 1; r < world; r++) {
            for (int round = 0; round < rounds; round++) {
                int64_t other = times[r * ROUNDS_MAX + round];
                times[round] = other > times[round] ? other : times[round];
            }
        }
        qsort(times, (size_t)rounds, sizeof(*times), compare);
        printf("%zu %.1f %.1f %.1f\n", bytes, (double)times[rounds / 2] / 1e3,
               (double)times[0] / 1e3, (double)cpu / rounds / 1e3);
        fflush(stdout);
    }
    mem_unmap(memory, bytes + 64);
}

static void rank_main(struct comm_options *options, const size_t *sizes, int count, int64_t *times)
{
    struct comm *comm;
    struct error error;
    struct comm_order order = {.count = options->world - 1};
    for (int32_t r = 1; r < options->world; r++) {
        order.merge[r - 1].from = r;
    }
    check(comm_open(options, &comm, &error), &error);
    for (int i = 0; i < count; i++) {
        measure(comm, sizes[i], times, &order);
    }
    comm_close(comm);
}

int main(int argc, char **argv)
{
    int64_t world, port, bytes;
    if (argc < 4 || !parse_i64(argv[2], &world) || !parse_i64(argv[3], &port) || world < 1 ||
        world > COMM_WORLD_MAX) {
        fatal(2, "usage: comm_bench shm|tcp RANKS PORT [BYTES…]");
    }
    size_t sizes[SIZES_MAX] = {8, 1 << 12, 1 << 16, 1 << 20, 1 << 24, 1 << 27};
    int count = argc > 4 ? 0 : 6;
    for (int i = 4; i < argc && count < SIZES_MAX; i++) {
        sizes[count++] = parse_i64(argv[i], &bytes) ? (size_t)bytes : 0;
    }
    char texts[COMM_WORLD_MAX][32], name[32];
    const char *endpoints[COMM_WORLD_MAX];
    for (int32_t r = 0; r < world; r++) {
        snprintf(texts[r], sizeof(texts[r]), "127.0.0.1:%d", (int)port + r);
        endpoints[r] = texts[r];
    }
    snprintf(name, sizeof(name), "bench-%d", getpid());
    struct comm_options options = {.backend = strcmp(argv[1], "shm") == 0 ? COMM_SHM : COMM_TCP,
                                   .world = (int32_t)world,
                                   .name = name,
                                   .endpoints = endpoints,
                                   .timeout_ms = 60000};
    int64_t *times = mmap(NULL, (size_t)world * ROUNDS_MAX * sizeof(*times), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(times != MAP_FAILED);
    for (int32_t r = (int32_t)world - 1; r > 0; r--) {
        options.rank = r;
        if (fork() == 0) {
            rank_main(&options, sizes, count, times);
            return 0;
        }
    }
    options.rank = 0;
    rank_main(&options, sizes, count, times);
    while (wait(NULL) > 0) {
    }
    return 0;
}
