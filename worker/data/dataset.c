/* SPDX-License-Identifier: Apache-2.0
 *
 * dataset: opening (cache or build), and texts of rows again.
 *
 * A dataset points into one image, a mapped cache file or a block just built; both hold the same
 * bytes, so a run from the cache and a run without it cannot differ. A source that changes between
 * the digest and the end of reading would put wrong tokens under a right name: it is refused.
 */
#include "worker/data/dataset.h"

#include <string.h>
#include <sys/stat.h>

#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/text.h"
#include "worker/data/dataset_cache.h"
#include "worker/data/dataset_image.h"
#include "worker/data/dataset_storage.h"
#include "worker/data/record.h"

void scores_normalise(const float *raw, int32_t count, int32_t *order_out, float *normalised_out)
{
    /* Insertion sort: stable for our order, and count is at most GROUP_RESPONSES_MAX. */
    for (int32_t i = 0; i < count; i++) {
        int32_t at = i;
        while (at > 0 && raw[order_out[at - 1]] <= raw[i]) {
            order_out[at] = order_out[at - 1];
            at--;
        }
        order_out[at] = i;
    }
    if (count == 0) {
        return;
    }
    double highest = raw[order_out[0]], lowest = raw[order_out[count - 1]];
    for (int32_t i = 0; i < count; i++) {
        double score = raw[order_out[i]];
        if (lowest >= 0) {
            normalised_out[i] = (float)(score / (highest + 1e-5));
        } else {
            normalised_out[i] =
                highest > lowest ? (float)((score - lowest) / (highest - lowest)) : 0.0F;
        }
    }
}

const char *data_source_name(const struct data_source *source)
{
    return source->name != NULL ? source->name : path_base(source->path);
}

/* What a source is on disk, to notice that it was written or replaced meanwhile. */
static enum status source_stat(const struct data_source *source, struct stat *info_out,
                               struct error *error)
{
    if (stat(source->path, info_out) != 0) {
        return error_set(error, STATUS_NOT_FOUND, "%s: not found", source->path);
    }
    return STATUS_OK;
}

