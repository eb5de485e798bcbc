/* SPDX-License-Identifier: Apache-2.0
 *
 * admission_shard: head | groups | rows | hashes | report | sentence.
 *
 * Structures lie there as in memory, as in a token cache's image; the sizes in the head tell a part
 * of another version. A part comes by its digest, from a worker of ours, but every index and count
 * in it is looked at all the same: bytes that someone made up must not lead outside of it.
 *
 * Rejected: parts with their tokens, to make the dataset's image of. They would be as large as the
 * data, and who trains on it encodes it once for itself, with the format of its own model.
 */
#include "worker/data/admission_shard.h"

#include <string.h>

#include "lib/arena.h"
#include "lib/limits.h"
#include "lib/text.h"
#include "worker/data/admission_parts.h"
#include "worker/data/dataset_build.h"

static const char SHARD_MAGIC[8] = {'t', 'a', 'i', 'l', 'p', 'a', 'r', 't'};

struct shard_head {
    char magic[8];
    uint32_t group_size, row_size, part_size; /* of the structures */
    int32_t status;                           /* STATUS_OK, or why the data cannot be read … */
    int64_t failed_source, failed_record;     /* … and where reading ended */
    int64_t group_count, row_count, report_bytes, sentence_bytes;
};

_Static_assert(sizeof(struct shard_head) % 8 == 0, "what follows is aligned");

/* ---- one part -------------------------------------------------------------------------------- */

static void part_append(const struct dataset_build *build, const struct admission *admission,
                        enum status status, const char *sentence, struct buf *bytes)
{
    struct buf report = {0};
    admission_pack(admission, &report);
    struct shard_head head = {.group_size = sizeof(struct data_group),
                              .row_size = sizeof(struct data_row),
                              .part_size = sizeof(struct admission_part),
                              .status = (int32_t)status,
                              .failed_source = build->failed_source,
                              .failed_record = build->failed_record,
                              .group_count = build->group_count,
                              .row_count = build->row_count,
                              .report_bytes = (int64_t)report.length,
                              .sentence_bytes = (int64_t)strlen(sentence)};
    memcpy(head.magic, SHARD_MAGIC, sizeof(head.magic));
    buf_append(bytes, &head, sizeof(head));
    buf_append(bytes, build->groups, sizeof(*build->groups) * (size_t)build->group_count);
    buf_append(bytes, build->rows, sizeof(*build->rows) * (size_t)build->row_count);
    buf_append(bytes, build->row_hashes, sizeof(*build->row_hashes) * (size_t)build->row_count);
    buf_append(bytes, report.data, report.length);
    buf_append_string(bytes, sentence);
    buf_release(&report);
}

/* A limit is counted from the start of the data, so such data are the first shard's alone. */
static bool is_cut(const struct admission_whole *whole)
{
    for (int i = 0; i < whole->count; i++) {
        if (whole->sources[i].limit > 0) {
            return false;
        }
    }
    return true;
}

static enum status part_read(const struct admission_whole *whole, int64_t shard, int64_t shards,
                             struct dataset_build *build, struct admission *admission,
                             struct error *error)
{
    bool cut = is_cut(whole);
    size_t count = (size_t)whole->count;
    if (!cut && shard > 1) {
        dataset_build_init(build);
        return STATUS_OK;
    }
    struct data_source *sources = mem_alloc(size_mul(sizeof(*sources), count));
    for (size_t i = 0; i < count; i++) {
        sources[i] = whole->sources[i];
        sources[i].shard = cut ? shard : 0;
        sources[i].shards = cut ? shards : 0;
    }
    enum status status = dataset_build_run(build, sources, whole->count, whole->format,
                                           whole->tokenizer, admission, error);
    mem_free(sources);
    return status;
}

