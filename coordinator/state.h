/* SPDX-License-Identifier: Apache-2.0
 *
 * state: struct coordinator, for the files that are it. Private to this folder; the loop thread's.
 *
 *   boot.c       records → memory                  change.c    memory → records, in one savepoint
 *   on_worker.c  a worker comes, speaks, goes      on_report.c what it reports of an attempt
 *   cycle.c      the tick                          commands.c  what is sent to workers
 *   requests.c   what people ask                   blobs.c     chunks from and to workers
 *
 * cluster.h decides; here are the sockets and the files around it. Memory changes first; its record
 * follows as work that *must* be committed (background.h); nothing leaves (no answer, no Ack, no
 * command) before its commit. So what somebody was told is always on the disk.
 */
#ifndef TAILOR_COORDINATOR_STATE_H
#define TAILOR_COORDINATOR_STATE_H

#include "coordinator/background.h"
#include "coordinator/cluster.h"
#include "coordinator/coordinator.h"
#include "coordinator/job.h"
#include "coordinator/keys.h"
#include "coordinator/metrics.h"
#include "coordinator/space.h"
#include "coordinator/worker_socket.h"
#include "lib/limits.h"

enum { STAGES_MAX = 16 }; /* api.proto's Stage is below */

struct tenant { /* at the index of the cluster's */
    int64_t id;
    char name[NAME_BYTES_MAX + 1];
    int32_t submitting;                  /* submits on their way to the records */
    int64_t slot_ms, productive_slot_ms; /* used and not yet recorded */
    int64_t run_ms[STAGES_MAX]; /* how long its jobs of a stage took, the newest most; 0: none */
    int64_t jobs;               /* that ended, not yet recorded */
};

struct queue { /* at the index of the cluster's */
    char name[NAME_BYTES_MAX + 1];
    int64_t waiting; /* jobs, as of the last cycle and those that came since (estimate.h) */
};

struct slot_use {
    uint64_t job, term;
    int64_t slots[RANKS_MAX];
    int32_t count;
};

/* A worker as people see it; the registry has its lease and its holds, under the same id. */
struct member {
    int64_t id;
    Api__Worker *row; /* in the arena */
    struct arena arena;
    char address[256]; /* where other ranks reach it */
    uint64_t boot;     /* of its process; 0: not heard since our own boot */
    struct worker_offer offer;
    bool offered;                /* it said what it has */
    bool attached;               /* it said what it runs: its heartbeats count */
    bool was_draining;           /* when it was lost */
    int64_t seen_ms, free_bytes; /* −1: not known */
    struct arena gpus_arena;
    Api__Worker *gpus; /* its gpu_list alone, as last told; NULL: it never spoke */
    struct arena cached_arena;
    char **cached; /* digests of what jobs started from there, in that arena */
    size_t cached_count;
    struct slot_use *uses; /* which slots its holds have; those without a hold are stale */
    int32_t use_count, use_capacity;
};

/* Bits of worker_offer.labels and ask.labels: each worker and each job has one of these two; the
 * others are those of labels that jobs ask for. */
#define LABEL_CUDA UINT64_C(1)
#define LABEL_CPU  (UINT64_C(1) << 63)
enum { LABELS_ASKED_MAX = 62 };

struct names { /* interned: number ↔ text; 0 is none */
    struct map *map;
};

struct counters {
    int64_t cycles, unauthenticated, backup_ms;
};

struct coordinator {
    struct coordinator_options options;
    struct event_base *base;
    char data[2048];
    int lock_fd;
    char cluster_name[65];
    int64_t epoch; /* grows with every boot */
    int64_t booted_ms;
    struct key_pair key;
    struct keys *keys;
    struct worker_socket *socket;
    char address[JOIN_ADDRESS_MAX];

    struct records *records; /* the database thread's */
    struct store *store;     /* the store thread's */
    struct series *series;   /* the store thread's */
    struct background *database, *store_thread;
    struct joins *joins;
    struct scores *scores;
    struct retention *retention;

    struct cluster cluster;
    struct job_list jobs;
    struct member **members;
    uint32_t member_count, member_capacity;
    struct tenant *tenants;
    uint32_t tenant_capacity;
    struct queue *queues;
    uint32_t queue_capacity;
    struct names pools, numerics, warm;
    struct names labels; /* "key=value", at most LABELS_ASKED_MAX: the number is the bit's */

