/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor submit: a spec becomes a job of the service; job clone: the spec of a job becomes another;
 * serve: a spec of two lines does.
 *
 * Files and directories that the spec names are uploaded and named by their digests; other names
 * are the service's (datasets, models, bases). What is there on this machine is a path, and so is
 * what looks like one. One call is one job: the request has a key of its own, so that it can be
 * sent again when the answer was lost.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "client/commands.h"
#include "client/remote.h"
#include "client/upload.h"
#include "client/wait.h"
#include "lib/check.h"
#include "lib/text.h"
#include "proto/spec.h"

enum { PATIENCE_MS = 60000 };

/* ---- the spec ---- */
static enum status read_overrides(struct arena *arena, const struct call *call,
                                  struct spec_override **overrides_out, struct error *error)
{
    const struct remote_options *options = call->options;
    struct spec_override *overrides = arena_array(arena, struct spec_override, OPTION_LIST_MAX);
    for (int i = 0; i < options->set.count; i++) {
        TRY(spec_override_parse(arena, options->set.items[i], &overrides[i], error));
    }
    *overrides_out = overrides;
    return STATUS_OK;
}

static enum status read_spec(struct arena *arena, const struct call *call, struct spec **spec_out,
                             struct error *error)
{
    const struct remote_options *options = call->options;
    struct spec_override *overrides;
    TRY(read_overrides(arena, call, &overrides, error));
    return spec_read(arena, call->arguments[0], overrides, options->set.count, spec_out, error);
}

/* A job's spec names what it starts from by digest; its row knows the name, which keeps the new
 * model's parentage. */
static enum status read_job(const struct call *call, const struct service *service,
                            struct spec **spec_out, struct error *error)
{
    const struct remote_options *options = call->options;
    ProtobufCMessage *request = service_request(service, ROUTE_JOB_SHOW);
    struct spec_override *overrides;
    struct buf text = {0};
    json_t *job;
    TRY(read_overrides(service->arena, call, &overrides, error));
    TRY(remote_put(service, request, "id", call->arguments[0], error));
    TRY(service_call(service, ROUTE_JOB_SHOW, request, &job, error));
    json_t *spec = json_object_get(job, "spec");
    if (json_is_object(spec) && remote_text(job, "from")[0]) {
        json_object_set(spec, "from", json_object_get(job, "from"));
    }
    json_append(&text, spec);
    json_decref(job);
    enum status status = spec_parse(service->arena, call->arguments[0], text.data, text.length,
                                    overrides, options->set.count, spec_out, error);
    buf_release(&text);
    return status;
}

static enum status make_serve(struct arena *arena, const struct call *call, struct spec **spec_out,
                              struct error *error)
{
    const struct remote_options *options = call->options;
    struct spec_override *overrides;
    struct buf text = {0};
    json_t *json = json_object();
    json_object_set_new(json, "stage", json_string("serve"));
    json_object_set_new(json, "from", json_string(call->arguments[0]));
    json_append(&text, json);
    json_decref(json);
    enum status status = read_overrides(arena, call, &overrides, error);
    if (status == STATUS_OK) {
        status = spec_parse(arena, "tailor serve", text.data, text.length, overrides,
                            options->set.count, spec_out, error);
    }
    buf_release(&text);
    return status;
}

/* ---- the request ---- */

static char *new_key(struct arena *arena)
{
    uint64_t parts[2];
    CHECK(getrandom(parts, sizeof(parts), 0) == (ssize_t)sizeof(parts));
    return arena_printf(arena, "%016" PRIx64 "%016" PRIx64, parts[0], parts[1]);
}

static enum status build(const struct call *call, const struct service *service, struct spec *spec,
                         Api__JobSubmitRequest **request_out, struct error *error)
{
    const struct remote_options *options = call->options;
    struct arena *arena = service->arena;
    Api__JobSubmitRequest *request = service_request(service, ROUTE_JOB_SUBMIT);
    struct buf text = {0};
    const char *tenant = options->tenant ? options->tenant
                         : spec->tenant  ? spec->tenant
                                         : service->profile.tenant;
    if (!tenant) {
        return error_set(error, STATUS_USAGE, "say whose job it is: --tenant NAME");
    }
    const struct upload upload = {service, tenant, call->globals->quiet, NULL};
    TRY(upload_spec(&upload, spec, error));
    spec_json(spec, &text);
    request->spec = arena_strdup(arena, text.data);
    buf_release(&text);
    request->tenant = (char *)tenant; /* protobuf-c knows no const */
    request->idempotency_key = options->key ? (char *)options->key : new_key(arena);
    request->has_dry_run = options->dry_run;
    request->dry_run = options->dry_run;
    *request_out = request;
    return STATUS_OK;
}

/* ---- what is said about it ---- */
static void tell(const json_t *reply)
{
    const json_t *job = json_object_get(reply, "job");
    const json_t *position = json_object_get(reply, "queue_position");
    const json_t *estimate = json_object_get(reply, "estimate_ms");
    const char *id = remote_text(job, "id");
    char duration[16];
    if (!id[0]) {
        puts("the service would take this job");
        return;
    }
    printf("job %s is %s", id, remote_text(job, "state"));
    if (position) {
        printf(", number %" JSON_INTEGER_FORMAT " in its queue", json_integer_value(position));
    }
    if (estimate) {
        format_duration((double)json_integer_value(estimate) / 1000, duration);
        printf("; about %s until it ends, by the jobs of its stage before it\n", duration);
    } else {
        puts("; no job like it has ended since the coordinator started, so there is no estimate");
    }
    printf("\n  tailor wait %s      until it ends\n  tailor logs %s -f   what it writes\n"
           "  tailor show %s      how it is\n  tailor job why %s   what it waits for\n"
           "  tailor cancel %s\n",
           id, id, id, id, id);
}

