/* SPDX-License-Identifier: Apache-2.0
 *
 * comm: the wire between the ranks of one attempt. Nothing above it knows which backend carries it.
 *
 *     struct comm *comm;
 *     TRY(comm_open(&(struct comm_options){.backend = COMM_SHM, .rank = 1, .world = 2, .term = 7,
 *                                          .name = "support-7", .timeout_ms = 30000}, &comm,
 * error)); TRY(comm_all_reduce(comm, gradient, count, &order, error)); comm_close(comm);
 *
 * Every function but comm_block, comm_abort and the getters is collective: all ranks call the same
 * functions in the same order with the same counts, roots and orders. Ranks that disagree get an
 * error, not wrong numbers.
 *
 * SUMS have one order, which is an argument: the same bits from every backend, and for a world of
 * any size whose orders are cuts of one tree (struct comm_order). NCCL too: it carries
 * contributions (ncclSend, ncclRecv) and a kernel of ours adds them. No sum is ncclAllReduce's or
 * ncclReduceScatter's, whose order is the ring's or tree's of that machine and world: two ranks
 * would not have the bits of one. The bytes on the wire are a ring's (collective.c).
 *
 * FAILURE. Any error of a member poisons the group: all members' present and later calls return
 * STATUS_COMMUNICATION and name the same first rank that failed. A process that is gone, or a
 * connection that is closed, is noticed at once; a rank that hangs, after timeout_ms without
 * progress. After an error data are undefined; what is left to do is comm_close. A stranger who
 * connects, whatever it sends, poisons nothing and delays nobody.
 *
 * GPUS. With COMM_NCCL spans and blocks are memory of this process's first GPU, and what wrote them
 * has been computed; on return they are there. The bytes of messages are the host's, and travel by
 * the backend `beneath`, as do agreement, liveness and failures, for which NCCL is not trusted: it
 * may hang where a peer is gone. Once a member has failed, NCCL's communicator is aborted on all
 * before they return. A call of NCCL that does not return, ncclCommAbort included, ends the process
 * with the exit code of STATUS_COMMUNICATION after it has told the others and comm_options.ending.
 * No step of NCCL has more than COMM_NCCL_STEP_MS. Where all ranks have begun a transfer and it
 * does not end, nobody can be named.
 *
 * SECURITY. tcp: both ends of a connection prove that they know the term's secret by
 * HMAC-SHA256 over fresh challenges; the payload is then sent in clear, so the network between
 * workers must be trusted to carry it unchanged. shm: a segment of the user alone (mode 0600), with
 * the same proof in it, without a name as soon as all have joined. nccl: its unique id goes from
 * rank 0 to the others by the backend beneath, once a term; what NCCL itself sends is neither
 * proved nor hidden.
 *
 * Threads: one caller at a time; comm_abort from any thread. Memory: `data` are the caller's, at
 * any alignment of a float. Hosts of one group have one byte order.
 */
#ifndef TAILOR_WORKER_COMM_COMM_H
#define TAILOR_WORKER_COMM_COMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/status.h"

enum {
    COMM_WORLD_MAX = 64,
    COMM_SECRET_BYTES = 32,
    COMM_STARTED_MAX = 256, /* sums that wait for comm_wait */
    COMM_BLOCK_FLOATS = 16, /* borders of blocks are multiples of this: 64 bytes */
    COMM_NCCL_STEP_MS = 120000
};

struct comm;

enum comm_backend {
    COMM_LOCAL, /* a world of one: nothing moves */
    COMM_SHM,   /* processes of one host and user, over POSIX shared memory */
    COMM_TCP,   /* processes anywhere; a connection between any two of them */
    COMM_NCCL   /* processes with a GPU each; in executables that link NCCL (comm_nccl_is_linked) */
};

struct comm_options {
    enum comm_backend backend;
    enum comm_backend beneath;         /* nccl: COMM_SHM or COMM_TCP, with what it needs below */
    int32_t rank, world;               /* 0 ≤ rank < world ≤ COMM_WORLD_MAX */
    uint64_t term;                     /* of the attempt: members of another term are strangers */
    uint8_t secret[COMM_SECRET_BYTES]; /* of the term, the same for all ranks */
    const char *name;                  /* shm: of the segment, [A-Za-z0-9._-], unique on the host */
    const char *const *endpoints;      /* tcp: (world) "host:port" or "[address]:port", by rank:
                                        * where each rank listens until all have joined */
    int64_t timeout_ms;                /* > 0: of joining, and of a collective without progress */
    /* nccl: told why the process ends, by another thread; NULL: only stderr is told */
    void (*ending)(const char *text);
};

