/* SPDX-License-Identifier: Apache-2.0
 *
 * sim_worker: what workers and ranks do, as the agent is meant to do it: it keeps reports until
 * they are acknowledged, lists a gang until its REPORT_GONE is, begins what it is told once, and
 * stops what it is told to stop.
 */
#include <string.h>

#include "lib/check.h"
#include "tests/sim/sim_world.h"

enum { GANGS_MAX = 256 }; /* on one worker, those that wait for a last acknowledgement too */

bool sim_worker_reachable(const struct sim *sim, uint32_t worker)
{
    const struct sim_worker *it = &sim->workers[worker];
    return it->alive && it->silent_until_ms <= sim->now_ms;
}

static struct sim_gang *gang_of(struct sim_worker *worker, uint32_t attempt)
{
    for (int32_t i = 0; i < worker->gang_count; i++) {
        if (worker->gangs[i].attempt == attempt) {
            return &worker->gangs[i];
        }
    }
    return NULL;
}

static void gang_drop(struct sim_worker *worker, struct sim_gang *gang)
{
    mem_free(gang->outbox);
    *gang = worker->gangs[--worker->gang_count];
}

void sim_worker_release(struct sim_worker *worker)
{
    while (worker->gang_count > 0) {
        gang_drop(worker, &worker->gangs[0]);
    }
    mem_free(worker->gangs);
}

static struct report *say(struct sim *sim, uint32_t worker, struct sim_gang *gang,
                          enum report_kind kind)
{
    const struct sim_attempt *attempt = &sim->attempts[gang->attempt];
    if (gang->outbox_count == gang->outbox_capacity) {
        gang->outbox_capacity = gang->outbox_capacity ? gang->outbox_capacity * 2 : 4;
        gang->outbox =
            mem_grow(gang->outbox, size_mul((size_t)gang->outbox_capacity, sizeof(*gang->outbox)));
    }
    struct report *report = &gang->outbox[gang->outbox_count++];
    *report = (struct report){.kind = kind,
                              .worker = sim->workers[worker].id,
                              .job = attempt->job,
                              .term = attempt->term,
                              .sequence = ++gang->sequence,
                              .ends_ms = INT64_MAX};
    return report;
}

static struct sim_job *job_of(struct sim *sim, const struct sim_attempt *attempt)
{
    return &sim->jobs[sim->job_of_id[attempt->job]];
}

int64_t sim_attempt_done(const struct sim *sim, const struct sim_attempt *attempt)
{
    const struct sim_job *job = &sim->jobs[sim->job_of_id[attempt->job]];
    if (attempt->begun_ms == 0) {
        return attempt->base;
    }
    int64_t until = attempt->told_ms > 0 ? attempt->told_ms : sim->now_ms;
    int64_t done = attempt->base + (until - attempt->begun_ms) * attempt->ranks;
    return done < job->work ? done : job->work;
}

/* ---- the life of an attempt ------------------------------------------------------------------ */

static void leave(struct sim *sim, uint32_t worker, struct sim_gang *gang, int64_t delay_ms)
{
    if (!gang->dying) {
        gang->dying = true;
        sim_after(sim, delay_ms, EVENT_GONE, worker, gang->attempt);
    }
}

/* One member can no more: the others notice after a while. */
static void attempt_break(struct sim *sim, uint32_t attempt)
{
    struct sim_attempt *it = &sim->attempts[attempt];
    if (it->broken || it->finished) {
        return;
    }
    it->broken = true;
    for (int32_t i = 0; i < it->members; i++) {
        sim_after(sim, SECOND * (int64_t)(2 + sim_draw(sim, 9)), EVENT_NOTICE, it->workers[i],
                  attempt);
    }
}

static struct sim_gang *lead_of(struct sim *sim, const struct sim_attempt *attempt, uint32_t index,
                                uint32_t *worker_out)
{
    for (int32_t i = 0; i < attempt->members; i++) {
        struct sim_gang *gang = gang_of(&sim->workers[attempt->workers[i]], index);
        if (gang && gang->lead) {
            *worker_out = attempt->workers[i];
            return gang;
        }
    }
    return NULL;
}

