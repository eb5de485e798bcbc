/* SPDX-License-Identifier: Apache-2.0
 *
 * The list is sorted by id because ids only grow: adding is appending, finding is halving.
 */
#include "coordinator/job.h"

#include <math.h>
#include <stdio.h>

#include "lib/arena.h"
#include "lib/check.h"

void text_replace(char **text, const char *value)
{
    char *copy = value != NULL ? mem_strdup(value) : NULL;
    mem_free(*text);
    *text = copy;
}

struct job *job_create(uint64_t id, const char *tenant)
{
    struct job *job = mem_alloc(sizeof(*job));
    *job = (struct job){
        .id = id, .failure_rank = -1, .keep_last = 1, .packed_fill = NAN, .shared_token = NAN};
    snprintf(job->tenant, sizeof(job->tenant), "%s", tenant);
    return job;
}

const char *job_store(const struct job *job)
{
    return job->stage == API__STAGE__STAGE_IMPORT ? "" : job->tenant;
}

void job_free(struct job *job)
{
    char *const texts[] = {job->output_model, job->output_alias,    job->serves,
                           job->gate_figures, job->failure_message, job->failure_hint,
                           job->failure_log};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        mem_free(texts[i]);
    mem_free(job);
}

void job_list_add(struct job_list *list, struct job *job)
{
    CHECK(list->count == 0 || list->items[list->count - 1]->id < job->id);
    if (list->count == list->capacity) {
        list->capacity = list->capacity != 0 ? 2 * list->capacity : 64;
        list->items = mem_grow(list->items, size_mul(list->capacity, sizeof(*list->items)));
    }
    list->items[list->count++] = job;
}

struct job *job_list_find(const struct job_list *list, uint64_t id)
{
    uint32_t low = 0, high = list->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (list->items[middle]->id == id)
            return list->items[middle];
        if (list->items[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

void job_list_sweep(struct job_list *list, bool (*keep)(void *argument, uint64_t id),
                    void *argument)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < list->count; i++) /* all are asked before one is freed */
        list->items[i]->wanted = keep(argument, list->items[i]->id);
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->items[i]->wanted)
            list->items[kept++] = list->items[i];
        else
            job_free(list->items[i]);
    }
    list->count = kept;
}

void job_list_release(struct job_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        job_free(list->items[i]);
    mem_free(list->items);
    *list = (struct job_list){0};
}
