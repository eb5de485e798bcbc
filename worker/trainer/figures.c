/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything is read from rewards and scores in the order of the data, in double: the same rewards
 * give the same bits, however the set was cut while it was scored.
 *
 * A "preferred row" is one with the best score of its group; groups without a pair take part in the
 * rewards' statistics and in nothing else. Where the paper's figures read a negative score as an
 * absent row, scores are taken relative to the worst of the group: in a dataset every row is there.
 */
#include "worker/trainer/figures.h"

#include <math.h>

#include "lib/arena.h"
#include "lib/check.h"
#include "lib/limits.h"
#include "worker/trainer/figures_parts.h"

/* ---- the paper's ----------------------------------------------------------------------------- */

/* Both orders of a pair count; the pair (i, j) is right if (r_j > r_i) says what (s_j > s_i) says.
 */
void paper_count_group(const double *reward, const double *score, int32_t K,
                       struct paper_counts *counts)
{
    for (int32_t i = 0; i < K; i++) {
        for (int32_t j = 0; j < K; j++) {
            if (score[i] < 0 || score[j] < 0 || score[i] == score[j]) {
                continue;
            }
            bool right = (reward[j] - reward[i] > 0) == (score[j] > score[i]);
            counts->total++;
            counts->total_right += right;
            if (i == 0 && j == 1) {
                counts->first_two++;
                counts->first_two_right += right;
            }
        }
    }
}

void paper_accuracies(const struct paper_counts *counts, double *total_out, double *first_two_out)
{
    *total_out = share(counts->total_right, counts->total);
    *first_two_out = share(counts->first_two_right, counts->first_two);
}

void figures_paper(const double *reward, const double *score, int64_t G, int32_t K,
                   double *total_out, double *first_two_out)
{
    struct paper_counts counts = {0};
    for (int64_t g = 0; g < G; g++) {
        paper_count_group(reward + g * K, score + g * K, K, &counts);
    }
    paper_accuracies(&counts, total_out, first_two_out);
}

/* ---- one pass over the groups ---------------------------------------------------------------- */

/* What is collected; arrays are as long as the dataset may need. */
struct collected {
    double *difference; /* (pairs) in the order of the data */
    int64_t pairs;
    double *score, *label; /* (rows that are in a group with a pair) for the AUC */
    int64_t labelled;
    struct group_share *groups; /* right pairs of each */
    int64_t longer, differing_lengths;
    struct paper_counts paper;
};

static int64_t pairs_of(const struct dataset *dataset)
{
    int64_t pairs = 0;
    for (int64_t g = 0; g < dataset->group_count; g++) {
        const struct data_row *rows = &dataset->rows[dataset->groups[g].row0];
        for (int32_t i = 0; i < dataset->groups[g].rows; i++) {
            for (int32_t j = 0; j < dataset->groups[g].rows; j++) {
                pairs += rows[i].score > rows[j].score;
            }
        }
    }
    return pairs;
}

static void collected_create(struct collected *c, const struct dataset *dataset)
{
    size_t rows = (size_t)dataset->row_count + 1;
    *c = (struct collected){0};
    c->difference = mem_alloc(size_mul(sizeof(double), (size_t)pairs_of(dataset) + 1));
    c->score = mem_alloc(size_mul(sizeof(double), rows));
    c->label = mem_alloc(size_mul(sizeof(double), rows));
    c->groups = mem_alloc(size_mul(sizeof(*c->groups), (size_t)dataset->group_count + 1));
}

static void collected_free(struct collected *c)
{
    mem_free(c->difference);
    mem_free(c->score);
    mem_free(c->label);
    mem_free(c->groups);
}

static void collect_pairs(struct collected *c, const struct data_row *rows, const float *reward,
                          int32_t K, struct group_share *of_group)
{
    for (int32_t i = 0; i < K; i++) {
        for (int32_t j = 0; j < K; j++) {
            if (!(rows[i].score > rows[j].score)) {
                continue;
            }
            double d = (double)reward[i] - reward[j];
            c->difference[c->pairs++] = d;
            of_group->pairs++;
            of_group->sum += d > 0;
            c->differing_lengths += rows[i].tokens != rows[j].tokens;
            c->longer += rows[i].tokens > rows[j].tokens;
        }
    }
}

static void collect_rows(struct collected *c, const struct data_row *rows, const float *reward,
                         int32_t K)
{
    CHECK(K <= GROUP_RESPONSES_MAX);
    double rewards[GROUP_RESPONSES_MAX], scores[GROUP_RESPONSES_MAX];
    double best = rows[0].score, worst = rows[0].score;
    for (int32_t k = 0; k < K; k++) {
        best = fmax(best, rows[k].score);
        worst = fmin(worst, rows[k].score);
    }
    for (int32_t k = 0; k < K; k++) {
        rewards[k] = reward[k];
        scores[k] = rows[k].score - worst;
        c->score[c->labelled] = reward[k];
        c->label[c->labelled++] = rows[k].score == best;
    }
    paper_count_group(rewards, scores, K, &c->paper);
}

