/* SPDX-License-Identifier: Apache-2.0
 *
 * kill: a coordinator that is killed -9 again and again, at random moments, under a stream of
 * submits and reports. What it had acknowledged to anybody is there afterwards, once.
 *
 *     TAILOR_KILLS=1000 build/tests/kill_test        (8 without it)
 *
 * The coordinator and the people who submit live in a child process; the workers live here, go on
 * through each death, and keep their reports. An answer is what came through the pipe.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/log.h"
#include "lib/map.h"
#include "lib/rng.h"
#include "lib/sha256.h"
#include "lib/text.h"
#include "storage/records/job_record.h"
#include "tests/service/service_fixture.h"
#include "tests/test.h"

enum { IN_FLIGHT = 8, LIFE_MS = 400, ANSWERS_MAX = 16384 };

#define SUCCEEDED API__JOB_STATE__JOB_STATE_SUCCEEDED

static struct service service;

/* ---- the child: a coordinator and its clients ------------------------------------------------ */

struct client {
    struct coordinator *coordinator;
    int pipe;
    int64_t key; /* of the submit that is on its way */
    char key_text[32];
    char digest[SHA256_HEX_SIZE];
    Api__Job job;
    struct job_submission submission;
};

static const char SPEC[] = "{\"stage\":\"general\",\"from\":\"sha256:"
                           "0000000000000000000000000000000000000000000000000000000000000000\","
                           "\"data\":{\"train\":[{\"dataset\":\"sha256:"
                           "0000000000000000000000000000000000000000000000000000000000000000\"}]}}";

static void submit(struct client *client);

struct answer {
    int64_t key, id;
};

static void on_submitted(void *argument, enum status status, const struct error *error)
{
    struct client *client = argument;
    (void)error;
    if (status == STATUS_OK) {
        struct answer answer = {client->key, client->submission.id};
        CHECK(write(client->pipe, &answer, sizeof(answer)) == sizeof(answer));
        client->key += IN_FLIGHT;
    }
    submit(client);
}

static void submit(struct client *client)
{
    static struct caller root = {.name = "root", .role = API__ROLE__ROLE_ADMIN};
    api__job__init(&client->job);
    client->job.tenant = "acme";
    client->job.queue = client->job.pool = "default";
    client->job.has_stage = client->job.has_ranks = client->job.has_priority = true;
    client->job.stage = API__STAGE__STAGE_GENERAL;
    client->job.ranks = 1;
    client->job.spec = (char *)SPEC;
    client->job.spec_digest = client->digest;
    client->job.has_max_attempts = true;
    client->job.max_attempts = 3;
    sha256_hex(SPEC, sizeof(SPEC) - 1, client->digest);
    snprintf(client->key_text, sizeof(client->key_text), "key-%lld", (long long)client->key);
    client->submission = (struct job_submission){.caller = &root,
                                                 .job = &client->job,
                                                 .idempotency_key = client->key_text,
                                                 .request_digest = client->digest};
    coordinator_job_submit(client->coordinator, &client->submission, on_submitted, client);
}

/* Each client goes on with the key behind its last answer. */
static _Noreturn void child(int pipe_fd, const int64_t *next_keys)
{
    static struct client clients[IN_FLIGHT];
    struct error error;
    struct coordinator *coordinator;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct event_base *base = event_base_new();
    if (coordinator_open(&service.options, base, &coordinator, &error) != STATUS_OK) {
        fprintf(stderr, "child: %s\n", error.text);
        _exit(3);
    }
    for (int i = 0; i < IN_FLIGHT; i++) {
        clients[i] =
            (struct client){.coordinator = coordinator, .pipe = pipe_fd, .key = next_keys[i]};
        submit(&clients[i]);
    }
    event_base_dispatch(base);
    _exit(4);
}

/* ---- here: the workers and the history ------------------------------------------------------- */

static struct answer answers[ANSWERS_MAX];
static int answer_count;
static int64_t next_keys[IN_FLIGHT];

static void read_answers(int fd)
{
    struct answer answer;
    while (read(fd, &answer, sizeof(answer)) == sizeof(answer)) {
        CHECK(answer_count < ANSWERS_MAX);
        answers[answer_count++] = answer;
        next_keys[answer.key % IN_FLIGHT] = answer.key + IN_FLIGHT;
    }
}

static void work(struct fake_worker *worker)
{
    fake_worker_turn(worker, coordinator_now_ms());
    for (int i = 0; i < worker->attempt_count; i++)
        if (worker->attempts[i].running && !worker->attempts[i].over)
            fake_state(worker, &worker->attempts[i], API__ATTEMPT_STATE__ATTEMPT_STATE_SUCCEEDED);
}

