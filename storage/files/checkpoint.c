/* SPDX-License-Identifier: Apache-2.0
 *
 * Invariants: a manifest is renamed into place after every blob that it names was; blobs are
 * removed after every manifest that names them was. So at any moment, every manifest that is there
 * is whole. What a disk does to the bytes later is found by digests: of the manifest in the
 * manifest, of each part by blob_open.
 *
 * A run that is at a step has none beyond it: writing one removes the manifests of later steps.
 * They are left over where a damaged checkpoint was passed over and the run went on from an older
 * one; kept, they would count as the newest when pruning.
 *
 * Where checkpoints exist and none verifies, opening the latest is an error and not "there is
 * none": starting again from step 0 must be a person's decision.
 *
 * Rejected: one file that holds everything. Unchanged parts would be written again, and one flipped
 * bit would not say which part it is in.
 */
#include "storage/files/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "lib/text.h"
#include "storage/files/blob.h"
#include "storage/files/durable.h"

enum { FORMAT_VERSION = 1, PARTS_MAX = 1024, NAME_MAX_BYTES = 64 };

#define MANIFEST_BYTES_MAX (16 * MIB)
#define MANIFESTS          "checkpoints"
#define STORE              "store"

static const struct durable_points POINTS = {"manifest_write", "manifest_fsync", "manifest_rename"};

struct part {
    const char *name, *digest; /* of the manifest */
    int64_t offset, size;      /* a stretch of what `name` names */
    struct file_map map;       /* verified; open between checkpoint_open and checkpoint_close */
    bool elsewhere;            /* not in this directory: no map */
};

struct checkpoint {
    json_t *manifest;
    int64_t step;
    int count;
    struct part *parts;
};

/* ---- names ----------------------------------------------------------------------------------- */

static void manifest_name(int64_t step, char name_out[NAME_MAX_BYTES])
{
    snprintf(name_out, NAME_MAX_BYTES, "step-%09lld.json", (long long)step);
}

/* Only the very name that manifest_name gives: a copy "step-000000120 (1).json" is nobody's. */
static bool manifest_step(const char *name, int64_t *step_out)
{
    char digits[NAME_MAX_BYTES], again[NAME_MAX_BYTES];
    size_t length = strlen(name);
    size_t around = strlen("step-") + strlen(".json");
    if (length <= around || length >= sizeof(digits))
        return false;
    memcpy(digits, name + strlen("step-"), length - around);
    digits[length - around] = '\0';
    if (!parse_i64(digits, step_out) || *step_out < 0)
        return false;
    manifest_name(*step_out, again);
    return strcmp(name, again) == 0;
}

static int compare_newest_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* Steps with a manifest, newest first; mem_free them. A missing directory has none. */
static enum status list_steps(const char *run, int64_t **steps_out, int *count_out,
                              struct error *error)
{
    char dir[PATH_MAX];
    path_join(dir, sizeof(dir), run, MANIFESTS);
    int64_t *steps = NULL;
    int count = 0;
    DIR *entries = opendir(dir);
    if (entries == NULL && errno != ENOENT)
        return error_set(error, STATUS_IO, "%s: cannot open: %s", dir, strerror(errno));
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        int64_t step;
        if (!manifest_step(entry->d_name, &step))
            continue;
        steps = mem_grow(steps, size_mul(sizeof(*steps), (size_t)count + 1));
        steps[count++] = step;
    }
    if (entries != NULL)
        closedir(entries);
    if (count > 0)
        qsort(steps, (size_t)count, sizeof(*steps), compare_newest_first);
    *steps_out = steps;
    *count_out = count;
    return STATUS_OK;
}

/* ---- the manifest ---------------------------------------------------------------------------- */

/* The digest of the manifest without its own member. */
static void manifest_digest(json_t *manifest, char digest_out[SHA256_HEX_SIZE])
{
    struct buf text = {0};
    json_object_del(manifest, "sha256");
    json_append(&text, manifest);
    sha256_hex(text.data, text.length, digest_out);
    buf_release(&text);
}

