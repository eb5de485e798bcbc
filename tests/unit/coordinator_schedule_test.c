/* SPDX-License-Identifier: Apache-2.0
 *
 * schedule: small clusters on which one can say by hand what must come out.
 */
#include <stdio.h>
#include <string.h>

#include "coordinator/schedule.h"
#include "tests/test.h"

enum { JOBS = 12, WORKERS = 6, TENANTS = 4, QUEUES = 2 };

struct scene {
    struct arena arena;
    struct snapshot snapshot;
    struct snapshot_job jobs[JOBS];
    struct ask asks[JOBS];
    struct snapshot_worker workers[WORKERS];
    struct snapshot_tenant tenants[TENANTS];
    struct snapshot_queue queues[QUEUES];
    struct decisions decisions;
};

static struct scene *scene_make(uint32_t workers, int32_t slots)
{
    static struct scene scene;
    arena_release(&scene.arena);
    scene = (struct scene){0};
    scene.snapshot = (struct snapshot){.now_ms = 1000000,
                                       .policy = {.charge_ms = 60000,
                                                  .ageing_ms = 3600000,
                                                  .job_ageing_ms = 3600000,
                                                  .preempt_min_run_ms = 1000},
                                       .jobs = scene.jobs,
                                       .workers = scene.workers,
                                       .tenants = scene.tenants,
                                       .queues = scene.queues,
                                       .worker_count = workers,
                                       .tenant_count = TENANTS,
                                       .queue_count = QUEUES,
                                       .warm_count = 8};
    scene.queues[1].priority = 10;
    for (uint32_t i = 0; i < TENANTS; i++) {
        scene.tenants[i] =
            (struct snapshot_tenant){.weight = 1, .slots_left = INT32_MAX, .last_start_ms = 999000};
    }
    for (uint32_t i = 0; i < workers; i++) {
        scene.workers[i] = (struct snapshot_worker){
            .id = 100 + i, .pool = 1, .numerics = 1, .slots = slots, .free = slots};
    }
    return &scene;
}

/* A queued job of a tenant; its number is its index. */
static struct ask *job_add(struct scene *scene, uint32_t tenant, int32_t ranks, int32_t min_ranks)
{
    uint32_t i = scene->snapshot.job_count++;
    scene->asks[i] = (struct ask){.tenant = tenant,
                                  .pool = 1,
                                  .ranks = ranks,
                                  .min_ranks = min_ranks,
                                  .preemptible = true,
                                  .submitted_ms = 990000 + i};
    scene->jobs[i] = (struct snapshot_job){
        .id = 1 + i, .state = JOB_STATE_QUEUED, .ask = &scene->asks[i], .ends_ms = INT64_MAX};
    return &scene->asks[i];
}

static struct snapshot_job *runs_on(struct scene *scene, uint32_t tenant, uint32_t worker,
                                    int32_t ranks)
{
    job_add(scene, tenant, ranks, ranks);
    struct snapshot_job *job = &scene->jobs[scene->snapshot.job_count - 1];
    job->state = JOB_STATE_RUNNING;
    job->held = ranks;
    job->worker = worker;
    job->started_ms = 995000;
    scene->workers[worker].free -= ranks;
    return job;
}

static const struct decision *decided(struct scene *scene, uint32_t job)
{
    static const struct decision none = {.kind = DECISION_WAIT};
    for (uint32_t i = 0; i < scene->decisions.count; i++) {
        if (scene->decisions.items[i].job == job) {
            return &scene->decisions.items[i];
        }
    }
    return &none;
}

/* "start 0:2 1:1", "wait resources", "yield", "orphan": what became of a job. */
static const char *fate(struct scene *scene, uint32_t job)
{
    static char text[256];
    const struct decision *decision = decided(scene, job);
    if (decision->kind == DECISION_START) {
        int length = snprintf(text, sizeof(text), "start");
        for (int32_t i = 0; i < decision->placement_count; i++) {
            length += snprintf(text + length, sizeof(text) - (size_t)length, " %u:%d",
                               decision->placements[i].worker, decision->placements[i].ranks);
        }
    } else if (decision->kind == DECISION_WAIT) {
        snprintf(text, sizeof(text), "wait %s", waiting_name(decision->wait.reason));
    } else {
        snprintf(text, sizeof(text), decision->kind == DECISION_YIELD ? "yield" : "orphan");
    }
    return text;
}

