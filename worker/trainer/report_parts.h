/* SPDX-License-Identifier: Apache-2.0
 *
 * report_parts: what the files of the report share. Private to them.
 *
 *     report.c         reads a run           report_page.c     the page, section by section
 *     report_chart.c   curves over steps     report_sets.c     before and after, by set
 *     report_diagram.c other drawings        report_text.c     numbers and words
 *     report_curves.c  which curves          report_style.c    the style sheet
 *     report_rows.c    the worst groups
 *
 * Colours are CSS classes ("custom", "general", "before", "plain", "second"), so that light, dark
 * and print are the style sheet's alone.
 */
#ifndef TAILOR_WORKER_TRAINER_REPORT_PARTS_H
#define TAILOR_WORKER_TRAINER_REPORT_PARTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/status.h"

/* ---- a run, read ----------------------------------------------------------------------------- */

enum series_id {
    SERIES_LOSS,
    SERIES_RANK_LOSS,
    SERIES_LM_LOSS,
    SERIES_ACCURACY,
    SERIES_OWN_ACCURACY,
    SERIES_GENERAL_ACCURACY,
    SERIES_MARGIN,
    SERIES_REWARD,
    SERIES_GRAD_NORM,
    SERIES_LEARNING_RATE,
    SERIES_SPEED,
    SERIES_EVAL_LOSS,
    SERIES_EVAL_ACCURACY,
    SERIES_EVAL_CUSTOM,
    SERIES_EVAL_GENERAL,
    SERIES_COUNT
};

/* Finite values over steps, in the order of the file. */
struct series {
    double *step, *value;
    int64_t count;
};

struct report_run {
    const char *dir;     /* borrowed */
    json_t *spec;        /* NULL: not there or not readable; `notes` says which */
    json_t *result;      /* likewise */
    bool result_damaged; /* it is there and cannot be read */
    json_t *events;      /* array */
    json_t *notes;       /* array of sentences about what is missing or damaged */
    struct series series[SERIES_COUNT];
    double step_max, epoch; /* epoch: NaN until a line has it */
    int64_t tokens;
};

/* Calls visit for every line that is not empty; stops at the first failure. */
typedef enum status line_visitor(void *argument, int64_t line, const char *text, size_t length,
                                 struct error *error);
enum status lines_visit(const char *path, line_visitor *visit, void *argument, struct error *error);

/* ---- numbers and words ----------------------------------------------------------------------- */

enum unit {
    UNIT_PLAIN,
    UNIT_PERCENT, /* of 1: 0.5 is "50 %" */
    UNIT_POINTS,  /* difference of two percentages, with its sign */
    UNIT_EXACT,   /* "8 123", thin spaces */
    UNIT_COUNT,   /* "8.1 k" */
    UNIT_RATE     /* "1e-5" */
};

enum { NUMBER_TEXT_MAX = 48 };

/* A value as a reader wants it; "–" for NaN. Pure ASCII signs become typographic ones. */
const char *number_text(enum unit unit, double value, char out[NUMBER_TEXT_MAX]);
/* A number of `decimals` places without unit, with the same signs. */
const char *fixed_text(double value, int decimals, char out[NUMBER_TEXT_MAX]);

/* Of an object: a number, "inf", or NaN; a string or NULL; what lies at "a.b". */
double json_number_of(const json_t *object, const char *key);
const char *json_text_of(const json_t *object, const char *key);
const json_t *json_at(const json_t *object, const char *path);

void html_text(struct buf *out, const char *text); /* escaped, isolated from its neighbours */

/* An interval of JSON, [low, high]. */
struct range {
    double low, high;
};
struct range json_range_of(const json_t *object, const char *key);

/* ---- axes ------------------------------------------------------------------------------------ */

/* Values low … high drawn at at_low … at_high, ticks at multiples of step. */
struct axis {
    double low, high, step, at_low, at_high;
    enum unit unit;
};

/* Round bounds around low … high with about `ticks` ticks. */
struct axis axis_fit(double low, double high, int ticks, enum unit unit, double at_low,
                     double at_high);
/* The same with the bounds kept as they are. */
struct axis axis_within(double low, double high, int ticks, enum unit unit, double at_low,
                        double at_high);
double axis_at(const struct axis *axis, double value);
/* Grid lines and labels of both axes. */
void axes_draw(struct buf *out, const struct axis *x, const struct axis *y, const char *x_name);

/* ---- drawings -------------------------------------------------------------------------------- */

enum { CHART_SERIES_MAX = 4 };

enum look {
    LOOK_LINE,
    LOOK_SMOOTH, /* a faint line of what was measured, a strong one of its moving average */
    LOOK_DOTS    /* a mark at each value */
};

struct chart_series {
    const char *label, *style;
    enum series_id id;
    enum look look;
};

struct chart {
    const char *id, *title;
    enum unit unit;
    struct chart_series series[CHART_SERIES_MAX];
    int count;
};

/* A card; nothing at all when no series has a value. */
void chart_draw(struct buf *out, const struct chart *chart, const struct report_run *run);

void mark_draw(struct buf *out, const char *style, double x, double y, double radius);
/* Before and after with their intervals on one line; low … high is the scale. */
void whisker_draw(struct buf *out, const char *style, const json_t *before, const json_t *after,
                  double low, double high);
void reliability_draw(struct buf *out, const char *style, const json_t *before,
                      const json_t *after);
/* Custom gain over general change; false (and nothing drawn) where one of them is unknown. */
bool tradeoff_draw(struct buf *out, const struct report_run *run);

/* ---- the page -------------------------------------------------------------------------------- */

void page_draw(struct buf *out, const struct report_run *run);
void sets_draw(struct buf *out, const struct report_run *run);
void curves_draw(struct buf *out, const struct report_run *run);
/* Share of right pairs over all sets of one kind; NaN without one. `when`: "before" or "after". */
double pooled_accuracy(const json_t *result, bool general, const char *when);

extern const char REPORT_STYLE[];

#endif
