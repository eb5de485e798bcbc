/* SPDX-License-Identifier: Apache-2.0
 *
 * on_submit: a spec becomes a job; and an old job's spec becomes a new one (retry).
 *
 * What a spec names by digest alone is pinned in the store, before the job is submitted: a pin too
 * many costs a month of disk, a job whose data went away costs a customer.
 */
#include <string.h>

#include "coordinator/api/handlers.h"
#include "coordinator/api/resolve.h"
#include "lib/check.h"
#include "lib/limits.h"
#include "storage/records/batch_record.h"
#include "storage/records/blob_record.h"

#define PIN_MS (30 * 24 * 3600 * 1000LL)

struct submit {
    struct resolution resolution;
    struct job_submission submission;
    char request_digest[SHA256_HEX_SIZE];
    bool dry_run;
};

static struct submit *submit_new(struct exchange *exchange)
{
    struct submit *submit = arena_new(&exchange->arena, struct submit);
    submit->resolution.arena = &exchange->arena;
    exchange->state = submit;
    return submit;
}

static enum status read_spec(struct exchange *exchange, const Api__JobSubmitRequest *request,
                             struct spec **spec_out, struct error *error)
{
    struct spec_override *overrides =
        arena_array(&exchange->arena, struct spec_override, request->n_set);
    if ((request->spec != NULL) == (request->spec_text != NULL))
        return error_set(error, STATUS_USAGE,
                         "give the job as `spec` (JSON) or as `spec_text` (YAML)");
    for (size_t i = 0; i < request->n_set; i++)
        TRY(spec_override_parse(&exchange->arena, request->set[i], &overrides[i], error));
    const char *text = request->spec != NULL ? request->spec : request->spec_text;
    return spec_parse(&exchange->arena, request->spec != NULL ? "spec.json" : "spec", text,
                      strlen(text), overrides, (int)request->n_set, spec_out, error);
}

/* Of what was asked, before names are resolved: the same request again is the same. */
static void digest_request(const struct spec *spec, const char *tenant, char out[SHA256_HEX_SIZE])
{
    struct buf text = {0};
    buf_printf(&text, "%s\n", tenant);
    spec_json(spec, &text);
    sha256_hex(text.data, text.length, out);
    buf_release(&text);
}

static enum status pin_all(struct records *records, const struct resolution *resolution,
                           struct error *error)
{
    int64_t now_ms = coordinator_now_ms();
    for (int i = 0; i < resolution->pin_count; i++)
        TRY(blob_record_pin(records, resolution->tenant, resolution->pins[i], "spec",
                            now_ms + PIN_MS, error));
    return STATUS_OK;
}

enum status submit_resolve(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__JobSubmitRequest *request = exchange->request;
    struct submit *submit = submit_new(exchange);
    struct resolution *resolution = &submit->resolution;
    submit->dry_run = request->dry_run;
    TRY(read_spec(exchange, request, &resolution->spec, error));
    const char *given = request->tenant != NULL ? request->tenant : resolution->spec->tenant;
    if (request->tenant != NULL && resolution->spec->tenant != NULL &&
        strcmp(request->tenant, resolution->spec->tenant) != 0)
        return error_set(error, STATUS_USAGE, "tenant: the request says %s and the spec %s",
                         request->tenant, resolution->spec->tenant);
    TRY(exchange_tenant(exchange, given, &resolution->tenant, error));
    if (resolution->spec->stage == SPEC_STAGE_IMPORT)
        return error_set(error, STATUS_USAGE,
                         "stage: an import comes with its base: tailor base add NAME FILE.gguf");
    digest_request(resolution->spec, resolution->tenant, submit->request_digest);
    TRY(resolve_spec(records, resolution, error));
    submit->submission.idempotency_key = request->idempotency_key;
    return submit->dry_run ? STATUS_OK : pin_all(records, resolution, error);
}

/* A row whose job this is gets the new one. */
static enum status find_batch_row(struct records *records, struct exchange *exchange,
                                  const Api__Job *old, struct submit *submit, struct error *error)
{
    const struct batch_row_query query = {.id = old->batch_id, .job = old->id, .limit = 1};
    Api__BatchReply *list = message_new(&exchange->arena, &api__batch_reply__descriptor);
    TRY(batch_record_rows(records, SCOPE_ALL, &query, &exchange->arena, list, error));
    submit->submission.row = list->n_rows > 0 ? list->rows[0] : NULL;
    return STATUS_OK;
}

