/* SPDX-License-Identifier: Apache-2.0
 *
 * coordinator: the one owner of all state: jobs, attempts, workers, quotas. This header is what
 * main.c and the HTTP API (coordinator/api) may call; the rest of the folder is behind it.
 *
 *     struct coordinator *coordinator;
 *     TRY(coordinator_open(&options, base, &coordinator, error));
 *     coordinator_job_submit(coordinator, &submission, on_submitted, request);
 *     event_base_dispatch(base);                  // … on_submitted(request, STATUS_OK, …) …
 *     coordinator_close(coordinator);
 *
 * Threads. Every function here is called on the loop thread, and every callback comes there.
 * Nothing here blocks: what must touch the database or the store becomes *work* of one of two
 * threads, and its `done` is called later, exactly once, never from inside the call that asked.
 *
 * Durability. Work that writes joins the batch of its turn of the loop: one transaction, a
 * savepoint each. `done` with STATUS_OK means committed and fsynced. If the commit fails (a full
 * disk), `done` says STATUS_IO and nothing has happened. Work of one thread runs in the order in
 * which it was asked for; a read sees every write that was asked for before it.
 *
 * Ownership. Pointers in arguments are borrowed until `done`; the memory behind them belongs to the
 * other thread in between: do not touch it. There is no cancelling: a connection that goes away
 * leaves its argument alive until `done` comes.
 *
 * Errors: STATUS_NOT_FOUND (also for what is another tenant's), STATUS_CONFLICT (a state that knows
 * no such step; a key used for another request), STATUS_LIMIT (a quota, a full queue), STATUS_IO
 * (the disk), STATUS_USAGE (a field).
 */
#ifndef TAILOR_COORDINATOR_COORDINATOR_H
#define TAILOR_COORDINATOR_COORDINATOR_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/status.h"
#include "proto/api.pb-c.h"
#include "proto/ident.h"
#include "proto/spec.h"

struct coordinator;
struct records;   /* storage/records/records.h */
struct job_input; /* storage/records/job_record.h */

/* ---- life ------------------------------------------------------------------------------------ */

struct coordinator_options {
    const char *data;        /* the directory: records.db, store/, logs/, keys/, lock */
    const char *workers;     /* "HOST:PORT" of the workers' socket; port 0: the system chooses */
    const char *advertise;   /* the same as workers reach it, in join tokens; NULL: as bound */
    int64_t heartbeat_ms;    /* workers send one so often */
    int64_t lost_after_ms;   /* silence after which a worker is lost */
    int64_t stop_after_ms;   /* a worker stops its attempts after hearing nothing for so long */
    int64_t backoff_base_ms; /* before the second attempt; doubles */
    int64_t start_after_ms;  /* from an assignment to the last rank's start */
    int64_t yield_after_ms;  /* to write a checkpoint and stop */
    int64_t keep_events_ms;  /* events of jobs that are over are removed after so long; 0: never */
    int64_t gc_every_ms, gc_grace_ms; /* how often garbage older than that is removed; 0: never */
    const char *metrics_tenants; /* "acme,globex": the tenants that /metrics names; NULL: none */
    bool preempt;                /* may a job be told to give its slots to a more urgent one? */
    int64_t preempt_after_ms, preempt_min_run_ms; /* it waited, they ran, so long at least */
    uint64_t seed;                                /* of the jitter */
};

/* The defaults of all but the two texts. */
void coordinator_options_default(struct coordinator_options *options);
/* Takes the lock, opens the records, boots from them, listens. STATUS_CONFLICT: another coordinator
 * has this directory. */
enum status coordinator_open(const struct coordinator_options *options, struct event_base *base,
                             struct coordinator **coordinator_out, struct error *error);
/* Runs what was asked for, calls every outstanding `done`, stops both threads. */
void coordinator_close(struct coordinator *coordinator);
/* "127.0.0.1:7701": as it is listening, and as a join token names it. */
const char *coordinator_workers_address(const struct coordinator *coordinator);
const char *coordinator_cluster(const struct coordinator *coordinator); /* this cluster's name */
int64_t coordinator_now_ms(void);                                       /* since 1970 */

/* ---- work ------------------------------------------------------------------------------------ */

typedef void coordinator_done(void *argument, enum status status, const struct error *error);
/* On the database thread. */
typedef enum status coordinator_run(struct records *records, void *argument, struct error *error);

/* Any reading of the records: lists, single rows, resolving of references, tokens. */
void coordinator_read(struct coordinator *coordinator, coordinator_run *run, coordinator_done *done,
                      void *argument);
/* Writing of what the coordinator keeps no copy of: tokens, datasets, bases, models, aliases,
 * shares, batches, audit. Jobs, tenants, queues and workers have their own functions below. A run
 * that does not return STATUS_OK is rolled back to its savepoint. */
void coordinator_write(struct coordinator *coordinator, coordinator_run *run,
                       coordinator_done *done, void *argument);
