/* SPDX-License-Identifier: Apache-2.0
 *
 * service: see service.h.
 */
#include "client/service.h"

#include <string.h>
#include <time.h>

#include "client/http.h"
#include "lib/check.h"
#include "lib/clock.h"
#include "lib/text.h"
#include "proto/message_json.h"

enum { PAUSE_MS = 250 };

void *service_request(const struct service *service, enum route_id route)
{
    return message_new(service->arena, route_at(route)->request);
}

/* ---- where a field goes ---------------------------------------------------------------------- */

/* A field as it stands in a path or a query. */
static void text_of(const json_t *value, struct buf *out)
{
    buf_clear(out);
    if (json_is_string(value)) {
        buf_append_string(out, json_string_value(value));
    } else {
        json_append(out, value);
    }
}

/* Writes the path; its fields leave the object. */
static enum status put_path(const struct route *route, json_t *fields, struct buf *url,
                            struct error *error)
{
    struct buf text = {0};
    enum status status = STATUS_OK;
    for (const char *at = route->path; *at && status == STATUS_OK; at++) {
        if (*at != '{') {
            buf_append_char(url, *at);
            continue;
        }
        char name[32];
        size_t length = strcspn(at + 1, "}");
        CHECK(length < sizeof(name));
        memcpy(name, at + 1, length);
        name[length] = '\0';
        const json_t *value = json_object_get(fields, name);
        if (value) {
            text_of(value, &text);
            http_escape(text.data, url);
            json_object_del(fields, name);
        } else {
            status = error_set(error, STATUS_USAGE, "say which %s: --%s NAME", name, name);
        }
        at += length + 1;
    }
    buf_release(&text);
    return status;
}

static void put_parameter(const char *name, const json_t *value, char *separator, struct buf *url)
{
    struct buf text = {0};
    text_of(value, &text);
    buf_append_char(url, *separator);
    buf_printf(url, "%s=", name);
    http_escape(text.data, url);
    *separator = '&';
    buf_release(&text);
}

static void put_query(const json_t *fields, struct buf *url)
{
    const char *name;
    json_t *value;
    char separator = '?';
    json_object_foreach((json_t *)fields, name, value)
    {
        for (size_t i = 0; i < json_array_size(value); i++) {
            put_parameter(name, json_array_get(value, i), &separator, url);
        }
        if (!json_is_array(value)) {
            put_parameter(name, value, &separator, url);
        }
    }
}

struct parts {
    struct buf url, body;
};

static enum status take_apart(const struct service *service, const struct route *route,
                              const ProtobufCMessage *request, struct parts *parts,
                              struct error *error)
{
    struct buf text = {0};
    json_t *fields;
    TRY(message_check(request, error));
    message_to_json(request, &text);
    enum status status = json_read("the request", text.data, text.length, &fields, error);
    buf_release(&text);
    TRY(status);
    buf_append_string(&parts->url, service->profile.server);
    status = put_path(route, fields, &parts->url, error);
    if (status == STATUS_OK && route->body == ROUTE_BODY_JSON) {
        json_append(&parts->body, fields);
    } else if (status == STATUS_OK) {
        put_query(fields, &parts->url);
    }
    json_decref(fields);
    return status;
}

static void parts_release(struct parts *parts)
{
    buf_release(&parts->url);
    buf_release(&parts->body);
}

/* ---- what the answer means ------------------------------------------------------------------- */

static enum status status_of(int code)
{
    switch (code) {
    case 400:
    case 405:
    case 422:
        return STATUS_USAGE;
    case 401:
    case 403:
        return STATUS_DENIED;
    case 404:
        return STATUS_NOT_FOUND;
    case 409:
        return STATUS_CONFLICT;
    case 413:
    case 429:
        return STATUS_LIMIT;
    case 501:
        return STATUS_UNSUPPORTED;
    case 502:
    case 503:
    case 504:
        return STATUS_COMMUNICATION;
    default:
        return STATUS_FAILED;
    }
}

static enum status absent(const struct service *service, struct error *error)
{
    struct error cause = *error;
    return error_set(error, STATUS_COMMUNICATION,
                     "no coordinator answers at %s (%s): start one with tailor up, or name another "
                     "with --server",
                     service->profile.server, cause.text);
}

