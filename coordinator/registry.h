/* SPDX-License-Identifier: Apache-2.0
 *
 * registry: the workers, their leases and the slots that attempts hold on them.
 *
 * Unreachable is not dead. `lost_after` is measured in *listening time*: a clock that runs only
 * while this coordinator is up and takes its turns. A coordinator that was down, stopped or starved
 * for an hour has heard no silence, and after its boot every worker has the full time to speak. A
 * worker that is lost keeps training until its own stop_after; when it speaks again it is told
 * which of its attempts are over.
 *
 * A slot is free when the ranks on it are *known* to be gone: the worker said so, or it came back
 * as another incarnation, or it was forgotten by a person. So a hold outlives its attempt, and no
 * slot is given twice.
 *
 * Indices are stable while a worker is known. One thread. Pure: time is an argument.
 */
#ifndef TAILOR_COORDINATOR_REGISTRY_H
#define TAILOR_COORDINATOR_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/map.h"

enum worker_state { WORKER_GONE, WORKER_UP, WORKER_LOST }; /* gone: forgotten, or never seen */

/* What a worker says of itself in its hello. Names are interned by the caller. */
struct worker_offer {
    uint64_t incarnation; /* another number after each start of its process */
    int32_t slots;
    uint32_t pool;
    uint64_t labels; /* bits: device, and every label that some job asks for */
    uint32_t numerics;
};

struct hold {
    uint64_t job, term;
    int32_t slots;
    uint64_t taken;   /* the fence's last sequence of this worker for (job, term) */
    uint64_t command; /* number of the command that last told the worker to begin */
};

enum { REGISTRY_WARM_MAX = 16 };

struct worker {
    uint64_t id;
    enum worker_state state;
    bool draining; /* what runs may finish, nothing new comes */
    bool full;     /* its disk has no room: nothing new comes */
    bool unheard;  /* restored, and silent since: nothing new comes until it speaks */
    struct worker_offer offer;
    int64_t heard_ms; /* listening time */
    int32_t held;     /* slots; the sum over holds */
    struct hold *holds;
    int32_t hold_count, hold_capacity;
    uint32_t warm[REGISTRY_WARM_MAX]; /* bases and merged parents in its cache, newest last */
    int32_t warm_count;
};

struct registry {
    int64_t lost_after_ms;
    int64_t listening_ms; /* the clock described above */
    int64_t ticked_ms;    /* the caller's clock at the last tick */
    struct worker *workers;
    uint32_t count, capacity;
    struct map *by_id; /* worker id to index; ids are never reused */
};

enum registry_news {
    REGISTRY_KNOWN,    /* nothing new */
    REGISTRY_NEW,      /* a worker that was not known */
    REGISTRY_BACK,     /* was lost or restored, and is the same process: its attempts may be over */
    REGISTRY_RESTARTED /* another process: whatever it ran is dead, its holds were dropped */
};

/* A tick that comes later than this after the last one was late by our own fault. */
#define REGISTRY_TICK_MAX_MS 1000

void registry_init(struct registry *registry, int64_t lost_after_ms, int64_t now_ms);
void registry_release(struct registry *registry);
/* A hello or a heartbeat. */
enum registry_news registry_hear(struct registry *registry, uint64_t id,
                                 const struct worker_offer *offer, int64_t now_ms,
                                 uint32_t *index_out);
/* Advances listening time, then marks at most lost_max silent workers lost and lists them. */
int32_t registry_tick(struct registry *registry, int64_t now_ms, uint32_t *lost, int32_t lost_max);
/* Index of a known worker. */
bool registry_find(const struct registry *registry, uint64_t id, uint32_t *index_out);
void registry_drain(struct registry *registry, uint32_t index, bool draining);
/* A person says that the machine no longer exists: its holds end. */
void registry_forget(struct registry *registry, uint32_t index);

/* Slots that a new gang may take: 0 when draining, full, lost or unheard. */
int32_t worker_free(const struct worker *worker);
struct hold *worker_hold(struct worker *worker, uint64_t job, uint64_t term); /* or NULL */
struct hold *worker_take(struct worker *worker, uint64_t job, uint64_t term, int32_t slots);
/* Gives the slots back; returns how many (0: there was no such hold). */
int32_t worker_give(struct worker *worker, uint64_t job, uint64_t term);
/* Its cache holds the object now; the oldest of too many is forgotten. */
void worker_warm(struct worker *worker, uint32_t object);

#endif
