/* SPDX-License-Identifier: Apache-2.0
 *
 * recovery: what dies and comes back: workers, connections, the coordinator; and what must not be
 * lost, repeated or believed by it.
 */
#include <string.h>

#include "coordinator/metrics_read.h"
#include "lib/check.h"
#include "tests/service/service_fixture.h"
#include "tests/test.h"

#define RUNNING   API__JOB_STATE__JOB_STATE_RUNNING
#define SUCCEEDED API__JOB_STATE__JOB_STATE_SUCCEEDED
#define COMMITTED WIRE__ACK_RESULT__ACK_RESULT_COMMITTED
#define FENCED    WIRE__ACK_RESULT__ACK_RESULT_FENCED

static struct service service;

static int64_t running_job(struct fake_worker *worker)
{
    int64_t id = service_submit_plain(&service);
    int64_t until_ms = coordinator_now_ms() + WAIT_MS;
    worker->automatic = true;
    while ((service_state(&service, id) != RUNNING || fake_newest(worker, id)->outbox_count > 0) &&
           coordinator_now_ms() < until_ms)
        service_turn(&service);
    worker->automatic = false;
    return id;
}

static double metric(const char *name)
{
    struct buf text = {0};
    char line[128];
    double value = -1;
    coordinator_metrics(service.coordinator, 0, &text);
    snprintf(line, sizeof(line), "\n%s ", name);
    const char *found = strstr(text.data, line);
    if (found != NULL)
        sscanf(found + strlen(line), "%lf", &value);
    buf_release(&text);
    return value;
}

TEST(a_silent_workers_job_goes_on_elsewhere_and_its_late_reports_are_fenced)
{
    service_open(&service);
    struct fake_worker *a = service_add_worker(&service, 1);
    int64_t id = running_job(a);
    struct fake_worker *b = service_add_worker(&service, 1);
    a->silent = a->deaf = true;
    UNTIL(&service, fake_attempt(b, id, 2) != NULL);
    EXPECT_I64(1, service_count_events(&service, 0, "worker_lost"));
    fake_state(b, fake_attempt(b, id, 2), API__ATTEMPT_STATE__ATTEMPT_STATE_RUNNING);
    UNTIL(&service, service_state(&service, id) == RUNNING);
    /* The zombie wakes and claims to have finished. */
    a->silent = a->deaf = false;
    fake_state(a, fake_newest(a, id), API__ATTEMPT_STATE__ATTEMPT_STATE_SUCCEEDED);
    UNTIL(&service, a->acks[FENCED] == 1);
    EXPECT_I64(RUNNING, service_state(&service, id));
    EXPECT(metric("tailor_fenced_total") >= 1);
    fake_state(b, fake_newest(b, id), API__ATTEMPT_STATE__ATTEMPT_STATE_SUCCEEDED);
    UNTIL(&service, service_state(&service, id) == SUCCEEDED);
    service_close(&service);
}

TEST(a_silent_worker_that_comes_back_is_told_to_stop_and_its_slot_is_free_only_then)
{
    service_open(&service);
    struct fake_worker *a = service_add_worker(&service, 1);
    int64_t id = running_job(a);
    a->silent = a->deaf = true;
    UNTIL(&service, service_state(&service, id) == API__JOB_STATE__JOB_STATE_RECOVERING);
    a->silent = a->deaf = false;
    UNTIL(&service, fake_newest(a, id) != NULL && fake_newest(a, id)->cancelled);
    service_idle(&service, 300);
    EXPECT_I64(1, fake_newest(a, id)->term); /* the old ranks still hold the only slot */
    fake_state(a, fake_newest(a, id), API__ATTEMPT_STATE__ATTEMPT_STATE_STOPPED);
    UNTIL(&service, fake_attempt(a, id, 2) != NULL);
    service_close(&service);
}

TEST(a_worker_that_restarts_has_lost_its_attempts_and_gets_the_next_ones)
{
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 1);
    int64_t id = running_job(worker);
    fake_worker_restart(worker);
    UNTIL(&service, fake_attempt(worker, id, 2) != NULL);
    struct arena arena = {0};
    Api__Job *job = service_job(&service, &arena, id);
    EXPECT_I64(API__FAILURE_CLASS__FAILURE_CLASS_WORKER_LOST, job->failure_class);
    arena_release(&arena);
    service_close(&service);
}