static void run(struct scene *scene)
{
    schedule(&scene->snapshot, &scene->arena, &scene->decisions);
}

TEST(a_gang_is_placed_whole_or_not_at_all)
{
    struct scene *scene = scene_make(2, 2);
    job_add(scene, 0, 5, 5);
    job_add(scene, 1, 4, 4);
    scene->workers[1].free = 1;
    run(scene);
    EXPECT_STR("wait no_matching_worker", fate(scene, 0)); /* four slots are all there are */
    EXPECT_I64(5, decided(scene, 0)->wait.need);
    EXPECT_I64(4, decided(scene, 0)->wait.have);
    EXPECT_STR("wait resources", fate(scene, 1));
    EXPECT_I64(3, decided(scene, 1)->wait.have);
    EXPECT_I64(0, scene->decisions.starts);
}

TEST(a_gang_with_min_ranks_starts_on_what_is_free)
{
    struct scene *scene = scene_make(2, 2);
    job_add(scene, 0, 8, 3);
    scene->workers[1].free = 1;
    run(scene);
    EXPECT_STR("start 0:2 1:1", fate(scene, 0));
}

TEST(a_gang_that_fits_one_worker_is_not_spread)
{
    struct scene *scene = scene_make(3, 4);
    scene->workers[0].free = 1;
    scene->workers[1].free = 3;
    job_add(scene, 0, 2, 2);
    run(scene);
    EXPECT_STR("start 1:2", fate(scene, 0)); /* tight before loose */
}

TEST(a_gang_stays_within_one_pool_and_one_numerics)
{
    struct scene *scene = scene_make(3, 2);
    scene->workers[1].numerics = 2;
    scene->workers[2].pool = 2;
    job_add(scene, 0, 3, 3);
    run(scene);
    EXPECT_STR("wait no_matching_worker", fate(scene, 0));
}

TEST(labels_pick_the_workers_that_have_them)
{
    struct scene *scene = scene_make(3, 2);
    scene->workers[1].labels = 6;
    job_add(scene, 0, 1, 1)->labels = 2;
    job_add(scene, 0, 1, 1)->labels = 1;
    run(scene);
    EXPECT_STR("start 1:1", fate(scene, 0));
    EXPECT_STR("wait no_matching_worker", fate(scene, 1));
}

TEST(workers_that_hold_the_base_are_preferred)
{
    static const uint32_t warm[] = {5, 3};
    struct scene *scene = scene_make(3, 2);
    scene->workers[2].warm = warm;
    scene->workers[2].warm_count = 2;
    job_add(scene, 0, 1, 1)->warm = 3;
    job_add(scene, 0, 1, 1)->warm = 4;
    run(scene);
    EXPECT_STR("start 2:1", fate(scene, 0));
    EXPECT_STR("start 2:1", fate(scene, 1)); /* no worker has it: the tightest */
}

TEST(a_job_goes_elsewhere_than_where_it_failed_if_it_can)
{
    struct scene *scene = scene_make(2, 1);
    job_add(scene, 0, 1, 1);
    scene->jobs[0].avoid = 100;
    run(scene);
    EXPECT_STR("start 1:1", fate(scene, 0));
    scene->snapshot.worker_count = 1;
    run(scene);
    EXPECT_STR("start 0:1", fate(scene, 0));
}

TEST(a_recovering_job_keeps_its_numerics_and_says_if_it_cannot)
{
    struct scene *scene = scene_make(2, 1);
    scene->workers[1].numerics = 2;
    job_add(scene, 0, 1, 1);
    scene->jobs[0].state = JOB_STATE_RECOVERING;
    scene->jobs[0].numerics = 2;
    run(scene);
    EXPECT_STR("start 1:1", fate(scene, 0));
    EXPECT(!decided(scene, 0)->numerics_changed);
    scene->workers[1].free = 0; /* busy: it waits rather than change */
    run(scene);
    EXPECT_STR("wait resources", fate(scene, 0));
    scene->workers[1].slots = 0; /* gone: it changes, unless it must not */
    run(scene);
    EXPECT_STR("start 0:1", fate(scene, 0));
    EXPECT(decided(scene, 0)->numerics_changed);
    scene->asks[0].numerics_strict = true;
    run(scene);
    EXPECT_STR("wait no_matching_worker", fate(scene, 0));
}

