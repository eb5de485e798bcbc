/* SPDX-License-Identifier: Apache-2.0
 *
 * nccl_watch: NCCL's calls may hang, its abort too, and a thread that hangs cannot say so. This one
 * can: it tells the others through the control, which no caller holds while it is in NCCL, and ends
 * the process.
 *
 * It looks every WATCH_LOOK_MS rather than being woken by each call: a call costs two uncontended
 * locks. Rejected: to go on without the thread that hangs, over a GPU in a state nobody knows.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "worker/comm/nccl.h"

enum { WATCH_LOOK_MS = 20, TEXT_BYTES = 2 * COMM_REASON_BYTES + 64 };

struct nccl_watch {
    pthread_t id;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping;
    const char *call; /* NULL: none is going on */
    int64_t limit_ms, end_us;
    struct comm *control; /* borrowed */
    void (*ending)(const char *text);
};

/* "ncclCommAbort" of the call's text. */
static int name_length(const char *call)
{
    int length = 0;
    while (call[length] != '\0' && call[length] != '(') {
        length++;
    }
    return length;
}

static _Noreturn void end_process(struct nccl_watch *watch)
{
    struct comm *control = watch->control;
    struct comm_failure own;
    char text[TEXT_BYTES];
    bool failed_before = atomic_load(&control->failed);
    comm_fail(&own, control->rank, "%.*s did not end within %lld ms", name_length(watch->call),
              watch->call, (long long)watch->limit_ms);
    if (failed_before) {
        snprintf(text, sizeof(text), "rank %d failed: %s; then here %s", control->failure.rank,
                 control->failure.reason, own.reason);
    } else {
        snprintf(text, sizeof(text), "rank %d failed: %s", own.rank, own.reason);
        comm_abort(control, own.reason);
    }
    if (watch->ending) {
        watch->ending(text);
    }
    fprintf(stderr, "tailor: %s\n", text);
    _exit(status_exit_code(STATUS_COMMUNICATION));
}

static void *watch_main(void *argument)
{
    struct nccl_watch *watch = argument;
    pthread_setname_np(pthread_self(), "nccl watch");
    pthread_mutex_lock(&watch->lock);
    while (!watch->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += WATCH_LOOK_MS * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&watch->changed, &watch->lock, &until);
        if (watch->call != NULL && comm_now_us() >= watch->end_us) {
            end_process(watch);
        }
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

struct nccl_watch *nccl_watch_start(struct comm *control, void (*ending)(const char *text))
{
    struct nccl_watch *watch = mem_alloc(sizeof(*watch));
    watch->control = control;
    watch->ending = ending;
    CHECK(pthread_mutex_init(&watch->lock, NULL) == 0);
    CHECK(pthread_cond_init(&watch->changed, NULL) == 0);
    /* Signals are for the thread that started the program. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&watch->id, NULL, watch_main, watch);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure != 0) {
        mem_free(watch);
        return NULL;
    }
    return watch;
}

void nccl_watch_stop(struct nccl_watch *watch)
{
    if (watch == NULL) {
        return;
    }
    pthread_mutex_lock(&watch->lock);
    watch->stopping = true;
    CHECK(pthread_cond_broadcast(&watch->changed) == 0);
    pthread_mutex_unlock(&watch->lock);
    CHECK(pthread_join(watch->id, NULL) == 0);
    CHECK(pthread_cond_destroy(&watch->changed) == 0);
    CHECK(pthread_mutex_destroy(&watch->lock) == 0);
    mem_free(watch);
}

void nccl_watch_begin(struct nccl_watch *watch, const char *call, int64_t limit_ms)
{
    pthread_mutex_lock(&watch->lock);
    watch->limit_ms = limit_ms;
    watch->end_us = comm_now_us() + limit_ms * 1000;
    watch->call = call;
    pthread_mutex_unlock(&watch->lock);
}

void nccl_watch_end(struct nccl_watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    watch->call = NULL;
    pthread_mutex_unlock(&watch->lock);
}
