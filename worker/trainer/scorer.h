/* SPDX-License-Identifier: Apache-2.0
 *
 * scorer: the rewards (or the language-model loss) of a whole dataset.
 *
 * Groups are laid into packs in order, as many as fit; since scores are batch-invariant, how they
 * are cut changes nothing, and a shard's result merges exactly.
 */
#ifndef TAILOR_WORKER_TRAINER_SCORER_H
#define TAILOR_WORKER_TRAINER_SCORER_H

#include <stdint.h>

#include "lib/status.h"
#include "worker/data/dataset.h"
#include "worker/data/pack.h"
#include "worker/model/activations.h"
#include "worker/model/model.h"

/* Called now and then with how many rows are done; returns false to stop (STATUS_CANCELLED). May be
 * NULL. */
typedef bool scorer_progress(void *argument, int64_t rows_done, int64_t rows);

struct scorer {
    const struct model *model; /* borrowed */
    struct activations *acts;  /* borrowed; its capacity bounds the packs */
    enum pooling pooling;
    enum pack_mode mode;
    scorer_progress *progress;
    void *progress_argument;
};

/* reward_out: (dataset->row_count), in row order. STATUS_NUMERIC names the first row whose reward
 * is not finite. */
enum status scorer_rewards(const struct scorer *scorer, const struct dataset *dataset,
                           float *reward_out, struct error *error);

/* Mean over rows of the mean negative log-likelihood of their tokens (stage lm); row_nll_out may be
 * NULL, else (row_count). */
enum status scorer_nll(const struct scorer *scorer, const struct dataset *dataset,
                       float *row_nll_out, double *mean_out, struct error *error);

/* One row of ids. */
float scorer_row(const struct scorer *scorer, const int32_t *ids, int32_t count);

#endif
