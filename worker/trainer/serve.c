/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests: taken, given their adapter, put in line, answered.
 */
#include "worker/trainer/serve.h"

#include <string.h>

#include "lib/clock.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "worker/trainer/relay.h"
#include "worker/trainer/stop.h"

static void drop_adapter(void *argument, void *value)
{
    const struct server *server = argument;
    adapter_close(server->examiner.model, value);
}

void server_init(struct server *server, int64_t batch_tokens, int64_t adapters_bytes_max)
{
    const struct text_format *format = &server->examiner.format;
    server->adapters = (struct lru){
        .bytes_max = (size_t)adapters_bytes_max, .drop = drop_adapter, .argument = server};
    server->end = &server->requests;
    server->wanted = (struct serve_sizes){.tokens = (int32_t)batch_tokens,
                                          .row_tokens = server->has_head ? format->max_length : 1};
}

void server_release(struct server *server)
{
    while (server->requests != NULL) {
        struct serve_request *request = server->requests;
        server->requests = request->next;
        serve_request_free(request);
    }
    if (server->pending != NULL) {
        serve_request_free(server->pending);
    }
    lru_release(&server->adapters);
}

/* ---- its adapter ----------------------------------------------------------------------------- */

static void want(struct server *server, const struct text_format *format, int32_t lora_rank)
{
    struct serve_sizes *wanted = &server->wanted;
    wanted->row_tokens =
        format->max_length > wanted->row_tokens ? format->max_length : wanted->row_tokens;
    wanted->lora_rank = lora_rank > wanted->lora_rank ? lora_rank : wanted->lora_rank;
    wanted->all_tokens |= format->pooling == POOLING_MEAN || format->pooling == POOLING_MAX;
}

/* Its directory is named by its digest, beside where we run. *adapter_out is NULL where it finds no
 * room now. */
static enum status adapter_get(struct server *server, const char *digest,
                               struct adapter **adapter_out, struct error *error)
{
    struct lru *lru = &server->adapters;
    struct adapter *adapter = lru_take(lru, digest);
    *adapter_out = adapter;
    if (adapter != NULL) {
        return STATUS_OK;
    }
    TRY(adapter_open(server->examiner.model, server->tokenizer, digest, &adapter, error));
    size_t bytes = adapter_bytes(adapter);
    if (bytes > lru->bytes_max) {
        adapter_close(server->examiner.model, adapter);
        return error_set(error, STATUS_LIMIT,
                         "its adapter takes %zu MiB, and serve.adapters_mib of the serve job is "
                         "%zu: start one with more",
                         bytes / MIB + 1, lru->bytes_max / MIB);
    }
    if (!lru_make_room(lru, bytes)) {
        adapter_close(server->examiner.model, adapter);
        return STATUS_OK;
    }
    lru_add(lru, digest, adapter, bytes);
    want(server, &adapter->format, adapter->lora.r);
    *adapter_out = adapter;
    return STATUS_OK;
}

/* ---- a request ------------------------------------------------------------------------------- */

static void request_end(struct server *server, struct serve_request *request)
{
    if (request->with != NULL) {
        lru_give(&server->adapters, request->adapter);
    }
    serve_request_free(request);
}

static const char *numerics(const struct server *server)
{
    return device_numerics(server->examiner.device);
}

static enum status request_prepare(struct server *server, struct serve_request *request,
                                   struct error *error)
{
    const struct examiner *e = &server->examiner;
    struct adapter *adapter = NULL;
    if (request->adapter[0] == '\0' && !server->has_head) {
        return error_set(error, STATUS_CONFLICT,
                         "what is served is a base or an adapter: it gives rewards with the "
                         "adapters over it alone (an adapter's: serve its parent)");
    }
    if (request->adapter[0] != '\0') {
        TRY(adapter_get(server, request->adapter, &adapter, error));
        if (adapter == NULL) {
            return STATUS_OK;
        }
    }
    request->with = adapter;
    return serve_request_encode(request, adapter != NULL ? &adapter->format : &e->format,
                                e->tokenizer, e->model->config.V, error);
}

/* False: not now, for want of room for its adapter. */
static bool request_begin(struct server *server, struct serve_request *request)
{
    struct error error;
    enum status status = request_prepare(server, request, &error);
    if (status != STATUS_OK) {
        bool ours = status == STATUS_IO || status == STATUS_MEMORY;
        serve_request_refuse(request->id, error.text, ours);
        request_end(server, request);
    } else if (request->adapter[0] != '\0' && request->with == NULL) {
        return false;
    } else if (request->waiting == 0) {
        serve_request_answer(request, numerics(server));
        request_end(server, request);
    } else {
        *server->end = request;
        server->end = &request->next;
        server->request_count++;
    }
    return true;
}

/* The next one, or NULL. */
static struct serve_request *request_take(struct server *server, int64_t wait_ms)
{
    struct serve_request *request = server->pending;
    struct error error;
    server->pending = NULL;
    while (request == NULL) {
        char *line = inbox_take(server->inbox, wait_ms);
        if (line == NULL) {
            return NULL;
        }
        if (serve_request_read(line, &request, &error) != STATUS_OK) {
            log_warn("%s", error.text);
        }
        mem_free(line);
    }
    return request;
}

static void requests_take(struct server *server)
{
    int64_t wait_ms = server->requests == NULL ? SERVE_WAIT_MS : 0;
    while (server->request_count < SERVE_REQUESTS_MAX) {
        struct serve_request *request = request_take(server, wait_ms);
        if (request == NULL) {
            return;
        }
        if (!request_begin(server, request)) {
            server->pending = request;
            return;
        }
        wait_ms = 0;
    }
}

static void requests_answer(struct server *server)
{
    server->end = &server->requests;
    while (*server->end != NULL) {
        struct serve_request *request = *server->end;
        if (request->waiting > 0) {
            server->end = &request->next;
            continue;
        }
        *server->end = request->next;
        server->request_count--;
        serve_request_answer(request, numerics(server));
        request_end(server, request);
    }
}

/* What `tailor job metrics` shows: texts and passes so far, adapters that are open. */
static void tell(struct server *server)
{
    int64_t now_ms = monotonic_ms();
    if (server->told == server->scored || now_ms - server->told_ms < SERVE_TELL_MS) {
        return;
    }
    json_t *fields = json_object();
    server->told = server->scored;
    server->told_ms = now_ms;
    json_object_set_new(fields, "step", json_integer(server->passes));
    json_object_set_new(fields, "texts", json_integer(server->scored));
    json_object_set_new(fields, "adapters", json_integer(server->adapters.count));
    json_object_set_new(fields, "adapter_bytes", json_integer((json_int_t)server->adapters.bytes));
    relay_line("metrics", fields);
    json_decref(fields);
}

/* ---- the loop -------------------------------------------------------------------------------- */

enum status server_run(struct server *server, struct error *error)
{
    bool stops = false;
    while (!stops || server->requests != NULL) {
        stops = stops || stop_requested() || inbox_is_closed(server->inbox);
        if (!stops) {
            requests_take(server);
        }
        if (server->requests != NULL) {
            TRY(serve_pass(server, error));
            requests_answer(server);
        }
        tell(server);
    }
    if (server->pending != NULL) {
        serve_request_refuse(server->pending->id, "the serve job stops", true);
    }
    return error_set(error, STATUS_CANCELLED, "told to stop after %lld texts in %lld passes",
                     (long long)server->scored, (long long)server->passes);
}
