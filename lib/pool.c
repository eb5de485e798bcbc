/* SPDX-License-Identifier: Apache-2.0
 *
 * pool: one gate per loop; workers enter while it is open and the caller waits for those inside.
 *
 * The gate is one atomic word: the number of workers inside, OPEN while indices may be left, and
 * WAITING when the caller sleeps on it. The caller writes the job, opens the gate, works itself,
 * and when the indices are used up closes the gate and waits for the count to reach zero.
 * Invariant: the job is written only while the gate is closed and empty, so a worker reads it only
 * between its entry (acquire) and its exit (release). A worker that wakes late finds the gate
 * closed and is never waited for: a core taken away by another process delays no loop. Rejected: a
 * barrier that all threads must reach, which waits for exactly that core; and a condition variable,
 * whose mutex every worker takes in turn when it wakes.
 *
 * Sleeping is a futex on `round`, which each loop increments.
 *
 * When the team is as large as the machine, each worker is bound to a core of its own, and the core
 * without a worker is kept under the caller: if the caller has moved, the worker of its new core
 * gets the old one. Without this, a guest of KVM takes its halted cores for preempted ones and
 * wakes workers on the caller's core, where they queue behind it: two threads took the time of one.
 * The caller itself is never bound, because threads that it starts would inherit that.
 */
#include "lib/pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/log.h"

/* Spinning lasts about as long as a sleep and a wake take in a virtual machine (40 us measured), so
 * that waiting costs at most twice what the better choice would have. */
enum { CACHE_LINE = 64, SPIN_NS = 50000, SPIN_BATCH = 16 };

#define GATE_OPEN    (UINT32_C(1) << 31)
#define GATE_WAITING (UINT32_C(1) << 30)

struct worker {
    struct pool *pool;
    pthread_t id;
    int thread; /* 1 … threads - 1; the caller is 0 */
    int core;   /* that it is bound to, or -1 */
};

struct pool {
    int threads;
    bool spins;    /* not when there are more threads than cores: the spinner holds up the worker */
    int free_core; /* the core without a worker, or -1 when nobody is bound */
    atomic_bool busy;
    atomic_bool stop;
    /* the job */
    pool_task *task;
    void *argument;
    size_t count;
    alignas(CACHE_LINE) atomic_size_t next;
    alignas(CACHE_LINE) _Atomic uint32_t gate;
    alignas(CACHE_LINE) _Atomic uint32_t round;
    _Atomic uint32_t sleepers;
    alignas(CACHE_LINE) struct worker workers[];
};

static _Thread_local bool inside_task;

static void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    /* Woken, changed meanwhile, or interrupted: the caller looks again in every case. */
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Spins until the word is not `value` any more, or the time is over. Returns what it saw last. */
static uint32_t spin_while(const struct pool *pool, _Atomic uint32_t *word, uint32_t value)
{
    uint32_t seen = atomic_load_explicit(word, memory_order_acquire);
    if (!pool->spins || seen != value) {
        return seen;
    }
    int64_t end = now_ns() + SPIN_NS;
    do {
        for (int i = 0; i < SPIN_BATCH; i++) {
            cpu_relax();
            seen = atomic_load_explicit(word, memory_order_acquire);
            if (seen != value) {
                return seen;
            }
        }
    } while (now_ns() < end);
    return seen;
}

static void work(struct pool *pool, int thread)
{
    inside_task = true;
    for (;;) {
        size_t index = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (index >= pool->count) {
            break;
        }
        pool->task(pool->argument, index, thread);
    }
    inside_task = false;
}

