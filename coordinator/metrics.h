/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics: figures of the service for Prometheus, in its text format 0.0.4.
 *
 * All families are one table, metrics.def. Those that count are kept here as things happen, from
 * zero at every start, as Prometheus expects; the others are read from the state when somebody
 * asks. Nothing is kept by tenant, job or batch: their number has no bound, and Prometheus' memory
 * has. Exact figures of a tenant are GET /v1/usage; a few tenants may be named by an option.
 *
 * On the loop's thread.
 */
#ifndef TAILOR_COORDINATOR_METRICS_H
#define TAILOR_COORDINATOR_METRICS_H

#include "coordinator/job_state.h"
#include "lib/buf.h"

enum metric {
#define COUNTED(NAME, name, type, labels, help) METRIC_##NAME,
#define LOOKED_UP(name, type, help)
#include "coordinator/metrics.def"
#undef COUNTED
#undef LOOKED_UP
    METRIC_COUNT
};

enum { METRIC_BUCKETS_MAX = 12, METRIC_LABELS_MAX = 32 };

struct metric_series {
    double count; /* of observations */
    double sum;   /* of a counter: its value */
    double buckets[METRIC_BUCKETS_MAX];
};

struct metrics {
    struct metric_series series[METRIC_COUNT][METRIC_LABELS_MAX];
};

/* The value of a family's label by its number: "" of a family without labels, NULL where there are
 * no more, or where it has none of that number. */
const char *metrics_label(enum metric metric, int label);
/* Label of METRIC_JOBS_FINISHED; `state` is final. */
int metrics_finished_label(enum job_state state, enum failure failure);

/* Adds to a counter; what is not above 0 adds nothing. */
void metrics_count(struct metrics *metrics, enum metric metric, int label, double amount);
/* The same by the label's value, which is one of the family's. */
void metrics_count_named(struct metrics *metrics, enum metric metric, const char *label,
                         double amount);
void metrics_observe(struct metrics *metrics, enum metric metric, int label, double seconds);
void metrics_observe_named(struct metrics *metrics, enum metric metric, const char *label,
                           double seconds);

/* One family with its HELP, its TYPE and every sample. */
void metrics_write(const struct metrics *metrics, enum metric metric, struct buf *out);
void metrics_write_head(struct buf *out, const char *name, const char *type, const char *help);

#endif
