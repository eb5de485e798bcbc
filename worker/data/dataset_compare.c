/* SPDX-License-Identifier: Apache-2.0
 *
 * dataset_compare: a group held against those that were kept before it, of all sources.
 *
 * Duplicates and contradictions are found by 64-bit hashes of the rows' texts before truncation: of
 * the texts in preference order, and of the texts as a set. Whether a group is one depends on what
 * came before it, so groups are compared in the order of the data, whoever read them.
 */
#include <stdlib.h>

#include "lib/limits.h"
#include "lib/map.h"
#include "worker/data/dataset_build.h"

struct ranked_hash {
    uint64_t hash;
    uint64_t better; /* rows of the group that score higher */
};

static int ranked_compare(const void *a, const void *b)
{
    const struct ranked_hash *x = a, *y = b;
    if (x->better != y->better) {
        return x->better < y->better ? -1 : 1;
    }
    return (x->hash > y->hash) - (x->hash < y->hash);
}

static int hash_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Does the earlier group order some two rows of this one the other way? */
static bool opposite(const struct dataset_build *build, const struct data_group *earlier,
                     const struct data_group *group)
{
    const struct data_row *rows = &build->rows[group->row0];
    float scores[GROUP_RESPONSES_MAX]; /* the earlier group's, of this one's rows */
    for (int32_t i = 0; i < group->rows; i++) {
        int64_t row = earlier->row0;
        while (row < earlier->row0 + earlier->rows - 1 &&
               build->row_hashes[row] != build->row_hashes[group->row0 + i]) {
            row++;
        }
        scores[i] = build->rows[row].score;
        for (int32_t j = 0; j < i; j++) {
            if (rows[j].score > rows[i].score && scores[j] < scores[i]) {
                return true;
            }
        }
    }
    return false;
}

void group_compare(struct dataset_build *build, int64_t index, struct admission *admission)
{
    const struct data_group *group = &build->groups[index];
    const struct data_row *rows = &build->rows[group->row0];
    struct ranked_hash ranked[GROUP_RESPONSES_MAX];
    uint64_t set[GROUP_RESPONSES_MAX];
    for (int32_t i = 0; i < group->rows; i++) {
        bool tied = i > 0 && rows[i].score == rows[i - 1].score;
        ranked[i].hash = build->row_hashes[group->row0 + i];
        ranked[i].better = tied ? ranked[i - 1].better : (uint64_t)i;
        set[i] = ranked[i].hash;
    }
    size_t count = (size_t)group->rows;
    qsort(ranked, count, sizeof(ranked[0]), ranked_compare);
    qsort(set, count, sizeof(set[0]), hash_compare);
    uint64_t order_key = hash_bytes(ranked, count * sizeof(ranked[0]), 0);
    uint64_t set_key = hash_bytes(set, count * sizeof(set[0]), 0);
    if (!map_put(build->orders, &order_key, sizeof(order_key), 0, NULL)) {
        admission_add(admission, group->source, FINDING_DUPLICATE, group->line);
    }
    uint64_t *first;
    if (!map_put(build->sets, &set_key, sizeof(set_key), (uint64_t)index, &first) &&
        opposite(build, &build->groups[*first], group)) {
        admission_add(admission, group->source, FINDING_CONTRADICTION, group->line);
    }
}
