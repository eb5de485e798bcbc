/* SPDX-License-Identifier: Apache-2.0
 *
 * From an assignment to running ranks. First the blobs that are named, then those that these name,
 * then hard links below the run's directory, the spec with paths in it, and the processes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "lib/pool.h"
#include "proto/rendezvous.h"
#include "worker/agent/attempt.h"
#include "worker/agent/slots.h"

#define SPEC_FILE     "spec-in.json"
#define DIGEST_PREFIX "sha256:"

enum { PORT_FIRST = 20000, PORT_COUNT = 10000, WORDS_MAX = 32 };

/* ---- fetching -------------------------------------------------------------------------------- */

void attempt_fetch(struct attempt *it)
{
    for (int i = 0; i < it->input_count; i++)
        transfer_add(&it->transfer, TRANSFER_GET, it->inputs[i], 0);
    for (int i = 0; i < it->part_count; i++)
        transfer_add(&it->transfer, TRANSFER_GET, it->parts[i], 0);
    if (it->checkpoint[0] != '\0')
        transfer_add(&it->transfer, TRANSFER_GET, it->checkpoint, 0);
    transfer_add(&it->transfer, TRANSFER_MARK, NULL, MARK_INPUTS);
}

static enum status fetch_parts(struct attempt *it, const char *digest, struct error *error)
{
    struct arena arena = {0};
    bool is_manifest;
    enum status status =
        cache_manifest(it->place->cache, &arena, digest, it->manifest, &is_manifest, error);
    for (int i = 0; status == STATUS_OK && is_manifest && i < it->manifest->count; i++)
        transfer_add(&it->transfer, TRANSFER_GET, it->manifest->files[i].digest, 0);
    arena_release(&arena);
    return status;
}

/* ---- the run's directory --------------------------------------------------------------------- */

/* A manifest becomes the directory DIGEST, anything else the file in/DIGEST. */
static enum status give_input(struct attempt *it, const char *digest, struct error *error)
{
    struct arena arena = {0};
    char path[PATH_MAX];
    bool is_manifest;
    enum status status =
        cache_manifest(it->place->cache, &arena, digest, it->manifest, &is_manifest, error);
    if (status == STATUS_OK && is_manifest) {
        path_join(path, sizeof(path), it->dir, digest);
        status = cache_give_all(it->place->cache, it->manifest, path, error);
        cache_note_input(it->place->cache, digest);
    } else if (status == STATUS_OK) {
        CHECK(snprintf(path, sizeof(path), "%s/in/%s", it->dir, digest) < (int)sizeof(path));
        status = cache_give(it->place->cache, digest, path, error);
    }
    arena_release(&arena);
    return status;
}

/* All files of a manifest, below `dir`. */
static enum status give_manifest(struct attempt *it, const char *what, const char *digest,
                                 const char *dir, struct error *error)
{
    struct arena arena = {0};
    bool is_manifest = false;
    enum status status =
        cache_manifest(it->place->cache, &arena, digest, it->manifest, &is_manifest, error);
    if (status == STATUS_OK && !is_manifest)
        status = error_set(error, STATUS_FORMAT, "%s %.12s… is no manifest", what, digest);
    if (status == STATUS_OK)
        status = cache_give_all(it->place->cache, it->manifest, dir, error);
    arena_release(&arena);
    return status;
}

static enum status give_parts(struct attempt *it, struct error *error)
{
    for (int i = 0; i < it->part_count; i++) {
        char dir[PATH_MAX];
        CHECK(snprintf(dir, sizeof(dir), "%s/shards/%d", it->dir, i + 1) < (int)sizeof(dir));
        TRY(give_manifest(it, "the result of a shard", it->parts[i], dir, error));
    }
    return STATUS_OK;
}

/* ---- the spec -------------------------------------------------------------------------------- */

/* Where a reference lies, relative to the run's directory. A dataset of one file is that file. */
static enum status locate(struct attempt *it, const char *digest, bool as_file, struct arena *arena,
                          const char **path_out, struct error *error)
{
    bool is_manifest;
    TRY(cache_manifest(it->place->cache, arena, digest, it->manifest, &is_manifest, error));
    if (!is_manifest) {
        *path_out = arena_printf(arena, "in/%s", digest);
        return STATUS_OK;
    }
    *path_out = digest;
    if (as_file && it->manifest->count != 1)
        return error_set(error, STATUS_USAGE, "the dataset %.12s… has %d files; one is needed",
                         digest, it->manifest->count);
    if (as_file)
        *path_out = arena_printf(arena, "%s/%s", digest, it->manifest->files[0].name);
    return STATUS_OK;
}

