/* SPDX-License-Identifier: Apache-2.0
 *
 * report_sets: before and after, by set; calibration; what the gain cost.
 *
 * A change counts as one (green or red) only where its whole interval is on one side of 0: what may
 * be chance is not coloured.
 */
#include <math.h>
#include <string.h>

#include "worker/trainer/report_parts.h"

enum { RELIABILITY_SETS_MAX = 9 };

double pooled_accuracy(const json_t *result, bool general, const char *when)
{
    const json_t *sets = json_object_get(result, "sets");
    double correct = 0, pairs = 0;
    for (size_t i = 0; i < json_array_size(sets); i++) {
        const json_t *set = json_array_get(sets, i);
        const json_t *figures = json_object_get(set, when);
        double of_set = json_number_of(figures, "pairs");
        if (json_is_true(json_object_get(set, "general")) != general || !(of_set > 0)) {
            continue;
        }
        pairs += of_set;
        correct += json_number_of(figures, "correct");
    }
    return pairs > 0 ? correct / pairs : NAN;
}

static const char *kind_of(const json_t *set)
{
    return json_is_true(json_object_get(set, "general")) ? "general" : "custom";
}

static void set_name_draw(struct buf *out, const json_t *set)
{
    const char *name = json_text_of(set, "name");
    buf_printf(out, "<span class=\"kind %s\"></span>", kind_of(set));
    html_text(out, name != NULL ? name : "unnamed");
}

/* ---- the table ------------------------------------------------------------------------------- */

static void cell_number(struct buf *out, const char *label, enum unit unit, double value)
{
    char text[NUMBER_TEXT_MAX];
    buf_printf(out, "<td data-label=\"%s\">%s</td>", label, number_text(unit, value, text));
}

static void cell_accuracy(struct buf *out, const char *label, const json_t *figures)
{
    char value[NUMBER_TEXT_MAX], low[NUMBER_TEXT_MAX], high[NUMBER_TEXT_MAX];
    struct range range = json_range_of(figures, "accuracy_interval");
    buf_printf(out, "<td data-label=\"%s\"><span>%s", label,
               number_text(UNIT_PERCENT, json_number_of(figures, "accuracy"), value));
    if (isfinite(range.low) && isfinite(range.high)) {
        buf_printf(out, "<small>%s \xe2\x80\xa6 %s</small>", fixed_text(100 * range.low, 1, low),
                   fixed_text(100 * range.high, 1, high));
    }
    buf_append_string(out, "</span></td>");
}

static void cell_change(struct buf *out, const json_t *difference)
{
    char value[NUMBER_TEXT_MAX], low[NUMBER_TEXT_MAX], high[NUMBER_TEXT_MAX];
    struct range range = json_range_of(difference, "interval");
    const char *judged = range.low > 0 ? "good" : range.high < 0 ? "bad" : "";
    buf_printf(out, "<td data-label=\"change\"><span><b class=\"%s\">%s</b>", judged,
               number_text(UNIT_POINTS, json_number_of(difference, "accuracy"), value));
    if (isfinite(range.low) && isfinite(range.high)) {
        buf_printf(out, "<small>%s \xe2\x80\xa6 %s</small>",
                   number_text(UNIT_POINTS, range.low, low),
                   number_text(UNIT_POINTS, range.high, high));
    }
    buf_append_string(out, "</span></td>");
}

/* "0.612 → 0.544" */
static void cell_both(struct buf *out, const char *label, int decimals, double before, double after)
{
    char was[NUMBER_TEXT_MAX], is[NUMBER_TEXT_MAX];
    buf_printf(out, "<td data-label=\"%s\"><span>%s \xe2\x86\x92 %s</span></td>", label,
               fixed_text(before, decimals, was), fixed_text(after, decimals, is));
}

