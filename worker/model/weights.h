/* SPDX-License-Identifier: Apache-2.0
 *
 * weights: between safetensors files and a block that a params_table lays out.
 */
#ifndef TAILOR_WORKER_MODEL_WEIGHTS_H
#define TAILOR_WORKER_MODEL_WEIGHTS_H

#include <stdbool.h>

#include "lib/buf.h"
#include "worker/model/params.h"
#include "worker/model/safetensors.h"
#include "worker/ops/ops.h"

/* Pairs every place of the table with its tensor: found_out is an array (table->count) of borrowed
 * tensors, freed by the caller. An adapter's names may lack "base_model.model.". The score may be
 * absent (its entry is NULL); an LM head that the table leaves out may be present. Any other
 * tensor that is missing, left over or misshaped is STATUS_FORMAT; the first five are named. */
enum status weights_match(const struct params_table *table, const struct safetensors *set,
                          const char *dir, const struct safetensor ***found_out,
                          struct error *error);

/* Fills the block from the paired tensors; places without one are left alone. NaN and infinity
 * are STATUS_NUMERIC with tensor and index. */
enum status weights_load(struct device *device, const struct params_table *table,
                         const struct safetensor *const *found, float *block, struct error *error);

/* From one block of the device to another, by way of the host. */
void weights_copy(struct device *device, float *to, const float *from, size_t elements);

/* Appends "name dtype shape sha256" lines of all tensors, in order of name: what a model's digest
 * is made of. The same tensors give the same lines, however they are cut into shards. */
void weights_describe(struct pool *pool, const struct safetensors *set, struct buf *lines);

struct weights_write_options {
    enum weight_dtype dtype;
    int32_t vocabulary; /* rows of the embedding; beyond the table's they are zero. 0: as it is */
    bool skip_lm_head;
};

enum status weights_write(struct device *device, const struct params_table *table,
                          const float *block, const struct weights_write_options *options,
                          const char *path, struct error *error);

#endif
