/* SPDX-License-Identifier: Apache-2.0
 *
 * job_record: a key makes one job, a tenant sees its own, and nobody writes over what has moved on.
 */
#include <string.h>

#include "proto/message.h"
#include "storage/records/attempt_record.h"
#include "storage/records/event_record.h"
#include "tests/records_fixture.h"
#include "tests/test.h"

static struct records_fixture fixture;
static struct error error;

static int64_t submit(const char *tenant, const char *key, const char *spec, bool *created_out)
{
    int64_t id = 0;
    bool created = false;
    error.text[0] = '\0';
    if (records_fixture_submit(fixture.records, tenant, key, spec, &id, &created, &error) !=
        STATUS_OK)
        test_fail(__FILE__, __LINE__, "%s", error.text);
    if (created_out != NULL)
        *created_out = created;
    return id;
}

static Api__Job *get(struct scope scope, int64_t id)
{
    Api__Job *job = NULL;
    if (job_record_get(fixture.records, scope, id, true, &fixture.arena, &job, &error) != STATUS_OK)
        return NULL;
    return job;
}

TEST(a_submitted_job_is_queued_with_its_spec_and_labels_also_after_a_restart)
{
    records_fixture_open(&fixture);
    int64_t id = submit("acme", NULL, "{\"stage\":\"customize\"}", NULL);
    records_fixture_reopen(&fixture);
    Api__Job *job = get(SCOPE_TENANT("acme"), id);
    REQUIRE(job != NULL);
    EXPECT_STR("acme", job->tenant);
    EXPECT_I64(API__JOB_STATE__JOB_STATE_QUEUED, job->state);
    EXPECT_STR("{\"stage\":\"customize\"}", job->spec);
    EXPECT_STR("default", job->queue);
    EXPECT_I64(0, job->term);
    EXPECT_I64(1, (int64_t)job->n_labels);
    EXPECT_STR("support", job->labels[0]->value);
    EXPECT(!job->has_finished_ms);
    EXPECT_I64(STATUS_OK, message_check(&job->base, &error));
    Api__EventList *events = message_new(&fixture.arena, &api__event_list__descriptor);
    EXPECT_I64(STATUS_OK, event_record_list(fixture.records, SCOPE_ALL, id, 0, 10, &fixture.arena,
                                            events, &error));
    REQUIRE(events->n_events == 1);
    EXPECT_STR("queued", events->events[0]->message);
    records_fixture_close(&fixture);
}

TEST(a_repeated_submit_is_the_same_job_and_another_body_a_conflict)
{
    bool created;
    int64_t id;
    records_fixture_open(&fixture);
    int64_t first = submit("acme", "k1", "{\"a\":1}", &created);
    EXPECT(created);
    EXPECT_I64(first, submit("acme", "k1", "{\"a\":1}", &created));
    EXPECT(!created);
    EXPECT_I64(STATUS_CONFLICT, records_fixture_submit(fixture.records, "acme", "k1", "{\"a\":2}",
                                                       &id, &created, &error));
    EXPECT_CONTAINS("which became job j-1", error.text);
    EXPECT(submit("general", "k1", "{\"a\":2}", &created) != first); /* another tenant's key */
    EXPECT(created);
    EXPECT(submit("acme", "k2", "{\"a\":1}", &created) != first);
    records_fixture_reopen(&fixture);
    EXPECT_I64(first, submit("acme", "k1", "{\"a\":1}", &created));
    EXPECT(!created);
    records_fixture_close(&fixture);
}

TEST(a_foreign_job_is_not_found_like_an_unknown_one)
{
    char foreign[ERROR_TEXT_MAX], unknown[ERROR_TEXT_MAX];
    records_fixture_open(&fixture);
    int64_t id = submit("acme", NULL, "{}", NULL);
    EXPECT(get(SCOPE_ALL, id) != NULL);
    EXPECT(get(SCOPE_TENANT("general"), id) == NULL);
    EXPECT_I64(STATUS_NOT_FOUND, error.status);
    strcpy(foreign, error.text);
    EXPECT(get(SCOPE_TENANT("general"), id + 1) == NULL);
    strcpy(unknown, error.text);
    foreign[strlen(foreign) - 1] = unknown[strlen(unknown) - 1]; /* but for the id */
    EXPECT_STR(unknown, foreign);
    EXPECT_I64(STATUS_NOT_FOUND, records_fixture_submit(fixture.records, "nobody", NULL, "{}", &id,
                                                        &(bool){false}, &error));
    records_fixture_close(&fixture);
}

