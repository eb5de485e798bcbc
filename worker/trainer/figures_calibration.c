/* SPDX-License-Identifier: Apache-2.0
 *
 * Is p = σ(r_i − r_j) a probability that one may bet on?
 *
 * The temperature is found as the zero of the derivative in a = 1/T. With σ(−x) = (1 − tanh(x/2)) /
 * 2 the derivative is  ½ mean(d·tanh(a·d/2)) − ½ mean(d):  every term of the first mean is positive
 * and it grows with a, so nothing cancels even where one d is a thousand times another. It is
 * bisected in log a, from a bound that is known to be below (tanh x <= x).
 *
 * Rejected: minimising the loss itself (flat at its minimum: half the digits), and Newton's method
 * (leaves for infinity where σ saturates).
 */
#include <math.h>
#include <stdlib.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "worker/trainer/figures_parts.h"

enum { BINS_MAX = 64, HALVINGS_MAX = 200 };

double log1p_exp(double x)
{
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

/* ---- reliability ----------------------------------------------------------------------------- */

/* Equal widths, (low, high]; 0 belongs to the first. Sums until bins_finish makes means of them. */
static void bin_add(struct reliability_bin *bins, int32_t count, double probability, double correct)
{
    int32_t bin = (int32_t)ceil(probability * count) - 1;
    bin = bin < 0 ? 0 : bin >= count ? count - 1 : bin;
    bins[bin].count++;
    bins[bin].confidence += probability;
    bins[bin].correct += correct;
}

/* Σ n_b/n · |mean probability − mean correct| */
static double bins_finish(struct reliability_bin *bins, int32_t count, int64_t n)
{
    double sum = 0;
    for (int32_t b = 0; b < count; b++) {
        if (bins[b].count == 0) {
            continue;
        }
        bins[b].confidence /= (double)bins[b].count;
        bins[b].correct /= (double)bins[b].count;
        sum += (double)bins[b].count / (double)n * fabs(bins[b].confidence - bins[b].correct);
    }
    return n > 0 ? sum : NAN;
}

double figures_ece_confidence(const double *difference, int64_t n, int32_t bins,
                              struct reliability_bin *bins_out)
{
    CHECK(bins > 0 && bins <= BINS_MAX);
    struct reliability_bin filled[BINS_MAX] = {0};
    for (int64_t i = 0; i < n; i++) {
        bin_add(filled, bins, 1 / (1 + exp(-fabs(difference[i]))), difference[i] > 0);
    }
    double ece = bins_finish(filled, bins, n);
    for (int32_t b = 0; b < bins && bins_out != NULL; b++) {
        bins_out[b] = filled[b];
    }
    return ece;
}

double figures_ece_labelled(const double *probability, const double *label, int64_t n, int32_t bins)
{
    CHECK(bins > 0 && bins <= BINS_MAX);
    struct reliability_bin filled[BINS_MAX] = {0};
    for (int64_t i = 0; i < n; i++) {
        bin_add(filled, bins, probability[i], label[i]);
    }
    return bins_finish(filled, bins, n);
}

/* ---- temperature ----------------------------------------------------------------------------- */

static double mean_weighted_tanh(const double *d, int64_t n, double a)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += d[i] * tanh(0.5 * a * d[i]);
    }
    return sum / (double)n;
}

/* The a at which mean d·tanh(a·d/2) = mean; 0 < mean < mean |d|. */
static double inverse_temperature(const double *d, int64_t n, double mean, double mean_square)
{
    double low = 2 * mean / mean_square, high = 2 * low;
    while (mean_weighted_tanh(d, n, high) < mean) {
        low = high;
        high *= 2;
    }
    for (int halving = 0; halving < HALVINGS_MAX; halving++) {
        double middle = sqrt(low) * sqrt(high);
        if (!(middle > low && middle < high)) {
            break;
        }
        if (mean_weighted_tanh(d, n, middle) < mean) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return sqrt(low) * sqrt(high);
}

double figures_temperature(const double *difference, int64_t n, double *nll_out)
{
    double sum = 0, squares = 0, absolute = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += difference[i];
        squares += difference[i] * difference[i];
        absolute += fabs(difference[i]);
    }
    *nll_out = NAN;
    if (n == 0) {
        return NAN;
    }
    if (sum <= 0) {
        return INFINITY;
    }
    if (sum >= absolute) { /* no difference is negative */
        return 0;
    }
    double a = inverse_temperature(difference, n, sum / (double)n, squares / (double)n);
    double nll = 0;
    for (int64_t i = 0; i < n; i++) {
        nll += log1p_exp(-a * difference[i]);
    }
    *nll_out = nll / (double)n;
    return 1 / a;
}

/* ---- area under the curve -------------------------------------------------------------------- */

struct scored {
    double score, label;
};

static int compare_scored(const void *a, const void *b)
{
    double x = ((const struct scored *)a)->score, y = ((const struct scored *)b)->score;
    return (x > y) - (x < y);
}

double figures_auc(const double *score, const double *label, int64_t n)
{
    struct scored *sorted = mem_alloc(size_mul(sizeof(*sorted), (size_t)n + 1));
    for (int64_t i = 0; i < n; i++) {
        sorted[i] = (struct scored){score[i], label[i]};
    }
    qsort(sorted, (size_t)n, sizeof(*sorted), compare_scored);
    double positives = 0, negatives = 0, won = 0;
    for (int64_t begin = 0, end; begin < n; begin = end) {
        double tied_positives = 0, tied_negatives = 0;
        for (end = begin; end < n && sorted[end].score == sorted[begin].score; end++) {
            tied_positives += sorted[end].label > 0;
            tied_negatives += !(sorted[end].label > 0);
        }
        won += tied_positives * (negatives + 0.5 * tied_negatives);
        positives += tied_positives;
        negatives += tied_negatives;
    }
    mem_free(sorted);
    return positives > 0 && negatives > 0 ? won / (positives * negatives) : NAN;
}