enum status admission_shard_read(const struct admission_whole *whole, int64_t shard, int64_t shards,
                                 struct buf *bytes, struct error *error)
{
    struct dataset_build build;
    struct error trouble = {0};
    struct admission *admission = admission_create(whole->count);
    CHECK(shard >= 1 && shard <= shards && shards <= SHARDS_MAX);
    enum status status = part_read(whole, shard, shards, &build, admission, &trouble);
    if (status == STATUS_OK || admission_is_verdict(status)) {
        part_append(&build, admission, status, status == STATUS_OK ? "" : trouble.text, bytes);
        status = STATUS_OK;
    } else {
        *error = trouble;
    }
    dataset_build_release(&build);
    admission_free(admission);
    return status;
}

/* ---- a part that came ------------------------------------------------------------------------ */

struct part {
    struct shard_head head;
    const struct data_group *groups;
    const struct data_row *rows;
    const uint64_t *row_hashes;
    const char *sentence;
    struct admission *report;
    int64_t at; /* the next group to be taken */
};

static bool take(struct file_map *left, int64_t count, size_t item, const void **out)
{
    if (count < 0 || (uint64_t)count > left->size / item) {
        return false;
    }
    *out = left->data;
    left->data += (size_t)count * item;
    left->size -= (size_t)count * item;
    return true;
}

static bool head_take(struct file_map *left, struct shard_head *head)
{
    const void *bytes;
    if (!take(left, 1, sizeof(*head), &bytes)) {
        return false;
    }
    memcpy(head, bytes, sizeof(*head));
    return memcmp(head->magic, SHARD_MAGIC, sizeof(head->magic)) == 0 &&
           head->group_size == sizeof(struct data_group) &&
           head->row_size == sizeof(struct data_row) &&
           head->part_size == sizeof(struct admission_part) &&
           (head->status == STATUS_OK || admission_is_verdict((enum status)head->status));
}

/* Groups in the data's order, each with its own rows, one behind the other. */
static bool groups_are_whole(const struct part *part, int sources)
{
    int64_t row = 0, line = 0;
    int32_t source = 0;
    for (int64_t i = 0; i < part->head.group_count; i++) {
        const struct data_group *group = &part->groups[i];
        if (group->source < source || group->source >= sources || group->row0 != row ||
            group->rows < 1 || group->rows > GROUP_RESPONSES_MAX ||
            group->rows > part->head.row_count - row ||
            (group->source == source && group->line < line)) {
            return false;
        }
        source = group->source;
        line = group->line;
        row += group->rows;
    }
    for (int64_t i = 0; i < part->head.row_count; i++) {
        if (part->rows[i].tokens < 0 || part->rows[i].tokens > ROW_TOKENS_MAX) {
            return false;
        }
    }
    return row == part->head.row_count;
}

