/* SPDX-License-Identifier: Apache-2.0
 *
 * measure: a spec that trains nothing (stages evaluate, score and admit), in one process or in
 * shards.
 *
 *     measure --spec S --out RUN                          all of it
 *     measure --spec S --out RUN --shard K --shards N     the K-th part, into RUN/shard/
 *     measure --spec S --out RUN --shards N               puts RUN/shards/1/ … /N/ together
 *
 * What is left, as of a training run: RUN/result.json (figures or a verdict) and RUN/rows/….jsonl.
 *
 * A reward does not depend on what else is computed beside it, so N shards give the bits of one
 * process, whatever N; figures are computed once, by whoever puts the shards together, from the
 * rewards of all rows. A shard says which data it read and with which numerics it computed.
 */
#ifndef TAILOR_WORKER_TRAINER_MEASURE_H
#define TAILOR_WORKER_TRAINER_MEASURE_H

#include "lib/arena.h"
#include "proto/spec.h"
#include "worker/trainer/examiner.h"

struct measure {
    const struct spec *spec;
    const char *run;
    int64_t shard, shards;      /* 0, 0: all; 0, N: put together */
    struct arguments arguments; /* what the spec says of the text format, as options */
    struct examiner examiner;   /* putting together needs its tokenizer and format only */
    struct arena arena;
    int64_t done, total; /* rows, for those who watch */
    double told;         /* monotonic time */
};

/* Data entry `i` of the spec, and its name for people. */
struct data_source measure_source(const struct measure *measure, int i);
const char *measure_name(const struct measure *measure, int i);
/* "RUN/shard/NAME", "RUN/shards/K/NAME", in the arena. */
const char *measure_own_path(struct measure *measure, const char *name);
const char *measure_part_path(struct measure *measure, int64_t shard, const char *name);
/* Appends a sentence in which a file is named as its owners name it. */
void measure_words(const struct measure *measure, const char *text, struct buf *out);
/* Tells those who watch that `rows` more are done, now and then. STATUS_CANCELLED: it is to stop.
 */
enum status measure_step(struct measure *measure, int64_t rows, struct error *error);
/* shard.json: which shard this is and what it computed with, besides `sets`, which it takes. */
enum status measure_write_shard(struct measure *measure, json_t *sets, struct error *error);
/* The sets of a shard.json; adds its numerics to the list, once. */
enum status measure_read_shard(struct measure *measure, int64_t shard, json_t *numerics,
                               json_t **sets_out, struct error *error);
/* result.json: takes `fields` and says stage and model besides. */
enum status measure_write_result(struct measure *measure, json_t *fields, struct error *error);

enum status measure_evaluate(struct measure *measure, struct error *error);
enum status measure_score(struct measure *measure, struct error *error);
enum status measure_admit(struct measure *measure, struct error *error);

#endif
