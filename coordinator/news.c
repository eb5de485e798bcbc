/* SPDX-License-Identifier: Apache-2.0
 *
 * Each job carries the number of its last
 * visible change; who follows keeps the greatest that it has seen. So nothing is queued for
 * anybody, and a job that changed ten times is new once.
 *
 * What changed is found by looking, at most every NEWS_MS and only while somebody asks: 10,000 jobs
 * take under a millisecond. Rejected: a mark wherever a job is changed, which the next change of
 * the code would forget. The waiting sentence's figures are no change: with each free slot they
 * move for all that wait.
 */
#include "coordinator/news.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/state.h"
#include "lib/map.h"

enum { NEWS_MS = 900 }; /* who follows asks every second */

static uint64_t look_of(struct coordinator *coordinator, const struct job *job)
{
    const struct cluster_job *core = cluster_job(&coordinator->cluster, job->id);
    if (core == NULL || job_is_final(core->run.state))
        return 1;
    const int64_t seen[] = {core->run.state,   (int64_t)core->run.term, core->run.halted,
                            core->wait.reason, core->wait.since_ms,     core->ask.priority,
                            job->step,         job->steps_total,        job->pause_wanted,
                            job->cancel_wanted};
    return hash_bytes(seen, sizeof(seen), 2);
}

static void look(struct coordinator *coordinator)
{
    if (coordinator->news_ms != 0 && now_read(coordinator) < coordinator->news_ms + NEWS_MS)
        return;
    coordinator->news_ms = now_read(coordinator);
    for (uint32_t i = 0; i < coordinator->jobs.count; i++) {
        struct job *job = coordinator->jobs.items[i];
        uint64_t now = look_of(coordinator, job);
        if (now != job->look) {
            job->look = now;
            job->news = ++coordinator->news;
        }
    }
}

static int by_number(const void *a, const void *b)
{
    const struct job_news *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

/* A heap would keep the first `max`; that many jobs seldom change between two looks. */
int coordinator_jobs_changed(struct coordinator *coordinator, const char *tenant, int64_t after,
                             struct arena *arena, struct job_news **news_out)
{
    struct job_list *jobs = &coordinator->jobs;
    int count = 0;
    look(coordinator);
    struct job_news *news = arena_array(arena, struct job_news, jobs->count + 1);
    for (uint32_t i = 0; i < jobs->count; i++) {
        const struct job *job = jobs->items[i];
        if (job->news > after && (tenant[0] == '\0' || strcmp(job->tenant, tenant) == 0))
            news[count++] =
                (struct job_news){.number = job->news,
                                  .job = (int64_t)(job->shard_of != 0 ? job->shard_of : job->id)};
    }
    qsort(news, (size_t)count, sizeof(*news), by_number);
    *news_out = news;
    return count;
}

int64_t coordinator_jobs_newest(struct coordinator *coordinator)
{
    look(coordinator);
    return coordinator->news;
}