static void attempt_begin(struct sim *sim, uint32_t index)
{
    struct sim_attempt *attempt = &sim->attempts[index];
    const struct sim_job *job = job_of(sim, attempt);
    attempt->begun_ms = sim->now_ms;
    attempt->base = job->registered;
    sim_after(sim, (job->work - attempt->base) / attempt->ranks + SECOND, EVENT_FINISH, 0, index);
    sim_after(sim, SECOND * (int64_t)(20 + sim_draw(sim, 20)), EVENT_CHECKPOINT, 0, index);
    if (job->fault != FAILURE_NONE ||
        (sim->options.scenario == SIM_CHAOS && sim_chance(sim, 0.04)) ||
        (sim->options.scenario == SIM_BUSY && sim_chance(sim, 0.01))) {
        sim_after(sim, SECOND * (int64_t)(1 + sim_draw(sim, 30)), EVENT_CRASH, 0, index);
    }
}

static void up(struct sim *sim, uint32_t worker, struct sim_gang *gang)
{
    struct sim_attempt *attempt = &sim->attempts[gang->attempt];
    if (gang->dying || gang->up) {
        return;
    }
    gang->up = true;
    struct report *report = say(sim, worker, gang, REPORT_STARTED);
    const struct sim_job *job = job_of(sim, attempt);
    report->ends_ms = sim->now_ms + (job->work - job->registered) / attempt->ranks;
    attempt->ranks_up += gang->ranks;
    if (attempt->ranks_up == attempt->ranks && !attempt->broken) {
        attempt_begin(sim, gang->attempt);
    }
}

static void crash(struct sim *sim, uint32_t index)
{
    static const enum failure classes[] = {FAILURE_WORKER_LOST, FAILURE_COMMUNICATION,
                                           FAILURE_INTERNAL, FAILURE_STORAGE,
                                           FAILURE_OUT_OF_MEMORY};
    struct sim_attempt *attempt = &sim->attempts[index];
    uint32_t worker = attempt->workers[sim_draw(sim, (uint64_t)attempt->members)];
    struct sim_gang *gang = gang_of(&sim->workers[worker], index);
    enum failure fault = job_of(sim, attempt)->fault;
    if (!gang || gang->dying) {
        return;
    }
    say(sim, worker, gang, REPORT_FAILED)->failure =
        fault != FAILURE_NONE ? fault : classes[sim_draw(sim, 5)];
    leave(sim, worker, gang, SECOND);
    attempt_break(sim, index);
}

static void finish(struct sim *sim, uint32_t index)
{
    struct sim_attempt *attempt = &sim->attempts[index];
    uint32_t worker;
    struct sim_gang *lead = lead_of(sim, attempt, index, &worker);
    CHECK(sim_attempt_done(sim, attempt) == job_of(sim, attempt)->work);
    if (!lead) {
        return;
    }
    say(sim, worker, lead, REPORT_FINISHED);
    attempt->finished = true;
    for (int32_t i = 0; i < attempt->members; i++) {
        struct sim_gang *gang = gang_of(&sim->workers[attempt->workers[i]], index);
        if (gang) {
            leave(sim, attempt->workers[i], gang, SECOND * (int64_t)(1 + sim_draw(sim, 2)));
        }
    }
}

static void checkpoint(struct sim *sim, uint32_t index)
{
    struct sim_attempt *attempt = &sim->attempts[index];
    uint32_t worker;
    struct sim_gang *lead = lead_of(sim, attempt, index, &worker);
    if (!lead) {
        return;
    }
    struct report *report = say(sim, worker, lead, REPORT_CHECKPOINT);
    report->step = sim_attempt_done(sim, attempt);
    report->ends_ms = sim->now_ms + (job_of(sim, attempt)->work - report->step) / attempt->ranks;
}

static void die(struct sim *sim, uint32_t worker)
{
    struct sim_worker *it = &sim->workers[worker];
    it->alive = false;
    while (it->gang_count > 0) {
        uint32_t attempt = it->gangs[0].attempt;
        gang_drop(it, &it->gangs[0]);
        attempt_break(sim, attempt);
    }
    sim_after(sim, SECOND * (int64_t)(3 + sim_draw(sim, 120)), EVENT_REVIVE, worker, 0);
}

