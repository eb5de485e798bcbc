/* SPDX-License-Identifier: Apache-2.0
 *
 * measure: from the command line and the spec to one of the three stages, and what they share.
 */
#include <string.h>

#include "lib/clock.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "worker/model/gguf.h"
#include "worker/trainer/export_checked.h"
#include "worker/trainer/measure.h"
#include "worker/trainer/progress.h"
#include "worker/trainer/relay.h"
#include "worker/trainer/session.h"
#include "worker/trainer/stop.h"
#include "worker/trainer/verbs.h"

#define TELL_SECONDS 1.0

/* ---- for the stages -------------------------------------------------------------------------- */

struct data_source measure_source(const struct measure *m, int i)
{
    return source_from_spec(&m->spec->data.eval.items[i]);
}

const char *measure_name(const struct measure *m, int i)
{
    const struct spec_source *source = &m->spec->data.eval.items[i];
    return source->name != NULL ? source->name : path_base(source->dataset);
}

/* The text with `name` where it has `path`; false: it has it nowhere. */
static bool put_name(const char *text, const char *path, const char *name, struct buf *out)
{
    const char *at = strstr(text, path);
    if (at != NULL) {
        buf_printf(out, "%.*s%s%s", (int)(at - text), text, name, at + strlen(path));
    }
    return at != NULL;
}

void measure_words(const struct measure *m, const char *text, struct buf *out)
{
    const struct spec *spec = m->spec;
    if (spec->stage == SPEC_STAGE_IMPORT && spec->name != NULL &&
        put_name(text, spec->from, spec->name, out)) {
        return;
    }
    for (int i = 0; i < spec->data.eval.count; i++) {
        if (put_name(text, spec->data.eval.items[i].dataset, measure_name(m, i), out)) {
            return;
        }
    }
    buf_append_string(out, text);
}

const char *measure_own_path(struct measure *m, const char *name)
{
    return arena_printf(&m->arena, "%s/shard/%s", m->run, name);
}

const char *measure_part_path(struct measure *m, int64_t shard, const char *name)
{
    return arena_printf(&m->arena, "%s/shards/%lld/%s", m->run, (long long)shard, name);
}

enum status measure_step(struct measure *m, int64_t rows, struct error *error)
{
    double now = monotonic_s();
    m->done += rows;
    if (now - m->told >= TELL_SECONDS) {
        json_t *fields = json_object();
        m->told = now;
        json_object_set_new(fields, "step", json_integer(m->done));
        json_object_set_new(fields, "rows", json_integer(m->total));
        relay_line("metrics", fields);
        json_decref(fields);
    }
    return stop_requested() ? error_set(error, STATUS_CANCELLED, "stopped while measuring")
                            : STATUS_OK;
}

enum status measure_write_shard(struct measure *m, json_t *sets, struct error *error)
{
    json_t *json = json_object();
    json_object_set_new(json, "shard", json_integer(m->shard));
    json_object_set_new(json, "shards", json_integer(m->shards));
    json_object_set_new(json, "numerics", json_string(device_numerics(m->examiner.device)));
    json_object_set_new(json, "sets", sets);
    enum status status = json_write_file(measure_own_path(m, "shard.json"), json, error);
    json_decref(json);
    return status;
}

static void add_once(json_t *list, const json_t *text)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (json_equal(json_array_get(list, i), text)) {
            return;
        }
    }
    json_array_append(list, (json_t *)text); /* jansson knows no const here */
}

enum status measure_read_shard(struct measure *m, int64_t shard, json_t *numerics,
                               json_t **sets_out, struct error *error)
{
    const char *path = measure_part_path(m, shard, "shard.json");
    int64_t number = 0, of = 0;
    json_t *json;
    TRY(json_read_file(path, CONFIG_BYTES_MAX, &json, error));
    const json_t *sets = json_object_get(json, "sets"), *used = json_object_get(json, "numerics");
    enum status status = json_get_i64(json, "shard", 1, SHARDS_MAX, &number, error);
    if (status == STATUS_OK) {
        status = json_get_i64(json, "shards", 1, SHARDS_MAX, &of, error);
    }
    if (status == STATUS_OK && (number != shard || of != m->shards || !json_is_string(used) ||
                                json_array_size(sets) != (size_t)m->spec->data.eval.count)) {
        status = error_set(error, STATUS_FORMAT, "%s: is not shard %lld of %lld of this job", path,
                           (long long)shard, (long long)m->shards);
    }
    if (status == STATUS_OK) {
        add_once(numerics, used);
        *sets_out = json_incref((json_t *)sets);
    }
    json_decref(json);
    return status;
}

enum status measure_write_result(struct measure *m, json_t *fields, struct error *error)
{
    char path[4096];
    json_t *json = json_object();
    json_object_set_new(json, "stage", json_string(spec_choice_name("stage", m->spec->stage)));
    json_object_set_new(json, "from", json_string(m->spec->from));
    json_object_update(json, fields);
    json_decref(fields);
    path_join(path, sizeof(path), m->run, "result.json");
    enum status status = json_write_file(path, json, error);
    json_decref(json);
    return status;
}

/* ---- the verb -------------------------------------------------------------------------------- */

