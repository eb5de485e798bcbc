/* SPDX-License-Identifier: Apache-2.0
 *
 * A checkpoint, a model or a result as a manifest of files in the store, and the report that
 * registers it.
 *
 * The trainer goes on and removes what it has superseded, so its files first become blobs of the
 * cache by hard links, which takes no time; what vanished before that is passed over: a newer one
 * comes. A checkpoint takes along the best weights and the curves, so that a run goes on elsewhere
 * as if it had been there all the time.
 *
 * Of a gang on several workers each has the blobs that its ranks wrote, and the manifests of all.
 * All put what they have; the leader's worker awaits the others' before it puts the whole's
 * manifest, and only then reports. So what is registered is complete, whoever dies meanwhile.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "worker/agent/attempt.h"

enum { FIGURES_MAX = 48 * 1024, TREE_DEPTH_MAX = 4 };

/* A manifest in the making. */
struct bundle {
    struct attempt *attempt;
    struct arena arena;
    bool away[MANIFEST_FILES_MAX]; /* the file is another worker's to put */
};

static enum status take(struct bundle *bundle, const char *path, const char *name,
                        const char *digest, struct error *error)
{
    char found[SHA256_HEX_SIZE];
    int64_t bytes;
    TRY(cache_take(bundle->attempt->place->cache, path, digest, found, &bytes, error));
    return manifest_add(bundle->attempt->manifest, &bundle->arena, name, found, bytes, error);
}

/* A blob that one of the ranks here wrote, or one of another worker's. */
static enum status take_part(struct bundle *bundle, const char *path, const char *name,
                             const char *digest, int64_t bytes, struct error *error)
{
    const struct attempt *it = bundle->attempt;
    if (file_exists(path) || it->rank_count == it->world)
        return take(bundle, path, name, digest, error);
    if (!attempt_leads(it))
        return STATUS_OK;
    TRY(manifest_add(it->manifest, &bundle->arena, name, digest, bytes, error));
    bundle->away[it->manifest->count - 1] = true;
    return STATUS_OK;
}

/* A file that is still being appended to: its bytes of now. */
static enum status take_copy(struct bundle *bundle, const char *name, struct error *error)
{
    char path[PATH_MAX], digest[SHA256_HEX_SIZE];
    struct buf text = {0};
    path_join(path, sizeof(path), bundle->attempt->dir, name);
    if (!file_exists(path))
        return STATUS_OK;
    enum status status = file_read(path, 64 * MIB, &text, error);
    if (status == STATUS_OK)
        status = cache_put(bundle->attempt->place->cache, text.data, text.length, digest, error);
    if (status == STATUS_OK)
        status = manifest_add(bundle->attempt->manifest, &bundle->arena, name, digest,
                              (int64_t)text.length, error);
    buf_release(&text);
    return status;
}

static void put_all(struct bundle *bundle)
{
    struct attempt *it = bundle->attempt;
    for (int i = 0; i < it->manifest->count; i++) {
        const struct manifest_file *file = &it->manifest->files[i];
        if (bundle->away[i])
            transfer_await(&it->transfer, file->digest, file->bytes);
        else
            transfer_add(&it->transfer, TRANSFER_PUT, file->digest, 0);
    }
}

/* Puts the manifest and all that it names in the queue, and the mark behind them. */
static enum status publish(struct bundle *bundle, int mark, struct error *error)
{
    struct attempt *it = bundle->attempt;
    struct buf text = {0};
    manifest_format(it->manifest, &text);
    enum status status =
        text.length > CONFIG_BYTES_MAX
            ? error_set(error, STATUS_LIMIT, "the manifest has %zu bytes", text.length)
            : cache_put(it->place->cache, text.data, text.length, it->published, error);
    buf_release(&text);
    TRY(status);
    put_all(bundle);
    transfer_add(&it->transfer, TRANSFER_PUT, it->published, 0);
    transfer_add(&it->transfer, TRANSFER_MARK, NULL, mark);
    it->published_bytes = it->manifest->bytes;
    return STATUS_OK;
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

/* The parts, then the manifest at `prefix`checkpoints/`name`: the store takes none before its
 * parts. */
static enum status take_checkpoint(struct bundle *bundle, const char *prefix, const char *name,
                                   struct error *error)
{
    char path[PATH_MAX], file[MANIFEST_NAME_MAX], own[PATH_MAX], own_file[MANIFEST_NAME_MAX];
    json_t *json;
    enum status status = STATUS_OK;
    snprintf(own_file, sizeof(own_file), "%scheckpoints/%s", prefix, name);
    path_join(own, sizeof(own), bundle->attempt->dir, own_file);
    TRY(json_read_file(own, CONFIG_BYTES_MAX, &json, error));
    const json_t *parts = json_object_get(json, "parts");
    for (size_t i = 0; status == STATUS_OK && i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i);
        const char *digest = json_string_value(json_object_get(part, "sha256"));
        if (digest == NULL || strlen(digest) != SHA256_HEX_SIZE - 1) {
            status = error_set(error, STATUS_FORMAT, "%s: a part has no digest", own);
            break;
        }
        snprintf(file, sizeof(file), "%sstore/%.2s/%s", prefix, digest, digest);
        path_join(path, sizeof(path), bundle->attempt->dir, file);
        status = take_part(bundle, path, file, digest,
                           json_integer_value(json_object_get(part, "size")), error);
    }
    json_decref(json);
    if (status != STATUS_OK || !attempt_leads(bundle->attempt))
        return status;
    return take(bundle, own, own_file, NULL, error);
}

