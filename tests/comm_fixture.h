/* SPDX-License-Identifier: Apache-2.0
 *
 * comm_fixture: a group of real processes, one a rank, that a test lets work, disturbs, and counts.
 *
 *     struct ranks *ranks = ranks_start(COMM_SHM, 3, 30000, body, argument);
 *     ranks_kill(ranks, 2, SIGKILL);
 *     ranks_finish(ranks);     // every rank's EXPECTs are this test's
 *
 * A rank that has not ended HANG_SECONDS after ranks_finish was called hangs: it is killed and the
 * test fails. Where a test means "before the deadline", its deadline is longer than that.
 *
 * In executables that link NCCL (tests/cuda) groups are COMM_NCCL's, above the backend that the
 * test names; the host's memory is then what the emulated GPU takes for its own.
 */
#ifndef TAILOR_TESTS_COMM_FIXTURE_H
#define TAILOR_TESTS_COMM_FIXTURE_H

#include <stdatomic.h>
#include <sys/types.h>

#include "tests/test.h"
#include "worker/comm/comm.h"

enum { HANG_SECONDS = 240, LONG_MS = 10 * 60 * 1000 };

/* What ranks and the test share. */
struct ranks_board {
    atomic_int ready[COMM_WORLD_MAX];     /* set by the rank, for the test to wait for */
    atomic_int exchanges[COMM_WORLD_MAX]; /* that the rank has begun; see comm_disturb */
};

struct ranks {
    struct comm_options options; /* rank 0's; others differ in rank */
    struct ranks_board *board;
    pid_t pids[COMM_WORLD_MAX];     /* 0: not started, or waited for */
    int exit_codes[COMM_WORLD_MAX]; /* that are expected; 0 at first */
    char name[64];
    char endpoint_texts[COMM_WORLD_MAX][32];
    const char *endpoints[COMM_WORLD_MAX];
};

/* Runs in the child. `options` are its own; it opens and closes. */
typedef void rank_body(const struct comm_options *options, struct ranks_board *board,
                       void *argument);

struct ranks *ranks_create(enum comm_backend backend, int32_t world, int64_t timeout_ms);
void ranks_start_one(struct ranks *ranks, int32_t rank, rank_body *body, void *argument);
/* Both of the above, for all ranks. */
struct ranks *ranks_start(enum comm_backend backend, int32_t world, int64_t timeout_ms,
                          rank_body *body, void *argument);
void ranks_wait_ready(struct ranks *ranks, int32_t rank, int value);
void ranks_kill(struct ranks *ranks, int32_t rank, int signal); /* SIGKILL is waited for */
void ranks_wait(struct ranks *ranks, int32_t rank);             /* for its end */
void ranks_finish(struct ranks *ranks);                         /* waits for all, and frees */

/* What the victim does just before its exchange number `at` (0, 1, …). */
enum comm_fault { FAULT_NONE, FAULT_KILL, FAULT_STOP, FAULT_DROP, FAULT_ABORT };

/* Counts exchanges on the board, and has `fault` happen at one of them. */
void comm_disturb(struct comm *comm, struct ranks_board *board, enum comm_fault fault, int at);

const char *comm_backend_name(enum comm_backend backend);

#endif
