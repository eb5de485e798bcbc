/* SPDX-License-Identifier: Apache-2.0
 *
 * remote: see remote.h; the request. (remote_print.c: the answer.) Rejected: code for each command;
 * there are sixty routes, and what differs between them is in three tables already.
 */
#include "client/remote.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/text.h"
#include "proto/ident.h"
#include "proto/message_json.h"

/* ---- the request ----------------------------------------------------------------------------- */

enum status remote_open(struct arena *arena, const struct call *call, struct service *service_out,
                        struct error *error)
{
    const struct remote_options *options = call->options;
    *service_out = (struct service){.arena = arena};
    double *timeout_s = &service_out->timeout_s;
    if (options->timeout && (!parse_duration_s(options->timeout, timeout_s) || *timeout_s <= 0)) {
        return error_set(error, STATUS_USAGE, "--timeout: \"%s\" is no time, such as 90 or 10m",
                         options->timeout);
    }
    TRY(profile_open(arena, options->server, options->profile, &service_out->profile, error));
    if (options->ca) {
        service_out->profile.ca = options->ca;
    }
    return STATUS_OK;
}

enum status remote_within(remote_body *body, const struct call *call, struct error *error)
{
    struct arena arena = {0};
    enum status status = body(&arena, call, error);
    arena_release(&arena);
    return status;
}

enum status remote_since(const struct call *call, int64_t *since_ms_out, struct error *error)
{
    const struct remote_options *options = call->options;
    struct timespec now;
    double ago_s;
    *since_ms_out = 0;
    if (!options->since) {
        return STATUS_OK;
    }
    if (!parse_duration_s(options->since, &ago_s) || ago_s < 0 || ago_s > 1e9) {
        return error_set(error, STATUS_USAGE, "--since: \"%s\" is no time, such as 8h or 30m",
                         options->since);
    }
    clock_gettime(CLOCK_REALTIME, &now);
    *since_ms_out = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 - (int64_t)(ago_s * 1000);
    return STATUS_OK;
}

enum status remote_confirm(const struct call *call, const char *what, struct error *error)
{
    const struct remote_options *options = call->options;
    char answer[16] = "";
    if (options->yes || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
        return STATUS_OK;
    }
    fprintf(stderr, "%s? [y/N] ", what);
    if (fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y')) {
        return STATUS_OK;
    }
    return error_set(error, STATUS_CANCELLED, "nothing was done");
}

enum status remote_put(const struct service *service, ProtobufCMessage *request, const char *name,
                       const char *text, struct error *error)
{
    const ProtobufCFieldDescriptor *field;
    TRY(message_field_find(request->descriptor, name, &field, error));
    return message_put_text(service->arena, request, field, text, error);
}

/* "tenant/name@version" into the fields that the request has. */
static enum status put_reference(const struct service *service, ProtobufCMessage *request,
                                 const char *text, struct error *error)
{
    struct reference reference;
    char version[NAME_BYTES_MAX + 1];
    TRY(reference_parse(text, &reference, error));
    TRY(remote_put(service, request, "name", arena_strdup(service->arena, reference.name), error));
    if (reference.tenant[0]) {
        TRY(remote_put(service, request, "tenant", arena_strdup(service->arena, reference.tenant),
                       error));
    }
    if (reference.version == 0 && !reference.alias[0]) {
        return STATUS_OK;
    }
    snprintf(version, sizeof(version), "%" PRId64, reference.version);
    return remote_put(service, request, "version",
                      arena_strdup(service->arena, reference.alias[0] ? reference.alias : version),
                      error);
}

static enum status put_arguments(const struct call *call, const struct service *service,
                                 const struct remote *remote, ProtobufCMessage *request,
                                 struct error *error)
{
    for (int i = 0; i < call->argument_count; i++) {
        const char *field = remote->fields[i];
        if (!field) {
            continue; /* the command's own business */
        }
        if (strcmp(field, "name@version") == 0) {
            TRY(put_reference(service, request, call->arguments[i], error));
        } else {
            TRY(remote_put(service, request, field, call->arguments[i], error));
        }
    }
    return STATUS_OK;
}

/* Options of the words of a row; lists are the repeated fields. */
static enum status put_option(const struct call *call, const struct option_row *row,
                              const struct service *service, ProtobufCMessage *request,
                              struct error *error)
{
    char name[64];
    const char *at = (const char *)call->options + row->offset;
    snprintf(name, sizeof(name), "%s", row->name);
    for (char *dash = name; (dash = strchr(dash, '-')); dash++) {
        *dash = '_';
    }
    if (row->offset == offsetof(struct remote_options, columns) || /* of the answer */
        !protobuf_c_message_descriptor_get_field_by_name(request->descriptor, name)) {
        return STATUS_OK;
    }
    enum status status = STATUS_OK;
    if (row->type == OPTION_STRING) {
        const char *text;
        memcpy(&text, at, sizeof(text));
        status = text ? remote_put(service, request, name, text, error) : STATUS_OK;
    } else if (row->type == OPTION_FLAG && *(const bool *)at) {
        status = remote_put(service, request, name, "true", error);
    } else if (row->type == OPTION_LIST) {
        const struct option_list *list = (const void *)at;
        for (int i = 0; i < list->count && status == STATUS_OK; i++) {
            status = remote_put(service, request, name, list->items[i], error);
        }
    }
    return status == STATUS_OK ? status : error_prefix(error, "--%s", row->name);
}

static enum status put_since(const struct call *call, const struct service *service,
                             ProtobufCMessage *request, struct error *error)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(request->descriptor, "since_ms");
    int64_t since_ms;
    TRY(remote_since(call, &since_ms, error));
    if (field && since_ms != 0) {
        message_put_i64(service->arena, request, field, since_ms);
    }
    return STATUS_OK;
}

enum status remote_request(const struct call *call, const struct service *service,
                           const struct remote *remote, ProtobufCMessage **request_out,
                           struct error *error)
{
    ProtobufCMessage *request = service_request(service, remote->route);
    const ProtobufCFieldDescriptor *tenant =
        protobuf_c_message_descriptor_get_field_by_name(request->descriptor, "tenant");
    for (size_t i = 0; i < call->command->option_count; i++) {
        TRY(put_option(call, &call->command->options[i], service, request, error));
    }
    TRY(put_since(call, service, request, error));
    TRY(put_arguments(call, service, remote, request, error));
    if (remote->own && tenant && !message_has(request, tenant) && service->profile.tenant) {
        TRY(remote_put(service, request, "tenant", service->profile.tenant, error));
    }
    *request_out = request;
    return STATUS_OK;
}

/* ---- the command ----------------------------------------------------------------------------- */

static enum status confirm(const struct call *call, struct error *error)
{
    const struct remote *remote = call->command->remote;
    char what[512], clean[256];
    if (!remote->confirm) {
        return STATUS_OK;
    }
    text_clean(call->argument_count > 0 ? call->arguments[0] : "", clean, sizeof(clean));
    snprintf(what, sizeof(what), "%s %s", remote->confirm, clean);
    return remote_confirm(call, what, error);
}

static enum status run_in(struct arena *arena, const struct call *call, struct error *error)
{
    const struct remote *remote = call->command->remote;
    struct service service;
    ProtobufCMessage *request;
    TRY(remote_open(arena, call, &service, error));
    TRY(remote_request(call, &service, remote, &request, error));
    TRY(confirm(call, error));
    return remote_show(call, &service, remote, request, error);
}

enum status remote_run(const struct call *call, struct error *error)
{
    return remote_within(run_in, call, error);
}
