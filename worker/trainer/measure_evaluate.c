/* SPDX-License-Identifier: Apache-2.0
 *
 * Evaluation in parts: a shard's part of a set are the groups of scorer_stretch(), and what it
 * leaves are their rewards as they lie in memory, a file a set ("0.f32", …). Who puts them together
 * opens the same data (its digest must be theirs), and from there on does what one process does.
 */
#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/table.h"
#include "worker/trainer/figures.h"
#include "worker/trainer/measure.h"
#include "worker/trainer/outcome.h"
#include "worker/trainer/relay.h"
#include "worker/trainer/session.h"

/* A set on its way. */
struct set {
    struct data_source source;
    const char *name;
    struct dataset *dataset;
    int64_t first, count; /* groups of this shard */
    float *reward;        /* (row_count) */
};

static int64_t rows_of(const struct dataset *dataset, int64_t first, int64_t count)
{
    return scorer_row_of(dataset, first + count) - scorer_row_of(dataset, first);
}

static enum status sets_open(struct measure *m, struct set *sets, struct error *error)
{
    for (int i = 0; i < m->spec->data.eval.count; i++) {
        struct set *set = &sets[i];
        set->source = measure_source(m, i);
        set->name = measure_name(m, i);
        TRY(dataset_open(&set->source, 1, &m->examiner.format, m->examiner.tokenizer,
                         token_cache_dir(&m->arena), &set->dataset, NULL, error));
        if (set->dataset->pair_count == 0) {
            return error_set(error, STATUS_FORMAT, "%s: no pair with different scores", set->name);
        }
        set->reward = mem_alloc(sizeof(float) * (size_t)set->dataset->row_count);
        scorer_stretch(set->dataset, m->shard > 0 ? (int32_t)m->shard - 1 : 0,
                       m->shard > 0 ? (int32_t)m->shards : 1, &set->first, &set->count);
        m->total += rows_of(set->dataset, set->first, set->count);
    }
    return STATUS_OK;
}

/* ---- rewards --------------------------------------------------------------------------------- */

struct watched {
    struct measure *measure;
    int64_t seen;
};

static bool on_progress(void *argument, int64_t rows_done, int64_t rows)
{
    struct watched *watched = argument;
    int64_t more = rows_done - watched->seen;
    (void)rows;
    watched->seen = rows_done;
    return measure_step(watched->measure, more, NULL) == STATUS_OK;
}

static enum status compute(struct measure *m, struct set *set, struct error *error)
{
    struct watched watched = {.measure = m};
    TRY(examiner_reserve_for(&m->examiner, set->dataset, m->arguments.batch_tokens, error));
    m->examiner.scorer.progress = on_progress;
    m->examiner.scorer.progress_argument = &watched;
    return scorer_stretch_rewards(&m->examiner.scorer, set->dataset, set->first, set->count,
                                  set->reward, error);
}

static const char *file_name(struct measure *m, int set)
{
    return arena_printf(&m->arena, "%d.f32", set);
}

static enum status leave(struct measure *m, const struct set *sets, struct error *error)
{
    json_t *list = json_array();
    for (int i = 0; i < m->spec->data.eval.count; i++) {
        const struct set *set = &sets[i];
        json_t *json = json_object();
        int64_t rows = rows_of(set->dataset, set->first, set->count);
        const float *first = set->reward + scorer_row_of(set->dataset, set->first);
        json_object_set_new(json, "digest", json_string(set->dataset->digest));
        json_object_set_new(json, "rows", json_integer(rows));
        json_array_append_new(list, json);
        enum status status = file_write_atomic(measure_own_path(m, file_name(m, i)), first,
                                               (size_t)rows * sizeof(float), error);
        if (status != STATUS_OK) {
            json_decref(list);
            return status;
        }
    }
    return measure_write_shard(m, list, error);
}

/* ---- putting together ------------------------------------------------------------------------ */