static Api__JobList *list(struct scope scope, const Api__JobListRequest *request)
{
    Api__JobList *jobs = message_new(&fixture.arena, &api__job_list__descriptor);
    EXPECT_I64(STATUS_OK,
               job_record_list(fixture.records, scope, request, &fixture.arena, jobs, &error));
    return jobs;
}

TEST(a_list_goes_from_page_to_page_and_filters)
{
    Api__JobListRequest request = API__JOB_LIST_REQUEST__INIT;
    records_fixture_open(&fixture);
    for (int i = 0; i < 25; i++)
        submit(i % 5 == 0 ? "general" : "acme", NULL, "{}", NULL);
    request.has_limit = 1;
    request.limit = 8;
    int64_t seen = 0, before = INT64_MAX;
    for (int page = 0; page < 9; page++) {
        Api__JobList *jobs = list(SCOPE_TENANT("acme"), &request);
        for (size_t i = 0; i < jobs->n_jobs; i++) {
            EXPECT_STR("acme", jobs->jobs[i]->tenant);
            EXPECT(jobs->jobs[i]->id < before);
            EXPECT(jobs->jobs[i]->spec == NULL);
            before = jobs->jobs[i]->id;
        }
        seen += (int64_t)jobs->n_jobs;
        if (!jobs->has_next)
            break;
        request.has_after = 1;
        request.after = jobs->next;
    }
    EXPECT_I64(20, seen);
    request.has_after = 0;
    request.limit = 100;
    EXPECT_I64(25, (int64_t)list(SCOPE_ALL, &request)->n_jobs);
    request.tenant = "general";
    EXPECT_I64(5, (int64_t)list(SCOPE_ALL, &request)->n_jobs);
    EXPECT_I64(0, (int64_t)list(SCOPE_TENANT("acme"), &request)->n_jobs);
    request.tenant = NULL;
    char *labels[] = {"team=support", "tier=gold"};
    request.label = labels;
    request.n_label = 1;
    EXPECT_I64(25, (int64_t)list(SCOPE_ALL, &request)->n_jobs);
    request.n_label = 2;
    EXPECT_I64(0, (int64_t)list(SCOPE_ALL, &request)->n_jobs);
    request.n_label = 0;
    Api__JobState states[] = {API__JOB_STATE__JOB_STATE_FAILED, API__JOB_STATE__JOB_STATE_QUEUED};
    request.state = states;
    request.n_state = 1;
    EXPECT_I64(0, (int64_t)list(SCOPE_ALL, &request)->n_jobs);
    request.n_state = 2;
    EXPECT_I64(25, (int64_t)list(SCOPE_ALL, &request)->n_jobs);
    records_fixture_close(&fixture);
}

TEST(a_job_that_moved_on_is_not_written_over)
{
    records_fixture_open(&fixture);
    int64_t id = submit("acme", NULL, "{}", NULL);
    Api__Job *job = get(SCOPE_ALL, id);
    REQUIRE(job != NULL);
    job->state = API__JOB_STATE__JOB_STATE_STARTING;
    EXPECT_I64(STATUS_OK,
               job_record_update(fixture.records, job, API__JOB_STATE__JOB_STATE_QUEUED, &error));
    EXPECT_I64(STATUS_CONFLICT,
               job_record_update(fixture.records, job, API__JOB_STATE__JOB_STATE_QUEUED, &error));
    job->term = 1; /* of an attempt that the row does not have */
    EXPECT_I64(STATUS_CONFLICT,
               job_record_update(fixture.records, job, API__JOB_STATE__JOB_STATE_STARTING, &error));
    EXPECT_I64(API__JOB_STATE__JOB_STATE_STARTING, get(SCOPE_ALL, id)->state);
    EXPECT_STR("{}", get(SCOPE_ALL, id)->spec);
    records_fixture_close(&fixture);
}