static enum status manifest_write(const char *run, int64_t step, json_t *manifest,
                                  struct error *error)
{
    char dir[PATH_MAX], temporary[PATH_MAX], name[NAME_MAX_BYTES], digest[SHA256_HEX_SIZE];
    struct buf text = {0};
    manifest_digest(manifest, digest);
    json_object_set_new(manifest, "sha256", json_string(digest));
    json_append(&text, manifest);
    buf_append_char(&text, '\n');
    manifest_name(step, name);
    enum status status = durable_dir(run, MANIFESTS, dir, error);
    if (status == STATUS_OK)
        status = durable_write(dir, text.data, text.length, &POINTS, temporary, NULL, error);
    if (status == STATUS_OK)
        status = durable_rename(temporary, dir, name, &POINTS, error);
    buf_release(&text);
    return status;
}

static enum status part_read(const json_t *json, struct part *part, struct error *error)
{
    part->size = -1;
    part->offset = 0;
    TRY(json_get_string(json, "name", &part->name, error));
    TRY(json_get_i64(json, "offset", 0, INT64_MAX, &part->offset, error));
    TRY(json_get_string(json, "sha256", &part->digest, error));
    TRY(json_get_i64(json, "size", 0, INT64_MAX, &part->size, error));
    if (part->name == NULL || part->digest == NULL || part->size < 0)
        return error_set(error, STATUS_FORMAT, "a part lacks its name, size or digest");
    return STATUS_OK;
}

/* Bytes that the first `count` parts hold of `name`. */
static int64_t bytes_of(const struct part *parts, int count, const char *name)
{
    int64_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += strcmp(parts[i].name, name) == 0 ? parts[i].size : 0;
    return bytes;
}

static enum status manifest_check(struct checkpoint *checkpoint, struct error *error)
{
    json_t *manifest = checkpoint->manifest;
    char digest[SHA256_HEX_SIZE];
    const char *stated = NULL, *kind = NULL;
    int64_t version = 0, step = -1;
    TRY(json_get_string(manifest, "kind", &kind, error));
    TRY(json_get_i64(manifest, "format_version", 0, INT64_MAX, &version, error));
    if (kind == NULL || strcmp(kind, "checkpoint") != 0)
        return error_set(error, STATUS_FORMAT, "is not the manifest of a checkpoint");
    if (version != FORMAT_VERSION)
        return error_set(error, STATUS_UNSUPPORTED,
                         "has format_version %lld; this program reads %d", (long long)version,
                         FORMAT_VERSION);
    TRY(json_get_string(manifest, "sha256", &stated, error));
    json_t *kept = json_incref(json_object_get(manifest, "sha256")); /* `stated` lives in it */
    manifest_digest(manifest, digest);
    bool same = stated != NULL && strcmp(stated, digest) == 0;
    json_decref(kept);
    if (!same)
        return error_set(error, STATUS_FORMAT, "damaged: its content does not have its digest");
    TRY(json_get_i64(manifest, "step", 0, INT64_MAX, &step, error));
    if (step != checkpoint->step)
        return error_set(error, STATUS_FORMAT, "is of step %lld: the file was renamed",
                         (long long)step);
    const json_t *parts = json_object_get(manifest, "parts");
    if (!json_is_object(json_object_get(manifest, "state")) || !json_is_array(parts) ||
        json_array_size(parts) > PARTS_MAX)
        return error_set(error, STATUS_FORMAT, "lacks its state or parts");
    size_t count = json_array_size(parts);
    checkpoint->parts = mem_alloc(sizeof(struct part) * (count + 1));
    checkpoint->count = (int)count;
    for (int i = 0; i < checkpoint->count; i++) {
        struct part *part = &checkpoint->parts[i];
        TRY(part_read(json_array_get(parts, (size_t)i), part, error));
        int64_t before = bytes_of(checkpoint->parts, i, part->name);
        if (part->offset != before || part->size > INT64_MAX - before)
            return error_set(error, STATUS_FORMAT, "part \"%s\" has a gap or an overlap at %lld",
                             part->name, (long long)part->offset);
    }
    return STATUS_OK;
}

