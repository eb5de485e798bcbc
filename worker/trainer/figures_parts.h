/* SPDX-License-Identifier: Apache-2.0
 *
 * figures_parts: what the files of figures share. Private to them.
 */
#ifndef TAILOR_WORKER_TRAINER_FIGURES_PARTS_H
#define TAILOR_WORKER_TRAINER_FIGURES_PARTS_H

#include "worker/trainer/figures.h"

/* What one group adds to a share of pairs: right pairs, or those that became right less those that
 * became wrong, of `pairs`. */
struct group_share {
    int64_t sum, pairs;
};

/* A percentile interval of Σ sum / Σ pairs by resampling groups. NaN without a pair. */
struct interval interval_of_share(const struct group_share *groups, int64_t count,
                                  double confidence, uint64_t seed);

/* Counts of the paper's two accuracies, over ordered pairs. */
struct paper_counts {
    int64_t total, total_right, first_two, first_two_right;
};

/* One group; a negative score is an absent row. */
void paper_count_group(const double *reward, const double *score, int32_t K,
                       struct paper_counts *counts);
void paper_accuracies(const struct paper_counts *counts, double *total_out, double *first_two_out);

double log1p_exp(double x);              /* log(1 + e^x) without overflow */
double share(int64_t part, int64_t all); /* NaN of nothing */

#endif
