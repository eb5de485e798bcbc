/* SPDX-License-Identifier: Apache-2.0
 *
 * sampler: which groups step t trains on, as a pure function of (seed, sizes, mix, t).
 *
 * The mix is an endless list of places. Place n is *general* (enrichment) when the running count
 * floor(n · rate) grows there, else it is the tenant's own; the own groups come in epochs, each a
 * fresh permutation; the general ones go on through their own epochs, whatever the tenant's do.
 * Step t is places [t·B, (t+1)·B). So the whole state to resume is t, and seeking costs nothing.
 */
#ifndef TAILOR_WORKER_DATA_SAMPLER_H
#define TAILOR_WORKER_DATA_SAMPLER_H

#include <stdint.h>

#include "worker/data/dataset.h"

enum mix_by { MIX_BY_PAIRS, MIX_BY_GROUPS, MIX_BY_TOKENS };
enum mix_part { MIX_OWN, MIX_GENERAL, MIX_PARTS };

struct sampler {
    uint64_t seed;
    int64_t own_groups, general_groups;
    int64_t batch_groups; /* B */
    uint64_t rate;        /* share of places that are general, times 2^32 */
    int64_t places;       /* of the whole run */
    int64_t steps;
};

struct sample {
    enum mix_part part;
    int64_t group; /* index into that part's dataset */
    double epoch;  /* how far through the part's data, for the metrics */
};

/* `share` is the general part of the mix counted as `by` says; what is mixed are groups, so the
 * rate follows from the two datasets' average pairs or tokens per group. general may be NULL (share
 * is then 0). max_steps > 0: so many steps, whatever `epochs` says; the data come round again. */
void sampler_init(struct sampler *sampler, const struct dataset *own, const struct dataset *general,
                  double share, enum mix_by by, int64_t batch_groups, double epochs,
                  int64_t max_steps, uint64_t seed);

/* The samples of step t, 0 <= t < steps: writes at most batch_groups of them, returns how many (the
 * last step may be short). */
int64_t sampler_batch(const struct sampler *sampler, int64_t step, struct sample *out);

#endif