/* Everything but the blobs. */
static enum status manifest_open(const char *run, int64_t step, struct checkpoint **checkpoint_out,
                                 struct error *error)
{
    char dir[PATH_MAX], path[PATH_MAX], name[NAME_MAX_BYTES];
    path_join(dir, sizeof(dir), run, MANIFESTS);
    manifest_name(step, name);
    path_join(path, sizeof(path), dir, name);
    json_t *manifest;
    TRY(json_read_file(path, MANIFEST_BYTES_MAX, &manifest, error));
    struct checkpoint *checkpoint = mem_alloc(sizeof(*checkpoint));
    checkpoint->manifest = manifest;
    checkpoint->step = step;
    struct error reason = {0};
    if (manifest_check(checkpoint, &reason) != STATUS_OK) {
        checkpoint_close(checkpoint);
        return error_set(error, reason.status, "%s: %s", path, reason.text);
    }
    *checkpoint_out = checkpoint;
    return STATUS_OK;
}

static enum status manifest_remove(const char *run, int64_t step, struct error *error)
{
    char dir[PATH_MAX], path[PATH_MAX], name[NAME_MAX_BYTES];
    path_join(dir, sizeof(dir), run, MANIFESTS);
    manifest_name(step, name);
    path_join(path, sizeof(path), dir, name);
    if (unlink(path) != 0 && errno != ENOENT)
        return error_set(error, STATUS_IO, "%s: cannot remove: %s", path, strerror(errno));
    return STATUS_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

static enum status remove_later(const char *run, int64_t step, struct error *error)
{
    int64_t *steps;
    int count;
    TRY(list_steps(run, &steps, &count, error));
    enum status status = STATUS_OK;
    for (int i = 0; i < count && steps[i] > step && status == STATUS_OK; i++)
        status = manifest_remove(run, steps[i], error);
    mem_free(steps);
    return status;
}

enum status checkpoint_put(const char *run, const struct checkpoint_part *part, int32_t rank,
                           struct checkpoint_blob *blob_out, struct error *error)
{
    char store[PATH_MAX];
    CHECK(strlen(part->name) < CHECKPOINT_NAME_BYTES);
    struct checkpoint_blob blob = {.offset = part->offset, .size = part->size, .rank = rank};
    memcpy(blob.name, part->name, strlen(part->name));
    TRY(dir_create(run, error));
    TRY(durable_dir(run, STORE, store, error));
    TRY(blob_put(store, part->data, part->size, blob.digest, error));
    *blob_out = blob;
    return STATUS_OK;
}

enum status checkpoint_commit(const char *run, int64_t step, const json_t *state,
                              const struct checkpoint_blob *blobs, int count, struct error *error)
{
    CHECK(step >= 0 && json_is_object(state) && count >= 0 && count <= PARTS_MAX);
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:i, s:s}", "name", blobs[i].name,
                                              "offset", (json_int_t)blobs[i].offset, "size",
                                              (json_int_t)blobs[i].size, "rank", blobs[i].rank,
                                              "sha256", blobs[i].digest));
    json_t *manifest =
        json_pack("{s:i, s:s, s:I, s:O, s:o}", "format_version", FORMAT_VERSION, "kind",
                  "checkpoint", "step", (json_int_t)step, "state", (json_t *)state, "parts", list);
    CHECK(manifest != NULL);
    enum status status = manifest_write(run, step, manifest, error);
    json_decref(manifest);
    if (status == STATUS_OK)
        status = remove_later(run, step, error);
    return status;
}

enum status checkpoint_write(const char *run, int64_t step, const json_t *state,
                             const struct checkpoint_part *parts, int count, struct error *error)
{
    CHECK(count >= 0 && count <= PARTS_MAX);
    struct checkpoint_blob *blobs = mem_alloc(sizeof(*blobs) * (size_t)(count + 1));
    enum status status = STATUS_OK;
    for (int i = 0; i < count && status == STATUS_OK; i++)
        status = checkpoint_put(run, &parts[i], 0, &blobs[i], error);
    if (status == STATUS_OK)
        status = checkpoint_commit(run, step, state, blobs, count, error);
    mem_free(blobs);
    return status;
}

