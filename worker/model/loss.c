/* SPDX-License-Identifier: Apache-2.0
 *
 * log σ is computed as −log1p(e^−d), from the side that cannot overflow.
 */
#include "worker/model/loss.h"

#include <math.h>

#include "lib/check.h"

void ranking_sums_clear(struct ranking_sums *sums)
{
    *sums = (struct ranking_sums){.reward_min = INFINITY, .reward_max = -INFINITY};
}

void ranking_sums_add(struct ranking_sums *sums, const struct ranking_sums *more)
{
    sums->rank += more->rank;
    sums->centring += more->centring;
    sums->pairs += more->pairs;
    sums->correct += more->correct;
    sums->margin += more->margin;
    sums->reward += more->reward;
    sums->rewards += more->rewards;
    sums->reward_min = fmin(sums->reward_min, more->reward_min);
    sums->reward_max = fmax(sums->reward_max, more->reward_max);
}

/* −log σ(d) = log(1 + e^−d) */
static double minus_log_sigmoid(double d)
{
    return d > 0 ? log1p(exp(-d)) : log1p(exp(d)) - d;
}

/* 1 − σ(d) = 1 / (1 + e^d) */
static double one_minus_sigmoid(double d)
{
    return d > 0 ? exp(-d) / (1 + exp(-d)) : 1 / (1 + exp(d));
}

void ranking_loss(const float *reward, const struct data_row *rows, int32_t K, double pair_weight,
                  double center_rewards_coefficient, float *dreward, struct ranking_sums *sums)
{
    for (int32_t k = 0; k < K; k++) {
        if (dreward != NULL) {
            dreward[k] = 0;
        }
        sums->reward += reward[k];
        sums->reward_min = fmin(sums->reward_min, reward[k]);
        sums->reward_max = fmax(sums->reward_max, reward[k]);
    }
    sums->rewards += K;
    for (int32_t i = 0; i < K; i++) {
        for (int32_t j = 0; j < K; j++) {
            if (!(rows[i].score > rows[j].score)) {
                continue;
            }
            double d = (double)reward[i] - reward[j];
            double s = (double)reward[i] + reward[j];
            double z = d - rows[i].margin;
            sums->rank += minus_log_sigmoid(z);
            sums->centring += center_rewards_coefficient * s * s;
            sums->pairs++;
            sums->correct += d > 0;
            sums->margin += d;
            if (dreward == NULL) {
                continue;
            }
            /* d/dr_i −log σ(z) = −(1 − σ(z)) = −d/dr_j;  d/dr (r_i + r_j)² = 2 (r_i + r_j) */
            double slope = pair_weight * one_minus_sigmoid(z);
            double centre = pair_weight * 2 * center_rewards_coefficient * s;
            dreward[i] += (float)(centre - slope);
            dreward[j] += (float)(centre + slope);
        }
    }
}

int32_t group_pairs(const struct data_row *rows, int32_t K)
{
    int32_t pairs = 0;
    for (int32_t i = 0; i < K; i++) {
        for (int32_t j = 0; j < K; j++) {
            pairs += rows[i].score > rows[j].score;
        }
    }
    return pairs;
}

bool row_imitated(const struct loss_config *config, const struct data_row *row, bool own)
{
    if (row->tokens < 2 || row_imitated_from(config, row) >= row->tokens) {
        return false;
    }
    if (config->language_model) {
        return true;
    }
    return config->lm_loss_coeff > 0 && (own || !config->lm_own_only) &&
           row->normalised > config->lm_score_thresh;
}

int32_t row_imitated_from(const struct loss_config *config, const struct data_row *row)
{
    return config->lm_on_response && row->answer_token > 1 ? row->answer_token : 1;
}
