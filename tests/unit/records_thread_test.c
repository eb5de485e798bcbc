/* SPDX-License-Identifier: Apache-2.0
 *
 * db_thread: many requests, one commit, and no answer before it.
 */
#include <fcntl.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/check.h"
#include "proto/message.h"
#include "storage/records/db_thread.h"
#include "tests/disk_fixture.h"
#include "tests/records_fixture.h"
#include "tests/test.h"

enum { REQUESTS = 600 };

struct submit_request {
    struct db_request base; /* first: the one is the other */
    char key[32];
    const char *tenant;
    int64_t id;
    bool created, fails;
};

static struct records_fixture fixture;
static struct submit_request requests[REQUESTS];

static enum status run_submit(struct records *records, struct db_request *base, struct error *error)
{
    struct submit_request *request = (struct submit_request *)base;
    TRY(records_fixture_submit(records, request->tenant, request->key, "{}", &request->id,
                               &request->created, error));
    if (request->fails) /* after it has written */
        return error_set(error, STATUS_LIMIT, "over the quota");
    return STATUS_OK;
}

static void prepare(int i, const char *tenant, bool fails)
{
    requests[i] = (struct submit_request){.base = {.run = run_submit}};
    snprintf(requests[i].key, sizeof(requests[i].key), "k%d", i);
    requests[i].tenant = tenant;
    requests[i].fails = fails;
}

/* Waits for `count` and expects them in the order of their submit. */
static void take(struct db_thread *thread, int first, int count)
{
    for (int i = first; i < first + count;) {
        struct pollfd poll_fd = {.fd = db_thread_fd(thread), .events = POLLIN};
        CHECK(poll(&poll_fd, 1, 60000) == 1);
        for (struct db_request *got; (got = db_thread_take(thread)) != NULL; i++)
            if (got != &requests[i].base)
                test_fail(__FILE__, __LINE__, "request %d came back out of order", i);
    }
}

static int64_t jobs_in_records(void)
{
    int64_t count;
    CHECK(job_record_count_active(fixture.records, "acme", &count, NULL) == STATUS_OK);
    return count;
}

static void start(void)
{
    records_fixture_open(&fixture);
    CHECK(records_commit(fixture.records, NULL) == STATUS_OK);
}

TEST(requests_come_back_in_order_and_one_that_fails_takes_only_its_own_changes_along)
{
    double commit_s;
    int batch;
    start();
    struct db_thread *thread = db_thread_start(fixture.records);
    for (int i = 0; i < REQUESTS; i++) {
        prepare(i, i % 10 == 3 ? "nobody" : "acme", i % 10 == 7);
        EXPECT(db_thread_submit(thread, &requests[i].base));
    }
    take(thread, 0, REQUESTS);
    db_thread_figures(thread, &commit_s, &batch);
    EXPECT(commit_s > 0 && batch >= 1 && batch <= DB_BATCH_MAX);
    db_thread_stop(thread);
    db_thread_free(thread);
    int kept = 0;
    for (int i = 0; i < REQUESTS; i++) {
        enum status expected = i % 10 == 3   ? STATUS_NOT_FOUND
                               : i % 10 == 7 ? STATUS_LIMIT
                                             : STATUS_OK;
        EXPECT_I64(expected, requests[i].base.status);
        kept += expected == STATUS_OK;
    }
    EXPECT_STR("over the quota", requests[7].base.error.text);
    EXPECT_I64(kept, jobs_in_records());
    records_fixture_close(&fixture);
}

TEST(what_waits_when_it_is_stopped_is_still_committed)
{
    start();
    struct db_thread *thread = db_thread_start(fixture.records);
    for (int i = 0; i < 300; i++) {
        prepare(i, "acme", false);
        EXPECT(db_thread_submit(thread, &requests[i].base));
    }
    db_thread_stop(thread);
    take(thread, 0, 300);
    db_thread_free(thread);
    EXPECT_I64(300, jobs_in_records());
    records_fixture_close(&fixture);
}

