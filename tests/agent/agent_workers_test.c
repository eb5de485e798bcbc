/* SPDX-License-Identifier: Apache-2.0
 *
 * Several agents: gangs that share no directory, losses, drains, pools, labels, caches; and what a
 * killed agent had still to report.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/state.h"
#include "tests/agent/agent_fixture.h"

static void on_verb(void *argument, enum status status, const struct error *error)
{
    struct answer *answer = argument;
    (void)error;
    answer->done = true;
    answer->status = status;
}

/* ---- several workers ------------------------------------------------------------------------- */

static void verb(enum worker_verb verb, int64_t worker)
{
    struct answer answer = {0};
    coordinator_worker_verb(service.coordinator, verb, worker, on_verb, &answer);
    IN_TIME(answer.done);
    EXPECT_I64(STATUS_OK, answer.status);
}

static int64_t live_workers(void)
{
    struct arena arena = {0};
    Api__WorkerList *list = message_new(&arena, &api__worker_list__descriptor);
    coordinator_workers(service.coordinator, &arena, 0, list);
    int64_t count = 0;
    for (size_t i = 0; i < list->n_workers; i++)
        count += list->workers[i]->state == API__WORKER_STATE__WORKER_STATE_LIVE &&
                 list->workers[i]->slots > 0;
    arena_release(&arena);
    return count;
}

/* Ids grow in the order of joining. */
static int64_t last_worker(void)
{
    struct arena arena = {0};
    Api__WorkerList *list = message_new(&arena, &api__worker_list__descriptor);
    coordinator_workers(service.coordinator, &arena, 0, list);
    int64_t last = 0;
    for (size_t i = 0; i < list->n_workers; i++)
        last = list->workers[i]->id > last ? list->workers[i]->id : last;
    arena_release(&arena);
    return last;
}

TEST(two_ranks_of_two_workers_that_share_no_directory_have_the_bits_of_one)
{
    char whole[65], both[65];
    open_all();
    agent_join(0, 1);
    IN_TIME(live_workers() == 1);
    undisturbed(10, whole);
    agent_join(1, 1);
    IN_TIME(live_workers() == 2);
    int64_t id = submit(&(struct wanted){.epochs = 10, .ranks = 2, .every_steps = 20});
    IN_TIME(service_state(&service, id) >= SUCCEEDED);
    EXPECT_I64(SUCCEEDED, service_state(&service, id));
    EXPECT_I64(2, workers_of(id));
    EXPECT_I64(1, terms_of(id));
    EXPECT_I64(120, checkpoints_of(id)); /* the last one, of both */
    weights_of(id, both);
    EXPECT_STR(whole, both);
    close_all();
}

TEST(a_gang_that_loses_a_worker_goes_on_with_what_is_left_from_a_checkpoint_of_both)
{
    char whole[65], left[65];
    open_all();
    agent_join(0, 1);
    IN_TIME(live_workers() == 1);
    undisturbed(20, whole);
    agent_join(1, 1);
    IN_TIME(live_workers() == 2);
    int64_t id =
        submit(&(struct wanted){.epochs = 20, .ranks = 2, .min_ranks = 1, .every_steps = 20});
    IN_TIME(checkpoints_of(id) >= 20);
    EXPECT_I64(2, workers_of(id));
    agent_kill(1);
    IN_TIME(service_state(&service, id) >= SUCCEEDED);
    EXPECT_I64(SUCCEEDED, service_state(&service, id));
    EXPECT_I64(2, terms_of(id));
    EXPECT_I64(1, workers_of(id));
    weights_of(id, left);
    EXPECT_STR(whole, left);
    close_all();
}

TEST(a_drained_worker_ends_what_it_has_and_the_next_job_goes_elsewhere_or_waits)
{
    open_all();
    agent_join(0, 1);
    IN_TIME(live_workers() == 1);
    int64_t first = submit(&(struct wanted){.epochs = 10});
    IN_TIME(service_state(&service, first) == RUNNING);
    int64_t worker = worker_of(first);
    verb(WORKER_VERB_DRAIN, worker);
    int64_t second = submit(&(struct wanted){.epochs = 1});
    IN_TIME(service_state(&service, first) >= SUCCEEDED);
    EXPECT_I64(SUCCEEDED, service_state(&service, first));
    EXPECT_I64(1, terms_of(first));
    service_idle(&service, 1000);
    EXPECT_I64(API__JOB_STATE__JOB_STATE_QUEUED, service_state(&service, second));
    verb(WORKER_VERB_UNDRAIN, worker);
    IN_TIME(service_state(&service, second) == SUCCEEDED);
    close_all();
}

