/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor model score: rewards of the texts of a file, by a directory of this machine, or by a serve
 * job of the service. The same lines come out, with the same bits.
 *
 * The service is asked for some rows at a time, and again where it says so: it is busy for a
 * moment, or its trainer has died and comes back.
 */
#include <stdio.h>
#include <string.h>

#include "client/commands.h"
#include "client/dual.h"
#include "client/path.h"
#include "lib/arena.h"
#include "lib/buf.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"

enum { ROWS_AT_ONCE = 64, BYTES_AT_ONCE = SCORE_BYTES_MAX / 2, PATIENCE_MS = 120000 };

/* ---- of a directory -------------------------------------------------------------------------- */

#define SCORE_ROWS OFFLINE_DATA_ROWS, OFFLINE_FORMAT_ROWS, OFFLINE_COMPUTE_ROWS
static const struct option_row offline_rows[] = {SCORE_ROWS};
static const struct command of_directory = {
    .noun = "model",
    .verb = "score",
    .arguments = {{.placeholder = "MODEL"}, {.placeholder = "FILE|-", .optional = true}},
    OPTION_ROWS(offline_rows),
    .trainer_verb = "score",
    OFFLINE_COMMAND};

/* ---- of the service -------------------------------------------------------------------------- */

static const struct remote score_remote = {
    .route = ROUTE_MODEL_SCORE, .fields = {"name@version"}, .own = true};

struct sending {
    struct arena *arena;
    const struct service *service;
    Api__ScoreRequest *request;
    char *rows[ROWS_AT_ONCE];
    int64_t line0; /* of the first row that waits */
    size_t bytes;
};

static void print_field(json_t *line, const char *one, const char *many, json_t *values)
{
    bool alone = json_array_size(values) == 1;
    json_object_set(line, alone ? one : many, alone ? json_array_get(values, 0) : values);
    json_decref(values);
}

/* The results of one row, as the trainer's verb prints them (worker/trainer/score.h). */
static void print_row(int64_t number, const json_t *results, size_t begin, size_t end)
{
    json_t *line = json_object(), *scores = json_array(), *tokens = json_array(),
           *truncated = json_array();
    const json_t *error = NULL;
    struct buf text = {0};
    for (size_t i = begin; i < end; i++) {
        const json_t *result = json_array_get(results, i);
        json_t *score = json_object_get(result, "score");
        json_array_append_new(scores, score != NULL ? json_incref(score) : json_null());
        json_array_append(tokens, json_object_get(result, "tokens"));
        json_array_append_new(truncated,
                              json_boolean(json_is_true(json_object_get(result, "truncated"))));
        error = json_object_get(result, "error") != NULL ? json_object_get(result, "error") : error;
    }
    json_object_set_new(line, "line", json_integer(number));
    print_field(line, "score", "scores", scores);
    print_field(line, "tokens", "tokens", tokens);
    print_field(line, "truncated", "truncated", truncated);
    if (error != NULL) {
        json_object_set(line, "error", (json_t *)error); /* jansson knows no const here */
    }
    json_append(&text, line);
    puts(text.data);
    buf_release(&text);
    json_decref(line);
}

static void print_all(int64_t line0, const json_t *reply)
{
    const json_t *results = json_object_get(reply, "results");
    size_t count = json_array_size(results);
    for (size_t begin = 0, end; begin < count; begin = end) {
        const json_t *row = json_object_get(json_array_get(results, begin), "row");
        end = begin + 1;
        while (end < count &&
               json_equal(json_object_get(json_array_get(results, end), "row"), row)) {
            end++;
        }
        print_row(line0 + json_integer_value(row), results, begin, end);
    }
}

static enum status send_rows(struct sending *sending, struct error *error)
{
    json_t *reply;
    if (sending->request->n_rows == 0) {
        return STATUS_OK;
    }
    TRY(service_insist(sending->service, ROUTE_MODEL_SCORE, &sending->request->base, PATIENCE_MS,
                       &reply, error));
    print_all(sending->line0, reply);
    json_decref(reply);
    sending->line0 += (int64_t)sending->request->n_rows;
    sending->request->n_rows = 0;
    sending->bytes = 0;
    return STATUS_OK;
}

