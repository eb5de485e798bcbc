/* SPDX-License-Identifier: Apache-2.0
 *
 * The digests of spec and data are in the state: resuming something else under the same directory
 * is refused, not guessed at; but how many ranks there are may change. Under other numerics the run
 * may go on, and says from which step bits differ.
 */
#include "worker/trainer/resume.h"

#include <math.h>
#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"
#include "storage/files/checkpoint.h"
#include "worker/model/kept_weights.h"
#include "worker/trainer/share.h"

enum { PARTS = 3, WEIGHTS_ONLY = 1 };

/* Of a block in a GPU's memory the host sees so many bytes at a time; each are a blob. */
static const size_t STRETCH_BYTES = (size_t)1 << 30;

/* One of the blocks of a checkpoint, as this rank holds it: memory of the device. */
struct held {
    const char *name;
    float *data;
    size_t begin; /* which element of the whole block data[0] is */
};

static void held_parts(const struct session *s, struct held held[PARTS])
{
    const struct optimizer *optimizer = s->optimizer;
    held[0] = (struct held){"weights", model_trained_weights(s->model), 0};
    held[1] = (struct held){"m", optimizer->m, optimizer->begin};
    held[2] = (struct held){"v", optimizer->v, optimizer->begin};
}

static json_t *state_json(const struct session *s, const struct train_state *state)
{
    char digest[SHA256_HEX_SIZE];
    struct spec spec = spec_comparable(s->spec);
    spec_digest(&spec, digest);
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

/* In how many stretches every rank puts its own block of a part. */
static size_t stretches_of(const struct session *s)
{
    const size_t world = (size_t)gang_world(s->gang);
    const size_t block = model_trained_table(s->model)->elements / world + COMM_BLOCK_FLOATS;
    return device_shares_memory(s->device) ? 1 : block * sizeof(float) / STRETCH_BYTES + 1;
}

/* Elements [begin, end) of what is held; `stage` is NULL where the host reads them as they lie. */
static enum status put_stretch(const struct session *s, const char *dir, const struct held *held,
                               size_t begin, size_t end, float *stage,
                               struct checkpoint_blob *blob_out, struct error *error)
{
    float *data = held->data + (begin - held->begin);
    struct checkpoint_part part = {.name = held->name,
                                   .data = stage != NULL ? stage : data,
                                   .size = (end - begin) * sizeof(float),
                                   .offset = begin * sizeof(float)};
    if (stage != NULL) {
        s->device->ops->copy_out(s->device, stage, data, part.size);
    }
    return checkpoint_put(dir, &part, gang_rank(s->gang), blob_out, error);
}

/* Puts this rank's block of the first `parts` parts into the store. blobs (parts · stretches). */
static enum status put_own(const struct session *s, const char *dir, int parts, size_t stretches,
                           struct checkpoint_blob *blobs, struct error *error)
{
    struct held held[PARTS];
    size_t begin, end;
    enum status status = STATUS_OK;
    held_parts(s, held);
    gang_block(s->gang, model_trained_table(s->model)->elements, &begin, &end);
    const size_t length = (end - begin) / stretches + 1;
    float *stage = device_shares_memory(s->device) ? NULL : mem_alloc(length * sizeof(*stage));
    for (size_t i = 0; status == STATUS_OK && i < (size_t)parts * stretches; i++) {
        const size_t at = begin + i % stretches * length;
        const size_t first = at < end ? at : end;
        const size_t behind = end - first < length ? end : first + length;
        status = put_stretch(s, dir, &held[i / stretches], first, behind, stage, &blobs[i], error);
    }
    mem_free(stage);
    return status;
}

/* Ranks agree on the state to the byte: of the clock, it is the leader's. */
static enum status commit(struct session *s, const char *dir, const struct train_state *state,
                          const struct checkpoint_blob *all, int count, struct error *error)
{
    struct train_state agreed = *state;
    TRY(gang_broadcast(s->gang, &agreed, sizeof(agreed), 0, error));
    json_t *json = state_json(s, &agreed);
    enum status status = STATUS_OK;
    if (gang_keeps(s->gang) && !gang_leads(s->gang)) {
        status = checkpoint_commit(dir, agreed.step, json, all, count, error);
    }
    if (status == STATUS_OK) {
        status = gang_barrier(s->gang, error);
    }
    if (status == STATUS_OK && gang_leads(s->gang)) {
        status = checkpoint_commit(dir, agreed.step, json, all, count, error);
    }
    json_decref(json);
    return status == STATUS_OK ? gang_barrier(s->gang, error) : status;
}

/* Each rank makes its own blobs durable; then every directory gets the manifest, the leader's last:
 * that is the commit. What it supersedes goes only then, and no rank goes on before that. */
static enum status save(struct session *s, const char *dir, const struct train_state *state,
                        int parts, int keep_last, int64_t keep_step, struct error *error)
{
    const size_t stretches = stretches_of(s), blobs = (size_t)parts * stretches;
    const size_t world = (size_t)gang_world(s->gang),
                 bytes = blobs * sizeof(struct checkpoint_blob);
    struct checkpoint_blob *own = mem_alloc(bytes), *all = mem_alloc(bytes * world);
    enum status status = put_own(s, dir, parts, stretches, own, error);
    if (status == STATUS_OK) {
        status = gang_gather(s->gang, own, bytes, all, error);
    }
    if (status == STATUS_OK) {
        status = commit(s, dir, state, all, (int)(blobs * world), error);
    }
    mem_free(own);
    mem_free(all);
    if (status == STATUS_OK && gang_keeps(s->gang)) {
        status = checkpoint_prune(dir, keep_last, keep_step, error);
    }
    return status == STATUS_OK ? gang_barrier(s->gang, error) : status;
}

enum status resume_save(struct session *s, const struct train_state *state, struct error *error)
{
    return save(s, s->run, state, PARTS, (int)s->spec->checkpoint.keep_last, -1, error);
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
    struct spec spec = spec_comparable(s->spec);
    spec_digest(&spec, digest);
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

/* `count` elements from `begin` on of what `name` names, of `whole`, to the device. */
static enum status read_block(const struct session *s, const struct checkpoint *checkpoint,
                              const char *name, size_t whole, size_t begin, float *to, size_t count,
                              struct error *error)
{
    const size_t bytes = whole * sizeof(float);
    enum status status = STATUS_OK;
    if (device_shares_memory(s->device)) {
        return checkpoint_read_range(checkpoint, name, bytes, begin * sizeof(float), to,
                                     count * sizeof(float), error);
    }
    float *piece = mem_alloc(DEVICE_PIECE_FLOATS * sizeof(*piece));
    for (size_t at = 0; status == STATUS_OK && at < count; at += DEVICE_PIECE_FLOATS) {
        const size_t left = count - at;
        const size_t floats = left < DEVICE_PIECE_FLOATS ? left : DEVICE_PIECE_FLOATS;
        status = checkpoint_read_range(checkpoint, name, bytes, (begin + at) * sizeof(float), piece,
                                       floats * sizeof(float), error);
        if (status == STATUS_OK) {
            s->device->ops->copy_in(s->device, to + at, piece, floats * sizeof(float));
        }
    }
    mem_free(piece);
    return status;
}

/* What this rank holds of all parts. */
static enum status read_parts(struct session *s, const struct checkpoint *checkpoint,
                              struct error *error)
{
    struct held held[PARTS];
    size_t whole = model_trained_table(s->model)->elements;
    held_parts(s, held);
    for (int i = 0; i < PARTS; i++) {
        size_t count = i == 0 ? whole : s->optimizer->end - s->optimizer->begin;
        TRY(read_block(s, checkpoint, held[i].name, whole, held[i].begin, held[i].data, count,
                       error));
    }
    kept_weights_changed(s->model);
    return STATUS_OK;
}

/* The leader chooses: the newest whose blobs verify. NULL where there is none. */
static enum status open_newest(struct session *s, struct checkpoint **checkpoint_out,
                               struct error *error)
{
    int64_t step = -1;
    struct checkpoint *checkpoint = NULL;
    if (gang_leads(s->gang)) {
        enum status status = checkpoint_open_latest(s->run, &checkpoint, error);
        if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
            return status;
        }
        step = status == STATUS_OK ? checkpoint_step(checkpoint) : -1;
    }
    enum status status = gang_broadcast(s->gang, &step, sizeof(step), 0, error);
    if (status == STATUS_OK && step >= 0 && checkpoint == NULL) {
        status = checkpoint_open(s->run, step, &checkpoint, error);
    }
    if (status != STATUS_OK) {
        checkpoint_close(checkpoint);
        return status;
    }
    *checkpoint_out = checkpoint;
    return STATUS_OK;
}

enum status resume_load(struct session *s, struct train_state *state, struct error *error)
{
    struct checkpoint *checkpoint;
    TRY(open_newest(s, &checkpoint, error));
    if (checkpoint == NULL) {
        return STATUS_OK;
    }
    struct train_state loaded = *state;
    enum status status = state_read(s, checkpoint_state(checkpoint), &loaded, error);
    if (status == STATUS_OK) {
        status = read_parts(s, checkpoint, error);
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
    best_dir(s, dir);
    return save(s, dir, state, WEIGHTS_ONLY, 1, state->step, error);
}

/* What other ranks wrote may lie in other directories: each reads its own block. */
enum status best_load(struct session *s, const struct train_state *state, struct error *error)
{
    char dir[4096];
    struct checkpoint *checkpoint;
    float *weights = model_trained_weights(s->model);
    size_t begin, end, whole = model_trained_table(s->model)->elements;
    best_dir(s, dir);
    gang_block(s->gang, whole, &begin, &end);
    TRY(checkpoint_open_held(dir, state->best_step, &checkpoint, error));
    enum status status =
        read_block(s, checkpoint, "weights", whole, begin, weights + begin, end - begin, error);
    checkpoint_close(checkpoint);
    if (status == STATUS_OK) {
        status = share_blocks(s->gang, s->device, weights, whole, error);
    }
    kept_weights_changed(s->model);
    return status;
}
