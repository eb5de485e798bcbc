/* SPDX-License-Identifier: Apache-2.0
 *
 * Series lie in a fixed table, families by labels: no allocation, no name is hashed on the way.
 * Counting by name looks through at most METRIC_LABELS_MAX short words.
 *
 * Rejected: a client library. The text format is four lines of printf, and the few libraries in C
 * bring a server and threads of their own.
 */
#include "coordinator/metrics.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/job_state.h"
#include "lib/check.h"

/* ---- labels ---------------------------------------------------------------------------------- */

enum labels {
    LABELS_NONE,
    LABELS_FINISHED, /* two: result and failure_class */
    LABELS_REASON,
    LABELS_FAILURE,
    LABELS_GATE,
    LABELS_LOST,
    LABELS_PHASE,
    LABELS_CODE,
    LABELS_COUNT
};

enum {
    RESULT_COUNT = JOB_STATE_COUNT - JOB_STATE_SUCCEEDED,
    RESULT_FAILED = JOB_STATE_FAILED - JOB_STATE_SUCCEEDED,
    REASONS_BEFORE_FAILURES = 2
};

_Static_assert(RESULT_COUNT *FAILURE_COUNT <= METRIC_LABELS_MAX, "they fit");

static const char *of_words(const char *const *words, int count, int index)
{
    return index < count ? words[index] : NULL;
}

#define WORDS(function, ...)                                                                       \
    static const char *function(int index)                                                         \
    {                                                                                              \
        static const char *const words[] = {__VA_ARGS__};                                          \
        return of_words(words, (int)(sizeof(words) / sizeof(words[0])), index);                    \
    }

WORDS(no_label, "")
WORDS(gate_label, "passed", "held")
WORDS(lost_label, "silent", "restarted")
WORDS(phase_label, "data", "forward", "backward", "reduce", "optimizer", "checkpoint")
WORDS(code_label, "2xx", "3xx", "4xx", "5xx")

static const char *failure_label(int index)
{
    return index > FAILURE_NONE && index < FAILURE_COUNT ? failure_row(index)->name : NULL;
}

/* What an attempt follows: its submit, a pause or a preemption, or a failure. */
static const char *reason_label(int index)
{
    if (index < REASONS_BEFORE_FAILURES)
        return index == 0 ? "submitted" : "resumed";
    return failure_label(index - REASONS_BEFORE_FAILURES);
}

/* Only a failed job has a class; one that never ran has failed without one. */
static const char *finished_label(int index)
{
    int result = index / FAILURE_COUNT, failure = index % FAILURE_COUNT;
    if (result >= RESULT_COUNT || (result != RESULT_FAILED && failure != FAILURE_NONE))
        return NULL;
    return job_state_name(JOB_STATE_SUCCEEDED + result);
}

int metrics_finished_label(enum job_state state, enum failure failure)
{
    int result = (int)state - JOB_STATE_SUCCEEDED;
    CHECK(result >= 0 && result < RESULT_COUNT);
    return result * FAILURE_COUNT + (result == RESULT_FAILED ? (int)failure : FAILURE_NONE);
}

static const struct {
    const char *name;                /* "": none */
    const char *(*value)(int index); /* NULL: there is none of that index */
} LABELS[LABELS_COUNT] = {
    [LABELS_NONE] = {"", no_label},
    [LABELS_FINISHED] = {"result", finished_label},
    [LABELS_REASON] = {"reason", reason_label},
    [LABELS_FAILURE] = {"failure_class", failure_label},
    [LABELS_GATE] = {"result", gate_label},
    [LABELS_LOST] = {"cause", lost_label},
    [LABELS_PHASE] = {"phase", phase_label},
    [LABELS_CODE] = {"code", code_label},
};

/* ---- families -------------------------------------------------------------------------------- */

enum kind { COUNTER, HISTOGRAM_LOOP, HISTOGRAM_STEP, HISTOGRAM_JOB, KIND_COUNT };

/* Upper bounds in seconds; 0 ends them. Of what happens in a loop's turn, of a step, of a job. */
static const double BOUNDS[KIND_COUNT][METRIC_BUCKETS_MAX] = {
    [HISTOGRAM_LOOP] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5},
    [HISTOGRAM_STEP] = {0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60},
    [HISTOGRAM_JOB] = {1, 5, 15, 60, 300, 900, 3600, 14400, 43200, 86400, 604800},
};

