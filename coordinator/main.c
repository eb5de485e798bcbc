/* SPDX-License-Identifier: Apache-2.0
 *
 * tailord: the coordinator. Options, objects, the loop, and everything again in reverse.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "coordinator/api/api.h"
#include "coordinator/backup.h"
#include "coordinator/coordinator.h"
#include "lib/check.h"
#include "lib/log.h"
#include "lib/option.h"
#include "lib/text.h"

struct options {
    const char *data, *workers, *advertise, *http, *tls_cert, *tls_key, *webhook_ca, *restore;
    const char *heartbeat, *lost_after, *stop_after, *backoff, *start_after, *yield_after,
        *keep_events, *metrics_tenants, *gc_every, *gc_grace;
    bool no_preemption, insecure, webhook_private, version;
    struct option_list host;
};

#define DURATION_MAX_S (400 * 24 * 3600.0)
#define FIELD(name)    offsetof(struct options, name)

static const struct option_row ROWS[] = {
    {"data", 'd', OPTION_STRING, FIELD(data), "DIR", "where all state lies (needed)"},
    {"workers", 0, OPTION_STRING, FIELD(workers), "HOST:PORT",
     "where workers connect; 127.0.0.1:7701"},
    {"advertise", 0, OPTION_STRING, FIELD(advertise), "HOST:PORT",
     "the same as workers reach it; stands in join tokens"},
    {"http", 0, OPTION_STRING, FIELD(http), "HOST:PORT",
     "where people and programs ask; 127.0.0.1:7700"},
    {"tls-cert", 0, OPTION_STRING, FIELD(tls_cert), "FILE",
     "PEM: the certificate that --http shows, with its chain; read again at SIGHUP"},
    {"tls-key", 0, OPTION_STRING, FIELD(tls_key), "FILE", "PEM: its key"},
    {"insecure", 0, OPTION_FLAG, FIELD(insecure), NULL,
     "--http in the clear off loopback too: a proxy that speaks TLS is in front"},
    {"host", 0, OPTION_LIST, FIELD(host), "NAME",
     "a further name that browsers may ask --http by; may repeat"},
    {"webhook-private", 0, OPTION_FLAG, FIELD(webhook_private), NULL,
     "webhooks may post into private networks, and by http"},
    {"webhook-ca", 0, OPTION_STRING, FIELD(webhook_ca), "FILE",
     "PEM: who signs receivers' certificates; default: whom this machine trusts"},
    {"restore", 0, OPTION_STRING, FIELD(restore), "BACKUP",
     "fill --data, which must be empty, from a backup; then end"},
    {"heartbeat", 0, OPTION_STRING, FIELD(heartbeat), "TIME", "how often workers speak; 1s"},
    {"lost-after", 0, OPTION_STRING, FIELD(lost_after), "TIME",
     "a worker that is silent so long is lost; 10s"},
    {"stop-after", 0, OPTION_STRING, FIELD(stop_after), "TIME",
     "workers train on alone so long; 1h"},
    {"backoff", 0, OPTION_STRING, FIELD(backoff), "TIME", "before a second attempt; doubles; 1s"},
    {"start-after", 0, OPTION_STRING, FIELD(start_after), "TIME",
     "an attempt has to start within; 10m"},
    {"yield-after", 0, OPTION_STRING, FIELD(yield_after), "TIME",
     "an attempt that is told to stop has to stop within; 5m"},
    {"keep-events", 0, OPTION_STRING, FIELD(keep_events), "TIME",
     "events of jobs that are over stay so long; 2160h"},
    {"gc-every", 0, OPTION_STRING, FIELD(gc_every), "TIME",
     "blobs that nothing refers to go so often, and when the store is full; or never; 24h"},
    {"gc-grace", 0, OPTION_STRING, FIELD(gc_grace), "TIME", "and not before they are so old; 1h"},
    {"metrics-tenants", 0, OPTION_STRING, FIELD(metrics_tenants), "NAME,…",
     "tenants that /metrics names; their number is a cost in Prometheus' memory"},
    {"no-preemption", 0, OPTION_FLAG, FIELD(no_preemption), NULL,
     "nobody is told to give slots away"},
    {"version", 0, OPTION_FLAG, FIELD(version), NULL, "print the version"},
};
enum { ROW_COUNT = sizeof(ROWS) / sizeof(ROWS[0]) };

static void usage(FILE *out)
{
    fputs("tailord --data DIR: the coordinator of one cluster.\n\n", out);
    option_print_help(out, ROWS, ROW_COUNT);
}

static void take_duration(const char *name, const char *text, int64_t *out_ms)
{
    double seconds;
    if (text == NULL)
        return;
    if (!parse_duration_s(text, &seconds) || seconds <= 0 || seconds > DURATION_MAX_S)
        fatal(2, "--%s: \"%s\" is no time, such as 0.5s, 10s or 2m", name, text);
    *out_ms = (int64_t)(seconds * 1000);
}

static void coordinator_options(const struct options *given, struct coordinator_options *options)
{
    coordinator_options_default(options);
    options->data = given->data;
    options->workers = given->workers != NULL ? given->workers : "127.0.0.1:7701";
    options->advertise = given->advertise;
    options->preempt = !given->no_preemption;
    options->metrics_tenants = given->metrics_tenants;
    take_duration("heartbeat", given->heartbeat, &options->heartbeat_ms);
    take_duration("lost-after", given->lost_after, &options->lost_after_ms);
    take_duration("stop-after", given->stop_after, &options->stop_after_ms);
    take_duration("backoff", given->backoff, &options->backoff_base_ms);
    take_duration("start-after", given->start_after, &options->start_after_ms);
    take_duration("yield-after", given->yield_after, &options->yield_after_ms);
    take_duration("keep-events", given->keep_events, &options->keep_events_ms);
    take_duration("gc-grace", given->gc_grace, &options->gc_grace_ms);
    if (given->gc_every != NULL && strcmp(given->gc_every, "never") == 0)
        options->gc_every_ms = 0;
    else
        take_duration("gc-every", given->gc_every, &options->gc_every_ms);
    if (options->lost_after_ms < 3 * options->heartbeat_ms)
        fatal(2, "--lost-after must be at least three times --heartbeat");
}

static void on_signal(evutil_socket_t number, short what, void *argument)
{
    (void)what;
    log_info("stopping signal %d", (int)number);
    event_base_loopbreak(argument);
}

static void on_hangup(evutil_socket_t number, short what, void *argument)
{
    (void)number, (void)what;
    api_reload(argument);
}

/* Each connection is a file; a shell's soft limit is often below ours. */
static void raise_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static void serve(const struct coordinator_options *options, const struct api_options *http)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    struct event *signals[2], *hangup;
    struct coordinator *coordinator;
    struct api *api;
    struct error error;
    struct event_base *base = event_base_new();
    CHECK(base != NULL);
    signal(SIGPIPE, SIG_IGN);
    raise_files();
    umask(0077); /* all that lies in --data is the service's alone */
    enum status status = coordinator_open(options, base, &coordinator, &error);
    if (status != STATUS_OK)
        fatal(status_exit_code(status), "%s", error.text);
    status = api_open(http, coordinator, base, &api, &error);
    if (status != STATUS_OK) {
        coordinator_close(coordinator);
        fatal(status_exit_code(status), "%s", error.text);
    }
    for (int i = 0; i < 2; i++) {
        signals[i] = evsignal_new(base, numbers[i], on_signal, base);
        event_add(signals[i], NULL);
    }
    hangup = evsignal_new(base, SIGHUP, on_hangup, api);
    event_add(hangup, NULL);
    log_info("listening for workers on %s", coordinator_workers_address(coordinator));
    log_info("listening for people on %s", api_address(api));
    event_base_dispatch(base);
    event_free(hangup);
    for (int i = 0; i < 2; i++)
        event_free(signals[i]);
    api_stop(api);
    coordinator_close(coordinator);
    api_close(api);
    event_base_free(base);
}