/* Work on the file as a whole (a copy, emptying its log): outside of every transaction. */
void coordinator_alone(struct coordinator *coordinator, coordinator_run *run,
                       coordinator_done *done, void *argument);

/* ---- jobs ------------------------------------------------------------------------------------ */

struct caller {
    char tenant[NAME_BYTES_MAX + 1]; /* "": of no tenant: an admin, who may act for each */
    char name[NAME_BYTES_MAX + 1];   /* of the token */
    Api__Role role;
};

struct job_submission {
    const struct caller *caller;
    /* The row as resolved by the API: tenant, name, stage, submitter, queue, priority, labels,
     * spec (digests in place of names), spec_digest, from, from_digest, output_model, ranks,
     * min_ranks, preemptible, not_before_ms, max_attempts, pool, batch_id, batch_row. Id, state,
     * times are the coordinator's. */
    Api__Job *job;
    const struct spec *spec;        /* of job->spec; NULL: the caller has it as text alone */
    const char *idempotency_key;    /* NULL: none; counts within the tenant */
    const char *request_digest;     /* with a key: of what was asked, 64 hex digits */
    const struct job_input *inputs; /* what it reads, as resolved (storage/records/job_record.h) */
    int input_count;
    Api__BatchRow *row; /* NULL: of no batch; else it is written with the job, and has its id */
    bool sharded;       /* cut it into job->shards, 0: as many as the pool has slots */
    /* What is written in the same transaction, before the job; NULL: nothing. */
    coordinator_run *before;
    void *before_argument;
    /* Results, with STATUS_OK: */
    int64_t id;
    bool created; /* false: the key had been used for the same request; id is that job's */
    int64_t queue_position; /* jobs of its queue that wait, itself included */
    int64_t estimate_ms;    /* until it ends, by the jobs of its tenant and stage; 0: none has */
};

void coordinator_job_submit(struct coordinator *coordinator, struct job_submission *submission,
                            coordinator_done *done, void *argument);

/* So many jobs of a batch at once; 0: no bound. Its record is the caller's. */
void coordinator_batch_bound(struct coordinator *coordinator, int64_t batch, int64_t running_max);

enum job_verb { JOB_VERB_CANCEL, JOB_VERB_PAUSE, JOB_VERB_RESUME, JOB_VERB_PRIORITY };

/* `value`: the priority. Done when the wish is committed; the state that follows is an event. To
 * cancel a cancelled job again is no error. (`retry` is a new submit of the old job's spec.) */
void coordinator_job_verb(struct coordinator *coordinator, const struct caller *caller,
                          enum job_verb verb, int64_t id, int64_t value, coordinator_done *done,
                          void *argument);
/* Writes what changes too often to be committed (step, waiting sentence) into rows as they were
 * read. */
void coordinator_job_refresh(struct coordinator *coordinator, struct arena *arena, Api__Job *job);

/* ---- tenants, queues, workers ---------------------------------------------------------------- */

/* Makes a tenant, or (create false) changes the quotas and weight that are set. The row as it is
 * then is written into *tenant. */
void coordinator_tenant_put(struct coordinator *coordinator, Api__Tenant *tenant, bool create,
                            coordinator_done *done, void *argument);
/* A queue that does not exist is made. */
void coordinator_queue_pause(struct coordinator *coordinator, const char *queue, bool paused,
                             const char *reason, coordinator_done *done, void *argument);

enum worker_verb { WORKER_VERB_DRAIN, WORKER_VERB_UNDRAIN, WORKER_VERB_FORGET };

void coordinator_worker_verb(struct coordinator *coordinator, enum worker_verb verb, int64_t id,
                             coordinator_done *done, void *argument);
/* From memory, at once; all in the arena. id 0: all workers, else the one or none. */
void coordinator_workers(struct coordinator *coordinator, struct arena *arena, int64_t id,
                         Api__WorkerList *workers_out);
/* A token with which one worker may join, once: address, server key, a key pair of its own. It is
 * the only time that the text is to be had. `token` is at least JOIN_TOKEN_MAX bytes, written
 * before `done`. */
enum { JOIN_TOKEN_MAX = 257 };
void coordinator_join_token(struct coordinator *coordinator, const char *pool, int64_t expires_ms,
                            char *token, coordinator_done *done, void *argument);

/* ---- following ------------------------------------------------------------------------------- */

/* One who wants to know that there is something new: events (committed), metrics, log lines. It is
 * woken after the fact, at most once a turn, and then reads on from its cursor; nothing is queued
 * for it, so a slow reader costs nothing. */
enum watch_kind { WATCH_EVENTS, WATCH_METRICS, WATCH_LOGS };

struct watch {
    enum watch_kind kind;
    int64_t job; /* 0: any */
    void (*wake)(void *argument);
    void *argument;
    bool woken; /* private, like the links */
    struct watch *next, **link;
};

