/* SPDX-License-Identifier: Apache-2.0
 *
 * cluster: two workers and a few jobs, message by message.
 */
#include <string.h>

#include "coordinator/cluster.h"
#include "tests/test.h"

struct scene {
    struct cluster cluster;
    int64_t now_ms;
    uint64_t sequence[3]; /* of each worker; 0 is not used */
    uint64_t seen[3];     /* last command that each worker saw */
    bool full[3];         /* its disk */
    struct error error;
};

static struct scene *scene_make(void)
{
    static struct scene scene;
    if (scene.cluster.options.lost_after_ms > 0) {
        cluster_release(&scene.cluster);
    }
    scene = (struct scene){.now_ms = 1000};
    struct cluster_options options = {.lost_after_ms = 10000,
                                      .start_timeout_ms = 60000,
                                      .yield_timeout_ms = 30000,
                                      .cycle_ms = 5000,
                                      .half_life_ms = 3600000,
                                      .backoff = {2000, 60000},
                                      .policy = {60000, 3600000, 60000, true, 0, 1000}};
    cluster_init(&scene.cluster, &options, 1, scene.now_ms);
    struct quota quota = {.queued_jobs_max = 5};
    cluster_add_tenant(&scene.cluster, 1, &quota, scene.now_ms);
    cluster_add_tenant(&scene.cluster, 1, &quota, scene.now_ms);
    cluster_add_queue(&scene.cluster, 0);
    cluster_add_queue(&scene.cluster, 10);
    return &scene;
}

/* Worker 1 or 2 says that it runs one gang (job 0: none). */
static void beat(struct scene *scene, uint64_t worker, uint64_t job, uint64_t term)
{
    struct beat_gang gang = {.job = job, .term = term};
    struct heartbeat beat = {.worker = worker,
                             .offer = {.incarnation = 1, .slots = 2, .pool = 1, .numerics = 1},
                             .command_seen = scene->seen[worker],
                             .full = scene->full[worker],
                             .gangs = &gang,
                             .gang_count = job > 0};
    cluster_heartbeat(&scene->cluster, &beat, scene->now_ms);
}

static enum fence_verdict tell(struct scene *scene, uint64_t worker, enum report_kind kind,
                               uint64_t job, uint64_t term)
{
    struct report report = {.kind = kind,
                            .worker = worker,
                            .job = job,
                            .term = term,
                            .sequence = ++scene->sequence[worker],
                            .failure = FAILURE_INTERNAL,
                            .step = 100,
                            .ends_ms = INT64_MAX};
    return cluster_report(&scene->cluster, &report, scene->now_ms);
}

/* Time passes in turns of a second; both workers see all commands. Returns how many of the kind
 * were sent in the last turn. */
static int turns(struct scene *scene, int seconds, enum command_kind kind)
{
    int count = 0;
    for (int i = 0; i < seconds; i++) {
        scene->now_ms += 1000;
        cluster_tick(&scene->cluster, scene->now_ms);
        count = 0;
        for (size_t c = 0; c < scene->cluster.command_count; c++) {
            const struct command *command = &scene->cluster.commands[c];
            scene->seen[scene->cluster.registry.workers[command->worker].id] = command->number;
            count += command->kind == kind;
        }
        cluster_drained(&scene->cluster);
    }
    return count;
}

static uint64_t submit(struct scene *scene, int32_t ranks)
{
    struct ask ask = {.pool = 1, .ranks = ranks, .min_ranks = ranks, .preemptible = true};
    uint64_t id = 0;
    EXPECT_I64(STATUS_OK,
               cluster_submit(&scene->cluster, &ask, 3, scene->now_ms, &id, &scene->error));
    return id;
}

static const char *state(struct scene *scene, uint64_t id)
{
    return job_state_name(cluster_job(&scene->cluster, id)->run.state);
}

/* A job of three ranks that runs on both workers. */
static struct scene *running(uint64_t *id_out)
{
    struct scene *scene = scene_make();
    beat(scene, 1, 0, 0);
    beat(scene, 2, 0, 0);
    *id_out = submit(scene, 3);
    EXPECT_I64(2, turns(scene, 1, COMMAND_BEGIN));
    EXPECT_I64(FENCE_ACCEPT, tell(scene, 1, REPORT_STARTED, *id_out, 1));
    EXPECT_STR("starting", state(scene, *id_out));
    EXPECT_I64(FENCE_ACCEPT, tell(scene, 2, REPORT_STARTED, *id_out, 1));
    EXPECT_STR("running", state(scene, *id_out));
    return scene;
}

