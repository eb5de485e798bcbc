/* SPDX-License-Identifier: Apache-2.0
 *
 * sim: fake time. Every second: what was due happens, workers speak, the coordinator takes its
 * turn, its commands travel (they arrive in the next second, or never), and the truth is compared.
 *
 * Events of one second happen in the order of their time, then of their making. Rejected: a
 * simulator of the scheduler alone; it was the glue between scheduler, leases and fences that had
 * the interesting mistakes.
 */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/check.h"
#include "lib/rng.h"
#include "tests/sim/sim_world.h"

enum { HEARTBEAT_SECONDS = 3, HOURS_MAX = 12 };

const char *sim_scenario_name(enum sim_scenario scenario)
{
    static const char *const names[SIM_SCENARIOS] = {"chaos", "busy", "hog", "whale", "away"};
    CHECK((unsigned)scenario < SIM_SCENARIOS);
    return names[scenario];
}

uint64_t sim_draw(struct sim *sim, uint64_t bound)
{
    return rng_below(sim->options.seed, rng_stream("sim"), sim->draws++, bound);
}

bool sim_chance(struct sim *sim, double probability)
{
    return rng_uniform(sim->options.seed, rng_stream("sim"), sim->draws++) < probability;
}

/* ---- events ---------------------------------------------------------------------------------- */

