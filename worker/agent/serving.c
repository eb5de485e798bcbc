/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/agent/serving.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/arena.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "lib/text.h"
#include "proto/message.h"
#include "proto/message_json.h"
#include "worker/agent/attempt.h"
#include "worker/agent/transfer.h"

struct ask {
    int64_t number; /* ours, for the trainer */
    int64_t ask;    /* the coordinator's */
    int64_t until_ms;
    char tenant[64], adapter[SHA256_HEX_SIZE]; /* adapter "": the served model itself */
    bool written;
    char *line; /* owned, until it is written */
    size_t length;
};

enum { MARK_MANIFEST, MARK_FILES };

struct serving {
    const struct cache *cache;
    struct ask asks[SERVING_ASKS_MAX];
    int count;
    size_t bytes; /* of lines that are not written */
    int64_t number;
    struct buf out; /* to the trainer */
    struct transfer fetch;
    char fetching[SHA256_HEX_SIZE], tenant[64]; /* "": nothing is */
    struct manifest *manifest;
};

struct serving *serving_create(const struct cache *cache, struct transfer_arrivals *arrivals)
{
    struct serving *serving = mem_alloc(sizeof(*serving));
    serving->cache = cache;
    serving->fetch.cache = cache;
    serving->fetch.arrivals = arrivals;
    serving->fetch.tenant = serving->tenant;
    serving->manifest = mem_alloc(sizeof(*serving->manifest));
    return serving;
}

void serving_free(struct serving *serving)
{
    if (serving == NULL)
        return;
    for (int i = 0; i < serving->count; i++)
        mem_free(serving->asks[i].line);
    transfer_release(&serving->fetch);
    buf_release(&serving->out);
    mem_free(serving->manifest);
    mem_free(serving);
}

struct transfer *serving_transfer(struct serving *serving)
{
    return &serving->fetch;
}

