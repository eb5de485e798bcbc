/* SPDX-License-Identifier: Apache-2.0
 *
 * records_bench [DIR]: durable submits through the database's thread from 1 and 16 clients, and a
 * page of a list of 10,000 jobs as JSON. DIR: where the file lies (default: the directory that it
 * is started in).
 */
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/log.h"
#include "proto/message_json.h"
#include "storage/records/db_thread.h"
#include "tests/records_fixture.h"

enum { SUBMITS = 10000, CLIENTS_MAX = 16 };

struct client {
    struct db_request base; /* first: the one is the other */
    int number;
};

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static enum status submit(struct records *records, struct db_request *base, struct error *error)
{
    struct client *client = (struct client *)base;
    char key[32];
    int64_t id;
    bool created;
    snprintf(key, sizeof(key), "k%d", client->number);
    return records_fixture_submit(records, "acme", key, "{\"stage\":\"customize\"}", &id, &created,
                                  error);
}

/* Each client waits for its answer before it submits again. */
static double submits_per_second(struct records *records, int clients, int first, int count)
{
    static struct client all[CLIENTS_MAX];
    struct db_thread *thread = db_thread_start(records);
    int sent = 0, back = 0;
    double begin = now_s();
    for (; sent < clients; sent++) {
        all[sent] = (struct client){.base = {.run = submit}, .number = first + sent};
        CHECK(db_thread_submit(thread, &all[sent].base));
    }
    while (back < count) {
        struct pollfd poll_fd = {.fd = db_thread_fd(thread), .events = POLLIN};
        CHECK(poll(&poll_fd, 1, -1) == 1);
        for (struct db_request *request; (request = db_thread_take(thread)) != NULL; back++) {
            CHECK(request->status == STATUS_OK);
            ((struct client *)request)->number = first + sent;
            if (sent < count) {
                CHECK(db_thread_submit(thread, request));
                sent++;
            }
        }
    }
    double seconds = now_s() - begin;
    db_thread_stop(thread);
    db_thread_free(thread);
    return count / seconds;
}

static void list_page(struct records *records, struct scope scope, int64_t limit)
{
    struct arena arena = {0};
    struct buf text = {0};
    Api__JobListRequest request = API__JOB_LIST_REQUEST__INIT;
    double begin = now_s();
    Api__JobList *list = message_new(&arena, &api__job_list__descriptor);
    request.has_limit = 1;
    request.limit = limit;
    CHECK(job_record_list(records, scope, &request, &arena, list, NULL) == STATUS_OK);
    message_to_json(&list->base, &text);
    printf("page of %zu jobs, %zu bytes of JSON: %.2f ms\n", list->n_jobs, text.length,
           (now_s() - begin) * 1e3);
    buf_release(&text);
    arena_release(&arena);
}

int main(int argc, char **argv)
{
    char dir[PATH_MAX], path[PATH_MAX];
    snprintf(dir, sizeof(dir), "%s/records_bench.XXXXXX", argc > 1 ? argv[1] : ".");
    CHECK(mkdtemp(dir) != NULL);
    path_join(path, sizeof(path), dir, "records.db");
    log_level_set(LOG_LEVEL_WARN);
    struct records *records = records_fixture_open_path(path);
    CHECK(records != NULL);
    CHECK(records_begin(records, NULL) == STATUS_OK);
    CHECK(records_fixture_tenant(records, "acme", NULL) == STATUS_OK);
    CHECK(records_commit(records, NULL) == STATUS_OK);
    printf("durable submits, 16 clients: %.0f/s\n",
           submits_per_second(records, CLIENTS_MAX, 0, SUBMITS - SUBMITS / 10));
    printf("durable submits, 1 client: %.0f/s\n",
           submits_per_second(records, 1, SUBMITS - SUBMITS / 10, SUBMITS / 10));
    for (int i = 0; i < 2; i++) { /* the first prepares the statements */
        list_page(records, SCOPE_ALL, 100);
        list_page(records, SCOPE_TENANT("acme"), 1000);
    }
    records_close(records);
    CHECK(dir_remove(dir, NULL) == STATUS_OK);
    return 0;
}
