/* SPDX-License-Identifier: Apache-2.0
 *
 * admission: counters and lists, and their bytes for the token cache.
 *
 * The judge and the prints are in admission_print.c. Lists are bounded (ADMISSION_LISTED_MAX of
 * each kind and source, COLUMNS_MAX names), counts are not: a hostile file costs time, not memory.
 */
#include "worker/data/admission.h"

#include <string.h>

#include "lib/arena.h"
#include "lib/map.h"
#include "lib/text.h"
#include "worker/data/admission_parts.h"

struct admission *admission_create(int sources)
{
    CHECK(sources >= 1);
    struct admission *admission = mem_alloc(sizeof(*admission));
    admission->count = sources;
    admission->parts = mem_alloc(size_mul(sizeof(*admission->parts), (size_t)sources));
    return admission;
}

void admission_free(struct admission *admission)
{
    if (admission == NULL) {
        return;
    }
    for (int i = 0; i < admission->count; i++) {
        for (int finding = 0; finding < FINDING_COUNT; finding++) {
            mem_free(admission->parts[i].lists[finding].lines);
        }
    }
    mem_free(admission->parts);
    mem_free(admission);
}

static struct admission_part *part_at(const struct admission *admission, int source)
{
    CHECK(source >= 0 && source < admission->count);
    return &admission->parts[source];
}

struct admission_source *admission_source(struct admission *admission, int source)
{
    return &part_at(admission, source)->source;
}

int admission_source_count(const struct admission *admission)
{
    return admission->count;
}

void admission_add(struct admission *admission, int source, enum finding finding, int64_t line)
{
    CHECK((unsigned)finding < FINDING_COUNT);
    struct admission_part *part = part_at(admission, source);
    struct finding_list *list = &part->lists[finding];
    part->source.findings[finding]++;
    if (list->count == ADMISSION_LISTED_MAX) {
        return;
    }
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 16 : 2 * list->capacity;
        list->lines = mem_grow(list->lines, sizeof(*list->lines) * (size_t)list->capacity);
    }
    list->lines[list->count++] = line;
}

int64_t admission_listed(const struct admission *admission, int source, enum finding finding,
                         const int64_t **lines_out)
{
    CHECK((unsigned)finding < FINDING_COUNT);
    const struct finding_list *list = &part_at(admission, source)->lists[finding];
    *lines_out = list->lines;
    return list->count;
}

void admission_column(struct admission *admission, int source, const char *name, int64_t line)
{
    struct admission_part *part = part_at(admission, source);
    char shown[COLUMN_NAME_MAX] = {0};
    text_clean(name, shown, sizeof(shown));
    for (int32_t i = 0; i < part->column_count; i++) {
        if (strcmp(part->columns[i], shown) == 0) {
            return;
        }
    }
    if (part->column_count < COLUMNS_MAX) {
        memcpy(part->columns[part->column_count++], shown, sizeof(shown));
        admission_add(admission, source, FINDING_UNKNOWN_COLUMN, line);
    }
}

void admission_overlap(struct admission *evaluation_report, const struct dataset *evaluation,
                       const struct dataset *train)
{
    struct map *prompts = map_create((size_t)train->group_count);
    for (int64_t i = 0; i < train->group_count; i++) {
        uint64_t hash = train->groups[i].prompt_hash;
        map_put(prompts, &hash, sizeof(hash), 0, NULL);
    }
    for (int64_t i = 0; i < evaluation->group_count; i++) {
        const struct data_group *group = &evaluation->groups[i];
        if (map_get(prompts, &group->prompt_hash, sizeof(group->prompt_hash), NULL)) {
            admission_add(evaluation_report, group->source, FINDING_OVERLAP, group->line);
        }
    }
    map_free(prompts);
}

/* ---- bytes: the count of sources, then each part followed by its lists' lines ---- */

void admission_pack(const struct admission *admission, struct buf *bytes)
{
    int64_t count = admission->count;
    buf_append(bytes, &count, sizeof(count));
    for (int i = 0; i < admission->count; i++) {
        struct admission_part part = admission->parts[i];
        for (int finding = 0; finding < FINDING_COUNT; finding++) {
            part.lists[finding].lines = NULL; /* no addresses in a file */
            part.lists[finding].capacity = 0;
        }
        buf_append(bytes, &part, sizeof(part));
        for (int finding = 0; finding < FINDING_COUNT; finding++) {
            const struct finding_list *list = &admission->parts[i].lists[finding];
            buf_append(bytes, list->lines, sizeof(*list->lines) * (size_t)list->count);
        }
    }
}

struct reader {
    const char *bytes;
    size_t left;
};

static bool take(struct reader *reader, void *out, size_t size)
{
    if (size > reader->left) {
        return false;
    }
    if (size > 0) {
        memcpy(out, reader->bytes, size);
    }
    reader->bytes += size;
    reader->left -= size;
    return true;
}

static bool part_unpack(struct reader *reader, struct admission_part *part)
{
    struct admission_part read;
    if (!take(reader, &read, sizeof(read)) || read.column_count < 0 ||
        read.column_count > COLUMNS_MAX) {
        return false;
    }
    *part = read;
    part->source.name[sizeof(part->source.name) - 1] = '\0';
    part->source.form[sizeof(part->source.form) - 1] = '\0';
    for (int32_t i = 0; i < part->column_count; i++) {
        part->columns[i][COLUMN_NAME_MAX - 1] = '\0';
    }
    bool whole = true;
    for (int finding = 0; finding < FINDING_COUNT; finding++) {
        struct finding_list *list = &part->lists[finding];
        int64_t count = list->count;
        *list = (struct finding_list){0};
        if (!whole || count < 0 || count > ADMISSION_LISTED_MAX) {
            whole = false;
            continue; /* all lists must be cleared, admission_free follows them */
        }
        list->lines = mem_alloc(sizeof(*list->lines) * (size_t)count);
        list->count = count;
        list->capacity = count;
        whole = take(reader, list->lines, sizeof(*list->lines) * (size_t)count);
    }
    return whole;
}

bool admission_unpack(const void *bytes, size_t size, struct admission **admission_out)
{
    struct reader reader = {bytes, size};
    int64_t count;
    if (!take(&reader, &count, sizeof(count)) || count < 1 ||
        (uint64_t)count > reader.left / sizeof(struct admission_part)) {
        return false;
    }
    struct admission *admission = admission_create((int)count);
    bool whole = true;
    for (int i = 0; i < admission->count && whole; i++) {
        whole = part_unpack(&reader, &admission->parts[i]);
    }
    if (!whole || reader.left != 0) {
        admission_free(admission);
        return false;
    }
    *admission_out = admission;
    return true;
}