/* One scale for all sets. */
static struct range accuracy_scale(const json_t *sets)
{
    struct range scale = {INFINITY, -INFINITY};
    static const char *const when[] = {"before", "after"};
    for (size_t i = 0; i < 2 * json_array_size(sets); i++) {
        const json_t *figures = json_object_get(json_array_get(sets, i / 2), when[i % 2]);
        struct range range = json_range_of(figures, "accuracy_interval");
        double accuracy = json_number_of(figures, "accuracy");
        scale.low = fmin(scale.low, fmin(accuracy, range.low));
        scale.high = fmax(scale.high, fmax(accuracy, range.high));
    }
    double pad = fmax(0.01, 0.06 * (scale.high - scale.low));
    scale = (struct range){fmax(0, scale.low - pad), fmin(1, scale.high + pad)};
    return scale.low < scale.high ? scale : (struct range){0, 1};
}

static void row_draw(struct buf *out, const json_t *set, struct range scale)
{
    const json_t *before = json_object_get(set, "before"), *after = json_object_get(set, "after");
    buf_append_string(out, "<tr><td class=\"name\">");
    set_name_draw(out, set);
    buf_printf(out, "<small>%s taste</small></td>", kind_of(set));
    cell_number(out, "pairs", UNIT_EXACT, json_number_of(after, "pairs"));
    cell_accuracy(out, "before", before);
    cell_accuracy(out, "after", after);
    cell_change(out, json_object_get(set, "difference"));
    buf_append_string(out, "<td data-label=\"interval\">");
    whisker_draw(out, kind_of(set), before, after, scale.low, scale.high);
    buf_append_string(out, "</td>");
    cell_both(out, "log-loss", 3, json_number_of(before, "nll"), json_number_of(after, "nll"));
    cell_both(out, "calibration error", 3, json_number_of(before, "ece"),
              json_number_of(after, "ece"));
    buf_append_string(out, "</tr>\n");
}

/* Stage lm has a loss and no pairs. */
static void row_lm_draw(struct buf *out, const json_t *set)
{
    double before = json_number_of(set, "nll_before"), after = json_number_of(set, "nll_after");
    buf_append_string(out, "<tr><td class=\"name\">");
    set_name_draw(out, set);
    buf_append_string(out, "</td>");
    cell_both(out, "loss of a token", 4, before, after);
    cell_both(out, "perplexity", 2, exp(before), exp(after));
    buf_append_string(out, "</tr>\n");
}

static bool sets_are_lm(const json_t *sets)
{
    return json_object_get(json_array_get(sets, 0), "nll_after") != NULL;
}

static void table_draw(struct buf *out, const json_t *sets)
{
    bool lm = sets_are_lm(sets);
    struct range scale = accuracy_scale(sets);
    char low[NUMBER_TEXT_MAX], high[NUMBER_TEXT_MAX];
    buf_append_string(out, "<div class=\"card scroll\"><table class=\"sets\"><thead><tr>");
    if (lm) {
        buf_append_string(out, "<th>Set</th><th>Loss of a token</th><th>Perplexity</th>");
    } else {
        buf_printf(out,
                   "<th>Set</th><th>Pairs</th><th>Before</th><th>After</th><th>Change</th>"
                   "<th><span "
                   "class=\"scale\"><i>%s</i><i>%s</i></span></th><th>Log-loss</th><th>Calibration "
                   "error</th>",
                   number_text(UNIT_PERCENT, scale.low, low),
                   number_text(UNIT_PERCENT, scale.high, high));
    }
    buf_append_string(out, "</tr></thead><tbody>\n");
    for (size_t i = 0; i < json_array_size(sets); i++) {
        if (lm) {
            row_lm_draw(out, json_array_get(sets, i));
        } else {
            row_draw(out, json_array_get(sets, i), scale);
        }
    }
    buf_append_string(out, "</tbody></table></div>\n");
}

/* ---- the trade-off --------------------------------------------------------------------------- */