static enum status refused(const struct service *service, int code, const json_t *reply,
                           struct error *error)
{
    const json_t *object = json_object_get(reply, "error");
    const char *message = json_string_value(json_object_get(object, "message"));
    const char *hint = json_string_value(json_object_get(object, "hint"));
    char clean[2][512] = {"", ""};
    const char *cause = json_string_value(json_object_get(reply, "cause"));
    if (!message && cause) {
        text_clean(cause, clean[0], sizeof(clean[0]));
        return error_set(error, status_of(code), "the service is not ready: %s", clean[0]);
    }
    if (!message) {
        return error_set(error, status_of(code),
                         "%s answers with code %d and no reason: is it a coordinator?",
                         service->profile.server, code);
    }
    text_clean(message, clean[0], sizeof(clean[0]));
    text_clean(hint ? hint : "", clean[1], sizeof(clean[1]));
    if (code == 401 && !service->profile.token && strstr(clean[1], "Authorization")) {
        snprintf(clean[1], sizeof(clean[1]),
                 "put one into TAILOR_TOKEN, or choose a profile that has one");
    }
    return error_set(error, status_of(code), "%s%s%s", clean[0], clean[1][0] ? ": " : "", clean[1]);
}

static enum status understand(const struct service *service, int code, const struct buf *text,
                              json_t **reply_out, struct error *error)
{
    json_t *reply = NULL;
    struct error ignored;
    if (text->length > 0) {
        (void)json_read("the answer", text->data, text->length, &reply, &ignored);
    }
    if (code < 200 || code > 299) {
        enum status status = refused(service, code, reply, error);
        json_decref(reply);
        return status;
    }
    if (!reply) {
        return error_set(error, STATUS_FORMAT, "%s does not answer in JSON: is it a coordinator?",
                         service->profile.server);
    }
    *reply_out = reply;
    return STATUS_OK;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static enum status ask(const struct service *service, const struct route *route,
                       const struct http_request *http, int *code_out, struct buf *text_out,
                       struct error *error)
{
    struct http_request request = *http;
    request.method = route_method_name(route->method);
    request.token = service->profile.token;
    request.ca = service->profile.ca;
    request.timeout_s = service->timeout_s;
    enum status status = http_call(&request, code_out, text_out, error);
    return status == STATUS_COMMUNICATION ? absent(service, error) : status;
}

static enum status exchange(const struct service *service, const struct route *route,
                            const struct http_request *http, json_t **reply_out,
                            struct error *error)
{
    struct buf text = {0};
    int code = 0;
    enum status status = ask(service, route, http, &code, &text, error);
    if (status == STATUS_OK) {
        status = understand(service, code, &text, reply_out, error);
    }
    buf_release(&text);
    return status;
}

enum status service_get(const struct service *service, enum route_id id,
                        const ProtobufCMessage *request, struct buf *out, struct error *error)
{
    const struct route *route = route_at(id);
    struct parts parts = {0};
    struct buf text = {0};
    json_t *none = NULL;
    int code = 0;
    enum status status = take_apart(service, route, request, &parts, error);
    if (status == STATUS_OK) {
        const struct http_request http = {.url = parts.url.data};
        status = ask(service, route, &http, &code, &text, error);
    }
    if (status == STATUS_OK && code != 200) {
        status = understand(service, code, &text, &none, error);
        json_decref(none);
    } else if (status == STATUS_OK) {
        buf_append(out, text.data, text.length);
    }
    parts_release(&parts);
    buf_release(&text);
    return status;
}

enum status service_put(const struct service *service, enum route_id id,
                        const ProtobufCMessage *request, const void *bytes, size_t length,
                        json_t **reply_out, struct error *error)
{
    const struct route *route = route_at(id);
    struct parts parts = {0};
    enum status status = take_apart(service, route, request, &parts, error);
    if (status == STATUS_OK) {
        const struct http_request http = {.url = parts.url.data,
                                          .content_type = "application/octet-stream",
                                          .body = bytes,
                                          .length = length};
        status = exchange(service, route, &http, reply_out, error);
    }
    parts_release(&parts);
    return status;
}

enum status service_call(const struct service *service, enum route_id id,
                         const ProtobufCMessage *request, json_t **reply_out, struct error *error)
{
    const struct route *route = route_at(id);
    struct parts parts = {0};
    enum status status = take_apart(service, route, request, &parts, error);
    if (status == STATUS_OK) {
        const struct http_request http = {.url = parts.url.data,
                                          .content_type = "application/json",
                                          .body = parts.body.data,
                                          .length = parts.body.length};
        status = exchange(service, route, &http, reply_out, error);
    }
    parts_release(&parts);
    return status;
}

static void pause_a_little(void)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    nanosleep(&pause, NULL);
}