TEST(a_job_runs_from_submit_to_success)
{
    uint64_t id;
    struct scene *scene = running(&id);
    EXPECT_I64(FENCE_ACCEPT, tell(scene, 1, REPORT_CHECKPOINT, id, 1));
    EXPECT_I64(100, cluster_job(&scene->cluster, id)->run.progress);
    EXPECT_I64(FENCE_ACCEPT, tell(scene, 1, REPORT_FINISHED, id, 1));
    EXPECT_STR("succeeded", state(scene, id));
    EXPECT_I64(0, scene->cluster.tenants[0].slots);
    EXPECT_I64(3,
               scene->cluster.registry.workers[0].held + scene->cluster.registry.workers[1].held);
    tell(scene, 1, REPORT_GONE, id, 1);
    tell(scene, 2, REPORT_GONE, id, 1);
    EXPECT_I64(0,
               scene->cluster.registry.workers[0].held + scene->cluster.registry.workers[1].held);
}

TEST(a_dead_rank_ends_the_gang_and_the_next_term_waits_for_the_slots)
{
    uint64_t id;
    struct scene *scene = running(&id);
    EXPECT_I64(FENCE_ACCEPT, tell(scene, 2, REPORT_FAILED, id, 1));
    EXPECT_STR("recovering", state(scene, id));
    EXPECT_I64(2, turns(scene, 1, COMMAND_STOP));
    EXPECT_I64(0, turns(scene, 3, COMMAND_BEGIN)); /* back-off is over, slots are held */
    EXPECT_STR("resources", waiting_name(cluster_job(&scene->cluster, id)->wait.reason));
    tell(scene, 1, REPORT_GONE, id, 1);
    EXPECT_I64(FENCE_DUPLICATE, tell(scene, 2, REPORT_GONE, id, 1)); /* stale, and acknowledged */
    EXPECT_I64(2, turns(scene, 1, COMMAND_BEGIN));
    EXPECT_I64(2, (int64_t)cluster_job(&scene->cluster, id)->run.term);
}

TEST(a_zombie_changes_nothing_and_is_counted)
{
    uint64_t id;
    struct scene *scene = running(&id);
    for (int i = 0; i < 4; i++) { /* worker 2 is silent */
        turns(scene, 3, COMMAND_STOP);
        beat(scene, 1, id, 1);
    }
    EXPECT_STR("recovering", state(scene, id));
    EXPECT_I64(FENCE_STALE, tell(scene, 2, REPORT_CHECKPOINT, id, 1));
    EXPECT_I64(FENCE_STALE, tell(scene, 2, REPORT_FINISHED, id, 1));
    EXPECT_STR("recovering", state(scene, id));
    EXPECT_I64(0, cluster_job(&scene->cluster, id)->run.progress);
    EXPECT_I64(2, (int64_t)scene->cluster.fenced);
    cluster_drained(&scene->cluster);
    beat(scene, 2, id, 1);
    EXPECT_I64(1, (int64_t)scene->cluster.command_count);
    EXPECT_I64(COMMAND_STOP, scene->cluster.commands[0].kind);
}

TEST(a_repeated_report_is_acknowledged_and_has_no_effect)
{
    uint64_t id;
    struct scene *scene = running(&id);
    scene->sequence[1]--;
    EXPECT_I64(FENCE_DUPLICATE, tell(scene, 1, REPORT_FAILED, id, 1));
    EXPECT_STR("running", state(scene, id));
    scene->sequence[1]++;
    EXPECT_I64(FENCE_GAP, tell(scene, 1, REPORT_FAILED, id, 1));
    EXPECT_I64(FENCE_UNKNOWN, tell(scene, 1, REPORT_FAILED, id + 9, 1));
    EXPECT_I64(FENCE_UNKNOWN, tell(scene, 1, REPORT_FAILED, id, 2));
    EXPECT_STR("running", state(scene, id));
}

