/* SPDX-License-Identifier: Apache-2.0
 *
 * shards: a job that is cut into shards on a real coordinator with fake workers: what is assigned,
 * what is recorded, what a restart keeps, and the rows that are read back.
 */
#include <string.h>

#include "lib/check.h"
#include "tests/service/service_fixture.h"
#include "tests/test.h"

#define SUCCEEDED API__JOB_STATE__JOB_STATE_SUCCEEDED

static struct service service;

/* A result of one file, in the store of acme. */
static void upload_result(struct fake_worker *worker, const char *name, const char *text,
                          char manifest_out[65])
{
    char file[65], manifest[512];
    service_upload(&service, worker, "acme", text, file);
    snprintf(manifest, sizeof(manifest),
             "{\"kind\":\"files\",\"files\":[{\"name\":\"%s\",\"digest\":\"%s\",\"bytes\":%zu}]}",
             name, file, strlen(text));
    service_upload(&service, worker, "acme", manifest, manifest_out);
}

static bool has(struct fake_worker *worker, int64_t id)
{
    return fake_newest(worker, id) != NULL;
}

/* Runs the attempt to its end, with a result. */
static void finish(struct fake_worker *worker, int64_t id, const char *manifest,
                   const char *figures)
{
    fake_state(worker, fake_newest(worker, id), API__ATTEMPT_STATE__ATTEMPT_STATE_RUNNING);
    fake_result(worker, fake_newest(worker, id), manifest, figures);
    fake_state(worker, fake_newest(worker, id), API__ATTEMPT_STATE__ATTEMPT_STATE_SUCCEEDED);
    UNTIL(&service, service_state(&service, id) == SUCCEEDED);
}

static int64_t submit(int64_t shards)
{
    struct error error;
    int64_t id = service_submit(&service, &(struct spec_options){.shards = shards}, &error);
    if (id <= 0)
        test_fail(__FILE__, __LINE__, "submit: %s", error.text);
    return id;
}

/* ---- rows ------------------------------------------------------------------------------------ */

struct page {
    struct arena arena;
    Api__RowList list;
    bool done;
    enum status status;
};

static void on_rows(void *argument, enum status status, const struct error *error)
{
    struct page *page = argument;
    (void)error;
    page->done = true;
    page->status = status;
}

static struct page rows(const struct rows_query *query)
{
    struct page page = {.list = API__ROW_LIST__INIT};
    coordinator_rows_read(service.coordinator, query, &page.arena, &page.list, on_rows, &page);
    while (!page.done)
        service_turn(&service);
    EXPECT_I64(STATUS_OK, page.status);
    return page;
}

/* The job as people see it now. */
static Api__Job *whole(int64_t id, struct arena *arena)
{
    Api__Job *job = service_job(&service, arena, id);
    coordinator_job_refresh(service.coordinator, arena, job);
    return job;
}

TEST(shards_are_assigned_one_by_one_and_put_together_by_the_last_attempt)
{
    struct arena arena = {0};
    char part[2][65], result[65];
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 2);
    upload_result(worker, "0.f32", "first", part[0]);
    upload_result(worker, "0.f32", "second", part[1]);
    upload_result(worker, "rows/set.jsonl", "{\"margin\":-1}\n", result);
    int64_t id = submit(2);
    UNTIL(&service, has(worker, id + 1) && has(worker, id + 2));
    EXPECT(!has(worker, id));
    EXPECT_I64(1, fake_newest(worker, id + 1)->shard);
    EXPECT_I64(2, fake_newest(worker, id + 2)->shard);
    EXPECT_I64(2, fake_newest(worker, id + 2)->shards);
    EXPECT_CONTAINS("\"stage\":\"evaluate\"", fake_newest(worker, id + 2)->spec);
    finish(worker, id + 1, part[0], NULL);
    UNTIL(&service, whole(id, &arena)->shards_done == 1);
    Api__Job *job = whole(id, &arena);
    EXPECT_I64(2, job->shards);
    EXPECT_STR("1 of its 2 shards are done", job->waiting_detail);
    service_stop(&service);
    service_start(&service);
    UNTIL(&service, worker->attached);
    finish(worker, id + 2, part[1], NULL);
    UNTIL(&service, has(worker, id));
    EXPECT_I64(0, fake_newest(worker, id)->shard);
    EXPECT_I64(2, (int64_t)fake_newest(worker, id)->parts);
    finish(worker, id, result, "{\"sets\":[]}");
    EXPECT_STR("{\"sets\":[]}", service_job(&service, &arena, id)->figures);
    EXPECT(service_job(&service, &arena, id + 1)->figures == NULL);
    arena_release(&arena);
    service_close(&service);
}

