/* SPDX-License-Identifier: Apache-2.0
 *
 * admission: what is wrong with the data, counted, listed with line numbers, and judged before a
 * slot is used. Nothing is dropped silently: every group that does not train has a finding.
 */
#ifndef TAILOR_WORKER_DATA_ADMISSION_H
#define TAILOR_WORKER_DATA_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/buf.h"
#include "lib/status.h"
#include "worker/data/dataset.h"

enum finding {
    FINDING_DUPLICATE,     /* same prompt, responses and order as an earlier group */
    FINDING_CONTRADICTION, /* same prompt and responses, opposite order */
    FINDING_TIE,           /* no two scores differ: kept only for imitation */
    FINDING_EMPTY,         /* an empty response or prompt */
    FINDING_IDENTICAL,     /* rows that became identical (after truncation) */
    FINDING_OVERLONG,      /* longer than max_length: dropped or truncated, as the policy says */
    FINDING_INVALID_UTF8,
    FINDING_ONE_RESPONSE,
    FINDING_OVERLAP,        /* its prompt is also in the other set (train against evaluation) */
    FINDING_UNKNOWN_COLUMN, /* counted, not fatal */
    FINDING_COUNT
};

struct admission_policy { /* shares of groups; negative: no bound */
    double contradictions_max, duplicates_max, ties_max, overlong_max, identical_max, overlap_max;
    int64_t min_groups, min_pairs;
};

enum verdict { VERDICT_ACCEPTED, VERDICT_WARNINGS, VERDICT_REJECTED };

struct admission_source {
    char name[128];
    char form[48]; /* "ranked group", "dsp domains", "preference (trl)", … */
    int64_t groups_read, groups_kept, rows, pairs;
    int64_t tokens, tokens_shared; /* shared: what the groups' tries hold */
    int64_t findings[FINDING_COUNT];
    int64_t longer_preferred, length_pairs; /* share of pairs whose longer response is preferred */
    int32_t row_tokens_median, row_tokens_p95, row_tokens_max;
};

struct admission;

struct admission *admission_create(int sources);
void admission_free(struct admission *admission);
struct admission_source *admission_source(struct admission *admission, int source);
int admission_source_count(const struct admission *admission);
/* Remembers a finding for listing (the first ADMISSION_LISTED_MAX of each kind) and counts it. */
void admission_add(struct admission *admission, int source, enum finding finding, int64_t line);
int64_t admission_listed(const struct admission *admission, int source, enum finding finding,
                         const int64_t **lines_out);
/* Counts a column that the form doesn't have: one FINDING_UNKNOWN_COLUMN for each distinct name. */
void admission_column(struct admission *admission, int source, const char *name, int64_t line);
/* Marks the groups of `evaluation` whose prompt occurs in `train`; adds FINDING_OVERLAP to it. */
void admission_overlap(struct admission *evaluation_report, const struct dataset *evaluation,
                       const struct dataset *train);

const char *finding_name(enum finding finding); /* "contradiction", … */
/* Shares are of one source's groups, so that a small bad source can't hide behind a big good one;
 * minima are of all sources together. `policy` may be NULL: no bounds. Appends to `reasons` (NULL
 * is fine) a line for every bound that is broken and every finding worth a look. Data of which no
 * group is left are rejected whatever the policy says. */
enum verdict admission_judge(const struct admission *admission,
                             const struct admission_policy *policy, struct buf *reasons);
/* "accepted", "accepted with warnings", "rejected" */
const char *verdict_name(enum verdict verdict);
/* For people (table and sentences) or as JSON. */
void admission_print(const struct admission *admission, const struct admission_policy *policy,
                     bool json, FILE *out);

/* Does such a failure to read the data say what is wrong with them? Any other is the machine's. */
bool admission_is_verdict(enum status status);
/* The reports of shards, of the same sources, as one; all but duplicates and contradictions. Free
 * it with admission_free. */
struct admission *admission_join(const struct admission *const *reports, int count);

/* The whole report as bytes, for the token cache, and back: false if they are not such bytes. */
void admission_pack(const struct admission *admission, struct buf *bytes);
bool admission_unpack(const void *bytes, size_t size, struct admission **admission_out);

enum { ADMISSION_LISTED_MAX = 10000 };

#endif