TEST(a_lost_command_is_given_again)
{
    struct scene *scene = scene_make();
    beat(scene, 1, 0, 0);
    uint64_t id = submit(scene, 2);
    EXPECT_I64(1, turns(scene, 1, COMMAND_BEGIN));
    uint64_t seen = scene->seen[1];
    scene->seen[1] = seen - 1; /* still on its way */
    beat(scene, 1, 0, 0);
    EXPECT_I64(0, (int64_t)scene->cluster.command_count);
    scene->seen[1] = seen; /* a worker that saw it would list the gang */
    beat(scene, 1, 0, 0);
    EXPECT_I64(1, (int64_t)scene->cluster.command_count);
    EXPECT_I64(COMMAND_BEGIN, scene->cluster.commands[0].kind);
    EXPECT_STR("starting", state(scene, id));
}

TEST(a_start_that_takes_too_long_is_given_up)
{
    struct scene *scene = scene_make();
    beat(scene, 1, 0, 0);
    uint64_t id = submit(scene, 2);
    turns(scene, 1, COMMAND_BEGIN);
    for (int i = 0; i < 31; i++) {
        turns(scene, 2, COMMAND_STOP);
        beat(scene, 1, id, 1);
    }
    EXPECT_STR("recovering", state(scene, id));
    EXPECT_I64(FAILURE_COMMUNICATION, cluster_job(&scene->cluster, id)->run.failure);
}

TEST(members_that_end_before_the_lead_reports_do_not_fail_the_job)
{
    uint64_t id;
    struct scene *scene = running(&id);
    EXPECT_I64(FENCE_ACCEPT, tell(scene, 2, REPORT_GONE, id, 1));
    EXPECT_STR("running", state(scene, id));
    EXPECT_I64(FENCE_ACCEPT, tell(scene, 1, REPORT_FINISHED, id, 1));
    EXPECT_STR("succeeded", state(scene, id));
    scene = running(&id);
    tell(scene, 2, REPORT_GONE, id, 1);
    tell(scene, 1, REPORT_GONE, id, 1); /* all gone, and nobody said how it ended */
    EXPECT_STR("recovering", state(scene, id));
    scene = running(&id);
    tell(scene, 2, REPORT_GONE, id, 1);
    for (int i = 0; i < 16; i++) { /* the lead says nothing more */
        turns(scene, 2, COMMAND_STOP);
        beat(scene, 1, id, 1);
        beat(scene, 2, 0, 0);
    }
    EXPECT_STR("recovering", state(scene, id));
}

TEST(people_pause_resume_and_cancel)
{
    uint64_t id;
    struct scene *scene = running(&id);
    EXPECT_I64(STATUS_OK, cluster_pause(&scene->cluster, id, scene->now_ms, &scene->error));
    EXPECT_STR("pausing", state(scene, id));
    EXPECT_I64(COMMAND_YIELD, scene->cluster.commands[0].kind);
    tell(scene, 1, REPORT_GONE, id, 1);
    EXPECT_STR("pausing", state(scene, id));
    tell(scene, 2, REPORT_GONE, id, 1);
    EXPECT_STR("paused", state(scene, id));
    EXPECT_I64(0, turns(scene, 6, COMMAND_BEGIN));
    EXPECT_I64(STATUS_OK, cluster_resume(&scene->cluster, id, scene->now_ms, &scene->error));
    beat(scene, 1, 0, 0);
    beat(scene, 2, 0, 0);
    EXPECT_I64(2, turns(scene, 1, COMMAND_BEGIN));
    EXPECT_I64(STATUS_OK, cluster_cancel(&scene->cluster, id, scene->now_ms, &scene->error));
    EXPECT_STR("cancelling", state(scene, id));
    scene->sequence[1] = scene->sequence[2] = 0;
    tell(scene, 1, REPORT_GONE, id, 2);
    tell(scene, 2, REPORT_GONE, id, 2);
    EXPECT_STR("cancelled", state(scene, id));
    EXPECT_I64(STATUS_CONFLICT, cluster_cancel(&scene->cluster, id, scene->now_ms, &scene->error));
    EXPECT_I64(STATUS_NOT_FOUND,
               cluster_cancel(&scene->cluster, id + 1, scene->now_ms, &scene->error));
}

static const char *reason(struct scene *scene, uint64_t id)
{
    return waiting_name(cluster_job(&scene->cluster, id)->wait.reason);
}

