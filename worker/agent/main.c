/* SPDX-License-Identifier: Apache-2.0
 *
 * tailor-worker: options, the agent, and its loop until a signal.
 */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/limits.h"
#include "lib/log.h"
#include "lib/option.h"
#include "lib/text.h"
#include "proto/ident.h"
#include "worker/agent/agent.h"

enum { TURN_MS = 50, LEAVE_MS = 60000 };

struct options {
    const char *data, *join, *pool, *address, *name, *device, *trainer, *grace;
    int64_t slots, cache_gib;
    bool version;
    struct option_list labels;
};

#define FIELD(name) offsetof(struct options, name)

static const struct option_row ROWS[] = {
    {"data", 'd', OPTION_STRING, FIELD(data), "DIR",
     "where this worker's key and cache lie (needed)"},
    {"join", 0, OPTION_STRING, FIELD(join), "TOKEN",
     "of \"tailor worker join-token\"; the first time (- reads it from standard input)"},
    {"device", 0, OPTION_STRING, FIELD(device), "KIND",
     "cpu, cuda or auto: what its slots are; auto, GPUs if there are any that can be used"},
    {"slots", 0, OPTION_I64, FIELD(slots), "N",
     "ranks that run here at a time; 1, or as many as there are GPUs"},
    {"pool", 0, OPTION_STRING, FIELD(pool), "NAME", "the pool it belongs to; default"},
    {"label", 0, OPTION_LIST, FIELD(labels), "KEY=VALUE", "what jobs may ask for; may repeat"},
    {"address", 0, OPTION_STRING, FIELD(address), "HOST",
     "where ranks on other hosts reach this one; the host's name"},
    {"name", 0, OPTION_STRING, FIELD(name), "NAME", "what people call it; the host's name"},
    {"trainer", 0, OPTION_STRING, FIELD(trainer), "PROGRAM",
     "the trainer; the tailor-trainer beside this program. For GPUs PROGRAM-cuda"},
    {"cache", 0, OPTION_I64, FIELD(cache_gib), "GIB", "models and data kept here at most; 100"},
    {"grace", 0, OPTION_STRING, FIELD(grace), "TIME",
     "from telling a job to stop until it is killed; 2m"},
    {"version", 0, OPTION_FLAG, FIELD(version), NULL, "print the version"},
};
enum { ROW_COUNT = sizeof(ROWS) / sizeof(ROWS[0]) };

static volatile sig_atomic_t signals_taken;

static void on_signal(int number)
{
    (void)number;
    signals_taken++;
}

static void usage(FILE *out)
{
    fputs("tailor-worker --data DIR [--join TOKEN]: offers this host's slots to a coordinator.\n\n",
          out);
    option_print_help(out, ROWS, ROW_COUNT);
}

/* A token on the command line can be read by every user of the host, so it may come by a pipe. */
static const char *token_read(const char *given)
{
    static char token[JOIN_TOKEN_TEXT_MAX + 1];
    if (given == NULL || strcmp(given, "-") != 0)
        return given;
    if (fgets(token, sizeof(token), stdin) == NULL)
        fatal(2, "--join -: there is no token on standard input");
    token[strcspn(token, "\r\n")] = '\0';
    return token;
}

static const char *trainer_beside(void)
{
    static char path[PATH_MAX];
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (length <= 0)
        fatal(1, "this program does not find itself: give --trainer");
    self[length] = '\0';
    *strrchr(self, '/') = '\0';
    path_join(path, sizeof(path), self, "tailor-trainer");
    return path;
}

static void check_labels(const struct option_list *labels)
{
    if (labels->count > LABELS_MAX)
        fatal(2, "at most %d labels", LABELS_MAX);
    for (int i = 0; i < labels->count; i++) {
        size_t key = strcspn(labels->items[i], "=");
        if (labels->items[i][key] != '=' || !name_is_valid(labels->items[i], key) ||
            strlen(labels->items[i] + key + 1) > 255)
            fatal(2, "--label %s: a label is KEY=VALUE", labels->items[i]);
    }
}

static int64_t gpus_here(void)
{
    static struct gpus gpus;
    gpus_open(&gpus);
    int64_t count = gpus.count;
    gpus_close(&gpus);
    return count;
}

