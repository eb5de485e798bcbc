/* SPDX-License-Identifier: Apache-2.0
 *
 * Invariant: the thread builds only into the portion that the caller has not taken; `wanted` and
 * `built` are under the lock, and a portion is the thread's while wanted ≠ built.
 */
#include "worker/trainer/ahead.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"

struct ahead {
    const struct stepper *stepper;
    const struct sampler *sampler;
    struct dataset *const *parts;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t wanted, built; /* steps; −1: none yet */
    bool stopping;
    struct portion portion[2]; /* of even and of odd steps */
};

static void *ahead_main(void *argument)
{
    struct ahead *ahead = argument;
    pthread_setname_np(pthread_self(), "data");
    pthread_mutex_lock(&ahead->lock);
    while (!ahead->stopping) {
        if (ahead->wanted == ahead->built) {
            pthread_cond_wait(&ahead->changed, &ahead->lock);
            continue;
        }
        int64_t step = ahead->wanted;
        pthread_mutex_unlock(&ahead->lock);
        struct portion *portion = &ahead->portion[step % 2];
        portion_release(portion);
        portion_sample(portion, ahead->stepper, ahead->sampler, ahead->parts, step);
        pthread_mutex_lock(&ahead->lock);
        ahead->built = step;
        CHECK(pthread_cond_broadcast(&ahead->changed) == 0);
    }
    pthread_mutex_unlock(&ahead->lock);
    return NULL;
}

enum status ahead_open(const struct stepper *stepper, const struct sampler *sampler,
                       struct dataset *const *parts, struct ahead **ahead_out, struct error *error)
{
    struct ahead *ahead = mem_alloc(sizeof(*ahead));
    *ahead = (struct ahead){
        .stepper = stepper, .sampler = sampler, .parts = parts, .wanted = -1, .built = -1};
    CHECK(pthread_mutex_init(&ahead->lock, NULL) == 0);
    CHECK(pthread_cond_init(&ahead->changed, NULL) == 0);
    /* Signals are for the thread that decides. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&ahead->thread, NULL, ahead_main, ahead);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure != 0) {
        mem_free(ahead);
        return error_set(error, STATUS_MEMORY, "cannot start the data thread: %s",
                         strerror(failure));
    }
    *ahead_out = ahead;
    return STATUS_OK;
}

static void want(struct ahead *ahead, int64_t step)
{
    if (step < ahead->sampler->steps) {
        ahead->wanted = step;
        CHECK(pthread_cond_broadcast(&ahead->changed) == 0);
    }
}

static void await_built(struct ahead *ahead)
{
    while (ahead->built != ahead->wanted) {
        pthread_cond_wait(&ahead->changed, &ahead->lock);
    }
}

const struct portion *ahead_take(struct ahead *ahead, int64_t step)
{
    CHECK(step >= 0 && step < ahead->sampler->steps);
    pthread_mutex_lock(&ahead->lock);
    await_built(ahead);
    if (ahead->built != step) { /* the first, or another than the one after the last */
        want(ahead, step);
        await_built(ahead);
    }
    want(ahead, step + 1);
    pthread_mutex_unlock(&ahead->lock);
    return &ahead->portion[step % 2];
}

void ahead_close(struct ahead *ahead)
{
    if (ahead == NULL) {
        return;
    }
    pthread_mutex_lock(&ahead->lock);
    ahead->stopping = true;
    CHECK(pthread_cond_broadcast(&ahead->changed) == 0);
    pthread_mutex_unlock(&ahead->lock);
    CHECK(pthread_join(ahead->thread, NULL) == 0);
    portion_release(&ahead->portion[0]);
    portion_release(&ahead->portion[1]);
    CHECK(pthread_cond_destroy(&ahead->changed) == 0);
    CHECK(pthread_mutex_destroy(&ahead->lock) == 0);
    mem_free(ahead);
}
