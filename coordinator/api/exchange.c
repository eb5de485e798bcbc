/* SPDX-License-Identifier: Apache-2.0
 *
 * Who asks is looked up in the same work that reads for it, so an ordinary GET is one turn of the
 * database thread. Rejected: tokens in memory; a revoked one would have to be found there too.
 */
#include "coordinator/api/exchange.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/keyvalq_struct.h>
#include <inttypes.h>
#include <string.h>

#include "coordinator/api/session.h"
#include "coordinator/metrics_read.h"
#include "lib/check.h"
#include "lib/clock.h"
#include "lib/failpoint.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "lib/rng.h"
#include "lib/text.h"
#include "proto/message_json.h"
#include "proto/request.h"
#include "storage/records/event_record.h"
#include "storage/records/tenant_record.h"

/* ---- answers --------------------------------------------------------------------------------- */

static int code_of(enum status status)
{
    switch (status) {
    case STATUS_OK:
        return 200;
    case STATUS_USAGE:
    case STATUS_FORMAT:
        return 400;
    case STATUS_DENIED:
        return 403;
    case STATUS_NOT_FOUND:
        return 404;
    case STATUS_CONFLICT:
        return 409;
    case STATUS_UNSUPPORTED:
        return 422;
    case STATUS_LIMIT:
        return 429;
    case STATUS_IO:
    case STATUS_FULL:
    case STATUS_CANCELLED:
        return 503;
    default:
        return 500;
    }
}

static const char *error_code(int code)
{
    static const struct {
        int code;
        const char *text;
    } rows[] = {{400, "invalid_request"}, {401, "unauthenticated"},     {403, "permission_denied"},
                {404, "not_found"},       {405, "method_not_allowed"},  {409, "conflict"},
                {413, "too_large"},       {421, "misdirected_request"}, {422, "unsupported"},
                {429, "limit_reached"},   {501, "not_implemented"},     {503, "unavailable"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].code == code)
            return rows[i].text;
    return "internal";
}

static void write_error(struct exchange *exchange, const struct error *error)
{
    char text[ERROR_TEXT_MAX];
    Api__ErrorReply *reply = message_new(&exchange->arena, &api__error_reply__descriptor);
    reply->error = message_new(&exchange->arena, &api__error__descriptor);
    text_clean(error->text, text, sizeof(text));
    reply->error->code = (char *)error_code(exchange->code);
    reply->error->message = text;
    reply->error->hint = (char *)exchange->hint;
    reply->error->request_id = exchange->id;
    buf_clear(&exchange->text);
    message_to_json(&reply->base, &exchange->text);
    buf_append_char(&exchange->text, '\n');
    exchange->content_type = "application/json";
}

static void header(struct exchange *exchange, const char *name, const char *value)
{
    evhttp_add_header(evhttp_request_get_output_headers(exchange->http), name, value);
}

/* Of HEAD, TRACE and methods that it does not know, evhttp leaves the body where it is, and would
 * take it for the next request: one that somebody else's proxy has not seen. */
static bool body_is_left(const struct exchange *exchange)
{
    const struct evkeyvalq *headers = evhttp_request_get_input_headers(exchange->http);
    const char *length = evhttp_find_header(headers, "Content-Length");
    bool announced = (length != NULL && strcmp(length, "0") != 0) ||
                     evhttp_find_header(headers, "Transfer-Encoding") != NULL;
    return announced && evbuffer_get_length(evhttp_request_get_input_buffer(exchange->http)) == 0;
}