static bool earlier(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void swap(struct sim_event *a, struct sim_event *b)
{
    struct sim_event kept = *a;
    *a = *b;
    *b = kept;
}

struct sim_event *sim_after(struct sim *sim, int64_t delay_ms, enum sim_event_kind kind, uint32_t a,
                            uint32_t b)
{
    if (sim->heap_count == sim->heap_capacity) {
        sim->heap_capacity = sim->heap_capacity ? sim->heap_capacity * 2 : 1024;
        sim->heap = mem_grow(sim->heap, size_mul(sim->heap_capacity, sizeof(*sim->heap)));
    }
    size_t at = sim->heap_count++;
    bool of_worker = kind == EVENT_UP || kind == EVENT_NOTICE || kind == EVENT_GONE;
    sim->heap[at] =
        (struct sim_event){.at_ms = sim->now_ms + delay_ms,
                           .order = sim->events++,
                           .kind = kind,
                           .a = a,
                           .b = b,
                           .incarnation = of_worker ? sim->workers[a].offer.incarnation : 0};
    while (at > 0 && earlier(&sim->heap[at], &sim->heap[(at - 1) / 2])) {
        swap(&sim->heap[at], &sim->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    return &sim->heap[at];
}

static struct sim_event pop(struct sim *sim)
{
    struct sim_event first = sim->heap[0];
    sim->heap[0] = sim->heap[--sim->heap_count];
    for (size_t at = 0;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < sim->heap_count; child++) {
            least = earlier(&sim->heap[child], &sim->heap[least]) ? child : least;
        }
        if (least == at) {
            return first;
        }
        swap(&sim->heap[at], &sim->heap[least]);
        at = least;
    }
}

/* ---- the coordinator ------------------------------------------------------------------------- */

struct flight { /* commands on their way */
    struct command *commands;
    size_t count, capacity;
};

static void coordinator_turn(struct sim *sim, struct flight *flight)
{
    struct timespec begin, end;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    cluster_tick(&sim->cluster, sim->now_ms);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    double ms =
        1e3 * (double)(end.tv_sec - begin.tv_sec) + 1e-6 * (double)(end.tv_nsec - begin.tv_nsec);
    if (ms > sim->result->cycle_ms) {
        sim->result->cycle_ms = ms;
    }
    for (size_t i = 0; i < sim->cluster.change_count; i++) {
        sim_check_change(sim, &sim->cluster.changes[i]);
    }
    for (size_t i = 0; i < sim->cluster.command_count; i++) {
        sim_check_begin(sim, &sim->cluster.commands[i]);
    }
    sim_check_gangs(sim);
    size_t count = sim->cluster.command_count;
    if (count > flight->capacity) {
        flight->capacity = count * 2;
        flight->commands =
            mem_grow(flight->commands, size_mul(flight->capacity, sizeof(*flight->commands)));
    }
    if (count > 0) {
        memcpy(flight->commands, sim->cluster.commands, count * sizeof(*flight->commands));
    }
    flight->count = count;
    cluster_drained(&sim->cluster);
}

static void deliver(struct sim *sim, struct flight *flight)
{
    for (size_t i = 0; i < flight->count; i++) {
        if (sim_worker_reachable(sim, flight->commands[i].worker) &&
            !(sim->lossy && sim_chance(sim, 0.01))) {
            sim_worker_command(sim, &flight->commands[i]);
        }
    }
    flight->count = 0;
}

static void happen(struct sim *sim, const struct sim_event *event, struct flight *flight)
{
    switch (event->kind) {
    case EVENT_SUBMIT:
        if (sim->coordinator_up) {
            sim_submit(sim, event->a);
        } else {
            sim_after(sim, SECOND, EVENT_SUBMIT, event->a, 0); /* the client tries again */
        }
        break;
    case EVENT_DOWN:
        sim->coordinator_up = false;
        if (sim_chance(sim, 0.5)) {
            flight->count = 0; /* it died before it had sent them */
        }
        sim_after(sim, SECOND * (int64_t)(1 + sim_draw(sim, 40)), EVENT_BOOT, 0, 0);
        break;
    case EVENT_BOOT:
        sim->coordinator_up = true;
        sim->booted_ms = sim->now_ms;
        sim->result->boots++;
        sim_boot(sim);
        sim_after(sim, MINUTE * (int64_t)(1 + sim_draw(sim, 8)), EVENT_DOWN, 0, 0);
        break;
    case EVENT_PERSON:
        if (sim->coordinator_up) {
            sim_person(sim);
        }
        sim_after(sim, SECOND * (int64_t)(1 + sim_draw(sim, 20)), EVENT_PERSON, 0, 0);
        break;
    case EVENT_UNDO:
        if (sim->coordinator_up) {
            sim_undo(sim, event->a, event->b);
        } else {
            sim_after(sim, SECOND, EVENT_UNDO, event->a, event->b);
        }
        break;
    default:
        sim_worker_event(sim, event);
    }
}

static void second(struct sim *sim, struct flight *flight)
{
    sim->now_ms += SECOND;
    while (sim->heap_count > 0 && sim->heap[0].at_ms <= sim->now_ms) {
        struct sim_event event = pop(sim);
        happen(sim, &event, flight);
    }
    if (!sim->coordinator_up) {
        return;
    }
    deliver(sim, flight);
    for (int32_t w = 0; w < sim->options.workers; w++) {
        if (sim_worker_reachable(sim, (uint32_t)w)) {
            sim_worker_speak(sim, (uint32_t)w, (sim->now_ms / SECOND + w) % HEARTBEAT_SECONDS == 0);
        }
    }
    coordinator_turn(sim, flight);
    sim_check_second(sim);
}

void sim_run(const struct sim_options *options, struct sim_result *result)
{
    struct sim sim = {.options = *options, .result = result, .coordinator_up = true};
    *result = (struct sim_result){0};
    sim_setup(&sim);
    struct flight flight = {0};
    while (sim.final < (uint32_t)options->jobs && sim.now_ms < HOURS_MAX * 60LL * MINUTE &&
           sim.breaches == 0) {
        second(&sim, &flight);
    }
    result->ended_ms = sim.now_ms;
    result->fenced = (int64_t)sim.cluster.fenced;
    sim_check_end(&sim);
    for (int32_t i = 0; i < options->workers; i++) {
        sim_worker_release(&sim.workers[i]);
    }
    cluster_release(&sim.cluster);
    mem_free(flight.commands);
    mem_free(sim.heap);
    mem_free(sim.workers);
    mem_free(sim.jobs);
    mem_free(sim.job_of_id);
    mem_free(sim.attempts);
    arena_release(&sim.arena);
    mem_free(sim.tenants);
}
