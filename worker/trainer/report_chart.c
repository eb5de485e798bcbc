/* SPDX-License-Identifier: Apache-2.0
 *
 * report_chart: curves over steps.
 *
 * A run may have a million steps and a chart has a few hundred pixels: values are averaged in
 * BUCKETS equal parts of the step axis, so the page's size depends on the number of charts alone.
 * The bold line is an exponential moving average over a thirtieth of the run; the faint one what
 * was measured. The vertical axis leaves out the outermost 2 % of what was measured, never of the
 * average: one spike must not flatten the rest.
 *
 * Without a script, a chart answers the pointer by CSS: every bucket has an invisible strip that
 * shows its cursor and its values while hovered; <title> says the same to screen readers.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/check.h"
#include "worker/trainer/report_parts.h"

enum {
    WIDTH = 360,
    HEIGHT = 200,
    LEFT = 46,
    RIGHT = 350,
    TOP = 16,
    BOTTOM = 174,
    BUCKETS = 120,
    SMOOTHING_PARTS = 30,
    TICKS = 4
};

#define OUTERMOST 0.02

/* ---- axes ------------------------------------------------------------------------------------ */

static double nice_step(double span, int ticks)
{
    double rough = span / ticks;
    double power = pow(10, floor(log10(rough)));
    double part = rough / power;
    return power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
}

struct axis axis_within(double low, double high, int ticks, enum unit unit, double at_low,
                        double at_high)
{
    return (struct axis){low, high, nice_step(high - low, ticks), at_low, at_high, unit};
}

struct axis axis_fit(double low, double high, int ticks, enum unit unit, double at_low,
                     double at_high)
{
    double least = fmax(1e-9, 1e-6 * fmax(fabs(low), fabs(high)));
    if (!(high - low > least)) { /* a constant lies in the middle */
        double pad = low != 0 ? 0.1 * fabs(low) : 1;
        low -= pad;
        high += pad;
    }
    struct axis axis = axis_within(low, high, ticks, unit, at_low, at_high);
    axis.low = floor(low / axis.step + 1e-9) * axis.step;
    axis.high = ceil(high / axis.step - 1e-9) * axis.step;
    return axis;
}

double axis_at(const struct axis *axis, double value)
{
    double part = (value - axis->low) / (axis->high - axis->low);
    return axis->at_low + part * (axis->at_high - axis->at_low);
}

/* As short as the ticks' distance allows. */
static const char *tick_text(const struct axis *axis, double value, char out[NUMBER_TEXT_MAX])
{
    if (axis->unit == UNIT_RATE) {
        return number_text(UNIT_RATE, value, out);
    }
    double scale = axis->unit == UNIT_PERCENT || axis->unit == UNIT_POINTS ? 100 : 1;
    const char *suffix = axis->unit == UNIT_PERCENT ? "%" : "";
    if (axis->unit == UNIT_COUNT && axis->high >= 1e4) {
        scale = axis->high >= 1e7 ? 1e-6 : 1e-3;
        suffix = axis->high >= 1e7 ? "M" : "k";
    }
    char digits[NUMBER_TEXT_MAX];
    double step = scale * axis->step;
    int decimals = step >= 1 ? 0 : (int)ceil(-log10(step) - 1e-9);
    fixed_text(scale * value, decimals < 6 ? decimals : 6, digits);
    bool plus = axis->unit == UNIT_POINTS && value > 0.5 * axis->step;
    snprintf(out, NUMBER_TEXT_MAX, "%s%.32s%s", plus ? "+" : "", digits, suffix);
    return out;
}

