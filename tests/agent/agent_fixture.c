/* SPDX-License-Identifier: Apache-2.0
 */
#include "tests/agent/agent_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/sha256.h"
#include "lib/text.h"
#include "storage/files/blob.h"
#include "storage/records/attempt_record.h"
#include "storage/records/model_record.h"

struct service service;
pid_t agents[AGENTS_MAX];
const char *agent_pool = "default", *agent_label = "disk=slow", *agent_device = "auto",
           *agent_trainer = TEST_BUILD_DIR "/tailor-trainer";
static char base[65], data[65];

static void on_answer(void *argument, enum status status, const struct error *error)
{
    struct answer *answer = argument;
    answer->done = true;
    answer->status = status;
    answer->error = *error;
}

static void await(struct answer *answer)
{
    while (!answer->done)
        service_turn(&service);
    if (answer->status != STATUS_OK)
        fprintf(stderr, "%s\n", answer->error.text);
    CHECK(answer->status == STATUS_OK);
}

/* ---- what is in the store -------------------------------------------------------------------- */

void upload(const void *bytes, size_t length, char digest_out[65])
{
    struct answer answer = {0};
    Api__Upload upload = API__UPLOAD__INIT;
    sha256_hex(bytes, length, digest_out);
    upload.tenant = "acme";
    upload.digest = digest_out;
    upload.has_bytes = upload.has_offset = true;
    upload.bytes = (int64_t)length;
    coordinator_upload_put(service.coordinator, &upload, bytes, length, on_answer, &answer);
    await(&answer);
    CHECK(upload.complete);
}

static void upload_base(void)
{
    static const char *const names[] = {"config.json", "model.safetensors", "tokenizer.json",
                                        "tokenizer_config.json"};
    struct buf manifest = {0};
    buf_append_string(&manifest, "{\"kind\":\"files\",\"files\":[");
    for (int i = 0; i < 4; i++) {
        char path[PATH_MAX], digest[65];
        struct buf bytes = {0};
        snprintf(path, sizeof(path), "%s/tests/golden/data/models/tiny-llama/base/%s",
                 TEST_SOURCE_DIR, names[i]);
        CHECK(file_read(path, CHUNK_BYTES_MAX, &bytes, NULL) == STATUS_OK);
        upload(bytes.data, bytes.length, digest);
        buf_printf(&manifest, "%s{\"name\":\"%s\",\"digest\":\"%s\",\"bytes\":%zu}",
                   i > 0 ? "," : "", names[i], digest, bytes.length);
        buf_release(&bytes);
    }
    buf_append_string(&manifest, "]}");
    upload(manifest.data, manifest.length, base);
    buf_release(&manifest);
}

static void upload_data(void)
{
    static const char *const things[] = {"tea", "a door", "the train", "bread", "rain", "a lamp"};
    struct buf text = {0};
    for (int i = 0; i < 48; i++)
        buf_printf(&text,
                   "{\"prompt\": \"How is %s on day %d?\", \"chosen\": \"%s is fine on day %d, "
                   "thank you.\", \"rejected\": \"no idea, %d\"}\n",
                   things[i % 6], i, things[i % 6], i, i * 7);
    upload(text.data, text.length, data);
    buf_release(&text);
}

/* ---- programs -------------------------------------------------------------------------------- */

static void agent_dir(int i, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s-worker-%d", service.dir, i);
}

void agent_start(int i, const char *token, int slots)
{
    char dir[PATH_MAX], count[16], name[16];
    agent_dir(i, dir);
    snprintf(count, sizeof(count), "%d", slots);
    snprintf(name, sizeof(name), "host-%d", i);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        if (getenv("TAILOR_LOG") == NULL)
            setenv("TAILOR_LOG", "error", 1);
        const char *words[] = {TEST_BUILD_DIR "/tailor-worker",
                               "--data",
                               dir,
                               "--label",
                               agent_label,
                               "--pool",
                               agent_pool,
                               "--slots",
                               count,
                               "--name",
                               name,
                               "--address",
                               "127.0.0.1",
                               "--device",
                               agent_device,
                               "--trainer",
                               agent_trainer,
                               token != NULL ? "--join" : NULL,
                               token,
                               NULL};
        execv(words[0], (char *const *)words);
        _exit(127);
    }
    agents[i] = pid;
}

void agent_join(int i, int slots)
{
    char token[JOIN_TOKEN_MAX];
    struct answer answer = {0};
    coordinator_join_token(service.coordinator, "default", 0, token, on_answer, &answer);
    await(&answer);
    agent_start(i, token, slots);
}

void agent_kill(int i)
{
    kill(agents[i], SIGKILL);
    waitpid(agents[i], NULL, 0);
    agents[i] = 0;
}

void open_all(void)
{
    service_open(&service);
    service_stop(&service);
    service.options.heartbeat_ms = 200;
    service.options.lost_after_ms = 8000;
    service_start(&service);
    upload_base();
    upload_data();
}

