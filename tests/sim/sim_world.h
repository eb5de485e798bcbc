/* SPDX-License-Identifier: Apache-2.0
 *
 * sim_world: the truth of a simulated run; shared by sim_*.c.
 */
#ifndef TAILOR_TESTS_SIM_SIM_WORLD_H
#define TAILOR_TESTS_SIM_SIM_WORLD_H

#include "tests/sim/sim.h"

enum { SIM_WHALES = 3, SIM_ATTEMPTS_MAX = 3, SECOND = 1000, MINUTE = 60 * SECOND };

/* An attempt as it really is, whatever the coordinator believes. */
struct sim_attempt {
    uint64_t job, term;
    int32_t ranks, ranks_told, ranks_up;
    int32_t members;
    uint32_t *workers; /* of the members; owned by the run's arena */
    int64_t begun_ms;  /* all ranks met; 0: not yet */
    int64_t base;      /* slot-ms done when it began: the newest checkpoint's */
    int64_t told_ms;   /* to yield or stop: no progress from then on; 0: not */
    bool broken;       /* a rank is gone: it can do nothing any more */
    bool finished;     /* its lead said so */
};

/* The ranks of one attempt on one worker. */
struct sim_gang {
    uint32_t attempt;
    int32_t ranks;
    bool lead, up, dying;
    uint64_t sequence;
    struct report *outbox; /* not acknowledged yet, in order */
    int32_t outbox_count, outbox_capacity;
};

struct sim_worker {
    uint64_t id;
    struct worker_offer offer;
    bool alive;
    int64_t silent_until_ms;
    uint64_t command_seen;
    struct sim_gang *gangs;
    int32_t gang_count, gang_capacity;
    int64_t heard_ms; /* when its last heartbeat was taken; for the check of detection */
};

struct sim_job {
    struct ask ask;
    struct dependency after;
    uint64_t id;        /* of the cluster; 0: not submitted yet */
    int32_t shards;     /* the jobs behind it in the list are its shards; 0: it has none */
    int64_t work;       /* slot-ms */
    int64_t registered; /* of these, in the newest checkpoint */
    enum failure fault; /* of its own: every attempt ends so */
    /* As the changes tell: */
    enum job_state state;
    uint64_t term;
    int32_t held;
    uint32_t attempt, numerics; /* of the newest attempt */
    int64_t waited_ms;          /* for slots */
    double ahead;               /* its tenant's unfinished work at its submit, itself included */
    double submitted_before;
};

enum sim_event_kind {
    EVENT_SUBMIT,     /* a: job */
    EVENT_UP,         /* a: worker, b: attempt */
    EVENT_CHECKPOINT, /* b: attempt */
    EVENT_FINISH,     /* b: attempt */
    EVENT_CRASH,      /* b: attempt */
    EVENT_NOTICE,     /* a: worker, b: attempt: the other ranks notice that one is gone */
    EVENT_GONE,       /* a: worker, b: attempt */
    EVENT_DIE,        /* a: worker */
    EVENT_REVIVE,     /* a: worker */
    EVENT_SILENCE,    /* a: worker */
    EVENT_DOWN,       /* the coordinator */
    EVENT_BOOT,
    EVENT_PERSON, /* does something */
    EVENT_UNDO    /* a: what, b: which */
};

struct sim_event {
    int64_t at_ms;
    uint64_t order; /* breaks ties: first made, first done */
    enum sim_event_kind kind;
    uint32_t a, b;
    uint64_t incarnation; /* of worker a, where it matters */
};

struct sim_tenant {
    double submitted;      /* slot-ms of work so far */
    double done;           /* of these, in jobs that are final */
    double busy_slot_ms;   /* held during the busy window */
    int32_t held, waiting; /* as the changes tell */
};

struct sim {
    struct sim_options options;
    struct sim_result *result;
    struct cluster cluster;
    int64_t now_ms;
    uint64_t draws;
    bool coordinator_up;
    int64_t booted_ms;
    bool lossy; /* commands and acknowledgements */
    struct sim_event *heap;
    size_t heap_count, heap_capacity;
    uint64_t events;
    struct sim_worker *workers;
    struct sim_job *jobs; /* job i has id i + 1 once submitted, in this order */
    uint32_t *job_of_id;
    uint32_t submitted, final;
    struct arena arena;
    struct sim_attempt *attempts;
    uint32_t attempt_count, attempt_capacity, attempts_checked;
    struct sim_tenant *tenants;
    bool busy_over;
    int64_t busy_ms;
    int32_t breaches;
    int32_t slots_least; /* the fewest slots that were up */
};

/* sim.c */
uint64_t sim_draw(struct sim *sim, uint64_t bound); /* [0, bound) */
bool sim_chance(struct sim *sim, double probability);
struct sim_event *sim_after(struct sim *sim, int64_t delay_ms, enum sim_event_kind kind, uint32_t a,
                            uint32_t b);

/* sim_setup.c */
void sim_setup(struct sim *sim);
void sim_boot(struct sim *sim); /* another process, from what was persisted of the last one */
void sim_submit(struct sim *sim, uint32_t job);
void sim_person(struct sim *sim);
void sim_undo(struct sim *sim, uint32_t what, uint32_t which);

/* sim_worker.c */
void sim_worker_event(struct sim *sim, const struct sim_event *event);
/* Reports that wait, then a heartbeat if it is time. */
void sim_worker_speak(struct sim *sim, uint32_t worker, bool beats);
void sim_worker_command(struct sim *sim, const struct command *command);
bool sim_worker_reachable(const struct sim *sim, uint32_t worker);
int64_t sim_attempt_done(const struct sim *sim, const struct sim_attempt *attempt);
void sim_worker_release(struct sim_worker *worker);

/* sim_check.c */
void sim_breach(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_check_change(struct sim *sim, const struct job_change *change);
void sim_check_begin(struct sim *sim, const struct command *command);
void sim_check_gangs(struct sim *sim); /* after all commands of a tick */
void sim_check_second(struct sim *sim);
void sim_check_end(struct sim *sim);

#endif
