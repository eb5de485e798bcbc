/* SPDX-License-Identifier: Apache-2.0
 *
 * state: struct coordinator, for the files that are it. Private to this folder; the loop thread's.
 *
 * Who does what:
 *   boot.c        records → memory                    change.c     memory → records, one savepoint
 *   on_worker.c   a worker comes, speaks, goes        on_report.c  what it reports of an attempt
 *   attempt.c     an attempt begins, ends             dispatch.c   what is sent, again and again
 *   cycle.c       the tick: leases, deadlines, the scheduler's decisions
 *   requests.c    what people ask                     blobs.c      chunks from and to workers
 *
 * Handlers record facts, the tick decides. Memory changes first; its record follows as work that
 * *must* be committed (background.h); nothing leaves (no answer, no Ack, no Assign) before its
 * commit. So memory is never behind what somebody was told.
 */
#ifndef TAILOR_COORDINATOR_STATE_H
#define TAILOR_COORDINATOR_STATE_H

#include "coordinator/background.h"
#include "coordinator/coordinator.h"
#include "coordinator/fair_share.h"
#include "coordinator/job.h"
#include "coordinator/keys.h"
#include "coordinator/quota.h"
#include "coordinator/registry.h"
#include "coordinator/schedule.h"
#include "coordinator/worker_socket.h"
#include "lib/limits.h"

#define FAIR_SHARE_HALF_LIFE_MS (24LL * 3600 * 1000)

struct tenant {
    int64_t id;
    char name[NAME_BYTES_MAX + 1];
    struct fair_share share;
    struct quota quota;
    struct quota_use use;
    int32_t queued, running_slots; /* of its jobs: waiting ones; slots held */
    int32_t submitting;            /* submits on their way to the records */
    int64_t last_start_ms;
    int64_t slot_ms, productive_slot_ms; /* not yet recorded */
};

struct queue {
    char name[NAME_BYTES_MAX + 1];
    int32_t priority;
    bool paused;
};

/* A worker as people see it; the registry has its lease and its holds, at the same id. */
struct member {
    int64_t id;
    Api__Worker *row; /* in its arena: name, host, pool, version, numerics, cores, … */
    struct arena arena;
    char address[256]; /* where other ranks reach it */
    uint64_t boot;     /* 0: not heard since our boot */
    bool offered;      /* it said what it has */
    bool attached;     /* it said what it runs: it may be given more */
    bool draining;
    int64_t seen_ms;
    int64_t free_bytes;
    int64_t refused_until_ms; /* it would not take an assignment: not asked again for a while */
    uint64_t slots_used[WORKER_SLOTS_MAX / 64]; /* bits */
    int64_t idle_ms;   /* slot time that nobody used, not yet recorded */
    int64_t charged_ms;
};

struct names { /* interned: number ↔ text; 0 is none */
    struct map *map;
};

struct counters {
    int64_t submitted, succeeded, failed, cancelled, attempts, fenced, duplicates, gaps;
    int64_t workers_lost, gate_passed, gate_held, ticks, retries[FAILURE_COUNT];
    double cycle_seconds;
};

struct coordinator {
    struct coordinator_options options;
    struct event_base *base;
    char data[4096];
    int lock_fd;
    char cluster[64];
    int64_t epoch; /* grows with every boot */
    int64_t booted_ms;
    struct key_pair key;
    struct keys *keys;
    struct worker_socket *socket;
    char address[JOIN_ADDRESS_MAX];

    struct records *records; /* the database thread's */
    struct store *store;     /* the store thread's */
    struct background *database, *store_thread;

    struct job_list jobs;
    struct registry registry;
    struct member **members;
    uint32_t member_count, member_capacity;
    struct tenant *tenants;
    uint32_t tenant_count, tenant_capacity;
    struct queue *queues;
    uint32_t queue_count, queue_capacity;
    struct names pools, numerics, warm;

    struct event *tick;
    int64_t now_ms;  /* of this turn; since 1970, never back */
    bool dirty;      /* something changed that a decision may follow from */
    int64_t cycle_ms, usage_ms; /* when last */
    struct arena arena;         /* of a cycle */
    struct watch *watches;
    bool watched[3]; /* by kind: somebody is to be woken */
    struct event *wake;
    struct counters counters;
    bool closing;
};

/* Reads the clock; it never goes back. */
int64_t now_read(struct coordinator *coordinator);

/* ---- names ---- */
uint32_t names_number(struct names *names, const char *text); /* NULL or "": 0 */
const char *names_text(const struct names *names, uint32_t number);
uint32_t names_count(const struct names *names); /* numbers are below this */

/* ---- tables ---- */
struct tenant *tenant_find(struct coordinator *coordinator, const char *name); /* or NULL */
uint32_t tenant_index(const struct coordinator *coordinator, const struct tenant *tenant);
struct tenant *tenant_add(struct coordinator *coordinator, const Api__Tenant *row);
void tenant_set(struct tenant *tenant, const Api__Tenant *row); /* quotas and weight that are set */
struct queue *queue_get(struct coordinator *coordinator, const char *name); /* made if new */
struct member *member_find(struct coordinator *coordinator, int64_t id); /* or NULL */
struct member *member_add(struct coordinator *coordinator, const Api__Worker *row);
struct worker *member_worker(struct coordinator *coordinator, int64_t id); /* or NULL */

#endif
