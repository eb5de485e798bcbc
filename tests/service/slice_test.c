/* SPDX-License-Identifier: Apache-2.0
 *
 * slice: a job's whole way through a real coordinator: submitted, scheduled, assigned, reported,
 * ended; with its model, alias, checkpoints, curves and logs.
 */
#include <string.h>

#include "coordinator/metrics_read.h"
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

/* Through to RUNNING on the worker. */
static struct fake_attempt *start(struct fake_worker *worker, int64_t id)
{
    int64_t until_ms = coordinator_now_ms() + WAIT_MS;
    while (fake_newest(worker, id) == NULL && coordinator_now_ms() < until_ms)
        service_turn(&service);
    struct fake_attempt *attempt = fake_newest(worker, id);
    CHECK(attempt != NULL);
    fake_state(worker, attempt, API__ATTEMPT_STATE__ATTEMPT_STATE_RUNNING);
    while (service_state(&service, id) != RUNNING && coordinator_now_ms() < until_ms)
        service_turn(&service);
    return fake_newest(worker, id);
}

static void succeed(struct fake_worker *worker, struct fake_attempt *attempt,
                    Api__GateDecision gate)
{
    Wire__AttemptReport report = WIRE__ATTEMPT_REPORT__INIT;
    report.has_state = true;
    report.state = API__ATTEMPT_STATE__ATTEMPT_STATE_SUCCEEDED;
    report.has_gate_decision = gate != API__GATE_DECISION__GATE_DECISION_UNSPECIFIED;
    report.gate_decision = gate;
    report.figures = "{\"general\":0.7}";
    fake_report(worker, attempt, &report);
}

/* ---- models and aliases ---------------------------------------------------------------------- */

struct alias_lookup {
    bool done;
    int64_t version, versions;
};

static enum status look_alias(struct records *records, void *argument, struct error *error)
{
    struct alias_lookup *lookup = argument;
    struct arena arena = {0};
    Api__Model *model;
    enum status status =
        model_record_get(records, SCOPE_ALL, "acme", "support", &arena, &model, error);
    lookup->version = lookup->versions = 0;
    if (status == STATUS_OK) {
        lookup->versions = model->latest;
        for (size_t i = 0; i < model->n_aliases; i++)
            if (strcmp(model->aliases[i]->name, "prod") == 0)
                lookup->version = model->aliases[i]->version;
    }
    arena_release(&arena);
    return STATUS_OK;
}

static void on_alias(void *argument, enum status status, const struct error *error)
{
    struct alias_lookup *lookup = argument;
    (void)status, (void)error;
    lookup->done = true;
}

static struct alias_lookup alias(void)
{
    struct alias_lookup lookup = {0};
    coordinator_read(service.coordinator, look_alias, on_alias, &lookup);
    while (!lookup.done)
        service_turn(&service);
    return lookup;
}

static int64_t train(struct fake_worker *worker, const char *stage, Api__GateDecision gate)
{
    char file[65], manifest[65], text[256];
    struct error error;
    struct spec_options options = {.stage = stage, .model = "acme/support", .alias = "prod"};
    int64_t id = service_submit(&service, &options, &error);
    CHECK(id > 0);
    struct fake_attempt *attempt = start(worker, id);
    snprintf(text, sizeof(text), "weights of %lld", (long long)id);
    service_upload(&service, worker, "acme", text, file);
    snprintf(text, sizeof(text),
             "{\"kind\":\"files\",\"files\":[{\"name\":\"w\",\"digest\":\"%s\",\"bytes\":1}]}",
             file);
    service_upload(&service, worker, "acme", text, manifest);
    EXPECT(worker->blob_complete);
    attempt = fake_newest(worker, id);
    fake_model(worker, attempt, manifest);
    succeed(worker, attempt, gate);
    int64_t until_ms = coordinator_now_ms() + WAIT_MS;
    while (worker->attempt_count > 0 && coordinator_now_ms() < until_ms)
        service_turn(&service);
    EXPECT_I64(SUCCEEDED, service_state(&service, id));
    return id;
}

