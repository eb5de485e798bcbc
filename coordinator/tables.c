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

const char *names_text(const struct names *names, uint32_t number)
{
    size_t length;
    uint64_t value;
    return number == 0 ? "" : map_at(names->map, number - 1, &length, &value);
}

uint32_t names_count(const struct names *names)
{
    return 1 + (names->map != NULL ? (uint32_t)map_count(names->map) : 0);
}

/* ---- tenants and queues ---------------------------------------------------------------------- */

struct tenant *tenant_find(struct coordinator *coordinator, const char *name)
{
    for (uint32_t i = 0; i < coordinator->tenant_count; i++)
        if (strcmp(coordinator->tenants[i].name, name) == 0)
            return &coordinator->tenants[i];
    return NULL;
}

uint32_t tenant_index(const struct coordinator *coordinator, const struct tenant *tenant)
{
    return (uint32_t)(tenant - coordinator->tenants);
}

void tenant_set(struct tenant *tenant, const Api__Tenant *row)
{
    struct quota *quota = &tenant->quota;
    if (row->has_weight)
        tenant->share.weight = row->weight > 0 ? row->weight : 1;
    if (row->has_running_slots_max)
        quota->running_slots_max = (int32_t)row->running_slots_max;
    if (row->has_queued_jobs_max)
        quota->queued_jobs_max = (int32_t)row->queued_jobs_max;
    if (row->has_slot_hours_month_max)
        quota->month_slot_hours_max = (double)row->slot_hours_month_max;
}

struct tenant *tenant_add(struct coordinator *coordinator, const Api__Tenant *row)
{
    CHECK(tenant_find(coordinator, row->name) == NULL);
    if (coordinator->tenant_count == coordinator->tenant_capacity) {
        coordinator->tenant_capacity =
            coordinator->tenant_capacity != 0 ? 2 * coordinator->tenant_capacity : 16;
        coordinator->tenants =
            mem_grow(coordinator->tenants,
                     size_mul(coordinator->tenant_capacity, sizeof(*coordinator->tenants)));
    }
    struct tenant *tenant = &coordinator->tenants[coordinator->tenant_count++];
    *tenant = (struct tenant){.id = row->id,
                              .share = {.at_ms = coordinator->now_ms, .weight = 1},
                              .use = {.month = quota_month(coordinator->now_ms)}};
    snprintf(tenant->name, sizeof(tenant->name), "%s", row->name);
    tenant_set(tenant, row);
    return tenant;
}

struct queue *queue_get(struct coordinator *coordinator, const char *name)
{
    for (uint32_t i = 0; i < coordinator->queue_count; i++)
        if (strcmp(coordinator->queues[i].name, name) == 0)
            return &coordinator->queues[i];
    if (coordinator->queue_count == coordinator->queue_capacity) {
        coordinator->queue_capacity =
            coordinator->queue_capacity != 0 ? 2 * coordinator->queue_capacity : 8;
        coordinator->queues =
            mem_grow(coordinator->queues,
                     size_mul(coordinator->queue_capacity, sizeof(*coordinator->queues)));
    }
    struct queue *queue = &coordinator->queues[coordinator->queue_count++];
    *queue = (struct queue){.priority = 0};
    snprintf(queue->name, sizeof(queue->name), "%s", name);
    return queue;
}

/* ---- members --------------------------------------------------------------------------------- */

struct member *member_find(struct coordinator *coordinator, int64_t id)
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
    *member = (struct member){.id = row->id, .charged_ms = coordinator->now_ms};
    member->row = message_new(&member->arena, &api__worker__descriptor);
    member->row->id = row->id;
    member->row->has_id = true;
    member->row->created_ms = row->created_ms;
    member->row->has_created_ms = true;
    member->row->name = arena_strdup(&member->arena, row->name != NULL ? row->name : "worker");
    member->row->public_key =
        row->public_key != NULL ? arena_strdup(&member->arena, row->public_key) : NULL;
    coordinator->members[coordinator->member_count++] = member;
    return member;
}

struct worker *member_worker(struct coordinator *coordinator, int64_t id)
{
    uint32_t index;
    return registry_find(&coordinator->registry, (uint64_t)id, &index)
               ? &coordinator->registry.workers[index]
               : NULL;
}
