/* SPDX-License-Identifier: Apache-2.0
 *
 * background: one thread that does blocking work for the loop: the database's, and the store's.
 *
 *     struct work { run, done, argument } ── loop: background_add ──→ thread: run, in order
 *                                         ←─ loop: done ────────────  eventfd
 *
 * `run` is called on the thread with the thread's own `context` (struct records, struct store) and
 * may block; `done` is called on the loop, in the order of adding. A work is the caller's memory
 * and is nobody else's between background_add and `done`; `done` may free it.
 *
 * A thread may have a *batch*: the works that are waiting, up to one that must be alone, are run
 * between its begin and end, and no
 * `done` is called before `end` has returned. Fails one with STATUS_IO, or `end` itself, then
 * nothing of the batch has happened: works that are marked `must` and those that only read are run
 * again (after a pause, for as long as it takes), the others are done with STATUS_IO. So the order
 * of what must be recorded never changes, and a full disk delays acknowledgements and loses none.
 */
#ifndef TAILOR_COORDINATOR_BACKGROUND_H
#define TAILOR_COORDINATOR_BACKGROUND_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/status.h"

enum work_kind {
    WORK_READ,  /* changes nothing: needs no commit */
    WORK_WRITE, /* wanted by somebody who can be told that it failed */
    WORK_MUST,  /* records what memory says already: it waits for the disk */
    WORK_ALONE  /* works on the file as a whole: outside of every transaction */
};

struct work {
    enum work_kind kind;
    enum status (*run)(void *context, void *argument, struct error *error);
    void (*done)(void *argument, enum status status, const struct error *error);
    void *argument;
    /* private: */
    struct work *next;
    enum status status;
    struct error error;
};

/* All on the thread. `begin` and `end` are called only when some work is not WORK_READ; `mark` and
 * `undo` bracket one work: undo takes back what it did since its mark. */
struct background_batch {
    enum status (*begin)(void *context, struct error *error);
    enum status (*mark)(void *context, struct error *error);
    enum status (*keep)(void *context, struct error *error);
    enum status (*undo)(void *context, struct error *error);
    enum status (*end)(void *context, struct error *error);
    void (*abandon)(void *context); /* the whole batch */
};

struct background;

/* `batch` may be NULL: every work is done as soon as it has run. */
struct background *background_start(const char *name, struct event_base *base, void *context,
                                    const struct background_batch *batch);
/* Runs what is waiting (a batch that fails once more is given up), calls every `done`, joins. */
void background_stop(struct background *background);
void background_add(struct background *background, struct work *work);
/* Works that are not done yet. */
size_t background_waiting(const struct background *background);
/* The last batch could not be committed; what it said. Loop thread. */
bool background_stuck(struct background *background, struct error *error_out);
/* Batches committed, and the seconds that this took, since the start. */
void background_figures(struct background *background, double *batches_out, double *seconds_out);

#endif