enum status retry_resolve(struct records *records, struct exchange *exchange, struct error *error)
{
    struct submit *submit = submit_new(exchange);
    struct resolution *resolution = &submit->resolution;
    Api__Job *old;
    TRY(job_record_get(records, exchange_scope(exchange),
                       ((const Api__JobRequest *)exchange->request)->id, true, &exchange->arena,
                       &old, error));
    if (old->state != API__JOB_STATE__JOB_STATE_FAILED &&
        old->state != API__JOB_STATE__JOB_STATE_CANCELLED)
        return error_set(error, STATUS_CONFLICT, "only a failed or cancelled job is tried again");
    if (old->has_shard_of)
        return error_set(error, STATUS_CONFLICT, "it is a shard of job j-%lld: retry that",
                         (long long)old->shard_of);
    if (old->stage == API__STAGE__STAGE_ADMIT)
        return error_set(error, STATUS_CONFLICT, "it judged a dataset: add the data again");
    if (old->stage == API__STAGE__STAGE_IMPORT)
        return error_set(error, STATUS_CONFLICT, "it made a base: add the base again");
    TRY(resolve_again(records, resolution, old, error));
    return old->has_batch_id ? find_batch_row(records, exchange, old, submit, error) : STATUS_OK;
}

/* ---- on the loop ----------------------------------------------------------------------------- */

static void answer_with(struct exchange *exchange, Api__Job *job, const struct submit *submit)
{
    Api__JobSubmitReply *reply = exchange_reply(exchange);
    reply->job = job;
    reply->has_created = true;
    reply->created = submit->submission.created;
    reply->has_queue_position = submit->submission.queue_position > 0;
    reply->queue_position = submit->submission.queue_position;
    reply->has_estimate_ms = submit->submission.estimate_ms > 0;
    reply->estimate_ms = submit->submission.estimate_ms;
}

static enum status read_submitted(struct records *records, void *argument, struct error *error)
{
    struct exchange *exchange = argument;
    struct submit *submit = exchange->state;
    return job_record_get(records, SCOPE_ALL, submit->submission.id, false, &exchange->arena,
                          &submit->resolution.job, error);
}

static void answer(struct exchange *exchange, enum status status, const struct error *error)
{
    struct submit *submit = exchange->state;
    Api__Job *job = submit->resolution.job;
    if (status != STATUS_OK) {
        exchange_done(exchange, status, error);
        return;
    }
    exchange->code = submit->submission.created ? 201 : 200;
    coordinator_job_refresh(exchange->api->coordinator, &exchange->arena, job);
    if (exchange->match.route->id == ROUTE_JOB_SUBMIT)
        answer_with(exchange, job, submit);
    else
        exchange->reply = job;
    exchange_done(exchange, STATUS_OK, NULL);
}

static void on_submitted_read(void *argument, enum status status, const struct error *error)
{
    answer(argument, status, error);
}

static void on_submitted(void *argument, enum status status, const struct error *error)
{
    struct exchange *exchange = argument;
    struct submit *submit = exchange->state;
    submit->resolution.job->has_id = true;
    submit->resolution.job->id = submit->submission.id;
    if (status != STATUS_OK || exchange->api->stopping) /* what was accepted is said to be */
        answer(exchange, status, error);
    else
        coordinator_read(exchange->api->coordinator, read_submitted, on_submitted_read, exchange);
}

void submit_start(struct exchange *exchange)
{
    struct submit *submit = exchange->state;
    struct resolution *resolution = &submit->resolution;
    if (submit->dry_run) {
        answer_with(exchange, resolution->job, submit);
        exchange_done(exchange, STATUS_OK, NULL);
        return;
    }
    resolution->job->submitter = exchange->caller.name;
    submit->submission.caller = &exchange->caller;
    submit->submission.job = resolution->job;
    submit->submission.spec = resolution->spec;
    submit->submission.request_digest = submit->request_digest;
    submit->submission.inputs = resolution->inputs;
    submit->submission.input_count = resolution->input_count;
    submit->submission.sharded = resolve_is_sharded(resolution->spec);
    coordinator_job_submit(exchange->api->coordinator, &submit->submission, on_submitted, exchange);
}

void object_job_submit(struct exchange *exchange, struct resolution *resolution,
                       struct job_submission *submission, Api__ObjectKind kind, bool sharded,
                       coordinator_run *before, coordinator_done *done)
{
    CHECK(resolution->input_count < REFERENCES_MAX);
    resolution->inputs[resolution->input_count++] = (struct job_input){.kind = kind};
    resolution->job->submitter = exchange->caller.name;
    *submission = (struct job_submission){.caller = &exchange->caller,
                                          .job = resolution->job,
                                          .spec = resolution->spec,
                                          .inputs = resolution->inputs,
                                          .input_count = resolution->input_count,
                                          .sharded = sharded,
                                          .before = before,
                                          .before_argument = exchange};
    coordinator_job_submit(exchange->api->coordinator, submission, done, exchange);
}