/* Failures come back at their mean times for ever. */
static void worker_fault(struct sim *sim, const struct sim_event *event)
{
    struct sim_worker *worker = &sim->workers[event->a];
    int64_t again = MINUTE * (int64_t)(10 + sim_draw(sim, 100));
    if (event->kind == EVENT_REVIVE) {
        worker->alive = true;
        worker->offer.incarnation++;
        worker->command_seen = 0;
    } else if (event->kind == EVENT_SILENCE) {
        worker->silent_until_ms = sim->now_ms + SECOND * (int64_t)(2 + sim_draw(sim, 60));
        sim_after(sim, again, EVENT_SILENCE, event->a, 0);
    } else {
        if (worker->alive) {
            die(sim, event->a);
        }
        sim_after(sim, again, EVENT_DIE, event->a, 0);
    }
}

void sim_worker_event(struct sim *sim, const struct sim_event *event)
{
    if (event->kind == EVENT_DIE || event->kind == EVENT_REVIVE || event->kind == EVENT_SILENCE) {
        worker_fault(sim, event);
        return;
    }
    const struct sim_attempt *attempt = &sim->attempts[event->b];
    bool works = !attempt->broken && !attempt->finished && attempt->told_ms == 0;
    if (event->kind == EVENT_CHECKPOINT && works) {
        checkpoint(sim, event->b);
        sim_after(sim, SECOND * (int64_t)(20 + sim_draw(sim, 20)), EVENT_CHECKPOINT, 0, event->b);
    } else if (event->kind == EVENT_FINISH && works) {
        finish(sim, event->b);
    } else if (event->kind == EVENT_CRASH && works) {
        crash(sim, event->b);
    }
    if (event->kind != EVENT_UP && event->kind != EVENT_NOTICE && event->kind != EVENT_GONE) {
        return;
    }
    struct sim_worker *worker = &sim->workers[event->a];
    struct sim_gang *gang = gang_of(worker, event->b);
    if (!worker->alive || worker->offer.incarnation != event->incarnation || !gang) {
        return;
    }
    if (event->kind == EVENT_UP) {
        up(sim, event->a, gang);
    } else if (event->kind == EVENT_GONE) {
        gang->ranks = 0;
        say(sim, event->a, gang, REPORT_GONE);
        attempt_break(sim, event->b);
    } else if (!gang->dying) {
        say(sim, event->a, gang, REPORT_FAILED)->failure = FAILURE_COMMUNICATION;
        leave(sim, event->a, gang, SECOND);
    }
}

/* ---- the wire -------------------------------------------------------------------------------- */

static uint32_t attempt_find(const struct sim *sim, uint64_t job, uint64_t term)
{
    uint32_t at = sim->jobs[sim->job_of_id[job]].attempt;
    while (sim->attempts[at].job != job || sim->attempts[at].term != term) {
        CHECK(at > 0);
        at--; /* an older one */
    }
    return at;
}

static void begin(struct sim *sim, const struct command *command)
{
    struct sim_worker *worker = &sim->workers[command->worker];
    uint32_t attempt = attempt_find(sim, command->job, command->term);
    if (gang_of(worker, attempt)) {
        return;
    }
    if (worker->gang_count == worker->gang_capacity) {
        worker->gang_capacity = worker->gang_capacity ? worker->gang_capacity * 2 : 4;
        worker->gangs = mem_grow(worker->gangs,
                                 size_mul((size_t)worker->gang_capacity, sizeof(*worker->gangs)));
    }
    worker->gangs[worker->gang_count++] = (struct sim_gang){
        .attempt = attempt, .ranks = command->ranks, .lead = command->first_rank == 0};
    int32_t ranks = 0;
    for (int32_t i = 0; i < worker->gang_count; i++) {
        ranks += worker->gangs[i].ranks;
    }
    if (ranks > worker->offer.slots) {
        sim_breach(sim, "slots: worker %llu runs %d ranks on its %d",
                   (unsigned long long)worker->id, ranks, worker->offer.slots);
    }
    bool slow = sim->options.scenario == SIM_CHAOS && sim_chance(sim, 0.02);
    sim_after(sim, SECOND * (int64_t)(1 + sim_draw(sim, slow ? 100 : 4)), EVENT_UP, command->worker,
              attempt);
}