void close_all(void)
{
    for (int i = 0; i < AGENTS_MAX; i++) {
        char dir[PATH_MAX];
        if (agents[i] > 0)
            agent_kill(i);
        agent_dir(i, dir);
        dir_remove(dir, NULL);
    }
    service_close(&service);
}

/* The newest process whose command is the trainer's and whose directory is one of a run of ours. */
pid_t trainer_find(const char *word)
{
    DIR *entries = opendir("/proc");
    pid_t found = 0;
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        char path[PATH_MAX], directory[PATH_MAX] = "", command[256] = "";
        int64_t pid;
        if (!parse_i64(entry->d_name, &pid))
            continue;
        snprintf(path, sizeof(path), "/proc/%s/cwd", entry->d_name);
        ssize_t length = readlink(path, directory, sizeof(directory) - 1);
        snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
        FILE *file = fopen(path, "r");
        if (file != NULL && fgets(command, sizeof(command), file) == NULL)
            command[0] = '\0';
        if (file != NULL)
            fclose(file);
        if (length > 0 && strncmp(directory, service.dir, strlen(service.dir)) == 0 &&
            strstr(directory, word) != NULL && strcmp(command, "tailor-trainer\n") == 0)
            found = (pid_t)pid;
    }
    closedir(entries);
    return found;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

int64_t submit(const struct wanted *wanted)
{
    Api__Job job = API__JOB__INIT;
    char digest[SHA256_HEX_SIZE];
    struct answer answer = {0};
    struct buf spec = {0};
    struct job_submission submission = {.caller = &service.admin, .job = &job};
    bool custom = wanted->from != NULL;
    buf_printf(
        &spec,
        "{\"stage\":\"%s\",\"from\":\"sha256:%s\",\"data\":{\"train\":[{\"dataset\":"
        "\"sha256:%s\"}]%s},%s"
        "\"train\":{\"batch_groups\":4,\"learning_rate\":0.001,\"epochs\":%d,\"max_steps\":%d},"
        "\"checkpoint\":{\"every\":\"0s\",\"every_steps\":%d},"
        "\"evaluate\":{\"every_steps\":0},"
        "\"resources\":{\"device\":\"%s\",\"labels\":{%s%s%s}},"
        "\"output\":{\"model\":\"acme/support\",\"alias\":\"prod\"}}",
        custom ? "customize" : "general", custom ? wanted->from : base,
        wanted->data != NULL ? wanted->data : data, custom ? ",\"eval\":[{\"split\":0.2}]" : "",
        custom ? "\"adapter\":{\"type\":\"lora\"},"
               : "\"model\":{\"template\":\"dsp\",\"max_length\":160},",
        wanted->epochs > 0 ? wanted->epochs : 5, wanted->steps,
        wanted->every_steps > 0 ? wanted->every_steps : 4,
        wanted->device != NULL ? wanted->device : "cpu", wanted->disk != NULL ? "\"disk\":\"" : "",
        wanted->disk != NULL ? wanted->disk : "", wanted->disk != NULL ? "\"" : "");
    sha256_hex(spec.data, spec.length, digest);
    job.tenant = "acme";
    job.queue = "default";
    job.pool = (char *)(wanted->pool != NULL ? wanted->pool : "default");
    job.has_stage = job.has_ranks = job.has_min_ranks = job.has_preemptible = true;
    job.has_max_attempts = true;
    job.stage = custom ? API__STAGE__STAGE_CUSTOMIZE : API__STAGE__STAGE_GENERAL;
    job.from_digest = custom ? (char *)wanted->from : base;
    job.ranks = wanted->ranks > 0 ? wanted->ranks : 1;
    job.min_ranks = wanted->min_ranks > 0 ? wanted->min_ranks : job.ranks;
    job.preemptible = true;
    job.max_attempts = 3;
    job.spec = spec.data;
    job.spec_digest = digest;
    job.output_model = "acme/support";
    coordinator_job_submit(service.coordinator, &submission, on_answer, &answer);
    await(&answer);
    buf_release(&spec);
    return submission.id;
}

static enum status outcome_read(struct records *records, void *argument, struct error *error)
{
    struct outcome *outcome = argument;
    TRY(attempt_record_list(records, SCOPE_ALL, outcome->job, &outcome->arena, outcome->attempts,
                            error));
    TRY(checkpoint_record_list(records, SCOPE_ALL, outcome->job, &outcome->arena,
                               outcome->checkpoints, error));
    model_record_versions(records, SCOPE_ALL, "acme", "support", 0, 100, &outcome->arena,
                          outcome->versions, NULL);
    return STATUS_OK;
}

static void on_outcome(void *argument, enum status status, const struct error *error)
{
    on_answer(&((struct outcome *)argument)->answer, status, error);
}