static bool stat_equal(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static enum status sources_stat(const struct data_source *sources, int count, struct stat *infos,
                                struct error *error)
{
    for (int i = 0; i < count; i++) {
        TRY(source_stat(&sources[i], &infos[i], error));
    }
    return STATUS_OK;
}

static enum status sources_unchanged(const struct data_source *sources, int count,
                                     const struct stat *before, struct error *error)
{
    for (int i = 0; i < count; i++) {
        struct stat now;
        TRY(source_stat(&sources[i], &now, error));
        if (!stat_equal(&before[i], &now)) {
            return error_set(error, STATUS_CONFLICT, "%s changed while it was being read",
                             sources[i].path);
        }
    }
    return STATUS_OK;
}

struct opening {
    const struct data_source *sources;
    int count;
    const struct text_format *format;
    const struct tokenizer *tokenizer;
    const char *cache_dir;
    char key[SHA256_HEX_SIZE];
};

/* Reads the sources and makes the image; keeps it in the cache if there is one. */
static enum status storage_build(const struct opening *opening, const struct stat *before,
                                 struct dataset_storage *storage, struct error *error)
{
    struct dataset_build build;
    struct admission *admission = admission_create(opening->count);
    enum status status = dataset_build_run(&build, opening->sources, opening->count,
                                           opening->format, opening->tokenizer, admission, error);
    if (status == STATUS_OK) {
        status = sources_unchanged(opening->sources, opening->count, before, error);
    }
    if (status == STATUS_OK) {
        status = image_create(&build, admission, opening->key, &storage->block,
                              &storage->block_size, error);
    }
    if (status == STATUS_OK && opening->cache_dir != NULL) {
        cache_store(opening->cache_dir, opening->key, storage->block, storage->block_size);
    }
    dataset_build_release(&build);
    admission_free(admission);
    return status;
}

/* Names are of this opening: the same bytes may have had others when they were cached. */
static void names_set(const struct opening *opening, struct dataset *dataset,
                      struct admission *admission)
{
    struct dataset_storage *storage = dataset->storage;
    storage->names = mem_alloc(size_mul(sizeof(*storage->names), (size_t)opening->count));
    for (int i = 0; i < opening->count; i++) {
        text_clean(data_source_name(&opening->sources[i]), storage->names[i],
                   sizeof(storage->names[i]));
        memcpy(admission_source(admission, i)->name, storage->names[i], sizeof(storage->names[i]));
    }
    dataset->source_names = storage->names;
}

static void dataset_attach(const struct opening *opening, struct dataset_storage *storage,
                           const char *digest, struct dataset **dataset_out,
                           struct admission **admission_out)
{
    struct dataset *dataset = mem_alloc(sizeof(*dataset));
    struct admission *admission;
    image_attach(storage->block != NULL ? storage->block : (const void *)storage->map.data, dataset,
                 &admission);
    CHECK(dataset->source_count == opening->count);
    dataset->storage = storage;
    memcpy(dataset->digest, digest, sizeof(dataset->digest));
    names_set(opening, dataset, admission);
    if (admission_out != NULL) {
        *admission_out = admission;
    } else {
        admission_free(admission);
    }
    *dataset_out = dataset;
}

enum status dataset_open(const struct data_source *sources, int count,
                         const struct text_format *format, const struct tokenizer *tokenizer,
                         const char *cache_dir, struct dataset **dataset_out,
                         struct admission **admission_out, struct error *error)
{
    CHECK(count >= 1);
    CHECK(format->max_length >= 1);
    for (int i = 0; i < count; i++) {
        CHECK(sources[i].shards == 0); /* the cache's key knows nothing of them */
    }
    struct opening opening = {sources, count, format, tokenizer, cache_dir, ""};
    struct stat *before = mem_alloc(size_mul(sizeof(*before), (size_t)count));
    struct dataset_storage *storage = mem_alloc(sizeof(*storage));
    char digest[SHA256_HEX_SIZE];
    enum status status = sources_stat(sources, count, before, error);
    if (status == STATUS_OK) {
        status = cache_digest(sources, count, digest, error);
    }
    if (status == STATUS_OK) {
        cache_key(digest, format, tokenizer, opening.key);
        if (cache_dir == NULL || !cache_load(cache_dir, opening.key, tokenizer, &storage->map)) {
            status = storage_build(&opening, before, storage, error);
        }
    }
    mem_free(before);
    if (status != STATUS_OK) {
        mem_free(storage);
        return status;
    }
    dataset_attach(&opening, storage, digest, dataset_out, admission_out);
    return STATUS_OK;
}

void dataset_free(struct dataset *dataset)
{
    if (dataset == NULL) {
        return;
    }
    struct dataset_storage *storage = dataset->storage;
    if (storage->block != NULL) {
        mem_unmap(storage->block, storage->block_size);
    }
    file_map_close(&storage->map);
    mem_free(storage->names);
    mem_free(storage->groups);
    mem_free(storage->rows);
    mem_free(storage);
    mem_free(dataset);
}

static void ids_text(const struct response *response, const struct tokenizer *tokenizer,
                     struct buf *text)
{
    for (int32_t i = 0; i < response->id_count; i++) {
        size_t length;
        const char *token = tokenizer_text(tokenizer, response->ids[i], &length);
        buf_append(text, token, length);
    }
}

static enum status response_text(const struct record *record, int32_t index,
                                 const struct text_format *format,
                                 const struct tokenizer *tokenizer, struct buf *text,
                                 struct error *error)
{
    for (int32_t i = 0; i < record->response_count; i++) {
        const struct response *response = &record->responses[i];
        if (response->index == index && response->ids != NULL) {
            ids_text(response, tokenizer, text);
            return STATUS_OK;
        }
        if (response->index == index) {
            return record_render(record, response, format, tokenizer, text, error);
        }
    }
    return error_set(error, STATUS_NOT_FOUND, "no response %d", index);
}

enum status dataset_row_text(const struct data_source *source, const struct text_format *format,
                             const struct tokenizer *tokenizer, int64_t line, int32_t response,
                             struct buf *text, struct error *error)
{
    struct record_reader *reader;
    TRY(record_reader_open(source, &reader, error));
    struct record record;
    enum status status;
    do {
        status = record_reader_next(reader, &record, error);
    } while (status == STATUS_OK && record.number != 0 && record.number != line);
    if (status == STATUS_OK && record.number == 0) {
        status =
            error_set(error, STATUS_NOT_FOUND, "%s: no record %lld", source->path, (long long)line);
    } else if (status == STATUS_OK) {
        status = response_text(&record, response, format, tokenizer, text, error);
        if (status != STATUS_OK) {
            error_prefix(error, "%s", record_reader_where(reader));
        }
    }
    record_reader_close(reader);
    return status;
}