TEST(the_order_is_queue_then_share_then_priority_then_time)
{
    struct scene *scene = scene_make(1, 1);
    scene->tenants[0].usage = 500000; /* a start is charged 60000 ahead */
    scene->tenants[1].usage = 100000;
    job_add(scene, 0, 1, 1);               /* 0: earliest */
    job_add(scene, 1, 1, 1);               /* 1: less usage */
    job_add(scene, 1, 1, 1)->priority = 5; /* 2: and higher priority */
    job_add(scene, 0, 1, 1)->queue = 1;    /* 3: urgent */
    run(scene);
    EXPECT_STR("start 0:1", fate(scene, 3));
    scene->jobs[3].state = JOB_STATE_PAUSED;
    run(scene);
    EXPECT_STR("start 0:1", fate(scene, 2));
    EXPECT_STR("wait resources", fate(scene, 1)); /* next in turn */
    EXPECT_STR("wait fair_share", fate(scene, 0));
    EXPECT_I64(2, (int64_t)decided(scene, 0)->wait.job);
    scene->jobs[2].state = JOB_STATE_PAUSED;
    run(scene);
    EXPECT_STR("start 0:1", fate(scene, 1));
    scene->jobs[1].state = JOB_STATE_PAUSED;
    run(scene);
    EXPECT_STR("start 0:1", fate(scene, 0));
}

TEST(slots_of_one_cycle_are_shared_out_by_weight)
{
    struct scene *scene = scene_make(3, 2);
    scene->tenants[1].weight = 2;
    for (int i = 0; i < 6; i++) {
        job_add(scene, 0, 1, 1);
    }
    for (int i = 0; i < 6; i++) {
        job_add(scene, 1, 1, 1);
    }
    run(scene);
    int32_t starts[2] = {0};
    for (uint32_t i = 0; i < 12; i++) {
        starts[scene->asks[i].tenant] += decided(scene, i)->kind == DECISION_START;
    }
    EXPECT_I64(2, starts[0]);
    EXPECT_I64(4, starts[1]);
}

TEST(a_tenant_that_starts_nothing_rises_above_a_better_queue)
{
    struct scene *scene = scene_make(1, 1);
    job_add(scene, 0, 1, 1)->queue = 1;
    job_add(scene, 1, 1, 1)->submitted_ms = 0;
    scene->tenants[1].last_start_ms = 0;
    scene->snapshot.policy.ageing_ms = 100000; /* ten levels in 1000 s: not above 10 */
    run(scene);
    EXPECT_STR("start 0:1", fate(scene, 0));
    EXPECT_STR("wait resources", fate(scene, 1));
    scene->snapshot.policy.ageing_ms = 90000;
    run(scene);
    EXPECT_STR("start 0:1", fate(scene, 1));
}

TEST(quotas_bound_starts_and_gangs)
{
    struct scene *scene = scene_make(2, 4);
    scene->tenants[0].slots_left = 3;
    job_add(scene, 0, 4, 1);
    job_add(scene, 0, 1, 1);
    run(scene);
    EXPECT_STR("start 0:3", fate(scene, 0));
    EXPECT_STR("wait tenant_quota", fate(scene, 1));
}

