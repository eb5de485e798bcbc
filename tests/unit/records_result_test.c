/* SPDX-License-Identifier: Apache-2.0
 *
 * result_record and shards: rows behind their whole, results that keep their blobs, verdicts that
 * reach their dataset.
 */
#include <string.h>

#include "proto/message.h"
#include "storage/records/blob_record.h"
#include "storage/records/dataset_record.h"
#include "storage/records/result_record.h"
#include "tests/records_fixture.h"
#include "tests/test.h"

static struct records_fixture fixture;
static struct error error;

static int64_t submit(int64_t shards, const struct job_input *input)
{
    Api__Job job = API__JOB__INIT;
    int64_t id = 0, after = 0;
    bool created;
    job.tenant = "acme";
    job.has_stage = job.has_created_ms = job.has_shards = true;
    job.stage = API__STAGE__STAGE_EVALUATE;
    job.created_ms = RECORDS_NOW_MS;
    job.shards = shards;
    job.spec = "{}";
    job.spec_digest = "0000000000000000000000000000000000000000000000000000000000000000";
    struct job_submit submit = {.job = &job, .inputs = input, .input_count = input != NULL};
    if (shards > 0) { /* after a job that is there */
        EXPECT_I64(STATUS_OK, job_record_submit(fixture.records, &(struct job_submit){.job = &job},
                                                &after, &created, &error));
        submit.after = &after;
        submit.after_count = 1;
        after += shards; /* one of that whole's shards */
    }
    EXPECT_I64(STATUS_OK, job_record_submit(fixture.records, &submit, &id, &created, &error));
    return id;
}

static enum status put(int64_t job, const char *manifest)
{
    Api__Result result = API__RESULT__INIT;
    result.has_job_id = result.has_bytes = result.has_created_ms = true;
    result.job_id = job;
    result.tenant = "acme";
    result.manifest = (char *)manifest;
    result.figures = "{\"a\":1}";
    return result_record_put(fixture.records, &result, &error);
}

static int garbage(void)
{
    struct blob_row *rows;
    int count;
    EXPECT_I64(STATUS_OK,
               blob_record_garbage(fixture.records, RECORDS_NOW_MS + 100, RECORDS_NOW_MS + 100, 100,
                                   &fixture.arena, &rows, &count, &error));
    return count;
}

TEST(shards_lie_behind_their_whole_which_comes_after_them)
{
    records_fixture_open(&fixture);
    int64_t id = submit(3, NULL);
    Api__JobList *after = message_new(&fixture.arena, &api__job_list__descriptor);
    Api__Job *job;
    EXPECT_I64(STATUS_OK, job_record_after(fixture.records, id, &fixture.arena, after, &error));
    REQUIRE(after->n_jobs == 3);
    for (int64_t i = 0; i < 3; i++) {
        EXPECT_I64(id + 1 + i, after->jobs[i]->id);
        EXPECT_I64(id, after->jobs[i]->shard_of);
        EXPECT_I64(i + 1, after->jobs[i]->shard);
        EXPECT_I64(3, after->jobs[i]->shards);
    }
    Api__JobList *before = message_new(&fixture.arena, &api__job_list__descriptor);
    EXPECT_I64(STATUS_OK,
               job_record_after(fixture.records, id + 1, &fixture.arena, before, &error));
    REQUIRE(before->n_jobs == 1); /* what the whole was to come after */
    EXPECT_I64(id - 1, before->jobs[0]->id);
    EXPECT_I64(STATUS_OK, job_record_get(fixture.records, SCOPE_TENANT("acme"), id + 2, true,
                                         &fixture.arena, &job, &error));
    EXPECT_STR("{}", job->spec); /* the whole's */
    Api__JobListRequest request = API__JOB_LIST_REQUEST__INIT;
    Api__JobList *list = message_new(&fixture.arena, &api__job_list__descriptor);
    EXPECT_I64(STATUS_OK,
               job_record_list(fixture.records, SCOPE_ALL, &request, &fixture.arena, list, &error));
    EXPECT_I64(2, (int64_t)list->n_jobs); /* wholes */
    list = message_new(&fixture.arena, &api__job_list__descriptor);
    request.has_shards_of = true;
    request.shards_of = id;
    EXPECT_I64(STATUS_OK,
               job_record_list(fixture.records, SCOPE_ALL, &request, &fixture.arena, list, &error));
    EXPECT_I64(3, (int64_t)list->n_jobs);
    list = message_new(&fixture.arena, &api__job_list__descriptor);
    EXPECT_I64(STATUS_OK, job_record_active(fixture.records, &fixture.arena, list, &error));
    EXPECT_I64(8, (int64_t)list->n_jobs);
    EXPECT_STR("{}", list->jobs[7]->spec);
    records_fixture_close(&fixture);
}