TEST(a_commit_that_fails_fails_all_of_its_batch)
{
    start();
    records_close(fixture.records);
    disk_install();
    fixture.records = records_fixture_open_path(fixture.path);
    struct db_thread *thread = db_thread_start(fixture.records);
    disk_fail(1, SQLITE_FULL, true);
    for (int i = 0; i < 50; i++) {
        prepare(i, "acme", false);
        EXPECT(db_thread_submit(thread, &requests[i].base));
    }
    take(thread, 0, 50);
    for (int i = 0; i < 50; i++) {
        EXPECT_I64(STATUS_IO, requests[i].base.status);
        EXPECT_CONTAINS("the disk is full", requests[i].base.error.text);
    }
    disk_fail(0, 0, false);
    for (int i = 0; i < 50; i++)
        EXPECT(db_thread_submit(thread, &requests[i].base)); /* the same again, with room */
    take(thread, 0, 50);
    for (int i = 0; i < 50; i++)
        EXPECT_I64(STATUS_OK, requests[i].base.status);
    db_thread_stop(thread);
    db_thread_free(thread);
    EXPECT_I64(50, jobs_in_records());
    records_close(fixture.records);
    disk_remove();
    fixture.records = records_fixture_open_path(fixture.path);
    records_fixture_close(&fixture);
}

static enum status run_count(struct records *records, struct db_request *base, struct error *error)
{
    return job_record_count_active(records, "acme", &((struct submit_request *)base)->id, error);
}

TEST(on_a_full_disk_what_was_committed_can_be_read)
{
    start();
    records_close(fixture.records);
    disk_install();
    fixture.records = records_fixture_open_path(fixture.path);
    struct db_thread *thread = db_thread_start(fixture.records);
    prepare(0, "acme", false);
    EXPECT(db_thread_submit(thread, &requests[0].base));
    take(thread, 0, 1);
    disk_fail(1, SQLITE_FULL, true);
    for (int i = 0; i < 20; i++) {
        prepare(i, "acme", false);
        requests[i].key[0] = 'n'; /* another key: it must be written */
        if (i % 2 == 1) {
            requests[i].base.run = run_count;
            requests[i].base.reads = true;
        }
        EXPECT(db_thread_submit(thread, &requests[i].base));
    }
    take(thread, 0, 20);
    for (int i = 0; i < 20; i++) {
        EXPECT_I64(i % 2 == 1 ? STATUS_OK : STATUS_IO, requests[i].base.status);
        if (i % 2 == 1)
            EXPECT_I64(1, requests[i].id); /* and not those that were rolled back */
    }
    disk_fail(0, 0, false);
    db_thread_stop(thread);
    db_thread_free(thread);
    records_close(fixture.records);
    disk_remove();
    fixture.records = records_fixture_open_path(fixture.path);
    records_fixture_close(&fixture);
}

static enum status run_wait(struct records *records, struct db_request *request,
                            struct error *error)
{
    (void)records;
    (void)error;
    struct pollfd poll_fd = {.fd = *(int *)request->owner, .events = POLLIN};
    poll(&poll_fd, 1, 60000);
    return STATUS_OK;
}

TEST(a_queue_that_is_full_says_so_at_once)
{
    enum { MANY = DB_QUEUE_MAX + DB_BATCH_MAX + 1 };
    static struct db_request many[MANY];
    int fds[2];
    CHECK(pipe2(fds, 0) == 0);
    start();
    struct db_thread *thread = db_thread_start(fixture.records);
    int taken = 0;
    for (int i = 0; i < MANY; i++) {
        many[i] = (struct db_request){.run = run_wait, .owner = &fds[0]};
        taken += db_thread_submit(thread, &many[i]);
    }
    /* The thread holds up to a batch in its hands, and the queue the rest. */
    EXPECT(taken >= DB_QUEUE_MAX && taken < MANY);
    CHECK(write(fds[1], "x", 1) == 1);
    db_thread_stop(thread);
    int back = 0;
    while (db_thread_take(thread) != NULL)
        back++;
    EXPECT_I64(taken, back);
    db_thread_free(thread);
    close(fds[0]);
    close(fds[1]);
    records_fixture_close(&fixture);
}

TEST_MAIN()