static void send_answer(struct exchange *exchange)
{
    struct evbuffer *body = evbuffer_new();
    char length[32];
    CHECK(body != NULL);
    header(exchange, "Content-Type", exchange->content_type);
    header(exchange, "X-Request-Id", exchange->id);
    header(exchange, "Cache-Control", exchange->tag != NULL ? "no-cache" : "no-store");
    if (exchange->tag != NULL)
        header(exchange, "ETag", exchange->tag);
    header(exchange, "X-Content-Type-Options", "nosniff");
    if (body_is_left(exchange))
        header(exchange, "Connection", "close");
    if (exchange->code == 401)
        header(exchange, "WWW-Authenticate", "Bearer");
    if (exchange->retry_after_s > 0) {
        snprintf(length, sizeof(length), "%d", exchange->retry_after_s);
        header(exchange, "Retry-After", length);
    }
    snprintf(length, sizeof(length), "%zu", exchange->text.length);
    if (exchange->code != 304) /* it would be that of what is not sent */
        header(exchange, "Content-Length", length);
    if (!exchange->head)
        evbuffer_add(body, exchange->text.data, exchange->text.length);
    connection_answered(exchange->api->connections, exchange->http);
    coordinator_answered(exchange->api->coordinator, exchange->code,
                         monotonic_s() - exchange->began_s);
    if (failpoint_fails("api_send"))
        connection_cut(exchange->http);
    evhttp_send_reply(exchange->http, exchange->code, NULL, body);
    evbuffer_free(body);
}

void exchange_free(struct exchange *exchange)
{
    exchange->api->in_hand--;
    buf_release(&exchange->text);
    arena_release(&exchange->arena);
    mem_free(exchange);
}

/* ---- who did what ---------------------------------------------------------------------------- */

struct audit {
    struct arena arena;
    Api__AuditEntry *entry;
};

static enum status audit_run(struct records *records, void *argument, struct error *error)
{
    return audit_record_insert(records, ((struct audit *)argument)->entry, error);
}

static void on_audited(void *argument, enum status status, const struct error *error)
{
    struct audit *audit = argument;
    if (status != STATUS_OK)
        log_warn("audit of %s by %s: %s", audit->entry->action, audit->entry->actor, error->text);
    arena_release(&audit->arena);
    mem_free(audit);
}

/* Everything that may change something, and was not only a chunk of a file. To score changes
 * nothing. */
static void audit_answer(const struct exchange *exchange)
{
    const struct route *route = exchange->match.route;
    if (route == NULL || route->method == ROUTE_GET || route->id == ROUTE_UPLOAD_PUT ||
        route->id == ROUTE_MODEL_SCORE || exchange->caller.name[0] == '\0' ||
        exchange->api->stopping)
        return;
    struct audit *audit = mem_alloc(sizeof(*audit));
    Api__AuditEntry *entry = message_new(&audit->arena, &api__audit_entry__descriptor);
    audit->entry = entry;
    entry->has_time_ms = true;
    entry->time_ms = coordinator_now_ms();
    if (exchange->caller.tenant[0] != '\0')
        entry->tenant = arena_strdup(&audit->arena, exchange->caller.tenant);
    entry->actor = arena_strdup(&audit->arena, exchange->caller.name);
    entry->action = (char *)route->name;
    if (exchange->match.count > 0)
        entry->object = arena_strdup(&audit->arena,
                                     exchange->match.parameters[exchange->match.count - 1].value);
    entry->result = arena_printf(&audit->arena, "%d", exchange->code);
    entry->address = arena_strdup(&audit->arena, exchange->peer);
    coordinator_write(exchange->api->coordinator, audit_run, on_audited, audit);
}

void exchange_done(struct exchange *exchange, enum status status, const struct error *error)
{
    if (exchange->code == 0)
        exchange->code = code_of(status);
    if (status != STATUS_OK) {
        if (exchange->code >= 500)
            log_error("request %s: %s", exchange->id, error->text);
        write_error(exchange, error);
    } else if (exchange->reply != NULL) {
        if (exchange->handler->shape != NULL)
            exchange->handler->shape(exchange);
        message_to_json(exchange->reply, &exchange->text);
        buf_append_char(&exchange->text, '\n');
        exchange->content_type = "application/json";
    } else if (exchange->content_type == NULL) {
        buf_append_string(&exchange->text, "{}\n");
        exchange->content_type = "application/json";
    }
    audit_answer(exchange);
    send_answer(exchange);
    exchange_free(exchange);
}

void exchange_on_done(void *argument, enum status status, const struct error *error)
{
    exchange_done(argument, status, error);
}

/* ---- who asks -------------------------------------------------------------------------------- */

