/* SPDX-License-Identifier: Apache-2.0
 *
 * schedule_bench: what one cycle of the scheduler costs on one core.
 *
 *     schedule_bench [WORKERS JOBS TENANTS]        1000 10000 200 by default, 8 slots a worker
 *
 * idle    no job runs, all are queued: the cycle after an outage, the most placements there can be
 * busy    all slots are taken but a few; the others wait: the usual cycle
 * hog     one tenant holds all slots, every other asks for its share: the most preemption
 *
 * Prints the median and the longest of 30 cycles, in milliseconds of processor time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "coordinator/schedule.h"
#include "lib/check.h"
#include "lib/rng.h"

enum { SLOTS = 8, CYCLES = 30, WARM = 40, QUEUES = 3 };
enum load { IDLE, BUSY, HOG, LOADS };

struct bench {
    struct arena arena;
    struct snapshot snapshot;
    struct snapshot_worker *workers;
    struct snapshot_job *jobs;
    struct snapshot_tenant *tenants;
    struct ask *asks;
    uint32_t *warm;
    uint64_t draws;
};

static uint64_t draw(struct bench *bench, uint64_t bound)
{
    return rng_below(1, 0, bench->draws++, bound);
}

static void workers_make(struct bench *bench, uint32_t count)
{
    bench->workers = arena_array(&bench->arena, struct snapshot_worker, count);
    bench->warm = arena_array(&bench->arena, uint32_t, count * 4);
    for (uint32_t i = 0; i < count; i++) {
        for (int k = 0; k < 4; k++) {
            bench->warm[4 * i + (uint32_t)k] = 1 + (uint32_t)draw(bench, WARM - 1);
        }
        bench->workers[i] = (struct snapshot_worker){.id = 1 + i,
                                                     .pool = 1 + i % 8 / 7,
                                                     .numerics = 1 + i % 2,
                                                     .labels = i % 4,
                                                     .slots = SLOTS,
                                                     .free = SLOTS,
                                                     .warm = &bench->warm[4 * i],
                                                     .warm_count = 4};
    }
}

static void job_make(struct bench *bench, uint32_t i, enum load load)
{
    struct ask *ask = &bench->asks[i];
    uint32_t size = 1u << draw(bench, 4);
    uint32_t tenants = bench->snapshot.tenant_count;
    *ask = (struct ask){.tenant = load == HOG && i >= tenants ? 0 : (uint32_t)draw(bench, tenants),
                        .queue = (uint32_t)draw(bench, load == HOG ? 1 : QUEUES),
                        .pool = 1 + (draw(bench, 8) == 7),
                        .labels = draw(bench, 10) == 0,
                        .warm = 1 + (uint32_t)draw(bench, WARM - 1),
                        .ranks = (int32_t)size,
                        .min_ranks = (int32_t)(draw(bench, 2) ? size : 1),
                        .priority = (int32_t)draw(bench, 20),
                        .preemptible = true,
                        .submitted_ms = (int64_t)i,
                        .duration_max_ms = draw(bench, 2) ? 600000 : 0};
    bench->jobs[i] = (struct snapshot_job){.id = 1 + i,
                                           .state = JOB_STATE_QUEUED,
                                           .ask = ask,
                                           .wait = {.reason = WAITING_FAIR_SHARE, .job = 1},
                                           .ends_ms = INT64_MAX};
}

/* Lets the last jobs run: what the scheduler itself places on the idle cluster. */
static void run_some(struct bench *bench, uint32_t spare)
{
    struct arena scratch = {0};
    struct decisions decisions;
    struct snapshot snapshot = bench->snapshot;
    snapshot.jobs += bench->snapshot.tenant_count;
    snapshot.job_count -= bench->snapshot.tenant_count;
    schedule(&snapshot, &scratch, &decisions);
    for (uint32_t i = 0, started = 0; i < decisions.count; i++) {
        const struct decision *decision = &decisions.items[i];
        if (decision->kind != DECISION_START || started++ + spare >= decisions.starts) {
            continue;
        }
        struct snapshot_job *job = &bench->jobs[bench->snapshot.tenant_count + decision->job];
        job->state = JOB_STATE_RUNNING;
        job->worker = decision->placements[0].worker;
        job->started_ms = 0;
        job->ends_ms = 4000000 + (int64_t)draw(bench, 1000000);
        for (int32_t k = 0; k < decision->placement_count; k++) {
            job->held += decision->placements[k].ranks;
            bench->workers[decision->placements[k].worker].free -= decision->placements[k].ranks;
        }
    }
    arena_release(&scratch);
}

