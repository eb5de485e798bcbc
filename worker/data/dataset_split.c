/* SPDX-License-Identifier: Apache-2.0
 *
 * dataset_split: parts of a dataset: train and evaluation, and samples.
 *
 * A part has its own groups and rows, renumbered, so that everything that walks a dataset by index
 * may walk a part; the tokens, by far the most of it, are shared. A part's digest tells it from its
 * whole and from every other part of it.
 */
#include <stdio.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/rng.h"
#include "worker/data/dataset.h"
#include "worker/data/dataset_storage.h"

/* The groups marked in `chosen`, as a dataset. `name` tells how they were chosen. */
static struct dataset *part_create(const struct dataset *whole, const bool *chosen,
                                   const char *name)
{
    struct dataset *part = mem_alloc(sizeof(*part));
    struct dataset_storage *storage = mem_alloc(sizeof(*storage));
    for (int64_t i = 0; i < whole->group_count; i++) {
        part->group_count += chosen[i];
        part->row_count += chosen[i] ? whole->groups[i].rows : 0;
    }
    storage->groups = mem_alloc(size_mul(sizeof(*storage->groups), (size_t)part->group_count));
    storage->rows = mem_alloc(size_mul(sizeof(*storage->rows), (size_t)part->row_count));
    int64_t groups = 0, rows = 0;
    for (int64_t i = 0; i < whole->group_count; i++) {
        if (!chosen[i]) {
            continue;
        }
        struct data_group *group = &storage->groups[groups++];
        *group = whole->groups[i];
        memcpy(&storage->rows[rows], &whole->rows[group->row0],
               sizeof(*storage->rows) * (size_t)group->rows);
        for (int64_t row = rows; row < rows + group->rows; row++) {
            int32_t tokens = storage->rows[row].tokens;
            part->row_tokens_max = tokens > part->row_tokens_max ? tokens : part->row_tokens_max;
        }
        group->row0 = rows;
        rows += group->rows;
        part->token_count += group->tokens;
        part->pair_count += group->pairs;
        part->group_rows_max =
            group->rows > part->group_rows_max ? group->rows : part->group_rows_max;
    }
    part->groups = storage->groups;
    part->rows = storage->rows;
    part->tokens = whole->tokens;
    part->source_count = whole->source_count;
    part->source_names = whole->source_names;
    part->storage = storage;
    char text[SHA256_HEX_SIZE + 128];
    int length = snprintf(text, sizeof(text), "%s %s", whole->digest, name);
    CHECK(length > 0 && (size_t)length < sizeof(text));
    sha256_hex(text, (size_t)length, part->digest);
    return part;
}

enum status dataset_split(const struct dataset *whole, double fraction, uint64_t seed,
                          struct dataset **train_out, struct dataset **evaluation_out,
                          struct error *error)
{
    if (!(fraction > 0 && fraction < 1)) {
        return error_set(error, STATUS_USAGE,
                         "the evaluation's fraction is %g: it must lie between 0 and 1", fraction);
    }
    bool *chosen = mem_alloc((size_t)whole->group_count);
    int64_t evaluation = 0;
    for (int64_t i = 0; i < whole->group_count; i++) {
        chosen[i] =
            rng_uniform(seed, rng_stream("dataset_split"), whole->groups[i].prompt_hash) < fraction;
        evaluation += chosen[i];
    }
    if (evaluation == 0 || evaluation == whole->group_count) {
        mem_free(chosen);
        return error_set(error, STATUS_USAGE,
                         "a fraction of %g leaves no group for %s: of %lld groups, those with the "
                         "same prompt stay together; take another fraction or seed, or name an "
                         "evaluation file",
                         fraction, evaluation == 0 ? "evaluation" : "training",
                         (long long)whole->group_count);
    }
    char name[64];
    snprintf(name, sizeof(name), "split %.17g %llx evaluation", fraction, (unsigned long long)seed);
    *evaluation_out = part_create(whole, chosen, name);
    for (int64_t i = 0; i < whole->group_count; i++) {
        chosen[i] = !chosen[i];
    }
    snprintf(name, sizeof(name), "split %.17g %llx train", fraction, (unsigned long long)seed);
    *train_out = part_create(whole, chosen, name);
    mem_free(chosen);
    return STATUS_OK;
}

struct dataset *dataset_sample(const struct dataset *whole, int64_t pairs, uint64_t seed)
{
    bool *chosen = mem_alloc((size_t)whole->group_count);
    uint64_t count = (uint64_t)whole->group_count;
    int64_t left = pairs > 0 ? pairs : INT64_MAX;
    for (uint64_t i = 0; i < count && left > 0; i++) {
        uint64_t at = rng_permute(seed, rng_stream("dataset_sample"), i, count);
        int64_t worth = whole->pair_count > 0 ? whole->groups[at].pairs : 1;
        chosen[at] = worth > 0 && worth <= left;
        left -= chosen[at] ? worth : 0;
    }
    char name[64];
    snprintf(name, sizeof(name), "sample %lld %llx", (long long)pairs, (unsigned long long)seed);
    struct dataset *sample = part_create(whole, chosen, name);
    mem_free(chosen);
    return sample;
}