void sim_worker_command(struct sim *sim, const struct command *command)
{
    struct sim_worker *worker = &sim->workers[command->worker];
    if (command->incarnation != worker->offer.incarnation) {
        return;
    }
    worker->command_seen = command->number;
    if (command->kind == COMMAND_BEGIN) {
        begin(sim, command);
        return;
    }
    uint32_t index = attempt_find(sim, command->job, command->term);
    struct sim_gang *gang = gang_of(worker, index);
    if (!gang || gang->dying) {
        return;
    }
    struct sim_attempt *attempt = &sim->attempts[index];
    if (attempt->told_ms == 0) {
        attempt->told_ms = sim->now_ms;
    }
    if (command->kind == COMMAND_YIELD && gang->lead && attempt->begun_ms > 0 && !attempt->broken &&
        !attempt->finished) {
        checkpoint(sim, index);
    }
    leave(sim, command->worker, gang,
          command->kind == COMMAND_YIELD ? SECOND * (int64_t)(1 + sim_draw(sim, 4)) : SECOND);
}

/* Sends the oldest reports of a gang until one gets no acknowledgement. True: the gang is over. */
static bool outbox_send(struct sim *sim, uint32_t worker, struct sim_gang *gang)
{
    int32_t sent = 0;
    bool over = false;
    while (sent < gang->outbox_count && !over) {
        const struct report *report = &gang->outbox[sent];
        const struct sim_job *job = &sim->jobs[sim->job_of_id[report->job]];
        bool current = job->term == report->term;
        enum fence_verdict verdict = cluster_report(&sim->cluster, report, sim->now_ms);
        if (verdict == FENCE_GAP || verdict == FENCE_UNKNOWN) {
            sim_breach(sim, "job %llu: report %d of term %llu was judged %s",
                       (unsigned long long)report->job, (int)report->kind,
                       (unsigned long long)report->term, fence_verdict_name(verdict));
            break;
        }
        if (verdict == FENCE_ACCEPT && report->kind == REPORT_CHECKPOINT) {
            if (!current) {
                sim_breach(sim, "zombie: job %llu took a checkpoint of term %llu under term %llu",
                           (unsigned long long)report->job, (unsigned long long)report->term,
                           (unsigned long long)job->term);
            }
            struct sim_job *mine = &sim->jobs[sim->job_of_id[report->job]];
            mine->registered = report->step > mine->registered ? report->step : mine->registered;
        }
        if (sim->lossy && sim_chance(sim, 0.01)) {
            break; /* the acknowledgement is lost: it will be sent again */
        }
        sent++;
        over = report->kind == REPORT_GONE;
        if (verdict == FENCE_STALE) {
            leave(sim, worker, gang, SECOND);
        }
    }
    gang->outbox_count -= sent;
    memmove(gang->outbox, gang->outbox + sent, (size_t)gang->outbox_count * sizeof(*gang->outbox));
    return over;
}

void sim_worker_speak(struct sim *sim, uint32_t worker, bool beats)
{
    struct sim_worker *it = &sim->workers[worker];
    for (int32_t i = it->gang_count; i-- > 0;) { /* dropping moves the last one here */
        if (it->gangs[i].outbox_count > 0 && outbox_send(sim, worker, &it->gangs[i])) {
            gang_drop(it, &it->gangs[i]);
        }
    }
    if (!beats) {
        return;
    }
    struct beat_gang listed[GANGS_MAX];
    CHECK(it->gang_count <= GANGS_MAX);
    for (int32_t i = 0; i < it->gang_count; i++) {
        const struct sim_attempt *attempt = &sim->attempts[it->gangs[i].attempt];
        listed[i] = (struct beat_gang){attempt->job, attempt->term, it->gangs[i].up};
    }
    struct heartbeat beat = {.worker = it->id,
                             .offer = it->offer,
                             .command_seen = it->command_seen,
                             .gangs = listed,
                             .gang_count = it->gang_count};
    cluster_heartbeat(&sim->cluster, &beat, sim->now_ms);
    it->heard_ms = sim->now_ms;
}
