/* SPDX-License-Identifier: Apache-2.0
 *
 * cluster_restore: a cluster from what was persisted of the last one.
 *
 * Nothing is stored that can be counted: a tenant's jobs and slots follow from its jobs, a worker's
 * held slots from its holds. The simulator restores at each restart of its coordinator, so a field
 * that is forgotten here breaks an invariant there.
 */
#include <string.h>

#include "coordinator/cluster_parts.h"
#include "lib/check.h"

void cluster_restore_tenant(struct cluster *cluster, const struct cluster_tenant *saved)
{
    uint32_t index =
        cluster_add_tenant(cluster, saved->share.weight, &saved->quota, saved->share.at_ms);
    struct cluster_tenant *tenant = &cluster->tenants[index];
    tenant->share = saved->share;
    tenant->use = saved->use;
    tenant->last_start_ms = saved->last_start_ms;
}

uint32_t cluster_restore_worker(struct cluster *cluster, uint64_t id,
                                const struct worker_offer *offer, bool draining, int64_t now_ms)
{
    uint32_t index;
    CHECK(registry_hear(&cluster->registry, id, offer, now_ms, &index) == REGISTRY_NEW);
    registry_drain(&cluster->registry, index, draining);
    cluster->registry.workers[index].unheard = true;
    return index;
}

void cluster_restore_hold(struct cluster *cluster, uint32_t worker, const struct hold *saved)
{
    struct hold *hold =
        worker_take(&cluster->registry.workers[worker], saved->job, saved->term, saved->slots);
    hold->taken = saved->taken;
    hold->command = saved->command;
}

void cluster_restore_job(struct cluster *cluster, const struct cluster_job *saved)
{
    CHECK(saved->ask.tenant < cluster->tenant_count);
    CHECK(saved->ask.queue < cluster->queue_count);
    CHECK(saved->ask.batch < cluster->batch_count);
    CHECK(cluster->job_count == 0 || cluster->jobs[cluster->job_count - 1].run.id < saved->run.id);
    CHECK((saved->member_count > 0) == job_has_attempt(saved->run.state));
    struct cluster_job *job = cluster_job_add(cluster);
    *job = *saved;
    size_t after_size = size_mul((size_t)saved->ask.after_count, sizeof(*job->after));
    job->after = mem_alloc(after_size);
    if (after_size > 0) {
        memcpy(job->after, saved->after, after_size);
    }
    job->ask.after = job->after;
    if (saved->member_count > 0) {
        size_t size = size_mul((size_t)saved->member_count, sizeof(*job->members));
        job->members = mem_alloc(size);
        memcpy(job->members, saved->members, size);
    }
    struct cluster_tenant *tenant = &cluster->tenants[job->ask.tenant];
    tenant->waiting += cluster_job_waits(job, job->run.state);
    tenant->unfinished += !job_is_final(job->run.state);
    tenant->slots += job->held;
    cluster->batches[job->ask.batch].unfinished += !job_is_final(job->run.state);
    if (job->run.id >= cluster->next_job) {
        cluster->next_job = job->run.id + 1;
    }
}