TEST(what_keeps_a_job_out_has_a_name)
{
    struct scene *scene = scene_make(1, 4);
    struct dependency pending = {1, JOB_STATE_RUNNING}, done = {1, JOB_STATE_SUCCEEDED};
    struct dependency broken = {1, JOB_STATE_FAILED};
    job_add(scene, 0, 1, 1)->not_before_ms = 1000001;
    job_add(scene, 0, 1, 1)->after = &pending;
    job_add(scene, 0, 1, 1)->after = &done;
    job_add(scene, 0, 1, 1)->after = &broken;
    for (int i = 1; i < 4; i++) {
        scene->asks[i].after_count = 1;
    }
    job_add(scene, 0, 1, 1);
    scene->jobs[4].backoff_until_ms = 1000500;
    job_add(scene, 0, 1, 1)->queue = 1;
    scene->queues[1].paused = true;
    run(scene);
    EXPECT_STR("wait begin_time", fate(scene, 0));
    EXPECT_STR("wait dependency", fate(scene, 1));
    EXPECT_STR("start 0:1", fate(scene, 2));
    EXPECT_STR("orphan", fate(scene, 3));
    EXPECT_STR("wait backoff", fate(scene, 4));
    EXPECT_I64(1000500, decided(scene, 4)->wait.until_ms);
    EXPECT_STR("wait queue_paused", fate(scene, 5));
    scene->snapshot.store_full = true;
    run(scene);
    EXPECT_STR("wait storage", fate(scene, 2));
}

TEST(a_reason_keeps_the_time_since_when)
{
    struct scene *scene = scene_make(1, 1);
    scene->workers[0].free = 0;
    job_add(scene, 0, 1, 1);
    scene->jobs[0].wait = (struct wait){.reason = WAITING_RESOURCES, .since_ms = 5, .need = 2};
    run(scene);
    EXPECT_I64(5, decided(scene, 0)->wait.since_ms);
    scene->jobs[0].wait = (struct wait){.reason = WAITING_RESOURCES, .since_ms = 5, .need = 1};
    run(scene);
    EXPECT_I64(0, scene->decisions.count); /* nothing new to say */
    scene->jobs[0].wait = (struct wait){.reason = WAITING_BACKOFF, .since_ms = 5};
    run(scene);
    EXPECT_I64(1000000, decided(scene, 0)->wait.since_ms);
}

TEST(free_slots_are_kept_for_the_first_gang_that_does_not_fit)
{
    struct scene *scene = scene_make(2, 2);
    runs_on(scene, 3, 0, 2);
    job_add(scene, 0, 4, 4);
    job_add(scene, 1, 1, 1);
    scene->tenants[1].usage = 1e6;
    run(scene);
    EXPECT_STR("wait resources", fate(scene, 1));
    EXPECT_STR("wait fair_share", fate(scene, 2));
    EXPECT_I64(2, (int64_t)decided(scene, 2)->wait.job);
}

TEST(a_short_job_borrows_what_is_kept_and_a_long_one_does_not)
{
    struct scene *scene = scene_make(2, 2);
    runs_on(scene, 3, 0, 2)->ends_ms = 1060000;
    job_add(scene, 0, 4, 4);
    job_add(scene, 1, 1, 1)->duration_max_ms = 60001;
    job_add(scene, 1, 1, 1)->duration_max_ms = 60000;
    scene->tenants[1].usage = 1e6;
    run(scene);
    EXPECT_STR("wait fair_share", fate(scene, 2));
    EXPECT_STR("start 1:1", fate(scene, 3));
    scene->jobs[0].ends_ms = INT64_MAX; /* nobody knows when it is met: nothing is lent */
    run(scene);
    EXPECT_STR("wait fair_share", fate(scene, 3));
}

TEST(an_urgent_job_preempts_a_lower_queue_after_its_wait)
{
    struct scene *scene = scene_make(2, 2);
    scene->snapshot.policy.preempt = true;
    scene->snapshot.policy.preempt_after_ms = 5000;
    runs_on(scene, 0, 0, 2);
    runs_on(scene, 0, 1, 2)->started_ms = 996000;
    job_add(scene, 1, 2, 2)->queue = 1;
    run(scene);
    EXPECT_STR("yield", fate(scene, 1)); /* it began last */
    EXPECT_I64(3, (int64_t)decided(scene, 1)->for_job);
    EXPECT_I64(1, scene->decisions.yields);
    scene->asks[1].preemptible = false;
    run(scene);
    EXPECT_STR("yield", fate(scene, 0));
    scene->asks[0].preemptible = false;
    run(scene);
    EXPECT_I64(0, scene->decisions.yields);
    scene->asks[0].preemptible = true;
    scene->asks[2].submitted_ms = 995001;
    run(scene);
    EXPECT_I64(0, scene->decisions.yields);
}