TEST(a_shard_that_is_done_and_lost_its_result_is_refused)
{
    char nowhere[65];
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 1);
    int64_t id = submit(1);
    UNTIL(&service, has(worker, id + 1));
    memset(nowhere, '0', 64);
    nowhere[64] = '\0';
    fake_state(worker, fake_newest(worker, id + 1), API__ATTEMPT_STATE__ATTEMPT_STATE_RUNNING);
    fake_result(worker, fake_newest(worker, id + 1), nowhere, NULL);
    UNTIL(&service, worker->acks[WIRE__ACK_RESULT__ACK_RESULT_REFUSED] > 0);
    EXPECT_CONTAINS("is not in the store", worker->ack_message);
    service_close(&service);
}

TEST(a_failed_shard_fails_its_whole_in_its_own_words_also_after_a_restart)
{
    struct arena arena = {0};
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 2);
    worker->automatic = true;
    int64_t id = submit(2);
    UNTIL(&service, has(worker, id + 1) && has(worker, id + 2));
    service_stop(&service);
    service_start(&service);
    UNTIL(&service, worker->attached);
    fake_fail(worker, fake_newest(worker, id + 2), API__FAILURE_CLASS__FAILURE_CLASS_USER_DATA,
              "line 7 is no group");
    UNTIL(&service, service_state(&service, id) == API__JOB_STATE__JOB_STATE_FAILED);
    UNTIL(&service, service_state(&service, id + 1) == API__JOB_STATE__JOB_STATE_CANCELLED);
    Api__Job *job = service_job(&service, &arena, id);
    EXPECT_I64(API__FAILURE_CLASS__FAILURE_CLASS_USER_DATA, job->failure_class);
    EXPECT_CONTAINS("shard 2 of 2", job->failure_message);
    EXPECT_CONTAINS("line 7 is no group", job->failure_message);
    arena_release(&arena);
    service_close(&service);
}

TEST(rows_are_read_in_order_page_by_page_or_the_worst_of_all_files_first)
{
    char file[2][65], manifest[65], text[1024];
    service_open(&service);
    struct fake_worker *worker = service_add_worker(&service, 1);
    service_upload(&service, worker, "acme", "{\"margin\":-3,\"n\":1}\n{\"margin\":2,\"n\":2}\n",
                   file[0]);
    service_upload(&service, worker, "acme",
                   "{\"margin\":-1,\"n\":3}\n{\"margin\":0,\"n\":4}\n{\"margin\":9,\"n\":5}\n",
                   file[1]);
    snprintf(text, sizeof(text),
             "{\"kind\":\"files\",\"files\":[{\"name\":\"rows/b.jsonl\",\"digest\":\"%s\","
             "\"bytes\":1},{\"name\":\"rows/a.jsonl\",\"digest\":\"%s\",\"bytes\":1},"
             "{\"name\":\"result.json\",\"digest\":\"%s\",\"bytes\":1}]}",
             file[1], file[0], file[0]);
    service_upload(&service, worker, "acme", text, manifest);
    struct rows_query query = {.tenant = "acme", .manifest = manifest, .limit = 3};
    struct page page = rows(&query);
    REQUIRE(page.list.n_rows == 3);
    EXPECT_STR("{\"margin\":-3,\"n\":1}", page.list.rows[0]);
    EXPECT_STR("{\"margin\":-1,\"n\":3}", page.list.rows[2]);
    EXPECT(page.list.has_next);
    query.after = page.list.next;
    arena_release(&page.arena);
    page = rows(&query);
    REQUIRE(page.list.n_rows == 2);
    EXPECT_STR("{\"margin\":9,\"n\":5}", page.list.rows[1]);
    EXPECT(!page.list.has_next);
    arena_release(&page.arena);
    page = rows(&(struct rows_query){.tenant = "acme", .manifest = manifest, .worst = 3});
    REQUIRE(page.list.n_rows == 3);
    EXPECT_STR("{\"margin\":-1,\"n\":3}", page.list.rows[1]);
    EXPECT_STR("{\"margin\":0,\"n\":4}", page.list.rows[2]);
    arena_release(&page.arena);
    page = rows(
        &(struct rows_query){.tenant = "acme", .manifest = manifest, .kind = "a", .limit = 10});
    EXPECT_I64(2, (int64_t)page.list.n_rows);
    arena_release(&page.arena);
    service_close(&service);
}

TEST_MAIN()
