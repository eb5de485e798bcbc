/* SPDX-License-Identifier: Apache-2.0
 *
 * dataset_build: records → groups, kept or left out, each with its findings.
 *
 * What is left out: invalid UTF-8; fewer than two present responses; a row over max_length where
 * the policy is drop; a row without a token; different scores, but all between rows with the same
 * tokens. What is kept though it has a finding: duplicates, contradictions, ties (for imitation),
 * empty texts, truncated rows, and groups in which identical rows are only some: the gradients of
 * such a pair cancel. admission_judge decides about the whole.
 *
 * What a group is beside the others, dataset_compare.c finds.
 */
#include "worker/data/dataset_build.h"

#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/limits.h"
#include "lib/map.h"
#include "worker/data/pack.h"
#include "worker/data/record.h"
#include "worker/data/row_batch.h"

/* A group that may be kept: its rows in preference order. */
struct candidate {
    const struct batch_record *record;
    const struct batch_row *rows[GROUP_RESPONSES_MAX];
    float normalised[GROUP_RESPONSES_MAX];
    int32_t count;
    int32_t pairs;
};

struct build_context {
    struct dataset_build *build;
    const struct data_source *source;
    int32_t index; /* of the source */
    struct admission *admission;
    struct row_batch *batch;
};

static void finding_add(const struct build_context *context, const struct candidate *candidate,
                        enum finding finding)
{
    admission_add(context->admission, context->index, finding, candidate->record->number);
}

static void candidate_sort(struct candidate *candidate)
{
    const struct batch_row *unsorted[GROUP_RESPONSES_MAX];
    float raw[GROUP_RESPONSES_MAX];
    int32_t order[GROUP_RESPONSES_MAX];
    for (int32_t i = 0; i < candidate->count; i++) {
        unsorted[i] = candidate->rows[i];
        raw[i] = unsorted[i]->score;
    }
    scores_normalise(raw, candidate->count, order, candidate->normalised);
    for (int32_t i = 0; i < candidate->count; i++) {
        candidate->rows[i] = unsorted[order[i]];
        for (int32_t j = 0; j < i; j++) {
            candidate->pairs += candidate->rows[j]->score > candidate->rows[i]->score;
        }
    }
}

/* Are there rows with the same tokens; and are there two that differ in both tokens and score? */
static bool candidate_identical(const struct candidate *candidate, bool *comparable_out)
{
    bool identical = false;
    *comparable_out = false;
    for (int32_t i = 0; i < candidate->count; i++) {
        const struct batch_row *a = candidate->rows[i];
        for (int32_t j = i + 1; j < candidate->count; j++) {
            const struct batch_row *b = candidate->rows[j];
            bool same =
                a->ids.count == b->ids.count &&
                memcmp(a->ids.items, b->ids.items, a->ids.count * sizeof(*a->ids.items)) == 0;
            identical |= same;
            *comparable_out |= !same && a->score != b->score;
        }
    }
    return identical;
}

/* Adds the findings that a group has by itself; false if it is left out. */
static bool candidate_check(const struct build_context *context, struct candidate *candidate)
{
    bool overlong = false, dropped = false, empty = candidate->record->prompt_empty;
    for (int32_t i = 0; i < candidate->count; i++) {
        const struct batch_row *row = candidate->rows[i];
        overlong |= row->overlong;
        dropped |= row->dropped || row->ids.count == 0;
        empty |= row->empty || row->ids.count == 0;
    }
    if (empty) {
        finding_add(context, candidate, FINDING_EMPTY);
    }
    if (overlong) {
        finding_add(context, candidate, FINDING_OVERLONG);
    }
    if (dropped) {
        return false;
    }
    candidate_sort(candidate);
    bool comparable;
    bool identical = candidate_identical(candidate, &comparable);
    if (identical) {
        finding_add(context, candidate, FINDING_IDENTICAL);
    }
    if (candidate->pairs == 0 && candidate->count > 1) { /* one row is a text of stage lm */
        finding_add(context, candidate, FINDING_TIE);
    }
    return !identical || comparable || candidate->pairs == 0;
}

static void lengths_count(const struct candidate *candidate, struct admission_source *report)
{
    for (int32_t i = 0; i < candidate->count; i++) {
        for (int32_t j = i + 1; j < candidate->count; j++) {
            size_t better = candidate->rows[i]->ids.count, worse = candidate->rows[j]->ids.count;
            if (candidate->rows[i]->score > candidate->rows[j]->score && better != worse) {
                report->length_pairs++;
                report->longer_preferred += better > worse;
            }
        }
    }
}