TEST(what_runs_when_the_store_is_full_is_halted_and_goes_on_when_there_is_room)
{
    uint64_t id;
    struct scene *scene = running(&id);
    cluster_store_full(&scene->cluster, true);
    EXPECT_I64(2, turns(scene, 1, COMMAND_YIELD));
    EXPECT_STR("pausing", state(scene, id));
    EXPECT_STR("storage", reason(scene, id));
    for (int i = 0; i < 40; i++) { /* longer than the time to yield: a model may wait for room */
        beat(scene, 1, id, 1);
        beat(scene, 2, id, 1);
        turns(scene, 1, COMMAND_YIELD);
    }
    EXPECT_STR("pausing", state(scene, id));
    tell(scene, 1, REPORT_GONE, id, 1);
    tell(scene, 2, REPORT_GONE, id, 1);
    EXPECT_STR("paused", state(scene, id));
    EXPECT_STR("storage", reason(scene, id));
    EXPECT_I64(0, turns(scene, 3, COMMAND_BEGIN));
    EXPECT_STR("paused", state(scene, id));
    cluster_store_full(&scene->cluster, false);
    EXPECT_I64(2, turns(scene, 1, COMMAND_BEGIN));
    EXPECT_I64(0, cluster_job(&scene->cluster, id)->run.fruitless);
}

TEST(records_that_cannot_be_written_stop_no_job_that_runs)
{
    uint64_t id;
    struct scene *scene = running(&id);
    cluster_stuck(&scene->cluster, true);
    EXPECT_I64(0, turns(scene, 2, COMMAND_YIELD));
    EXPECT_STR("running", state(scene, id));
    uint64_t other = submit(scene, 1);
    EXPECT_I64(0, turns(scene, 2, COMMAND_BEGIN));
    EXPECT_STR("storage", reason(scene, other));
}

TEST(a_job_that_found_no_space_on_a_worker_waits_for_one_that_has_some)
{
    uint64_t id;
    struct scene *scene = running(&id);
    struct report report = {.kind = REPORT_FAILED,
                            .worker = 2,
                            .job = id,
                            .term = 1,
                            .sequence = ++scene->sequence[2],
                            .failure = FAILURE_STORAGE,
                            .full = true,
                            .ends_ms = INT64_MAX};
    EXPECT_I64(FENCE_ACCEPT, cluster_report(&scene->cluster, &report, scene->now_ms));
    EXPECT_STR("paused", state(scene, id));
    EXPECT_STR("storage", reason(scene, id));
    EXPECT_I64(0, cluster_job(&scene->cluster, id)->run.fruitless);
    tell(scene, 1, REPORT_GONE, id, 1);
    tell(scene, 2, REPORT_GONE, id, 1);
    scene->full[1] = scene->full[2] = true;
    for (int i = 0; i < 5; i++) {
        beat(scene, 1, 0, 0);
        beat(scene, 2, 0, 0);
        EXPECT_I64(0, turns(scene, 1, COMMAND_BEGIN));
    }
    EXPECT_STR("paused", state(scene, id));
    scene->full[2] = false;
    beat(scene, 2, 0, 0);
    EXPECT_I64(0, turns(scene, 1, COMMAND_BEGIN));
    EXPECT_STR("queued", state(scene, id)); /* one of two has space, and the job needs both */
    EXPECT_STR("storage", reason(scene, id));
    scene->full[1] = false;
    beat(scene, 1, 0, 0);
    EXPECT_I64(2, turns(scene, 1, COMMAND_BEGIN));
}

TEST(a_job_whose_predecessor_failed_is_cancelled)
{
    struct scene *scene = scene_make();
    uint64_t first = submit(scene, 1), second;
    struct dependency after = {first, JOB_STATE_QUEUED};
    struct ask ask = {.pool = 1, .ranks = 1, .min_ranks = 1, .after = &after, .after_count = 1};
    cluster_submit(&scene->cluster, &ask, 3, scene->now_ms, &second, &scene->error);
    turns(scene, 1, COMMAND_BEGIN);
    EXPECT_STR("dependency", waiting_name(cluster_job(&scene->cluster, second)->wait.reason));
    cluster_cancel(&scene->cluster, first, scene->now_ms, &scene->error);
    turns(scene, 1, COMMAND_BEGIN);
    EXPECT_STR("cancelled", state(scene, second));
}

TEST(a_quota_of_queued_jobs_refuses_with_a_sentence)
{
    struct scene *scene = scene_make();
    for (int i = 0; i < 5; i++) {
        submit(scene, 1);
    }
    struct ask ask = {.pool = 1, .ranks = 1, .min_ranks = 1};
    uint64_t id = 0;
    EXPECT_I64(STATUS_LIMIT,
               cluster_submit(&scene->cluster, &ask, 3, scene->now_ms, &id, &scene->error));
    EXPECT_CONTAINS("its quota is 5", scene->error.text);
    EXPECT_I64(0, (int64_t)id);
}