TEST(jobs_that_are_not_over_come_back_at_the_start)
{
    int64_t count;
    records_fixture_open(&fixture);
    int64_t over = submit("acme", NULL, "{}", NULL),
            active = submit("acme", NULL, "{\"b\":1}", NULL);
    Api__Job *job = get(SCOPE_ALL, over);
    REQUIRE(job != NULL);
    job->state = API__JOB_STATE__JOB_STATE_SUCCEEDED;
    EXPECT_I64(STATUS_OK,
               job_record_update(fixture.records, job, API__JOB_STATE__JOB_STATE_QUEUED, &error));
    records_fixture_reopen(&fixture);
    Api__JobList *jobs = message_new(&fixture.arena, &api__job_list__descriptor);
    REQUIRE(job_record_active(fixture.records, &fixture.arena, jobs, &error) == STATUS_OK);
    REQUIRE(jobs->n_jobs == 1);
    EXPECT_I64(active, jobs->jobs[0]->id);
    EXPECT_STR("{\"b\":1}", jobs->jobs[0]->spec);
    EXPECT_I64(STATUS_OK, job_record_count_active(fixture.records, "acme", &count, &error));
    EXPECT_I64(1, count);
    records_fixture_close(&fixture);
}

TEST(a_job_waits_for_others_of_its_tenant_only)
{
    Api__Job job = API__JOB__INIT;
    int64_t id;
    bool created;
    records_fixture_open(&fixture);
    int64_t own = submit("acme", NULL, "{}", NULL), foreign = submit("general", NULL, "{}", NULL);
    job.tenant = "acme";
    job.spec = "{}";
    job.spec_digest = "0";
    job.has_stage = job.has_created_ms = 1;
    job.stage = API__STAGE__STAGE_LM;
    struct job_submit both = {.job = &job, .after = (int64_t[]){own, foreign}, .after_count = 1};
    REQUIRE(job_record_submit(fixture.records, &both, &id, &created, &error) == STATUS_OK);
    Api__JobList *after = message_new(&fixture.arena, &api__job_list__descriptor);
    EXPECT_I64(STATUS_OK, job_record_after(fixture.records, id, &fixture.arena, after, &error));
    REQUIRE(after->n_jobs == 1);
    EXPECT_I64(own, after->jobs[0]->id);
    both.after_count = 2;
    EXPECT_I64(STATUS_NOT_FOUND, job_record_submit(fixture.records, &both, &id, &created, &error));
    records_fixture_close(&fixture);
}

/* ---- attempts ---- */
static int64_t begin_attempt(int64_t job_id)
{
    Api__Attempt attempt = API__ATTEMPT__INIT;
    Api__AttemptRank rank = API__ATTEMPT_RANK__INIT, *ranks[] = {&rank};
    int64_t term = 0;
    attempt.has_job_id = attempt.has_created_ms = 1;
    attempt.job_id = job_id;
    attempt.created_ms = RECORDS_NOW_MS;
    attempt.n_ranks = 1;
    attempt.ranks = ranks;
    rank.has_rank = rank.has_worker_id = rank.has_slot = 1;
    rank.worker_id = 3;
    rank.worker = "host-3";
    if (attempt_record_begin(fixture.records, &attempt, &term, &error) != STATUS_OK)
        test_fail(__FILE__, __LINE__, "%s", error.text);
    return term;
}

static Wire__AckResult accept(int64_t job, int64_t term, int64_t sequence)
{
    Wire__Stamp stamp = WIRE__STAMP__INIT;
    Wire__AckResult result = WIRE__ACK_RESULT__ACK_RESULT_UNSPECIFIED;
    stamp.has_job = stamp.has_term = stamp.has_sequence = 1;
    stamp.job = job;
    stamp.term = term;
    stamp.sequence = sequence;
    EXPECT_I64(STATUS_OK, attempt_record_accept(fixture.records, &stamp, &result, &error));
    return result;
}