static const struct family {
    const char *name, *help;
    enum kind kind;
    enum labels labels;
} FAMILIES[METRIC_COUNT] = {
#define COUNTED(NAME, name, type, labels, help)                                                    \
    [METRIC_##NAME] = {#name, help, type, LABELS_##labels},
#define LOOKED_UP(name, type, help)
#include "coordinator/metrics.def"
#undef COUNTED
#undef LOOKED_UP
};

const char *metrics_label(enum metric metric, int label)
{
    return LABELS[FAMILIES[metric].labels].value(label);
}

static int label_named(enum metric metric, const char *label)
{
    for (int i = 0; i < METRIC_LABELS_MAX; i++) {
        const char *value = metrics_label(metric, i);
        if (value != NULL && strcmp(value, label) == 0)
            return i;
    }
    CHECK(false);
    return 0;
}

static struct metric_series *series_of(struct metrics *metrics, enum metric metric, int label)
{
    CHECK(label >= 0 && label < METRIC_LABELS_MAX);
    CHECK(metrics_label(metric, label) != NULL);
    return &metrics->series[metric][label];
}

void metrics_count(struct metrics *metrics, enum metric metric, int label, double amount)
{
    CHECK(FAMILIES[metric].kind == COUNTER);
    if (amount > 0) /* what a worker reported may be anything; a counter only grows */
        series_of(metrics, metric, label)->sum += amount;
}

void metrics_count_named(struct metrics *metrics, enum metric metric, const char *label,
                         double amount)
{
    metrics_count(metrics, metric, label_named(metric, label), amount);
}

void metrics_observe(struct metrics *metrics, enum metric metric, int label, double seconds)
{
    const double *bounds = BOUNDS[FAMILIES[metric].kind];
    struct metric_series *series = series_of(metrics, metric, label);
    CHECK(FAMILIES[metric].kind != COUNTER);
    if (!(seconds >= 0))
        return;
    series->count++;
    series->sum += seconds;
    for (int i = 0; i < METRIC_BUCKETS_MAX && bounds[i] > 0; i++)
        series->buckets[i] += seconds <= bounds[i];
}

void metrics_observe_named(struct metrics *metrics, enum metric metric, const char *label,
                           double seconds)
{
    metrics_observe(metrics, metric, label_named(metric, label), seconds);
}

/* ---- text ------------------------------------------------------------------------------------ */

void metrics_write_head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP tailor_%s %s\n# TYPE tailor_%s %s\n", name, help, name, type);
}

/* {a="b",c="d"} of a series; `bound` is a bucket's, or NULL. */
static void write_labels(struct buf *out, const struct family *family, int label, const char *bound)
{
    const char *name = LABELS[family->labels].name;
    const char *value = LABELS[family->labels].value(label);
    bool two = family->labels == LABELS_FINISHED;
    if (name[0] == '\0' && bound == NULL)
        return;
    buf_printf(out, "{");
    if (name[0] != '\0')
        buf_printf(out, "%s=\"%s\"%s", name, value, bound != NULL ? "," : "");
    if (two)
        buf_printf(out, ",failure_class=\"%s\"",
                   label % FAILURE_COUNT != FAILURE_NONE ? failure_row(label % FAILURE_COUNT)->name
                                                         : "");
    if (bound != NULL)
        buf_printf(out, "le=\"%s\"", bound);
    buf_printf(out, "}");
}

static void write_sample(struct buf *out, const struct family *family, const char *suffix,
                         int label, const char *bound, double value)
{
    buf_printf(out, "tailor_%s%s", family->name, suffix);
    write_labels(out, family, label, bound);
    buf_printf(out, " %.17g\n", value);
}

static void write_histogram(struct buf *out, const struct family *family, int label,
                            const struct metric_series *series)
{
    const double *bounds = BOUNDS[family->kind];
    char bound[32];
    for (int i = 0; i < METRIC_BUCKETS_MAX && bounds[i] > 0; i++) {
        snprintf(bound, sizeof(bound), "%g", bounds[i]);
        write_sample(out, family, "_bucket", label, bound, series->buckets[i]);
    }
    write_sample(out, family, "_bucket", label, "+Inf", series->count);
    write_sample(out, family, "_sum", label, NULL, series->sum);
    write_sample(out, family, "_count", label, NULL, series->count);
}

void metrics_write(const struct metrics *metrics, enum metric metric, struct buf *out)
{
    const struct family *family = &FAMILIES[metric];
    metrics_write_head(out, family->name, family->kind == COUNTER ? "counter" : "histogram",
                       family->help);
    for (int i = 0; i < METRIC_LABELS_MAX; i++) {
        const struct metric_series *series = &metrics->series[metric][i];
        if (LABELS[family->labels].value(i) == NULL)
            continue;
        if (family->kind == COUNTER)
            write_sample(out, family, "", i, NULL, series->sum);
        else
            write_histogram(out, family, i, series);
    }
}
