/* SPDX-License-Identifier: Apache-2.0
 *
 * The digests of spec and data are in the state: resuming something else under the same directory
 * is refused, not guessed at. Under other numerics the run may go on, and says from which step bits
 * differ.
 */
#include "worker/trainer/resume.h"

#include <math.h>
#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"
#include "storage/files/checkpoint.h"

enum { PARTS = 3 };

/* The blocks of a checkpoint, in its order. CPU blocks are host memory. */
static void parts_of(const struct session *s, struct checkpoint_part parts[PARTS])
{
    size_t size = model_trained_table(s->model)->elements * sizeof(float);
    parts[0] = (struct checkpoint_part){"weights", model_trained_weights(s->model), size};
    parts[1] = (struct checkpoint_part){"m", s->optimizer->m, size};
    parts[2] = (struct checkpoint_part){"v", s->optimizer->v, size};
}

static json_t *state_json(const struct session *s, const struct train_state *state)
{
    char digest[SHA256_HEX_SIZE];
    spec_digest(s->spec, digest);
    json_t *json = json_object();
    json_object_set_new(json, "spec", json_string(digest));
    json_object_set_new(json, "data", json_string(s->part[MIX_OWN]->digest));
    json_object_set_new(json, "parent", json_string(s->parent_digest));
    json_object_set_new(json, "numerics", json_string(device_numerics(s->device)));
    json_object_set_new(json, "step", json_integer(state->step));
    json_object_set_new(json, "updates", json_integer(s->optimizer->t));
    json_object_set_new(json, "tokens", json_integer(state->tokens));
    for (int part = 0; part < MIX_PARTS; part++) {
        bool own = part == MIX_OWN;
        json_object_set_new(json, own ? "own_tokens" : "general_tokens",
                            json_integer(state->part_tokens[part]));
        json_object_set_new(json, own ? "own_pairs" : "general_pairs",
                            json_integer(state->part_pairs[part]));
    }
    json_object_set_new(json, "nonfinite", json_integer(state->nonfinite));
    json_object_set_new(json, "nonfinite_in_a_row", json_integer(state->nonfinite_in_a_row));
    json_object_set_new(json, "best_step", json_integer(state->best_step));
    json_object_set_new(json, "best_merit", json_real(state->best_merit));
    if (isfinite(state->general_accuracy_before)) {
        json_object_set_new(json, "general_accuracy_before",
                            json_real(state->general_accuracy_before));
    }
    json_object_set_new(json, "seconds", json_real(state->seconds));
    return json;
}

enum status resume_save(struct session *s, const struct train_state *state, struct error *error)
{
    struct checkpoint_part parts[PARTS];
    parts_of(s, parts);
    json_t *json = state_json(s, state);
    enum status status = checkpoint_write(s->run, state->step, json, parts, PARTS, error);
    json_decref(json);
    if (status == STATUS_OK) {
        status = checkpoint_prune(s->run, (int)s->spec->checkpoint.keep_last, -1, error);
    }
    return status;
}

static enum status refuse_other(const json_t *json, const char *key, const char *expected,
                                const char *what, struct error *error)
{
    const char *found = json_string_value(json_object_get(json, key));
    if (found != NULL && strcmp(found, expected) == 0) {
        return STATUS_OK;
    }
    return error_set(error, STATUS_CONFLICT,
                     "resume: the checkpoint was made with %s; resume with the same, or train into "
                     "another directory",
                     what);
}

static enum status state_read(const struct session *s, const json_t *json,
                              struct train_state *state, struct error *error)
{
    char digest[SHA256_HEX_SIZE];
    spec_digest(s->spec, digest);
    TRY(refuse_other(json, "spec", digest, "another spec", error));
    TRY(refuse_other(json, "data", s->part[MIX_OWN]->digest, "other data", error));
    TRY(refuse_other(json, "parent", s->parent_digest, "another model to start from", error));
    const char *numerics = json_string_value(json_object_get(json, "numerics"));
    if (numerics == NULL || strcmp(numerics, device_numerics(s->device)) != 0) {
        log_warn("resume under numerics %s, the checkpoint has %s: bits may differ from here on",
                 device_numerics(s->device), numerics != NULL ? numerics : "none");
    }
    int64_t max = INT64_MAX;
    TRY(json_get_i64(json, "step", 0, s->sampler.steps, &state->step, error));
    TRY(json_get_i64(json, "updates", 0, max, &s->optimizer->t, error));
    TRY(json_get_i64(json, "tokens", 0, max, &state->tokens, error));
    TRY(json_get_i64(json, "own_tokens", 0, max, &state->part_tokens[MIX_OWN], error));
    TRY(json_get_i64(json, "general_tokens", 0, max, &state->part_tokens[MIX_GENERAL], error));
    TRY(json_get_i64(json, "own_pairs", 0, max, &state->part_pairs[MIX_OWN], error));
    TRY(json_get_i64(json, "general_pairs", 0, max, &state->part_pairs[MIX_GENERAL], error));
    TRY(json_get_i64(json, "nonfinite", 0, max, &state->nonfinite, error));
    TRY(json_get_i64(json, "nonfinite_in_a_row", 0, max, &state->nonfinite_in_a_row, error));
    TRY(json_get_i64(json, "best_step", 0, max, &state->best_step, error));
    TRY(json_get_f64(json, "best_merit", &state->best_merit, error));
    TRY(json_get_f64(json, "general_accuracy_before", &state->general_accuracy_before, error));
    return json_get_f64(json, "seconds", &state->seconds, error);
}

enum status resume_load(struct session *s, struct train_state *state, struct error *error)
{
    struct checkpoint *checkpoint;
    enum status status = checkpoint_open_latest(s->run, &checkpoint, error);
    if (status == STATUS_NOT_FOUND) {
        return STATUS_OK;
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct train_state loaded = *state;
    struct checkpoint_part parts[PARTS];
    parts_of(s, parts);
    status = state_read(s, checkpoint_state(checkpoint), &loaded, error);
    for (int i = 0; i < PARTS && status == STATUS_OK; i++) {
        status =
            checkpoint_read(checkpoint, parts[i].name, (void *)parts[i].data, parts[i].size, error);
    }
    checkpoint_close(checkpoint);
    if (status == STATUS_OK) {
        *state = loaded;
    }
    return status;
}

static void best_dir(const struct session *s, char out[4096])
{
    path_join(out, 4096, s->run, "best");
}

enum status best_save(struct session *s, const struct train_state *state, struct error *error)
{
    char dir[4096];
    struct checkpoint_part parts[PARTS];
    best_dir(s, dir);
    parts_of(s, parts);
    TRY(dir_create(dir, error));
    json_t *json = state_json(s, state);
    enum status status = checkpoint_write(dir, state->step, json, parts, 1, error);
    json_decref(json);
    if (status == STATUS_OK) {
        status = checkpoint_prune(dir, 1, state->step, error);
    }
    return status;
}

enum status best_load(struct session *s, const struct train_state *state, struct error *error)
{
    char dir[4096];
    struct checkpoint *checkpoint;
    struct checkpoint_part parts[PARTS];
    best_dir(s, dir);
    parts_of(s, parts);
    TRY(checkpoint_open(dir, state->best_step, &checkpoint, error));
    enum status status =
        checkpoint_read(checkpoint, "weights", (void *)parts[0].data, parts[0].size, error);
    checkpoint_close(checkpoint);
    return status;
}
