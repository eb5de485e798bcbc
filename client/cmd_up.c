/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor up and down: a whole service on this machine, in the background, in one directory:
 *
 *     DIR/d           the coordinator's (records, store, keys)
 *     DIR/worker-N    a worker's
 *     DIR/port        the port that people ask; workers connect to the next one
 *
 * up starts what does not run, so it also mends; what a killed program was doing goes on from its
 * checkpoint. The profile "local" is the administrator of that service.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/commands.h"
#include "client/daemon.h"
#include "client/path.h"
#include "client/remote.h"
#include "lib/file.h"
#include "lib/limits.h"
#include "lib/text.h"

enum { WORKERS_MAX = 64, PORT_DEFAULT = 7700, START_MS = 60000, STOP_S = 240 };
#define TENANT  "local"
#define PROFILE "local"

struct up_options {
    struct globals globals;
    const char *data;
    int64_t workers, slots, port;
    bool gpus;
};

/* ---- where ---- */
static enum status data_dir(struct arena *arena, const char *given, const char **dir_out,
                            struct error *error)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (given) {
        return path_absolute(arena, given, dir_out, error);
    }
    if (!data && !home) {
        return error_set(error, STATUS_USAGE, "HOME is not set: say where with --data PATH");
    }
    *dir_out = data ? arena_printf(arena, "%s/tailor", data)
                    : arena_printf(arena, "%s/.local/share/tailor", home);
    return STATUS_OK;
}

/* The port of a directory stays: workers have the address in their credentials. */
static enum status take_port(const char *dir, int64_t given, int64_t *port_out, struct error *error)
{
    char path[PATH_MAX], text[32];
    struct buf old = {0};
    int64_t port = 0;
    path_join(path, sizeof(path), dir, "port");
    if (file_exists(path)) {
        TRY(file_read(path, 64, &old, error));
        bool sound = old.length > 0 && parse_i64(old.data, &port) && port > 0 && port < 65535;
        buf_release(&old);
        if (!sound) {
            return error_set(error, STATUS_FORMAT, "%s holds no port: remove it", path);
        }
    }
    if (port != 0 && given != 0 && given != port) {
        return error_set(error, STATUS_CONFLICT,
                         "%s has port %" PRId64 ": leave --port out, or take another --data", dir,
                         port);
    }
    *port_out = port != 0 ? port : given != 0 ? given : PORT_DEFAULT;
    snprintf(text, sizeof(text), "%" PRId64, *port_out);
    return port != 0 ? STATUS_OK : file_write_atomic(path, text, strlen(text), error);
}

/* ---- the coordinator ---- */
static void pause_a_little(void)
{
    const struct timespec pause = {.tv_nsec = 50 * 1000000L};
    nanosleep(&pause, NULL);
}

static bool is_ready(const struct service *service)
{
    struct error ignored;
    json_t *reply = NULL;
    const ProtobufCMessage *nothing = service_request(service, ROUTE_READYZ);
    bool ready = service_call(service, ROUTE_READYZ, nothing, &reply, &ignored) == STATUS_OK;
    json_decref(reply);
    return ready;
}

static enum status start_coordinator(struct service *service, const char *dir, int64_t port,
                                     struct error *error)
{
    const struct daemon daemon = {dir, "tailord", "tailord"};
    struct arena *arena = service->arena;
    const char *data = arena_printf(arena, "%s/d", dir);
    const char *token = arena_printf(arena, "%s/admin-token", data);
    struct buf text = {0};
    pid_t pid = daemon_find(&daemon);
    bool started = pid == 0;
    if (started) {
        const char *http = arena_printf(arena, "127.0.0.1:%" PRId64, port);
        const char *workers = arena_printf(arena, "127.0.0.1:%" PRId64, port + 1);
        TRY(daemon_start(
            &daemon,
            (const char *const[]){"--data", data, "--http", http, "--workers", workers, NULL}, NULL,
            &pid, error));
    }
    for (int waited_ms = 0; !is_ready(service) || !file_exists(token); waited_ms += 50) {
        if (started) {
            TRY(daemon_check(&daemon, pid, error));
        }
        if (waited_ms > START_MS) {
            return error_set(error, STATUS_FAILED, "the coordinator is not ready: see %s/%s.log",
                             dir, daemon.name);
        }
        pause_a_little();
    }
    TRY(file_read(token, 4096, &text, error));
    service->profile.token = arena_strndup(arena, text.data, strcspn(text.data, "\r\n"));
    buf_release(&text);
    return STATUS_OK;
}

