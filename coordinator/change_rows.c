/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker's claim about what is in the store (a checkpoint, a model, a result) may be wrong: that
 * is refused. Its checks come before its first write, so nothing of it is left. Everything else is
 * ours and has to succeed.
 */
#include "coordinator/change_rows.h"

#include <inttypes.h>
#include <string.h>

#include "lib/check.h"
#include "lib/json.h"
#include "lib/log.h"
#include "proto/ident.h"
#include "proto/message.h"
#include "storage/records/attempt_record.h"
#include "storage/records/blob_record.h"
#include "storage/records/dataset_record.h"
#include "storage/records/event_record.h"
#include "storage/records/job_record.h"
#include "storage/records/model_record.h"
#include "storage/records/result_record.h"
#include "storage/records/tenant_record.h"
#include "storage/records/worker_record.h"

/* Every field that is set in `from` and is no list. */
static void overlay(struct arena *arena, ProtobufCMessage *into, const ProtobufCMessage *from)
{
    const ProtobufCMessageDescriptor *type = from->descriptor;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        if (field->label == PROTOBUF_C_LABEL_REPEATED || !message_has(from, field))
            continue;
        if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE)
            message_put_pointer(arena, into, field, message_pointer(from, field, 0));
        else if (field->type == PROTOBUF_C_TYPE_DOUBLE)
            message_put_f64(arena, into, field, message_f64(from, field, 0));
        else
            message_put_i64(arena, into, field, message_i64(from, field, 0));
    }
}

static void forget_failure(Api__Job *job)
{
    job->has_failure_class = job->has_failure_rank = false;
    job->failure_message = job->failure_hint = job->failure_log = NULL;
}

/* Of an admission: {"verdict", "groups", "message"}. */
static enum status write_verdict(struct records *records, const struct change_row *row,
                                 struct error *error)
{
    Api__Dataset dataset = API__DATASET__INIT;
    const char *text = row->result->figures != NULL ? row->result->figures : "{}";
    json_t *figures;
    TRY(json_read("the verdict", text, strlen(text), &figures, error));
    const char *verdict = json_string_value(json_object_get(figures, "verdict"));
    bool rejected = verdict == NULL || strcmp(verdict, "rejected") == 0;
    dataset.has_state = dataset.has_groups = dataset.has_job_id = true;
    dataset.state = rejected                           ? API__DATASET_STATE__DATASET_STATE_REJECTED
                    : strcmp(verdict, "accepted") == 0 ? API__DATASET_STATE__DATASET_STATE_ACCEPTED
                                                       : API__DATASET_STATE__DATASET_STATE_WARNED;
    dataset.groups = json_integer_value(json_object_get(figures, "groups"));
    dataset.job_id = row->result->job_id;
    dataset.report = row->result->manifest;
    dataset.message = (char *)json_string_value(json_object_get(figures, "message"));
    enum status status = dataset_record_judge(records, &dataset, error);
    json_decref(figures);
    return status;
}

/* What an import leaves is the base itself. */
static enum status write_base(struct records *records, const struct change_row *row,
                              struct error *error)
{
    bool has;
    Api__Base base = API__BASE__INIT;
    base.has_state = base.has_job_id = base.has_bytes = true;
    base.state = API__BASE_STATE__BASE_STATE_READY;
    base.job_id = row->result->job_id;
    base.manifest = row->result->manifest;
    base.bytes = row->result->bytes;
    TRY(blob_record_has(records, row->result->tenant, base.manifest, &has, error));
    if (!has)
        return error_set(error, STATUS_NOT_FOUND, "the base %.12s… is not in the store",
                         base.manifest);
    return base_record_judge(records, &base, error);
}

static enum status write_result(struct records *records, const struct change_row *row,
                                struct error *error)
{
    if (row->job->stage == API__STAGE__STAGE_IMPORT)
        return write_base(records, row, error);
    TRY(result_record_put(records, row->result, error));
    return row->job->stage == API__STAGE__STAGE_ADMIT ? write_verdict(records, row, error)
                                                      : STATUS_OK;
}