static enum status take_line(struct sending *sending, const char *line, size_t length,
                             struct error *error)
{
    if (sending->request->n_rows == ROWS_AT_ONCE ||
        (sending->bytes > 0 && sending->bytes + length > BYTES_AT_ONCE)) {
        TRY(send_rows(sending, error));
    }
    sending->rows[sending->request->n_rows++] = arena_strndup(sending->arena, line, length);
    sending->bytes += length;
    return STATUS_OK;
}

static enum status send_file(struct sending *sending, FILE *file, const char *name,
                             struct error *error)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && (length = getline(&line, &size, file)) >= 0) {
        while (length > 0 && strchr("\r\n", line[length - 1]) != NULL) {
            length--;
        }
        status = length > 0
                     ? take_line(sending, line, (size_t)length, error)
                     : error_set(error, STATUS_FORMAT, "%s:%lld: an empty line", name,
                                 (long long)(sending->line0 + (int64_t)sending->request->n_rows));
    }
    mem_free(line);
    return status == STATUS_OK ? send_rows(sending, error) : status;
}

static enum status of_service_in(struct arena *arena, const struct call *call, struct error *error)
{
    struct service service;
    struct sending sending = {.arena = arena, .service = &service, .line0 = 1};
    struct call model = *call;
    ProtobufCMessage *request;
    const char *name = call->argument_count > 1 ? call->arguments[1] : "-";
    TRY(remote_open(arena, call, &service, error));
    model.argument_count = 1; /* the file is no field of the request */
    TRY(remote_request(&model, &service, &score_remote, &request, error));
    sending.request = (Api__ScoreRequest *)request;
    sending.request->rows = sending.rows;
    if (sending.request->version == NULL) {
        return error_set(error, STATUS_USAGE, "say which version or alias, as in %s@prod",
                         call->arguments[0]);
    }
    FILE *file = strcmp(name, "-") == 0 ? stdin : fopen(name, "r");
    if (file == NULL) {
        return error_set(error, STATUS_NOT_FOUND, "%s: cannot be read", name);
    }
    enum status status = send_file(&sending, file, name, error);
    if (file != stdin) {
        fclose(file);
    }
    return status;
}

static enum status of_service_run(const struct call *call, struct error *error)
{
    return remote_within(of_service_in, call, error);
}

static const struct option_row service_rows[] = {REMOTE_ROWS};
static const struct command of_service = {
    .noun = "model", .verb = "score", OPTION_ROWS(service_rows), .run = of_service_run};

/* ---- which ----------------------------------------------------------------------------------- */

static enum status score_run(const struct call *call, struct error *error)
{
    const char *argument = call->arguments[0];
    bool is_dir = dir_exists(argument) || argument[0] == '.' || argument[0] == '/';
    if (!is_dir) {
        return dual_run(call, &of_service, true, error);
    }
    TRY(path_check("MODEL", argument, error));
    return dual_run(call, &of_directory, false, error);
}

static const struct option_row rows[] = {SCORE_ROWS, DUAL_ROWS};

const struct command cmd_model_score = {
    .noun = "model",
    .verb = "score",
    .summary = "Give texts their rewards, one line each",
    .details =
        "Lines of JSON: {\"prompt\", \"response\"} or any form of preference data. The same text "
        "gets the\nsame bits whatever else is in the file, by a directory of this machine and by a "
        "model of the\nservice (tailor serve).",
    .example = "tailor model score ./support/model answers.jsonl -o jsonl\n"
               "       tailor model score acme/support@prod answers.jsonl",
    .arguments = {{.placeholder = "MODEL_OR_NAME"}, {.placeholder = "FILE|-", .optional = true}},
    OPTION_ROWS(rows),
    .options_size = sizeof(struct dual_options),
    .run = score_run};
