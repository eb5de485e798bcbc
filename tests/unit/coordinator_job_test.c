/* SPDX-License-Identifier: Apache-2.0
 *
 * job_state, failure, fence, backoff, waiting, and the list of jobs.
 */
#include <stdio.h>
#include <string.h>

#include "coordinator/backoff.h"
#include "coordinator/fence.h"
#include "coordinator/job.h"
#include "coordinator/job_state.h"
#include "coordinator/waiting.h"
#include "tests/test.h"

/* Walks a job through events; 0 ends the list (an assignment is JOB_EVENT_ASSIGN + 1 here). */
static struct job_run walked(const int *events)
{
    struct job_run run;
    job_init(&run, 7, 3, 100);
    for (int64_t now = 200; *events; events++, now += 100) {
        struct error error;
        if (job_transition(&run, (enum job_event)(*events - 1), now, &error) != STATUS_OK) {
            test_fail(__FILE__, __LINE__, "expected a transition, got: %s", error.text);
        }
    }
    return run;
}
#define WALK(...) walked((const int[]){__VA_ARGS__, 0})
#define E(name)   (JOB_EVENT_##name + 1)
#define EXPECT_STATE(expected, run)                                                                \
    EXPECT_STR(job_state_name(JOB_STATE_##expected), job_state_name((run).state))

TEST(a_job_runs_to_success)
{
    struct job_run run = WALK(E(ASSIGN), E(START), E(FINISH));
    EXPECT_STATE(SUCCEEDED, run);
    EXPECT_I64(1, (int64_t)run.term);
    EXPECT_I64(400, run.since_ms);
}

TEST(a_final_state_has_no_way_out)
{
    static const enum job_state finals[] = {JOB_STATE_SUCCEEDED, JOB_STATE_FAILED,
                                            JOB_STATE_CANCELLED};
    for (int i = 0; i < 3; i++) {
        for (int event = 0; event < JOB_EVENT_COUNT; event++) {
            struct job_run run;
            job_init(&run, 7, 3, 0);
            run.state = finals[i];
            struct job_run before = run;
            struct error error;
            EXPECT_I64(STATUS_CONFLICT, job_transition(&run, (enum job_event)event, 5, &error));
            EXPECT_BYTES(&before, &run, sizeof(run));
        }
    }
}

TEST(a_refused_transition_says_what_the_job_is)
{
    struct job_run run = WALK(E(CANCEL));
    struct error error;
    job_transition(&run, JOB_EVENT_PAUSE, 5, &error);
    EXPECT_STR("job 7 is cancelled: there is no pause from there", error.text);
}

TEST(each_assignment_has_the_next_term)
{
    struct job_run run = WALK(E(ASSIGN), E(RETRY), E(ASSIGN), E(START), E(RETRY), E(ASSIGN));
    EXPECT_I64(3, (int64_t)run.term);
}

TEST(a_preempted_job_queues_again_and_a_paused_one_stays)
{
    struct job_run run = WALK(E(ASSIGN), E(START), E(YIELD));
    EXPECT_STATE(PAUSING, run);
    EXPECT_I64(JOB_EVENT_REQUEUE, job_attempt_ended(&run, 900));
    EXPECT_STATE(QUEUED, run);
    run = WALK(E(ASSIGN), E(START), E(PAUSE), E(YIELD));
    EXPECT_I64(JOB_EVENT_PARK, job_attempt_ended(&run, 900));
    EXPECT_STATE(PAUSED, run);
    run = WALK(E(ASSIGN), E(START), E(YIELD), E(PAUSE));
    EXPECT_I64(JOB_EVENT_PARK, job_attempt_ended(&run, 900));
    run = WALK(E(ASSIGN), E(START), E(PAUSE), E(RESUME));
    EXPECT_I64(JOB_EVENT_REQUEUE, job_attempt_ended(&run, 900));
}

TEST(a_halted_job_is_paused_and_nobodys_pause_until_a_person_makes_it_theirs)
{
    struct error error;
    struct job_run run = WALK(E(ASSIGN), E(START), E(HALT));
    EXPECT_STATE(PAUSING, run);
    EXPECT_I64(JOB_EVENT_PARK, job_attempt_ended(&run, 900));
    EXPECT_STATE(PAUSED, run);
    EXPECT(run.halted);
    struct job_run kept = run;
    EXPECT_I64(STATUS_OK, job_transition(&run, JOB_EVENT_RESUME, 950, &error));
    EXPECT_STATE(QUEUED, run);
    EXPECT(!run.halted);
    EXPECT_I64(STATUS_OK, job_transition(&kept, JOB_EVENT_PAUSE, 950, &error));
    EXPECT_STATE(PAUSED, kept);
    EXPECT(!kept.halted);
    EXPECT_I64(STATUS_CONFLICT, job_transition(&kept, JOB_EVENT_PAUSE, 960, &error));
    run = WALK(E(ASSIGN), E(HALT), E(PAUSE));
    EXPECT_I64(JOB_EVENT_PARK, job_attempt_ended(&run, 900));
    EXPECT(!run.halted);
}

TEST(a_job_that_finishes_while_it_is_cancelled_is_cancelled)
{
    struct job_run run = WALK(E(ASSIGN), E(START), E(CANCEL), E(FINISH));
    EXPECT_STATE(CANCELLED, run);
    run = WALK(E(ASSIGN), E(START), E(PAUSE), E(FINISH));
    EXPECT_STATE(SUCCEEDED, run);
}

TEST(the_class_of_a_failure_decides_whether_it_is_tried_again)
{
    struct job_run run = WALK(E(ASSIGN), E(START));
    EXPECT_I64(JOB_EVENT_FAIL, job_attempt_failed(&run, FAILURE_USER_DATA, 900));
    EXPECT_STATE(FAILED, run);
    run = WALK(E(ASSIGN), E(START));
    EXPECT_I64(JOB_EVENT_RETRY, job_attempt_failed(&run, FAILURE_WORKER_LOST, 900));
    EXPECT_STATE(RECOVERING, run);
    run = WALK(E(ASSIGN), E(START), E(CANCEL));
    EXPECT_I64(JOB_EVENT_STOP, job_attempt_failed(&run, FAILURE_WORKER_LOST, 900));
    EXPECT_STATE(CANCELLED, run);
    run = WALK(E(ASSIGN), E(START), E(PAUSE));
    EXPECT_I64(JOB_EVENT_PARK, job_attempt_failed(&run, FAILURE_WORKER_LOST, 900));
    EXPECT_STATE(PAUSED, run);
}

TEST(a_failure_of_ours_uses_up_the_attempts)
{
    struct job_run run;
    job_init(&run, 7, 2, 0);
    for (int attempt = 1; attempt <= 2; attempt++) {
        EXPECT_I64(STATUS_OK, job_transition(&run, JOB_EVENT_ASSIGN, 1, NULL));
        EXPECT_I64(attempt == 1 ? JOB_EVENT_RETRY : JOB_EVENT_FAIL,
                   job_attempt_failed(&run, FAILURE_INTERNAL, 2));
    }
}

TEST(lost_workers_end_a_job_only_when_it_makes_no_progress)
{
    struct job_run run;
    job_init(&run, 7, 1, 0);
    for (int attempt = 1; attempt < 3 * JOB_FRUITLESS_MAX; attempt++) {
        EXPECT_I64(STATUS_OK, job_transition(&run, JOB_EVENT_ASSIGN, 1, NULL));
        job_progressed(&run, attempt);
        EXPECT_I64(JOB_EVENT_RETRY, job_attempt_failed(&run, FAILURE_WORKER_LOST, 2));
    }
    for (int attempt = 1; attempt < JOB_FRUITLESS_MAX; attempt++) {
        EXPECT_I64(STATUS_OK, job_transition(&run, JOB_EVENT_ASSIGN, 1, NULL));
        job_progressed(&run, 3); /* an old one again: no progress */
        EXPECT_I64(attempt < JOB_FRUITLESS_MAX - 1 ? JOB_EVENT_RETRY : JOB_EVENT_FAIL,
                   job_attempt_failed(&run, FAILURE_WORKER_LOST, 2));
    }
}

TEST(names_go_both_ways)
{
    for (int i = 0; i < JOB_STATE_COUNT; i++) {
        enum job_state state = JOB_STATE_COUNT;
        EXPECT(job_state_by_name(job_state_name((enum job_state)i), &state));
        EXPECT_I64(i, state);
    }
    for (int i = 0; i < FAILURE_COUNT; i++) {
        enum failure failure = FAILURE_COUNT;
        EXPECT(failure_by_name(failure_row((enum failure)i)->name, &failure));
        EXPECT_I64(i, failure);
        EXPECT(i == 0 || strlen(failure_row((enum failure)i)->hint) > 20);
    }
    for (int i = 0; i < WAITING_COUNT; i++) {
        enum waiting reason = WAITING_COUNT;
        EXPECT(waiting_by_name(waiting_name((enum waiting)i), &reason));
        EXPECT_I64(i, reason);
    }
    enum waiting reason;
    EXPECT(!waiting_by_name("weather", &reason));
}

TEST(a_fence_takes_each_message_of_the_newest_attempt_once)
{
    static const struct {
        uint64_t term;
        bool live;
        uint64_t taken, message_term, message_sequence;
        enum fence_verdict verdict;
    } cases[] = {
        {3, true, 0, 3, 1, FENCE_ACCEPT},    {3, true, 4, 3, 5, FENCE_ACCEPT},
        {3, true, 4, 3, 4, FENCE_DUPLICATE}, {3, true, 4, 3, 1, FENCE_DUPLICATE},
        {3, true, 4, 3, 6, FENCE_GAP},       {3, true, 4, 2, 5, FENCE_STALE},
        {3, false, 4, 3, 5, FENCE_STALE},    {3, true, 4, 4, 1, FENCE_UNKNOWN},
        {0, false, 0, 0, 1, FENCE_UNKNOWN},  {3, true, 0, 3, 0, FENCE_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        enum fence_verdict got = fence_judge(cases[i].term, cases[i].live, cases[i].taken,
                                             cases[i].message_term, cases[i].message_sequence);
        if (got != cases[i].verdict) {
            test_fail(__FILE__, __LINE__, "case %zu: expected %s, got %s", i,
                      fence_verdict_name(cases[i].verdict), fence_verdict_name(got));
        }
    }
}

TEST(backoff_doubles_within_its_cap_and_is_jittered)
{
    struct backoff backoff = {1000, 60000};
    int64_t full = 1000;
    for (int32_t failures = 1; failures <= 40; failures++) {
        int64_t least = INT64_MAX, most = 0;
        for (uint64_t job = 1; job <= 200; job++) {
            int64_t ms = backoff_ms(&backoff, failures, job, 5);
            EXPECT_I64(ms, backoff_ms(&backoff, failures, job, 5));
            least = ms < least ? ms : least;
            most = ms > most ? ms : most;
        }
        EXPECT(least >= full / 2 && least < full / 2 + full / 20);
        EXPECT(most < full && most > full - full / 20);
        full = 2 * full < 60000 ? 2 * full : 60000;
    }
}

TEST(a_wait_is_a_sentence)
{
    struct buf text = {0};
    struct wait wait = {.reason = WAITING_RESOURCES, .since_ms = 1000, .need = 4, .have = 3};
    waiting_sentence(&wait, 126000, &text);
    EXPECT_STR("is next in turn and waits for free slots (needs 4 slots, 3 free for it); for 2m "
               "05s so far",
               text.data);
    buf_clear(&text);
    wait = (struct wait){.reason = WAITING_DEPENDENCY, .since_ms = 1000, .job = 12};
    waiting_sentence(&wait, 126000, &text);
    EXPECT_CONTAINS("(job 12)", text.data);
    buf_clear(&text);
    wait = (struct wait){.reason = WAITING_BACKOFF, .since_ms = 1000, .until_ms = 136000};
    waiting_sentence(&wait, 126000, &text);
    EXPECT_CONTAINS(", 10", text.data);
    buf_release(&text);
}

/* Of jobs 1 … 40 the odd ones have ended. */
static bool is_even(void *argument, uint64_t id)
{
    const struct job *job = job_list_find(argument, id);
    EXPECT(job != NULL && job->id == id);
    return job == NULL || job->finished_ms == 0;
}

TEST(who_decides_what_a_sweep_keeps_may_look_all_jobs_up)
{
    enum { JOBS = 40 };
    struct job_list list = {0};
    for (uint64_t id = 1; id <= JOBS; id++) {
        struct job *job = job_create(id, "acme");
        job->finished_ms = id % 2 == 1 ? 1000 : 0;
        job_list_add(&list, job);
    }
    job_list_sweep(&list, is_even, &list);
    EXPECT_I64(JOBS / 2, list.count);
    for (uint64_t id = 1; id <= JOBS; id++)
        EXPECT((job_list_find(&list, id) != NULL) == (id % 2 == 0));
    job_list_release(&list);
}

TEST_MAIN()