static int64_t shared_tokens(const struct candidate *candidate)
{
    const int32_t *ids[GROUP_RESPONSES_MAX];
    int32_t counts[GROUP_RESPONSES_MAX];
    for (int32_t i = 0; i < candidate->count; i++) {
        ids[i] = candidate->rows[i]->ids.items;
        counts[i] = (int32_t)candidate->rows[i]->ids.count;
    }
    struct pack_group group = {.ids = ids, .counts = counts, .rows = candidate->count};
    return pack_group_tokens(&group);
}

enum status build_has_room(const struct dataset_build *build, const struct data_source *source,
                           struct error *error)
{
    return build->group_count < DATA_GROUPS_MAX
               ? STATUS_OK
               : error_set(error, STATUS_LIMIT,
                           "%s: more than %d groups; use limit, or several datasets", source->path,
                           DATA_GROUPS_MAX);
}

void build_reserve(struct dataset_build *build, int64_t rows, int64_t tokens)
{
    if (build->group_count == build->group_capacity) {
        build->group_capacity = build->group_capacity == 0 ? 1024 : 2 * build->group_capacity;
        build->groups = mem_grow(build->groups,
                                 size_mul(sizeof(*build->groups), (size_t)build->group_capacity));
    }
    if (build->row_count + rows > build->row_capacity) {
        build->row_capacity = 2 * (build->row_count + rows) + 1024;
        size_t capacity = (size_t)build->row_capacity;
        build->rows = mem_grow(build->rows, size_mul(sizeof(*build->rows), capacity));
        build->row_hashes =
            mem_grow(build->row_hashes, size_mul(sizeof(*build->row_hashes), capacity));
    }
    if (build->token_count + tokens > build->token_capacity) {
        build->token_capacity = 2 * (build->token_count + tokens) + 65536;
        build->tokens = mem_grow(build->tokens,
                                 size_mul(sizeof(*build->tokens), (size_t)build->token_capacity));
    }
}

static void row_append(struct dataset_build *build, const struct batch_row *row, float normalised,
                       float margin)
{
    struct data_row *out = &build->rows[build->row_count];
    memset(out, 0, sizeof(*out)); /* padding too: these bytes go into a file */
    out->token0 = build->token_count;
    out->tokens = (int32_t)row->ids.count;
    out->response = row->index;
    out->score = row->score;
    out->normalised = normalised;
    out->margin = margin;
    out->answer_token = row->answer_token;
    memcpy(build->tokens + build->token_count, row->ids.items,
           row->ids.count * sizeof(*build->tokens));
    build->row_hashes[build->row_count] = row->hash;
    build->token_count += out->tokens;
    build->row_count++;
    if (out->tokens > build->row_tokens_max) {
        build->row_tokens_max = out->tokens;
    }
}

static void candidate_keep(const struct build_context *context, const struct candidate *candidate)
{
    struct dataset_build *build = context->build;
    struct admission_source *report = admission_source(context->admission, context->index);
    int64_t tokens = 0;
    for (int32_t i = 0; i < candidate->count; i++) {
        tokens += (int64_t)candidate->rows[i]->ids.count;
    }
    build_reserve(build, candidate->count, tokens);
    struct data_group *group = &build->groups[build->group_count];
    memset(group, 0, sizeof(*group));
    group->row0 = build->row_count;
    group->rows = candidate->count;
    group->source = context->index;
    group->line = candidate->record->number;
    group->pairs = candidate->pairs;
    group->tokens = (int32_t)tokens;
    group->prompt_hash = candidate->record->prompt_hash;
    for (int32_t i = 0; i < candidate->count; i++) {
        row_append(build, candidate->rows[i], candidate->normalised[i],
                   candidate->count == 2 ? candidate->record->margin : 0);
    }
    build->group_count++;
    build->pair_count += group->pairs;
    if (group->rows > build->group_rows_max) {
        build->group_rows_max = group->rows;
    }
    report->groups_kept++;
    report->rows += group->rows;
    report->pairs += group->pairs;
    report->tokens += group->tokens;
    report->tokens_shared += shared_tokens(candidate);
    lengths_count(candidate, report);
}

/* The `which`-th group of a record: all its rows, or one pair of a DSP-domain group. */
static void candidate_make(const struct build_context *context, const struct batch_record *record,
                           int32_t which, struct candidate *candidate)
{
    const struct batch_row *rows = &context->batch->rows[record->row0];
    *candidate = (struct candidate){.record = record};
    if (context->source->pairs) {
        int32_t other = which < record->preferred ? which : which + 1;
        candidate->rows[candidate->count++] = &rows[record->preferred];
        candidate->rows[candidate->count++] = &rows[other];
        return;
    }
    for (int32_t i = 0; i < record->rows; i++) {
        candidate->rows[candidate->count++] = &rows[i];
    }
}

