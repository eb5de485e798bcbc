/* SPDX-License-Identifier: Apache-2.0
 *
 * Each kind is said once in a run: a person who has read it need not read it again at every step.
 */
#include "worker/trainer/findings.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "lib/log.h"

#define LN_2                       0.69314718055994530942
#define FINDING_FLAT_WIDTH         1e-3
#define FINDING_GENERAL_DROP       0.03
#define FINDING_LENGTH_CORRELATION 0.6
#define FINDING_SOURCE_SHARE       0.95

enum { FINDING_FLAT_STEPS = 50, FINDING_SOURCE_STEPS = 20 };

static const char *const KIND_NAMES[FINDING_KIND_COUNT] = {
    [FINDING_LEARNS_NOTHING] = "learns_nothing",
    [FINDING_GENERAL_FALLS] = "general_falls",
    [FINDING_SCORE_IS_LENGTH] = "score_is_length",
    [FINDING_ONE_SOURCE] = "one_source",
    [FINDING_NONFINITE] = "nonfinite",
};

void findings_init(struct findings *findings)
{
    *findings = (struct findings){0};
}

static enum status say(struct findings *findings, struct journal *journal, int64_t step,
                       enum finding_kind kind, struct error *error, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

static enum status say(struct findings *findings, struct journal *journal, int64_t step,
                       enum finding_kind kind, struct error *error, const char *format, ...)
{
    if (findings->said[kind]) {
        return STATUS_OK;
    }
    findings->said[kind] = true;
    va_list list;
    va_start(list, format);
    vsnprintf(findings->text[kind], sizeof(findings->text[kind]), format, list);
    va_end(list);
    log_warn("finding at step %lld: %s", (long long)step, findings->text[kind]);
    return journal_event(journal, step, KIND_NAMES[kind], error, "%s", findings->text[kind]);
}

static enum status check_sources(struct findings *findings, struct journal *journal, int64_t step,
                                 const struct step_result *result, struct error *error)
{
    int64_t all = 0;
    for (int part = 0; part < MIX_PARTS; part++) {
        findings->pairs[part] += result->part[part].ranking.pairs;
        all += findings->pairs[part];
    }
    double general = all > 0 ? (double)findings->pairs[MIX_GENERAL] / (double)all : 0;
    if (step < FINDING_SOURCE_STEPS || general <= FINDING_SOURCE_SHARE) {
        return STATUS_OK;
    }
    return say(findings, journal, step, FINDING_ONE_SOURCE, error,
               "%.0f %% of the pairs are general data: the customer's own hardly count; lower "
               "data.enrich.share",
               100 * general);
}

enum status findings_on_step(struct findings *findings, struct journal *journal, int64_t step,
                             const struct step_result *result, struct error *error)
{
    bool flat = result->pairs > 0 && fabs(result->rank_loss - LN_2) < FINDING_FLAT_WIDTH;
    findings->flat_steps = flat ? findings->flat_steps + 1 : 0;
    if (findings->flat_steps >= FINDING_FLAT_STEPS) {
        TRY(say(
            findings, journal, step, FINDING_LEARNS_NOTHING, error,
            "the ranking loss has stayed at ln 2 for %d steps: rewards do not differ; look at the "
            "scored token of the first row, and at train.learning_rate",
            FINDING_FLAT_STEPS));
    }
    if (result->skipped) {
        TRY(say(findings, journal, step, FINDING_NONFINITE, error,
                "a step was skipped since its loss or gradient was not finite"));
    }
    return check_sources(findings, journal, step, result, error);
}

enum status findings_on_evaluation(struct findings *findings, struct journal *journal, int64_t step,
                                   double general_before, double general_now, struct error *error)
{
    if (!(general_before - general_now > FINDING_GENERAL_DROP)) {
        return STATUS_OK;
    }
    return say(findings, journal, step, FINDING_GENERAL_FALLS, error,
               "general accuracy fell from %.1f %% to %.1f %% on the sample; more enrichment, more "
               "imitation or a lower learning rate preserve it",
               100 * general_before, 100 * general_now);
}

enum status findings_on_figures(struct findings *findings, struct journal *journal, int64_t step,
                                const char *set, const struct figures *figures, struct error *error)
{
    if (!(fabs(figures->length_correlation) > FINDING_LENGTH_CORRELATION)) {
        return STATUS_OK;
    }
    return say(findings, journal, step, FINDING_SCORE_IS_LENGTH, error,
               "on %s the reward follows the length of the text (correlation %.2f); %.0f %% of the "
               "preferred responses are the longer ones",
               set, figures->length_correlation, 100 * figures->longer_preferred);
}

json_t *findings_json(const struct findings *findings)
{
    json_t *list = json_array();
    for (int kind = 0; kind < FINDING_KIND_COUNT; kind++) {
        if (findings->said[kind]) {
            json_array_append_new(list, json_string(findings->text[kind]));
        }
    }
    return list;
}
