/* SPDX-License-Identifier: Apache-2.0
 *
 * Invariants: `waiting` is touched under the lock only; a batch in hand belongs to the thread; the
 * finished list is appended to by the thread and taken whole by the loop. Rejected: a thread for
 * each connection to the database: the version that Debian 12 has corrupts its file when two
 * connections checkpoint.
 */
#include "coordinator/background.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/clock.h"
#include "lib/log.h"

enum { BATCH_MAX = 1024, RETRY_MS = 250 };

struct list {
    struct work *first, **end;
    size_t count;
};

struct background {
    const char *name;
    void *context;
    const struct background_batch *batch;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct list waiting, finished; /* under the lock */
    bool stuck;                    /* under the lock */
    bool closing;                  /* under the lock: what fails is given up */
    bool stopping;                 /* under the lock: the thread ends */
    struct error stuck_error;      /* under the lock */
    double batches, seconds;       /* under the lock */
    int wake_fd;                   /* finished is not empty */
    struct event *event;
    size_t open; /* loop: added and not done */
};

static void list_init(struct list *list)
{
    *list = (struct list){.first = NULL, .end = NULL};
    list->end = &list->first;
}

static void list_add(struct list *list, struct work *work)
{
    work->next = NULL;
    *list->end = work;
    list->end = &work->next;
    list->count++;
}

static struct work *list_take(struct list *list)
{
    struct work *work = list->first;
    if (work != NULL) {
        list->first = work->next;
        list->end = list->first == NULL ? &list->first : list->end;
        list->count--;
    }
    return work;
}

