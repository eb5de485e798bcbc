/* SPDX-License-Identifier: Apache-2.0
 *
 * map: a power-of-two table of (hash, entry number) pairs beside a dense array of entries.
 *
 * Invariants: entries stay in insertion order and slots hold only numbers, so iteration never sees
 * the hash; at most 3/4 of the slots are taken. The hash is SipHash-1-3 under a per-process random
 * key. Rejected: multiply-fold hashes, which are faster by some nanoseconds, but have collisions
 * that hold for every seed; and deletion, which nobody needs.
 */
#include "lib/map.h"

#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/check.h"

struct entry {
    const char *key; /* in `keys`, NUL-terminated behind its length */
    size_t length;
    uint64_t value;
};

struct slot {
    uint32_t hash;
    uint32_t number; /* of the entry, from 1; 0: free */
};

struct map {
    struct slot *slots;
    size_t slot_count; /* a power of two */
    struct entry *entries;
    size_t count;
    size_t capacity;
    struct arena keys;
};

static uint64_t process_seed;
static pthread_once_t process_seed_once = PTHREAD_ONCE_INIT;

static void process_seed_init(void)
{
    if (getrandom(&process_seed, sizeof(process_seed), GRND_NONBLOCK) !=
        (ssize_t)sizeof(process_seed)) {
        struct timespec now; /* early boot, or a sandbox without the call: weaker, still unknown */
        clock_gettime(CLOCK_REALTIME, &now);
        process_seed = (uint64_t)now.tv_nsec * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)getpid();
    }
}

static uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

uint64_t hash_bytes(const void *data, size_t length, uint64_t seed)
{
    const uint8_t *bytes = data;
    uint64_t key1 = seed ^ UINT64_C(0xa0761d6478bd642f);
    uint64_t v[4] = {seed ^ UINT64_C(0x736f6d6570736575), key1 ^ UINT64_C(0x646f72616e646f6d),
                     seed ^ UINT64_C(0x6c7967656e657261), key1 ^ UINT64_C(0x7465646279746573)};
    size_t offset = 0;
    for (; offset + 8 <= length; offset += 8) {
        uint64_t word;
        memcpy(&word, bytes + offset, 8); /* little endian, like everything here */
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    uint64_t word = (uint64_t)length << 56;
    for (size_t i = 0; offset + i < length; i++) {
        word |= (uint64_t)bytes[offset + i] << (8 * i);
    }
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

struct map *map_create(size_t expected)
{
    pthread_once(&process_seed_once, process_seed_init);
    struct map *map = mem_alloc(sizeof(*map));
    map->slot_count = 16;
    while (map->slot_count / 4 * 3 < expected) {
        map->slot_count = size_mul(map->slot_count, 2);
    }
    map->slots = mem_alloc(size_mul(map->slot_count, sizeof(*map->slots)));
    map->capacity = expected < 16 ? 16 : expected;
    map->entries = mem_alloc(size_mul(map->capacity, sizeof(*map->entries)));
    return map;
}

void map_free(struct map *map)
{
    if (!map) {
        return;
    }
    arena_release(&map->keys);
    mem_free(map->entries);
    mem_free(map->slots);
    mem_free(map);
}

/* The slot that holds the key, or the free slot where it belongs. */
static struct slot *find(const struct map *map, const void *key, size_t length, uint32_t hash)
{
    size_t mask = map->slot_count - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct slot *slot = &map->slots[i];
        if (slot->number == 0) {
            return slot;
        }
        const struct entry *entry = &map->entries[slot->number - 1];
        if (slot->hash == hash && entry->length == length &&
            (length == 0 || memcmp(entry->key, key, length) == 0)) {
            return slot;
        }
    }
}

static void slots_double(struct map *map)
{
    size_t count = size_mul(map->slot_count, 2);
    struct slot *slots = mem_alloc(size_mul(count, sizeof(*slots)));
    for (size_t i = 0; i < map->slot_count; i++) {
        if (map->slots[i].number != 0) {
            size_t at = map->slots[i].hash & (count - 1);
            while (slots[at].number != 0) {
                at = (at + 1) & (count - 1);
            }
            slots[at] = map->slots[i];
        }
    }
    mem_free(map->slots);
    map->slots = slots;
    map->slot_count = count;
}

bool map_put(struct map *map, const void *key, size_t length, uint64_t value, uint64_t **value_out)
{
    uint32_t hash = (uint32_t)hash_bytes(key, length, process_seed);
    struct slot *slot = find(map, key, length, hash);
    bool fresh = slot->number == 0;
    if (fresh) {
        if (map->count + 1 > map->slot_count / 4 * 3) {
            slots_double(map);
            slot = find(map, key, length, hash);
        }
        if (map->count == map->capacity) {
            map->capacity = size_mul(map->capacity, 2);
            map->entries = mem_grow(map->entries, size_mul(map->capacity, sizeof(struct entry)));
        }
        CHECK(map->count < UINT32_MAX - 1);
        map->entries[map->count] =
            (struct entry){arena_strndup(&map->keys, key, length), length, value};
        map->count++;
        *slot = (struct slot){hash, (uint32_t)map->count};
    }
    if (value_out) {
        *value_out = &map->entries[slot->number - 1].value;
    }
    return fresh;
}

bool map_get(const struct map *map, const void *key, size_t length, uint64_t *value_out)
{
    uint32_t hash = (uint32_t)hash_bytes(key, length, process_seed);
    const struct slot *slot = find(map, key, length, hash);
    if (slot->number == 0) {
        return false;
    }
    if (value_out) {
        *value_out = map->entries[slot->number - 1].value;
    }
    return true;
}

size_t map_count(const struct map *map)
{
    return map->count;
}

const char *map_at(const struct map *map, size_t index, size_t *length_out, uint64_t *value_out)
{
    CHECK(index < map->count);
    const struct entry *entry = &map->entries[index];
    if (length_out) {
        *length_out = entry->length;
    }
    if (value_out) {
        *value_out = entry->value;
    }
    return entry->key;
}
