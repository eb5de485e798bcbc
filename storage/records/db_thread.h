/* SPDX-License-Identifier: Apache-2.0
 *
 * db_thread: the one thread that touches the records, and group commit.
 *
 *     db_thread_submit(thread, &request);       // the loop's thread: never blocks
 *     … poll db_thread_fd(thread) …
 *     while ((request = db_thread_take(thread)) != NULL)
 *         request->finished(request);           // its effects are on the disk, or it failed
 *
 * The thread takes all requests that wait, up to DB_BATCH_MAX, runs each under a savepoint, commits
 * once, and hands them back in order. A request that fails loses its own changes only; a commit
 * that fails fails all of its batch but those that only read: they run again by themselves, so a
 * full disk can be looked at. Nothing is handed back before the commit.
 */
#ifndef TAILOR_STORAGE_RECORDS_DB_THREAD_H
#define TAILOR_STORAGE_RECORDS_DB_THREAD_H

#include "storage/records/records.h"

enum { DB_QUEUE_MAX = 4096, DB_BATCH_MAX = 256 };

struct db_request {
    /* On the database's thread: reads and writes, and keeps what it found in the request. */
    enum status (*run)(struct records *records, struct db_request *request, struct error *error);
    bool reads;                                   /* writes nothing, and may run twice */
    void (*finished)(struct db_request *request); /* for the taker's use */
    void *owner;                                  /* likewise */
    enum status status;                           /* after it was taken: of run, or of the commit */
    struct error error;
    struct db_request *next; /* db_thread's own */
};

struct db_thread;

/* Takes the records over until db_thread_stop. */
struct db_thread *db_thread_start(struct records *records);
/* Runs what waits, commits, and ends; what was finished can still be taken. Then db_thread_free. */
void db_thread_stop(struct db_thread *thread);
void db_thread_free(struct db_thread *thread);

/* False when DB_QUEUE_MAX requests wait: answer "busy". The request stays the caller's memory. */
bool db_thread_submit(struct db_thread *thread, struct db_request *request);
int db_thread_fd(const struct db_thread *thread); /* readable while something can be taken */
struct db_request *db_thread_take(struct db_thread *thread); /* NULL: nothing is finished */
/* The last commit's time and how many requests it had. Any thread. */
void db_thread_figures(struct db_thread *thread, double *commit_s_out, int *batch_out);

#endif
