/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread ends with the process: nothing else can wake it from its read.
 */
#include "worker/trainer/inbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/check.h"

struct inbox {
    pthread_mutex_t mutex;
    pthread_cond_t arrived, taken; /* the monotonic clock's */
    int fd;
    size_t line_bytes_max;
    char *lines[INBOX_LINES_MAX]; /* a ring */
    int first, count;
    bool closed;
};

static void put(struct inbox *inbox, const struct buf *line)
{
    char *copy = mem_strdup(line->length > 0 ? line->data : "");
    CHECK(pthread_mutex_lock(&inbox->mutex) == 0);
    while (inbox->count == INBOX_LINES_MAX) {
        pthread_cond_wait(&inbox->taken, &inbox->mutex);
    }
    inbox->lines[(inbox->first + inbox->count++) % INBOX_LINES_MAX] = copy;
    pthread_cond_signal(&inbox->arrived);
    pthread_mutex_unlock(&inbox->mutex);
}

static void feed(struct inbox *inbox, struct buf *line, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] == '\n') {
            put(inbox, line);
            buf_clear(line);
        } else if (line->length < inbox->line_bytes_max) {
            buf_append_char(line, bytes[i]);
        }
    }
}

static void *read_all(void *argument)
{
    struct inbox *inbox = argument;
    struct buf line = {0};
    static char block[1 << 16];
    ssize_t got;
    while ((got = read(inbox->fd, block, sizeof(block))) > 0 || (got < 0 && errno == EINTR)) {
        feed(inbox, &line, block, got > 0 ? (size_t)got : 0);
    }
    buf_release(&line);
    CHECK(pthread_mutex_lock(&inbox->mutex) == 0);
    inbox->closed = true;
    pthread_cond_signal(&inbox->arrived);
    pthread_mutex_unlock(&inbox->mutex);
    return NULL;
}

struct inbox *inbox_open(int fd, size_t line_bytes_max)
{
    struct inbox *inbox = mem_alloc(sizeof(*inbox));
    pthread_condattr_t monotonic;
    pthread_t thread;
    inbox->fd = fd;
    inbox->line_bytes_max = line_bytes_max;
    CHECK(pthread_condattr_init(&monotonic) == 0);
    CHECK(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_mutex_init(&inbox->mutex, NULL) == 0);
    CHECK(pthread_cond_init(&inbox->arrived, &monotonic) == 0);
    CHECK(pthread_cond_init(&inbox->taken, &monotonic) == 0);
    pthread_condattr_destroy(&monotonic);
    CHECK(pthread_create(&thread, NULL, read_all, inbox) == 0);
    pthread_detach(thread);
    return inbox;
}

char *inbox_take(struct inbox *inbox, int64_t wait_ms)
{
    struct timespec until;
    char *line = NULL;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += wait_ms % 1000 * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    CHECK(pthread_mutex_lock(&inbox->mutex) == 0);
    int wait = wait_ms > 0 ? 0 : ETIMEDOUT;
    while (inbox->count == 0 && !inbox->closed && wait == 0) {
        wait = pthread_cond_timedwait(&inbox->arrived, &inbox->mutex, &until);
    }
    if (inbox->count > 0) {
        line = inbox->lines[inbox->first];
        inbox->first = (inbox->first + 1) % INBOX_LINES_MAX;
        inbox->count--;
        pthread_cond_signal(&inbox->taken);
    }
    pthread_mutex_unlock(&inbox->mutex);
    return line;
}

bool inbox_is_closed(struct inbox *inbox)
{
    CHECK(pthread_mutex_lock(&inbox->mutex) == 0);
    bool closed = inbox->closed && inbox->count == 0;
    pthread_mutex_unlock(&inbox->mutex);
    return closed;
}