static enum status batch_finish(const struct build_context *context, struct error *error)
{
    struct row_batch *batch = context->batch;
    row_batch_encode(batch);
    for (int32_t r = 0; r < batch->record_count; r++) {
        for (int32_t which = 0; which < batch->records[r].groups; which++) {
            struct candidate candidate;
            candidate_make(context, &batch->records[r], which, &candidate);
            if (!candidate_check(context, &candidate)) {
                continue;
            }
            TRY(build_has_room(context->build, context->source, error));
            candidate_keep(context, &candidate);
            group_compare(context->build, context->build->group_count - 1, context->admission);
        }
    }
    row_batch_clear(batch);
    return STATUS_OK;
}

/* Takes one record into the batch; what cannot become a group is counted here. */
static enum status record_take(const struct build_context *context, const struct record *record,
                               struct error *error)
{
    const struct data_source *source = context->source;
    struct admission_source *report = admission_source(context->admission, context->index);
    for (int32_t i = 0; i < record->unknown_count; i++) {
        admission_column(context->admission, context->index, record->unknown[i], record->number);
    }
    int64_t groups = source->pairs && !record->invalid_utf8 ? record->response_count - 1 : 1;
    if (source->limit > 0 && groups > source->limit - report->groups_read) {
        groups = source->limit - report->groups_read;
    }
    report->groups_read += groups;
    if (record->invalid_utf8) {
        admission_add(context->admission, context->index, FINDING_INVALID_UTF8, record->number);
        return STATUS_OK;
    }
    if (record->response_count < 2 && !record->is_text) {
        admission_add(context->admission, context->index, FINDING_ONE_RESPONSE, record->number);
        return STATUS_OK;
    }
    return row_batch_add(context->batch, record, context->index, (int32_t)groups, error);
}

static enum status source_read(const struct build_context *context, struct record_reader *reader,
                               struct error *error)
{
    const struct admission_source *report = admission_source(context->admission, context->index);
    int64_t limit = context->source->limit;
    while (limit <= 0 || report->groups_read < limit) {
        struct record record;
        TRY(record_reader_next(reader, &record, error));
        if (record.number == 0) {
            break;
        }
        enum status status = record_take(context, &record, error);
        if (status != STATUS_OK) {
            error_prefix(error, "%s", record_reader_where(reader));
            return status;
        }
        if (row_batch_full(context->batch)) {
            TRY(batch_finish(context, error));
        }
    }
    return batch_finish(context, error);
}

void lengths_summarise(const struct dataset_build *build, int64_t row0,
                       struct admission_source *report)
{
    int64_t *histogram = mem_alloc(sizeof(int64_t) * ((size_t)build->row_tokens_max + 1));
    for (int64_t i = row0; i < build->row_count; i++) {
        histogram[build->rows[i].tokens]++;
    }
    int64_t rows = build->row_count - row0, seen = 0;
    int64_t median_rank = (rows + 1) / 2, p95_rank = (95 * rows + 99) / 100;
    for (int32_t length = 0; length <= build->row_tokens_max && rows > 0; length++) {
        int64_t before = seen;
        seen += histogram[length];
        if (before < median_rank && seen >= median_rank) {
            report->row_tokens_median = length;
        }
        if (before < p95_rank && seen >= p95_rank) {
            report->row_tokens_p95 = length;
        }
        if (histogram[length] > 0) {
            report->row_tokens_max = length;
        }
    }
    mem_free(histogram);
}

void dataset_build_init(struct dataset_build *build)
{
    *build = (struct dataset_build){.orders = map_create(0), .sets = map_create(0)};
}

enum status dataset_build_run(struct dataset_build *build, const struct data_source *sources,
                              int count, const struct text_format *format,
                              const struct tokenizer *tokenizer, struct admission *admission,
                              struct error *error)
{
    dataset_build_init(build);
    struct build_context context = {
        .build = build, .admission = admission, .batch = row_batch_create(format, tokenizer)};
    enum status status = STATUS_OK;
    for (int i = 0; i < count && status == STATUS_OK; i++) {
        int64_t row0 = build->row_count;
        struct record_reader *reader = NULL;
        context.source = &sources[i];
        context.index = i;
        status = record_reader_open(&sources[i], &reader, error);
        if (status == STATUS_OK) {
            status = source_read(&context, reader, error);
        }
        if (status == STATUS_OK) {
            struct admission_source *report = admission_source(admission, i);
            snprintf(report->form, sizeof(report->form), "%s", record_reader_form(reader));
            lengths_summarise(build, row0, report);
        } else {
            build->failed_source = i;
            build->failed_record = reader != NULL ? record_reader_place(reader) : 0;
        }
        record_reader_close(reader);
    }
    row_batch_free(context.batch);
    return status;
}

void dataset_build_release(struct dataset_build *build)
{
    map_free(build->orders);
    map_free(build->sets);
    mem_free(build->groups);
    mem_free(build->rows);
    mem_free(build->row_hashes);
    mem_free(build->tokens);
}