TEST(a_coordinator_that_restarts_adopts_what_runs_and_loses_no_report)
{
    char digest[65];
    struct arena arena = {0};
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 2);
    int64_t id = running_job(worker);
    service_upload(&service, worker, "acme", "checkpoint", digest);
    service_stop(&service);
    fake_checkpoint(worker, fake_newest(worker, id), 5, digest); /* nobody hears it */
    service_idle(&service, 1500);                                /* longer than lost_after */
    service_start(&service);
    UNTIL(&service, worker->acks[COMMITTED] == 2);
    EXPECT_I64(RUNNING, service_state(&service, id));
    EXPECT_I64(1, fake_newest(worker, id)->term);
    EXPECT_I64(1, worker->assigns);
    int64_t other = service_submit_plain(&service); /* the first slot is still held */
    UNTIL(&service, fake_newest(worker, other) != NULL);
    EXPECT_I64(1, fake_newest(worker, other)->slots[0]);
    fake_state(worker, fake_newest(worker, id), API__ATTEMPT_STATE__ATTEMPT_STATE_SUCCEEDED);
    UNTIL(&service, service_state(&service, id) == SUCCEEDED);
    EXPECT_I64(5, service_job(&service, &arena, id)->step);
    arena_release(&arena);
    service_close(&service);
}

static void send_finding(struct fake_worker *worker, int64_t job, int64_t sequence)
{
    char text[32];
    Wire__Finding finding = WIRE__FINDING__INIT;
    Wire__Stamp stamp = WIRE__STAMP__INIT;
    stamp.has_job = stamp.has_term = stamp.has_sequence = true;
    stamp.job = job;
    stamp.term = 1;
    stamp.sequence = sequence;
    snprintf(text, sizeof(text), "finding %d", (int)sequence);
    finding.stamp = &stamp;
    finding.kind = "seen";
    finding.message = text;
    finding.has_time_ms = true;
    finding.time_ms = sequence; /* when it was made: the same each time it is sent */
    fake_send(worker, WORKER_FINDING, &finding);
}

TEST(a_report_that_waited_in_a_socket_does_not_go_before_an_older_one_that_was_lost)
{
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 1);
    int64_t id = running_job(worker);
    int64_t first = fake_newest(worker, id)->sequence + 1;
    service_stop(&service);
    send_finding(worker, id, first + 1); /* the one before it died with the coordinator */
    service_start(&service);
    UNTIL(&service, worker->attached && worker->epoch == 2);
    send_finding(worker, id, first);
    send_finding(worker, id, first + 1);
    UNTIL(&service, service_count_events(&service, id, "seen") == 2);
    service_close(&service);
}

TEST(a_finding_that_was_recorded_and_not_acknowledged_is_recorded_once)
{
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 1);
    int64_t id = running_job(worker);
    int64_t first = fake_newest(worker, id)->sequence + 1;
    send_finding(worker, id, first);
    UNTIL(&service, service_count_events(&service, id, "seen") == 1);
    int64_t before = worker->acks[COMMITTED];
    service_stop(&service); /* and its acknowledgement is lost */
    service_start(&service);
    UNTIL(&service, worker->attached && worker->epoch == 2);
    send_finding(worker, id, first);
    UNTIL(&service, worker->acks[COMMITTED] > before);
    EXPECT_I64(1, service_count_events(&service, id, "seen"));
    service_close(&service);
}

TEST(a_job_that_was_only_assigned_starts_under_the_next_coordinator)
{
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 1);
    int64_t id = service_submit_plain(&service);
    UNTIL(&service, fake_newest(worker, id) != NULL);
    service_stop(&service);
    fake_worker_restart(worker); /* and it has forgotten the Assign */
    service_start(&service);
    UNTIL(&service, fake_newest(worker, id) != NULL);
    EXPECT_I64(1, fake_newest(worker, id)->term); /* told again, under the same term */
    fake_state(worker, fake_newest(worker, id), API__ATTEMPT_STATE__ATTEMPT_STATE_RUNNING);
    UNTIL(&service, service_state(&service, id) == RUNNING);
    service_close(&service);
}

TEST(a_worker_that_died_while_the_coordinator_was_away_loses_its_jobs_on_its_return)
{
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 1);
    int64_t id = running_job(worker);
    service_stop(&service);
    fake_worker_restart(worker);
    service_start(&service);
    UNTIL(&service, fake_attempt(worker, id, 2) != NULL);
    service_close(&service);
}

