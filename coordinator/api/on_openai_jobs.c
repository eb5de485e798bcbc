/* SPDX-License-Identifier: Apache-2.0
 *
 * on_openai_jobs: jobs under the names of OpenAI's fine-tuning jobs.
 *
 *     ftjob-17 ↔ j-17        ftevent-9 ↔ event 9
 *
 * `model` names what to start from: a base gives a job of stage general, a reward model
 * ("hh@prod") one of stage customize. What has no meaning for a reward model (beta) or would need a
 * default of ours to be multiplied (learning_rate_multiplier) is refused, and never passed over.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/api/handlers.h"
#include "coordinator/api/openai.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/text.h"
#include "storage/records/dataset_record.h"
#include "storage/records/event_record.h"
#include "storage/records/job_record.h"

enum { EVENTS_READ_MAX = PAGE_MAX };

void openai_list_add(struct arena *arena, ProtobufCMessage *list, void *message)
{
    message_put_pointer(arena, list,
                        protobuf_c_message_descriptor_get_field_by_name(list->descriptor, "data"),
                        message);
}

static enum status number_of(const char *prefix, const char *id, const char *what,
                             int64_t *number_out, struct error *error)
{
    const size_t length = strlen(prefix);
    if (strncmp(id, prefix, length) != 0 || !parse_i64(id + length, number_out) || *number_out <= 0)
        return error_set(error, STATUS_NOT_FOUND, "there is no %s %s; they are called %s17", what,
                         id, prefix);
    return STATUS_OK;
}

/* ---- what they look like --------------------------------------------------------------------- */

static const char *status_of(Api__JobState state)
{
    switch (state) {
    case API__JOB_STATE__JOB_STATE_QUEUED:
        return "queued";
    case API__JOB_STATE__JOB_STATE_PAUSED:
        return "paused";
    case API__JOB_STATE__JOB_STATE_SUCCEEDED:
        return "succeeded";
    case API__JOB_STATE__JOB_STATE_FAILED:
        return "failed";
    case API__JOB_STATE__JOB_STATE_CANCELLED:
        return "cancelled";
    default:
        return "running";
    }
}

/* "file-…" of the first dataset of data.train or data.eval, as the spec was resolved; NULL. */
static char *file_in(struct arena *arena, const json_t *spec, const char *list)
{
    const json_t *source = json_array_get(json_object_get(json_object_get(spec, "data"), list), 0);
    const char *name = json_string_value(json_object_get(source, "name"));
    return name != NULL ? arena_printf(arena, OPENAI_FILE_PREFIX "%s", name) : NULL;
}

static void put_spec(struct arena *arena, const Api__Job *job, Api__OpenaiJob *out)
{
    json_t *spec;
    if (job->spec == NULL ||
        json_read("spec", job->spec, strlen(job->spec), &spec, NULL) != STATUS_OK)
        return;
    out->training_file = file_in(arena, spec, "train");
    out->validation_file = file_in(arena, spec, "eval");
    out->seed = json_integer_value(json_object_get(json_object_get(spec, "train"), "seed"));
    out->has_seed = true;
    json_decref(spec);
}

static Api__OpenaiJob *job_of(struct arena *arena, const Api__Job *job)
{
    Api__OpenaiJob *out = message_new(arena, &api__openai_job__descriptor);
    out->id = arena_printf(arena, OPENAI_JOB_PREFIX "%" PRId64, job->id);
    out->object = "fine_tuning.job";
    out->status = (char *)status_of(job->state);
    out->model = job->from;
    out->has_created_at = true;
    out->created_at = job->created_ms / 1000;
    out->has_finished_at = job->has_finished_ms;
    out->finished_at = job->finished_ms / 1000;
    out->metadata = job->labels;
    out->n_metadata = job->n_labels;
    put_spec(arena, job, out);
    if (job->state == API__JOB_STATE__JOB_STATE_SUCCEEDED && job->has_output_version)
        out->fine_tuned_model =
            arena_printf(arena, "%s@%" PRId64, job->output_model, job->output_version);
    if (job->state == API__JOB_STATE__JOB_STATE_FAILED) {
        char name[64];
        out->error = message_new(arena, &api__openai_job_error__descriptor);
        out->error->code = arena_strdup(
            arena, enum_text(&api__failure_class__descriptor, job->failure_class, name));
        out->error->message = job->failure_message;
    }
    return out;
}

void openai_job_shape(struct exchange *exchange)
{
    exchange->reply = job_of(&exchange->arena, exchange->reply);
}

/* ---- reading --------------------------------------------------------------------------------- */

