/* SPDX-License-Identifier: Apache-2.0
 *
 * shm_join: from a name to a mapped segment in which everybody is known.
 *
 * Rank 0 creates, the others look for a segment in which a living rank 0 has proved itself; what a
 * killed attempt or a stranger left under the name never passes, and rank 0 replaces it. As soon as
 * all have joined the name is removed, by whoever sees it first: nothing is left behind by a kill.
 * Invariants: a segment has its full size, backed by memory (a full /dev/shm is an error here, not
 * a SIGBUS later), before rank 0 is ready; a member takes its lock before it says that it joined.
 * Rejected: process ids for telling the living, which are reused, differ between containers, and
 * take a zombie for alive; locks do not.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/limits.h"
#include "lib/text.h"
#include "worker/comm/shm.h"

enum { RETRY_US = 1000, TO_ALL = -1 };

/* All of a window. A second-level cache holds both windows of a rank, up to four ranks. */
#define WINDOW_BYTES (512 * KIB)

static bool lock_set(int fd, int32_t rank)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = rank, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

static bool lock_is_set(int fd, int32_t rank)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = rank, .l_len = 1};
    return fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

bool shm_is_alive(const struct shm *shm, int32_t rank)
{
    return lock_is_set(shm->fd, rank);
}

static struct proof_claim claim_of(const struct comm_options *options,
                                   const struct shm_header *header, int32_t rank)
{
    struct proof_claim claim = {
        .from = rank, .to = TO_ALL, .world = options->world, .term = options->term};
    memcpy(claim.nonces[0], header->nonce, NONCE_BYTES);
    return claim;
}

static bool has_proved(const struct comm_options *options, const struct shm_header *header,
                       int32_t rank)
{
    struct proof_claim claim = claim_of(options, header, rank);
    return proof_holds(options->secret, &claim, header->ranks[rank].proof);
}

static void unmap(struct shm *shm)
{
    if (shm->header) {
        CHECK(munmap(shm->header, shm->size) == 0);
        shm->header = NULL;
    }
    if (shm->fd >= 0) {
        close(shm->fd);
        shm->fd = -1;
    }
}

static bool map(struct shm *shm)
{
    void *memory =
        mmap(NULL, shm->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, shm->fd, 0);
    shm->header = memory == MAP_FAILED ? NULL : memory;
    return shm->header != NULL;
}

/* Maps what lies under the name if it is ours: the right size and owner, and a living rank 0 that
 * knows the secret. */
static bool find(struct shm *shm, const struct comm_options *options)
{
    struct stat found;
    shm->fd = shm_open(shm->name, O_RDWR | O_CLOEXEC, 0);
    if (shm->fd >= 0 && fstat(shm->fd, &found) == 0 && found.st_uid == geteuid() &&
        (size_t)found.st_size == shm->size && lock_is_set(shm->fd, 0) && map(shm) &&
        atomic_load_explicit(&shm->header->ready, memory_order_acquire) &&
        has_proved(options, shm->header, 0)) {
        return true;
    }
    unmap(shm);
    return false;
}

/* The name is gone from then on; the memory stays as long as it is mapped. */
static void unlink_if_named(const struct shm *shm)
{
    struct stat now;
    if (shm->fd >= 0 && fstat(shm->fd, &now) == 0 && now.st_nlink > 0) {
        shm_unlink(shm->name);
    }
}