TEST(wishes_survive_a_restart_of_the_coordinator)
{
    struct error error;
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 2);
    int64_t paused = running_job(worker);
    int64_t cancelled = running_job(worker);
    EXPECT_I64(STATUS_OK, service_verb(&service, JOB_VERB_PAUSE, paused, 0, &error));
    EXPECT_I64(STATUS_OK, service_verb(&service, JOB_VERB_CANCEL, cancelled, 0, &error));
    service_stop(&service);
    service_start(&service);
    UNTIL(&service,
          fake_newest(worker, paused)->paused && fake_newest(worker, cancelled)->cancelled);
    fake_state(worker, fake_newest(worker, paused), API__ATTEMPT_STATE__ATTEMPT_STATE_STOPPED);
    fake_state(worker, fake_newest(worker, cancelled), API__ATTEMPT_STATE__ATTEMPT_STATE_STOPPED);
    UNTIL(&service, service_state(&service, paused) == API__JOB_STATE__JOB_STATE_PAUSED);
    UNTIL(&service, service_state(&service, cancelled) == API__JOB_STATE__JOB_STATE_CANCELLED);
    service_close(&service);
}

static void on_verb(void *argument, enum status status, const struct error *error)
{
    (void)error;
    *(bool *)argument = status == STATUS_OK;
}

static void verb(enum worker_verb verb, int64_t worker)
{
    bool done = false;
    coordinator_worker_verb(service.coordinator, verb, worker, on_verb, &done);
    UNTIL(&service, done);
}

TEST(a_job_that_pauses_for_want_of_space_says_so_and_goes_on_by_itself_also_after_a_restart)
{
    struct arena arena = {0};
    Wire__AttemptReport report = WIRE__ATTEMPT_REPORT__INIT;
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 1);
    int64_t id = running_job(worker);
    verb(WORKER_VERB_DRAIN, worker->id); /* so that it stays paused for a while */
    report.has_state = report.has_failure_class = report.has_full = true;
    report.state = API__ATTEMPT_STATE__ATTEMPT_STATE_FAILED;
    report.failure_class = API__FAILURE_CLASS__FAILURE_CLASS_STORAGE;
    report.failure_message = "store/ab: cannot write: No space left on device";
    report.full = true;
    fake_report(worker, fake_newest(worker, id), &report);
    UNTIL(&service, service_state(&service, id) == API__JOB_STATE__JOB_STATE_PAUSED);
    Api__Job *row = service_job(&service, &arena, id);
    coordinator_job_refresh(service.coordinator, &arena, row);
    EXPECT_I64(API__WAITING_REASON__WAITING_REASON_STORAGE, row->waiting_reason);
    EXPECT_CONTAINS("goes on by itself", row->waiting_detail);
    EXPECT_I64(1, service_count_events(&service, id, "storage"));
    service_stop(&service);
    service_start(&service);
    service_idle(&service, 500);
    EXPECT_I64(API__JOB_STATE__JOB_STATE_PAUSED, service_state(&service, id));
    worker->automatic = true;
    verb(WORKER_VERB_UNDRAIN, worker->id);
    UNTIL(&service, service_state(&service, id) == RUNNING);
    EXPECT_I64(2, fake_newest(worker, id)->term);
    arena_release(&arena);
    service_close(&service);
}

TEST(a_report_that_is_sent_again_takes_effect_once_and_a_gap_is_not_acknowledged)
{
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 1);
    int64_t id = running_job(worker);
    struct fake_attempt *attempt = fake_newest(worker, id);
    Wire__Finding finding = WIRE__FINDING__INIT;
    Wire__Stamp stamp = WIRE__STAMP__INIT;
    stamp.has_job = stamp.has_term = stamp.has_sequence = true;
    stamp.job = id;
    stamp.term = 1;
    stamp.sequence = attempt->sequence + 1;
    finding.stamp = &stamp;
    finding.kind = "ln2";
    finding.message = "the loss stays near ln 2";
    fake_send(worker, WORKER_FINDING, &finding);
    fake_send(worker, WORKER_FINDING, &finding);
    fake_send(worker, WORKER_FINDING, &finding);
    UNTIL(&service, worker->acks[WIRE__ACK_RESULT__ACK_RESULT_DUPLICATE] == 2);
    EXPECT_I64(1, service_count_events(&service, id, "ln2"));
    stamp.sequence += 5;
    int64_t before = worker->acks[COMMITTED];
    fake_send(worker, WORKER_FINDING, &finding);
    service_idle(&service, 200);
    EXPECT_I64(before, worker->acks[COMMITTED]);
    EXPECT_I64(1, service_count_events(&service, id, "ln2"));
    stamp.term = 99;
    fake_send(worker, WORKER_FINDING, &finding);
    UNTIL(&service, worker->acks[WIRE__ACK_RESULT__ACK_RESULT_UNKNOWN] == 1);
    service_close(&service);
}