static void tradeoff_section(struct buf *out, const struct report_run *run)
{
    struct buf drawing = {0};
    if (tradeoff_draw(&drawing, run)) {
        buf_append_string(
            out,
            "<h2>What the gain cost</h2><p class=\"about\">Custom gain over general change, in "
            "points of accuracy. Up is better for the customer, left is general taste "
            "lost.</p><div class=\"card wide\"><div>");
        buf_append(out, drawing.data, drawing.length);
        buf_append_string(out, "</div><div>");
        if (json_is_object(json_object_get(run->result, "custom_gain"))) {
            buf_append_string(out, "<p>The large mark is the finished model on all pairs; its arms "
                                   "are the intervals.</p>");
        }
        buf_append_string(out,
                          "<p>Small marks are evaluations during training, on a sample, so they "
                          "scatter more.</p>");
        if (strstr(drawing.data, "class=\"region\"") != NULL) {
            buf_append_string(out,
                              "<p>The shaded part is where the gate's bounds are met. The gate "
                              "asks that the whole interval lies there, not the mark "
                              "alone.</p>");
        }
        buf_append_string(out, "</div></div>\n");
    }
    buf_release(&drawing);
}

/* ---- calibration ----------------------------------------------------------------------------- */

static void reliability_card(struct buf *out, const json_t *set)
{
    char ece[NUMBER_TEXT_MAX], temperature[NUMBER_TEXT_MAX];
    const json_t *after = json_object_get(set, "after");
    buf_append_string(out, "<figure class=\"card chart\"><figcaption><b>");
    set_name_draw(out, set);
    buf_printf(out, "</b><span class=\"legend\"><span><i class=\"key ring\"></i>before</span>"
                    "<span><i class=\"key dot\"></i>after</span></span></figcaption>");
    reliability_draw(out, kind_of(set), json_object_get(set, "before"), after);
    buf_printf(out,
               "<p class=\"sub\">calibration error %s, fitted temperature %s after</p></figure>\n",
               fixed_text(json_number_of(after, "ece"), 3, ece),
               fixed_text(json_number_of(after, "temperature"), 2, temperature));
}

static void reliability_section(struct buf *out, const json_t *sets)
{
    size_t drawn = 0, possible = 0;
    for (size_t i = 0; i < json_array_size(sets); i++) {
        const json_t *set = json_array_get(sets, i);
        if (json_array_size(json_at(set, "after.bins")) == 0) {
            continue;
        }
        if (possible++ == 0) {
            buf_append_string(
                out,
                "<h2>Calibration</h2><p class=\"about\">When the model is 80 % sure, is it right "
                "80 % of the time? On the dashed line it is; below it, it is too sure. Larger "
                "marks are more pairs.</p><div class=\"charts\">");
        }
        if (drawn == RELIABILITY_SETS_MAX) {
            continue;
        }
        reliability_card(out, set);
        drawn++;
    }
    if (possible > 0) {
        buf_append_string(out, "</div>\n");
    }
    if (possible > drawn) {
        buf_printf(out, "<p class=\"sub\">%zu more sets are in result.json.</p>\n",
                   possible - drawn);
    }
}

void sets_draw(struct buf *out, const struct report_run *run)
{
    const json_t *sets = json_object_get(run->result, "sets");
    if (run->result != NULL && json_array_size(sets) == 0) {
        buf_append_string(out, "<h2>Before and after</h2><p class=\"about\">No set was given to "
                               "evaluate on (data.eval), so nothing can be said about the "
                               "model's accuracy.</p>");
    }
    if (json_array_size(sets) > 0) {
        buf_append_string(out, "<h2>Before and after</h2><p class=\"about\">");
        buf_append_string(
            out, sets_are_lm(sets)
                     ? "The mean loss of a token, in nats; perplexity is its exponential."
                     : "Accuracy is the share of pairs in which the preferred response gets the "
                       "higher reward. Small figures are intervals over prompts; the change is "
                       "paired over the same prompts.");
        buf_append_string(out, "</p>");
        table_draw(out, sets);
    }
    tradeoff_section(out, run);
    reliability_section(out, sets);
}