TEST(a_result_keeps_its_blobs_and_those_of_shards_go_when_the_whole_has_succeeded)
{
    char first[SHA256_HEX_SIZE], second[SHA256_HEX_SIZE], whole[SHA256_HEX_SIZE];
    records_fixture_open(&fixture);
    int64_t id = submit(2, NULL);
    records_fixture_blob(&fixture, "acme", "first", first);
    records_fixture_blob(&fixture, "acme", "second", second);
    records_fixture_blob(&fixture, "acme", "whole", whole);
    EXPECT_I64(3, garbage());
    EXPECT_I64(STATUS_OK, put(id + 2, second));
    EXPECT_I64(STATUS_OK, put(id + 1, first));
    EXPECT_I64(STATUS_OK, put(id, whole));
    EXPECT_I64(STATUS_OK, put(id, whole)); /* again is no error */
    EXPECT_I64(0, garbage());
    Api__ResultList *parts = message_new(&fixture.arena, &api__result_list__descriptor);
    EXPECT_I64(STATUS_OK, result_record_parts(fixture.records, id, &fixture.arena, parts, &error));
    REQUIRE(parts->n_results == 2);
    EXPECT_STR(first, parts->results[0]->manifest);
    EXPECT_STR(second, parts->results[1]->manifest);
    EXPECT_I64(STATUS_OK, result_record_drop_parts(fixture.records, id, &error));
    EXPECT_I64(2, garbage());
    Api__Result *result;
    EXPECT_I64(STATUS_NOT_FOUND, result_record_get(fixture.records, SCOPE_TENANT("general"), id,
                                                   &fixture.arena, &result, &error));
    EXPECT_I64(STATUS_OK, result_record_get(fixture.records, SCOPE_TENANT("acme"), id,
                                            &fixture.arena, &result, &error));
    EXPECT_STR(whole, result->manifest);
    EXPECT_I64(STATUS_NOT_FOUND,
               put(id, "0000000000000000000000000000000000000000000000000000000000000000"));
    EXPECT_CONTAINS("is not in the store", error.text);
    records_fixture_close(&fixture);
}

/* ---- verdicts -------------------------------------------------------------------------------- */

static struct reference dataset(const char *digest)
{
    Api__Dataset row = API__DATASET__INIT;
    struct reference reference = {.tenant = "acme", .name = "tickets"};
    row.tenant = "acme";
    row.name = "tickets";
    row.digest = (char *)digest;
    row.has_state = row.has_created_ms = true;
    row.state = API__DATASET_STATE__DATASET_STATE_ADMITTING;
    EXPECT_I64(STATUS_OK, dataset_record_insert(fixture.records, &row, &reference.version, &error));
    return reference;
}

static Api__DatasetState state_of(int64_t version)
{
    Api__Dataset *row;
    EXPECT_I64(STATUS_OK,
               dataset_record_get(fixture.records, SCOPE_ALL, API__SHARE_RIGHT__SHARE_RIGHT_READ,
                                  "acme", "tickets", version, &fixture.arena, &row, &error));
    return row->state;
}

static void judge(int64_t job, Api__DatasetState state)
{
    Api__Dataset verdict = API__DATASET__INIT;
    verdict.has_job_id = verdict.has_state = true;
    verdict.job_id = job;
    verdict.state = state;
    EXPECT_I64(STATUS_OK, dataset_record_judge(fixture.records, &verdict, &error));
}

TEST(a_verdict_reaches_the_version_that_its_job_reads_and_is_given_once)
{
    char digest[SHA256_HEX_SIZE], rows[SHA256_HEX_SIZE];
    struct job_input input = {.kind = API__OBJECT_KIND__OBJECT_KIND_DATASET};
    Api__ReferrerList *list;
    records_fixture_open(&fixture);
    records_fixture_blob(&fixture, "acme", "data", digest);
    records_fixture_blob(&fixture, "acme", "rows", rows);
    input.object = dataset(digest);
    int64_t first = submit(0, &input);
    dataset(digest);
    judge(first + 100, API__DATASET_STATE__DATASET_STATE_ACCEPTED); /* reads nothing */
    EXPECT_I64(API__DATASET_STATE__DATASET_STATE_ADMITTING, state_of(1));
    judge(first, API__DATASET_STATE__DATASET_STATE_WARNED);
    EXPECT_I64(API__DATASET_STATE__DATASET_STATE_WARNED, state_of(1));
    EXPECT_I64(API__DATASET_STATE__DATASET_STATE_ADMITTING, state_of(2));
    judge(first, API__DATASET_STATE__DATASET_STATE_REJECTED);
    EXPECT_I64(API__DATASET_STATE__DATASET_STATE_WARNED, state_of(1));
    /* What quotes its texts goes with it. */
    EXPECT_I64(STATUS_OK, put(first, rows));
    Api__Job *job;
    EXPECT_I64(STATUS_OK, job_record_get(fixture.records, SCOPE_ALL, first, false, &fixture.arena,
                                         &job, &error));
    job->state = API__JOB_STATE__JOB_STATE_CANCELLED;
    job->has_term = true;
    EXPECT_I64(STATUS_OK,
               job_record_update(fixture.records, job, API__JOB_STATE__JOB_STATE_QUEUED, &error));
    list = message_new(&fixture.arena, &api__referrer_list__descriptor);
    EXPECT_I64(STATUS_OK, dataset_record_remove(fixture.records, SCOPE_TENANT("acme"), "acme",
                                                "tickets", &fixture.arena, list, &error));
    EXPECT_I64(2, garbage());
    records_fixture_close(&fixture);
}

TEST_MAIN()
