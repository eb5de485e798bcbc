/* SPDX-License-Identifier: Apache-2.0
 *
 * Rejected: resolving on the worker; two attempts of one job could then differ.
 */
#include "coordinator/api/resolve.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/check.h"
#include "lib/text.h"
#include "proto/message.h"
#include "storage/records/blob_record.h"
#include "storage/records/dataset_record.h"
#include "storage/records/model_record.h"

#define DIGEST_PREFIX "sha256:"
#define USE           API__SHARE_RIGHT__SHARE_RIGHT_USE
#define READ          API__SHARE_RIGHT__SHARE_RIGHT_READ

static const char *with_prefix(struct arena *arena, const char *digest)
{
    return arena_printf(arena, DIGEST_PREFIX "%s", digest);
}

static bool is_digest(const char *text, const char **digest_out)
{
    uint8_t bytes[32];
    size_t prefix = strlen(DIGEST_PREFIX);
    if (strncmp(text, DIGEST_PREFIX, prefix) != 0 ||
        !parse_hex(text + prefix, bytes, sizeof(bytes)))
        return false;
    *digest_out = text + prefix;
    return true;
}

static enum status room(const struct resolution *it, struct error *error)
{
    if (it->input_count + it->pin_count == REFERENCES_MAX)
        return error_set(error, STATUS_LIMIT, "a spec may name %d things at most", REFERENCES_MAX);
    return STATUS_OK;
}

static enum status pin(struct records *records, struct resolution *it, const char *field,
                       const char *digest, struct error *error)
{
    bool has;
    TRY(room(it, error));
    TRY(blob_record_has(records, it->tenant, digest, &has, error));
    if (!has)
        return error_set(error, STATUS_NOT_FOUND,
                         "%s: %s has no blob %.12s…: upload it before the job", field, it->tenant,
                         digest);
    it->pins[it->pin_count++] = arena_strdup(it->arena, digest);
    return STATUS_OK;
}

static enum status add_input(struct resolution *it, int kind, const struct reference *object,
                             struct error *error)
{
    TRY(room(it, error));
    it->inputs[it->input_count++] = (struct job_input){.kind = kind, .object = *object};
    return STATUS_OK;
}

static enum status read_reference(const struct resolution *it, const char *field, const char *text,
                                  struct reference *reference_out, struct error *error)
{
    if (text[0] == '.' || text[0] == '/' || text[0] == '~')
        return error_set(error, STATUS_USAGE,
                         "%s: \"%.200s\" is a path of some machine; upload it, and name it "
                         "sha256:DIGEST or by the dataset that it became",
                         field, text);
    enum status status = reference_parse(text, reference_out, error);
    if (status != STATUS_OK)
        return error_prefix(error, "%s", field);
    if (reference_out->tenant[0] == '\0')
        snprintf(reference_out->tenant, sizeof(reference_out->tenant), "%s", it->tenant);
    return STATUS_OK;
}

/* ---- data ------------------------------------------------------------------------------------ */

static enum status resolve_dataset(struct records *records, struct resolution *it,
                                   const char *field, struct spec_source *source,
                                   struct error *error)
{
    const char **text = &source->dataset;
    struct reference reference;
    Api__Dataset *dataset;
    const char *digest;
    if (is_digest(*text, &digest))
        return pin(records, it, field, digest, error);
    TRY(read_reference(it, field, *text, &reference, error));
    if (reference.alias[0] != '\0')
        return error_set(error, STATUS_USAGE, "%s: datasets have versions, no aliases: \"%s\"",
                         field, reference.alias);
    if (dataset_record_get(records, SCOPE_TENANT(it->tenant), USE, reference.tenant, reference.name,
                           reference.version, it->arena, &dataset, error) != STATUS_OK)
        return error_prefix(error, "%s", field);
    if (dataset->state != API__DATASET_STATE__DATASET_STATE_ACCEPTED &&
        dataset->state != API__DATASET_STATE__DATASET_STATE_WARNED)
        return error_set(error, STATUS_CONFLICT, "%s: %s/%s@%lld has not been accepted", field,
                         reference.tenant, reference.name, (long long)dataset->version);
    reference.version = dataset->version;
    if (source->name == NULL) /* what people call it, in messages and reports */
        source->name = dataset->name;
    *text = with_prefix(it->arena, dataset->digest);
    return add_input(it, API__OBJECT_KIND__OBJECT_KIND_DATASET, &reference, error);
}

