/* SPDX-License-Identifier: Apache-2.0
 *
 * job_state: the life of a job, as states, events and one table; job_transition() is its only
 * writer.
 *
 *     queued ─assign→ starting ─start→ running ─finish→ succeeded
 *       ↑                 │ retry         │ retry, pause, yield
 *       │                 ↓               ↓
 *       │            recovering ←──── running            pausing ─park→ paused ─resume→ queued
 *       └──────────────────────────────────────requeue──────┘
 *     cancel leads to cancelled, through cancelling while ranks are alive; fail leads to failed.
 *
 * Invariants: a final state has no way out (job retry is a new job that names the old one); the
 * term grows by one with every assignment and never shrinks; messages of an attempt are taken only
 * while job_has_attempt(). Slots are no part of a state: a worker holds them until the ranks are
 * seen to be gone (registry.h), whatever became of the job.
 *
 * Where a disk is full a job is paused too, `halted`: nobody asked for that, and it is resumed when
 * there is room. A person's pause of a halted job makes it an ordinary one.
 *
 * A preempted job is not a state either: it is `pausing` with `yields`, and then `queued`, waiting
 * for reason `preempted`. All times are milliseconds of the caller's clock.
 */
#ifndef TAILOR_COORDINATOR_JOB_STATE_H
#define TAILOR_COORDINATOR_JOB_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/failure.h"
#include "lib/status.h"

enum job_state {
    JOB_STATE_QUEUED,
    JOB_STATE_STARTING,   /* assigned; not every rank has reported yet */
    JOB_STATE_RUNNING,    /* all ranks train */
    JOB_STATE_PAUSING,    /* told to write a checkpoint and stop */
    JOB_STATE_PAUSED,     /* until a person resumes it; halted: until there is room on the disks */
    JOB_STATE_RECOVERING, /* an attempt ended badly; the next one waits for back-off and slots */
    JOB_STATE_CANCELLING, /* told to stop at once */
    JOB_STATE_SUCCEEDED,
    JOB_STATE_FAILED,
    JOB_STATE_CANCELLED,
    JOB_STATE_COUNT
};

enum job_event {
    JOB_EVENT_ASSIGN,  /* the scheduler found a gang's slots: a new term */
    JOB_EVENT_START,   /* the last rank reported */
    JOB_EVENT_FINISH,  /* the work is done and recorded */
    JOB_EVENT_RETRY,   /* the attempt ended badly, another may follow */
    JOB_EVENT_FAIL,    /* the attempt ended badly, no other follows */
    JOB_EVENT_PAUSE,   /* a person asks for a pause */
    JOB_EVENT_YIELD,   /* the coordinator wants the slots */
    JOB_EVENT_HALT,    /* a disk is full: a pause that ends by itself */
    JOB_EVENT_PARK,    /* a pausing attempt is gone: to `paused` */
    JOB_EVENT_REQUEUE, /* a pausing attempt that yields is gone: to `queued` */
    JOB_EVENT_RESUME,  /* a person lets it go on */
    JOB_EVENT_CANCEL,  /* a person asks for an end */
    JOB_EVENT_STOP,    /* a cancelling attempt is gone */
    JOB_EVENT_ORPHAN,  /* a job that it comes after did not succeed: it can never run */
    JOB_EVENT_COUNT
};

/* The part of a job that the state machine owns. Others read it. */
struct job_run {
    uint64_t id;
    enum job_state state;
    int64_t since_ms;     /* when it entered the state */
    uint64_t term;        /* of the newest attempt; 0: none yet */
    int32_t charged;      /* attempts that count against charged_max */
    int32_t charged_max;  /* retry.max_attempts */
    int32_t fruitless;    /* attempts in a row that ended badly with no new checkpoint */
    int64_t progress;     /* the newest checkpoint's step */
    bool yields;          /* pausing, to queue again rather than to be paused */
    bool halted;          /* pausing or paused for want of space, not by a person */
    enum failure failure; /* of the last attempt that ended badly */
};

/* A job that always takes its worker with it would be tried for ever: it is the worker's fault each
 * time. So many fruitless attempts in a row end it, whosever fault they are. */
enum { JOB_FRUITLESS_MAX = 10 };

void job_init(struct job_run *run, uint64_t id, int32_t charged_max, int64_t now_ms);

/* Applies one event. STATUS_CONFLICT, with a sentence for the person who asked, where the table has
 * no such transition; the job is unchanged then. */
enum status job_transition(struct job_run *run, enum job_event event, int64_t now_ms,
                           struct error *error);

/* An attempt ended badly in a state with an attempt: counts it, by the table of failures, and
 * chooses among RETRY, FAIL, PARK, REQUEUE and STOP. Returns the event that was applied. */
enum job_event job_attempt_failed(struct job_run *run, enum failure failure, int64_t now_ms);

/* All ranks of an attempt that was told to end are gone: PARK, REQUEUE or STOP. */
enum job_event job_attempt_ended(struct job_run *run, int64_t now_ms);

/* It did for a while what it is there for (a job without an end): what failed before is forgiven.
 */
void job_proved(struct job_run *run);

/* A checkpoint of this step was registered. */
void job_progressed(struct job_run *run, int64_t step);

bool job_is_final(enum job_state state);
bool job_has_attempt(enum job_state state); /* starting, running, pausing, cancelling */
bool job_is_waiting(enum job_state state);  /* for slots: queued, recovering */
const char *job_state_name(enum job_state state);
const char *job_event_name(enum job_event event);
bool job_state_by_name(const char *name, enum job_state *state_out);

#endif