/* ---- reading --------------------------------------------------------------------------------- */

static enum status parts_open(const char *run, struct checkpoint *checkpoint, bool held_only,
                              struct error *error)
{
    char store[PATH_MAX];
    path_join(store, sizeof(store), run, STORE);
    for (int i = 0; i < checkpoint->count; i++) {
        struct part *part = &checkpoint->parts[i];
        int64_t size;
        TRY(blob_size(store, part->digest, &size, error));
        part->elsewhere = held_only && size < 0;
        if (part->elsewhere)
            continue;
        TRY(blob_open(store, part->digest, &part->map, error));
        if ((uint64_t)part->size != part->map.size)
            return error_set(error, STATUS_FORMAT,
                             "%s: part \"%s\" has %zu bytes, its manifest says %lld", store,
                             part->name, part->map.size, (long long)part->size);
    }
    return STATUS_OK;
}

static enum status open_one(const char *run, int64_t step, bool held_only,
                            struct checkpoint **checkpoint_out, struct error *error)
{
    struct checkpoint *checkpoint;
    TRY(manifest_open(run, step, &checkpoint, error));
    enum status status = parts_open(run, checkpoint, held_only, error);
    if (status != STATUS_OK) {
        checkpoint_close(checkpoint);
        return status;
    }
    *checkpoint_out = checkpoint;
    return STATUS_OK;
}

enum status checkpoint_open(const char *run, int64_t step, struct checkpoint **checkpoint_out,
                            struct error *error)
{
    return open_one(run, step, false, checkpoint_out, error);
}

enum status checkpoint_open_held(const char *run, int64_t step, struct checkpoint **checkpoint_out,
                                 struct error *error)
{
    return open_one(run, step, true, checkpoint_out, error);
}

enum status checkpoint_open_latest(const char *run, struct checkpoint **checkpoint_out,
                                   struct error *error)
{
    int64_t *steps;
    int count;
    TRY(list_steps(run, &steps, &count, error));
    if (count == 0)
        return error_set(error, STATUS_NOT_FOUND, "%s: has no checkpoint", run);
    enum status status = STATUS_FORMAT;
    struct error newest = {0};
    for (int i = 0; i < count && status != STATUS_OK; i++) {
        struct error reason = {0};
        status = checkpoint_open(run, steps[i], checkpoint_out, &reason);
        if (status != STATUS_OK)
            log_warn("checkpoint of step %lld passed over: %s", (long long)steps[i], reason.text);
        if (i == 0)
            newest = reason;
    }
    mem_free(steps);
    if (status != STATUS_OK)
        return error_set(error, newest.status, "none of %d checkpoints can be used; the newest: %s",
                         count, newest.text);
    return STATUS_OK;
}

void checkpoint_close(struct checkpoint *checkpoint)
{
    if (checkpoint == NULL)
        return;
    for (int i = 0; i < checkpoint->count; i++)
        file_map_close(&checkpoint->parts[i].map);
    mem_free(checkpoint->parts);
    json_decref(checkpoint->manifest);
    mem_free(checkpoint);
}

int64_t checkpoint_step(const struct checkpoint *checkpoint)
{
    return checkpoint->step;
}

const json_t *checkpoint_state(const struct checkpoint *checkpoint)
{
    return json_object_get(checkpoint->manifest, "state");
}