static void format_from_spec(struct measure *m, const struct arguments *arguments)
{
    const struct spec *spec = m->spec;
    m->arguments =
        (struct arguments){.threads = arguments->threads,
                           .batch_tokens = spec->train.max_tokens_per_batch,
                           .dtype = spec_choice_name("train.dtype", spec->train.dtype),
                           .template = spec_choice_name("model.template", spec->model.template),
                           .overlong = spec_choice_name("model.overlong", spec->model.overlong),
                           .pooling = spec_choice_name("model.pooling", spec->model.pooling),
                           .max_length = spec->model.max_length};
}

static enum status dirs_make(struct measure *m, struct error *error)
{
    char path[4096];
    path_join(path, sizeof(path), m->run, m->shard > 0 ? "shard" : "rows");
    return dir_create(path, error);
}

/* An admission by a base that says nothing of templates and lengths supposes what rejects nothing:
 * the job that trains says its own. */
static enum status texts_open(struct measure *m, struct error *error)
{
    bool admits = m->spec->stage == SPEC_STAGE_ADMIT;
    enum status status = examiner_open_texts(m->spec->from, &m->arguments, &m->examiner, error);
    if (status == STATUS_UNSUPPORTED && admits && m->arguments.template == NULL) {
        m->arguments.template = template_name(TEMPLATE_DSP);
        status = examiner_open_texts(m->spec->from, &m->arguments, &m->examiner, error);
    }
    if (status == STATUS_OK && admits && m->examiner.card == NULL && m->spec->model.max_length <= 0)
        m->examiner.format.max_length = ROW_TOKENS_MAX;
    return status;
}

/* Where a model is written: what an attempt that was cut off left there goes. */
static enum status out_dir(const struct measure *m, const char *name, char *out, size_t size,
                           struct error *error)
{
    path_join(out, size, m->run, name);
    return dir_exists(out) ? dir_remove(out, error) : STATUS_OK;
}

/* Stage export reads no texts: the model itself is opened by who writes it. */
static enum status export_write(struct measure *m, struct error *error)
{
    char out[4096];
    const struct spec *spec = m->spec;
    const struct export_options options = {
        .format = spec->export.format == SPEC_LAYOUT_PEFT ? EXPORT_PEFT : EXPORT_HF,
        .merge = spec->export.merge,
        .named = spec->export.destination,
        .dtype = spec->export.dtype == SPEC_WIDTH_BF16 ? WEIGHT_DTYPE_BF16 : WEIGHT_DTYPE_F32};
    TRY(out_dir(m, "export", out, sizeof(out), error));
    TRY(export_checked(spec->from, &options, (int)m->arguments.threads, out, error));
    return measure_write_result(m, json_object(), error);
}

/* Stage import: the file is what the agent made of `from`. */
static enum status import_write(struct measure *m, struct error *error)
{
    char out[4096];
    TRY(out_dir(m, "import", out, sizeof(out), error));
    return gguf_import(m->spec->from, out, error);
}

static enum status measure(struct measure *m, struct error *error)
{
    if (m->spec->stage == SPEC_STAGE_IMPORT) {
        return import_write(m, error);
    }
    if (m->spec->stage == SPEC_STAGE_EXPORT) {
        return export_write(m, error);
    }
    bool computes = m->spec->stage != SPEC_STAGE_ADMIT && (m->shard > 0 || m->shards == 0);
    TRY(dirs_make(m, error));
    TRY(computes ? examiner_open(m->spec->from, &m->arguments, NULL, &m->examiner, error)
                 : texts_open(m, error));
    if (m->spec->model.template == SPEC_TEMPLATE_PREFIXES) {
        m->examiner.format.prefixes = prefixes_from_spec(m->spec);
    }
    switch (m->spec->stage) {
    case SPEC_STAGE_EVALUATE:
        return measure_evaluate(m, error);
    case SPEC_STAGE_SCORE:
        return measure_score(m, error);
    case SPEC_STAGE_ADMIT:
        return measure_admit(m, error);
    default:
        return error_set(error, STATUS_USAGE, "stage %s trains: that is the verb train",
                         spec_choice_name("stage", m->spec->stage));
    }
}

enum status verb_measure(const struct arguments *arguments, struct error *error)
{
    struct measure m = {
        .run = arguments->out, .shard = arguments->shard, .shards = arguments->shards};
    struct spec *spec;
    if (arguments->spec == NULL || arguments->out == NULL) {
        return error_set(error, STATUS_USAGE, "measure needs --spec FILE and --out RUN");
    }
    if (m.shards < 0 || m.shards > SHARDS_MAX || m.shard < 0 || m.shard > m.shards) {
        return error_set(error, STATUS_USAGE, "--shards must be 0 to %d, --shard 0 to that",
                         SHARDS_MAX);
    }
    stop_watch(true);
    enum status status = spec_read(&m.arena, arguments->spec, NULL, 0, &spec, error);
    if (status == STATUS_OK) {
        m.spec = spec;
        format_from_spec(&m, arguments);
        status = measure(&m, error);
    }
    if (status != STATUS_OK && m.spec != NULL) {
        struct buf words = {0};
        measure_words(&m, error->text, &words);
        error_set(error, status, "%s", words.data);
        buf_release(&words);
    }
    examiner_close(&m.examiner, true);
    arena_release(&m.arena);
    return status;
}