static enum status identify(struct records *records, struct exchange *exchange, struct error *error)
{
    Api__Token *token;
    enum status status = token_record_find(records, exchange->token_digest, coordinator_now_ms(),
                                           &exchange->arena, &token, error);
    if (status == STATUS_DENIED) {
        exchange->code = 401;
        exchange->hint = "it may be mistyped, expired or revoked";
    }
    TRY(status);
    struct caller *caller = &exchange->caller;
    snprintf(caller->tenant, sizeof(caller->tenant), "%s",
             token->tenant != NULL ? token->tenant : "");
    snprintf(caller->name, sizeof(caller->name), "%s", token->name);
    caller->role = token->role;
    exchange->token = token;
    if (token->role == API__ROLE__ROLE_WORKER || (int)token->role < exchange->match.route->role) {
        char needed[64];
        enum_text(&api__role__descriptor, exchange->match.route->role, needed);
        return error_set(error, STATUS_DENIED, "this needs the role %s", needed);
    }
    return STATUS_OK;
}

struct scope exchange_scope(const struct exchange *exchange)
{
    const char *tenant = exchange->caller.tenant;
    return tenant[0] == '\0' ? SCOPE_ALL : SCOPE_TENANT(tenant);
}

enum status exchange_own(const struct exchange *exchange, const char *tenant, struct error *error)
{
    if (exchange->caller.tenant[0] != '\0' && strcmp(exchange->caller.tenant, tenant) != 0)
        return error_set(error, STATUS_NOT_FOUND, "there is no tenant %s", tenant);
    return STATUS_OK;
}

enum status exchange_tenant(const struct exchange *exchange, const char *given,
                            const char **tenant_out, struct error *error)
{
    if (given == NULL && exchange->caller.tenant[0] == '\0')
        return error_set(error, STATUS_USAGE, "tenant: say whose, since this token is no tenant's");
    if (given != NULL)
        TRY(exchange_own(exchange, given, error));
    *tenant_out = given != NULL ? given : exchange->caller.tenant;
    return STATUS_OK;
}

int64_t page_limit(bool has_limit, int64_t limit)
{
    return has_limit ? limit : PAGE_DEFAULT;
}

void *exchange_reply(struct exchange *exchange)
{
    exchange->reply = message_new(&exchange->arena, exchange->match.route->reply);
    return exchange->reply;
}

/* ---- the way of a request -------------------------------------------------------------------- */

static enum status run_read(struct records *records, void *argument, struct error *error)
{
    struct exchange *exchange = argument;
    TRY(identify(records, exchange, error));
    TRY(request_is_complete(exchange->match.route, exchange->request, error));
    if (exchange->handler->read == NULL)
        return STATUS_OK;
    return exchange->handler->read(records, exchange, error);
}

static enum status run_write(struct records *records, void *argument, struct error *error)
{
    struct exchange *exchange = argument;
    return exchange->handler->write(records, exchange, error);
}

static void go_on(struct exchange *exchange, enum status status, const struct error *error)
{
    if (status == STATUS_OK && exchange->api->stopping) {
        struct error leaving;
        status = error_set(&leaving, STATUS_CANCELLED, "the coordinator is stopping");
        exchange_done(exchange, status, &leaving);
    } else if (status == STATUS_OK && exchange->handler->start != NULL) {
        exchange->handler->start(exchange);
    } else {
        exchange_done(exchange, status, error);
    }
}

static void on_written(void *argument, enum status status, const struct error *error)
{
    go_on(argument, status, error);
}

static void on_read(void *argument, enum status status, const struct error *error)
{
    struct exchange *exchange = argument;
    if (status == STATUS_OK && exchange->handler->write != NULL && !exchange->api->stopping)
        coordinator_write(exchange->api->coordinator, run_write, on_written, exchange);
    else
        go_on(exchange, status, error);
}

static const char *method_of(const struct evhttp_request *request)
{
    switch (evhttp_request_get_command(request)) {
    case EVHTTP_REQ_GET:
    case EVHTTP_REQ_HEAD:
        return "GET";
    case EVHTTP_REQ_POST:
        return "POST";
    case EVHTTP_REQ_PUT:
        return "PUT";
    case EVHTTP_REQ_DELETE:
        return "DELETE";
    default:
        return "OTHER";
    }
}

#define ALLOW_BEGINS " knows only " /* route_find's sentence */

