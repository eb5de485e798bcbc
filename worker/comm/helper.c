/* SPDX-License-Identifier: Apache-2.0
 *
 * helper: the thread that runs sums beside the caller's compute, one after another.
 *
 * Started by the first comm_sum_start, since most groups of small models never need it. It calls
 * the public functions: no second path to the same bits. It waits patiently: a spinning helper
 * would take the core from the compute that it is to hide behind. Rejected: progress inside
 * comm_wait alone, which overlaps nothing.
 *
 * `started`, `done` and what they count are under `lock`; a work is the caller's before _start and
 * after comm_wait, the thread's in between.
 */
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "worker/comm/backend.h"

struct work {
    struct comm_span span;
    enum comm_sum_to to;
    struct comm_order order;
};

struct comm_helper {
    pthread_t id;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping;
    int started, done; /* since the last comm_wait */
    struct work works[COMM_STARTED_MAX];
    int64_t busy_us;
    enum status status; /* of the first that failed */
    struct error error;
};

static enum status work_run(struct comm *comm, const struct work *work, struct error *error)
{
    const struct comm_span *span = &work->span;
    comm->patient = true;
    enum status status = work->to == COMM_TO_OWNERS
                             ? comm_reduce_scatter(comm, *span, &work->order, error)
                             : comm_all_reduce(comm, span->data + span->begin,
                                               span->end - span->begin, &work->order, error);
    comm->patient = false;
    return status;
}

static void *helper_main(void *argument)
{
    struct comm *comm = argument;
    struct comm_helper *helper = comm->helper;
    pthread_setname_np(pthread_self(), "comm");
    pthread_mutex_lock(&helper->lock);
    while (!helper->stopping || helper->done < helper->started) {
        if (helper->done == helper->started) {
            pthread_cond_wait(&helper->changed, &helper->lock);
            continue;
        }
        struct error error = {0};
        struct work work = helper->works[helper->done];
        pthread_mutex_unlock(&helper->lock);
        int64_t begin_us = comm_now_us();
        enum status status = work_run(comm, &work, &error);
        int64_t busy_us = comm_now_us() - begin_us;
        pthread_mutex_lock(&helper->lock);
        if (helper->status == STATUS_OK && status != STATUS_OK) {
            helper->status = status;
            helper->error = error;
        }
        helper->busy_us += busy_us;
        helper->done++;
        CHECK(pthread_cond_broadcast(&helper->changed) == 0);
    }
    pthread_mutex_unlock(&helper->lock);
    return NULL;
}

static enum status helper_start(struct comm *comm, struct error *error)
{
    struct comm_helper *helper = mem_alloc(sizeof(*helper));
    CHECK(pthread_mutex_init(&helper->lock, NULL) == 0);
    CHECK(pthread_cond_init(&helper->changed, NULL) == 0);
    comm->helper = helper;
    /* Signals are for the thread that started the program. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&helper->id, NULL, helper_main, comm);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure != 0) {
        comm->helper = NULL;
        mem_free(helper);
        return error_set(error, STATUS_MEMORY, "cannot start the comm thread: %s",
                         strerror(failure));
    }
    return STATUS_OK;
}

void comm_helper_stop(struct comm *comm)
{
    struct comm_helper *helper = comm->helper;
    if (!helper) {
        return;
    }
    pthread_mutex_lock(&helper->lock);
    helper->stopping = true;
    CHECK(pthread_cond_broadcast(&helper->changed) == 0);
    pthread_mutex_unlock(&helper->lock);
    CHECK(pthread_join(helper->id, NULL) == 0);
    CHECK(pthread_cond_destroy(&helper->changed) == 0);
    CHECK(pthread_mutex_destroy(&helper->lock) == 0);
    mem_free(helper);
    comm->helper = NULL;
}

enum status comm_sum_start(struct comm *comm, struct comm_span span, enum comm_sum_to to,
                           const struct comm_order *order, struct error *error)
{
    if (!comm->helper) {
        TRY(helper_start(comm, error));
    }
    struct comm_helper *helper = comm->helper;
    pthread_mutex_lock(&helper->lock);
    CHECK(helper->started < COMM_STARTED_MAX);
    helper->works[helper->started++] = (struct work){span, to, *order};
    CHECK(pthread_cond_broadcast(&helper->changed) == 0);
    pthread_mutex_unlock(&helper->lock);
    return STATUS_OK;
}

enum status comm_wait(struct comm *comm, double *seconds_out, struct error *error)
{
    struct comm_helper *helper = comm->helper;
    CHECK(helper != NULL);
    pthread_mutex_lock(&helper->lock);
    CHECK(helper->started > 0);
    while (helper->done < helper->started) {
        pthread_cond_wait(&helper->changed, &helper->lock);
    }
    enum status status = helper->status;
    if (status != STATUS_OK && error) {
        *error = helper->error;
    }
    if (seconds_out) {
        *seconds_out = 1e-6 * (double)helper->busy_us;
    }
    helper->started = helper->done = 0;
    helper->busy_us = 0;
    helper->status = STATUS_OK;
    pthread_mutex_unlock(&helper->lock);
    return status;
}
