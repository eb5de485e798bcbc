/* SPDX-License-Identifier: Apache-2.0
 *
 * dataset_build: sources read into growing arrays, with their findings. Private to dataset.c.
 */
#ifndef TAILOR_WORKER_DATA_DATASET_BUILD_H
#define TAILOR_WORKER_DATA_DATASET_BUILD_H

#include "worker/data/admission.h"
#include "worker/data/dataset.h"

struct map;

struct dataset_build {
    struct data_group *groups;
    struct data_row *rows;
    uint64_t *row_hashes; /* of each row's text before truncation */
    int32_t *tokens;
    int64_t group_count, group_capacity;
    int64_t row_count, row_capacity;
    int64_t token_count, token_capacity;
    int64_t pair_count;
    int32_t row_tokens_max, group_rows_max;
    struct map *orders; /* what was said (rows and their order), for duplicates */
    struct map *sets; /* what it was said of (rows) → the first such group, for contradictions */
};

/* Reads all sources; `admission` has one entry for each. Release the build in every case. */
enum status dataset_build_run(struct dataset_build *build, const struct data_source *sources,
                              int count, const struct text_format *format,
                              const struct tokenizer *tokenizer, struct admission *admission,
                              struct error *error);
void dataset_build_release(struct dataset_build *build);

#endif
