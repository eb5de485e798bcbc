/* SPDX-License-Identifier: Apache-2.0
 *
 * report_diagram: the drawings that are not curves over steps: before and after with intervals, the
 * reliability of confidences, and what the gain in one taste cost in the other.
 *
 * Kinds differ by shape as well as by colour (custom round, general a diamond, before hollow), so
 * that a print in grey and a colour-blind reader lose nothing.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "worker/trainer/report_parts.h"

void mark_draw(struct buf *out, const char *style, double x, double y, double radius)
{
    if (strstr(style, "general") != NULL) {
        buf_printf(out, "<path class=\"mark %s\" d=\"M%.1f %.1fl%.1f %.1f %.1f %.1f %.1f %.1fz\"/>",
                   style, x, y - 1.3 * radius, 1.3 * radius, 1.3 * radius, -1.3 * radius,
                   1.3 * radius, -1.3 * radius, -1.3 * radius);
    } else {
        buf_printf(out, "<circle class=\"mark %s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>", style, x,
                   y, radius);
    }
}

/* ---- before and after ------------------------------------------------------------------------ */

static void whisker_row(struct buf *out, const char *style, const char *name, const json_t *figures,
                        const struct axis *x, double y)
{
    char value[NUMBER_TEXT_MAX], low[NUMBER_TEXT_MAX], high[NUMBER_TEXT_MAX];
    struct range range = json_range_of(figures, "accuracy_interval");
    double accuracy = json_number_of(figures, "accuracy");
    if (!isfinite(accuracy)) {
        return;
    }
    buf_append_string(out, "<g>");
    if (isfinite(range.low) && isfinite(range.high)) {
        buf_printf(out, "<path class=\"whisker %s\" d=\"M%.1f %.1fH%.1f\"/>", style,
                   axis_at(x, range.low), y, axis_at(x, range.high));
    }
    mark_draw(out, style, axis_at(x, accuracy), y, 4);
    buf_printf(out, "<title>%s: %s (%s \xe2\x80\xa6 %s)</title></g>", name,
               number_text(UNIT_PERCENT, accuracy, value),
               number_text(UNIT_PERCENT, range.low, low),
               number_text(UNIT_PERCENT, range.high, high));
}

void whisker_draw(struct buf *out, const char *style, const json_t *before, const json_t *after,
                  double low, double high)
{
    enum { WIDTH = 200, HEIGHT = 32 };
    struct axis x = axis_within(low, high, 4, UNIT_PERCENT, 6, WIDTH - 6);
    char hollow[64];
    snprintf(hollow, sizeof(hollow), "%s hollow", style);
    buf_printf(out,
               "<svg class=\"whiskers\" viewBox=\"0 0 %d %d\" role=\"img\" "
               "aria-label=\"accuracy before and after with intervals\">",
               WIDTH, HEIGHT);
    for (int i = 0; i <= 20; i++) {
        double value = (ceil(low / x.step) + i) * x.step;
        if (value > high) {
            break;
        }
        buf_printf(out, "<path class=\"grid\" d=\"M%.1f 0V%d\"/>", axis_at(&x, value), HEIGHT);
    }
    whisker_row(out, hollow, "before", before, &x, 9);
    whisker_row(out, style, "after", after, &x, 23);
    buf_append_string(out, "</svg>");
}

/* ---- reliability ----------------------------------------------------------------------------- */

static double bins_pairs(const json_t *bins)
{
    double pairs = 0;
    for (size_t b = 0; b < json_array_size(bins); b++) {
        pairs += fmax(0, json_number_of(json_array_get(bins, b), "count"));
    }
    return pairs;
}

static void reliability_points(struct buf *out, const char *style, const char *name,
                               const json_t *bins, const struct axis *x, const struct axis *y)
{
    double pairs = bins_pairs(bins);
    char command = 'M';
    buf_printf(out, "<path class=\"line %s\" d=\"", style);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t b = 0; b < json_array_size(bins); b++) {
            const json_t *bin = json_array_get(bins, b);
            double count = json_number_of(bin, "count"), said = json_number_of(bin, "confidence");
            double was = json_number_of(bin, "correct");
            char said_text[NUMBER_TEXT_MAX], was_text[NUMBER_TEXT_MAX];
            if (!(count > 0 && said >= 0 && said <= 1 && was >= 0 && was <= 1)) {
                continue;
            }
            if (pass == 0) {
                buf_printf(out, "%c%.1f %.1f", command, axis_at(x, said), axis_at(y, was));
                command = 'L';
                continue;
            }
            buf_append_string(out, "<g>");
            mark_draw(out, style, axis_at(x, said), axis_at(y, was), 2 + 5 * sqrt(count / pairs));
            buf_printf(out, "<title>%s: %.0f pairs, confidence %s, right %s</title></g>", name,
                       count, number_text(UNIT_PERCENT, said, said_text),
                       number_text(UNIT_PERCENT, was, was_text));
        }
        if (pass == 0) {
            buf_append_string(out, "\"/>");
        }
    }
}

