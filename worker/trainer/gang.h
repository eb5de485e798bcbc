/* SPDX-License-Identifier: Apache-2.0
 *
 * gang: all ranks of one attempt, as one of them sees them.
 *
 * Every rank runs the same loop over the same data and keeps the same weights; they differ in the
 * slices they compute, the groups they evaluate, and the block of a checkpoint they write. Rank 0
 * *leads*: what may not depend on a rank's own clock or signals is its decision, and only it prints
 * and writes the run's files.
 *
 * Trust is checked: fingerprints of the weights are compared now and then, and a slice is computed
 * by a second rank (deal.h, step.c). A difference ends the job and names rank and step.
 *
 * A NULL gang is a gang of one, everywhere. Functions that take an error are collective: all ranks
 * call them in the same order; alone they cannot fail.
 */
#ifndef TAILOR_WORKER_TRAINER_GANG_H
#define TAILOR_WORKER_TRAINER_GANG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/status.h"
#include "worker/comm/comm.h"
#include "worker/ops/ops.h"

/* As proto/rendezvous.h says; the secret is in the environment. */
struct gang_options {
    int32_t rank, world;
    const char *comm, *rendezvous;
    uint64_t term;
    bool on_gpu; /* the ranks have a GPU each: NCCL carries its memory, where it is linked in */
};

struct gang {
    struct comm *comm; /* owned; NULL: nothing is sent (a world of one, or only a plan) */
    int32_t rank, world;
    int32_t keeper; /* the lowest rank that has the same run directory (place.h); else 0 */
};

/* Waits until all ranks are there. */
enum status gang_open(const struct gang_options *options, struct gang *gang_out,
                      struct error *error);
/* `failure`: what this rank failed with, told to the others; NULL or a failure of another: nothing
 * to tell. */
void gang_close(struct gang *gang, const struct error *failure);

int32_t gang_rank(const struct gang *gang);
int32_t gang_world(const struct gang *gang);
bool gang_leads(const struct gang *gang); /* is this rank 0? */
bool gang_keeps(const struct gang *gang); /* does it care for its host's run directory? */
/* This rank's own block of `count` floats, as comm_block cuts it. */
void gang_block(const struct gang *gang, size_t count, size_t *begin, size_t *end);

/* Rank `root`'s bytes to all. */
enum status gang_broadcast(const struct gang *gang, void *data, size_t bytes, int32_t root,
                           struct error *error);
/* `all` (world · bytes) gets every rank's `mine`, by rank. */
enum status gang_gather(const struct gang *gang, const void *mine, size_t bytes, void *all,
                        struct error *error);
enum status gang_barrier(const struct gang *gang, struct error *error);

/* 64 bits of a block on the device: two blocks of different bits have different ones but for 2^-64.
 */
uint64_t gang_fingerprint(struct device *device, const float *block, size_t count);
/* Has every rank the same bits? STATUS_NUMERIC names the rank (of two: both) and `step`, the steps
 * done so far. */
enum status gang_compare(const struct gang *gang, struct device *device, const float *weights,
                         size_t count, int64_t step, struct error *error);

#endif