static bool gate_enter(struct pool *pool)
{
    uint32_t gate = atomic_load_explicit(&pool->gate, memory_order_relaxed);
    while (gate & GATE_OPEN) {
        if (atomic_compare_exchange_weak_explicit(&pool->gate, &gate, gate + 1,
                                                  memory_order_acquire, memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

static void gate_leave(struct pool *pool)
{
    uint32_t before = atomic_fetch_sub_explicit(&pool->gate, 1, memory_order_release);
    if (before == (GATE_WAITING | 1)) {
        futex_wake(&pool->gate, 1);
    }
}

/* Closes the gate and returns when nobody is inside. */
static void gate_close(struct pool *pool)
{
    uint32_t gate = atomic_fetch_and_explicit(&pool->gate, ~GATE_OPEN, memory_order_acq_rel);
    gate &= ~GATE_OPEN;
    while (gate != 0) {
        uint32_t seen = spin_while(pool, &pool->gate, gate);
        if (seen != gate) {
            gate = seen;
            continue;
        }
        gate = atomic_fetch_or_explicit(&pool->gate, GATE_WAITING, memory_order_acq_rel);
        gate |= GATE_WAITING;
        while (gate != GATE_WAITING) {
            futex_wait(&pool->gate, gate);
            gate = atomic_load_explicit(&pool->gate, memory_order_acquire);
        }
        atomic_store_explicit(&pool->gate, 0, memory_order_relaxed);
        gate = 0;
    }
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    struct pool *pool = worker->pool;
    uint32_t round = 0;
    for (;;) {
        uint32_t seen = spin_while(pool, &pool->round, round);
        while (seen == round) {
            /* Counted before the kernel compares the word: a caller that reads no sleepers has
             * changed the word before, and the wait returns at once. */
            atomic_fetch_add(&pool->sleepers, 1);
            futex_wait(&pool->round, round);
            atomic_fetch_sub(&pool->sleepers, 1);
            seen = atomic_load_explicit(&pool->round, memory_order_acquire);
        }
        round = seen;
        if (atomic_load_explicit(&pool->stop, memory_order_acquire)) {
            return NULL;
        }
        if (gate_enter(pool)) {
            work(pool, worker->thread);
            gate_leave(pool);
        }
    }
}

/* Calls the sleepers, as many as can be of use. */
static void round_begin(struct pool *pool, size_t wanted)
{
    atomic_fetch_add(&pool->round, 1);
    uint32_t sleepers = atomic_load(&pool->sleepers);
    if (sleepers > 0) {
        futex_wake(&pool->round, wanted < POOL_THREADS_MAX ? (int)wanted : POOL_THREADS_MAX);
    }
}

static void worker_bind(struct worker *worker, int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    /* Refused if a cpuset has shrunk meanwhile: then the kernel's own placement stays. */
    pthread_setaffinity_np(worker->id, sizeof(set), &set);
    worker->core = core;
}

static void team_bind(struct pool *pool)
{
    cpu_set_t set;
    pool->free_core = -1;
    if (pool->threads == 1 || sched_getaffinity(0, sizeof(set), &set) != 0 ||
        CPU_COUNT(&set) != pool->threads) {
        return;
    }
    int worker = 1;
    for (int core = 0; core < CPU_SETSIZE; core++) {
        if (!CPU_ISSET(core, &set)) {
            continue;
        }
        if (worker < pool->threads) {
            worker_bind(&pool->workers[worker++], core);
        } else {
            pool->free_core = core;
        }
    }
}

/* Gives the worker of the caller's core the core that is free. */
static void caller_make_room(struct pool *pool)
{
    int core = sched_getcpu();
    if (core == pool->free_core) {
        return;
    }
    for (int i = 1; i < pool->threads; i++) {
        if (pool->workers[i].core == core) {
            worker_bind(&pool->workers[i], pool->free_core);
            pool->free_core = core;
            return;
        }
    }
}

struct pool *pool_create(int threads)
{
    CHECK(threads >= 1 && threads <= POOL_THREADS_MAX);
    size_t size = sizeof(struct pool) + size_mul((size_t)threads, sizeof(struct worker));
    size = (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    struct pool *pool = aligned_alloc(CACHE_LINE, size);
    CHECK(pool != NULL);
    memset(pool, 0, size);
    pool->threads = 1;
    pool->spins = threads <= cpu_count();
    /* Signals are for the thread that started the program. */
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int i = 1; i < threads; i++) {
        struct worker *worker = &pool->workers[i];
        *worker = (struct worker){.pool = pool, .thread = i, .core = -1};
        int failure = pthread_create(&worker->id, NULL, worker_main, worker);
        if (failure != 0) {
            /* Fewer threads give the same results later, so this is not an error. */
            log_warn("pool has %d of %d threads: %s", i, threads, strerror(failure));
            break;
        }
        char name[16];
        snprintf(name, sizeof(name), "pool-%d", i);
        pthread_setname_np(worker->id, name);
        pool->threads = i + 1;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    team_bind(pool);
    return pool;
}

void pool_free(struct pool *pool)
{
    if (!pool) {
        return;
    }
    CHECK(!atomic_load(&pool->busy));
    atomic_store_explicit(&pool->stop, true, memory_order_release);
    round_begin(pool, POOL_THREADS_MAX);
    for (int i = 1; i < pool->threads; i++) {
        CHECK(pthread_join(pool->workers[i].id, NULL) == 0);
    }
    mem_free(pool);
}

int pool_threads(const struct pool *pool)
{
    return pool->threads;
}

void pool_run(struct pool *pool, size_t count, pool_task *task, void *argument)
{
    CHECK(!inside_task);
    CHECK(!atomic_exchange_explicit(&pool->busy, true, memory_order_acquire));
    pool->task = task;
    pool->argument = argument;
    pool->count = count;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    if (count > 1 && pool->threads > 1) {
        if (pool->free_core >= 0) {
            caller_make_room(pool);
        }
        atomic_store_explicit(&pool->gate, GATE_OPEN, memory_order_release);
        round_begin(pool, count - 1);
        work(pool, 0);
        gate_close(pool);
    } else {
        work(pool, 0);
    }
    atomic_store_explicit(&pool->busy, false, memory_order_release);
}