TEST(a_job_that_reaches_its_wall_time_fails)
{
    struct scene *scene = scene_make();
    beat(scene, 1, 0, 0);
    struct ask ask = {.pool = 1, .ranks = 1, .min_ranks = 1, .duration_max_ms = 5000};
    uint64_t id;
    cluster_submit(&scene->cluster, &ask, 3, scene->now_ms, &id, &scene->error);
    turns(scene, 1, COMMAND_BEGIN);
    tell(scene, 1, REPORT_STARTED, id, 1);
    turns(scene, 5, COMMAND_STOP);
    EXPECT_STR("running", state(scene, id));
    EXPECT_I64(1, turns(scene, 1, COMMAND_STOP));
    EXPECT_STR("failed", state(scene, id));
    EXPECT_I64(FAILURE_TIMEOUT, cluster_job(&scene->cluster, id)->run.failure);
}

TEST(a_forgotten_worker_ends_what_ran_there)
{
    uint64_t id;
    struct scene *scene = running(&id);
    cluster_forget(&scene->cluster, 1, scene->now_ms);
    EXPECT_STR("recovering", state(scene, id));
    EXPECT_I64(0, scene->cluster.registry.workers[1].held);
}

TEST(a_restored_worker_gets_nothing_new_until_it_speaks)
{
    struct scene *scene = scene_make();
    struct worker_offer offer = {.incarnation = 1, .slots = 2, .pool = 1, .numerics = 1};
    struct hold hold = {.job = 50, .term = 2, .slots = 1, .taken = 3};
    uint32_t worker = cluster_restore_worker(&scene->cluster, 1, &offer, false, scene->now_ms);
    cluster_restore_hold(&scene->cluster, worker, &hold);
    submit(scene, 1);
    EXPECT_I64(0, turns(scene, 1, COMMAND_BEGIN));
    beat(scene, 1, 50, 2); /* it still runs what is held, which is nobody's any more */
    EXPECT_I64(COMMAND_STOP, scene->cluster.commands[0].kind);
    EXPECT_I64(1, turns(scene, 1, COMMAND_BEGIN));
    EXPECT_I64(2, scene->cluster.registry.workers[worker].held);
}

TEST(a_batch_runs_no_more_jobs_at_once_than_it_may_and_the_next_follows)
{
    struct scene *scene = scene_make();
    uint64_t ids[3];
    uint32_t batch = cluster_batch(&scene->cluster, 7);
    EXPECT_I64(1, batch);
    EXPECT_I64(batch, cluster_batch(&scene->cluster, 7));
    EXPECT_I64(0, cluster_batch(&scene->cluster, 0));
    cluster_bound_batch(&scene->cluster, batch, 2);
    beat(scene, 1, 0, 0);
    beat(scene, 2, 0, 0);
    for (int i = 0; i < 3; i++) {
        struct ask ask = {.pool = 1, .ranks = 1, .min_ranks = 1, .batch = batch};
        EXPECT_I64(STATUS_OK,
                   cluster_submit(&scene->cluster, &ask, 3, scene->now_ms, &ids[i], &scene->error));
    }
    EXPECT_I64(2, turns(scene, 1, COMMAND_BEGIN)); /* of four slots */
    for (int i = 0; i < 6; i++) /* those that run count against it in the cycles that follow */
        EXPECT_I64(0, turns(scene, 1, COMMAND_BEGIN));
    EXPECT_I64(WAITING_BATCH_LIMIT, cluster_job(&scene->cluster, ids[2])->wait.reason);
    EXPECT_I64(3, scene->cluster.batches[batch].unfinished);
    EXPECT_I64(STATUS_OK, cluster_cancel(&scene->cluster, ids[2], scene->now_ms, &scene->error));
    EXPECT_I64(2, scene->cluster.batches[batch].unfinished);
    struct ask ask = {.pool = 1, .ranks = 1, .min_ranks = 1, .batch = batch};
    EXPECT_I64(STATUS_OK,
               cluster_submit(&scene->cluster, &ask, 3, scene->now_ms, &ids[2], &scene->error));
    cluster_bound_batch(&scene->cluster, batch, 3);
    EXPECT_I64(1, turns(scene, 1, COMMAND_BEGIN));
}

