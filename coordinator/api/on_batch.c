/* SPDX-License-Identifier: Apache-2.0
 *
 * on_batch: batches as they are submitted, seen, cancelled and tried again.
 *
 *   submit   read: the plan → check, a portion after the other → write: the batch, its pins, the
 *            event → one submission a row, so many in the air at once → write: the refused rows
 *   cancel   write: the wish, and which jobs → one verb a job
 *   retry    read: the failed jobs' specs → one submission a row
 *
 * Rejected: one transaction for a whole batch; ten thousand rows would hold every other commit for
 * seconds, and the key of a row makes a half-submitted batch whole when it is sent again.
 */
#include <inttypes.h>
#include <string.h>

#include "coordinator/api/batch.h"
#include "coordinator/api/handlers.h"
#include "coordinator/api/resolve.h"
#include "lib/check.h"
#include "lib/limits.h"
#include "storage/records/batch_record.h"
#include "storage/records/blob_record.h"
#include "storage/records/event_record.h"

enum { CHECKED_AT_ONCE = 64, IN_THE_AIR = 128 };

#define PIN_MS (30 * 24 * 3600 * 1000LL)

/* Something for each of many, at most IN_THE_AIR at once, and then the end. Loop thread. */
struct each {
    struct exchange *exchange;
    int64_t count, next, in_the_air;
    bool stop;                                       /* begin no more */
    bool (*begin)(struct each *each, int64_t index); /* false: nothing to do for this one */
    void (*end)(struct each *each);
};

struct batch {
    struct each each;
    struct batch_plan plan;
    coordinator_run *put; /* what is written before its jobs */
    bool dry_run, bounds; /* bounds: max_running is the batch's from now on */
    int64_t max_running, checked, submitted, unchanged;
    int64_t id;
    struct error failure; /* of the whole; STATUS_OK: none */
};

static void each_go_on(struct each *it)
{
    struct error leaving;
    bool stopping = it->exchange->api->stopping;
    while (!stopping && !it->stop && it->next < it->count && it->in_the_air < IN_THE_AIR)
        it->in_the_air += it->begin(it, it->next++);
    if (it->in_the_air > 0)
        return;
    if (stopping) {
        enum status status = error_set(&leaving, STATUS_CANCELLED, "the coordinator is stopping");
        exchange_done(it->exchange, status, &leaving);
    } else {
        it->end(it);
    }
}

