/* SPDX-License-Identifier: Apache-2.0
 *
 * batch_record: a batch, its rows, and what their jobs came to.
 */
#include "lib/arena.h"
#include "proto/message.h"
#include "storage/records/batch_record.h"
#include "storage/records/job_record.h"
#include "tests/records_fixture.h"
#include "tests/test.h"

#define NEW(type) message_new(&fixture.arena, &api__##type##__descriptor)

static struct records_fixture fixture;
static struct error error;

static int64_t put_row(int64_t batch, int64_t number, const char *key, int64_t job)
{
    Api__BatchRow row = API__BATCH_ROW__INIT;
    row.has_batch_id = row.has_row = row.has_state = true;
    row.batch_id = batch;
    row.row = number;
    row.key = (char *)key;
    row.tenant = "acme";
    row.spec_digest = job != 0 ? "aa" : NULL;
    row.error = job != 0 ? NULL : "data.train: no such thing";
    row.has_job_id = job != 0;
    row.job_id = job;
    row.state = job != 0 ? API__BATCH_ROW_STATE__BATCH_ROW_STATE_SUBMITTED
                         : API__BATCH_ROW_STATE__BATCH_ROW_STATE_INVALID;
    return batch_record_put_row(fixture.records, &row, &error);
}

static int64_t job_of(int64_t batch, const char *key, const char *digest)
{
    int64_t job = -1;
    EXPECT_I64(STATUS_OK,
               batch_record_unchanged(fixture.records, batch, key, digest, &job, &error));
    return job;
}

static int64_t batch_of(const char *name)
{
    Api__Batch batch = API__BATCH__INIT;
    int64_t id = 0;
    batch.tenant = "acme";
    batch.name = (char *)name;
    batch.recipe = "stage: customize\n";
    batch.has_created_ms = 1;
    EXPECT_I64(STATUS_OK, batch_record_put(fixture.records, &batch, &id, &error));
    return id;
}

/* A batch of acme with two rows that have jobs (returned) and one that was refused. */
static int64_t spring(int64_t jobs[2])
{
    int64_t id = batch_of("spring");
    bool created;
    for (int i = 0; i < 2; i++) {
        EXPECT_I64(STATUS_OK, records_fixture_submit(fixture.records, "acme", NULL, "{}", &jobs[i],
                                                     &created, &error));
        EXPECT_I64(STATUS_OK, put_row(id, i + 1, i == 0 ? "north" : "south", jobs[i]));
    }
    EXPECT_I64(STATUS_OK, put_row(id, 3, "west", 0));
    return id;
}

TEST(a_row_of_a_batch_is_known_by_its_key_and_its_specs_digest)
{
    int64_t jobs[2], found;
    records_fixture_open(&fixture);
    int64_t id = spring(jobs);
    EXPECT_I64(STATUS_OK, batch_record_find(fixture.records, "acme", "spring", &found, &error));
    EXPECT_I64(id, found);
    EXPECT_I64(id, batch_of("spring"));
    EXPECT_I64(id + 1, batch_of("autumn")); /* to submit one again takes no id */
    EXPECT_I64(STATUS_NOT_FOUND,
               batch_record_find(fixture.records, "general", "spring", &found, &error));
    EXPECT_I64(jobs[0], job_of(id, "north", "aa"));
    EXPECT_I64(0, job_of(id, "north", "bb"));
    EXPECT_I64(0, job_of(id, "west", "aa")); /* it was refused */
    EXPECT_I64(0, job_of(id, "east", "aa"));
    EXPECT_I64(STATUS_OK, put_row(id, 9, "north", jobs[1])); /* the table was sorted anew */
    EXPECT_I64(jobs[1], job_of(id, "north", "aa"));
    records_fixture_close(&fixture);
}

static Api__BatchReply *rows_of(struct scope scope, const struct batch_row_query *query)
{
    Api__BatchReply *reply = NEW(batch_reply);
    EXPECT_I64(STATUS_OK,
               batch_record_rows(fixture.records, scope, query, &fixture.arena, reply, &error));
    return reply;
}