static enum status resolve_sources(struct records *records, struct resolution *it,
                                   const char *list_name, struct spec_sources *sources,
                                   struct error *error)
{
    for (int i = 0; i < sources->count; i++) {
        char field[64];
        snprintf(field, sizeof(field), "%s[%d].dataset", list_name, i);
        if (sources->items[i].dataset != NULL) /* {split: …} names none */
            TRY(resolve_dataset(records, it, field, &sources->items[i], error));
    }
    return STATUS_OK;
}

/* ---- from ------------------------------------------------------------------------------------ */

static enum status resolve_base(struct records *records, struct resolution *it,
                                struct reference *reference, struct error *error)
{
    Api__Base *base;
    TRY(base_record_get(records, reference->name, it->arena, &base, error));
    if (base->state != API__BASE_STATE__BASE_STATE_READY || base->manifest == NULL)
        return error_set(error, STATUS_CONFLICT, "the base %s is not ready", base->name);
    if (it->spec->stage == SPEC_STAGE_EVALUATE || it->spec->stage == SPEC_STAGE_SCORE ||
        it->spec->stage == SPEC_STAGE_EXPORT)
        return error_set(error, STATUS_USAGE,
                         "%s is a base, which gives no rewards: name a model (tailor model list)",
                         base->name);
    reference->tenant[0] = '\0';
    it->job->from = base->name;
    it->job->from_digest = base->manifest;
    it->spec->from = with_prefix(it->arena, base->manifest);
    return add_input(it, API__OBJECT_KIND__OBJECT_KIND_BASE, reference, error);
}

/* What the parent's job read is in use by its customers' jobs too; as far as there is room: to be
 * noted costs no job its submit. */
static enum status inherit_inputs(struct records *records, struct resolution *it, int64_t job,
                                  struct error *error)
{
    struct job_input *inputs;
    int count;
    TRY(job_record_inputs(records, job, it->arena, &inputs, &count, error));
    for (int i = 0; i < count && it->input_count + it->pin_count + 1 < REFERENCES_MAX; i++)
        if (inputs[i].kind == API__OBJECT_KIND__OBJECT_KIND_DATASET)
            TRY(add_input(it, inputs[i].kind, &inputs[i].object, error));
    return STATUS_OK;
}

/* A part that was split off is named by what it was split from, as a model's card does. */
static void inherit_eval(struct resolution *it, const struct spec *parent)
{
    struct spec_sources *eval = &it->spec->data.eval;
    int count = eval->count + parent->data.eval.count;
    struct spec_source *items = arena_array(it->arena, struct spec_source, count);
    for (int i = 0; i < count; i++) {
        bool own = i < eval->count;
        items[i] = own ? eval->items[i] : parent->data.eval.items[i - eval->count];
        if (!own && items[i].split > 0)
            items[i] = parent->data.train.items[0];
        items[i].general |= !own;
    }
    *eval = (struct spec_sources){items, count};
}

static bool names_general(const struct spec_sources *eval)
{
    for (int i = 0; i < eval->count; i++)
        if (eval->items[i].general)
            return true;
    return false;
}

/* The parent's general data, as the job that made it resolved them. */
static enum status inherit_data(struct records *records, struct resolution *it,
                                const Api__ModelVersion *parent, struct error *error)
{
    struct spec_sources *mixed = &it->spec->data.enrich.sources;
    Api__Job *job;
    struct spec *spec;
    bool mix = it->spec->data.enrich.share > 0 && mixed->count == 0;
    bool measure = !names_general(&it->spec->data.eval);
    if (it->spec->stage != SPEC_STAGE_CUSTOMIZE || (!mix && !measure) || !parent->has_job_id ||
        parent->stage != API__STAGE__STAGE_GENERAL)
        return STATUS_OK;
    if (job_record_get(records, SCOPE_ALL, parent->job_id, true, it->arena, &job, error) !=
            STATUS_OK ||
        job->spec == NULL)
        return STATUS_OK; /* it is gone: the trainer says that there is no enrichment */
    TRY(spec_parse(it->arena, "spec.json", job->spec, strlen(job->spec), NULL, 0, &spec, error));
    if (mix)
        *mixed = spec->data.train;
    if (measure)
        inherit_eval(it, spec);
    return inherit_inputs(records, it, parent->job_id, error);
}

static bool has_dataset(const struct spec_sources *sources, const char *dataset)
{
    for (int i = 0; dataset != NULL && i < sources->count; i++)
        if (sources->items[i].dataset != NULL && strcmp(sources->items[i].dataset, dataset) == 0)
            return true;
    return false;
}

