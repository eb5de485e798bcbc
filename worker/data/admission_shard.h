/* SPDX-License-Identifier: Apache-2.0
 *
 * admission_shard: an admission in parts that several processes read, and the parts put together.
 *
 *     each:  TRY(admission_shard_read(&all, shard, shards, &bytes, error));
 *     one:   TRY(admission_shards_join(&all, parts, shards, &admission, error));
 *
 * The report is that of one process, to the last number and line, whatever the number of shards: a
 * shard reads, renders and encodes its blocks of records (that is the work), and leaves what a
 * group is by itself with its rows' hashes, scores and lengths. What a group is beside the others
 * (duplicates, contradictions), and all that is counted in the order of the data, is found where
 * they are put together. Of several sentences about broken records the first in the data counts.
 */
#ifndef TAILOR_WORKER_DATA_ADMISSION_SHARD_H
#define TAILOR_WORKER_DATA_ADMISSION_SHARD_H

#include "lib/buf.h"
#include "lib/file.h"
#include "worker/data/admission.h"

/* What all shards share; borrowed for the call. */
struct admission_whole {
    const struct data_source *sources;
    int count;
    const struct text_format *format;
    const struct tokenizer *tokenizer;
};

/* Appends shard `shard` of `shards`, from 1. What is wrong with the data is a part of it, and no
 * failure: STATUS_OK. */
enum status admission_shard_read(const struct admission_whole *whole, int64_t shard, int64_t shards,
                                 struct buf *bytes, struct error *error);
/* Of `parts` the i-th is what shard i + 1 left. Free the report with admission_free. Fails as
 * dataset_open does where data cannot be read, and with STATUS_UNSUPPORTED where a part is none. */
enum status admission_shards_join(const struct admission_whole *whole, const struct file_map *parts,
                                  int64_t shards, struct admission **admission_out,
                                  struct error *error);

#endif
