/* SPDX-License-Identifier: Apache-2.0
 *
 * collective: every collective as a sequence of exchanges (backend.h).
 *
 * Sums are by direct exchange: each rank gets its own block from every peer and adds in the given
 * order, then all blocks go to all. That moves the bytes of a ring, 2 (P − 1) / P of the data, in
 * two rounds instead of 2 (P − 1), and any order is possible, so that the bits need not depend on
 * the world. Rejected: ring, whose order differs from block to block; recursive halving, which has
 * one order and needs powers of two. The price is a connection between any two ranks, fine for the
 * tens of ranks that one reward model is trained by.
 *
 * Long data are streamed: while chunk i's contributions travel, the sums of chunk i − 1 travel with
 * them in the same exchange. Short data take one exchange: everybody gets all and adds all.
 */
#include <string.h>

#include "lib/check.h"
#include "lib/limits.h"
#include "worker/comm/backend.h"
#include "worker/comm/sum.h"

/* Below this, a second round costs more than that everybody adds everything. */
#define DIRECT_BYTES_MAX (32 * KIB)

const char *const comm_operation_names[COMM_OPERATIONS] = {
    "no collective",    "reduce_scatter", "all_gather", "all_reduce",
    "all_gather_bytes", "broadcast",      "barrier",
};

void comm_block(const struct comm *comm, size_t count, int32_t rank, size_t *begin, size_t *end)
{
    CHECK(rank >= 0 && rank < comm->world);
    size_t world = (size_t)comm->world, r = (size_t)rank;
    size_t units = count / COMM_BLOCK_FLOATS + (count % COMM_BLOCK_FLOATS > 0);
    /* units * r / world without the product */
    size_t first = units / world * r + units % world * r / world;
    size_t last = units / world * (r + 1) + units % world * (r + 1) / world;
    *begin = first * COMM_BLOCK_FLOATS < count ? first * COMM_BLOCK_FLOATS : count;
    *end = last * COMM_BLOCK_FLOATS < count ? last * COMM_BLOCK_FLOATS : count;
}

/* What `rank` owns of the span; nothing is begin = end. */
static void span_block(const struct comm *comm, const struct comm_span *span, int32_t rank,
                       size_t *begin, size_t *end)
{
    comm_block(comm, span->count, rank, begin, end);
    *begin = *begin > span->begin ? *begin : span->begin;
    *end = *end < span->end ? *end : span->end;
    *begin = *begin < *end ? *begin : *end;
}

/* Chunk `index` of `chunk` floats of what a rank owns; beyond its end, nothing. */
static struct comm_piece block_piece(const struct comm *comm, const struct comm_span *span,
                                     int32_t rank, size_t chunk, size_t index)
{
    size_t begin, end;
    span_block(comm, span, rank, &begin, &end);
    size_t from = (end - begin) / chunk < index ? end : begin + index * chunk;
    from = from < end ? from : end;
    size_t size = end - from < chunk ? end - from : chunk;
    return (struct comm_piece){span->data + from, size * sizeof(float)};
}

/* How many chunks the longest block has; at least one, so that ranks meet even for nothing. */
static size_t block_chunks(const struct comm *comm, const struct comm_span *span, size_t chunk)
{
    size_t longest = 1;
    for (int32_t r = 0; r < comm->world; r++) {
        size_t begin, end;
        span_block(comm, span, r, &begin, &end);
        longest = end - begin > longest ? end - begin : longest;
    }
    return (longest - 1) / chunk + 1;
}

static enum status sum_piece(struct comm *comm, struct comm_piece own,
                             const struct comm_piece *others, const struct comm_order *order,
                             struct error *error)
{
    float *x[COMM_WORLD_MAX];
    for (int32_t r = 0; r < comm->world; r++) {
        x[r] = r == comm->rank ? own.data : others[r].data;
    }
    return comm_sum_run(comm, own.data, x, order, own.bytes / sizeof(float), error);
}

/* The sums of blocks, and in the same exchanges their way to all if `gather`. */
static enum status reduce_blocks(struct comm *comm, struct comm_agreement agreement,
                                 const struct comm_span *span, const struct comm_order *order,
                                 bool gather, struct error *error)
{
    size_t bytes = gather && comm->same_bytes_max < comm->to_bytes_max ? comm->same_bytes_max
                                                                       : comm->to_bytes_max;
    size_t chunk = bytes / sizeof(float);
    size_t chunks = block_chunks(comm, span, chunk);
    for (size_t i = 0; i < chunks + gather; i++) {
        struct comm_exchange exchange = {.agreement = agreement};
        struct comm_piece own = block_piece(comm, span, comm->rank, chunk, i);
        for (int32_t r = 0; r < comm->world; r++) {
            exchange.to[r] = block_piece(comm, span, r, chunk, i);
            exchange.from[r].bytes = own.bytes;
            if (gather && i > 0) {
                exchange.all[r] = block_piece(comm, span, r, chunk, i - 1);
            }
        }
        exchange.same = exchange.all[comm->rank];
        TRY(comm_exchange_run(comm, &exchange, error));
        if (own.bytes > 0) {
            TRY(sum_piece(comm, own, exchange.from, order, error));
        }
    }
    return STATUS_OK;
}

