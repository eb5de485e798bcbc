/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything runs on one thread, turn by turn: what a test sees is what the loop has done.
 */
#include "tests/service/service_fixture.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/sha256.h"
#include "storage/records/event_record.h"
#include "storage/records/job_record.h"
#include "tests/test.h"

struct answer {
    bool done;
    enum status status;
    struct error error;
};

static void on_answer(void *argument, enum status status, const struct error *error)
{
    struct answer *answer = argument;
    answer->done = true;
    answer->status = status;
    answer->error = *error;
}

void service_turn(struct service *service)
{
    if (service->coordinator != NULL)
        event_base_loop(service->base, EVLOOP_NONBLOCK);
    for (int i = 0; i < service->worker_count; i++)
        fake_worker_turn(service->workers[i], coordinator_now_ms());
    usleep(500);
}

void service_idle(struct service *service, int64_t ms)
{
    int64_t until_ms = coordinator_now_ms() + ms;
    while (coordinator_now_ms() < until_ms)
        service_turn(service);
}

static enum status answer_await(struct service *service, struct answer *answer, struct error *error)
{
    int64_t until_ms = coordinator_now_ms() + WAIT_MS;
    while (!answer->done && coordinator_now_ms() < until_ms)
        service_turn(service);
    CHECK(answer->done);
    if (error != NULL)
        *error = answer->error;
    return answer->status;
}

void service_start(struct service *service)
{
    struct error error;
    service->base = event_base_new();
    service->options.workers = service->address;
    enum status status =
        coordinator_open(&service->options, service->base, &service->coordinator, &error);
    if (status != STATUS_OK)
        fprintf(stderr, "cannot start: %s\n", error.text);
    CHECK(status == STATUS_OK);
    snprintf(service->address, sizeof(service->address), "%s",
             coordinator_workers_address(service->coordinator));
}

void service_stop(struct service *service)
{
    coordinator_close(service->coordinator);
    event_base_free(service->base);
    service->coordinator = NULL;
    service->base = NULL;
}

static void add_tenant(struct service *service, const char *name)
{
    Api__Tenant tenant = API__TENANT__INIT;
    struct answer answer = {0};
    tenant.name = (char *)name;
    coordinator_tenant_put(service->coordinator, &tenant, true, on_answer, &answer);
    CHECK(answer_await(service, &answer, NULL) == STATUS_OK);
}

void service_open(struct service *service)
{
    *service = (struct service){.admin = {.name = "root", .role = API__ROLE__ROLE_ADMIN}};
    log_level_set(LOG_LEVEL_ERROR);
    snprintf(service->dir, sizeof(service->dir), "/tmp/service_test.XXXXXX");
    CHECK(mkdtemp(service->dir) != NULL);
    snprintf(service->address, sizeof(service->address), "127.0.0.1:0");
    coordinator_options_default(&service->options);
    service->options.data = service->dir;
    service->options.heartbeat_ms = 50;
    service->options.lost_after_ms = 1000;
    service->options.backoff_base_ms = 20;
    service->options.yield_after_ms = 10000;
    service->options.preempt_after_ms = 0;
    service->options.preempt_min_run_ms = 0;
    service->options.seed = 1;
    service_start(service);
    add_tenant(service, "acme");
    add_tenant(service, "globex");
}

void service_close(struct service *service)
{
    for (int i = 0; i < service->worker_count; i++)
        fake_worker_free(service->workers[i]);
    service->worker_count = 0;
    if (service->coordinator != NULL)
        service_stop(service);
    dir_remove(service->dir, NULL);
}