TEST(an_alias_moves_only_when_the_gate_passed)
{
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 1);
    train(worker, "customize", API__GATE_DECISION__GATE_DECISION_PASSED);
    EXPECT_I64(1, alias().version);
    int64_t held = train(worker, "customize", API__GATE_DECISION__GATE_DECISION_HELD);
    EXPECT_I64(2, alias().versions); /* the model is kept … */
    EXPECT_I64(1, alias().version);  /* … and held */
    EXPECT_I64(1, service_count_events(&service, held, "gate_held"));
    train(worker, "customize", API__GATE_DECISION__GATE_DECISION_UNSPECIFIED);
    EXPECT_I64(1, alias().version);
    train(worker, "general", API__GATE_DECISION__GATE_DECISION_UNSPECIFIED); /* it has no gate */
    EXPECT_I64(4, alias().version);
    service_close(&service);
}

TEST(a_model_that_is_not_in_the_store_is_refused_and_a_manifest_without_its_parts_too)
{
    char digest[65], text[256];
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 1);
    struct spec_options options = {.model = "acme/support", .alias = "prod"};
    int64_t id = service_submit(&service, &options, NULL);
    struct fake_attempt *attempt = start(worker, id);
    memset(digest, 'a', 64);
    digest[64] = '\0';
    fake_model(worker, attempt, digest);
    UNTIL(&service, worker->acks[WIRE__ACK_RESULT__ACK_RESULT_REFUSED] == 1);
    EXPECT_CONTAINS("is not in the store", worker->ack_message);
    EXPECT_I64(0, alias().versions);
    snprintf(text, sizeof(text),
             "{\"kind\":\"files\",\"files\":[{\"name\":\"w\",\"digest\":\"%s\"}]}", digest);
    service_upload(&service, worker, "acme", text, digest);
    EXPECT(!worker->blob_complete);
    EXPECT(worker->blob_message[0] != '\0');
    service_close(&service);
}

/* ---- checkpoints, curves, logs --------------------------------------------------------------- */

struct pages {
    bool done;
    struct arena arena;
    Api__MetricList *metrics;
    Api__LogList *logs;
    int64_t woken;
};

static void on_page(void *argument, enum status status, const struct error *error)
{
    struct pages *pages = argument;
    (void)error;
    EXPECT_I64(STATUS_OK, status);
    pages->done = true;
}

static void on_wake(void *argument)
{
    ((struct pages *)argument)->woken++;
}

static void read_pages(struct pages *pages, int64_t job, int64_t after, int64_t limit)
{
    struct series_query query = {.job = job, .after = after, .limit = limit, .rank = -1};
    pages->done = false;
    pages->metrics = message_new(&pages->arena, &api__metric_list__descriptor);
    pages->logs = message_new(&pages->arena, &api__log_list__descriptor);
    coordinator_metrics_read(service.coordinator, &query, &pages->arena, pages->metrics, on_page,
                             pages);
    while (!pages->done)
        service_turn(&service);
    pages->done = false;
    coordinator_logs_read(service.coordinator, &query, &pages->arena, pages->logs, on_page, pages);
    while (!pages->done)
        service_turn(&service);
}

TEST(curves_and_logs_are_read_page_by_page_and_followers_are_woken)
{
    struct pages pages = {0};
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 1);
    int64_t id = service_submit_plain(&service);
    struct fake_attempt *attempt = start(worker, id);
    struct watch watch = {.kind = WATCH_METRICS, .job = id, .wake = on_wake, .argument = &pages};
    coordinator_watch_start(service.coordinator, &watch);
    for (int64_t step = 1; step <= 5; step++)
        fake_metrics(worker, attempt, step, 1.0 / (double)step);
    fake_log(worker, attempt, "first \"line\"");
    fake_log(worker, attempt, "second");
    UNTIL(&service, pages.woken > 0);
    service_idle(&service, 200);
    coordinator_watch_stop(service.coordinator, &watch);
    read_pages(&pages, id, 0, 2);
    REQUIRE(pages.metrics->n_points == 2 && pages.logs->n_lines == 2);
    EXPECT_STR("{\"loss\":1.0}", pages.metrics->points[0]->values);
    EXPECT_STR("first \"line\"", pages.logs->lines[0]->text);
    read_pages(&pages, id, pages.metrics->next, 10);
    REQUIRE(pages.metrics->n_points == 3);
    EXPECT_I64(3, pages.metrics->points[0]->step);
    int64_t end = pages.metrics->next;
    read_pages(&pages, id, end, 10);
    EXPECT_I64(0, (int64_t)pages.metrics->n_points);
    EXPECT_I64(end, pages.metrics->next);
    arena_release(&pages.arena);
    service_close(&service);
}

