/* SPDX-License-Identifier: Apache-2.0
 *
 * on_score: rewards of texts, by a job of stage serve.
 *
 * Who may use the model is decided here, by the records; which job computes is no question of
 * tenants: a serve job keeps weights that many tenants' adapters stand on, and gives to each
 * request that model alone which was asked for.
 *
 * A reward alone is no probability: only differences mean something. Where a row has several
 * responses, that of being the preferred one is softmax(reward / T) over them, with the temperature
 * T that the model's evaluation fitted (worker/trainer/figures.h).
 */
#include <math.h>
#include <string.h>

#include "coordinator/api/handlers.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "proto/ident.h"
#include "proto/message.h"

struct scoring {
    struct score_query query;
    struct score_reply reply;
    int64_t version;
    double temperature; /* 0: not known */
};

/* ---- the rows -------------------------------------------------------------------------------- */

static char *text_row(struct arena *arena, const char *text)
{
    struct buf row = {0};
    json_t *json = json_object();
    json_object_set_new(json, "text", json_string(text));
    json_append(&row, json);
    char *copy = arena_strdup(arena, row.data);
    json_decref(json);
    buf_release(&row);
    return copy;
}

static enum status read_rows(struct exchange *exchange, struct score_query *query,
                             struct error *error)
{
    const Api__ScoreRequest *request = exchange->request;
    bool by_query = request->n_query > 0;
    size_t texts = by_query ? request->n_query : request->n_texts;
    if ((request->n_rows > 0) + (request->n_texts > 0) + by_query != 1)
        return error_set(error, STATUS_USAGE,
                         "rows, texts or query: give one of them, with something in it");
    query->rows = request->rows;
    query->row_count = request->n_rows;
    if (texts == 0)
        return STATUS_OK;
    query->rows = arena_array(&exchange->arena, char *, texts);
    query->row_count = texts;
    for (size_t i = 0; i < texts; i++)
        query->rows[i] =
            text_row(&exchange->arena, by_query ? request->query[i] : request->texts[i]);
    return STATUS_OK;
}

/* sets[].after.temperature of its first evaluation on the tenant's own taste, else of its first. */
static double read_temperature(const char *figures)
{
    json_t *json;
    if (figures == NULL || json_read("figures", figures, strlen(figures), &json, NULL) != STATUS_OK)
        return 0;
    const json_t *sets = json_object_get(json, "sets"), *set = json_array_get(sets, 0);
    for (size_t i = json_array_size(sets); i-- > 0;)
        if (json_is_false(json_object_get(json_array_get(sets, i), "general")))
            set = json_array_get(sets, i);
    double temperature =
        json_number_value(json_object_get(json_object_get(set, "after"), "temperature"));
    json_decref(json);
    return isfinite(temperature) && temperature > 0 ? temperature : 0;
}

enum status score_read(struct records *records, struct exchange *exchange, struct error *error)
{
    const Api__ScoreRequest *request = exchange->request;
    struct scoring *scoring = arena_new(&exchange->arena, struct scoring);
    struct score_query *query = &scoring->query;
    Api__ModelVersion *version;
    TRY(model_version_find(records, exchange, API__SHARE_RIGHT__SHARE_RIGHT_USE, request->tenant,
                           request->name, request->version, &version, error));
    TRY(read_rows(exchange, query, error));
    scoring->version = version->version;
    scoring->temperature = read_temperature(version->figures);
    query->tenant = version->tenant;
    query->model = arena_printf(&exchange->arena, "%s/%s@%lld", version->tenant, version->model,
                                (long long)version->version);
    query->manifest = version->manifest;
    query->parent = version->parent;
    query->parent_manifest = version->parent_digest;
    query->adapter = version->adapter && version->parent != NULL;
    query->arena = &exchange->arena;
    exchange->state = scoring;
    return STATUS_OK;
}

/* ---- the answer ------------------------------------------------------------------------------ */

/* Of the responses [begin, end) of one row. */
static void put_probabilities(Api__Score **results, size_t begin, size_t end, double temperature)
{
    double highest = -INFINITY, sum = 0;
    for (size_t i = begin; i < end; i++) {
        if (!results[i]->has_score)
            return;
        highest = results[i]->score > highest ? results[i]->score : highest;
    }
    for (size_t i = begin; i < end; i++)
        sum += exp((results[i]->score - highest) / temperature);
    for (size_t i = begin; i < end && end - begin > 1; i++) {
        results[i]->has_probability = true;
        results[i]->probability = exp((results[i]->score - highest) / temperature) / sum;
    }
}

static void put_results(const struct scoring *scoring, Api__ScoreReply *reply)
{
    reply->results = scoring->reply.results;
    reply->n_results = scoring->reply.result_count;
    for (size_t begin = 0, end; begin < reply->n_results; begin = end) {
        end = begin + 1;
        while (end < reply->n_results && reply->results[end]->row == reply->results[begin]->row)
            end++;
        if (scoring->temperature > 0)
            put_probabilities(reply->results, begin, end, scoring->temperature);
    }
}

/* OpenRLHF knows no reward that is missing. */
static enum status put_rewards(struct exchange *exchange, Api__ScoreReply *reply,
                               struct error *error)
{
    reply->rewards = arena_array(&exchange->arena, double, reply->n_results);
    for (size_t i = 0; i < reply->n_results; i++) {
        if (!reply->results[i]->has_score)
            return error_set(error, STATUS_UNSUPPORTED, "query %zu has no reward: %s", i,
                             reply->results[i]->error);
        reply->rewards[reply->n_rewards++] = reply->results[i]->score;
    }
    return STATUS_OK;
}

static enum status answer(struct exchange *exchange, struct error *error)
{
    const Api__ScoreRequest *request = exchange->request;
    struct scoring *scoring = exchange->state;
    Api__ScoreReply *reply = exchange_reply(exchange);
    put_results(scoring, reply);
    reply->model = (char *)scoring->query.model; /* protobuf-c knows no const */
    reply->numerics = (char *)scoring->reply.numerics;
    reply->has_version = true;
    reply->version = scoring->version;
    reply->has_temperature = scoring->temperature > 0;
    reply->temperature = scoring->temperature;
    return request->n_query > 0 ? put_rewards(exchange, reply, error) : STATUS_OK;
}

static void refuse(struct exchange *exchange, const struct error *error)
{
    const struct scoring *scoring = exchange->state;
    exchange->retry_after_s = scoring->reply.retry_after_s;
    exchange->hint = scoring->reply.hint;
    exchange_done(exchange, error->status, error);
}

static void on_scored(void *argument, enum status status, const struct error *error)
{
    struct exchange *exchange = argument;
    struct error refusal;
    if (status != STATUS_OK) {
        refuse(exchange, error);
        return;
    }
    status = answer(exchange, &refusal);
    exchange_done(exchange, status, &refusal);
}

void score_start(struct exchange *exchange)
{
    struct scoring *scoring = exchange->state;
    struct error error;
    if (coordinator_score(exchange->api->coordinator, &scoring->query, &scoring->reply, on_scored,
                          exchange, &error) != STATUS_OK)
        refuse(exchange, &error);
}
