/* SPDX-License-Identifier: Apache-2.0
 *
 * agent_fixture: a coordinator in this process, tailor-worker and tailor-trainer as programs, and
 * in the store a tiny base and a small dataset of acme's.
 */
#ifndef TAILOR_TESTS_AGENT_FIXTURE_H
#define TAILOR_TESTS_AGENT_FIXTURE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/arena.h"
#include "tests/service/service_fixture.h"
#include "tests/test.h"

enum { PATIENCE_MS = 180000, AGENTS_MAX = 4 };

#define RUNNING   API__JOB_STATE__JOB_STATE_RUNNING
#define SUCCEEDED API__JOB_STATE__JOB_STATE_SUCCEEDED
#define FAILED    API__JOB_STATE__JOB_STATE_FAILED

/* As UNTIL of the fixture, for work that takes as long as the machine pleases. */
#define IN_TIME(condition)                                                                         \
    do {                                                                                           \
        int64_t until_ms_ = coordinator_now_ms() + PATIENCE_MS;                                    \
        while (!(condition) && coordinator_now_ms() < until_ms_)                                   \
            service_turn(&service);                                                                \
        REQUIRE(condition);                                                                        \
    } while (0)

extern struct service service;
extern pid_t agents[AGENTS_MAX];

void open_all(void);
void close_all(void); /* kills what still runs */
void upload(const void *bytes, size_t length, char digest_out[65]);

/* Of those that are started from now on. */
extern const char *agent_pool, *agent_label, *agent_device, *agent_trainer;

void agent_start(int i, const char *token, int slots);
void agent_join(int i, int slots); /* with a token */
void agent_kill(int i);
/* A trainer of ours whose directory contains the word; 0: none. */
pid_t trainer_find(const char *word);

struct wanted {
    const char *data; /* NULL: the good one */
    const char *from; /* a model: customize it by an adapter; NULL: the base, stage general */
    const char *pool; /* NULL: default */
    const char *disk; /* the value of the label "disk" that its workers must have; NULL: any */
    int ranks, min_ranks, epochs; /* min_ranks 0: all */
    int every_steps;              /* of checkpoints; 0: 4 */
    int steps;                    /* at most; 0: all */
    const char *device;           /* NULL: cpu */
};

int64_t submit(const struct wanted *wanted);

struct answer {
    bool done;
    enum status status;
    struct error error;
};

/* What remains of a job, read from the records. */
struct outcome {
    struct answer answer;
    int64_t job;
    struct arena arena;
    Api__ModelVersionList *versions;
    Api__CheckpointList *checkpoints;
    Api__AttemptList *attempts;
};

void outcome_open(struct outcome *outcome, int64_t job);
json_t *blob_json(const char *digest); /* a blob of acme's; the caller's */
bool manifest_find(const char *manifest, const char *name, char digest_out[65]);
/* The digest of the weights that a succeeded job left; "" if there are none. */
void weights_of(int64_t job, char digest_out[65]);
int64_t step_of(int64_t job);
int64_t checkpoints_of(int64_t job); /* the step of the newest in the store */
int64_t terms_of(int64_t job);
/* On how many workers the newest attempt's ranks are, or were. */
int workers_of(int64_t job);
/* The worker of rank 0 of the newest attempt. */
int64_t worker_of(int64_t job);
/* A job that nobody disturbs; the weights that all others of the same length must have. */
void undisturbed(int epochs, char digest_out[65]);

struct pages {
    struct arena arena;
    Api__MetricList *metrics;
    Api__LogList *logs;
};

void pages_read(struct pages *pages, int64_t job);

#endif
