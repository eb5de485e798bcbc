/* SPDX-License-Identifier: Apache-2.0
 *
 * shm: the segment that the ranks of one host share; laid out here, joined in shm_join.c, used in
 * shm.c.
 *
 * One block of facts, a block for each rank, then for each rank two WINDOWS, used in turn: what it
 * gives to all, then what it gives to each. A rank's own block and windows are written by it alone,
 * but for the count of sleepers.
 */
#ifndef TAILOR_WORKER_COMM_SHM_H
#define TAILOR_WORKER_COMM_SHM_H

#include <stdalign.h>

#include "worker/comm/backend.h"
#include "worker/comm/proof.h"

enum { SHM_LINE = 64, SHM_WINDOWS = 2 };

struct shm_rank {
    /* The sequence number of the last exchange whose window is full. A futex. */
    alignas(SHM_LINE) _Atomic uint32_t posted;
    _Atomic uint32_t sleepers; /* on `posted` */
    struct comm_agreement agreement[SHM_WINDOWS];
    alignas(SHM_LINE) _Atomic uint32_t joined; /* proof is written */
    uint8_t proof[PROOF_BYTES];
    char reason[COMM_REASON_BYTES]; /* of the failure that this rank reported */
};

struct shm_header {
    _Atomic uint32_t ready; /* rank 0 has written the nonce and its proof */
    uint8_t nonce[NONCE_BYTES];
    alignas(SHM_LINE) _Atomic uint32_t arrivals; /* changes when a rank joins. A futex. */
    /* 0, or once and for ever (reporter + 1) << 8 | (failed rank + 1). */
    alignas(SHM_LINE) _Atomic uint32_t failure;
    struct shm_rank ranks[COMM_WORLD_MAX];
};

struct shm {
    struct shm_header *header; /* shared; NULL until mapped */
    size_t size;               /* of the mapping */
    int fd;                    /* open as long as the member lives: its lock says so; or −1 */
    bool spins;
    char name[80]; /* "/tailor-…" */
};

enum status shm_join(struct comm *comm, struct shm *shm, const struct comm_options *options,
                     struct error *error);
/* Each member holds a lock on its own byte of the segment's file, which the kernel lifts when the
 * process ends, however it ends. */
bool shm_is_alive(const struct shm *shm, int32_t rank);
/* Reports a failure unless somebody was first, whose failure is then read instead. */
void shm_failure_report(struct comm *comm, struct shm *shm, struct comm_failure *failure);
/* False, with the failure, if one has been reported. */
bool shm_is_sound(const struct shm *shm, struct comm_failure *failure);

void futex_sleep(_Atomic uint32_t *word, uint32_t seen, int64_t us);
void futex_wake_all(_Atomic uint32_t *word);

#endif