struct fake_worker *service_add_worker(struct service *service, int64_t slots)
{
    char token[JOIN_TOKEN_MAX], name[16];
    struct answer answer = {0};
    coordinator_join_token(service->coordinator, "default", 0, token, on_answer, &answer);
    CHECK(answer_await(service, &answer, NULL) == STATUS_OK);
    snprintf(name, sizeof(name), "host-%d", service->worker_count + 1);
    struct fake_worker *worker = fake_worker_create(token, name, slots);
    service->workers[service->worker_count++] = worker;
    int64_t until_ms = coordinator_now_ms() + WAIT_MS;
    while (!worker->attached && coordinator_now_ms() < until_ms)
        service_turn(service);
    CHECK(worker->attached);
    return worker;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void spec_write(const struct spec_options *options, struct buf *out)
{
    const char *from = options->from != NULL ? options->from
                                             : "sha256:0000000000000000000000000000000000000000000"
                                               "000000000000000000000";
    buf_printf(out, "{\"stage\":\"%s\",\"from\":\"%s\",\"data\":{\"%s\":[{\"dataset\":\"%s\"}]}",
               options->shards > 0      ? "evaluate"
               : options->stage != NULL ? options->stage
                                        : "general",
               from, options->shards > 0 ? "eval" : "train", from);
    if (options->wall_time_s > 0)
        buf_printf(out, ",\"limits\":{\"wall_time\":\"%.0fs\"}", options->wall_time_s);
    if (options->after != NULL)
        buf_printf(out, ",\"schedule\":{\"after\":[\"%s\"]}", options->after);
    if (options->model != NULL)
        buf_printf(out, ",\"output\":{\"model\":\"%s\",\"alias\":\"%s\"}", options->model,
                   options->alias);
    buf_append_char(out, '}');
}

int64_t service_submit(struct service *service, const struct spec_options *options,
                       struct error *error)
{
    Api__Job job = API__JOB__INIT;
    char digest[SHA256_HEX_SIZE];
    struct buf spec = {0};
    struct answer answer = {0};
    struct job_submission submission = {.caller = &service->admin,
                                        .job = &job,
                                        .idempotency_key = options->key,
                                        .request_digest = digest};
    spec_write(options, &spec);
    sha256_hex(spec.data, spec.length, digest);
    job.tenant = (char *)(options->tenant != NULL ? options->tenant : "acme");
    job.queue = (char *)(options->queue != NULL ? options->queue : "default");
    job.pool = "default";
    job.has_stage = job.has_ranks = job.has_min_ranks = job.has_priority = true;
    job.stage = options->stage != NULL && strcmp(options->stage, "customize") == 0
                    ? API__STAGE__STAGE_CUSTOMIZE
                    : API__STAGE__STAGE_GENERAL;
    if (options->shards > 0)
        job.stage = API__STAGE__STAGE_EVALUATE;
    submission.sharded = options->shards > 0;
    job.shards = options->shards;
    job.ranks = options->ranks > 0 ? options->ranks : 1;
    job.min_ranks = options->min_ranks > 0 ? options->min_ranks : job.ranks;
    job.priority = options->priority;
    job.has_preemptible = true;
    job.preemptible = !options->not_preemptible;
    job.has_max_attempts = true;
    job.max_attempts = options->max_attempts > 0 ? options->max_attempts : 3;
    job.spec = spec.data;
    job.spec_digest = digest;
    job.output_model = (char *)options->model;
    coordinator_job_submit(service->coordinator, &submission, on_answer, &answer);
    enum status status = answer_await(service, &answer, error);
    buf_release(&spec);
    return status == STATUS_OK ? submission.id : -(int64_t)status;
}

int64_t service_submit_plain(struct service *service)
{
    struct error error;
    int64_t id = service_submit(service, &(struct spec_options){0}, &error);
    if (id < 0)
        test_fail(__FILE__, __LINE__, "submit: %s", error.text);
    return id;
}

enum status service_verb(struct service *service, enum job_verb verb, int64_t id, int64_t value,
                         struct error *error)
{
    struct answer answer = {0};
    coordinator_job_verb(service->coordinator, &service->admin, verb, id, value, on_answer,
                         &answer);
    return answer_await(service, &answer, error);
}

struct lookup {
    struct answer answer;
    struct arena *arena;
    int64_t id;
    Api__Job *job;
    Api__EventList *events;
};

static enum status lookup_job(struct records *records, void *argument, struct error *error)
{
    struct lookup *lookup = argument;
    return job_record_get(records, SCOPE_ALL, lookup->id, true, lookup->arena, &lookup->job, error);
}

static enum status lookup_events(struct records *records, void *argument, struct error *error)
{
    struct lookup *lookup = argument;
    return event_record_list(records, SCOPE_ALL, lookup->id, 0, 1000, lookup->arena, lookup->events,
                             error);
}

static void on_lookup(void *argument, enum status status, const struct error *error)
{
    struct lookup *lookup = argument;
    on_answer(&lookup->answer, status, error);
}

Api__Job *service_job(struct service *service, struct arena *arena, int64_t id)
{
    struct lookup lookup = {.arena = arena, .id = id};
    coordinator_read(service->coordinator, lookup_job, on_lookup, &lookup);
    CHECK(answer_await(service, &lookup.answer, NULL) == STATUS_OK);
    return lookup.job;
}

Api__JobState service_state(struct service *service, int64_t id)
{
    struct arena arena = {0};
    Api__JobState state = service_job(service, &arena, id)->state;
    arena_release(&arena);
    return state;
}

int64_t service_count_events(struct service *service, int64_t job, const char *kind)
{
    struct arena arena = {0};
    int64_t count = 0;
    struct lookup lookup = {
        .arena = &arena, .id = job, .events = message_new(&arena, &api__event_list__descriptor)};
    coordinator_read(service->coordinator, lookup_events, on_lookup, &lookup);
    CHECK(answer_await(service, &lookup.answer, NULL) == STATUS_OK);
    for (size_t i = 0; i < lookup.events->n_events; i++)
        count += strcmp(lookup.events->events[i]->kind, kind) == 0;
    arena_release(&arena);
    return count;
}

void service_upload(struct service *service, struct fake_worker *worker, const char *tenant,
                    const char *text, char digest_out[65])
{
    fake_upload(worker, tenant, text, strlen(text), digest_out);
    int64_t until_ms = coordinator_now_ms() + WAIT_MS;
    while (!worker->blob_complete && worker->blob_message[0] == '\0' &&
           coordinator_now_ms() < until_ms)
        service_turn(service);
}
