/* SPDX-License-Identifier: Apache-2.0
 *
 * pool: every index once, at any team size and at any pace; and the count of cores.
 */
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/file.h"
#include "lib/pool.h"
#include "tests/test.h"

enum { COUNT_MAX = 5000 };

struct loop {
    int hits[COUNT_MAX];         /* not atomic: the sanitizer must see that tasks are ordered */
    long used[POOL_THREADS_MAX]; /* by each thread's own number */
    int delay_us;
    int threads;
    int bad_threads;
};

static void count_task(void *argument, size_t index, int thread)
{
    struct loop *loop = argument;
    loop->hits[index]++;
    if (thread < 0 || thread >= loop->threads) {
        abort();
    }
    loop->used[thread]++;
    if (loop->delay_us > 0) {
        usleep((useconds_t)loop->delay_us);
    }
}

static void loop_is_complete(const struct loop *loop, size_t count, int expected)
{
    long used = 0;
    for (size_t i = 0; i < count; i++) {
        if (loop->hits[i] != expected) {
            test_fail(__FILE__, __LINE__, "index %zu of %zu: expected %d hits, got %d", i, count,
                      expected, loop->hits[i]);
            return;
        }
    }
    for (int i = 0; i < loop->threads; i++) {
        used += loop->used[i];
    }
    EXPECT_I64((int64_t)count * expected, used);
}

TEST(every_index_runs_once_for_every_team_size)
{
    static const int teams[] = {1, 2, 3, 4, 8, 17};
    static const size_t counts[] = {0, 1, 2, 3, 7, 64, COUNT_MAX};
    static struct loop loop;
    for (size_t t = 0; t < sizeof(teams) / sizeof(teams[0]); t++) {
        struct pool *pool = pool_create(teams[t]);
        EXPECT_I64(teams[t], pool_threads(pool));
        for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
            memset(&loop, 0, sizeof(loop));
            loop.threads = teams[t];
            pool_run(pool, counts[c], count_task, &loop);
            loop_is_complete(&loop, counts[c], 1);
        }
        pool_free(pool);
    }
    pool_free(NULL);
}

TEST(many_short_loops_in_a_row_lose_nothing)
{
    enum { ROUNDS = 20000, COUNT = 5 };
    static struct loop loop;
    for (int threads = 2; threads <= 4; threads += 2) {
        struct pool *pool = pool_create(threads);
        memset(&loop, 0, sizeof(loop));
        loop.threads = threads;
        for (int round = 0; round < ROUNDS; round++) {
            pool_run(pool, COUNT, count_task, &loop);
        }
        loop_is_complete(&loop, COUNT, ROUNDS);
        pool_free(pool);
    }
}

TEST(loops_with_pauses_find_sleeping_workers)
{
    static struct loop loop;
    struct pool *pool = pool_create(3);
    memset(&loop, 0, sizeof(loop));
    loop.threads = 3;
    for (int round = 0; round < 300; round++) {
        usleep((useconds_t)(round % 7 * 40)); /* around the time after which a worker sleeps */
        pool_run(pool, 4, count_task, &loop);
    }
    loop_is_complete(&loop, 4, 300);
    pool_free(pool);
}

TEST(a_long_task_keeps_the_caller_waiting)
{
    static struct loop loop;
    struct pool *pool = pool_create(4);
    memset(&loop, 0, sizeof(loop));
    loop.threads = 4;
    loop.delay_us = 2000;
    for (int round = 0; round < 20; round++) {
        pool_run(pool, 9, count_task, &loop);
    }
    loop_is_complete(&loop, 9, 20);
    int workers = 0;
    for (int i = 1; i < 4; i++) {
        workers += loop.used[i] > 0;
    }
    EXPECT_I64(3, workers);
    pool_free(pool);
}

TEST(teams_come_and_go)
{
    static struct loop loop;
    for (int round = 0; round < 200; round++) {
        struct pool *pool = pool_create(4);
        memset(&loop, 0, sizeof(loop));
        loop.threads = 4;
        if (round % 2 == 0) {
            pool_run(pool, 8, count_task, &loop);
            loop_is_complete(&loop, 8, 1);
        }
        pool_free(pool);
    }
}

struct caller {
    pthread_t id;
    struct pool *pool;
    struct loop *loop;
};

static void *caller_main(void *argument)
{
    struct caller *caller = argument;
    pool_run(caller->pool, 100, count_task, caller->loop);
    return NULL;
}

TEST(any_thread_may_run_a_loop_one_after_the_other)
{
    static struct loop loop;
    struct pool *pool = pool_create(3);
    memset(&loop, 0, sizeof(loop));
    loop.threads = 3;
    for (int i = 0; i < 20; i++) {
        struct caller caller = {.pool = pool, .loop = &loop};
        REQUIRE(pthread_create(&caller.id, NULL, caller_main, &caller) == 0);
        pthread_join(caller.id, NULL);
    }
    loop_is_complete(&loop, 100, 20);
    pool_free(pool);
}

static void nested_task(void *argument, size_t index, int thread)
{
    (void)index;
    (void)thread;
    pool_run(argument, 1, count_task, NULL);
}