enum status resolve_forget(struct records *records, struct resolution *it, int64_t parent_job,
                           struct error *error)
{
    Api__Job *job;
    struct spec *parent;
    struct spec_sources *mixed = &it->spec->data.enrich.sources, *eval = &it->spec->data.eval;
    int kept = 0;
    TRY(job_record_get(records, SCOPE_ALL, parent_job, true, it->arena, &job, error));
    TRY(spec_parse(it->arena, "spec.json", job->spec, strlen(job->spec), NULL, 0, &parent, error));
    bool same = mixed->count == parent->data.train.count;
    for (int i = 0; i < mixed->count; i++)
        same &= has_dataset(&parent->data.train, mixed->items[i].dataset);
    if (same)
        mixed->count = 0;
    for (int i = 0; i < eval->count; i++) {
        const struct spec_source *item = &eval->items[i];
        bool theirs = item->general && (has_dataset(&parent->data.eval, item->dataset) ||
                                        has_dataset(&parent->data.train, item->dataset));
        if (!theirs)
            eval->items[kept++] = *item;
    }
    eval->count = kept;
    return STATUS_OK;
}

/* An export has the weights of all that an adapter stands on. */
static enum status may_read_parents(struct records *records, const struct resolution *it,
                                    const Api__ModelVersion *version, struct error *error)
{
    struct reference reference;
    while (version->adapter && version->parent != NULL) {
        Api__ModelVersion *parent;
        TRY(reference_parse(version->parent, &reference, error));
        enum status status = model_record_version(records, SCOPE_TENANT(it->tenant), READ,
                                                  &reference, it->arena, &parent, error);
        if (status == STATUS_NOT_FOUND)
            return error_set(error, STATUS_DENIED,
                             "%s is an adapter over %s, which this tenant may use and not read: "
                             "its owner can export it, or share it to be read",
                             version->model, version->parent);
        TRY(status);
        version = parent;
    }
    return STATUS_OK;
}

static enum status resolve_model(struct records *records, struct resolution *it,
                                 const struct reference *asked, struct error *error)
{
    char text[REFERENCE_TEXT_MAX];
    Api__ModelVersion *version;
    struct reference reference = *asked;
    const bool exports = it->spec->stage == SPEC_STAGE_EXPORT;
    TRY(model_record_version(records, SCOPE_TENANT(it->tenant), exports ? READ : USE, &reference,
                             it->arena, &version, error));
    if (exports)
        TRY(may_read_parents(records, it, version, error));
    reference.version = version->version;
    reference.alias[0] = '\0';
    reference_format(&reference, text);
    it->job->from = arena_strdup(it->arena, text);
    it->job->from_digest = version->manifest;
    it->spec->from = with_prefix(it->arena, version->manifest);
    TRY(inherit_data(records, it, version, error));
    return add_input(it, API__OBJECT_KIND__OBJECT_KIND_MODEL, &reference, error);
}

static enum status resolve_from(struct records *records, struct resolution *it, struct error *error)
{
    struct reference reference;
    const char *digest;
    if (is_digest(it->spec->from, &digest)) {
        it->job->from_digest = arena_strdup(it->arena, digest);
        return pin(records, it, "from", digest, error);
    }
    TRY(read_reference(it, "from", it->spec->from, &reference, error));
    bool may_be_base = strpbrk(it->spec->from, "/@") == NULL;
    enum status status = STATUS_NOT_FOUND;
    if (may_be_base)
        status = resolve_base(records, it, &reference, error);
    if (status == STATUS_NOT_FOUND)
        status = resolve_model(records, it, &reference, error);
    if (status == STATUS_NOT_FOUND && may_be_base)
        return error_set(error, status, "from: there is no base %s and no model %s/%s",
                         reference.name, reference.tenant, reference.name);
    return status == STATUS_OK ? STATUS_OK : error_prefix(error, "from");
}

/* ---- the row --------------------------------------------------------------------------------- */

static enum status resolve_output(struct resolution *it, struct error *error)
{
    struct reference reference;
    bool trains = it->spec->stage == SPEC_STAGE_LM || it->spec->stage == SPEC_STAGE_GENERAL ||
                  it->spec->stage == SPEC_STAGE_CUSTOMIZE;
    if (it->spec->output.model == NULL) {
        if (trains)
            return error_set(error, STATUS_USAGE,
                             "output.model: say what the model that this makes shall be called");
        return STATUS_OK;
    }
    TRY(read_reference(it, "output.model", it->spec->output.model, &reference, error));
    if (reference.version != 0 || reference.alias[0] != '\0')
        return error_set(error, STATUS_USAGE,
                         "output.model: the version is given by the service, and the alias stands "
                         "in output.alias");
    if (strcmp(reference.tenant, it->tenant) != 0)
        return error_set(error, STATUS_USAGE, "output.model: %s is not %s, whose job it is",
                         reference.tenant, it->tenant);
    it->spec->output.model = arena_printf(it->arena, "%s/%s", reference.tenant, reference.name);
    return STATUS_OK;
}

