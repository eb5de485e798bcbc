/* SPDX-License-Identifier: Apache-2.0
 *
 * sim_setup: who there is, what they want, and what people do meanwhile.
 */
#include <string.h>

#include "lib/check.h"
#include "tests/sim/sim_world.h"

enum { POOL_MAIN = 1, POOL_SMALL = 2, LABEL_BIG = 1, NORMAL = 0, URGENT = 1, WARM_OBJECTS = 20 };
enum undo { UNDO_PAUSE, UNDO_DRAIN, UNDO_QUEUE, UNDO_STORE };

static void options_set(struct sim *sim, struct cluster_options *options)
{
    bool hog = sim->options.scenario == SIM_HOG;
    *options = (struct cluster_options){
        .seed = sim->options.seed,
        .lost_after_ms = 10 * SECOND,
        .start_timeout_ms = MINUTE,
        .yield_timeout_ms = MINUTE,
        .cycle_ms = 5 * SECOND,
        .half_life_ms = 60 * MINUTE,
        .backoff = {5 * SECOND, 2 * MINUTE},
        .policy = {.charge_ms = MINUTE,
                   .ageing_ms = 20 * MINUTE,
                   .job_ageing_ms = MINUTE,
                   .preempt =
                       sim->options.scenario != SIM_BUSY && sim->options.scenario != SIM_WHALE,
                   .preempt_after_ms = 5 * SECOND,
                   .preempt_min_run_ms = hog ? 20 * SECOND : MINUTE},
    };
}

/* Every eighth tenant and worker belongs to the small pool in chaos; half of the workers compute
 * with other numerics; a quarter is big. */
static uint32_t pool_of(const struct sim *sim, int32_t index)
{
    return sim->options.scenario == SIM_CHAOS && index % 8 == 7 ? POOL_SMALL : POOL_MAIN;
}

static void workers_make(struct sim *sim)
{
    bool chaos = sim->options.scenario == SIM_CHAOS;
    sim->workers = mem_alloc(size_mul((size_t)sim->options.workers, sizeof(*sim->workers)));
    for (int32_t i = 0; i < sim->options.workers; i++) {
        struct sim_worker *worker = &sim->workers[i];
        worker->id = 1000 + (uint64_t)i;
        worker->alive = true;
        worker->offer = (struct worker_offer){.incarnation = 1,
                                              .slots = sim->options.slots,
                                              .pool = pool_of(sim, i),
                                              .labels = chaos && i % 4 == 1 ? LABEL_BIG : 0,
                                              .numerics = chaos && i % 2 == 1 ? 2 : 1};
        sim_worker_speak(sim, (uint32_t)i, true);
        if (chaos || sim->options.scenario == SIM_BUSY) {
            sim_after(sim, SECOND * (int64_t)sim_draw(sim, 7200), EVENT_DIE, (uint32_t)i, 0);
            sim_after(sim, SECOND * (int64_t)sim_draw(sim, 5400), EVENT_SILENCE, (uint32_t)i, 0);
        }
    }
}

