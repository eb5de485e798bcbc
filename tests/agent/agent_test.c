/* SPDX-License-Identifier: Apache-2.0
 *
 * The agent as it is used: a coordinator in this process, tailor-worker and tailor-trainer as
 * programs, a tiny model that really trains. Everybody is killed at some time; what remains must
 * have the bits of a run that nobody disturbed.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/agent/agent_fixture.h"

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
