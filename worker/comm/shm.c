/* SPDX-License-Identifier: Apache-2.0
 *
 * shm: an exchange by two copies, one into the own window and one out of the others'.
 *
 * A rank fills its window of this turn, posts the sequence number, and waits until every other rank
 * has posted it. Invariant: a rank posts exchange n + 1 only when it is done with the others'
 * windows of n, so whoever has seen all posts of n + 1 may fill the window of n again. Two windows
 * are therefore enough, without a word from the readers. Sums read the others' windows in place.
 *
 * A waiting rank spins for as long as a sleep and a wake take, if every rank can have a core;
 * otherwise it lets others run; not at all beside its rank's compute. Then it sleeps, and looks up
 * now and then for the dead.
 */
#include "worker/comm/shm.h"

#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/check.h"

enum { SPIN_US = 50, SPIN_BATCH = 64 };

void futex_sleep(_Atomic uint32_t *word, uint32_t seen, int64_t us)
{
    struct timespec limit = {us / 1000000, us % 1000000 * 1000};
    /* Woken, changed meanwhile, interrupted or in time: the caller looks again in every case. */
    syscall(SYS_futex, word, FUTEX_WAIT, seen, &limit, NULL, 0);
}

void futex_wake_all(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, COMM_WORLD_MAX, NULL, NULL, 0);
}

static enum status open_shm(struct comm *comm, const struct comm_options *options,
                            struct error *error)
{
    struct shm *shm = mem_alloc(sizeof(*shm));
    shm->fd = -1;
    shm->spins = comm_spins(options->world);
    comm->transport = shm;
    return shm_join(comm, shm, options, error);
}

static void close_shm(struct comm *comm)
{
    struct shm *shm = comm->transport;
    if (shm->header) {
        CHECK(munmap(shm->header, shm->size) == 0);
    }
    if (shm->fd >= 0) {
        close(shm->fd);
    }
    mem_free(shm);
}

/* ---- failure -----------------------------------------------------------------------------------
 */

bool shm_is_sound(const struct shm *shm, struct comm_failure *failure)
{
    uint32_t word = atomic_load_explicit(&shm->header->failure, memory_order_acquire);
    if (word == 0) {
        return true;
    }
    uint32_t reporter = (word >> 8) - 1;
    CHECK(reporter < COMM_WORLD_MAX);
    return comm_fail(failure, (int32_t)(word & 255) - 1, "%.*s", COMM_REASON_BYTES - 1,
                     shm->header->ranks[reporter].reason);
}

void shm_failure_report(struct comm *comm, struct shm *shm, struct comm_failure *failure)
{
    if (!shm_is_sound(shm, failure)) {
        return;
    }
    char *reason = shm->header->ranks[comm->rank].reason;
    memcpy(reason, failure->reason, COMM_REASON_BYTES);
    uint32_t nobody = 0;
    uint32_t word = (uint32_t)(comm->rank + 1) << 8 | (uint32_t)(failure->rank + 1);
    if (!atomic_compare_exchange_strong(&shm->header->failure, &nobody, word)) {
        shm_is_sound(shm, failure);
        return;
    }
    for (int32_t r = 0; r < comm->world; r++) {
        futex_wake_all(&shm->header->ranks[r].posted);
    }
}

static void poison(struct comm *comm, struct comm_failure *failure)
{
    shm_failure_report(comm, comm->transport, failure);
}

/* ---- exchange ----------------------------------------------------------------------------------
 */

static uint8_t *window(const struct comm *comm, const struct shm *shm, int32_t rank)
{
    size_t bytes = (shm->size - sizeof(struct shm_header)) / (size_t)comm->world / SHM_WINDOWS;
    size_t index = (size_t)rank * SHM_WINDOWS + comm->sequence % SHM_WINDOWS;
    return (uint8_t *)(shm->header + 1) + index * bytes;
}

/* Where `rank`'s piece for `reader` lies: behind the one for all, and none for itself. */
static uint8_t *window_to(const struct comm *comm, const struct shm *shm, int32_t rank,
                          int32_t reader)
{
    int32_t place = reader < rank ? reader : reader - 1;
    return window(comm, shm, rank) + comm->same_bytes_max + (size_t)place * comm->to_bytes_max;
}

static void copy(void *to, const void *from, size_t bytes)
{
    if (bytes > 0) {
        memcpy(to, from, bytes);
    }
}

