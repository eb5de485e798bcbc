/* SPDX-License-Identifier: Apache-2.0
 *
 * The agent as it is used: a coordinator in this process, tailor-worker and tailor-trainer as
 * programs, a tiny model that really trains. Everybody is killed at some time; what remains must
 * have the bits of a run that nobody disturbed.
 */
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
#include "tests/service/service_fixture.h"
#include "tests/test.h"

enum { PATIENCE_MS = 60000, AGENTS_MAX = 4 };

#define RUNNING   API__JOB_STATE__JOB_STATE_RUNNING
#define SUCCEEDED API__JOB_STATE__JOB_STATE_SUCCEEDED
#define FAILED    API__JOB_STATE__JOB_STATE_FAILED

/* As UNTIL of the fixture, for work that takes as long as the machine pleases. */
#define IN_TIME(condition)                                                                         \
    do {                                                                                           \
        int64_t until_ms_ = coordinator_now_ms() + PATIENCE_MS;                                    \
        while (!(condition) && coordinator_now_ms() < until_ms_)                                   \
            service_turn(&service);                                                                \
        REQUIRE(condition);                                                                        \
    } while (0)

static struct service service;
static pid_t agents[AGENTS_MAX];
static char base[65], data[65];

struct answer {
    bool done;
    enum status status;
    struct error error;
};

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

static void upload(const void *bytes, size_t length, char digest_out[65])
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

static void agent_start(int i, const char *token, int slots)
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
                               "--slots",
                               count,
                               "--name",
                               name,
                               "--address",
                               "127.0.0.1",
                               token != NULL ? "--join" : NULL,
                               token,
                               NULL};
        execv(words[0], (char *const *)words);
        _exit(127);
    }
    agents[i] = pid;
}

static void agent_join(int i, int slots)
{
    char token[JOIN_TOKEN_MAX];
    struct answer answer = {0};
    coordinator_join_token(service.coordinator, "default", 0, token, on_answer, &answer);
    await(&answer);
    agent_start(i, token, slots);
}

static void agent_kill(int i)
{
    kill(agents[i], SIGKILL);
    waitpid(agents[i], NULL, 0);
    agents[i] = 0;
}

static void open_all(void)
{
    service_open(&service);
    service_stop(&service);
    service.options.heartbeat_ms = 200;
    service.options.lost_after_ms = 8000;
    service_start(&service);
    upload_base();
    upload_data();
}

static void close_all(void)
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
static pid_t trainer_find(const char *word)
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

struct wanted {
    const char *data; /* NULL: the good one */
    const char *from; /* a model: customize it by an adapter; NULL: the base, stage general */
    int ranks, epochs;
};