/* ---- shards ---------------------------------------------------------------------------------- */

/* A whole of two shards, which run: jobs 1, and 2 and 3. */
static struct scene *sharded(void)
{
    struct ask ask = {.pool = 1, .ranks = 1, .min_ranks = 1, .preemptible = true};
    struct scene *scene = scene_make();
    beat(scene, 1, 0, 0);
    beat(scene, 2, 0, 0);
    cluster_add_whole(&scene->cluster, 1, &ask, 2, 3, scene->now_ms);
    EXPECT_I64(2, turns(scene, 1, COMMAND_BEGIN));
    return scene;
}

/* The `sequence`-th report of the job's newest attempt, from where it runs. */
static enum fence_verdict say(struct scene *scene, uint64_t id, enum report_kind kind,
                              uint64_t sequence, enum failure failure)
{
    const struct cluster_job *job = cluster_job(&scene->cluster, id);
    struct report report = {.kind = kind,
                            .worker = scene->cluster.registry.workers[job->members[0].worker].id,
                            .job = id,
                            .term = job->run.term,
                            .sequence = sequence,
                            .failure = failure,
                            .ends_ms = INT64_MAX};
    return cluster_report(&scene->cluster, &report, scene->now_ms);
}

static void finish(struct scene *scene, uint64_t id)
{
    EXPECT_I64(FENCE_ACCEPT, say(scene, id, REPORT_STARTED, 1, FAILURE_NONE));
    EXPECT_I64(FENCE_ACCEPT, say(scene, id, REPORT_FINISHED, 2, FAILURE_NONE));
}

TEST(a_whole_begins_when_its_shards_are_done_and_a_lost_one_is_done_again_alone)
{
    struct scene *scene = sharded();
    finish(scene, 2);
    EXPECT_I64(FENCE_ACCEPT, say(scene, 3, REPORT_FAILED, 1, FAILURE_WORKER_LOST));
    EXPECT_STR("queued", state(scene, 1));
    turns(scene, 4, COMMAND_BEGIN); /* its back-off is two seconds */
    EXPECT_I64(2, (int64_t)cluster_job(&scene->cluster, 3)->run.term);
    EXPECT_I64(1, (int64_t)cluster_job(&scene->cluster, 2)->run.term);
    EXPECT_STR("dependency", waiting_name(cluster_job(&scene->cluster, 1)->wait.reason));
    finish(scene, 3);
    EXPECT_I64(1, turns(scene, 1, COMMAND_BEGIN));
    EXPECT_STR("starting", state(scene, 1));
    finish(scene, 1);
    EXPECT_STR("succeeded", state(scene, 1));
}

TEST(a_shard_that_fails_takes_its_whole_and_the_other_shards_along)
{
    struct scene *scene = sharded();
    EXPECT_I64(FENCE_ACCEPT, say(scene, 3, REPORT_FAILED, 1, FAILURE_USER_DATA));
    EXPECT_STR("failed", state(scene, 3));
    EXPECT_I64(2, turns(scene, 1, COMMAND_STOP)); /* the other one, and what is left of this */
    EXPECT_STR("failed", state(scene, 1));
    EXPECT_I64(FAILURE_USER_DATA, cluster_job(&scene->cluster, 1)->run.failure);
    EXPECT_STR("cancelling", state(scene, 2));
}

TEST(shards_pause_resume_and_end_with_their_whole_and_not_alone)
{
    struct scene *scene = sharded();
    struct cluster *cluster = &scene->cluster;
    EXPECT_I64(STATUS_CONFLICT, cluster_cancel(cluster, 2, scene->now_ms, &scene->error));
    EXPECT_STR("job 2 is a shard of job 1: say it of that", scene->error.text);
    EXPECT_I64(STATUS_OK, cluster_pause(cluster, 1, scene->now_ms, &scene->error));
    EXPECT_I64(2, turns(scene, 1, COMMAND_YIELD));
    EXPECT_STR("pausing", state(scene, 2));
    EXPECT_I64(FENCE_ACCEPT, say(scene, 2, REPORT_GONE, 1, FAILURE_NONE));
    EXPECT_STR("paused", state(scene, 2));
    EXPECT_I64(0, turns(scene, 3, COMMAND_BEGIN));
    EXPECT_I64(STATUS_OK, cluster_resume(cluster, 1, scene->now_ms, &scene->error));
    cluster_job(cluster, 1)->ask.priority = 7;
    EXPECT_I64(1, turns(scene, 1, COMMAND_BEGIN)); /* the other still writes its checkpoint */
    EXPECT_I64(7, cluster_job(cluster, 3)->ask.priority);
    EXPECT_I64(STATUS_OK, cluster_cancel(cluster, 1, scene->now_ms, &scene->error));
    EXPECT_I64(2, turns(scene, 1, COMMAND_STOP));
    EXPECT_STR("cancelled", state(scene, 1));
    EXPECT_STR("cancelling", state(scene, 3));
}

