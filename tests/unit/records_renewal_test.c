/* SPDX-License-Identifier: Apache-2.0
 *
 * renewal: the records of a backup give nothing away twice, and no attempt of theirs is live.
 */
#include <limits.h>
#include <string.h>

#include "lib/check.h"
#include "proto/message.h"
#include "storage/files/blob.h"
#include "storage/records/attempt_record.h"
#include "storage/records/blob_record.h"
#include "storage/records/renewal_record.h"
#include "tests/records_fixture.h"
#include "tests/test.h"

static struct records_fixture fixture;
static struct error error;

static int64_t submit(void)
{
    int64_t id = 0;
    bool created;
    CHECK(records_fixture_submit(fixture.records, "acme", NULL, "{\"stage\":\"lm\"}", &id, &created,
                                 &error) == STATUS_OK);
    return id;
}

static const Api__Job *job_of(int64_t id)
{
    Api__Job *job;
    CHECK(job_record_get(fixture.records, SCOPE_ALL, id, false, &fixture.arena, &job, &error) ==
          STATUS_OK);
    return job;
}

static int64_t begin_attempt(int64_t id)
{
    Api__Attempt attempt = API__ATTEMPT__INIT;
    int64_t term = 0;
    attempt.has_job_id = attempt.has_created_ms = true;
    attempt.job_id = id;
    attempt.created_ms = RECORDS_NOW_MS;
    CHECK(attempt_record_begin(fixture.records, &attempt, &term, &error) == STATUS_OK);
    return term;
}

TEST(a_live_job_is_queued_again_with_a_term_that_nobody_was_given)
{
    records_fixture_open(&fixture);
    int64_t id = submit();
    EXPECT_I64(1, begin_attempt(id));
    CHECK(records_commit(fixture.records, &error) == STATUS_OK);
    EXPECT_I64(STATUS_OK, records_renew(fixture.records, RECORDS_NOW_MS + 5, &error));
    CHECK(records_begin(fixture.records, &error) == STATUS_OK);
    const Api__Job *job = job_of(id);
    EXPECT_I64(API__JOB_STATE__JOB_STATE_QUEUED, job->state);
    EXPECT_I64(1001, job->term);
    Api__AttemptList *attempts = message_new(&fixture.arena, &api__attempt_list__descriptor);
    REQUIRE(attempt_record_list(fixture.records, SCOPE_ALL, id, &fixture.arena, attempts, &error) ==
            STATUS_OK);
    REQUIRE(attempts->n_attempts == 1);
    EXPECT_I64(API__ATTEMPT_STATE__ATTEMPT_STATE_STOPPED, attempts->attempts[0]->state);
    EXPECT_I64(RECORDS_NOW_MS + 5, attempts->attempts[0]->finished_ms);
    EXPECT(submit() > id + 1000);
    EXPECT_I64(1002, begin_attempt(id)); /* and it can begin again */
    records_fixture_close(&fixture);
}

TEST(a_blob_without_its_file_or_of_another_length_is_found)
{
    char digest[SHA256_HEX_SIZE], store[PATH_MAX];
    struct renewal_counts counts;
    records_fixture_open(&fixture);
    blob_tenant_path(fixture.dir, "acme", store);
    REQUIRE(blob_put(store, "text", 4, digest, &error) == STATUS_OK);
    struct blob_row row = {.tenant = "acme", .digest = digest, .bytes = 4};
    REQUIRE(blob_record_put(fixture.records, &row, RECORDS_NOW_MS, &error) == STATUS_OK);
    EXPECT_I64(STATUS_OK, renewal_check_blobs(fixture.records, fixture.dir, &counts, &error));
    EXPECT_I64(1, counts.blobs);
    EXPECT_I64(4, counts.bytes);
    row.bytes = 5;
    REQUIRE(blob_record_remove(fixture.records, "acme", digest, RECORDS_NOW_MS + 1, INT64_MAX,
                               &(bool){false}, &error) == STATUS_OK);
    REQUIRE(blob_record_put(fixture.records, &row, RECORDS_NOW_MS, &error) == STATUS_OK);
    EXPECT_I64(STATUS_FORMAT, renewal_check_blobs(fixture.records, fixture.dir, &counts, &error));
    EXPECT_CONTAINS("of another length", error.text);
    REQUIRE(blob_remove(store, digest, &error) == STATUS_OK);
    EXPECT_I64(STATUS_FORMAT, renewal_check_blobs(fixture.records, fixture.dir, &counts, &error));
    EXPECT_CONTAINS("not in the backup", error.text);
    records_fixture_close(&fixture);
}

TEST_MAIN()
