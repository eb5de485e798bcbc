/* SPDX-License-Identifier: Apache-2.0
 *
 * word_cache: the ids of short words seen lately, for one thread at a time.
 *
 * A table of fixed size in which a new word simply takes its place: text that wants to hurt it
 * makes misses, nothing worse. One entry is one cache line.
 */
#ifndef TAILOR_WORKER_DATA_WORD_CACHE_H
#define TAILOR_WORKER_DATA_WORD_CACHE_H

#include <stddef.h>
#include <stdint.h>

enum {
    WORD_CACHE_BYTES_MAX = 23, /* of a word: 24 with its length; longer ones are rare in text */
    WORD_CACHE_IDS_MAX = 9,
    WORD_CACHE_ENTRIES = 1 << 15 /* 2 MiB, a core's share of cache */
};

struct word_key {
    uint64_t parts[3]; /* the bytes, zero padded; the last byte is the length */
};

struct word_entry {
    struct word_key key; /* length 0: empty, equal to no word's */
    int32_t count;
    int32_t ids[WORD_CACHE_IDS_MAX];
};

struct word_cache;

struct word_cache *word_cache_create(void);
void word_cache_free(struct word_cache *cache);

/* The key of a word of 1 … WORD_CACHE_BYTES_MAX bytes; `readable` bytes from it on may be read. */
struct word_key word_key(const char *word, size_t length, size_t readable);
/* The place of a key, whatever it holds now: compare with word_key_equal, or fill it. */
struct word_entry *word_cache_entry(struct word_cache *cache, const struct word_key *key);

static inline int word_key_equal(const struct word_key *a, const struct word_key *b)
{
    return a->parts[0] == b->parts[0] && a->parts[1] == b->parts[1] && a->parts[2] == b->parts[2];
}

#endif
