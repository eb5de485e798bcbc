/* SPDX-License-Identifier: Apache-2.0
 *
 * service_fixture: a coordinator in this process on a directory of its own, fake workers around it,
 * and a loop that turns until something holds.
 */
#ifndef TAILOR_TESTS_SERVICE_FIXTURE_H
#define TAILOR_TESTS_SERVICE_FIXTURE_H

#include "coordinator/coordinator.h"
#include "tests/service/fake_worker.h"

enum { FIXTURE_WORKERS_MAX = 8, WAIT_MS = 20000 };

struct service {
    char dir[64], address[JOIN_ADDRESS_MAX];
    struct event_base *base;
    struct coordinator *coordinator;
    struct coordinator_options options;
    struct fake_worker *workers[FIXTURE_WORKERS_MAX];
    int worker_count;
    struct caller admin;
};

/* Short timers; tenants acme and globex. */
void service_open(struct service *service);
void service_close(struct service *service); /* and removes the directory */
/* The coordinator goes (cleanly) and comes again on the same address; workers stay. */
void service_stop(struct service *service);
void service_start(struct service *service);
struct fake_worker *service_add_worker(struct service *service, int64_t slots); /* attached */
void service_turn(struct service *service);

/* Turns until the condition holds; fails the test with its text after WAIT_MS. */
#define UNTIL(service, condition)                                                                  \
    do {                                                                                           \
        int64_t until_ms_ = coordinator_now_ms() + WAIT_MS;                                        \
        while (!(condition) && coordinator_now_ms() < until_ms_)                                   \
            service_turn(service);                                                                 \
        REQUIRE(condition);                                                                        \
    } while (0)
/* Turns for a while: for what must not happen. */
void service_idle(struct service *service, int64_t ms);

struct spec_options {
    const char *tenant, *stage, *model, *alias, *after, *key, *queue, *from;
    int64_t shards; /* of stage evaluate */
    int64_t ranks, min_ranks, priority, max_attempts;
    double wall_time_s;
    bool not_preemptible;
};

/* Submits and waits for the answer; the id, or −status. */
int64_t service_submit(struct service *service, const struct spec_options *options,
                       struct error *error);
int64_t service_submit_plain(struct service *service); /* of acme, one rank */
enum status service_verb(struct service *service, enum job_verb verb, int64_t id, int64_t value,
                         struct error *error);
/* The row as the records have it, in the arena. */
Api__Job *service_job(struct service *service, struct arena *arena, int64_t id);
Api__JobState service_state(struct service *service, int64_t id);
int64_t service_count_events(struct service *service, int64_t job, const char *kind);
/* A blob in the store of a tenant, by the worker. */
void service_upload(struct service *service, struct fake_worker *worker, const char *tenant,
                    const char *text, char digest_out[65]);

#endif