static void list_move(struct list *from, struct list *to)
{
    for (struct work *work; (work = list_take(from)) != NULL;)
        list_add(to, work);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void run_alone(struct background *background, struct work *work)
{
    work->status = work->run(background->context, work->argument, &work->error);
}

/* One work between its mark and the next. STATUS_IO: the batch is lost. */
static enum status run_marked(struct background *background, struct work *work, struct error *error)
{
    const struct background_batch *batch = background->batch;
    if (work->kind == WORK_READ) {
        run_alone(background, work);
        return STATUS_OK;
    }
    TRY(batch->mark(background->context, error));
    run_alone(background, work);
    if (work->status == STATUS_IO) {
        *error = work->error;
        return STATUS_IO;
    }
    return work->status == STATUS_OK ? batch->keep(background->context, error)
                                     : batch->undo(background->context, error);
}

static enum status run_batch(struct background *background, struct list *list, struct error *error)
{
    const struct background_batch *batch = background->batch;
    bool writes = false;
    for (struct work *work = list->first; work != NULL; work = work->next)
        writes |= work->kind == WORK_WRITE || work->kind == WORK_MUST;
    if (!writes || batch == NULL) {
        for (struct work *work = list->first; work != NULL; work = work->next)
            run_alone(background, work);
        return STATUS_OK;
    }
    enum status status = batch->begin(background->context, error);
    for (struct work *work = list->first; status == STATUS_OK && work != NULL; work = work->next)
        status = run_marked(background, work, error);
    if (status == STATUS_OK)
        status = batch->end(background->context, error);
    if (status != STATUS_OK)
        batch->abandon(background->context);
    return status;
}

static void finish(struct background *background, struct list *list)
{
    uint64_t one = 1;
    pthread_mutex_lock(&background->lock);
    list_move(list, &background->finished);
    pthread_mutex_unlock(&background->lock);
    CHECK(write(background->wake_fd, &one, sizeof(one)) == sizeof(one));
}

/* What can be told that it failed is told; what must be recorded stays in `list`. */
static void refuse_writes(struct background *background, struct list *list,
                          const struct error *error)
{
    struct list refused, kept;
    list_init(&refused);
    list_init(&kept);
    for (struct work *work; (work = list_take(list)) != NULL;) {
        bool refuse = work->kind == WORK_WRITE;
        if (refuse) {
            work->status = STATUS_IO;
            work->error = *error;
            work->error.status = STATUS_IO;
        }
        list_add(refuse ? &refused : &kept, work);
    }
    list_move(&kept, list);
    finish(background, &refused);
}

/* What is asked for while nothing can be committed is refused as well, not left to hang. */
static void refuse_waiting(struct background *background, const struct error *error)
{
    struct list taken;
    list_init(&taken);
    pthread_mutex_lock(&background->lock);
    list_move(&background->waiting, &taken);
    pthread_mutex_unlock(&background->lock);
    refuse_writes(background, &taken, error);
    pthread_mutex_lock(&background->lock);
    list_move(&background->waiting, &taken); /* what came meanwhile stays behind */
    list_move(&taken, &background->waiting);
    pthread_mutex_unlock(&background->lock);
}

static void set_stuck(struct background *background, bool stuck, const struct error *error)
{
    pthread_mutex_lock(&background->lock);
    if (stuck && !background->stuck)
        log_error("%s cannot commit, and tries again: %s", background->name, error->text);
    if (!stuck && background->stuck)
        log_info("%s commits again", background->name);
    background->stuck = stuck;
    if (stuck)
        background->stuck_error = *error;
    pthread_mutex_unlock(&background->lock);
}

static bool is_closing(struct background *background)
{
    pthread_mutex_lock(&background->lock);
    bool closing = background->closing;
    pthread_mutex_unlock(&background->lock);
    return closing;
}

/* Until the batch is committed or nothing of it is left. */
static void run_list(struct background *background, struct list *list)
{
    struct error error;
    double began = monotonic_s();
    while (list->first != NULL && run_batch(background, list, &error) != STATUS_OK) {
        set_stuck(background, true, &error);
        bool last_chance = is_closing(background);
        refuse_writes(background, list, &error);
        if (last_chance) {
            for (struct work *work = list->first; work != NULL; work = work->next) {
                work->status = STATUS_IO;
                work->error = error;
            }
            finish(background, list);
            return;
        }
        nanosleep(&(struct timespec){.tv_nsec = RETRY_MS * 1000000L}, NULL);
        if (list->first != NULL)
            refuse_waiting(background, &error);
    }
    if (list->first == NULL)
        return;
    set_stuck(background, false, NULL);
    pthread_mutex_lock(&background->lock);
    background->batches++;
    background->seconds += monotonic_s() - began;
    pthread_mutex_unlock(&background->lock);
    finish(background, list);
}

/* What is run next, together; under the lock. */
static void take_batch(struct background *background, struct list *list)
{
    size_t most = background->batch != NULL ? BATCH_MAX : 1;
    while (list->count < most && background->waiting.first != NULL) {
        bool alone = background->waiting.first->kind == WORK_ALONE;
        if (alone && list->count > 0)
            return;
        list_add(list, list_take(&background->waiting));
        if (alone)
            return;
    }
}

static void *thread_main(void *argument)
{
    struct background *background = argument;
    struct list list;
    list_init(&list);
    for (;;) {
        pthread_mutex_lock(&background->lock);
        while (background->waiting.first == NULL && !background->stopping)
            pthread_cond_wait(&background->wake, &background->lock);
        bool end = background->waiting.first == NULL;
        take_batch(background, &list);
        pthread_mutex_unlock(&background->lock);
        if (end)
            return NULL;
        run_list(background, &list);
    }
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void call_done(struct background *background)
{
    struct list list;
    list_init(&list);
    pthread_mutex_lock(&background->lock);
    list_move(&background->finished, &list);
    pthread_mutex_unlock(&background->lock);
    for (struct work *work; (work = list_take(&list)) != NULL;) {
        struct error error = work->error;
        background->open--;
        work->done(work->argument, work->status, &error); /* may free the work */
    }
}

static void on_finished(evutil_socket_t fd, short what, void *argument)
{
    uint64_t count;
    (void)what;
    ssize_t got = read((int)fd, &count, sizeof(count));
    CHECK(got == sizeof(count) || errno == EAGAIN);
    call_done(argument);
}

struct background *background_start(const char *name, struct event_base *base, void *context,
                                    const struct background_batch *batch)
{
    struct background *background = mem_alloc(sizeof(*background));
    *background = (struct background){.name = name, .context = context, .batch = batch};
    list_init(&background->waiting);
    list_init(&background->finished);
    background->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(background->wake_fd >= 0);
    background->event =
        event_new(base, background->wake_fd, EV_READ | EV_PERSIST, on_finished, background);
    CHECK(background->event != NULL);
    event_add(background->event, NULL);
    pthread_mutex_init(&background->lock, NULL);
    pthread_cond_init(&background->wake, NULL);
    CHECK(pthread_create(&background->thread, NULL, thread_main, background) == 0);
    return background;
}

void background_add(struct background *background, struct work *work)
{
    CHECK(work->run != NULL);
    CHECK(work->done != NULL);
    work->status = STATUS_OK;
    work->error = (struct error){0};
    background->open++;
    pthread_mutex_lock(&background->lock);
    CHECK(!background->stopping);
    list_add(&background->waiting, work);
    pthread_cond_signal(&background->wake);
    pthread_mutex_unlock(&background->lock);
}

void background_stop(struct background *background)
{
    pthread_mutex_lock(&background->lock);
    background->closing = true;
    pthread_mutex_unlock(&background->lock);
    while (background->open > 0) { /* a `done` may add more */
        struct pollfd wake = {.fd = background->wake_fd, .events = POLLIN};
        poll(&wake, 1, -1);
        on_finished(background->wake_fd, EV_READ, background);
    }
    pthread_mutex_lock(&background->lock);
    background->stopping = true;
    pthread_cond_signal(&background->wake);
    pthread_mutex_unlock(&background->lock);
    CHECK(pthread_join(background->thread, NULL) == 0);
    event_free(background->event);
    close(background->wake_fd);
    pthread_mutex_destroy(&background->lock);
    pthread_cond_destroy(&background->wake);
    mem_free(background);
}

size_t background_waiting(const struct background *background)
{
    return background->open;
}

bool background_stuck(struct background *background, struct error *error_out)
{
    pthread_mutex_lock(&background->lock);
    bool stuck = background->stuck;
    if (stuck)
        *error_out = background->stuck_error;
    pthread_mutex_unlock(&background->lock);
    return stuck;
}

void background_figures(struct background *background, double *batches_out, double *seconds_out)
{
    pthread_mutex_lock(&background->lock);
    *batches_out = background->batches;
    *seconds_out = background->seconds;
    pthread_mutex_unlock(&background->lock);
}