enum status checkpoint_read_range(const struct checkpoint *checkpoint, const char *name,
                                  size_t whole, size_t offset, void *out, size_t size,
                                  struct error *error)
{
    CHECK(offset <= whole && size <= whole - offset);
    size_t bytes = (size_t)bytes_of(checkpoint->parts, checkpoint->count, name);
    bool there = false;
    for (int i = 0; i < checkpoint->count; i++)
        there = there || strcmp(checkpoint->parts[i].name, name) == 0;
    if (!there)
        return error_set(error, STATUS_NOT_FOUND, "checkpoint of step %lld: has no part \"%s\"",
                         (long long)checkpoint->step, name);
    if (bytes != whole)
        return error_set(error, STATUS_CONFLICT,
                         "checkpoint of step %lld: part \"%s\" has %zu bytes, %zu are expected: "
                         "it is of another model or adapter",
                         (long long)checkpoint->step, name, bytes, whole);
    for (int i = 0; i < checkpoint->count; i++) {
        const struct part *part = &checkpoint->parts[i];
        size_t begin = (size_t)part->offset, end = begin + (size_t)part->size;
        begin = begin > offset ? begin : offset;
        end = end < offset + size ? end : offset + size;
        if (strcmp(part->name, name) != 0 || begin >= end)
            continue;
        if (part->elsewhere)
            return error_set(error, STATUS_NOT_FOUND,
                             "checkpoint of step %lld: the stretch of \"%s\" at %lld is elsewhere",
                             (long long)checkpoint->step, name, (long long)part->offset);
        memcpy((char *)out + (begin - offset), part->map.data + (begin - (size_t)part->offset),
               end - begin);
    }
    return STATUS_OK;
}

enum status checkpoint_read(const struct checkpoint *checkpoint, const char *name, void *out,
                            size_t size, struct error *error)
{
    return checkpoint_read_range(checkpoint, name, size, 0, out, size, error);
}

/* ---- pruning --------------------------------------------------------------------------------- */

/* What prune keeps; the digests are borrowed from the opened manifests. */
struct kept {
    struct checkpoint **manifests;
    int manifest_count;
    const char **digests;
    int digest_count;
};

static void keep(struct kept *kept, struct checkpoint *checkpoint)
{
    kept->manifests[kept->manifest_count++] = checkpoint;
    kept->digests = mem_grow(kept->digests,
                             sizeof(char *) * (size_t)(kept->digest_count + checkpoint->count + 1));
    for (int i = 0; i < checkpoint->count; i++)
        kept->digests[kept->digest_count++] = checkpoint->parts[i].digest;
}

/* Sorts the steps into kept manifests and removed files. A manifest that is malformed keeps nothing
 * alive and does not count; one that cannot be read for another reason stops the pruning. */
static enum status prune_manifests(const char *run, const int64_t *steps, int count, int keep_last,
                                   int64_t keep_step, struct kept *kept, struct error *error)
{
    int counted = 0;
    for (int i = 0; i < count; i++) {
        struct checkpoint *checkpoint = NULL;
        struct error reason = {0};
        if (counted < keep_last || steps[i] == keep_step) {
            enum status status = manifest_open(run, steps[i], &checkpoint, &reason);
            if (status == STATUS_OK) {
                counted++;
                keep(kept, checkpoint);
                continue;
            }
            if (status != STATUS_FORMAT)
                return error_set(error, status, "%s", reason.text);
            log_warn("checkpoint of step %lld removed: %s", (long long)steps[i], reason.text);
        }
        TRY(manifest_remove(run, steps[i], error));
    }
    return STATUS_OK;
}

enum status checkpoint_prune(const char *run, int keep_last, int64_t keep_step, struct error *error)
{
    CHECK(keep_last >= 0);
    char dir[PATH_MAX], store[PATH_MAX];
    int64_t *steps;
    int count;
    path_join(dir, sizeof(dir), run, MANIFESTS);
    path_join(store, sizeof(store), run, STORE);
    TRY(list_steps(run, &steps, &count, error));
    struct kept kept = {.manifests = mem_alloc(sizeof(struct checkpoint *) * (size_t)(count + 1))};
    enum status status = prune_manifests(run, steps, count, keep_last, keep_step, &kept, error);
    /* Only when the removals are durable may the blobs go. */
    if (status == STATUS_OK && count > 0)
        status = dir_fsync(dir, error);
    if (status == STATUS_OK) {
        durable_sweep(dir);
        blob_sweep(store, kept.digests, kept.digest_count);
    }
    for (int i = 0; i < kept.manifest_count; i++)
        checkpoint_close(kept.manifests[i]);
    mem_free(kept.manifests);
    mem_free(kept.digests);
    mem_free(steps);
    return status;
}
