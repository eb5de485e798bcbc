/* SPDX-License-Identifier: Apache-2.0
 *
 * loss: the ranking loss over groups, and how much each row imitates. In double, on the host: a
 * pack has tens of rewards, and |P| and |S| are counted over the whole global batch (all slices,
 * all ranks) before any backward pass, so that packing, accumulation and world size change nothing.
 *
 *   ranking   = −1/|P| · Σ log σ(r_i − r_j − m_ij)        over P = {(i, j): same group, s_i > s_j}
 *   centring  = c/|P| · Σ (r_i + r_j)²
 *   imitation = 1/|S| · Σ_s mean over its tokens of cross-entropy;  S: normalised score > threshold
 *   total     = ranking + centring + lm_loss_coeff · imitation        (Cheng et al. 2023, eq. 2 and
 * 5)
 */
#ifndef TAILOR_WORKER_MODEL_LOSS_H
#define TAILOR_WORKER_MODEL_LOSS_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/data/dataset.h"

struct loss_config {
    double lm_loss_coeff;
    double lm_score_thresh;
    double center_rewards_coefficient;
    bool lm_on_response; /* lm_loss_on: response */
    bool lm_own_only;    /* lm_loss_data: customized */
    bool language_model; /* stage lm: imitation of every text, alone */
};

/* Sums over groups; added up over packs and slices in canonical order. */
struct ranking_sums {
    double rank, centring;  /* not yet divided by |P| */
    int64_t pairs, correct; /* correct: r_i > r_j, strictly */
    double margin;          /* Σ r_i − r_j */
    double reward, reward_min, reward_max;
    int64_t rewards;
};

void ranking_sums_clear(struct ranking_sums *sums);
void ranking_sums_add(struct ranking_sums *sums, const struct ranking_sums *more);

/* One group: rewards (K), rows (K) with scores and margins. Adds to `sums`; if dreward is not NULL,
 * dreward[k] = d(total)/d(r_k) with pairs weighing `pair_weight` = 1/|P|. */
void ranking_loss(const float *reward, const struct data_row *rows, int32_t K, double pair_weight,
                  double center_rewards_coefficient, float *dreward, struct ranking_sums *sums);

/* Ordered pairs with s_i > s_j. */
int32_t group_pairs(const struct data_row *rows, int32_t K);

/* Is the row in S? */
bool row_imitated(const struct loss_config *config, const struct data_row *row, bool own);
/* First token that counts, at least 1; `tokens` when nothing does. */
int32_t row_imitated_from(const struct loss_config *config, const struct data_row *row);

#endif