static void post(struct comm *comm, struct shm *shm, const struct comm_exchange *exchange)
{
    struct shm_rank *own = &shm->header->ranks[comm->rank];
    CHECK(exchange->same.bytes <= comm->same_bytes_max);
    copy(window(comm, shm, comm->rank), exchange->same.data, exchange->same.bytes);
    for (int32_t r = 0; r < comm->world; r++) {
        if (r != comm->rank) {
            CHECK(exchange->to[r].bytes <= comm->to_bytes_max);
            copy(window_to(comm, shm, comm->rank, r), exchange->to[r].data, exchange->to[r].bytes);
        }
    }
    own->agreement[comm->sequence % SHM_WINDOWS] = exchange->agreement;
    atomic_store(&own->posted, comm->sequence);
    if (atomic_load(&own->sleepers) > 0) {
        futex_wake_all(&own->posted);
    }
}

/* Sequence numbers wrap; ranks are never further apart than one. */
static bool has_posted(const struct comm *comm, uint32_t posted)
{
    return (int32_t)(posted - comm->sequence) >= 0;
}

static bool spin(const struct comm *comm, const struct shm *shm, const struct shm_rank *peer)
{
    int64_t end_us = comm_now_us() + SPIN_US;
    do {
        for (int i = 0; i < SPIN_BATCH; i++) {
            if (has_posted(comm, atomic_load_explicit(&peer->posted, memory_order_acquire))) {
                return true;
            }
            if (!shm->spins) {
                sched_yield();
                break;
            }
            comm_relax();
        }
    } while (comm_now_us() < end_us);
    return false;
}

static bool wait_for(struct comm *comm, struct shm *shm, int32_t rank, int64_t deadline_us,
                     struct comm_failure *failure)
{
    struct shm_rank *peer = &shm->header->ranks[rank];
    if (!comm->patient && spin(comm, shm, peer)) {
        return true;
    }
    for (;;) {
        /* In this order: who posted and left is not missed. */
        bool alive = shm_is_alive(shm, rank);
        uint32_t posted = atomic_load(&peer->posted);
        if (has_posted(comm, posted)) {
            return true;
        }
        if (!shm_is_sound(shm, failure)) {
            return false;
        }
        if (comm_aborted(comm)) {
            return comm_fail(failure, comm->rank, "%s", comm->abort_reason);
        }
        if (!alive) {
            return comm_fail(failure, rank, "it is gone");
        }
        int64_t left_us = deadline_us - comm_now_us();
        if (left_us <= 0) {
            return comm_fail(failure, rank, "no progress within %lld ms",
                             (long long)comm->timeout_ms);
        }
        int64_t look_us = COMM_LOOK_MS * 1000;
        atomic_fetch_add(&peer->sleepers, 1);
        futex_sleep(&peer->posted, posted, left_us < look_us ? left_us : look_us);
        atomic_fetch_sub(&peer->sleepers, 1);
    }
}

static bool exchange_shm(struct comm *comm, struct comm_exchange *exchange,
                         struct comm_failure *failure)
{
    struct shm *shm = comm->transport;
    if (!shm_is_sound(shm, failure)) {
        return false;
    }
    post(comm, shm, exchange);
    int64_t deadline_us = comm_now_us() + comm->timeout_ms * 1000;
    for (int32_t i = 1; i < comm->world; i++) {
        int32_t r = (comm->rank + i) % comm->world; /* everybody begins with another one */
        if (!wait_for(comm, shm, r, deadline_us, failure) ||
            !comm_agrees(comm, r, &exchange->agreement,
                         &shm->header->ranks[r].agreement[comm->sequence % SHM_WINDOWS], failure)) {
            return false;
        }
        exchange->from[r].data = window_to(comm, shm, r, comm->rank);
        if (exchange->all[r].data) {
            copy(exchange->all[r].data, window(comm, shm, r), exchange->all[r].bytes);
        } else {
            exchange->all[r].data = window(comm, shm, r);
        }
    }
    return true;
}

static bool look(struct comm *comm, struct comm_failure *failure)
{
    const struct shm *shm = comm->transport;
    if (!shm_is_sound(shm, failure)) {
        return false;
    }
    for (int32_t r = 0; r < comm->world; r++) {
        if (r != comm->rank && !shm_is_alive(shm, r)) {
            /* A rank that gave up before has said why. */
            return shm_is_sound(shm, failure) && comm_fail(failure, r, "it is gone");
        }
    }
    return true;
}

const struct comm_ops comm_shm_ops = {
    .open = open_shm, .exchange = exchange_shm, .poison = poison, .close = close_shm, .look = look};