/* The axis begins at 40 %, or at the tenth below the worst bin. */
static double lowest_correct(const json_t *bins)
{
    double low = 0.4;
    for (size_t b = 0; b < json_array_size(bins); b++) {
        const json_t *bin = json_array_get(bins, b);
        if (json_number_of(bin, "count") > 0) {
            low = fmin(low, floor(10 * json_number_of(bin, "correct")) / 10);
        }
    }
    return fmax(low, 0);
}

void reliability_draw(struct buf *out, const char *style, const json_t *before, const json_t *after)
{
    enum { WIDTH = 340, HEIGHT = 230, LEFT = 40, RIGHT = 328, TOP = 10, BOTTOM = 200 };
    struct axis x = axis_within(0.5, 1, 5, UNIT_PERCENT, LEFT, RIGHT);
    const json_t *bins_before = json_object_get(before, "bins");
    const json_t *bins_after = json_object_get(after, "bins");
    double low = fmin(lowest_correct(bins_before), lowest_correct(bins_after));
    struct axis y = axis_within(low, 1, 5, UNIT_PERCENT, BOTTOM, TOP);
    char hollow[64];
    snprintf(hollow, sizeof(hollow), "%s hollow", style);
    buf_printf(out,
               "<svg viewBox=\"0 0 %d %d\" role=\"img\" "
               "aria-label=\"share of right pairs over confidence\">",
               WIDTH, HEIGHT);
    axes_draw(out, &x, &y, "");
    buf_printf(out, "<path class=\"ideal\" d=\"M%.1f %.1fL%.1f %.1f\"/>", axis_at(&x, 0.5),
               axis_at(&y, 0.5), axis_at(&x, 1), axis_at(&y, 1));
    reliability_points(out, hollow, "before", bins_before, &x, &y);
    reliability_points(out, style, "after", bins_after, &x, &y);
    buf_append_string(out, "</svg>");
}

/* ---- the trade-off --------------------------------------------------------------------------- */

enum { PATH_POINTS_MAX = 400 };

/* What is drawn, as differences from before: general change and custom gain. */
struct tradeoff {
    double path_general[PATH_POINTS_MAX], path_custom[PATH_POINTS_MAX]; /* samples while training */
    int64_t path_step[PATH_POINTS_MAX];
    int path_count;
    bool measured; /* the end, on all pairs */
    double general, custom;
    struct range general_range, custom_range;
    double general_bound, custom_bound; /* of the gate; NaN without */
};

/* Evaluations that have both figures; the first is the origin. */
static void path_read(struct tradeoff *t, const struct report_run *run)
{
    const struct series *general = &run->series[SERIES_EVAL_GENERAL];
    const struct series *custom = &run->series[SERIES_EVAL_CUSTOM];
    double origin_general = 0, origin_custom = 0;
    int64_t every = general->count / PATH_POINTS_MAX + 1;
    for (int64_t g = 0, c = 0; g < general->count; g++) {
        while (c < custom->count && custom->step[c] < general->step[g]) {
            c++;
        }
        if (c == custom->count || custom->step[c] != general->step[g] ||
            (t->path_count > 0 && g % every != 0)) {
            continue;
        }
        if (t->path_count == 0) {
            origin_general = general->value[g];
            origin_custom = custom->value[c];
        }
        t->path_step[t->path_count] = (int64_t)general->step[g];
        t->path_general[t->path_count] = general->value[g] - origin_general;
        t->path_custom[t->path_count++] = custom->value[c] - origin_custom;
        if (t->path_count == PATH_POINTS_MAX) {
            break;
        }
    }
}

static void tradeoff_read(struct tradeoff *t, const struct report_run *run)
{
    const json_t *general = json_object_get(run->result, "general_preservation");
    const json_t *custom = json_object_get(run->result, "custom_gain");
    *t = (struct tradeoff){0};
    path_read(t, run);
    t->general = json_number_of(general, "accuracy");
    t->custom = json_number_of(custom, "accuracy");
    t->general_range = json_range_of(general, "interval");
    t->custom_range = json_range_of(custom, "interval");
    t->measured = isfinite(t->general) && isfinite(t->custom);
    t->general_bound = -json_number_of(json_object_get(run->spec, "gate"), "general_drop_max");
    t->custom_bound = json_number_of(json_at(run->spec, "gate"), "custom_gain_min");
}

static struct axis tradeoff_axis(const double *path, int count, double value, struct range range,
                                 double at_low, double at_high)
{
    double low = 0, high = 0;
    for (int i = 0; i < count; i++) {
        low = fmin(low, path[i]);
        high = fmax(high, path[i]);
    }
    /* fmin and fmax pass over NaN */
    low = fmin(fmin(low, value), range.low);
    high = fmax(fmax(high, value), range.high);
    double pad = fmax(0.005, 0.08 * (high - low));
    return axis_fit(low - pad, high + pad, 5, UNIT_POINTS, at_low, at_high);
}