/* Everybody gets everything and adds everything. */
static enum status reduce_direct(struct comm *comm, struct comm_agreement agreement, float *data,
                                 size_t count, const struct comm_order *order, struct error *error)
{
    struct comm_exchange exchange = {.agreement = agreement, .same = {data, count * sizeof(float)}};
    for (int32_t r = 0; r < comm->world; r++) {
        exchange.all[r].bytes = count * sizeof(float);
    }
    TRY(comm_exchange_run(comm, &exchange, error));
    return sum_piece(comm, exchange.same, exchange.all, order, error);
}

/* Every rank's `mine` of `all`, rank r's to be found at all[r]. */
static enum status gather_pieces(struct comm *comm, struct comm_agreement agreement,
                                 const struct comm_piece *all, struct error *error)
{
    size_t offset = 0, longest = 0;
    for (int32_t r = 0; r < comm->world; r++) {
        longest = all[r].bytes > longest ? all[r].bytes : longest;
    }
    do {
        struct comm_exchange exchange = {.agreement = agreement};
        for (int32_t r = 0; r < comm->world; r++) {
            size_t left = all[r].bytes > offset ? all[r].bytes - offset : 0;
            exchange.all[r].data = left > 0 ? (char *)all[r].data + offset : NULL;
            exchange.all[r].bytes = left < comm->same_bytes_max ? left : comm->same_bytes_max;
        }
        exchange.same = exchange.all[comm->rank];
        TRY(comm_exchange_run(comm, &exchange, error));
        offset += comm->same_bytes_max;
    } while (offset < longest);
    return STATUS_OK;
}

/* ---- the public functions, each alone with the transport ---------------------------------------
 */

enum status comm_reduce_scatter(struct comm *comm, struct comm_span span,
                                const struct comm_order *order, struct error *error)
{
    CHECK(span.begin <= span.end && span.end <= span.count);
    comm_order_check(order, comm->world);
    struct comm_agreement agreement = {COMM_REDUCE_SCATTER, comm_order_hash(order),
                                       span.end - span.begin};
    comm_begin(comm);
    return comm_end(comm, reduce_blocks(comm, agreement, &span, order, false, error));
}

enum status comm_all_reduce(struct comm *comm, float *data, size_t count,
                            const struct comm_order *order, struct error *error)
{
    comm_order_check(order, comm->world);
    struct comm_agreement agreement = {COMM_ALL_REDUCE, comm_order_hash(order), count};
    struct comm_span span = {data, count, 0, count};
    comm_begin(comm);
    bool direct =
        count <= DIRECT_BYTES_MAX / sizeof(float) && count <= comm->same_bytes_max / sizeof(float);
    return comm_end(comm, direct ? reduce_direct(comm, agreement, data, count, order, error)
                                 : reduce_blocks(comm, agreement, &span, order, true, error));
}

enum status comm_all_gather(struct comm *comm, float *data, size_t count, struct error *error)
{
    struct comm_agreement agreement = {COMM_ALL_GATHER, 0, count};
    struct comm_piece all[COMM_WORLD_MAX];
    for (int32_t r = 0; r < comm->world; r++) {
        size_t begin, end;
        comm_block(comm, count, r, &begin, &end);
        all[r] = (struct comm_piece){data + begin, (end - begin) * sizeof(float)};
    }
    comm_begin(comm);
    return comm_end(comm, gather_pieces(comm, agreement, all, error));
}

enum status comm_all_gather_bytes(struct comm *comm, const void *mine, size_t bytes, void *all,
                                  struct error *error)
{
    struct comm_agreement agreement = {COMM_ALL_GATHER_BYTES, 0, bytes};
    struct comm_piece pieces[COMM_WORLD_MAX];
    for (int32_t r = 0; r < comm->world; r++) {
        pieces[r] = (struct comm_piece){(char *)all + size_mul((size_t)r, bytes), bytes};
    }
    if (bytes > 0) {
        memmove(pieces[comm->rank].data, mine, bytes);
    }
    comm = comm_host(comm);
    comm_begin(comm);
    return comm_end(comm, gather_pieces(comm, agreement, pieces, error));
}

enum status comm_broadcast(struct comm *comm, void *data, size_t bytes, int32_t root,
                           struct error *error)
{
    CHECK(root >= 0 && root < comm->world);
    struct comm_agreement agreement = {COMM_BROADCAST, (uint32_t)root, bytes};
    struct comm_piece pieces[COMM_WORLD_MAX] = {0};
    pieces[root] = (struct comm_piece){data, bytes};
    comm = comm_host(comm);
    comm_begin(comm);
    return comm_end(comm, gather_pieces(comm, agreement, pieces, error));
}

enum status comm_barrier(struct comm *comm, struct error *error)
{
    struct comm_exchange exchange = {.agreement = {COMM_BARRIER, 0, 0}};
    comm = comm_host(comm);
    comm_begin(comm);
    return comm_end(comm, comm_exchange_run(comm, &exchange, error));
}