TEST(a_report_takes_effect_once_and_only_in_its_term)
{
    records_fixture_open(&fixture);
    int64_t id = submit("acme", NULL, "{}", NULL);
    EXPECT_I64(WIRE__ACK_RESULT__ACK_RESULT_UNKNOWN, accept(id, 1, 1));
    EXPECT_I64(1, begin_attempt(id));
    EXPECT_I64(WIRE__ACK_RESULT__ACK_RESULT_COMMITTED, accept(id, 1, 1));
    EXPECT_I64(WIRE__ACK_RESULT__ACK_RESULT_DUPLICATE, accept(id, 1, 1));
    EXPECT_I64(WIRE__ACK_RESULT__ACK_RESULT_COMMITTED, accept(id, 1, 3));
    EXPECT_I64(WIRE__ACK_RESULT__ACK_RESULT_DUPLICATE, accept(id, 1, 2));
    EXPECT_I64(2, begin_attempt(id));
    EXPECT_I64(WIRE__ACK_RESULT__ACK_RESULT_FENCED, accept(id, 1, 4));
    EXPECT_I64(WIRE__ACK_RESULT__ACK_RESULT_COMMITTED, accept(id, 2, 1));
    EXPECT_I64(WIRE__ACK_RESULT__ACK_RESULT_UNKNOWN, accept(id, 3, 1));
    EXPECT_I64(WIRE__ACK_RESULT__ACK_RESULT_UNKNOWN, accept(id + 1, 1, 1));
    Api__AttemptList *attempts = message_new(&fixture.arena, &api__attempt_list__descriptor);
    EXPECT_I64(STATUS_OK, attempt_record_list(fixture.records, SCOPE_TENANT("acme"), id,
                                              &fixture.arena, attempts, &error));
    REQUIRE(attempts->n_attempts == 2);
    EXPECT_I64(2, attempts->attempts[0]->term);
    EXPECT_STR("host-3", attempts->attempts[0]->ranks[0]->worker);
    attempts = message_new(&fixture.arena, &api__attempt_list__descriptor);
    EXPECT_I64(STATUS_OK, attempt_record_list(fixture.records, SCOPE_TENANT("general"), id,
                                              &fixture.arena, attempts, &error));
    EXPECT_I64(0, (int64_t)attempts->n_attempts);
    records_fixture_close(&fixture);
}

static enum status checkpoint(int64_t job, int64_t term, int64_t step, const char *manifest)
{
    Api__Checkpoint row = API__CHECKPOINT__INIT;
    row.has_job_id = row.has_term = row.has_step = row.has_bytes = row.has_created_ms = 1;
    row.job_id = job;
    row.term = term;
    row.step = step;
    row.manifest = (char *)manifest;
    row.created_ms = RECORDS_NOW_MS;
    return checkpoint_record_insert(fixture.records, &row, &error);
}

TEST(a_checkpoint_is_registered_when_its_manifest_is_stored_and_its_term_is_current)
{
    char digest[SHA256_HEX_SIZE], other[SHA256_HEX_SIZE];
    int64_t removed;
    records_fixture_open(&fixture);
    int64_t id = submit("acme", NULL, "{}", NULL);
    begin_attempt(id);
    sha256_hex("none", 4, digest);
    EXPECT_I64(STATUS_NOT_FOUND, checkpoint(id, 1, 10, digest));
    records_fixture_blob(&fixture, "general", "general's", other);
    EXPECT_I64(STATUS_NOT_FOUND, checkpoint(id, 1, 10, other)); /* another tenant's blob */
    records_fixture_blob(&fixture, "acme", "manifest", digest);
    EXPECT_I64(STATUS_OK, checkpoint(id, 1, 10, digest));
    begin_attempt(id);
    EXPECT_I64(STATUS_CONFLICT, checkpoint(id, 1, 20, digest));
    EXPECT_CONTAINS("term 1 of job j-1 is past", error.text);
    for (int step = 20; step <= 50; step += 10)
        EXPECT_I64(STATUS_OK, checkpoint(id, 2, step, digest));
    EXPECT_I64(STATUS_OK, checkpoint_record_prune(fixture.records, id, 2, &removed, &error));
    EXPECT_I64(3, removed);
    Api__CheckpointList *kept = message_new(&fixture.arena, &api__checkpoint_list__descriptor);
    EXPECT_I64(STATUS_OK, checkpoint_record_list(fixture.records, SCOPE_TENANT("acme"), id,
                                                 &fixture.arena, kept, &error));
    REQUIRE(kept->n_checkpoints == 2);
    EXPECT_I64(50, kept->checkpoints[0]->step);
    EXPECT_I64(40, kept->checkpoints[1]->step);
    records_fixture_close(&fixture);
}

TEST_MAIN()