bool serving_writes(const struct serving *serving)
{
    return serving->out.length > 0;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void say_why(struct link *link, int64_t ask, int64_t job, int64_t term, const char *why,
                    bool again)
{
    Wire__ScoreAnswer answer = WIRE__SCORE_ANSWER__INIT;
    char clean[1024];
    text_clean(why, clean, sizeof(clean));
    answer.has_ask = answer.has_job = answer.has_term = answer.has_again = true;
    answer.ask = ask;
    answer.job = job;
    answer.term = term;
    answer.again = again;
    answer.message = clean;
    link_send(link, WORKER_SCORE_ANSWER, &answer);
}

void serving_refuse(struct link *link, const Wire__ScoreAsk *ask, const char *why)
{
    say_why(link, ask->ask, ask->job, ask->term, why, true);
}

static bool is_input(const struct attempt *attempt, const char *digest)
{
    for (int i = 0; i < attempt->input_count; i++)
        if (strcmp(attempt->inputs[i], digest) == 0)
            return true;
    return false;
}

static bool is_asked(const struct serving *serving, const char *adapter)
{
    for (int i = 0; i < serving->count; i++)
        if (strcmp(serving->asks[i].adapter, adapter) == 0)
            return true;
    return false;
}

static void adapter_dir(const struct attempt *attempt, const char *adapter, char out[PATH_MAX])
{
    path_join(out, PATH_MAX, attempt->dir, adapter);
}

/* The request leaves, and its adapter's files with the last one that needed them. */
static void drop(struct serving *serving, const struct attempt *attempt, int index)
{
    struct ask gone = serving->asks[index];
    char dir[PATH_MAX];
    memmove(&serving->asks[index], &serving->asks[index + 1],
            (size_t)(--serving->count - index) * sizeof(gone));
    serving->bytes -= gone.line != NULL ? gone.length : 0;
    mem_free(gone.line);
    if (gone.adapter[0] == '\0' || is_asked(serving, gone.adapter) ||
        is_input(attempt, gone.adapter))
        return;
    adapter_dir(attempt, gone.adapter, dir);
    if (dir_exists(dir))
        dir_remove(dir, NULL);
}

static void refuse(struct serving *serving, struct attempt *attempt, int index, const char *why,
                   bool again)
{
    say_why(attempt->place->link, serving->asks[index].ask, attempt->job, attempt->term, why,
            again);
    drop(serving, attempt, index);
}

static enum status read_results(struct arena *arena, const json_t *line, Wire__ScoreAnswer *answer,
                                struct error *error)
{
    const json_t *list = json_object_get(line, "results");
    size_t count = json_array_size(list);
    if (count > SCORE_RESPONSES_MAX)
        return error_set(error, STATUS_FORMAT, "%zu results", count);
    answer->results = arena_array(arena, Api__Score *, count + 1);
    for (size_t i = 0; i < count; i++) {
        struct buf text = {0};
        json_append(&text, json_array_get(list, i));
        answer->results[i] = NULL;
        enum status status = message_from_json(arena, &api__score__descriptor, text.data,
                                               text.length, &answer->results[i], error);
        buf_release(&text);
        TRY(status);
        answer->n_results++;
    }
    return STATUS_OK;
}

static void send_results(struct serving *serving, struct attempt *attempt, int index,
                         const json_t *line)
{
    struct arena arena = {0};
    struct error error;
    Wire__ScoreAnswer *answer = message_new(&arena, &wire__score_answer__descriptor);
    answer->has_ask = answer->has_job = answer->has_term = true;
    answer->ask = serving->asks[index].ask;
    answer->job = attempt->job;
    answer->term = attempt->term;
    answer->numerics = (char *)json_string_value(json_object_get(line, "numerics"));
    if (read_results(&arena, line, answer, &error) == STATUS_OK) {
        link_send(attempt->place->link, WORKER_SCORE_ANSWER, answer);
        drop(serving, attempt, index);
    } else {
        log_warn("job %" PRId64 ": an answer of its trainer is none: %s", attempt->job, error.text);
        refuse(serving, attempt, index, "the serve job gave no answer", true);
    }
    arena_release(&arena);
}

void serving_answer(struct serving *serving, struct attempt *attempt, const json_t *line)
{
    const char *message = json_string_value(json_object_get(line, "message"));
    int64_t number = json_integer_value(json_object_get(line, "id"));
    for (int i = 0; i < serving->count; i++) {
        if (serving->asks[i].number != number)
            continue;
        if (message != NULL)
            refuse(serving, attempt, i, message, json_is_true(json_object_get(line, "again")));
        else
            send_results(serving, attempt, i, line);
        return;
    }
}

void serving_end(struct serving *serving, struct attempt *attempt)
{
    while (serving->count > 0)
        refuse(serving, attempt, serving->count - 1,
               "the serve job lost its process while this was computed: try again soon", true);
    buf_clear(&serving->out);
    transfer_drop(&serving->fetch);
    serving->fetching[0] = '\0';
}

/* ---- requests -------------------------------------------------------------------------------- */

static char *line_of(const Wire__ScoreAsk *ask, int64_t number, size_t *length_out)
{
    struct buf line = {0};
    buf_printf(&line, "{\"id\":%" PRId64, number);
    if (ask->manifest != NULL)
        buf_printf(&line, ",\"adapter\":\"%s\"", ask->manifest);
    buf_append_string(&line, ",\"rows\":[");
    for (size_t i = 0; i < ask->n_rows; i++) {
        size_t begin = line.length + (i > 0);
        buf_printf(&line, "%s%s", i > 0 ? "," : "", ask->rows[i]);
        for (size_t k = begin; k < line.length; k++) /* JSON may have them between its values */
            line.data[k] = line.data[k] == '\n' || line.data[k] == '\r' ? ' ' : line.data[k];
    }
    buf_append_string(&line, "]}\n");
    *length_out = line.length;
    char *copy = mem_strdup(line.data);
    buf_release(&line);
    return copy;
}

void serving_take(struct serving *serving, struct attempt *attempt, const Wire__ScoreAsk *ask)
{
    struct link *link = attempt->place->link;
    bool open =
        attempt->phase == ATTEMPT_RUNNING && attempt->running_said && attempt->wish == WISH_NONE;
    if (!open) {
        serving_refuse(link, ask, "the serve job does not serve now: try again soon");
        return;
    }
    if (serving->count == SERVING_ASKS_MAX || serving->bytes > SERVING_ASKS_BYTES_MAX) {
        serving_refuse(link, ask, "too many requests wait for the serve job: try again soon");
        return;
    }
    struct ask *it = &serving->asks[serving->count++];
    *it = (struct ask){.number = ++serving->number,
                       .ask = ask->ask,
                       .until_ms = attempt->now_ms + ask->patience_ms};
    snprintf(it->tenant, sizeof(it->tenant), "%s", ask->tenant != NULL ? ask->tenant : "");
    snprintf(it->adapter, sizeof(it->adapter), "%s", ask->manifest != NULL ? ask->manifest : "");
    it->line = line_of(ask, it->number, &it->length);
    serving->bytes += it->length;
}

/* ---- an adapter's files ---------------------------------------------------------------------- */

static bool is_here(const struct attempt *attempt, const char *adapter)
{
    char dir[PATH_MAX];
    adapter_dir(attempt, adapter, dir);
    return adapter[0] == '\0' || dir_exists(dir);
}

static void fetch_begin(struct serving *serving, const struct ask *ask)
{
    snprintf(serving->fetching, sizeof(serving->fetching), "%s", ask->adapter);
    snprintf(serving->tenant, sizeof(serving->tenant), "%s", ask->tenant);
    transfer_add(&serving->fetch, TRANSFER_GET, ask->adapter, 0);
    transfer_add(&serving->fetch, TRANSFER_MARK, NULL, MARK_MANIFEST);
}

static enum status fetch_go_on(struct serving *serving, const struct attempt *attempt, int mark,
                               struct error *error)
{
    struct arena arena = {0};
    char dir[PATH_MAX];
    bool is_manifest = false;
    enum status status = cache_manifest(serving->cache, &arena, serving->fetching,
                                        serving->manifest, &is_manifest, error);
    if (status == STATUS_OK && !is_manifest)
        status = error_set(error, STATUS_FORMAT, "the model's manifest is none");
    for (int i = 0; status == STATUS_OK && mark == MARK_MANIFEST && i < serving->manifest->count;
         i++)
        transfer_add(&serving->fetch, TRANSFER_GET, serving->manifest->files[i].digest, 0);
    if (status == STATUS_OK && mark == MARK_MANIFEST)
        transfer_add(&serving->fetch, TRANSFER_MARK, NULL, MARK_FILES);
    if (status == STATUS_OK && mark == MARK_FILES) {
        adapter_dir(attempt, serving->fetching, dir);
        status = cache_give_all(serving->cache, serving->manifest, dir, error);
        serving->fetching[0] = '\0';
    }
    arena_release(&arena);
    return status;
}

static void fetch_fail(struct serving *serving, struct attempt *attempt, const char *adapter,
                       const struct error *error)
{
    for (int i = serving->count; i-- > 0;)
        if (strcmp(serving->asks[i].adapter, adapter) == 0)
            refuse(serving, attempt, i, error->text, true);
    transfer_drop(&serving->fetch);
    serving->fetch.status = STATUS_OK;
    serving->fetch.refusals = 0;
    serving->fetching[0] = '\0';
}

/* True: one adapter is done with, and the next may begin. */
static bool turn_fetch(struct serving *serving, struct attempt *attempt)
{
    struct error error;
    int mark;
    for (int i = 0; serving->fetching[0] == '\0' && i < serving->count; i++)
        if (!serving->asks[i].written && !is_here(attempt, serving->asks[i].adapter))
            fetch_begin(serving, &serving->asks[i]);
    if (serving->fetching[0] == '\0')
        return false;
    do { /* what is in the cache passes at once */
        char adapter[SHA256_HEX_SIZE];
        memcpy(adapter, serving->fetching, sizeof(adapter));
        mark = transfer_turn(&serving->fetch, attempt->place->link, attempt->now_ms);
        enum status status = serving->fetch.status;
        error = serving->fetch.error;
        if (status == STATUS_OK && mark >= 0)
            status = fetch_go_on(serving, attempt, mark, &error);
        if (status != STATUS_OK) {
            fetch_fail(serving, attempt, adapter, &error);
            return true;
        }
    } while (mark == MARK_MANIFEST);
    return serving->fetching[0] == '\0';
}

/* ---- to the trainer -------------------------------------------------------------------------- */

static void queue_lines(struct serving *serving, const struct attempt *attempt)
{
    for (int i = 0; i < serving->count && serving->out.length < SCORE_BYTES_MAX; i++) {
        struct ask *ask = &serving->asks[i];
        if (ask->written || !is_here(attempt, ask->adapter))
            continue;
        buf_append(&serving->out, ask->line, ask->length);
        serving->bytes -= ask->length;
        mem_free(ask->line);
        ask->line = NULL;
        ask->written = true;
    }
}

static void write_lines(struct serving *serving, int fd)
{
    struct buf *out = &serving->out;
    size_t done = 0;
    while (done < out->length) {
        ssize_t put = write(fd, out->data + done, out->length - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            break; /* full, or its end is closed: the process will be reaped */
        done += (size_t)put;
    }
    if (done > 0) {
        memmove(out->data, out->data + done, out->length - done);
        out->length -= done;
    }
}

void serving_turn(struct serving *serving, struct attempt *attempt)
{
    for (int i = serving->count; i-- > 0;)
        if (!serving->asks[i].written && attempt->now_ms >= serving->asks[i].until_ms)
            drop(serving, attempt, i);
    while (turn_fetch(serving, attempt)) {
    }
    queue_lines(serving, attempt);
    write_lines(serving, attempt->ranks[0].process.requests);
}
