/* SPDX-License-Identifier: Apache-2.0
 *
 * registry: a dense array of workers, each with a small array of holds.
 *
 * Invariants: held is the sum of the holds' slots and never above offer.slots at the time of
 * taking; listening_ms never moves back and grows by at most REGISTRY_TICK_MAX_MS a tick. Rejected:
 * a deadline per worker in wall time, to be pushed after every kind of absence: each forgotten push
 * kills healthy jobs.
 */
#include "coordinator/registry.h"

#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"

void registry_init(struct registry *registry, int64_t lost_after_ms, int64_t now_ms)
{
    CHECK(lost_after_ms > 0);
    *registry = (struct registry){
        .lost_after_ms = lost_after_ms, .ticked_ms = now_ms, .by_id = map_create(0)};
}

static void holds_drop(struct worker *worker)
{
    mem_free(worker->holds);
    worker->holds = NULL;
    worker->hold_count = 0;
    worker->hold_capacity = 0;
    worker->held = 0;
}

void registry_release(struct registry *registry)
{
    for (uint32_t i = 0; i < registry->count; i++) {
        holds_drop(&registry->workers[i]);
    }
    mem_free(registry->workers);
    map_free(registry->by_id);
    *registry = (struct registry){0};
}

bool registry_find(const struct registry *registry, uint64_t id, uint32_t *index_out)
{
    uint64_t index;
    if (!map_get(registry->by_id, &id, sizeof(id), &index) ||
        registry->workers[index].state == WORKER_GONE || registry->workers[index].id != id) {
        return false;
    }
    *index_out = (uint32_t)index;
    return true;
}

/* What the clock of listening shows between two ticks. */
static int64_t listening_at(const struct registry *registry, int64_t now_ms)
{
    int64_t passed = now_ms - registry->ticked_ms;
    passed = passed < REGISTRY_TICK_MAX_MS ? passed : REGISTRY_TICK_MAX_MS;
    return registry->listening_ms + (passed > 0 ? passed : 0);
}

static uint32_t worker_add(struct registry *registry, uint64_t id)
{
    uint32_t index = 0;
    while (index < registry->count && registry->workers[index].state != WORKER_GONE) {
        index++;
    }
    if (index == registry->count) {
        if (registry->count == registry->capacity) {
            registry->capacity = registry->capacity ? registry->capacity * 2 : 16;
            registry->workers =
                mem_grow(registry->workers, size_mul(registry->capacity, sizeof(struct worker)));
        }
        registry->count++;
    }
    registry->workers[index] = (struct worker){.id = id, .state = WORKER_UP};
    uint64_t *place;
    map_put(registry->by_id, &id, sizeof(id), index, &place);
    *place = index; /* a forgotten worker that is back may lie elsewhere now */
    return index;
}

enum registry_news registry_hear(struct registry *registry, uint64_t id,
                                 const struct worker_offer *offer, int64_t now_ms,
                                 uint32_t *index_out)
{
    enum registry_news news = REGISTRY_KNOWN;
    uint32_t index;
    if (!registry_find(registry, id, &index)) {
        index = worker_add(registry, id);
        news = REGISTRY_NEW;
    } else if (registry->workers[index].offer.incarnation != offer->incarnation) {
        holds_drop(&registry->workers[index]);
        news = REGISTRY_RESTARTED;
    } else if (registry->workers[index].state == WORKER_LOST || registry->workers[index].unheard) {
        news = REGISTRY_BACK;
    }
    struct worker *worker = &registry->workers[index];
    worker->state = WORKER_UP;
    worker->unheard = false;
    worker->offer = *offer;
    worker->heard_ms = listening_at(registry, now_ms);
    *index_out = index;
    return news;
}

int32_t registry_tick(struct registry *registry, int64_t now_ms, uint32_t *lost, int32_t lost_max)
{
    registry->listening_ms = listening_at(registry, now_ms);
    registry->ticked_ms = now_ms > registry->ticked_ms ? now_ms : registry->ticked_ms;
    int32_t count = 0;
    for (uint32_t i = 0; i < registry->count && count < lost_max; i++) {
        struct worker *worker = &registry->workers[i];
        if (worker->state == WORKER_UP &&
            registry->listening_ms - worker->heard_ms >= registry->lost_after_ms) {
            worker->state = WORKER_LOST;
            lost[count++] = i;
        }
    }
    return count;
}

void registry_drain(struct registry *registry, uint32_t index, bool draining)
{
    CHECK(index < registry->count);
    registry->workers[index].draining = draining;
}

void registry_forget(struct registry *registry, uint32_t index)
{
    CHECK(index < registry->count);
    holds_drop(&registry->workers[index]);
    registry->workers[index].state = WORKER_GONE;
}

int32_t worker_free(const struct worker *worker)
{
    bool open =
        worker->state == WORKER_UP && !worker->draining && !worker->full && !worker->unheard;
    if (!open || worker->held >= worker->offer.slots) {
        return 0;
    }
    return worker->offer.slots - worker->held;
}

struct hold *worker_hold(struct worker *worker, uint64_t job, uint64_t term)
{
    for (int32_t i = 0; i < worker->hold_count; i++) {
        if (worker->holds[i].job == job && worker->holds[i].term == term) {
            return &worker->holds[i];
        }
    }
    return NULL;
}

struct hold *worker_take(struct worker *worker, uint64_t job, uint64_t term, int32_t slots)
{
    CHECK(slots > 0);
    CHECK(slots <= worker->offer.slots - worker->held);
    CHECK(worker_hold(worker, job, term) == NULL);
    if (worker->hold_count == worker->hold_capacity) {
        worker->hold_capacity = worker->hold_capacity ? worker->hold_capacity * 2 : 4;
        worker->holds =
            mem_grow(worker->holds, size_mul((size_t)worker->hold_capacity, sizeof(struct hold)));
    }
    struct hold *hold = &worker->holds[worker->hold_count++];
    *hold = (struct hold){.job = job, .term = term, .slots = slots};
    worker->held += slots;
    return hold;
}

int32_t worker_give(struct worker *worker, uint64_t job, uint64_t term)
{
    struct hold *hold = worker_hold(worker, job, term);
    if (!hold) {
        return 0;
    }
    int32_t slots = hold->slots;
    *hold = worker->holds[--worker->hold_count];
    worker->held -= slots;
    CHECK(worker->held >= 0);
    return slots;
}

void worker_warm(struct worker *worker, uint32_t object)
{
    int32_t at = 0;
    while (at < worker->warm_count && worker->warm[at] != object) {
        at++;
    }
    if (at == worker->warm_count && worker->warm_count < REGISTRY_WARM_MAX) {
        worker->warm_count++;
    } else if (at == worker->warm_count) {
        at = 0; /* the oldest makes room */
    }
    memmove(&worker->warm[at], &worker->warm[at + 1],
            (size_t)(worker->warm_count - 1 - at) * sizeof(*worker->warm));
    worker->warm[worker->warm_count - 1] = object;
}
