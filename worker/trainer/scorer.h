/* SPDX-License-Identifier: Apache-2.0
 *
 * scorer: the rewards (or the language-model loss) of a whole dataset.
 *
 * Groups are laid into packs in order, as many as fit; since scores are batch-invariant, how they
 * are cut changes nothing, and a shard's result merges exactly. So the ranks of a gang share the
 * groups, a stretch of about equal tokens each, and every rank gets all the results.
 */
#ifndef TAILOR_WORKER_TRAINER_SCORER_H
#define TAILOR_WORKER_TRAINER_SCORER_H

#include <stdint.h>

#include "lib/status.h"
#include "worker/data/dataset.h"
#include "worker/data/pack.h"
#include "worker/model/activations.h"
#include "worker/model/model.h"
#include "worker/trainer/gang.h"

/* Called now and then with how many rows of this rank's stretch are done; returns false to stop
 * (STATUS_CANCELLED). May be NULL. */
typedef bool scorer_progress(void *argument, int64_t rows_done, int64_t rows);

struct scorer {
    const struct model *model; /* borrowed */
    struct activations *acts;  /* borrowed; its capacity bounds the packs */
    enum pooling pooling;
    enum pack_mode mode;
    const struct gang *gang; /* borrowed; NULL: alone */
    scorer_progress *progress;
    void *progress_argument;
};

/* The stretch [first_out, first_out + count_out) of `rank` of `world`: borders where the tokens
 * before them reach its share. */
void scorer_stretch(const struct dataset *dataset, int32_t rank, int32_t world, int64_t *first_out,
                    int64_t *count_out);

/* First row of the group that stands at `group`; all rows at the end. */
int64_t scorer_row_of(const struct dataset *dataset, int64_t group);

/* reward_out: (dataset->row_count), in row order. STATUS_NUMERIC names the first row whose reward
 * is not finite. */
enum status scorer_rewards(const struct scorer *scorer, const struct dataset *dataset,
                           float *reward_out, struct error *error);

/* Of the groups [first, first + count) alone, each at its row's place; on this rank. */
enum status scorer_stretch_rewards(const struct scorer *scorer, const struct dataset *dataset,
                                   int64_t first, int64_t group_count, float *reward_out,
                                   struct error *error);

/* Mean over rows of the mean negative log-likelihood of their tokens (stage lm); row_nll_out may be
 * NULL, else (row_count). */
enum status scorer_nll(const struct scorer *scorer, const struct dataset *dataset,
                       float *row_nll_out, double *mean_out, struct error *error);

/* One row of ids, on this rank alone. */
float scorer_row(const struct scorer *scorer, const int32_t *ids, int32_t count);

#endif