static enum status make_tenant(const struct service *service, struct error *error)
{
    Api__Tenant *tenant = service_request(service, ROUTE_TENANT_CREATE);
    json_t *reply = NULL;
    tenant->name = TENANT;
    enum status status = service_call(service, ROUTE_TENANT_CREATE, &tenant->base, &reply, error);
    json_decref(reply);
    return status == STATUS_CONFLICT ? STATUS_OK : status; /* it has been there */
}

/* ---- workers ---- */
static enum status join_token(const struct service *service, const char **token_out,
                              struct error *error)
{
    json_t *reply;
    TRY(service_call(service, ROUTE_JOIN_TOKEN, service_request(service, ROUTE_JOIN_TOKEN), &reply,
                     error));
    const char *token = json_string_value(json_object_get(reply, "token"));
    *token_out = arena_strdup(service->arena, token ? token : "");
    json_decref(reply);
    return STATUS_OK;
}

static enum status start_worker(const struct service *service, const char *dir, int64_t number,
                                int64_t slots, bool gpus, struct error *error)
{
    struct arena *arena = service->arena;
    const char *name = arena_printf(arena, "worker-%" PRId64, number);
    const struct daemon daemon = {dir, name, "tailor-worker"};
    const char *data = arena_printf(arena, "%s/%s", dir, name), *token = NULL;
    const char *count = arena_printf(arena, "%" PRId64, slots);
    pid_t pid;
    if (daemon_find(&daemon) != 0) {
        return STATUS_OK;
    }
    bool known = file_exists(arena_printf(arena, "%s/credential.json", data));
    if (!known) {
        TRY(join_token(service, &token, error));
    }
    return daemon_start(&daemon,
                        (const char *const[]){"--data", data, "--name", name, "--slots",
                                              gpus ? "0" : count, "--device", gpus ? "cuda" : "cpu",
                                              "--address", "127.0.0.1", known ? NULL : "--join",
                                              "-", NULL},
                        token, &pid, error);
}

static enum status count_live(const struct service *service, size_t *live_out, struct error *error)
{
    json_t *reply;
    size_t live = 0;
    TRY(service_call(service, ROUTE_WORKER_LIST, service_request(service, ROUTE_WORKER_LIST),
                     &reply, error));
    const json_t *workers = json_object_get(reply, "workers");
    for (size_t i = 0; i < json_array_size(workers); i++) {
        const char *state = json_string_value(json_object_get(json_array_get(workers, i), "state"));
        live += state && strcmp(state, "live") == 0;
    }
    json_decref(reply);
    *live_out = live;
    return STATUS_OK;
}

static enum status await_workers(const struct service *service, const char *dir, int64_t count,
                                 struct error *error)
{
    size_t live = 0;
    for (int waited_ms = 0; waited_ms < START_MS; waited_ms += 50) {
        TRY(count_live(service, &live, error));
        if (live >= (size_t)count) {
            return STATUS_OK;
        }
        pause_a_little();
    }
    return error_set(error, STATUS_FAILED,
                     "%zu of %" PRId64 " workers have joined: see the logs in %s", live, count,
                     dir);
}

/* ---- up ---- */
/* How somebody else gets in: an address that works once. */
static enum status tell_login(const struct service *service, int64_t port, struct error *error)
{
    char host[256] = "HOST";
    json_t *reply;
    TRY(service_call(service, ROUTE_LOGIN_CODE, service_request(service, ROUTE_LOGIN_CODE), &reply,
                     error));
    gethostname(host, sizeof(host) - 1);
    printf("\nfrom another machine, once and within 15 minutes:\n\n"
           "  ssh -L %" PRId64 ":127.0.0.1:%" PRId64 " %s\n"
           "  tailor login '%s/#login=%s'\n\n"
           "a browser that opens this address instead is logged in to the dashboard\n",
           port, port, host, service->profile.server, remote_text(reply, "code"));
    json_decref(reply);
    return STATUS_OK;
}