static enum status take_best(struct bundle *bundle, struct error *error)
{
    char path[PATH_MAX];
    enum status status = STATUS_OK;
    path_join(path, sizeof(path), bundle->attempt->dir, "best/checkpoints");
    DIR *entries = opendir(path);
    for (struct dirent *entry;
         entries != NULL && status == STATUS_OK && (entry = readdir(entries)) != NULL;)
        if (strncmp(entry->d_name, "step-", 5) == 0)
            status = take_checkpoint(bundle, "best/", entry->d_name, error);
    if (entries != NULL)
        closedir(entries);
    return status;
}

static enum status bundle_checkpoint(struct bundle *bundle, struct error *error)
{
    char name[64];
    snprintf(name, sizeof(name), "step-%09" PRId64 ".json", bundle->attempt->checkpoint_step);
    TRY(take_checkpoint(bundle, "", name, error));
    TRY(take_best(bundle, error));
    if (!attempt_leads(bundle->attempt)) {
        put_all(bundle);
        transfer_add(&bundle->attempt->transfer, TRANSFER_MARK, NULL, MARK_SHARE);
        bundle->attempt->shares_pending++;
        return STATUS_OK;
    }
    TRY(take_copy(bundle, "metrics.jsonl", error));
    TRY(take_copy(bundle, "events.jsonl", error));
    return publish(bundle, MARK_CHECKPOINT, error);
}

static struct bundle bundle_begin(struct attempt *it)
{
    it->manifest->count = 0;
    it->manifest->bytes = 0;
    return (struct bundle){.attempt = it};
}

void attempt_publish_checkpoint(struct attempt *it)
{
    struct error error;
    struct bundle bundle = bundle_begin(it);
    int64_t step = it->checkpoint_step;
    if (bundle_checkpoint(&bundle, &error) == STATUS_OK)
        it->published_step = step;
    else {
        log_warn("job %" PRId64 ": the checkpoint of step %" PRId64 " is passed over: %s", it->job,
                 step, error.text);
        it->checkpoint_step = it->published_step; /* until the next one */
    }
    arena_release(&bundle.arena);
}

/* ---- the outcome -------------------------------------------------------------------------------
 */

static enum status take_tree(struct bundle *bundle, const char *dir, const char *prefix, int depth,
                             struct error *error)
{
    enum status status = STATUS_OK;
    DIR *entries = opendir(dir);
    if (entries == NULL)
        return errno == ENOENT ? STATUS_OK
                               : error_set(error, STATUS_IO, "%s: %s", dir, strerror(errno));
    for (struct dirent *entry; status == STATUS_OK && (entry = readdir(entries)) != NULL;) {
        char path[PATH_MAX], name[MANIFEST_NAME_MAX + 1];
        if (entry->d_name[0] == '.')
            continue;
        path_join(path, sizeof(path), dir, entry->d_name);
        snprintf(name, sizeof(name), "%s%s", prefix, entry->d_name);
        if (file_size(path) >= 0) {
            status = take(bundle, path, name, NULL, error);
        } else if (depth < TREE_DEPTH_MAX) {
            snprintf(name, sizeof(name), "%s%s/", prefix, entry->d_name);
            status = take_tree(bundle, path, name, depth + 1, error);
        }
    }
    closedir(entries);
    return status;
}