static char *why_not(const Api__Job *job, struct arena *arena)
{
    return arena_strdup(arena, job->state == API__JOB_STATE__JOB_STATE_CANCELLED ? "cancelled"
                               : job->failure_message != NULL ? job->failure_message
                                                              : "its job failed");
}

/* An admission that came to no verdict accepts nothing. */
static enum status write_no_verdict(struct records *records, const Api__Job *job,
                                    struct arena *arena, struct error *error)
{
    Api__Dataset dataset = API__DATASET__INIT;
    dataset.has_state = dataset.has_job_id = true;
    dataset.state = API__DATASET_STATE__DATASET_STATE_REJECTED;
    dataset.job_id = job->id;
    dataset.message =
        arena_printf(arena, "it could not be judged (%s): add it again", why_not(job, arena));
    return dataset_record_judge(records, &dataset, error);
}

static enum status write_no_base(struct records *records, const Api__Job *job, struct arena *arena,
                                 struct error *error)
{
    Api__Base base = API__BASE__INIT;
    base.has_state = base.has_job_id = true;
    base.state = API__BASE_STATE__BASE_STATE_REJECTED;
    base.job_id = job->id;
    base.message = why_not(job, arena);
    return base_record_judge(records, &base, error);
}

static enum status write_job(struct records *records, const struct change_row *row,
                             struct arena *arena, struct error *error)
{
    Api__Job *job;
    TRY(job_record_get(records, SCOPE_ALL, row->job->id, false, arena, &job, error));
    overlay(arena, &job->base, &row->job->base);
    if (job->state == API__JOB_STATE__JOB_STATE_SUCCEEDED)
        forget_failure(job);
    bool in_vain = job->state == API__JOB_STATE__JOB_STATE_FAILED ||
                   job->state == API__JOB_STATE__JOB_STATE_CANCELLED;
    if (in_vain && job->stage == API__STAGE__STAGE_ADMIT)
        TRY(write_no_verdict(records, job, arena, error));
    if (in_vain && job->stage == API__STAGE__STAGE_IMPORT)
        TRY(write_no_base(records, job, arena, error));
    return job_record_update(records, job, row->from, error);
}

static enum status begin_attempt(struct records *records, const struct change_row *row,
                                 struct error *error)
{
    int64_t term;
    TRY(attempt_record_begin(records, row->attempt, &term, error));
    CHECK(term == row->attempt->term);
    return STATUS_OK;
}

static enum status write_attempt(struct records *records, const struct change_row *row,
                                 struct arena *arena, struct error *error)
{
    Api__AttemptList *list = message_new(arena, &api__attempt_list__descriptor);
    TRY(attempt_record_list(records, SCOPE_ALL, row->attempt->job_id, arena, list, error));
    for (size_t i = 0; i < list->n_attempts; i++)
        if (list->attempts[i]->term == row->attempt->term) {
            overlay(arena, &list->attempts[i]->base, &row->attempt->base);
            return attempt_record_update(records, list->attempts[i], error);
        }
    return error_set(error, STATUS_NOT_FOUND, "job j-%" PRId64 " has no attempt %" PRId64,
                     row->attempt->job_id, row->attempt->term);
}

static enum status write_checkpoint(struct records *records, const struct change_row *row,
                                    struct error *error)
{
    int64_t removed;
    TRY(checkpoint_record_insert(records, row->checkpoint, error));
    return checkpoint_record_prune(records, row->checkpoint->job_id, row->keep_last, &removed,
                                   error);
}

