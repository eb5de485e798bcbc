/* SPDX-License-Identifier: Apache-2.0
 *
 * job_state: the transition table and its only reader.
 *
 * What the table decides, where one could decide otherwise:
 * - A job that finished while it was being cancelled is cancelled: a person who cancelled must not
 *   see an alias move. One that finished while it was being paused has succeeded.
 * - An attempt that dies while pausing is as good as paused, unless its failure allows no other.
 * - A paused job fails when a shard of it does, whose attempt ends after the pause was asked for.
 * - `starting` may be paused, but never yields: it has no checkpoint of its own to write yet.
 * - `paused` takes a pause only where it is halted: it stays paused then until a person resumes it.
 */
#include "coordinator/job_state.h"

#include <string.h>

#include "lib/check.h"

enum { NO = JOB_STATE_COUNT };

#define Q  JOB_STATE_QUEUED
#define S  JOB_STATE_STARTING
#define R  JOB_STATE_RUNNING
#define P  JOB_STATE_PAUSING
#define PD JOB_STATE_PAUSED
#define RC JOB_STATE_RECOVERING
#define C  JOB_STATE_CANCELLING
#define OK JOB_STATE_SUCCEEDED
#define F  JOB_STATE_FAILED
#define CD JOB_STATE_CANCELLED

/* clang-format off */
static const unsigned char next_state[JOB_STATE_COUNT][JOB_EVENT_COUNT] = {
    /*                    assign start finish retry fail pause yield halt park requeue resume cancel stop orphan */
    [JOB_STATE_QUEUED]     = {S,  NO,   NO,    NO,   F,   PD,   NO,  NO,   NO, NO,     NO,    CD,    NO,  CD},
    [JOB_STATE_STARTING]   = {NO, R,    NO,    RC,   F,   P,    NO,  P,    NO, NO,     NO,    C,     NO,  NO},
    [JOB_STATE_RUNNING]    = {NO, NO,   OK,    RC,   F,   P,    P,   P,    NO, NO,     NO,    C,     NO,  NO},
    [JOB_STATE_PAUSING]    = {NO, NO,   OK,    NO,   F,   P,    P,   NO,   PD, Q,      P,     C,     NO,  NO},
    [JOB_STATE_PAUSED]     = {NO, NO,   NO,    NO,   F,   PD,   NO,  NO,   NO, NO,     Q,     CD,    NO,  CD},
    [JOB_STATE_RECOVERING] = {S,  NO,   NO,    NO,   F,   PD,   NO,  NO,   NO, NO,     NO,    CD,    NO,  NO},
    [JOB_STATE_CANCELLING] = {NO, NO,   CD,    NO,   NO,  NO,   NO,  NO,   NO, NO,     NO,    C,     CD,  NO},
    [JOB_STATE_SUCCEEDED]  = {NO, NO,   NO,    NO,   NO,  NO,   NO,  NO,   NO, NO,     NO,    NO,    NO,  NO},
    [JOB_STATE_FAILED]     = {NO, NO,   NO,    NO,   NO,  NO,   NO,  NO,   NO, NO,     NO,    NO,    NO,  NO},
    [JOB_STATE_CANCELLED]  = {NO, NO,   NO,    NO,   NO,  NO,   NO,  NO,   NO, NO,     NO,    NO,    NO,  NO},
};
/* clang-format on */

#undef Q
#undef S
#undef R
#undef P
#undef PD
#undef RC
#undef C
#undef OK
#undef F
#undef CD

static const char *const state_names[JOB_STATE_COUNT] = {
    [JOB_STATE_QUEUED] = "queued",         [JOB_STATE_STARTING] = "starting",
    [JOB_STATE_RUNNING] = "running",       [JOB_STATE_PAUSING] = "pausing",
    [JOB_STATE_PAUSED] = "paused",         [JOB_STATE_RECOVERING] = "recovering",
    [JOB_STATE_CANCELLING] = "cancelling", [JOB_STATE_SUCCEEDED] = "succeeded",
    [JOB_STATE_FAILED] = "failed",         [JOB_STATE_CANCELLED] = "cancelled",
};

static const char *const event_names[JOB_EVENT_COUNT] = {
    [JOB_EVENT_ASSIGN] = "assign",   [JOB_EVENT_START] = "start",   [JOB_EVENT_FINISH] = "finish",
    [JOB_EVENT_RETRY] = "retry",     [JOB_EVENT_FAIL] = "fail",     [JOB_EVENT_PAUSE] = "pause",
    [JOB_EVENT_YIELD] = "yield",     [JOB_EVENT_HALT] = "halt",     [JOB_EVENT_PARK] = "park",
    [JOB_EVENT_REQUEUE] = "requeue", [JOB_EVENT_RESUME] = "resume", [JOB_EVENT_CANCEL] = "cancel",
    [JOB_EVENT_STOP] = "stop",       [JOB_EVENT_ORPHAN] = "orphan",
};

