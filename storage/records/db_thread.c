/* SPDX-License-Identifier: Apache-2.0
 *
 * Two lists under one lock: waiting and finished. An fsync takes as long for one request as for
 * two hundred, so while one batch commits the next one gathers, and the busier the service the
 * fewer commits a request costs.
 *
 * Rejected: a commit for each request (an fsync each), and a timer that gathers them (an idle
 * service would answer late).
 */
#include "storage/records/db_thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/clock.h"

struct list {
    struct db_request *first, **end;
    int count;
};

struct db_thread {
    struct records *records;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct list waiting, finished; /* under the lock */
    bool stopping, running;        /* likewise */
    int fd;
    double commit_s; /* under the lock, like the next */
    int batch;
};

static void list_add(struct list *list, struct db_request *request)
{
    request->next = NULL;
    if (list->first == NULL)
        list->first = request;
    else
        *list->end = request;
    list->end = &request->next;
    list->count++;
}

static struct db_request *list_take(struct list *list)
{
    struct db_request *request = list->first;
    if (request != NULL) {
        list->first = request->next;
        list->count--;
    }
    return request;
}

/* ---- one batch ---- */
/* The transaction is gone: what one read in it may never have been. */
static void fail_all(struct records *records, struct list *batch, enum status status,
                     const struct error *error)
{
    for (struct db_request *request = batch->first; request != NULL; request = request->next) {
        request->status = status;
        request->error = *error;
        if (request->reads && !records_is_broken(records))
            request->status = request->run(records, request, &request->error);
    }
}

static bool run_request(struct records *records, struct db_request *request)
{
    records_savepoint(records);
    request->status = request->run(records, request, &request->error);
    return records_settle(records, request->status);
}

/* Either all is committed that did not fail by itself, or every request has failed. */
static void run_batch(struct records *records, struct list *batch)
{
    struct error error = {0};
    enum status status = records_begin(records, &error);
    for (struct db_request *request = batch->first; request != NULL && status == STATUS_OK;
         request = request->next)
        if (!run_request(records, request)) {
            /* The transaction went with it, and with that the changes of those before. */
            status = request->status != STATUS_OK ? request->status : STATUS_IO;
            error = request->error;
        }
    if (status == STATUS_OK)
        status = records_commit(records, &error);
    else
        records_rollback(records);
    if (status != STATUS_OK) {
        if (error.text[0] == '\0')
            error_set(&error, status, "the records could not be written");
        fail_all(records, batch, status, &error);
    }
}

/* ---- the thread ---- */
static void signal_finished(struct db_thread *thread)
{
    uint64_t one = 1;
    ssize_t written;
    do
        written = write(thread->fd, &one, sizeof(one));
    while (written < 0 && errno == EINTR);
    CHECK(written == (ssize_t)sizeof(one) || errno == EAGAIN); /* full: readable all the same */
}

/* Waits for requests; false when there are none and there will be none. */
static bool gather(struct db_thread *thread, struct list *batch)
{
    struct db_request *request;
    *batch = (struct list){.count = 0};
    pthread_mutex_lock(&thread->lock);
    while (thread->waiting.count == 0 && !thread->stopping)
        pthread_cond_wait(&thread->wake, &thread->lock);
    while (batch->count < DB_BATCH_MAX && (request = list_take(&thread->waiting)) != NULL)
        list_add(batch, request);
    pthread_mutex_unlock(&thread->lock);
    return batch->count > 0;
}

static void *run_thread(void *argument)
{
    struct db_thread *thread = argument;
    struct list batch;
    while (gather(thread, &batch)) {
        int count = batch.count;
        double begin = monotonic_s();
        run_batch(thread->records, &batch);
        double seconds = monotonic_s() - begin;
        pthread_mutex_lock(&thread->lock);
        thread->commit_s = seconds;
        thread->batch = count;
        for (struct db_request *request; (request = list_take(&batch)) != NULL;)
            list_add(&thread->finished, request);
        pthread_mutex_unlock(&thread->lock);
        signal_finished(thread);
    }
    return NULL;
}

struct db_thread *db_thread_start(struct records *records)
{
    struct db_thread *thread = mem_alloc(sizeof(*thread));
    thread->records = records;
    thread->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(thread->fd >= 0);
    CHECK(pthread_mutex_init(&thread->lock, NULL) == 0);
    CHECK(pthread_cond_init(&thread->wake, NULL) == 0);
    thread->running = true;
    CHECK(pthread_create(&thread->thread, NULL, run_thread, thread) == 0);
    return thread;
}

void db_thread_stop(struct db_thread *thread)
{
    pthread_mutex_lock(&thread->lock);
    thread->stopping = true;
    pthread_cond_signal(&thread->wake);
    pthread_mutex_unlock(&thread->lock);
    if (thread->running)
        pthread_join(thread->thread, NULL);
    thread->running = false;
}

void db_thread_free(struct db_thread *thread)
{
    CHECK(!thread->running);
    close(thread->fd);
    pthread_cond_destroy(&thread->wake);
    pthread_mutex_destroy(&thread->lock);
    mem_free(thread);
}

bool db_thread_submit(struct db_thread *thread, struct db_request *request)
{
    CHECK(request->run != NULL);
    request->error.text[0] = '\0';
    pthread_mutex_lock(&thread->lock);
    CHECK(!thread->stopping);
    bool room = thread->waiting.count < DB_QUEUE_MAX;
    if (room) {
        list_add(&thread->waiting, request);
        pthread_cond_signal(&thread->wake);
    }
    pthread_mutex_unlock(&thread->lock);
    return room;
}

int db_thread_fd(const struct db_thread *thread)
{
    return thread->fd;
}

struct db_request *db_thread_take(struct db_thread *thread)
{
    uint64_t drained;
    pthread_mutex_lock(&thread->lock);
    struct db_request *request = list_take(&thread->finished);
    if (request == NULL) { /* under the lock, or a signal that comes now would be lost */
        ssize_t got = read(thread->fd, &drained, sizeof(drained));
        CHECK(got == (ssize_t)sizeof(drained) || errno == EAGAIN || errno == EINTR);
    }
    pthread_mutex_unlock(&thread->lock);
    return request;
}

void db_thread_figures(struct db_thread *thread, double *commit_s_out, int *batch_out)
{
    pthread_mutex_lock(&thread->lock);
    *commit_s_out = thread->commit_s;
    *batch_out = thread->batch;
    pthread_mutex_unlock(&thread->lock);
}
