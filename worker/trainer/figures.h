/* SPDX-License-Identifier: Apache-2.0
 *
 * figures: what an evaluation says, exact over all pairs, from rewards alone. Pure functions.
 *
 * With d = r_i − r_j over the ordered pairs s_i > s_j and p = σ(d):
 *   accuracy   mean(d > 0), strictly: a tie in reward is wrong
 *   brier mean((1−p)²) · nll mean log(1 + e^−d) · ece, 15 equal-width bins of confidence max(p,
 * 1−p) temperature T > 0 minimising mean log(1 + e^(−d/T)); infinity when mean d <= 0, 0 when no d
 * < 0 auc        of reward against "is a preferred row", ties half; NaN with one class only the
 * paper's total and first-two accuracy: see the golden README (ordered pairs, sorted rows)
 * Intervals resample *groups* (pairs of one prompt are not independent), seeded; differences
 * between two models are paired over the same groups. NaN stands for "no pair counts".
 */
#ifndef TAILOR_WORKER_TRAINER_FIGURES_H
#define TAILOR_WORKER_TRAINER_FIGURES_H

#include <jansson.h>
#include <stdint.h>

#include "lib/table.h"
#include "worker/data/dataset.h"

/* Of intervals without a gate: the same for every program that evaluates a model. */
#define FIGURES_CONFIDENCE 0.95
enum { FIGURES_SEED = 42 };

enum { FIGURES_BINS = 15, FIGURES_RESAMPLES = 1000 };

struct reliability_bin {
    int64_t count;
    double confidence, correct; /* means; 0 when empty */
};

struct interval {
    double low, high;
};

struct figures {
    int64_t groups, rows, pairs, correct, ties; /* ties: pairs whose rewards are equal */
    double accuracy;
    struct interval accuracy_interval;
    double paper_total_accuracy, paper_first_two_accuracy;
    double margin, brier, nll, ece, temperature, nll_at_temperature, auc;
    double reward_mean, reward_deviation, reward_min, reward_max;
    double length_correlation; /* of reward and row length in tokens */
    double longer_preferred;   /* share of pairs whose preferred row is longer */
    struct reliability_bin bins[FIGURES_BINS];
};

struct figures_difference {
    double accuracy; /* after − before */
    struct interval interval;
    int64_t gained, lost; /* pairs that became right, or wrong */
};

/* reward: (dataset->row_count). confidence: 0.95. */
void figures_compute(const struct dataset *dataset, const float *reward, double confidence,
                     uint64_t seed, struct figures *figures_out);
void figures_compare(const struct dataset *dataset, const float *before, const float *after,
                     double confidence, uint64_t seed, struct figures_difference *difference_out);
json_t *figures_json(const struct figures *figures); /* infinity and NaN as strings "inf", null */
/* For people: a table, and a set as its row. */
struct table *figures_table(void);
void figures_row(struct table *table, const char *name, const struct figures *figures);
json_t *figures_difference_json(const struct figures_difference *difference);

/* The parts, as the goldens test them. chosen, rejected: (n). */
double figures_temperature(const double *difference, int64_t n, double *nll_out);
double figures_ece_confidence(const double *difference, int64_t n, int32_t bins,
                              struct reliability_bin *bins_out);
double figures_ece_labelled(const double *probability, const double *label, int64_t n,
                            int32_t bins);
double figures_auc(const double *score, const double *label, int64_t n);
/* rewards, scores: (G, K), a negative score is an absent row. */
void figures_paper(const double *reward, const double *score, int64_t G, int32_t K,
                   double *total_out, double *first_two_out);

#endif
