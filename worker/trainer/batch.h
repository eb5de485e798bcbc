/* SPDX-License-Identifier: Apache-2.0
 *
 * batch: the groups of one step, cut into slices, and each slice into packs.
 *
 * A *slice* is the fixed unit whose gradients are summed in canonical order: the cut depends on the
 * batch and on `slices` alone, never on how many ranks or packs there are. Groups go longest first
 * to the slice with the fewest tokens; within a slice they are packed first-fit decreasing. A group
 * larger than the capacity is alone in its pack, and computed in parts (long_group.h).
 *
 * |P| and |S| are counted here, over the whole batch, before any pass.
 */
#ifndef TAILOR_WORKER_TRAINER_BATCH_H
#define TAILOR_WORKER_TRAINER_BATCH_H

#include "lib/arena.h"
#include "worker/data/dataset.h"
#include "worker/data/pack.h"
#include "worker/data/sampler.h"
#include "worker/model/loss.h"
#include "worker/model/reading.h"

/* A group by reference; the dataset outlives the batch. */
struct batch_group {
    const struct dataset *dataset;
    int64_t group;
    enum mix_part part;
    int32_t tokens; /* after sharing */
    int32_t slice, pack;
};

struct batch {
    int32_t count;
    struct batch_group *groups;
    int32_t slices;
    int32_t *packs;        /* (slices) how many packs each has */
    int64_t pairs;         /* |P| */
    int64_t imitated;      /* |S| */
    int64_t tokens;        /* of all rows */
    int64_t tokens_packed; /* computed, after sharing */
};

/* The groups that the sampler gives to a step; `parts` by enum mix_part. epoch_out (may be NULL):
 * how far through the own data. Memory is the arena's. */
struct batch_group *batch_groups_of(struct arena *arena, const struct sampler *sampler,
                                    struct dataset *const *parts, int64_t step, int32_t *count_out,
                                    double *epoch_out);

/* `groups` (count) need dataset, group and part; the rest is filled in. Memory is the arena's. */
void batch_plan(struct arena *arena, struct batch_group *groups, int32_t count,
                const struct loss_config *loss, int32_t slices, int32_t capacity_tokens,
                enum pack_mode mode, struct batch *batch_out);

/* Tokens of the largest pack, groups that are computed in parts left out. */
int32_t batch_largest_pack(struct arena *scratch, const struct batch *batch,
                           int32_t capacity_tokens);

/* The groups of one pack, built: which[i] is the index into batch->groups of the pack's group i. */
struct batch_pack {
    struct pack pack;
    struct reading reading;
    const struct imitation *imitation; /* (rows of the pack); NULL where the batch imitates none */
    int32_t *which;
    int32_t count;
};

void batch_pack_build(struct arena *arena, const struct batch *batch, int32_t slice, int32_t index,
                      const struct loss_config *loss, enum pooling pooling, int32_t eos,
                      enum pack_mode mode, bool prune, struct batch_pack *out);

/* Token rows of a dataset's group, as pack_build takes them. */
void group_rows(struct arena *arena, const struct dataset *dataset, int64_t group,
                struct pack_group *out);

#endif
