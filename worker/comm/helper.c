/* SPDX-License-Identifier: Apache-2.0
 *
 * helper: the thread that runs an all-reduce beside the caller's compute.
 *
 * Started by the first comm_all_reduce_start, since most groups of small models never need it. It
 * calls the public comm_all_reduce: no second path to the same bits. Rejected: progress inside
 * comm_wait alone, which overlaps nothing.
 */
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "worker/comm/backend.h"

enum helper_state { HELPER_IDLE, HELPER_WORKING, HELPER_DONE, HELPER_STOPPING };

struct comm_helper {
    pthread_t id;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum helper_state state;
    /* the work, and what came of it */
    float *data;
    size_t count;
    const struct comm_order *order;
    enum status status;
    struct error error;
};

static void helper_state_set(struct comm_helper *helper, enum helper_state state)
{
    helper->state = state;
    CHECK(pthread_cond_broadcast(&helper->changed) == 0);
}

static void *helper_main(void *argument)
{
    struct comm *comm = argument;
    struct comm_helper *helper = comm->helper;
    pthread_setname_np(pthread_self(), "comm");
    pthread_mutex_lock(&helper->lock);
    while (helper->state != HELPER_STOPPING) {
        if (helper->state == HELPER_WORKING) {
            pthread_mutex_unlock(&helper->lock);
            helper->status =
                comm_all_reduce(comm, helper->data, helper->count, helper->order, &helper->error);
            pthread_mutex_lock(&helper->lock);
            helper_state_set(helper, HELPER_DONE);
        } else {
            pthread_cond_wait(&helper->changed, &helper->lock);
        }
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
    while (helper->state == HELPER_WORKING) {
        pthread_cond_wait(&helper->changed, &helper->lock);
    }
    helper_state_set(helper, HELPER_STOPPING);
    pthread_mutex_unlock(&helper->lock);
    CHECK(pthread_join(helper->id, NULL) == 0);
    CHECK(pthread_cond_destroy(&helper->changed) == 0);
    CHECK(pthread_mutex_destroy(&helper->lock) == 0);
    mem_free(helper);
    comm->helper = NULL;
}

enum status comm_all_reduce_start(struct comm *comm, float *data, size_t count,
                                  const struct comm_order *order, struct error *error)
{
    if (!comm->helper) {
        TRY(helper_start(comm, error));
    }
    struct comm_helper *helper = comm->helper;
    pthread_mutex_lock(&helper->lock);
    CHECK(helper->state == HELPER_IDLE);
    helper->data = data;
    helper->count = count;
    helper->order = order;
    helper_state_set(helper, HELPER_WORKING);
    pthread_mutex_unlock(&helper->lock);
    return STATUS_OK;
}

enum status comm_wait(struct comm *comm, struct error *error)
{
    struct comm_helper *helper = comm->helper;
    CHECK(helper != NULL);
    pthread_mutex_lock(&helper->lock);
    CHECK(helper->state != HELPER_IDLE);
    while (helper->state == HELPER_WORKING) {
        pthread_cond_wait(&helper->changed, &helper->lock);
    }
    helper_state_set(helper, HELPER_IDLE);
    enum status status = helper->status;
    if (status != STATUS_OK && error) {
        *error = helper->error;
    }
    pthread_mutex_unlock(&helper->lock);
    return status;
}
