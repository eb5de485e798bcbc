/* SPDX-License-Identifier: Apache-2.0
 *
 * dataset_build: sources read into growing arrays, with their findings. Private to dataset.c and
 * admission_shard.c.
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
    /* Of a run that failed: in which source, and at which of its records, from 1; 0: at none. */
    int32_t failed_source;
    int64_t failed_record;
};

void dataset_build_init(struct dataset_build *build);

/* Initialises the build and reads all sources; `admission` has one entry for each. Release the
 * build in every case. */
enum status dataset_build_run(struct dataset_build *build, const struct data_source *sources,
                              int count, const struct text_format *format,
                              const struct tokenizer *tokenizer, struct admission *admission,
                              struct error *error);
void dataset_build_release(struct dataset_build *build);

/* STATUS_LIMIT: `source` has one group too many. */
enum status build_has_room(const struct dataset_build *build, const struct data_source *source,
                           struct error *error);
/* Makes room for one more group of `rows` rows and `tokens` tokens. */
void build_reserve(struct dataset_build *build, int64_t rows, int64_t tokens);
/* Adds the findings of group `index` beside all groups before it, each of which has been compared.
 */
void group_compare(struct dataset_build *build, int64_t index, struct admission *admission);
/* Median and 95th percentile (nearest rank) of the lengths of the rows from row0 on. */
void lengths_summarise(const struct dataset_build *build, int64_t row0,
                       struct admission_source *report);

#endif