TEST(a_failed_attempt_is_tried_again_from_its_newest_checkpoint_and_data_errors_are_not)
{
    char digest[65];
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 1);
    int64_t id = service_submit_plain(&service);
    struct fake_attempt *attempt = start(worker, id);
    EXPECT_STR("", attempt->checkpoint);
    service_upload(&service, worker, "acme", "checkpoint of step 7", digest);
    attempt = fake_newest(worker, id);
    fake_checkpoint(worker, attempt, 7, digest);
    fake_fail(worker, attempt, API__FAILURE_CLASS__FAILURE_CLASS_INTERNAL, "it broke");
    UNTIL(&service, fake_attempt(worker, id, 2) != NULL);
    attempt = fake_attempt(worker, id, 2);
    EXPECT_STR(digest, attempt->checkpoint);
    fake_state(worker, attempt, API__ATTEMPT_STATE__ATTEMPT_STATE_RUNNING);
    fake_fail(worker, attempt, API__FAILURE_CLASS__FAILURE_CLASS_USER_DATA, "no such column");
    UNTIL(&service, service_state(&service, id) == FAILED);
    struct arena arena = {0};
    Api__Job *job = service_job(&service, &arena, id);
    EXPECT_STR("no such column", job->failure_message);
    EXPECT_I64(API__FAILURE_CLASS__FAILURE_CLASS_USER_DATA, job->failure_class);
    EXPECT_CONTAINS("Look at the data report", job->failure_hint);
    arena_release(&arena);
    service_close(&service);
}

/* ---- what people do -------------------------------------------------------------------------- */

TEST(a_key_makes_one_job_and_with_another_request_it_is_a_conflict)
{
    struct error error;
    service_open(&service);
    struct spec_options options = {.key = "k-1"};
    int64_t id = service_submit(&service, &options, &error);
    EXPECT(id > 0);
    EXPECT_I64(id, service_submit(&service, &options, &error));
    options.wall_time_s = 100;
    EXPECT_I64(-(int64_t)STATUS_CONFLICT, service_submit(&service, &options, &error));
    options.tenant = "nobody";
    EXPECT_I64(-(int64_t)STATUS_NOT_FOUND, service_submit(&service, &options, &error));
    service_close(&service);
}

TEST(a_cancelled_job_ends_when_its_ranks_are_gone_and_twice_is_no_error)
{
    struct error error;
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 1);
    int64_t id = service_submit_plain(&service);
    struct fake_attempt *attempt = start(worker, id);
    EXPECT_I64(STATUS_OK, service_verb(&service, JOB_VERB_CANCEL, id, 0, &error));
    UNTIL(&service, (attempt = fake_newest(worker, id)) != NULL && attempt->cancelled);
    EXPECT_I64(API__JOB_STATE__JOB_STATE_CANCELLING, service_state(&service, id));
    succeed(worker, attempt, API__GATE_DECISION__GATE_DECISION_PASSED); /* too late */
    UNTIL(&service, service_state(&service, id) == API__JOB_STATE__JOB_STATE_CANCELLED);
    EXPECT_I64(STATUS_OK, service_verb(&service, JOB_VERB_CANCEL, id, 0, &error));
    EXPECT_I64(STATUS_CONFLICT, service_verb(&service, JOB_VERB_PAUSE, id, 0, &error));
    EXPECT_I64(STATUS_NOT_FOUND, service_verb(&service, JOB_VERB_CANCEL, id + 9, 0, &error));
    struct caller stranger = {.tenant = "globex", .name = "s"};
    struct caller root = service.admin;
    service.admin = stranger;
    EXPECT_I64(STATUS_NOT_FOUND, service_verb(&service, JOB_VERB_CANCEL, id, 0, &error));
    service.admin = root;
    service_close(&service);
}