static void restore(const struct options *given)
{
    struct restored restored;
    struct error error;
    umask(0077);
    enum status status =
        coordinator_restore(given->restore, given->data, coordinator_now_ms(), &restored, &error);
    if (status != STATUS_OK)
        fatal(status_exit_code(status), "%s", error.text);
    printf("%" PRId64 " jobs, %" PRId64 " models, %" PRId64 " blobs of %" PRId64 " bytes in %s\n",
           restored.jobs, restored.models, restored.blobs, restored.bytes, given->data);
}

int main(int argc, char **argv)
{
    static struct options given;
    static struct option_list positional;
    static struct coordinator_options options;
    struct error error;
    enum status status = option_parse(ROWS, ROW_COUNT, argc - 1, (const char *const *)argv + 1,
                                      &given, &positional, &error);
    if (status == STATUS_CANCELLED) {
        usage(stdout);
        return 0;
    }
    if (status != STATUS_OK)
        fatal(2, "%s", error.text);
    if (given.version) {
        puts("tailord " TAILOR_VERSION);
        return 0;
    }
    if (positional.count > 0)
        fatal(2, "\"%s\": tailord takes options only; see --help", positional.items[0]);
    if (given.data == NULL) {
        usage(stderr);
        return 2;
    }
    if (given.restore != NULL) {
        restore(&given);
        return 0;
    }
    coordinator_options(&given, &options);
    const struct api_options http = {.address = given.http != NULL ? given.http : "127.0.0.1:7700",
                                     .data = given.data,
                                     .certificate = given.tls_cert,
                                     .key = given.tls_key,
                                     .insecure = given.insecure,
                                     .webhook_private = given.webhook_private,
                                     .webhook_ca = given.webhook_ca,
                                     .hosts = &given.host};
    serve(&options, &http);
    return 0;
}