static enum status take_part(struct measure *m, struct set *set, int i, int64_t shard,
                             const json_t *said, struct error *error)
{
    const char *path = measure_part_path(m, shard, file_name(m, i));
    const char *digest = json_string_value(json_object_get(said, "digest"));
    struct buf bytes = {0};
    int64_t first, count;
    scorer_stretch(set->dataset, (int32_t)shard - 1, (int32_t)m->shards, &first, &count);
    size_t size = (size_t)rows_of(set->dataset, first, count) * sizeof(float);
    if (digest == NULL || strcmp(digest, set->dataset->digest) != 0) {
        return error_set(error, STATUS_FORMAT, "%s: shard %lld has read other data", set->name,
                         (long long)shard);
    }
    TRY(file_read(path, size + 1, &bytes, error));
    enum status status = STATUS_OK;
    if (bytes.length != size) {
        status =
            error_set(error, STATUS_FORMAT, "%s: has %zu bytes, not %zu", path, bytes.length, size);
    } else if (size > 0) {
        memcpy(set->reward + scorer_row_of(set->dataset, first), bytes.data, size);
    }
    buf_release(&bytes);
    return status;
}

static enum status collect(struct measure *m, struct set *sets, json_t *numerics,
                           struct error *error)
{
    for (int64_t shard = 1; shard <= m->shards; shard++) {
        json_t *said;
        enum status status = STATUS_OK;
        TRY(measure_read_shard(m, shard, numerics, &said, error));
        for (int i = 0; status == STATUS_OK && i < m->spec->data.eval.count; i++) {
            status = take_part(m, &sets[i], i, shard, json_array_get(said, (size_t)i), error);
        }
        json_decref(said);
        TRY(status);
    }
    return STATUS_OK;
}

/* ---- the result ------------------------------------------------------------------------------ */

static enum status finish(struct measure *m, const struct set *sets, json_t *numerics,
                          struct error *error)
{
    char dir[4096];
    json_t *fields = json_object(), *list = json_array();
    struct table *table = figures_table();
    enum status status = STATUS_OK;
    path_join(dir, sizeof(dir), m->run, "rows");
    for (int i = 0; status == STATUS_OK && i < m->spec->data.eval.count; i++) {
        const struct set *set = &sets[i];
        struct figures figures;
        figures_compute(set->dataset, set->reward, FIGURES_CONFIDENCE, FIGURES_SEED, &figures);
        figures_row(table, set->name, &figures);
        json_t *one = figures_json(&figures);
        json_object_set_new(one, "name", json_string(set->name));
        json_object_set_new(one, "general", json_boolean(m->spec->data.eval.items[i].general));
        json_array_append_new(list, one);
        status = rows_write(&(struct rows_set){.name = set->name,
                                               .source = &set->source,
                                               .format = &m->examiner.format,
                                               .tokenizer = m->examiner.tokenizer,
                                               .dataset = set->dataset,
                                               .reward = set->reward},
                            dir, error);
    }
    if (status == STATUS_OK) {
        table_print(table, TABLE_FORMAT_TABLE, stdout);
    }
    table_free(table);
    json_object_set(fields, "numerics", numerics);
    json_object_set_new(fields, "sets", list);
    if (status != STATUS_OK) {
        json_decref(fields);
        return status;
    }
    return measure_write_result(m, fields, error);
}

static enum status evaluate(struct measure *m, struct set *sets, json_t *numerics,
                            struct error *error)
{
    TRY(sets_open(m, sets, error));
    relay_running(0, m->total);
    if (m->shards > 0 && m->shard == 0) {
        TRY(collect(m, sets, numerics, error));
        return finish(m, sets, numerics, error);
    }
    for (int i = 0; i < m->spec->data.eval.count; i++) {
        TRY(compute(m, &sets[i], error));
    }
    json_array_append_new(numerics, json_string(device_numerics(m->examiner.device)));
    return m->shard > 0 ? leave(m, sets, error) : finish(m, sets, numerics, error);
}

enum status measure_evaluate(struct measure *m, struct error *error)
{
    struct set *sets = arena_array(&m->arena, struct set, m->spec->data.eval.count);
    json_t *numerics = json_array();
    memset(sets, 0, sizeof(*sets) * (size_t)m->spec->data.eval.count);
    enum status status = evaluate(m, sets, numerics, error);
    for (int i = 0; i < m->spec->data.eval.count; i++) {
        mem_free(sets[i].reward);
        dataset_free(sets[i].dataset);
    }
    json_decref(numerics);
    return status;
}