TEST(a_paused_job_gives_its_slot_away_and_resumes_under_the_next_term)
{
    struct error error;
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 1);
    worker->automatic = true;
    int64_t id = service_submit_plain(&service);
    UNTIL(&service, service_state(&service, id) == RUNNING);
    EXPECT_I64(STATUS_OK, service_verb(&service, JOB_VERB_PAUSE, id, 0, &error));
    UNTIL(&service, service_state(&service, id) == API__JOB_STATE__JOB_STATE_PAUSED);
    int64_t other = service_submit_plain(&service);
    UNTIL(&service, service_state(&service, other) == RUNNING);
    EXPECT_I64(STATUS_OK, service_verb(&service, JOB_VERB_RESUME, id, 0, &error));
    EXPECT_I64(STATUS_OK, service_verb(&service, JOB_VERB_CANCEL, other, 0, &error));
    UNTIL(&service, service_state(&service, id) == RUNNING);
    EXPECT_I64(2, fake_newest(worker, id)->term);
    EXPECT(worker->pauses >= 1);
    service_close(&service);
}

TEST(a_job_waits_for_the_one_that_it_comes_after_and_says_so)
{
    char after[32];
    struct error error;
    struct arena arena = {0};
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 2);
    worker->automatic = true;
    int64_t first = service_submit_plain(&service);
    snprintf(after, sizeof(after), "j-%lld", (long long)first);
    int64_t second = service_submit(&service, &(struct spec_options){.after = after}, &error);
    UNTIL(&service, service_state(&service, first) == RUNNING);
    service_idle(&service, 200);
    Api__Job *job = service_job(&service, &arena, second);
    coordinator_job_refresh(service.coordinator, &arena, job);
    EXPECT_I64(API__JOB_STATE__JOB_STATE_QUEUED, job->state);
    EXPECT_I64(API__WAITING_REASON__WAITING_REASON_DEPENDENCY, job->waiting_reason);
    EXPECT_CONTAINS("waits for a job that it comes after", job->waiting_detail);
    succeed(worker, fake_newest(worker, first), API__GATE_DECISION__GATE_DECISION_PASSED);
    UNTIL(&service, service_state(&service, second) == RUNNING);
    int64_t third = service_submit(&service, &(struct spec_options){.after = "j-999"}, &error);
    EXPECT_I64(-(int64_t)STATUS_NOT_FOUND, third);
    arena_release(&arena);
    service_close(&service);
}

TEST(a_more_urgent_job_of_a_tenant_makes_a_lesser_one_yield_and_queue_again)
{
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 1);
    worker->automatic = true;
    int64_t low = service_submit_plain(&service);
    UNTIL(&service, service_state(&service, low) == RUNNING);
    int64_t high = service_submit(&service, &(struct spec_options){.priority = 10}, NULL);
    UNTIL(&service, service_state(&service, high) == RUNNING);
    EXPECT_I64(API__JOB_STATE__JOB_STATE_QUEUED, service_state(&service, low));
    succeed(worker, fake_newest(worker, high), API__GATE_DECISION__GATE_DECISION_PASSED);
    UNTIL(&service, service_state(&service, low) == RUNNING);
    service_close(&service);
}

static void on_done_flag(void *argument, enum status status, const struct error *error)
{
    (void)error;
    EXPECT_I64(STATUS_OK, status);
    *(bool *)argument = true;
}

