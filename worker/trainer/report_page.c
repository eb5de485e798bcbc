/* SPDX-License-Identifier: Apache-2.0
 *
 * report_page: the page, from its first sentence to its foot. What matters to a customer comes
 * first: the verdict in words, four figures, what was found; curves and the spec are for whoever
 * asks why.
 *
 * The page is a pure function of the run's files (no clock), so making it twice gives the same
 * bytes.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/file.h"
#include "lib/json.h"
#include "lib/text.h"
#include "worker/trainer/report_parts.h"

enum { EVENTS_SHOWN_MAX = 60 };

/* ---- the head -------------------------------------------------------------------------------- */

static const char *run_name(const struct report_run *run)
{
    const char *name = json_text_of(run->result, "name");
    if (name == NULL) {
        name = json_text_of(run->spec, "name");
    }
    if (name == NULL) {
        name = path_base(run->dir);
    }
    return name[0] != '\0' ? name : run->dir;
}

static const char *fact(const struct report_run *run, const char *key)
{
    const char *text = json_text_of(run->result, key);
    return text != NULL ? text : json_text_of(run->spec, key);
}

static void head_draw(struct buf *out, const struct report_run *run)
{
    const char *name = run_name(run);
    buf_append_string(out,
                      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                      "style-src 'unsafe-inline'; img-src data:\">"
                      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                      "<meta name=\"color-scheme\" content=\"light dark\">"
                      "<meta name=\"robots\" content=\"noindex\">"
                      "<link rel=\"icon\" href=\"data:,\"><title>");
    buf_append_html(out, name, strlen(name));
    buf_append_string(out, " \xc2\xb7 tailor report</title><style>\n");
    buf_append_string(out, REPORT_STYLE);
    buf_append_string(out, "</style></head>\n<body><main>\n");
}

static void verdict_draw(struct buf *out, const struct report_run *run)
{
    const char *verdict = json_text_of(json_object_get(run->result, "gate"), "verdict");
    if (run->result == NULL) {
        buf_printf(out, "<span class=\"pill warn\">%s</span>",
                   run->result_damaged ? "result damaged" : "no result yet");
    } else if (verdict != NULL && strcmp(verdict, "passed") == 0) {
        buf_append_string(out, "<span class=\"pill good\">gate passed</span>");
    } else if (verdict != NULL && strcmp(verdict, "held") == 0) {
        buf_append_string(out, "<span class=\"pill bad\">held by the gate</span>");
    } else {
        buf_append_string(out, "<span class=\"pill\">finished</span>");
    }
}

static void title_draw(struct buf *out, const struct report_run *run)
{
    const char *stage = fact(run, "stage"), *from = fact(run, "from");
    buf_append_string(out, "<header><div class=\"top\"><span class=\"brand\">tailor</span>");
    if (stage != NULL) {
        buf_append_string(out, "<span class=\"pill\">");
        html_text(out, stage);
        buf_append_string(out, "</span>");
    }
    verdict_draw(out, run);
    buf_append_string(out, "</div><h1>");
    html_text(out, run_name(run));
    buf_append_string(out, "</h1>");
    if (from != NULL) {
        buf_append_string(out, "<p class=\"from\">started from <code>");
        html_text(out, from);
        buf_append_string(out, "</code></p>");
    }
    buf_append_string(out, "</header>\n");
}

/* ---- the verdict in words -------------------------------------------------------------------- */

/* "+7.7 (+5.1 … +10.2)" */
static const char *change_text(const json_t *difference, char out[3 * NUMBER_TEXT_MAX])
{
    char value[NUMBER_TEXT_MAX], low[NUMBER_TEXT_MAX], high[NUMBER_TEXT_MAX];
    struct range range = json_range_of(difference, "interval");
    number_text(UNIT_POINTS, json_number_of(difference, "accuracy"), value);
    if (!isfinite(range.low) || !isfinite(range.high)) {
        snprintf(out, 3 * NUMBER_TEXT_MAX, "%s points", value);
        return out;
    }
    snprintf(out, 3 * NUMBER_TEXT_MAX, "%s points (%s \xe2\x80\xa6 %s)", value,
             number_text(UNIT_POINTS, range.low, low), number_text(UNIT_POINTS, range.high, high));
    return out;
}

/* 1 better, −1 worse, 0 not to be told from chance. */
static int direction(const json_t *difference)
{
    struct range range = json_range_of(difference, "interval");
    return range.low > 0 ? 1 : range.high < 0 ? -1 : 0;
}

