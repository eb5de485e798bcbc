/* SPDX-License-Identifier: Apache-2.0
 *
 * bpe: one word becomes token ids: initial symbols, then merges by rank, leftmost first.
 *
 *     struct bpe bpe = {0};
 *     bpe_create(&bpe);
 *     bpe_add_merge(&bpe, left, right, rank, joined);
 *     …
 *     struct bpe_scratch scratch = {0};
 *     bpe_word(&bpe, &scratch, word, length, &ids);
 *     bpe_scratch_release(&scratch);
 *     bpe_release(&bpe);
 *
 * Immutable once filled: any thread may call bpe_word with a scratch of its own. Time is
 * O(n log n) for a word of n bytes, whatever it holds.
 */
#ifndef TAILOR_WORKER_DATA_BPE_H
#define TAILOR_WORKER_DATA_BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/data/tokenizer.h"

enum { BPE_WORD_BYTES_MAX = INT32_MAX / 8 }; /* symbols, links and heap positions stay int32 */

struct pair_slot {
    uint64_t key;
    uint32_t rank;
    int32_t id;
};

/* Open addressing from a 64-bit key to (rank, id). */
struct pair_table {
    struct pair_slot *slots;
    uint64_t seed;
    unsigned bits; /* log2 of the number of slots */
    size_t count;
};

struct bpe {
    struct pair_table merges;     /* left << 32 | right */
    struct pair_table characters; /* code point → id; not for byte-level models */
    bool byte_level;
    int32_t bytes[256];    /* byte-level: the token of a byte, or -1 */
    int32_t fallback[256]; /* byte_fallback: the token <0xNN>, or -1 */
    int32_t unknown;    /* unk_token, or -1: what has no token is dropped, as Hugging Face does */
    bool unknown_fused; /* fuse_unk: neighbours become one token */
};

/* Working memory of one thread. Zero-initialise. */
struct bpe_scratch {
    struct ids symbols;
    int32_t *previous, *next;
    size_t links_capacity;
    uint64_t *heap;
    size_t heap_capacity;
    uint64_t
        steps; /* of merging long words, ever: entries taken from the heap, levels moved in it */
};

void bpe_create(struct bpe *bpe); /* no merges, no tokens; leaves the flags alone */
void bpe_release(struct bpe *bpe);
/* A pair that is added again takes the later rank, as in Hugging Face's map. */
void bpe_add_merge(struct bpe *bpe, int32_t left, int32_t right, uint32_t rank, int32_t joined);
void bpe_add_character(struct bpe *bpe, uint32_t code_point, int32_t id);
bool bpe_has_character(const struct bpe *bpe, uint32_t code_point);

/* Appends the ids of a word of at most BPE_WORD_BYTES_MAX bytes. */
void bpe_word(const struct bpe *bpe, struct bpe_scratch *scratch, const char *word, size_t length,
              struct ids *ids);
size_t bpe_scratch_size(const struct bpe_scratch *scratch); /* bytes held */
void bpe_scratch_release(struct bpe_scratch *scratch);

#endif
