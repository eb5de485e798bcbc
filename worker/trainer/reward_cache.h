/* SPDX-License-Identifier: Apache-2.0
 *
 * reward_cache: the rewards that a model gives to a set of rows, kept between runs.
 *
 * A hundred customers of one general model would each measure it on the same general data before
 * they train. Rewards are batch-invariant and have the same bits on the same numerics, so they are
 * a function of (model, reward head, token rows, pooling, numerics): the key is the digest of just
 * that, nothing ever has to be invalidated, and a damaged or foreign file is a miss.
 *
 *     char key[SHA256_HEX_SIZE];
 *     reward_cache_key(model, pooling, dataset, key);
 *     if (!reward_cache_load(dir, key, reward, dataset->row_count)) {
 *         … scorer_rewards …
 *         reward_cache_store(dir, key, reward, dataset->row_count);
 *     }
 *
 * A cache is a help, not a duty: what cannot be written is logged and forgotten.
 */
#ifndef TAILOR_WORKER_TRAINER_REWARD_CACHE_H
#define TAILOR_WORKER_TRAINER_REWARD_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/sha256.h"
#include "worker/data/dataset.h"
#include "worker/model/model.h"

/* Valid while the model has the weights it was opened with. */
void reward_cache_key(const struct model *model, enum pooling pooling,
                      const struct dataset *dataset, char key_out[SHA256_HEX_SIZE]);
/* `dir` is the token cache's; NULL: always a miss. reward_out (row_count) is written on a hit only.
 */
bool reward_cache_load(const char *dir, const char *key, float *reward_out, int64_t row_count);
void reward_cache_store(const char *dir, const char *key, const float *reward, int64_t row_count);

#endif