enum status openai_job_name(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__OpenaiJobRequest *asked = exchange->request;
    Api__JobRequest *request = message_new(&exchange->arena, &api__job_request__descriptor);
    (void)records;
    request->has_id = true;
    exchange->request = request;
    return number_of(OPENAI_JOB_PREFIX, asked->job, "job", &request->id, error);
}

enum status openai_job_read(struct records *records, struct exchange *exchange, struct error *error)
{
    TRY(openai_job_name(records, exchange, error));
    return job_read(records, exchange, error);
}

static bool is_training(const Api__Job *job)
{
    return job->stage == API__STAGE__STAGE_GENERAL || job->stage == API__STAGE__STAGE_CUSTOMIZE;
}

enum status openai_jobs_read(struct records *records, struct exchange *exchange,
                             struct error *error)
{
    const Api__OpenaiJobRequest *request = exchange->request;
    const int64_t limit = page_limit(request->has_limit, request->limit);
    Api__OpenaiJobList *reply = exchange_reply(exchange);
    Api__JobListRequest query = API__JOB_LIST_REQUEST__INIT;
    const char *tenant;
    TRY(exchange_tenant(exchange, NULL, &tenant, error));
    reply->object = "list";
    reply->has_has_more = true;
    query.has_limit = true;
    query.limit = PAGE_MAX;
    query.has_after = request->after != NULL;
    if (request->after != NULL)
        TRY(number_of(OPENAI_JOB_PREFIX, request->after, "job", &query.after, error));
    bool more = true;
    while (more && (int64_t)reply->n_data < limit) {
        Api__JobList *list = message_new(&exchange->arena, &api__job_list__descriptor);
        TRY(job_record_list(records, exchange_scope(exchange), &query, &exchange->arena, list,
                            error));
        for (size_t i = 0; i < list->n_jobs && (int64_t)reply->n_data < limit; i++) {
            query.after = list->jobs[i]->id;
            if (is_training(list->jobs[i]))
                openai_list_add(&exchange->arena, &reply->base,
                                job_of(&exchange->arena, list->jobs[i]));
            more = list->has_next || i + 1 < list->n_jobs;
        }
        query.has_after = true;
        more = more && list->n_jobs > 0;
    }
    reply->has_more = more;
    return STATUS_OK;
}

static Api__OpenaiEvent *event_of(struct arena *arena, const Api__Event *event)
{
    Api__OpenaiEvent *out = message_new(arena, &api__openai_event__descriptor);
    out->id = arena_printf(arena, OPENAI_EVENT_PREFIX "%" PRId64, event->number);
    out->object = "fine_tuning.job.event";
    out->has_created_at = true;
    out->created_at = event->time_ms / 1000;
    out->level = event->severity == API__SEVERITY__SEVERITY_ERROR     ? "error"
                 : event->severity == API__SEVERITY__SEVERITY_WARNING ? "warn"
                                                                      : "info";
    out->message = event->message != NULL ? event->message : event->kind;
    return out;
}

/* A job has some dozens: all are read, and turned round. */
enum status openai_events_read(struct records *records, struct exchange *exchange,
                               struct error *error)
{
    const Api__OpenaiJobRequest *request = exchange->request;
    const int64_t limit = page_limit(request->has_limit, request->limit);
    Api__OpenaiEventList *reply = exchange_reply(exchange);
    Api__EventList *list = message_new(&exchange->arena, &api__event_list__descriptor);
    int64_t before = INT64_MAX;
    TRY(openai_job_name(records, exchange, error));
    TRY(job_exists(records, exchange, error));
    if (request->after != NULL)
        TRY(number_of(OPENAI_EVENT_PREFIX, request->after, "event", &before, error));
    TRY(event_record_list(records, exchange_scope(exchange),
                          ((const Api__JobRequest *)exchange->request)->id, 0, EVENTS_READ_MAX,
                          &exchange->arena, list, error));
    reply->object = "list";
    reply->has_has_more = true;
    for (size_t i = list->n_events; i > 0; i--) {
        if (list->events[i - 1]->number >= before)
            continue;
        if ((int64_t)reply->n_data == limit) {
            reply->has_more = true;
            break;
        }
        openai_list_add(&exchange->arena, &reply->base,
                        event_of(&exchange->arena, list->events[i - 1]));
    }
    return STATUS_OK;
}

/* ---- starting one ---------------------------------------------------------------------------- */

/* OpenAI's name of a hyperparameter, and the spec's field; NULL: there is none, and why. */
static const struct {
    const char *name, *field, *why;
} HYPERPARAMETERS[] = {
    {"n_epochs", "epochs", NULL},
    {"batch_size", "batch_groups", NULL},
    {"beta", NULL, "a reward model has none"},
    {"learning_rate_multiplier", NULL,
     "a spec has train.learning_rate itself: submit one at /v1/jobs for that"},
};

