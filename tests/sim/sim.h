/* SPDX-License-Identifier: Apache-2.0
 *
 * sim: the real scheduler and state machines (coordinator/cluster.h) under fake time.
 *
 * Fake are the workers, the network, the people and the clock; a run is a pure function of its
 * options, so a seed that breaks an invariant is a reproduction. The simulator knows the truth
 * (which ranks exist where, what each attempt has really done) and checks the coordinator against
 * it after every second of fake time; the list of invariants stands in sim_check.c.
 *
 * Scenarios:
 *   chaos  everything at random: workers die, fall silent and come back, ranks crash, starts are
 *          slow, commands and acknowledgements are lost, the coordinator restarts; people cancel,
 *          pause, drain, pause queues; gangs, dependencies, quotas, labels, pools, numerics
 *   busy   every tenant has more than enough to do, by weight; failures: who got what share?
 *   hog    one tenant has nearly all the jobs; the others come by with one small job each
 *   whale  a few tenants bring one gang of half the cluster each; the others have a backlog of
 *          single ranks, and nobody is preempted
 *   away   nothing fails but the coordinator, again and again: no attempt may end because of it
 */
#ifndef TAILOR_TESTS_SIM_SIM_H
#define TAILOR_TESTS_SIM_SIM_H

#include <stdio.h>

#include "coordinator/cluster.h"
#include "lib/buf.h"

enum sim_scenario { SIM_CHAOS, SIM_BUSY, SIM_HOG, SIM_WHALE, SIM_AWAY, SIM_SCENARIOS };

struct sim_options {
    enum sim_scenario scenario;
    uint64_t seed;
    int32_t workers, jobs, tenants, slots; /* slots: of each worker */
    FILE *trace;                           /* every change, or NULL */
};

struct sim_result {
    struct buf breaches; /* sentences, one a line; empty: all invariants held */
    int64_t ended_ms;    /* fake time at which the last job was final */
    int64_t starts, retries, yields, fenced, lost, boots, succeeded, failed, cancelled;
    double wait_ratio; /* the worst wait over its bound; above 1 is a breach */
    double share_off;  /* busy: the worst tenant's distance from its fair share, 0.1 = 10 % */
    double cycle_ms;   /* the longest tick, in real time: a measurement, not a check */
};

void sim_run(const struct sim_options *options, struct sim_result *result);
const char *sim_scenario_name(enum sim_scenario scenario);

#endif