/* The caller owns the watch and keeps it in place until it stops it; wake may stop its own. */
void coordinator_watch_start(struct coordinator *coordinator, struct watch *watch);
void coordinator_watch_stop(struct coordinator *coordinator, struct watch *watch);

/* Pages of what lies in segment files. `after` is the number of the last entry that was seen (a
 * page's `next`), 0: from the beginning. The lists are filled in the arena before `done`. */
struct series_query {
    int64_t job;
    int64_t after, limit;
    int64_t rank; /* logs: −1: all */
    int64_t term; /* 0: all */
    bool end;     /* no entries: only `next`, the number of the newest one */
};

void coordinator_metrics_read(struct coordinator *coordinator, const struct series_query *query,
                              struct arena *arena, Api__MetricList *list_out,
                              coordinator_done *done, void *argument);
void coordinator_logs_read(struct coordinator *coordinator, const struct series_query *query,
                           struct arena *arena, Api__LogList *list_out, coordinator_done *done,
                           void *argument);

/* Rows that a job left (its result's manifest, files rows/….jsonl), each a JSON object. */
struct rows_query {
    const char *tenant, *manifest;
    const char *kind;     /* of rows/KIND.jsonl alone; NULL: all files, by name */
    int64_t worst;        /* the rows of the smallest margin, over all files; 0: in order */
    int64_t after, limit; /* in order: rows that were seen, and how many more */
};

void coordinator_rows_read(struct coordinator *coordinator, const struct rows_query *query,
                           struct arena *arena, Api__RowList *list_out, coordinator_done *done,
                           void *argument);

/* ---- blobs: on the store's thread ------------------------------------------------------------ */

/* How much of an upload, by tenant and digest, is there: sets its offset and complete. */
void coordinator_upload_show(struct coordinator *coordinator, Api__Upload *upload,
                             coordinator_done *done, void *argument);
/* Takes one chunk at upload->offset of a blob of upload->bytes, and says in *upload how much is
 * there. STATUS_CONFLICT: at another offset; STATUS_FORMAT: thrown away for its digest. */
void coordinator_upload_put(struct coordinator *coordinator, Api__Upload *upload, const void *data,
                            size_t length, coordinator_done *done, void *argument);
/* Appends at most `length` bytes from `offset` of a finished blob; STATUS_NOT_FOUND. `size_out`
 * gets the size of the whole blob. */
void coordinator_blob_read(struct coordinator *coordinator, const char *tenant, const char *digest,
                           int64_t offset, size_t length, struct buf *out, int64_t *size_out,
                           coordinator_done *done, void *argument);

/* ---- scoring: by a running job of stage serve ------------------------------------------------ */

struct score_query {
    const char *tenant, *model;           /* whose; "acme/support@7" */
    const char *manifest;                 /* of the version */
    const char *parent, *parent_manifest; /* of what it is an adapter over, or NULL */
    bool adapter;
    char **rows; /* each a JSON object; no longer needed once the call returns */
    size_t row_count;
    struct arena *arena; /* of the answer */
};

struct score_reply {
    Api__Score **results; /* as the worker gave them */
    size_t result_count;
    const char *numerics;
    int retry_after_s; /* of a refusal: it may be asked again then; 0: not as it is */
    const char *hint;  /* of a refusal: what to type, or NULL */
};

/* STATUS_OK: it is on its way, and `done` comes within SCORE_PATIENCE_MS. Else `done` does not
 * come: STATUS_CONFLICT (nothing serves it), STATUS_LIMIT (too many wait), STATUS_CANCELLED (not
 * now). `done` may say STATUS_USAGE (of the rows) and STATUS_CANCELLED. */
enum status coordinator_score(struct coordinator *coordinator, const struct score_query *query,
                              struct score_reply *reply, coordinator_done *done, void *argument,
                              struct error *error);

/* ---- the whole ------------------------------------------------------------------------------- */

void coordinator_status(struct coordinator *coordinator, struct arena *arena,
                        Api__ClusterStatus *status_out); /* from memory, at once */
/* Records the slot time of all tenants and of the idle up to now: a read that is asked for behind
 * it finds figures that add up to the capacity to this moment. */
void coordinator_usage_record(struct coordinator *coordinator, coordinator_done *done,
                              void *argument);
/* May work be accepted? else the cause in a sentence. */
bool coordinator_ready(struct coordinator *coordinator, struct error *cause_out);
void coordinator_gc(struct coordinator *coordinator, Api__GcReply *reply, coordinator_done *done,
                    void *argument); /* reply->dry_run is read */
/* What a removal left: blobs that it named and nothing else does, and pages of the records' log. */
void coordinator_purge(struct coordinator *coordinator, coordinator_done *done, void *argument);
/* Copies records, keys and store into data/backups while the service runs (backup.h). */
void coordinator_backup(struct coordinator *coordinator, struct arena *arena,
                        Api__BackupReply *reply, coordinator_done *done, void *argument);

#endif