static enum status say(const struct call *call, const json_t *reply, struct error *error)
{
    static const struct remote job_remote = {.route = ROUTE_JOB_SHOW};
    const struct remote_options *options = call->options;
    enum table_format format;
    const json_t *job = json_object_get(reply, "job");
    TRY(call_format(call, TABLE_FORMAT_TABLE, &format, error));
    if (format == TABLE_FORMAT_NAME || (format == TABLE_FORMAT_TABLE && call->globals->quiet)) {
        puts(remote_text(job, "id"));
    } else if (format == TABLE_FORMAT_TABLE && !options->columns) {
        tell(reply);
    } else {
        return remote_print(call, &job_remote, job, error);
    }
    return STATUS_OK;
}

static enum status submit(const struct call *call, const struct service *service, struct spec *spec,
                          struct error *error)
{
    const struct remote_options *options = call->options;
    struct service patient = *service;
    Api__JobSubmitRequest *request;
    json_t *reply;
    if (options->wait) {
        patient.timeout_s = 0; /* --timeout is the job's then */
    }
    TRY(build(call, &patient, spec, &request, error));
    TRY(service_insist(&patient, ROUTE_JOB_SUBMIT, &request->base, PATIENCE_MS, &reply, error));
    const char *job =
        arena_strdup(service->arena, remote_text(json_object_get(reply, "job"), "id"));
    enum status status = say(call, reply, error);
    json_decref(reply);
    if (status == STATUS_OK && options->wait && job[0]) {
        const struct wait wait = {.timeout_s = service->timeout_s,
                                  .quiet = call->globals->quiet,
                                  .steps = options->watch};
        fflush(stdout);
        status = wait_for_job(service, job, &wait, error);
    }
    return status;
}

static enum status submit_in(struct arena *arena, const struct call *call, struct error *error)
{
    struct service service;
    struct spec *spec;
    TRY(remote_open(arena, call, &service, error));
    TRY(read_spec(arena, call, &spec, error));
    return submit(call, &service, spec, error);
}

static enum status submit_run(const struct call *call, struct error *error)
{
    return remote_within(submit_in, call, error);
}

static enum status serve_in(struct arena *arena, const struct call *call, struct error *error)
{
    struct service service;
    struct spec *spec;
    TRY(remote_open(arena, call, &service, error));
    TRY(make_serve(arena, call, &spec, error));
    return submit(call, &service, spec, error);
}

static enum status serve_run(const struct call *call, struct error *error)
{
    return remote_within(serve_in, call, error);
}

static enum status clone_in(struct arena *arena, const struct call *call, struct error *error)
{
    struct service service;
    struct spec *spec;
    TRY(remote_open(arena, call, &service, error));
    TRY(read_job(call, &service, &spec, error));
    return submit(call, &service, spec, error);
}

static enum status clone_run(const struct call *call, struct error *error)
{
    return remote_within(clone_in, call, error);
}

static const struct option_row submit_rows[] = {
    REMOTE_ROW("set", 's', OPTION_LIST, set, "KEY=VALUE", "change a field first; may repeat"),
    REMOTE_ROW("dry-run", 0, OPTION_FLAG, dry_run, NULL, "upload and check, submit nothing"),
    REMOTE_ROW("wait", 'w', OPTION_FLAG, wait, NULL, "until it ends, as tailor wait"),
    REMOTE_ROW("watch", 0, OPTION_FLAG, watch, NULL, "with --wait: say every step"),
    REMOTE_ROW("key", 0, OPTION_STRING, key, "TEXT",
               "the same key again is the same job; default: a new one"),
    REMOTE_ROWS,
};
#define SUBMIT_COMMAND                                                                             \
    .details = "Files and directories of this machine that the spec names are uploaded first.",    \
    .arguments = {{.placeholder = "FILE"}}, OPTION_ROWS(submit_rows),                              \
    .options_size = sizeof(struct remote_options), .run = submit_run

const struct command cmd_submit = {.noun = "submit",
                                   .summary = "Submit a job (tailor job submit)",
                                   .example = "tailor submit support.yaml --set train.seed=7",
                                   SUBMIT_COMMAND};

const struct command cmd_job_submit = {.noun = "job",
                                       .verb = "submit",
                                       .summary = "Submit a spec as a job of the service",
                                       .example = "tailor job submit support.yaml --wait",
                                       SUBMIT_COMMAND};

const struct command cmd_job_clone = {
    .noun = "job",
    .verb = "clone",
    .summary = "Submit the spec of a job once more, changed or not",
    .details = "The same data and the same parent, by digest; --set changes fields.",
    .example = "tailor job clone j-17 --set train.seed=8",
    .arguments = {{.placeholder = "JOB"}},
    OPTION_ROWS(submit_rows),
    .options_size = sizeof(struct remote_options),
    .run = clone_run};

const struct command cmd_serve = {
    .noun = "serve",
    .summary = "Keep a model and the adapters over it ready to score texts",
    .details =
        "MODEL stays in the memory of one slot: a model of the service, or a base. It scores MODEL "
        "itself,\nif it is no adapter, and every adapter that was customized from it, of any "
        "tenant "
        "that may use its\nown: these are fetched when they are first asked for. It runs until it "
        "is "
        "cancelled.",
    .example = "tailor serve general/hh@prod --set serve.adapters_mib=4096\n"
               "       tailor model score acme/support@prod answers.jsonl",
    .arguments = {{.placeholder = "NAME"}},
    OPTION_ROWS(submit_rows),
    .options_size = sizeof(struct remote_options),
    .run = serve_run};
