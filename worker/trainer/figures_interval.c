/* SPDX-License-Identifier: Apache-2.0
 *
 * The pairs of one prompt share its prompt and its responses: they are right or wrong together, and
 * resampling pairs would give intervals that are too narrow. So whole groups are drawn, with
 * replacement, FIGURES_RESAMPLES times.
 *
 * Draw i of resample b is a pure function of (seed, b, i): the same rewards give the same interval
 * on every machine, and two models measured with one seed are compared on the same resamples. Sums
 * are integers, so their order does not matter.
 *
 * Rejected: a normal approximation with clustered variance; it leaves [0, 1] near its ends, which
 * is where a good model is.
 */
#include <math.h>
#include <stdlib.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/rng.h"
#include "worker/trainer/figures_parts.h"

double share(int64_t part, int64_t all)
{
    return all > 0 ? (double)part / (double)all : NAN;
}

/* Groups without a pair weigh nothing; leaving them out keeps every resample from being empty. */
static int64_t leave_out_empty(const struct group_share *groups, int64_t count,
                               struct group_share *kept_out)
{
    int64_t kept = 0;
    for (int64_t g = 0; g < count; g++) {
        if (groups[g].pairs > 0) {
            kept_out[kept++] = groups[g];
        }
    }
    return kept;
}

static double resample(const struct group_share *groups, int64_t count, uint64_t seed,
                       uint64_t stream, int64_t number)
{
    struct group_share all = {0};
    for (int64_t i = 0; i < count; i++) {
        uint64_t drawn = rng_below(seed, stream, (uint64_t)(number * count + i), (uint64_t)count);
        all.sum += groups[drawn].sum;
        all.pairs += groups[drawn].pairs;
    }
    return (double)all.sum / (double)all.pairs;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of sorted values, linear between neighbours. */
static double quantile(const double *sorted, int32_t count, double q)
{
    double place = q * (count - 1);
    int32_t below = (int32_t)place;
    if (below >= count - 1) {
        return sorted[count - 1];
    }
    return sorted[below] + (place - below) * (sorted[below + 1] - sorted[below]);
}

struct interval interval_of_share(const struct group_share *groups, int64_t count,
                                  double confidence, uint64_t seed)
{
    CHECK(confidence > 0 && confidence < 1);
    struct group_share *kept = mem_alloc(size_mul(sizeof(*kept), (size_t)count + 1));
    int64_t kept_count = leave_out_empty(groups, count, kept);
    struct interval interval = {NAN, NAN};
    if (kept_count > 0) {
        double shares[FIGURES_RESAMPLES];
        uint64_t stream = rng_stream("figures");
        for (int32_t b = 0; b < FIGURES_RESAMPLES; b++) {
            shares[b] = resample(kept, kept_count, seed, stream, b);
        }
        qsort(shares, FIGURES_RESAMPLES, sizeof(shares[0]), compare_doubles);
        interval.low = quantile(shares, FIGURES_RESAMPLES, (1 - confidence) / 2);
        interval.high = quantile(shares, FIGURES_RESAMPLES, (1 + confidence) / 2);
    }
    mem_free(kept);
    return interval;
}