static enum status put_hyperparameter(const char *name, const json_t *value, json_t *train,
                                      struct error *error)
{
    if (json_is_string(value) && strcmp(json_string_value(value), "auto") == 0)
        return STATUS_OK;
    for (size_t i = 0; i < sizeof(HYPERPARAMETERS) / sizeof(HYPERPARAMETERS[0]); i++) {
        if (strcmp(HYPERPARAMETERS[i].name, name) != 0)
            continue;
        if (HYPERPARAMETERS[i].field == NULL)
            return error_set(error, STATUS_USAGE, "hyperparameters.%s: leave it \"auto\": %s", name,
                             HYPERPARAMETERS[i].why);
        json_object_set(train, HYPERPARAMETERS[i].field, (json_t *)value);
        return STATUS_OK;
    }
    return error_set(error, STATUS_USAGE, "hyperparameters.%s: there is none of that name", name);
}

static enum status put_hyperparameters(const json_t *all, json_t *train, struct error *error)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)all, name, value)
        TRY(put_hyperparameter(name, value, train, error));
    return STATUS_OK;
}

/* {"type": "dpo", "dpo": {"hyperparameters": {…}}}; preference data is what a reward model takes.
 */
static enum status put_method(const char *text, json_t *train, struct error *error)
{
    json_t *method;
    TRY(json_read("method", text, strlen(text), &method, error));
    const char *type = json_string_value(json_object_get(method, "type"));
    enum status status =
        type != NULL && strcmp(type, "dpo") == 0
            ? put_hyperparameters(
                  json_object_get(json_object_get(method, "dpo"), "hyperparameters"), train, error)
            : error_set(error, STATUS_USAGE,
                        "method.type: there is dpo only: preference data make a reward model");
    json_decref(method);
    return status;
}

static enum status put_train(const Api__OpenaiJobCreate *request, json_t *train,
                             struct error *error)
{
    json_t *all;
    if (request->has_seed)
        json_object_set_new(train, "seed", json_integer(request->seed));
    if (request->method != NULL)
        TRY(put_method(request->method, train, error));
    if (request->hyperparameters == NULL)
        return STATUS_OK;
    TRY(json_read("hyperparameters", request->hyperparameters, strlen(request->hyperparameters),
                  &all, error));
    enum status status = put_hyperparameters(all, train, error);
    json_decref(all);
    return status;
}

static enum status put_data(struct exchange *exchange, const Api__OpenaiJobCreate *request,
                            json_t *data, const char **name_out, struct error *error)
{
    const char *eval;
    TRY(openai_file_name(exchange, request->training_file, "training_file", name_out, error));
    json_object_set_new(data, "train", json_pack("[s]", *name_out));
    if (request->validation_file == NULL)
        return STATUS_OK;
    TRY(openai_file_name(exchange, request->validation_file, "validation_file", &eval, error));
    json_object_set_new(data, "eval", json_pack("[s]", eval));
    return STATUS_OK;
}

static enum status spec_of(struct records *records, struct exchange *exchange,
                           const Api__OpenaiJobCreate *request, json_t *spec, struct error *error)
{
    Api__Base *base;
    const char *name;
    json_t *data = json_object(), *train = json_object();
    json_object_set_new(spec, "data", data);
    json_object_set_new(spec, "train", train);
    enum status found = base_record_get(records, request->model, &exchange->arena, &base, error);
    if (found != STATUS_NOT_FOUND)
        TRY(found);
    json_object_set_new(spec, "stage", json_string(found == STATUS_OK ? "general" : "customize"));
    json_object_set_new(spec, "from", json_string(request->model));
    TRY(put_data(exchange, request, data, &name, error));
    TRY(put_train(request, train, error));
    json_object_set_new(
        spec, "output",
        json_pack("{s:s}", "model", request->suffix != NULL ? request->suffix : name));
    if (request->metadata != NULL) {
        json_t *labels;
        TRY(json_read("metadata", request->metadata, strlen(request->metadata), &labels, error));
        json_object_set_new(spec, "labels", labels);
    }
    return STATUS_OK;
}

enum status openai_job_resolve(struct records *records, struct exchange *exchange,
                               struct error *error)
{
    Api__JobSubmitRequest *submit =
        message_new(&exchange->arena, &api__job_submit_request__descriptor);
    json_t *spec = json_object();
    struct buf text = {0};
    enum status status = spec_of(records, exchange, exchange->request, spec, error);
    json_append(&text, spec);
    json_decref(spec);
    submit->spec = arena_strdup(&exchange->arena, text.data);
    buf_release(&text);
    TRY(status);
    exchange->request = submit;
    return submit_resolve(records, exchange, error);
}