void job_init(struct job_run *run, uint64_t id, int32_t charged_max, int64_t now_ms)
{
    CHECK(charged_max >= 1);
    *run = (struct job_run){
        .id = id, .state = JOB_STATE_QUEUED, .since_ms = now_ms, .charged_max = charged_max};
}

enum status job_transition(struct job_run *run, enum job_event event, int64_t now_ms,
                           struct error *error)
{
    CHECK((unsigned)run->state < JOB_STATE_COUNT);
    CHECK((unsigned)event < JOB_EVENT_COUNT);
    unsigned char next = next_state[run->state][event];
    bool again = event == JOB_EVENT_PAUSE && run->state == JOB_STATE_PAUSED && !run->halted;
    if (next == NO || again) {
        return error_set(error, STATUS_CONFLICT, "job %llu is %s: there is no %s from there",
                         (unsigned long long)run->id, state_names[run->state], event_names[event]);
    }
    if (event == JOB_EVENT_ASSIGN) {
        CHECK(run->term < UINT64_MAX);
        run->term++;
    }
    if (event == JOB_EVENT_YIELD && run->state == JOB_STATE_RUNNING) {
        run->yields = true; /* a pause that a person asked for stays a pause */
    } else if (event == JOB_EVENT_RESUME) {
        run->yields = run->state == JOB_STATE_PAUSING;
    } else if (event != JOB_EVENT_YIELD) {
        run->yields = false;
    }
    run->halted = event == JOB_EVENT_HALT || (event == JOB_EVENT_PARK && run->halted);
    if (next != run->state) {
        run->state = (enum job_state)next;
        run->since_ms = now_ms;
    }
    return STATUS_OK;
}

static enum job_event apply(struct job_run *run, enum job_event event, int64_t now_ms)
{
    CHECK(job_transition(run, event, now_ms, NULL) == STATUS_OK);
    return event;
}

enum job_event job_attempt_failed(struct job_run *run, enum failure failure, int64_t now_ms)
{
    CHECK(job_has_attempt(run->state));
    CHECK(failure != FAILURE_NONE);
    const struct failure_row *row = failure_row(failure);
    run->failure = failure;
    run->fruitless++;
    run->charged += row->charged;
    bool again =
        row->retry && run->charged < run->charged_max && run->fruitless < JOB_FRUITLESS_MAX;
    if (run->state == JOB_STATE_CANCELLING) {
        return apply(run, JOB_EVENT_STOP, now_ms);
    }
    if (!again) {
        return apply(run, JOB_EVENT_FAIL, now_ms);
    }
    if (run->state == JOB_STATE_PAUSING) {
        return apply(run, run->yields ? JOB_EVENT_REQUEUE : JOB_EVENT_PARK, now_ms);
    }
    return apply(run, JOB_EVENT_RETRY, now_ms);
}

enum job_event job_attempt_ended(struct job_run *run, int64_t now_ms)
{
    if (run->state == JOB_STATE_CANCELLING) {
        return apply(run, JOB_EVENT_STOP, now_ms);
    }
    CHECK(run->state == JOB_STATE_PAUSING);
    return apply(run, run->yields ? JOB_EVENT_REQUEUE : JOB_EVENT_PARK, now_ms);
}

void job_proved(struct job_run *run)
{
    run->charged = 0;
    run->fruitless = 0;
}

void job_progressed(struct job_run *run, int64_t step)
{
    if (step > run->progress) {
        run->progress = step;
        run->fruitless = 0;
    }
}

bool job_is_final(enum job_state state)
{
    return state == JOB_STATE_SUCCEEDED || state == JOB_STATE_FAILED ||
           state == JOB_STATE_CANCELLED;
}

bool job_has_attempt(enum job_state state)
{
    return state == JOB_STATE_STARTING || state == JOB_STATE_RUNNING ||
           state == JOB_STATE_PAUSING || state == JOB_STATE_CANCELLING;
}

bool job_is_waiting(enum job_state state)
{
    return state == JOB_STATE_QUEUED || state == JOB_STATE_RECOVERING;
}

const char *job_state_name(enum job_state state)
{
    CHECK((unsigned)state < JOB_STATE_COUNT);
    return state_names[state];
}

const char *job_event_name(enum job_event event)
{
    CHECK((unsigned)event < JOB_EVENT_COUNT);
    return event_names[event];
}

bool job_state_by_name(const char *name, enum job_state *state_out)
{
    for (int i = 0; i < JOB_STATE_COUNT; i++) {
        if (strcmp(state_names[i], name) == 0) {
            *state_out = (enum job_state)i;
            return true;
        }
    }
    return false;
}