TEST(the_rows_of_a_batch_come_in_pages_and_by_their_jobs_state)
{
    int64_t jobs[2];
    records_fixture_open(&fixture);
    int64_t id = spring(jobs);
    struct batch_row_query query = {.id = id, .limit = 2};
    Api__BatchReply *reply = rows_of(SCOPE_TENANT("acme"), &query);
    REQUIRE(reply->n_rows == 2);
    EXPECT_STR("north", reply->rows[0]->key);
    EXPECT_I64(API__JOB_STATE__JOB_STATE_QUEUED, reply->rows[0]->job_state);
    query.after = reply->next;
    reply = rows_of(SCOPE_TENANT("acme"), &query);
    REQUIRE(reply->n_rows == 1);
    EXPECT_STR("data.train: no such thing", reply->rows[0]->error);
    EXPECT(!reply->has_next);
    query = (struct batch_row_query){.id = id, .limit = 9, .job = jobs[1]};
    EXPECT_STR("south", rows_of(SCOPE_ALL, &query)->rows[0]->key);
    query = (struct batch_row_query){
        .id = id, .limit = 9, .states = 1 << API__JOB_STATE__JOB_STATE_QUEUED};
    EXPECT_I64(2, (int64_t)rows_of(SCOPE_ALL, &query)->n_rows);
    query.states = 1 << API__JOB_STATE__JOB_STATE_FAILED;
    EXPECT_I64(0, (int64_t)rows_of(SCOPE_ALL, &query)->n_rows);
    query.states = 0;
    EXPECT_I64(0, (int64_t)rows_of(SCOPE_TENANT("general"), &query)->n_rows);
    records_fixture_close(&fixture);
}

TEST(a_batch_counts_its_rows_and_jobs_by_what_they_are)
{
    Api__Batch *got;
    Api__Job *job;
    int64_t jobs[2];
    records_fixture_open(&fixture);
    int64_t id = spring(jobs);
    REQUIRE(job_record_get(fixture.records, SCOPE_ALL, jobs[0], false, &fixture.arena, &job,
                           &error) == STATUS_OK);
    job->state = API__JOB_STATE__JOB_STATE_FAILED;
    job->has_failure_class = true;
    job->failure_class = API__FAILURE_CLASS__FAILURE_CLASS_USER_DATA;
    EXPECT_I64(STATUS_OK,
               job_record_update(fixture.records, job, API__JOB_STATE__JOB_STATE_QUEUED, &error));
    REQUIRE(batch_record_get(fixture.records, SCOPE_TENANT("acme"), id, true, &fixture.arena, &got,
                             &error) == STATUS_OK);
    EXPECT_STR("stage: customize\n", got->recipe);
    EXPECT_I64(3, got->rows_total);
    EXPECT_I64(1, got->rows_invalid);
    EXPECT_I64(1, got->rows_waiting);
    EXPECT_I64(1, got->jobs_active);
    EXPECT_I64(1, got->jobs_failed);
    REQUIRE(got->n_failures == 1);
    EXPECT_I64(API__FAILURE_CLASS__FAILURE_CLASS_USER_DATA, got->failures[0]->failure_class);
    EXPECT_I64(1, got->failures[0]->jobs);
    EXPECT_I64(STATUS_OK, batch_record_drop_refused(fixture.records, id, &error));
    REQUIRE(batch_record_get(fixture.records, SCOPE_ALL, id, false, &fixture.arena, &got, &error) ==
            STATUS_OK);
    EXPECT(got->recipe == NULL);
    EXPECT_I64(2, got->rows_total);
    EXPECT_I64(STATUS_NOT_FOUND, batch_record_get(fixture.records, SCOPE_TENANT("general"), id,
                                                  true, &fixture.arena, &got, &error));
    records_fixture_close(&fixture);
}

TEST_MAIN()