/* In which order contributions are summed. x[r] is rank r's contribution; for each merge in turn
 *     x[into] = x[into] + x[from]        (element by element, fp32)
 * and the result is x[0]. count = world − 1; each rank but 0 is `from` once and not used after. */
struct comm_order {
    int32_t count;
    struct {
        int32_t into, from;
    } merge[COMM_WORLD_MAX - 1];
};

/* All ranks join, or all that came return STATUS_COMMUNICATION by the deadline and the text names
 * who is missing. By tcp a rank returns when it has joined every other; that two others cannot join
 * each other then shows in its first collective. STATUS_CONFLICT: name or port is taken;
 * STATUS_MEMORY: the segment does not fit; STATUS_USAGE: an endpoint cannot be parsed or resolved;
 * STATUS_UNSUPPORTED: NCCL is not linked in or too old, or no GPU can be used. */
enum status comm_open(const struct comm_options *options, struct comm **comm_out,
                      struct error *error);
/* Waits for a collective in flight (at most its deadline). Never waits for other ranks otherwise,
 * but with NCCL for a few seconds, until all close. */
void comm_close(struct comm *comm); /* NULL is allowed */

bool comm_nccl_is_linked(void);

/* Whether what it sums and gathers is memory of a GPU; the bytes of its messages never are. */
bool comm_on_device(const struct comm *comm);
int32_t comm_rank(const struct comm *comm);
int32_t comm_world(const struct comm *comm);
/* Rank `rank` owns elements [*begin, *end) of `count`: blocks are ascending, disjoint, together
 * everything, equal to within COMM_BLOCK_FLOATS; may be empty. */
void comm_block(const struct comm *comm, size_t count, int32_t rank, size_t *begin, size_t *end);

/* Elements [begin, end) of `data` (count), which is cut into blocks as a whole. */
struct comm_span {
    float *data;
    size_t count, begin, end;
};

/* On return so much of the span as lies in the own block holds the sum over ranks; the rest is as
 * before. */
enum status comm_reduce_scatter(struct comm *comm, struct comm_span span,
                                const struct comm_order *order, struct error *error);
/* Every rank's own block of `data` (count) goes to all. */
enum status comm_all_gather(struct comm *comm, float *data, size_t count, struct error *error);
/* The sum over ranks, everywhere. */
enum status comm_all_reduce(struct comm *comm, float *data, size_t count,
                            const struct comm_order *order, struct error *error);
/* `all` (world * bytes) gets every rank's `mine` (bytes), by rank. For counts, doubles, hashes. */
enum status comm_all_gather_bytes(struct comm *comm, const void *mine, size_t bytes, void *all,
                                  struct error *error);
enum status comm_broadcast(struct comm *comm, void *data, size_t bytes, int32_t root,
                           struct error *error);
enum status comm_barrier(struct comm *comm, struct error *error);

/* Sums beside the caller's compute, by a thread of the comm, in the order of their starts. From
 * _start until comm_wait returns the caller does not touch the span's elements, and calls nothing
 * but further _start, comm_wait, comm_abort and comm_close. The thread never spins: the cores are
 * the caller's. comm_wait waits for all, and returns what the first that failed did; `seconds_out`
 * (may be NULL): how long the thread was at it, waiting for other ranks included. */
enum comm_sum_to {
    COMM_TO_OWNERS /* as comm_reduce_scatter */,
    COMM_TO_ALL /* as comm_all_reduce */
};
enum status comm_sum_start(struct comm *comm, struct comm_span span, enum comm_sum_to to,
                           const struct comm_order *order, struct error *error);
enum status comm_wait(struct comm *comm, double *seconds_out, struct error *error);

/* The first rank that failed, once any call has returned STATUS_COMMUNICATION; otherwise −1, and
 * also −1 where ranks disagree about the collective. */
int32_t comm_failed_rank(const struct comm *comm);
/* Poisons the group in this rank's name: every member's present and later calls fail with `reason`
 * (cut at 95 bytes). */
void comm_abort(struct comm *comm, const char *reason);

#endif
