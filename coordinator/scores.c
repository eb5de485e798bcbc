/* SPDX-License-Identifier: Apache-2.0
 *
 * Three bounds, each with its own sentence: of all requests that are out, of one job's, of one
 * tenant's models. The last one keeps a tenant that floods from being the only one that is served.
 */
#include "coordinator/scores.h"

#include <inttypes.h>
#include <string.h>

#include "coordinator/state.h"
#include "lib/check.h"
#include "lib/text.h"
#include "proto/message.h"

enum { LOOK_MS = 100, AGAIN_SOON_S = 1, AGAIN_LATER_S = 5 };

struct score {
    int64_t number;
    uint64_t job, term;
    int64_t worker, until_ms;
    size_t bytes;
    char tenant[NAME_BYTES_MAX + 1];
    struct score_reply *reply;
    struct arena *arena;
    coordinator_done *done;
    void *argument;
};

struct scores {
    struct coordinator *coordinator;
    struct event *timer; /* runs while anything is out */
    struct score items[SCORES_MAX];
    int32_t count;
    int64_t last; /* number given; the epoch is in it, so that no answer finds a later one's */
    size_t bytes; /* of all rows that are out: their requests are in memory until they are done */
};

/* ---- which job ------------------------------------------------------------------------------- */

/* A serve job that keeps the query's weights. */
static bool serves(const struct job *job, const struct score_query *query)
{
    const char *resident = query->adapter ? query->parent_manifest : query->manifest;
    return job->serves != NULL && resident != NULL && strcmp(job->serves, resident) == 0;
}

static int32_t out_of_job(const struct scores *scores, uint64_t job)
{
    int32_t count = 0;
    for (int32_t i = 0; i < scores->count; i++)
        count += scores->items[i].job == job;
    return count;
}

static int32_t out_of_tenant(const struct scores *scores, const char *tenant)
{
    int32_t count = 0;
    for (int32_t i = 0; i < scores->count; i++)
        count += strcmp(scores->items[i].tenant, tenant) == 0;
    return count;
}