/* GPUs and the program that uses them, or the reason why this worker's slots are CPUs. */
static void choose_device(const struct options *given, struct agent_options *options)
{
    static char cuda[PATH_MAX];
    const char *device = given->device != NULL ? given->device : "auto";
    bool must = strcmp(device, "cuda") == 0;
    if (!must && strcmp(device, "cpu") != 0 && strcmp(device, "auto") != 0)
        fatal(2, "--device must be cpu, cuda or auto, not %s", device);
    int64_t gpus = strcmp(device, "cpu") == 0 ? 0 : gpus_here();
    CHECK(snprintf(cuda, sizeof(cuda), "%s-cuda", options->trainer) < (int)sizeof(cuda));
    bool usable = access(cuda, X_OK) == 0;
    if (must && gpus == 0)
        fatal(3, "--device cuda: no GPU is here; tailor doctor says more");
    if (must && !usable)
        fatal(3, "--device cuda: %s is not there, or cannot be run", cuda);
    if (gpus > 0 && !usable)
        log_warn("%lld GPUs are not offered: %s is not there", (long long)gpus, cuda);
    if (gpus > 0 && usable) {
        options->trainer_cuda = cuda;
        if (options->slots > gpus)
            fatal(2, "--slots %lld: there are %lld GPUs here", (long long)options->slots,
                  (long long)gpus);
        options->slots = options->slots == 0 ? gpus : options->slots;
    }
    options->slots = options->slots == 0 ? 1 : options->slots;
}

static struct agent_options check(const struct options *given)
{
    double grace = 120;
    struct error error;
    struct agent_options options = {.data = given->data,
                                    .join = token_read(given->join),
                                    .pool = given->pool != NULL ? given->pool : "default",
                                    .address = given->address,
                                    .name = given->name,
                                    .labels = given->labels.items,
                                    .label_count = given->labels.count,
                                    .slots = given->slots,
                                    .cache_bytes = given->cache_gib * (int64_t)GIB,
                                    .trainer = given->trainer};
    check_labels(&given->labels);
    if (name_check("pool", options.pool, &error) != STATUS_OK)
        fatal(2, "--pool: %s", error.text);
    if (options.slots < 0 || options.slots > WORKER_SLOTS_MAX)
        fatal(2, "--slots must be 1 to %d", WORKER_SLOTS_MAX);
    if (given->cache_gib < 1 || given->cache_gib > 1000000)
        fatal(2, "--cache must be 1 to 1000000 GiB");
    if (given->grace != NULL && (!parse_duration_s(given->grace, &grace) || grace <= 0))
        fatal(2, "--grace: \"%s\" is no time, such as 30s or 2m", given->grace);
    options.pause_grace_ms = (int64_t)(grace * 1000);
    if (options.trainer == NULL)
        options.trainer = trainer_beside();
    if (access(options.trainer, X_OK) != 0)
        fatal(3, "%s is not there, or cannot be run: give --trainer", options.trainer);
    choose_device(given, &options);
    return options;
}

/* A first signal lets attempts write their checkpoints and publish them; a second one ends at once.
 */
static void serve(const struct agent_options *options)
{
    struct agent *agent;
    struct error error;
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    enum status status = agent_open(options, &agent, &error);
    if (status != STATUS_OK)
        fatal(status_exit_code(status), "%s", error.text);
    log_info("offering %lld slots on %s", (long long)options->slots,
             options->trainer_cuda != NULL ? "GPUs" : "processors");
    int64_t left_ms = 0;
    while (status == STATUS_OK && signals_taken < 2) {
        status = agent_turn(agent, TURN_MS, &error);
        if (signals_taken > 0 && left_ms == 0) {
            log_info("stopping");
            left_ms = monotonic_ms() + options->pause_grace_ms + LEAVE_MS;
            agent_leave(agent);
        }
        if (left_ms != 0 && (agent_is_idle(agent) || monotonic_ms() >= left_ms))
            break;
    }
    agent_close(agent);
    if (status != STATUS_OK)
        fatal(status_exit_code(status), "%s", error.text);
}

int main(int argc, char **argv)
{
    static struct options given = {.cache_gib = 100};
    static struct option_list positional;
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
        puts("tailor-worker " TAILOR_VERSION);
        return 0;
    }
    if (positional.count > 0)
        fatal(2, "\"%s\": tailor-worker takes options only; see --help", positional.items[0]);
    if (given.data == NULL) {
        usage(stderr);
        return 2;
    }
    const struct agent_options options = check(&given);
    serve(&options);
    return 0;
}