static int64_t submit(const struct wanted *wanted)
{
    Api__Job job = API__JOB__INIT;
    char digest[SHA256_HEX_SIZE];
    struct answer answer = {0};
    struct buf spec = {0};
    struct job_submission submission = {.caller = &service.admin, .job = &job};
    bool custom = wanted->from != NULL;
    buf_printf(&spec,
               "{\"stage\":\"%s\",\"from\":\"sha256:%s\",\"data\":{\"train\":[{\"dataset\":"
               "\"sha256:%s\"}]%s},%s"
               "\"train\":{\"batch_groups\":4,\"learning_rate\":0.001,\"epochs\":%d},"
               "\"checkpoint\":{\"every\":\"0s\",\"every_steps\":4},"
               "\"evaluate\":{\"every_steps\":0},"
               "\"output\":{\"model\":\"acme/support\",\"alias\":\"prod\"}}",
               custom ? "customize" : "general", custom ? wanted->from : base,
               wanted->data != NULL ? wanted->data : data,
               custom ? ",\"eval\":[{\"split\":0.2}]" : "",
               custom ? "\"adapter\":{\"type\":\"lora\"},"
                      : "\"model\":{\"template\":\"dsp\",\"max_length\":160},",
               wanted->epochs > 0 ? wanted->epochs : 5);
    sha256_hex(spec.data, spec.length, digest);
    job.tenant = "acme";
    job.queue = job.pool = "default";
    job.has_stage = job.has_ranks = job.has_min_ranks = job.has_preemptible = true;
    job.has_max_attempts = true;
    job.stage = custom ? API__STAGE__STAGE_CUSTOMIZE : API__STAGE__STAGE_GENERAL;
    job.from_digest = (char *)wanted->from;
    job.ranks = job.min_ranks = wanted->ranks > 0 ? wanted->ranks : 1;
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

/* What remains of a job, read from the records. */
struct outcome {
    struct answer answer;
    int64_t job;
    struct arena arena;
    Api__ModelVersionList *versions;
    Api__CheckpointList *checkpoints;
    Api__AttemptList *attempts;
};

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

static void outcome_open(struct outcome *outcome, int64_t job)
{
    *outcome = (struct outcome){.job = job};
    outcome->versions = message_new(&outcome->arena, &api__model_version_list__descriptor);
    outcome->checkpoints = message_new(&outcome->arena, &api__checkpoint_list__descriptor);
    outcome->attempts = message_new(&outcome->arena, &api__attempt_list__descriptor);
    coordinator_read(service.coordinator, outcome_read, on_outcome, outcome);
    await(&outcome->answer);
}

/* A blob of acme's as JSON; the caller's. */
static json_t *blob_json(const char *digest)
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

static bool manifest_find(const char *manifest, const char *name, char digest_out[65])
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
static void weights_of(int64_t job, char digest_out[65])
{
    struct outcome outcome;
    outcome_open(&outcome, job);
    digest_out[0] = '\0';
    for (size_t i = 0; i < outcome.versions->n_versions; i++)
        if (outcome.versions->versions[i]->job_id == job)
            manifest_find(outcome.versions->versions[i]->manifest, "model.safetensors", digest_out);
    arena_release(&outcome.arena);
}

static int64_t step_of(int64_t job)
{
    struct arena arena = {0};
    Api__Job *row = service_job(&service, &arena, job);
    coordinator_job_refresh(service.coordinator, &arena, row);
    int64_t step = row->step;
    arena_release(&arena);
    return step;
}

static int64_t checkpoints_of(int64_t job)
{
    struct outcome outcome;
    outcome_open(&outcome, job);
    int64_t step =
        outcome.checkpoints->n_checkpoints > 0 ? outcome.checkpoints->checkpoints[0]->step : 0;
    arena_release(&outcome.arena);
    return step;
}

static int64_t terms_of(int64_t job)
{
    struct outcome outcome;
    outcome_open(&outcome, job);
    int64_t count = (int64_t)outcome.attempts->n_attempts;
    arena_release(&outcome.arena);
    return count;
}

/* A job that nobody disturbs; the weights that all others of the same length must have. */
static void undisturbed(int epochs, char digest_out[65])
{
    int64_t id = submit(&(struct wanted){.epochs = epochs});
    digest_out[0] = '\0';
    IN_TIME(service_state(&service, id) >= SUCCEEDED);
    weights_of(id, digest_out);
    EXPECT_I64(64, (int64_t)strlen(digest_out));
}

struct pages {
    struct arena arena;
    Api__MetricList *metrics;
    Api__LogList *logs;
};

static void pages_read(struct pages *pages, int64_t job)
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

/* ---- the whole way --------------------------------------------------------------------------- */

TEST(a_job_goes_from_its_submit_to_a_model_in_the_store_with_curves_and_logs)
{
    char digest[65] = "";
    struct pages pages = {0};
    struct outcome outcome;
    open_all();
    agent_join(0, 1);
    int64_t id = submit(&(struct wanted){.epochs = 3});
    IN_TIME(service_state(&service, id) >= SUCCEEDED);
    EXPECT_I64(SUCCEEDED, service_state(&service, id));
    outcome_open(&outcome, id);
    REQUIRE(outcome.versions->n_versions == 1);
    EXPECT(manifest_find(outcome.versions->versions[0]->manifest, "tailor.json", digest));
    EXPECT(manifest_find(outcome.versions->versions[0]->manifest, "result.json", digest));
    EXPECT_STR("dsp", outcome.versions->versions[0]->template_);
    REQUIRE(outcome.checkpoints->n_checkpoints > 0);
    EXPECT_I64(36, outcome.checkpoints->checkpoints[0]->step);
    EXPECT_I64(1, (int64_t)outcome.attempts->n_attempts);
    pages_read(&pages, id);
    EXPECT_I64(36, (int64_t)pages.metrics->n_points);
    EXPECT_CONTAINS("\"loss\":", pages.metrics->points[0]->values);
    REQUIRE(pages.logs->n_lines > 0);
    EXPECT_CONTAINS("the first row", pages.logs->lines[0]->text);
    arena_release(&pages.arena);
    arena_release(&outcome.arena);
    close_all();
}

TEST(a_model_of_one_job_is_customized_by_the_next_and_its_adapter_names_it)
{
    char digest[65] = "", parent[80];
    struct outcome outcome;
    open_all();
    agent_join(0, 1);
    int64_t general = submit(&(struct wanted){.epochs = 1});
    IN_TIME(service_state(&service, general) >= SUCCEEDED);
    outcome_open(&outcome, general);
    REQUIRE(outcome.versions->n_versions == 1);
    const char *from = outcome.versions->versions[0]->manifest;
    int64_t custom = submit(&(struct wanted){.epochs = 1, .from = from});
    IN_TIME(service_state(&service, custom) >= SUCCEEDED);
    EXPECT_I64(SUCCEEDED, service_state(&service, custom));
    snprintf(parent, sizeof(parent), "../%s", from);
    struct outcome after;
    outcome_open(&after, custom);
    REQUIRE(after.versions->n_versions == 2);
    EXPECT(after.versions->versions[0]->adapter);
    EXPECT(manifest_find(after.versions->versions[0]->manifest, "adapter_config.json", digest));
    json_t *config = blob_json(digest);
    EXPECT_STR(parent, json_string_value(json_object_get(config, "base_model_name_or_path")));
    json_decref(config);
    int64_t again = submit(&(struct wanted){
        .epochs = 1, .from = after.versions->versions[0]->manifest}); /* an adapter's child */
    IN_TIME(service_state(&service, again) >= SUCCEEDED);
    EXPECT_I64(SUCCEEDED, service_state(&service, again));
    arena_release(&after.arena);
    arena_release(&outcome.arena);
    close_all();
}

TEST(a_dataset_that_is_none_fails_the_job_at_once_with_the_line_that_is_wrong)
{
    static const char broken[] = "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n"
                                 "{\"prompt\": \"half\n";
    char digest[65];
    struct arena arena = {0};
    open_all();
    agent_join(0, 1);
    upload(broken, sizeof(broken) - 1, digest);
    int64_t id = submit(&(struct wanted){.data = digest});
    IN_TIME(service_state(&service, id) >= SUCCEEDED);
    Api__Job *job = service_job(&service, &arena, id);
    EXPECT_I64(FAILED, job->state);
    EXPECT_I64(API__FAILURE_CLASS__FAILURE_CLASS_USER_DATA, job->failure_class);
    EXPECT_CONTAINS(":2", job->failure_message);
    EXPECT_I64(1, terms_of(id));
    arena_release(&arena);
    close_all();
}

TEST(a_trainer_that_is_killed_goes_on_from_its_newest_checkpoint_to_the_same_bits)
{
    char whole[65], killed[65];
    open_all();
    agent_join(0, 1);
    undisturbed(12, whole);
    int64_t id = submit(&(struct wanted){.epochs = 12});
    IN_TIME(checkpoints_of(id) >= 8);
    pid_t trainer = trainer_find("runs/");
    REQUIRE(trainer > 0);
    kill(trainer, SIGKILL);
    IN_TIME(service_state(&service, id) >= SUCCEEDED);
    EXPECT_I64(SUCCEEDED, service_state(&service, id));
    EXPECT_I64(2, terms_of(id));
    weights_of(id, killed);
    EXPECT_STR(whole, killed);
    close_all();
}

TEST(a_paused_job_goes_on_on_another_worker_to_the_same_bits)
{
    char whole[65], moved[65];
    struct error error;
    open_all();
    agent_join(0, 1);
    undisturbed(12, whole);
    int64_t id = submit(&(struct wanted){.epochs = 12});
    IN_TIME(service_state(&service, id) == RUNNING && step_of(id) > 5);
    EXPECT_I64(STATUS_OK, service_verb(&service, JOB_VERB_PAUSE, id, 0, &error));
    IN_TIME(service_state(&service, id) == API__JOB_STATE__JOB_STATE_PAUSED);
    EXPECT(checkpoints_of(id) >= 5); /* one was written when it stopped */
    EXPECT_I64(0, trainer_find("runs/"));
    agent_kill(0);
    agent_join(1, 1);
    EXPECT_I64(STATUS_OK, service_verb(&service, JOB_VERB_RESUME, id, 0, &error));
    IN_TIME(service_state(&service, id) >= SUCCEEDED);
    EXPECT_I64(SUCCEEDED, service_state(&service, id));
    weights_of(id, moved);
    EXPECT_STR(whole, moved);
    close_all();
}

TEST(a_cancelled_job_leaves_no_process_and_its_slot_is_free_again)
{
    struct error error;
    open_all();
    agent_join(0, 1);
    int64_t id = submit(&(struct wanted){.epochs = 1000});
    IN_TIME(service_state(&service, id) == RUNNING);
    EXPECT(trainer_find("runs/") > 0);
    EXPECT_I64(STATUS_OK, service_verb(&service, JOB_VERB_CANCEL, id, 0, &error));
    IN_TIME(service_state(&service, id) == API__JOB_STATE__JOB_STATE_CANCELLED);
    EXPECT_I64(0, trainer_find("runs/"));
    int64_t other = submit(&(struct wanted){.epochs = 1});
    IN_TIME(service_state(&service, other) == SUCCEEDED);
    close_all();
}

TEST(a_trainer_that_stands_still_is_cancelled_all_the_same_and_its_worker_answers)
{
    struct error error;
    open_all();
    agent_join(0, 1);
    int64_t id = submit(&(struct wanted){.epochs = 1000});
    IN_TIME(service_state(&service, id) == RUNNING);
    pid_t trainer = trainer_find("runs/");
    REQUIRE(trainer > 0);
    kill(trainer, SIGSTOP);
    service_idle(&service, 1000);
    EXPECT_I64(RUNNING, service_state(&service, id));
    EXPECT_I64(STATUS_OK, service_verb(&service, JOB_VERB_CANCEL, id, 0, &error));
    IN_TIME(service_state(&service, id) == API__JOB_STATE__JOB_STATE_CANCELLED);
    EXPECT_I64(0, trainer_find("runs/"));
    close_all();
}

TEST(while_the_coordinator_is_away_training_goes_on_and_is_taken_up_again)
{
    open_all();
    agent_join(0, 1);
    int64_t id = submit(&(struct wanted){.epochs = 40});
    IN_TIME(service_state(&service, id) == RUNNING && step_of(id) > 5);
    pid_t trainer = trainer_find("runs/");
    service_stop(&service);
    usleep(500 * 1000);
    EXPECT_I64(trainer, trainer_find("runs/"));
    service_start(&service);
    IN_TIME(service_state(&service, id) >= SUCCEEDED);
    EXPECT_I64(SUCCEEDED, service_state(&service, id));
    EXPECT_I64(1, terms_of(id)); /* the same attempt */
    close_all();
}

TEST(a_worker_that_is_killed_takes_its_trainer_along_and_the_job_goes_on_when_it_is_back)
{
    char whole[65], again[65];
    open_all();
    agent_join(0, 1);
    undisturbed(12, whole);
    int64_t id = submit(&(struct wanted){.epochs = 12});
    IN_TIME(checkpoints_of(id) >= 4);
    agent_kill(0);
    IN_TIME(trainer_find("runs/") == 0);
    agent_start(0, NULL, 1); /* by its own key */
    IN_TIME(service_state(&service, id) >= SUCCEEDED);
    EXPECT_I64(SUCCEEDED, service_state(&service, id));
    EXPECT_I64(2, terms_of(id));
    weights_of(id, again);
    EXPECT_STR(whole, again);
    close_all();
}

TEST(a_worker_that_is_told_to_stop_lets_its_job_write_a_checkpoint_and_ends)
{
    int end;
    open_all();
    agent_join(0, 1);
    int64_t id = submit(&(struct wanted){.epochs = 200});
    IN_TIME(service_state(&service, id) == RUNNING && step_of(id) > 5);
    kill(agents[0], SIGTERM);
    bool ended = false;
    IN_TIME(ended || (ended = waitpid(agents[0], &end, WNOHANG) == agents[0]));
    agents[0] = 0;
    EXPECT(WIFEXITED(end) && WEXITSTATUS(end) == 0);
    EXPECT(checkpoints_of(id) >= 5);
    EXPECT(service_state(&service, id) < SUCCEEDED);
    close_all();
}

TEST(two_ranks_of_one_worker_have_the_bits_of_one)
{
    char whole[65], both[65];
    open_all();
    agent_join(0, 2);
    undisturbed(5, whole);
    int64_t id = submit(&(struct wanted){.epochs = 5, .ranks = 2});
    IN_TIME(service_state(&service, id) >= SUCCEEDED);
    EXPECT_I64(SUCCEEDED, service_state(&service, id));
    weights_of(id, both);
    EXPECT_STR(whole, both);
    close_all();
}

TEST_MAIN()
