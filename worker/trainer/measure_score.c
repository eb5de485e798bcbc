/* SPDX-License-Identifier: Apache-2.0
 *
 * Scoring in parts: records are dealt to the shards in blocks (SHARD_BLOCK_RECORDS). A shard leaves
 * its lines as they are
 * ("0.jsonl", …); putting together is a merge by line number.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "worker/trainer/measure.h"
#include "worker/trainer/relay.h"
#include "worker/trainer/score.h"

static enum status cannot(const char *path, struct error *error)
{
    return error_set(error, STATUS_IO, "%s: %s", path, strerror(errno));
}

static const char *file_name(struct measure *m, int set)
{
    return arena_printf(&m->arena, "%d.jsonl", set);
}

static const char *rows_path(struct measure *m, int set)
{
    return arena_printf(&m->arena, "%s/rows/%s.jsonl", m->run, measure_name(m, set));
}

static enum status on_record(void *argument, struct error *error)
{
    return measure_step(argument, 1, error);
}

static enum status compute(struct measure *m, int set, const char *path, struct error *error)
{
    struct data_source source = measure_source(m, set);
    FILE *out = fopen(path, "w");
    if (out == NULL) {
        return cannot(path, error);
    }
    source.any_form = true;
    source.shard = m->shard;
    source.shards = m->shard > 0 ? m->shards : 0;
    const struct score_options options = {.batch_tokens = m->arguments.batch_tokens,
                                          .out = out,
                                          .on_record = on_record,
                                          .argument = m};
    enum status status = score_source(&m->examiner, &source, &options, error);
    if (fclose(out) != 0 && status == STATUS_OK) {
        status = cannot(path, error);
    }
    return status;
}

/* ---- putting together ------------------------------------------------------------------------ */

struct part {
    FILE *file;
    char *line;
    size_t size;
    ssize_t length;
    int64_t number; /* of the line; INT64_MAX: the file is at its end */
};

static enum status part_next(struct part *part, const char *path, struct error *error)
{
    part->length = getline(&part->line, &part->size, part->file);
    if (part->length < 0) {
        part->number = INT64_MAX;
        return ferror(part->file) ? cannot(path, error) : STATUS_OK;
    }
    if (sscanf(part->line, "{\"line\":%" SCNd64, &part->number) != 1) {
        return error_set(error, STATUS_FORMAT, "%s: a line without a number", path);
    }
    return STATUS_OK;
}

static enum status merge(struct measure *m, int set, struct part *parts, FILE *out,
                         struct error *error)
{
    for (int64_t k = 0; k < m->shards; k++) {
        const char *path = measure_part_path(m, k + 1, file_name(m, set));
        parts[k].file = fopen(path, "r");
        if (parts[k].file == NULL) {
            return cannot(path, error);
        }
        TRY(part_next(&parts[k], path, error));
    }
    for (;;) {
        int64_t first = 0;
        for (int64_t k = 1; k < m->shards; k++) {
            first = parts[k].number < parts[first].number ? k : first;
        }
        if (parts[first].number == INT64_MAX) {
            return STATUS_OK;
        }
        fwrite(parts[first].line, 1, (size_t)parts[first].length, out);
        TRY(part_next(&parts[first], measure_part_path(m, first + 1, file_name(m, set)), error));
        m->done++;
    }
}

static enum status merge_set(struct measure *m, int set, struct error *error)
{
    struct part parts[SHARDS_MAX] = {{0}};
    const char *path = rows_path(m, set);
    FILE *out = fopen(path, "w");
    if (out == NULL) {
        return cannot(path, error);
    }
    enum status status = merge(m, set, parts, out, error);
    for (int64_t k = 0; k < m->shards; k++) {
        mem_free(parts[k].line);
        if (parts[k].file != NULL) {
            fclose(parts[k].file);
        }
    }
    if (fclose(out) != 0 && status == STATUS_OK) {
        status = cannot(path, error);
    }
    return status;
}

/* ---- all ------------------------------------------------------------------------------------- */

static enum status score(struct measure *m, json_t *numerics, json_t *sets, struct error *error)
{
    bool together = m->shards > 0 && m->shard == 0;
    for (int64_t k = 1; together && k <= m->shards; k++) {
        json_t *said;
        TRY(measure_read_shard(m, k, numerics, &said, error));
        json_decref(said);
    }
    for (int i = 0; i < m->spec->data.eval.count; i++) {
        json_t *json = json_object();
        int64_t before = m->done;
        enum status status = together ? merge_set(m, i, error)
                                      : compute(m, i,
                                                m->shard > 0 ? measure_own_path(m, file_name(m, i))
                                                             : rows_path(m, i),
                                                error);
        json_object_set_new(json, "name", json_string(measure_name(m, i)));
        json_object_set_new(json, "records", json_integer(m->done - before));
        json_array_append_new(sets, json);
        TRY(status);
    }
    if (!together) {
        json_array_append_new(numerics, json_string(device_numerics(m->examiner.device)));
    }
    return STATUS_OK;
}

enum status measure_score(struct measure *m, struct error *error)
{
    json_t *numerics = json_array(), *sets = json_array();
    relay_running(0, 0);
    enum status status = score(m, numerics, sets, error);
    if (status == STATUS_OK && m->shard > 0) {
        status = measure_write_shard(m, json_incref(sets), error);
    } else if (status == STATUS_OK) {
        json_t *fields = json_object();
        json_object_set(fields, "numerics", numerics);
        json_object_set(fields, "sets", sets);
        printf("%lld records have their rewards\n", (long long)m->done);
        status = measure_write_result(m, fields, error);
    }
    json_decref(numerics);
    json_decref(sets);
    return status;
}
