/* SPDX-License-Identifier: Apache-2.0
 *
 * job: what the coordinator keeps in memory of a job besides cluster.h's part: names, the outcome
 * on its way, the words of its last failure. What is needed at rest (spec, labels) is in the
 * records.
 *
 * The list holds the jobs that the cluster knows, and for JOB_NEWS_MS those that have ended
 * (news.c); both are in order of id.
 */
#ifndef TAILOR_COORDINATOR_JOB_H
#define TAILOR_COORDINATOR_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/api.pb-c.h"
#include "proto/ident.h"

struct job {
    uint64_t id;
    char tenant[NAME_BYTES_MAX + 1];
    Api__Stage stage;
    uint64_t shard_of;                 /* 0: it is no shard */
    int64_t shard, shards;             /* which, from 1, of how many; of a whole: 0, of how many */
    char *output_model, *output_alias; /* NULL: none */
    char *serves;                      /* of stage serve: the manifest of its model; else NULL */
    int64_t keep_last;                 /* checkpoints */
    bool pause_wanted, cancel_wanted;  /* by a person */

    int64_t heard_ms; /* when it changed or was told of, last; 0: not since our start */
    double packed_fill, shared_token; /* ratios, as last reported; NaN: none was */
    int64_t step, steps_total;        /* of the live attempt, as last reported */
    int64_t started_ms, finished_ms;  /* the first attempt's start; the end; 0: not yet */
    Api__GateDecision gate;
    char *gate_figures;
    char *failure_message, *failure_hint, *failure_log;
    uint64_t failure_term; /* that these words are of */
    int64_t failure_rank;  /* −1: none */
    uint64_t look;         /* of all that people see of it; 0: nobody has looked */
    int64_t news;          /* the number of its last change of looks */
    bool wanted;           /* private: while the list is swept */
};

enum { JOB_NEWS_MS = 60000 };

struct job *job_create(uint64_t id, const char *tenant);
void job_free(struct job *job); /* of no list */
/* Whose blobs its output is: the cluster's ("") of stage import, which makes a base; else its
 * tenant's. */
const char *job_store(const struct job *job);
void text_replace(char **text, const char *value); /* frees the old, copies the new (NULL: none) */

struct job_list {
    struct job **items;
    uint32_t count, capacity;
};

void job_list_add(struct job_list *list, struct job *job); /* its id is new */
struct job *job_list_find(const struct job_list *list, uint64_t id);
/* Frees the jobs that `keep` has no more use for; it may look them up in the list. */
void job_list_sweep(struct job_list *list, bool (*keep)(void *argument, uint64_t id),
                    void *argument);
void job_list_release(struct job_list *list);

#endif
