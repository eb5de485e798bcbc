/* SPDX-License-Identifier: Apache-2.0
 *
 * admission_join: the reports of an admission's shards as one.
 *
 * Counts are added. Lines are put in their order before the list's bound cuts them: every shard
 * lists the first of its own, so the first of all are among them. The same holds for the names of
 * unknown columns. Duplicates and contradictions are left out: a shard has seen too little of the
 * data to know them.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/arena.h"
#include "worker/data/admission.h"
#include "worker/data/admission_parts.h"

struct joining {
    const struct admission *const *reports;
    int count;
    struct admission *joined;
    int source;
};

static const struct admission_part *part_of(const struct joining *it, int report)
{
    return &it->reports[report]->parts[it->source];
}

static void counts_add(const struct joining *it)
{
    struct admission_source *sum = admission_source(it->joined, it->source);
    for (int k = 0; k < it->count; k++) {
        const struct admission_source *source = &part_of(it, k)->source;
        sum->groups_read += source->groups_read;
        sum->groups_kept += source->groups_kept;
        sum->rows += source->rows;
        sum->pairs += source->pairs;
        sum->tokens += source->tokens;
        sum->tokens_shared += source->tokens_shared;
        sum->longer_preferred += source->longer_preferred;
        sum->length_pairs += source->length_pairs;
    }
    memcpy(sum->form, part_of(it, 0)->source.form, sizeof(sum->form));
}

/* A line of a list, and of an unknown column its name. */
struct listed {
    int64_t line;
    int32_t index; /* in its report's list: columns of one line stay in their order */
    const char *column;
};

static int compare_listed(const void *a, const void *b)
{
    const struct listed *x = a, *y = b;
    return x->line != y->line ? (x->line > y->line) - (x->line < y->line)
                              : (x->index > y->index) - (x->index < y->index);
}

/* All lines of one finding, in their order; to be freed. */
static struct listed *lines_gather(const struct joining *it, enum finding finding, size_t *count)
{
    bool columns = finding == FINDING_UNKNOWN_COLUMN;
    size_t total = 0;
    *count = 0;
    for (int k = 0; k < it->count; k++) {
        total += (size_t)part_of(it, k)->lists[finding].count;
    }
    struct listed *lines = mem_alloc(size_mul(sizeof(*lines), total + 1));
    for (int k = 0; k < it->count; k++) {
        const struct admission_part *part = part_of(it, k);
        int64_t of_this = part->lists[finding].count;
        of_this = columns && of_this > part->column_count ? part->column_count : of_this;
        for (int32_t i = 0; i < of_this; i++) {
            lines[(*count)++] = (struct listed){part->lists[finding].lines[i], i,
                                                columns ? part->columns[i] : NULL};
        }
    }
    qsort(lines, *count, sizeof(*lines), compare_listed);
    return lines;
}

static void finding_join(const struct joining *it, enum finding finding)
{
    struct admission_source *sum = admission_source(it->joined, it->source);
    size_t count;
    struct listed *lines = lines_gather(it, finding, &count);
    for (size_t i = 0; i < count; i++) {
        if (lines[i].column != NULL) {
            admission_column(it->joined, it->source, lines[i].column, lines[i].line);
        } else {
            admission_add(it->joined, it->source, finding, lines[i].line);
        }
    }
    mem_free(lines);
    if (finding != FINDING_UNKNOWN_COLUMN) { /* also those that are too many to be listed */
        sum->findings[finding] = 0;
        for (int k = 0; k < it->count; k++) {
            sum->findings[finding] += part_of(it, k)->source.findings[finding];
        }
    }
}

struct admission *admission_join(const struct admission *const *reports, int count)
{
    CHECK(count >= 1);
    struct admission *joined = admission_create(reports[0]->count);
    for (int source = 0; source < joined->count; source++) {
        const struct joining it = {reports, count, joined, source};
        counts_add(&it);
        for (int finding = 0; finding < FINDING_COUNT; finding++) {
            if (finding != FINDING_DUPLICATE && finding != FINDING_CONTRADICTION) {
                finding_join(&it, finding);
            }
        }
    }
    return joined;
}