static void each_one_done(struct each *it)
{
    it->in_the_air--;
    each_go_on(it);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static enum status read_batch(struct records *records, struct exchange *exchange, int64_t id,
                              bool recipe, Api__BatchReply *reply, struct error *error)
{
    return batch_record_get(records, exchange_scope(exchange), id, recipe, &exchange->arena,
                            &reply->batch, error);
}

static enum status answer_read(struct records *records, void *argument, struct error *error)
{
    struct exchange *exchange = argument;
    struct batch *it = exchange->state;
    return read_batch(records, exchange, it->id, false, exchange->reply, error);
}

/* How the batch is now, beside what the handler put into its reply. */
static void answer(struct batch *it)
{
    struct exchange *exchange = it->each.exchange;
    coordinator_read(exchange->api->coordinator, answer_read, exchange_on_done, exchange);
}

static void answer_row(struct exchange *exchange, Api__BatchReply *reply,
                       const struct batch_row *row)
{
    Api__BatchRow *out = message_add(&exchange->arena, reply, "rows");
    bool refused = row->refusal != NULL;
    out->has_row = true;
    out->has_state = refused || row->job_id != 0; /* a dry run's has none yet */
    out->row = row->number;
    out->key = (char *)row->key; /* protobuf-c knows no const */
    out->tenant = (char *)row->tenant;
    out->error = (char *)row->refusal;
    out->state = refused ? API__BATCH_ROW_STATE__BATCH_ROW_STATE_INVALID
                         : API__BATCH_ROW_STATE__BATCH_ROW_STATE_SUBMITTED;
    out->has_job_id = !refused && row->job_id != 0;
    out->job_id = row->job_id;
    out->has_unchanged = !refused;
    out->unchanged = !refused && row->job_id != 0 && !row->submission.created;
}

static void answer_columns(struct exchange *exchange, const struct batch_plan *plan,
                           Api__BatchReply *reply)
{
    char **warnings = arena_array(&exchange->arena, char *, plan->columns.count);
    reply->warnings = warnings;
    for (int i = 0; i < plan->columns.count; i++)
        if (!plan->columns.items[i].used)
            warnings[reply->n_warnings++] =
                arena_printf(&exchange->arena, "the recipe does not use the column %.200s",
                             plan->columns.items[i].column);
}

/* Of a dry run: what would be. */
static void answer_submit(struct batch *it)
{
    struct exchange *exchange = it->each.exchange;
    Api__BatchReply *reply = exchange_reply(exchange);
    reply->has_submitted = reply->has_unchanged = true;
    reply->submitted = it->submitted;
    reply->unchanged = it->unchanged;
    for (int64_t i = 0; i < it->plan.count; i++) {
        const struct batch_row *row = &it->plan.rows[i];
        reply->submitted += it->dry_run && row->refusal == NULL && row->job_id == 0;
        reply->unchanged += it->dry_run && row->refusal == NULL && row->job_id != 0;
        answer_row(exchange, reply, row);
    }
    answer_columns(exchange, &it->plan, reply);
    exchange->code = it->submitted > 0 && !it->dry_run ? 201 : 200;
    if (it->dry_run)
        exchange_done(exchange, STATUS_OK, NULL);
    else
        answer(it);
}

/* ---- submit: the batch ----------------------------------------------------------------------- */

static enum status put_pins(struct records *records, const struct batch_plan *plan,
                            struct error *error)
{
    int64_t until_ms = coordinator_now_ms() + PIN_MS;
    for (int64_t i = 0; i < plan->count; i++)
        for (int k = 0; k < plan->rows[i].pin_count; k++)
            TRY(blob_record_pin(records, plan->rows[i].tenant, plan->rows[i].pins[k], "spec",
                                until_ms, error));
    return STATUS_OK;
}

static enum status put_event(struct records *records, const struct batch *it, const char *kind,
                             const char *words, int64_t count, struct error *error)
{
    Api__Event event = API__EVENT__INIT;
    char text[512];
    snprintf(text, sizeof(text), "batch b-%" PRId64 " %s: %" PRId64 " %s", it->id, it->plan.name,
             count, words);
    event.has_time_ms = event.has_severity = true;
    event.time_ms = coordinator_now_ms();
    event.severity = API__SEVERITY__SEVERITY_INFO;
    event.tenant = (char *)it->plan.tenant;
    event.kind = (char *)kind;
    event.message = text;
    return event_record_insert(records, &event, error);
}

static enum status put_batch(struct records *records, void *argument, struct error *error)
{
    struct exchange *exchange = argument;
    struct batch *it = exchange->state;
    Api__Batch batch = API__BATCH__INIT;
    batch.tenant = (char *)it->plan.tenant;
    batch.name = (char *)it->plan.name;
    batch.recipe = (char *)it->plan.recipe;
    batch.has_created_ms = true;
    batch.created_ms = coordinator_now_ms();
    batch.has_max_running = it->max_running > 0;
    batch.max_running = it->max_running;
    TRY(batch_record_put(records, &batch, &it->id, error));
    TRY(batch_record_drop_refused(records, it->id, error));
    TRY(put_pins(records, &it->plan, error));
    return put_event(records, it, "batch_submitted", "rows in its table", it->plan.count, error);
}

/* ---- submit: a row --------------------------------------------------------------------------- */

static void row_done(void *argument, enum status status, const struct error *error)
{
    struct batch_row *row = argument;
    struct batch *it = row->batch;
    if (status == STATUS_OK) {
        row->job_id = row->submission.id;
        it->submitted += row->submission.created;
        it->unchanged += !row->submission.created;
    } else if (status == STATUS_IO) { /* nobody's table is at fault */
        it->failure = *error;
        it->each.stop = true;
    } else {
        row->refusal = arena_strdup(&it->each.exchange->arena, error->text);
    }
    each_one_done(&it->each);
}

/* The same row of the same table is the same job; the same retry of a job too. */
static void put_key(const struct batch *it, struct batch_row *row)
{
    struct buf text = {0};
    buf_printf(&text, "batch %" PRId64 "\n%s\n%s\n%" PRId64, it->id, row->key,
               row->job->spec_digest, row->again);
    sha256_hex(text.data, text.length, row->idempotency_key);
    buf_release(&text);
}

static void put_record(const struct batch *it, struct batch_row *row)
{
    api__batch_row__init(&row->record);
    row->record.has_batch_id = row->record.has_row = row->record.has_state = true;
    row->record.batch_id = it->id;
    row->record.row = row->number;
    row->record.key = (char *)row->key;
    row->record.tenant = (char *)(row->tenant != NULL ? row->tenant : it->plan.tenant);
    row->record.values = (char *)row->values;
    row->record.error = (char *)row->refusal;
    row->record.state = row->refusal != NULL ? API__BATCH_ROW_STATE__BATCH_ROW_STATE_INVALID
                                             : API__BATCH_ROW_STATE__BATCH_ROW_STATE_SUBMITTED;
    row->record.spec_digest = row->job != NULL ? row->job->spec_digest : NULL;
}

static bool row_begin(struct each *each, int64_t index)
{
    struct exchange *exchange = each->exchange;
    struct batch *it = exchange->state;
    struct batch_row *row = &it->plan.rows[index];
    if (row->refusal != NULL || row->job_id != 0) {
        it->unchanged += row->refusal == NULL;
        return false;
    }
    row->batch = it;
    put_record(it, row);
    put_key(it, row);
    row->job->has_batch_id = row->job->has_batch_row = true;
    row->job->batch_id = it->id;
    row->job->batch_row = row->number;
    row->job->submitter = exchange->caller.name;
    row->submission = (struct job_submission){.caller = &exchange->caller,
                                              .job = row->job,
                                              .idempotency_key = row->idempotency_key,
                                              .request_digest = row->job->spec_digest,
                                              .inputs = row->inputs,
                                              .input_count = row->input_count,
                                              .row = &row->record,
                                              .sharded = row->sharded};
    coordinator_job_submit(exchange->api->coordinator, &row->submission, row_done, row);
    return true;
}

static enum status put_refused(struct records *records, void *argument, struct error *error)
{
    struct batch *it = ((struct exchange *)argument)->state;
    for (int64_t i = 0; i < it->plan.count; i++) {
        struct batch_row *row = &it->plan.rows[i];
        if (row->refusal == NULL || row->again != 0)
            continue; /* one that is not tried again keeps the job that it has */
        put_record(it, row);
        TRY(batch_record_put_row(records, &row->record, error));
    }
    return STATUS_OK;
}

static void on_refused_put(void *argument, enum status status, const struct error *error)
{
    struct exchange *exchange = argument;
    if (status != STATUS_OK || exchange->api->stopping)
        exchange_done(exchange, status, error);
    else
        answer_submit(exchange->state);
}

static void rows_end(struct each *each)
{
    struct exchange *exchange = each->exchange;
    struct batch *it = exchange->state;
    if (it->failure.status != STATUS_OK)
        exchange_done(exchange, it->failure.status, &it->failure);
    else
        coordinator_write(exchange->api->coordinator, put_refused, on_refused_put, exchange);
}

static void on_batch_put(void *argument, enum status status, const struct error *error)
{
    struct exchange *exchange = argument;
    struct batch *it = exchange->state;
    if (status != STATUS_OK) {
        exchange_done(exchange, status, error);
        return;
    }
    if (it->bounds)
        coordinator_batch_bound(exchange->api->coordinator, it->id, it->max_running);
    it->each = (struct each){
        .exchange = exchange, .count = it->plan.count, .begin = row_begin, .end = rows_end};
    each_go_on(&it->each);
}

/* ---- the checks, a portion after the other --------------------------------------------------- */

static enum status check_portion(struct records *records, void *argument, struct error *error)
{
    struct exchange *exchange = argument;
    struct batch *it = exchange->state;
    int64_t end = it->checked + CHECKED_AT_ONCE;
    for (; it->checked < end && it->checked < it->plan.count; it->checked++) {
        struct batch_row *row = &it->plan.rows[it->checked];
        if (row->refusal == NULL)
            TRY(batch_check(records, exchange, &it->plan, row, error));
    }
    return STATUS_OK;
}

static void check_on(struct exchange *exchange, enum status status, const struct error *error);

static void on_portion(void *argument, enum status status, const struct error *error)
{
    check_on(argument, status, error);
}

static void check_on(struct exchange *exchange, enum status status, const struct error *error)
{
    struct batch *it = exchange->state;
    struct coordinator *coordinator = exchange->api->coordinator;
    struct error leaving;
    if (status == STATUS_OK && exchange->api->stopping) {
        status = error_set(&leaving, STATUS_CANCELLED, "the coordinator is stopping");
        error = &leaving;
    }
    if (status != STATUS_OK) {
        exchange_done(exchange, status, error);
    } else if (it->checked < it->plan.count) {
        coordinator_read(coordinator, check_portion, on_portion, exchange);
    } else if (it->dry_run) {
        answer_submit(it);
    } else {
        coordinator_write(coordinator, it->put, on_batch_put, exchange);
    }
}

void batch_check_start(struct exchange *exchange)
{
    check_on(exchange, STATUS_OK, NULL);
}

static struct batch *batch_new(struct exchange *exchange, coordinator_run *put)
{
    struct batch *it = arena_new(&exchange->arena, struct batch);
    it->each.exchange = exchange;
    it->put = put;
    exchange->state = it;
    return it;
}

enum status batch_submit_read(struct records *records, struct exchange *exchange,
                              struct error *error)
{
    const Api__BatchSubmitRequest *request = exchange->request;
    struct batch *it = batch_new(exchange, put_batch);
    it->dry_run = request->dry_run;
    it->max_running = request->max_running;
    it->bounds = true;
    return batch_plan_read(records, exchange, request, &it->plan, error);
}

/* ---- looking --------------------------------------------------------------------------------- */

enum status batches_read(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__BatchRequest *request = exchange->request;
    return batch_record_list(records, exchange_scope(exchange), request->after,
                             page_limit(request->has_limit, request->limit), &exchange->arena,
                             exchange_reply(exchange), error);
}

#define STATE(name) (INT64_C(1) << API__JOB_STATE__JOB_STATE_##name)

enum status batch_read(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__BatchRequest *request = exchange->request;
    const struct batch_row_query query = {.id = request->id,
                                          .after = request->after,
                                          .limit = page_limit(request->has_limit, request->limit),
                                          .states = request->has_failed ? STATE(FAILED) : 0,
                                          .failure_class =
                                              request->has_failed ? (int)request->failed : 0};
    TRY(read_batch(records, exchange, request->id, true, exchange_reply(exchange), error));
    return batch_record_rows(records, exchange_scope(exchange), &query, &exchange->arena,
                             exchange->reply, error);
}

/* ---- cancel ---------------------------------------------------------------------------------- */

/* The plan of a batch that is there: its rows with such jobs. */
static enum status plan_of(struct records *records, struct exchange *exchange, struct batch *it,
                           struct batch_row_query query, struct error *error)
{
    struct arena *arena = &exchange->arena;
    Api__Batch *batch;
    Api__BatchReply *list = message_new(arena, &api__batch_reply__descriptor);
    it->id = query.id;
    query.limit = BATCH_ROWS_MAX;
    TRY(batch_record_get(records, exchange_scope(exchange), it->id, false, arena, &batch, error));
    TRY(batch_record_rows(records, exchange_scope(exchange), &query, arena, list, error));
    it->plan = (struct batch_plan){.tenant = batch->tenant, .name = batch->name, .id = it->id};
    it->plan.count = (int64_t)list->n_rows;
    it->plan.rows = arena_array(arena, struct batch_row, it->plan.count);
    for (int64_t i = 0; i < it->plan.count; i++) {
        const Api__BatchRow *row = list->rows[i];
        it->plan.rows[i] = (struct batch_row){.number = row->row,
                                              .key = row->key,
                                              .values = row->values,
                                              .tenant = row->tenant,
                                              .again = row->job_id};
    }
    return STATUS_OK;
}

enum status batch_cancel_write(struct records *records, struct exchange *exchange,
                               struct error *error)
{
    struct batch *it = batch_new(exchange, NULL);
    const struct batch_row_query query = {
        .id = ((const Api__BatchRequest *)exchange->request)->id,
        .states = STATE(SUCCEEDED) - STATE(QUEUED)}; /* all that are in no final state */
    TRY(plan_of(records, exchange, it, query, error));
    TRY(batch_record_cancel(records, it->id, true, error));
    return put_event(records, it, "batch_cancelled", "jobs to cancel", it->plan.count, error);
}

/* A job that is over meanwhile needs no cancelling. */
static void on_cancelled(void *argument, enum status status, const struct error *error)
{
    struct batch *it = argument;
    if (status == STATUS_IO) {
        it->failure = *error;
        it->each.stop = true;
    }
    each_one_done(&it->each);
}

static bool cancel_begin(struct each *each, int64_t index)
{
    struct exchange *exchange = each->exchange;
    struct batch *it = exchange->state;
    coordinator_job_verb(exchange->api->coordinator, &exchange->caller, JOB_VERB_CANCEL,
                         it->plan.rows[index].again, 0, on_cancelled, it);
    return true;
}

static void cancel_end(struct each *each)
{
    struct batch *it = each->exchange->state;
    if (it->failure.status != STATUS_OK) {
        exchange_done(each->exchange, it->failure.status, &it->failure);
        return;
    }
    exchange_reply(each->exchange);
    answer(it);
}

void batch_cancel_start(struct exchange *exchange)
{
    struct batch *it = exchange->state;
    it->each = (struct each){
        .exchange = exchange, .count = it->plan.count, .begin = cancel_begin, .end = cancel_end};
    each_go_on(&it->each);
}

/* ---- retry ----------------------------------------------------------------------------------- */

static enum status put_retry(struct records *records, void *argument, struct error *error)
{
    struct batch *it = ((struct exchange *)argument)->state;
    TRY(batch_record_cancel(records, it->id, false, error));
    return put_event(records, it, "batch_retried", "jobs to try again", it->plan.count, error);
}

enum status batch_retry_read(struct records *records, struct exchange *exchange,
                             struct error *error)
{
    const Api__BatchRequest *request = exchange->request;
    const struct batch_row_query query = {
        .id = request->id,
        .states = request->has_failed ? STATE(FAILED) : STATE(FAILED) | STATE(CANCELLED),
        .failure_class = request->has_failed ? (int)request->failed : 0};
    return plan_of(records, exchange, batch_new(exchange, put_retry), query, error);
}