TEST(a_draining_worker_finishes_what_it_has_and_gets_nothing_new)
{
    bool done = false;
    struct arena arena = {0};
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 2);
    worker->automatic = true;
    int64_t id = service_submit_plain(&service);
    UNTIL(&service, service_state(&service, id) == RUNNING);
    coordinator_worker_verb(service.coordinator, WORKER_VERB_DRAIN, worker->id, on_done_flag,
                            &done);
    UNTIL(&service, done && worker->drains == 1);
    int64_t other = service_submit_plain(&service);
    service_idle(&service, 300);
    EXPECT_I64(API__JOB_STATE__JOB_STATE_QUEUED, service_state(&service, other));
    succeed(worker, fake_newest(worker, id), API__GATE_DECISION__GATE_DECISION_PASSED);
    UNTIL(&service, service_state(&service, id) == SUCCEEDED);
    Api__WorkerList *list = message_new(&arena, &api__worker_list__descriptor);
    coordinator_workers(service.coordinator, &arena, 0, list);
    REQUIRE(list->n_workers == 1);
    EXPECT_I64(API__WORKER_STATE__WORKER_STATE_DRAINED, list->workers[0]->state);
    done = false;
    coordinator_worker_verb(service.coordinator, WORKER_VERB_UNDRAIN, worker->id, on_done_flag,
                            &done);
    UNTIL(&service, service_state(&service, other) == RUNNING);
    arena_release(&arena);
    service_close(&service);
}

/* ---- gangs and figures ----------------------------------------------------------------------- */

TEST(a_gang_over_two_workers_runs_when_both_do_and_ends_with_its_lead)
{
    service_open(&service);
    struct fake_worker *a = service_add_worker(&service, 1);
    struct fake_worker *b = service_add_worker(&service, 1);
    int64_t id = service_submit(&service, &(struct spec_options){.ranks = 2}, NULL);
    UNTIL(&service, fake_newest(a, id) != NULL && fake_newest(b, id) != NULL);
    struct fake_worker *lead = fake_newest(a, id)->ranks[0] == 0 ? a : b;
    struct fake_worker *other = lead == a ? b : a;
    EXPECT_I64(2, (int64_t)fake_newest(lead, id)->peers);
    fake_state(other, fake_newest(other, id), API__ATTEMPT_STATE__ATTEMPT_STATE_RUNNING);
    service_idle(&service, 200);
    EXPECT_I64(API__JOB_STATE__JOB_STATE_STARTING, service_state(&service, id));
    fake_state(lead, fake_newest(lead, id), API__ATTEMPT_STATE__ATTEMPT_STATE_RUNNING);
    UNTIL(&service, service_state(&service, id) == RUNNING);
    succeed(other, fake_newest(other, id), API__GATE_DECISION__GATE_DECISION_UNSPECIFIED);
    service_idle(&service, 200);
    EXPECT_I64(RUNNING, service_state(&service, id));
    succeed(lead, fake_newest(lead, id), API__GATE_DECISION__GATE_DECISION_UNSPECIFIED);
    UNTIL(&service, service_state(&service, id) == SUCCEEDED);
    service_close(&service);
}

TEST(a_rank_that_fails_ends_its_whole_gang_and_the_next_one_is_whole_again)
{
    service_open(&service);
    struct fake_worker *a = service_add_worker(&service, 1);
    struct fake_worker *b = service_add_worker(&service, 1);
    a->automatic = b->automatic = true;
    int64_t id = service_submit(&service, &(struct spec_options){.ranks = 2}, NULL);
    UNTIL(&service, service_state(&service, id) == RUNNING);
    fake_fail(a, fake_newest(a, id), API__FAILURE_CLASS__FAILURE_CLASS_COMMUNICATION, "peer gone");
    UNTIL(&service, fake_attempt(a, id, 2) != NULL && fake_attempt(b, id, 2) != NULL);
    EXPECT(b->cancels >= 1);
    UNTIL(&service, service_state(&service, id) == RUNNING);
    service_close(&service);
}

struct usage_lookup {
    bool done;
    struct arena arena;
    Api__UsageList *list;
};

static enum status look_usage(struct records *records, void *argument, struct error *error)
{
    struct usage_lookup *lookup = argument;
    return usage_record_sum(records, SCOPE_ALL, 0, INT64_MAX, &lookup->arena, lookup->list, error);
}

static void on_usage(void *argument, enum status status, const struct error *error)
{
    (void)status, (void)error;
    ((struct usage_lookup *)argument)->done = true;
}