static void live_and_die(int round)
{
    int ends[2];
    CHECK(pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        child(ends[1], next_keys);
    close(ends[1]);
    int64_t end_ms = coordinator_now_ms() + 30 + (int64_t)rng_below(7, 1, (uint64_t)round, LIFE_MS);
    int status = 0;
    while (coordinator_now_ms() < end_ms) {
        for (int i = 0; i < service.worker_count; i++)
            work(service.workers[i]);
        read_answers(ends[0]);
        usleep(500);
        CHECK(waitpid(pid, &status, WNOHANG) == 0); /* it dies by our hand only */
    }
    kill(pid, SIGKILL);
    CHECK(waitpid(pid, &status, 0) == pid);
    read_answers(ends[0]);
    close(ends[0]);
}

/* ---- afterwards ------------------------------------------------------------------------------ */

struct census {
    bool done;
    struct arena arena;
    struct map *states; /* id → state */
    int64_t jobs, unfinished;
};

static enum status take_census(struct records *records, void *argument, struct error *error)
{
    struct census *census = argument;
    Api__JobListRequest request = API__JOB_LIST_REQUEST__INIT;
    request.has_limit = true;
    request.limit = 1000;
    census->jobs = census->unfinished = 0;
    for (bool more = true; more;) {
        Api__JobList *list = message_new(&census->arena, &api__job_list__descriptor);
        TRY(job_record_list(records, SCOPE_ALL, &request, &census->arena, list, error));
        for (size_t i = 0; i < list->n_jobs; i++) {
            uint64_t *place;
            map_put(census->states, &list->jobs[i]->id, sizeof(int64_t), 0, &place);
            *place = (uint64_t)list->jobs[i]->state;
            census->jobs++;
            census->unfinished += list->jobs[i]->state != SUCCEEDED;
        }
        more = list->has_next;
        request.has_after = true;
        request.after = list->next;
    }
    return STATUS_OK;
}

static void on_census(void *argument, enum status status, const struct error *error)
{
    (void)error;
    EXPECT_I64(STATUS_OK, status);
    ((struct census *)argument)->done = true;
}

static void census_turn(struct census *census)
{
    census->done = false;
    coordinator_read(service.coordinator, take_census, on_census, census);
    while (!census->done) {
        event_base_loop(service.base, EVLOOP_NONBLOCK);
        for (int i = 0; i < service.worker_count; i++)
            work(service.workers[i]);
        usleep(500);
    }
}

static void check_answers(const struct census *census)
{
    struct map *ids = map_create(0), *keys = map_create(0);
    int64_t lost = 0, two_jobs_of_a_key = 0, shared_ids = 0;
    for (int i = 0; i < answer_count; i++) {
        uint64_t *id, *key;
        lost += !map_get(census->states, &answers[i].id, sizeof(int64_t), NULL);
        if (!map_put(keys, &answers[i].key, sizeof(int64_t), (uint64_t)answers[i].id, &id))
            two_jobs_of_a_key += *id != (uint64_t)answers[i].id;
        if (!map_put(ids, &answers[i].id, sizeof(int64_t), (uint64_t)answers[i].key, &key))
            shared_ids += *key != (uint64_t)answers[i].key;
    }
    EXPECT_I64(0, lost);
    EXPECT_I64(0, two_jobs_of_a_key);
    EXPECT_I64(0, shared_ids);
    map_free(ids);
    map_free(keys);
}

static void check_finished(const struct census *census)
{
    struct map *finished = map_create(0);
    int64_t forgotten = 0, twice = 0;
    for (int w = 0; w < service.worker_count; w++)
        for (int i = 0; i < service.workers[w]->finished_count; i++) {
            uint64_t state = 0;
            const int64_t *id = &service.workers[w]->finished[i];
            map_get(census->states, id, sizeof(*id), &state);
            forgotten += state != SUCCEEDED;
            twice += !map_put(finished, id, sizeof(*id), 0, NULL);
        }
    EXPECT_I64(0, forgotten);
    EXPECT_I64(0, twice);
    map_free(finished);
}

TEST(nothing_that_was_acknowledged_is_lost_or_done_twice_by_a_coordinator_that_is_killed)
{
    const char *text = getenv("TAILOR_KILLS");
    int64_t kills = 8, finished = 0;
    if (text != NULL && (!parse_i64(text, &kills) || kills < 1))
        test_fail(__FILE__, __LINE__, "TAILOR_KILLS=%s is no number", text);
    struct census census = {.states = map_create(0)};
    service_open(&service);
    for (int i = 0; i < 2; i++)
        service_add_worker(&service, 16)->automatic = true;
    for (int i = 0; i < IN_FLIGHT; i++)
        next_keys[i] = i;
    service_stop(&service);
    for (int round = 0; round < kills; round++)
        live_and_die(round);
    service_start(&service);
    census_turn(&census);
    check_answers(&census);
    check_finished(&census);
    int64_t until_ms = coordinator_now_ms() + 6 * WAIT_MS;
    while (census.unfinished > 0 && coordinator_now_ms() < until_ms)
        census_turn(&census);
    EXPECT_I64(0, census.unfinished); /* nothing hangs either */
    check_finished(&census);
    for (int i = 0; i < service.worker_count; i++)
        finished += service.workers[i]->finished_count;
    printf("# kills %lld answers %d jobs %lld successes acknowledged %lld\n", (long long)kills,
           answer_count, (long long)census.jobs, (long long)finished);
    EXPECT(answer_count > 0 && finished > 0);
    map_free(census.states);
    arena_release(&census.arena);
    service_close(&service);
}

TEST_MAIN()
