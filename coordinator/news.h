/* SPDX-License-Identifier: Apache-2.0
 *
 * news: which jobs changed, for those who show them. Loop thread; part of what coordinator.h
 * offers.
 */
#ifndef TAILOR_COORDINATOR_NEWS_H
#define TAILOR_COORDINATOR_NEWS_H

#include <stdint.h>

#include "lib/arena.h"

struct coordinator;

/* Jobs whose looks (state, step, what they wait for) changed behind `after`, the number of a
 * change; the oldest change first, and a shard's as its whole's, which may come twice. tenant "":
 * of all. Returns how many; they are in the arena. Changes less than a second old may be missing
 * yet. */
struct job_news {
    int64_t number, job;
};

int coordinator_jobs_changed(struct coordinator *coordinator, const char *tenant, int64_t after,
                             struct arena *arena, struct job_news **news_out);
int64_t coordinator_jobs_newest(struct coordinator *coordinator); /* its number */

#endif
