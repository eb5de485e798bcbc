/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/trainer/lru.h"

#include <stdio.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/check.h"

static struct lru_entry *find(struct lru *lru, const char *name)
{
    for (int32_t i = 0; i < lru->count; i++) {
        if (strcmp(lru->entries[i].name, name) == 0) {
            return &lru->entries[i];
        }
    }
    return NULL;
}

void *lru_take(struct lru *lru, const char *name)
{
    struct lru_entry *entry = find(lru, name);
    if (entry == NULL) {
        return NULL;
    }
    entry->users++;
    entry->used = ++lru->clock;
    return entry->value;
}

static size_t bytes_unused(const struct lru *lru)
{
    size_t bytes = 0;
    for (int32_t i = 0; i < lru->count; i++) {
        bytes += lru->entries[i].users == 0 ? lru->entries[i].bytes : 0;
    }
    return bytes;
}

static struct lru_entry *oldest_unused(struct lru *lru)
{
    struct lru_entry *oldest = NULL;
    for (int32_t i = 0; i < lru->count; i++) {
        struct lru_entry *entry = &lru->entries[i];
        if (entry->users == 0 && (oldest == NULL || entry->used < oldest->used)) {
            oldest = entry;
        }
    }
    return oldest;
}

bool lru_make_room(struct lru *lru, size_t bytes)
{
    if (bytes > lru->bytes_max || lru->bytes - bytes_unused(lru) > lru->bytes_max - bytes) {
        return false;
    }
    while (lru->bytes > lru->bytes_max - bytes) {
        struct lru_entry *entry = oldest_unused(lru);
        lru->bytes -= entry->bytes;
        lru->drop(lru->argument, entry->value);
        *entry = lru->entries[--lru->count];
    }
    return true;
}

void lru_add(struct lru *lru, const char *name, void *value, size_t bytes)
{
    CHECK(find(lru, name) == NULL && strlen(name) < LRU_NAME_SIZE);
    CHECK(lru->bytes + bytes <= lru->bytes_max); /* room has been made */
    if (lru->count == lru->capacity) {
        lru->capacity = lru->capacity > 0 ? 2 * lru->capacity : 64;
        lru->entries =
            mem_grow(lru->entries, size_mul((size_t)lru->capacity, sizeof(*lru->entries)));
    }
    struct lru_entry *entry = &lru->entries[lru->count++];
    *entry = (struct lru_entry){.value = value, .bytes = bytes, .users = 1, .used = ++lru->clock};
    snprintf(entry->name, sizeof(entry->name), "%s", name);
    lru->bytes += bytes;
}

void lru_give(struct lru *lru, const char *name)
{
    struct lru_entry *entry = find(lru, name);
    CHECK(entry != NULL && entry->users > 0);
    entry->users--;
}

void lru_release(struct lru *lru)
{
    for (int32_t i = 0; i < lru->count; i++) {
        lru->drop(lru->argument, lru->entries[i].value);
    }
    mem_free(lru->entries);
    lru->entries = NULL;
    lru->count = lru->capacity = 0;
    lru->bytes = 0;
}