enum status service_insist(const struct service *service, enum route_id route,
                           const ProtobufCMessage *request, int64_t patience_ms, json_t **reply_out,
                           struct error *error)
{
    int64_t until_ms = monotonic_ms() + patience_ms;
    for (;;) {
        enum status status = service_call(service, route, request, reply_out, error);
        if (status != STATUS_COMMUNICATION || monotonic_ms() >= until_ms) {
            return status;
        }
        pause_a_little();
    }
}

/* ---- streams --------------------------------------------------------------------------------- */

enum { EVENT_LINE_MAX = 1 << 20 };

struct follower {
    struct buf line, data;
    char id[32], event[32];
    service_take *take;
    void *context;
    bool ended, broken, heard;
};

/* A blank line: the entry is complete. */
static void end_entry(struct follower *it)
{
    struct error ignored;
    json_t *entry = NULL;
    if (strcmp(it->event, "end") == 0) {
        it->ended = true;
    } else if (it->data.length > 0 && json_read("an entry", it->data.data, it->data.length, &entry,
                                                &ignored) == STATUS_OK) {
        it->take(it->context, entry);
        json_decref(entry);
    }
    it->event[0] = '\0';
    buf_clear(&it->data);
}

static void end_line(struct follower *it)
{
    const char *line = it->line.length > 0 ? it->line.data : "";
    if (line[0] == '\0') {
        end_entry(it);
    } else if (strncmp(line, "id: ", 4) == 0) {
        snprintf(it->id, sizeof(it->id), "%s", line + 4);
    } else if (strncmp(line, "event: ", 7) == 0) {
        snprintf(it->event, sizeof(it->event), "%s", line + 7);
    } else if (strncmp(line, "data: ", 6) == 0) {
        buf_append_string(&it->data, line + 6);
    }
    buf_clear(&it->line);
}

static bool on_bytes(void *context, const char *data, size_t length)
{
    struct follower *it = context;
    it->heard = true;
    for (size_t i = 0; i < length && !it->ended; i++) {
        if (data[i] == '\n') {
            end_line(it);
        } else {
            buf_append_char(&it->line, data[i]);
        }
        if (it->line.length + it->data.length > EVENT_LINE_MAX) {
            it->broken = true;
            return false;
        }
    }
    return !it->ended;
}

/* One connection, until it breaks or the stream ends. */
static enum status follow_once(const struct service *service, const struct route *route,
                               const char *url, struct follower *it, struct error *error)
{
    char header[64];
    json_t *reply = NULL;
    snprintf(header, sizeof(header), "Last-Event-ID: %s", it->id);
    const struct http_request http = {
        .url = url, .header = it->id[0] ? header : NULL, .take = on_bytes, .context = it};
    struct buf text = {0};
    int code = 0;
    enum status status = ask(service, route, &http, &code, &text, error);
    if (status == STATUS_OK && code != 200) {
        status = understand(service, code, &text, &reply, error);
        json_decref(reply);
    }
    buf_release(&text);
    buf_clear(&it->line);
    buf_clear(&it->data);
    if (it->broken) {
        return error_set(error, STATUS_FORMAT, "an entry of more than %d bytes", EVENT_LINE_MAX);
    }
    return status;
}

enum status service_follow(const struct service *service, enum route_id id,
                           const ProtobufCMessage *request, int64_t patience_ms, service_take *take,
                           void *context, struct error *error)
{
    const struct route *route = route_at(id);
    struct follower it = {.take = take, .context = context};
    struct parts parts = {0};
    int64_t begin_ms = monotonic_ms(), until_ms = begin_ms + patience_ms;
    enum status status = take_apart(service, route, request, &parts, error);
    while (status == STATUS_OK && !it.ended) {
        it.heard = false;
        status = follow_once(service, route, parts.url.data, &it, error);
        if (it.heard) {
            until_ms = monotonic_ms() + patience_ms;
        }
        if (service->timeout_s > 0 &&
            (double)(monotonic_ms() - begin_ms) >= service->timeout_s * 1000) {
            status = error_set(error, STATUS_TIMEOUT, "%g s have passed, and it goes on",
                               service->timeout_s);
        } else if (status == STATUS_COMMUNICATION && monotonic_ms() < until_ms) {
            status = STATUS_OK;
        }
        if (status == STATUS_OK && !it.ended) {
            pause_a_little();
        }
    }
    parts_release(&parts);
    buf_release(&it.line);
    buf_release(&it.data);
    return status;
}