    struct space space;
    struct event *tick;
    int64_t jobs_with_slots, slots_up; /* as of the last cycle (estimate.h) */
    bool tick_is_soon;
    double cycle_s;               /* what the last cycle took */
    int64_t now_ms;               /* of this turn; since 1970, never back */
    int64_t used_ms, recorded_ms; /* slot time is counted, is recorded up to here */
    int64_t idle_ms;              /* of slots, not yet recorded */
    struct watch *watches;
    int64_t news, news_ms; /* the newest change of a job, and when they were looked for */
    struct counters counters;
    struct metrics metrics;
    bool sweeps; /* garbage is being removed, by itself */
    bool closing;
};

int64_t now_read(struct coordinator *coordinator); /* reads the clock into now_ms */

/* ---- names ---- */
uint32_t names_number(struct names *names, const char *text); /* NULL or "": 0 */
size_t names_count(const struct names *names);
uint32_t names_find(const struct names *names, const char *text); /* 0: it has no number */
const char *names_text(const struct names *names, uint32_t number);
void names_release(struct names *names);

/* ---- tables ---- */
enum { NO_TENANT = -1 };
int32_t tenant_find(const struct coordinator *coordinator, const char *name); /* or NO_TENANT */
int32_t tenant_add(struct coordinator *coordinator, const Api__Tenant *row);
/* Quotas and weight that are set in the row. */
void tenant_set(struct coordinator *coordinator, int32_t tenant, const Api__Tenant *row);
uint32_t queue_get(struct coordinator *coordinator, const char *name);         /* made if new */
struct member *member_find(const struct coordinator *coordinator, int64_t id); /* or NULL */
struct member *member_add(struct coordinator *coordinator, const Api__Worker *row);
void member_remove(struct coordinator *coordinator, struct member *member);
/* Index in the registry; false: not there. */
bool member_index(const struct coordinator *coordinator, const struct member *member,
                  uint32_t *index_out);
/* The bits of what a worker has. */
uint64_t worker_labels(const struct coordinator *coordinator, const Api__Worker *row);
/* The bit of a label that a job asks for. New: all workers are looked at for it. 0: too many. */
uint64_t label_bit(struct coordinator *coordinator, const char *key, const char *value);
/* What is cached there, as it says; it counts once the registry knows the worker. */
void member_cached_set(struct member *member, char *const *digests, size_t count);
void member_cached_tell(struct coordinator *coordinator, struct member *member);
/* The number of what a job starts from. New: the cluster is told who has it. */
uint32_t warm_number(struct coordinator *coordinator, const char *digest);
/* Slots for ranks that the registry has just given it; the same again when asked again. */
const struct slot_use *member_slots(struct coordinator *coordinator, struct member *member,
                                    uint64_t job, uint64_t term, int32_t count);
/* What the records knew of the slots, at boot. */
void member_slots_restore(struct member *member, uint64_t job, uint64_t term, int64_t slot);

/* ---- cycle.c ---- */
void cycle_start(struct coordinator *coordinator);
void cycle_stop(struct coordinator *coordinator);
void cycle_soon(struct coordinator *coordinator); /* the tick comes within milliseconds */

/* ---- on_worker.c, on_report.c, blobs.c: by message; each called with a known worker ---- */
void on_message(void *argument, struct identity from, const struct worker_message *row,
                const void *message);
void on_report(struct coordinator *coordinator, struct member *member,
               const struct worker_message *row, const void *message);
void on_blob(struct coordinator *coordinator, struct identity from,
             const struct worker_message *row, const void *message);
struct identity worker_identity(int64_t worker);

/* ---- watch.c ---- */
void watch_wake(struct coordinator *coordinator, enum watch_kind kind, int64_t job);

/* ---- boot.c ---- */
enum status boot_from_records(struct coordinator *coordinator, struct error *error);
/* What a job and its spec ask of the scheduler; `after` in the arena, with states not known.
 * spec NULL: it is parsed from the row. */
enum status ask_from_spec(struct coordinator *coordinator, struct arena *arena, const Api__Job *row,
                          const struct spec *spec, struct ask *ask_out, struct job *job,
                          struct error *error);

#endif