TEST(a_job_waits_for_a_worker_of_its_pool)
{
    open_all();
    agent_join(0, 1);
    IN_TIME(live_workers() == 1);
    int64_t id = submit(&(struct wanted){.epochs = 1, .pool = "gold"});
    service_idle(&service, 1500);
    struct arena arena = {0};
    Api__Job *row = service_job(&service, &arena, id);
    coordinator_job_refresh(service.coordinator, &arena, row);
    EXPECT_I64(API__WAITING_REASON__WAITING_REASON_NO_MATCHING_WORKER, row->waiting_reason);
    agent_pool = "gold";
    agent_join(1, 1);
    agent_pool = "default";
    IN_TIME(service_state(&service, id) == SUCCEEDED);
    EXPECT_I64(last_worker(), worker_of(id));
    arena_release(&arena);
    close_all();
}

TEST(a_job_waits_for_a_worker_that_has_its_labels)
{
    open_all();
    agent_join(0, 1);
    IN_TIME(live_workers() == 1);
    int64_t id = submit(&(struct wanted){.epochs = 1, .disk = "ssd"});
    service_idle(&service, 1500);
    EXPECT_I64(API__JOB_STATE__JOB_STATE_QUEUED, service_state(&service, id));
    agent_label = "disk=ssd";
    agent_join(1, 1);
    agent_label = "disk=slow";
    IN_TIME(service_state(&service, id) == SUCCEEDED);
    EXPECT_I64(last_worker(), worker_of(id));
    int64_t slow =
        submit(&(struct wanted){.epochs = 1, .disk = "slow"}); /* known before its label */
    IN_TIME(service_state(&service, slow) == SUCCEEDED);
    EXPECT(worker_of(slow) < last_worker());
    close_all();
}

/* Of two that are free the first is taken, unless the other one has what the job starts from. */
TEST(a_job_goes_where_its_base_is_cached_also_after_that_worker_and_the_coordinator_restarted)
{
    open_all();
    agent_join(0, 1);
    IN_TIME(live_workers() == 1);
    int64_t first_worker = last_worker();
    agent_join(1, 1);
    IN_TIME(live_workers() == 2);
    verb(WORKER_VERB_DRAIN, first_worker);
    int64_t first = submit(&(struct wanted){.epochs = 1});
    IN_TIME(service_state(&service, first) == SUCCEEDED);
    EXPECT_I64(last_worker(), worker_of(first));
    verb(WORKER_VERB_UNDRAIN, first_worker);
    int64_t second = submit(&(struct wanted){.epochs = 1});
    IN_TIME(service_state(&service, second) == SUCCEEDED);
    EXPECT_I64(last_worker(), worker_of(second));
    agent_kill(1);
    service_stop(&service);
    service_start(&service);
    const struct registry *registry = &service.coordinator->cluster.registry;
    IN_TIME(registry->count == 1); /* the first is first here too */
    agent_start(1, NULL, 1);
    IN_TIME(registry->count == 2);
    int64_t third = submit(&(struct wanted){.epochs = 1});
    IN_TIME(service_state(&service, third) == SUCCEEDED);
    EXPECT_I64(last_worker(), worker_of(third));
    close_all();
}

/* ---- reports --------------------------------------------------------------------------------- */

TEST(what_a_killed_worker_had_to_report_is_known_when_both_are_back)
{
    struct error error;
    struct outcome outcome;
    open_all();
    agent_join(0, 1);
    int64_t id = submit(&(struct wanted){.epochs = 1000, .every_steps = 1000000});
    IN_TIME(service_state(&service, id) == RUNNING && step_of(id) > 2);
    service_stop(&service); /* nobody hears … */
    pid_t trainer = trainer_find("runs/");
    REQUIRE(trainer > 0);
    kill(trainer, SIGKILL); /* … why the attempt ended … */
    usleep(1000 * 1000);
    agent_kill(0);
    agent_start(0, NULL, 1); /* … and who knew it is gone too */
    usleep(1000 * 1000);
    service_start(&service);
    IN_TIME(terms_of(id) == 2);
    outcome_open(&outcome, id);
    const Api__Attempt *attempt = outcome.attempts->attempts[1];
    EXPECT_I64(API__FAILURE_CLASS__FAILURE_CLASS_INTERNAL, attempt->failure_class);
    EXPECT_CONTAINS("signal 9", attempt->failure_message);
    IN_TIME(service_state(&service, id) == RUNNING); /* in a life of its own */
    EXPECT_I64(STATUS_OK, service_verb(&service, JOB_VERB_CANCEL, id, 0, &error));
    IN_TIME(service_state(&service, id) == API__JOB_STATE__JOB_STATE_CANCELLED);
    arena_release(&outcome.arena);
    close_all();
}

TEST_MAIN()