static enum status create(struct shm *shm, const struct comm_options *options, struct error *error)
{
    if (find(shm, options)) {
        unmap(shm);
        return error_set(error, STATUS_CONFLICT, "shared memory %s: its rank 0 is there already",
                         shm->name);
    }
    shm_unlink(shm->name);
    shm->fd = shm_open(shm->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (shm->fd < 0) {
        return error_set(error, STATUS_CONFLICT, "shared memory %s: %s", shm->name,
                         strerror(errno));
    }
    char text[16];
    format_bytes((double)shm->size, text);
    int failure = posix_fallocate(shm->fd, 0, (off_t)shm->size);
    if (failure != 0 || !map(shm)) {
        unlink_if_named(shm);
        return error_set(error, STATUS_MEMORY, "shared memory %s: cannot get %s: %s", shm->name,
                         text, strerror(failure != 0 ? failure : errno));
    }
    nonce_make(shm->header->nonce);
    return STATUS_OK;
}

static void announce(struct shm *shm, const struct comm_options *options)
{
    struct shm_rank *own = &shm->header->ranks[options->rank];
    struct proof_claim claim = claim_of(options, shm->header, options->rank);
    proof_make(options->secret, &claim, own->proof);
    atomic_store_explicit(&own->joined, 1, memory_order_release);
    if (options->rank == 0) {
        atomic_store_explicit(&shm->header->ready, 1, memory_order_release);
    }
    atomic_fetch_add(&shm->header->arrivals, 1);
    futex_wake_all(&shm->header->arrivals);
}

/* True once all are there. False with failure->rank = COMM_NOBODY: not yet. */
static bool all_joined(const struct shm *shm, const struct comm_options *options, bool *present,
                       struct comm_failure *failure)
{
    bool all = true;
    failure->rank = COMM_NOBODY;
    for (int32_t r = 0; r < options->world; r++) {
        const struct shm_rank *rank = &shm->header->ranks[r];
        present[r] = atomic_load_explicit(&rank->joined, memory_order_acquire) &&
                     has_proved(options, shm->header, r);
        all = all && present[r];
    }
    for (int32_t r = 0; !all && r < options->world; r++) {
        if (present[r] && r != options->rank && !shm_is_alive(shm, r)) {
            return comm_fail(failure, r, "it is gone");
        }
    }
    return all;
}

static enum status wait_for_all(struct comm *comm, struct shm *shm,
                                const struct comm_options *options, int64_t deadline_us,
                                struct error *error)
{
    bool present[COMM_WORLD_MAX] = {false};
    for (;;) {
        struct comm_failure failure;
        uint32_t arrivals = atomic_load(&shm->header->arrivals);
        if (all_joined(shm, options, present, &failure)) {
            return STATUS_OK;
        }
        if (failure.rank == COMM_NOBODY && comm_now_us() >= deadline_us) {
            char missing[COMM_REASON_BYTES - 32];
            comm_list_missing(present, options->world, missing, sizeof(missing));
            int32_t first = 0;
            while (present[first]) {
                first++;
            }
            comm_fail(&failure, first, "%s did not join in time", missing);
        }
        /* A rank that gave up before has said why; that it is gone now is not the cause. */
        if (failure.rank != COMM_NOBODY) {
            shm_failure_report(comm, shm, &failure);
        }
        if (failure.rank != COMM_NOBODY || !shm_is_sound(shm, &failure)) {
            return error_set(error, STATUS_COMMUNICATION, "rank %d failed: %s", failure.rank,
                             failure.reason);
        }
        futex_sleep(&shm->header->arrivals, arrivals, COMM_LOOK_MS * 1000);
    }
}

static enum status enter(struct shm *shm, const struct comm_options *options, int64_t deadline_us,
                         struct error *error)
{
    if (options->rank == 0) {
        TRY(create(shm, options, error));
    } else {
        while (!find(shm, options)) {
            if (comm_now_us() >= deadline_us) {
                return error_set(error, STATUS_COMMUNICATION,
                                 "rank 0 failed: it did not create shared memory %s in time",
                                 shm->name);
            }
            usleep(RETRY_US);
        }
    }
    if (!lock_set(shm->fd, options->rank)) {
        return error_set(error, STATUS_CONFLICT, "shared memory %s: rank %d is there already",
                         shm->name, options->rank);
    }
    announce(shm, options);
    return STATUS_OK;
}

enum status shm_join(struct comm *comm, struct shm *shm, const struct comm_options *options,
                     struct error *error)
{
    size_t world = (size_t)options->world;
    CHECK(options->name && strlen(options->name) > 0 && !strchr(options->name, '/'));
    CHECK((size_t)snprintf(shm->name, sizeof(shm->name), "/tailor-%s", options->name) <
          sizeof(shm->name));
    /* One piece for all, and one for each of the others. */
    comm->to_bytes_max = comm->same_bytes_max = WINDOW_BYTES / world / SHM_LINE * SHM_LINE;
    shm->size = sizeof(struct shm_header) + world * SHM_WINDOWS * WINDOW_BYTES;
    int64_t deadline_us = comm_now_us() + options->timeout_ms * 1000;
    TRY(enter(shm, options, deadline_us, error));
    enum status status = wait_for_all(comm, shm, options, deadline_us, error);
    unlink_if_named(shm);
    return status;
}