static bool part_take(const struct file_map *bytes, int sources, struct part *part)
{
    struct file_map left = *bytes;
    const void *groups, *rows, *hashes, *report, *sentence;
    if (!head_take(&left, &part->head) ||
        !take(&left, part->head.group_count, sizeof(*part->groups), &groups) ||
        !take(&left, part->head.row_count, sizeof(*part->rows), &rows) ||
        !take(&left, part->head.row_count, sizeof(*part->row_hashes), &hashes) ||
        !take(&left, part->head.report_bytes, 1, &report) ||
        !take(&left, part->head.sentence_bytes, 1, &sentence) || left.size != 0 ||
        !admission_unpack(report, (size_t)part->head.report_bytes, &part->report)) {
        return false;
    }
    part->groups = groups;
    part->rows = rows;
    part->row_hashes = hashes;
    part->sentence = sentence;
    return admission_source_count(part->report) == sources && groups_are_whole(part, sources);
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* What one process would have said: of all sentences the one that is first in the data. */
static enum status first_sentence(const struct part *parts, int64_t shards, struct error *error)
{
    const struct part *first = NULL;
    for (int64_t k = 0; k < shards; k++) {
        const struct shard_head *head = &parts[k].head;
        if (head->status != STATUS_OK &&
            (first == NULL || head->failed_source < first->head.failed_source ||
             (head->failed_source == first->head.failed_source &&
              head->failed_record < first->head.failed_record))) {
            first = &parts[k];
        }
    }
    return first == NULL ? STATUS_OK
                         : error_set(error, (enum status)first->head.status, "%.*s",
                                     (int)first->head.sentence_bytes, first->sentence);
}

/* The part whose next group of this source is first in the data; NULL: none has any more. */
static struct part *next_part(struct part *parts, int64_t shards, int source)
{
    struct part *first = NULL;
    for (int64_t k = 0; k < shards; k++) {
        struct part *part = &parts[k];
        if (part->at < part->head.group_count && part->groups[part->at].source == source &&
            (first == NULL || part->groups[part->at].line < first->groups[first->at].line)) {
            first = part;
        }
    }
    return first;
}

static void group_take(struct dataset_build *build, struct part *part)
{
    const struct data_group *group = &part->groups[part->at++];
    size_t rows = (size_t)group->rows;
    build_reserve(build, group->rows, 0);
    build->groups[build->group_count] = *group;
    build->groups[build->group_count++].row0 = build->row_count;
    memcpy(build->rows + build->row_count, part->rows + group->row0, sizeof(*build->rows) * rows);
    memcpy(build->row_hashes + build->row_count, part->row_hashes + group->row0,
           sizeof(*build->row_hashes) * rows);
    for (int32_t i = 0; i < group->rows; i++) {
        int32_t tokens = part->rows[group->row0 + i].tokens;
        build->row_tokens_max = tokens > build->row_tokens_max ? tokens : build->row_tokens_max;
    }
    build->row_count += group->rows;
}

static enum status groups_join(const struct admission_whole *whole, struct part *parts,
                               int64_t shards, struct admission *joined, struct error *error)
{
    struct dataset_build build;
    struct part *part;
    enum status status = STATUS_OK;
    dataset_build_init(&build);
    for (int i = 0; status == STATUS_OK && i < whole->count; i++) {
        int64_t row0 = build.row_count;
        while (status == STATUS_OK && (part = next_part(parts, shards, i)) != NULL) {
            status = build_has_room(&build, &whole->sources[i], error);
            if (status == STATUS_OK) {
                group_take(&build, part);
                group_compare(&build, build.group_count - 1, joined);
            }
        }
        lengths_summarise(&build, row0, admission_source(joined, i));
    }
    dataset_build_release(&build);
    return status;
}

static struct admission *reports_join(const struct admission_whole *whole, const struct part *parts,
                                      int64_t shards)
{
    const struct admission *reports[SHARDS_MAX];
    for (int64_t k = 0; k < shards; k++) {
        reports[k] = parts[k].report;
    }
    struct admission *joined = admission_join(reports, (int)shards);
    for (int i = 0; i < whole->count; i++) {
        struct admission_source *source = admission_source(joined, i);
        text_clean(data_source_name(&whole->sources[i]), source->name, sizeof(source->name));
    }
    return joined;
}

static enum status join(const struct admission_whole *whole, struct part *parts, int64_t shards,
                        struct admission **admission_out, struct error *error)
{
    TRY(first_sentence(parts, shards, error));
    struct admission *joined = reports_join(whole, parts, shards);
    enum status status = groups_join(whole, parts, shards, joined, error);
    if (status != STATUS_OK) {
        admission_free(joined);
        return status;
    }
    *admission_out = joined;
    return STATUS_OK;
}

enum status admission_shards_join(const struct admission_whole *whole, const struct file_map *parts,
                                  int64_t shards, struct admission **admission_out,
                                  struct error *error)
{
    struct part *taken = mem_alloc(size_mul(sizeof(*taken), SHARDS_MAX));
    enum status status = STATUS_OK;
    CHECK(shards >= 1 && shards <= SHARDS_MAX);
    for (int64_t k = 0; status == STATUS_OK && k < shards; k++) {
        if (!part_take(&parts[k], whole->count, &taken[k])) {
            status = error_set(error, STATUS_UNSUPPORTED,
                               "shard %lld of %lld left no part of an admission that this program "
                               "knows: are all workers of one version?",
                               (long long)(k + 1), (long long)shards);
        }
    }
    if (status == STATUS_OK) {
        status = join(whole, taken, shards, admission_out, error);
    }
    for (int64_t k = 0; k < shards; k++) {
        admission_free(taken[k].report);
    }
    mem_free(taken);
    return status;
}
