/* SPDX-License-Identifier: Apache-2.0
 *
 * lru: values by name under a bound of bytes; the longest unused leaves first, and none that is in
 * use.
 *
 *     void *adapter = lru_take(&lru, digest);               // in use from here, or NULL
 *     if (adapter == NULL && lru_make_room(&lru, bytes))
 *         lru_add(&lru, digest, adapter = …, bytes);        // in use too
 *     … lru_give(&lru, digest) …                            // once for each take and add
 *
 * The bound holds for what is in the table: who makes a value before there is room for it has that
 * one besides. Few entries: they stand in an array and are looked through.
 */
#ifndef TAILOR_WORKER_TRAINER_LRU_H
#define TAILOR_WORKER_TRAINER_LRU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LRU_NAME_SIZE = 65 }; /* a digest in hex */

struct lru_entry {
    char name[LRU_NAME_SIZE];
    void *value;
    size_t bytes;
    int32_t users;
    int64_t used; /* a number that grows with every take */
};

struct lru {
    size_t bytes_max, bytes;
    void (*drop)(void *argument, void *value); /* a value leaves */
    void *argument;
    struct lru_entry *entries; /* owned */
    int32_t count, capacity;
    int64_t clock;
};

/* NULL: it is not here. Else it is in use until it is given back. */
void *lru_take(struct lru *lru, const char *name);
/* Lets values go until `bytes` more fit. False: they would not, even without all that nobody
 * uses; then nothing has gone. */
bool lru_make_room(struct lru *lru, size_t bytes);
void lru_add(struct lru *lru, const char *name, void *value, size_t bytes);
void lru_give(struct lru *lru, const char *name);
void lru_release(struct lru *lru); /* drops all */

#endif