static void lede_of_kind(struct buf *out, const json_t *result, bool general,
                         const json_t *difference)
{
    char after[NUMBER_TEXT_MAX], change[3 * NUMBER_TEXT_MAX];
    static const char *const words[] = {"a loss", "which may be chance", "a gain"};
    buf_printf(out, "%s taste is met in <b>%s</b> of the pairs: %s against before, <b>%s</b>. ",
               general ? "General" : "The customer\xe2\x80\x99s",
               number_text(UNIT_PERCENT, pooled_accuracy(result, general, "after"), after),
               change_text(difference, change), words[direction(difference) + 1]);
}

static void lede_draw(struct buf *out, const struct report_run *run)
{
    const json_t *custom = json_object_get(run->result, "custom_gain");
    const json_t *general = json_object_get(run->result, "general_preservation");
    if (run->result == NULL) {
        buf_append_string(out,
                          "<p class=\"lede\">This run has no result yet: it is still going, or "
                          "was stopped before its end. What follows is what it has written so "
                          "far.</p>\n");
        return;
    }
    if (!json_is_object(custom) && !json_is_object(general)) {
        return;
    }
    buf_append_string(out, "<p class=\"lede\">");
    if (json_is_object(custom)) {
        lede_of_kind(out, run->result, false, custom);
    }
    if (json_is_object(general)) {
        lede_of_kind(out, run->result, true, general);
    }
    buf_append_string(out, "</p>\n");
}

/* ---- figures at a glance --------------------------------------------------------------------- */

static void kpi_draw(struct buf *out, const char *what, const char *big, const char *sub,
                     int judged)
{
    static const char *const classes[] = {"bad", "", "good"};
    buf_printf(out, "<div class=\"card kpi\"><h3>%s</h3><p class=\"big\">%s</p>", what, big);
    buf_printf(out, "<p class=\"sub %s\">%s</p></div>\n", classes[judged + 1], sub);
}

static void kpi_accuracy(struct buf *out, const struct report_run *run, bool general)
{
    const json_t *difference =
        json_object_get(run->result, general ? "general_preservation" : "custom_gain");
    char value[NUMBER_TEXT_MAX], change[3 * NUMBER_TEXT_MAX];
    double accuracy = pooled_accuracy(run->result, general, "after");
    if (!isfinite(accuracy)) {
        return;
    }
    kpi_draw(out, general ? "General accuracy" : "Custom accuracy",
             number_text(UNIT_PERCENT, accuracy, value),
             json_is_object(difference) ? change_text(difference, change) : "before: see below",
             direction(difference));
}

/* Without a result: where the curves stand. */
static void kpi_latest(struct buf *out, const struct report_run *run, enum series_id id,
                       const char *what, enum unit unit)
{
    const struct series *series = &run->series[id];
    char value[NUMBER_TEXT_MAX], sub[64];
    if (series->count == 0) {
        return;
    }
    snprintf(sub, sizeof(sub), "at step %.0f", series->step[series->count - 1]);
    kpi_draw(out, what, number_text(unit, series->value[series->count - 1], value), sub, 0);
}

static void kpi_training(struct buf *out, const struct report_run *run)
{
    const json_t *result = run->result;
    double steps = result != NULL ? json_number_of(result, "steps") : run->step_max;
    double tokens = result != NULL ? json_number_of(result, "tokens") : (double)run->tokens;
    double seconds = json_number_of(result, "seconds"), best = json_number_of(result, "best_step");
    char value[NUMBER_TEXT_MAX + 8], count[16], time_text[16], rate[16], sub[160];
    if (!(steps >= 0) || (result == NULL && run->step_max == 0)) {
        return;
    }
    char number[NUMBER_TEXT_MAX];
    snprintf(value, sizeof(value), "%s steps", number_text(UNIT_EXACT, steps, number));
    format_count(tokens, count);
    snprintf(sub, sizeof(sub), "%s tokens", isfinite(tokens) ? count : "unknown");
    if (seconds > 0 && isfinite(tokens)) {
        format_duration(seconds, time_text);
        format_count(tokens / seconds, rate);
        snprintf(sub, sizeof(sub), "%s \xc2\xb7 %s tokens/s", time_text, rate);
    }
    size_t used = strlen(sub);
    if (best > 0 && best != steps) {
        snprintf(sub + used, sizeof(sub) - used, "<small>the model is that of step %.0f</small>",
                 best);
    }
    kpi_draw(out, "Training", value, sub, 0);
}

static void kpi_mix(struct buf *out, const struct report_run *run)
{
    const json_t *mix = json_object_get(run->result, "mix");
    double share = json_number_of(mix, "general_share_of_pairs");
    double own = json_number_of(mix, "own_pairs"), general = json_number_of(mix, "general_pairs");
    char value[NUMBER_TEXT_MAX], own_text[16], general_text[16], sub[96];
    if (!isfinite(own) || !isfinite(general) || own + general == 0) {
        return;
    }
    format_count(own, own_text);
    format_count(general, general_text);
    if (general > 0) {
        snprintf(sub, sizeof(sub), "%s own pairs, %s general ones", own_text, general_text);
        kpi_draw(out, "General share of the mix", number_text(UNIT_PERCENT, share, value), sub, 0);
        return;
    }
    kpi_draw(out, "Trained on", own_text, "pairs, with repeats", 0);
}