TEST(another_workers_attempt_cannot_be_spoken_for)
{
    service_open(&service);
    struct fake_worker *a = service_add_worker(&service, 1);
    int64_t id = running_job(a);
    struct fake_worker *b = service_add_worker(&service, 1);
    Wire__AttemptReport report = WIRE__ATTEMPT_REPORT__INIT;
    Wire__Stamp stamp = WIRE__STAMP__INIT;
    stamp.has_job = stamp.has_term = stamp.has_sequence = true;
    stamp.job = id;
    stamp.term = 1;
    stamp.sequence = 1;
    report.stamp = &stamp;
    report.has_state = true;
    report.state = API__ATTEMPT_STATE__ATTEMPT_STATE_SUCCEEDED;
    fake_send(b, WORKER_ATTEMPT_REPORT, &report);
    UNTIL(&service, b->acks[FENCED] == 1);
    EXPECT_I64(RUNNING, service_state(&service, id));
    service_close(&service);
}

TEST(a_worker_that_will_not_take_a_job_is_no_fault_of_the_job)
{
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 1);
    worker->refuses = true;
    int64_t id = service_submit_plain(&service);
    UNTIL(&service, worker->assigns >= 2);
    worker->refuses = false;
    worker->automatic = true;
    UNTIL(&service, service_state(&service, id) == RUNNING);
    service_close(&service);
}

TEST(a_job_that_runs_longer_than_its_limit_is_stopped)
{
    struct arena arena = {0};
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 1);
    worker->automatic = true;
    int64_t id = service_submit(&service, &(struct spec_options){.wall_time_s = 1}, NULL);
    UNTIL(&service, service_state(&service, id) == API__JOB_STATE__JOB_STATE_FAILED);
    Api__Job *job = service_job(&service, &arena, id);
    EXPECT_I64(API__FAILURE_CLASS__FAILURE_CLASS_TIMEOUT, job->failure_class);
    EXPECT_STR("it ran longer than limits.wall_time", job->failure_message);
    UNTIL(&service, worker->attempt_count == 0);
    arena_release(&arena);
    service_close(&service);
}

/* ---- joining --------------------------------------------------------------------------------- */

static void on_token(void *argument, enum status status, const struct error *error)
{
    (void)error;
    *(bool *)argument = status == STATUS_OK;
}

TEST(a_join_token_is_good_for_one_worker)
{
    char token[JOIN_TOKEN_MAX];
    bool done = false;
    service_open(&service);
    coordinator_join_token(service.coordinator, "default", 0, token, on_token, &done);
    UNTIL(&service, done);
    service_stop(&service); /* a token survives a restart */
    service_start(&service);
    struct fake_worker *a = service.workers[0] = fake_worker_create(token, "a", 1);
    service.worker_count = 1;
    UNTIL(&service, a->attached);
    struct fake_worker *b = service.workers[1] = fake_worker_create(token, "b", 1);
    service.worker_count = 2;
    UNTIL(&service, b->refusal[0] != '\0');
    EXPECT_CONTAINS("was used by another worker", b->refusal);
    EXPECT(!b->joined);
    service_stop(&service);
    service_start(&service); /* and its key is not even let in */
    b->refusal[0] = '\0';
    service_idle(&service, 1000);
    EXPECT(!b->joined);
    EXPECT_STR("", b->refusal);
    UNTIL(&service, a->attached && a->epoch == 3);
    service_close(&service);
}

TEST(a_second_coordinator_on_the_same_directory_is_refused)
{
    struct coordinator *other;
    struct error error;
    service_open(&service);
    struct coordinator_options options = service.options;
    options.workers = "127.0.0.1:0";
    EXPECT_I64(STATUS_CONFLICT, coordinator_open(&options, service.base, &other, &error));
    EXPECT_CONTAINS("another coordinator runs on this directory", error.text);
    service_close(&service);
}

TEST_MAIN()
