/* SPDX-License-Identifier: Apache-2.0
 *
 * agent: one host's worker: offers its slots, does what it is told, and says how it goes.
 *
 * One thread, one loop: it waits for the socket and the pipes of the trainers, then every part gets
 * its turn. Nothing in it computes, so it always answers. Its trainers die with it (parent-death
 * signal), and when it is back its attempts are gone, and the coordinator begins them anew from
 * their checkpoints; but what it had still to report it reports first (recovery.h).
 *
 * Its slots are of one kind, CPUs or GPUs (gpus.h), and so are the jobs that it gets. A host that
 * lends both runs two agents, each with a directory of its own.
 *
 * While the coordinator is away training goes on, up to stop_after; reports wait in the outboxes.
 */
#ifndef TAILOR_WORKER_AGENT_AGENT_H
#define TAILOR_WORKER_AGENT_AGENT_H

#include <signal.h>

#include "worker/agent/attempt.h"

struct agent_options {
    const char *data, *join; /* join NULL: it has joined before */
    const char *pool, *address, *name;
    const char *const *labels; /* "key=value" */
    int label_count;
    int64_t slots, cache_bytes, pause_grace_ms;
    const char *trainer;
    const char *trainer_cuda; /* slots are GPUs, at most `slots`; NULL: they are CPUs */
};

struct agent;

enum status agent_open(const struct agent_options *options, struct agent **agent_out,
                       struct error *error);
void agent_close(struct agent *agent);
/* Waits at most `wait_ms` for something to do, and does it. */
enum status agent_turn(struct agent *agent, int64_t wait_ms, struct error *error);
/* Attempts write a checkpoint and stop; nothing new is taken. */
void agent_leave(struct agent *agent);
bool agent_is_idle(const struct agent *agent); /* no attempt is left */

#endif