void axes_draw(struct buf *out, const struct axis *x, const struct axis *y, const char *x_name)
{
    enum { TICKS_MAX = 24 };
    char label[NUMBER_TEXT_MAX];
    int64_t first = (int64_t)ceil(y->low / y->step - 1e-9);
    for (int i = 0; i < TICKS_MAX; i++) {
        double value = (double)(first + i) * y->step;
        if (value > y->high + 1e-9 * y->step) {
            break;
        }
        double at = axis_at(y, value);
        buf_printf(out, "<path class=\"grid\" d=\"M%.0f %.1fH%.0f\"/>", x->at_low, at, x->at_high);
        buf_printf(out, "<text class=\"tick end\" x=\"%.0f\" y=\"%.1f\">%s</text>", x->at_low - 6,
                   at + 3.5, tick_text(y, value, label));
    }
    first = (int64_t)ceil(x->low / x->step - 1e-9);
    for (int i = 0; i < TICKS_MAX; i++) {
        double value = (double)(first + i) * x->step;
        if (value > x->high + 1e-9 * x->step) {
            break;
        }
        double at = axis_at(x, value);
        if (at > x->at_high - 36 && x_name[0] != '\0') {
            break; /* there stands the axis' name */
        }
        buf_printf(out, "<text class=\"tick middle\" x=\"%.1f\" y=\"%.0f\">%s</text>", at,
                   y->at_low + 17, tick_text(x, value, label));
    }
    buf_printf(out, "<text class=\"tick end\" x=\"%.0f\" y=\"%.0f\">%s</text>", x->at_high,
               y->at_low + 17, x_name);
}

/* ---- buckets --------------------------------------------------------------------------------- */

/* Means over equal parts of the step axis; count 0: no value there. */
struct buckets {
    double step[BUCKETS], raw[BUCKETS], smooth[BUCKETS];
    int64_t count[BUCKETS];
    double last; /* of the average */
};

