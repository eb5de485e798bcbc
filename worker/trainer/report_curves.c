/* SPDX-License-Identifier: Apache-2.0
 *
 * report_curves: which curves over steps the page shows. One table; a chart without values is not
 * drawn, so every stage shows what it has.
 */
#include "worker/trainer/report_parts.h"

/* Drawn when `needs` has values and `unless` has none (SERIES_COUNT: no such condition). */
static const struct curve {
    enum series_id needs, unless;
    struct chart chart;
} CURVES[] = {
    {SERIES_RANK_LOSS,
     SERIES_COUNT,
     {"rank",
      "Ranking loss",
      UNIT_PLAIN,
      {{"of batches", "plain", SERIES_RANK_LOSS, LOOK_SMOOTH},
       {"evaluated", "second", SERIES_EVAL_LOSS, LOOK_DOTS}},
      2}},
    {SERIES_LOSS,
     SERIES_RANK_LOSS,
     {"loss",
      "Loss of a token",
      UNIT_PLAIN,
      {{"of batches", "plain", SERIES_LOSS, LOOK_SMOOTH},
       {"evaluated", "second", SERIES_EVAL_LOSS, LOOK_DOTS}},
      2}},
    {SERIES_EVAL_ACCURACY,
     SERIES_COUNT,
     {"evaluated",
      "Accuracy, evaluated",
      UNIT_PERCENT,
      {{"custom", "custom", SERIES_EVAL_CUSTOM, LOOK_DOTS},
       {"general", "general", SERIES_EVAL_GENERAL, LOOK_DOTS}},
      2}},
    {SERIES_OWN_ACCURACY,
     SERIES_COUNT,
     {"parts",
      "Accuracy, of batches",
      UNIT_PERCENT,
      {{"own", "custom", SERIES_OWN_ACCURACY, LOOK_SMOOTH},
       {"general", "general", SERIES_GENERAL_ACCURACY, LOOK_SMOOTH}},
      2}},
    {SERIES_ACCURACY,
     SERIES_OWN_ACCURACY,
     {"batches",
      "Accuracy, of batches",
      UNIT_PERCENT,
      {{"all", "plain", SERIES_ACCURACY, LOOK_SMOOTH}},
      1}},
    {SERIES_MARGIN,
     SERIES_COUNT,
     {"margin",
      "Margin of reward",
      UNIT_PLAIN,
      {{"mean", "plain", SERIES_MARGIN, LOOK_SMOOTH}},
      1}},
    {SERIES_REWARD,
     SERIES_COUNT,
     {"reward", "Reward", UNIT_PLAIN, {{"mean", "plain", SERIES_REWARD, LOOK_SMOOTH}}, 1}},
    {SERIES_LM_LOSS,
     SERIES_COUNT,
     {"imitation",
      "Imitation loss",
      UNIT_PLAIN,
      {{"mean", "plain", SERIES_LM_LOSS, LOOK_SMOOTH}},
      1}},
    {SERIES_GRAD_NORM,
     SERIES_COUNT,
     {"norm",
      "Gradient norm",
      UNIT_PLAIN,
      {{"before clipping", "plain", SERIES_GRAD_NORM, LOOK_SMOOTH}},
      1}},
    {SERIES_LEARNING_RATE,
     SERIES_COUNT,
     {"rate", "Learning rate", UNIT_RATE, {{"used", "plain", SERIES_LEARNING_RATE, LOOK_LINE}}, 1}},
    {SERIES_SPEED,
     SERIES_COUNT,
     {"speed", "Speed", UNIT_COUNT, {{"tokens/s", "plain", SERIES_SPEED, LOOK_SMOOTH}}, 1}},
};

void curves_draw(struct buf *out, const struct report_run *run)
{
    bool any = false;
    buf_append_string(out, "<h2>While training</h2>\n");
    for (size_t i = 0; i < sizeof(CURVES) / sizeof(CURVES[0]); i++) {
        const struct curve *curve = &CURVES[i];
        if (run->series[curve->needs].count == 0 ||
            (curve->unless != SERIES_COUNT && run->series[curve->unless].count > 0)) {
            continue;
        }
        if (!any) {
            buf_append_string(out, "<p class=\"about\">Bold lines are moving averages of the faint "
                                   "ones. Evaluations are on a sample, the same each time.</p>"
                                   "<div class=\"charts\">\n");
        }
        any = true;
        chart_draw(out, &curve->chart, run);
    }
    buf_append_string(out, any ? "</div>\n" : "<p class=\"about\">No step has been logged.</p>\n");
}
