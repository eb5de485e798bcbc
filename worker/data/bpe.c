/* SPDX-License-Identifier: Apache-2.0
 *
 * bpe: two ways to the same result. A short word looks for its lowest rank by eye: arrays of a few
 * symbols are scanned faster than a heap is kept. A long one uses a heap of (rank, position) over a
 * linked list, so that a megabyte of one letter stays O(n log n).
 *
 * Invariants:
 * 1. Among candidates the lowest rank wins, then the leftmost position: Hugging Face's order.
 * 2. A heap entry counts only while its pair still has that rank. The strings of symbols only grow,
 *    so a pair that changed never comes back, and an entry is never taken for another pair's.
 * 3. The table's hash is seeded: pairs come from a stranger's file.
 * Rejected: backtracking over an automaton of all tokens (faster, but equal to merging by rank only
 * for vocabularies whose ranks are consistent, which a file need not be).
 */
#include "worker/data/bpe.h"

#include <string.h>
#include <time.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/map.h"
#include "lib/text.h"
#include "worker/data/byte_level.h"

enum {
    SHORT_MAX = 32, /* symbols */
    TABLE_BITS_FIRST = 8
};

#define KEY_FREE  UINT64_MAX
#define RANK_NONE UINT32_MAX

static uint64_t pair_key(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static void table_create(struct pair_table *table, unsigned bits)
{
    size_t count = (size_t)1 << bits;
    struct timespec now;
    *table = (struct pair_table){.bits = bits};
    table->slots = mem_alloc(size_mul(count, sizeof(*table->slots)));
    for (size_t i = 0; i < count; i++) {
        table->slots[i].key = KEY_FREE;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    table->seed = hash_bytes(&table->slots, sizeof(table->slots), (uint64_t)now.tv_nsec);
}

static void table_release(struct pair_table *table)
{
    mem_free(table->slots);
    *table = (struct pair_table){0};
}

/* The slot that holds the key, or the free one where it belongs. */
static inline struct pair_slot *table_slot(const struct pair_table *table, uint64_t key)
{
    uint64_t hash = (key ^ table->seed) * UINT64_C(0x9e3779b97f4a7c15);
    hash = (hash ^ hash >> 32) * UINT64_C(0xd6e8feb86659fd93);
    size_t mask = ((size_t)1 << table->bits) - 1;
    size_t at = (size_t)(hash >> (64 - table->bits));
    while (table->slots[at].key != key && table->slots[at].key != KEY_FREE) {
        at = (at + 1) & mask;
    }
    return &table->slots[at];
}

/* At most half of the slots are taken, so that chains stay short. */
static void table_put(struct pair_table *table, uint64_t key, uint32_t rank, int32_t id)
{
    CHECK(key != KEY_FREE);
    struct pair_slot *slot = table_slot(table, key);
    if (slot->key == KEY_FREE && (table->count + 1) * 2 > (size_t)1 << table->bits) {
        struct pair_table old = *table;
        table_create(table, old.bits + 1);
        table->count = old.count;
        for (size_t i = 0; i < (size_t)1 << old.bits; i++) {
            if (old.slots[i].key != KEY_FREE) {
                *table_slot(table, old.slots[i].key) = old.slots[i];
            }
        }
        table_release(&old);
        slot = table_slot(table, key);
    }
    table->count += slot->key == KEY_FREE;
    *slot = (struct pair_slot){key, rank, id};
}

/* Rank of a pair (RANK_NONE: none) and the token it makes. */
static inline uint32_t merge_rank(const struct bpe *bpe, int32_t left, int32_t right,
                                  int32_t *joined_out)
{
    const struct pair_slot *slot = table_slot(&bpe->merges, pair_key(left, right));
    *joined_out = slot->id;
    return slot->key == KEY_FREE ? RANK_NONE : slot->rank;
}

void bpe_create(struct bpe *bpe)
{
    table_create(&bpe->merges, TABLE_BITS_FIRST);
    table_create(&bpe->characters, TABLE_BITS_FIRST);
    bpe->unknown = -1;
    for (int i = 0; i < 256; i++) {
        bpe->bytes[i] = -1;
        bpe->fallback[i] = -1;
    }
}

void bpe_release(struct bpe *bpe)
{
    table_release(&bpe->merges);
    table_release(&bpe->characters);
}

void bpe_add_merge(struct bpe *bpe, int32_t left, int32_t right, uint32_t rank, int32_t joined)
{
    CHECK(left >= 0 && right >= 0 && joined >= 0 && rank != RANK_NONE);
    table_put(&bpe->merges, pair_key(left, right), rank, joined);
}

void bpe_add_character(struct bpe *bpe, uint32_t code_point, int32_t id)
{
    CHECK(id >= 0);
    table_put(&bpe->characters, code_point, 0, id);
}

static int32_t character_id(const struct bpe *bpe, uint32_t code_point)
{
    const struct pair_slot *slot = table_slot(&bpe->characters, code_point);
    return slot->key == KEY_FREE ? -1 : slot->id;
}

bool bpe_has_character(const struct bpe *bpe, uint32_t code_point)
{
    return character_id(bpe, code_point) >= 0;
}

/* A character without a token: its bytes' tokens where all of them exist, else unk, else nothing.
 * The pending unk is not flushed before bytes: so does Hugging Face, and only a vocabulary with
 * some of the byte tokens can tell. */
static void symbol_missing(const struct bpe *bpe, const char *bytes, size_t count, bool *pending,
                           struct ids *symbols)
{
    size_t known = 0;
    while (known < count && bpe->fallback[(unsigned char)bytes[known]] >= 0) {
        known++;
    }
    if (known == count) {
        for (size_t i = 0; i < count; i++) {
            ids_push(symbols, bpe->fallback[(unsigned char)bytes[i]]);
        }
    } else if (bpe->unknown >= 0) {
        if (*pending && !bpe->unknown_fused) {
            ids_push(symbols, bpe->unknown);
        }
        *pending = true;
    }
}

static void symbols_start(const struct bpe *bpe, const char *word, size_t length,
                          struct ids *symbols)
{
    bool pending = false; /* an unk that waits for more of its kind */
    symbols->count = 0;
    for (size_t at = 0; at < length;) {
        size_t start = at;
        int32_t id = bpe->byte_level ? bpe->bytes[(unsigned char)word[at++]]
                                     : character_id(bpe, utf8_next(word, length, &at));
        if (id >= 0) {
            if (pending) {
                ids_push(symbols, bpe->unknown);
                pending = false;
            }
            ids_push(symbols, id);
        } else if (bpe->byte_level) {
            char character[4];
            size_t size = utf8_put(byte_level_char((uint8_t)word[start]), character);
            symbol_missing(bpe, character, size, &pending, symbols);
        } else {
            symbol_missing(bpe, word + start, at - start, &pending, symbols);
        }
    }
    if (pending) {
        ids_push(symbols, bpe->unknown);
    }
}

/* Merges in place; returns the new count. */
static size_t merge_short(const struct bpe *bpe, int32_t *symbols, size_t count)
{
    uint32_t ranks[SHORT_MAX];
    int32_t joined[SHORT_MAX];
    CHECK(count <= SHORT_MAX);
    for (size_t i = 0; i + 1 < count; i++) {
        ranks[i] = merge_rank(bpe, symbols[i], symbols[i + 1], &joined[i]);
    }
    while (count > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < count; i++) {
            best = ranks[i] < ranks[best] ? i : best;
        }
        if (ranks[best] == RANK_NONE) {
            break;
        }
        symbols[best] = joined[best];
        count--;
        for (size_t i = best + 1; i < count; i++) {
            symbols[i] = symbols[i + 1];
            ranks[i - 1] = ranks[i];
            joined[i - 1] = joined[i];
        }
        if (best > 0) {
            ranks[best - 1] = merge_rank(bpe, symbols[best - 1], symbols[best], &joined[best - 1]);
        }
        if (best + 1 < count) {
            ranks[best] = merge_rank(bpe, symbols[best], symbols[best + 1], &joined[best]);
        }
    }
    return count;
}

/* Both return how many levels they went. */
static uint64_t heap_sink(uint64_t *heap, size_t count, size_t at)
{
    uint64_t value = heap[at], levels = 0;
    for (;; levels++) {
        size_t child = 2 * at + 1;
        if (child >= count) {
            break;
        }
        if (child + 1 < count && heap[child + 1] < heap[child]) {
            child++;
        }
        if (heap[child] >= value) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = value;
    return levels;
}

static uint64_t heap_rise(uint64_t *heap, size_t at)
{
    uint64_t value = heap[at], levels = 0;
    for (; at > 0 && heap[(at - 1) / 2] > value; levels++) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = value;
    return levels;
}

/* Adds the pair at `left` to the end of the heap's array, if it has a rank. */
static bool heap_append(const struct bpe *bpe, const int32_t *symbols, int32_t left, int32_t right,
                        uint64_t *heap, size_t *heap_count)
{
    int32_t joined;
    uint32_t rank = merge_rank(bpe, symbols[left], symbols[right], &joined);
    if (rank != RANK_NONE) {
        heap[(*heap_count)++] = (uint64_t)rank << 32 | (uint32_t)left;
    }
    return rank != RANK_NONE;
}

static void scratch_reserve(struct bpe_scratch *scratch, size_t count)
{
    if (count > scratch->links_capacity) {
        scratch->previous = mem_grow(scratch->previous, size_mul(count, sizeof(int32_t)));
        scratch->next = mem_grow(scratch->next, size_mul(count, sizeof(int32_t)));
        scratch->links_capacity = count;
    }
    /* At most count - 1 entries at the start, and every merge takes one out and puts two in. */
    if (2 * count > scratch->heap_capacity) {
        scratch->heap = mem_grow(scratch->heap, size_mul(2 * count, sizeof(uint64_t)));
        scratch->heap_capacity = 2 * count;
    }
}

static size_t merge_long(const struct bpe *bpe, struct bpe_scratch *scratch, int32_t *symbols,
                         size_t count)
{
    scratch_reserve(scratch, count);
    int32_t *previous = scratch->previous;
    int32_t *next = scratch->next; /* -1: the last; symbols[i] becomes -1 when i is merged away */
    uint64_t *heap = scratch->heap;
    size_t heap_count = 0;
    int32_t end = (int32_t)count;
    for (int32_t i = 0; i < end; i++) {
        previous[i] = i - 1;
        next[i] = i + 1 < end ? i + 1 : -1;
        if (next[i] >= 0) {
            heap_append(bpe, symbols, i, i + 1, heap, &heap_count);
        }
    }
    for (size_t i = heap_count / 2; i-- > 0;) {
        scratch->steps += heap_sink(heap, heap_count, i);
    }
    for (; heap_count > 0; scratch->steps++) {
        uint32_t rank = (uint32_t)(heap[0] >> 32);
        int32_t left = (int32_t)(uint32_t)heap[0];
        heap[0] = heap[--heap_count];
        if (heap_count > 0) {
            scratch->steps += heap_sink(heap, heap_count, 0);
        }
        int32_t right = symbols[left] >= 0 ? next[left] : -1;
        int32_t joined;
        if (right < 0 || merge_rank(bpe, symbols[left], symbols[right], &joined) != rank) {
            continue;
        }
        symbols[left] = joined;
        symbols[right] = -1;
        next[left] = next[right];
        if (next[left] >= 0) {
            previous[next[left]] = left;
        }
        if (previous[left] >= 0 &&
            heap_append(bpe, symbols, previous[left], left, heap, &heap_count)) {
            scratch->steps += heap_rise(heap, heap_count - 1);
        }
        if (next[left] >= 0 && heap_append(bpe, symbols, left, next[left], heap, &heap_count)) {
            scratch->steps += heap_rise(heap, heap_count - 1);
        }
    }
    size_t kept = 0;
    for (int32_t i = 0; i < end; i++) {
        if (symbols[i] >= 0) {
            symbols[kept++] = symbols[i];
        }
    }
    return kept;
}

void bpe_word(const struct bpe *bpe, struct bpe_scratch *scratch, const char *word, size_t length,
              struct ids *ids)
{
    CHECK(length <= BPE_WORD_BYTES_MAX);
    struct ids *symbols = &scratch->symbols;
    symbols_start(bpe, word, length, symbols);
    size_t count = symbols->count <= SHORT_MAX
                       ? merge_short(bpe, symbols->items, symbols->count)
                       : merge_long(bpe, scratch, symbols->items, symbols->count);
    ids_append(ids, symbols->items, count);
}

size_t bpe_scratch_size(const struct bpe_scratch *scratch)
{
    return scratch->symbols.capacity * sizeof(int32_t) +
           scratch->links_capacity * 2 * sizeof(int32_t) +
           scratch->heap_capacity * sizeof(uint64_t);
}

void bpe_scratch_release(struct bpe_scratch *scratch)
{
    ids_release(&scratch->symbols);
    mem_free(scratch->previous);
    mem_free(scratch->next);
    mem_free(scratch->heap);
    *scratch = (struct bpe_scratch){0};
}
