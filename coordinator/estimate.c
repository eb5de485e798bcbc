/* SPDX-License-Identifier: Apache-2.0
 *
 * estimate: a guess that says it is one: a moving mean per tenant and stage, in memory alone. A
 * quarter of it is the newest job, so that what changed counts soon.
 */
#include "coordinator/estimate.h"

#include "lib/check.h"

void estimate_note(struct coordinator *coordinator, const struct job *job)
{
    int32_t tenant = tenant_find(coordinator, job->tenant);
    if (tenant == NO_TENANT || job->started_ms == 0)
        return;
    CHECK((unsigned)job->stage < STAGES_MAX);
    int64_t *mean_ms = &coordinator->tenants[tenant].run_ms[job->stage];
    int64_t run_ms = job->finished_ms - job->started_ms;
    *mean_ms = *mean_ms == 0 ? run_ms : (3 * *mean_ms + run_ms) / 4;
}

void estimate_count(struct coordinator *coordinator)
{
    const struct cluster *cluster = &coordinator->cluster;
    coordinator->jobs_with_slots = coordinator->slots_up = 0;
    for (uint32_t i = 0; i < cluster->queue_count; i++)
        coordinator->queues[i].waiting = 0;
    for (uint32_t i = 0; i < cluster->job_count; i++) {
        const struct cluster_job *job = &cluster->jobs[i];
        coordinator->jobs_with_slots += job_has_attempt(job->run.state);
        coordinator->queues[job->ask.queue].waiting +=
            job_is_waiting(job->run.state) && job->ask.whole == 0;
    }
    for (uint32_t i = 0; i < cluster->registry.count; i++) {
        const struct worker *worker = &cluster->registry.workers[i];
        coordinator->slots_up += worker->state == WORKER_UP ? worker->offer.slots : 0;
    }
}

/* As if all jobs were like it: those before it go through the slots in waves. */
int64_t estimate_ms(const struct coordinator *coordinator, const struct ask *ask, int32_t stage,
                    int64_t position)
{
    int64_t before = position + coordinator->jobs_with_slots;
    int64_t beside = coordinator->slots_up > ask->ranks ? coordinator->slots_up / ask->ranks : 1;
    CHECK((unsigned)stage < STAGES_MAX);
    int64_t run_ms = coordinator->tenants[ask->tenant].run_ms[stage];
    return run_ms * (1 + (before > 0 ? before - 1 : 0) / beside);
}