TEST(a_loop_inside_a_task_is_a_bug)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        close(STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        struct pool *pool = pool_create(1);
        pool_run(pool, 1, nested_task, pool);
        _exit(0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void nothing_task(void *argument, size_t index, int thread)
{
    (void)argument;
    (void)index;
    (void)thread;
}

TEST(a_warm_loop_costs_microseconds)
{
    enum { ROUNDS = 2000, ATTEMPTS = 20 };
    int threads = cpu_count() < 4 ? cpu_count() : 4;
    struct pool *pool = pool_create(threads);
    double best = 1e9;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        struct timespec start;
        struct timespec end;
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (int round = 0; round < ROUNDS; round++) {
            pool_run(pool, (size_t)threads, nothing_task, NULL);
        }
        clock_gettime(CLOCK_MONOTONIC, &end);
        double us = (double)(end.tv_sec - start.tv_sec) * 1e6 +
                    (double)(end.tv_nsec - start.tv_nsec) * 1e-3;
        best = us / ROUNDS < best ? us / ROUNDS : best;
    }
    printf("# pool_run with %d threads: %.2f us\n", threads, best);
    EXPECT(best < 200); /* generous: sanitizers, and machines with other work */
    pool_free(pool);
}

static void *nothing_caller(void *argument)
{
    pool_run(argument, 8, nothing_task, NULL);
    return NULL;
}

TEST(a_team_as_large_as_the_machine_never_binds_its_caller)
{
    cpu_set_t before;
    cpu_set_t after;
    REQUIRE(sched_getaffinity(0, sizeof(before), &before) == 0);
    int cores = CPU_COUNT(&before);
    REQUIRE(cores <= POOL_THREADS_MAX);
    struct pool *pool = pool_create(cores);
    for (int core = 0; core < CPU_SETSIZE; core++) {
        if (!CPU_ISSET(core, &before)) {
            continue;
        }
        /* Callers on every core in turn: each time the worker there has to move. */
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(core, &one);
        EXPECT(sched_setaffinity(0, sizeof(one), &one) == 0);
        pool_run(pool, 8, nothing_task, NULL);
        EXPECT(sched_setaffinity(0, sizeof(before), &before) == 0);
        pthread_t id;
        REQUIRE(pthread_create(&id, NULL, nothing_caller, pool) == 0);
        pthread_join(id, NULL);
    }
    pool_run(pool, 8, nothing_task, NULL);
    REQUIRE(sched_getaffinity(0, sizeof(after), &after) == 0);
    EXPECT(CPU_EQUAL(&before, &after));
    pool_free(pool);
}

TEST(cores_are_counted_from_the_affinity_mask)
{
    cpu_set_t before;
    REQUIRE(sched_getaffinity(0, sizeof(before), &before) == 0);
    int count = cpu_count();
    EXPECT(count >= 1 && count <= CPU_COUNT(&before));
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &before)) {
            CPU_SET(i, &one);
            break;
        }
    }
    REQUIRE(sched_setaffinity(0, sizeof(one), &one) == 0);
    EXPECT_I64(1, cpu_count());
    EXPECT(sched_setaffinity(0, sizeof(before), &before) == 0);
}

static char root[64];

static void put(const char *dir, const char *name, const char *text)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", root, dir);
    EXPECT_I64(STATUS_OK, dir_create(path, NULL));
    snprintf(path, sizeof(path), "%s/%s/%s", root, dir, name);
    EXPECT_I64(STATUS_OK, file_write_atomic(path, text, strlen(text), NULL));
}

TEST(quotas_are_read_from_either_version_and_from_every_ancestor)
{
    strcpy(root, "/tmp/lib_pool_test.XXXXXX");
    REQUIRE(mkdtemp(root) != NULL);
    EXPECT_CLOSE(0, cpu_quota(root), 0);
    put("proc/self", "cgroup", "0::/a/b\n");
    EXPECT_CLOSE(0, cpu_quota(root), 0);
    put("sys/fs/cgroup/a/b", "cpu.max", "max 100000\n");
    EXPECT_CLOSE(0, cpu_quota(root), 0);
    put("sys/fs/cgroup/a/b", "cpu.max", "400000 100000\n");
    EXPECT_CLOSE(4, cpu_quota(root), 0);
    put("sys/fs/cgroup/a", "cpu.max", "150000 100000\n");
    EXPECT_CLOSE(1.5, cpu_quota(root), 0);
    put("sys/fs/cgroup", "cpu.max", "50000 100000\n"); /* what a container sees of itself */
    EXPECT_CLOSE(0.5, cpu_quota(root), 0);
    put("sys/fs/cgroup", "cpu.max", "rubbish\n");
    EXPECT_CLOSE(1.5, cpu_quota(root), 0);

    put("proc/self", "cgroup", "5:cpuset:/x\n4:cpu,cpuacct:/x\n3:memory:/x\n");
    EXPECT_CLOSE(0, cpu_quota(root), 0);
    put("sys/fs/cgroup/cpu/x", "cpu.cfs_quota_us", "-1\n");
    put("sys/fs/cgroup/cpu/x", "cpu.cfs_period_us", "100000\n");
    EXPECT_CLOSE(0, cpu_quota(root), 0);
    put("sys/fs/cgroup/cpu/x", "cpu.cfs_quota_us", "300000\n");
    EXPECT_CLOSE(3, cpu_quota(root), 0);
    put("proc/self", "cgroup", "rubbish\n:\n::\n");
    EXPECT_CLOSE(0, cpu_quota(root), 0);
    EXPECT_I64(STATUS_OK, dir_remove(root, NULL));
}

TEST_MAIN()