/* Figures that are too long are left to the file result.json. */
static void note_result(struct attempt *it, const char *path)
{
    struct buf text = {0};
    json_t *result;
    if (json_read_file(path, 64 * MIB, &result, NULL) != STATUS_OK)
        return;
    const char *verdict =
        json_string_value(json_object_get(json_object_get(result, "gate"), "verdict"));
    int gate = verdict != NULL ? enum_parse(&api__gate_decision__descriptor, verdict) : -1;
    it->gate = gate > 0 ? (Api__GateDecision)gate : API__GATE_DECISION__GATE_DECISION_UNSPECIFIED;
    json_append(&text, result);
    if (text.length <= FIGURES_MAX)
        it->figures = mem_strdup(text.data);
    buf_release(&text);
    json_decref(result);
}

static enum status bundle_model(struct bundle *bundle, struct error *error)
{
    char path[PATH_MAX];
    path_join(path, sizeof(path), bundle->attempt->dir, "model");
    TRY(take_tree(bundle, path, "", 0, error));
    path_join(path, sizeof(path), bundle->attempt->dir, "rows");
    TRY(take_tree(bundle, path, "rows/", 0, error));
    TRY(take_copy(bundle, "result.json", error));
    TRY(take_copy(bundle, "metrics.jsonl", error));
    TRY(take_copy(bundle, "events.jsonl", error));
    TRY(take_copy(bundle, "spec.json", error));
    path_join(path, sizeof(path), bundle->attempt->dir, "result.json");
    note_result(bundle->attempt, path);
    return publish(bundle, MARK_MODEL, error);
}

/* Of a shard what it leaves to be put together; of an import the base; of anything else rows,
 * figures, a report, a model in another form. */
static enum status bundle_result(struct bundle *bundle, struct error *error)
{
    char path[PATH_MAX];
    const struct attempt *it = bundle->attempt;
    if (it->shard > 0) {
        path_join(path, sizeof(path), it->dir, "shard");
        TRY(take_tree(bundle, path, "", 0, error));
        return publish(bundle, MARK_RESULT, error);
    }
    path_join(path, sizeof(path), it->dir, "import");
    if (dir_exists(path)) { /* a base, and nothing else */
        TRY(take_tree(bundle, path, "", 0, error));
        return publish(bundle, MARK_RESULT, error);
    }
    path_join(path, sizeof(path), it->dir, "rows");
    TRY(take_tree(bundle, path, "rows/", 0, error));
    TRY(take_copy(bundle, "result.json", error));
    TRY(take_copy(bundle, "report.json", error));
    path_join(path, sizeof(path), it->dir, "export");
    TRY(take_tree(bundle, path, "export/", 0, error));
    path_join(path, sizeof(path), it->dir, "result.json");
    note_result(bundle->attempt, path);
    return publish(bundle, MARK_RESULT, error);
}

void attempt_publish_outcome(struct attempt *it)
{
    struct error error;
    struct bundle bundle = bundle_begin(it);
    it->outcome_said = true;
    enum status status =
        it->measures ? bundle_result(&bundle, &error) : bundle_model(&bundle, &error);
    if (status != STATUS_OK) {
        it->no_space = it->no_space || error.status == STATUS_FULL;
        attempt_fail(it, API__FAILURE_CLASS__FAILURE_CLASS_STORAGE, -1, "%s", error.text);
        it->succeeded = false;
    }
    arena_release(&bundle.arena);
}

/* ---- reports --------------------------------------------------------------------------------- */

static void report_checkpoint(struct attempt *it)
{
    Wire__CheckpointReport report = WIRE__CHECKPOINT_REPORT__INIT;
    report.has_step = report.has_bytes = report.has_time_ms = true;
    report.step = it->published_step;
    report.manifest = it->published;
    report.bytes = it->published_bytes;
    report.time_ms = it->wall_ms;
    report.has_seconds = true;
    report.seconds = it->checkpoint_seconds;
    if (!outbox_put(&it->outbox, WORKER_CHECKPOINT_REPORT, &report.stamp, &report, false))
        log_warn("a checkpoint of job %" PRId64 " is not reported: too many reports wait", it->job);
}