static enum status up_in(struct arena *arena, const struct call *call, struct error *error)
{
    const struct up_options *options = call->options;
    int64_t workers = options->workers != 0 ? options->workers : 1;
    int64_t slots = options->slots != 0 ? options->slots : 1, port;
    struct service service = {.arena = arena, .profile = {.name = PROFILE, .tenant = TENANT}};
    const char *dir;
    if (workers < 1 || workers + options->gpus > WORKERS_MAX || slots < 1 ||
        slots > WORKER_SLOTS_MAX) {
        return error_set(error, STATUS_USAGE, "--workers is 1 to %d and --slots 1 to %d",
                         WORKERS_MAX, WORKER_SLOTS_MAX);
    }
    if (options->port < 0 || options->port > 65534) {
        return error_set(error, STATUS_USAGE, "--port is 1 to 65534; the next one is taken too");
    }
    TRY(data_dir(arena, options->data, &dir, error));
    TRY(dir_create(dir, error));
    TRY(take_port(dir, options->port, &port, error));
    service.profile.server = arena_printf(arena, "http://127.0.0.1:%" PRId64, port);
    TRY(start_coordinator(&service, dir, port, error));
    TRY(make_tenant(&service, error));
    TRY(profile_save(&service.profile, error));
    for (int64_t i = 1; i <= workers; i++) {
        TRY(start_worker(&service, dir, i, slots, false, error));
    }
    if (options->gpus) {
        TRY(start_worker(&service, dir, ++workers, 0, true, error));
    }
    TRY(await_workers(&service, dir, workers, error));
    if (!call->globals->quiet) {
        printf("the service runs at %s with %" PRId64 " worker%s, in %s\n\n"
               "  tailor base add NAME ./MODEL        a pretrained model to start from\n"
               "  tailor job init general > job.yaml  a spec\n"
               "  tailor submit job.yaml              its job\n"
               "  tailor down%s%s\n",
               service.profile.server, workers, workers == 1 ? "" : "s", dir,
               options->data ? " --data " : "", options->data ? options->data : "");
        return tell_login(&service, port, error);
    }
    return STATUS_OK;
}

static enum status up_run(const struct call *call, struct error *error)
{
    struct arena arena = {0};
    enum status status = up_in(&arena, call, error);
    arena_release(&arena);
    return status;
}

#define UP_ROW(name, letter, type, member, placeholder, help)                                      \
    {                                                                                              \
        name, letter, type, offsetof(struct up_options, member), placeholder, help                 \
    }
static const struct option_row up_rows[] = {
    UP_ROW("workers", 'w', OPTION_I64, workers, "N", "how many; default 1"),
    UP_ROW("slots", 0, OPTION_I64, slots, "N", "ranks that a worker runs at a time; default 1"),
    UP_ROW("gpus", 0, OPTION_FLAG, gpus, NULL, "one worker more, with a slot for each GPU"),
    UP_ROW("port", 0, OPTION_I64, port, "N", "for people, and the next for workers; default 7700"),
    UP_ROW("data", 'd', OPTION_STRING, data, "PATH",
           "where all of it lies; default ~/.local/share/tailor"),
};

const struct command cmd_up = {
    .noun = "up",
    .summary = "Start a service on this machine, or what of it does not run",
    .details = "Coordinator and workers in the background, a tenant and a profile, both \"local\".",
    .example = "tailor up --workers 2",
    OPTION_ROWS(up_rows),
    .options_size = sizeof(struct up_options),
    .run = up_run};

/* ---- down ---- */
static enum status down_in(struct arena *arena, const struct call *call, struct error *error)
{
    const struct up_options *options = call->options;
    const struct daemon coordinator = {NULL, "tailord", "tailord"};
    struct daemon daemons[WORKERS_MAX + 1];
    const char *dir;
    int stopped = 0;
    TRY(data_dir(arena, options->data, &dir, error));
    for (int i = 0; i < WORKERS_MAX; i++) { /* workers first: they hand their checkpoints over */
        daemons[i] = (struct daemon){dir, arena_printf(arena, "worker-%d", i + 1), "tailor-worker"};
    }
    daemons[WORKERS_MAX] = coordinator;
    daemons[WORKERS_MAX].dir = dir;
    for (int i = 0; i <= WORKERS_MAX; i++) {
        stopped += daemon_find(&daemons[i]) != 0;
        TRY(daemon_stop(&daemons[i], STOP_S, error));
    }
    if (stopped == 0) {
        return error_set(error, STATUS_NOT_FOUND, "no service runs in %s", dir);
    }
    if (!call->globals->quiet) {
        puts("the service is down; tailor up goes on where it was");
    }
    return STATUS_OK;
}

static enum status down_run(const struct call *call, struct error *error)
{
    struct arena arena = {0};
    enum status status = down_in(&arena, call, error);
    arena_release(&arena);
    return status;
}

static const struct option_row down_rows[] = {
    UP_ROW("data", 'd', OPTION_STRING, data, "PATH",
           "where all of it lies; default ~/.local/share/tailor"),
};

const struct command cmd_down = {
    .noun = "down",
    .summary = "Stop the service that tailor up started",
    .details = "Running jobs write a checkpoint first, and go on after the next tailor up.",
    .example = "tailor down",
    OPTION_ROWS(down_rows),
    .options_size = sizeof(struct up_options),
    .run = down_run};