static void kpis_draw(struct buf *out, const struct report_run *run)
{
    buf_append_string(out, "<div class=\"kpis\">\n");
    if (run->result != NULL) {
        kpi_accuracy(out, run, false);
        kpi_accuracy(out, run, true);
        kpi_mix(out, run);
    } else {
        kpi_latest(out, run, SERIES_LOSS, "Training loss", UNIT_PLAIN);
        kpi_latest(out, run, SERIES_EVAL_CUSTOM, "Custom accuracy, sample", UNIT_PERCENT);
        kpi_latest(out, run, SERIES_EVAL_GENERAL, "General accuracy, sample", UNIT_PERCENT);
    }
    kpi_training(out, run);
    buf_append_string(out, "</div>\n");
}

/* ---- sentences ------------------------------------------------------------------------------- */

static bool event_is_finding(const json_t *event)
{
    const char *kind = json_text_of(event, "event");
    return kind != NULL && strcmp(kind, "checkpoint") != 0 && strcmp(kind, "resume") != 0;
}

static void callouts_draw(struct buf *out, const char *classes, const char *label,
                          const json_t *sentences)
{
    if (json_array_size(sentences) == 0) {
        return;
    }
    buf_printf(out, "<ul class=\"callouts%s\">", classes);
    for (size_t i = 0; i < json_array_size(sentences); i++) {
        const char *text = json_string_value(json_array_get(sentences, i));
        if (text == NULL) {
            continue;
        }
        buf_printf(out, "<li><b>%s</b>", label);
        html_text(out, text);
        buf_append_string(out, "</li>");
    }
    buf_append_string(out, "</ul>\n");
}

static void sentences_draw(struct buf *out, const struct report_run *run)
{
    callouts_draw(out, " quiet", "Gate", json_at(run->result, "gate.reasons"));
    if (run->result != NULL) {
        callouts_draw(out, "", "Look at this", json_object_get(run->result, "findings"));
    } else {
        json_t *said = json_array();
        for (size_t i = 0; i < json_array_size(run->events); i++) {
            json_t *event = json_array_get(run->events, i);
            if (event_is_finding(event) && json_text_of(event, "text") != NULL) {
                json_array_append(said, json_object_get(event, "text"));
            }
        }
        callouts_draw(out, "", "Look at this", said);
        json_decref(said);
    }
    callouts_draw(out, " quiet", "Note", run->notes);
}

/* ---- the spec -------------------------------------------------------------------------------- */

static void value_draw(struct buf *out, const json_t *value)
{
    if (json_is_string(value)) {
        html_text(out, json_string_value(value));
        return;
    }
    struct buf text = {0};
    json_append(&text, value);
    html_text(out, text.data);
    buf_release(&text);
}

/* Rows "key value" of an object; inner objects and lists of objects go on as "outer.inner". */
static void rows_draw(struct buf *out, const char *prefix, const json_t *value)
{
    char path[256];
    if (json_is_null(value) || (json_is_array(value) && json_array_size(value) == 0)) {
        return;
    }
    if (json_is_object(value)) {
        for (void *at = json_object_iter((json_t *)value); at != NULL;
             at = json_object_iter_next((json_t *)value, at)) {
            snprintf(path, sizeof(path), "%s%s%s", prefix, prefix[0] != '\0' ? "." : "",
                     json_object_iter_key(at));
            rows_draw(out, path, json_object_iter_value(at));
        }
        return;
    }
    if (json_is_array(value) && json_is_object(json_array_get(value, 0))) {
        for (size_t i = 0; i < json_array_size(value); i++) {
            snprintf(path, sizeof(path), "%s[%zu]", prefix, i);
            rows_draw(out, path, json_array_get(value, i));
        }
        return;
    }
    buf_append_string(out, "<dt>");
    html_text(out, prefix);
    buf_append_string(out, "</dt><dd>");
    value_draw(out, value);
    buf_append_string(out, "</dd>");
}

static void facts_card(struct buf *out, const char *name, const char *rows)
{
    if (rows == NULL || rows[0] == '\0') {
        return;
    }
    buf_append_string(out, "<section class=\"card\"><h3>");
    html_text(out, name);
    buf_printf(out, "</h3><dl>");
    buf_append_string(out, rows);
    buf_append_string(out, "</dl></section>\n");
}

