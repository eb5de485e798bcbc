/* SPDX-License-Identifier: Apache-2.0
 *
 * All arithmetic is on integers (the rate is a fraction of 2^32), so the order is the same on every
 * machine. Rejected: drawing each place at random: the share of a short run would be off by chance,
 * and a cursor per part would have to be saved.
 */
#include "worker/data/sampler.h"

#include <math.h>

#include "lib/check.h"
#include "lib/rng.h"

static int64_t general_before(const struct sampler *sampler, int64_t place)
{
    return (int64_t)(((unsigned __int128)place * sampler->rate) >> 32);
}

static double per_group(const struct dataset *dataset, enum mix_by by)
{
    double total = by == MIX_BY_PAIRS    ? (double)dataset->pair_count
                   : by == MIX_BY_TOKENS ? (double)dataset->token_count
                                         : (double)dataset->group_count;
    return total > 0 ? total / (double)dataset->group_count : 1;
}

/* general : own = share·(own per group) : (1 − share)·(general per group), in groups */
static uint64_t mix_rate(const struct dataset *own, const struct dataset *general, double share,
                         enum mix_by by)
{
    if (general == NULL || general->group_count == 0 || share <= 0) {
        return 0;
    }
    double ratio = share / (1 - share) * per_group(own, by) / per_group(general, by);
    return (uint64_t)llround(ratio / (1 + ratio) * 4294967296.0);
}

void sampler_init(struct sampler *sampler, const struct dataset *own, const struct dataset *general,
                  double share, enum mix_by by, int64_t batch_groups, double epochs,
                  int64_t max_steps, uint64_t seed)
{
    CHECK(own->group_count > 0);
    CHECK(batch_groups > 0);
    CHECK(share >= 0 && share < 1);
    *sampler = (struct sampler){.seed = seed,
                                .own_groups = own->group_count,
                                .general_groups = general != NULL ? general->group_count : 0,
                                .batch_groups = batch_groups,
                                .rate = mix_rate(own, general, share, by)};
    int64_t own_places = (int64_t)llround(epochs * (double)own->group_count);
    own_places = own_places < 1 ? 1 : own_places;
    /* The smallest n with n − general_before(n) = own_places. */
    int64_t low = own_places, high = own_places;
    while (high - general_before(sampler, high) < own_places) {
        high *= 2;
    }
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (middle - general_before(sampler, middle) >= own_places) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    sampler->places = low;
    sampler->steps = (low + batch_groups - 1) / batch_groups;
    if (max_steps > 0) {
        sampler->steps = max_steps;
        sampler->places = max_steps * batch_groups;
    }
}

static struct sample sample_at(const struct sampler *sampler, int64_t place)
{
    int64_t before = general_before(sampler, place);
    bool general = general_before(sampler, place + 1) > before;
    int64_t index = general ? before : place - before;
    int64_t groups = general ? sampler->general_groups : sampler->own_groups;
    uint64_t stream = rng_stream(general ? "epoch of general data" : "epoch of own data");
    stream += (uint64_t)(index / groups);
    return (struct sample){.part = general ? MIX_GENERAL : MIX_OWN,
                           .group = (int64_t)rng_permute(
                               sampler->seed, stream, (uint64_t)(index % groups), (uint64_t)groups),
                           .epoch = (double)index / (double)groups};
}

int64_t sampler_batch(const struct sampler *sampler, int64_t step, struct sample *out)
{
    CHECK(step >= 0 && step < sampler->steps);
    int64_t first = step * sampler->batch_groups, count = 0;
    for (; count < sampler->batch_groups && first + count < sampler->places; count++) {
        out[count] = sample_at(sampler, first + count);
    }
    return count;
}