TEST(nobody_yields_for_slots_that_are_on_their_way)
{
    struct scene *scene = scene_make(2, 2);
    scene->snapshot.policy.preempt = true;
    runs_on(scene, 0, 0, 2);
    runs_on(scene, 0, 1, 2)->state = JOB_STATE_PAUSING;
    scene->workers[1].ending = 2;
    job_add(scene, 1, 2, 2)->queue = 1;
    run(scene);
    EXPECT_I64(0, scene->decisions.yields);
}

TEST(nobody_yields_unless_all_that_are_needed_can)
{
    struct scene *scene = scene_make(2, 2);
    scene->snapshot.policy.preempt = true;
    runs_on(scene, 0, 0, 2);
    runs_on(scene, 0, 1, 2);
    scene->asks[1].preemptible = false;
    job_add(scene, 1, 4, 4)->queue = 1;
    run(scene);
    EXPECT_I64(0, scene->decisions.yields);
}

TEST(a_tenant_above_its_share_yields_to_one_below_and_not_the_other_way)
{
    struct scene *scene = scene_make(4, 1);
    scene->snapshot.policy.preempt = true;
    for (uint32_t i = 0; i < 3; i++) {
        runs_on(scene, 0, i, 1);
    }
    runs_on(scene, 1, 3, 1);
    job_add(scene, 1, 1, 1); /* fair is two each */
    job_add(scene, 1, 1, 1);
    job_add(scene, 0, 1, 1);
    run(scene);
    EXPECT_I64(1, scene->decisions.yields);
    EXPECT_STR("yield", fate(scene, 0)); /* the same start: the lower number is first */
}

TEST(the_same_snapshot_gives_the_same_decisions)
{
    struct scene *scene = scene_make(6, 3);
    for (uint32_t i = 0; i < JOBS; i++) {
        job_add(scene, i % TENANTS, 1 + (int32_t)(i % 3), 1);
    }
    run(scene);
    struct decisions first = scene->decisions;
    run(scene);
    EXPECT_I64(first.count, scene->decisions.count);
    for (uint32_t i = 0; i < first.count; i++) {
        EXPECT_I64(first.items[i].job, scene->decisions.items[i].job);
        EXPECT_I64(first.items[i].placement_count, scene->decisions.items[i].placement_count);
        EXPECT_BYTES(first.items[i].placements, scene->decisions.items[i].placements,
                     (size_t)first.items[i].placement_count * sizeof(struct placement));
    }
}

TEST(an_empty_cluster_gives_reasons)
{
    struct scene *scene = scene_make(0, 0);
    run(scene);
    EXPECT_I64(0, scene->decisions.count);
    job_add(scene, 0, 1, 1);
    run(scene);
    EXPECT_STR("wait no_matching_worker", fate(scene, 0));
}

TEST(a_batch_starts_no_more_jobs_than_it_may_run_and_holds_nobody_else_up)
{
    struct scene *scene = scene_make(1, 8);
    const struct snapshot_batch batches[] = {{INT32_MAX}, {2}};
    scene->snapshot.batches = batches;
    scene->snapshot.batch_count = 2;
    for (int i = 0; i < 4; i++)
        job_add(scene, 0, 1, 1)->batch = 1;
    job_add(scene, 0, 1, 1);
    schedule(&scene->snapshot, &scene->arena, &scene->decisions);
    EXPECT_I64(3, scene->decisions.starts);
    int32_t held_back = 0;
    for (uint32_t i = 0; i < scene->decisions.count; i++) {
        const struct decision *decision = &scene->decisions.items[i];
        bool of_batch = decision->job < 4;
        held_back += decision->kind == DECISION_WAIT && of_batch &&
                     decision->wait.reason == WAITING_BATCH_LIMIT;
        EXPECT(of_batch || decision->kind == DECISION_START);
    }
    EXPECT_I64(2, held_back);
}

TEST_MAIN()
