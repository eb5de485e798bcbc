/* SPDX-License-Identifier: Apache-2.0
 *
 * pack_parts: how a group that is larger than a pack is cut.
 *
 * Its rows begin with the same `prefix` tokens; part p is the rows [row0[p], row0[p + 1]), as many
 * in order as fit `capacity` together with the prefix, at least one. The cut is a function of the
 * group and the capacity alone. At least two tokens of every row lie behind the prefix, so whatever
 * a pooling reads is read in the row's part.
 *
 *     struct pack_parts parts;
 *     pack_parts_plan(&arena, &group, capacity, &parts);
 */
#ifndef TAILOR_WORKER_DATA_PACK_PARTS_H
#define TAILOR_WORKER_DATA_PACK_PARTS_H

#include "worker/data/pack.h"

struct pack_parts {
    int32_t prefix;     /* tokens; 0: the rows have nothing in common, or one has too few tokens */
    int32_t count;      /* parts */
    int32_t *row0;      /* (count + 1) */
    int32_t tokens_max; /* of the largest part, its prefix included */
};

void pack_parts_plan(struct arena *arena, const struct pack_group *group, int32_t capacity,
                     struct pack_parts *parts_out);

/* The rows of one part, as pack_build takes them: views of the group's. */
struct pack_group pack_part(const struct pack_group *group, const struct pack_parts *parts,
                            int32_t part);
/* The prefix as a group of one row. `length` receives its length and outlives the result. */
struct pack_group pack_prefix(const struct pack_group *group, const struct pack_parts *parts,
                              int32_t *length);

#endif