/* Where the gate is content: right of one bound, above the other. */
static void gate_region_draw(struct buf *out, const struct tradeoff *t, const struct axis *x,
                             const struct axis *y)
{
    if (!isfinite(t->general_bound) || !isfinite(t->custom_bound)) {
        return;
    }
    double left = axis_at(x, fmax(x->low, t->general_bound));
    double bottom = axis_at(y, fmax(y->low, t->custom_bound));
    if (left >= x->at_high || bottom <= y->at_high) {
        return;
    }
    buf_printf(out,
               "<rect class=\"region\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>"
               "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\">the gate passes here</text>",
               left, y->at_high, x->at_high - left, bottom - y->at_high, left + 7, bottom - 8);
}

static void path_draw(struct buf *out, const struct tradeoff *t, const struct axis *x,
                      const struct axis *y)
{
    char general[NUMBER_TEXT_MAX], custom[NUMBER_TEXT_MAX];
    if (t->path_count < 2) {
        return;
    }
    buf_append_string(out, "<path class=\"line faint custom\" d=\"");
    for (int i = 0; i < t->path_count; i++) {
        buf_printf(out, "%c%.1f %.1f", i == 0 ? 'M' : 'L', axis_at(x, t->path_general[i]),
                   axis_at(y, t->path_custom[i]));
    }
    buf_append_string(out, "\"/>");
    for (int i = 0; i < t->path_count; i++) {
        buf_append_string(out, "<g>");
        mark_draw(out, "custom hollow", axis_at(x, t->path_general[i]),
                  axis_at(y, t->path_custom[i]), 2.4);
        buf_printf(out, "<title>step %lld, on the sample: general %s, custom %s points</title></g>",
                   (long long)t->path_step[i],
                   number_text(UNIT_POINTS, t->path_general[i], general),
                   number_text(UNIT_POINTS, t->path_custom[i], custom));
    }
}

static void end_draw(struct buf *out, const struct tradeoff *t, const struct axis *x,
                     const struct axis *y)
{
    char general[NUMBER_TEXT_MAX], custom[NUMBER_TEXT_MAX];
    double at_x = axis_at(x, t->general), at_y = axis_at(y, t->custom);
    buf_append_string(out, "<g>");
    if (isfinite(t->general_range.low) && isfinite(t->general_range.high)) {
        buf_printf(out, "<path class=\"whisker general\" d=\"M%.1f %.1fH%.1f\"/>",
                   axis_at(x, t->general_range.low), at_y, axis_at(x, t->general_range.high));
    }
    if (isfinite(t->custom_range.low) && isfinite(t->custom_range.high)) {
        buf_printf(out, "<path class=\"whisker custom\" d=\"M%.1f %.1fV%.1f\"/>", at_x,
                   axis_at(y, t->custom_range.low), axis_at(y, t->custom_range.high));
    }
    mark_draw(out, "custom", at_x, at_y, 6);
    buf_printf(out, "<title>after, on all pairs: general %s, custom %s points</title></g>",
               number_text(UNIT_POINTS, t->general, general),
               number_text(UNIT_POINTS, t->custom, custom));
}

bool tradeoff_draw(struct buf *out, const struct report_run *run)
{
    enum { WIDTH = 360, HEIGHT = 270, LEFT = 40, RIGHT = 350, TOP = 22, BOTTOM = 236 };
    struct tradeoff t;
    tradeoff_read(&t, run);
    if (!t.measured && t.path_count < 2) {
        return false;
    }
    struct axis x =
        tradeoff_axis(t.path_general, t.path_count, t.general, t.general_range, LEFT, RIGHT);
    struct axis y =
        tradeoff_axis(t.path_custom, t.path_count, t.custom, t.custom_range, BOTTOM, TOP);
    buf_printf(out,
               "<svg viewBox=\"0 0 %d %d\" role=\"img\" "
               "aria-label=\"custom gain over general change, in points\">",
               WIDTH, HEIGHT);
    gate_region_draw(out, &t, &x, &y);
    axes_draw(out, &x, &y, "");
    buf_printf(out,
               "<path class=\"zero\" d=\"M%.1f %dV%d\"/><path class=\"zero\" d=\"M%d %.1fH%d\"/>",
               axis_at(&x, 0), TOP, BOTTOM, LEFT, axis_at(&y, 0), RIGHT);
    path_draw(out, &t, &x, &y);
    buf_append_string(out, "<g>");
    mark_draw(out, "before", axis_at(&x, 0), axis_at(&y, 0), 4);
    buf_append_string(out, "<title>before training</title></g>");
    if (t.measured) {
        end_draw(out, &t, &x, &y);
    }
    buf_printf(out,
               "<text class=\"tick middle\" x=\"%d\" y=\"%d\">general change, points</text>"
               "<text class=\"tick\" x=\"4\" y=\"10\">custom gain, points</text></svg>",
               (LEFT + RIGHT) / 2, HEIGHT - 2);
    return true;
}