TEST(shards_are_not_counted_against_the_quota_of_queued_jobs)
{
    struct scene *scene = scene_make();
    struct ask ask = {.pool = 1, .ranks = 1, .min_ranks = 1};
    for (uint64_t id = 1; id <= 41; id += 10) {
        EXPECT_I64(STATUS_OK, cluster_admit(&scene->cluster, &ask, 0, &scene->error));
        cluster_add_whole(&scene->cluster, id, &ask, 9, 3, scene->now_ms);
    }
    EXPECT_I64(STATUS_LIMIT, cluster_admit(&scene->cluster, &ask, 0, &scene->error));
}

/* ---- jobs without an end --------------------------------------------------------------------- */

/* A serve job that runs on worker 1. */
static struct scene *serving(void)
{
    struct scene *scene = scene_make();
    struct ask ask = {.pool = 1, .ranks = 1, .min_ranks = 1, .serves = true};
    uint64_t id = 0;
    beat(scene, 1, 0, 0);
    EXPECT_I64(STATUS_OK,
               cluster_submit(&scene->cluster, &ask, 3, scene->now_ms, &id, &scene->error));
    EXPECT_I64(1, turns(scene, 1, COMMAND_BEGIN));
    EXPECT_I64(FENCE_ACCEPT, tell(scene, 1, REPORT_STARTED, 1, 1));
    EXPECT_STR("running", state(scene, 1));
    return scene;
}

TEST(a_job_without_an_end_leaves_a_worker_that_drains)
{
    struct scene *scene = serving();
    cluster_drain(&scene->cluster, 0, true);
    EXPECT_I64(1, turns(scene, 1, COMMAND_YIELD));
    EXPECT_STR("pausing", state(scene, 1));
    EXPECT_I64(FENCE_ACCEPT, tell(scene, 1, REPORT_GONE, 1, 1));
    EXPECT_STR("queued", state(scene, 1));
    beat(scene, 2, 0, 0);
    EXPECT_I64(1, turns(scene, 1, COMMAND_BEGIN)); /* elsewhere */
    EXPECT_I64(2, (int64_t)cluster_job(&scene->cluster, 1)->run.term);
}

TEST(a_job_that_served_for_a_minute_does_not_use_up_its_attempts)
{
    struct scene *scene = serving();
    for (uint64_t term = 1; term <= 5; term++) {
        for (int i = 0; i < 13; i++) {
            turns(scene, 5, COMMAND_BEGIN);
            beat(scene, 1, 1, term);
        }
        EXPECT_I64(FENCE_ACCEPT, tell(scene, 1, REPORT_FAILED, 1, term));
        EXPECT_STR("recovering", state(scene, 1));
        beat(scene, 1, 0, 0);
        turns(scene, 4, COMMAND_BEGIN);
        scene->sequence[1] = 0;
        EXPECT_I64(FENCE_ACCEPT, tell(scene, 1, REPORT_STARTED, 1, term + 1));
        EXPECT_STR("running", state(scene, 1));
    }
    /* At once after its start, twice more: with the last of the good ones that is three. */
    EXPECT_I64(FENCE_ACCEPT, tell(scene, 1, REPORT_FAILED, 1, 6));
    EXPECT_STR("recovering", state(scene, 1));
    beat(scene, 1, 0, 0);
    turns(scene, 8, COMMAND_BEGIN);
    scene->sequence[1] = 0;
    EXPECT_I64(FENCE_ACCEPT, tell(scene, 1, REPORT_STARTED, 1, 7));
    EXPECT_I64(FENCE_ACCEPT, tell(scene, 1, REPORT_FAILED, 1, 7));
    EXPECT_STR("failed", state(scene, 1));
}

TEST_MAIN()
