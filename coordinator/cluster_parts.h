/* SPDX-License-Identifier: Apache-2.0
 *
 * cluster_parts: what cluster*.c share.
 */
#ifndef TAILOR_COORDINATOR_CLUSTER_PARTS_H
#define TAILOR_COORDINATOR_CLUSTER_PARTS_H

#include "coordinator/cluster.h"

enum { CLUSTER_PROVED_MS = 60000 }; /* a job that served so long was no mistake */

/* Room for one more job at the end, not initialized. */
struct cluster_job *cluster_job_add(struct cluster *cluster);
/* Queued, recovering or paused, and counted against the tenant's quota: a shard is not. */
bool cluster_job_waits(const struct cluster_job *job, enum job_state state);
/* cluster_whole.c: shards and their wholes agree. */
void cluster_wholes(struct cluster *cluster, int64_t now_ms);
/* Applies an event that must be possible, and records the change. */
void cluster_move(struct cluster *cluster, struct cluster_job *job, enum job_event event,
                  int64_t now_ms);
/* The live attempt ended badly: counts, chooses what follows, stops every other rank. */
void cluster_attempt_failed(struct cluster *cluster, struct cluster_job *job, enum failure failure,
                            uint64_t worker, int64_t now_ms);
/* The live attempt found no space on a worker: it waits for some, paused. */
void cluster_attempt_full(struct cluster *cluster, struct cluster_job *job, uint64_t worker,
                          int64_t now_ms);
/* The live attempt, told to end, has ended (or is given up). */
void cluster_attempt_ended(struct cluster *cluster, struct cluster_job *job, int64_t now_ms);
/* After the job left the states with an attempt: stops what is left of the gang. */
void cluster_gang_close(struct cluster *cluster, struct cluster_job *job, int64_t now_ms);
/* The job's live attempt if `term` is its term, else NULL. */
struct cluster_job *cluster_live(struct cluster *cluster, uint64_t job, uint64_t term);
void cluster_command(struct cluster *cluster, enum command_kind kind, struct cluster_job *job,
                     const struct gang_member *member);
void cluster_command_stop(struct cluster *cluster, uint32_t worker, uint64_t job, uint64_t term);
void cluster_command_all(struct cluster *cluster, enum command_kind kind, struct cluster_job *job);

#endif
