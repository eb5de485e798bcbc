/* SPDX-License-Identifier: Apache-2.0
 *
 * attempt: this worker's part of one try of a job.
 *
 *     FETCHING   its inputs come            attempt_start.c
 *     RUNNING    its ranks are processes    attempt_hear.c: what they say
 *     ENDING     no process is left; what it made goes to the store   attempt_publish.c
 *     REPORTED   the final report is made, and not yet acknowledged
 *
 * One way, no phase is left out but RUNNING. Whoever wants it to stop sets the wish; a phase looks
 * at it when it next turns. An attempt is listed in heartbeats until its final report is
 * acknowledged.
 *
 * Its directory is DATA/runs/JOB-TERM, where its ranks run: every path in its spec is relative to
 * that, so the same attempt on another worker has the same spec, and resumes its checkpoints.
 *
 *     in/DIGEST…        data files              DIGEST/…   models, beside model/: an adapter names
 *     spec-in.json      the spec with paths                its parent "../DIGEST"
 *     checkpoints/ store/ best/ model/ rows/ metrics.jsonl …   the trainer's
 *     shards/K/            what shard K left, for who puts them together; shard/: of this shard
 */
#ifndef TAILOR_WORKER_AGENT_ATTEMPT_H
#define TAILOR_WORKER_AGENT_ATTEMPT_H

#include <limits.h>

#include "lib/arena.h"
#include "proto/rendezvous.h"
#include "worker/agent/cache.h"
#include "worker/agent/gpus.h"
#include "worker/agent/lines.h"
#include "worker/agent/link.h"
#include "worker/agent/outbox.h"
#include "worker/agent/process.h"
#include "worker/agent/serving.h"
#include "worker/agent/transfer.h"

enum attempt_phase { ATTEMPT_FETCHING, ATTEMPT_RUNNING, ATTEMPT_ENDING, ATTEMPT_REPORTED };
/* The later one wins. LEAVE: of this worker alone, so the job is to go on elsewhere. */
enum attempt_wish { WISH_NONE, WISH_LEAVE, WISH_PAUSE, WISH_CANCEL };

/* What all attempts of this worker share; borrowed. */
struct attempt_place {
    const char *data;    /* the worker's directory */
    const char *trainer; /* the program, and the one for jobs on GPUs; NULL: there is none */
    const char *trainer_cuda;
    struct gpus *gpus;
    struct cache *cache;
    struct transfer_arrivals *arrivals;
    struct link *link;
    int64_t slots;
    int64_t pause_grace_ms; /* from SIGTERM to SIGKILL */
};

enum { TAIL_BYTES = 4096, LOG_LINES_MAX = 256, LOG_LINE_BYTES = 2048, LOG_FLUSH_MS = 200 };

/* The last bytes that a rank printed, for the one who looks why it failed. */
struct rank {
    int64_t number, slot;
    int gpu; /* that it has; −1: none */
    struct process process;
    struct lines printed, reports;
    bool trains, ended;
    char tail[2 * TAIL_BYTES];
    size_t tail_length;
    char *log[LOG_LINES_MAX]; /* not yet sent */
    int log_count;
    int64_t log_lost, log_ms;
    struct attempt *attempt;
};

struct attempt {
    const struct attempt_place *place;
    int64_t job, term, world;
    char tenant[64], dir[PATH_MAX], secret[2 * 64 + 1];
    char *spec; /* as assigned */
    char rendezvous[RENDEZVOUS_RANKS_MAX *
                    257];             /* of several workers: every rank's host, with commas */
    char checkpoint[SHA256_HEX_SIZE]; /* to resume from; "": none */
    char (*inputs)[SHA256_HEX_SIZE];
    int input_count;
    int64_t shard, shards; /* of how many; 0 of some: it puts them together; 0, 0: no shards */
    char (*parts)[SHA256_HEX_SIZE]; /* what the shards left, in order */
    int part_count;
    bool on_gpu;             /* resources.device is cuda */
    bool measures;           /* its stage trains nothing: it leaves a result, and no model */
    struct serving *serving; /* of stage serve: the requests for its trainer; else NULL */
    struct rank *ranks;
    int rank_count;
    enum attempt_phase phase;
    enum attempt_wish wish;
    int64_t kill_ms; /* when what still runs is killed; 0: not */
    bool killed;     /* by us */
    int64_t step, steps_total;
    int64_t now_ms, wall_ms;                 /* monotonic; since 1970, for reports */
    int64_t checkpoint_step, published_step; /* the newest committed here; in the store; −1: none */
    double checkpoint_seconds;               /* that writing it took here */
    int shares_pending;                      /* of checkpoints that another worker leads */
    bool running_said, succeeded, outcome_said;
    bool no_space;             /* the failure is want of space here */
    Api__FailureClass failure; /* UNSPECIFIED: none */
    int64_t failure_rank;
    char failure_message[1024], failure_log[TAIL_BYTES + 1];
    struct transfer transfer;
    struct outbox outbox;
    struct manifest *manifest; /* scratch of publishing */
    char *figures;             /* of its result, or NULL */
    Api__GateDecision gate;
    char published[SHA256_HEX_SIZE];
    int64_t published_bytes;
    struct attempt *next;
};

/* Copies what it needs. STATUS_USAGE, STATUS_LIMIT: not to be taken. */
enum status attempt_create(const struct attempt_place *place, const Wire__Assign *assign,
                           struct attempt **attempt_out, struct error *error);
void attempt_free(struct attempt *attempt); /* kills what runs; removes the directory */
void attempt_turn(struct attempt *attempt, int64_t now_ms);
void attempt_stop(struct attempt *attempt, enum attempt_wish wish, int64_t now_ms);
bool attempt_is_over(const struct attempt *attempt);            /* reported and acknowledged */
bool attempt_uses(const struct attempt *attempt, int64_t slot); /* has a process there, or will */
Api__AttemptState attempt_state(const struct attempt *attempt);
bool attempt_leads(const struct attempt *attempt); /* rank 0 is here */

/* ---- between its files ----------------------------------------------------------------------- */

enum { MARK_INPUTS, MARK_PARTS, MARK_CHECKPOINT, MARK_SHARE, MARK_MODEL, MARK_RESULT };

/* Notes the first failure only. */
void attempt_fail(struct attempt *attempt, Api__FailureClass failure, int64_t rank,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));
void attempt_fail_status(struct attempt *attempt, const struct error *error);
/* attempt_start.c */
void attempt_fetch(struct attempt *attempt);
/* A mark of fetching. After MARK_PARTS the ranks are started: STATUS_OK, or why not. */
enum status attempt_fetched(struct attempt *attempt, int mark, struct error *error);
/* attempt_hear.c */
void attempt_hear(struct attempt *attempt, struct rank *rank);
void attempt_flush_logs(struct attempt *attempt, struct rank *rank, bool all);
/* attempt_publish.c */
void attempt_publish_checkpoint(struct attempt *attempt);
/* Its model or, where it measures, its result. */
void attempt_publish_outcome(struct attempt *attempt);
void attempt_published(struct attempt *attempt, int mark);
void attempt_report_state(struct attempt *attempt, Api__AttemptState state);

#endif