/* The running one with the least to do. */
static enum status find_job(const struct scores *scores, const struct score_query *query,
                            struct score_reply *reply, struct cluster_job **core_out,
                            struct error *error)
{
    struct coordinator *coordinator = scores->coordinator;
    const struct job *waits = NULL;
    int32_t least = INT32_MAX;
    *core_out = NULL;
    for (uint32_t i = 0; i < coordinator->jobs.count; i++) {
        const struct job *job = coordinator->jobs.items[i];
        if (!serves(job, query))
            continue;
        struct cluster_job *core = cluster_job(&coordinator->cluster, job->id);
        bool over = core == NULL || job_is_final(core->run.state);
        if (!over && core->run.state != JOB_STATE_RUNNING)
            waits = job;
        int32_t out = out_of_job(scores, job->id);
        if (!over && core->run.state == JOB_STATE_RUNNING && out < least) {
            *core_out = core;
            least = out;
        }
    }
    if (*core_out != NULL && least < SCORES_OF_JOB_MAX)
        return STATUS_OK;
    if (*core_out != NULL) {
        reply->retry_after_s = AGAIN_SOON_S;
        return error_set(error, STATUS_LIMIT,
                         "%d requests wait for the serve job j-%" PRIu64
                         " already: try again soon, "
                         "or start another one",
                         SCORES_OF_JOB_MAX, (*core_out)->run.id);
    }
    if (waits != NULL) {
        const struct cluster_job *core = cluster_job(&coordinator->cluster, waits->id);
        reply->retry_after_s = AGAIN_LATER_S;
        return error_set(error, STATUS_CANCELLED,
                         "the serve job j-%" PRIu64
                         " is %s: try again soon (tailor job why j-%" PRIu64 ")",
                         waits->id, job_state_name(core->run.state), waits->id);
    }
    const char *resident = query->adapter ? query->parent : query->model;
    reply->hint = arena_printf(query->arena, "tailor serve %s", resident);
    return error_set(error, STATUS_CONFLICT, "no job serves %s%s%s: start one with tailor serve %s",
                     query->model, query->adapter ? ", an adapter over " : "",
                     query->adapter ? query->parent : "", resident);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void look_again(struct scores *scores)
{
    evtimer_add(scores->timer, &(struct timeval){.tv_usec = LOOK_MS * 1000});
}

static bool send_ask(struct scores *scores, const struct score_query *query, struct score *score)
{
    Wire__ScoreAsk ask = WIRE__SCORE_ASK__INIT;
    ask.has_ask = ask.has_job = ask.has_term = ask.has_patience_ms = true;
    ask.ask = score->number;
    ask.job = (int64_t)score->job;
    ask.term = (int64_t)score->term;
    ask.tenant = (char *)query->tenant; /* protobuf-c knows no const */
    ask.manifest = query->adapter ? (char *)query->manifest : NULL;
    ask.rows = query->rows;
    ask.n_rows = query->row_count;
    ask.patience_ms = SCORE_PATIENCE_MS;
    return worker_socket_send(scores->coordinator->socket,
                              (struct identity){IDENTITY_WORKER, score->worker}, WORKER_SCORE_ASK,
                              &ask);
}

static size_t bytes_of(const struct score_query *query)
{
    size_t bytes = 0;
    for (size_t i = 0; i < query->row_count; i++)
        bytes += strlen(query->rows[i]);
    return bytes;
}

static enum status check_room(const struct scores *scores, const struct score_query *query,
                              size_t bytes, struct score_reply *reply, struct error *error)
{
    bool full = scores->count == SCORES_MAX || scores->bytes + bytes > SCORES_BYTES_MAX;
    if (!full && out_of_tenant(scores, query->tenant) < SCORES_OF_TENANT_MAX)
        return STATUS_OK;
    reply->retry_after_s = AGAIN_SOON_S;
    return error_set(error, STATUS_LIMIT,
                     "too many requests for %s are on their way: try again soon",
                     full ? "rewards" : "this tenant's models");
}

enum status coordinator_score(struct coordinator *coordinator, const struct score_query *query,
                              struct score_reply *reply, coordinator_done *done, void *argument,
                              struct error *error)
{
    struct scores *scores = coordinator->scores;
    struct cluster_job *core;
    *reply = (struct score_reply){.retry_after_s = 0};
    size_t bytes = bytes_of(query);
    TRY(find_job(scores, query, reply, &core, error));
    if (bytes > 2 * SCORE_BYTES_MAX - 64 * KIB) /* a message's, but for its other fields */
        return error_set(error, STATUS_USAGE, "the rows are too long: send fewer at once");
    TRY(check_room(scores, query, bytes, reply, error));
    struct score *score = &scores->items[scores->count];
    *score = (struct score){
        .number = ++scores->last,
        .job = core->run.id,
        .term = core->run.term,
        .worker = (int64_t)coordinator->cluster.registry.workers[core->members[0].worker].id,
        .until_ms = now_read(coordinator) + SCORE_PATIENCE_MS,
        .bytes = bytes,
        .reply = reply,
        .arena = query->arena,
        .done = done,
        .argument = argument};
    snprintf(score->tenant, sizeof(score->tenant), "%s", query->tenant);
    if (!send_ask(scores, query, score)) {
        reply->retry_after_s = AGAIN_LATER_S;
        return error_set(error, STATUS_CANCELLED,
                         "the worker of the serve job j-%" PRIu64
                         " is not to be reached: try again "
                         "soon",
                         core->run.id);
    }
    scores->bytes += bytes;
    if (scores->count++ == 0)
        look_again(scores);
    return STATUS_OK;
}

/* ---- answers --------------------------------------------------------------------------------- */

/* Takes it out of the table and calls its `done`. */
static void finish(struct scores *scores, int32_t index, enum status status,
                   const struct error *error)
{
    struct score score = scores->items[index];
    scores->bytes -= score.bytes;
    scores->items[index] = scores->items[--scores->count];
    score.done(score.argument, status, error);
}

static void copy_results(struct score *score, const Wire__ScoreAnswer *answer)
{
    struct score_reply *reply = score->reply;
    reply->results = arena_array(score->arena, Api__Score *, answer->n_results + 1);
    reply->result_count = answer->n_results;
    for (size_t i = 0; i < answer->n_results; i++) {
        reply->results[i] = message_new(score->arena, &api__score__descriptor);
        *reply->results[i] = *answer->results[i];
        reply->results[i]->base.n_unknown_fields = 0; /* they are the answer's */
        if (answer->results[i]->error != NULL)
            reply->results[i]->error = arena_strdup(score->arena, answer->results[i]->error);
    }
    if (answer->numerics != NULL)
        reply->numerics = arena_strdup(score->arena, answer->numerics);
}

void scores_answered(struct scores *scores, int64_t worker, const Wire__ScoreAnswer *answer)
{
    int32_t i = 0;
    struct error error;
    while (i < scores->count && scores->items[i].number != answer->ask)
        i++;
    if (i == scores->count || scores->items[i].worker != worker)
        return; /* too late, or not asked */
    if (answer->message == NULL) {
        copy_results(&scores->items[i], answer);
        finish(scores, i, STATUS_OK, NULL);
        return;
    }
    scores->items[i].reply->retry_after_s = answer->again ? AGAIN_SOON_S : 0;
    error_set(&error, answer->again ? STATUS_CANCELLED : STATUS_USAGE, "%s", answer->message);
    finish(scores, i, error.status, &error);
}

/* ---- those without one ----------------------------------------------------------------------- */

static enum status fate(struct scores *scores, const struct score *score, struct error *error)
{
    struct coordinator *coordinator = scores->coordinator;
    const struct cluster_job *core = cluster_job(&coordinator->cluster, score->job);
    bool live = core != NULL && core->run.term == score->term && job_has_attempt(core->run.state);
    if (!live)
        return error_set(error, STATUS_CANCELLED,
                         "the serve job j-%" PRIu64
                         " lost its process while this was computed: try "
                         "again soon",
                         score->job);
    if (coordinator->now_ms >= score->until_ms)
        return error_set(error, STATUS_CANCELLED,
                         "the serve job j-%" PRIu64
                         " did not answer within %d s: send fewer texts at "
                         "once, or start another serve job",
                         score->job, SCORE_PATIENCE_MS / 1000);
    return STATUS_OK;
}

static void on_timer(evutil_socket_t fd, short what, void *argument)
{
    struct scores *scores = argument;
    struct error error;
    (void)fd, (void)what;
    now_read(scores->coordinator);
    for (int32_t i = scores->count; i-- > 0;) { /* finishing moves the last one here */
        if (fate(scores, &scores->items[i], &error) != STATUS_OK) {
            scores->items[i].reply->retry_after_s = AGAIN_LATER_S;
            finish(scores, i, error.status, &error);
        }
    }
    if (scores->count > 0)
        look_again(scores);
}

struct scores *scores_open(struct coordinator *coordinator)
{
    struct scores *scores = mem_alloc(sizeof(*scores));
    scores->coordinator = coordinator;
    scores->last = coordinator->epoch << 32;
    scores->timer = evtimer_new(coordinator->base, on_timer, scores);
    CHECK(scores->timer != NULL);
    return scores;
}

void scores_close(struct scores *scores)
{
    struct error error;
    error_set(&error, STATUS_CANCELLED, "the coordinator is stopping");
    while (scores->count > 0)
        finish(scores, scores->count - 1, error.status, &error);
    event_free(scores->timer);
    mem_free(scores);
}