static enum status replace(struct attempt *it, json_t *object, const char *key, bool as_file,
                           struct error *error)
{
    struct arena arena = {0};
    const char *path, *text = json_string_value(json_object_get(object, key));
    size_t prefix = strlen(DIGEST_PREFIX);
    if (text == NULL || strncmp(text, DIGEST_PREFIX, prefix) != 0)
        return STATUS_OK;
    enum status status = locate(it, text + prefix, as_file, &arena, &path, error);
    if (status == STATUS_OK)
        json_object_set_new(object, key, json_string(path));
    arena_release(&arena);
    return status;
}

static enum status replace_sources(struct attempt *it, json_t *list, struct error *error)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        TRY(replace(it, json_array_get(list, i), "dataset", true, error));
    return STATUS_OK;
}

static enum status spec_resolve(struct attempt *it, json_t *spec, struct error *error)
{
    json_t *data = json_object_get(spec, "data");
    const char *stage = json_string_value(json_object_get(spec, "stage"));
    TRY(replace(it, spec, "from", stage != NULL && strcmp(stage, "import") == 0, error));
    TRY(replace_sources(it, json_object_get(data, "train"), error));
    TRY(replace_sources(it, json_object_get(data, "eval"), error));
    return replace_sources(it, json_object_get(json_object_get(data, "enrich"), "sources"), error);
}

static bool measures(const char *stage)
{
    static const char *const stages[] = {"evaluate", "score", "admit", "import", "export"};
    for (size_t i = 0; stage != NULL && i < sizeof(stages) / sizeof(stages[0]); i++)
        if (strcmp(stage, stages[i]) == 0)
            return true;
    return false;
}

static enum status spec_write(struct attempt *it, struct error *error)
{
    char path[PATH_MAX];
    json_t *spec;
    TRY(json_read("the spec", it->spec, strlen(it->spec), &spec, error));
    path_join(path, sizeof(path), it->dir, SPEC_FILE);
    const char *stage = json_string_value(json_object_get(spec, "stage"));
    if (stage != NULL && strcmp(stage, "serve") == 0 && it->serving == NULL)
        it->serving = serving_create(it->place->cache, it->place->arrivals);
    const json_t *resources = json_object_get(spec, "resources");
    const char *device = json_string_value(json_object_get(resources, "device"));
    it->on_gpu = device != NULL && strcmp(device, "cuda") == 0;
    it->measures = measures(stage);
    enum status status = spec_resolve(it, spec, error);
    if (status == STATUS_OK)
        status = json_write_file(path, spec, error);
    json_decref(spec);
    return status;
}

/* ---- the ranks ------------------------------------------------------------------------------- */

/* By shm a name; by tcp every rank's "host:port". Who is whose neighbour on a host nobody knows
 * here, so ports follow from job, term and rank; one that is taken fails the attempt, and the next
 * term has others. */
static const char *rendezvous(const struct attempt *it, struct arena *arena)
{
    struct buf list = {0};
    const char *host = it->rendezvous;
    int64_t first = (it->job * 64 + it->term * 4099) % PORT_COUNT;
    if (it->rank_count == it->world)
        return arena_printf(arena, "w%" PRId64 ".j%" PRId64 ".t%" PRId64,
                            it->place->link->credential->worker, it->job, it->term);
    for (int64_t r = 0; r < it->world; r++) {
        size_t length = strcspn(host, ",");
        buf_printf(&list, "%s%.*s:%d", r > 0 ? "," : "", (int)length, host,
                   (int)(PORT_FIRST + (first + r) % PORT_COUNT));
        host += length + 1;
    }
    const char *text = arena_strdup(arena, list.data);
    buf_release(&list);
    return text;
}

