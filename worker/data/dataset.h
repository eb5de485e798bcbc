/* SPDX-License-Identifier: Apache-2.0
 *
 * dataset: admitted preference data as token rows, ready to be sampled.
 *
 *     file → record (form detected) → admission (counts, findings, verdict) → tokens → dataset
 *
 * A *group* is one prompt with K rows, each with a score; higher is preferred. Rows of a group are
 * stored in preference order: raw score descending, of equal scores the later one first. Tokens are
 * made once per (data digest, tokenizer digest, text format) and mapped from the cache afterwards.
 *
 * Immutable after opening; any thread may read.
 */
#ifndef TAILOR_WORKER_DATA_DATASET_H
#define TAILOR_WORKER_DATA_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/sha256.h"
#include "lib/status.h"
#include "worker/data/template.h"
#include "worker/data/tokenizer.h"

struct admission; /* worker/data/admission.h: the report */

/* One source: a file and how to read it. Strings are borrowed for the call. */
struct data_source {
    const char *path;
    const char *name;   /* for reports; NULL: the file's base name */
    const char *domain; /* DSP domains: the preferred one; NULL otherwise */
    bool pairs;         /* split a DSP-domain group into K-1 pairs */
    int64_t limit;      /* use only the first `limit` groups; 0: all */
    int64_t shard,
        shards; /* only this shard's blocks of records, from 1; 0, 0: all. No limit then */
    struct data_columns { /* renames: NULL means the form's own name */
        const char *prompt, *chosen, *rejected, *responses, *scores, *text, *margin, *query;
    } columns;
    bool language_model; /* stage lm: texts to imitate, no preference needed */
    bool any_form;       /* scoring: texts or preferences, whichever the file holds */
};

struct data_group {
    int64_t row0;         /* index of its first row */
    int32_t rows;         /* K; 1 for a text of stage lm */
    int32_t source;       /* which source it came from */
    int64_t line;         /* line (or list index) in the source, 1-based, for reports */
    int32_t pairs;        /* ordered pairs with different scores */
    int32_t tokens;       /* sum of its rows' tokens (not shared) */
    uint64_t prompt_hash; /* of the prompt's text: equal prompts, equal hashes, in every source */
};

struct data_row {
    int64_t token0;
    int32_t tokens;
    int32_t response;     /* its index in the source's record, before sorting */
    float score;          /* raw */
    float normalised;     /* the imitation threshold's scale (engine.md, Losses) */
    float margin;         /* of this row's pair where the data give one (K = 2), else 0 */
    int32_t answer_token; /* first token of the response, 0 where unknown (lm_loss_on: response) */
};

struct dataset {
    int64_t group_count, row_count, token_count, pair_count;
    const struct data_group *groups;
    const struct data_row *rows;
    const int32_t *tokens;
    int32_t row_tokens_max;
    int32_t group_rows_max;
    int32_t source_count;
    char (*source_names)[128];
    char digest[SHA256_HEX_SIZE]; /* of the sources' bytes and options */
    void *storage;                /* owned: the mapping or the heap blocks */
};

/* Records are dealt to shards in blocks, by their place: nobody knows how many there are before the
 * file has been read. */
enum { SHARD_BLOCK_RECORDS = 32 };

/* What reports and sentences call it. */
const char *data_source_name(const struct data_source *source);

/* Opens the sources, in order, as one dataset. `cache_dir` may be NULL (no cache). `admission_out`
 * may be NULL; otherwise free it with admission_free. Errors name file and line. */
enum status dataset_open(const struct data_source *sources, int count,
                         const struct text_format *format, const struct tokenizer *tokenizer,
                         const char *cache_dir, struct dataset **dataset_out,
                         struct admission **admission_out, struct error *error);
void dataset_free(struct dataset *dataset);

/* A deterministic split of the groups by their prompt_hash: `evaluation` gets about `fraction` of
 * them, never one whose prompt is also in `train`. STATUS_USAGE where a side would be empty. Both
 * borrow `whole`'s tokens and names, which must live longer; groups and rows are their own. */
enum status dataset_split(const struct dataset *whole, double fraction, uint64_t seed,
                          struct dataset **train_out, struct dataset **evaluation_out,
                          struct error *error);
/* A seeded sample of at most `pairs` pairs' worth of groups (all when pairs is 0), in their order,
 * borrowing as above. Groups without a pair are left out, unless no group has one (stage lm): then
 * a group counts as one pair. */
struct dataset *dataset_sample(const struct dataset *whole, int64_t pairs, uint64_t seed);

/* Scores of one group, sorted as the rows are: raw → order and normalised values.
 *   all scores >= 0: score / (highest + 1e-5);  else (s - min) / (max - min), 0 when all are equal.
 * order_out[i] = index in `raw` of the i-th row. */
void scores_normalise(const float *raw, int32_t count, int32_t *order_out, float *normalised_out);

/* Texts again, for reports and previews: one row's rendered text, read from the source file. */
enum status dataset_row_text(const struct data_source *source, const struct text_format *format,
                             const struct tokenizer *tokenizer, int64_t line, int32_t response,
                             struct buf *text, struct error *error);

#endif