/* What has no section of its own, then each section of the spec. */
static void spec_draw(struct buf *out, const struct report_run *run)
{
    if (run->spec == NULL) {
        return;
    }
    struct buf rows = {0};
    buf_append_string(out, "<h2>What was asked for</h2><p class=\"about\">The resolved spec: every "
                           "value that was used, defaults included.</p><div class=\"facts\">\n");
    for (int sections = 0; sections < 2; sections++) {
        for (void *at = json_object_iter(run->spec); at != NULL;
             at = json_object_iter_next(run->spec, at)) {
            const char *key = json_object_iter_key(at);
            const json_t *value = json_object_iter_value(at);
            if (json_is_object(value) != (sections == 1)) {
                continue;
            }
            rows_draw(&rows, sections == 1 ? "" : key, value);
            if (sections == 0) {
                continue;
            }
            facts_card(out, key, rows.data);
            buf_clear(&rows);
        }
        if (sections == 0) {
            const char *numerics = json_text_of(run->result, "numerics");
            if (numerics != NULL) {
                buf_append_string(&rows, "<dt>numerics</dt><dd>");
                html_text(&rows, numerics);
                buf_append_string(&rows, "</dd>");
            }
            facts_card(out, "job", rows.data);
            buf_clear(&rows);
        }
    }
    buf_append_string(out, "</div>\n");
    buf_release(&rows);
}

/* ---- events ---------------------------------------------------------------------------------- */

/* "2026-03-01 14:05", UTC; empty when unknown. */
static const char *event_time(const json_t *event, char out[32])
{
    const json_t *value = json_object_get(event, "time");
    time_t seconds = (time_t)json_integer_value(value);
    struct tm parts;
    out[0] = '\0';
    if (json_is_integer(value) && gmtime_r(&seconds, &parts) != NULL) {
        strftime(out, 32, "%Y-%m-%d %H:%M", &parts);
    }
    return out;
}

static void event_draw(struct buf *out, const json_t *event)
{
    char time_text[32];
    const char *text = json_text_of(event, "text"), *kind = json_text_of(event, "event");
    buf_printf(out, "<tr><td class=\"time\">%s</td><td class=\"step\">",
               event_time(event, time_text));
    if (isfinite(json_number_of(event, "step"))) {
        buf_printf(out, "step %.0f", json_number_of(event, "step"));
    }
    buf_append_string(out, "</td><td class=\"text\">");
    html_text(out, text != NULL ? text : kind != NULL ? kind : "");
    buf_append_string(out, "</td></tr>\n");
}

/* Checkpoints are many and say nothing one by one. */
static void events_draw(struct buf *out, const struct report_run *run)
{
    size_t count = json_array_size(run->events), checkpoints = 0, shown = 0;
    double last_checkpoint = 0;
    struct buf rows = {0};
    for (size_t i = count; i-- > 0;) {
        const json_t *event = json_array_get(run->events, i);
        const char *kind = json_text_of(event, "event");
        if (kind != NULL && strcmp(kind, "checkpoint") == 0) {
            if (checkpoints++ == 0) {
                last_checkpoint = json_number_of(event, "step");
            }
        } else if (shown++ < EVENTS_SHOWN_MAX) {
            event_draw(&rows, event);
        }
    }
    if (count > 0) {
        buf_append_string(out, "<h2>Events</h2><p class=\"about\">Newest first, times in UTC.");
        if (checkpoints > 0) {
            buf_printf(out, " %zu checkpoint%s written, the last at step %.0f.", checkpoints,
                       checkpoints == 1 ? " was" : "s were", last_checkpoint);
        }
        if (shown > EVENTS_SHOWN_MAX) {
            buf_printf(out, " %zu older ones are in events.jsonl.", shown - EVENTS_SHOWN_MAX);
        }
        buf_append_string(out, "</p>");
    }
    if (shown > 0) {
        buf_append_string(out, "<div class=\"card events\"><table>");
        buf_append(out, rows.data, rows.length);
        buf_append_string(out, "</table></div>\n");
    }
    buf_release(&rows);
}

void page_draw(struct buf *out, const struct report_run *run)
{
    head_draw(out, run);
    title_draw(out, run);
    lede_draw(out, run);
    kpis_draw(out, run);
    sentences_draw(out, run);
    sets_draw(out, run);
    curves_draw(out, run);
    spec_draw(out, run);
    events_draw(out, run);
    buf_append_string(out, "<footer>Made by tailor " TAILOR_VERSION " from <code>");
    html_text(out, run->dir);
    buf_append_string(out, "</code>. One file, no script, nothing loaded from elsewhere.</footer>\n"
                           "</main></body></html>\n");
}
