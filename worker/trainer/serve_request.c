/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/trainer/serve_request.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "worker/trainer/relay.h"

enum status serve_request_read(const char *line, struct serve_request **request_out,
                               struct error *error)
{
    json_t *json;
    int64_t id = 0;
    TRY(json_read("the request", line, strlen(line), &json, error));
    const char *adapter = json_string_value(json_object_get(json, "adapter"));
    json_t *rows = json_object_get(json, "rows");
    enum status status = json_get_i64(json, "id", 1, INT64_MAX, &id, error);
    if (status == STATUS_OK && (id == 0 || json_array_size(rows) == 0)) {
        status = error_set(error, STATUS_FORMAT, "a request needs id and rows");
    }
    if (status == STATUS_OK) {
        struct serve_request *request = mem_alloc(sizeof(*request));
        request->id = id;
        request->rows = json_incref(rows);
        snprintf(request->adapter, sizeof(request->adapter), "%s", adapter != NULL ? adapter : "");
        *request_out = request;
    }
    json_decref(json);
    return status;
}

void serve_request_free(struct serve_request *request)
{
    for (int32_t i = 0; i < request->count; i++) {
        mem_free(request->responses[i].tokens.ids);
    }
    mem_free(request->responses);
    json_decref(request->rows);
    mem_free(request);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static enum status record_add(struct serve_request *request, int32_t row,
                              const struct text_format *format, const struct tokenizer *tokenizer,
                              int32_t vocabulary, const struct record *record, struct error *error)
{
    if (request->count + record->response_count > SCORE_RESPONSES_MAX) {
        return error_set(error, STATUS_LIMIT,
                         "the rows before it and it have over %d responses: "
                         "send fewer at once",
                         SCORE_RESPONSES_MAX);
    }
    for (int32_t k = 0; k < record->response_count; k++) {
        struct serve_response *response = &request->responses[request->count];
        TRY(score_row_make(format, tokenizer, vocabulary, record, &record->responses[k],
                           &response->tokens, error));
        response->row = row;
        response->response = k;
        request->count++;
        request->waiting += !response->tokens.dropped;
    }
    return STATUS_OK;
}

enum status serve_request_encode(struct serve_request *request, const struct text_format *format,
                                 const struct tokenizer *tokenizer, int32_t vocabulary,
                                 struct error *error)
{
    static const struct data_source any_form = {.any_form = true};
    struct record_reader *reader;
    struct record record;
    enum status status = STATUS_OK;
    size_t rows = json_array_size(request->rows);
    request->responses = mem_alloc(SCORE_RESPONSES_MAX * sizeof(*request->responses));
    record_reader_open_objects(&any_form, &reader);
    for (size_t i = 0; i < rows && status == STATUS_OK; i++) {
        status = record_reader_object(reader, json_array_get(request->rows, i), &record, error);
        if (status == STATUS_OK) {
            status = record_add(request, (int32_t)i, format, tokenizer, vocabulary, &record, error);
        }
        if (status != STATUS_OK) {
            error_prefix(error, "row %zu", i);
        }
    }
    record_reader_close(reader);
    return status;
}

/* ---- answers --------------------------------------------------------------------------------- */

static json_t *result_json(const struct serve_response *response)
{
    json_t *json = json_object();
    const char *trouble = NULL;
    char text[96];
    if (response->tokens.dropped) {
        score_row_dropped(response->tokens.tokens, text);
        trouble = text;
    } else if (!isfinite(response->score)) {
        trouble = "its reward is not finite";
    }
    json_object_set_new(json, "row", json_integer(response->row));
    json_object_set_new(json, "response", json_integer(response->response));
    json_object_set_new(json, "tokens", json_integer(response->tokens.tokens));
    if (trouble != NULL) {
        json_object_set_new(json, "error", json_string(trouble));
    } else {
        json_object_set_new(json, "score", json_real(response->score));
        json_object_set_new(json, "truncated", json_boolean(response->tokens.truncated));
    }
    return json;
}

void serve_request_answer(const struct serve_request *request, const char *numerics)
{
    json_t *fields = json_object(), *results = json_array();
    for (int32_t i = 0; i < request->count; i++) {
        json_array_append_new(results, result_json(&request->responses[i]));
    }
    json_object_set_new(fields, "id", json_integer(request->id));
    json_object_set_new(fields, "results", results);
    json_object_set_new(fields, "numerics", json_string(numerics));
    relay_line("scores", fields);
    json_decref(fields);
}

void serve_request_refuse(int64_t id, const char *message, bool again)
{
    json_t *fields = json_object();
    json_object_set_new(fields, "id", json_integer(id));
    json_object_set_new(fields, "message", json_string(message));
    json_object_set_new(fields, "again", json_boolean(again));
    relay_line("scores", fields);
    json_decref(fields);
}