static void buckets_fill(struct buckets *buckets, const struct series *series, double step_max)
{
    *buckets = (struct buckets){.last = NAN};
    double weight = 2.0 / (1 + fmax(1, (double)series->count / SMOOTHING_PARTS)), average = 0;
    for (int64_t i = 0; i < series->count; i++) {
        average = i == 0 ? series->value[i] : average + weight * (series->value[i] - average);
        int bucket = (int)(series->step[i] / step_max * BUCKETS);
        bucket = bucket < BUCKETS ? bucket : BUCKETS - 1;
        buckets->count[bucket]++;
        buckets->step[bucket] += series->step[i];
        buckets->raw[bucket] += series->value[i];
        buckets->smooth[bucket] += average;
        buckets->last = average;
    }
    for (int b = 0; b < BUCKETS; b++) {
        double n = (double)buckets->count[b];
        if (n == 0) {
            continue;
        }
        buckets->step[b] /= n;
        buckets->raw[b] /= n;
        buckets->smooth[b] /= n;
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Widens low … high by one series. */
static void widen(const struct chart_series *series, const struct buckets *buckets, double *low,
                  double *high)
{
    double raw[BUCKETS];
    int count = 0;
    for (int b = 0; b < BUCKETS; b++) {
        if (buckets->count[b] == 0) {
            continue;
        }
        double strong = series->look == LOOK_SMOOTH ? buckets->smooth[b] : buckets->raw[b];
        raw[count++] = buckets->raw[b];
        *low = fmin(*low, strong);
        *high = fmax(*high, strong);
    }
    if (count == 0) {
        return;
    }
    qsort(raw, (size_t)count, sizeof(raw[0]), compare_doubles);
    int skipped = (int)(OUTERMOST * count);
    *low = fmin(*low, raw[skipped]);
    *high = fmax(*high, raw[count - 1 - skipped]);
}

/* ---- drawing --------------------------------------------------------------------------------- */

static void line_draw(struct buf *out, const char *classes, const struct buckets *buckets,
                      const double *values, const struct axis *x, const struct axis *y)
{
    char command = 'M';
    buf_printf(out, "<path class=\"%s\" d=\"", classes);
    for (int b = 0; b < BUCKETS; b++) {
        if (buckets->count[b] == 0) {
            continue;
        }
        buf_printf(out, "%c%.1f %.1f", command, axis_at(x, buckets->step[b]),
                   axis_at(y, values[b]));
        command = 'L';
    }
    buf_append_string(out, "\"/>");
}

static void series_draw(struct buf *out, const struct chart_series *series,
                        const struct buckets *buckets, const struct axis *x, const struct axis *y)
{
    char classes[64];
    if (series->look == LOOK_SMOOTH) {
        snprintf(classes, sizeof(classes), "line faint %s", series->style);
        line_draw(out, classes, buckets, buckets->raw, x, y);
    }
    snprintf(classes, sizeof(classes), "line %s", series->style);
    line_draw(out, classes, buckets, series->look == LOOK_SMOOTH ? buckets->smooth : buckets->raw,
              x, y);
    if (series->look != LOOK_DOTS) {
        return;
    }
    for (int b = 0; b < BUCKETS; b++) {
        if (buckets->count[b] > 0) {
            mark_draw(out, series->style, axis_at(x, buckets->step[b]), axis_at(y, buckets->raw[b]),
                      2.6);
        }
    }
}

/* The strip of one bucket: what it is, and where. */
static void strip_draw(struct buf *out, const struct chart *chart, const struct buckets *buckets,
                       int b, const struct axis *x)
{
    char number[NUMBER_TEXT_MAX];
    struct buf text = {0};
    double step = 0;
    for (int s = 0; s < chart->count; s++) {
        if (buckets[s].count[b] == 0) {
            continue;
        }
        if (text.length == 0) {
            step = buckets[s].step[b];
            buf_printf(&text, "step %.0f", step);
        }
        buf_printf(&text, " \xc2\xb7 %s %s", chart->series[s].label,
                   number_text(chart->unit, buckets[s].raw[b], number));
    }
    if (text.length > 0) {
        double width = (x->at_high - x->at_low) / BUCKETS;
        buf_printf(out,
                   "<g class=\"hit\"><rect x=\"%.1f\" y=\"0\" width=\"%.1f\" height=\"%d\"/>"
                   "<path class=\"cursor\" d=\"M%.1f %dV%d\"/>"
                   "<text class=\"tip\" x=\"%d\" y=\"9\">%s</text><title>%s</title></g>",
                   x->at_low + b * width, width, BOTTOM, axis_at(x, step), TOP, BOTTOM, LEFT,
                   text.data, text.data);
    }
    buf_release(&text);
}

static void legend_draw(struct buf *out, const struct chart *chart, const struct buckets *buckets,
                        const struct report_run *run)
{
    char number[NUMBER_TEXT_MAX];
    buf_printf(out, "<figcaption><b>%s</b><span class=\"legend\">", chart->title);
    for (int s = 0; s < chart->count; s++) {
        if (run->series[chart->series[s].id].count > 0) {
            buf_printf(out, "<span><i class=\"key %s\"></i>%s <em>%s</em></span>",
                       chart->series[s].style, chart->series[s].label,
                       number_text(chart->unit, buckets[s].last, number));
        }
    }
    buf_append_string(out, "</span></figcaption>");
}

void chart_draw(struct buf *out, const struct chart *chart, const struct report_run *run)
{
    CHECK(chart->count <= CHART_SERIES_MAX);
    struct buckets buckets[CHART_SERIES_MAX];
    double low = INFINITY, high = -INFINITY, step_max = fmax(run->step_max, 1);
    for (int s = 0; s < chart->count; s++) {
        const struct series *series = &run->series[chart->series[s].id];
        buckets_fill(&buckets[s], series, step_max);
        if (chart->series[s].look != LOOK_SMOOTH && series->count > 0) {
            buckets[s].last = series->value[series->count - 1];
        }
        widen(&chart->series[s], &buckets[s], &low, &high);
    }
    if (low > high) {
        return;
    }
    struct axis y = axis_fit(low, high, TICKS, chart->unit, BOTTOM, TOP);
    struct axis x = axis_within(0, step_max, TICKS + 1, UNIT_COUNT, LEFT, RIGHT);
    x.step = fmax(x.step, 1);
    buf_append_string(out, "<figure class=\"card chart\">");
    legend_draw(out, chart, buckets, run);
    buf_printf(
        out,
        "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s over steps\">"
        "<clipPath id=\"%s\"><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/></clipPath>",
        WIDTH, HEIGHT, chart->title, chart->id, LEFT - 4, TOP - 4, RIGHT - LEFT + 8,
        BOTTOM - TOP + 8);
    axes_draw(out, &x, &y, "step");
    buf_printf(out, "<g clip-path=\"url(#%s)\">", chart->id);
    for (int s = 0; s < chart->count; s++) {
        if (run->series[chart->series[s].id].count > 0) {
            series_draw(out, &chart->series[s], &buckets[s], &x, &y);
        }
    }
    buf_append_string(out, "</g>");
    for (int b = 0; b < BUCKETS; b++) {
        strip_draw(out, chart, buckets, b, &x);
    }
    buf_append_string(out, "</svg></figure>\n");
}