void outcome_open(struct outcome *outcome, int64_t job)
{
    *outcome = (struct outcome){.job = job};
    outcome->versions = message_new(&outcome->arena, &api__model_version_list__descriptor);
    outcome->checkpoints = message_new(&outcome->arena, &api__checkpoint_list__descriptor);
    outcome->attempts = message_new(&outcome->arena, &api__attempt_list__descriptor);
    coordinator_read(service.coordinator, outcome_read, on_outcome, outcome);
    await(&outcome->answer);
}

/* A blob of acme's as JSON; the caller's. */
json_t *blob_json(const char *digest)
{
    struct buf text = {0};
    struct answer answer = {0};
    int64_t size;
    json_t *json = NULL;
    coordinator_blob_read(service.coordinator, "acme", digest, 0, MIB, &text, &size, on_answer,
                          &answer);
    await(&answer);
    CHECK(json_read("blob", text.data, text.length, &json, NULL) == STATUS_OK);
    buf_release(&text);
    return json;
}

bool manifest_find(const char *manifest, const char *name, char digest_out[65])
{
    json_t *json = blob_json(manifest), *files = json_object_get(json, "files");
    bool found = false;
    for (size_t i = 0; i < json_array_size(files); i++) {
        const json_t *file = json_array_get(files, i);
        if (strcmp(json_string_value(json_object_get(file, "name")), name) != 0)
            continue;
        snprintf(digest_out, 65, "%s", json_string_value(json_object_get(file, "digest")));
        found = true;
    }
    json_decref(json);
    return found;
}

/* The digest of the weights that a succeeded job left; "" if there are none. */
void weights_of(int64_t job, char digest_out[65])
{
    struct outcome outcome;
    outcome_open(&outcome, job);
    digest_out[0] = '\0';
    for (size_t i = 0; i < outcome.versions->n_versions; i++)
        if (outcome.versions->versions[i]->job_id == job)
            manifest_find(outcome.versions->versions[i]->manifest, "model.safetensors", digest_out);
    arena_release(&outcome.arena);
}

int64_t step_of(int64_t job)
{
    struct arena arena = {0};
    Api__Job *row = service_job(&service, &arena, job);
    coordinator_job_refresh(service.coordinator, &arena, row);
    int64_t step = row->step;
    arena_release(&arena);
    return step;
}

int64_t checkpoints_of(int64_t job)
{
    struct outcome outcome;
    outcome_open(&outcome, job);
    int64_t step =
        outcome.checkpoints->n_checkpoints > 0 ? outcome.checkpoints->checkpoints[0]->step : 0;
    arena_release(&outcome.arena);
    return step;
}

int64_t terms_of(int64_t job)
{
    struct outcome outcome;
    outcome_open(&outcome, job);
    int64_t count = (int64_t)outcome.attempts->n_attempts;
    arena_release(&outcome.arena);
    return count;
}

int workers_of(int64_t job)
{
    struct outcome outcome;
    int64_t seen = 0;
    int count = 0;
    outcome_open(&outcome, job);
    for (size_t r = 0;
         outcome.attempts->n_attempts > 0 && r < outcome.attempts->attempts[0]->n_ranks;
         r++) { /* in order of rank: those of one worker follow each other */
        count += outcome.attempts->attempts[0]->ranks[r]->worker_id != seen;
        seen = outcome.attempts->attempts[0]->ranks[r]->worker_id;
    }
    arena_release(&outcome.arena);
    return count;
}

int64_t worker_of(int64_t job)
{
    struct outcome outcome;
    outcome_open(&outcome, job);
    int64_t worker = outcome.attempts->n_attempts > 0 && outcome.attempts->attempts[0]->n_ranks > 0
                         ? outcome.attempts->attempts[0]->ranks[0]->worker_id
                         : 0;
    arena_release(&outcome.arena);
    return worker;
}

/* A job that nobody disturbs; the weights that all others of the same length must have. */
void undisturbed(int epochs, char digest_out[65])
{
    int64_t id = submit(&(struct wanted){.epochs = epochs});
    digest_out[0] = '\0';
    IN_TIME(service_state(&service, id) >= SUCCEEDED);
    weights_of(id, digest_out);
    EXPECT_I64(64, (int64_t)strlen(digest_out));
}

void pages_read(struct pages *pages, int64_t job)
{
    struct answer metrics = {0}, logs = {0};
    struct series_query query = {.job = job, .limit = 1000, .rank = -1};
    pages->metrics = message_new(&pages->arena, &api__metric_list__descriptor);
    pages->logs = message_new(&pages->arena, &api__log_list__descriptor);
    coordinator_metrics_read(service.coordinator, &query, &pages->arena, pages->metrics, on_answer,
                             &metrics);
    await(&metrics);
    coordinator_logs_read(service.coordinator, &query, &pages->arena, pages->logs, on_answer,
                          &logs);
    await(&logs);
}