static enum status find_route(struct exchange *exchange, const char *path, struct error *error)
{
    enum status status = route_find(method_of(exchange->http), path, &exchange->match, error);
    if (status == STATUS_UNSUPPORTED) {
        exchange->code = 405;
        const char *allow = strstr(error->text, ALLOW_BEGINS);
        CHECK(allow != NULL);
        header(exchange, "Allow", allow + strlen(ALLOW_BEGINS));
    }
    TRY(status);
    exchange->handler = handler_of(exchange->match.route->id);
    if (exchange->handler->read == NULL && exchange->handler->write == NULL &&
        exchange->handler->start == NULL) {
        exchange->code = 501;
        return error_set(error, STATUS_UNSUPPORTED, "this server does not do this");
    }
    return STATUS_OK;
}

static enum status put_idempotency_key(struct exchange *exchange, struct error *error)
{
    const char *key =
        evhttp_find_header(evhttp_request_get_input_headers(exchange->http), "Idempotency-Key");
    if (key == NULL || exchange->match.route->id != ROUTE_JOB_SUBMIT)
        return STATUS_OK;
    Api__JobSubmitRequest *request = exchange->request;
    if (request->idempotency_key != NULL)
        return error_set(error, STATUS_USAGE, "idempotency_key: given twice");
    request->idempotency_key = arena_strdup(&exchange->arena, key);
    return message_check(&request->base, error);
}

/* The reader of a table makes it: here there is one form, and another is not passed over. */
static enum status check_format(struct exchange *exchange, struct error *error)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(exchange->match.route->request, "format");
    const char *format = field != NULL ? message_pointer(exchange->request, field, 0) : NULL;
    if (format != NULL && strcmp(format, "json") != 0)
        return error_set(error, STATUS_UNSUPPORTED, "format: there is json only");
    return STATUS_OK;
}

static enum status read_request(struct exchange *exchange, struct error *error)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(exchange->http);
    const char *path = uri != NULL ? evhttp_uri_get_path(uri) : NULL;
    TRY(find_route(exchange, path != NULL ? path : "", error));
    const struct route *route = exchange->match.route;
    struct evbuffer *input = evhttp_request_get_input_buffer(exchange->http);
    size_t length = evbuffer_get_length(input);
    const char *body = length > 0 ? (const char *)evbuffer_pullup(input, -1) : "";
    if (length > 0 && route->body == ROUTE_BODY_NONE)
        return error_set(error, STATUS_USAGE, "%s takes no body", route->name);
    TRY(session_admit(exchange, error)); /* a stranger learns nothing of the fields */
    enum status status = request_read(&exchange->arena, &exchange->match, evhttp_uri_get_query(uri),
                                      body, length, &exchange->request, error);
    if (status == STATUS_LIMIT)
        exchange->code = 413;
    TRY(status);
    exchange->body = body;
    exchange->body_length = length;
    TRY(check_format(exchange, error));
    return put_idempotency_key(exchange, error);
}

static struct exchange *exchange_new(struct api *api, struct evhttp_request *http)
{
    char *peer = NULL;
    ev_uint16_t port = 0;
    struct exchange *exchange = mem_alloc(sizeof(*exchange));
    exchange->api = api;
    exchange->http = http;
    exchange->began_s = monotonic_s();
    exchange->head = evhttp_request_get_command(http) == EVHTTP_REQ_HEAD;
    snprintf(exchange->id, sizeof(exchange->id), "r-%016" PRIx64,
             rng_u64(api->seed, rng_stream("request"), api->requests++));
    evhttp_connection_get_peer(evhttp_request_get_connection(http), &peer, &port);
    snprintf(exchange->peer, sizeof(exchange->peer), "%s", peer != NULL ? peer : "?");
    connection_busy(api->connections, http);
    api->in_hand++;
    return exchange;
}

void exchange_begin(struct evhttp_request *request, void *argument)
{
    struct api *api = argument;
    struct error error;
    struct exchange *exchange = exchange_new(api, request);
    enum status status = read_request(exchange, &error);
    if (status == STATUS_OK && api->stopping)
        status = error_set(&error, STATUS_CANCELLED, "the coordinator is stopping");
    if (status != STATUS_OK)
        exchange_done(exchange, status, &error);
    else if (exchange->match.route->role == 0)
        exchange->handler->start(exchange);
    else
        coordinator_read(api->coordinator, run_read, on_read, exchange);
}