/* Once a job: a second report of the same model finds the version that the first one made. */
static enum status write_model(struct records *records, const struct change_row *row,
                               struct arena *arena, struct error *error)
{
    Api__Job *job;
    struct reference reference;
    if (row->job->output_model == NULL)
        return STATUS_OK;
    TRY(job_record_get(records, SCOPE_ALL, row->job->id, false, arena, &job, error));
    if (job->has_output_version)
        return STATUS_OK;
    TRY(reference_parse(row->job->output_model, &reference, error));
    Api__ModelVersion *model = row->model;
    model->model = reference.name;
    model->parent = job->from;
    model->parent_digest = job->from_digest;
    model->spec_digest = job->spec_digest;
    model->numerics = job->numerics;
    TRY(model_record_add_version(records, model, &job->output_version, error));
    job->has_output_version = true;
    return job_record_update(records, job, job->state, error);
}

static enum status write_alias(struct records *records, const struct change_row *row,
                               struct arena *arena, struct error *error)
{
    Api__Job *job;
    Api__Alias alias = API__ALIAS__INIT;
    struct reference reference;
    TRY(job_record_get(records, SCOPE_ALL, row->job->id, false, arena, &job, error));
    if (!job->has_output_version)
        return STATUS_OK;
    TRY(reference_parse(row->job->output_model, &reference, error));
    alias.name = (char *)row->alias; /* protobuf-c knows no const */
    alias.has_version = alias.has_moved_ms = alias.has_job_id = true;
    alias.version = job->output_version;
    alias.moved_ms = row->time_ms;
    alias.job_id = job->id;
    enum status status =
        model_record_move_alias(records, SCOPE_ALL, job->tenant, reference.name, &alias, error);
    if (status == STATUS_NOT_FOUND) { /* a person removed the model meanwhile */
        log_warn("job j-%" PRId64 ": alias %s not moved: %s", job->id, row->alias, error->text);
        return STATUS_OK;
    }
    return status;
}

static enum status write_worker(struct records *records, const struct change_row *row,
                                struct error *error)
{
    int64_t id;
    TRY(worker_record_put(records, row->worker, &id, error));
    return worker_record_state(records, id, row->worker->state, row->worker->last_seen_ms, error);
}

static enum status write_row(struct records *records, const struct change_row *row,
                             struct arena *arena, struct error *error)
{
    switch (row->kind) {
    case ROW_JOB:
        return write_job(records, row, arena, error);
    case ROW_ATTEMPT_BEGIN:
        return begin_attempt(records, row, error);
    case ROW_ATTEMPT:
        return write_attempt(records, row, arena, error);
    case ROW_EVENT:
        return event_record_insert(records, row->event, error);
    case ROW_FINDING:
        return event_record_insert_once(records, row->event, error);
    case ROW_CHECKPOINT:
        return write_checkpoint(records, row, error);
    case ROW_MODEL:
        return write_model(records, row, arena, error);
    case ROW_RESULT:
        return write_result(records, row, error);
    case ROW_SHARDS_OVER:
        return result_record_drop_parts(records, row->job->id, error);
    case ROW_ALIAS:
        return write_alias(records, row, arena, error);
    case ROW_USAGE:
        return usage_record_add(records, row->usage, error);
    case ROW_WORKER:
        return write_worker(records, row, error);
    }
    CHECK(false);
    return STATUS_OK;
}

static bool is_a_claim(const struct change_row *row)
{
    return row->kind == ROW_CHECKPOINT || row->kind == ROW_MODEL || row->kind == ROW_RESULT;
}

enum status change_rows_write(struct records *records, const struct change_row *first,
                              struct error *refusal, struct error *error)
{
    struct arena arena = {0};
    enum status status = STATUS_OK;
    for (const struct change_row *row = first; row != NULL && status == STATUS_OK;
         row = row->next) {
        status = write_row(records, row, &arena, error);
        if (status != STATUS_OK && status != STATUS_IO && is_a_claim(row)) {
            *refusal = *error;
            status = STATUS_OK;
        }
    }
    arena_release(&arena);
    return status;
}
