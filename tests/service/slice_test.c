/* SPDX-License-Identifier: Apache-2.0
 *
 * slice: a job's whole way through a real coordinator: submitted, scheduled, assigned, reported,
 * ended; with its model, alias, checkpoints, curves and logs.
 */
#include <string.h>

#include "lib/check.h"
#include "storage/records/attempt_record.h"
#include "storage/records/model_record.h"
#include "storage/records/tenant_record.h"
#include "tests/service/service_fixture.h"
#include "tests/test.h"

#define RUNNING   API__JOB_STATE__JOB_STATE_RUNNING
#define SUCCEEDED API__JOB_STATE__JOB_STATE_SUCCEEDED
#define FAILED    API__JOB_STATE__JOB_STATE_FAILED

static struct service service;

TEST(a_submitted_job_is_assigned_runs_and_succeeds)
{
    struct arena arena = {0};
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 2);
    int64_t id = service_submit_plain(&service);
    REQUIRE(id > 0);
    UNTIL(&service, fake_newest(worker, id) != NULL);
    struct fake_attempt *attempt = fake_newest(worker, id);
    EXPECT_I64(1, attempt->term);
    EXPECT_I64(1, attempt->world);
    EXPECT_I64(0, attempt->ranks[0]);
    EXPECT_STR("acme", attempt->tenant);
    EXPECT_CONTAINS("\"stage\":\"general\"", attempt->spec);
    EXPECT_I64(1, (int64_t)attempt->manifests);
    EXPECT_I64(API__JOB_STATE__JOB_STATE_STARTING, service_state(&service, id));
    fake_state(worker, attempt, API__ATTEMPT_STATE__ATTEMPT_STATE_RUNNING);
    UNTIL(&service, service_state(&service, id) == RUNNING);
    fake_state(worker, attempt, API__ATTEMPT_STATE__ATTEMPT_STATE_SUCCEEDED);
    UNTIL(&service, worker->attempt_count == 0); /* its last report is acknowledged */
    Api__Job *job = service_job(&service, &arena, id);
    EXPECT_I64(SUCCEEDED, job->state);
    EXPECT(job->started_ms > 0 && job->finished_ms >= job->started_ms);
    EXPECT_I64(1, job->term);
    EXPECT_I64(4, service_count_events(&service, id, "job_state"));
    EXPECT_I64(2, worker->acks[WIRE__ACK_RESULT__ACK_RESULT_COMMITTED]);
    arena_release(&arena);
    service_close(&service);
}

TEST_MAIN()