static void report_model(struct attempt *it)
{
    char path[PATH_MAX];
    json_t *card = NULL;
    Wire__ModelReport report = WIRE__MODEL_REPORT__INIT;
    report.has_bytes = report.has_adapter = report.has_time_ms = true;
    report.manifest = it->published;
    report.bytes = it->published_bytes;
    report.figures = it->figures;
    report.time_ms = it->wall_ms;
    path_join(path, sizeof(path), it->dir, "model/tailor.json");
    if (json_read_file(path, 64 * MIB, &card, NULL) == STATUS_OK) {
        const char *digest =
            json_string_value(json_object_get(json_object_get(card, "data"), "digest"));
        const char *kind = json_string_value(json_object_get(card, "kind"));
        report.adapter = kind != NULL && strcmp(kind, "adapter") == 0;
        report.template_ =
            (char *)json_string_value(json_object_get(json_object_get(card, "text"), "template"));
        report.data_digest = digest != NULL && strlen(digest) == 64 ? (char *)digest : NULL;
    }
    if (!outbox_put(&it->outbox, WORKER_MODEL_REPORT, &report.stamp, &report, true))
        attempt_fail(it, API__FAILURE_CLASS__FAILURE_CLASS_INTERNAL, -1, "too many reports wait");
    json_decref(card);
}

static void report_result(struct attempt *it)
{
    Wire__ResultReport report = WIRE__RESULT_REPORT__INIT;
    report.manifest = it->published;
    report.has_bytes = report.has_time_ms = true;
    report.bytes = it->published_bytes;
    report.time_ms = it->wall_ms;
    report.figures = it->figures;
    if (!outbox_put(&it->outbox, WORKER_RESULT_REPORT, &report.stamp, &report, true))
        attempt_fail(it, API__FAILURE_CLASS__FAILURE_CLASS_INTERNAL, -1, "too many reports wait");
}

void attempt_published(struct attempt *it, int mark)
{
    if (mark == MARK_CHECKPOINT)
        report_checkpoint(it);
    else if (mark == MARK_SHARE)
        it->shares_pending--;
    else if (mark == MARK_MODEL)
        report_model(it);
    else if (mark == MARK_RESULT)
        report_result(it);
}

/* Says that something was not said. */
static void report_dropped(struct attempt *it)
{
    Wire__Finding finding = WIRE__FINDING__INIT;
    char message[128];
    snprintf(message, sizeof(message),
             "%" PRId64 " findings and checkpoints are not reported: too many reports waited",
             it->outbox.dropped);
    finding.kind = "reports_dropped";
    finding.message = message;
    finding.has_step = finding.has_severity = finding.has_time_ms = true;
    finding.step = it->step;
    finding.time_ms = it->wall_ms;
    finding.severity = API__SEVERITY__SEVERITY_WARNING;
    CHECK(outbox_put(&it->outbox, WORKER_FINDING, &finding.stamp, &finding, true));
}

void attempt_report_state(struct attempt *it, Api__AttemptState state)
{
    Wire__AttemptReport report = WIRE__ATTEMPT_REPORT__INIT;
    bool final = state != API__ATTEMPT_STATE__ATTEMPT_STATE_RUNNING;
    report.has_state = report.has_time_ms = report.has_step = report.has_steps_total = true;
    report.state = state;
    report.time_ms = it->wall_ms;
    report.step = it->step;
    report.steps_total = it->steps_total;
    if (state == API__ATTEMPT_STATE__ATTEMPT_STATE_FAILED) {
        if (it->failure == API__FAILURE_CLASS__FAILURE_CLASS_UNSPECIFIED)
            attempt_fail(it, API__FAILURE_CLASS__FAILURE_CLASS_INTERNAL, -1,
                         "the ranks ended before the end of the training");
        report.has_failure_class = report.has_full = true;
        report.full = it->no_space;
        report.failure_class = it->failure;
        report.failure_message = it->failure_message;
        report.has_failure_rank = it->failure_rank >= 0;
        report.failure_rank = it->failure_rank;
        report.failure_log = it->failure_log[0] != '\0' ? it->failure_log : NULL;
        log_warn("job %" PRId64 " term %" PRId64 " failed: %s", it->job, it->term,
                 it->failure_message);
    } else if (state == API__ATTEMPT_STATE__ATTEMPT_STATE_SUCCEEDED) {
        report.has_gate_decision = it->gate != API__GATE_DECISION__GATE_DECISION_UNSPECIFIED;
        report.gate_decision = it->gate;
        report.figures = it->figures;
        log_info("job %" PRId64 " term %" PRId64 " succeeded", it->job, it->term);
    }
    if (final && it->outbox.dropped > 0)
        report_dropped(it);
    CHECK(outbox_put(&it->outbox, WORKER_ATTEMPT_REPORT, &report.stamp, &report, true));
}
