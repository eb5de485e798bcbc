/* SPDX-License-Identifier: Apache-2.0
 *
 * A resolved spec names things as "sha256:DIGEST"; each is a manifest or a file that the worker has
 * to have. A model that is an adapter needs its parent too, and that one's.
 */
#include "coordinator/assign_rows.h"

#include <string.h>

#include "lib/check.h"
#include "lib/sha256.h"
#include "proto/message.h"
#include "proto/spec.h"
#include "storage/records/attempt_record.h"
#include "storage/records/job_record.h"
#include "storage/records/lineage_record.h"
#include "storage/records/result_record.h"

enum { MANIFESTS_MAX = 64 };

#define DIGEST_PREFIX "sha256:"

static enum status add(struct assign_rows *rows, const char *digest, struct error *error)
{
    for (size_t i = 0; i < rows->manifest_count; i++)
        if (strcmp(rows->manifests[i], digest) == 0)
            return STATUS_OK;
    if (rows->manifest_count == MANIFESTS_MAX)
        return error_set(error, STATUS_LIMIT, "the spec names more than %d things", MANIFESTS_MAX);
    rows->manifests[rows->manifest_count++] = arena_strdup(rows->arena, digest);
    return STATUS_OK;
}

static enum status add_reference(struct assign_rows *rows, const char *reference,
                                 struct error *error)
{
    size_t prefix = strlen(DIGEST_PREFIX);
    if (reference == NULL || strncmp(reference, DIGEST_PREFIX, prefix) != 0)
        return STATUS_OK;
    return add(rows, reference + prefix, error);
}

static enum status add_sources(struct assign_rows *rows, const struct spec_sources *sources,
                               struct error *error)
{
    for (int i = 0; i < sources->count; i++)
        TRY(add_reference(rows, sources->items[i].dataset, error));
    return STATUS_OK;
}

static enum status add_parents(struct records *records, struct assign_rows *rows,
                               struct error *error)
{
    for (size_t i = 0; i < rows->manifest_count; i++) {
        char parent[SHA256_HEX_SIZE];
        bool found;
        TRY(lineage_record_parent(records, rows->manifests[i], &found, parent, error));
        if (found)
            TRY(add(rows, parent, error));
    }
    return STATUS_OK;
}

static enum status add_parts(struct records *records, struct assign_rows *rows, const Api__Job *job,
                             struct error *error)
{
    Api__ResultList *list = message_new(rows->arena, &api__result_list__descriptor);
    if (job->shards == 0 || job->has_shard_of)
        return STATUS_OK;
    TRY(result_record_parts(records, job->id, rows->arena, list, error));
    if ((int64_t)list->n_results != job->shards)
        return error_set(error, STATUS_NOT_FOUND, "%zu of its %lld shards left a result",
                         list->n_results, (long long)job->shards);
    rows->parts = arena_array(rows->arena, char *, list->n_results);
    for (size_t i = 0; i < list->n_results; i++)
        rows->parts[rows->part_count++] = list->results[i]->manifest;
    return STATUS_OK;
}

enum status assign_rows_read(struct records *records, struct assign_rows *rows, struct error *error)
{
    Api__Job *job;
    struct spec *spec;
    Api__CheckpointList *checkpoints = message_new(rows->arena, &api__checkpoint_list__descriptor);
    TRY(job_record_get(records, SCOPE_ALL, rows->job, true, rows->arena, &job, error));
    if (job->spec == NULL)
        return error_set(error, STATUS_NOT_FOUND, "the job has no spec");
    rows->spec = job->spec;
    TRY(spec_parse(rows->arena, "spec.json", job->spec, strlen(job->spec), NULL, 0, &spec, error));
    rows->manifests = arena_array(rows->arena, char *, MANIFESTS_MAX);
    TRY(add_reference(rows, spec->from, error));
    TRY(add_sources(rows, &spec->data.train, error));
    TRY(add_sources(rows, &spec->data.eval, error));
    TRY(add_sources(rows, &spec->data.enrich.sources, error));
    TRY(add_parents(records, rows, error));
    TRY(add_parts(records, rows, job, error));
    TRY(checkpoint_record_list(records, SCOPE_ALL, rows->job, rows->arena, checkpoints, error));
    rows->checkpoint =
        checkpoints->n_checkpoints > 0 ? checkpoints->checkpoints[0]->manifest : NULL;
    return STATUS_OK;
}
