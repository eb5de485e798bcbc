/* SPDX-License-Identifier: Apache-2.0
 *
 * on_jobs: jobs as they are seen, and what may be wished for them.
 */
#include <string.h>

#include "coordinator/api/handlers.h"
#include "coordinator/api/stream.h"
#include "storage/records/attempt_record.h"
#include "storage/records/job_record.h"

enum status jobs_read(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__JobListRequest *request = exchange->request;
    if (request->tenant != NULL)
        TRY(exchange_own(exchange, request->tenant, error));
    return job_record_list(records, exchange_scope(exchange), request, &exchange->arena,
                           exchange_reply(exchange), error);
}

void jobs_refresh(struct exchange *exchange)
{
    Api__JobList *list = exchange->reply;
    for (size_t i = 0; i < list->n_jobs; i++)
        coordinator_job_refresh(exchange->api->coordinator, &exchange->arena, list->jobs[i]);
    exchange_done(exchange, STATUS_OK, NULL);
}

/* ---- one ------------------------------------------------------------------------------------- */

static enum status read_one(struct records *records, struct exchange *exchange, int64_t id,
                            struct error *error)
{
    Api__Job *job;
    TRY(job_record_get(records, exchange_scope(exchange), id, true, &exchange->arena, &job, error));
    exchange->reply = job;
    return STATUS_OK;
}

enum status job_read(struct records *records, struct exchange *exchange, struct error *error)
{
    return read_one(records, exchange, ((const Api__JobRequest *)exchange->request)->id, error);
}

void job_refresh(struct exchange *exchange)
{
    coordinator_job_refresh(exchange->api->coordinator, &exchange->arena, exchange->reply);
    exchange_done(exchange, STATUS_OK, NULL);
}

struct answer {
    struct exchange *exchange;
    int64_t id;
};

static enum status answer_read(struct records *records, void *argument, struct error *error)
{
    struct answer *answer = argument;
    return read_one(records, answer->exchange, answer->id, error);
}

static void answer_done(void *argument, enum status status, const struct error *error)
{
    struct answer *answer = argument;
    struct exchange *exchange = answer->exchange;
    if (status != STATUS_OK)
        exchange_done(exchange, status, error);
    else
        job_refresh(exchange);
}

void job_answer(struct exchange *exchange, int64_t id)
{
    struct answer *answer = arena_new(&exchange->arena, struct answer);
    *answer = (struct answer){exchange, id};
    coordinator_read(exchange->api->coordinator, answer_read, answer_done, answer);
}

/* ---- verbs ----------------------------------------------------------------------------------- */

static void on_wish(void *argument, enum status status, const struct error *error)
{
    struct exchange *exchange = argument;
    if (status != STATUS_OK || exchange->api->stopping)
        exchange_done(exchange, status, error);
    else
        job_answer(exchange, *(const int64_t *)exchange->state);
}

static void wish(struct exchange *exchange, enum job_verb verb, int64_t id, int64_t value)
{
    int64_t *state = arena_new(&exchange->arena, int64_t);
    *state = id;
    exchange->state = state;
    coordinator_job_verb(exchange->api->coordinator, &exchange->caller, verb, id, value, on_wish,
                         exchange);
}

void job_cancel(struct exchange *exchange)
{
    wish(exchange, JOB_VERB_CANCEL, ((const Api__JobRequest *)exchange->request)->id, 0);
}

void job_pause(struct exchange *exchange)
{
    wish(exchange, JOB_VERB_PAUSE, ((const Api__JobRequest *)exchange->request)->id, 0);
}

void job_resume(struct exchange *exchange)
{
    wish(exchange, JOB_VERB_RESUME, ((const Api__JobRequest *)exchange->request)->id, 0);
}

void job_priority(struct exchange *exchange)
{
    const Api__JobPriorityRequest *request = exchange->request;
    wish(exchange, JOB_VERB_PRIORITY, request->id, request->priority);
}

/* ---- what it left ---------------------------------------------------------------------------- */

enum status job_exists(struct records *records, struct exchange *exchange, struct error *error)
{
    Api__Job *job;
    return job_record_get(records, exchange_scope(exchange),
                          ((const Api__JobRequest *)exchange->request)->id, false, &exchange->arena,
                          &job, error);
}

enum status attempts_read(struct records *records, struct exchange *exchange, struct error *error)
{
    TRY(job_exists(records, exchange, error));
    return attempt_record_list(records, exchange_scope(exchange),
                               ((const Api__JobRequest *)exchange->request)->id, &exchange->arena,
                               exchange_reply(exchange), error);
}

enum status checkpoints_read(struct records *records, struct exchange *exchange,
                             struct error *error)
{
    TRY(job_exists(records, exchange, error));
    return checkpoint_record_list(records, exchange_scope(exchange),
                                  ((const Api__JobRequest *)exchange->request)->id,
                                  &exchange->arena, exchange_reply(exchange), error);
}

static void follow(struct exchange *exchange, enum watch_kind kind)
{
    const Api__JobRequest *request = exchange->request;
    struct series_query query = {.job = request->id,
                                 .after = request->after,
                                 .limit = page_limit(request->has_limit, request->limit),
                                 .rank = request->has_rank ? request->rank : -1,
                                 .term = request->term};
    stream_begin(exchange, kind, &query);
}

void job_events(struct exchange *exchange)
{
    follow(exchange, WATCH_EVENTS);
}

void job_logs(struct exchange *exchange)
{
    follow(exchange, WATCH_LOGS);
}

void job_metrics(struct exchange *exchange)
{
    follow(exchange, WATCH_METRICS);
}