static void collect(struct collected *c, const struct dataset *dataset, const float *reward)
{
    for (int64_t g = 0; g < dataset->group_count; g++) {
        const struct data_group *group = &dataset->groups[g];
        const struct data_row *rows = &dataset->rows[group->row0];
        collect_pairs(c, rows, reward + group->row0, group->rows, &c->groups[g]);
        if (c->groups[g].pairs > 0) {
            collect_rows(c, rows, reward + group->row0, group->rows);
        }
    }
}

/* ---- rewards of rows ------------------------------------------------------------------------- */

static void reward_figures(const struct dataset *dataset, const float *reward, struct figures *f)
{
    double n = (double)dataset->row_count, sum = 0, tokens = 0;
    f->reward_min = f->reward_max = f->reward_mean = f->reward_deviation = NAN;
    f->length_correlation = NAN;
    for (int64_t r = 0; r < dataset->row_count; r++) {
        CHECK(isfinite(reward[r])); /* scorer_rewards refuses others */
        sum += reward[r];
        tokens += dataset->rows[r].tokens;
        f->reward_min = fmin(f->reward_min, reward[r]);
        f->reward_max = fmax(f->reward_max, reward[r]);
    }
    if (dataset->row_count == 0) {
        return;
    }
    double mean = sum / n, mean_tokens = tokens / n;
    double rr = 0, tt = 0, rt = 0;
    for (int64_t row = 0; row < dataset->row_count; row++) {
        double r = reward[row] - mean, t = dataset->rows[row].tokens - mean_tokens;
        rr += r * r;
        tt += t * t;
        rt += r * t;
    }
    f->reward_mean = mean;
    f->reward_deviation = sqrt(rr / n);
    if (rr > 0 && tt > 0) {
        f->length_correlation = rt / (sqrt(rr) * sqrt(tt));
    }
}

static void pair_figures(const struct collected *c, struct figures *f)
{
    double margin = 0, brier = 0, nll = 0;
    for (int64_t i = 0; i < c->pairs; i++) {
        double d = c->difference[i];
        double miss = d > 0 ? exp(-d) / (1 + exp(-d)) : 1 / (1 + exp(d)); /* 1 − σ(d) */
        f->correct += d > 0;
        f->ties += d == 0;
        margin += d;
        brier += miss * miss;
        nll += log1p_exp(-d);
    }
    double pairs = c->pairs > 0 ? (double)c->pairs : NAN;
    f->pairs = c->pairs;
    f->accuracy = share(f->correct, f->pairs);
    f->margin = margin / pairs;
    f->brier = brier / pairs;
    f->nll = nll / pairs;
    f->longer_preferred = share(c->longer, c->differing_lengths);
}

void figures_compute(const struct dataset *dataset, const float *reward, double confidence,
                     uint64_t seed, struct figures *figures_out)
{
    struct collected c;
    struct figures f = {.groups = dataset->group_count, .rows = dataset->row_count};
    collected_create(&c, dataset);
    collect(&c, dataset, reward);
    reward_figures(dataset, reward, &f);
    pair_figures(&c, &f);
    f.accuracy_interval = interval_of_share(c.groups, dataset->group_count, confidence, seed);
    f.ece = figures_ece_confidence(c.difference, c.pairs, FIGURES_BINS, f.bins);
    f.temperature = figures_temperature(c.difference, c.pairs, &f.nll_at_temperature);
    f.auc = figures_auc(c.score, c.label, c.labelled);
    paper_accuracies(&c.paper, &f.paper_total_accuracy, &f.paper_first_two_accuracy);
    collected_free(&c);
    *figures_out = f;
}

/* ---- two models on the same groups ----------------------------------------------------------- */

void figures_compare(const struct dataset *dataset, const float *before, const float *after,
                     double confidence, uint64_t seed, struct figures_difference *difference_out)
{
    struct figures_difference difference = {0};
    struct group_share all = {0};
    struct group_share *groups =
        mem_alloc(size_mul(sizeof(*groups), (size_t)dataset->group_count + 1));
    for (int64_t g = 0; g < dataset->group_count; g++) {
        int64_t row0 = dataset->groups[g].row0;
        const struct data_row *rows = &dataset->rows[row0];
        for (int32_t i = 0; i < dataset->groups[g].rows; i++) {
            for (int32_t j = 0; j < dataset->groups[g].rows; j++) {
                if (!(rows[i].score > rows[j].score)) {
                    continue;
                }
                bool was = before[row0 + i] > before[row0 + j];
                bool is = after[row0 + i] > after[row0 + j];
                difference.gained += is && !was;
                difference.lost += was && !is;
                groups[g].sum += is - was;
                groups[g].pairs++;
            }
        }
        all.sum += groups[g].sum;
        all.pairs += groups[g].pairs;
    }
    difference.accuracy = share(all.sum, all.pairs);
    difference.interval = interval_of_share(groups, dataset->group_count, confidence, seed);
    mem_free(groups);
    *difference_out = difference;
}