static void words_make(const struct attempt *it, const struct rank *rank, struct arena *arena,
                       const char **words)
{
    int count = 0;
    const char *const common[] = {it->on_gpu ? it->place->trainer_cuda : it->place->trainer,
                                  it->serving != NULL ? "serve"
                                  : it->measures      ? "measure"
                                                      : "train",
                                  "--spec",
                                  SPEC_FILE,
                                  "--out",
                                  ".",
                                  "--resume",
                                  "--quiet",
                                  "--report-fd",
                                  arena_printf(arena, "%d", PROCESS_REPORT_FD),
                                  "--threads",
                                  arena_printf(arena, "%d", slots_threads(it->place->slots))};
    for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++)
        words[count++] = common[i];
    if (it->world > 1) {
        const char *const ranked[] = {"--rank",       arena_printf(arena, "%" PRId64, rank->number),
                                      "--ranks",      arena_printf(arena, "%" PRId64, it->world),
                                      "--term",       arena_printf(arena, "%" PRId64, it->term),
                                      "--comm",       it->rank_count == it->world ? "shm" : "tcp",
                                      "--rendezvous", rendezvous(it, arena)};
        for (size_t i = 0; i < sizeof(ranked) / sizeof(ranked[0]); i++)
            words[count++] = ranked[i];
    }
    if (it->shards > 0) {
        const char *const sharded[] = {"--shard", arena_printf(arena, "%" PRId64, it->shard),
                                       "--shards", arena_printf(arena, "%" PRId64, it->shards)};
        for (size_t i = 0; i < sizeof(sharded) / sizeof(sharded[0]); i++)
            words[count++] = sharded[i];
    }
    words[count] = NULL;
    CHECK(count < WORDS_MAX);
}

static enum status rank_start(struct attempt *it, struct rank *rank, struct error *error)
{
    struct arena arena = {0};
    const char *words[WORDS_MAX];
    char tokens[PATH_MAX];
    cpu_set_t cpus;
    if (it->on_gpu && (rank->gpu = gpus_take(it->place->gpus)) < 0)
        return error_set(error, STATUS_COMMUNICATION, /* of the moment: another term may have one */
                         "no GPU of this worker is free and healthy for rank %" PRId64,
                         rank->number);
    words_make(it, rank, &arena, words);
    path_join(tokens, sizeof(tokens), it->place->data, "tokens");
    const struct process_options options = {
        .words = words,
        .dir = it->dir,
        .secret = it->world > 1 ? it->secret : NULL,
        .cache = tokens,
        .gpu = rank->gpu >= 0 ? it->place->gpus->list[rank->gpu].uuid : NULL,
        .cpus = slots_cpus(it->place->slots, rank->slot, &cpus) ? &cpus : NULL,
        .asked = it->serving != NULL};
    enum status status = process_start(&options, &rank->process, error);
    arena_release(&arena);
    return status;
}

static enum status start(struct attempt *it, struct error *error)
{
    for (int i = 0; i < it->input_count; i++)
        TRY(give_input(it, it->inputs[i], error));
    if (it->checkpoint[0] != '\0')
        TRY(give_manifest(it, "the checkpoint", it->checkpoint, it->dir, error));
    TRY(give_parts(it, error));
    TRY(spec_write(it, error));
    if (it->on_gpu && it->place->trainer_cuda == NULL)
        return error_set(error, STATUS_UNSUPPORTED, "this worker has no trainer for GPUs");
    for (int i = 0; i < it->rank_count; i++)
        TRY(rank_start(it, &it->ranks[i], error));
    log_info("job %" PRId64 " term %" PRId64 " started ranks %d of %" PRId64 "%s", it->job,
             it->term, it->rank_count, it->world,
             it->checkpoint[0] != '\0' ? " from a checkpoint" : "");
    it->phase = ATTEMPT_RUNNING;
    return STATUS_OK;
}

enum status attempt_fetched(struct attempt *it, int mark, struct error *error)
{
    if (mark == MARK_PARTS)
        return start(it, error);
    for (int i = 0; i < it->input_count; i++)
        TRY(fetch_parts(it, it->inputs[i], error));
    for (int i = 0; i < it->part_count; i++)
        TRY(fetch_parts(it, it->parts[i], error));
    if (it->checkpoint[0] != '\0')
        TRY(fetch_parts(it, it->checkpoint, error));
    transfer_add(&it->transfer, TRANSFER_MARK, NULL, MARK_PARTS);
    return STATUS_OK;
}
