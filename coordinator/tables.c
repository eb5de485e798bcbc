/* SPDX-License-Identifier: Apache-2.0
 *
 * tables: names to numbers, tenants, queues, members. Small arrays, searched from the front: two
 * hundred tenants and a thousand workers are looked up a few times a message at most.
 */
#include <string.h>
#include <time.h>

#include "coordinator/state.h"
#include "lib/check.h"
#include "lib/map.h"
#include "proto/message.h"

static int64_t clock_ms(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The calendar's time at the first call, and from there the steady clock's: a clock that somebody
 * sets must not end leases or back-offs. */
int64_t coordinator_now_ms(void)
{
    static int64_t offset;
    if (offset == 0)
        offset = clock_ms(CLOCK_REALTIME) - clock_ms(CLOCK_BOOTTIME);
    return offset + clock_ms(CLOCK_BOOTTIME);
}

int64_t now_read(struct coordinator *coordinator)
{
    int64_t now = coordinator_now_ms();
    coordinator->now_ms = now > coordinator->now_ms ? now : coordinator->now_ms;
    return coordinator->now_ms;
}

/* ---- names ----------------------------------------------------------------------------------- */

uint32_t names_number(struct names *names, const char *text)
{
    if (text == NULL || text[0] == '\0')
        return 0;
    if (names->map == NULL)
        names->map = map_create(0);
    uint64_t *number;
    map_put(names->map, text, strlen(text), map_count(names->map) + 1, &number);
    return (uint32_t)*number;
}

size_t names_count(const struct names *names)
{
    return names->map != NULL ? map_count(names->map) : 0;
}

uint32_t names_find(const struct names *names, const char *text)
{
    uint64_t number;
    bool found =
        text != NULL && names->map != NULL && map_get(names->map, text, strlen(text), &number);
    return found ? (uint32_t)number : 0;
}

const char *names_text(const struct names *names, uint32_t number)
{
    size_t length;
    uint64_t value;
    return number == 0 ? "" : map_at(names->map, number - 1, &length, &value);
}

void names_release(struct names *names)
{
    if (names->map != NULL)
        map_free(names->map);
    names->map = NULL;
}

/* ---- tenants and queues ---------------------------------------------------------------------- */

int32_t tenant_find(const struct coordinator *coordinator, const char *name)
{
    for (uint32_t i = 0; i < coordinator->cluster.tenant_count; i++)
        if (strcmp(coordinator->tenants[i].name, name) == 0)
            return (int32_t)i;
    return NO_TENANT;
}

void tenant_set(struct coordinator *coordinator, int32_t tenant, const Api__Tenant *row)
{
    struct cluster_tenant *it = &coordinator->cluster.tenants[tenant];
    if (row->has_weight && row->weight > 0)
        it->share.weight = row->weight;
    if (row->has_running_slots_max)
        it->quota.running_slots_max = (int32_t)row->running_slots_max;
    if (row->has_queued_jobs_max)
        it->quota.queued_jobs_max = (int32_t)row->queued_jobs_max;
    if (row->has_slot_hours_month_max)
        it->quota.month_slot_hours_max = (double)row->slot_hours_month_max;
    coordinator->cluster.dirty = true;
}

int32_t tenant_add(struct coordinator *coordinator, const Api__Tenant *row)
{
    struct quota quota = {0};
    CHECK(tenant_find(coordinator, row->name) == NO_TENANT);
    uint32_t index = cluster_add_tenant(&coordinator->cluster, 1, &quota, coordinator->now_ms);
    if (index == coordinator->tenant_capacity) {
        coordinator->tenant_capacity = index != 0 ? 2 * index : 16;
        coordinator->tenants =
            mem_grow(coordinator->tenants,
                     size_mul(coordinator->tenant_capacity, sizeof(*coordinator->tenants)));
    }
    struct tenant *tenant = &coordinator->tenants[index];
    *tenant = (struct tenant){.id = row->id};
    snprintf(tenant->name, sizeof(tenant->name), "%s", row->name);
    tenant_set(coordinator, (int32_t)index, row);
    return (int32_t)index;
}

uint32_t queue_get(struct coordinator *coordinator, const char *name)
{
    for (uint32_t i = 0; i < coordinator->cluster.queue_count; i++)
        if (strcmp(coordinator->queues[i].name, name) == 0)
            return i;
    uint32_t index = cluster_add_queue(&coordinator->cluster, 0);
    if (index == coordinator->queue_capacity) {
        coordinator->queue_capacity = index != 0 ? 2 * index : 8;
        coordinator->queues = mem_grow(coordinator->queues, size_mul(coordinator->queue_capacity,
                                                                     sizeof(*coordinator->queues)));
    }
    coordinator->queues[index].waiting = 0;
    snprintf(coordinator->queues[index].name, sizeof(coordinator->queues[index].name), "%s", name);
    return index;
}

/* ---- members --------------------------------------------------------------------------------- */

struct member *member_find(const struct coordinator *coordinator, int64_t id)
{
    for (uint32_t i = 0; i < coordinator->member_count; i++)
        if (coordinator->members[i]->id == id)
            return coordinator->members[i];
    return NULL;
}

struct member *member_add(struct coordinator *coordinator, const Api__Worker *row)
{
    if (coordinator->member_count == coordinator->member_capacity) {
        coordinator->member_capacity =
            coordinator->member_capacity != 0 ? 2 * coordinator->member_capacity : 16;
        coordinator->members =
            mem_grow(coordinator->members,
                     size_mul(coordinator->member_capacity, sizeof(*coordinator->members)));
    }
    struct member *member = mem_alloc(sizeof(*member));
    *member = (struct member){.id = row->id, .free_bytes = -1};
    member->row = message_copy(&member->arena, &row->base);
    coordinator->members[coordinator->member_count++] = member;
    return member;
}

void member_remove(struct coordinator *coordinator, struct member *member)
{
    uint32_t at = 0;
    while (coordinator->members[at] != member)
        at++;
    coordinator->members[at] = coordinator->members[--coordinator->member_count];
    mem_free(member->uses);
    arena_release(&member->cached_arena);
    arena_release(&member->gpus_arena);
    arena_release(&member->arena);
    mem_free(member);
}

bool member_index(const struct coordinator *coordinator, const struct member *member,
                  uint32_t *index_out)
{
    return registry_find(&coordinator->cluster.registry, (uint64_t)member->id, index_out);
}

/* ---- labels ---------------------------------------------------------------------------------- */

enum { LABEL_TEXT_MAX = 320 };

uint64_t worker_labels(const struct coordinator *coordinator, const Api__Worker *row)
{
    uint64_t bits = row->gpus > 0 ? LABEL_CUDA : LABEL_CPU;
    for (size_t i = 0; i < row->n_labels; i++) {
        char text[LABEL_TEXT_MAX];
        snprintf(text, sizeof(text), "%s=%s", row->labels[i]->key, row->labels[i]->value);
        uint32_t number = names_find(&coordinator->labels, text);
        bits |= number != 0 ? UINT64_C(1) << number : 0;
    }
    return bits;
}

uint64_t label_bit(struct coordinator *coordinator, const char *key, const char *value)
{
    char text[LABEL_TEXT_MAX];
    uint32_t index;
    snprintf(text, sizeof(text), "%s=%s", key, value);
    uint32_t number = names_find(&coordinator->labels, text);
    if (number != 0)
        return UINT64_C(1) << number;
    if (names_count(&coordinator->labels) == LABELS_ASKED_MAX)
        return 0;
    number = names_number(&coordinator->labels, text);
    for (uint32_t i = 0; i < coordinator->member_count; i++) {
        struct member *member = coordinator->members[i];
        member->offer.labels = worker_labels(coordinator, member->row);
        if (member_index(coordinator, member, &index))
            coordinator->cluster.registry.workers[index].offer.labels = member->offer.labels;
    }
    return UINT64_C(1) << number;
}

/* ---- caches ---------------------------------------------------------------------------------- */

void member_cached_set(struct member *member, char *const *digests, size_t count)
{
    arena_release(&member->cached_arena);
    member->cached = arena_array(&member->cached_arena, char *, count);
    member->cached_count = count;
    for (size_t i = 0; i < count; i++)
        member->cached[i] = arena_strdup(&member->cached_arena, digests[i]);
}

void member_cached_tell(struct coordinator *coordinator, struct member *member)
{
    uint32_t index;
    for (size_t i = 0; member_index(coordinator, member, &index) && i < member->cached_count; i++)
        cluster_warm(&coordinator->cluster, index,
                     names_find(&coordinator->warm, member->cached[i]));
}

static bool member_caches(const struct member *member, const char *digest)
{
    for (size_t i = 0; i < member->cached_count; i++)
        if (strcmp(member->cached[i], digest) == 0)
            return true;
    return false;
}

uint32_t warm_number(struct coordinator *coordinator, const char *digest)
{
    uint32_t index, known = names_find(&coordinator->warm, digest);
    if (known != 0)
        return known;
    uint32_t number = names_number(&coordinator->warm, digest);
    for (uint32_t i = 0; number != 0 && i < coordinator->member_count; i++) {
        struct member *member = coordinator->members[i];
        if (member_caches(member, digest) && member_index(coordinator, member, &index))
            cluster_warm(&coordinator->cluster, index, number);
    }
    return number;
}

/* ---- slots ----------------------------------------------------------------------------------- */

static struct slot_use *use_find(struct member *member, uint64_t job, uint64_t term)
{
    for (int32_t i = 0; i < member->use_count; i++)
        if (member->uses[i].job == job && member->uses[i].term == term)
            return &member->uses[i];
    return NULL;
}

static struct slot_use *use_add(struct member *member, uint64_t job, uint64_t term)
{
    if (member->use_count == member->use_capacity) {
        member->use_capacity = member->use_capacity != 0 ? 2 * member->use_capacity : 4;
        member->uses =
            mem_grow(member->uses, size_mul((size_t)member->use_capacity, sizeof(*member->uses)));
    }
    struct slot_use *use = &member->uses[member->use_count++];
    *use = (struct slot_use){.job = job, .term = term};
    return use;
}

void member_slots_restore(struct member *member, uint64_t job, uint64_t term, int64_t slot)
{
    struct slot_use *use = use_find(member, job, term);
    use = use != NULL ? use : use_add(member, job, term);
    if (use->count < RANKS_MAX)
        use->slots[use->count++] = slot;
}

static bool slot_is_used(const struct member *member, int64_t slot)
{
    for (int32_t i = 0; i < member->use_count; i++)
        for (int32_t k = 0; k < member->uses[i].count; k++)
            if (member->uses[i].slots[k] == slot)
                return true;
    return false;
}

const struct slot_use *member_slots(struct coordinator *coordinator, struct member *member,
                                    uint64_t job, uint64_t term, int32_t count)
{
    uint32_t index;
    CHECK(count <= RANKS_MAX);
    CHECK(member_index(coordinator, member, &index));
    struct worker *worker = &coordinator->cluster.registry.workers[index];
    for (int32_t i = 0; i < member->use_count;) {
        if (worker_hold(worker, member->uses[i].job, member->uses[i].term) == NULL)
            member->uses[i] = member->uses[--member->use_count];
        else
            i++;
    }
    struct slot_use *use = use_find(member, job, term);
    if (use != NULL)
        return use;
    use = use_add(member, job, term);
    for (int64_t slot = 0; use->count < count; slot++) {
        CHECK(slot < WORKER_SLOTS_MAX);
        if (!slot_is_used(member, slot))
            use->slots[use->count++] = slot;
    }
    return use;
}