TEST(slot_time_is_recorded_and_adds_up_with_the_idle_to_the_capacity)
{
    struct usage_lookup lookup = {0};
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 3);
    worker->automatic = true;
    int64_t id = service_submit_plain(&service);
    UNTIL(&service, service_state(&service, id) == RUNNING);
    int64_t began_ms = coordinator_now_ms();
    service_idle(&service, 1000);
    int64_t passed_ms = coordinator_now_ms() - began_ms;
    service_stop(&service); /* records what is left */
    service_start(&service);
    lookup.list = message_new(&lookup.arena, &api__usage_list__descriptor);
    coordinator_read(service.coordinator, look_usage, on_usage, &lookup);
    UNTIL(&service, lookup.done);
    int64_t sum = 0, acme = 0;
    for (size_t i = 0; i < lookup.list->n_rows; i++) {
        sum += lookup.list->rows[i]->slot_ms;
        if (lookup.list->rows[i]->tenant != NULL &&
            strcmp(lookup.list->rows[i]->tenant, "acme") == 0)
            acme = lookup.list->rows[i]->slot_ms;
    }
    EXPECT_I64(lookup.list->capacity_slot_ms, sum);
    EXPECT(acme >= passed_ms);    /* one slot … */
    EXPECT(sum >= 3 * passed_ms); /* … of three */
    EXPECT(sum - acme >= 2 * passed_ms);
    arena_release(&lookup.arena);
    service_close(&service);
}

TEST(blobs_go_up_in_chunks_and_come_down_and_a_wrong_digest_is_thrown_away)
{
    char digest[65];
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 1);
    service_upload(&service, worker, "acme", "some bytes", digest);
    EXPECT(worker->blob_complete);
    Wire__BlobGet get = WIRE__BLOB_GET__INIT;
    get.digest = digest;
    get.tenant = "globex"; /* a worker gets what a spec names, whoever's it is */
    get.has_offset = get.has_bytes = true;
    get.offset = 5;
    get.bytes = 100;
    fake_send(worker, WORKER_BLOB_GET, &get);
    UNTIL(&service, worker->blob.length > 0);
    EXPECT_STR("bytes", worker->blob.data);
    EXPECT_I64(10, worker->blob_size);
    memset(digest, 'b', 64);
    get.offset = 0;
    worker->blob_message[0] = '\0';
    fake_send(worker, WORKER_BLOB_GET, &get);
    UNTIL(&service, worker->blob_message[0] != '\0');
    EXPECT_CONTAINS("there is no blob bbbbbbbbbbbb", worker->blob_message);
    Wire__BlobChunk chunk = WIRE__BLOB_CHUNK__INIT;
    chunk.tenant = "acme";
    chunk.digest = digest;
    chunk.has_offset = chunk.has_size = chunk.has_data = true;
    chunk.size = 3;
    chunk.data = (ProtobufCBinaryData){3, (uint8_t *)"abc"};
    worker->blob_message[0] = '\0';
    fake_send(worker, WORKER_BLOB_CHUNK, &chunk);
    UNTIL(&service, worker->blob_message[0] != '\0');
    EXPECT_CONTAINS("has the digest", worker->blob_message);
    EXPECT(!worker->blob_complete);
    EXPECT_I64(0, worker->blob_offset);
    service_close(&service);
}

TEST(garbage_on_the_workers_port_changes_nothing)
{
    struct buf metrics = {0};
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 1);
    fake_send_bytes(worker, "", 0);
    fake_send_bytes(worker, "GET / HTTP/1.1\r\n\r\n", 18);
    fake_send_bytes(worker, "TW\x01\x14\xff\xff\xff", 7);
    Wire__Welcome welcome = WIRE__WELCOME__INIT;
    fake_send(worker, WORKER_WELCOME, &welcome); /* not a worker's to send */
    worker->automatic = true;
    int64_t id = service_submit_plain(&service);
    UNTIL(&service, service_state(&service, id) == RUNNING);
    coordinator_metrics(service.coordinator, 0, &metrics);
    EXPECT_CONTAINS("tailor_worker_messages_total{result=\"malformed\"} 4\n", metrics.data);
    EXPECT_CONTAINS("tailor_jobs{state=\"running\"} 1\n", metrics.data);
    buf_release(&metrics);
    service_close(&service);
}

TEST_MAIN()