static void tenants_make(struct sim *sim)
{
    sim->tenants = mem_alloc(size_mul((size_t)sim->options.tenants, sizeof(*sim->tenants)));
    for (int32_t i = 0; i < sim->options.tenants; i++) {
        struct quota quota = {0};
        if (sim->options.scenario == SIM_CHAOS && i % 5 == 2) {
            quota.running_slots_max = (int32_t)(4 + sim_draw(sim, 12));
        }
        double weight = sim->options.scenario == SIM_BUSY ? 1 + i % 3 : 1 + i % 2;
        cluster_add_tenant(&sim->cluster, weight, &quota, 0);
    }
    CHECK(cluster_add_queue(&sim->cluster, 0) == NORMAL);
    CHECK(cluster_add_queue(&sim->cluster, 10) == URGENT);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static int32_t ranks_draw(struct sim *sim)
{
    uint64_t d = sim_draw(sim, 1000);
    int32_t large = sim->options.workers * sim->options.slots / 16;
    large = large < 1 ? 1 : large > 32 ? 32 : large;
    return d < 600 ? 1 : d < 850 ? 2 : d < 990 ? 4 : large;
}

static enum failure fault_draw(struct sim *sim)
{
    uint64_t fault = sim_draw(sim, 100);
    return fault < 3   ? FAILURE_USER_DATA
           : fault < 5 ? FAILURE_INTERNAL
           : fault < 6 ? FAILURE_OUT_OF_MEMORY
                       : FAILURE_NONE;
}

/* A fifteenth of the jobs is cut into shards, which follow it in the list. */
static void shards_make(struct sim *sim, uint32_t index)
{
    struct sim_job *whole = &sim->jobs[index];
    uint32_t left = (uint32_t)sim->options.jobs - index - 1;
    if (!sim_chance(sim, 0.067) || left == 0) {
        return;
    }
    uint32_t most = left < 8 ? left : 8;
    whole->shards = 1 + (int32_t)sim_draw(sim, most);
    whole->ask.ranks = whole->ask.min_ranks = 1;
    for (int32_t i = 1; i <= whole->shards; i++) {
        whole[i] = (struct sim_job){.ask = whole->ask,
                                    .after = whole->after,
                                    .work = SECOND * (int64_t)(10 + sim_draw(sim, 60)),
                                    .fault = fault_draw(sim)};
    }
}

static void chaos_job(struct sim *sim, uint32_t index, int64_t span_ms)
{
    struct sim_job *job = &sim->jobs[index];
    uint64_t tenants = (uint64_t)sim->options.tenants;
    struct ask *ask = &job->ask;
    ask->tenant = (uint32_t)sim_draw(sim, sim_chance(sim, 0.3) ? tenants / 10 + 1 : tenants);
    const struct quota *quota = &sim->cluster.tenants[ask->tenant].quota;
    ask->pool = pool_of(sim, (int32_t)ask->tenant);
    ask->ranks = ranks_draw(sim);
    ask->min_ranks = sim_chance(sim, 0.5) ? ask->ranks : 1;
    if (quota->running_slots_max > 0 && ask->min_ranks > quota->running_slots_max) {
        ask->min_ranks = quota->running_slots_max;
    }
    ask->queue = sim_chance(sim, 0.05) ? URGENT : NORMAL;
    ask->priority = (int32_t)sim_draw(sim, 21) - 10;
    ask->preemptible = sim_chance(sim, 0.7);
    ask->labels = sim_chance(sim, 0.05) && ask->pool == POOL_MAIN ? LABEL_BIG : 0;
    if (ask->labels != 0 && ask->min_ranks > 2) {
        ask->min_ranks = 2;
    }
    ask->numerics_strict = sim_chance(sim, 0.1);
    ask->warm = 1 + ask->tenant % (WARM_OBJECTS - 1);
    job->work = ask->ranks * SECOND * (int64_t)(20 + sim_draw(sim, 280));
    ask->duration_max_ms = sim_chance(sim, 0.5) ? 2 * job->work / ask->min_ranks + 5 * MINUTE : 0;
    if (index > 0 && sim_chance(sim, 0.1)) {
        job->after.job = 1 + sim_draw(sim, index); /* ids follow the order of submits */
        ask->after_count = 1;
    }
    int64_t at = span_ms * index / sim->options.jobs;
    ask->not_before_ms = sim_chance(sim, 0.05) ? at + SECOND * (int64_t)sim_draw(sim, 300) : 0;
    job->fault = fault_draw(sim);
    shards_make(sim, index);
    sim_after(sim, at, EVENT_SUBMIT, index, 0);
}

static void plain_job(struct sim *sim, uint32_t index, uint32_t tenant, int32_t ranks,
                      int64_t run_ms, int64_t at_ms)
{
    sim->jobs[index].ask = (struct ask){.tenant = tenant,
                                        .pool = POOL_MAIN,
                                        .ranks = ranks,
                                        .min_ranks = ranks,
                                        .preemptible = true};
    sim->jobs[index].work = ranks * run_ms;
    sim_after(sim, at_ms, EVENT_SUBMIT, index, 0);
}

/* The same demand per weight for everyone, all at once. */
static void busy_jobs(struct sim *sim)
{
    int32_t next = 0;
    for (int32_t turn = 0; next < sim->options.jobs; turn++) {
        for (int32_t t = 0; t < sim->options.tenants && next < sim->options.jobs; t++) {
            for (int32_t k = 0; k < 1 + t % 3 && next < sim->options.jobs; k++) {
                int32_t ranks = (turn + t + k) % 4 == 0 ? 2 : 1;
                plain_job(sim, (uint32_t)next++, (uint32_t)t, ranks,
                          SECOND * (int64_t)(30 + sim_draw(sim, 60)), 0);
            }
        }
    }
}

static void whale_job(struct sim *sim, uint32_t index)
{
    if (index < SIM_WHALES) { /* one each of the first tenants, who have nothing else */
        int32_t half = sim->options.workers * sim->options.slots / 2;
        plain_job(sim, index, index, half < GANG_RANKS_MAX ? half : GANG_RANKS_MAX, 100 * SECOND,
                  MINUTE * (int64_t)(1 + 3 * index));
    } else {
        uint32_t others = (uint32_t)sim->options.tenants - SIM_WHALES;
        plain_job(sim, index, SIM_WHALES + index % others, 1,
                  SECOND * (int64_t)(60 + sim_draw(sim, 240)), 0);
    }
}

static void jobs_make(struct sim *sim)
{
    int32_t count = sim->options.jobs;
    sim->jobs = mem_alloc(size_mul((size_t)count, sizeof(*sim->jobs)));
    sim->job_of_id = mem_alloc(size_mul((size_t)count + 2, sizeof(*sim->job_of_id)));
    /* On average 1.7 slots for 160 s a job: a third more than there is time for. */
    int64_t span = 270LL * SECOND * count / (sim->options.workers * sim->options.slots) * 3 / 4;
    if (sim->options.scenario == SIM_BUSY) {
        busy_jobs(sim);
    }
    for (int32_t i = 0; i < count; i++) {
        if (sim->options.scenario == SIM_CHAOS) {
            chaos_job(sim, (uint32_t)i, span);
            i += sim->jobs[i].shards;
        } else if (sim->options.scenario == SIM_AWAY) {
            plain_job(sim, (uint32_t)i, (uint32_t)(i % sim->options.tenants), 1 + i % 3,
                      SECOND * (int64_t)(20 + sim_draw(sim, 280)), span * i / count);
        } else if (sim->options.scenario == SIM_WHALE) {
            whale_job(sim, (uint32_t)i);
        } else if (sim->options.scenario == SIM_HOG) {
            bool visitor = i % 10 == 9;
            plain_job(sim, (uint32_t)i,
                      visitor ? 1 + (uint32_t)(i / 10 % (sim->options.tenants - 1)) : 0, 1,
                      visitor ? 20 * SECOND : 5 * MINUTE,
                      visitor ? 10 * SECOND + 2 * span * i / count : 0);
        }
    }
}

void sim_setup(struct sim *sim)
{
    struct cluster_options options;
    options_set(sim, &options);
    cluster_init(&sim->cluster, &options, 1, 0);
    tenants_make(sim);
    workers_make(sim);
    jobs_make(sim);
    sim->slots_least = sim->options.workers * sim->options.slots;
    sim->lossy = sim->options.scenario == SIM_CHAOS;
    if (sim->options.scenario == SIM_CHAOS || sim->options.scenario == SIM_AWAY) {
        sim_after(sim, MINUTE, EVENT_DOWN, 0, 0);
    }
    if (sim->options.scenario == SIM_CHAOS) {
        sim_after(sim, SECOND, EVENT_PERSON, 0, 0);
    }
}

void sim_boot(struct sim *sim)
{
    struct cluster last = sim->cluster;
    struct cluster *next = &sim->cluster;
    cluster_init(next, &last.options, last.boots + 1, sim->now_ms);
    next->next_job = last.next_job;
    next->fenced = last.fenced;
    cluster_store_full(next, last.store_full);
    for (uint32_t i = 0; i < last.queue_count; i++) {
        cluster_add_queue(next, last.queues[i].priority);
        cluster_pause_queue(next, i, last.queues[i].paused);
    }
    for (uint32_t i = 0; i < last.tenant_count; i++) {
        cluster_restore_tenant(next, &last.tenants[i]);
    }
    for (uint32_t i = 0; i < last.registry.count; i++) {
        const struct worker *worker = &last.registry.workers[i];
        cluster_restore_worker(next, worker->id, &worker->offer, worker->draining, sim->now_ms);
        for (int32_t h = 0; h < worker->hold_count; h++) {
            cluster_restore_hold(next, i, &worker->holds[h]);
        }
    }
    for (uint32_t i = 0; i < last.job_count; i++) {
        for (int32_t k = 0; k < last.jobs[i].ask.after_count; k++) { /* as a query would say */
            struct dependency *after = &last.jobs[i].after[k];
            after->state = sim->jobs[sim->job_of_id[after->job]].state;
        }
        if (!job_is_final(last.jobs[i].run.state)) {
            cluster_restore_job(next, &last.jobs[i]);
        }
    }
    cluster_release(&last);
}

static void submitted(struct sim *sim, uint32_t index)
{
    struct sim_job *job = &sim->jobs[index];
    struct sim_tenant *tenant = &sim->tenants[job->ask.tenant];
    job->id = ++sim->submitted;
    sim->job_of_id[job->id] = index;
    job->state = JOB_STATE_QUEUED;
    tenant->submitted += (double)job->work;
    tenant->waiting++;
    job->ahead = tenant->submitted - tenant->done;
    job->submitted_before = tenant->submitted;
}

void sim_submit(struct sim *sim, uint32_t index)
{
    struct sim_job *job = &sim->jobs[index];
    struct error error;
    if (job->ask.after_count > 0) {
        /* The caller knows what became of jobs that the cluster has dropped. */
        if (job->after.job > sim->submitted) {
            job->ask.after_count = 0;
        } else {
            job->after.state = sim->jobs[sim->job_of_id[job->after.job]].state;
        }
        job->ask.after = &job->after;
    }
    uint64_t id = sim->cluster.next_job;
    CHECK(id == sim->submitted + 1);
    CHECK(cluster_admit(&sim->cluster, &job->ask, 0, &error) == STATUS_OK);
    if (job->shards > 0) {
        cluster_add_whole(&sim->cluster, id, &job->ask, job->shards, SIM_ATTEMPTS_MAX, sim->now_ms);
    } else {
        cluster_add_job(&sim->cluster, id, &job->ask, SIM_ATTEMPTS_MAX, sim->now_ms);
    }
    submitted(sim, index);
    for (int32_t i = 1; i <= job->shards; i++) {
        job[i].ask = job->ask;
        job[i].after = job->after;
        job[i].ask.whole = id;
        submitted(sim, index + (uint32_t)i);
    }
}

/* ---- people ---------------------------------------------------------------------------------- */

/* Whatever is asked of a job that is final is refused. */
static void ask_too_late(struct sim *sim)
{
    if (sim->cluster.job_count == 0) {
        return;
    }
    uint64_t index = sim_draw(sim, sim->cluster.job_count);
    const struct job_run *run = &sim->cluster.jobs[index].run;
    for (uint64_t i = 0; i < sim->cluster.job_count && !job_is_final(run->state); i++) {
        run = &sim->cluster.jobs[(index + i) % sim->cluster.job_count].run;
    }
    if (job_is_final(run->state) &&
        (cluster_cancel(&sim->cluster, run->id, sim->now_ms, NULL) == STATUS_OK ||
         cluster_pause(&sim->cluster, run->id, sim->now_ms, NULL) == STATUS_OK ||
         cluster_resume(&sim->cluster, run->id, sim->now_ms, NULL) == STATUS_OK)) {
        sim_breach(sim, "final: job %llu was final and is %s", (unsigned long long)run->id,
                   job_state_name(run->state));
    }
}

void sim_person(struct sim *sim)
{
    if (sim->submitted == 0) {
        return;
    }
    uint64_t id = 1 + sim_draw(sim, sim->submitted);
    uint32_t worker = (uint32_t)sim_draw(sim, (uint64_t)sim->options.workers);
    switch (sim_draw(sim, 16)) {
    case 0:
    case 1:
        cluster_cancel(&sim->cluster, id, sim->now_ms, NULL); /* may be refused: it is final */
        break;
    case 2:
    case 3:
    case 4:
        if (cluster_pause(&sim->cluster, id, sim->now_ms, NULL) == STATUS_OK) {
            sim_after(sim, SECOND * (int64_t)(1 + sim_draw(sim, 120)), EVENT_UNDO, UNDO_PAUSE,
                      (uint32_t)id);
        }
        break;
    case 5:
        cluster_drain(&sim->cluster, worker, true);
        sim_after(sim, SECOND * (int64_t)(10 + sim_draw(sim, 300)), EVENT_UNDO, UNDO_DRAIN, worker);
        break;
    case 6:
        cluster_pause_queue(&sim->cluster, URGENT, true);
        sim_after(sim, SECOND * (int64_t)(10 + sim_draw(sim, 60)), EVENT_UNDO, UNDO_QUEUE, URGENT);
        break;
    case 7:
        cluster_store_full(&sim->cluster, true);
        sim_after(sim, SECOND * (int64_t)(5 + sim_draw(sim, 20)), EVENT_UNDO, UNDO_STORE, 0);
        break;
    default:
        ask_too_late(sim);
        break;
    }
}

void sim_undo(struct sim *sim, uint32_t what, uint32_t which)
{
    switch ((enum undo)what) {
    case UNDO_PAUSE:
        cluster_resume(&sim->cluster, which, sim->now_ms, NULL); /* refused if it was cancelled */
        break;
    case UNDO_DRAIN:
        cluster_drain(&sim->cluster, which, false);
        break;
    case UNDO_QUEUE:
        cluster_pause_queue(&sim->cluster, which, false);
        break;
    case UNDO_STORE:
        cluster_store_full(&sim->cluster, false);
        break;
    }
}