static void bench_make(struct bench *bench, uint32_t workers, uint32_t jobs, uint32_t tenants,
                       enum load load)
{
    static const struct snapshot_queue queues[QUEUES] = {{0, false}, {10, false}, {20, false}};
    *bench = (struct bench){0};
    workers_make(bench, workers);
    bench->tenants = arena_array(&bench->arena, struct snapshot_tenant, tenants);
    for (uint32_t i = 0; i < tenants; i++) {
        bench->tenants[i] = (struct snapshot_tenant){
            .usage = (double)draw(bench, 1000000000), .weight = 1 + i % 3, .slots_left = INT32_MAX};
    }
    uint32_t total = jobs + (load == IDLE ? 0 : workers * SLOTS / 2); /* waiting and running */
    bench->jobs = arena_array(&bench->arena, struct snapshot_job, total);
    bench->asks = arena_array(&bench->arena, struct ask, total);
    bench->snapshot = (struct snapshot){.now_ms = 3600000,
                                        .policy = {60000, 86400000, 60000, true, 5000, 60000},
                                        .jobs = bench->jobs,
                                        .workers = bench->workers,
                                        .tenants = bench->tenants,
                                        .queues = queues,
                                        .job_count = total,
                                        .worker_count = workers,
                                        .tenant_count = tenants,
                                        .queue_count = QUEUES,
                                        .warm_count = WARM};
    for (uint32_t i = 0; i < total; i++) {
        job_make(bench, i, load);
    }
    if (load != IDLE) {
        run_some(bench, load == BUSY ? 20 : 0);
    }
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void measure(const char *name, struct bench *bench)
{
    struct arena scratch = {0};
    struct arena_mark mark = arena_mark(&scratch);
    struct decisions decisions = {0};
    double ms[CYCLES];
    for (int i = 0; i < CYCLES; i++) {
        struct timespec begin, end;
        arena_reset(&scratch, mark);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
        schedule(&bench->snapshot, &scratch, &decisions);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
        ms[i] = 1e3 * (double)(end.tv_sec - begin.tv_sec) +
                1e-6 * (double)(end.tv_nsec - begin.tv_nsec);
    }
    qsort(ms, CYCLES, sizeof(*ms), by_size);
    printf("%-5s %u workers, %u jobs, %u tenants: %.2f ms median, %.2f ms longest; %u starts, %u "
           "yields, %u decisions\n",
           name, bench->snapshot.worker_count, bench->snapshot.job_count,
           bench->snapshot.tenant_count, ms[CYCLES / 2], ms[CYCLES - 1], decisions.starts,
           decisions.yields, decisions.count);
    fflush(stdout);
    arena_release(&scratch);
}

int main(int argc, char **argv)
{
    static const char *const names[LOADS] = {"idle", "busy", "hog"};
    if (argc != 1 && argc != 4) {
        fatal(2, "usage: schedule_bench [WORKERS JOBS TENANTS]");
    }
    uint32_t workers = argc == 4 ? (uint32_t)atoi(argv[1]) : 1000;
    uint32_t jobs = argc == 4 ? (uint32_t)atoi(argv[2]) : 10000;
    uint32_t tenants = argc == 4 ? (uint32_t)atoi(argv[3]) : 200;
    for (int load = 0; load < LOADS; load++) {
        struct bench bench;
        bench_make(&bench, workers, jobs, tenants, (enum load)load);
        measure(names[load], &bench);
        arena_release(&bench.arena);
    }
    return 0;
}