static int64_t time_ms(const char *text)
{
    struct tm tm = {0};
    CHECK(strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) != NULL); /* the spec's parser looked at it */
    return (int64_t)timegm(&tm) * 1000;
}

bool resolve_is_sharded(const struct spec *spec)
{
    return spec->stage == SPEC_STAGE_EVALUATE || spec->stage == SPEC_STAGE_SCORE ||
           spec->stage == SPEC_STAGE_ADMIT;
}

static void resolve_fields(struct resolution *it)
{
    const struct spec *spec = it->spec;
    Api__Job *job = it->job;
    job->tenant = arena_strdup(it->arena, it->tenant);
    job->name = (char *)spec->name;
    job->has_stage = job->has_priority = job->has_ranks = job->has_min_ranks = true;
    job->has_preemptible = job->has_max_attempts = true;
    job->stage = (Api__Stage)enum_parse(&api__stage__descriptor,
                                        spec_choice_name("stage", (int)spec->stage));
    job->queue = (char *)spec->schedule.queue;
    job->pool = (char *)spec->resources.pool;
    job->priority = spec->schedule.priority;
    job->ranks = spec->resources.ranks;
    job->min_ranks = spec->resources.min_ranks;
    if (resolve_is_sharded(spec)) {
        job->has_shards = true;
        job->shards = spec->resources.shards;
        job->ranks = job->min_ranks = 1; /* each of them */
    }
    job->preemptible = spec->schedule.preemptible;
    job->max_attempts = spec->retry.max_attempts;
    job->output_model = (char *)spec->output.model;
    job->has_not_before_ms = spec->schedule.not_before != NULL;
    if (job->has_not_before_ms)
        job->not_before_ms = time_ms(spec->schedule.not_before);
    for (int i = 0; i < spec->labels.count; i++) {
        Api__Label *label = message_add(it->arena, job, "labels");
        label->key = (char *)spec->labels.items[i].key;
        label->value = (char *)spec->labels.items[i].value;
    }
}

static void resolve_text(struct resolution *it)
{
    char digest[SHA256_HEX_SIZE];
    struct buf json = {0};
    spec_json(it->spec, &json);
    spec_text_digest(&json, digest);
    it->job->spec = arena_strdup(it->arena, json.data);
    it->job->spec_digest = arena_strdup(it->arena, digest);
    buf_release(&json);
}

/* The row of a spec that names digests only. `from` and `from_digest` are left alone. */
static void resolve_row(struct resolution *it)
{
    resolve_fields(it);
    resolve_text(it);
}

enum status resolve_spec(struct records *records, struct resolution *it, struct error *error)
{
    it->job = message_new(it->arena, &api__job__descriptor);
    it->input_count = it->pin_count = 0;
    it->spec->tenant = it->tenant;
    TRY(resolve_output(it, error));
    TRY(resolve_sources(records, it, "data.train", &it->spec->data.train, error));
    TRY(resolve_sources(records, it, "data.eval", &it->spec->data.eval, error));
    TRY(resolve_sources(records, it, "data.enrich.sources", &it->spec->data.enrich.sources, error));
    TRY(resolve_from(records, it, error));
    resolve_fields(it);
    TRY(message_check(&it->job->base, error)); /* of what others wrote: the text is our own */
    resolve_text(it);
    return STATUS_OK;
}

enum status resolve_again(struct records *records, struct resolution *it, const Api__Job *old,
                          struct error *error)
{
    struct job_input *inputs;
    TRY(spec_parse(it->arena, "spec.json", old->spec, strlen(old->spec), NULL, 0, &it->spec,
                   error));
    TRY(job_record_inputs(records, old->id, it->arena, &inputs, &it->input_count, error));
    memcpy(it->inputs, inputs, (size_t)it->input_count * sizeof(*inputs));
    it->pin_count = 0;
    it->tenant = old->tenant;
    it->job = message_new(it->arena, &api__job__descriptor);
    it->job->from = old->from;
    it->job->from_digest = old->from_digest;
    it->job->has_batch_id = old->has_batch_id;
    it->job->batch_id = old->batch_id;
    it->job->has_batch_row = old->has_batch_row;
    it->job->batch_row = old->batch_row;
    resolve_row(it);
    return STATUS_OK;
}
