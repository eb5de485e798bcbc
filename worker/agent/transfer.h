/* SPDX-License-Identifier: Apache-2.0
 *
 * transfer: the blobs that one attempt gets and sends, one after another, chunk by chunk.
 *
 * A queue: blobs to get, blobs to put, and marks. A mark is reached when everything before it has
 * arrived where it should; so "this checkpoint's blobs are in the store: report it" is one entry.
 * One chunk is under way at a time and is asked for again after TRANSFER_RETRY_MS, so a coordinator
 * that went away only delays. Blobs that are there already cost one message, or none.
 *
 * Attempts of one worker often want the same blob (a base, a dataset). Every chunk is told to all
 * of them, so one that is under way is asked for once: whom it comes for is noted in the worker's
 * arrivals.
 */
#ifndef TAILOR_WORKER_AGENT_TRANSFER_H
#define TAILOR_WORKER_AGENT_TRANSFER_H

#include "proto/worker.pb-c.h"
#include "worker/agent/cache.h"
#include "worker/agent/link.h"

enum {
    TRANSFER_CHUNK = 1 << 20,
    TRANSFER_RETRY_MS = 5000,
    TRANSFER_AWAIT_MS = 250, /* between two questions */
    TRANSFER_REFUSALS_MAX = 3,
    TRANSFER_ARRIVALS_MAX = 64 /* blobs; of more some chunks come twice */
};

/* Of each blob the chunk that was asked for last. All zero: none. */
struct transfer_arrivals {
    struct {
        char digest[SHA256_HEX_SIZE];
        int64_t offset, asked_ms;
    } items[TRANSFER_ARRIVALS_MAX];
    int next; /* to be overwritten */
};

/* AWAIT: another worker puts it; whether it is there is asked by a chunk without bytes. */
enum transfer_kind { TRANSFER_GET, TRANSFER_PUT, TRANSFER_AWAIT, TRANSFER_MARK };

struct transfer_item {
    enum transfer_kind kind;
    char digest[SHA256_HEX_SIZE];
    int mark;      /* what it says to its reader */
    int64_t bytes; /* AWAIT: its size */
};

struct transfer {
    const struct cache *cache;
    struct transfer_arrivals *arrivals; /* borrowed, as the cache is */
    const char *tenant;                 /* borrowed */
    struct transfer_item *items;
    int count, capacity;
    int64_t offset;   /* of the first item's next chunk */
    int64_t asked_ms; /* 0: nothing is under way */
    int refusals;
    int64_t awaited_ms; /* AWAIT: since when nothing of it has come; 0: not asked yet */
    bool full;          /* the store said that it has no room, and nothing else since */
    enum status status; /* not STATUS_OK: it has failed for good, and stands still */
    struct error error;
};

void transfer_add(struct transfer *transfer, enum transfer_kind kind, const char *digest, int mark);
void transfer_await(struct transfer *transfer, const char *digest, int64_t bytes);
/* How long the first entry has been awaited without a byte of it; 0: it is no AWAIT. */
int64_t transfer_awaited(const struct transfer *transfer, int64_t now_ms);
void transfer_skip(struct transfer *transfer); /* takes off all up to the next mark, and that */
void transfer_drop(struct transfer *transfer); /* takes off all */
/* A mark that has been reached is taken off and returned; −1: none. */
int transfer_turn(struct transfer *transfer, struct link *link, int64_t now_ms);
bool transfer_is_idle(const struct transfer *transfer);
void transfer_on_chunk(struct transfer *transfer, const Wire__BlobChunk *chunk);
void transfer_on_ack(struct transfer *transfer, const Wire__BlobAck *ack);
/* What was under way is asked for anew: the connection is another one. */
void transfer_again(struct transfer *transfer);
void transfer_release(struct transfer *transfer);

#endif
